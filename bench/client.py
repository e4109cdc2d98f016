"""A client that adds as little as can be to the time of a request."""

from __future__ import annotations

import socket
from time import perf_counter

from .inputs import BROWSER


class Client:
    """Send a request many times, each time on a new connection unless the last one goes on."""

    def __init__(self, port: int, request: bytes = BROWSER) -> None:
        self._address = ("127.0.0.1", port)
        self._request = request
        self._connection: socket.socket | None = None

    def ask(self) -> bytes:
        """Return the response to one request: the page that all servers have."""
        connection = self._connection or connect(self._address)
        connection.sendall(self._request)
        response = connection.recv(65536)
        assert b" 200 OK\r\n" in response, response
        while not response.endswith(b"Hello, world!\n"):
            block = connection.recv(65536)
            if not block:
                break
            response += block
        if response.startswith(b"HTTP/1.1") and b"\r\nConnection: close\r\n" not in response:
            self._connection = connection
        else:
            self._connection = None
            connection.recv(1)  # the server closes first
            connection.close()
        return response

    def time(self, requests: int) -> float:
        """Return the seconds that a request of a round takes."""
        start = perf_counter()
        for _ in range(requests):
            self.ask()
        return (perf_counter() - start) / requests

    def close(self) -> None:
        """Give up the connection that goes on, if there is one."""
        if self._connection is not None:
            self._connection.close()


class Downloader:
    """Fetch something large, each time on a new connection and into the same memory."""

    def __init__(self, port: int, most: int) -> None:
        self._address = ("127.0.0.1", port)
        self._room = memoryview(bytearray(most + 4096))

    def fetch(self) -> memoryview:
        """Return a response; it is overwritten by the next one."""
        with connect(self._address) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            size = 0
            while received := connection.recv_into(self._room[size:]):
                size += received
        return self._room[:size]

    def time(self, fetches: int) -> float:
        """Return the seconds that a response of a round takes."""
        start = perf_counter()
        for _ in range(fetches):
            self.fetch()
        return (perf_counter() - start) / fetches


def connect(address: tuple[str, int]) -> socket.socket:
    """Return a connection, without the look-ups of `socket.create_connection`."""
    connection = socket.socket()
    connection.connect(address)
    return connection
