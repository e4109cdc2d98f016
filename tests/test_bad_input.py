"""Bad requests and clients that go away: what they are answered, what is logged, what lasts."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any

import pytest

from support import (
    PATIENCE,
    ClosingServer,
    KeepingHandler,
    QuietHandler,
    StubSocket,
    connected,
    exchange,
    receive_all,
    reset,
    serving,
    split_response,
)
from wsgiref_fast.simple_server import WSGIRequestHandler, WSGIServer

pytestmark = pytest.mark.usefixtures("implementation")


class JoiningServer(ThreadingMixIn, WSGIServer):
    """A server whose threads have ended when it is closed."""


class Recorder:
    """An application that remembers the paths it was asked for."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        self.paths.append(environ["PATH_INFO"])
        start_response("200 OK", [])
        return [environ["wsgi.input"].read()]


GOOD = b"GET /good HTTP/1.0\r\n\r\n"

HANDLERS = pytest.mark.parametrize("handler_class", [QuietHandler, KeepingHandler])


@contextmanager
def surviving(
    handler_class: type[WSGIRequestHandler] = QuietHandler, app: Any = None
) -> Iterator[WSGIServer]:
    """Serve, and see afterwards that the server is in its senses and the application unasked."""
    recorder = Recorder()
    with serving(app or recorder, ClosingServer, handler_class) as server:
        yield server
        if app is None:
            version = handler_class.protocol_version.encode()
            assert exchange(server, GOOD).startswith(version + b" 200 OK\r\n")
    if app is None:
        assert recorder.paths == ["/good"]


def lines_of(*lines: str) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("iso-8859-1")


def with_field(field: str) -> bytes:
    return lines_of("GET /bad HTTP/1.1", "Host: x", field, "X-B: 2")


# Refused by this package: one line of log

OUR_REFUSALS = [
    pytest.param(with_field("X-A: 1\r2"), id="bare CR in a value"),
    pytest.param(with_field("X\rA: 1"), id="bare CR in a name"),
    pytest.param(with_field("X-A: 1\r\r"), id="bare CR at the end"),
    pytest.param(with_field("\rX-A: 1"), id="bare CR in front"),
    pytest.param(with_field("X-A : 1"), id="space before the colon"),
    pytest.param(with_field("X-A\t: 1"), id="tab before the colon"),
    pytest.param(with_field("X A: 1"), id="space in a name"),
    pytest.param(with_field("Content-Length : 5"), id="space behind Content-Length"),
    pytest.param(with_field("Transfer-Encoding : chunked"), id="and behind Transfer-Encoding"),
    pytest.param(with_field("Content-Length: 1, 2"), id="two lengths"),
    pytest.param(with_field("Content-Length: 1\r\nContent-Length: 2"), id="in two fields"),
    pytest.param(with_field("Content-Length: 1;"), id="malformed length"),
    pytest.param(with_field("Content-Length: \x0b1"), id="control character in a length"),
    pytest.param(with_field("Content-Length: 1\r\n 2"), id="folded length"),
    pytest.param(
        with_field("X-A: 1\r\n folded\r\nContent-Length: -1"), id="bad length of an odd request"
    ),
]


@HANDLERS
@pytest.mark.parametrize("request_bytes", OUR_REFUSALS)
def test_a_request_that_is_refused_costs_a_line_of_log(
    request_bytes: bytes, handler_class: type[WSGIRequestHandler]
) -> None:
    with surviving(handler_class) as server:
        status, headers, body = split_response(exchange(server, request_bytes))
        (line,) = server.__dict__["log"]
    assert status.split(" ", 2)[1] == "400"
    assert ("Connection", "close") in headers
    assert ("Content-Length", str(len(body))) in headers
    assert line.startswith("code 400, message ")


@pytest.mark.parametrize("request_bytes", OUR_REFUSALS)
def test_a_refusal_does_not_depend_on_how_the_request_comes_in(request_bytes: bytes) -> None:
    with surviving() as server, connected(server) as connection:
        try:
            for byte in request_bytes:
                connection.sendall(bytes([byte]))
        except OSError:
            pass  # refused before its end, and closed
        assert receive_all(connection).startswith(b"HTTP/1.0 400 ")


@pytest.mark.parametrize("value", ["\r\n chunked", "chunked\r\n , gzip", "chunked\r\n\t"])
def test_a_folded_coding_is_refused(value: str) -> None:
    with surviving() as server:
        response = exchange(server, with_field(f"Transfer-Encoding: {value}") + b"0\r\n\r\n")
    assert response.split(b" ", 2)[1] in (b"400", b"501")


# Refused by the standard library: two lines of log, as ever

REQUEST_LINES = [
    (b"GET /bad HTTP/2.0\r\n\r\n", 505),
    (b"GET /bad HTTP/x\r\n\r\n", 400),
    (b"GET /bad HTTP/1\r\n\r\n", 400),
    (b"GET /bad HTTP/1.-1\r\n\r\n", 400),
    (b"GET /bad HTTP/1.1.1\r\n\r\n", 400),
    (b"GET /bad http/1.1\r\n\r\n", 400),
    (b"GET /bad x HTTP/1.1\r\n\r\n", 400),
    (b"GET\r\n\r\n", 400),
    (b"POST /bad\r\n\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
]


@HANDLERS
@pytest.mark.parametrize(("request_bytes", "status"), REQUEST_LINES)
def test_a_bad_request_line_is_refused(
    request_bytes: bytes, status: int, handler_class: type[WSGIRequestHandler]
) -> None:
    with surviving(handler_class) as server:
        response = exchange(server, request_bytes)
        log = list(server.__dict__["log"])
    # Before a version is known the error page stands alone, as in HTTP/0.9.
    assert f"Error code: {status}".encode() in response
    assert log[0].startswith(f"code {status}, message ")
    assert f'" {status} -' in log[1].replace("HTTPStatus.", "")
    assert len(log) == 2


@pytest.mark.parametrize("request_bytes", [b"\r\n", b"   \r\n\r\n", b"\n"])
def test_an_empty_request_line_is_answered_by_closing(request_bytes: bytes) -> None:
    with surviving() as server:
        assert exchange(server, request_bytes) == b""
        assert server.__dict__["log"] == []


LIMITS = [
    pytest.param(b"GET /" + b"a" * 65_536 + b" HTTP/1.1\r\n\r\n", 414, id="request line"),
    pytest.param(b"a" * 1_000_000, 414, id="no line at all"),
    pytest.param(with_field("X-A: " + "a" * 65_536), 431, id="header line"),
    pytest.param(with_field("X-A: 1\r\n" + " a" * 32_769), 431, id="folded header line"),
    pytest.param(lines_of("GET /bad HTTP/1.1", *["X: 1"] * 101), 431, id="header lines"),
    pytest.param(lines_of("GET /bad HTTP/1.1", *["X: 1"] * 9999), 431, id="many header lines"),
]


@HANDLERS
@pytest.mark.parametrize(("request_bytes", "status"), LIMITS)
def test_what_is_too_long_is_refused(
    request_bytes: bytes, status: int, handler_class: type[WSGIRequestHandler]
) -> None:
    with surviving(handler_class) as server:
        response = exchange(server, request_bytes)
    assert f" {status} ".encode() in response.split(b"\r\n")[0]
    assert response.rstrip().endswith(b"</html>")


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(b"GET /" + b"a" * 65_515 + b" HTTP/1.1\r\n\r\n", id="request line"),
        pytest.param(lines_of("GET / HTTP/1.1", "X-A: " + "a" * 65_529), id="header line"),
        pytest.param(lines_of("GET / HTTP/1.1", *["X: 1"] * 99), id="header lines"),
    ],
)
def test_what_is_just_short_enough_is_served(request_bytes: bytes) -> None:
    with serving(Recorder()) as server:
        assert exchange(server, request_bytes).startswith(b"HTTP/1.0 200 ")


def test_a_request_that_ends_within_its_header_section_is_served_as_in_the_original() -> None:
    recorder = Recorder()
    with serving(recorder) as server, connected(server) as connection:
        connection.sendall(b"GET /cut HTTP/1.0\r\nX-A: 1\r\nX-B")
        connection.shutdown(socket.SHUT_WR)
        receive_all(connection)
    assert recorder.paths == ["/cut"]


# Requests that do not come to their end in time


class BriefHandler(QuietHandler):
    """A request handler that waits for no byte that has not come."""

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(0.01)  # the server itself may let it wait for ever


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(b"GET /bad HTT", id="request line"),
        pytest.param(b"GET /bad HTTP/1.1\r\n", id="no header"),
        pytest.param(b"GET /bad HTTP/1.1\r\nX-A: 1\r\nX-", id="header section"),
        pytest.param(b"GET /bad HTTP/01.1\r\nX-A: 1\r\nX-", id="odd request"),
        pytest.param(
            lines_of("POST /bad HTTP/1.1", "Transfer-Encoding: chunked") + b"5\r\nx", id="chunk"
        ),
    ],
)
def test_a_request_that_is_not_whole_in_time_is_refused(
    request_bytes: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    with surviving(BriefHandler) as server:
        response = exchange(server, request_bytes)
        log = list(server.__dict__["log"])
    assert capsys.readouterr().err == ""
    assert b" 408 " in response.split(b"\r\n")[0]
    assert [line.split(",")[0] for line in log] == ["code 408"]


def test_a_body_that_stays_away_is_an_error_of_the_application(
    capsys: pytest.CaptureFixture[str],
) -> None:
    request = lines_of("POST / HTTP/1.1", "Content-Length: 10") + b"half"
    with surviving(BriefHandler, Recorder()) as server:
        assert exchange(server, request).startswith(b"HTTP/1.0 500 ")
    assert capsys.readouterr().err.count("TimeoutError") == 1


# Clients that go away


class Body:
    """An iterable that is told when to go on, and counts its closing."""

    def __init__(self, *blocks: bytes) -> None:
        self.blocks = iter(blocks)
        self.closed = 0
        self.begun, self.client_gone = threading.Event(), threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self.begun.set()
        assert self.client_gone.wait(PATIENCE)
        return next(self.blocks)

    def close(self) -> None:
        self.closed += 1


PARTS = {
    "connect": b"",
    "request line": b"GET / HT",
    "no headers": b"GET / HTTP/1.0\r\n",
    "headers": b"GET / HTTP/1.0\r\nX-A: 1\r\nX",
    "odd headers": b"GET / HTTP/1.0\r\nX-A: 1\r\n folded\r\nX",
    "chunk": lines_of("POST / HTTP/1.1", "Transfer-Encoding: chunked") + b"5\r\nx",
    "trailers": lines_of("POST / HTTP/1.1", "Transfer-Encoding: chunked") + b"0\r\nx: y",
}


@HANDLERS
@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS.keys())
def test_a_client_that_crashes_is_a_line_of_log(
    part: bytes, handler_class: type[WSGIRequestHandler], capsys: pytest.CaptureFixture[str]
) -> None:
    with surviving(handler_class) as server:
        with connected(server) as connection:
            connection.sendall(part)
            reset(connection)
        assert server.closed.acquire(timeout=PATIENCE)  # type: ignore[attr-defined]
        assert server.__dict__["log"] == []
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("127.0.0.1 - - connection lost: ")


@HANDLERS
@pytest.mark.parametrize("part", ["connect", "request line"])
def test_a_client_that_leaves_in_order_before_its_request_is_no_news(
    part: str, handler_class: type[WSGIRequestHandler], capsys: pytest.CaptureFixture[str]
) -> None:
    with surviving(handler_class) as server:
        with connected(server) as connection:
            connection.sendall(PARTS[part])
        assert server.closed.acquire(timeout=PATIENCE)  # type: ignore[attr-defined]
    assert "Traceback" not in capsys.readouterr().err


def reading_app(body: Body) -> Any:
    """Make an application that reads its input first, and answers with a `Body`."""

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Body:
        start_response("200 OK", [])
        body.begun.set()
        environ["wsgi.input"].read()
        return body

    return app


@pytest.mark.parametrize("server_class", [ClosingServer, JoiningServer])
def test_a_client_that_crashes_within_its_body_is_no_error_of_the_application(
    server_class: type[WSGIServer], capsys: pytest.CaptureFixture[str]
) -> None:
    body = Body(b"never sent")
    with serving(reading_app(body), server_class) as server:
        with connected(server) as connection:
            connection.sendall(lines_of("POST / HTTP/1.1", "Content-Length: 100") + b"half")
            assert body.begun.wait(PATIENCE)
            reset(connection)
        server.set_app(Recorder())
        assert exchange(server, GOOD).startswith(b"HTTP/1.0 200 ")
    assert "Traceback" not in capsys.readouterr().err


LARGE = [b"x" * 1_000_000] * 50


@HANDLERS
@pytest.mark.parametrize("leave", [reset, socket.socket.close], ids=["crash", "close"])
@pytest.mark.parametrize("server_class", [ClosingServer, JoiningServer])
def test_a_client_that_leaves_before_its_answer_costs_no_traceback(
    leave: Callable[[socket.socket], None],
    server_class: type[WSGIServer],
    handler_class: type[WSGIRequestHandler],
    capsys: pytest.CaptureFixture[str],
) -> None:
    body = Body(*LARGE)
    with serving(reading_app(body), server_class, handler_class) as server:
        with connected(server) as connection:
            connection.sendall(GOOD)
            assert body.begun.wait(PATIENCE)
            leave(connection)
        body.client_gone.set()
        server.set_app(Recorder())
        assert b" 200 OK\r\n" in exchange(server, GOOD)
    assert body.closed == 1
    assert next(body.blocks, None) is not None  # it was not exhausted
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("leave", [reset, socket.socket.close], ids=["crash", "close"])
@pytest.mark.parametrize("declared", [True, False])
def test_a_client_that_leaves_within_its_answer_costs_no_traceback(
    leave: Callable[[socket.socket], None], declared: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    body = Body(*LARGE)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Body:
        length = [("Content-Length", str(50_000_000))] if declared else []
        start_response("200 OK", length)
        return body

    with serving(app) as server:
        with connected(server) as connection:
            connection.sendall(GOOD)
            body.client_gone.set()
            assert connection.recv(1000).startswith(b"HTTP/1.0 200 OK\r\n")
            leave(connection)
        server.set_app(Recorder())
        assert exchange(server, GOOD).startswith(b"HTTP/1.0 200 ")
    assert body.closed == 1
    assert "Traceback" not in capsys.readouterr().err


def test_a_client_that_leaves_a_file_costs_no_traceback(
    tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(20_000_000))
    files = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        files.append(path.open("rb"))
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](files[-1])

    with serving(app) as server:
        with connected(server) as connection:
            connection.sendall(GOOD)
            connection.recv(1000)
            reset(connection)
        server.set_app(Recorder())
        assert exchange(server, GOOD).startswith(b"HTTP/1.0 200 ")
    assert files[0].closed
    assert "Traceback" not in capsys.readouterr().err


def test_a_client_that_leaves_the_error_page_is_a_line_of_log(
    capsys: pytest.CaptureFixture[str],
) -> None:
    begun, gone = threading.Event(), threading.Event()

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        begun.set()
        assert gone.wait(PATIENCE)
        raise ZeroDivisionError

    with serving(app) as server:
        with connected(server) as connection:
            connection.sendall(GOOD)
            assert begun.wait(PATIENCE)
            reset(connection)
        gone.set()
        server.set_app(Recorder())
        assert exchange(server, GOOD).startswith(b"HTTP/1.0 200 ")
    assert capsys.readouterr().err.count("Traceback") == 1  # the application's own


class GoneSocket(StubSocket):
    """A connection whose client has gone, as its first ``sendall`` tells."""

    def __init__(self, error: Exception) -> None:
        super().__init__(b"GET / HTTP/1.0\r\n\r\n")
        self.error = error

    def sendall(self, data: bytes) -> None:
        raise self.error


class StubServer:
    """The least of a server: an environ and an application."""

    def __init__(self, app: Any) -> None:
        self.base_environ: dict[str, str] = {}
        self.app = app

    def get_app(self) -> Any:
        return self.app


@pytest.mark.parametrize("error", [BrokenPipeError, ConnectionResetError, ConnectionAbortedError])
def test_a_broken_connection_closes_the_iterable_once(
    error: type[Exception], capsys: pytest.CaptureFixture[str]
) -> None:
    body = Body(b"one", b"two")
    body.client_gone.set()

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Body:
        start_response("200 OK", [])
        return body

    QuietHandler(GoneSocket(error()), ("127.0.0.1", 0), StubServer(app))
    assert body.closed == 1
    assert next(body.blocks) == b"two"
    assert capsys.readouterr().err == ""


def test_any_exception_while_a_client_is_read_from_is_told_in_full_but_for_lost_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    errors = [ConnectionResetError("gone"), TimeoutError("late"), ValueError("a bug")]

    class Raising(QuietHandler):
        def handle(self) -> None:
            raise errors.pop(0)

    with serving(Recorder(), ClosingServer, Raising) as server:
        for _ in range(3):
            assert exchange(server, GOOD) == b""
    printed = capsys.readouterr().err
    assert printed.splitlines()[:2] == [
        "127.0.0.1 - - connection lost: gone",
        "127.0.0.1 - - connection lost: late",
    ]
    assert printed.count("Traceback") == 1
    assert "ValueError: a bug" in printed
