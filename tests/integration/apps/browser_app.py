"""A page of 40 assets for a browser, on a server that has one thread."""

# What lies beside a program is found when it runs.
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from witness import testify

IMAGES, SCRIPTS, STYLES = range(30), range(5), range(5)

#: A GIF of one pixel.
PIXEL = bytes.fromhex(
    "47494638396101000100800000ffffff00000021f90400000000002c00000000010001000002024401003b"
)

served: Counter[str] = Counter()


def page() -> str:
    parts = ["<!doctype html><title>Assets</title>"]
    parts += ["<script>var loaded = 0, failed = 0</script>"]
    for number in STYLES:
        parts.append(f'<link rel="stylesheet" href="/asset/{number}.css" {_counting()}>')
    for number in IMAGES:
        parts.append(f'<img src="/asset/{number}.gif" {_counting()}>')
    for number in SCRIPTS:
        parts.append(f'<script src="/asset/{number}.js" {_counting()}></script>')
    parts.append('<p id="report"></p><script>onload = () => { report.textContent =')
    parts.append("`loaded ${loaded}, failed ${failed}, scripts ${window.ran}` }</script>")
    return "\n".join(parts)


def _counting() -> str:
    return 'onload="loaded++" onerror="failed++"'


def asset(path: str) -> tuple[str, bytes]:
    """Return type and content; a script counts itself, so that it has to be whole."""
    if path.endswith(".gif"):
        return "image/gif", PIXEL
    if path.endswith(".css"):
        return "text/css", b"p { color: green }" + b" " * 100_000
    return "text/javascript", b" " * 100_000 + b"window.ran = (window.ran || 0) + 1"


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    served[path] += 1
    if path.startswith("/asset/"):
        content_type, body = asset(path)
    elif path == "/":
        content_type, body = "text/html", page().encode()
    elif path == "/report":
        content_type = "application/json"
        testimony = testify(environ, start_response)
        body = json.dumps({"served": served, "witness": testimony}).encode()
    else:
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"no such thing"]
    start_response("200 OK", [("Content-Type", content_type), ("Cache-Control", "no-store")])
    return [body]


def main(protocol: str) -> None:
    handler = type("Handler", (WSGIRequestHandler,), {"protocol_version": protocol})
    with make_server("127.0.0.1", 0, application, handler_class=handler) as server:
        print(f"listening on {server.server_port}")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("stopped")


if __name__ == "__main__":
    main(sys.argv[1])
