"""A simple HTTP server for one WSGI application, as `wsgiref.simple_server` has it.

It speaks HTTP/1.0, a connection a request; a request handler class whose
``protocol_version`` says ``HTTP/1.1`` keeps its connections.
"""

from __future__ import annotations

import io
import socket
import socketserver
import sys
import time
from http.client import HTTPMessage, parse_headers
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import ThreadingMixIn

from ._grammar import MAX_HEADER_LINES, MAX_LINE
from ._pure import environ as _environ
from ._pure import request as _request
from ._streams import BodyReader, ConnectionWriter, linger
from ._waiting import Waiting, can_wait, has_bytes
from .handlers import SimpleHandler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["ThreadingWSGIServer", "WSGIRequestHandler", "WSGIServer", "demo_app", "make_server"]

_VERSION = "0.2"  # of the original, whose name the wire has known since 2006

server_version = "WSGIServer" if sys.version_info >= (3, 15) else "WSGIServer/" + _VERSION
_IMPLEMENTATIONS = {"cpython": "CPython", "pypy": "PyPy"}
sys_version = (
    _IMPLEMENTATIONS.get(sys.implementation.name, sys.implementation.name)
    + "/"
    + sys.version.split()[0]
)
software_version = server_version + " " + sys_version

_FORKING = (socketserver.ForkingMixIn,) if hasattr(socketserver, "ForkingMixIn") else ()
#: Servers that give each connection a thread or a process of its own.
_CONCURRENT = (ThreadingMixIn, *_FORKING)

#: Bytes of a body that an application left unread and that are read to keep a connection.
_SKIPPED_AT_MOST = 1 << 16


class ServerHandler(SimpleHandler):
    """Run the application for one request of a `WSGIRequestHandler`, and log it."""

    server_software = software_version
    #: The request handler: it logs, and knows whether its connection goes on.
    request_handler: Any

    def cleanup_headers(self) -> None:
        """Complete the headers, and say where needed what becomes of the connection.

        HTTP/1.1 connections go on unless told otherwise, HTTP/1.0's end (RFC 9112
        section 9.3).
        """
        super().cleanup_headers()
        handler = getattr(self, "request_handler", None)
        persists = not getattr(handler, "close_connection", True)
        if not (persists or self.http_version >= "1.1") or "Connection" in self.headers:
            return
        if persists and getattr(handler, "_keeps_connection", False):
            persists = "Content-Length" in self.headers or self._is_bodyless()
            handler.close_connection = not persists
            if persists and handler.request_version == "HTTP/1.0":
                self.headers["Connection"] = "keep-alive"
        if not persists:
            self.headers["Connection"] = "close"

    def close(self) -> None:
        """Log the request, close the application's iterable and take the state back."""
        try:
            # Without a status, what prevented it has been logged: no second traceback.
            status = self.status.split(" ", 1)[0] if self.status else "-"
            self.request_handler.log_request(status, self.bytes_sent)
            if isinstance(self.request_handler, WSGIRequestHandler):
                self.request_handler._finish_request(
                    self.request_handler.close_connection or self._is_cut()
                )
        finally:
            super().close()

    def _is_cut(self) -> bool:
        """Tell whether the connection cannot go on after this response."""
        headers = self.headers
        if headers is None or not self.headers_sent:
            return True
        if "close" in (headers["Connection"] or "").lower():
            return True
        length = headers["Content-Length"]
        return not self._is_bodyless() and length is not None and length != str(self.bytes_sent)


class _LazyName:
    """The ``server_name`` of a server: looked up when first asked for."""

    def __get__(self, server: WSGIServer | None, owner: type) -> Any:
        if server is None:
            return self
        name = server.server_name = socket.getfqdn(server.server_address[0])
        return name


class WSGIServer(HTTPServer):
    """An HTTP server that serves one WSGI application.

    Connections that have sent nothing yet, and kept ones between two requests, wait in a
    selector; meanwhile others are served. An IPv6 address as the host makes it a server
    for IPv6.
    """

    #: The WSGI application.
    application: WSGIApplication | None = None
    #: How many connections may wait; one more, and the oldest is closed.
    waiting_limit = 500
    #: Copied into the environ of each request.
    base_environ: dict[str, Any]
    server_name = _LazyName()  # type: ignore[assignment]
    server_port: int

    _waiting: Waiting | None = None
    # While serve_forever() runs: which connections are being served, and whether each
    # is to be kept.
    _kept: dict[int, bool] | None = None
    _host: Any = None

    # The standard library's own, so that whoever sets them by that name is heard.
    _BaseServer__shutdown_request: bool
    _BaseServer__is_shut_down: Any

    def __init__(
        self, server_address: Any, RequestHandlerClass: Any, bind_and_activate: bool = True  # noqa: N803
    ) -> None:
        if self.address_family == socket.AF_INET and _is_ipv6(server_address):
            self.address_family = socket.AF_INET6
        super().__init__(server_address, RequestHandlerClass, bind_and_activate)

    def server_bind(self) -> None:
        """Bind the socket, and make the base environ. No name is looked up."""
        if isinstance(self.server_address, tuple):
            self._host = self.server_address[0]
        if self.address_family == socket.AF_INET6 and self._host == "::":
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # Past HTTPServer's, which asks the network for the name of the address.
        socketserver.TCPServer.server_bind(self)
        address: Any = self.server_address
        self.server_port = address[1] if isinstance(address, tuple) else 0
        self.setup_environ()

    def setup_environ(self) -> None:
        """Make `base_environ`: what is the same for each request."""
        self.base_environ = {
            "SERVER_NAME": self._known_name(),
            "GATEWAY_INTERFACE": "CGI/1.1",
            "SERVER_PORT": str(self.server_port),
            "REMOTE_HOST": "",
            "CONTENT_LENGTH": "",
            "SCRIPT_NAME": "",
        }

    def _known_name(self) -> str:
        """Return `server_name` where somebody has set it, else the best without a look-up."""
        if "server_name" in vars(self) or not isinstance(type(self).server_name, _LazyName):
            return self.server_name
        host = self._host
        if host in ("", "0.0.0.0", "::"):
            return socket.gethostname()
        return str(self.server_address if host is None else host)

    def get_app(self) -> WSGIApplication | None:
        """Return the application."""
        return self.application

    def set_app(self, application: WSGIApplication | None) -> None:
        """Set the application."""
        self.application = application

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Serve until `shutdown`, which is heard at once.

        `service_actions` is called after each round, and every `poll_interval` seconds.
        """
        self._BaseServer__is_shut_down.clear()
        waiting = self._start_waiting()
        waiting.listen(self)
        self._kept = {}
        try:
            while not self._BaseServer__shutdown_request:
                knock, ready = waiting.wait(poll_interval)
                if self._BaseServer__shutdown_request:
                    self._wait_again(ready)
                    break
                if knock:
                    self._handle_request_noblock()
                for request, client_address in ready:
                    self._serve(request, client_address)
                self._close_late()
                self.service_actions()
        finally:
            self._kept = None
            waiting.stop_listening()
            self._BaseServer__shutdown_request = False
            self._BaseServer__is_shut_down.set()

    def shutdown(self) -> None:
        """End `serve_forever`, which runs in another thread, and wait until it has ended."""
        self._BaseServer__shutdown_request = True
        if self._waiting is not None:
            self._waiting.wake()
        self._BaseServer__is_shut_down.wait()

    def handle_request(self) -> None:
        """Serve one request; wait for it at most `timeout` seconds, then `handle_timeout`."""
        bounds = [t for t in (self.socket.gettimeout(), self.timeout) if t is not None]
        deadline = time.monotonic() + min(bounds) if bounds else None
        waiting = self._start_waiting()
        waiting.listen(self)
        try:
            while not self._handle_next(waiting, deadline):
                if deadline is not None and time.monotonic() >= deadline:
                    self.handle_timeout()
                    break
        finally:
            waiting.stop_listening()

    def _handle_next(self, waiting: Waiting, deadline: float | None) -> bool:
        """Wait for something to do, and do it; tell whether a request was served."""
        left = None if deadline is None else max(deadline - time.monotonic(), 0)
        knock, ready = waiting.wait(left)
        self._close_late()
        if ready:
            (request, client_address), *others = ready
            self._wait_again(others)
            self._serve(request, client_address)
            return True
        return knock and self._handle_request_noblock() is not _SILENT  # type: ignore[func-returns-value]

    def _handle_request_noblock(self) -> Any:
        """Accept a connection; serve it, or let it wait until it has bytes."""
        try:
            request, client_address = self.get_request()
        except OSError:
            return None
        if not self.verify_request(request, client_address):
            self.shutdown_request(request)
            return None
        if (
            self._waiting is not None
            and not isinstance(self, _CONCURRENT)
            and can_wait(request)
            and not has_bytes(request)
        ):
            self._wait_again([(request, client_address)])
            return _SILENT
        self._serve(request, client_address)
        return None

    def _serve(self, request: Any, client_address: Any) -> None:
        """Process a request as `socketserver` does: an exception is handled, and closes."""
        try:
            self.process_request(request, client_address)
        except Exception:
            self.handle_error(request, client_address)
            self.shutdown_request(request)
        except:
            self.shutdown_request(request)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection; then close it, or keep it for its next request."""
        kept = self._kept
        if kept is None:
            self.finish_request(request, client_address)
            self.shutdown_request(request)
            return
        kept[id(request)] = False
        try:
            self.finish_request(request, client_address)
        finally:
            goes_on = kept.pop(id(request))
        if goes_on:
            self._wait_again([(request, client_address)])
        else:
            self.shutdown_request(request)

    def _can_keep(self, request: Any) -> bool:
        """Tell whether a connection that is being served can wait for its next request."""
        return self._kept is not None and id(request) in self._kept and can_wait(request)

    def _keep(self, request: Any) -> None:
        """Have a connection kept when the method that serves it returns."""
        if self._kept is not None:
            self._kept[id(request)] = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print the current exception; a client that went away is one line of log."""
        error = sys.exc_info()[1]
        if isinstance(error, (ConnectionError, TimeoutError)):
            print(f"{_host_of(client_address)} - - connection lost: {error}", file=sys.stderr)
        else:
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        """Close the listening socket and the connections that wait."""
        super().server_close()
        waiting = self._waiting
        if waiting is None:
            return
        for request in waiting.take_all():
            self.shutdown_request(request)
        if self._kept is None:
            self._waiting = None
            waiting.close()

    def _start_waiting(self) -> Waiting:
        if self._waiting is None:
            self._waiting = Waiting(self.waiting_limit)
        return self._waiting

    def _wait_again(self, connections: list[tuple[Any, Any]]) -> None:
        timeout = getattr(self.RequestHandlerClass, "timeout", None)
        if not isinstance(timeout, (int, float)):
            timeout = None
        for request, client_address in connections:
            if self._waiting is None:  # closed meanwhile
                self.shutdown_request(request)
            else:
                self._waiting.add(request, client_address, timeout)

    def _close_late(self) -> None:
        for request in self._waiting.take_late() if self._waiting is not None else ():
            self.shutdown_request(request)


_SILENT = object()


class ThreadingWSGIServer(ThreadingMixIn, WSGIServer):
    """A `WSGIServer` that gives each connection a thread of its own."""

    daemon_threads = True


def _is_ipv6(server_address: Any) -> bool:
    """Tell whether a server address can only be one of IPv6: an address, or a name."""
    host = server_address[0] if isinstance(server_address, tuple) else None
    if not isinstance(host, str) or not host or host == "localhost":
        return False
    if ":" in host:
        return True
    if host.replace(".", "").isdigit():
        return False
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False  # binding says what is wrong
    return socket.AF_INET not in {family for family, *_ in found}


def _host_of(client_address: Any) -> str:
    return str(client_address[0] if client_address else "-")


class _LazyMessage:
    """The ``headers`` of a request handler: made of the parsed fields when asked for."""

    def __get__(self, handler: WSGIRequestHandler | None, owner: type) -> Any:
        if handler is None:
            return self
        if handler._fields is None:
            raise AttributeError(f"{owner.__name__!r} object has no attribute 'headers'")
        message = handler.headers = _make_message(handler._fields)
        return message


def _make_message(fields: _request.Fields) -> HTTPMessage:
    """Return header fields as the message that `http.client.parse_headers` makes."""
    message = HTTPMessage()
    for name, value in fields:
        message.set_raw(name, value)
    if message.get_content_maintype() in ("multipart", "message"):
        # The parser looks for parts in the body, finds none, and notes that down.
        section = "".join(f"{name}: {value}\r\n" for name, value in fields)
        return parse_headers(io.BytesIO(f"{section}\r\n".encode("iso-8859-1")))
    message.set_payload("")
    return message


class WSGIRequestHandler(BaseHTTPRequestHandler):
    """Read a request from a connection, and run the server's application for it.

    With a ``protocol_version`` of ``HTTP/1.1`` the connection is kept for further
    requests, where client and response allow it.
    """

    server_version = server_version
    #: Set ``TCP_NODELAY``: a response leaves when it is there.
    disable_nagle_algorithm = True
    #: Whether headers with an underscore in their name get into the environ. There they
    #: are the same variable as those with a dash, which a proxy may have checked.
    underscore_headers = False
    #: The most bytes of a chunked request body; they are kept in memory or in a file.
    max_chunked_body = 1 << 30
    headers = _LazyMessage()  # type: ignore[assignment]

    # The header fields of the current request, if our own parser read them.
    _fields: _request.Fields | None = None
    _framing: _request.Framing
    # Its body; while that is read it stands in the place of the connection's file.
    _body: BodyReader | None = None
    _connection_file: Any = None
    # Whether handle() is ours, and so asks whether to close after each request.
    _keeps_connection = False
    # Whether the client may still be sending, so that closing would cost it the answer.
    _lingers = False

    def setup(self) -> None:
        """Make `rfile` and `wfile` of the connection."""
        connection = self.connection = self.request
        if self.timeout is not None:
            connection.settimeout(self.timeout)
        if self.disable_nagle_algorithm:
            _set_nodelay(connection)
        self.rfile = connection.makefile("rb", self.rbufsize)
        if self.wbufsize == 0:
            self.wfile = ConnectionWriter(connection)
        else:
            self.wfile = connection.makefile("wb", self.wbufsize)

    def finish(self) -> None:
        """Close the files of the connection, once the client has what was sent."""
        if self._body is not None:
            self._finish_request(is_cut=True)
        super().finish()
        if self._lingers:
            linger(self.connection)

    def handle(self) -> None:
        """Serve the connection's request; further ones too where it is kept.

        Without a thread of its own, a kept connection goes back to the server to wait.
        """
        self._keeps_connection = True
        self.close_connection = True
        self._handle_request()
        while not self.close_connection:
            if self._can_wait() and not self._has_buffered():
                self.server._keep(self.request)  # type: ignore[attr-defined]
                return
            self._handle_request()

    def _handle_request(self) -> None:
        self.raw_requestline = self.rfile.readline(MAX_LINE + 1)
        if len(self.raw_requestline) > MAX_LINE:
            self.requestline = self.request_version = self.command = ""
            self.send_error(414)
            return
        if not self.parse_request():
            return
        if not self.close_connection:
            self.close_connection = not (isinstance(self.server, _CONCURRENT) or self._can_wait())
        handler = ServerHandler(
            self.rfile,
            self.wfile,
            self.get_stderr(),
            self.get_environ(),
            multithread=isinstance(self.server, ThreadingMixIn),
            multiprocess=isinstance(self.server, _FORKING),
        )
        handler.request_handler = self
        if not self.close_connection and type(handler).http_version == "1.0":
            handler.http_version = "1.1"
        handler.run(self.server.get_app())  # type: ignore[attr-defined]
        if handler.environ is not None:  # it did not come to its end: nor can the connection
            self.close_connection = True

    def _can_wait(self) -> bool:
        can_keep = getattr(self.server, "_can_keep", None)
        return can_keep is not None and can_keep(self.request)

    def _has_buffered(self) -> bool:
        """Tell whether bytes of the next request are here already."""
        timeout = self.connection.gettimeout()
        self.connection.settimeout(0)
        try:
            return bool(self.rfile.peek())  # type: ignore[attr-defined]
        except (OSError, AttributeError):
            return False
        finally:
            self.connection.settimeout(timeout)

    def parse_request(self) -> bool:
        """Parse `raw_requestline` and read the header section; the body is next in `rfile`.

        What is not plain is left to `http.server`. Returns whether there is a request to
        be answered; if not, an error has been sent.
        """
        self.__dict__.pop("headers", None)
        self._fields = None
        self._chunked_length = None
        line = _request.parse_request_line(self.raw_requestline)
        try:
            if line is None or self.MessageClass is not HTTPMessage:
                return self._parse_with_library(b"", odd=line is None)
            self.requestline, self.command, self.path, self.request_version = line
            self.close_connection = True
            section = self._read_section()
            parsed = _request.parse_fields(section)
            if parsed is None:
                return self._parse_with_library(section, odd=True)
            self._fields, self._framing = parsed
            if self.protocol_version >= "HTTP/1.1":
                self._heed_connection(self._framing.get("connection", []))
            return self._take_body(self._framing, may_expect=True)
        except _request.BadRequest as error:
            self._refuse(error.status, str(error))
        except TimeoutError:
            self._refuse(408, "Request not received in time")
        return False

    def _read_section(self) -> bytes:
        """Read the header section with the empty line that ends it, if there is one."""
        rfile = self.rfile
        if type(rfile) is io.BufferedReader:
            here = rfile.peek()
            if here.startswith(b"\r\n"):
                return rfile.read(2)
            end = here.find(b"\r\n\r\n")
            # An earlier end, marked by LFs alone, is not for us to pass over.
            if end > 0 and here.find(b"\n\n", 0, end) < 0 and here.find(b"\n\r\n", 0, end) < 0:
                return rfile.read(end + 4)
        lines = []
        while len(lines) <= MAX_HEADER_LINES:
            line = rfile.readline(MAX_LINE + 1)
            lines.append(line)
            if len(line) > MAX_LINE or line in (b"\r\n", b"\n", b""):
                break
        return b"".join(lines)

    def _parse_with_library(self, section: bytes, odd: bool) -> bool:
        """Have `http.server` parse the request, after a section that was read already.

        What it takes leniently, another may read differently: an odd request is the
        connection's last (RFC 9112 section 11.2).
        """
        connection_file = self.rfile
        replay = self.rfile = _Replay(section, connection_file)  # type: ignore[assignment]
        try:
            if not super().parse_request():
                return False
        finally:
            self.rfile = connection_file
        _request.check_section(replay.seen())
        if not isinstance(self.headers, self.MessageClass):
            self.headers = self.MessageClass()  # HTTP/0.9, since 3.14.4
        if odd:
            self.close_connection = True
        return self._take_body(_request.find_framing(self.headers.items()), may_expect=False)

    def _heed_connection(self, values: list[str]) -> None:
        """Set `close_connection` as version and ``Connection`` say (RFC 9112 section 9.3)."""
        options = {option.strip(" \t").lower() for option in ",".join(values).split(",")}
        persists = self.request_version != "HTTP/1.0" or "keep-alive" in options
        self.close_connection = "close" in options or not persists

    def _heed_expect(self, value: str) -> bool:
        """Answer ``Expect: 100-continue``, between parties of HTTP/1.1."""
        if (
            value.lower() != "100-continue"
            or self.protocol_version < "HTTP/1.1"
            or self.request_version < "HTTP/1.1"
        ):
            return True
        return self.handle_expect_100()

    def _take_body(self, framing: _request.Framing, may_expect: bool) -> bool:
        """Let `rfile` be the request's body until the request is finished.

        Returns false where the client's expectation was refused.

        Raises:
            BadRequest: the body's end is not clear, or a chunked body malformed.

        """
        length, chunked = 0, False
        if "content-length" in framing:
            length = _request.parse_content_length(framing["content-length"])
        if "transfer-encoding" in framing:
            chunked = _request.is_chunked(framing["transfer-encoding"], self.request_version)
            if "content-length" in framing:
                raise _request.BadRequest(400, "Both Content-Length and Transfer-Encoding")
        if may_expect and "expect" in framing and not self._heed_expect(framing["expect"][0]):
            return False
        connection_file = self._connection_file = self.rfile
        source: Any = connection_file
        if chunked:
            from ._chunked import read_chunked

            source, length = read_chunked(connection_file, self.max_chunked_body)
            self._chunked_length = length
        self._body = BodyReader(source, length, connection_file)
        self.rfile = self._body  # type: ignore[assignment]
        return True

    _chunked_length: int | None = None

    def _finish_request(self, is_cut: bool) -> None:
        """Leave the request's body behind, and see whether the connection can go on."""
        body, self._body = self._body, None
        if is_cut:
            self.close_connection = True
        if body is None:
            return
        self.rfile = self._connection_file
        if body.left and not self.close_connection and body.left <= _SKIPPED_AT_MOST:
            body.read()
        if body.left and self._chunked_length is None:
            self.close_connection = self._lingers = True
        body.release(self.rfile)

    def _refuse(self, status: int, reason: str) -> None:
        """Send an error, and log it by one line."""
        self.log_request = _ignore  # type: ignore[method-assign]
        try:
            self.send_error(status, reason)
        finally:
            del self.log_request

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Send and log an error; the connection closes, once the client has it."""
        self._lingers = True
        super().send_error(code, message, explain)

    def log_date_time_string(self) -> str:
        """Return the time as log lines have it; made once a second."""
        global _log_time
        now = int(time.time())
        if _log_time[0] != now:
            _log_time = now, super().log_date_time_string()
        return _log_time[1]

    def get_environ(self) -> WSGIEnvironment:
        """Return the environ of the request: a new `dict`, based on the server's."""
        environ: WSGIEnvironment = self.server.base_environ.copy()  # type: ignore[attr-defined]
        environ["SERVER_PROTOCOL"] = self.request_version
        environ["SERVER_SOFTWARE"] = self.server_version
        environ["REQUEST_METHOD"] = self.command
        _environ.add_target(environ, self.path)
        if sys.version_info < (3, 13):
            host = self.address_string()
            if host != self.client_address[0]:
                environ["REMOTE_HOST"] = host
        environ["REMOTE_ADDR"] = self.client_address[0]
        self._add_fields(environ)
        if self._chunked_length is not None:
            # As the coding's removal demands (RFC 9112 section 7.1.3).
            environ["CONTENT_LENGTH"] = str(self._chunked_length)
            environ.pop("HTTP_TRANSFER_ENCODING", None)
            environ["wsgi.input_terminated"] = True
        return environ

    def _add_fields(self, environ: WSGIEnvironment) -> None:
        fields = self._fields
        if fields is not None and "headers" not in self.__dict__:
            content_type = self._framing.get("content-type", ["text/plain"])[0]
            length = self._framing.get("content-length", [None])[0]
        else:  # somebody has looked at the message, and may have changed it
            fields = list(self.headers.items())
            content_type = self.headers.get("content-type")
            if content_type is None:
                content_type = self.headers.get_content_type()
            length = self.headers.get("content-length")
        environ["CONTENT_TYPE"] = content_type
        if length:
            environ["CONTENT_LENGTH"] = length.partition(",")[0].rstrip(" \t")
        _environ.add_fields(environ, fields, self.underscore_headers)

    def get_stderr(self) -> Any:
        """Return ``wsgi.errors``."""
        return sys.stderr


_log_time = (0, "")


def _ignore(*_: object) -> None:
    """Take the place of a method that is not to be called."""


class _Replay:
    """The connection's file as a parser wants it, with bytes put back in front of it."""

    def __init__(self, section: bytes, connection_file: Any) -> None:
        self._section = io.BytesIO(section)
        self._file = connection_file
        self._seen: list[bytes] = []

    def readline(self, size: int = -1, /) -> bytes:
        line: bytes = self._section.readline(size) or self._file.readline(size)
        self._seen.append(line)
        return line

    def seen(self) -> bytes:
        return b"".join(self._seen)


def demo_app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    """Say hello and list the environ: a small but whole WSGI application."""
    lines = ["Hello world!", ""]
    lines += [f"{key} = {value!r}" for key, value in sorted(environ.items())]
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return ["".join(line + "\n" for line in lines).encode("utf-8")]


def make_server(
    host: str,
    port: int,
    app: WSGIApplication,
    server_class: type[WSGIServer] = WSGIServer,
    handler_class: type[WSGIRequestHandler] = WSGIRequestHandler,
) -> WSGIServer:
    """Return a server for `app` that listens on `host` and `port` (0: any that is free).

    Raises:
        OSError: the address cannot be listened on.

    """
    server = server_class((host, port), handler_class)
    server.set_app(app)
    return server


def _set_nodelay(connection: Any) -> None:
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    except (OSError, AttributeError):
        pass  # not TCP; or a stand-in


def __getattr__(name: str) -> Any:
    """Provide what the original module happens to have, when somebody asks for it."""
    if name == "__version__":
        if sys.version_info >= (3, 15):
            import warnings

            warnings._deprecated(name, remove=(3, 20))  # type: ignore[attr-defined]
        return _VERSION
    if name == "python_implementation":
        from platform import python_implementation

        return python_implementation
    if name == "urllib":
        import urllib.parse

        return urllib
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _main() -> None:
    """Serve the demo application to one request, of a browser."""
    with make_server("", 8000, demo_app) as httpd:
        host, port = httpd.socket.getsockname()[:2]
        print("Serving HTTP on", host, "port", port, "...")
        import webbrowser

        webbrowser.open("http://localhost:8000/xyz?abc")
        httpd.handle_request()


if __name__ == "__main__":
    _main()
