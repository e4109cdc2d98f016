"""What projects make of servers and request handlers, each kind as a small one of its own.

Each test runs on the standard library's wsgiref too.
"""
# mypy: disallow-subclassing-any=False

from __future__ import annotations

import collections
import contextlib
import io
import select
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from libraries import (
    GET,
    Keeper,
    StartResponse,
    ask,
    failing_app,
    load,
    quiet,
    read_app,
    receive_until,
    running,
)
from support import (
    PATIENCE,
    StubSocket,
    connected,
    has_ipv6,
    hello_app,
    receive_all,
    split_response,
)

pytestmark = pytest.mark.usefixtures("implementation")

Environ = dict[str, Any]

#: The loopback addresses that this machine has.
HOSTS = ["127.0.0.1", *(["::1"] if has_ipv6() else [])]


# Django: its development server.


class LimitedStream(io.IOBase):
    """A stream that ends at a length, as frameworks wrap theirs."""

    def __init__(self, stream: Any, limit: int) -> None:
        self.stream = stream
        self.left = limit

    def read(self, size: int = -1, /) -> bytes:
        wanted = self.left if size < 0 else min(size, self.left)
        block: bytes = self.stream.read(wanted) if wanted else b""
        self.left -= len(block)
        return block


class Django:
    """Classes as those of Django's development server."""

    def __init__(self, lib: Any) -> None:
        base: Any = lib.simple_server
        log: list[Any] = []
        closed = threading.Event()

        class Server(base.WSGIServer):
            request_queue_size = 10

            def __init__(
                self,
                *args: Any,
                ipv6: bool = False,
                allow_reuse_address: bool = True,
                **kwargs: Any,
            ) -> None:
                if ipv6:
                    self.address_family = socket.AF_INET6
                self.allow_reuse_address = allow_reuse_address
                super().__init__(*args, **kwargs)

            def handle_error(self, request: Any, client_address: Any) -> None:
                log.append(("error", client_address[0]))

        class ThreadedServer(socketserver.ThreadingMixIn, Server):
            daemon_threads = True

            def __init__(self, *args: Any, connections_override: Any = None, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                self.connections_override = connections_override

            def process_request_thread(self, request: Any, client_address: Any) -> None:
                log.append("thread")
                super().process_request_thread(request, client_address)

            def close_request(self, request: Any) -> None:
                log.append("close")
                super().close_request(request)
                closed.set()

        class Handler(base.ServerHandler):
            http_version = "1.1"

            def __init__(
                self, stdin: Any, stdout: Any, stderr: Any, environ: Environ, **kwargs: Any
            ) -> None:
                length = int(environ.get("CONTENT_LENGTH") or 0)
                super().__init__(LimitedStream(stdin, length), stdout, stderr, environ, **kwargs)

            def cleanup_headers(self) -> None:
                super().cleanup_headers()
                headers, server = self.headers, self.request_handler.server
                if self.environ["REQUEST_METHOD"] == "HEAD" and headers["Content-Length"] == "0":
                    del headers["Content-Length"]
                alone = not isinstance(server, socketserver.ThreadingMixIn)
                if alone or "Content-Length" not in headers:
                    headers["Connection"] = "close"
                if headers.get("Connection") == "close":
                    self.request_handler.close_connection = True

            def close(self) -> None:
                self.get_stdin().read()
                super().close()

            def finish_response(self) -> None:
                if self.environ["REQUEST_METHOD"] != "HEAD":
                    super().finish_response()
                    return
                try:
                    collections.deque(self.result, maxlen=0)
                    if not self.headers_sent:
                        self.send_headers()
                finally:
                    self.close()

        class RequestHandler(base.WSGIRequestHandler):
            protocol_version = "HTTP/1.1"

            def address_string(self) -> str:
                return str(self.client_address[0])

            def log_message(self, format: str, *args: Any) -> None:
                log.append((args[0], args[1], self.request))

            def get_environ(self) -> Environ:
                for name in self.headers:
                    if "_" in name:
                        del self.headers[name]
                return super().get_environ()  # type: ignore[no-any-return]

            def handle(self) -> None:
                self.close_connection = True
                self.handle_one_request()
                while not self.close_connection:
                    self.handle_one_request()
                with contextlib.suppress(AttributeError, OSError):
                    self.connection.shutdown(socket.SHUT_WR)

            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline(65537)
                if len(self.raw_requestline) > 65536:
                    self.requestline = self.request_version = self.command = ""
                    self.send_error(414)
                    return
                if not self.parse_request():
                    return
                handler = Handler(self.rfile, self.wfile, self.get_stderr(), self.get_environ())
                handler.request_handler = self
                handler.run(self.server.get_app())

        self.log, self.closed = log, closed
        self.Server, self.ThreadedServer = Server, ThreadedServer
        self.Handler, self.RequestHandler = Handler, RequestHandler

    def serve(self, app: Any, server_class: Any = None) -> Any:
        server = (server_class or self.Server)(("127.0.0.1", 0), self.RequestHandler)
        server.set_app(app)
        return server


def test_django_closes_after_a_response_without_threads(lib: Any) -> None:
    django = Django(lib)
    with django.serve(Keeper()) as server:
        status, headers, body = split_response(ask(server, GET.replace(b"/ ", b"/a ")))
    assert status == "HTTP/1.1 200 OK"
    assert ("Connection", "close") in headers
    assert ("Content-Length", "2") in headers
    assert body == b"/a"
    [(line, code, request)] = django.log
    assert (line, code) == ("GET /a HTTP/1.1", "200")
    assert isinstance(request, socket.socket)


def test_django_keeps_connections_with_threads(lib: Any) -> None:
    django = Django(lib)
    threaded = django.serve(Keeper(), django.ThreadedServer)
    with running(threaded) as server, connected(server) as connection:
        for path in (b"/first", b"/second"):
            connection.sendall(b"GET %s HTTP/1.1\r\nHost: here\r\n\r\n" % path)
            head, _, body = receive_until(connection, path).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"Connection" not in head
            assert body == path
        connection.shutdown(socket.SHUT_WR)
        assert receive_all(connection) == b""
        assert django.closed.wait(PATIENCE)
    assert [entry for entry in django.log if isinstance(entry, str)] == ["thread", "close"]


def test_django_keeps_the_connection_in_step_past_bodies_that_nobody_read(lib: Any) -> None:
    django = Django(lib)
    threaded = django.serve(Keeper(), django.ThreadedServer)
    with running(threaded) as server, connected(server) as connection:
        for path in (b"/first", b"/second"):
            head = b"POST %s HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\n\r\nab\r\nc"
            connection.sendall(head % path)
            assert receive_until(connection, path).startswith(b"HTTP/1.1 200 OK\r\n")


def test_django_answers_head_without_a_length_that_it_does_not_know(lib: Any) -> None:
    def app(environ: Environ, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "0")])
        return [b"never sent"]

    django = Django(lib)
    with django.serve(app) as server:
        status, headers, body = split_response(ask(server, b"HEAD / HTTP/1.1\r\n\r\n"))
    assert (status, body) == ("HTTP/1.1 200 OK", b"")
    assert [name for name, _ in headers] == ["Date", "Server", "Connection"]


def test_django_deletes_headers_while_it_iterates_over_them(lib: Any) -> None:
    app = Keeper()
    with Django(lib).serve(app) as server:
        ask(server, b"GET / HTTP/1.1\r\nX_A: 1\r\nX-A: 2\r\nX-B: 3\r\n\r\n")
    assert {k: v for k, v in app.environ.items() if k.startswith("HTTP_")} == {
        "HTTP_X_A": "2",
        "HTTP_X_B": "3",
    }


def test_django_refuses_long_request_lines(lib: Any) -> None:
    django = Django(lib)
    with django.serve(hello_app) as server:
        # A target that fills what is read: nothing is left on the wire.
        response = ask(server, b"GET /".ljust(65537, b"x"))
    assert b"Error code: 414" in response
    assert django.log[0][0] == 414


def test_django_reads_the_class_attributes_that_it_set_before_the_constructor(lib: Any) -> None:
    django = Django(lib)
    server = django.Server(("127.0.0.1", 0), django.RequestHandler, allow_reuse_address=False)
    with server:
        assert server.socket.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == 0
    with django.Server(("127.0.0.1", 0), django.RequestHandler) as server:
        assert server.socket.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) != 0


@pytest.mark.parametrize("host", HOSTS)
def test_django_sets_its_address_family_before_the_constructor(lib: Any, host: str) -> None:
    django = Django(lib)
    with django.Server((host, 0), django.RequestHandler, ipv6=":" in host) as server:
        server.set_app(Keeper())
        assert split_response(ask(server))[2] == b"/"


def test_django_is_told_of_errors(lib: Any) -> None:
    class Broken(LimitedStream):
        def read(self, size: int = -1, /) -> bytes:
            raise RuntimeError("the stream broke")

    django = Django(lib)

    def app(environ: Environ, start_response: StartResponse) -> list[bytes]:
        start_response.__self__.stdin = Broken(None, 0)  # type: ignore[attr-defined]
        raise LookupError("the application failed")

    with django.serve(app) as server:
        response = ask(server)
    assert response.endswith(lib.handlers.BaseHandler.error_body)
    assert ("error", "127.0.0.1") in django.log


def test_django_live_server_thread(lib: Any) -> None:
    class Quiet(Django(lib).RequestHandler):  # type: ignore[misc]
        def log_message(*args: Any) -> None:
            pass

    class LiveServerThread(threading.Thread):
        server_class = Django(lib).ThreadedServer

        def __init__(self, connections_override: Any) -> None:
            super().__init__()
            self.connections_override = connections_override
            self.is_ready = threading.Event()

        def run(self) -> None:
            self.httpd = self._create_server(connections_override=self.connections_override)
            self.port = self.httpd.server_address[1]
            self.httpd.set_app(Keeper())
            self.is_ready.set()
            self.httpd.serve_forever()

        def _create_server(self, connections_override: Any = None) -> Any:
            return self.server_class(
                ("127.0.0.1", 0),
                Quiet,
                allow_reuse_address=False,
                connections_override=connections_override,
            )

        def terminate(self) -> None:
            self.httpd.shutdown()
            self.httpd.server_close()
            self.join(PATIENCE)

    overridden = {"default": object()}
    thread = LiveServerThread(overridden)
    thread.start()
    assert thread.is_ready.wait(PATIENCE)
    with socket.create_connection(("127.0.0.1", thread.port), PATIENCE) as connection:
        connection.sendall(GET.replace(b"Host", b"Connection: close\r\nHost"))
        connection.shutdown(socket.SHUT_WR)
        assert receive_all(connection).endswith(b"/")
    thread.terminate()
    assert thread.httpd.connections_override is overridden
    assert not thread.is_alive()


class StubServer:
    """A server with what a request handler asks for, and no more."""

    def __init__(self, app: Any) -> None:
        self.base_environ: Environ = {"SERVER_NAME": "stub", "SERVER_PORT": "1"}
        self.app = app

    def get_app(self) -> Any:
        return self.app


def test_django_stub_request_with_a_string_as_address(lib: Any) -> None:
    app = Keeper()
    request = StubSocket(b"GET /stub HTTP/1.1\r\nHost: x\r\nX_Y: 1\r\n\r\n")
    Django(lib).RequestHandler(request, "192.168.0.2", StubServer(app))
    status, headers, body = split_response(b"".join(request.sent))
    assert status == "HTTP/1.1 200 OK"
    assert ("Connection", "close") in headers
    assert body == b"/stub"
    assert app.environ["SERVER_NAME"] == "stub"
    assert app.environ["REMOTE_ADDR"] == "1"  # the first item of whatever it is
    assert "HTTP_X_Y" not in app.environ


def test_django_stub_request_without_a_server(lib: Any) -> None:
    request = StubSocket(b"")
    handler = lib.simple_server.WSGIRequestHandler(request, "192.168.0.2", None)
    assert request.sent == []
    assert handler.client_address == "192.168.0.2"
    assert handler.server is None


def test_django_stub_request_stock_handler(lib: Any) -> None:
    request = StubSocket(b"GET /stub HTTP/1.0\r\n\r\n")
    app = Keeper()
    quiet(lib.simple_server.WSGIRequestHandler)(request, "192.168.0.2", StubServer(app))
    assert b"".join(request.sent).endswith(b"\r\n\r\n/stub")
    assert app.environ["PATH_INFO"] == "/stub"


# Exporters of metrics: a thread, a quiet handler, an address family per server class.


def test_prometheus_client(lib: Any) -> None:
    class SilentHandler(lib.simple_server.WSGIRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    class ThreadingWSGIServer(socketserver.ThreadingMixIn, lib.simple_server.WSGIServer):
        daemon_threads = True

    class TmpServer(ThreadingWSGIServer):
        pass

    TmpServer.address_family = socket.AF_INET
    make_server = lib.simple_server.make_server
    httpd = make_server("127.0.0.1", 0, hello_app, TmpServer, handler_class=SilentHandler)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    with connected(httpd) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nAccept: text/plain\r\n\r\n")
        assert receive_all(connection).endswith(b"Hello, world!")
    httpd.shutdown()
    httpd.server_close()
    thread.join(PATIENCE)
    assert not thread.is_alive()


# bottle: classes may be given, a free port is read back, Ctrl-C closes.


@pytest.mark.parametrize("host", HOSTS)
def test_bottle(lib: Any, host: str) -> None:
    class FixedHandler(lib.simple_server.WSGIRequestHandler):
        def address_string(self) -> str:
            return str(self.client_address[0])

        def log_request(self, *args: Any, **kw: Any) -> None:
            lines.append((self.address_string(), *args))

    class Interrupted(lib.simple_server.WSGIServer):
        def service_actions(self) -> None:
            if lines:
                raise KeyboardInterrupt

    lines: list[Any] = []
    options: dict[str, Any] = {"server_class": Interrupted}
    handler_cls = options.get("handler_class", FixedHandler)
    server_cls: Any = options.get("server_class", lib.simple_server.WSGIServer)
    if ":" in host and getattr(server_cls, "address_family") == socket.AF_INET:  # noqa: B009

        class V6(server_cls):
            address_family = socket.AF_INET6

        server_cls = V6

    srv = lib.simple_server.make_server(host, 0, Keeper(), server_cls, handler_cls)
    port = srv.server_port
    with socket.create_connection((host, port), PATIENCE) as connection:
        connection.sendall(GET)
        with pytest.raises(KeyboardInterrupt):
            srv.serve_forever()
        srv.server_close()
        assert receive_all(connection).endswith(b"/")
    assert srv.socket.fileno() == -1
    assert lines == [(host, "200", 1)]


# google-auth-oauthlib: one request, awaited with a time limit.


class Redirected:
    """An application that keeps the URI that a browser was sent to."""

    def __init__(self, lib: Any) -> None:
        self.lib = lib
        self.last_request_uri: str | None = None

    def __call__(self, environ: Environ, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [("Content-type", "text/plain; charset=utf-8")])
        self.last_request_uri = self.lib.util.request_uri(environ)
        return [b"You may close this window."]


@pytest.fixture
def once(lib: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Redirected]]:
    class Handler(lib.simple_server.WSGIRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            lines.append(format % args)

    lines: list[str] = []
    monkeypatch.setattr(lib.simple_server.WSGIServer, "allow_reuse_address", False)
    app = Redirected(lib)
    server = lib.simple_server.make_server("127.0.0.1", 0, app, handler_class=Handler)
    yield server, app
    server.server_close()


def test_google_auth_oauthlib_takes_one_request(once: tuple[Any, Redirected]) -> None:
    server, app = once
    assert server.socket.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == 0
    server.timeout = PATIENCE
    host = f"localhost:{server.server_port}"
    response = ask(server, b"GET /?code=a%%20b HTTP/1.1\r\nHost: %s\r\n\r\n" % host.encode())
    assert response.endswith(b"You may close this window.")
    assert app.last_request_uri == f"http://{host}/?code=a%20b"


def test_google_auth_oauthlib_gives_up_when_the_time_is_over(once: tuple[Any, Redirected]) -> None:
    server, app = once
    server.timeout = 0
    server.handle_request()
    assert app.last_request_uri is None


# mkdocs: binds when it is told to, logs by the request line, ends from within.


def test_mkdocs(lib: Any) -> None:
    class Handler(lib.simple_server.WSGIRequestHandler):
        def log_request(self, code: Any = "-", size: Any = "-") -> None:
            lines.append(f'"{self.requestline}" code {code}')

        def log_message(self, format: str, *args: Any) -> None:
            lines.append(format % args)

    class LiveReloadServer(socketserver.ThreadingMixIn, lib.simple_server.WSGIServer):
        daemon_threads = True
        poll_response_timeout = 60

        def __init__(self, host: str, port: int) -> None:
            self.address_family = socket.AF_INET
            super().__init__((host, port), Handler, bind_and_activate=False)
            self.set_app(self.serve_request)

        def serve(self) -> None:
            self.server_bind()
            self.server_activate()
            self.thread = threading.Thread(target=self.serve_forever, args=(0.01,))
            self.thread.start()

        def shutdown(self, wait: bool = False) -> None:
            super().shutdown()
            if wait:
                self.thread.join(PATIENCE)
            self.server_close()

        def serve_request(self, environ: Environ, start_response: StartResponse) -> Any:
            path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "ignore")
            start_response("200 OK", [("Content-Type", "text/plain")])
            return lib.util.FileWrapper(io.BytesIO(path.encode()))

    lines: list[str] = []
    server = LiveReloadServer("127.0.0.1", 0)
    server.serve()
    with connected(server) as connection:
        connection.sendall(b"GET /caf%C3%A9/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert split_response(receive_all(connection))[2] == "/café/".encode()
    server.shutdown(wait=True)
    assert not server.thread.is_alive()
    assert lines == ['"GET /caf%C3%A9/ HTTP/1.1" code 200']


# Radicale: a socket is smuggled in the address; a loop of its own drives the server.


class Radicale:
    """Classes as those of a calendar server."""

    def __init__(self, lib: Any) -> None:
        base: Any = lib.simple_server
        log: list[str] = []

        class ParallelServer(socketserver.ThreadingMixIn, base.WSGIServer):
            block_on_close = False
            daemon_threads = True

            def __init__(self, family: int, address: Any, handler: Any) -> None:
                self.address_family = family
                self.worker_sockets: set[socket.socket] = set()
                super().__init__(address, handler)

            def server_bind(self) -> None:
                log.append("bind")
                super().server_bind()

            def get_request(self) -> Any:
                request, client_address = super().get_request()
                request.settimeout(PATIENCE)
                inner, outer = socket.socketpair()
                self.worker_sockets.add(outer)
                return request, (client_address, inner)

            def verify_request(self, request: Any, client_address: Any) -> bool:
                log.append(f"verify {type(client_address[1]).__name__}")
                return True

            def process_request(self, request: Any, client_address: Any) -> None:
                super().process_request(request, client_address)

            def finish_request(self, request: Any, client_address: Any) -> None:
                client_address, worker_socket = client_address
                try:
                    super().finish_request(request, client_address)
                finally:
                    worker_socket.close()

            def handle_error(self, request: Any, client_address: Any) -> None:
                log.append("error")

        class Handler(base.ServerHandler):
            os_environ: dict[str, str] = {}  # noqa: RUF012 - as it is there

            def log_exception(self, exc_info: Any) -> None:
                log.append(f"exception {exc_info[0].__name__}")

        class RequestHandler(base.WSGIRequestHandler):
            def log_request(self, code: Any = "-", size: Any = "-") -> None:
                log.append(f"request {code}")

            def log_error(self, format: str, *args: Any) -> None:
                log.append(format % args)

            def get_environ(self) -> Environ:
                environ: Environ = super().get_environ()
                environ["REMOTE_CERTIFICATE"] = hasattr(self.connection, "getpeercert")
                return environ

            def handle(self) -> None:
                self.raw_requestline = self.rfile.readline(65537)
                if len(self.raw_requestline) > 65536:
                    self.requestline = self.request_version = self.command = ""
                    self.send_error(414)
                    return
                if not self.parse_request():
                    return
                handler = Handler(self.rfile, self.wfile, self.get_stderr(), self.get_environ())
                handler.request_handler = self
                handler.run(self.server.get_app())

        self.log, self.ParallelServer, self.RequestHandler = log, ParallelServer, RequestHandler


def drive(server: Any) -> None:
    """Have a server accept one connection, and wait for its worker's end."""
    [ready], _, _ = select.select([server.socket], [], [], PATIENCE)
    assert ready is server.socket
    server.handle_request()
    server.service_actions()
    [worker], _, _ = select.select(server.worker_sockets, [], [], PATIENCE)
    server.worker_sockets.remove(worker)
    worker.close()


def test_radicale(lib: Any) -> None:
    radicale, app = Radicale(lib), Keeper()
    address = ("127.0.0.1", 0)
    with radicale.ParallelServer(socket.AF_INET, address, radicale.RequestHandler) as server:
        server.set_app(app)
        with connected(server) as connection:
            connection.sendall(b"PROPFIND /cal HTTP/1.1\r\nDepth: 1\r\n\r\n")
            drive(server)
            assert receive_all(connection).endswith(b"/cal")
    assert app.environ["REMOTE_ADDR"] == "127.0.0.1"
    assert app.environ["REMOTE_CERTIFICATE"] is False
    assert app.environ["REQUEST_METHOD"] == "PROPFIND"
    assert "PATH" not in app.environ  # the process's own variables are kept out
    assert radicale.log == ["bind", "verify socket", "request 200"]


def test_radicale_logs_exceptions_itself(lib: Any) -> None:
    radicale = Radicale(lib)
    address = ("127.0.0.1", 0)
    with radicale.ParallelServer(socket.AF_INET, address, radicale.RequestHandler) as server:
        server.set_app(failing_app)
        with connected(server) as connection:
            connection.sendall(GET)
            drive(server)
            assert receive_all(connection).startswith(b"HTTP/1.0 500 ")
    assert radicale.log == ["bind", "verify socket", "exception LookupError", "request 500"]


# dulwich: handle() copied, everything logged its own way.


class Dulwich:
    """Classes as those of a version control system's web server."""

    def __init__(self, lib: Any) -> None:
        base: Any = lib.simple_server
        log: list[Any] = []

        class Handler(base.ServerHandler):
            def log_exception(self, exc_info: Any) -> None:
                log.append(("exception", exc_info[0].__name__))

            def log_message(self, format: str, *args: Any) -> None:
                log.append(("message", format % args))

            def log_error(self, *args: Any) -> None:
                log.append(("error", args))

        class RequestHandler(base.WSGIRequestHandler):
            def log_exception(self, exc_info: Any) -> None:
                log.append(("exception", exc_info[0].__name__))

            def log_message(self, format: str, *args: Any) -> None:
                log.append(("request", format % args))

            def log_error(self, *args: Any) -> None:
                log.append(("error", args))

            def handle(self) -> None:
                self.raw_requestline = self.rfile.readline()
                if not self.parse_request():
                    return
                handler = Handler(self.rfile, self.wfile, self.get_stderr(), self.get_environ())
                handler.request_handler = self
                handler.run(self.server.get_app())

        class Server(base.WSGIServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                log.append(("failure", client_address[0]))

        self.log: list[Any] = log
        self.Server, self.RequestHandler = Server, RequestHandler
        self.make_server = base.make_server

    def serve(self, app: Any) -> Any:
        return self.make_server("127.0.0.1", 0, app, self.Server, self.RequestHandler)


def limit_input(app: Any) -> Any:
    """Wrap an application so that its input ends at the body's end."""

    def limited(environ: Environ, start_response: StartResponse) -> Any:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        environ["wsgi.input"] = LimitedStream(environ["wsgi.input"], length)
        return app(environ, start_response)

    return limited


def test_dulwich_reads_bodies_to_the_end(lib: Any) -> None:
    def app(environ: Environ, start_response: StartResponse) -> list[bytes]:
        body = environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Type", "application/x-git-upload-pack-result")])
        return [body[::-1]]

    dulwich = Dulwich(lib)
    request = b"POST /git-upload-pack HTTP/1.1\r\nContent-Length: 4\r\n\r\nabcd"
    with dulwich.serve(limit_input(app)) as server:
        assert ask(server, request).endswith(b"dcba")
    assert dulwich.log == [("request", '"POST /git-upload-pack HTTP/1.1" 200 4')]


def test_dulwich_logs_failures(lib: Any) -> None:
    dulwich = Dulwich(lib)
    with dulwich.serve(failing_app) as server:
        assert ask(server).startswith(b"HTTP/1.0 500 ")
    length = len(lib.handlers.BaseHandler.error_body)
    assert dulwich.log == [
        ("exception", "LookupError"),
        ("request", f'"GET / HTTP/1.1" 500 {length}'),
    ]


def test_dulwich_logs_refusals(lib: Any) -> None:
    dulwich = Dulwich(lib)
    with dulwich.serve(hello_app) as server:
        assert b"Error code: 400" in ask(server, b"nonsense\r\n\r\n")
    [(kind, (format, code, message))] = [entry for entry in dulwich.log if entry[0] == "error"]
    assert (kind, format) == ("error", "code %d, message %s")
    assert (int(code), "nonsense" in message) == (400, True)


# pytest-httpbin: a ServerHandler of its own on SimpleHandler. (Its TLS is tested elsewhere.)


def test_pytest_httpbin(lib: Any) -> None:
    log: list[Any] = []

    class ServerHandler(lib.handlers.SimpleHandler):
        server_software = "Pytest-HTTPBIN/0.1.0"
        http_version = "1.1"

        def cleanup_headers(self) -> None:
            lib.handlers.SimpleHandler.cleanup_headers(self)
            self.headers["Connection"] = "Close"

        def close(self) -> None:
            try:
                code = self.status.split(" ", 1)[0]
                self.request_handler.log_request(code, self.bytes_sent)
            finally:
                lib.handlers.SimpleHandler.close(self)

    class Handler(lib.simple_server.WSGIRequestHandler):
        def log_request(self, *args: Any) -> None:
            log.append(args)

        def handle(self) -> None:
            self.raw_requestline = self.rfile.readline()
            if not self.parse_request():
                return
            handler = ServerHandler(self.rfile, self.wfile, self.get_stderr(), self.get_environ())
            handler.request_handler = self
            handler.run(self.server.get_app())

        def get_environ(self) -> Environ:
            environ: Environ = super().get_environ()
            if self.headers.get("content-type") is None:
                del environ["CONTENT_TYPE"]
            return environ

    class SecureServer(lib.simple_server.WSGIServer):
        def setup_environ(self) -> None:
            super().setup_environ()
            self.base_environ["HTTPS"] = "yes"

        def __exit__(self, *args: Any) -> None:
            log.append("exit")
            super().__exit__(*args)

    app = Keeper(b"one", b"two")
    with lib.simple_server.make_server("127.0.0.1", 0, app, SecureServer, Handler) as server:
        status, headers, body = split_response(ask(server))
        assert status == "HTTP/1.1 200 OK"
        assert headers[1] == ("Server", "Pytest-HTTPBIN/0.1.0")
        assert headers[-1] == ("Connection", "Close")
        assert body == b"onetwo"
        assert "CONTENT_TYPE" not in app.environ
        assert app.environ["wsgi.url_scheme"] == "https"
        ask(server, b"GET / HTTP/1.1\r\ncontent-type: a/b\r\n\r\n")
        assert app.environ["CONTENT_TYPE"] == "a/b"
    assert log == [("200", 6), ("200", 6), "exit"]


# Reahl: selects on the server, and takes the first byte for itself.


class Reahl:
    """Classes as those of a development server that browsers connect to in advance."""

    def __init__(self, lib: Any) -> None:
        base: Any = lib.simple_server
        log: list[Any] = []

        class Handler(base.ServerHandler):
            def finish_response(self) -> None:
                try:
                    super().finish_response()
                except BrokenPipeError:
                    log.append("gone")

        class RequestHandler(base.WSGIRequestHandler):
            def log_message(self, format: str, *args: Any) -> None:
                log.append(format % args)

            def handle(self) -> None:
                self.request.settimeout(0.1)
                try:
                    first = self.rfile.read(1)
                except TimeoutError:
                    log.append("silent")
                    return
                self.request.settimeout(None)
                self.raw_requestline = first + self.rfile.readline()
                if first and self.parse_request():
                    environ = self.get_environ()
                    handler = Handler(self.rfile, self.wfile, self.get_stderr(), environ)
                    handler.request_handler = self
                    handler.run(self.server.get_app())

        class Server(base.WSGIServer):
            def setup_environ(self) -> None:
                super().setup_environ()
                self.base_environ["HTTPS"] = "on"

            def server_bind(self) -> None:
                super().server_bind()
                log.append(f"bound {self.server_port != 0}")

            def handle_error(self, request: Any, client_address: Any) -> None:
                log.append("error")

            def serve_until(self, done: threading.Event) -> None:
                while not done.is_set():
                    if select.select([self], [], [], 0.01)[0]:
                        self.handle_request()

        self.log: list[str] = log
        self.Handler, self.RequestHandler, self.Server = Handler, RequestHandler, Server


def test_reahl(lib: Any) -> None:
    reahl, app, done = Reahl(lib), Keeper(), threading.Event()
    make_server = lib.simple_server.make_server
    with make_server("127.0.0.1", 0, app, reahl.Server, reahl.RequestHandler) as server:
        thread = threading.Thread(target=server.serve_until, args=(done,))
        with connected(server), connected(server) as connection:
            connection.sendall(b"GET /page HTTP/1.1\r\nHost: a\r\n\r\n")
            thread.start()
            assert receive_all(connection).endswith(b"/page")
        done.set()
        thread.join(PATIENCE)
    assert not thread.is_alive()
    assert app.environ["wsgi.url_scheme"] == "https"
    assert reahl.log[0] == "bound True"
    assert '"GET /page HTTP/1.1" 200 5' in reahl.log


def test_reahl_answers_a_connection_that_spoke_late() -> None:
    # Not the original: there the handler would have given it up by the clock.
    lib = load("wsgiref_fast")
    reahl, done = Reahl(lib), threading.Event()
    make_server = lib.simple_server.make_server
    with make_server("127.0.0.1", 0, Keeper(), reahl.Server, reahl.RequestHandler) as server:
        thread = threading.Thread(target=server.serve_until, args=(done,))
        thread.start()
        try:
            with connected(server) as early, connected(server) as connection:
                early.settimeout(PATIENCE / 4)
                connection.sendall(GET)
                assert receive_all(connection).endswith(b"/")
                early.sendall(b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n")
                assert receive_all(early).endswith(b"/late")
        finally:
            done.set()
            thread.join(PATIENCE)


def test_reahl_swallows_a_broken_pipe_in_finish_response(lib: Any) -> None:
    class Gone(io.BytesIO):
        def write(self, data: Any) -> int:
            raise BrokenPipeError

    reahl = Reahl(lib)
    environ: Environ = {}
    lib.util.setup_testing_defaults(environ)
    handler = reahl.Handler(io.BytesIO(), Gone(), io.StringIO(), environ)
    handler.run(hello_app)
    assert reahl.log == ["gone"]


# pywebview: silent, in threads.


def test_pywebview(lib: Any) -> None:
    class Server(socketserver.ThreadingMixIn, lib.simple_server.WSGIServer):
        daemon_threads = True

    class Handler(lib.simple_server.WSGIRequestHandler):
        def address_string(self) -> str:
            return str(self.client_address[0])

        def log_request(*args: Any, **_: Any) -> None:
            logged.append(len(args))

    logged: list[int] = []
    srv = lib.simple_server.make_server(
        "127.0.0.1", 0, Keeper(), server_class=Server, handler_class=Handler
    )
    with running(srv) as server, connected(server) as connection:
        assert server.server_port == connection.getpeername()[1]
        connection.sendall(GET)
        assert receive_all(connection).endswith(b"/")
    assert logged == [3]


# pecan: object beside the base; the code's first digit decides the level of a log line.


@pytest.mark.parametrize(("app", "level"), [(hello_app, "info"), (failing_app, "error")])
def test_pecan(lib: Any, app: Any, level: str, capsys: pytest.CaptureFixture[str]) -> None:
    class Handler(lib.simple_server.WSGIRequestHandler, object):  # noqa: UP004 - as there
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.path = ""
            lib.simple_server.WSGIRequestHandler.__init__(self, *args, **kwargs)

        def log_message(self, format: str, *args: Any) -> None:
            levels.append({"2": "info", "4": "warning", "5": "error"}[args[1][0]])

    levels: list[str] = []
    with lib.simple_server.make_server("127.0.0.1", 0, app, handler_class=Handler) as server:
        ask(server)
    assert levels == [level]
    assert ("LookupError" in capsys.readouterr().err) == (app is failing_app)


# webob: methods replaced on the classes, by functions that take nothing.


def test_webob(lib: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[Any] = []

    class Server(lib.simple_server.WSGIServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            errors.append((request, client_address[0]))

    monkeypatch.setattr(lib.simple_server.ServerHandler, "handle_error", lambda: None)
    handler = quiet(lib.simple_server.WSGIRequestHandler)
    with lib.simple_server.make_server("127.0.0.1", 0, failing_app, Server, handler) as server:
        server.timeout = 5
        assert ask(server) == b""
    [(request, host)] = errors
    assert isinstance(request, socket.socket)
    assert host == "127.0.0.1"


# pycurl: threads, and a poll interval that it names.


def test_pycurl(lib: Any) -> None:
    class Server(socketserver.ThreadingMixIn, lib.simple_server.WSGIServer):
        pass

    class Handler(lib.simple_server.WSGIRequestHandler):
        def log_request(self, code: Any = "-", size: Any = "-") -> None:
            pass

    server = lib.simple_server.make_server("127.0.0.1", 0, Keeper(), Server, Handler)
    with (
        running(server, poll_interval=0.1),
        connected(server) as leaked,
        connected(server) as connection,
    ):
        leaked.sendall(b"GET / HT")  # holds a thread, and nobody else
        connection.sendall(GET)
        assert receive_all(connection).endswith(b"/")


# Servers on a unix socket: a diamond below TCPServer.


if hasattr(socket, "AF_UNIX"):

    def test_unix_socket(lib: Any, tmp_path: Path) -> None:
        class UnixServer(socketserver.UnixStreamServer, lib.simple_server.WSGIServer):
            address_family = socket.AF_UNIX

            def __init__(self, server_address: Any, handler: Any) -> None:
                super().__init__(server_address[0], handler)

            def get_request(self) -> Any:
                request, _ = super().get_request()
                return request, ("unix", "")

        class Handler(quiet(lib.simple_server.WSGIRequestHandler)):  # type: ignore[misc]
            def address_string(self) -> str:
                return "unix"

        path, app = str(tmp_path / "s"), Keeper()
        with lib.simple_server.make_server(path, 0, app, UnixServer, Handler) as server:
            assert server.server_address == path
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(PATIENCE)
                connection.connect(path)
                connection.sendall(b"GET /unix HTTP/1.0\r\n\r\n")
                server.handle_request()
                assert receive_all(connection).endswith(b"/unix")
        assert app.environ["REMOTE_ADDR"] == "unix"
        assert isinstance(app.environ["SERVER_PORT"], str)
        assert server.log == ['"GET /unix HTTP/1.0" 200 5']


# constance, users of Spyne: the base environ changes after construction.


def test_constance_and_spyne(lib: Any) -> None:
    app = Keeper()
    handler = quiet(lib.simple_server.WSGIRequestHandler)
    with lib.simple_server.make_server("127.0.0.1", 0, app, handler_class=handler) as server:
        server.base_environ["wsgi.url_scheme"] = "spam"  # overwritten by the handler
        server.base_environ["constance.state"] = state = {"armed": True}
        ask(server)
        assert app.environ["constance.state"] is state
        server.base_environ = {**server.base_environ, "constance.state": None}
        ask(server)
        assert app.environ["constance.state"] is None
        assert "PATH_INFO" not in server.base_environ
    assert app.environ["wsgi.url_scheme"] == "http"


# pbr, hug, pserve, spyne, falcon, wsgidav, pypiserver, dwarf: make_server, and little else.


def test_pbr_scripts(lib: Any) -> None:
    server = lib.simple_server.make_server("127.0.0.1", 0, Keeper())
    assert type(server) is lib.simple_server.WSGIServer
    assert server.RequestHandlerClass is lib.simple_server.WSGIRequestHandler
    server.RequestHandlerClass = quiet(server.RequestHandlerClass)
    host, port = server.server_address
    assert (host, port) == ("127.0.0.1", server.server_port)
    assert server.socket.getsockname() == (host, port)
    with running(server), connected(server) as connection:
        connection.sendall(GET)
        assert receive_all(connection).endswith(b"/")


def test_hug_and_pypiserver_log_overrides(lib: Any) -> None:
    lines: list[str] = []

    class Handler(lib.simple_server.WSGIRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            lines.append("%s - - [%s] %s" % (self.address_string(), "now", format % args))  # noqa: UP031

    server = lib.simple_server.make_server("", 0, read_app, handler_class=Handler)
    address = ("127.0.0.1", server.server_port)
    with server, socket.create_connection(address, PATIENCE) as connection:
        connection.sendall(b"PUT /x HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc")
        server.handle_request()
        assert receive_all(connection).endswith(b"abc")
    assert lines == ['127.0.0.1 - - [now] "PUT /x HTTP/1.0" 200 3']
