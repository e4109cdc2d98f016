"""Servers, connections and applications for tests: real sockets, and a stand-in for one."""

from __future__ import annotations

import io
import logging
import os
import queue
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from wsgiref import simple_server as original

from wsgiref_fast.simple_server import WSGIRequestHandler, WSGIServer, make_server

#: Seconds after which a test that waits has failed.
PATIENCE = 20.0

Application = Callable[..., Any]


class QuietHandler(WSGIRequestHandler):
    """A request handler that keeps its log lines in the server's ``log`` list."""

    def log_message(self, format: str, *args: Any) -> None:
        log: list[str] = self.server.__dict__.setdefault("log", [])
        log.append(format % args)


class KeepingHandler(QuietHandler):
    """The same, of connections that are kept."""

    protocol_version = "HTTP/1.1"


class OriginalHandler(original.WSGIRequestHandler):
    """The standard library's request handler, with its log in the server's ``log``."""

    log_message = QuietHandler.log_message


class OriginalServer(original.WSGIServer):
    """The standard library's server, which a test need not wait half a second for."""

    def serve_forever(self, poll_interval: float = 0.01) -> None:
        super().serve_forever(poll_interval)


class ClosingServer(WSGIServer):
    """A server that tells of each connection that it has closed."""

    def __init__(self, *args: Any) -> None:
        self.closed = threading.Semaphore(0)
        super().__init__(*args)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.closed.release()


@contextmanager
def serving(
    app: Application,
    server_class: type[WSGIServer] = WSGIServer,
    handler_class: type[WSGIRequestHandler] = QuietHandler,
    host: str = "127.0.0.1",
) -> Iterator[WSGIServer]:
    """Run a server's ``serve_forever()`` in a thread; it has a ``log`` list of lines."""
    server = make_server(host, 0, app, server_class, handler_class)
    server.__dict__.setdefault("log", [])
    with running(server):
        yield server


@contextmanager
def running(server: Any, **options: Any) -> Iterator[Any]:
    """Run a server's ``serve_forever()`` in a thread, with these arguments; close it."""
    thread = threading.Thread(target=server.serve_forever, kwargs=options)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join(PATIENCE)
        server.server_close()
    assert not thread.is_alive()


@contextmanager
def connected(server: WSGIServer) -> Iterator[socket.socket]:
    """Open a connection to a server."""
    address: Any = server.server_address
    with socket.create_connection(address[:2], PATIENCE) as connection:
        yield connection


def receive_all(connection: socket.socket) -> bytes:
    """Read until the peer has closed."""
    blocks = []
    while block := connection.recv(65536):
        blocks.append(block)
    return b"".join(blocks)


def receive_to_the_end(connection: socket.socket) -> None:
    """Read until the peer has closed, in order or, where bytes were left unread, not."""
    try:
        receive_all(connection)
    except ConnectionError:
        pass


def is_closed(connection: socket.socket) -> bool:
    """Wait for the connection's end; nothing more may come before."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def reset_at_close(connection: socket.socket) -> None:
    """Have a connection end, once it is closed, as that of a client that crashes."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def reset(connection: socket.socket) -> None:
    """Close a connection as a client that crashes does."""
    reset_at_close(connection)
    connection.close()


def exchange(server: WSGIServer, request: bytes) -> bytes:
    """Send bytes on a connection of their own; return all that comes back."""
    with connected(server) as connection:
        connection.sendall(request)
        return receive_all(connection)


def split_response(response: bytes) -> tuple[str, list[tuple[str, str]], bytes]:
    """Split one response into status line, headers and body."""
    head, _, body = response.partition(b"\r\n\r\n")
    status, *lines = head.decode("iso-8859-1").split("\r\n")
    headers = []
    for line in lines:
        name, _, value = line.partition(": ")
        headers.append((name, value))
    return status, headers, body


class StubSocket:
    """A request with ``makefile`` and ``sendall`` alone, as test suites pass to handlers."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.sent: list[bytes] = []

    def makefile(self, mode: str, bufsize: int = -1) -> io.BufferedReader:
        return io.BufferedReader(io.BytesIO(self.request))

    def sendall(self, data: bytes) -> None:
        self.sent.append(bytes(data))


def hello_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Answer with a fixed page."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"Hello, world!"]


def path_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Answer with the path: responses that are swapped are noticed."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["PATH_INFO"].encode()]


def run_isolated(script: Path, implementation: str, *arguments: str) -> tuple[int, list[str]]:
    """Run a script on one implementation in a process of its own; return status and lines."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "faulthandler", str(script), *arguments],
        env={**os.environ, "WSGIREF_FAST_IMPL": implementation},
        capture_output=True,
        text=True,
        timeout=30 * PATIENCE,  # a machine under load is slow, and no failure
    )
    assert done.stderr == "", done.stderr
    return done.returncode, done.stdout.splitlines()


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what nobody tells of."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        select.select([], [], [], 0.005)


def open_descriptors() -> int:
    """Count the descriptors that this process has open."""
    return len(os.listdir("/dev/fd"))


@contextmanager
def program(
    implementation: str, script: str, *arguments: str, **options: Any
) -> Iterator[subprocess.Popen[str]]:
    """Run a script; what it writes can be read."""
    with subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "WSGIREF_FAST_IMPL": implementation},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


class Lines(logging.Handler):
    """Keeps the lines of a log, for whoever waits for them."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: queue.Queue[str] = queue.Queue()

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.put(record.getMessage())

    def next(self) -> str:
        return self._lines.get(timeout=PATIENCE)

    def is_empty(self) -> bool:
        return self._lines.empty()


@contextmanager
def logged(name: str) -> Iterator[Lines]:
    """Keep the lines of a log; give it its level back."""
    logger, lines = logging.getLogger(name), Lines()
    level = logger.level
    logger.addHandler(lines)
    try:
        yield lines
    finally:
        logger.removeHandler(lines)
        logger.setLevel(level)


#: Ports that nobody is given who asks for any; processes that test at once begin elsewhere.
_PORTS = iter(range(12000 + os.getpid() * 37 % 10000, 32000))


def find_port() -> int:
    """Return a free port, for a program that can't choose one and say which."""
    return next(filter(_is_free, _PORTS))


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def has_ipv6() -> bool:
    """Tell whether this machine has a loopback address of IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
