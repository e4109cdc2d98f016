"""`RequestMixin` in front of request handlers of `http.server`: the same, but faster."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from support import PATIENCE, running
from wsgiref_fast.http_server import RequestMixin

pytestmark = pytest.mark.usefixtures("implementation")

_DATE = re.compile(rb"Date: .*\r\n")


class Echo(BaseHTTPRequestHandler):
    """Answers with all that it was told, and with the body."""

    protocol_version = "HTTP/1.1"
    log: list[str]

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        told = (self.command, self.path, self.request_version, self.requestline)
        text = repr((told, self.headers.items(), self.close_connection, body)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_POST = do_PUT = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        self.log.append(f"{self.log_date_time_string()} {format % args}")


class OldEcho(Echo):
    protocol_version = "HTTP/1.0"


@contextmanager
def serving(handler: Any, *mixins: type) -> Iterator[tuple[str, int]]:
    made = type("Handler", (*mixins, handler), {"log": []})
    with running(ThreadingHTTPServer(("127.0.0.1", 0), made)) as server:
        yield server.server_address


def exchange(address: tuple[str, int], request: bytes, piece: int = 1 << 20) -> bytes:
    """Send a request in pieces; return what comes back until the end, be it a reset."""
    with socket.create_connection(address, PATIENCE) as connection:
        with suppress(OSError):  # refused before its end
            for start in range(0, len(request), piece):
                connection.sendall(request[start : start + piece])
            connection.shutdown(socket.SHUT_WR)
        blocks = []
        with suppress(ConnectionResetError):
            while block := connection.recv(65536):
                blocks.append(block)
        return _DATE.sub(b"", b"".join(blocks))


_REQUESTS = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /x HTTP/1.0\r\n\r\n",
    b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /y HTTP/1.1\r\n\r\n",
    b"GET /x HTTP/1.1\r\nHost: a\r\n\r\nGET /y HTTP/1.1\r\nHost: b\r\nX: 2\r\n\r\n",
    b"GET /x HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nGET /y HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.1\r\nConnection: close \r\n\r\nGET /y HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nConnection: x\r\nConnection: close\r\n\r\nGET /y HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nConnection: close, x\r\n\r\nGET /y HTTP/1.1\r\n\r\n",
    b"POST /a?b HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcPUT / HTTP/1.1\r\n\r\n",
    b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    b"POST / HTTP/1.1\r\nExpect: 100-continue \r\nContent-Length: 3\r\n\r\nabc",
    b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET //x HTTP/1.1\r\nA_b: 1\r\nA-b:2 \r\nCookie: a\r\nCookie: b\r\n\xe4: \xff\r\n\r\n",
    b"GET / HTTP/1.1\r\nA: 1\r\n 2\r\n\r\n",
    b"GET / HTTP/1.1\r\nA : 1\r\nB: 2\r\n\r\n",
    b"GET / HTTP/1.1\r\nA\r\nB: 2\r\n\r\n",
    b"GET / HTTP/1.1\r\nA: 1\rB: 2\r\n\r\n",
    b"GET / HTTP/1.1\nA: 1\nB: 2\n\n",
    b"GET  /  HTTP/1.1\r\nA: 1\r\n\r\n",
    b"GET /\r\n",
    b"GET / HTTP/3.0\r\n\r\n",
    b"nonsense\r\n\r\n",
    b"GET /%b HTTP/1.1\r\n\r\n" % (b"x" * 70_000),
    b"GET / HTTP/1.1\r\nX: %b\r\n\r\n" % (b"x" * 70_000),
    b"GET / HTTP/1.1\r\n%b\r\n" % (b"X: 1\r\n" * 200),
    b"POST / HTTP/1.1\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n",
    b"\r\n",
    b"",
]


@pytest.mark.parametrize("piece", [1 << 20, 9])
@pytest.mark.parametrize("handler", [Echo, OldEcho])
def test_each_request_is_answered_as_http_server_does(handler: type[Echo], piece: int) -> None:
    with serving(handler) as plain, serving(handler, RequestMixin) as faster:
        for request in _REQUESTS:
            size = max(piece, len(request) // 20)
            assert exchange(faster, request, size) == exchange(plain, request, size), request


def test_files_are_served(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<p>hello")

    class Handler(RequestMixin, SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(tmp_path))

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with running(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        answer = exchange(server.server_address, b"GET /page.html HTTP/1.0\r\n\r\n")
    assert answer.endswith(b"\r\n\r\n<p>hello")


def make(mixin: type = RequestMixin, **names: Any) -> Any:
    """Return a request handler that has read its request line, and only that."""
    left, right = socket.socketpair()
    handler_class: Any = type("Handler", (mixin, BaseHTTPRequestHandler), names)
    handler = handler_class.__new__(handler_class)
    handler.request, handler.client_address, handler.server = left, ("127.0.0.1", 1), None
    with right:
        right.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
    handler.setup()
    handler.raw_requestline = handler.rfile.readline()
    handler.sockets = left
    return handler


def close(handler: Any) -> None:
    handler.finish()
    handler.sockets.close()


def test_headers_are_made_when_asked_for_and_can_be_changed() -> None:
    handler = make()
    assert not hasattr(handler, "headers")
    assert handler.parse_request()
    assert "headers" not in vars(handler)
    assert type(handler.headers) is HTTPMessage
    handler.headers["X"] = "1"
    assert handler.headers.items() == [("Host", "a"), ("X", "1")]
    close(handler)


@pytest.mark.parametrize(
    "names",
    [{"MessageClass": type("Message", (HTTPMessage,), {})}, {}],
    ids=["message class", "parse_request"],
)
def test_what_somebody_has_put_in_its_place_is_heard(names: dict[str, Any]) -> None:
    class Own(BaseHTTPRequestHandler):
        def parse_request(self) -> bool:
            self.own = True
            return super().parse_request()

    base = type("Both", (RequestMixin, Own), {}) if not names else RequestMixin
    handler = make(base, **names)
    assert handler.parse_request()
    assert type(handler.headers) is names.get("MessageClass", HTTPMessage)
    assert bool(names) or handler.own
    close(handler)


def test_dates_are_those_of_http_server() -> None:
    handler = make()
    plain = object.__new__(BaseHTTPRequestHandler)
    assert handler.date_time_string(1) == "Thu, 01 Jan 1970 00:00:01 GMT"
    for name in ("date_time_string", "log_date_time_string"):
        told = [getattr(told_by, name)() for told_by in (plain, handler, handler, plain)]
        # One of the original's, whichever second it is.
        assert set(told[1:3]) <= {told[0], told[3]}
    close(handler)


def test_dates_of_a_class_of_its_own_stand() -> None:
    class Own(BaseHTTPRequestHandler):
        def date_time_string(self, timestamp: float | None = None) -> str:
            return "now"

        def log_date_time_string(self) -> str:
            return "here"

    handler = make(type("Both", (RequestMixin, Own), {}))
    assert (handler.date_time_string(), handler.log_date_time_string()) == ("now", "here")
    close(handler)


def test_it_runs_in_several_threads() -> None:
    with serving(Echo, RequestMixin) as address:
        answers: list[bytes] = []
        asking = [
            threading.Thread(
                target=lambda n=n: answers.append(
                    exchange(address, b"GET /%d HTTP/1.0\r\n\r\n" % n)
                )
            )
            for n in range(8)
        ]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join(PATIENCE)
    assert sorted(re.findall(rb"'/(\d)'", b"".join(answers))) == [b"%d" % n for n in range(8)]
