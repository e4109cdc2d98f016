"""The standard library's wsgiref and this one, for tests that run on both.

A test that holds on both shows that its expectation is the original's own. A package
comes as `Any`: classes are derived from whichever it is.
"""
# mypy: disallow-subclassing-any=False

from __future__ import annotations

import importlib
import os
import re
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import support
from support import connected, receive_all

LIBRARIES = ("wsgiref", "wsgiref_fast")
MODULES = ("handlers", "headers", "simple_server", "types", "util", "validate")

GET = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"

StartResponse = Callable[..., Any]


def load(name: str) -> Any:
    """Return a package with all its modules imported."""
    for module in MODULES:
        importlib.import_module(f"{name}.{module}")
    return importlib.import_module(name)


def serve(lib: Any, app: Any, handler_class: Any = None, server_class: Any = None) -> Any:
    """Return a package's server for an application, quiet unless its handler class is given."""
    base = lib.simple_server
    handler_class = handler_class or quiet(base.WSGIRequestHandler)
    server_class = server_class or base.WSGIServer
    return base.make_server("127.0.0.1", 0, app, server_class, handler_class)


def make_environ(lib: Any, **more: Any) -> dict[str, Any]:
    """Return an environ with these variables, and the others that an application needs."""
    environ: dict[str, Any] = {**more}
    lib.util.setup_testing_defaults(environ)
    return environ


def running(server: Any, **options: Any) -> AbstractContextManager[Any]:
    """Run ``serve_forever()`` in a thread; the original would hear its end late otherwise."""
    return support.running(server, **{"poll_interval": 0.01, **options})


def ask(server: Any, request: bytes = GET) -> bytes:
    """Send a request, have the server handle one, and return all that it sent."""
    with connected(server) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        server.handle_request()
        return receive_all(connection)


def receive_until(connection: Any, end: bytes) -> bytes:
    """Read until what came ends with `end`."""
    received = b""
    while not received.endswith(end):
        block = connection.recv(65536)
        assert block, received
        received += block
    return received


def dateless(response: bytes) -> bytes:
    """Take the ``Date`` out of a response."""
    return re.sub(rb"\r\nDate: [^\r]*", b"", response, count=1)


def quiet(handler_class: Any) -> Any:
    """Return a subclass of a request handler that logs to its server's ``log``."""

    class Quiet(handler_class):
        def log_message(self, format: str, *args: Any) -> None:
            self.server.__dict__.setdefault("log", []).append(format % args)

    return Quiet


class Keeper:
    """An application that says its path, and keeps the environ of each request."""

    def __init__(self, *blocks: bytes) -> None:
        self.blocks = blocks
        self.environs: list[dict[str, Any]] = []

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        self.environs.append(dict(environ))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return list(self.blocks) or [environ["PATH_INFO"].encode("iso-8859-1")]

    @property
    def environ(self) -> dict[str, Any]:
        """The environ of the last request."""
        return self.environs[-1]


def own_variables(lib: Any, environ: dict[str, Any]) -> dict[str, Any]:
    """Return of an environ what neither the process nor the server's port decides."""
    foreign = {"SERVER_NAME", "SERVER_PORT", "wsgi.input", "wsgi.file_wrapper", *os.environ}
    foreign.update(lib.handlers.BaseHandler.os_environ)
    return {key: value for key, value in environ.items() if key not in foreign}


def read_app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
    """Answer with the request's body, of which the length must be known."""
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"] or 0))
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return [body]


def failing_app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
    """Raise instead of answering."""
    raise LookupError("the application failed")
