"""A server in a process of its own: ``python serving.py PACKAGE PROTOCOL [FILE]``.

The protocol is 1.0, or 1.1 for handlers that keep connections; ``server`` is `Server`.

It prints its port, answers with a fixed page or with a file, and ends when its standard
input does (bjoern: when it is killed).
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any


def hello_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Answer with a fixed page."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "14")])
    return [b"Hello, world!\n"]


def file_app(path: str) -> Callable[..., Iterable[bytes]]:
    """Return an application that answers with a file, as the server likes best."""
    headers = [
        ("Content-Type", "application/octet-stream"),
        ("Content-Length", str(os.path.getsize(path))),
    ]

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", headers)
        wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](open(path, "rb"))  # noqa: SIM115
        return wrapped

    return app


def serve_with_bjoern(app: Callable[..., Any]) -> None:
    """Serve for ever."""
    bjoern = import_module("bjoern")
    listener = bjoern.listen(app, "127.0.0.1", 0)
    print(listener.getsockname()[1], flush=True)
    bjoern.run()


def main(package: str, protocol: str, path: str = "") -> None:
    """Serve until standard input ends."""
    app = file_app(path) if path else hello_app
    if package == "bjoern":
        serve_with_bjoern(app)
        return
    module = import_module(f"{package}.simple_server")
    if package == "wsgiref":
        # Else what is measured under wrk is how clients wait for room in a queue of five.
        module.WSGIServer.request_queue_size = 128
    handler_class: Any = module.WSGIRequestHandler
    if protocol == "1.1":
        names = {"protocol_version": f"HTTP/{protocol}"}
        handler_class = type("Handler", (handler_class,), names)
    server_class = module.WSGIServer
    if protocol == "server":
        server_class = import_module(f"{package}.server").Server
    with module.make_server("127.0.0.1", 0, app, server_class, handler_class) as server:
        print(server.server_port, flush=True)
        threading.Thread(target=server.serve_forever).start()
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
