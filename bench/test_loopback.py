"""Requests over the loopback interface, to servers in processes of their own."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from . import peers, subjects, wrk
from .client import Client, Downloader
from .processes import Server, clients_apart, serving
from .ratios import Ratios, in_turns

_REQUESTS = 100
_ROUNDS = 31
_LOADS = 7
_MEBIBYTE = 1 << 20
_CLOSING = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("case", "protocol"),
    [("loopback, a connection each", "1.0"), ("loopback, HTTP/1.1 if it may", "1.1")],
)
def test_pages(case: str, protocol: str, ratios: Ratios) -> None:
    with ExitStack() as stack:
        timers = {}
        for name in subjects.names():
            client = Client(stack.enter_context(serving(name, protocol)).port)
            stack.callback(client.close)
            _check_page(client)
            client.time(_REQUESTS)
            timers[name] = partial(client.time, _REQUESTS)
        ratios.add(case, in_turns(timers, _ROUNDS))


def _check_page(client: Client) -> None:
    """Check that a server answers as it should."""
    response = client.ask()
    assert b" 200 OK\r\n" in response
    assert b"\r\nContent-Length: 14\r\n" in response
    assert response.endswith(b"\r\n\r\nHello, world!\n")


def test_file(tmp_path: Path, ratios: Ratios) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * (_MEBIBYTE // 256))
    with clients_apart(), ExitStack() as stack:
        timers = {}
        for name in subjects.names():
            port = stack.enter_context(serving(name, "1.0", str(path))).port
            downloader = Downloader(port, _MEBIBYTE)
            head, _, body = bytes(downloader.fetch()).partition(b"\r\n\r\n")
            assert b" 200 OK\r\n" in head
            assert body == path.read_bytes()
            assert len(downloader.fetch()) == len(head) + 4 + _MEBIBYTE
            timers[name] = partial(downloader.time, 10)
        ratios.add("loopback, a file of 1 MiB", in_turns(timers, _ROUNDS))


class _Loads:
    """Rounds of wrk against each server: seconds a request, and seconds of processor."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}
        self.processor: dict[str, list[float]] = {}
        self.errors: dict[str, int] = {}

    def add(self, name: str, server: Server) -> None:
        """Let a server work for a round."""
        before = server.processor_seconds()
        load = wrk.load(server.port)
        used = server.processor_seconds() - before
        self.times.setdefault(name, []).append(1 / load.per_second)
        self.processor.setdefault(name, []).append(used / load.requests)
        self.errors[name] = self.errors.get(name, 0) + load.errors


def _measure_loads(servers: dict[str, str]) -> _Loads:
    """Run servers, each by an interpreter, and have wrk ask them in turns."""
    loads = _Loads()
    with clients_apart(), ExitStack() as stack:
        running = {
            name: stack.enter_context(serving(name, "1.0", python=python))
            for name, python in servers.items()
        }
        for server in running.values():
            _check_page(Client(server.port, _CLOSING))
        for _ in range(_LOADS):
            for name, server in running.items():
                loads.add(name, server)
    assert not any(loads.errors.values()), loads.errors
    return loads


@pytest.fixture(scope="module")
def loads() -> _Loads:
    """Return the rounds of all servers that are here, so that they are of one run."""
    wrk.need()
    servers = dict.fromkeys(subjects.names(), sys.executable)
    if peers.why_not("bjoern") is None:
        servers["bjoern"] = peers.PYTHON
    return _measure_loads(servers)


def test_wrk(loads: _Loads, ratios: Ratios) -> None:
    names = subjects.names()
    ratios.add("loopback, wrk", _pick(loads.times, names), rate=True)
    ratios.add("loopback, wrk, processor", _pick(loads.processor, names))


def test_bjoern(loads: _Loads, ratios: Ratios) -> None:
    peers.need("bjoern")
    names = ["bjoern", *subjects.names()[1:]]
    ratios.add("loopback, wrk, against bjoern", _pick(loads.times, names), "bjoern", rate=True)
    ratios.add("loopback, wrk, processor, against bjoern", _pick(loads.processor, names), "bjoern")


def _pick(rounds: dict[str, list[float]], names: list[str]) -> dict[str, list[float]]:
    return {name: rounds[name] for name in names}
