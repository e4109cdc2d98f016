"""Say whose code serves a request, as the running code itself tells it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from types import MethodType
from typing import Any

import wsgiref_fast

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Witness:
    """Middleware that puts its testimony into the environ: files of code, not mere names."""

    def __init__(self, application: Application) -> None:
        self._application = application

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        environ["witness"] = testify(environ, start_response)
        return self._application(environ, start_response)


def testify(environ: dict[str, Any], start_response: Callable[..., Any]) -> dict[str, Any]:
    """Tell what runs this request: start_response() is a method of the handler that does."""
    assert isinstance(start_response, MethodType)
    handler = type(start_response.__self__)
    return {
        "handler": handler.run.__code__.co_filename,  # type: ignore[attr-defined]
        "input": type(environ["wsgi.input"]).__module__,
        "multithread": environ["wsgi.multithread"],
        "implementation": wsgiref_fast.IMPLEMENTATION,
        "python": sys.executable,
    }
