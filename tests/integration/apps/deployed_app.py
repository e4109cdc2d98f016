"""An application that says which of several servers answers, and in which version of it."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

VERSION = os.environ["DEPLOYED_VERSION"]


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    path, folder = environ["PATH_INFO"], Path(environ["QUERY_STRING"])
    if path == "/stream":
        start_response("200 OK", [("Content-Type", "text/plain"), ("X-Accel-Buffering", "no")])
        return stream(folder)
    if path == "/hold":
        hold(folder)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(describe(environ)).encode()]


def describe(environ: dict[str, Any]) -> dict[str, Any]:
    """Tell what has come, from whom, and who has it."""
    body = environ["wsgi.input"].read()
    forwarded = [name for name in environ if "FORWARDED" in name]
    return {
        "version": VERSION,
        "pid": os.getpid(),
        "sha256": hashlib.sha256(body).hexdigest(),
        "address": environ["REMOTE_ADDR"],
        "port": environ["REMOTE_PORT"],
        "scheme": environ["wsgi.url_scheme"],
        "host": environ.get("HTTP_HOST"),
        "forwarded": {name: environ[name] for name in forwarded},
    }


def hold(folder: Path) -> None:
    """Say that a request is under way, and wait until it may be finished."""
    (folder / f"held-{os.getpid()}").touch()
    while not (folder / "release").exists():
        time.sleep(0.005)


def stream(folder: Path) -> Iterator[bytes]:
    yield b"first\n"
    hold(folder)
    yield b"second\n"
