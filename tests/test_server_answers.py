"""What the HTTP/1.1 server answers: http11.md's table "Answering", and PEP 3333."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import logging
import os
import socket
import sys
import threading
import wsgiref.validate
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from support import PATIENCE, Application, connected, receive_all, running
from wsgiref_fast import validate
from wsgiref_fast.server import Server

pytestmark = pytest.mark.usefixtures("implementation")

StartResponse = Callable[..., Any]
Environ = dict[str, Any]
Headers = list[tuple[str, str]]

#: More than all buffers between a server and a client that reads nothing hold.
MUCH = 32 << 20
TRACEBACK = "Traceback (most recent call last)"


@pytest.fixture(params=[0, 2], ids=["loop", "threads"])
def threads(request: pytest.FixtureRequest) -> Any:
    """Run a test in the loop's thread, and with two of their own."""
    return request.param


@contextmanager
def serving(app: Application, **options: Any) -> Iterator[Server]:
    """Serve an application; what is asked for ``/more`` is not its business."""

    def serve(environ: Environ, start_response: StartResponse) -> Any:
        if environ["PATH_INFO"] == "/more":
            start_response("200 OK", [])
            return [b"more"]
        return app(environ, start_response)

    server = Server(("127.0.0.1", 0), **{"shutdown_timeout": 5.0, **options})
    server.set_app(serve)
    with running(server):
        yield server


@dataclass(frozen=True)
class Response:
    status: str
    headers: Headers
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]

    def __getitem__(self, name: str) -> Any:
        """Return the only header of that name; `None` where there is none."""
        values = self.all(name)
        assert len(values) < 2
        return values[0] if values else None

    @property
    def is_chunked(self) -> bool:
        return bool(self["transfer-encoding"] == "chunked")


class Client:
    """One connection: requests out, responses in, each read as its framing says."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.file = connection.makefile("rb")

    def send(self, request: bytes) -> None:
        self.connection.sendall(request)

    def line(self) -> str:
        line = self.file.readline()
        assert line.endswith(b"\r\n"), line
        return line[:-2].decode("iso-8859-1")

    def head(self) -> Response:
        status, headers = self.line(), []
        assert status.startswith("HTTP/1.1 ")
        while line := self.line():
            name, _, value = line.partition(": ")
            headers.append((name, value))
        return Response(status.removeprefix("HTTP/1.1 "), headers, b"")

    def chunk(self) -> bytes:
        size = int(self.line(), 16)
        data = self.file.read(size)
        assert self.line() == ""
        return data

    def receive(self, method: str = "GET") -> Response:
        head = self.head()
        if method == "HEAD" or head.status[:3] in ("204", "304"):
            return head
        if head.is_chunked:
            assert head["content-length"] is None
            return replace(head, body=b"".join(iter(self.chunk, b"")))
        length = head["content-length"]
        if length is None:
            assert head["connection"] == "close"
            return replace(head, body=self.file.read())
        body = self.file.read(int(length))
        assert len(body) == int(length)
        return replace(head, body=body)

    def ask(self, request: bytes, method: str = "GET") -> Response:
        self.send(request)
        return self.receive(method)

    def is_closed(self) -> bool:
        return self.file.read(1) == b""

    def is_kept(self) -> bool:
        """Show that the connection serves one more request."""
        return self.ask(get("/more")).body == b"more"

    def is_cut(self, head: Response) -> bool:
        """Tell whether the connection ends so that nobody takes it for the body's end."""
        rest = b""
        try:
            while data := self.file.read(1):
                rest += data
        except ConnectionResetError:
            return not (head.is_chunked and rest.endswith(b"0\r\n\r\n"))
        if head.is_chunked:
            return not rest.endswith(b"0\r\n\r\n")
        return len(rest) < int(head["content-length"] or 0)


@contextmanager
def client_of(server: Server) -> Iterator[Client]:
    """Open a connection, which has served one request already."""
    with connected(server) as connection:
        client = Client(connection)
        with client.file:
            assert client.is_kept()
            yield client


@contextmanager
def asking(app: Application, **options: Any) -> Iterator[Client]:
    """Serve, and open one connection."""
    with serving(app, **options) as server, client_of(server) as client:
        yield client


def get(path: str = "/", *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "Host: here", *fields, "", ""]
    return "\r\n".join(lines).encode("iso-8859-1")


def post(path: str, body: bytes) -> bytes:
    return get(path, f"Content-Length: {len(body)}", method="POST") + body


class Body:
    """An iterable of blocks; exceptions are raised and functions called in their place."""

    def __init__(self, *steps: Any, on_close: BaseException | None = None) -> None:
        self.closed = 0
        self.is_closed = threading.Event()
        self.left = iter(steps)
        self.on_close = on_close

    def __iter__(self) -> Body:
        return self

    def __next__(self) -> Any:
        step = next(self.left)
        if isinstance(step, BaseException):
            raise step
        return step() if callable(step) else step

    def close(self) -> None:
        self.closed += 1
        self.is_closed.set()
        if self.on_close is not None:
            raise self.on_close


class Endless(Body):
    """Blocks without an end; it knows how many it has given."""

    given = 0

    def __next__(self) -> bytes:
        self.given += 1
        return bytes(65536)


def answering(result: Any, status: str = "200 OK", headers: Iterable[Any] = ()) -> Application:
    """Return an application that answers with the result, or the result of a function."""

    def app(environ: Environ, start_response: StartResponse) -> Any:
        start_response(status, list(headers))
        return result() if callable(result) else result

    return app


def writing(*blocks: Any, status: str = "200 OK", headers: Iterable[Any] = ()) -> Application:
    """Return an application that answers through ``write()``."""

    def app(environ: Environ, start_response: StartResponse) -> Any:
        write = start_response(status, list(headers))
        for block in blocks:
            write(block)
        return []

    return app


def calling(action: Callable[[], Any]) -> Application:
    """Return an application that does something before it answers."""

    def app(environ: Environ, start_response: StartResponse) -> Any:
        action()
        start_response("200 OK", [])
        return [b"done"]

    return app


def fail(error: BaseException) -> Any:
    raise error


def count_tracebacks(text: str) -> int:
    """Count them; those that belong to one another are one."""
    linked = text.count("direct cause of the following") + text.count("During handling of")
    return text.count(TRACEBACK) - linked


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the server has logged."""
    return [
        record.getMessage() for record in caplog.records if record.name == "wsgiref_fast.server"
    ]


# Whether the connection goes on


@pytest.mark.parametrize(
    ("version", "fields", "said"),
    [
        ("1.1", [], None),
        ("1.1", ["Connection: keep-alive"], None),
        ("1.1", ["Connection: upgrade, closed"], None),
        ("1.1", ["Connection: close"], "close"),
        ("1.1", ["Connection: Keep-Alive ,\tCLOSE"], "close"),
        ("1.1", ["connection: a", "Accept: b", "CONNECTION: Close"], "close"),
        ("1.0", [], "close"),
        ("1.0", ["Connection: a"], "close"),
        ("1.0", ["Connection: keep-alive"], "keep-alive"),
        ("1.0", ["Connection: a", "Connection: Keep-ALIVE"], "keep-alive"),
        ("1.0", ["Connection: keep-alive, close"], "close"),
    ],
)
def test_a_response_says_whether_the_connection_goes_on(
    threads: int, version: str, fields: list[str], said: str | None
) -> None:
    with asking(answering([b"hello"]), threads=threads) as client:
        response = client.ask(get("/", *fields, version=version))
        assert (response.body, response["connection"]) == (b"hello", said)
        if said == "close":
            assert client.is_closed()
        else:
            assert client.is_kept()


@pytest.mark.parametrize("value", ["close", "Close", " CLOSE "])
@pytest.mark.parametrize("body", [list, iter], ids=["whole", "blocks"])
def test_an_application_may_close(threads: int, value: str, body: Callable[..., Any]) -> None:
    app = answering(lambda: body([b"a", b"b"]), headers=[("Connection", value)])
    with asking(app, threads=threads) as client:
        response = client.ask(get())
        assert response.body == b"ab"
        assert [given.strip().lower() for given in response.all("connection")] == ["close"]
        assert client.is_closed()


def test_after_the_last_response_nothing_is_served(threads: int) -> None:
    called: list[str] = []

    def app(environ: Environ, start_response: StartResponse) -> list[bytes]:
        called.append(environ["PATH_INFO"])
        start_response("200 OK", [])
        return [b"done"]

    with asking(app, threads=threads) as client:
        client.send(get("/1") + get("/2", "Connection: close") + get("/3"))
        assert client.receive()["connection"] is None
        assert client.receive()["connection"] == "close"
        assert client.is_closed()
    assert called == ["/1", "/2"]


@pytest.mark.parametrize("body", [list, iter], ids=["whole", "blocks"])
def test_the_only_request_is_answered_in_full(threads: int, body: Callable[..., Any]) -> None:
    server = Server(("127.0.0.1", 0), threads=threads)
    server.set_app(answering(lambda: body([b"a", bytes(MUCH)])))
    thread = threading.Thread(target=server.handle_request)
    with server, connected(server) as connection:
        connection.sendall(get())
        thread.start()
        client = Client(connection)
        with client.file:
            response = client.receive()
            assert len(response.body) == MUCH + 1
            assert response["connection"] == "close"
            assert client.is_closed()
        thread.join(PATIENCE)
        assert not thread.is_alive()


# Pipelining


def many_kinds(environ: Environ, start_response: StartResponse) -> Any:
    """Answer with path and body, in one of the ways there are."""
    path = environ["PATH_INFO"]
    kind = path.split("/")[1]
    body = path.encode() + environ["wsgi.input"].read()
    if kind == "fails":
        raise ValueError(path)
    headers = [("X-Path", path)]
    if kind == "empty":
        start_response("204 No Content", headers)
        return []
    write = start_response("200 OK", headers)
    if kind == "written":
        write(body)
        return []
    if kind == "blocks":
        return (body[i : i + 1] for i in range(len(body)))
    if kind == "file":
        return environ["wsgi.file_wrapper"](io.BytesIO(body))
    if kind == "large":
        return [body, bytes(1 << 18)]
    return [body]


KINDS = ("whole", "blocks", "written", "whole", "empty", "file", "head", "posted", "fails", "large")


def ask_for_many(client: Client, count: int) -> None:
    """Send requests of all kinds at once; check that each gets its own response."""
    kinds = [KINDS[i % len(KINDS)] for i in range(count)]
    requests = []
    for i, kind in enumerate(kinds):
        path = f"/{kind}/{i}"
        method = "HEAD" if kind == "head" else "GET"
        requests.append(post(path, b"-body") if kind == "posted" else get(path, method=method))
    client.send(b"".join(requests))
    for i, kind in enumerate(kinds):
        path = f"/{kind}/{i}"
        response = client.receive("HEAD" if kind == "head" else "GET")
        if kind == "fails":
            assert response.status == "500 Internal Server Error"
            continue
        assert response["x-path"] == path
        if kind not in ("head", "empty"):
            body = response.body.rstrip(b"\0").decode()
            assert body == (path + "-body" if kind == "posted" else path)


@pytest.mark.parametrize("threads", [0, 4])
def test_many_requests_at_once_are_answered_in_order(threads: int) -> None:
    with asking(many_kinds, threads=threads) as client:
        ask_for_many(client, 100)
        assert client.is_kept()


@pytest.mark.parametrize("threads", [0, 4])
def test_many_clients_get_their_own_responses(threads: int) -> None:
    failures: list[BaseException] = []

    def ask(server: Server) -> None:
        try:
            with client_of(server) as client:
                for _ in range(3):
                    ask_for_many(client, 20)
        except BaseException as error:
            failures.append(error)

    with serving(many_kinds, threads=threads) as server:
        clients = [threading.Thread(target=ask, args=[server]) for _ in range(8)]
        for client in clients:
            client.start()
        for client in clients:
            client.join(PATIENCE)
        assert not any(client.is_alive() for client in clients)
    assert failures == []


def test_a_fast_response_does_not_overtake_a_slow_one() -> None:
    may_end = threading.Event()
    order: list[str] = []

    def app(environ: Environ, start_response: StartResponse) -> list[bytes]:
        path = environ["PATH_INFO"]
        if path == "/slow":
            assert may_end.wait(PATIENCE)
        order.append(path)
        start_response("200 OK", [])
        return [path.encode()]

    with serving(app, threads=4) as server, client_of(server) as one, client_of(server) as two:
        one.send(get("/slow") + get("/fast"))
        assert two.ask(get("/other")).body == b"/other"
        may_end.set()
        assert [one.receive().body for _ in range(2)] == [b"/slow", b"/fast"]
    assert order == ["/other", "/slow", "/fast"]


def test_who_sends_no_more_still_gets_all_answers(threads: int) -> None:
    with asking(many_kinds, threads=threads) as client:
        client.send(get("/large/1") + get("/blocks/2") + get("/whole/3"))
        client.connection.shutdown(socket.SHUT_WR)
        assert [client.receive()["x-path"] for _ in range(3)] == [
            *("/large/1", "/blocks/2", "/whole/3")
        ]
        assert client.is_closed()


def test_a_refusal_comes_after_the_answers(threads: int) -> None:
    with asking(many_kinds, threads=threads) as client:
        client.send(get("/large/1") + get("/blocks/2") + b"GET /\r\n\r\n" + get("/whole/3"))
        assert [client.receive()["x-path"] for _ in range(2)] == ["/large/1", "/blocks/2"]
        assert client.receive().status == "400 Bad Request"
        assert client.is_closed()


@pytest.mark.parametrize("last", ["GET /204", "HEAD /head"])
def test_a_failure_after_a_response_without_a_body_does_not_harm_those_before(
    threads: int, last: str, capsys: pytest.CaptureFixture[str]
) -> None:
    is_failing = threading.Event()
    size = 1 << 18

    def app(environ: Environ, start_response: StartResponse) -> Any:
        if environ["PATH_INFO"] == "/large":
            start_response("200 OK", [])
            return [bytes(size)]
        status = "204 No Content" if environ["PATH_INFO"] == "/204" else "200 OK"
        start_response(status, [])(b"begun")
        is_failing.set()
        raise LookupError("no page")

    with serving(app, threads=threads) as server, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(PATIENCE)
        connection.connect(server.server_address)
        connection.sendall(get("/large") + f"{last} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
        client = Client(connection)
        with client.file:
            assert len(client.receive().body) == size
            assert is_failing.wait(PATIENCE)
            assert client.receive("HEAD").status[:3] in ("200", "204")
            assert client.is_closed()
    assert "LookupError" in capsys.readouterr().err


def test_a_missing_part_of_a_missing_package_is_logged(
    threads: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Any:
        raise ModuleNotFoundError("No module named 'missing.part'", name="missing.part")

    with asking(app, threads=threads) as client:
        client.send(get("/"))
        assert client.receive().status[:3] == "500"
    logged = capsys.readouterr().err
    assert logged.startswith(TRACEBACK)
    assert "in app\n" in logged  # to say more, 3.15 imports the package, and fails
    assert "No module named 'missing.part'" in logged


@pytest.mark.parametrize(
    "rest",
    [
        b"\r\n",
        b"Host: here\r\nA : b\r\n\r\n",
        b"Host: here\r\nContent-Length: some\r\n\r\n",
        b"Host: here\r\nTransfer-Encoding: odd\r\n\r\n",
        b"Host: here\r\nExpect: much\r\n\r\n",
    ],
)
def test_a_refused_head_request_gets_no_body(threads: int, rest: bytes) -> None:
    for method, has_body in (("HEAD", False), ("GET", True)):
        with asking(many_kinds, threads=threads) as client:
            client.send(method.encode() + b" / HTTP/1.1\r\n" + rest)
            head = client.head()
            assert head.status[0] in "45"
            body = client.file.read()
            assert bool(body) == has_body
            assert head["content-length"] != "0"


def test_a_response_that_is_cut_does_not_harm_those_before(
    threads: int, capsys: pytest.CaptureFixture[str]
) -> None:
    body = Body(b"some", ValueError())
    size = 1 << 17

    def app(environ: Environ, start_response: StartResponse) -> Any:
        start_response("200 OK", [])
        return [bytes(size)] if environ["PATH_INFO"] == "/whole" else body

    with serving(app, threads=threads) as server, socket.socket() as connection:
        # What the client has no room for waits in the server's system.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(PATIENCE)
        connection.connect(server.server_address)
        connection.sendall(get("/whole") + get("/cut"))
        assert body.is_closed.wait(PATIENCE)
        with client_of(server) as other:
            for _ in range(10):  # by then the server is done with the first
                assert other.is_kept()
        client = Client(connection)
        with client.file:
            assert len(client.receive().body) == size


# Framing


@pytest.mark.parametrize("body", [[b"hello"], (b"hello",), [], (), [b""], [b"he", b"llo"]])
def test_a_body_that_is_here_has_its_length(threads: int, body: Any) -> None:
    with asking(answering(body), threads=threads) as client:
        response = client.ask(get())
        assert response["content-length"] == str(len(b"".join(body)))
        assert response.body == b"".join(body)
        assert client.is_kept()


#: Bodies of unknown length: what makes them, and what they are.
UNKNOWN: list[Application] = [
    answering(lambda: iter([b"a", b"", b"bc"])),
    writing(b"a", b"", b"bc"),
    answering(lambda: Body(b"", b"a", b"bc")),
]


@pytest.mark.parametrize("app", UNKNOWN, ids=["generator", "written", "iterable"])
def test_a_body_of_unknown_length_is_chunked(threads: int, app: Application) -> None:
    with asking(app, threads=threads) as client:
        client.send(get())
        head = client.head()
        assert head.is_chunked
        assert head["content-length"] is None
        assert list(iter(client.chunk, b"")) == [b"a", b"bc"]
        assert client.is_kept()


@pytest.mark.parametrize("app", UNKNOWN, ids=["generator", "written", "iterable"])
@pytest.mark.parametrize("fields", [[], ["Connection: keep-alive"]], ids=["", "kept"])
def test_before_1_1_it_ends_with_the_connection(
    threads: int, app: Application, fields: list[str]
) -> None:
    with asking(app, threads=threads) as client:
        response = client.ask(get("/", *fields, version="1.0"))
        assert response["transfer-encoding"] is None
        assert (response["connection"], response.body) == ("close", b"abc")


def test_before_1_1_a_known_length_keeps_the_connection(threads: int) -> None:
    app = answering(lambda: iter([b"a", b"bc"]), headers=[("Content-Length", "3")])
    with asking(app, threads=threads) as client:
        response = client.ask(get("/", "Connection: keep-alive", version="1.0"))
        assert (response["connection"], response.body) == ("keep-alive", b"abc")
        assert client.is_kept()


def test_an_empty_iterable_is_an_empty_body(threads: int) -> None:
    body = Body(b"", b"")
    with asking(answering(body), threads=threads) as client:
        response = client.ask(get())
        assert (response.status, response.body) == ("200 OK", b"")
        assert client.is_kept()
    assert body.closed == 1


@pytest.mark.parametrize("kind", ["whole", "blocks", "written", "endless", "file"])
@pytest.mark.parametrize(
    ("method", "status", "kept"),
    [
        ("HEAD", "200 OK", "5"),
        ("HEAD", "404 Not Found", "5"),
        ("GET", "204 No Content", None),
        ("GET", "304 Not Modified", "5"),
        ("HEAD", "204 No Content", None),
    ],
)
@pytest.mark.parametrize("has_length", [True, False], ids=["length", ""])
def test_some_responses_have_no_body(
    threads: int, kind: str, method: str, status: str, kept: str | None, has_length: bool
) -> None:
    headers = [("X-A", "b"), *([("Content-Length", "5")] if has_length else [])]
    bodies = {"blocks": Body(b"he", b"llo"), "endless": Endless()}

    def app(environ: Environ, start_response: StartResponse) -> Any:
        write = start_response(status, headers)
        if kind == "written":
            write(b"hello")
            return []
        if kind == "file":
            return environ["wsgi.file_wrapper"](io.BytesIO(b"hello"))
        return bodies.get(kind, [b"hello"])

    with asking(app, threads=threads) as client:
        response = client.ask(get("/", method=method), method)
        assert (response.status, response["x-a"]) == (status, "b")
        assert response["transfer-encoding"] is None
        if has_length:
            assert response["content-length"] == kept
        else:
            assert response["content-length"] in ({None, "5"} if method == "HEAD" else {None})
        assert client.is_kept()  # and no byte of a body before
    if kind in bodies:
        assert bodies[kind].closed == 1


def test_an_error_has_no_body_for_head(threads: int, capsys: pytest.CaptureFixture[str]) -> None:
    with asking(calling(lambda: fail(ValueError())), threads=threads) as client:
        response = client.ask(get("/", method="HEAD"), "HEAD")
        assert response.status == "500 Internal Server Error"
        assert client.is_kept()


TOO_LONG = [("Content-Length", "3")]


@pytest.mark.parametrize(
    "app",
    [
        answering([b"hello"], headers=TOO_LONG),
        answering([b"he", b"llo"], headers=TOO_LONG),
        answering(lambda: iter([b"he", b"llo", b"more"]), headers=TOO_LONG),
        answering(lambda: iter([b"hel", b"lo"]), headers=TOO_LONG),
        answering(lambda: without_end(b"hel"), headers=TOO_LONG),
        writing(b"he", b"llo", headers=TOO_LONG),
        writing(b"hel", b"lo", headers=TOO_LONG),
    ],
    ids=["block", "list", "blocks", "exact", "endless", "written", "written-exact"],
)
def test_a_body_longer_than_its_length_is_cut(
    threads: int, caplog: pytest.LogCaptureFixture, app: Application
) -> None:
    with asking(app, threads=threads) as client:
        response = client.ask(get())
        assert (response.body, response["content-length"]) == (b"hel", "3")
        assert client.is_kept()
    (message,) = logged(caplog)
    assert "longer than its Content-Length" in message


def without_end(first: bytes) -> Iterator[bytes]:
    """Yield a block, and then others without an end."""
    yield first
    while True:
        yield b"more"


TOO_SHORT = [("Content-Length", "9")]


@pytest.mark.parametrize(
    ("app", "sent"),
    [
        (answering([b"hello"], headers=TOO_SHORT), b"hello"),
        (answering([], headers=TOO_SHORT), b""),
        (answering(lambda: iter([b"he", b"llo"]), headers=TOO_SHORT), b"hello"),
        (answering(lambda: iter([]), headers=TOO_SHORT), b""),
        (writing(b"hello", headers=TOO_SHORT), b"hello"),
    ],
    ids=["block", "empty", "blocks", "no-blocks", "written"],
)
def test_a_body_shorter_than_its_length_ends_the_connection(
    threads: int, caplog: pytest.LogCaptureFixture, app: Application, sent: bytes
) -> None:
    with asking(app, threads=threads) as client:
        client.send(get() + get("/more"))
        assert client.head()["content-length"] == "9"
        assert client.file.read() == sent
    (message,) = logged(caplog)
    assert "shorter than its Content-Length" in message


# start_response()


def test_to_start_twice_is_an_error(threads: int, capsys: pytest.CaptureFixture[str]) -> None:
    def app(environ: Environ, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [("X-A", "b")])
        start_response("201 Created", [])
        return [b"never"]

    with asking(app, threads=threads) as client:
        response = client.ask(get())
        assert response.status == "500 Internal Server Error"
        assert response["x-a"] is None
        assert client.is_kept()
    assert count_tracebacks(capsys.readouterr().err) == 1


def test_who_starts_twice_may_hear_of_it(threads: int) -> None:
    def app(environ: Environ, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [("X-A", "b")])
        with pytest.raises(AssertionError):
            start_response("201 Created", [])
        with pytest.raises(AssertionError):
            start_response("201 Created", [], None)
        return [b"done"]

    with asking(app, threads=threads) as client:
        response = client.ask(get())
        assert (response.status, response["x-a"], response.body) == ("200 OK", "b", b"done")


@pytest.mark.parametrize("early", ["nothing", "empty-block", "empty-write"])
@pytest.mark.parametrize("is_named", [True, False], ids=["named", ""])
def test_an_error_replaces_headers_that_were_not_sent(
    threads: int, early: str, is_named: bool
) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        write = start_response("200 OK", [("X-A", "b"), ("Content-Length", "99")])
        if early == "empty-block":
            yield b""
        if early == "empty-write":
            write(b"")
        try:
            raise ValueError
        except ValueError:
            if is_named:
                write = start_response("500 Oh", [("X-B", "c")], exc_info=sys.exc_info())
            else:
                write = start_response("500 Oh", [("X-B", "c")], sys.exc_info())
        write(b"o")
        yield b"h"

    with asking(app, threads=threads) as client:
        response = client.ask(get())
        assert (response.status, response.body) == ("500 Oh", b"oh")
        assert response["content-length"] is None
        assert (response["x-a"], response["x-b"]) == (None, "c")
        assert client.is_kept()


def test_an_error_may_start_a_response(threads: int) -> None:
    def app(environ: Environ, start_response: StartResponse) -> list[bytes]:
        try:
            raise ValueError
        except ValueError:
            start_response("503 Busy", [], sys.exc_info())
        return [b"busy"]

    with asking(app, threads=threads) as client:
        response = client.ask(get())
        assert (response.status, response.body) == ("503 Busy", b"busy")
        assert client.is_kept()


@pytest.mark.parametrize("way", ["yield", "write"])
def test_an_error_after_headers_were_sent_is_raised_again(
    threads: int, capsys: pytest.CaptureFixture[str], way: str
) -> None:
    raised: list[BaseException | None] = []

    def app(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        write = start_response("200 OK", [])
        if way == "write":
            write(b"some")
        else:
            yield b"some"
        try:
            raise ValueError("mine")
        except ValueError as mine:
            try:
                start_response("500 Oh", [], sys.exc_info())
            except ValueError as again:
                raised.append(again if again is mine else None)
                raise
        yield b"never"

    with asking(app, threads=threads) as client:
        client.send(get())
        head = client.head()
        assert client.chunk() == b"some"
        assert client.is_cut(head)
    assert raised[0] is not None
    assert count_tracebacks(capsys.readouterr().err) == 1


def test_headers_may_change_until_they_are_sent(threads: int) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        headers = [("X-A", "b")]
        start_response("200 OK", headers)
        yield b""
        headers.append(("X-B", "c"))
        yield b"some"

    with asking(app, threads=threads) as client:
        assert client.ask(get())["x-b"] in (None, "c")
        assert client.is_kept()


def test_a_response_may_start_with_the_first_block(threads: int) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [("X-A", "b")])
        yield b"some"

    with asking(app, threads=threads) as client:
        response = client.ask(get())
        assert (response["x-a"], response.body) == ("b", b"some")


def test_write_comes_before_the_blocks(threads: int) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("200 OK", [("Content-Length", "4")])
        write(b"a")
        write(b"b")
        return [b"c", b"d"]

    with asking(app, threads=threads) as client:
        response = client.ask(get())
        assert (response.body, response.is_chunked) == (b"abcd", False)
        assert client.is_kept()


@pytest.mark.parametrize("way", ["whole", "blocks", "failing"])
def test_nothing_is_written_after_the_end(
    threads: int, capsys: pytest.CaptureFixture[str], way: str
) -> None:
    writes: list[Any] = []

    def app(environ: Environ, start_response: StartResponse) -> Any:
        if writes:
            with pytest.raises(Exception):  # noqa: B017, PT011 - whichever it is
                writes[0](b"late")
        writes.append(start_response("200 OK", []))
        if way == "failing":
            raise ValueError
        return [b"some"] if way == "whole" else iter([b"so", b"me"])

    with asking(app, threads=threads) as client:
        for _ in range(2):
            response = client.ask(get())
            assert response.status[:3] == ("500" if way == "failing" else "200")
            assert b"late" not in response.body
            assert client.is_kept()
    assert count_tracebacks(capsys.readouterr().err) == 2 * (way == "failing")


@pytest.mark.parametrize("data", ["text", None, 1, bytearray(b"a"), [b"a"]])
def test_what_is_not_bytes_is_not_written(
    threads: int, capsys: pytest.CaptureFixture[str], data: Any
) -> None:
    with asking(writing(data), threads=threads) as client:
        assert client.ask(get()).status == "500 Internal Server Error"
        assert client.is_kept()
    assert count_tracebacks(capsys.readouterr().err) == 1


@pytest.mark.parametrize(
    "result",
    [None, 1, b"bytes", "text", ["text"], [None], [b"a", None], (b"a", 1), [bytearray(b"a")]],
)
def test_what_is_no_iterable_of_bytes_is_an_error(
    threads: int, capsys: pytest.CaptureFixture[str], result: Any
) -> None:
    with asking(answering(result), threads=threads) as client:
        client.send(get())
        head = client.head()
        if head.is_chunked:  # the first block was good
            assert client.is_cut(head)
        else:
            assert head.status == "500 Internal Server Error"
    assert count_tracebacks(capsys.readouterr().err) == 1


def test_a_block_may_be_none_only_by_mistake(
    threads: int, capsys: pytest.CaptureFixture[str]
) -> None:
    body = Body(None, b"more")
    with asking(answering(body), threads=threads) as client:
        assert client.ask(get()).status == "500 Internal Server Error"
        assert client.is_kept()
    assert (count_tracebacks(capsys.readouterr().err), body.closed) == (1, 1)


@pytest.mark.parametrize("result", [[], [b"some"], (b"some",)])
def test_a_response_that_was_not_started_is_an_error(
    threads: int, capsys: pytest.CaptureFixture[str], result: Any
) -> None:
    with asking(lambda environ, start_response: result, threads=threads) as client:
        assert client.ask(get()).status == "500 Internal Server Error"
        assert client.is_kept()
    assert count_tracebacks(capsys.readouterr().err) == 1


# close()


def in_iter() -> Body:
    class Failing(Body):
        def __iter__(self) -> Body:
            raise ValueError("in iter")

    return Failing()


@pytest.mark.parametrize(
    ("make", "tracebacks"),
    [
        (lambda: Body(b"a", b"b"), 0),
        (lambda: Body(), 0),
        (in_iter, 1),
        (lambda: Body(ValueError()), 1),
        (lambda: Body(b"", ValueError()), 1),
        (lambda: Body(b"a", ValueError()), 1),
        (lambda: Body(b"a", "text"), 1),
        (lambda: Body("text"), 1),
        (lambda: Body(b"a", on_close=ValueError()), 1),
        (lambda: Body(on_close=ValueError()), 1),
        (lambda: Body(ValueError(), on_close=KeyError()), 2),
        (lambda: Body(b"a", ValueError(), on_close=KeyError()), 2),
    ],
)
def test_close_is_called_once(
    threads: int,
    capsys: pytest.CaptureFixture[str],
    make: Callable[[], Body],
    tracebacks: int,
) -> None:
    body = make()
    with serving(answering(body), threads=threads) as server:
        with client_of(server) as client:
            client.send(get("/", "Connection: close"))
            with contextlib.suppress(ConnectionResetError):
                receive_all(client.connection)
        with client_of(server) as client:
            assert client.is_kept()
    assert body.closed == 1
    assert count_tracebacks(capsys.readouterr().err) == tracebacks


def test_an_error_in_close_does_not_harm_the_response(
    threads: int, capsys: pytest.CaptureFixture[str]
) -> None:
    body = Body(b"a", b"b", on_close=ValueError())
    with asking(answering(body), threads=threads) as client:
        assert client.ask(get()).body == b"ab"
        assert client.is_kept()


def test_close_comes_after_the_last_block_was_sent(threads: int) -> None:
    may_close = threading.Event()

    class Waiting(Body):
        def close(self) -> None:
            assert may_close.wait(PATIENCE)
            super().close()

    body = Waiting(b"a", b"b")
    with asking(answering(body), threads=threads) as client:
        assert client.ask(get()).body == b"ab"
        may_close.set()
        assert client.is_kept()
    assert body.closed == 1


def test_close_is_looked_for_at_the_end(threads: int) -> None:
    closed: list[str] = []

    class Late(Body):
        def __next__(self) -> Any:
            self.close = lambda: closed.append("late")  # type: ignore[method-assign]
            return super().__next__()

    with asking(answering(Late(b"a")), threads=threads) as client:
        assert client.ask(get()).body == b"a"
    assert closed == ["late"]


def leave(client: Client) -> None:
    """Go away with what has come unread: the server's next bytes meet a reset."""
    client.file.close()
    client.connection.close()


@pytest.mark.parametrize("length", [(), [("Content-Length", str(1 << 40))]], ids=["", "length"])
def test_close_is_called_when_the_client_goes(
    threads: int,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    length: Iterable[Any],
) -> None:
    body = Endless()
    with serving(answering(body, headers=length), threads=threads) as server:
        with client_of(server) as client:
            client.send(get())
            client.head()
            leave(client)
        assert body.is_closed.wait(PATIENCE)
        with client_of(server) as client:
            assert client.is_kept()
    assert body.closed == 1
    assert capsys.readouterr().err == ""
    assert [message for message in logged(caplog) if "error" in message or "short" in message] == []


@pytest.mark.parametrize("way", ["whole", "blocks", "written"])
def test_a_client_that_goes_before_it_has_taken_all(
    threads: int,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    way: str,
) -> None:
    body = Body(bytes(MUCH), b"more")
    ended = threading.Event()

    def app(environ: Environ, start_response: StartResponse) -> Any:
        write = start_response("200 OK", [])
        if way == "written":
            try:
                write(bytes(MUCH))
                write(b"more")
            finally:
                ended.set()
        return [bytes(MUCH)] if way == "whole" else body

    with serving(app, threads=threads) as server:
        with client_of(server) as client:
            client.send(get())
            client.head()  # all the rest waits
            leave(client)
        if way == "blocks":
            assert body.is_closed.wait(PATIENCE)
        if way == "written":
            assert ended.wait(PATIENCE)
        with client_of(server) as client:
            assert client.is_kept()
    assert body.closed == (way == "blocks") or way == "written"
    assert body.closed < 2
    assert capsys.readouterr().err == ""
    assert logged(caplog) == []


def test_close_is_called_when_the_client_takes_nothing(
    threads: int, caplog: pytest.LogCaptureFixture
) -> None:
    body = Endless()
    with asking(answering(body), threads=threads, send_timeout=0.05) as client:
        client.send(get())
        head = client.head()
        assert body.is_closed.wait(PATIENCE)
        assert client.is_cut(head)
    assert body.closed == 1
    (message,) = logged(caplog)
    assert "takes nothing" in message


def test_close_is_called_when_the_server_ends(threads: int) -> None:
    body = Endless()
    with ExitStack() as clients:
        with serving(answering(body), threads=threads, shutdown_timeout=0.0) as server:
            client = clients.enter_context(client_of(server))
            client.send(get())
            client.head()
        assert body.is_closed.wait(PATIENCE)
    assert body.closed == 1


# The environ is the application's


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("change", ["clear", "alter"])
@pytest.mark.parametrize("way", ["whole", "blocks", "failing"])
def test_nothing_is_read_from_the_environ_afterwards(
    capsys: pytest.CaptureFixture[str],
    threads: int,
    version: str,
    method: str,
    change: str,
    way: str,
) -> None:
    other = io.StringIO()

    def app(environ: Environ, start_response: StartResponse) -> Any:
        if change == "clear":
            environ.clear()
        else:
            environ.update(
                REQUEST_METHOD="GET" if method == "HEAD" else "HEAD",
                SERVER_PROTOCOL="HTTP/1.0" if version == "1.1" else "HTTP/1.1",
                HTTP_CONNECTION="close",
            )
            environ.update({"wsgi.errors": other, "wsgi.input": None})
        if way == "failing":
            raise ValueError
        start_response("200 OK", [])
        return [b"some"] if way == "whole" else iter([b"so", b"me"])

    with asking(app, threads=threads) as client:
        request = get("/", "Connection: keep-alive", method=method, version=version)
        response = client.ask(request, method)
        assert response.status[:3] == ("500" if way == "failing" else "200")
        if method == "GET" and way != "failing":
            assert response.body == b"some"
        assert response.is_chunked == (version == "1.1" and way == "blocks" and method == "GET")
        if response["connection"] != "close":
            assert client.is_kept()
        assert (response["connection"] == "close") == (
            version == "1.0" and way == "blocks" and method == "GET"
        )
    assert other.getvalue() == ""
    assert count_tracebacks(capsys.readouterr().err) == (way == "failing")


def test_an_environ_is_nobody_elses(threads: int) -> None:
    def app(environ: Environ, start_response: StartResponse) -> list[bytes]:
        found = str(environ.get("X")).encode()
        environ["X"] = "mine"
        environ["SERVER_NAME"] = environ["wsgi.version"] = None
        start_response("200 OK", [])
        return [found]

    with asking(app, threads=threads) as client:
        assert [client.ask(get()).body for _ in range(3)] == [b"None"] * 3


# Exceptions


class OddError(BaseException):
    """Not an `Exception`."""


#: Whatever an application fails with, it is that request's failure.
ERRORS = [
    *(ValueError, SystemExit, GeneratorExit, asyncio.CancelledError, OddError),
    *(StopIteration, ConnectionResetError, BrokenPipeError, TimeoutError, BlockingIOError),
]


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_before_the_headers_is_answered(
    threads: int, capsys: pytest.CaptureFixture[str], error: type[BaseException]
) -> None:
    with asking(calling(lambda: fail(error("mine"))), threads=threads) as client:
        response = client.ask(get())
        assert response.status == "500 Internal Server Error"
        assert b"mine" not in response.body
        assert b"error" in response.body
        assert response["connection"] is None
        assert client.is_kept()
    assert count_tracebacks(capsys.readouterr().err) == 1


@pytest.mark.parametrize("error", [error for error in ERRORS if error is not StopIteration])
@pytest.mark.parametrize("early", [[], [b""]], ids=["", "empty-block"])
def test_an_error_of_the_iteration_before_the_headers_too(
    threads: int,
    capsys: pytest.CaptureFixture[str],
    error: type[BaseException],
    early: list[bytes],
) -> None:
    body = Body(*early, error("mine"))
    app = answering(body, headers=[("X-A", "b"), ("Content-Length", "9")])
    with asking(app, threads=threads) as client:
        response = client.ask(get())
        assert (response.status, response["x-a"]) == ("500 Internal Server Error", None)
        assert client.is_kept()
    assert (body.closed, count_tracebacks(capsys.readouterr().err)) == (1, 1)


@pytest.mark.parametrize("error", [error for error in ERRORS if error is not StopIteration])
@pytest.mark.parametrize("kind", ["chunked", "length", "1.0"])
def test_an_error_after_the_headers_aborts_the_connection(
    threads: int, capsys: pytest.CaptureFixture[str], error: type[BaseException], kind: str
) -> None:
    body = Body(b"some", error("mine"))
    headers = [("Content-Length", "9")] if kind == "length" else []
    with serving(answering(body, headers=headers), threads=threads) as server:
        with client_of(server) as client:
            client.send(get(version="1.0" if kind == "1.0" else "1.1") + get("/more"))
            assert client.is_cut(client.head())
        with client_of(server) as client:
            assert client.is_kept()
    assert (body.closed, count_tracebacks(capsys.readouterr().err)) == (1, 1)


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_of_close_is_only_logged(
    threads: int, capsys: pytest.CaptureFixture[str], error: type[BaseException]
) -> None:
    body = Body(b"a", b"b", on_close=error("mine"))
    with asking(answering(body), threads=threads) as client:
        assert client.ask(get()).body == b"ab"
        assert client.is_kept()
    assert (body.closed, count_tracebacks(capsys.readouterr().err)) == (1, 1)


def test_an_error_after_write_aborts_the_connection(
    threads: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def app(environ: Environ, start_response: StartResponse) -> None:
        start_response("200 OK", [])(b"some")
        raise ValueError

    with asking(app, threads=threads) as client:
        client.send(get())
        assert client.is_cut(client.head())
    assert count_tracebacks(capsys.readouterr().err) == 1


def test_an_error_before_the_headers_closes_where_that_was_asked_for(
    threads: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with asking(calling(lambda: fail(ValueError())), threads=threads) as client:
        response = client.ask(get("/", "Connection: close"))
        assert response["connection"] == "close"
        assert client.is_closed()
        assert response.status == "500 Internal Server Error"


def test_a_server_without_an_application_says_so(
    threads: int, capsys: pytest.CaptureFixture[str]
) -> None:
    server = Server(("127.0.0.1", 0), threads=threads)
    with running(server), connected(server) as connection:
        client = Client(connection)
        with client.file:
            assert client.ask(get()).status == "500 Internal Server Error"
            assert client.ask(get()).status == "500 Internal Server Error"
    assert count_tracebacks(capsys.readouterr().err) == 2


# What cannot be sent

BAD_STATUSES: list[Any] = [
    *("", "200", "2000 SECRET", "20 SECRET", "abc SECRET", "199 SECRET", "600 SECRET", " 200 OK"),
    *("200 SECRET\r\nX-SECRET: a", "200 SECRET\n", "200 SECRET\0", "200 SECRET\x7f"),
    *("200 SECRET \u20ac", "\u0662\u0660\u0660 SECRET", b"200 SECRET", 200, None),
]
BAD_HEADERS: list[Any] = [
    *(None, (), {"X-SECRET": "a"}, iter([("X-SECRET", "a")]), [["X-SECRET", "a"]]),
    *([("X-SECRET",)], [("X-SECRET", "a", "b")], ["X-SECRET: a"], [None]),
    *([("X-SECRET", None)], [("X-SECRET", 1)], [("X-SECRET", b"a")], [(b"X-SECRET", "a")]),
    *([("X-SECRET", "a\r\nX-SECRET: b")], [("X-SECRET", "a\n")], [("X-SECRET", "a\r")]),
    *([("X-SECRET", "a\0")], [("X-SECRET", "\x7f")], [("X-SECRET", "a\x1f")]),
    *([("X-SECRET", "\u20ac")], [("X-SECRET\u20ac", "a")], [("X-SECRET\xe9", "a")]),
    *([("X SECRET", "a")], [("X-SECRET:", "a")], [("", "SECRET")], [("X-SECRET\r\n", "a")]),
    *([("X-SECRET\t", "a")], [(" X-SECRET", "a")], [("X-SECRET", "b"), ("Y(SECRET)", "a")]),
    *([("Connection", "keep-alive")], [("Connection", "close, SECRET")], [("Connection", "")]),
    *([("Transfer-Encoding", "chunked")], [("transfer-encoding", "close")], [("TE", "close")]),
    *([("Upgrade", "SECRET")], [("Keep-Alive", "timeout=5")], [("Trailers", "X-SECRET")]),
    *([("keep-alive", "close")], [("Proxy-Authenticate", "SECRET")], [("Upgrade", "close")]),
    *([("Proxy-Authorization", "SECRET")], [("X-SECRET", "a"), ("TE", "trailers")]),
    *([("Content-Length", "SECRET")], [("Content-Length", "-1")], [("Content-Length", "+4")]),
    *([("Content-Length", "")], [("Content-Length", "4"), ("Content-Length", "5")]),
    *([("Content-Length", "\xb2")], [("Content-Length", "4.0")], [("Content-Length", "0x4")]),
]


def assert_refused(client: Client, case: object = None) -> None:
    """Show that nothing of a bad head was sent."""
    client.send(get())
    head = client.head()
    assert head.status == "500 Internal Server Error", case
    assert "SECRET" not in repr(head), case
    assert head.all("transfer-encoding") == head.all("connection") == []
    assert b"SECRET" not in client.file.read(int(head["content-length"]))
    assert client.is_kept()


@pytest.mark.parametrize("way", ["whole", "blocks"])
def test_what_cannot_be_sent_is_an_error(
    threads: int, capsys: pytest.CaptureFixture[str], way: str
) -> None:
    # One connection for all of them: what one left behind would harm the next.
    current: list[tuple[Any, Any]] = []

    def app(environ: Environ, start_response: StartResponse) -> Any:
        start_response(*current[0])
        return [b"some"] if way == "whole" else iter([b"so", b"me"])

    cases: list[tuple[Any, Any]] = [(status, []) for status in BAD_STATUSES]
    cases += [("200 OK", headers) for headers in BAD_HEADERS]
    with asking(app, threads=threads) as client:
        for case in cases:
            current[:] = [case]
            assert_refused(client, case)
            errors = capsys.readouterr().err
            assert count_tracebacks(errors) == 1, case
    assert "SECRET" not in capsys.readouterr().out


@pytest.mark.parametrize("way", ["whole", "blocks", "write"])
@pytest.mark.parametrize("bad", [("X-SECRET", "a\r\nb"), ("Upgrade", "SECRET"), "SECRET"])
def test_headers_that_become_bad_later_are_an_error(
    threads: int, capsys: pytest.CaptureFixture[str], way: str, bad: Any
) -> None:
    body = Body(b"so", b"me")

    def app(environ: Environ, start_response: StartResponse) -> Any:
        headers: list[Any] = [("X-A", "b")]
        write = start_response("200 OK", headers)
        headers.append(bad)
        if way == "write":
            write(b"some")
        return [b"some"] if way == "whole" else body

    with asking(app, threads=threads) as client:
        assert_refused(client)
    assert body.closed == (way == "blocks")
    assert count_tracebacks(capsys.readouterr().err) == 1


def test_a_bad_head_may_be_replaced(threads: int) -> None:
    def app(environ: Environ, start_response: StartResponse) -> list[bytes]:
        try:
            start_response("200 OK", [("X-SECRET", "a\n")])
        except ValueError:
            start_response("400 No", [], sys.exc_info())
        return [b"no"]

    with asking(app, threads=threads) as client:
        response = client.ask(get())
        assert (response.status, response["x-secret"], response.body) == ("400 No", None, b"no")
        assert client.is_kept()


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        ("200 ", []),
        ("299 \xc4rger", [("X-A", "\xe4\xf6")]),
        ("599 Odd\tone", [("X-A", "a\tb"), ("X-A", "c"), ("x.y!#$%&'*+-^_`|~", "")]),
        ("404 Not Found", [("Set-Cookie", "a=b"), ("Set-Cookie", "c=d")]),
    ],
)
@pytest.mark.parametrize("way", [list, iter], ids=["whole", "blocks"])
def test_what_can_be_sent_is_sent(
    threads: int, status: str, headers: Headers, way: Callable[..., Any]
) -> None:
    app = answering(lambda: way([b"some"]), status, headers)
    with asking(app, threads=threads) as client:
        response = client.ask(get())
        assert response.status == status
        assert [item for item in response.headers if item in headers] == headers
        assert response.body == b"some"
        assert client.is_kept()


# Streaming


@pytest.mark.parametrize("way", ["yield", "write"])
@pytest.mark.parametrize("kind", ["chunked", "length", "1.0"])
def test_each_block_leaves_at_once(threads: int, way: str, kind: str) -> None:
    has_come = threading.Semaphore(0)

    def wait(block: bytes) -> bytes:
        assert has_come.acquire(timeout=PATIENCE)
        return block

    def app(environ: Environ, start_response: StartResponse) -> Any:
        write = start_response("200 OK", [("Content-Length", "3")] if kind == "length" else [])
        if way == "yield":
            return Body(b"a", lambda: wait(b"b"), lambda: wait(b"c"), lambda: wait(b""))
        write(b"a")
        write(wait(b"b"))
        write(wait(b"c"))
        wait(b"")
        return []

    with asking(app, threads=threads) as client:
        client.send(get(version="1.0" if kind == "1.0" else "1.1"))
        client.head()
        for block in (b"a", b"b", b"c"):
            assert (client.chunk() if kind == "chunked" else client.file.read(1)) == block
            has_come.release()
        if kind == "chunked":
            assert client.chunk() == b""


@pytest.mark.parametrize("way", ["blocks", "file"])
def test_a_slow_reader_stops_the_iteration(threads: int, tmp_path: Path, way: str) -> None:
    """What was made and not taken stays bounded; others are served; nothing is lost."""
    total, ahead, taken = 2 * MUCH, [0], [0]

    def made() -> Iterator[bytes]:
        for start in range(0, total, 1 << 16):
            ahead[0] = max(ahead[0], start - taken[0])
            yield start.to_bytes(4, "big") * (1 << 14)

    class Counting(io.BytesIO):
        blocks = made()

        def read(self, size: int | None = -1) -> bytes:
            return next(self.blocks, b"")

    def app(environ: Environ, start_response: StartResponse) -> Any:
        start_response("200 OK", [("Content-Length", str(total))])
        return made() if way == "blocks" else environ["wsgi.file_wrapper"](Counting())

    with serving(app, threads=threads) as server, client_of(server) as slow:
        slow.send(get())
        slow.head()
        with client_of(server) as other:
            for _ in range(10):
                assert other.is_kept()
        for start in range(0, total, 1 << 16):
            assert slow.file.read(1 << 16) == start.to_bytes(4, "big") * (1 << 14)
            taken[0] = start
        assert slow.is_kept()
    assert ahead[0] < MUCH // 2


def test_what_is_written_for_a_slow_reader_is_not_lost(threads: int) -> None:
    total, done = MUCH, threading.Event()

    def app(environ: Environ, start_response: StartResponse) -> list[bytes]:
        write = start_response("200 OK", [("Content-Length", str(total))])
        for start in range(0, total - 4096, 4096):
            write(start.to_bytes(4, "big") * 1024)
        done.set()
        return [(total - 4096).to_bytes(4, "big") * 1024]

    with asking(app, threads=threads) as client:
        client.send(get() + get("/more"))
        client.head()
        if not threads:
            assert done.wait(PATIENCE)  # in the loop nothing else could go on
        for start in range(0, total, 4096):
            assert client.file.read(4096) == start.to_bytes(4, "big") * 1024
        assert client.receive().body == b"more"
        assert client.is_kept()


def test_one_large_block_does_not_stop_the_others(threads: int) -> None:
    app = answering([bytes(MUCH)])
    with (
        serving(app, threads=threads) as server,
        client_of(server) as slow,
        client_of(server) as other,
    ):
        slow.send(get() + get("/more"))
        slow.head()
        assert other.is_kept()
        assert len(slow.file.read(MUCH)) == MUCH
        assert slow.receive().body == b"more"
        assert slow.is_kept()


# Files

DATA = bytes(range(256)) * 40


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "data"
    found.write_bytes(DATA)
    return found


class Sent:
    """An application that answers with a file, and what has become of the file."""

    def __init__(
        self, make: Callable[[], Any], headers: Iterable[Any] = (), status: str = "200 OK"
    ) -> None:
        self.make = make
        self.headers = headers
        self.status = status
        self.closed = 0
        self.is_closed = threading.Event()
        self.offset = -1

    def __call__(self, environ: Environ, start_response: StartResponse) -> Any:
        start_response(self.status, list(self.headers))
        file = self.make()
        wrapper = environ["wsgi.file_wrapper"](file, 1000)
        wrapper.close = lambda: self.close(file)
        return wrapper

    def close(self, file: Any) -> None:
        self.closed += 1
        with contextlib.suppress(OSError):
            # The kernel sends from an offset and leaves the file's own alone.
            self.offset = os.lseek(file.fileno(), 0, os.SEEK_CUR)
        file.close()
        self.is_closed.set()


def opened(path: Path, position: int = 0, buffering: int = -1) -> Callable[[], BinaryIO]:
    def make() -> BinaryIO:
        file = path.open("rb", buffering)
        file.seek(position)
        return file

    return make


@pytest.mark.parametrize("buffering", [-1, 0], ids=["buffered", "raw"])
@pytest.mark.parametrize("position", [0, 1, 5000, len(DATA) - 1])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_file_is_sent_from_its_position(
    threads: int, path: Path, buffering: int, position: int, version: str
) -> None:
    app = Sent(opened(path, position, buffering))
    with asking(app, threads=threads) as client:
        response = client.ask(get("/", "Connection: keep-alive", version=version))
        assert response.body == DATA[position:]
        assert response["content-length"] == str(len(DATA) - position)
        assert client.is_kept()
    assert app.closed == 1
    if hasattr(os, "sendfile"):
        assert app.offset == position


@pytest.mark.parametrize("position", [len(DATA), len(DATA) + 9])
def test_a_file_at_its_end_is_empty(threads: int, path: Path, position: int) -> None:
    app = Sent(opened(path, position))
    with asking(app, threads=threads) as client:
        assert client.ask(get()).body == b""
        assert client.is_kept()
    assert app.closed == 1


def test_a_file_that_was_read_from_goes_on_there(threads: int, path: Path) -> None:
    def make() -> BinaryIO:
        file = path.open("rb")
        assert file.read(3) == DATA[:3]  # the buffer has read further
        return file

    app = Sent(make)
    with asking(app, threads=threads) as client:
        assert client.ask(get()).body == DATA[3:]
    assert app.closed == 1


def test_a_file_that_was_written_to_is_sent_as_it_reads(threads: int, path: Path) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Any:
        start_response("200 OK", [])
        wrapper = environ["wsgi.file_wrapper"](file)
        wrapper.close = lambda: None  # to close it would write what it holds
        return wrapper

    with path.open("r+b") as file, asking(app, threads=threads) as client:
        file.read(9)
        file.seek(0)
        file.write(b"XYZ")  # stays in the buffer
        file.seek(1)
        assert client.ask(get()).body == b"YZ" + DATA[3:]
        assert client.is_kept()


@pytest.mark.parametrize("buffering", [-1, 0], ids=["buffered", "raw"])
def test_a_file_is_read_by_a_method_of_its_own(threads: int, path: Path, buffering: int) -> None:
    def make() -> BinaryIO:
        file = path.open("rb", buffering)
        read = file.read
        file.read = lambda size=-1: read(size).swapcase()  # type: ignore[method-assign]
        return file

    app = Sent(make)
    with asking(app, threads=threads) as client:
        assert client.ask(get()).body == DATA.swapcase()
    assert app.closed == 1


@pytest.mark.parametrize("mode", ["ab", "closed"])
def test_a_file_that_cannot_be_read_is_an_error(
    threads: int, capsys: pytest.CaptureFixture[str], path: Path, mode: str
) -> None:
    def make() -> Any:
        file = io.FileIO(str(path), "ab" if mode == "ab" else "rb")
        file.seek(0)
        if mode == "closed":
            file.close()
        return file

    def app(environ: Environ, start_response: StartResponse) -> Any:
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](make())

    with asking(app, threads=threads) as client:
        assert client.ask(get()).status == "500 Internal Server Error"
        assert client.is_kept()
    assert count_tracebacks(capsys.readouterr().err) == 1


@pytest.mark.parametrize("length", [0, 1, 999, 1000, 1001, len(DATA) - 7])
def test_at_most_its_length_is_sent(threads: int, path: Path, length: int) -> None:
    app = Sent(opened(path, 7), [("Content-Length", str(length))])
    with asking(app, threads=threads) as client:
        response = client.ask(get())
        assert response.body == DATA[7 : 7 + length]
        assert response.all("content-length") == [str(length)]
        assert client.is_kept()
    assert app.closed == 1


def test_a_file_shorter_than_its_length_ends_the_connection(
    threads: int, caplog: pytest.LogCaptureFixture, path: Path
) -> None:
    app = Sent(opened(path), [("Content-Length", str(len(DATA) + 1))])
    with asking(app, threads=threads) as client:
        client.send(get() + get("/more"))
        client.head()
        assert client.file.read() == DATA
    assert app.closed == 1
    (message,) = logged(caplog)
    assert "shorter than its Content-Length" in message


def test_a_file_in_memory_is_sent_in_blocks(threads: int) -> None:
    app = Sent(lambda: io.BytesIO(DATA))
    with asking(app, threads=threads) as client:
        client.send(get())
        assert client.head().is_chunked
        blocks = list(iter(client.chunk, b""))
        assert b"".join(blocks) == DATA
        assert {len(block) for block in blocks[:-1]} == {1000}
        assert client.is_kept()
    assert app.closed == 1


def test_a_pipe_is_sent_in_blocks(threads: int) -> None:
    def make() -> BinaryIO:
        reading, writing = os.pipe()
        with open(writing, "wb") as file:
            file.write(DATA)
        return open(reading, "rb")

    app = Sent(make)
    with asking(app, threads=threads) as client:
        assert client.ask(get()).body == DATA
        assert client.is_kept()
    assert app.closed == 1


def test_a_file_with_a_read_of_its_own_is_sent_as_it_reads(threads: int, path: Path) -> None:
    class Upper(io.FileIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(size).upper()

    app = Sent(lambda: Upper(str(path)))
    with asking(app, threads=threads) as client:
        assert client.ask(get()).body == DATA.upper()
    assert app.closed == 1


def test_an_application_may_read_from_the_wrapper(threads: int, path: Path) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Any:
        start_response("200 OK", [])
        wrapper = environ["wsgi.file_wrapper"](path.open("rb"), 10)
        assert next(wrapper) == DATA[:10]
        return wrapper

    with asking(app, threads=threads) as client:
        assert client.ask(get()).body == DATA[10:]


def test_a_wrapper_may_be_passed_on(threads: int, path: Path) -> None:
    app = Sent(opened(path))

    def passing(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        wrapper = app(environ, start_response)
        try:
            yield from wrapper
        finally:
            wrapper.close()

    with asking(passing, threads=threads) as client:
        assert client.ask(get()).body == DATA
    assert app.closed == 1


def test_a_file_may_follow_what_was_written(threads: int, path: Path) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Any:
        write = start_response("200 OK", [])
        write(b"before")
        return environ["wsgi.file_wrapper"](path.open("rb"))

    with asking(app, threads=threads) as client:
        assert client.ask(get()).body == b"before" + DATA
        assert client.is_kept()
        assert client.ask(get(version="1.0")).body == b"before" + DATA


def test_a_file_may_follow_what_was_written_within_a_length(threads: int, path: Path) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Any:
        write = start_response("200 OK", [("Content-Length", "10")])
        write(b"before")
        return environ["wsgi.file_wrapper"](path.open("rb"))

    with asking(app, threads=threads) as client:
        assert client.ask(get()).body == b"before" + DATA[:4]
        assert client.is_kept()


def test_a_file_is_not_sent_where_there_is_no_body(threads: int, path: Path) -> None:
    app = Sent(opened(path))
    with asking(app, threads=threads) as client:
        response = client.ask(get(method="HEAD"), "HEAD")
        assert response["content-length"] in (None, str(len(DATA)))
        assert client.is_kept()
        app.status = "304 Not Modified"
        response = client.ask(get())
        assert response.status == "304 Not Modified"
        assert response["transfer-encoding"] is None
        assert client.is_kept()
    assert app.closed == 2


def test_a_large_file_and_a_slow_reader(threads: int, tmp_path: Path) -> None:
    path = tmp_path / "large"
    size = MUCH
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(size - 3)
        file.write(b"end")
    app = Sent(opened(path))
    with serving(app, threads=threads) as server, client_of(server) as slow:
        slow.send(get() + get("/more"))
        assert slow.head()["content-length"] == str(size)
        with client_of(server) as other:
            assert other.is_kept()
        body = slow.file.read(size)
        assert (len(body), body[-3:]) == (size, b"end")
        assert slow.receive().body == b"more"
    assert app.closed == 1


def test_a_client_goes_while_it_is_sent_a_file(
    threads: int,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(MUCH)
    app = Sent(opened(path))
    with serving(app, threads=threads) as server:
        with client_of(server) as client:
            client.send(get())
            client.head()
            leave(client)
        assert app.is_closed.wait(PATIENCE)
        with client_of(server) as client:
            assert client.is_kept()
    assert app.closed == 1
    assert capsys.readouterr().err == ""
    assert logged(caplog) == []


# Date and Server


@pytest.mark.parametrize("server_header", [None, "mine/1.0", ""])
def test_each_response_has_a_date_and_a_server(
    threads: int, capsys: pytest.CaptureFixture[str], server_header: str | None
) -> None:
    options = {} if server_header is None else {"server_header": server_header}
    expected = {None: "wsgiref_fast", "": None}.get(server_header, server_header)

    def check(response: Response, status: str) -> None:
        assert response.status[:3] == status
        assert response["server"] == expected
        assert str(response["date"]).endswith(" GMT")

    with serving(many_kinds, threads=threads, **options) as server:
        with client_of(server) as client:
            check(client.ask(get("/whole")), "200")
            check(client.ask(get("/blocks")), "200")
            check(client.ask(get("/empty")), "204")
            check(client.ask(get("/fails")), "500")
            check(client.ask(get("/head", method="HEAD"), "HEAD"), "200")
        refused = {
            b"GET /\r\n\r\n": "400",
            b"GET / HTTP/1.1\r\n\r\n": "400",
            b"GET / HTTP/2.0\r\n\r\n": "505",
            get(f"/{'a' * 9000}"): "414",
            get("/", f"A: {'a' * 9000}"): "431",
            get("/", "Expect: more"): "417",
            get("/", "Transfer-Encoding: a", method="POST"): "501",
            get("/", f"Content-Length: {1 << 50}", method="POST"): "413",
        }
        for request, status in refused.items():
            with client_of(server) as client:
                response = client.ask(request)
                check(response, status)
                assert response["connection"] == "close"
                assert client.is_closed()


@pytest.mark.parametrize("way", [list, iter], ids=["whole", "blocks"])
def test_an_application_may_have_its_own(threads: int, way: Callable[..., Any]) -> None:
    app = answering(lambda: way([b"a"]), headers=[("date", "now"), ("SERVER", "mine")])
    with asking(app, threads=threads) as client:
        response = client.ask(get())
        assert (response["date"], response["server"]) == ("now", "mine")


# Early hints

LINKS = [("Link", "</a.css>; rel=preload"), ("Link", "</b.js>; rel=preload")]


@pytest.mark.parametrize("way", [list, iter], ids=["whole", "blocks"])
def test_early_hints_come_first(threads: int, way: Callable[..., Any]) -> None:
    has_come = threading.Event()

    def app(environ: Environ, start_response: StartResponse) -> Any:
        environ["wsgi.early_hints"](LINKS)
        assert has_come.wait(PATIENCE)
        start_response("200 OK", [("X-A", "b")])
        environ["wsgi.early_hints"](iter(LINKS[:1]))
        return way([b"some"])

    with asking(app, threads=threads) as client:
        client.send(get())
        hints = client.head()
        assert (hints.status, hints.headers) == ("103 Early Hints", LINKS)
        has_come.set()
        assert client.head().headers == LINKS[:1]
        response = client.receive()
        assert (response.status, response["x-a"], response.body) == ("200 OK", "b", b"some")
        assert client.is_kept()


def test_before_1_1_there_are_no_early_hints(threads: int) -> None:
    def app(environ: Environ, start_response: StartResponse) -> list[bytes]:
        environ["wsgi.early_hints"](LINKS)
        start_response("200 OK", [])
        return [b"some"]

    with asking(app, threads=threads) as client:
        assert client.ask(get(version="1.0")).status == "200 OK"


def test_hints_come_too_late_after_the_head(threads: int) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"so"
        environ["wsgi.early_hints"](LINKS)
        yield b"me"

    with asking(app, threads=threads) as client:
        assert client.ask(get()).body == b"some"
        assert client.is_kept()


@pytest.mark.parametrize(
    "headers", [[("X-SECRET", "a\r\nb")], [("Connection", "SECRET")], [("X SECRET", "a")], [1]]
)
def test_bad_hints_are_an_error(
    threads: int, capsys: pytest.CaptureFixture[str], headers: Any
) -> None:
    def app(environ: Environ, start_response: StartResponse) -> list[bytes]:
        environ["wsgi.early_hints"](headers)
        start_response("200 OK", [])
        return [b"some"]

    with asking(app, threads=threads) as client:
        assert_refused(client)
    assert count_tracebacks(capsys.readouterr().err) == 1


def test_an_error_after_the_hints_is_answered(
    threads: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def app(environ: Environ, start_response: StartResponse) -> list[bytes]:
        environ["wsgi.early_hints"](LINKS)
        raise ValueError

    with asking(app, threads=threads) as client:
        client.send(get())
        assert client.head().status == "103 Early Hints"
        assert client.receive().status == "500 Internal Server Error"
        assert client.is_kept()
    assert count_tracebacks(capsys.readouterr().err) == 1


# PEP 3333, as those see it who check it

TYPED = [("Content-Type", "text/plain")]


def valid_app(environ: Environ, start_response: StartResponse) -> Any:
    kind = environ["PATH_INFO"]
    body = environ["wsgi.input"].read(5)
    environ["wsgi.errors"].flush()
    if kind == "/none":
        start_response("204 No Content", [])
        return []
    write = start_response("200 OK", TYPED)
    if kind == "/written":
        write(b"so")
        write(b"me")
        return []
    if kind == "/blocks":
        return Body(b"so", b"", b"me")
    if kind == "/file":
        return environ["wsgi.file_wrapper"](io.BytesIO(b"some"))
    if kind == "/error":
        try:
            raise ValueError
        except ValueError:
            start_response("500 Oh", TYPED, sys.exc_info())
        return [b"some"]
    return [body or b"some"]


@pytest.mark.parametrize("module", [wsgiref.validate, validate])
def test_validators_are_content(
    threads: int,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    module: Any,
) -> None:
    with asking(module.validator(valid_app), threads=threads) as client:
        for path in ("/", "/written", "/blocks", "/file", "/error", "/%e4?a=b"):
            response = client.ask(get(path, "Content-Type: a/b", "X-A: b", "X-A: c"))
            assert response.body == b"some"
            assert response.status == ("500 Oh" if path == "/error" else "200 OK")
            assert client.ask(get(path, method="HEAD"), "HEAD").status == response.status
            assert client.ask(post(path, b"other")).body in (b"some", b"other")
        assert client.ask(get("/none")).status == "204 No Content"
        assert client.ask(get(version="1.0")).body == b"some"
    gc.collect()  # an iterator that was not closed says so
    assert capsys.readouterr().err == ""
    assert logged(caplog) == []


@pytest.mark.parametrize("module", [wsgiref.validate, validate])
def test_validators_are_content_with_a_client_that_goes(
    threads: int, capsys: pytest.CaptureFixture[str], module: Any
) -> None:
    body = Endless()
    with serving(module.validator(answering(body, headers=TYPED)), threads=threads) as server:
        with client_of(server) as client:
            client.send(get())
            client.head()
            leave(client)
        assert body.is_closed.wait(PATIENCE)
    gc.collect()
    assert body.closed == 1
    assert capsys.readouterr().err == ""


def test_what_an_application_finds_in_its_environ(threads: int) -> None:
    found: list[Environ] = []

    def app(environ: Environ, start_response: StartResponse) -> list[bytes]:
        found.append(dict(environ))
        start_response("200 OK", [])
        return []

    with asking(app, threads=threads) as client:
        client.ask(get())
        client.ask(get())
    for environ in found:
        assert type(environ) is dict
        assert environ["wsgi.version"] == (1, 0)
        assert environ["wsgi.multithread"] is (threads > 0)
        assert environ["wsgi.multiprocess"] is environ["wsgi.run_once"] is False
        assert environ["wsgi.input_terminated"] is True
        assert environ["wsgi.url_scheme"] == "http"
        assert callable(environ["wsgi.early_hints"])
        assert callable(environ["wsgi.file_wrapper"])


@pytest.mark.usefixtures("threads")
def test_errors_of_an_application_can_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    def app(environ: Environ, start_response: StartResponse) -> list[bytes]:
        environ["wsgi.errors"].write("said\n")
        environ["wsgi.errors"].writelines(["a", "b\n"])
        start_response("200 OK", [])
        return []

    with asking(app) as client:
        client.ask(get())
    assert capsys.readouterr().err == "said\nab\n"


@pytest.fixture(autouse=True)
def _logging_is_heard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "wsgiref_fast.server")
