"""What is asked of an application that gunicorn runs."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import wsgiref_fast

#: The process that has imported this.
importer = os.getpid()

#: When an application of this process began to block.
blocked_at: list[float] = []


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path == "/block":
        blocked_at.append(time.monotonic())
        threading.Event().wait()
    if path == "/slow":
        return wait_for_file(environ, start_response)
    if path == "/stream":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return (b"line %d\n" % number for number in range(50))
    if path == "/broken":
        raise LookupError("provoked")
    if path == "/complain":
        environ["wsgi.errors"].write("complaint\n")
    answers: dict[str, Callable[[], Any]] = {
        "/environ": lambda: {k: v for k, v in environ.items() if isinstance(v, (str, bool))},
        "/echo": lambda: environ["wsgi.input"].read().decode("latin-1"),
        "/process": lambda: {"pid": os.getpid(), "parent": os.getppid(), "importer": importer},
        "/witness": lambda: testify(start_response),
        "/blocked": lambda: time.monotonic() - blocked_at[0] if blocked_at else 0.0,
    }
    body = json.dumps(answers.get(path, lambda: "hello")()).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]


def wait_for_file(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Say by one file that it is here; answer once there is another."""
    Path(environ["HTTP_X_BEGUN"]).touch()
    until = Path(environ["HTTP_X_UNTIL"])
    while not until.exists():
        threading.Event().wait(0.01)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "4")])
    return [b"slow"]


def testify(start_response: Any) -> dict[str, Any]:
    return {
        "file": wsgiref_fast.__file__,
        "module": type(start_response.__self__).__module__,
        "implementation": wsgiref_fast.IMPLEMENTATION,
        "gunicorn": sys.modules["gunicorn"].__version__,
    }


def make_application() -> Callable[..., Any]:
    return application
