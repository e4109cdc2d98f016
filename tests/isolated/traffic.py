"""Requests of every kind, and the ways to send one, for the scripts beside this module."""

from __future__ import annotations

import io
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from wsgiref_fast.server import Server
from wsgiref_fast.simple_server import ServerHandler, WSGIRequestHandler, WSGIServer
from wsgiref_fast.util import FileWrapper
from wsgiref_fast.validate import validator

Application = Callable[..., Any]
Once = Callable[[], object]
ServerClass = Callable[..., WSGIServer]

#: Seconds after which a client that waits has failed.
PATIENCE = 30.0
CLIENT = ("127.0.0.1", 50000)
PLAIN = [("Content-Type", "text/plain")]


class Sink(io.TextIOBase):
    """A place for log lines and tracebacks, which are made but not looked at."""

    def write(self, text: str) -> int:
        return len(text)


# Connections


class Stub:
    """A request with ``makefile`` and ``sendall`` alone; its client may hang up."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.sent: list[bytes] = []
        self.is_open = True

    def makefile(self, mode: str, bufsize: int = -1) -> io.BufferedReader:
        return io.BufferedReader(io.BytesIO(self.request))

    def sendall(self, data: bytes) -> None:
        if not self.is_open:
            raise BrokenPipeError("the client has gone")
        self.sent.append(bytes(data))

    def close(self) -> None:
        self.is_open = False


#: The client's side of the connection that is being served.
client: Stub | socket.socket


# Request handlers


class Keeping(WSGIRequestHandler):
    """Keeps its connections."""

    protocol_version = "HTTP/1.1"


class OwnHandle(WSGIRequestHandler):
    """Has the whole of ``handle()`` rewritten, as many programs do."""

    def handle(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if len(self.raw_requestline) > 65536:
            self.requestline = self.request_version = self.command = ""
            self.send_error(414)
        elif self.parse_request():
            handler = OwnServerHandler(
                self.rfile, self.wfile, self.get_stderr(), self.get_environ(), multithread=False
            )
            handler.request_handler = self
            handler.run(self.server.get_app())  # type: ignore[attr-defined]


class OwnServerHandler(ServerHandler):
    """Overrides what runs at each response."""

    def cleanup_headers(self) -> None:
        super().cleanup_headers()
        self.headers["X-Own"] = "1"

    def finish_response(self) -> None:
        super().finish_response()


class LooksAtHeaders(WSGIRequestHandler):
    """Changes the request's message before the environ is made of it."""

    def get_environ(self) -> dict[str, Any]:
        del self.headers["X-Own"]
        self.headers["X-Seen"] = self.headers.get("Host", "")
        return super().get_environ()


class OwnErrors(WSGIRequestHandler):
    """Sends errors in words of its own."""

    error_message_format = "%(code)d %(message)s"


# Applications


def hello(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", PLAIN[:])
    return [b"Hello, world!"]


def echo(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [*PLAIN, ("X-Length", environ["CONTENT_LENGTH"])])
    return [environ["wsgi.input"].read()]


def reads_lines(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", PLAIN[:])
    return list(environ["wsgi.input"])


def no_content(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("204 No Content", [])
    return []


def not_modified(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("304 Not Modified", [("ETag", '"1"')])
    return [b""]


def streams(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", PLAIN[:])
    for i in range(5):
        yield b"%d" % i * 100


def writes(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    write = start_response("200 OK", PLAIN[:])
    write(b"one")
    write(b"two")
    return [b"three"]


def wraps_a_file(environ: dict[str, Any], start_response: Any) -> Any:
    start_response("200 OK", PLAIN[:])
    return environ["wsgi.file_wrapper"](open(__file__, "rb"), 1000)


def wraps_memory(environ: dict[str, Any], start_response: Any) -> FileWrapper:
    start_response("200 OK", PLAIN[:])
    return FileWrapper(io.BytesIO(b"x" * 5000), 512)


def edits(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", PLAIN[:])
    headers = start_response.__self__.headers
    headers.add_header("Content-Disposition", "attachment", filename="x")
    headers["X-Length"] = headers.setdefault("Content-Length", "2")
    del headers["X-Length"]
    return [b"ok"]


def fails(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    raise ValueError("before start_response()")


def fails_started(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", PLAIN[:])
    raise ValueError("after start_response()")


def fails_streaming(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", PLAIN[:])
    yield b"some"
    raise ValueError("after a block")


class FailsToClose:
    def __iter__(self) -> Iterator[bytes]:
        return iter([b"some"])

    def close(self) -> None:
        raise ValueError("in close()")


def fails_closing(environ: dict[str, Any], start_response: Any) -> FailsToClose:
    start_response("200 OK", PLAIN[:])
    return FailsToClose()


def hangs_up(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    """Answer a client that goes away in the middle."""
    start_response("200 OK", PLAIN[:])
    yield b"x" * 1000
    client.close()
    for _ in range(3):
        yield b"y" * 1000


def starts_again(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", PLAIN[:])
    try:
        raise ValueError("the first response will not do")
    except ValueError:
        start_response("500 Oops", [("X-Again", "1")], sys.exc_info())
    return [b"again"]


def starts_again_too_late(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", PLAIN[:])
    yield b"some"
    try:
        raise ValueError("too late")
    except ValueError:
        start_response("500 Oops", [], sys.exc_info())


def starts_twice(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", PLAIN[:])
    start_response("200 OK", PLAIN[:])
    return [b"twice"]


def hints(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    environ["wsgi.early_hints"]([("Link", "</style.css>; rel=preload")])
    return hello(environ, start_response)


def writes_ahead(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Write more than is held in memory for a client that takes nothing meanwhile."""
    write = start_response("200 OK", PLAIN[:])
    for _ in range(50):
        write(b"x" * 100_000)
    return []


def gives(result: Any, status: Any = "200 OK", headers: Any = None) -> Application:
    """Return an application that answers just so, be it right or wrong."""

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response(status, PLAIN[:] if headers is None else headers)
        return result

    return app


# Cases


@dataclass(frozen=True)
class Case:
    """A request, who answers it, and how the answer begins (`None`: no matter)."""

    request: bytes
    app: Application = hello
    answer: bytes | None = b"HTTP/1.0 200 OK\r\n"
    handler: type[WSGIRequestHandler] = WSGIRequestHandler


FIELDS = b"Host: x\r\nAccept: */*\r\nX-Own: \xe9\r\nCookie: a=1\r\nCookie: b=2\r\n"
GET = b"GET /path?query=1 HTTP/1.1\r\n" + FIELDS + b"\r\n"
CLOSE = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
CHUNKS = b"5\r\nhello\r\n3;ext=1\r\nyou\r\n0\r\nTrailer: 1\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
ERROR = b"HTTP/1.0 500 Internal Server Error\r\n"
BAD = b"HTTP/1.0 400 "


def post(body: bytes, length: int | None = None) -> bytes:
    head = b"POST /form HTTP/1.1\r\nHost: x\r\nContent-Type: text/x\r\nContent-Length: %d\r\n\r\n"
    return head % (len(body) if length is None else length) + body


def odd(fields: bytes) -> Case:
    """Return a request with these bytes among its fields, which are refused."""
    return Case(b"GET / HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n\r\n", answer=BAD)


def failing(app: Application) -> Case:
    return Case(GET, app, ERROR)


CASES = {
    "plain": Case(GET),
    "many fields": Case(b"GET / HTTP/1.1\r\n" + b"X-Own-%d: 1\r\n" * 50 % (*range(50),) + b"\r\n"),
    "escaped target": Case(b"GET //a%20b/%E9%zz%?c=%20 HTTP/1.0\r\n\r\n"),
    "HTTP/0.9": Case(b"GET /\r\n", answer=b"Hello"),
    "folded field": Case(b"GET / HTTP/1.1\r\nX-Folded: a\r\n b\r\n\r\n"),
    "HEAD": Case(GET.replace(b"GET", b"HEAD")),
    "no content": Case(GET, no_content, b"HTTP/1.0 204 "),
    "not modified": Case(GET, not_modified, b"HTTP/1.0 304 "),
    "body read": Case(post(b"x" * 10_000), echo),
    "body read by lines": Case(post(b"line\n" * 200), reads_lines),
    "body unread": Case(post(b"x" * 10_000)),
    "body cut short": Case(post(b"x" * 10, 1000), echo),
    "large body unread": Case(post(b"x" * 80_000)),
    "chunked body": Case(CHUNKED + CHUNKS, echo),
    "chunked body unread": Case(CHUNKED + CHUNKS),
    "chunked body malformed": Case(CHUNKED + b"5\r\nhellooo", echo, BAD),
    "stream": Case(GET, streams),
    "write()": Case(GET, writes),
    "file": Case(GET, wraps_a_file),
    "file in memory": Case(GET, wraps_memory),
    "edits of the headers": Case(GET, edits),
    "validator": Case(GET, validator(hello)),
    "many blocks": Case(GET, gives([b"x"] * 50)),
    "empty list": Case(GET, gives([])),
    "application fails": failing(fails),
    "application fails after the start": failing(fails_started),
    "application fails after a block": Case(GET, fails_streaming),
    "application fails to close": Case(GET, fails_closing),
    "start again": Case(GET, starts_again, b"HTTP/1.0 500 Oops\r\n"),
    "start again too late": Case(GET, starts_again_too_late),
    "start twice": failing(starts_twice),
    "result of no kind": failing(gives(None)),
    "block of no bytes": failing(gives(["text"])),
    "status of no kind": failing(gives([], 200)),
    "status malformed": failing(gives([], "2000")),
    "header list of no kind": failing(gives([], headers=(("A", "1"),))),
    "header of no kind": failing(gives([], headers=[("A", "1"), None])),
    "header of three parts": failing(gives([], headers=[("A", "1", "2")])),
    "header name of no kind": failing(gives([], headers=[("A", "1"), (b"B", "2")])),
    "header injection": failing(gives([], headers=[("A", "1\r\nB: 2")])),
    "header not Latin-1": failing(gives([b""], headers=[("A", "\u0100")])),
    "hop-by-hop header": failing(gives([], headers=[("Connection", "close")])),
    "request line malformed": Case(b"one two three four\r\n\r\n", answer=None),
    "request line with NUL": Case(b"GET /\0 HTTP/1.1\r\n\r\n", answer=None),
    "version malformed": Case(b"GET / HTTP/1.x\r\n\r\n", answer=None),
    "version too new": Case(b"GET / HTTP/2.0\r\n\r\n", answer=None),
    "bare CR": odd(b"A: 1\rB: 2"),
    "space before the colon": odd(b"A : 1"),
    "lengths that differ": odd(b"Content-Length: 1\r\nContent-Length: 2"),
    "length malformed": odd(b"Content-Length: +1"),
    "length and coding": odd(b"Content-Length: 1\r\nTransfer-Encoding: chunked"),
    "no colon": Case(b"GET / HTTP/1.1\r\nHost\r\nA: 1\r\n\r\n"),
    "line too long": Case(b"GET /" + b"a" * 66_000 + b" HTTP/1.1\r\n\r\n", answer=None),
    "field too long": Case(b"GET / HTTP/1.1\r\nA: " + b"a" * 66_000 + b"\r\n\r\n", answer=None),
    "too many fields": Case(b"GET / HTTP/1.1\r\n" + b"A: 1\r\n" * 200 + b"\r\n", answer=None),
    "kept connection": Case(GET * 3 + CLOSE, hello, b"HTTP/1.1 200 OK\r\n", Keeping),
    "kept connection, bodies": Case(
        post(b"x" * 100) * 2 + CHUNKED + CHUNKS + CLOSE, echo, b"HTTP/1.1 200 OK\r\n", Keeping
    ),
    "expectation": Case(
        CLOSE[:-2] + b"Expect: 100-continue\r\n\r\n", hello, b"HTTP/1.1 100 ", Keeping
    ),
    "own handle()": Case(GET, handler=OwnHandle),
    "own handle(), failing": Case(GET, fails, ERROR, OwnHandle),
    "looks at the headers": Case(GET, handler=LooksAtHeaders),
    "own words for errors": Case(b"GET / HTTP/1.1\r\nA : 1\r\n\r\n", hello, BAD, OwnErrors),
    "client gone before it sent": Case(b"", answer=None),
    "client gone in the head": Case(GET[:50], answer=None),
    "client gone in the line": Case(GET[:10], answer=None),
    "client gone in the response": Case(GET, hangs_up, None),
}


OK = b"HTTP/1.1 200 OK\r\n"
ERROR_11 = b"HTTP/1.1 500 Internal Server Error\r\n"
BAD_11 = b"HTTP/1.1 400 "
LARGE = 3_000_000  # more than a socket takes at once
LARGE_CHUNK = b"%x\r\n%s\r\n" % (600_000, b"x" * 600_000)

#: For the HTTP/1.1 server, on one connection each.
CASES_11 = {
    "plain": Case(GET * 3, hello, OK),
    "pipelined": Case(GET * 40, hello, OK),
    "HEAD": Case(GET.replace(b"GET", b"HEAD") + GET, hello, OK),
    "HTTP/1.0": Case(b"GET / HTTP/1.0\r\n\r\n", hello, OK),
    "no content": Case(GET * 2, no_content, b"HTTP/1.1 204 "),
    "not modified": Case(GET * 2, not_modified, b"HTTP/1.1 304 "),
    "bodies": Case(post(b"x" * 100) * 3, echo, OK),
    "body read by lines": Case(post(b"line\n" * 200), reads_lines, OK),
    "body unread": Case(post(b"x" * 10_000) + GET, hello, OK),
    "body in a file": Case(post(b"x" * 600_000) + GET, echo, OK),
    "body cut short": Case(post(b"x" * 10, 1000), echo, BAD_11),
    "chunked bodies": Case((CHUNKED + CHUNKS) * 2, echo, OK),
    "chunked body in a file": Case(CHUNKED + LARGE_CHUNK + CHUNKS, echo, OK),
    "chunked body malformed": Case(CHUNKED + b"5\r\nhellooo", echo, BAD_11),
    "chunked body cut short": Case(CHUNKED + b"5\r\nhel", echo, BAD_11),
    "stream": Case(GET * 2, streams, OK),
    "write()": Case(GET * 2, writes, OK),
    "written ahead": Case(GET, writes_ahead, OK),
    "file": Case(GET * 2, wraps_a_file, OK),
    "file in memory": Case(GET * 2, wraps_memory, OK),
    "early hints": Case(GET * 2, hints, b"HTTP/1.1 103 "),
    "many blocks": Case(GET * 2, gives([b"x"] * 50), OK),
    "large block": Case(GET * 2, gives([b"x" * LARGE]), OK),
    "longer than its length": Case(GET, gives([b"abc"], headers=[("Content-Length", "2")]), OK),
    "shorter than its length": Case(GET, gives([b"abc"], headers=[("Content-Length", "9")]), None),
    "closes": Case(GET, gives([b"a"], headers=[("Connection", "close")]), OK),
    "application fails": Case(GET * 2, fails, ERROR_11),
    "application fails after the start": Case(GET * 2, fails_started, ERROR_11),
    "application fails after a block": Case(GET, fails_streaming, None),
    "application fails to close": Case(GET * 2, fails_closing, OK),
    "start again": Case(GET * 2, starts_again, b"HTTP/1.1 500 Oops\r\n"),
    "start again too late": Case(GET, starts_again_too_late, None),
    "start twice": Case(GET * 2, starts_twice, ERROR_11),
    "result of no kind": Case(GET * 2, gives(None), ERROR_11),
    "block of no bytes": Case(GET * 2, gives(["text"]), ERROR_11),
    "header injection": Case(GET * 2, gives([], headers=[("A", "1\r\nB: 2")]), ERROR_11),
    "refused": Case(GET + b"GET / HTTP/1.1\r\n\r\n" + GET, hello, OK),
    "refused at once": Case(b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", hello, BAD_11),
    "line too long": Case(b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", hello, b"HTTP/1.1 414 "),
    "field too long": Case(GET[:-2] + b"A: " + b"a" * 9000 + b"\r\n\r\n", hello, b"HTTP/1.1 431 "),
    "too many fields": Case(GET[:-2] + b"A: 1\r\n" * 200 + b"\r\n", hello, b"HTTP/1.1 431 "),
    "expectation": Case(post(b"x").replace(b"Host", b"Expect: 100-continue\r\nHost"), echo, OK),
    "expectation unknown": Case(GET[:-2] + b"Expect: x\r\n\r\n", hello, b"HTTP/1.1 417 "),
    "client gone before it sent": Case(b"", hello, None),
    "client gone in the head": Case(GET[:50], hello, BAD_11),
    "client gone in the response": Case(GET, hangs_up, None),
}


# Ways to send a request


def in_memory(case: Case) -> Iterator[Once]:
    """Have a handler serve a stand-in for a socket."""

    def once() -> None:
        global client
        stub: Any = Stub(case.request)
        client = stub
        try:
            case.handler(stub, CLIENT, server)
        except Exception:
            server.handle_error(stub, CLIENT)
        check(case, b"".join(stub.sent))

    with make_server(case) as server:
        yield once


def over_sockets(case: Case) -> Iterator[Once]:
    """Have a server process the one end of a pair of sockets."""

    def once() -> None:
        global client
        request, client = socket.socketpair()
        with client:
            client.sendall(case.request)
            client.shutdown(socket.SHUT_WR)
            process(server, request)
            check(case, receive_all(client))

    with make_server(case) as server:
        yield once


def in_the_loop(case: Case, server_class: ServerClass = WSGIServer) -> Iterator[Once]:
    """Have ``serve_forever()`` accept and serve connections."""
    with looping(case, server_class) as server:
        yield lambda: exchange(case, server)


def exchange(case: Case, server: WSGIServer) -> None:
    global client
    client = connect(server)
    with client:
        with suppress(OSError):
            client.sendall(case.request)
            client.shutdown(socket.SHUT_WR)
        check(case, receive_all(client))


@contextmanager
def looping(case: Case, server_class: ServerClass) -> Iterator[WSGIServer]:
    """Run a server in a thread; at the end no thread of it is left."""
    others = set(threading.enumerate())
    with make_server(case, server_class) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
    for thread in set(threading.enumerate()) - others:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def threaded(*args: Any) -> Server:
    """Make an HTTP/1.1 server that runs applications in threads."""
    return Server(*args, threads=2)


def connect(server: WSGIServer) -> socket.socket:
    address: Any = server.server_address
    return socket.create_connection(address[:2], PATIENCE)


def make_server(case: Case, server_class: ServerClass = WSGIServer) -> WSGIServer:
    server = server_class(("127.0.0.1", 0), case.handler)
    server.set_app(case.app)
    return server


def process(server: WSGIServer, request: socket.socket) -> None:
    """Serve an accepted connection as `socketserver` does."""
    try:
        server.process_request(request, CLIENT)
    except Exception:
        server.handle_error(request, CLIENT)
        server.shutdown_request(request)


def receive_all(connection: socket.socket) -> bytes:
    """Read until the peer has closed; nothing more from one that is closed here."""
    blocks = []
    with suppress(OSError):
        while block := connection.recv(65536):
            blocks.append(block)
    return b"".join(blocks)


def check(case: Case, response: bytes) -> None:
    if case.answer is not None and not response.startswith(case.answer):
        raise AssertionError(f"{case.request[:80]!r} was answered by {response[:200]!r}")


def descriptors() -> int:
    """Return the number of open descriptors, where the platform tells it."""
    return len(os.listdir("/dev/fd")) if os.path.isdir("/dev/fd") else 0
