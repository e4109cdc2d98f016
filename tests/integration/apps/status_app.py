"""A server that shows how it does, beside a page that a browser complains about."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from wsgiref_fast import serve

_STATUSES = {"/missing": "404 Not Found", "/broken": "500 Internal Server Error"}


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    path = environ["PATH_INFO"]
    body = b"<!doctype html><script>console.error('on purpose')</script>"
    headers = [("Content-Type", "text/html"), ("Content-Length", str(len(body)))]
    start_response(_STATUSES.get(path, "200 OK"), headers)
    return [body]


def main(port: str, threads: str) -> None:
    serve(application, port=int(port), threads=int(threads), status_path="/-/status")
    print("stopped")


if __name__ == "__main__":
    main(*sys.argv[1:])
