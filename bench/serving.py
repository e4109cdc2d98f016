"""A server in a process of its own: ``python serving.py PACKAGE PROTOCOL`` prints its port.

It ends when its standard input does.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any


def hello_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Answer with a fixed page."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "14")])
    return [b"Hello, world!\n"]


def main(package: str, protocol: str) -> None:
    """Serve until standard input ends."""
    module = import_module(f"{package}.simple_server")
    handler_class = type(
        "Handler", (module.WSGIRequestHandler,), {"protocol_version": f"HTTP/{protocol}"}
    )
    with module.make_server("127.0.0.1", 0, hello_app, handler_class=handler_class) as server:
        print(server.server_port, flush=True)
        threading.Thread(target=server.serve_forever).start()
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
