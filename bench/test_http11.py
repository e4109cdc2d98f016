"""The HTTP/1.1 server over loopback, by connections that are kept."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from . import peers, subjects, wrk
from .client import Client
from .inputs import BROWSER
from .processes import Server, clients_apart, serving
from .ratios import Ratios

_LOADS = 7

_FIELDS = tuple(line for line in BROWSER.decode().split("\r\n")[2:] if line)
_WORKLOADS = {"hello": (), "browser": _FIELDS}

Rounds = dict[str, dict[str, list[float]]]


def _check(server: Server) -> None:
    client = Client(server.port)
    response = client.ask()
    client.close()
    assert b" 200 OK\r\n" in response
    assert response.endswith(b"\r\n\r\nHello, world!\n")


@pytest.fixture(scope="module")
def rounds() -> Rounds:
    """Return seconds a request, of each workload and server, all of one run."""
    wrk.need()
    times: Rounds = {workload: {} for workload in _WORKLOADS}
    with clients_apart(), ExitStack() as stack:
        running = {
            name: stack.enter_context(serving(name, "1.0" if name == "stdlib" else "server"))
            for name in subjects.names()
        }
        if peers.why_not("bjoern") is None:
            bjoern = serving("bjoern", "1.0", python=peers.PYTHON)
            running["bjoern"] = stack.enter_context(bjoern)
        for server in running.values():
            _check(server)
        for _ in range(_LOADS):
            for workload, fields in _WORKLOADS.items():
                for name, server in running.items():
                    load = wrk.load_kept(server.port, fields)
                    assert not load.errors or name == "stdlib", (name, load)
                    times[workload].setdefault(name, []).append(1 / load.per_second)
    return times


@pytest.mark.parametrize("workload", _WORKLOADS)
def test_against_wsgiref(workload: str, rounds: Rounds, ratios: Ratios) -> None:
    names = subjects.names()
    found = {name: rounds[workload][name] for name in names}
    ratios.add(f"Server, wrk: {workload}, against wsgiref", found, rate=True)


@pytest.mark.parametrize("workload", _WORKLOADS)
def test_against_bjoern(workload: str, rounds: Rounds, ratios: Ratios) -> None:
    peers.need("bjoern")
    names = ["bjoern", *subjects.names()[1:]]
    found = {name: rounds[workload][name] for name in names}
    ratios.add(f"Server, wrk: {workload}, against bjoern", found, "bjoern", rate=True)
