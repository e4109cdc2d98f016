"""What projects make of the classes that run an application, each kind as a small one.

Each test runs on the standard library's wsgiref too.
"""
# mypy: disallow-subclassing-any=False

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from libraries import (
    GET,
    Keeper,
    StartResponse,
    ask,
    failing_app,
    make_environ,
    quiet,
    receive_until,
    running,
    serve,
)
from support import PATIENCE, connected, hello_app, receive_all, split_response

pytestmark = pytest.mark.usefixtures("implementation")

Environ = dict[str, Any]


# whitenoise: Headers and FileWrapper as they are.


def test_whitenoise(lib: Any) -> None:
    headers = lib.headers.Headers([])
    headers["Cache-Control"] = "max-age=60, public"
    headers["Last-Modified"] = "Thu, 01 Jan 1970 00:00:00 GMT"
    del headers["Missing"]
    assert "cache-control" in headers
    assert headers["Vary"] is None
    assert headers.items() == [
        ("Cache-Control", "max-age=60, public"),
        ("Last-Modified", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ]

    def app(environ: Environ, start_response: StartResponse) -> Any:
        start_response("200 OK", headers.items())
        wrapper = environ.get("wsgi.file_wrapper", lib.util.FileWrapper)
        return wrapper(io.BytesIO(b"static" * 2000))

    for offered in (lib.util.FileWrapper, None):
        handler = lib.handlers.SimpleHandler(
            io.BytesIO(), out := io.BytesIO(), io.StringIO(), make_environ(lib)
        )
        handler.wsgi_file_wrapper = offered
        handler.run(app)
        assert split_response(out.getvalue())[2] == b"static" * 2000


# Review Board, AlpycaDevice, ASCOM, TVB GPVR: the classes' own attributes are written.


def test_review_board_sets_the_version_on_the_class(
    lib: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(lib, hello_app) as server:
        assert ask(server).startswith(b"HTTP/1.0 200 OK\r\n")
        monkeypatch.setattr(lib.simple_server.ServerHandler, "http_version", "1.1")
        assert ask(server).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("name", ["Device/1.0", "", None])
def test_alpyca_device_sets_or_empties_the_server_header(
    lib: Any, name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lib.simple_server.ServerHandler, "server_software", name)
    with serve(lib, hello_app) as server:
        _, headers, _ = split_response(ask(server))
    assert [value for key, value in headers if key == "Server"] == ([name] if name else [])


def test_alpyca_sets_the_version_on_the_instance(lib: Any) -> None:
    class Handler(quiet(lib.simple_server.WSGIRequestHandler)):  # type: ignore[misc]
        protocol_version = "HTTP/1.1"

        def handle(self) -> None:
            self.raw_requestline = self.rfile.readline(65537)
            if self.parse_request():
                handler = lib.simple_server.ServerHandler(
                    self.rfile, self.wfile, self.get_stderr(), self.get_environ()
                )
                handler.request_handler = self
                handler.http_version = "1.1"
                handler.run(self.server.get_app())

    with serve(lib, hello_app, Handler) as server:
        assert ask(server).startswith(b"HTTP/1.1 200 OK\r\n")


# ws4py: takes the socket over, and keeps it.


def test_ws4py(lib: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lib.util, "_hoppish", {}.__contains__)

    class WebSocketHandler(lib.handlers.SimpleHandler):
        def setup_environ(self) -> None:
            lib.handlers.SimpleHandler.setup_environ(self)
            self.environ["ws4py.socket"] = self.environ["wsgi.input"].raw._sock
            self.http_version = self.environ["SERVER_PROTOCOL"].rsplit("/")[-1]

        def finish_response(self) -> None:
            websocket = None
            try:
                lib.handlers.SimpleHandler.finish_response(self)
                websocket = taken[-1]
            finally:
                server.sockets.append(websocket)

    class RequestHandler(quiet(lib.simple_server.WSGIRequestHandler)):  # type: ignore[misc]
        def handle(self) -> None:
            self.raw_requestline = self.rfile.readline()
            if not self.parse_request():
                return
            handler = WebSocketHandler(
                self.rfile, self.wfile, self.get_stderr(), self.get_environ()
            )
            handler.request_handler = self
            handler.run(self.server.get_app())

    class Server(lib.simple_server.WSGIServer):
        sockets: list[socket.socket] = []  # noqa: RUF012 - one server is made

        def shutdown_request(self, request: Any) -> None:
            """Leave it open: it belongs to a websocket."""

        def server_close(self) -> None:
            lib.simple_server.WSGIServer.server_close(self)
            for taken_over in self.sockets:
                taken_over.close()

    taken: list[Any] = []

    def app(environ: Environ, start_response: StartResponse) -> list[bytes]:
        taken.append(environ["ws4py.socket"])
        start_response(
            "101 Switching Protocols", [("Upgrade", "websocket"), ("Connection", "Upgrade")]
        )
        return []

    server = serve(lib, app, RequestHandler, Server)
    with connected(server) as connection:
        connection.sendall(b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n")
        server.handle_request()
        head = receive_until(connection, b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" in head
        connection.sendall(b"frame")
        assert server.sockets[0].recv(5) == b"frame"
        server.sockets[0].sendall(b"back")
        assert receive_until(connection, b"back") == b"back"
        server.server_close()
        assert receive_all(connection) == b""


# django-websocket-redis, djangofloor: headers sent from within, by way of start_response.


def test_django_websocket_redis(lib: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lib.util, "_hoppish", {}.__contains__)
    monkeypatch.setattr(lib.simple_server.ServerHandler, "http_version", "1.1")

    class Wrapped:
        def __init__(self, stream: Any) -> None:
            self.stream = stream

        def read(self, size: int = 0) -> bytes:
            return b""

    class RequestHandler(quiet(lib.simple_server.WSGIRequestHandler)):  # type: ignore[misc]
        def handle(self) -> None:
            self.handle_one_request()

        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.parse_request():
                return
            stdin = Wrapped(self.rfile)
            environ = self.get_environ()
            handler = lib.simple_server.ServerHandler(stdin, self.wfile, None, environ)
            handler.request_handler = self
            handler.run(self.server.get_app())

    def app(environ: Environ, start_response: Any) -> list[bytes]:
        start_response("101 Switching Protocols", [("Upgrade", "WebSocket")])
        start_response.__self__.finish_content()
        sock = environ["wsgi.input"].stream.raw._sock
        sock.sendall(b"\x81\x02hi")
        return []

    with serve(lib, app, RequestHandler) as server:
        response = ask(server)
    assert response.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    head, _, frames = response.partition(b"\r\n\r\n")
    assert b"\r\nUpgrade: WebSocket" in head
    assert frames == b"\x81\x02hi"


# Mixins for kept connections: a chunked writer, and a buffered file to write to.


class KeepAlive:
    """Classes that keep connections by themselves, with chunks of their own making."""

    def __init__(self, lib: Any) -> None:
        class Handler(lib.handlers.SimpleHandler):
            http_version = "1.1"
            chunked = False

            def finish_response(self) -> None:
                try:
                    self.result: Any = list(self.result)
                    for data in self.result:
                        self.write(data)
                    self.finish_content()
                    self.in_body = False
                    if self.chunked:
                        self._write(b"0\r\n\r\n")
                        self._flush()
                finally:
                    self.close()

            def _write(self, data: bytes) -> None:
                if self.chunked and self.in_body:
                    data = b"%x\r\n%b\r\n" % (len(data), data)
                super()._write(data)

            in_body = False

            def send_headers(self) -> None:
                super().send_headers()
                self.in_body = True

        class RequestHandler(quiet(lib.simple_server.WSGIRequestHandler)):  # type: ignore[misc]
            protocol_version = "HTTP/1.1"
            wbufsize = 1024 * 1024

            def handle(self) -> None:
                self.close_connection = False
                while not self.close_connection:
                    self.handle_one_request()

            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline(65537)
                if not self.raw_requestline:
                    self.close_connection = True
                    return
                if not self.parse_request():
                    return
                handler = Handler(self.rfile, self.wfile, self.get_stderr(), self.get_environ())
                handler.request_handler = self
                handler.run(self.wrap(handler, self.server.get_app()))
                self.wfile.flush()

            def wrap(self, handler: Any, app: Any) -> Any:
                def wrapped(environ: Environ, start_response: StartResponse) -> Any:
                    result = app(environ, start_response)
                    if handler.headers.get("Content-Length") is None:
                        handler.headers.add_header("Transfer-Encoding", "chunked")
                        handler.chunked = True
                    return result

                return wrapped

        self.RequestHandler = RequestHandler


def two_blocks(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return iter([b"one", environ["PATH_INFO"].encode()])


def test_keep_alive_mixins_write_chunks(lib: Any) -> None:
    keeping = serve(lib, two_blocks, KeepAlive(lib).RequestHandler)
    with running(keeping) as server, connected(server) as connection:
        for path in (b"/a", b"/b"):
            connection.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path)
            response = receive_until(connection, b"0\r\n\r\n")
            status, headers, body = split_response(response)
            assert status == "HTTP/1.1 200 OK"
            assert ("Transfer-Encoding", "chunked") in headers
            assert body == b"3\r\none\r\n2\r\n%s\r\n0\r\n\r\n" % path


def test_keep_alive_mixins_read_bodies(lib: Any) -> None:
    def app(environ: Environ, start_response: StartResponse) -> list[bytes]:
        body: bytes = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    keeping = serve(lib, app, KeepAlive(lib).RequestHandler)
    with running(keeping) as server, connected(server) as connection:
        for body in (b"first", b"second"):
            head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
            connection.sendall(head + body)
            assert receive_until(connection, body).startswith(b"HTTP/1.1 200 OK\r\n")


# wiseguy: streams of its own making that count, and a version that is a property.


class Counter:
    """A file that counts what is read from it, and is otherwise another."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.count = 0

    def readline(self, *args: int) -> bytes:
        line: bytes = self._file.readline(*args)
        self.count += len(line)
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def test_wiseguy(lib: Any) -> None:
    class Handler(lib.simple_server.ServerHandler):
        @property
        def http_version(self) -> str:
            version: str = self.request_handler.request_version
            return version.split("/")[1]

        def cleanup_headers(self) -> None:
            super().cleanup_headers()
            self.headers["X-Header-Size"] = str(self.request_handler.header_size)

        def finish_response(self) -> None:
            for data in self.result:
                self.write(data)
            self.finish_content()
            self.close()

    class RequestHandler(quiet(lib.simple_server.WSGIRequestHandler)):  # type: ignore[misc]
        wsgi_handler_class = Handler

        def setup(self) -> None:
            self.connection = self.request
            self.rfile = Counter(self.connection.makefile("rb", -1))
            self.wfile = self.connection.makefile("wb", 0)

        def handle(self) -> None:
            counter = self.rfile
            self.raw_requestline = self.rfile.readline(65537)
            if not self.parse_request():
                return
            self.header_size = counter.count
            handler = self.wsgi_handler_class(
                self.rfile, self.wfile, self.get_stderr(), self.get_environ()
            )
            handler.request_handler = self
            handler.run(self.server.get_app())

    head = b"POST /w HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"
    with serve(lib, hello_app, RequestHandler) as server:
        status, headers, _ = split_response(ask(server, head + b"abc"))
    assert status == "HTTP/1.1 200 OK"
    assert headers[-1] == ("X-Header-Size", str(len(head)))


# Git Fusion: raw answers and WSGI's on one connection.


class GitFusion:
    """Classes that let an application answer without start_response()."""

    def __init__(self, lib: Any) -> None:
        class Handler(lib.handlers.SimpleHandler):
            def setup_environ(self) -> None:
                super().setup_environ()
                self.environ["wsgi.stdout"] = self.stdout
                self.environ["wsgi.request_handler"] = self.request_handler

            def write(self, data: bytes) -> None:
                if self.headers is None:
                    self._write(data)
                    self._flush()
                else:
                    super().write(data)

            def finish_content(self) -> None:
                if self.headers is not None:
                    super().finish_content()

        class RequestHandler(quiet(lib.simple_server.WSGIRequestHandler)):  # type: ignore[misc]
            def handle(self) -> None:
                self.raw_requestline = self.rfile.readline()
                if self.parse_request():
                    environ = self.get_environ()
                    handler = Handler(self.rfile, self.wfile, self.get_stderr(), environ)
                    handler.request_handler = self
                    handler.run(self.server.get_app())

        self.RequestHandler = RequestHandler


def test_git_fusion_raw_answer(lib: Any) -> None:
    def app(environ: Environ, start_response: StartResponse) -> list[bytes]:
        handler = environ["wsgi.request_handler"]
        handler.send_response(200)
        handler.send_header("X-Raw", "yes")
        handler.end_headers()
        handler.flush_headers()
        environ["wsgi.stdout"].write(b"written, ")
        environ["wsgi.stdout"].flush()
        return [b"returned"]

    with serve(lib, app, GitFusion(lib).RequestHandler) as server:
        status, headers, body = split_response(ask(server))
    assert status == "HTTP/1.0 200 OK"
    assert [name for name, _ in headers] == ["Server", "Date", "X-Raw"]
    assert body == b"written, returned"


def test_git_fusion_answers_as_wsgi_too(lib: Any) -> None:
    with serve(lib, hello_app, GitFusion(lib).RequestHandler) as server:
        status, headers, body = split_response(ask(server))
    assert status == "HTTP/1.0 200 OK"
    assert headers[-2:] == [("Content-Type", "text/plain"), ("Content-Length", "13")]
    assert body == b"Hello, world!"


def test_git_fusion_says_nothing_for_nothing(lib: Any) -> None:
    with serve(lib, lambda environ, start_response: [], GitFusion(lib).RequestHandler) as server:
        assert ask(server) == b""


# Servers of asyncore's days: any object to write to, flags by position.


class Channel:
    """Something to write to, which is no file."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.flushes = 0

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def flush(self) -> None:
        self.flushes += 1


def test_asyncore_servers(lib: Any) -> None:
    app, channel, errors = Keeper(b"a", b"b"), Channel(), io.StringIO()
    environ = make_environ(lib, SERVER_PROTOCOL="HTTP/1.1")
    handler = lib.handlers.SimpleHandler(
        io.BytesIO(b"post"), channel, errors, environ, False, False
    )
    handler.server_software = "asyncore/1"
    handler.run(app)
    assert app.environ["wsgi.multithread"] is app.environ["wsgi.multiprocess"] is False
    assert app.environ["wsgi.errors"] is errors
    assert app.environ["SERVER_SOFTWARE"] == "asyncore/1"
    # Each write comes as it was made: status, two headers, the others, the blocks.
    assert channel.written[0] == b"HTTP/1.0 200 OK\r\n"
    assert channel.written[2:] == [
        b"Server: asyncore/1\r\n",
        b"Content-Type: text/plain\r\n\r\n",
        b"a",
        b"b",
    ]
    assert channel.flushes == 2


def test_asyncore_servers_that_write_less_than_asked_are_warned(lib: Any) -> None:
    class Slow(Channel):
        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.written.append(data[:10])
            return min(len(data), 10)

    channel = Slow()
    handler = lib.handlers.SimpleHandler(io.BytesIO(), channel, None, make_environ(lib))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        handler.run(Keeper(b"a body of more than ten bytes"))
    assert {warning.category for warning in caught} == {DeprecationWarning}
    assert b"".join(channel.written).endswith(b"\r\n\r\na body of more than ten bytes")


# zim: handler and validator together, without a server.


def test_zim(lib: Any) -> None:
    out = io.BytesIO()
    environ = make_environ(lib, SERVER_PROTOCOL="1.0", QUERY_STRING="")
    handler = lib.handlers.SimpleHandler(io.BytesIO(), out, sys.stderr, environ)
    handler.run(lib.validate.validator(hello_app))
    head, _, body = out.getvalue().partition(b"\r\n\r\n")
    status, _, lines = head.partition(b"\r\n")
    assert status == b"HTTP/1.0 200 OK"
    headers = lib.headers.Headers([tuple(x.split(": ", 1)) for x in lines.decode().split("\r\n")])
    assert headers["content-type"] == "text/plain"
    assert body == b"Hello, world!"


# Google App Engine's webapp: the process's variables are kept out, on the base class.


def test_gae_webapp(lib: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    app = Keeper()

    def run() -> Environ:
        handler = lib.handlers.SimpleHandler(
            io.BytesIO(), io.BytesIO(), io.StringIO(), make_environ(lib)
        )
        handler.run(app)
        return app.environ

    assert run().keys() >= lib.handlers.BaseHandler.os_environ.keys() >= {"PATH"}
    monkeypatch.setattr(lib.handlers.BaseHandler, "os_environ", {})
    assert "PATH" not in run()


def test_gae_response_headers_are_a_subclass(lib: Any) -> None:
    class ResponseHeaders(lib.headers.Headers):
        def __init__(self, headers: Any) -> None:
            super().__init__(headers)
            self.changes = 0

        def __setitem__(self, name: str, value: str) -> None:
            super().__setitem__(name, value)
            self.changes += 1

    source = [("Content-Type", "text/html; charset=utf-8")]
    headers = ResponseHeaders(source)
    headers["Location"] = "/x"
    headers.add_header("Content-Disposition", "attachment", filename="a.txt")
    assert headers.changes == 1
    assert headers._headers is source
    assert source[1:] == [
        ("Location", "/x"),
        ("Content-Disposition", 'attachment; filename="a.txt"'),
    ]


# A test fixture of Canonical's: methods of the base class are swapped, and put back.


def test_canonical_swaps_methods_on_the_base_class(
    lib: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, logged = lib.handlers.BaseHandler, []

    def handle_error(self: Any) -> None:
        self.log_exception(sys.exc_info())
        self.result = [b"swapped"]
        self.start_response("503 Swapped", [])
        self.finish_response()

    def log_exception(self: Any, exc_info: Any) -> None:
        logged.append(exc_info[0])

    with serve(lib, failing_app) as server:
        with monkeypatch.context() as swapped:
            swapped.setattr(base, "handle_error", handle_error)
            swapped.setattr(base, "log_exception", log_exception)
            response = ask(server)
        assert response.startswith(b"HTTP/1.0 503 Swapped\r\n")
        assert response.endswith(b"swapped")
        assert logged == [LookupError]
        assert capsys.readouterr().err == ""
        assert ask(server).startswith(b"HTTP/1.0 500 Internal Server Error\r\n")
    assert "LookupError" in capsys.readouterr().err


# web.py, bottle, webapp2: CGI.

CGI_SCRIPT = """\
import sys
from {package}.handlers import {handler}
def app(environ, start_response):
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    start_response("200 OK", [("Content-Type", "text/plain")])
    shown = [environ[name] for name in ("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO")]
    shown += [environ["wsgi.run_once"], environ["wsgi.multithread"], environ["wsgi.multiprocess"]]
    print("a line of log", file=environ["wsgi.errors"])
    return [repr(shown).encode("latin-1"), body]
{handler}().run(app)
"""

CGI_ENVIRON = {
    "GATEWAY_INTERFACE": "CGI/1.1",
    "REQUEST_METHOD": "POST",
    "SCRIPT_NAME": "/script.cgi",
    "PATH_INFO": "/script.cgi/é",
    "QUERY_STRING": "",
    "SERVER_NAME": "localhost",
    "SERVER_PORT": "80",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "CONTENT_LENGTH": "4",
}


@pytest.mark.parametrize(
    ("handler", "path"), [("CGIHandler", "/script.cgi/é"), ("IISCGIHandler", "/é")]
)
def test_cgi_handlers(lib: Any, handler: str, path: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CGI_SCRIPT.format(package=lib.__name__, handler=handler)],
        input=b"body",
        capture_output=True,
        env={**os.environ, "PYTHONUTF8": "1", **CGI_ENVIRON},
        timeout=PATIENCE,
        check=True,
    )
    path_info = path.encode().decode("latin-1")
    shown = repr(["POST", "/script.cgi", path_info, True, False, True]).encode("latin-1")
    assert done.stdout == (b"Status: 200 OK\r\nContent-Type: text/plain\r\n\r\n" + shown + b"body")
    assert done.stderr.splitlines() == [b"a line of log"]


# The other modules' users.


def test_hypercorn_formats_dates(lib: Any) -> None:
    assert lib.handlers.format_date_time(784111777) == "Sun, 06 Nov 1994 08:49:37 GMT"


def test_hypercorn_date_formatter_can_be_replaced(
    lib: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(lib, hello_app) as server:
        ask(server)
        monkeypatch.setattr(lib.handlers, "format_date_time", lambda timestamp: "some day")
        assert b"\r\nDate: some day\r\n" in ask(server)


def test_falcon_imports_the_validators_parts(lib: Any) -> None:
    stream = lib.validate.InputWrapper(io.BytesIO(b"body"))
    assert stream.read(2) == b"bo"
    assert issubclass(lib.validate.WSGIWarning, Warning)
    check = lib.validate.assert_
    assert check(True) is None
    with pytest.raises(AssertionError):
        check(False)


def test_reverse_proxies_ask_for_hop_by_hop_headers(lib: Any) -> None:
    names = ["Connection", "TE", "upgrade", "Content-Length"]
    assert [lib.util.is_hop_by_hop(name) for name in names] == [True, True, True, False]


def test_app_engine_and_radicale_make_environs(lib: Any) -> None:
    environ = make_environ(lib, SCRIPT_NAME="/app", PATH_INFO="/a b", QUERY_STRING="q=1")
    assert lib.util.request_uri(environ) == "http://127.0.0.1/app/a%20b?q=1"
    assert lib.util.request_uri(environ, include_query=False).endswith("/a%20b")
    assert lib.util.application_uri(environ) == "http://127.0.0.1/app"
    lib.validate.check_environ(environ)


def test_stray_imports_of_editors_resolve(lib: Any) -> None:
    assert lib.headers.tspecials.search("a/b")
    assert callable(lib.validate.validator)
    assert callable(lib.validate.assert_)
    assert callable(lib.handlers.read_environ)


# The demo that everybody tries first.


def test_the_demo_application(lib: Any) -> None:
    with serve(lib, lib.simple_server.demo_app) as server:
        status, headers, body = split_response(ask(server, GET.replace(b"/ ", b"/demo ")))
    assert status == "HTTP/1.0 200 OK"
    assert ("Content-Type", "text/plain; charset=utf-8") in headers
    assert body.startswith(b"Hello world!\n\n")
    assert b"\nPATH_INFO = '/demo'\n" in body
