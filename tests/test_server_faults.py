"""What the HTTP/1.1 server does when something fails: the disk, the client, the application."""

from __future__ import annotations

import gc
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from email.utils import parsedate_to_datetime
from http.client import HTTPResponse, IncompleteRead
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from http11 import serving
from support import PATIENCE, connected, is_closed, open_descriptors, receive_all, reset, wait_until
from wsgiref_fast._http11.exchange import Exchange
from wsgiref_fast._http11.loop import Loop
from wsgiref_fast._http11.peer import Peer
from wsgiref_fast._http11.response import Response
from wsgiref_fast._pure.connection import Connection, Request
from wsgiref_fast.server import Server

pytestmark = pytest.mark.usefixtures("implementation")

SCRIPT = Path(__file__).parent / "isolated" / "server_needy.py"

#: Seconds that are over soon; and such that a test would have failed before.
SOON, LATER = 0.5, 6 * PATIENCE

#: What a client finds who was not given all of a body.
CUT = (IncompleteRead, ConnectionError)


class Answer(NamedTuple):
    status: int
    response: HTTPResponse
    body: bytes


def receive(connection: socket.socket) -> Answer:
    """Read one response as the standard library does; fail where it is cut."""
    with closing(HTTPResponse(connection)) as response:  # it has a descriptor, too
        response.begin()
        return Answer(response.status, response, response.read())


def request_of(
    target: str, *fields: str, method: str = "GET", version: str = "1.1", body: bytes = b""
) -> bytes:
    lines = [f"{method} {target} HTTP/{version}", "Host: here", *fields, "", ""]
    return "\r\n".join(lines).encode() + body


def ask(connection: socket.socket, target: str = "/", *fields: str) -> Answer:
    connection.sendall(request_of(target, *fields))
    return receive(connection)


def ask_anew(server: Any, target: str = "/") -> bytes:
    with connected(server) as connection:
        answer = ask(connection, target)
        assert answer.status == 200
        return answer.body


# A server that lacks something, in a process of its own


class Needy:
    """A server in a process of its own, and what it has written once it has ended."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.server_address = ("127.0.0.1", port)
        self.errors = ""

    def descriptors(self) -> int:
        return int(ask_anew(self, "/descriptors"))

    def counts(self) -> Any:
        return json.loads(ask_anew(self, "/counts"))


@contextmanager
def needy(
    implementation: str,
    threads: int,
    limit: tuple[str, int] | None = None,
    clock: Path | None = None,
    errors: Any = subprocess.PIPE,
    **options: Any,
) -> Iterator[Any]:
    """Run one; at the end nothing of its connections may be left."""
    pytest.importorskip("resource")
    settings: dict[str, Any] = {"limit": limit, "options": {"threads": threads, **options}}
    environ = {**os.environ, "WSGIREF_FAST_IMPL": implementation}
    if clock is not None:
        settings["clock"] = str(clock)
        environ["LD_PRELOAD"] = " ".join(filter(None, [environ.get("LD_PRELOAD"), str(clock)]))
    with subprocess.Popen(
        [sys.executable, str(SCRIPT), json.dumps(settings)],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            it = Needy(process, int(process.stdout.readline()))
            yield it
            output, found = process.communicate(timeout=2 * PATIENCE)
            it.errors = found or ""
        finally:
            process.kill()
    assert "internal error" not in it.errors
    assert output == "0 0\n"
    # To the interpreter it may be a failure that its last words cannot be written.
    assert process.returncode in ((0,) if errors == subprocess.PIPE else (0, 120))


# No room for the bodies of requests

#: The most bytes of a file, which a body of this size fits into.
ROOM = 65536

#: How a body of so many bytes is sent.
FRAMINGS: dict[str, Callable[[bytes], tuple[str, bytes]]] = {
    "length": lambda body: (f"Content-Length: {len(body)}", body),
    "chunked": lambda body: (
        "Transfer-Encoding: chunked",
        b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body),
    ),
    "small chunks": lambda body: (
        "Transfer-Encoding: chunked",
        b"".join(
            b"%x\r\n%b\r\n" % (len(body[at : at + 1000]), body[at : at + 1000])
            for at in range(0, len(body), 1000)
        )
        + b"0\r\n\r\n",
    ),
}


@pytest.mark.parametrize("threads", [0, 2])
def test_a_body_that_no_disk_has_room_for_is_refused(implementation: str, threads: int) -> None:
    """Wherever the bytes that are too many come: the last ones are written when it is whole."""
    options: dict[str, Any] = {
        "limit": ("RLIMIT_FSIZE", ROOM),
        "spool_size": 1000,
        "max_unread": 1 << 20,
    }
    refused = 0
    with (
        needy(implementation, threads, keep_alive_timeout=LATER, **options) as server,
        connected(server) as kept,
    ):
        assert ask(kept).status == 200
        before = server.descriptors()
        for framing in FRAMINGS.values():
            for size in (999, ROOM, ROOM + 1, ROOM + 1000, ROOM + 8193, 5 * ROOM):
                field, data = framing(b"a" * size)
                with connected(server) as connection:
                    for piece in (request_of("/first"), request_of("/", field, method="POST")):
                        connection.sendall(piece)
                    assert receive(connection).status == 200
                    connection.sendall(data)
                    answer = receive(connection)
                    if size <= ROOM:
                        assert (answer.status, answer.body) == (200, str(size).encode())
                        continue
                    refused += 1
                    assert answer.status == 500
                    assert answer.response.getheader("Connection") == "close"
                    assert is_closed(connection)
                assert ask(kept).status == 200
        wait_until(lambda: server.descriptors() == before)
    assert server.errors.count("request body cannot be kept") == refused == 12


@pytest.mark.parametrize("threads", [0, 2])
def test_who_goes_with_a_body_that_is_too_large_for_the_disk_is_let_go(
    implementation: str, threads: int
) -> None:
    """What of a body is yet to be written to its file fails to be, when the file is closed."""
    options: dict[str, Any] = {"limit": ("RLIMIT_FSIZE", ROOM), "spool_size": 1000}
    sizes = (ROOM - 100, ROOM + 1, ROOM + 100, ROOM + 5000)
    with needy(implementation, threads, **options) as server:
        before = server.descriptors()
        for framing, size, way in product(FRAMINGS.values(), sizes, ("end", "close", "reset")):
            field, data = framing(b"a" * (size + 50_000))
            with connected(server) as connection:
                connection.sendall(request_of("/", field, method="POST") + data[:size])
                if way == "end":
                    connection.shutdown(socket.SHUT_WR)
                    assert receive(connection).status in (400, 500)
                    assert is_closed(connection)
                elif way == "reset":
                    reset(connection)
            assert ask_anew(server) == b"0"
        wait_until(lambda: server.descriptors() == before)


# No room for responses

MUCH = 24 << 20


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize(
    ("lacking", "way"),
    [
        *(("RLIMIT_FSIZE", way) for way in ("raise", "end", "go-on")),
        ("RLIMIT_NOFILE", "end"),
    ],
)
def test_a_response_that_no_disk_has_room_for_is_cut(
    implementation: str, threads: int, lacking: str, way: str
) -> None:
    """Whatever the application makes of that, the client can tell."""
    # Of descriptors: the loop's three, and two connections; one was open as they were counted.
    limit = (lacking, ROOM + 123 if lacking == "RLIMIT_FSIZE" else 4)
    with (
        needy(implementation, threads, limit, keep_alive_timeout=LATER) as server,
        connected(server) as kept,
    ):

        def counts() -> dict[str, int]:
            found: dict[str, int] = json.loads(ask(kept, "/counts").body)
            return found

        assert ask(kept).status == 200
        kinds = [("1.1", ""), ("1.1", "?counted")]
        if lacking == "RLIMIT_FSIZE":  # of descriptors it waits for some after each of them
            kinds += [("1.0", ""), ("1.0", "?counted")]
        for number, (version, query) in enumerate(kinds):
            target = f"/write/{way}/{MUCH}{query}"
            with connected(server) as connection:
                field = "Connection: keep-alive"
                connection.sendall(request_of(target, field, version=version))
                wait_until(lambda over=number + 1: counts()["over"] == over)  # type: ignore[misc]
                with pytest.raises(CUT):
                    receive(connection)
                assert is_closed(connection)
            assert ask(kept).status == 200
        made = 0 if way == "raise" else len(kinds)
        wait_until(lambda: counts() == {"over": len(kinds), "made": made, "closed": made})
    assert ("Traceback" in server.errors) == (way == "raise")


# No room for what is to be said about it

FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="there is no device that is full")
@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("log", ["off", "common"])
def test_errors_that_cannot_be_written_down_stop_nothing(
    implementation: str, threads: int, log: str
) -> None:
    names = ["ValueError", "SystemExit", "OSError"]
    if threads:
        names += ["KeyboardInterrupt"] * 3  # more than there are threads
    with (
        FULL.open("w") as full,
        needy(implementation, threads, errors=full, access_log=log) as server,
        connected(server) as kept,
    ):
        for name in names:
            assert ask(kept, f"/raise/{name}").status == 500
            assert ask(kept).status == 200
            with connected(server) as connection:
                connection.sendall(b"nonsense\r\n\r\n")
                assert receive(connection).status == 400


# No descriptors for bodies


@pytest.mark.parametrize("threads", [0, 2])
def test_clients_and_bodies_share_the_descriptors_there_are(
    implementation: str, threads: int
) -> None:
    """Who finds none is refused, or waits; then all is as before."""
    # An odd number, besides the loop's own: some client has one, and its body finds none.
    options: dict[str, Any] = {"limit": ("RLIMIT_NOFILE", 17), "spool_size": 1000}
    statuses = []
    requests = []
    for framing in (*FRAMINGS.values(),) * 8:
        field, data = framing(b"a" * 3000)
        head = request_of("/", field, "Connection: close", method="POST")
        requests.append((head + data[:2000], data[2000:]))
    with needy(implementation, threads, body_timeout=LATER, **options) as server:
        before = server.descriptors()
        with ExitStack() as stack:
            clients = [stack.enter_context(connected(server)) for _ in requests]
            for client, (first, _) in zip(clients, requests, strict=True):
                client.sendall(first)
            refused = select.select(clients, [], [], PATIENCE)[0]
            assert refused
            for client, (_, rest) in zip(clients, requests, strict=True):
                if client not in refused:
                    client.sendall(rest)
            for client in clients:
                answer = receive(client)
                statuses.append(answer.status)
                assert answer.body == b"3000" if answer.status == 200 else answer.status == 500
                assert is_closed(client)
                client.close()
        wait_until(lambda: server.descriptors() == before)
    assert set(statuses) == {200, 500}
    assert "cannot accept" in server.errors
    assert server.errors.count("request body cannot be kept") == statuses.count(500)


# Clients that go


class Trial:
    """A client that takes so many bytes of a response, and what becomes of that."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.is_begun, self.is_gone = threading.Event(), threading.Event()
        self.closed = 0

    def wait_past(self, end: int) -> None:
        """Wait for the client to go, if it has all that it wants by that byte."""
        if self.wanted <= end:
            assert self.is_gone.wait(PATIENCE)


class Answering:
    """An application whose blocks come when the client wants them, or has gone."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.blocks = [b"one"] if kind == "whole" else [b"one", b"three", b"five"]
        #: Where each block ends in the response, as it goes over the wire.
        self.ends: list[int] = []
        self.trial = Trial(1 << 30)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        trial = self.trial
        trial.is_begun.set()
        trial.wait_past(0)
        length = sum(map(len, self.blocks))
        has_length = self.kind in ("whole", "length")
        headers = [("Date", "Sun, 06 Nov 1994 08:49:37 GMT")]  # the same bytes each time
        if has_length:
            headers.append(("Content-Length", str(length)))
        start_response("200 OK", headers)
        return self.generate(trial) if self.kind == "generator" else Iterating(self, trial)

    def generate(self, trial: Trial) -> Iterator[bytes]:
        try:
            yield from self.iterate(trial)
        finally:
            trial.closed += 1

    def iterate(self, trial: Trial) -> Iterator[bytes]:
        for block, end in zip(self.blocks, self.ends or [0] * 3, strict=False):
            yield block
            trial.wait_past(end)

    def note_ends(self, response: bytes) -> None:
        size = 0 if b"Content-Length" in response else 2
        self.ends = [response.rindex(block) + len(block) + size for block in self.blocks]


class Iterating:
    """A response that counts how often it is closed."""

    def __init__(self, app: Answering, trial: Trial) -> None:
        self.blocks = app.iterate(trial)
        self.trial = trial

    def __iter__(self) -> Iterator[bytes]:
        return self.blocks

    def close(self) -> None:
        self.trial.closed += 1


def receive_some(connection: socket.socket, size: int) -> bytes:
    blocks = []
    while size and (block := connection.recv(size)):
        blocks.append(block)
        size -= len(block)
    return b"".join(blocks)


def go_at_every_byte(kind: str, threads: int) -> int:
    """Have clients go after each byte of a response; return how many those were."""
    app = Answering(kind)
    with serving(app, threads=threads) as server:
        with connected(server) as connection:
            connection.sendall(request_of("/"))
            connection.shutdown(socket.SHUT_WR)
            whole = receive_all(connection)
        app.note_ends(whole)
        trials = [Trial(size) for size in range(len(whole) + 1)]
        for trial in trials:
            app.trial = trial
            with connected(server) as connection:
                connection.sendall(request_of("/"))
                assert trial.is_begun.wait(PATIENCE)
                assert receive_some(connection, trial.wanted) == whole[: trial.wanted]
                reset(connection)
                trial.is_gone.set()
        app.trial = Trial(1 << 30)
        assert ask_anew(server) == b"".join(app.blocks)
        wait_until(lambda: all(trial.closed for trial in trials))
        wait_until(lambda: not any(loop.peers for loop in server._loops))
    assert {trial.closed for trial in trials} == {1}
    return len(trials)


def count_objects() -> int:
    """Count what there is of connections."""
    gc.collect()
    kinds = (Peer, Exchange, Connection, Request, Response, Trial)
    return sum(isinstance(found, kinds) for found in gc.get_objects())


def allocated_blocks() -> int:
    gc.collect()
    return sys.getallocatedblocks() if hasattr(sys, "getallocatedblocks") else 0


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("kind", ["whole", "generator", "chunked", "length"])
def test_who_resets_at_any_byte_of_a_response_leaves_nothing_behind(
    threads: int, kind: str
) -> None:
    objects, descriptors = count_objects(), open_descriptors()
    go_at_every_byte(kind, threads)
    assert open_descriptors() == descriptors
    assert count_objects() == objects
    blocks = allocated_blocks()
    count = go_at_every_byte(kind, threads)
    assert allocated_blocks() - blocks < count // 2
    assert open_descriptors() == descriptors
    assert count_objects() == objects


class Large:
    """An application whose response no client takes at once; it counts how often it is closed."""

    def __init__(self, kind: str) -> None:
        self.blocks = [bytes(MUCH)] if kind == "whole" else [bytes(65536)] * (MUCH // 65536)
        self.headers = [] if kind == "chunked" else [("Content-Length", str(MUCH))]
        self.begun = self.closed = 0

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if environ["PATH_INFO"] != "/large":
            start_response("200 OK", [])
            return [b"fine"]
        self.begun += 1
        start_response("200 OK", self.headers)
        return self

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.blocks)

    def close(self) -> None:
        self.closed += 1


def go_amid_a_response(kind: str, threads: int) -> None:
    """Have clients go that have taken some of a large response, while the rest waits."""
    app = Large(kind)
    with serving(app, threads=threads) as server:
        for number, size in enumerate((0, 1, 100, 200, 65536, 1 << 20)):
            with connected(server) as connection:
                connection.sendall(request_of("/large"))
                wait_until(lambda begun=number + 1: app.begun == begun)  # type: ignore[misc]
                assert len(receive_some(connection, size)) == size
                assert ask_anew(server) == b"fine"
                assert app.closed == number
                reset(connection)
            wait_until(lambda closed=number + 1: app.closed == closed)  # type: ignore[misc]
            assert ask_anew(server) == b"fine"
        wait_until(lambda: not any(loop.peers for loop in server._loops))
        assert (app.begun, app.closed) == (6, 6)


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("kind", ["whole", "chunked", "length"])
def test_who_resets_while_a_response_waits_for_it_ends_it(threads: int, kind: str) -> None:
    before = count_objects(), open_descriptors()
    go_amid_a_response(kind, threads)
    assert (count_objects(), open_descriptors()) == before


# Applications that fail


class Failing:
    """An application that fails at one point; it counts how often its response is closed."""

    def __init__(self, point: str, error: type[BaseException], has_length: bool = False) -> None:
        self.point, self.error = point, error
        self.headers = [("Content-Length", "9")] if has_length else []
        self.blocks = iter([b"one", b"two", b"end"])
        self.given = self.closed = 0

    def fail_at(self, point: str) -> None:
        if self.point == point:
            raise self.error("mine")

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if environ["PATH_INFO"] != "/fail":
            start_response("200 OK", [])
            return [b"fine"]
        self.fail_at("call")
        write = start_response("200 OK", self.headers)
        self.fail_at("start_response")
        if self.point == "in first write":
            self.write_badly(write)
        if self.point in ("in second write", "after write", "iter after write"):
            write(next(self.blocks))
            self.fail_at("after write")
            if self.point == "in second write":
                self.write_badly(write)
        return self

    def write_badly(self, write: Callable[[Any], Any]) -> None:
        try:
            write("no bytes")
        except TypeError as error:
            raise self.error("mine") from error

    def __iter__(self) -> Failing:
        self.fail_at("iter")
        self.fail_at("iter after write")
        return self

    def __next__(self) -> bytes:
        self.given += 1
        self.fail_at(f"next {self.given}")
        return next(self.blocks)

    def close(self) -> None:
        self.closed += 1
        self.fail_at("close")


#: Where an application fails: what its client gets, and whether there was something to close.
POINTS = {
    "call": ("500", 0),
    "start_response": ("500", 0),
    "in first write": ("500", 0),
    "iter": ("500", 1),
    "next 1": ("500", 1),
    "after write": ("cut", 0),
    "in second write": ("cut", 0),
    "iter after write": ("cut", 1),
    "next 2": ("cut", 1),
    "next 3": ("cut", 1),
    "close": ("whole", 1),
}

#: How the response is framed: the request's version and field, and whether it has a length.
RESPONSES = {
    "chunked": ("1.1", "A: b", False),
    "length": ("1.1", "A: b", True),
    "length of 1.0": ("1.0", "Connection: keep-alive", True),
    "until the end": ("1.0", "Connection: keep-alive", False),
}


def expect(connection: socket.socket, outcome: str, kind: str) -> None:
    """Read a response that comes to this, and show whether the connection goes on."""
    is_kept = outcome == "500" or (outcome == "whole" and kind != "until the end")
    if outcome != "cut":
        answer = receive(connection)
        assert answer.status == (500 if outcome == "500" else 200)
        assert (answer.body == b"onetwoend") == (outcome == "whole")
    elif kind == "until the end":
        with pytest.raises(ConnectionError):
            receive(connection)
    else:
        with pytest.raises(IncompleteRead) as caught:
            receive(connection)
        assert b"onetwo".startswith(caught.value.partial)
    if is_kept:
        assert ask(connection).body == b"fine"
    else:
        assert is_closed(connection)


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("point", POINTS)
def test_an_application_that_fails_costs_its_own_client_alone(
    threads: int, point: str, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome, closed = POINTS[point]
    before = open_descriptors()
    with (
        serving(Failing("nowhere", Exception), threads=threads) as server,
        connected(server) as kept,
    ):
        assert ask(kept).status == 200
        served = open_descriptors()
        for error in (Exception, SystemExit, GeneratorExit):
            for kind, (version, field, has_length) in RESPONSES.items():
                app = Failing(point, error, has_length)
                server.set_app(app)
                with connected(server) as connection:
                    connection.sendall(request_of("/fail", field, version=version))
                    expect(connection, outcome, kind)
                assert ask(kept).body == b"fine"
                wait_until(lambda: open_descriptors() == served)
                assert app.closed == closed, (error, kind)
                assert capsys.readouterr().err.count(f"{error.__name__}: mine\n") == 1
    assert open_descriptors() == before


#: Where the application is interrupted, not the server that waits for it.
INTERRUPTED = ["call", "iter", "next 1", "after write", "next 3", "close"]


def test_a_loop_that_cannot_be_made_leaves_no_thread_behind() -> None:
    class Needing(Loop):
        def __init__(self, *_: Any) -> None:
            raise OSError("no descriptor is left")

    before = set(threading.enumerate())
    with Server(("127.0.0.1", 0), threads=3) as server:
        server.loop_class = Needing
        with pytest.raises(OSError, match="no descriptor"):
            server.serve_forever()
    wait_until(lambda: set(threading.enumerate()) <= before)


@pytest.mark.parametrize("point", INTERRUPTED)
def test_an_interrupt_in_an_application_ends_a_server_without_threads(
    point: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it ends `serve_forever` of any server; nothing stays open."""
    outcome, closed = POINTS[point]
    app = Failing(point, KeyboardInterrupt)
    interrupted: list[bool] = []
    before = open_descriptors()

    def serve() -> None:
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            interrupted.append(True)

    with Server(("127.0.0.1", 0)) as server:
        server.set_app(app)
        thread = threading.Thread(target=serve)
        thread.start()
        with connected(server) as connection, connected(server) as idle:
            assert ask(idle).status == 200
            connection.sendall(request_of("/fail"))
            if outcome == "cut":
                with pytest.raises(CUT):
                    receive(connection)
            else:
                assert receive(connection).status == (500 if outcome == "500" else 200)
            assert is_closed(connection)
            assert is_closed(idle)
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert interrupted == [True]
    assert app.closed == closed
    assert open_descriptors() == before
    assert capsys.readouterr().err.count("KeyboardInterrupt: mine\n") == 1


@pytest.mark.parametrize("point", INTERRUPTED)
def test_an_interrupt_in_a_thread_costs_its_own_client_alone(
    point: str, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome, closed = POINTS[point]
    before = open_descriptors()
    app = Failing(point, KeyboardInterrupt)
    with serving(app, threads=2) as server, connected(server) as kept:
        assert ask(kept).status == 200
        served = open_descriptors()
        with connected(server) as connection:
            connection.sendall(request_of("/fail"))
            expect(connection, outcome, "chunked")
        for _ in range(4):  # each thread
            assert ask(kept).body == b"fine"
        wait_until(lambda: open_descriptors() == served)
        assert app.closed == closed
    assert open_descriptors() == before
    assert "KeyboardInterrupt: mine\n" in capsys.readouterr().err


# A clock that is set

DAY, YEAR = 86400, 365 * 86400

SHIFTING = r"""
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

volatile long clock_shift;

int clock_gettime(clockid_t which, struct timespec *now)
{
    long failed = syscall(SYS_clock_gettime, which, now);
    if (!failed && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE))
        now->tv_sec += clock_shift;
    return (int)failed;
}

time_t time(time_t *out)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *out, void *zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    out->tv_sec = now.tv_sec;
    out->tv_usec = now.tv_nsec / 1000;
    return 0;
}
"""


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a library in whose processes the wall clock can be set."""
    if sys.platform != "linux" or sys.maxsize < 1 << 32:
        pytest.skip("the clock can only be shifted on 64-bit Linux")
    if sys.implementation.name == "pypy":
        pytest.skip("PyPy's own locks wait by the wall clock")
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no cc to build the library that shifts the clock")
    home = tmp_path_factory.mktemp("clock")
    source, library = home / "clock.c", home / "clock.so"
    source.write_text(SHIFTING)
    command = [compiler, "-shared", "-fPIC", "-w", "-o", str(library), str(source)]
    subprocess.run(command, check=True)
    return library


def assert_shifted(answer: Answer, shift: int) -> None:
    """Show that ``Date`` is what the clock says now, give or take a test's patience."""
    date = answer.response.getheader("Date")
    assert date is not None
    assert abs(parsedate_to_datetime(date).timestamp() - time.time() - shift) < 3 * PATIENCE


@pytest.mark.parametrize("threads", [0, 2])
def test_the_date_follows_the_clock_and_nothing_ends_early(
    implementation: str, clock: Path, threads: int
) -> None:
    timeouts = ("header", "keep_alive", "body", "send")
    options: dict[str, Any] = {f"{name}_timeout": LATER for name in timeouts}
    with needy(implementation, threads, clock=clock, **options) as server, ExitStack() as stack:
        kept, idle, silent, head, body, slow = (
            stack.enter_context(connected(server)) for _ in range(6)
        )
        assert_shifted(ask(kept), 0)
        assert ask(idle).status == 200
        head.sendall(b"GET / HTTP/1.1\r\nHo")
        body.sendall(request_of("/", "Content-Length: 4", method="POST", body=b"ab"))
        slow.sendall(request_of(f"/large/{MUCH}"))
        for shift in (-DAY, YEAR, 0, YEAR, -DAY):
            ask(kept, f"/clock/{shift}")
            for target in ("/", "/large/100000", "/nothing"):
                assert_shifted(ask(kept, target), shift)
        head.sendall(b"st: here\r\n\r\n")
        body.sendall(b"cd")
        for connection, expected in ((head, b"0"), (body, b"4")):
            answer = receive(connection)
            assert (answer.status, answer.body) == (200, expected)
            assert_shifted(answer, -DAY)
        assert len(receive(slow).body) == MUCH
        for connection in (silent, idle, kept):
            assert_shifted(ask(connection), -DAY)
            assert_shifted(ask(connection), -DAY)


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("shift", [-DAY, YEAR])
def test_times_pass_whatever_the_clock_says(
    implementation: str, clock: Path, threads: int, shift: int
) -> None:
    timeouts = ("header", "keep_alive", "body", "send")
    options: dict[str, Any] = {f"{name}_timeout": SOON for name in timeouts}
    with needy(implementation, threads, clock=clock, **options) as server, ExitStack() as stack:
        silent, idle, head, body, slow = (stack.enter_context(connected(server)) for _ in range(5))
        head.sendall(b"GET / HTTP/1.1\r\nHo")
        body.sendall(request_of("/", "Content-Length: 4", method="POST", body=b"ab"))
        slow.sendall(request_of(f"/large/{MUCH}"))
        assert ask(idle).status == 200
        setter = stack.enter_context(connected(server))
        ask(setter, f"/clock/{shift}")
        for connection in (silent, idle, setter):
            assert is_closed(connection)
        for connection in (head, body):
            answer = receive(connection)
            assert answer.status == 408
            assert is_closed(connection)
        wait_until(lambda: is_cut_off(slow))
        assert ask_anew(server) == b"0"
    assert "client takes nothing of its response" in server.errors


def is_cut_off(connection: socket.socket) -> bool:
    """Tell whether the server has reset a connection, without reading from it."""
    poller = select.poll()
    poller.register(connection, 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poller.poll(0))
