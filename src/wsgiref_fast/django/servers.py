"""Django's development servers and their request handler, on the faster wsgiref.

Ours come between Django's classes and what a program derives from them: what is not defined
by the program is faster, and what only Django knows (its log, its error handling, the
database connections of its threads) stays Django's, of the version that is there.
"""

from __future__ import annotations

from django.core.servers import basehttp

from .. import simple_server

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_IS_INSTALLED = issubclass(basehttp.WSGIServer, simple_server.WSGIServer)

if not _IS_INSTALLED:

    class WSGIRequestHandler(
        simple_server.WSGIRequestHandler,
        basehttp.WSGIRequestHandler,  # type: ignore[misc]
    ):
        """Django's request handler: kept connections, and lines in the log ``django.server``."""

        def log_message(self, format: str, *args: Any) -> None:
            """Log as Django does, with a hint for clients that try TLS."""
            basehttp.WSGIRequestHandler.log_message(self, format, *args)

    class WSGIServer(simple_server.WSGIServer, basehttp.WSGIServer):  # type: ignore[misc]
        """Django's server; with `socketserver.ThreadingMixIn` it has a thread a connection."""

        def __init__(
            self,
            server_address: Any,
            RequestHandlerClass: Any,  # noqa: N803
            *args: Any,
            **kwargs: Any,
        ) -> None:
            # Past our own constructor: whether it is IPv6 is an option here.
            basehttp.WSGIServer.__init__(
                self, server_address, speed_up_handler(RequestHandlerClass), *args, **kwargs
            )

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Log a client that went away, print the traceback of anything else."""
            basehttp.WSGIServer.handle_error(self, request, client_address)

    class ThreadedWSGIServer(basehttp.ThreadedWSGIServer, WSGIServer):  # type: ignore[misc]
        """Django's server of live-server tests: its threads care for database connections."""

else:  # by `wsgiref_fast.install`: Django's classes are built on ours already
    WSGIRequestHandler = basehttp.WSGIRequestHandler  # type: ignore[misc]
    WSGIServer = basehttp.WSGIServer  # type: ignore[misc]
    ThreadedWSGIServer = basehttp.ThreadedWSGIServer  # type: ignore[misc]


def speed_up_server(cls: Any) -> Any:
    """Return a faster class for a server class that may be Django's, or derived from it.

    One of another kind, or one that is fast already, is returned as it is.
    """
    if cls is basehttp.ThreadedWSGIServer:
        return ThreadedWSGIServer
    return _put_between(cls, basehttp.WSGIServer, WSGIServer)


def speed_up_handler(cls: Any) -> Any:
    """Return a faster class for a request handler class, as `speed_up_server` does.

    One with a ``handle_one_request`` of its own stays as it is: ours has no such step.
    """
    if not _IS_INSTALLED and isinstance(cls, type):
        original = basehttp.WSGIRequestHandler.handle_one_request
        if getattr(cls, "handle_one_request", original) is not original:
            return cls
    return _put_between(cls, basehttp.WSGIRequestHandler, WSGIRequestHandler)


def _put_between(cls: Any, original: type, fast: type) -> Any:
    """Return a class between whose own definitions and Django's come ours."""
    if cls is original:
        return fast
    if not isinstance(cls, type) or not issubclass(cls, original) or issubclass(cls, fast):
        return cls
    return type(cls.__name__, (cls, fast), {"__module__": cls.__module__, "__doc__": cls.__doc__})
