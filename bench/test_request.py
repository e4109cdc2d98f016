"""A request through `WSGIRequestHandler` and its steps, in memory."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from contextlib import redirect_stderr
from typing import Any

import pytest

from . import subjects
from .conftest import Discarded, Timed
from .inputs import BROWSER, HEADS, REFUSALS, REQUESTS, page_app
from .subjects import Subject

_CLIENT = ("127.0.0.1", 54321)


class StubConnection:
    """A connection that has received a request, and takes the answer; as lean as can be."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self.sent: list[bytes] = []
        self.sendall = self.sent.append

    def makefile(self, mode: str, bufsize: int = -1) -> io.BufferedIOBase:
        return io.BytesIO(self._request)


class BufferedConnection(StubConnection):
    """The same with a buffered file, as a socket's is, which is dear to make and to close."""

    def makefile(self, mode: str, bufsize: int = -1) -> io.BufferedIOBase:
        return io.BufferedReader(io.BytesIO(self._request))


def _server(subject: Subject, handler_class: Any) -> Any:
    """Return a server that never listens."""
    server = subject.simple_server.WSGIServer(_CLIENT, handler_class, bind_and_activate=False)
    server.server_close()
    server.server_name, server.server_port = "127.0.0.1", 8000
    server.setup_environ()
    server.set_app(page_app)
    return server


def _own_handler_class(subject: Subject) -> Any:
    """Return a request handler class with a ``handle()`` such as frameworks write."""
    server_handler = subject.simple_server.ServerHandler

    class Handler(subject.simple_server.WSGIRequestHandler):  # type: ignore[name-defined,misc]
        def handle(self) -> None:
            self.close_connection = True
            self.raw_requestline = self.rfile.readline(65537)
            if not self.parse_request():
                return
            handler = server_handler(
                self.rfile, self.wfile, self.get_stderr(), self.get_environ(), multithread=False
            )
            handler.request_handler = self
            handler.run(self.server.get_app())

    return Handler


def make_exchange(
    subject: Subject,
    request: bytes,
    own_handle: bool = False,
    connection_class: type[StubConnection] = StubConnection,
) -> Callable[[], bytes]:
    """Return a function that serves a request once and returns the response."""
    handler_class = subject.simple_server.WSGIRequestHandler
    if own_handle:
        handler_class = _own_handler_class(subject)
    server, connection = _server(subject, handler_class), connection_class(request)
    sent = connection.sent

    def exchange() -> bytes:
        sent.clear()
        handler_class(connection, _CLIENT, server)
        return b"".join(sent)

    return exchange


def undated(response: bytes) -> bytes:
    return re.sub(rb"\r\nDate: [^\r]+", b"\r\nDate: -", response)


def check_exchange(exchange: Callable[[], bytes], request: bytes) -> None:
    """Check that a response is whole, and just the standard library's."""
    response = undated(exchange())
    assert response.startswith(b"HTTP/1.0 200 OK\r\nDate: -\r\nServer: WSGIServer")
    assert response.endswith(b"\r\n\r\nHello, world! %d bytes\n" % (10240 * (b"POST" in request)))
    assert response == undated(make_exchange(subjects.load("stdlib"), request)())


@pytest.mark.parametrize("name", REQUESTS)
def test_request(name: str, subject: Subject, timed: Timed) -> None:
    request = REQUESTS[name]
    if name in REFUSALS:
        refusal = undated(make_exchange(subject, request)())
        assert refusal.startswith(REFUSALS[name])
        assert refusal == undated(make_exchange(subjects.load("stdlib"), request)())
    else:
        check_exchange(make_exchange(subject, request), request)
    timed(f"request in memory: {name}", lambda each: make_exchange(each, request))


def test_request_with_a_handle_of_the_users_own(subject: Subject, timed: Timed) -> None:
    def make(each: Subject) -> Callable[[], bytes]:
        return make_exchange(each, BROWSER, own_handle=True)

    check_exchange(make(subject), BROWSER)
    timed("request in memory: own handle()", make)


def test_request_from_a_buffered_file(subject: Subject, timed: Timed) -> None:
    def make(each: Subject) -> Callable[[], bytes]:
        return make_exchange(each, BROWSER, connection_class=BufferedConnection)

    check_exchange(make(subject), BROWSER)
    timed("request in memory: buffered", make)


def make_parser(subject: Subject, request: bytes) -> tuple[Any, Callable[[], bool]]:
    """Return a request handler that has served nothing, and what makes it parse a request."""
    handler_class = subject.simple_server.WSGIRequestHandler
    handler = handler_class.__new__(handler_class)
    handler.server = _server(subject, handler_class)
    handler.client_address = _CLIENT
    line, end, section = request.partition(b"\n")
    handler.raw_requestline = line + end
    handler.rfile = io.BufferedReader(io.BytesIO(section), len(section))
    handler.wfile = _Last()
    rewind, parse_request = handler.rfile.seek, handler.parse_request

    def parse() -> bool:
        rewind(0)  # within the buffer: a seventieth of a microsecond
        return parse_request()  # type: ignore[no-any-return]

    return handler, parse


class _Last:
    """A file that knows what was written to it last."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> int:
        self.written = data
        return len(data)

    def flush(self) -> None:
        pass


def _named(step: str, name: str) -> str:
    """Return how a case is called: the browser's request stands for all in the demands."""
    return step if name == "browser" else f"{step}: {name}"


@pytest.mark.parametrize("name", HEADS)
def test_parse_request(name: str, subject: Subject, timed: Timed) -> None:
    found: list[tuple[object, ...]] = []
    for each in (subject, subjects.load("stdlib")):
        handler, parse = make_parser(each, HEADS[name])
        with redirect_stderr(Discarded()):
            assert [parse(), parse()] == [name not in REFUSALS] * 2
        if name in REFUSALS:
            found.append((handler.requestline, undated(handler.wfile.written)))
            continue
        words = handler.requestline, handler.command, handler.path, handler.request_version
        found.append((words, handler.headers.items(), handler.close_connection))
    assert found[0] == found[1]
    timed(_named("parse_request()", name), lambda each: make_parser(each, HEADS[name])[1])


def make_environ_maker(subject: Subject, request: bytes) -> Callable[[], dict[str, Any]]:
    """Return the ``get_environ()`` of a request handler that has parsed a request."""
    handler, parse = make_parser(subject, request)
    assert parse()
    return handler.get_environ  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", [name for name in HEADS if name not in REFUSALS])
def test_get_environ(name: str, subject: Subject, timed: Timed) -> None:
    request = HEADS[name]
    environ = make_environ_maker(subject, request)()
    assert sum(key.startswith("HTTP_") for key in environ) > (name != "minimal")
    assert environ == make_environ_maker(subjects.load("stdlib"), request)()
    timed(_named("get_environ()", name), lambda each: make_environ_maker(each, request))


def make_runner(subject: Subject) -> Callable[[], bytes]:
    """Return a function that runs an application for a request and returns the response."""
    handler_class, errors = subject.handlers.SimpleHandler, Discarded()
    body, output = io.BytesIO(), io.BytesIO()

    def run() -> bytes:
        output.seek(0)  # and write over the last response, which is as long
        handler_class(body, output, errors, _ENVIRON).run(page_app)
        return output.getvalue()

    return run


_ENVIRON = {
    "REQUEST_METHOD": "GET",
    "SERVER_NAME": "localhost",
    "SERVER_PORT": "8000",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "SCRIPT_NAME": "",
    "PATH_INFO": "/",
    "QUERY_STRING": "",
}


def test_run(subject: Subject, timed: Timed) -> None:
    assert undated(make_runner(subject)()) == (
        b"HTTP/1.0 200 OK\r\nDate: -\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: 22\r\n\r\nHello, world! 0 bytes\n"
    )
    timed("SimpleHandler.run()", make_runner)
