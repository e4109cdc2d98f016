"""Connections that are kept: a request handler whose `protocol_version` is HTTP/1.1."""

from __future__ import annotations

import contextlib
import http.client
import queue
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from socketserver import ThreadingMixIn
from typing import Any, NamedTuple

import pytest

from support import (
    PATIENCE,
    Application,
    KeepingHandler,
    QuietHandler,
    connected,
    path_app,
    receive_all,
    serving,
)
from wsgiref_fast import simple_server
from wsgiref_fast.simple_server import (
    ServerHandler,
    ThreadingWSGIServer,
    WSGIRequestHandler,
    WSGIServer,
    make_server,
)

pytestmark = pytest.mark.usefixtures("implementation")


class Response(NamedTuple):
    status: str
    headers: dict[str, str]
    body: bytes

    @property
    def connection(self) -> str | None:
        return self.headers.get("connection")

    @property
    def says_close(self) -> bool:
        """Whether a client must take this for the connection's last (RFC 9112 section 9.3)."""
        if self.status.startswith("HTTP/1.0"):
            return self.connection is None
        return self.connection == "close"


class Client:
    """One connection: requests out, responses in, each read as its framing says."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.file = connection.makefile("rb")

    def send(self, request: bytes) -> None:
        self.connection.sendall(request)

    def receive(self, method: str = "GET") -> Response:
        status = self.file.readline().decode().rstrip("\r\n")
        headers = {}
        while (line := self.file.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("iso-8859-1").partition(": ")
            headers[name.lower()] = value.rstrip("\r\n")
        if method == "HEAD" or status.split(" ")[1] in ("204", "304"):
            return Response(status, headers, b"")
        length = headers.get("content-length")
        body = self.file.read() if length is None else self.file.read(int(length))
        return Response(status, headers, body)

    def ask(self, request: bytes, method: str = "GET") -> Response:
        self.send(request)
        return self.receive(method)

    def is_closed(self) -> bool:
        return self.file.read(1) == b""


@contextmanager
def client_of(server: WSGIServer) -> Iterator[Client]:
    with connected(server) as connection:
        client = Client(connection)
        with client.file:
            yield client


@contextmanager
def keeping(
    app: Application,
    server_class: type[WSGIServer] = WSGIServer,
    handler_class: type[WSGIRequestHandler] = KeepingHandler,
) -> Iterator[tuple[WSGIServer, Client]]:
    """Serve, and open one connection."""
    with serving(app, server_class, handler_class) as server, client_of(server) as client:
        yield server, client


def ignore_body(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [])
    return [b"ignored"]


def echo_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [])
    return [body]


def get(path: str = "/", *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/{version}", *fields, "", ""]).encode("iso-8859-1")


def post(body: bytes, *fields: str) -> bytes:
    return get("/", f"Content-Length: {len(body)}", *fields, method="POST") + body


def assert_kept(client: Client) -> None:
    """Show that the connection serves one more request."""
    response = client.ask(get("/one-more"))
    assert response.status.startswith("HTTP/1.1 ")


# Several requests on one connection


@pytest.mark.parametrize("server_class", [WSGIServer, ThreadingWSGIServer])
def test_a_connection_serves_one_request_after_another(server_class: type[WSGIServer]) -> None:
    with keeping(path_app, server_class) as (server, client):
        for path in ("/one", "/two", "/three"):
            response = client.ask(get(path))
            assert response.status == "HTTP/1.1 200 OK"
            assert response.body == path.encode()
            assert response.connection is None
        client.connection.shutdown(socket.SHUT_WR)
        assert client.is_closed()  # and so the last line is written
    assert server.__dict__["log"] == [
        f'"GET {path} HTTP/1.1" 200 {len(path)}' for path in ("/one", "/two", "/three")
    ]


def test_the_standard_librarys_client_keeps_its_connection() -> None:
    with serving(echo_app, handler_class=KeepingHandler) as server:
        host, port = server.server_address[:2]
        connection = http.client.HTTPConnection(str(host), port, timeout=PATIENCE)
        with contextlib.closing(connection):
            for body in (b"one", b"", b"x" * 100_000, b"four"):
                connection.request("POST", "/", body)
                sock = connection.sock
                assert connection.getresponse().read() == body
                assert connection.sock is sock is not None
            connection.request("POST", "/", iter([b"chunk", b"ed"]), encode_chunked=True)
            assert connection.getresponse().read() == b"chunked"
            assert connection.sock is sock


@pytest.mark.parametrize("server_class", [WSGIServer, ThreadingWSGIServer])
def test_pipelined_requests_are_answered_in_their_order(server_class: type[WSGIServer]) -> None:
    paths = [f"/{number}" for number in range(100)]
    with keeping(path_app, server_class) as (_, client):
        client.send(b"".join(map(get, paths)))
        for path in paths:
            assert client.receive().body == path.encode()
        assert_kept(client)


def test_pipelined_bodies_are_told_apart() -> None:
    with keeping(echo_app) as (_, client):
        client.send(post(b"one") + post(b"") + post(b"GET / HTTP/1.1\r\n\r\n") + post(b"four"))
        bodies = [client.receive().body for _ in range(4)]
    assert bodies == [b"one", b"", b"GET / HTTP/1.1\r\n\r\n", b"four"]


def test_a_request_may_come_byte_by_byte_behind_another() -> None:
    with keeping(echo_app) as (_, client):
        for byte in post(b"one") + post(b"two"):
            client.send(bytes([byte]))
        assert [client.receive().body, client.receive().body] == [b"one", b"two"]


def test_pipelined_requests_before_a_half_close_are_all_answered() -> None:
    with keeping(path_app) as (_, client):
        client.send(get("/one") + get("/two"))
        client.connection.shutdown(socket.SHUT_WR)
        assert client.receive().body == b"/one"
        assert client.receive().body == b"/two"
        assert client.is_closed()


def test_nothing_of_one_request_is_in_the_next() -> None:
    environs = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        environs.append(dict(environ))
        environ["HTTP_X_LEFT"] = "over"
        return echo_app(environ, start_response)

    with keeping(app) as (_, client):
        client.ask(post(b"body", "X-A: 1", "Content-Type: text/html"))
        client.ask(get("/", "Transfer-Encoding: chunked", method="PUT") + b"1\r\nx\r\n0\r\n\r\n")
        client.ask(get("/plain"))
    assert environs[0]["HTTP_X_A"] == "1"
    assert environs[1]["wsgi.input_terminated"]
    plain = environs[2]
    assert not {"HTTP_X_A", "HTTP_X_LEFT", "wsgi.input_terminated"} & plain.keys()
    assert (plain["CONTENT_TYPE"], plain["CONTENT_LENGTH"]) == ("text/plain", "")


def test_each_request_is_given_its_own_headers_message() -> None:
    seen = []

    class Looking(KeepingHandler):
        def get_environ(self) -> dict[str, Any]:
            seen.append(self.headers["X-A"])
            return super().get_environ()

    with keeping(path_app, handler_class=Looking) as (_, client):
        for value in ("1", "2"):
            client.ask(get("/", f"X-A: {value}"))
    assert seen == ["1", "2"]


# Bodies that nobody reads


@pytest.mark.parametrize("size", [1, 1000, 16_384])
def test_an_unread_body_that_has_come_is_skipped(size: int) -> None:
    with keeping(ignore_body) as (_, client):
        for _ in range(3):
            response = client.ask(post(b"G" * size))
            assert response.body == b"ignored"
            assert response.connection is None
        assert_kept(client)


def test_a_larger_unread_body_closes_the_connection() -> None:
    with keeping(ignore_body) as (_, client):
        client.send(post(bytes(65_537)))
        assert client.receive().body == b"ignored"
        assert client.is_closed()


def test_the_rest_of_a_body_is_what_counts() -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        environ["wsgi.input"].read(1_000_000)
        return ignore_body(environ, start_response)

    with keeping(app) as (_, client):
        assert client.ask(post(bytes(1_000_001))).body == b"ignored"
        assert_kept(client)


def test_an_unread_chunked_body_is_skipped_whatever_its_size() -> None:
    request = get("/", "Transfer-Encoding: chunked", method="POST")
    request += b"30000\r\n" + bytes(0x30000) + b"\r\n0\r\n\r\n"
    with keeping(ignore_body) as (_, client):
        assert client.ask(request).body == b"ignored"
        assert_kept(client)


def test_a_body_that_ends_early_ends_the_connection() -> None:
    with keeping(echo_app) as (_, client):
        client.send(get("/", "Content-Length: 10", method="POST") + b"half")
        client.connection.shutdown(socket.SHUT_WR)
        assert client.receive().body == b"half"
        assert client.is_closed()


@pytest.mark.parametrize("part", [b"", b"half"])
@pytest.mark.parametrize("server_class", [WSGIServer, ThreadingWSGIServer])
def test_an_unread_body_that_stays_away_ends_the_connection_quietly(
    server_class: type[WSGIServer], part: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    class Brief(KeepingHandler):
        def get_environ(self) -> dict[str, Any]:
            Brief.timeout = 0.01  # from now on: the request itself has all the time
            self.connection.settimeout(0.01)
            return super().get_environ()

    with keeping(ignore_body, server_class, Brief) as (_, client):
        client.send(get("/", "Content-Length: 10", method="POST") + part)
        assert client.receive().body == b"ignored"
        assert client.is_closed()
    assert capsys.readouterr().err == ""


def test_an_unread_body_that_stays_away_holds_nobody_up() -> None:
    with keeping(ignore_body) as (server, client):
        client.send(get("/", "Content-Length: 10", method="POST") + b"half")
        assert client.receive().body == b"ignored"
        try:
            with client_of(server) as other:
                assert other.ask(get()).body == b"ignored"
        finally:
            client.connection.shutdown(socket.SHUT_RDWR)  # or the server waits for it for ever


@pytest.mark.parametrize("server_class", [WSGIServer, ThreadingWSGIServer])
def test_an_unread_body_that_comes_late_is_no_request(server_class: type[WSGIServer]) -> None:
    late = get("/smuggled")
    with keeping(ignore_body, server_class) as (server, client):
        client.send(get("/", f"Content-Length: {len(late)}", method="POST"))
        assert client.receive().body == b"ignored"
        client.send(late)  # in time to be skipped, or not
        client.connection.shutdown(socket.SHUT_WR)
        assert client.is_closed()
    assert server.__dict__["log"] == ['"POST / HTTP/1.1" 200 7']


# Connection: close, and HTTP/1.0


@pytest.mark.parametrize(
    "fields",
    [
        ["Connection: close"],
        ["connection: CLOSE"],
        ["Connection: keep-alive, close"],
        ["Connection: close,keep-alive"],
        ["Connection:  Close\t, X-A"],
        ["Connection: X-A", "Connection: close"],
        ["Connection: close", "X-A: 1", "connection: keep-alive"],
    ],
)
def test_a_client_can_ask_for_the_end_of_its_connection(fields: list[str]) -> None:
    with keeping(path_app) as (_, client):
        response = client.ask(get("/last", *fields))
        assert response.body == b"/last"
        assert response.says_close
        assert client.is_closed()


@pytest.mark.parametrize("value", ["keep-alive", "Keep-Alive", "X-Close", "closed", "", "a close"])
def test_other_options_do_not_end_it(value: str) -> None:
    with keeping(path_app) as (_, client):
        assert client.ask(get("/", f"Connection: {value}")).connection is None
        assert_kept(client)


def test_http_1_0_is_answered_once() -> None:
    with keeping(path_app) as (_, client):
        response = client.ask(get("/last", version="1.0"))
        assert response.body == b"/last"
        assert response.says_close
        assert client.is_closed()


@pytest.mark.parametrize("value", ["keep-alive", "Keep-Alive", "X-A, KEEP-ALIVE"])
def test_http_1_0_is_kept_where_it_asks_for_that(value: str) -> None:
    with keeping(path_app) as (_, client):
        for path in ("/one", "/two"):
            response = client.ask(get(path, f"Connection: {value}", version="1.0"))
            assert response.body == path.encode()
            assert response.connection == "keep-alive"
        assert client.ask(get("/last", version="1.0")).says_close
        assert client.is_closed()


def test_http_1_0_can_ask_for_the_end_too() -> None:
    with keeping(path_app) as (_, client):
        fields = ["Connection: keep-alive", "Connection: close"]
        assert client.ask(get("/last", *fields, version="1.0")).says_close
        assert client.is_closed()


def test_an_application_ends_the_connection_by_the_handlers_attribute() -> None:
    class Ending(KeepingHandler):
        def get_environ(self) -> dict[str, Any]:
            self.close_connection = True
            return super().get_environ()

    with keeping(path_app, handler_class=Ending) as (_, client):
        assert client.ask(get("/last")).body == b"/last"
        assert client.is_closed()


# Framing of responses


def answering(
    headers: list[tuple[str, str]],
    body: Callable[[], Iterable[bytes]],
    status: str = "200 OK",
) -> Application:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response(status, headers[:])
        return body()

    return app


@pytest.mark.parametrize("body", [lambda: iter([b"one", b"two"]), lambda: [b"one", b"two"]])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_body_of_unknown_length_ends_with_the_connection(
    body: Callable[[], Iterable[bytes]], version: str
) -> None:
    with keeping(answering([], body)) as (_, client):
        response = client.ask(get("/", "Connection: keep-alive", version=version))
        assert response.body == b"onetwo"
        assert response.connection == "close"
        assert client.is_closed()


@pytest.mark.parametrize(
    ("headers", "body", "received"),
    [
        ([("Content-Length", "6")], lambda: iter([b"one", b"two"]), b"onetwo"),
        ([], lambda: [b"onetwo"], b"onetwo"),
        ([], list, b""),
        ([], lambda: iter(()), b""),
        ([], lambda: [b""], b""),
    ],
)
def test_a_body_of_known_length_keeps_the_connection(
    headers: list[tuple[str, str]], body: Callable[[], Iterable[bytes]], received: bytes
) -> None:
    with keeping(answering(headers, body)) as (_, client):
        response = client.ask(get())
        assert (response.body, response.connection) == (received, None)
        assert_kept(client)


@pytest.mark.parametrize("length", ["3", "9", "06", "x", ""])
def test_a_length_that_is_not_the_bodys_ends_the_connection(length: str) -> None:
    app = answering([("Content-Length", length)], lambda: [b"onetwo"])
    with keeping(app) as (_, client):
        client.send(get("/one") + get("/two"))
        _, _, body = receive_all(client.connection).partition(b"\r\n\r\n")
        assert body == b"onetwo"


@pytest.mark.parametrize(
    ("method", "status", "headers", "body"),
    [
        ("HEAD", "200 OK", [("Content-Length", "999")], lambda: [b"dropped"]),
        ("HEAD", "200 OK", [], lambda: iter([b"one", b"two"])),
        ("HEAD", "200 OK", [], list),
        ("GET", "204 No Content", [], list),
        ("GET", "204 No Content", [], lambda: [b"dropped"]),
        ("GET", "304 Not Modified", [("Content-Length", "999")], list),
        ("GET", "304 Not Modified", [("ETag", '"x"')], lambda: iter([b"dropped"])),
    ],
)
def test_a_response_without_a_body_keeps_the_connection(
    method: str, status: str, headers: list[tuple[str, str]], body: Callable[[], Iterable[bytes]]
) -> None:
    with keeping(answering(headers, body, status)) as (_, client):
        for _ in range(2):
            response = client.ask(get(method=method), method)
            assert response.status == f"HTTP/1.1 {status}"
            assert response.connection is None
            for name, value in headers:
                assert response.headers[name.lower()] == value


# Applications that fail


def test_an_exception_before_the_headers_keeps_the_connection(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        if environ["PATH_INFO"] == "/bad":
            start_response("200 OK", [("Content-Length", "5")])
            raise ZeroDivisionError
        return path_app(environ, start_response)

    with keeping(app) as (_, client):
        for _ in range(2):
            response = client.ask(get("/bad"))
            assert response.status == "HTTP/1.1 500 Internal Server Error"
            assert response.connection is None
            assert client.ask(get("/good")).body == b"/good"
    assert capsys.readouterr().err.count("Traceback") == 2


def test_an_exception_after_the_headers_ends_the_connection(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def blocks() -> Iterator[bytes]:
        yield b"one"
        raise ZeroDivisionError

    with keeping(answering([("Content-Length", "6")], blocks)) as (_, client):
        client.send(get("/one") + get("/two"))
        _, _, body = receive_all(client.connection).partition(b"\r\n\r\n")
        assert body == b"one"
    assert capsys.readouterr().err.count("Traceback") == 1


def test_an_exception_after_a_whole_body_ends_the_connection(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def blocks() -> Iterator[bytes]:
        yield b"onetwo"
        raise ZeroDivisionError

    with keeping(answering([("Content-Length", "6")], blocks)) as (_, client):
        assert client.ask(get()).body == b"onetwo"
        assert client.is_closed()
    assert capsys.readouterr().err.count("Traceback") == 1


def test_the_application_of_a_failed_request_leaves_no_body_behind(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        if environ["REQUEST_METHOD"] == "POST":
            raise ZeroDivisionError
        return path_app(environ, start_response)

    with keeping(app) as (_, client):
        client.send(post(b"GET /hidden HTTP/1.1\r\n\r\n") + get("/next"))
        assert client.receive().status == "HTTP/1.1 500 Internal Server Error"
        assert client.receive().body == b"/next"
    capsys.readouterr()


# Requests that end their connection


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(get("/odd", "X-A: 1\r\n folded"), id="folded header"),
        pytest.param(get("/odd", "X-A: 1").replace(b": 1\r\n", b": 1\n"), id="mixed line ends"),
        pytest.param(get("/odd", "no colon"), id="a line without a colon"),
        pytest.param(get("/odd", "X A: 1", "X-B: 2"), id="a space in a name"),
        pytest.param(b"GET /odd HTTP/01.1\r\n\r\n", id="an odd version"),
    ],
)
def test_an_odd_request_is_its_connections_last(request_bytes: bytes) -> None:
    with keeping(path_app) as (_, client):
        assert_kept(client)
        client.send(request_bytes + get("/smuggled"))
        answer = receive_all(client.connection)
        assert answer.count(b"HTTP/1.") == 1
        assert b"/smuggled" not in answer


@pytest.mark.parametrize(
    "request_bytes",
    [
        get("/", "Content-Length: x"),
        get("/", "X-A : 1"),
        get("/", "Transfer-Encoding: gzip"),
        b"GET / HTTP/2.0\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
    ],
    ids=range(6),
)
def test_a_refused_request_is_its_connections_last(request_bytes: bytes) -> None:
    with keeping(path_app) as (_, client):
        assert_kept(client)
        client.send(request_bytes + get("/smuggled"))
        assert b"/smuggled" not in receive_all(client.connection)


def test_expect_is_answered_before_the_body_comes() -> None:
    with keeping(echo_app) as (_, client):
        request = post(b"body", "Expect: 100-continue")
        client.send(request[:-4])
        assert client.file.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert client.file.readline() == b"\r\n"
        client.send(b"body")
        assert client.receive().body == b"body"
        assert_kept(client)


# Kept connections wait, and hold nobody up


def test_idle_connections_hold_nobody_up() -> None:
    with serving(path_app, handler_class=KeepingHandler) as server, ExitStack() as stack:
        clients = []
        for number in range(20):
            client = stack.enter_context(client_of(server))
            assert client.ask(get(f"/{number}")).body == f"/{number}".encode()
            clients.append(client)
        for client in reversed(clients):
            assert client.ask(get("/again")).body == b"/again"


def test_a_request_that_is_half_there_is_served_when_it_is_whole() -> None:
    with keeping(path_app) as (server, client):
        client.send(get("/one") + b"GET /tw")
        assert client.receive().body == b"/one"
        client.send(b"o HTTP/1.1\r\n\r\n")
        assert client.receive().body == b"/two"
        with client_of(server) as other:
            assert other.ask(get("/other")).body == b"/other"


def test_the_oldest_is_closed_when_too_many_wait() -> None:
    class Small(WSGIServer):
        waiting_limit = 2

    with make_server("127.0.0.1", 0, path_app, Small, KeepingHandler) as server, ExitStack() as s:
        server.__dict__["log"] = []
        clients = [s.enter_context(client_of(server)) for _ in range(4)]
        for number, client in enumerate(clients):  # all there is to accept, with its bytes
            client.send(get(f"/{number}"))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            for number, client in enumerate(clients):
                assert client.receive().body == f"/{number}".encode()
            for client in clients[:2]:
                assert client.is_closed()
            for client in clients[2:]:
                assert_kept(client)
        finally:
            server.shutdown()
            thread.join(PATIENCE)


@pytest.mark.parametrize("server_class", [WSGIServer, ThreadingWSGIServer])
def test_an_idle_connection_is_closed_after_the_handlers_timeout(
    server_class: type[WSGIServer], capsys: pytest.CaptureFixture[str]
) -> None:
    class Brief(KeepingHandler):
        def get_environ(self) -> dict[str, Any]:
            Brief.timeout = 0.01  # from now on: the request itself has all the time
            self.connection.settimeout(0.01)
            return super().get_environ()

    with keeping(path_app, server_class, Brief) as (server, client):
        assert client.ask(get("/")).body == b"/"
        assert client.is_closed()
        assert server.__dict__["log"][0] == '"GET / HTTP/1.1" 200 1'
    assert "Traceback" not in capsys.readouterr().err


def test_closing_a_server_closes_kept_connections() -> None:
    with keeping(path_app) as (server, client):
        assert_kept(client)
        server.shutdown()
        server.server_close()
        assert client.is_closed()


def test_a_kept_connection_outlasts_a_shutdown() -> None:
    with make_server("127.0.0.1", 0, path_app, handler_class=KeepingHandler) as server:
        server.__dict__["log"] = []
        with client_of(server) as client:
            for number in range(3):
                loop = threading.Thread(target=server.serve_forever, args=(3600,))
                loop.start()
                assert client.ask(get(f"/{number}")).body == f"/{number}".encode()
                server.shutdown()
                loop.join(PATIENCE)
                assert not loop.is_alive()


def test_handle_request_closes_its_connection() -> None:
    with make_server("127.0.0.1", 0, path_app, handler_class=KeepingHandler) as server:
        server.__dict__["log"] = []
        with client_of(server) as client:
            client.send(get("/one") + get("/two"))
            server.handle_request()
            response = client.receive()
            assert response.body == b"/one"
            assert response.says_close
            assert client.is_closed()


# Threads


def test_a_thread_stays_with_its_connection() -> None:
    threads = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        threads.append(threading.get_ident())
        return path_app(environ, start_response)

    class Server(ThreadingMixIn, WSGIServer):
        pass

    with keeping(app, Server) as (_, client):
        for path in ("/one", "/two", "/three"):
            assert client.ask(get(path)).body == path.encode()
        client.connection.shutdown(socket.SHUT_WR)
        assert client.is_closed()
    assert len(set(threads)) == 1
    assert len(threads) == 3


def test_closing_a_server_ends_the_threads_of_kept_connections() -> None:
    class Server(ThreadingMixIn, WSGIServer):
        daemon_threads = False  # so that server_close() waits for them

    with keeping(path_app, Server) as (server, client):
        assert_kept(client)
        server.shutdown()
        closing = threading.Thread(target=server.server_close)
        closing.start()
        assert client.is_closed()
        closing.join(PATIENCE)
        assert not closing.is_alive()


class PoolMixIn:
    """Has two worker threads process the requests, in the way that pools are mixed in."""

    def __init__(self, *args: Any) -> None:
        self.jobs: queue.Queue[Any] = queue.Queue()
        self.workers = [threading.Thread(target=self.work) for _ in range(2)]
        super().__init__(*args)
        for worker in self.workers:
            worker.start()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.jobs.put((request, client_address))

    def work(self) -> None:
        while job := self.jobs.get():
            super().process_request(*job)  # type: ignore[misc]

    def server_close(self) -> None:
        for _ in self.workers:
            self.jobs.put(None)
        for worker in self.workers:
            worker.join(PATIENCE)
        super().server_close()  # type: ignore[misc]


class PoolServer(PoolMixIn, WSGIServer):
    pass


def test_a_pool_of_threads_can_serve_kept_connections() -> None:
    with serving(path_app, PoolServer, KeepingHandler) as server, ExitStack() as stack:
        clients = [stack.enter_context(client_of(server)) for _ in range(10)]
        for turn in range(20):
            for number, client in enumerate(clients):
                client.send(get(f"/{turn}/{number}"))
            for number, client in enumerate(clients):
                response = client.receive()
                assert response.body == f"/{turn}/{number}".encode()
                assert response.connection is None


# The version of the status line


def test_the_protocol_version_of_the_original_stays_http_1_0() -> None:
    with keeping(path_app, handler_class=QuietHandler) as (_, client):
        response = client.ask(get("/", "Connection: keep-alive"))
        assert response.status == "HTTP/1.0 200 OK"
        assert response.connection is None
        assert client.is_closed()


def test_http_version_alone_changes_the_status_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ServerHandler, "http_version", "1.1")
    with keeping(path_app, handler_class=QuietHandler) as (_, client):
        response = client.ask(get("/", "Connection: keep-alive"))
        assert response.status == "HTTP/1.1 200 OK"
        assert response.connection == "close"
        assert client.is_closed()


def test_a_handle_of_somebodys_own_serves_one_request() -> None:
    class Own(KeepingHandler):
        def handle(self) -> None:
            self.raw_requestline = self.rfile.readline(65_537)
            if not self.parse_request():
                return
            handler = ServerHandler(self.rfile, self.wfile, self.get_stderr(), self.get_environ())
            handler.request_handler = self
            handler.run(self.server.get_app())  # type: ignore[attr-defined]

    with keeping(echo_app, handler_class=Own) as (_, client):
        client.send(post(b"body") + get("/two"))
        response = client.receive()
        assert response.body == b"body"
        assert client.is_closed()


class Looping(KeepingHandler):
    """A request handler with the loop of many: until `close_connection` is true."""

    def handle(self) -> None:
        self.close_connection = True
        self.handle_one_request()
        while not self.close_connection:
            self.handle_one_request()

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65_537)
        if not self.parse_request():
            return
        handler = OneOneHandler(self.rfile, self.wfile, self.get_stderr(), self.get_environ())
        handler.request_handler = self
        handler.run(self.server.get_app())  # type: ignore[attr-defined]


class OneOneHandler(simple_server.ServerHandler):
    http_version = "1.1"


@pytest.mark.parametrize("server_class", [WSGIServer, ThreadingWSGIServer])
def test_a_loop_of_somebodys_own_keeps_its_connection(server_class: type[WSGIServer]) -> None:
    with keeping(echo_app, server_class, Looping) as (_, client):
        client.send(post(b"one") + post(b"two"))
        assert client.receive().body == b"one"
        assert client.receive().body == b"two"
        assert client.ask(post(b"three", "Connection: close")).body == b"three"
        assert client.is_closed()
