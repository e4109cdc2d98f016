"""Bottle on the HTTP/1.1 server: ``bottle.run(server="wsgiref_fast.bottle:Server")``."""

from __future__ import annotations

import os

try:
    from bottle import ServerAdapter
except ModuleNotFoundError as _error:
    if _error.name != "bottle":
        raise
    raise ImportError("wsgiref_fast.bottle needs Bottle: pip install bottle") from None

from . import server
from ._frameworks import take_tls
from ._http11.options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .types import WSGIApplication

__all__ = ["Server"]

#: Seconds that a process which the reloader ends leaves to requests, unless told otherwise.
_RELOAD_TIMEOUT = 1.0


class Server(ServerAdapter):  # type: ignore[misc]
    """What `bottle.run` takes as its ``server``.

    ``host`` may be ``"unix:/path"`` or ``"fd://3"`` too. Requests are logged unless Bottle
    is to be ``quiet``. SIGINT and SIGTERM end it, once what is under way is finished.

    Args:
        host: as `bottle.run` has it.
        port: 0 for any that is free; then `port` says which it is while it runs.
        **options: see `wsgiref_fast.server.Options`; and, for HTTPS, ``certfile`` with
            ``keyfile``, the paths of PEM files.

    Raises:
        TypeError, ValueError: an option is none, or has a wrong value.

    """

    #: The `wsgiref_fast.server.Server`, while it runs: from another thread it can be shut down.
    srv: Any = None
    port: int

    def __init__(self, host: str = "127.0.0.1", port: int = 8080, **options: Any) -> None:
        super().__init__(host, port, **options)
        self._options = take_tls(options)
        Options(**self._options)  # what is wrong is said before Bottle says that it listens

    def run(self, handler: WSGIApplication) -> None:
        """Serve an application until a signal comes, or `srv` is shut down.

        Raises:
            OSError: the address cannot be listened on.

        """
        options = {"access_log": "off" if self.quiet else "common", **self._options}
        if "BOTTLE_CHILD" in os.environ:
            options.setdefault("shutdown_timeout", _RELOAD_TIMEOUT)
        with server.Server((self.host, self.port), **options) as self.srv:
            self.srv.set_app(handler)
            self.port = self.srv.server_port
            server.serve_until_signal(self.srv)
