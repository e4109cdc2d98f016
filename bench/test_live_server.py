"""A server for a test: from nothing to its first answer, and gone again."""

from __future__ import annotations

import threading
from time import perf_counter
from typing import Any
from wsgiref import simple_server

from wsgiref_fast.testing import live_server

from . import subjects
from .client import Client
from .ratios import Ratios
from .serving import hello_app

_ROUNDS = 11


class _Quiet(simple_server.WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


def _use_standard_library() -> tuple[float, float]:
    """Do what a test does without a fixture; return the seconds until the answer, and after."""
    start = perf_counter()
    with simple_server.make_server("127.0.0.1", 0, hello_app, handler_class=_Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        _check(Client(server.server_port))
        answered = perf_counter()
        server.shutdown()
        thread.join()
    return answered - start, perf_counter() - answered


def _use_live_server() -> tuple[float, float]:
    """Do the same; the application is held to PEP 3333 besides."""
    start = perf_counter()
    with live_server(hello_app) as server:
        _check(Client(server.port))
        answered = perf_counter()
    return answered - start, perf_counter() - answered


def _check(client: Client) -> None:
    assert client.ask().endswith(b"\r\n\r\nHello, world!\n")
    client.close()


def test_a_server_for_a_test(benchmark: Any, ratios: Ratios) -> None:
    names = subjects.names()
    starts: dict[str, list[float]] = {name: [] for name in names}
    ends: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(_ROUNDS):
        for name in names:
            subjects.activate(subjects.load(name))
            use = _use_standard_library if name == "stdlib" else _use_live_server
            start, end = use()
            starts[name].append(start)
            ends[name].append(end)
    ratios.add("live_server: start to first answer", starts)
    ratios.add("live_server: end", ends)
    benchmark(_use_live_server)
