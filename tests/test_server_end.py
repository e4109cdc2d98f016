"""How the HTTP/1.1 server ends, by `shutdown()`: what is finished, what is cut, who is refused."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import pytest

from http11 import LATER, SOON, ask, client_of, echo_app, large_app, serving
from support import PATIENCE, open_descriptors, path_app, wait_until
from wsgiref_fast.server import Server

pytestmark = pytest.mark.usefixtures("implementation")


class Gate:
    """An application that tells when it was called, and answers when it may."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.opened = threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        if environ["PATH_INFO"] == "/wait":
            self.begun.release()
            assert self.opened.wait(PATIENCE)
        return path_app(environ, start_response)

    def wait(self) -> None:
        assert self.begun.acquire(timeout=PATIENCE)


@pytest.mark.parametrize("options", [{}, {"threads": 4}, {"loops": 2}, {"loops": 2, "threads": 2}])
def test_no_request_that_was_begun_is_lost(options: dict[str, Any]) -> None:
    for _ in range(6):
        begun: list[str] = []
        finished: list[str] = []
        some = threading.Semaphore(0)

        def app(
            environ: dict[str, Any],
            start_response: Callable[..., Any],
            begun: list[str] = begun,
            some: threading.Semaphore = some,
        ) -> Iterable[bytes]:
            begun.append(environ["PATH_INFO"])
            some.release()
            start_response("200 OK", [])
            size = int(environ["QUERY_STRING"])
            return [b"a" * size] if size % 2 else iter([b"a" * size, b"b" * 100])

        def load(name: str, server: Server, finished: list[str] = finished) -> None:
            number = 0
            try:
                while True:
                    with client_of(server) as client:
                        is_last = False
                        while not is_last:
                            number += 1
                            size = (number * 7919) % 5 * 50_001
                            answer = client.ask(f"/{name}/{number}?{size}")
                            assert len(answer.body) == size + (0 if size % 2 else 100)
                            finished.append(f"/{name}/{number}")
                            is_last = answer.headers.get("connection") == "close"
            except (OSError, IndexError):
                pass  # it does not accept any more; or has not taken this one

        server = Server(("127.0.0.1", 0), **options)
        server.set_app(app)
        thread = threading.Thread(target=server.serve_forever)
        clients = [threading.Thread(target=load, args=(str(number), server)) for number in range(8)]
        for one in (thread, *clients):
            one.start()
        for _ in range(50):
            assert some.acquire(timeout=PATIENCE)
        server.shutdown()
        server.server_close()
        for one in (thread, *clients):
            one.join(PATIENCE)
            assert not one.is_alive()
        assert sorted(begun) == sorted(finished)


def test_shutdown_finishes_what_is_under_way_and_closes_idle_ones_at_once() -> None:
    gate = Gate()
    options = {"keep_alive_timeout": LATER, "header_timeout": LATER, "shutdown_timeout": LATER}
    with (
        serving(gate, threads=2, **options) as server,
        client_of(server) as busy,
        client_of(server) as idle,
        client_of(server) as silent,
    ):
        busy.send("/wait")
        gate.wait()
        assert "connection" not in idle.ask("/1").headers
        ending = threading.Thread(target=server.shutdown)
        ending.start()
        assert idle.is_closed()
        assert silent.is_closed()
        assert ending.is_alive()
        gate.opened.set()
        answer = busy.receive()
        ending.join(PATIENCE)
        assert not ending.is_alive()
        assert answer.body == b"/wait"
        assert answer.headers.get("connection") == "close"
        assert busy.is_closed()


@pytest.mark.parametrize("threads", [0, 2])
def test_the_first_request_of_a_new_connection_may_be_on_the_way(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsgiref_fast._http11.loop._GRACE", LATER)
    with (
        serving(echo_app, threads=threads) as server,
        client_of(server) as new,
        client_of(server) as idle,
    ):
        assert idle.ask().status == 200  # the other one was accepted before
        ending = threading.Thread(target=server.shutdown)
        ending.start()
        assert idle.is_closed()
        new.send()
        answer = new.receive()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        ending.join(PATIENCE)
        assert not ending.is_alive()


def test_who_was_not_yet_accepted_has_time_for_a_first_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("wsgiref_fast._http11.loop._GRACE", LATER)
    entered, go_on = threading.Event(), threading.Event()

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        if environ["PATH_INFO"] == "/wait":
            entered.set()
            assert go_on.wait(PATIENCE)
        return path_app(environ, start_response)

    options = {"header_timeout": 3 * LATER, "shutdown_timeout": LATER}
    with serving(app, **options) as server, client_of(server) as busy:
        busy.send("/wait")
        assert entered.wait(PATIENCE)
        with client_of(server) as new:  # while the loop accepts nobody
            server.stop()
            go_on.set()
            assert busy.receive().body == b"/wait"
            wait_until(lambda: all(loop.is_ending for loop in server._loops))
            new.send("/new")
            assert new.receive().body == b"/new"


@pytest.mark.parametrize("threads", [0, 2])
def test_connections_that_wait_may_send_one_more_request_while_it_drains(threads: int) -> None:
    options = {"keep_alive_timeout": LATER, "header_timeout": LATER, "drain_timeout": LATER}
    with (
        serving(echo_app, threads=threads, **options) as server,
        client_of(server) as idle,
        client_of(server) as silent,
    ):
        server.ends_for_good = True
        assert "connection" not in idle.ask().headers
        ending = threading.Thread(target=server.shutdown)
        ending.start()
        wait_until(lambda: _refuses(server))
        for client in (idle, silent):
            answer = client.ask(method="POST")
            assert (answer.status, answer.headers.get("connection")) == (200, "close")
            assert client.is_closed()
        ending.join(PATIENCE)
        assert not ending.is_alive()


def test_connections_that_wait_are_closed_when_it_has_drained() -> None:
    options = {"keep_alive_timeout": LATER, "header_timeout": LATER, "drain_timeout": 0.05}
    with (
        serving(echo_app, **options) as server,
        client_of(server) as idle,
        client_of(server) as silent,
    ):
        assert "connection" not in idle.ask().headers
        server.shutdown()
        assert idle.is_closed()
        assert silent.is_closed()


def _refuses(server: Server) -> bool:
    try:
        with client_of(server):
            return False
    except ConnectionError:  # reset: it came just as the socket was closed
        return True


@pytest.mark.parametrize("threads", [0, 2])
def test_a_request_that_has_come_in_part_is_finished(threads: int) -> None:
    with (
        serving(echo_app, threads=threads) as server,
        client_of(server) as idle,
        client_of(server) as body,
        client_of(server) as head,
    ):
        assert idle.ask().status == 200
        body.send("/", "Content-Length: 4", method="POST")
        body.connection.sendall(b"ab")
        head.connection.sendall(b"GET / HTTP/1.1\r\nHo")
        # They were heard before this one was.
        assert ask(server).status == 200
        ending = threading.Thread(target=server.shutdown)
        ending.start()
        assert idle.is_closed()
        body.connection.sendall(b"cd")
        head.connection.sendall(b"st: here\r\n\r\n")
        for client, expected in ((body, b"abcd"), (head, b"")):
            answer = client.receive()
            assert answer.body == expected
            assert answer.headers["connection"] == "close"
            assert client.is_closed()
        ending.join(PATIENCE)
        assert not ending.is_alive()


@pytest.mark.parametrize("threads", [0, 2])
def test_a_response_that_is_being_taken_is_finished(threads: int) -> None:
    size = 16 << 20
    with (
        serving(large_app, threads=threads) as server,
        client_of(server) as client,
        client_of(server) as idle,
    ):
        assert idle.ask("/?1").status == 200
        client.send(f"/?{size}")
        assert client.file.peek(1)
        ending = threading.Thread(target=server.shutdown)
        ending.start()
        assert idle.is_closed()
        assert len(client.receive().body) == size
        assert client.is_closed()
        ending.join(PATIENCE)
        assert not ending.is_alive()


def test_what_is_not_finished_in_time_is_cut() -> None:
    gate = Gate()
    before = open_descriptors()
    with (
        serving(gate, threads=1, shutdown_timeout=SOON) as server,
        client_of(server) as client,
        client_of(server) as trickle,
    ):
        client.send("/wait")
        gate.wait()
        trickle.connection.sendall(b"GET / HTTP/1.1\r\n")
        server.shutdown()
        assert client.is_closed()
        assert trickle.is_closed()
        gate.opened.set()
    wait_until(lambda: open_descriptors() == before)


def test_nothing_is_accepted_while_it_ends() -> None:
    gate = Gate()
    with (
        serving(gate, threads=2, header_timeout=LATER) as server,
        client_of(server) as busy,
        client_of(server) as silent,
        ExitStack() as stack,
    ):
        busy.send("/wait")
        gate.wait()
        ending = threading.Thread(target=server.shutdown)
        ending.start()
        assert silent.is_closed()  # it is, after the last one was accepted
        late = stack.enter_context(client_of(server))
        late.send("/late")
        gate.opened.set()
        assert busy.receive().body == b"/wait"
        ending.join(PATIENCE)
        assert not select.select([late.connection], [], [], 0)[0]
        server.server_close()
        assert late.is_closed()


@pytest.mark.parametrize("threads", [0, 2])
def test_it_serves_again_after_shutdown(threads: int) -> None:
    before = open_descriptors()
    with Server(("127.0.0.1", 0), threads=threads) as server:
        server.set_app(path_app)
        for number in range(3):
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            assert ask(server, f"/{number}").body == f"/{number}".encode()
            server.shutdown()
            thread.join(PATIENCE)
            assert not thread.is_alive()
    assert open_descriptors() == before


def test_what_waits_in_the_backlog_is_served_by_the_next_serve_forever() -> None:
    with Server(("127.0.0.1", 0)) as server:
        server.set_app(path_app)
        with client_of(server) as client:
            client.send("/early")
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            assert client.receive().body == b"/early"
        server.shutdown()
        thread.join(PATIENCE)


def test_leaving_the_context_closes_the_socket() -> None:
    with Server(("127.0.0.1", 0)) as server:
        address: Any = server.server_address
        with socket.create_connection(address, PATIENCE):
            pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, PATIENCE)
