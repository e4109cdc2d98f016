"""The HTTP/1.1 server with several threads, and with several loops."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import pytest

from http11 import ask, client_of, serving
from support import PATIENCE, open_descriptors, path_app, running, wait_until
from wsgiref_fast.server import Server

pytestmark = pytest.mark.usefixtures("implementation")


def test_threads_serve_in_parallel() -> None:
    barrier = threading.Barrier(4)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        assert environ["wsgi.multithread"]
        barrier.wait(PATIENCE)
        return path_app(environ, start_response)

    with serving(app, threads=4) as server, ExitStack() as stack:
        clients = [stack.enter_context(client_of(server)) for _ in range(4)]
        for _ in range(3):
            for number, client in enumerate(clients):
                client.send(f"/{number}")
            for number, client in enumerate(clients):
                assert client.receive().body == f"/{number}".encode()


def test_there_are_no_more_threads_than_that() -> None:
    idents = set()

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        idents.add(threading.get_ident())
        return path_app(environ, start_response)

    with serving(app, threads=2) as server, ExitStack() as stack:
        clients = [stack.enter_context(client_of(server)) for _ in range(20)]
        for client in clients:
            client.send()
        for client in clients:
            assert client.receive().status == 200
    assert 1 <= len(idents) <= 2


@pytest.mark.parametrize("options", [{}, {"threads": 4}, {"loops": 2, "threads": 3}])
def test_a_connection_s_requests_are_answered_in_order(options: dict[str, int]) -> None:
    with serving(path_app, **options) as server, ExitStack() as stack:
        clients = [stack.enter_context(client_of(server)) for _ in range(4)]
        for number in range(50):
            for client in clients:
                client.send(f"/{number}")
        for client in clients:
            for number in range(50):
                assert client.receive().body == f"/{number}".encode()


def test_one_connection_has_one_request_in_work() -> None:
    at_once = []
    working: list[int] = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        working.append(1)
        at_once.append(len(working))
        start_response("200 OK", [])
        yield b"a"
        working.pop()

    with serving(app, threads=4) as server, client_of(server) as client:
        for _ in range(50):
            client.send()
        for _ in range(50):
            assert client.receive().body == b"a"
    assert set(at_once) == {1}


@pytest.mark.parametrize("threads", [0, 2])
def test_loops_share_the_connections(threads: int) -> None:
    idents = set()

    class Noting(Server):
        def verify_request(self, request: Any, client_address: Any) -> bool:
            idents.add(threading.get_ident())
            return True

    before = open_descriptors()
    server = Noting(("127.0.0.1", 0), loops=2, threads=threads)
    server.set_app(path_app)
    with running(server), ExitStack() as stack:
        with client_of(server) as client:  # from now on all loops listen
            client.ask()
        # That all of 64 fall to one loop does not happen.
        clients = [stack.enter_context(client_of(server)) for _ in range(64)]
        for number, client in enumerate(clients):
            client.send(f"/{number}")
        for number, client in enumerate(clients):
            assert client.receive().body == f"/{number}".encode()
    assert len(idents) == 2
    assert open_descriptors() == before


def test_loops_share_the_limit_of_connections() -> None:
    with serving(path_app, loops=2, max_connections=4) as server, ExitStack() as stack:
        ask(server)
        for _ in range(64):  # that all of them fall to one loop does not happen
            stack.enter_context(client_of(server))
        wait_until(lambda: [len(loop.peers) for loop in server._loops] == [2, 2])


def test_one_loop_of_several_calls_service_actions() -> None:
    called_by: list[int] = []

    class Acting(Server):
        def service_actions(self) -> None:
            called_by.append(threading.get_ident())

    server = Acting(("127.0.0.1", 0), loops=3)
    server.set_app(path_app)
    with running(server), ExitStack() as stack:
        for number in range(32):
            stack.enter_context(client_of(server)).ask(f"/{number}")
    assert called_by
    assert len(set(called_by)) == 1
