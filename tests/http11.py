"""The HTTP/1.1 server for tests: it runs in a thread, and clients ask."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from support import PATIENCE, Application, running
from wsgiref_fast.server import Server

#: Seconds that are over soon; that leave a client on a busy machine time to speak before; and
#: such that a test would have failed before.
SOON, AWHILE, LATER = 0.15, 0.75, 6 * PATIENCE


@contextmanager
def serving(app: Application, address: Any = ("127.0.0.1", 0), **options: Any) -> Iterator[Server]:
    """Run the server of an application in a thread; close it."""
    server = Server(address, **options)
    server.set_app(app)
    with running(server):
        yield server


class Answer(NamedTuple):
    """What a client has received."""

    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """One connection: requests out, responses in."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.file = connection.makefile("rb")

    def send(self, target: str = "/", *fields: str, method: str = "GET") -> None:
        lines = [f"{method} {target} HTTP/1.1", "Host: here", *fields, "", ""]
        self.connection.sendall("\r\n".join(lines).encode())

    def receive(self) -> Answer:
        status = int(self.file.readline().split(b" ")[1])
        headers = {}
        while (line := self.file.readline()) != b"\r\n":
            name, _, value = line.decode("iso-8859-1").rstrip("\r\n").partition(": ")
            headers[name.lower()] = value
        if headers.get("transfer-encoding") == "chunked":
            return Answer(status, headers, self._receive_chunks())
        length = int(headers["content-length"])
        body = self.file.read(length)
        assert len(body) == length
        return Answer(status, headers, body)

    def _receive_chunks(self) -> bytes:
        blocks = []
        while size := int(self.file.readline(), 16):
            blocks.append(self.file.read(size))
            assert self.file.readline() == b"\r\n"
        assert self.file.readline() == b"\r\n"
        return b"".join(blocks)

    def ask(self, target: str = "/", *fields: str, method: str = "GET") -> Answer:
        self.send(target, *fields, method=method)
        return self.receive()

    def is_closed(self) -> bool:
        """Wait for the connection's end; nothing more may come before."""
        try:
            return self.file.read(1) == b""
        except ConnectionError:
            return True


@contextmanager
def client_of(server: Any, family: int = socket.AF_INET) -> Iterator[Client]:
    """Open a connection to a server, or to the Unix socket at a path."""
    with socket.socket(family) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(server if isinstance(server, str) else server.server_address)
        client = Client(connection)
        with client.file:
            yield client


def ask(server: Any, target: str = "/", *fields: str) -> Answer:
    """Send a request on a connection of its own."""
    with client_of(server) as client:
        return client.ask(target, *fields)


def echo_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Answer with the request's body."""
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body]


def large_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Answer with as many bytes as the query says, or with many."""
    start_response("200 OK", [])
    return [b"a" * int(environ["QUERY_STRING"] or 32 << 20)]


class Endless:
    """An application whose response has no end; it counts those that were closed."""

    def __init__(self, block: bytes = b"a" * 65536) -> None:
        self._block = block
        self.begun = self.closed = 0
        self.is_closed = threading.Event()

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/endless":
            return echo_app(environ, start_response)
        self.begun += 1
        start_response("200 OK", [])
        return self._blocks()

    def _blocks(self) -> Iterator[bytes]:
        try:
            while True:
                yield self._block
        finally:
            self.closed += 1
            self.is_closed.set()
