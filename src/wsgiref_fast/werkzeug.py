"""Werkzeug's development server, with requests read faster and answers sent in one piece.

    app.run(request_handler=WSGIRequestHandler)  # Flask; or werkzeug.serving.run_simple

For servers that are made where nobody can say so, as moto's and pytest-httpserver's, call
`install`, once and by yourself.
"""

from __future__ import annotations

import io
import select
import socket
import threading

try:
    from werkzeug import serving
except ModuleNotFoundError as _error:
    if _error.name != "werkzeug":
        raise
    raise ImportError("wsgiref_fast.werkzeug needs Werkzeug: pip install werkzeug") from None

from ._streams import ConnectionWriter
from .http_server import RequestMixin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .types import WSGIEnvironment

__all__ = ["WSGIRequestHandler", "accelerate", "install", "uninstall"]


class _Sending(RequestMixin):
    """What is ours of a request handler; the rest of it is Werkzeug's."""

    # Whether heads are responses', not interim ones or errors that nobody flushes.
    _is_running = False

    def setup(self) -> None:
        """Make `rfile` and `wfile` of the connection."""
        super().setup()
        if self.wbufsize == 0:
            self.wfile: Any = ConnectionWriter(self.connection)

    def flush_headers(self) -> None:
        """Write a head: the response's leaves with what follows, when Werkzeug flushes that."""
        if self._is_running and type(self.wfile) is ConnectionWriter:
            self.wfile.hold()
        super().flush_headers()

    def make_environ(self) -> WSGIEnvironment:
        """Return the environ of the request."""
        environ: WSGIEnvironment = super().make_environ()  # type: ignore[misc]
        if "CONTENT_LENGTH" not in environ and "HTTP_TRANSFER_ENCODING" not in environ:
            self.connection: Any = _Connection(self)
        return environ

    def run_wsgi(self) -> None:
        """Run the application and send what it answers."""
        connection, rfile = self.connection, self.rfile
        self._is_running = True
        try:
            super().run_wsgi()  # type: ignore[misc]
        finally:
            self._is_running = False
            self.connection, self.rfile = connection, rfile


class _Connection:
    """The connection of a request without a body, as Werkzeug looks for the rest of that.

    It waits 10 ms after each response, in case that there is more; here there is not.
    """

    def __init__(self, handler: Any) -> None:
        self._handler = handler
        self._connection = handler.connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def fileno(self) -> int:
        """Return a descriptor at whose end the handler's file is too, unless bytes came."""
        descriptor: int = self._connection.fileno()
        if descriptor < 0 or _is_readable(descriptor):
            return descriptor
        self._handler.rfile = io.BytesIO()
        return _find_ended()


def _is_readable(descriptor: int) -> bool:
    if not hasattr(select, "poll"):
        return bool(select.select([descriptor], [], [], 0)[0])
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


_ended: int | None = None
_lock = threading.Lock()  # of two that were made at once, one would be closed while it is used


def _find_ended() -> int:
    """Return the descriptor of a connection whose other end was closed."""
    global _ended
    with _lock:
        if _ended is None:
            ended, other = socket.socketpair()
            other.close()
            _ended = ended.detach()  # it stays open as long as the process
        return _ended


#: What was made of which class.
_accelerated: dict[type, type] = {}


def accelerate(handler_class: Any) -> Any:
    """Return a faster subclass of a request handler class of Werkzeug's."""
    if issubclass(handler_class, _Sending):
        return handler_class
    made = _accelerated.get(handler_class)
    if made is None:
        own = {"__module__": handler_class.__module__, "__doc__": handler_class.__doc__}
        if "protocol_version" in vars(handler_class):
            # Else Werkzeug chooses one, by whether the server has threads.
            own["protocol_version"] = handler_class.protocol_version
        made = type(handler_class.__name__, (_Sending, handler_class), own)
        _accelerated[handler_class] = made
    return made


WSGIRequestHandler: Any = accelerate(serving.WSGIRequestHandler)

_server_class: Any = serving.BaseWSGIServer
_INIT = _server_class.__init__


def install() -> None:
    """Have each server of Werkzeug's that is made from now on read requests faster.

    It uses what `accelerate` makes of the class of request handlers that it is given.
    """

    def __init__(  # noqa: N807
        self: Any, host: str, port: int, app: Any, handler: Any = None, *args: Any, **kw: Any
    ) -> None:
        handler = accelerate(serving.WSGIRequestHandler if handler is None else handler)
        _INIT(self, host, port, app, handler, *args, **kw)

    _server_class.__init__ = __init__


def uninstall() -> None:
    """Take back what `install` did."""
    _server_class.__init__ = _INIT
