"""What projects do to serve TLS with wsgiref, each way as a small one of its own.

Each test runs on the standard library's wsgiref too.
"""
# mypy: disallow-subclassing-any=False

from __future__ import annotations

import select
import socket
import socketserver
import ssl
import threading
from typing import Any

import pytest

from certificates import CAN_BE_MADE, Contexts, encrypted
from libraries import (
    GET,
    Keeper,
    quiet,
    running,
    serve,
)
from support import (
    PATIENCE,
    connected,
    receive_all,
    receive_to_the_end,
    split_response,
)

pytestmark = pytest.mark.usefixtures("implementation")

LEFT_OUT = "" if CAN_BE_MADE else "no certificate can be made without openssl"
__test__ = not LEFT_OUT


def ask_encrypted(server: Any, contexts: Contexts, request: bytes = GET) -> bytes:
    with encrypted(server, contexts) as connection:
        connection.sendall(request)
        return receive_all(connection)


def threading_server(lib: Any) -> Any:
    class Server(socketserver.ThreadingMixIn, lib.simple_server.WSGIServer):
        daemon_threads = True

    return Server


@pytest.mark.parametrize("has_threads", [False, True])
def test_prometheus_client_and_pywebview_replace_the_listening_socket(
    lib: Any, contexts: Contexts, has_threads: bool
) -> None:
    app = Keeper(b"metrics")
    httpd = serve(lib, app, server_class=threading_server(lib) if has_threads else None)
    httpd.socket = contexts.server.wrap_socket(httpd.socket, server_side=True)
    with running(httpd):
        for _ in range(2):
            status, _, body = split_response(ask_encrypted(httpd, contexts))
            assert (status, body) == ("HTTP/1.0 200 OK", b"metrics")


def test_pycurl_replaces_the_socket_and_reads_bodies(lib: Any, contexts: Contexts) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body: bytes = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        start_response("200 OK", [])
        return [body]

    server = serve(lib, app, server_class=threading_server(lib))
    server.socket = contexts.server.wrap_socket(server.socket, server_side=True)
    body = b"0123456789" * 10_000
    head = b"POST / HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body)
    with running(server, poll_interval=0.1):
        assert split_response(ask_encrypted(server, contexts, head + body))[2] == body


def test_a_failed_handshake_leaves_the_server_serving(lib: Any, contexts: Contexts) -> None:
    server = serve(lib, Keeper(b"fine"))
    server.socket = contexts.server.wrap_socket(server.socket, server_side=True)
    with running(server):
        with connected(server) as connection:
            connection.sendall(GET)  # no TLS at all
            receive_to_the_end(connection)
        assert ask_encrypted(server, contexts).endswith(b"fine")


def test_django_sslserver_wraps_after_the_constructor(lib: Any, contexts: Contexts) -> None:
    class SecureServer(lib.simple_server.WSGIServer):
        def __init__(self, address: Any, handler: Any) -> None:
            super().__init__(address, handler)
            self.socket: Any = contexts.server.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=True
            )

    class Handler(quiet(lib.simple_server.WSGIRequestHandler)):  # type: ignore[misc]
        def get_environ(self) -> dict[str, Any]:
            environ: dict[str, Any] = super().get_environ()
            environ["HTTPS"] = "on"
            return environ

    app = Keeper()
    with running(serve(lib, app, Handler, SecureServer)) as server:
        assert ask_encrypted(server, contexts).endswith(b"/")
    assert app.environ["wsgi.url_scheme"] == "https"


def test_pytest_httpbin_wraps_each_connection(lib: Any, contexts: Contexts) -> None:
    class SecureServer(lib.simple_server.WSGIServer):
        def get_request(self) -> Any:
            request, address = super().get_request()
            request.settimeout(PATIENCE)
            return contexts.server.wrap_socket(request, server_side=True), address

        def setup_environ(self) -> None:
            super().setup_environ()
            self.base_environ["HTTPS"] = "yes"

    app = Keeper()
    with running(serve(lib, app, server_class=SecureServer)) as server:
        for _ in range(2):
            assert ask_encrypted(server, contexts).endswith(b"/")
    assert app.environ["wsgi.url_scheme"] == "https"


def test_reahl_wraps_when_it_binds(lib: Any, contexts: Contexts) -> None:
    class SecureServer(lib.simple_server.WSGIServer):
        def server_bind(self) -> None:
            super().server_bind()
            self.socket: Any = contexts.server.wrap_socket(self.socket, server_side=True)

        def setup_environ(self) -> None:
            super().setup_environ()
            self.base_environ["HTTPS"] = "on"

    app = Keeper()
    with running(serve(lib, app, server_class=SecureServer)) as server:
        assert ask_encrypted(server, contexts).endswith(b"/")
    assert app.environ["wsgi.url_scheme"] == "https"


class Radicale:
    """Classes that leave the handshake to the thread of the connection."""

    def __init__(self, lib: Any, context: ssl.SSLContext) -> None:
        class SecureServer(socketserver.ThreadingMixIn, lib.simple_server.WSGIServer):
            block_on_close = False
            daemon_threads = True

            def __init__(self, *args: Any) -> None:
                self.workers: list[socket.socket] = []
                super().__init__(*args)

            def server_close(self) -> None:
                super().server_close()
                for worker in self.workers:
                    worker.close()

            def server_bind(self) -> None:
                super().server_bind()
                self.socket: Any = context.wrap_socket(
                    self.socket, server_side=True, do_handshake_on_connect=False
                )

            def get_request(self) -> Any:
                request, client_address = super().get_request()
                request.settimeout(PATIENCE)
                inner, outer = socket.socketpair()
                self.workers.append(outer)
                return request, (client_address, inner)

            def finish_request(self, request: Any, client_address: Any) -> None:
                client_address, worker_socket = client_address
                try:
                    request.do_handshake()
                    super().finish_request(request, client_address)
                finally:
                    worker_socket.close()

        class Handler(quiet(lib.simple_server.WSGIRequestHandler)):  # type: ignore[misc]
            def get_environ(self) -> dict[str, Any]:
                environ: dict[str, Any] = super().get_environ()
                assert isinstance(self.connection, ssl.SSLSocket)
                environ["HTTPS"] = "on"
                environ["SSL_CIPHER"] = self.request.cipher()[0]
                environ["SSL_PROTOCOL"] = self.request.version()
                environ["REMOTE_CERTIFICATE"] = self.connection.getpeercert()
                return environ

        self.SecureServer, self.Handler = SecureServer, Handler


def test_radicale_does_the_handshake_in_the_worker(lib: Any, contexts: Contexts) -> None:
    radicale, app = Radicale(lib, contexts.server), Keeper()
    answers: list[bytes] = []
    with serve(lib, app, radicale.Handler, radicale.SecureServer) as server:
        client = threading.Thread(target=lambda: answers.append(ask_encrypted(server, contexts)))
        client.start()
        select.select([server.socket], [], [], PATIENCE)
        server.handle_request()
        select.select(server.workers, [], [], PATIENCE)
        client.join(PATIENCE)
    assert answers[0].endswith(b"/")
    assert app.environ["wsgi.url_scheme"] == "https"
    assert app.environ["SSL_PROTOCOL"].startswith("TLS")
    assert app.environ["REMOTE_CERTIFICATE"] is None
    assert app.environ["REMOTE_ADDR"] == "127.0.0.1"


def test_a_silent_client_does_not_stop_a_server_that_defers_the_handshake(
    lib: Any, contexts: Contexts
) -> None:
    radicale = Radicale(lib, contexts.server)
    server = serve(lib, Keeper(b"fine"), radicale.Handler, radicale.SecureServer)
    server.handle_error = lambda request, client_address: None  # the silent one's end
    with running(server), connected(server):
        assert ask_encrypted(server, contexts).endswith(b"fine")


def test_the_input_leads_to_the_tls_socket(lib: Any, contexts: Contexts) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [type(environ["wsgi.input"].raw._sock).__name__.encode()]

    server = serve(lib, app)
    server.socket = contexts.server.wrap_socket(server.socket, server_side=True)
    with running(server):
        assert ask_encrypted(server, contexts).endswith(b"SSLSocket")
