"""What a server says of its work: `Server.stats`."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

import pytest

from support import connected, exchange, hello_app, receive_all, running, wait_until
from wsgiref_fast.server import Server, Stats

pytestmark = pytest.mark.usefixtures("implementation")

GET = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"


def make(app: Any = hello_app, **options: Any) -> Server:
    server = Server(("127.0.0.1", 0), **options)
    server.set_app(app)
    return server


def blocks_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    start_response("202 Accepted", [])
    yield b"one"
    yield b"two"


def missing_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    start_response("404 Not Found", [("Content-Length", "0")])
    return []


def test_a_server_that_has_done_nothing_says_so() -> None:
    with make() as server:
        stats = server.stats
    assert isinstance(stats, Stats)
    assert (stats.requests, stats.accepted, stats.received, stats.sent) == (0, 0, 0, 0)
    assert stats.responses == {}
    assert stats.errors == {}
    assert set(stats.connections) == {
        *("preface", "handshake", "idle", "reading", "answering", "closing")
    }
    assert set(stats.connections.values()) == {0}
    assert set(stats.timeouts) == {"head", "body", "idle", "send", "handshake"}
    assert stats.uptime >= 0
    assert "requests=0" in repr(stats)


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize(
    ("app", "status"),
    [(hello_app, 200), (blocks_app, 202), (missing_app, 404)],
    ids=["200", "202", "404"],
)
def test_requests_responses_and_bytes_are_counted(app: Any, status: int, threads: int) -> None:
    with make(app, threads=threads) as server, running(server):
        responses = [exchange(server, GET * 3 + LAST) for _ in range(5)]
        wait_until(lambda: not any(server.stats.connections.values()))
        stats = server.stats
    assert stats.requests == 20
    assert stats.responses == {status: 20}
    assert stats.errors == ({404: 20} if status == 404 else {})
    assert stats.accepted == 5
    assert stats.received == 5 * len(GET * 3 + LAST)
    assert stats.sent == sum(map(len, responses))


def test_an_error_of_the_application_is_one_of_500(capfd: pytest.CaptureFixture[str]) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        raise ValueError("on purpose")

    with make(app) as server, running(server):
        exchange(server, LAST)
        wait_until(lambda: server.stats.responses == {500: 1})
        assert server.stats.errors == {500: 1}
        assert server.stats.requests == 1
    assert "on purpose" in capfd.readouterr().err


def test_a_refusal_is_a_response_to_no_request() -> None:
    with make() as server, running(server):
        exchange(server, b"nonsense\r\n\r\n")
        exchange(server, LAST + b"never read")
        assert server.stats.responses == {200: 1, 400: 1}
        assert server.stats.requests == 1


def test_counts_outlive_the_loops_that_made_them() -> None:
    with make() as server:
        for turn in range(1, 4):
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                exchange(server, LAST)
            finally:
                server.shutdown()
                thread.join()
            assert server.stats.requests == turn
            assert server.stats.responses == {200: turn}
        assert server.stats.accepted == 3


def test_counts_of_several_loops_are_added() -> None:
    with make(loops=3) as server, running(server):
        for _ in range(24):
            exchange(server, LAST)
        assert server.stats.requests == 24
        assert server.stats.responses == {200: 24}


def test_connections_are_told_by_what_they_do() -> None:
    began: list[Any] = []

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        began.append(environ["PATH_INFO"])
        if environ["PATH_INFO"] == "/large":
            while True:
                yield b"x" * 65536
        yield b""

    with make(app) as server, running(server):

        def doing(name: str) -> int:
            return server.stats.connections[name]

        with connected(server) as idle, connected(server) as half, connected(server) as slow:
            idle.sendall(GET)
            wait_until(lambda: doing("idle") == 1 or doing("idle") == 3)
            half.sendall(GET[:10])
            wait_until(lambda: doing("reading") == 1)
            slow.sendall(GET.replace(b"/ ", b"/large "))
            wait_until(lambda: doing("answering") == 1)
            wait_until(lambda: doing("idle") == 1)
            with connected(server) as refused:
                refused.sendall(b"nonsense\r\n\r\n")
                wait_until(lambda: doing("closing") == 1)
        wait_until(lambda: not any(server.stats.connections.values()))


@pytest.mark.parametrize(
    ("kind", "sent", "options"),
    [
        ("head", b"GET / HT", {"header_timeout": 0.5}),  # so long a client may take to send it
        (
            "body",
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n",
            {"body_timeout": 0.05},
        ),
        ("idle", GET, {"keep_alive_timeout": 0.05}),
        ("idle", b"", {"header_timeout": 0.05}),
    ],
    ids=["head", "body", "kept", "new"],
)
def test_timeouts_are_told_by_kind(kind: str, sent: bytes, options: dict[str, float]) -> None:
    with make(**options) as server, running(server), connected(server) as connection:
        connection.sendall(sent)
        receive_all(connection)
        assert {k: n for k, n in server.stats.timeouts.items() if n} == {kind: 1}
        assert server.stats.responses.get(408, 0) == (kind in ("head", "body"))


def test_a_client_that_takes_nothing_is_a_timeout_of_sending() -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        while True:
            yield b"x" * 65536

    with make(app, send_timeout=0.05) as server, running(server), connected(server) as connection:
        connection.sendall(GET)
        wait_until(lambda: server.stats.timeouts["send"] == 1)


def test_a_handshake_that_stalls_is_a_timeout() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    options = {"ssl_context": context, "handshake_timeout": 0.05}
    with make(**options) as server, running(server), connected(server) as connection:
        wait_until(lambda: server.stats.timeouts["handshake"] == 1)
        assert connection.recv(1) == b""


def test_a_file_that_the_system_sends_is_counted(tmp_path: Any) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 300_000)

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", "300000")])
        return environ["wsgi.file_wrapper"](path.open("rb"))

    with make(app) as server, running(server):
        response = exchange(server, LAST)
        wait_until(lambda: server.stats.sent == len(response))
        assert len(response) > 300_000


def test_listeners_are_the_sockets_that_are_listened_on(tmp_path: Any) -> None:
    addresses: list[Any] = [("127.0.0.1", 0), ("127.0.0.1", 0)]
    if hasattr(socket, "AF_UNIX"):
        addresses.append(f"unix:{tmp_path}/socket")
    with Server(addresses) as server:
        assert server.listeners[0] is server.socket
        assert len(server.listeners) == len(addresses)
        for listener in server.listeners:
            assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
