"""Slow and greedy clients of the HTTP/1.1 server: the others do not wait, and little is held."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from http11 import SOON, Client, Endless, ask, client_of, echo_app, large_app, serving
from support import PATIENCE, connected, open_descriptors, wait_until

pytestmark = pytest.mark.usefixtures("implementation")

# One slow party of each kind, some dozens of times

#: What they begin with, and how they go on.
PARTIES = {
    "silent": (b"", b""),
    "request line": (b"GET /", b"a"),
    "head": (b"GET / HTTP/1.1\r\nA: ", b"a"),
    "body": (b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\n", b"a"),
    "chunked body": (
        b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n",
        b"a",
    ),
    "reads nothing": (b"GET /endless HTTP/1.1\r\nHost: here\r\n\r\n", b""),
    "reads nothing of a file": (b"GET /large HTTP/1.1\r\nHost: here\r\n\r\n", b""),
}


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("kind", PARTIES)
def test_slow_parties_cost_the_others_nothing(tmp_path: Path, kind: str, threads: int) -> None:
    first, further = PARTIES[kind]
    endless = Endless()
    file = tmp_path / "file"
    with file.open("wb") as it:
        it.truncate(1 << 30)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/large":
            start_response("200 OK", [])
            wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](file.open("rb"))
            return wrapped
        return endless(environ, start_response)

    before = open_descriptors()
    with (
        serving(app, threads=threads, shutdown_timeout=SOON) as server,
        ExitStack() as stack,
        client_of(server) as kept,
    ):
        parties = [stack.enter_context(connected(server)) for _ in range(24)]
        for party in parties:
            party.sendall(first)
        for _ in range(5):
            for party in parties:
                party.sendall(further)
            assert kept.ask().status == 200
            assert ask(server).status == 200
        stack.close()
        wait_until(lambda: endless.closed == endless.begun)
    wait_until(lambda: open_descriptors() == before)


# Whoever keeps it busy


def test_blocks_without_bytes_stop_nobody_else() -> None:
    is_set = threading.Event()

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        if environ["PATH_INFO"] == "/set":
            is_set.set()
        while not is_set.is_set():
            yield b""
        yield b"done"

    with serving(app) as server, client_of(server) as waiting, client_of(server) as other:
        waiting.send("/wait")
        assert other.ask("/set").body == b"done"
        assert waiting.receive().body == b"done"


@pytest.mark.parametrize("kind", ["blocks", "file"])
def test_a_client_that_takes_all_leaves_room_for_others(tmp_path: Path, kind: str) -> None:
    asked = threading.Event()
    order = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if environ["PATH_INFO"] == "/small":
            order.append("small")
            start_response("200 OK", [])
            return [b"small"]
        start_response("200 OK", [])
        if kind == "file":
            return environ["wsgi.file_wrapper"]((tmp_path / "large").open("rb"))
        return blocks()

    def blocks() -> Iterator[bytes]:
        for number in range(2000):
            if number == 50:
                assert asked.wait(PATIENCE)  # in the loop: what others send is here from now on
            yield b"x" * 65536
        order.append("large")

    with (tmp_path / "large").open("wb") as file:
        file.truncate(2000 * 65536)
    with serving(app) as server, client_of(server) as large, client_of(server) as small:
        reader = threading.Thread(target=large.ask, args=("/large",))
        reader.start()
        small.send("/small")
        asked.set()
        assert small.receive().body == b"small"
        if kind == "blocks":
            assert order == ["small"]
        reader.join(PATIENCE)
        assert not reader.is_alive()


# What a client is late to take


@pytest.mark.parametrize("threads", [0, 2])
def test_who_takes_a_large_block_slowly_gets_all_of_it(threads: int) -> None:
    with serving(large_app, threads=threads) as server, client_of(server) as client:
        client.send(f"/?{32 << 20}")
        client.send("/?3")
        assert ask(server, "/?2").body == b"aa"  # others do not wait for that
        assert len(client.receive().body) == 32 << 20
        assert client.receive().body == b"aaa"


def test_what_a_late_response_held_is_forgotten() -> None:
    with serving(large_app) as server, client_of(server) as client:
        for _ in range(3):
            assert len(client.ask(f"/?{8 << 20}").body) == 8 << 20
        assert client.ask("/?1").status == 200
        (peer,) = server._loops[0].peers.values()
        wait_until(lambda: peer._outbox.held == 0)


def test_a_100_that_is_not_taken_at_once_is_sent_later() -> None:
    with serving(echo_app) as server, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(PATIENCE)
        connection.connect(server.server_address)
        wait_until(lambda: bool(server._loops and server._loops[0].peers))
        (peer,) = server._loops[0].peers.values()
        filling, before = 0, -1
        while filling != before:  # what it sends slowly makes room again
            before = filling
            select.select([], [], [], SOON)
            for size in (1000, 1):
                try:
                    while True:
                        filling += peer.sock.send(b"x" * size)
                except BlockingIOError:
                    pass
        client = Client(connection)
        client.send("/", "Content-Length: 2", "Expect: 100-continue", method="POST")
        wait_until(lambda: peer.is_blocked)
        assert client.file.read(filling) == b"x" * filling
        assert client.file.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert client.file.readline() == b"\r\n"
        connection.sendall(b"ab")
        assert client.receive().body == b"ab"


def test_what_an_application_writes_for_who_reads_nothing_goes_to_a_file() -> None:
    held = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        write = start_response("200 OK", [])
        for _ in range(300):
            write(b"x" * 65536)
        held.append(
            max(peer._outbox.held for loop in server._loops for peer in loop.peers.values())
        )
        return []

    with serving(app) as server, client_of(server) as client:
        client.send("/")
        wait_until(lambda: bool(held))
        assert held[0] < 2 << 20
        assert client.receive().body == b"x" * 65536 * 300
