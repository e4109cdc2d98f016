"""What a hostile client, or an unusual program around the server, must not bring about."""

from __future__ import annotations

import contextlib
import errno
import http.client
import io
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from support import (
    PATIENCE,
    Application,
    KeepingHandler,
    QuietHandler,
    connected,
    exchange,
    hello_app,
    receive_all,
    serving,
)
from wsgiref_fast.headers import Headers
from wsgiref_fast.simple_server import ThreadingWSGIServer, WSGIServer, make_server

pytestmark = pytest.mark.usefixtures("implementation")

GOOD = b"GET /good HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


class Recorder:
    """An application that keeps the paths that it was asked for."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.paths.append(environ["PATH_INFO"])
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]


# Refused requests: whoever refuses, the connection ends there


class JSONErrors(KeepingHandler):
    """Sends errors of its own, and says nothing of the connection."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        self.send_response(code, message)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")


class NoExpectations(KeepingHandler):
    def handle_expect_100(self) -> bool:
        self.send_response_only(417)
        self.end_headers()
        return False


class Guarded(KeepingHandler):
    def parse_request(self) -> bool:
        if super().parse_request() and self.headers.get("Authorization"):
            return True
        self.send_response_only(401)
        self.send_header("Content-Length", "0")
        self.end_headers()
        return False


class OwnMessage(http.client.HTTPMessage):
    pass


class OwnMessageHandler(KeepingHandler):
    MessageClass = OwnMessage


@pytest.mark.parametrize("server_class", [WSGIServer, ThreadingWSGIServer])
@pytest.mark.parametrize(
    ("handler_class", "head"),
    [
        (JSONErrors, b"POST /a HTTP/1.1\r\nContent-Length: 9\r\nContent-Length: 8\r\n\r\n"),
        (JSONErrors, b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n"),
        (NoExpectations, b"POST /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 35\r\n\r\n"),
        (Guarded, b"POST /a HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED)),
        (OwnMessageHandler, b"POST /a HTTP/1.1\r\nno colon\r\nContent-Length: 35\r\n\r\n"),
    ],
)
def test_a_refused_requests_body_is_no_request(
    server_class: type[WSGIServer], handler_class: type[KeepingHandler], head: bytes
) -> None:
    app = Recorder()
    with serving(app, server_class, handler_class) as server:
        with connected(server) as connection:
            connection.sendall(GOOD.replace(b"close", b"keep-alive"))
            connection.recv(65536)
            with contextlib.suppress(ConnectionError):
                connection.sendall(head + SMUGGLED)
                receive_all(connection)
        exchange(server, GOOD)  # what was to be served has been
    assert "/smuggled" not in app.paths


@pytest.mark.parametrize(
    "line", [b"GET\x0b/a HTTP/1.1", b"GET /a\rHTTP/1.1", b"GET  /a HTTP/1.1", b"GET /a HTTP/1.1 "]
)
def test_an_odd_request_line_is_its_connections_last(line: bytes) -> None:
    app = Recorder()
    with serving(app, handler_class=KeepingHandler) as server:
        response = exchange(server, line + b"\r\nHost: x\r\n\r\n" + SMUGGLED)
    assert response.count(b"HTTP/1.1 200 OK") == 1
    assert app.paths == ["/a"]


def test_a_folded_length_is_refused() -> None:
    app = Recorder()
    with serving(app) as server:
        response = exchange(server, b"POST / HTTP/1.0\r\nContent-Length:\r\n 5\r\n\r\nhello")
    assert response.startswith(b"HTTP/1.0 400 ")
    assert not app.paths


def test_an_empty_line_before_a_kept_connections_request_is_skipped() -> None:
    app = Recorder()
    with serving(app, handler_class=KeepingHandler) as server:
        first = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok"
        assert exchange(server, first + b"\r\n" + GOOD).count(b"HTTP/1.1 200 OK") == 2
    assert app.paths == ["/a", "/good"]


def test_a_response_says_that_a_large_unread_body_ends_the_connection() -> None:
    with serving(Recorder(), handler_class=KeepingHandler) as server:
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
        assert b"\r\nConnection: close\r\n" in exchange(server, head + b"x" * 100_000)


def test_a_large_buffer_admits_no_longer_line() -> None:
    class Buffered(QuietHandler):
        rbufsize = 1 << 17  # as since 3.14

    app = Recorder()
    with serving(app, handler_class=Buffered) as server:
        head = b"GET / HTTP/1.0\r\nX-A: " + b"a" * 66_000 + b"\r\n\r\n"
        assert exchange(server, head).startswith(b"HTTP/1.0 431 ")
    assert not app.paths


# A client that takes more than its share


def test_a_client_that_pipelines_on_and_on_does_not_keep_others_waiting() -> None:
    enough = threading.Event()

    def pipeline(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not enough.is_set():
                connection.sendall(SMUGGLED * 100)

    def drain(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            receive_all(connection)

    with serving(Recorder(), handler_class=KeepingHandler) as server, connected(server) as greedy:
        threads = [threading.Thread(target=f, args=(greedy,)) for f in (pipeline, drain)]
        for thread in threads:
            thread.start()
        try:
            assert exchange(server, GOOD).startswith(b"HTTP/1.1 200 OK")
        finally:
            enough.set()
            greedy.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(PATIENCE)


def test_a_client_that_stays_after_its_refusal_is_let_go() -> None:
    with serving(hello_app) as server, connected(server) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\nContent-Length: x\r\n\r\n")
        assert receive_all(connection).startswith(b"HTTP/1.0 400 ")
        # Closed by the server alone: its own end of the connection is gone too.
        more = iter(lambda: connection.sendall(b"x" * 65536), "never")
        with pytest.raises(ConnectionError):
            list(more)


def test_where_descriptors_run_out_the_oldest_silent_connection_gives_way() -> None:
    class Starved(WSGIServer):
        fails = False

        def get_request(self) -> Any:
            if Starved.fails:
                Starved.fails = False
                raise OSError(errno.EMFILE, "Too many open files")
            return super().get_request()

    with serving(hello_app, Starved) as server, connected(server) as silent:
        exchange(server, GOOD)  # the silent one has been accepted before this
        Starved.fails = True
        assert exchange(server, GOOD).endswith(b"Hello, world!")
        assert receive_all(silent) == b""


# Programs around the server


@contextmanager
def a_server(app: Application = hello_app, **attributes: Any) -> Iterator[WSGIServer]:
    server_class: type[WSGIServer] = type("Server", (WSGIServer,), attributes)
    with make_server("127.0.0.1", 0, app, server_class, QuietHandler) as server:
        yield server


def test_a_server_that_lets_nobody_wait_goes_on_serving() -> None:
    class Unwilling(WSGIServer):
        waiting_limit = 0

    with serving(hello_app, Unwilling) as server, connected(server), connected(server):
        assert exchange(server, GOOD).endswith(b"Hello, world!")


def test_a_waiting_connection_that_somebody_else_closes_harms_nobody() -> None:
    accepted: list[socket.socket] = []

    class Reaping(WSGIServer):
        def get_request(self) -> Any:
            request, address = super().get_request()
            accepted.append(request)
            return request, address

        def service_actions(self) -> None:
            if len(accepted) == 1:
                accepted[0].close()

    with serving(hello_app, Reaping) as server, connected(server) as silent:
        assert receive_all(silent) == b""
        with ExitStack() as stack:  # one of these gets the number that has become free
            for _ in range(3):
                stack.enter_context(connected(server))
            assert exchange(server, GOOD).endswith(b"Hello, world!")


def test_shutdown_returns_where_the_loop_could_not_begin() -> None:
    server = make_server("127.0.0.1", 0, hello_app)
    server.server_close()
    with pytest.raises((OSError, ValueError)):
        server.serve_forever()
    server.shutdown()


def test_an_exception_that_ends_the_loop_costs_no_other_connection() -> None:
    class Harness(WSGIServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            self.shutdown_request(request)
            raise

    class Passing(QuietHandler):
        def handle(self) -> None:
            self.raw_requestline = self.rfile.readline()
            if b"/fail" in self.raw_requestline:
                raise ValueError("for the harness")
            self.parse_request()
            self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\nserved")

    with make_server("127.0.0.1", 0, hello_app, Harness, Passing) as server, ExitStack() as stack:
        clients = [stack.enter_context(connected(server)) for _ in range(4)]
        server.timeout = 0
        for _ in clients:
            server.handle_request()  # each is accepted, and waits
        for number, client in enumerate(clients):
            client.sendall(b"GET /%s HTTP/1.0\r\n\r\n" % (b"fail" if number == 0 else b"good"))
        with pytest.raises(ValueError, match="for the harness"):
            server.serve_forever()
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            assert [receive_all(client)[-6:] for client in clients[1:]] == [b"served"] * 3
        finally:
            server.shutdown()
            thread.join(PATIENCE)


def test_closing_a_server_that_serves_leaves_nothing_behind() -> None:
    server = make_server("127.0.0.1", 0, hello_app, handler_class=KeepingHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with connected(server) as silent:
        exchange(server, GOOD)
        server.server_close()
        assert receive_all(silent) == b""
        server.shutdown()
        thread.join(PATIENCE)
    assert server._waiting is None


def test_several_threads_can_serve_one_listening_socket() -> None:
    count = 24
    with a_server() as server, ThreadPoolExecutor(count) as clients:
        loops = [threading.Thread(target=server.serve_forever)]
        others = [make_server("127.0.0.1", 0, hello_app, handler_class=QuietHandler) for _ in "ab"]
        for other in others:
            other.socket.close()
            other.socket = server.socket.dup()
            loops.append(threading.Thread(target=other.serve_forever))
        for loop in loops:
            loop.start()

        def late(_: int) -> bytes:
            # Behind the first one every loop has something to do before its bytes come.
            with connected(server) as connection, connected(server):
                connection.sendall(GOOD)
                return receive_all(connection)

        try:
            assert all(r.endswith(b"Hello, world!") for r in clients.map(late, range(count)))
        finally:
            for each in (server, *others):
                each.shutdown()
            for loop in loops:
                loop.join(PATIENCE)
            for other in others:
                other.server_close()


def test_serving_leaves_the_listening_sockets_timeout_as_it_was() -> None:
    for timeout in (None, 5.0):
        with a_server() as server:
            server.socket.settimeout(timeout)
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            assert exchange(server, GOOD).endswith(b"Hello, world!")
            server.shutdown()
            thread.join(PATIENCE)
            assert server.socket.gettimeout() == timeout


# What an application does with its environ


def test_the_input_can_be_wrapped_and_its_wrapper_collected() -> None:
    def text_app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        text = io.TextIOWrapper(environ["wsgi.input"], encoding="utf-8").read()
        start_response("200 OK", [("Content-Length", str(len(text)))])
        return [text.encode()]

    with serving(text_app, handler_class=KeepingHandler) as server:
        post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"
        assert exchange(server, post + b"once" + GOOD).count(b"HTTP/1.1 200 OK") == 2


def test_no_way_of_reading_goes_past_the_body() -> None:
    found: list[Any] = []

    def reading_app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        stream = environ["wsgi.input"]
        if environ["PATH_INFO"] == "/a":
            buffer = bytearray(50)
            found.append(stream.peek(50))
            found.append(bytes(buffer[: stream.readinto1(buffer)]))
            found.append(next(stream, None))
            found.append(isinstance(stream, io.IOBase))
            with stream:
                found.append(stream.read())
        return Recorder()(environ, start_response)

    with serving(reading_app, handler_class=KeepingHandler) as server:
        post = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
        assert exchange(server, post + GOOD).count(b"HTTP/1.1 200 OK") == 2
    assert found == [b"abc", b"abc", None, True, b""]


def test_an_unbuffered_connection_gives_the_whole_body() -> None:
    class Unbuffered(QuietHandler):
        rbufsize = 0

    began = threading.Event()

    def echo_app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        began.set()
        start_response("200 OK", [])
        return [environ["wsgi.input"].read()]

    with serving(echo_app, handler_class=Unbuffered) as server, connected(server) as connection:
        connection.sendall(b"POST / HTTP/1.0\r\nContent-Length: 10\r\n\r\nhello")
        assert began.wait(PATIENCE)
        connection.sendall(b"world")
        assert receive_all(connection).endswith(b"helloworld")


def test_closing_the_iterable_may_still_read_a_chunked_body() -> None:
    read: list[bytes] = []

    class Body:
        def __init__(self, stream: Any) -> None:
            self.stream = stream

        def __iter__(self) -> Iterator[bytes]:
            yield b"ok"

        def close(self) -> None:
            read.append(self.stream.read())

    def app(environ: dict[str, Any], start_response: Any) -> Body:
        start_response("200 OK", [("Content-Length", "2")])
        return Body(environ["wsgi.input"])

    with serving(app) as server:
        head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert exchange(server, head + b"3\r\nabc\r\n0\r\n\r\n").endswith(b"ok")
        assert server.__dict__["log"] == ['"POST / HTTP/1.1" 200 2']
    assert read == [b"abc"]


def test_multithread_says_whether_requests_run_beside_others() -> None:
    class Pooled(WSGIServer):
        pool = ThreadPoolExecutor(2)

        def process_request(self, request: Any, client_address: Any) -> None:
            self.pool.submit(super().process_request, request, client_address)

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [str(environ["wsgi.multithread"]).encode()]

    class Ineffective(WSGIServer, ThreadingWSGIServer.__bases__[0]):  # type: ignore[misc, name-defined]
        """A mixin that stands too late to do anything."""

    for server_class, told in (
        (WSGIServer, b"False"),
        (ThreadingWSGIServer, b"True"),
        (Pooled, b"True"),
        (Ineffective, b"False"),
    ):
        with serving(app, server_class) as server:
            assert exchange(server, GOOD).endswith(told)
    Pooled.pool.shutdown()


@pytest.mark.parametrize("name", ["__bytes__", "__str__", "__contains__", "get"])
def test_a_method_that_is_assigned_to_the_class_headers_is_asked(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    method = getattr(Headers, name)

    def asking(self: Headers, *args: Any) -> Any:
        asked.append(name)
        return method(self, *args)

    monkeypatch.setattr(Headers, name, asking)
    with serving(hello_app) as server:
        assert exchange(server, GOOD).endswith(b"Hello, world!")
    assert asked
