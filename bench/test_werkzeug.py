"""Werkzeug's development server, with its own request handler and with ours."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import pytest

from . import subjects
from .client import connect
from .inputs import BROWSER
from .ratios import Ratios, in_turns
from .serving import hello_app

serving = pytest.importorskip("werkzeug.serving", reason="Werkzeug is not installed")

_ROUNDS = 11
_REQUESTS = 20


@contextmanager
def _running(handler: Any, threaded: bool) -> Iterator[int]:
    own = type("Handler", (handler,), {})  # Werkzeug changes a class of handlers
    server = serving.make_server("127.0.0.1", 0, hello_app, threaded, request_handler=own)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.port
    finally:
        server.shutdown()
        thread.join()


def _ask(port: int, to_end: bool) -> None:
    """Ask for the page; read until it is whole, or until the server closes."""
    with connect(("127.0.0.1", port)) as connection:
        connection.sendall(BROWSER)
        response = b""
        while to_end or not response.endswith(b"Hello, world!\n"):
            block = connection.recv(65536)
            if not block:
                break
            response += block
    assert response.endswith(b"\r\n\r\nHello, world!\n")


def _timer(name: str, port: int, to_end: bool) -> Callable[[], float]:
    def time() -> float:
        subjects.load("stdlib" if name == "werkzeug" else name)
        start = perf_counter()
        for _ in range(_REQUESTS):
            _ask(port, to_end)
        return (perf_counter() - start) / _REQUESTS

    return time


@pytest.mark.parametrize("threaded", [False, True], ids=["one", "threads"])
@pytest.mark.parametrize("to_end", [False, True], ids=["until whole", "until closed"])
def test_werkzeug(threaded: bool, to_end: bool, ratios: Ratios) -> None:
    from wsgiref_fast.werkzeug import WSGIRequestHandler

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    case = f"Werkzeug, {'threads' if threaded else 'one'}, {'closed' if to_end else 'whole'}"
    with (
        _running(serving.WSGIRequestHandler, threaded) as plain,
        _running(WSGIRequestHandler, threaded) as faster,
    ):
        timers = {"werkzeug": _timer("werkzeug", plain, to_end)}
        timers |= {name: _timer(name, faster, to_end) for name in subjects.names()[1:]}
        ratios.add(case, in_turns(timers, _ROUNDS), "werkzeug")
