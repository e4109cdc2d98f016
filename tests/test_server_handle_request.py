"""One request at a time: `handle_request()` of the HTTP/1.1 server."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from http11 import SOON, client_of, large_app
from support import PATIENCE, path_app
from wsgiref_fast.server import Server

pytestmark = pytest.mark.usefixtures("implementation")


@pytest.mark.parametrize("timeout_of", ["server", "socket"])
def test_handle_request_waits_so_long(timeout_of: str) -> None:
    calls = []

    class Timed(Server):
        def handle_timeout(self) -> None:
            calls.append("timeout")

    with Timed(("127.0.0.1", 0)) as server:
        server.set_app(path_app)
        if timeout_of == "server":
            server.timeout = SOON
        else:
            server.socket.settimeout(SOON)
        thread = threading.Thread(target=server.handle_request, daemon=True)
        thread.start()
        thread.join(PATIENCE / 4)
        assert not thread.is_alive()
        assert calls == ["timeout"]
        with client_of(server) as client:
            client.send("/1")
            server.handle_request()
            assert client.receive().body == b"/1"
        assert calls == ["timeout"]


@pytest.mark.parametrize("threads", [0, 2])
def test_handle_request_serves_one_request_each(threads: int) -> None:
    """Who has come meanwhile is served by the next call."""
    called = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        called.append(environ["PATH_INFO"])
        return path_app(environ, start_response)

    with Server(("127.0.0.1", 0), threads=threads) as server, ExitStack() as stack:
        server.set_app(app)
        server.timeout = PATIENCE
        clients = [stack.enter_context(client_of(server)) for _ in range(5)]
        for number, client in enumerate(clients):
            client.send(f"/{number}", "Connection: close")
        for count in range(1, 6):
            server.handle_request()
            assert len(called) == count
        for number, client in enumerate(clients):
            assert client.receive().body == f"/{number}".encode()
            assert client.is_closed()


@pytest.mark.parametrize("threads", [0, 2])
def test_handle_request_sends_all_of_a_response(threads: int) -> None:
    with Server(("127.0.0.1", 0), threads=threads) as server, client_of(server) as client:
        server.set_app(large_app)
        client.send(f"/?{16 << 20}", "Connection: close")
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert len(client.receive().body) == 16 << 20
        thread.join(PATIENCE)
        assert not thread.is_alive()
