"""The HTTP/1.1 server's life: times, limits, addresses, TLS, threads, and how it ends."""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from certificates import CAN_BE_MADE, Contexts
from support import (
    PATIENCE,
    Application,
    Lines,
    connected,
    has_ipv6,
    hello_app,
    open_descriptors,
    path_app,
    receive_all,
    reset_at_close,
    running,
    wait_until,
)
from wsgiref_fast.server import Server, serve
from wsgiref_fast.simple_server import make_server

pytestmark = pytest.mark.usefixtures("implementation")

#: Seconds that are over soon; that leave a client on a busy machine time to speak before; and
#: such that a test would have failed before.
SOON, AWHILE, LATER = 0.15, 0.75, 6 * PATIENCE


@contextmanager
def serving(app: Application, address: Any = ("127.0.0.1", 0), **options: Any) -> Iterator[Server]:
    server = Server(address, **options)
    server.set_app(app)
    with running(server):
        yield server


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """One connection: requests out, responses in."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.file = connection.makefile("rb")

    def send(self, target: str = "/", *fields: str, method: str = "GET") -> None:
        lines = [f"{method} {target} HTTP/1.1", "Host: here", *fields, "", ""]
        self.connection.sendall("\r\n".join(lines).encode())

    def receive(self) -> Answer:
        status = int(self.file.readline().split(b" ")[1])
        headers = {}
        while (line := self.file.readline()) != b"\r\n":
            name, _, value = line.decode("iso-8859-1").rstrip("\r\n").partition(": ")
            headers[name.lower()] = value
        if headers.get("transfer-encoding") == "chunked":
            return Answer(status, headers, self._receive_chunks())
        length = int(headers["content-length"])
        body = self.file.read(length)
        assert len(body) == length
        return Answer(status, headers, body)

    def _receive_chunks(self) -> bytes:
        blocks = []
        while size := int(self.file.readline(), 16):
            blocks.append(self.file.read(size))
            assert self.file.readline() == b"\r\n"
        assert self.file.readline() == b"\r\n"
        return b"".join(blocks)

    def ask(self, target: str = "/", *fields: str, method: str = "GET") -> Answer:
        self.send(target, *fields, method=method)
        return self.receive()

    def is_closed(self) -> bool:
        """Wait for the connection's end; nothing more may come before."""
        try:
            return self.file.read(1) == b""
        except ConnectionError:
            return True


@contextmanager
def client_of(server: Any, family: int = socket.AF_INET) -> Iterator[Client]:
    with socket.socket(family) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(server if isinstance(server, str) else server.server_address)
        client = Client(connection)
        with client.file:
            yield client


def ask(server: Any, target: str = "/", *fields: str) -> Answer:
    with client_of(server) as client:
        return client.ask(target, *fields)


@pytest.fixture
def errors() -> Iterator[Lines]:
    logger, lines = logging.getLogger("wsgiref_fast.server"), Lines()
    logger.addHandler(lines)
    yield lines
    logger.removeHandler(lines)


def echo_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body]


class Gate:
    """An application that tells when it was called, and answers when it may."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.opened = threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        if environ["PATH_INFO"] == "/wait":
            self.begun.release()
            assert self.opened.wait(PATIENCE)
        return path_app(environ, start_response)

    def wait(self) -> None:
        assert self.begun.acquire(timeout=PATIENCE)


class Endless:
    """An application whose response has no end; it counts those that were closed."""

    def __init__(self, block: bytes = b"a" * 65536) -> None:
        self._block = block
        self.begun = self.closed = 0
        self.is_closed = threading.Event()

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/endless":
            return echo_app(environ, start_response)
        self.begun += 1
        start_response("200 OK", [])
        return self._blocks()

    def _blocks(self) -> Iterator[bytes]:
        try:
            while True:
                yield self._block
        finally:
            self.closed += 1
            self.is_closed.set()


# Time


@pytest.mark.parametrize("is_first", [True, False])
def test_a_head_that_trickles_is_refused_in_time(errors: Lines, is_first: bool) -> None:
    with (
        serving(hello_app, header_timeout=AWHILE, keep_alive_timeout=LATER) as server,
        client_of(server) as client,
    ):
        if not is_first:
            client.ask()
        client.connection.sendall(b"GET / HTTP/1.1\r\nA: ")
        for _ in range(1000):
            if select.select([client.connection], [], [], 0.01)[0]:
                break
            client.connection.sendall(b"a")
        answer = client.receive()
        assert answer.status == 408
        assert answer.headers["connection"] == "close"
        assert client.is_closed()
        line = errors.next()
    assert line.startswith("127.0.0.1: 408 ")


def test_who_says_nothing_is_closed_without_a_word(errors: Lines) -> None:
    with serving(hello_app, header_timeout=SOON) as server, client_of(server) as client:
        assert client.is_closed()
    assert errors.is_empty()


@pytest.mark.parametrize("threads", [0, 2])
def test_an_idle_kept_connection_is_closed_without_a_word(errors: Lines, threads: int) -> None:
    options = {"keep_alive_timeout": SOON, "header_timeout": LATER, "threads": threads}
    with serving(hello_app, **options) as server, client_of(server) as client:
        assert client.ask().status == 200
        assert client.is_closed()
    assert errors.is_empty()


@pytest.mark.parametrize("threads", [0, 2])
def test_a_kept_connection_s_time_begins_with_its_idleness(threads: int) -> None:
    """The time for the first head, or for an earlier idleness, is not that of the next."""
    options = {"keep_alive_timeout": LATER, "header_timeout": AWHILE, "threads": threads}
    with serving(hello_app, **options) as server, client_of(server) as client:
        assert client.ask().status == 200
        with client_of(server) as silent:
            assert silent.is_closed()  # as late as the first would be
        assert client.ask().status == 200


@pytest.mark.parametrize("framing", ["Content-Length: 10", "Transfer-Encoding: chunked"])
def test_a_body_that_does_not_come_is_refused_in_time(errors: Lines, framing: str) -> None:
    options = {"body_timeout": SOON, "header_timeout": LATER, "keep_alive_timeout": LATER}
    with serving(echo_app, **options) as server, client_of(server) as client:
        client.send("/", framing, method="POST")
        client.connection.sendall(b"3\r\nab")
        answer = client.receive()
        assert answer.status == 408
        assert answer.headers["connection"] == "close"
        assert client.is_closed()
        assert errors.next().startswith("127.0.0.1: 408 ")


def test_a_body_does_not_have_the_head_s_time() -> None:
    with (
        serving(echo_app, header_timeout=AWHILE, body_timeout=LATER) as server,
        client_of(server) as client,
    ):
        client.send("/", "Content-Length: 4", method="POST")
        client.connection.sendall(b"ab")
        with client_of(server) as silent:
            assert silent.is_closed()  # as late as a head would be
        client.connection.sendall(b"cd")
        assert client.receive().body == b"abcd"


@pytest.mark.parametrize("threads", [0, 2])
def test_who_takes_nothing_of_a_response_is_cut_off(errors: Lines, threads: int) -> None:
    app = Endless()
    with (
        serving(app, send_timeout=SOON, threads=threads) as server,
        client_of(server) as client,
    ):
        client.send("/endless")
        assert app.is_closed.wait(PATIENCE)
        assert "client takes nothing" in errors.next()
        with pytest.raises((ConnectionError, AssertionError, ValueError)):
            client.receive()  # it is cut, and can be told from a whole one
    assert app.closed == 1


def large_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [])
    return [b"a" * int(environ["QUERY_STRING"] or 32 << 20)]


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("field", ["Connection: close", "A: b"])
@pytest.mark.parametrize("ahead", [b"", b"GET /next HT"])
def test_who_takes_nothing_of_a_large_block_is_cut_off(
    errors: Lines, threads: int, field: str, ahead: bytes
) -> None:
    options = {"send_timeout": SOON, "keep_alive_timeout": LATER, "header_timeout": LATER}
    with (
        serving(large_app, threads=threads, **options) as server,
        client_of(server) as client,
    ):
        client.send("/", field)
        client.connection.sendall(ahead)
        assert errors.next() == "127.0.0.1: client takes nothing of its response"
        with pytest.raises((ConnectionError, AssertionError)):
            client.receive()


@pytest.mark.parametrize("threads", [0, 2])
def test_who_takes_a_large_block_slowly_gets_all_of_it(threads: int) -> None:
    with serving(large_app, threads=threads) as server, client_of(server) as client:
        client.send(f"/?{32 << 20}")
        client.send("/?3")
        assert ask(server, "/?2").body == b"aa"  # others do not wait for that
        assert len(client.receive().body) == 32 << 20
        assert client.receive().body == b"aaa"


# One slow party of each kind, some dozens of times

_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"  # how a TLS handshake begins

#: What they begin with, and how they go on.
PARTIES = {
    "silent": (b"", b""),
    "request line": (b"GET /", b"a"),
    "head": (b"GET / HTTP/1.1\r\nA: ", b"a"),
    "body": (b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\n", b"a"),
    "chunked body": (
        b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n",
        b"a",
    ),
    "reads nothing": (b"GET /endless HTTP/1.1\r\nHost: here\r\n\r\n", b""),
    "reads nothing of a file": (b"GET /large HTTP/1.1\r\nHost: here\r\n\r\n", b""),
}


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("kind", PARTIES)
def test_slow_parties_cost_the_others_nothing(tmp_path: Path, kind: str, threads: int) -> None:
    first, further = PARTIES[kind]
    endless = Endless()
    file = tmp_path / "file"
    with file.open("wb") as it:
        it.truncate(1 << 30)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/large":
            start_response("200 OK", [])
            wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](file.open("rb"))
            return wrapped
        return endless(environ, start_response)

    before = open_descriptors()
    with (
        serving(app, threads=threads, shutdown_timeout=SOON) as server,
        ExitStack() as stack,
        client_of(server) as kept,
    ):
        parties = [stack.enter_context(connected(server)) for _ in range(24)]
        for party in parties:
            party.sendall(first)
        for _ in range(5):
            for party in parties:
                party.sendall(further)
            assert kept.ask().status == 200
            assert ask(server).status == 200
        stack.close()
        wait_until(lambda: endless.closed == endless.begun)
    wait_until(lambda: open_descriptors() == before)


# Limits


def test_further_connections_wait_in_the_backlog() -> None:
    accepted = []

    class Noting(Server):
        def verify_request(self, request: Any, client_address: Any) -> bool:
            accepted.append(client_address)
            return True

    server = Noting(("127.0.0.1", 0), max_connections=2, keep_alive_timeout=LATER)
    server.set_app(path_app)
    with running(server), ExitStack() as stack:
        first, second = (stack.enter_context(client_of(server)) for _ in range(2))
        assert first.ask("/1").body == b"/1"
        assert second.ask("/2").body == b"/2"
        waiting = [stack.enter_context(client_of(server)) for _ in range(5)]
        for number, client in enumerate(waiting):
            client.send(f"/waiting{number}")
        assert first.ask("/3").body == b"/3"  # it serves on
        assert second.ask("/4").body == b"/4"
        assert len(accepted) == 2
        first.connection.shutdown(socket.SHUT_RDWR)
        for number, client in enumerate(waiting):
            assert client.receive().body == f"/waiting{number}".encode()
            client.connection.shutdown(socket.SHUT_RDWR)
        assert second.ask("/5").body == b"/5"


NEEDY = """
import os, resource, sys
from wsgiref_fast.server import Server

def app(environ, start_response):
    start_response("200 OK", [])
    return [environ["PATH_INFO"].encode()]

server = Server(("127.0.0.1", 0), threads=int(sys.argv[1]))
server.set_app(app)
limit = len(os.listdir("/dev/fd")) + 12
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
print(server.server_port, flush=True)
server.serve_forever()
"""


@contextmanager
def program(
    implementation: str, script: str, *arguments: str, **options: Any
) -> Iterator[subprocess.Popen[str]]:
    """Run a script; what it writes can be read."""
    with subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "WSGIREF_FAST_IMPL": implementation},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("threads", ["0", "2"])
def test_without_descriptors_it_waits_for_some(implementation: str, threads: str) -> None:
    pytest.importorskip("resource")
    with program(implementation, NEEDY, threads) as process, ExitStack() as stack:
        assert process.stdout is not None
        assert process.stderr is not None
        address = ("127.0.0.1", int(process.stdout.readline()))
        clients = []
        for number in range(24):
            connection = socket.create_connection(address, PATIENCE)
            clients.append(Client(stack.enter_context(connection)))
            clients[-1].send(f"/{number}")
        assert "cannot accept" in process.stderr.readline()
        for number, client in enumerate(clients):
            assert client.receive().body == f"/{number}".encode()
            client.file.close()
            client.connection.close()
        assert process.poll() is None


# The end


@pytest.mark.parametrize("options", [{}, {"threads": 4}, {"loops": 2}, {"loops": 2, "threads": 2}])
def test_no_request_that_was_begun_is_lost(options: dict[str, Any]) -> None:
    for _ in range(6):
        begun: list[str] = []
        finished: list[str] = []
        some = threading.Semaphore(0)

        def app(
            environ: dict[str, Any],
            start_response: Callable[..., Any],
            begun: list[str] = begun,
            some: threading.Semaphore = some,
        ) -> Iterable[bytes]:
            begun.append(environ["PATH_INFO"])
            some.release()
            start_response("200 OK", [])
            size = int(environ["QUERY_STRING"])
            return [b"a" * size] if size % 2 else iter([b"a" * size, b"b" * 100])

        def load(name: str, server: Server, finished: list[str] = finished) -> None:
            number = 0
            try:
                while True:
                    with client_of(server) as client:
                        is_last = False
                        while not is_last:
                            number += 1
                            size = (number * 7919) % 5 * 50_001
                            answer = client.ask(f"/{name}/{number}?{size}")
                            assert len(answer.body) == size + (0 if size % 2 else 100)
                            finished.append(f"/{name}/{number}")
                            is_last = answer.headers.get("connection") == "close"
            except (OSError, IndexError):
                pass  # it does not accept any more; or has not taken this one

        server = Server(("127.0.0.1", 0), **options)
        server.set_app(app)
        thread = threading.Thread(target=server.serve_forever)
        clients = [threading.Thread(target=load, args=(str(number), server)) for number in range(8)]
        for one in (thread, *clients):
            one.start()
        for _ in range(50):
            assert some.acquire(timeout=PATIENCE)
        server.shutdown()
        server.server_close()
        for one in (thread, *clients):
            one.join(PATIENCE)
            assert not one.is_alive()
        assert sorted(begun) == sorted(finished)


def test_shutdown_finishes_what_is_under_way_and_closes_idle_ones_at_once() -> None:
    gate = Gate()
    options = {"keep_alive_timeout": LATER, "header_timeout": LATER, "shutdown_timeout": LATER}
    with (
        serving(gate, threads=2, **options) as server,
        client_of(server) as busy,
        client_of(server) as idle,
        client_of(server) as silent,
    ):
        busy.send("/wait")
        gate.wait()
        assert "connection" not in idle.ask("/1").headers
        ending = threading.Thread(target=server.shutdown)
        ending.start()
        assert idle.is_closed()
        assert silent.is_closed()
        assert ending.is_alive()
        gate.opened.set()
        answer = busy.receive()
        ending.join(PATIENCE)
        assert not ending.is_alive()
        assert answer.body == b"/wait"
        assert answer.headers.get("connection") == "close"
        assert busy.is_closed()


@pytest.mark.parametrize("threads", [0, 2])
def test_the_first_request_of_a_new_connection_may_be_on_the_way(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsgiref_fast._http11.loop._GRACE", LATER)
    with (
        serving(echo_app, threads=threads) as server,
        client_of(server) as new,
        client_of(server) as idle,
    ):
        assert idle.ask().status == 200  # the other one was accepted before
        ending = threading.Thread(target=server.shutdown)
        ending.start()
        assert idle.is_closed()
        new.send()
        answer = new.receive()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        ending.join(PATIENCE)
        assert not ending.is_alive()


def test_who_was_not_yet_accepted_has_time_for_a_first_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("wsgiref_fast._http11.loop._GRACE", LATER)
    entered, go_on = threading.Event(), threading.Event()

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        if environ["PATH_INFO"] == "/wait":
            entered.set()
            assert go_on.wait(PATIENCE)
        return path_app(environ, start_response)

    options = {"header_timeout": 3 * LATER, "shutdown_timeout": LATER}
    with serving(app, **options) as server, client_of(server) as busy:
        busy.send("/wait")
        assert entered.wait(PATIENCE)
        with client_of(server) as new:  # while the loop accepts nobody
            server.stop()
            go_on.set()
            assert busy.receive().body == b"/wait"
            wait_until(lambda: all(loop.is_ending for loop in server._loops))
            new.send("/new")
            assert new.receive().body == b"/new"


@pytest.mark.parametrize("threads", [0, 2])
def test_connections_that_wait_may_send_one_more_request_while_it_drains(threads: int) -> None:
    options = {"keep_alive_timeout": LATER, "header_timeout": LATER, "drain_timeout": LATER}
    with (
        serving(echo_app, threads=threads, **options) as server,
        client_of(server) as idle,
        client_of(server) as silent,
    ):
        server.ends_for_good = True
        assert "connection" not in idle.ask().headers
        ending = threading.Thread(target=server.shutdown)
        ending.start()
        wait_until(lambda: _refuses(server))
        for client in (idle, silent):
            answer = client.ask(method="POST")
            assert (answer.status, answer.headers.get("connection")) == (200, "close")
            assert client.is_closed()
        ending.join(PATIENCE)
        assert not ending.is_alive()


def test_connections_that_wait_are_closed_when_it_has_drained() -> None:
    options = {"keep_alive_timeout": LATER, "header_timeout": LATER, "drain_timeout": 0.05}
    with (
        serving(echo_app, **options) as server,
        client_of(server) as idle,
        client_of(server) as silent,
    ):
        assert "connection" not in idle.ask().headers
        server.shutdown()
        assert idle.is_closed()
        assert silent.is_closed()


def _refuses(server: Server) -> bool:
    try:
        with client_of(server):
            return False
    except ConnectionError:  # reset: it came just as the socket was closed
        return True


@pytest.mark.parametrize("threads", [0, 2])
def test_a_request_that_has_come_in_part_is_finished(threads: int) -> None:
    with (
        serving(echo_app, threads=threads) as server,
        client_of(server) as idle,
        client_of(server) as body,
        client_of(server) as head,
    ):
        assert idle.ask().status == 200
        body.send("/", "Content-Length: 4", method="POST")
        body.connection.sendall(b"ab")
        head.connection.sendall(b"GET / HTTP/1.1\r\nHo")
        # They were heard before this one was.
        assert ask(server).status == 200
        ending = threading.Thread(target=server.shutdown)
        ending.start()
        assert idle.is_closed()
        body.connection.sendall(b"cd")
        head.connection.sendall(b"st: here\r\n\r\n")
        for client, expected in ((body, b"abcd"), (head, b"")):
            answer = client.receive()
            assert answer.body == expected
            assert answer.headers["connection"] == "close"
            assert client.is_closed()
        ending.join(PATIENCE)
        assert not ending.is_alive()


@pytest.mark.parametrize("threads", [0, 2])
def test_a_response_that_is_being_taken_is_finished(threads: int) -> None:
    size = 16 << 20
    with (
        serving(large_app, threads=threads) as server,
        client_of(server) as client,
        client_of(server) as idle,
    ):
        assert idle.ask("/?1").status == 200
        client.send(f"/?{size}")
        assert client.file.peek(1)
        ending = threading.Thread(target=server.shutdown)
        ending.start()
        assert idle.is_closed()
        assert len(client.receive().body) == size
        assert client.is_closed()
        ending.join(PATIENCE)
        assert not ending.is_alive()


def test_what_is_not_finished_in_time_is_cut() -> None:
    gate = Gate()
    before = open_descriptors()
    with (
        serving(gate, threads=1, shutdown_timeout=SOON) as server,
        client_of(server) as client,
        client_of(server) as trickle,
    ):
        client.send("/wait")
        gate.wait()
        trickle.connection.sendall(b"GET / HTTP/1.1\r\n")
        server.shutdown()
        assert client.is_closed()
        assert trickle.is_closed()
        gate.opened.set()
    wait_until(lambda: open_descriptors() == before)


def test_nothing_is_accepted_while_it_ends() -> None:
    gate = Gate()
    with (
        serving(gate, threads=2, header_timeout=LATER) as server,
        client_of(server) as busy,
        client_of(server) as silent,
        ExitStack() as stack,
    ):
        busy.send("/wait")
        gate.wait()
        ending = threading.Thread(target=server.shutdown)
        ending.start()
        assert silent.is_closed()  # it is, after the last one was accepted
        late = stack.enter_context(client_of(server))
        late.send("/late")
        gate.opened.set()
        assert busy.receive().body == b"/wait"
        ending.join(PATIENCE)
        assert not select.select([late.connection], [], [], 0)[0]
        server.server_close()
        assert late.is_closed()


@pytest.mark.parametrize("threads", [0, 2])
def test_it_serves_again_after_shutdown(threads: int) -> None:
    before = open_descriptors()
    with Server(("127.0.0.1", 0), threads=threads) as server:
        server.set_app(path_app)
        for number in range(3):
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            assert ask(server, f"/{number}").body == f"/{number}".encode()
            server.shutdown()
            thread.join(PATIENCE)
            assert not thread.is_alive()
    assert open_descriptors() == before


def test_what_waits_in_the_backlog_is_served_by_the_next_serve_forever() -> None:
    with Server(("127.0.0.1", 0)) as server:
        server.set_app(path_app)
        with client_of(server) as client:
            client.send("/early")
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            assert client.receive().body == b"/early"
        server.shutdown()
        thread.join(PATIENCE)


def test_leaving_the_context_closes_the_socket() -> None:
    with Server(("127.0.0.1", 0)) as server:
        address: Any = server.server_address
        with socket.create_connection(address, PATIENCE):
            pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, PATIENCE)


# Signals

SIGNALLED = r"""
import sys
from wsgiref_fast import serve

def app(environ, start_response):
    if environ["PATH_INFO"] == "/wait":
        sys.stdout.write("begun\n")
        sys.stdout.flush()
        sys.stdin.readline()
    start_response("200 OK", [])
    return [environ["PATH_INFO"].encode()]

serve(app, "fd://" + sys.argv[1], threads=int(sys.argv[2]), keep_alive_timeout=120)
print("ended")
"""


class Signalled(NamedTuple):
    process: subprocess.Popen[str]
    address: Any

    @contextmanager
    def client(self) -> Iterator[Client]:
        with socket.create_connection(self.address, PATIENCE) as connection:
            client = Client(connection)
            with client.file:
                yield client

    def expect(self, line: str) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == line + "\n"

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()


@contextmanager
def signalled(implementation: str, threads: int) -> Iterator[Signalled]:
    """Run `serve` on an inherited socket, in a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.fileno()
        address = listener.getsockname()
        arguments = (str(number), str(threads))
        with program(implementation, SIGNALLED, *arguments, pass_fds=[number]) as process:
            listener.close()
            yield Signalled(process, address)


BY_SIGNAL = [signal.SIGTERM, signal.SIGINT]


@pytest.mark.parametrize("number", BY_SIGNAL)
def test_a_signal_ends_it_once_all_is_finished(implementation: str, number: int) -> None:
    with (
        signalled(implementation, 0) as it,
        it.client() as busy,
        it.client() as idle,
        it.client() as next_one,
    ):
        assert idle.ask("/1").headers.get("connection") is None
        next_one.connection.sendall(b"GET /next HTTP/1.1\r\n")
        assert idle.ask("/2").body == b"/2"
        busy.send("/wait")
        it.expect("begun")
        it.process.send_signal(number)
        it.go_on()
        for client, path in ((busy, b"/wait"), (next_one, b"/next")):
            if client is next_one:
                client.connection.sendall(b"Host: here\r\n\r\n")
            answer = client.receive()
            assert answer.body == path
            assert answer.headers.get("connection") == "close"
            assert client.is_closed()
        assert idle.is_closed()
        output, errors = it.process.communicate(timeout=PATIENCE)
        assert (output, errors, it.process.returncode) == ("ended\n", "", 0)


@pytest.mark.parametrize("number", BY_SIGNAL)
def test_a_signal_lets_threads_finish(implementation: str, number: int) -> None:
    with signalled(implementation, 2) as it, it.client() as busy, it.client() as idle:
        assert idle.ask("/1").headers.get("connection") is None
        busy.send("/wait")
        it.expect("begun")
        it.process.send_signal(number)
        assert idle.is_closed()
        it.go_on()
        answer = busy.receive()
        assert answer.body == b"/wait"
        assert answer.headers.get("connection") == "close"
        output, errors = it.process.communicate(timeout=PATIENCE)
        assert (output, errors, it.process.returncode) == ("ended\n", "", 0)


def test_who_comes_after_a_signal_is_refused(implementation: str) -> None:
    with signalled(implementation, 1) as it, it.client() as busy, it.client() as silent:
        busy.send("/wait")
        it.expect("begun")
        it.process.send_signal(signal.SIGTERM)
        assert silent.is_closed()  # it is, after the last one was accepted
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(it.address, PATIENCE)
        it.go_on()
        assert busy.receive().body == b"/wait"


@pytest.mark.parametrize("threads", [0, 1, 40])
def test_a_second_signal_ends_it_at_once(implementation: str, threads: int) -> None:
    """Whatever is under way, in however many threads."""
    with signalled(implementation, threads) as it, ExitStack() as stack:
        for _ in range(threads or 1):
            stack.enter_context(it.client()).send("/wait")
            it.expect("begun")
        it.process.send_signal(signal.SIGINT)
        it.process.send_signal(signal.SIGTERM)
        it.process.wait(PATIENCE / 2)


def test_serve_gives_the_signal_handlers_back(implementation: str) -> None:
    script = """
import os, signal, socket, threading
from wsgiref_fast import serve

def app(environ, start_response):
    start_response("200 OK", [])
    return [b"it"]

def end():
    with socket.create_connection(address) as connection:
        connection.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        while connection.recv(100):
            pass
    os.kill(os.getpid(), signal.SIGTERM)

listener = socket.create_server(("127.0.0.1", 0))
address = listener.getsockname()
before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
threading.Thread(target=end).start()
serve(app, f"fd://{listener.detach()}")
assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
print("so it is")
"""
    with program(implementation, script) as process:
        output, errors = process.communicate(timeout=PATIENCE)
    assert (output, errors) == ("so it is\n", "")


def test_serve_says_what_it_cannot_listen_on() -> None:
    before = open_descriptors()
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        serve(hello_app, port=taken.getsockname()[1])
    with pytest.raises(TypeError, match="threads"):
        serve(hello_app, port=0, thread=1)  # type: ignore[call-arg]
    assert open_descriptors() == before


# One request at a time


@pytest.mark.parametrize("timeout_of", ["server", "socket"])
def test_handle_request_waits_so_long(timeout_of: str) -> None:
    calls = []

    class Timed(Server):
        def handle_timeout(self) -> None:
            calls.append("timeout")

    with Timed(("127.0.0.1", 0)) as server:
        server.set_app(path_app)
        if timeout_of == "server":
            server.timeout = SOON
        else:
            server.socket.settimeout(SOON)
        thread = threading.Thread(target=server.handle_request, daemon=True)
        thread.start()
        thread.join(PATIENCE / 4)
        assert not thread.is_alive()
        assert calls == ["timeout"]
        with client_of(server) as client:
            client.send("/1")
            server.handle_request()
            assert client.receive().body == b"/1"
        assert calls == ["timeout"]


@pytest.mark.parametrize("threads", [0, 2])
def test_handle_request_serves_one_request_each(threads: int) -> None:
    """Who has come meanwhile is served by the next call."""
    called = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        called.append(environ["PATH_INFO"])
        return path_app(environ, start_response)

    with Server(("127.0.0.1", 0), threads=threads) as server, ExitStack() as stack:
        server.set_app(app)
        server.timeout = PATIENCE
        clients = [stack.enter_context(client_of(server)) for _ in range(5)]
        for number, client in enumerate(clients):
            client.send(f"/{number}", "Connection: close")
        for count in range(1, 6):
            server.handle_request()
            assert len(called) == count
        for number, client in enumerate(clients):
            assert client.receive().body == f"/{number}".encode()
            assert client.is_closed()


@pytest.mark.parametrize("threads", [0, 2])
def test_handle_request_sends_all_of_a_response(threads: int) -> None:
    with Server(("127.0.0.1", 0), threads=threads) as server, client_of(server) as client:
        server.set_app(large_app)
        client.send(f"/?{16 << 20}", "Connection: close")
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert len(client.receive().body) == 16 << 20
        thread.join(PATIENCE)
        assert not thread.is_alive()


# Addresses


@pytest.fixture
def path() -> Iterator[str]:
    """Make a path for a Unix socket, which has to be a short one."""
    if not hasattr(socket, "AF_UNIX"):
        pytest.skip("there are no Unix sockets")
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(dir="/tmp") as home:
        yield f"{home}/it"


def test_a_unix_socket(path: str) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        assert all(type(value) is str for key, value in environ.items() if key.isupper())
        return path_app(environ, start_response)

    with serving(app, f"unix:{path}") as server:
        with client_of(path, socket.AF_UNIX) as client:
            assert client.ask("/1").body == b"/1"
            assert client.ask("/2").body == b"/2"
        assert server.socket.getsockname() == path
    assert not os.path.exists(path)


def test_a_stale_unix_socket_is_replaced(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    with serving(path_app, f"unix:{path}"), client_of(path, socket.AF_UNIX) as client:
        assert client.ask("/1").body == b"/1"
    assert not os.path.exists(path)


def test_a_live_unix_socket_is_refused_and_left_alone(path: str) -> None:
    with serving(path_app, f"unix:{path}") as server:
        with client_of(path, socket.AF_UNIX) as client:  # from now on it has all that it opens
            assert client.ask("/0").body == b"/0"
        wait_until(lambda: not any(loop.peers for loop in server._loops))
        before = open_descriptors()
        with pytest.raises(OSError, match="in use"):
            Server(f"unix:{path}")
        wait_until(lambda: open_descriptors() == before)  # it has closed the probe too
        with client_of(path, socket.AF_UNIX) as client:
            assert client.ask("/1").body == b"/1"


def test_a_live_unix_socket_whose_backlog_is_full_is_refused_too(path: str) -> None:
    failures: list[str] = []

    def listen() -> None:
        try:
            Server(f"unix:{path}").server_close()
        except OSError as error:
            failures.append(str(error))

    with socket.socket(socket.AF_UNIX) as busy, ExitStack() as stack:
        busy.bind(path)
        busy.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            try:
                client.connect(path)
            except BlockingIOError:
                break
        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        thread.join(PATIENCE / 4)
        assert not thread.is_alive()
    assert len(failures) == 1
    assert "in use" in failures[0]


def test_another_file_at_the_path_is_left_alone(path: str) -> None:
    Path(path).write_text("mine")
    with pytest.raises(OSError, match="in use"):
        Server(f"unix:{path}")
    assert Path(path).read_text() == "mine"


def test_a_unix_socket_that_another_has_replaced_is_left_alone(path: str) -> None:
    with serving(path_app, f"unix:{path}"), socket.socket(socket.AF_UNIX) as other:
        os.unlink(path)
        other.bind(path)
    assert os.path.exists(path)


def test_an_inherited_socket() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        with serving(path_app, f"fd://{listener.detach()}") as server:
            assert server.server_address == address
            assert server.server_port == address[1]
            assert ask(server, "/1").body == b"/1"


def test_what_others_may_share_goes_on_not_to_block() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = os.dup(listener.fileno())
        with serving(path_app, f"fd://{ours}") as server:
            assert ask(server, "/1").body == b"/1"
            assert not os.get_blocking(listener.fileno())
        # Somebody else may be told of a connection that a third one takes first.
        assert not os.get_blocking(listener.fileno())


def test_what_others_serve_on_does_not_block_for_being_inherited() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        first, second = os.dup(listener.fileno()), os.dup(listener.fileno())
        with Server([f"fd://{first}", f"fd://{second}"]) as server:
            assert not os.get_blocking(listener.fileno())
            assert [each.fileno() for each in server.listeners] == [first, second]
        assert socket.getdefaulttimeout() is None


def test_handle_request_waits_each_time_on_what_others_may_share() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = os.dup(listener.fileno())
        with Server(f"fd://{ours}") as server:
            server.set_app(path_app)
            server.timeout = PATIENCE
            calls: list[str] = []
            server.handle_timeout = lambda: calls.append("timeout")  # type: ignore[method-assign]
            for number in range(2):
                with client_of(server) as client:
                    asking = threading.Timer(0.05, client.send, [f"/{number}"])
                    asking.start()
                    server.handle_request()
                    asking.join()
                    assert not calls
                    assert client.receive().body == f"/{number}".encode()


def test_an_inherited_unix_socket_keeps_its_file(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        with (
            serving(path_app, f"fd://{listener.detach()}"),
            client_of(path, socket.AF_UNIX) as client,
        ):
            assert client.ask("/1").body == b"/1"
    assert os.path.exists(path)


def test_a_descriptor_that_is_no_socket_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file, pytest.raises(OSError, match="socket"):
        Server(f"fd://{file.fileno()}")


def test_several_addresses_at_once(path: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as inherited:
        address = inherited.getsockname()
        descriptor = inherited.detach()
    before = open_descriptors()
    addresses = [("127.0.0.1", 0), f"unix:{path}", f"fd://{descriptor}"]
    with serving(path_app, addresses) as server, ExitStack() as stack:
        third = stack.enter_context(socket.create_connection(address, PATIENCE))
        clients = [
            stack.enter_context(client_of(server)),
            stack.enter_context(client_of(path, socket.AF_UNIX)),
            Client(third),
        ]
        for number, client in enumerate([*clients, *clients]):
            assert client.ask(f"/{number}").body == f"/{number}".encode()
        clients[2].file.close()
    assert not os.path.exists(path)
    assert open_descriptors() == before - 1


def test_one_address_that_is_taken_closes_the_others(path: str) -> None:
    before = open_descriptors()
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(OSError, match="in use"),
    ):
        Server([f"unix:{path}", ("127.0.0.1", 0), taken.getsockname()])
    assert open_descriptors() == before
    assert not os.path.exists(path)


class TestIPv6:
    #: Without IPv6 on this machine there is nothing to collect here.
    __test__ = has_ipv6()

    @pytest.mark.parametrize("is_first", [True, False])
    def test_ipv6(self, is_first: bool) -> None:
        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            start_response("200 OK", [])
            return [environ["REMOTE_ADDR"].encode()]

        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
            port = probe.getsockname()[1]
        addresses = [("::1", port), ("127.0.0.1", 0)]
        with serving(app, addresses if is_first else addresses[::-1]) as server:
            with socket.create_connection(("::1", port), PATIENCE) as connection:
                client = Client(connection)
                assert client.ask().body == b"::1"
                client.file.close()
            assert len(server.server_address) == (4 if is_first else 2)


# TLS


@contextmanager
def encrypted(server: Server, contexts: Contexts) -> Iterator[Client]:
    """Open a connection whose end must be a proper one, and do the handshake."""
    with (
        connected(server) as plain,
        contexts.client.wrap_socket(
            plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False
        ) as connection,
    ):
        client = Client(connection)
        with client.file:
            yield client


def scheme_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [])
    return [f"{environ['wsgi.url_scheme']} {environ.get('HTTPS')}".encode()]


class TestTLS:
    #: Without the command that makes a certificate there is nothing to collect here.
    __test__ = CAN_BE_MADE

    @pytest.mark.parametrize("threads", [0, 2])
    @pytest.mark.parametrize("loops", [1, 2])
    @pytest.mark.parametrize("how", ["option", "socket"])
    def test_tls(self, contexts: Contexts, how: str, threads: int, loops: int) -> None:
        options: dict[str, Any] = {"threads": threads, "loops": loops}
        if how == "option":
            options["ssl_context"] = contexts.server
        server = Server(("127.0.0.1", 0), **options)
        server.set_app(scheme_app)
        if how == "socket":
            server.socket = contexts.server.wrap_socket(server.socket, server_side=True)
        with running(server):
            for _ in range(4):
                with encrypted(server, contexts) as client:
                    assert client.ask().body == b"https on"
                    assert client.ask("/", "Connection: close").body == b"https on"
                    assert client.is_closed()

    def test_the_old_idiom_without_sides_keeps_on_after_shutdown(self, contexts: Contexts) -> None:
        with Server(("127.0.0.1", 0)) as server:
            server.set_app(scheme_app)
            server.socket = contexts.server.wrap_socket(server.socket, server_side=True)
            for _ in range(2):
                thread = threading.Thread(target=server.serve_forever)
                thread.start()
                with encrypted(server, contexts) as client:
                    assert client.ask().body == b"https on"
                server.shutdown()
                thread.join(PATIENCE)

    @pytest.mark.parametrize("threads", [0, 2])
    def test_large_bodies_both_ways(self, contexts: Contexts, threads: int) -> None:
        body = os.urandom(1 << 16) * 64
        options = {"ssl_context": contexts.server, "threads": threads}
        with serving(echo_app, **options) as server, encrypted(server, contexts) as client:
            for _ in range(2):
                client.send("/", f"Content-Length: {len(body)}", method="POST")
                client.connection.sendall(body)
                assert ask_tls(server, contexts).status == 200
                assert client.receive().body == body

    def test_a_handshake_has_its_time(self, contexts: Contexts, errors: Lines) -> None:
        options = {"ssl_context": contexts.server, "handshake_timeout": SOON}
        with serving(echo_app, **options) as server, client_of(server) as client:
            client.connection.sendall(_HELLO)
            assert client.is_closed()
            assert errors.next() == "127.0.0.1: TLS handshake not finished in time"

    def test_plain_http_is_refused_and_logged(self, contexts: Contexts, errors: Lines) -> None:
        with serving(echo_app, ssl_context=contexts.server) as server:
            with connected(server) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
                try:
                    receive_all(connection)
                except ConnectionResetError:
                    pass
            assert errors.next().startswith("127.0.0.1: TLS handshake failed: ")
            assert ask_tls(server, contexts).status == 200

    @pytest.mark.parametrize("threads", [0, 2])
    def test_half_a_handshake_costs_the_others_nothing(
        self, contexts: Contexts, threads: int
    ) -> None:
        before = open_descriptors()
        options = {"ssl_context": contexts.server, "threads": threads}
        with serving(echo_app, **options) as server, ExitStack() as stack:
            kept = stack.enter_context(encrypted(server, contexts))
            for start in (b"", _HELLO[:1], _HELLO[:5], _HELLO) * 8:
                party = stack.enter_context(connected(server))
                party.sendall(start)
            for _ in range(3):
                assert kept.ask().status == 200
                assert ask_tls(server, contexts).status == 200
            stack.close()
            assert ask_tls(server, contexts).status == 200
        wait_until(lambda: open_descriptors() == before)

    def test_an_idle_one_and_a_half_handshake_do_not_delay_the_end(
        self, contexts: Contexts
    ) -> None:
        options = {"ssl_context": contexts.server, "shutdown_timeout": LATER}
        options.update(handshake_timeout=LATER, keep_alive_timeout=LATER)
        with (
            serving(echo_app, **options) as server,
            encrypted(server, contexts) as idle,
            client_of(server) as half,
        ):
            half.connection.sendall(_HELLO)
            assert idle.ask().status == 200
            server.shutdown()
            assert half.is_closed()
            assert idle.is_closed()

    def test_a_refused_request_s_answer_ends_in_order(self, contexts: Contexts) -> None:
        """It has come in full, and can be told from one that somebody has cut."""
        options = {"ssl_context": contexts.server, "max_body": 1000}
        with serving(echo_app, **options) as server, encrypted(server, contexts) as client:
            client.connection.sendall(
                b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 20000\r\n\r\n" + b"a" * 20000
            )
            assert client.receive().status == 413
            assert client.is_closed()

    def test_a_broken_response_does_not_end_in_order(
        self, contexts: Contexts, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Before HTTP/1.1 the end of the connection is that of the body."""

        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            start_response("200 OK", [])
            yield b"some"
            raise RuntimeError("no more")

        with (
            serving(app, ssl_context=contexts.server) as server,
            encrypted(server, contexts) as client,
        ):
            client.connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with pytest.raises(OSError, match=r"EOF|reset"):
                receive_all(client.connection)
        assert "RuntimeError: no more" in capsys.readouterr().err

    def test_who_resets_the_connection_is_no_error_of_ours(
        self, contexts: Contexts, errors: Lines
    ) -> None:
        before = open_descriptors()
        with Server(("127.0.0.1", 0), ssl_context=contexts.server) as server:
            server.set_app(echo_app)
            for data in (b"", _HELLO, b"nonsense") * 4:
                with connected(server) as connection:
                    connection.sendall(data)
                    reset_at_close(connection)
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            assert ask_tls(server, contexts).status == 200
            server.shutdown()
            thread.join(PATIENCE)
        while not errors.is_empty():
            assert "internal error" not in errors.next()
        assert open_descriptors() == before


def ask_tls(server: Server, contexts: Contexts) -> Answer:
    with encrypted(server, contexts) as client:
        return client.ask()


# Threads and loops


def test_threads_serve_in_parallel() -> None:
    barrier = threading.Barrier(4)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        assert environ["wsgi.multithread"]
        barrier.wait(PATIENCE)
        return path_app(environ, start_response)

    with serving(app, threads=4) as server, ExitStack() as stack:
        clients = [stack.enter_context(client_of(server)) for _ in range(4)]
        for _ in range(3):
            for number, client in enumerate(clients):
                client.send(f"/{number}")
            for number, client in enumerate(clients):
                assert client.receive().body == f"/{number}".encode()


def test_there_are_no_more_threads_than_that() -> None:
    idents = set()

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        idents.add(threading.get_ident())
        return path_app(environ, start_response)

    with serving(app, threads=2) as server, ExitStack() as stack:
        clients = [stack.enter_context(client_of(server)) for _ in range(20)]
        for client in clients:
            client.send()
        for client in clients:
            assert client.receive().status == 200
    assert 1 <= len(idents) <= 2


@pytest.mark.parametrize("options", [{}, {"threads": 4}, {"loops": 2, "threads": 3}])
def test_a_connection_s_requests_are_answered_in_order(options: dict[str, int]) -> None:
    with serving(path_app, **options) as server, ExitStack() as stack:
        clients = [stack.enter_context(client_of(server)) for _ in range(4)]
        for number in range(50):
            for client in clients:
                client.send(f"/{number}")
        for client in clients:
            for number in range(50):
                assert client.receive().body == f"/{number}".encode()


def test_one_connection_has_one_request_in_work() -> None:
    at_once = []
    working: list[int] = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        working.append(1)
        at_once.append(len(working))
        start_response("200 OK", [])
        yield b"a"
        working.pop()

    with serving(app, threads=4) as server, client_of(server) as client:
        for _ in range(50):
            client.send()
        for _ in range(50):
            assert client.receive().body == b"a"
    assert set(at_once) == {1}


@pytest.mark.parametrize("threads", [0, 2])
def test_loops_share_the_connections(threads: int) -> None:
    idents = set()

    class Noting(Server):
        def verify_request(self, request: Any, client_address: Any) -> bool:
            idents.add(threading.get_ident())
            return True

    before = open_descriptors()
    server = Noting(("127.0.0.1", 0), loops=2, threads=threads)
    server.set_app(path_app)
    with running(server), ExitStack() as stack:
        with client_of(server) as client:  # from now on all loops listen
            client.ask()
        # That all of 64 fall to one loop does not happen.
        clients = [stack.enter_context(client_of(server)) for _ in range(64)]
        for number, client in enumerate(clients):
            client.send(f"/{number}")
        for number, client in enumerate(clients):
            assert client.receive().body == f"/{number}".encode()
    assert len(idents) == 2
    assert open_descriptors() == before


def test_loops_share_the_limit_of_connections() -> None:
    with serving(path_app, loops=2, max_connections=4) as server, ExitStack() as stack:
        ask(server)
        for _ in range(64):  # that all of them fall to one loop does not happen
            stack.enter_context(client_of(server))
        wait_until(lambda: [len(loop.peers) for loop in server._loops] == [2, 2])


def test_one_loop_of_several_calls_service_actions() -> None:
    called_by: list[int] = []

    class Acting(Server):
        def service_actions(self) -> None:
            called_by.append(threading.get_ident())

    server = Acting(("127.0.0.1", 0), loops=3)
    server.set_app(path_app)
    with running(server), ExitStack() as stack:
        for number in range(32):
            stack.enter_context(client_of(server)).ask(f"/{number}")
    assert called_by
    assert len(set(called_by)) == 1


def test_loops_on_a_unix_socket(path: str) -> None:
    with serving(path_app, f"unix:{path}", loops=2), ExitStack() as stack:
        for number in range(8):
            client = stack.enter_context(client_of(path, socket.AF_UNIX))
            assert client.ask(f"/{number}").body == f"/{number}".encode()


# Whoever keeps it busy


def test_blocks_without_bytes_stop_nobody_else() -> None:
    is_set = threading.Event()

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        if environ["PATH_INFO"] == "/set":
            is_set.set()
        while not is_set.is_set():
            yield b""
        yield b"done"

    with serving(app) as server, client_of(server) as waiting, client_of(server) as other:
        waiting.send("/wait")
        assert other.ask("/set").body == b"done"
        assert waiting.receive().body == b"done"


def test_time_that_a_request_takes_is_not_the_next_one_s() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        threading.Event().wait(1.5 * AWHILE)
        start_response("200 OK", [])
        return [environ["PATH_INFO"].encode()]

    with serving(app, keep_alive_timeout=AWHILE) as server, client_of(server) as client:
        for number in range(3):
            assert client.ask(f"/{number}").body == f"/{number}".encode()


@pytest.mark.parametrize("kind", ["kept", "new"])
def test_who_spoke_in_time_is_heard_by_a_busy_server(kind: str) -> None:
    """More are ready than are heard at once, and the first ones take all the time there is."""
    is_slow = threading.Event()

    def app(environ: Any, start_response: Any) -> list[bytes]:
        if is_slow.is_set():
            threading.Event().wait(AWHILE / 20)
        start_response("200 OK", [])
        return [environ["PATH_INFO"].encode()]

    options = {"keep_alive_timeout": AWHILE if kind == "kept" else LATER}
    if kind == "new":
        options["header_timeout"] = AWHILE
    with serving(app, **options) as server, ExitStack() as stack:
        clients = [stack.enter_context(client_of(server)) for _ in range(40)]
        if kind == "kept":
            for client in clients:
                client.send("/first")
            for client in clients:
                client.receive()
        is_slow.set()
        for number, client in enumerate(clients):
            client.send(f"/{number}")
        for number, client in enumerate(clients):
            assert client.receive().body == f"/{number}".encode()


def test_what_a_late_response_held_is_forgotten() -> None:
    with serving(large_app) as server, client_of(server) as client:
        for _ in range(3):
            assert len(client.ask(f"/?{8 << 20}").body) == 8 << 20
        assert client.ask("/?1").status == 200
        (peer,) = server._loops[0].peers.values()
        wait_until(lambda: peer._outbox.held == 0)


def test_a_100_that_is_not_taken_at_once_is_sent_later() -> None:
    with serving(echo_app) as server, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(PATIENCE)
        connection.connect(server.server_address)
        wait_until(lambda: bool(server._loops and server._loops[0].peers))
        (peer,) = server._loops[0].peers.values()
        filling, before = 0, -1
        while filling != before:  # what it sends slowly makes room again
            before = filling
            select.select([], [], [], SOON)
            for size in (1000, 1):
                try:
                    while True:
                        filling += peer.sock.send(b"x" * size)
                except BlockingIOError:
                    pass
        client = Client(connection)
        client.send("/", "Content-Length: 2", "Expect: 100-continue", method="POST")
        wait_until(lambda: peer.is_blocked)
        assert client.file.read(filling) == b"x" * filling
        assert client.file.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert client.file.readline() == b"\r\n"
        connection.sendall(b"ab")
        assert client.receive().body == b"ab"


def test_deadlines_of_closed_connections_are_forgotten() -> None:
    with serving(path_app, header_timeout=LATER, keep_alive_timeout=LATER / 2) as server:
        for _ in range(2500):
            ask(server, "/", "Connection: keep-alive")
        (loop,) = server._loops
        wait_until(lambda: not loop.peers)
        assert len(loop._deadlines) < 2500


def test_it_may_look_around_only_when_something_happens() -> None:
    server = Server(("127.0.0.1", 0), keep_alive_timeout=SOON)
    server.set_app(path_app)
    with running(server, poll_interval=None):
        assert ask(server, "/1").body == b"/1"
        with client_of(server) as client:
            assert client.ask("/2").body == b"/2"
            assert client.is_closed()
        assert ask(server, "/3").body == b"/3"


def test_what_the_base_environ_says_is_not_the_request_s() -> None:
    with serving(path_app) as server, client_of(server) as client:
        server.base_environ["HTTP_HOST"] = "other"
        server.base_environ["HTTP_CONNECTION"] = "close"
        assert client.ask("/1").headers.get("connection") is None
        client.connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert client.receive().status == 400
        assert client.is_closed()


# Disconnects


class Closing:
    """A response that is closed once, whatever becomes of the client."""

    def __init__(self, counts: list[int], blocks: list[bytes]) -> None:
        self._blocks = iter(blocks)
        self._counts = counts

    def __iter__(self) -> Iterator[bytes]:
        return self._blocks

    def close(self) -> None:
        self._counts[1] += 1


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("way", ["close", "reset"])
def test_who_goes_at_any_byte_leaves_nothing_behind(threads: int, way: str) -> None:
    counts = [0, 0]

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        counts[0] += 1
        body = environ["wsgi.input"].read()
        start_response("200 OK", [])
        return Closing(counts, [b"one", body, b"two"])

    request = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\nbody"
    before = open_descriptors()
    with serving(app, threads=threads) as server:
        with connected(server) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            response = receive_all(connection)
        assert response.endswith(b"\r\n0\r\n\r\n")
        with client_of(server) as client:
            assert client.ask().status == 200
            served = open_descriptors() - 2  # without both ends of this one
        for size in range(len(request)):
            with connected(server) as connection:
                connection.sendall(request[:size])
                if way == "reset":
                    reset_at_close(connection)
        for size in range(len(response) - len("Connection: close\r\n")):
            with connected(server) as connection:
                connection.sendall(request)
                for _ in range(size):
                    assert len(connection.recv(1)) == 1
                if way == "reset":
                    reset_at_close(connection)
        wait_until(lambda: open_descriptors() == served)
        wait_until(lambda: counts[0] == counts[1])
        assert ask(server).status == 200
    assert open_descriptors() == before


@pytest.mark.parametrize("threads", [0, 2])
def test_who_goes_in_the_midst_of_a_stream_ends_it(threads: int) -> None:
    app = Endless(b"a" * 1000)
    with serving(app, threads=threads) as server:
        for size in (1, 1000, 100_000):
            with connected(server) as connection:
                connection.sendall(b"GET /endless HTTP/1.1\r\nHost: here\r\n\r\n")
                received = 0
                while received < size:
                    received += len(connection.recv(1000))
            assert app.is_closed.wait(PATIENCE)
            app.is_closed.clear()
            assert ask(server).status == 200
        assert app.begun == app.closed == 3


# Hooks


def test_the_application_can_be_changed_at_run_time() -> None:
    def other_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", [])
        return [b"other"]

    with serving(path_app) as server, client_of(server) as client:
        assert client.ask("/1").body == b"/1"
        server.set_app(other_app)
        assert server.get_app() is other_app
        assert client.ask("/1").body == b"other"
        assert ask(server).body == b"other"


def test_without_an_application_it_answers_500(
    errors: Lines, capsys: pytest.CaptureFixture[str]
) -> None:
    with Server(("127.0.0.1", 0)) as server, running(server):
        assert ask(server).status == 500
        server.set_app(path_app)
        assert ask(server).status == 200


def test_service_actions_is_called_without_clients_too() -> None:
    called = threading.Semaphore(0)

    class Acting(Server):
        def service_actions(self) -> None:
            called.release()

    server = Acting(("127.0.0.1", 0))
    with running(server, poll_interval=0.01):
        for _ in range(5):
            assert called.acquire(timeout=PATIENCE)


def test_verify_request_turns_clients_away() -> None:
    refused: set[Any] = set()

    class Choosy(Server):
        def verify_request(self, request: Any, client_address: Any) -> bool:
            assert request.getpeername() == client_address
            return client_address not in refused

    server = Choosy(("127.0.0.1", 0))
    server.set_app(path_app)
    with running(server):
        assert ask(server).status == 200
        with socket.socket() as connection:
            connection.settimeout(PATIENCE)
            connection.bind(("127.0.0.1", 0))
            refused.add(connection.getsockname())
            connection.connect(server.server_address)
            client = Client(connection)
            assert client.is_closed()
            client.file.close()
        assert ask(server).status == 200


def test_a_hook_that_fails_costs_that_client_alone(errors: Lines) -> None:
    class Failing(Server):
        def verify_request(self, request: Any, client_address: Any) -> bool:
            if not self.__dict__.pop("is_fine", False):
                raise RuntimeError("no")
            return True

    server = Failing(("127.0.0.1", 0))
    server.set_app(path_app)
    before = open_descriptors()
    with running(server):
        with client_of(server) as client:
            assert client.is_closed()
        assert "error" in errors.next()
        server.__dict__["is_fine"] = True
        assert ask(server).status == 200
    assert open_descriptors() == before - 1


def test_make_server_makes_one() -> None:
    server = make_server("127.0.0.1", 0, path_app, server_class=Server)
    assert isinstance(server, Server)
    with running(server), client_of(server) as client:
        assert client.ask("/1").body == b"/1"
        assert client.ask("/2").body == b"/2"


def test_make_server_takes_one_with_options() -> None:
    server_class: Any = partial(Server, threads=1)
    server = make_server("127.0.0.1", 0, path_app, server_class=server_class)
    with running(server):
        assert ask(server, "/1").body == b"/1"


def test_what_an_application_writes_for_who_reads_nothing_goes_to_a_file() -> None:
    held = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        write = start_response("200 OK", [])
        for _ in range(300):
            write(b"x" * 65536)
        held.append(
            max(peer._outbox.held for loop in server._loops for peer in loop.peers.values())
        )
        return []

    with serving(app) as server, client_of(server) as client:
        client.send("/")
        wait_until(lambda: bool(held))
        assert held[0] < 2 << 20
        assert client.receive().body == b"x" * 65536 * 300


@pytest.mark.parametrize("kind", ["blocks", "file"])
def test_a_client_that_takes_all_leaves_room_for_others(tmp_path: Path, kind: str) -> None:
    asked = threading.Event()
    order = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if environ["PATH_INFO"] == "/small":
            order.append("small")
            start_response("200 OK", [])
            return [b"small"]
        start_response("200 OK", [])
        if kind == "file":
            return environ["wsgi.file_wrapper"]((tmp_path / "large").open("rb"))
        return blocks()

    def blocks() -> Iterator[bytes]:
        for number in range(2000):
            if number == 50:
                assert asked.wait(PATIENCE)  # in the loop: what others send is here from now on
            yield b"x" * 65536
        order.append("large")

    with (tmp_path / "large").open("wb") as file:
        file.truncate(2000 * 65536)
    with serving(app) as server, client_of(server) as large, client_of(server) as small:
        reader = threading.Thread(target=large.ask, args=("/large",))
        reader.start()
        small.send("/small")
        asked.set()
        assert small.receive().body == b"small"
        if kind == "blocks":
            assert order == ["small"]
        reader.join(PATIENCE)
        assert not reader.is_alive()
