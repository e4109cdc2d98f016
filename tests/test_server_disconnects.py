"""Clients of the HTTP/1.1 server that go: at any byte, and in the midst of a response."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from http11 import Endless, ask, client_of, serving
from support import PATIENCE, connected, open_descriptors, receive_all, reset_at_close, wait_until

pytestmark = pytest.mark.usefixtures("implementation")


class Closing:
    """A response that is closed once, whatever becomes of the client."""

    def __init__(self, counts: list[int], blocks: list[bytes]) -> None:
        self._blocks = iter(blocks)
        self._counts = counts

    def __iter__(self) -> Iterator[bytes]:
        return self._blocks

    def close(self) -> None:
        self._counts[1] += 1


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("way", ["close", "reset"])
def test_who_goes_at_any_byte_leaves_nothing_behind(threads: int, way: str) -> None:
    counts = [0, 0]

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        counts[0] += 1
        body = environ["wsgi.input"].read()
        start_response("200 OK", [])
        return Closing(counts, [b"one", body, b"two"])

    request = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\nbody"
    before = open_descriptors()
    with serving(app, threads=threads) as server:
        with connected(server) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            response = receive_all(connection)
        assert response.endswith(b"\r\n0\r\n\r\n")
        with client_of(server) as client:
            assert client.ask().status == 200
            served = open_descriptors() - 2  # without both ends of this one
        for size in range(len(request)):
            with connected(server) as connection:
                connection.sendall(request[:size])
                if way == "reset":
                    reset_at_close(connection)
        for size in range(len(response) - len("Connection: close\r\n")):
            with connected(server) as connection:
                connection.sendall(request)
                for _ in range(size):
                    assert len(connection.recv(1)) == 1
                if way == "reset":
                    reset_at_close(connection)
        wait_until(lambda: open_descriptors() == served)
        wait_until(lambda: counts[0] == counts[1])
        assert ask(server).status == 200
    assert open_descriptors() == before


@pytest.mark.parametrize("threads", [0, 2])
def test_who_goes_in_the_midst_of_a_stream_ends_it(threads: int) -> None:
    app = Endless(b"a" * 1000)
    with serving(app, threads=threads) as server:
        for size in (1, 1000, 100_000):
            with connected(server) as connection:
                connection.sendall(b"GET /endless HTTP/1.1\r\nHost: here\r\n\r\n")
                received = 0
                while received < size:
                    received += len(connection.recv(1000))
            assert app.is_closed.wait(PATIENCE)
            app.is_closed.clear()
            assert ask(server).status == 200
        assert app.begun == app.closed == 3
