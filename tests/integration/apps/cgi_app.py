"""A CGI script on `wsgiref.handlers.CGIHandler`; the launcher puts the package in its place."""

# What lies beside a program is found when it runs.
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.handlers import CGIHandler

from witness import testify

_TOLD = ("REQUEST_METHOD", "QUERY_STRING", "PATH_INFO", "SCRIPT_NAME", "CONTENT_LENGTH")


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    path = environ.get("PATH_INFO", "")
    if path == "/broken":
        raise LookupError("provoked")
    if path == "/nothing":
        start_response("204 No Content", [])
        return []
    if path == "/elsewhere":
        start_response("302 Found", [("Location", "http://localhost/there")])
        return [b""]
    if path == "/many":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return blocks()
    body = json.dumps(tell(environ, start_response)).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response("200 Fine", headers)
    return [body]


def tell(environ: dict[str, Any], start_response: Callable[..., Any]) -> dict[str, Any]:
    length = int(environ.get("CONTENT_LENGTH") or 0)
    return {
        **{name: environ.get(name) for name in _TOLD},
        "sha256": hashlib.sha256(environ["wsgi.input"].read(length)).hexdigest(),
        "errors": type(environ["wsgi.errors"]).__name__,
        "flags": [environ[f"wsgi.{flag}"] for flag in ("multithread", "multiprocess", "run_once")],
        "witness": testify(environ, start_response),
    }


def blocks() -> Iterator[bytes]:
    for _ in range(200):
        yield b"x" * 5000


if __name__ == "__main__":
    CGIHandler().run(application)
