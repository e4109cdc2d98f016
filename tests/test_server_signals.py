"""Signals to a program that is in `serve()`: the first lets it finish, the second ends it."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import pytest

from http11 import Client
from support import PATIENCE, program

pytestmark = pytest.mark.usefixtures("implementation")

SIGNALLED = r"""
import sys
from wsgiref_fast import serve

def app(environ, start_response):
    if environ["PATH_INFO"] == "/wait":
        sys.stdout.write("begun\n")
        sys.stdout.flush()
        sys.stdin.readline()
    start_response("200 OK", [])
    return [environ["PATH_INFO"].encode()]

serve(app, "fd://" + sys.argv[1], threads=int(sys.argv[2]), keep_alive_timeout=120)
print("ended")
"""


class Signalled(NamedTuple):
    process: subprocess.Popen[str]
    address: Any

    @contextmanager
    def client(self) -> Iterator[Client]:
        with socket.create_connection(self.address, PATIENCE) as connection:
            client = Client(connection)
            with client.file:
                yield client

    def expect(self, line: str) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == line + "\n"

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()


@contextmanager
def signalled(implementation: str, threads: int) -> Iterator[Signalled]:
    """Run `serve` on an inherited socket, in a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.fileno()
        address = listener.getsockname()
        arguments = (str(number), str(threads))
        with program(implementation, SIGNALLED, *arguments, pass_fds=[number]) as process:
            listener.close()
            yield Signalled(process, address)


BY_SIGNAL = [signal.SIGTERM, signal.SIGINT]


@pytest.mark.parametrize("number", BY_SIGNAL)
def test_a_signal_ends_it_once_all_is_finished(implementation: str, number: int) -> None:
    with (
        signalled(implementation, 0) as it,
        it.client() as busy,
        it.client() as idle,
        it.client() as next_one,
    ):
        assert idle.ask("/1").headers.get("connection") is None
        next_one.connection.sendall(b"GET /next HTTP/1.1\r\n")
        assert idle.ask("/2").body == b"/2"
        busy.send("/wait")
        it.expect("begun")
        it.process.send_signal(number)
        it.go_on()
        for client, path in ((busy, b"/wait"), (next_one, b"/next")):
            if client is next_one:
                client.connection.sendall(b"Host: here\r\n\r\n")
            answer = client.receive()
            assert answer.body == path
            assert answer.headers.get("connection") == "close"
            assert client.is_closed()
        assert idle.is_closed()
        output, errors = it.process.communicate(timeout=PATIENCE)
        assert (output, errors, it.process.returncode) == ("ended\n", "", 0)


@pytest.mark.parametrize("number", BY_SIGNAL)
def test_a_signal_lets_threads_finish(implementation: str, number: int) -> None:
    with signalled(implementation, 2) as it, it.client() as busy, it.client() as idle:
        assert idle.ask("/1").headers.get("connection") is None
        busy.send("/wait")
        it.expect("begun")
        it.process.send_signal(number)
        assert idle.is_closed()
        it.go_on()
        answer = busy.receive()
        assert answer.body == b"/wait"
        assert answer.headers.get("connection") == "close"
        output, errors = it.process.communicate(timeout=PATIENCE)
        assert (output, errors, it.process.returncode) == ("ended\n", "", 0)


def test_who_comes_after_a_signal_is_refused(implementation: str) -> None:
    with signalled(implementation, 1) as it, it.client() as busy, it.client() as silent:
        busy.send("/wait")
        it.expect("begun")
        it.process.send_signal(signal.SIGTERM)
        assert silent.is_closed()  # it is, after the last one was accepted
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(it.address, PATIENCE)
        it.go_on()
        assert busy.receive().body == b"/wait"


@pytest.mark.parametrize("threads", [0, 1, 40])
def test_a_second_signal_ends_it_at_once(implementation: str, threads: int) -> None:
    """Whatever is under way, in however many threads."""
    with signalled(implementation, threads) as it, ExitStack() as stack:
        for _ in range(threads or 1):
            stack.enter_context(it.client()).send("/wait")
            it.expect("begun")
        it.process.send_signal(signal.SIGINT)
        it.process.send_signal(signal.SIGTERM)
        it.process.wait(PATIENCE / 2)


def test_serve_gives_the_signal_handlers_back(implementation: str) -> None:
    script = """
import os, signal, socket, threading
from wsgiref_fast import serve

def app(environ, start_response):
    start_response("200 OK", [])
    return [b"it"]

def end():
    with socket.create_connection(address) as connection:
        connection.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        while connection.recv(100):
            pass
    os.kill(os.getpid(), signal.SIGTERM)

listener = socket.create_server(("127.0.0.1", 0))
address = listener.getsockname()
before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
threading.Thread(target=end).start()
serve(app, f"fd://{listener.detach()}")
assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
print("so it is")
"""
    with program(implementation, script) as process:
        output, errors = process.communicate(timeout=PATIENCE)
    assert (output, errors) == ("so it is\n", "")
