"""Handlers and servers that users derive from ours, with the annotations that typeshed has."""

from __future__ import annotations

import sys
from io import BytesIO
from typing import IO, Any, assert_type

from wsgiref_fast.handlers import (
    BaseCGIHandler,
    BaseHandler,
    CGIHandler,
    SimpleHandler,
    read_environ,
)
from wsgiref_fast.headers import Headers
from wsgiref_fast.simple_server import (
    ServerHandler,
    ThreadingWSGIServer,
    WSGIRequestHandler,
    WSGIServer,
    demo_app,
    make_server,
)
from wsgiref_fast.types import (
    ErrorStream,
    InputStream,
    StartResponse,
    WSGIApplication,
    WSGIEnvironment,
)
from wsgiref_fast.util import FileWrapper


class Gateway(BaseHandler):
    """All that a gateway must have."""

    wsgi_run_once = True
    http_version = "1.1"
    server_software = None
    os_environ = {"A": "1"}  # noqa: RUF012 - as users write it
    error_headers = [("Content-Type", "text/html")]  # noqa: RUF012 - the same

    def _write(self, data: bytes) -> None:
        sys.stdout.buffer.write(data)

    def _flush(self) -> None:
        sys.stdout.flush()

    def get_stdin(self) -> InputStream:
        return BytesIO()

    def get_stderr(self) -> ErrorStream:
        return sys.stderr

    def add_cgi_vars(self) -> None:
        self.environ["B"] = "2"

    def error_output(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        assert_type(super().error_output(environ, start_response), list[bytes])
        return [b"sorry"]


class Handler(ServerHandler):
    """A server's handler, as frameworks change it."""

    server_software = ""

    def __init__(self, stdin: InputStream, stdout: IO[bytes], stderr: ErrorStream) -> None:
        super().__init__(stdin, stdout, stderr, {}, multithread=False, multiprocess=True)

    def cleanup_headers(self) -> None:
        super().cleanup_headers()
        self.headers["Connection"] = "close"

    def close(self) -> None:
        if self.status is not None and self.bytes_sent:
            assert_type(self.status, str)
        super().close()


class RequestHandler(WSGIRequestHandler):
    """A request handler that does all by itself, as the original's users do."""

    protocol_version = "HTTP/1.1"

    def get_environ(self) -> WSGIEnvironment:
        environ = super().get_environ()
        assert_type(environ, dict[str, Any])
        environ["REMOTE_USER"] = self.headers.get("X-User", "")
        return environ

    def handle(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        assert_type(self.raw_requestline, bytes)
        assert_type(self.requestline, str)
        assert_type(self.path, str)
        assert_type(self.close_connection, bool)
        if self.parse_request():
            # What a connection gives is no IO[bytes] to typeshed, and refused there.
            handler = ServerHandler(self.rfile, self.wfile, self.get_stderr(), self.get_environ())
            handler.request_handler = self
            handler.run(demo_app)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(ThreadingWSGIServer):
    """A server with a list of its own."""

    request_queue_size = 10

    def __init__(self, *args: Any, **kw: Any) -> None:
        self.served: list[str] = []
        super().__init__(*args, **kw)


def serve(app: WSGIApplication) -> None:
    assert_type(make_server("", 0, app), WSGIServer)
    assert_type(make_server("", 0, app, handler_class=RequestHandler), WSGIServer)
    with make_server("", 0, app, Server, RequestHandler) as server:
        assert_type(server, Server)
        assert_type(server.served, list[str])
        assert_type(server.server_name, str)
        assert_type(server.server_port, int)
        assert_type(server.base_environ, dict[str, Any])
        assert_type(server.get_app(), WSGIApplication | None)
        server.set_app(demo_app)
        server.serve_forever()
    WSGIServer(("127.0.0.1", 0), RequestHandler)
    WSGIServer(("127.0.0.1", 0), Handler)  # type: ignore[arg-type] # no request handler
    make_server("", "80", app)  # type: ignore[call-overload] # no port


def run(app: WSGIApplication) -> None:
    CGIHandler().run(app)
    handler = SimpleHandler(BytesIO(), BytesIO(), sys.stderr, {"A": "1"})
    handler.run(app)
    assert_type(handler.stdout, IO[bytes])
    assert_type(handler.get_stdin(), InputStream)
    assert_type(handler.wsgi_file_wrapper, type[FileWrapper] | None)
    assert_type(handler.headers_class, type[Headers])
    assert_type(BaseCGIHandler.origin_server, bool)
    assert_type(read_environ(), dict[str, str])
