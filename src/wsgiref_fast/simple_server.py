"""A simple HTTP server for one WSGI application, as `wsgiref.simple_server` has it.

It speaks HTTP/1.0, a connection a request; a request handler class whose
``protocol_version`` says ``HTTP/1.1`` keeps its connections.
"""

from __future__ import annotations

import socket
import sys
from http.server import BaseHTTPRequestHandler as BaseHTTPRequestHandler
from http.server import HTTPServer as HTTPServer
from socketserver import TCPServer, ThreadingMixIn
from threading import get_ident

from . import _hooks, _impl, _sendfile
from ._grammar import MAX_LINE
from ._pure import environ as _environ
from ._reading import RequestReader, _late
from ._server_loop import FORKING, WaitingServer
from .handlers import SimpleHandler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping
    from socketserver import BaseRequestHandler
    from typing import IO, Any, Final, TypeVar, overload

    from ._waiting import Waiting
    from .types import ErrorStream, InputStream, StartResponse, WSGIApplication, WSGIEnvironment

    #: Host and port, for IPv6 also flow and scope; the path of a Unix socket.
    Address = tuple[str, int] | tuple[str, int, int, int] | str
    #: What makes a request handler: most often its class.
    MakeHandler = Callable[[Any, Any, Any], BaseRequestHandler]
    _S = TypeVar("_S", bound="WSGIServer")

__all__ = ["ThreadingWSGIServer", "WSGIRequestHandler", "WSGIServer", "demo_app", "make_server"]

_VERSION = "0.2"  # of the original, whose name the wire has known since 2006

server_version: Final[str] = (
    "WSGIServer" if sys.version_info >= (3, 15) else "WSGIServer/" + _VERSION
)
_IMPLEMENTATIONS = {"cpython": "CPython", "pypy": "PyPy"}
sys_version: Final[str] = (
    _IMPLEMENTATIONS.get(sys.implementation.name, sys.implementation.name)
    + "/"
    + sys.version.split()[0]
)
software_version: Final[str] = server_version + " " + sys_version


@_impl.accelerated
class ServerHandler(SimpleHandler):
    """Run the application for one request of a `WSGIRequestHandler`, and log it."""

    server_software: str = software_version  # pyright: ignore[reportIncompatibleVariableOverride]
    _is_server = True
    # Where a short cut was taken, these are made when somebody asks for them.
    stdin: InputStream = _late(lambda handler: handler.request_handler.rfile, "request_handler")
    stdout: IO[bytes] = _late(lambda handler: handler.request_handler.wfile, "request_handler")
    base_env: MutableMapping[str, Any] = _late(
        lambda handler: handler.request_handler.get_environ(), "request_handler"
    )
    #: The request handler: it logs, and knows whether its connection goes on.
    request_handler: Any

    def cleanup_headers(self) -> None:
        """Complete the headers, and say where needed what becomes of the connection.

        HTTP/1.1 connections go on unless told otherwise, HTTP/1.0's end (RFC 9112
        section 9.3).
        """
        super().cleanup_headers()
        handler: Any = getattr(self, "request_handler", None)
        persists = not getattr(handler, "close_connection", True)
        if not (persists or self.http_version >= "1.1") or "Connection" in self.headers:
            return
        if persists and getattr(handler, "_keeps_connection", False):
            persists = handler._can_skip_body() and (
                "Content-Length" in self.headers or self._is_bodyless()
            )
            handler.close_connection = not persists
            if persists and handler.request_version == "HTTP/1.0":
                self.headers["Connection"] = "keep-alive"
        if not persists:
            self.headers["Connection"] = "close"

    def sendfile(self) -> bool:
        """Send the file that `result` wraps from its descriptor, where both ends have one.

        At most the ``Content-Length`` that the application gave is sent. Returns false where
        the file is to be iterated over: in memory, compressed, a pipe; through TLS; where a
        step that each block takes was overridden.
        """
        if not _hooks.is_own(SimpleHandler, ("sendfile",)):  # somebody put another there
            return super().sendfile()
        return _sendfile.send_result(self)

    def close(self) -> None:
        """Log the request, close the application's iterable and take the state back."""
        try:
            # Without a status, what prevented it has been logged: no second traceback.
            status = self.status.split(" ", 1)[0] if self.status else "-"
            self.request_handler.log_request(status, self.bytes_sent)
        finally:
            super().close()

    def _is_cut(self) -> bool:
        headers = self.headers
        if getattr(self.request_handler, "close_connection", True):
            return True
        if headers is None or not self.headers_sent:
            return True
        if "close" in (headers["Connection"] or "").lower():
            return True
        length = headers["Content-Length"]
        return not self._is_bodyless() and length is not None and length != str(self.bytes_sent)


_hooks.note_names(globals(), "ServerHandler")


class _LazyName:
    """The ``server_name`` of a server: looked up when first asked for."""

    def __get__(self, server: WSGIServer | None, owner: type) -> Any:
        if server is None:
            return self
        address: Any = server.server_address
        name = server.server_name = socket.getfqdn(address[0])
        return name


_server_name: Any = _LazyName()


@_impl.accelerated
class WSGIServer(WaitingServer):
    """An HTTP server that serves one WSGI application.

    Connections that have sent nothing yet, and kept ones between two requests, wait in a
    selector; meanwhile others are served. An IPv6 address as the host makes it a server
    for IPv6.
    """

    #: The WSGI application.
    application: WSGIApplication | None = None
    #: Copied into the environ of each request.
    base_environ: WSGIEnvironment
    address_family: int
    server_name: str = _server_name
    server_port: int

    _host: Any = None

    def __init__(
        self,
        server_address: Address,
        RequestHandlerClass: MakeHandler,  # noqa: N803
        bind_and_activate: bool = True,
    ) -> None:
        if self.address_family == socket.AF_INET and _is_ipv6(server_address):
            self.address_family = socket.AF_INET6
        # What `socketserver` has of Unix sockets, a class brings along that mixes them in.
        super().__init__(server_address, RequestHandlerClass, bind_and_activate)  # type: ignore[arg-type]

    def server_bind(self) -> None:
        """Bind the socket, and make the base environ. No name is looked up."""
        if isinstance(self.server_address, tuple):
            self._host = self.server_address[0]
        if self.address_family == socket.AF_INET6 and self._host == "::":
            try:
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            except OSError:
                pass  # OpenBSD has it for good
        # Past HTTPServer's, which asks the network for the name of the address.
        TCPServer.server_bind(self)
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

    def _start_waiting(self) -> Waiting:
        # Where TLS has been put in its place. Who makes environs alone may have no base of them.
        if hasattr(self.socket, "do_handshake_on_connect") and hasattr(self, "base_environ"):
            self.base_environ.setdefault("HTTPS", "on")
        return super()._start_waiting()

    def _known_name(self) -> str:
        """Return `server_name` where somebody has set it, else the best without a look-up."""
        if "server_name" in vars(self) or type(self).server_name is not _server_name:
            return str(self.server_name)
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


#: Requests that a client may send in a row while others wait for the server's only thread.
_SERVED_IN_A_ROW = 1000


@_impl.accelerated
class WSGIRequestHandler(RequestReader):
    """Read a request from a connection, and run the server's application for it.

    With a ``protocol_version`` of ``HTTP/1.1`` the connection is kept for further
    requests, where client and response allow it.
    """

    server_version: str = server_version
    raw_requestline: bytes
    close_connection: bool

    # Set where handle() is ours: it closes the connection, or keeps it, after each request.
    _keeps_connection = False
    # Requests of the connection since it had last to wait.
    _served = 0

    def __init__(self, request: Any, client_address: Any, server: Any) -> None:
        if not _impl.serve(self, request, client_address, server):
            super().__init__(request, client_address, server)

    def handle(self) -> None:
        """Serve the connection's request; further ones too where it is kept.

        Without a thread of its own, a kept connection goes back to the server to wait.
        """
        self._keeps_connection = True
        self.close_connection = True
        self._handle_request()
        while not self.close_connection and self.protocol_version >= "HTTP/1.1":
            if not self._can_wait():
                if not self._rest():
                    return
            elif not self._has_buffered():
                self.server._keep(self.request)  # type: ignore[attr-defined]
                return
            self._handle_request()

    def _handle_request(self) -> None:
        self.requestline = self.request_version = self.command = ""
        self.close_connection = True  # unless the request says so, and is understood
        try:
            self.raw_requestline = self.rfile.readline(MAX_LINE + 1)
            if self.raw_requestline == b"\r\n" and self.protocol_version >= "HTTP/1.1":
                # One that a client sends after a body (RFC 9112 section 2.2).
                self.raw_requestline = self.rfile.readline(MAX_LINE + 1)
        except TimeoutError:
            self._refuse(408, "Request not received in time")
            return
        if len(self.raw_requestline) > MAX_LINE:
            self.send_error(414)
            return
        if not self.parse_request():
            self.close_connection = True  # whoever refused it did not look for its end
            return
        self._served += 1
        if not self.close_connection and not self._may_go_on():
            self.close_connection = self._lingers = True
        handler = ServerHandler(
            self.rfile,
            self.wfile,
            self.get_stderr(),
            self.get_environ(),
            multithread=self._is_threaded(),
            multiprocess=isinstance(self.server, FORKING),
        )
        handler.request_handler = self
        if self.protocol_version >= "HTTP/1.1" and type(handler).http_version == "1.0":
            handler.http_version = "1.1"
        handler.run(self.server.get_app())  # type: ignore[attr-defined]
        if handler.environ is not None:  # it did not come to its end: nor can the connection
            self.close_connection = True

    def _may_go_on(self) -> bool:
        """Tell whether the connection can be kept without keeping others waiting."""
        if isinstance(self.server, ThreadingMixIn) and self._is_threaded():
            return True
        return self._can_wait() and self._served < _SERVED_IN_A_ROW

    def _is_threaded(self) -> bool:
        """Tell whether this request runs beside others: not in the server's own thread."""
        loop_thread = getattr(self.server, "_loop_thread", None)
        if loop_thread is None:
            return isinstance(self.server, ThreadingMixIn)
        return bool(loop_thread != get_ident())

    def _can_wait(self) -> bool:
        can_keep = getattr(self.server, "_can_keep", None)
        return can_keep is not None and can_keep(self.request)

    def _rest(self) -> bool:
        """Wait for the next request in this thread; false where there is none."""
        resting = getattr(self.server, "_resting", None)
        if resting is None:
            return True
        resting.add(self.request)
        try:
            return not self.server._is_closed and bool(self.rfile.peek())  # type: ignore[attr-defined]
        except AttributeError:
            return True  # a file without a buffer to look into
        except (ConnectionError, TimeoutError):
            return False
        finally:
            resting.discard(self.request)

    def _has_buffered(self) -> bool:
        """Tell whether bytes of the next request are here already."""
        return bool(self._read_at_once(lambda: self.rfile.peek()))  # type: ignore[attr-defined]

    def get_environ(self) -> WSGIEnvironment:
        """Return the environ of the request: a new `dict`, based on the server's."""
        plain = _impl.copy_environ(self)
        if plain is not None:
            return plain
        address = self.client_address[0]
        base_environ = self.server.base_environ  # type: ignore[attr-defined]
        environ: WSGIEnvironment = base_environ.copy()
        _impl.fill_environ(
            environ,
            base_environ,
            (self.command, self.path, self.request_version),
            self.server_version,
            address,
            self._get_variables(),
        )
        if sys.version_info < (3, 13):
            host = self.address_string()
            if host != address:
                environ["REMOTE_HOST"] = host
        if self._chunked_length is not None:
            # As the coding's removal demands (RFC 9112 section 7.1.3).
            environ["CONTENT_LENGTH"] = str(self._chunked_length)
            environ.pop("HTTP_TRANSFER_ENCODING", None)
            environ["wsgi.input_terminated"] = True
        return environ

    def _get_variables(self) -> dict[str, str]:
        variables: dict[str, str] | None = self._variables
        if variables is None or "headers" in self.__dict__:
            # Somebody has looked at the message, and may have changed it.
            variables = {}
            _environ.add_fields(variables, self.headers.items(), self.underscore_headers)
            if "CONTENT_TYPE" not in variables:
                variables["CONTENT_TYPE"] = self.headers.get_content_type()
        return variables

    def get_stderr(self) -> ErrorStream:
        """Return ``wsgi.errors``."""
        return sys.stderr


def demo_app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    """Say hello and list the environ: a small but whole WSGI application."""
    lines = ["Hello world!", ""]
    lines += [f"{key} = {value!r}" for key, value in sorted(environ.items())]
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return ["".join(line + "\n" for line in lines).encode("utf-8")]


if TYPE_CHECKING:

    @overload
    def make_server(
        host: str,
        port: int,
        app: WSGIApplication,
        *,
        handler_class: type[WSGIRequestHandler] = ...,
    ) -> WSGIServer: ...
    @overload
    def make_server(
        host: str,
        port: int,
        app: WSGIApplication,
        server_class: type[_S],
        handler_class: type[WSGIRequestHandler] = ...,
    ) -> _S: ...


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
