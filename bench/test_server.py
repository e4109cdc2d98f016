"""A server's start and its end."""

from __future__ import annotations

import threading
from time import perf_counter, sleep

from . import subjects
from .client import Client
from .ratios import Ratios
from .serving import hello_app
from .subjects import Subject

_STARTS = 11
_IDLE = 0.02


def _start_and_stop(subject: Subject) -> tuple[float, float]:
    """Return the seconds from `make_server` to an answer, and those of `shutdown`."""
    subjects.activate(subject)
    start = perf_counter()
    server = subject.simple_server.make_server("127.0.0.1", 0, hello_app)
    with server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        response = Client(server.server_port).ask()
        answered = perf_counter()
        sleep(_IDLE)  # until nothing goes on any more
        ending = perf_counter()
        server.shutdown()
        ended = perf_counter()
        thread.join()
    assert response.endswith(b"\r\n\r\nHello, world!\n")
    return answered - start, ended - ending


def test_start_and_shutdown(ratios: Ratios) -> None:
    contenders = [subjects.load(name) for name in subjects.names()]
    starts: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    ends: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for _ in range(_STARTS):
        for contender in contenders:
            start, end = _start_and_stop(contender)
            starts[contender.name].append(start)
            ends[contender.name].append(end)
    ratios.add("make_server() to first answer", starts)
    ratios.add("shutdown()", ends)
