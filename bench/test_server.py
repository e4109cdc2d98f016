"""A server on the loopback interface: requests, its start and its end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter, sleep

import pytest

from . import subjects
from .inputs import BROWSER
from .ratios import Ratios
from .serving import hello_app
from .subjects import Subject

_ROUNDS = 31
_REQUESTS = 100
_STARTS = 11
_IDLE = 0.02


@contextmanager
def _serving(subject: str, protocol: str) -> Iterator[int]:
    """Run a server in a process of its own; yield its port."""
    package = "wsgiref" if subject == "stdlib" else "wsgiref_fast"
    script = Path(__file__).with_name("serving.py")
    environ = os.environ | {"WSGIREF_FAST_IMPL": "auto" if subject == "stdlib" else subject}
    with subprocess.Popen(
        [sys.executable, "-I", str(script), package, protocol],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.communicate()
    assert process.returncode == 0


class Client:
    """Send a request many times, each time on a new connection unless the last one goes on."""

    def __init__(self, port: int) -> None:
        self._address = ("127.0.0.1", port)
        self._connection: socket.socket | None = None

    def ask(self) -> bytes:
        """Return the response to one request."""
        connection = self._connection or self._connect()
        connection.sendall(BROWSER)
        response = connection.recv(65536)
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

    def _connect(self) -> socket.socket:
        connection = socket.socket()  # without the look-ups of create_connection()
        connection.connect(self._address)
        return connection

    def time(self) -> float:
        """Return the seconds that a request of a round takes."""
        start = perf_counter()
        for _ in range(_REQUESTS):
            self.ask()
        return (perf_counter() - start) / _REQUESTS

    def close(self) -> None:
        """Give up the connection that goes on, if there is one."""
        if self._connection is not None:
            self._connection.close()


@pytest.mark.parametrize(
    ("case", "protocol"),
    [("loopback, a connection each", "1.0"), ("loopback, HTTP/1.1 if it may", "1.1")],
)
def test_loopback(case: str, protocol: str, ratios: Ratios) -> None:
    rounds: dict[str, list[float]] = {name: [] for name in subjects.names()}
    with ExitStack() as stack:
        clients = {name: Client(stack.enter_context(_serving(name, protocol))) for name in rounds}
        for client in clients.values():
            stack.callback(client.close)
            response = client.ask()
            assert b" 200 OK\r\n" in response
            assert response.endswith(b"\r\n\r\nHello, world!\n")
            client.time()
        for _ in range(_ROUNDS):
            for name, client in clients.items():
                rounds[name].append(client.time())
    ratios.add(case, rounds)


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


@pytest.mark.usefixtures("_unlogged")
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
