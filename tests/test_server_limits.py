"""What the HTTP/1.1 server can have at once: connections, and descriptors."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import Any

import pytest

from http11 import LATER, Client, client_of
from support import PATIENCE, path_app, program, running
from wsgiref_fast.server import Server

pytestmark = pytest.mark.usefixtures("implementation")


def test_further_connections_wait_in_the_backlog() -> None:
    accepted = []

    class Noting(Server):
        def verify_request(self, request: Any, client_address: Any) -> bool:
            accepted.append(client_address)
            return True

    server = Noting(("127.0.0.1", 0), max_connections=2, keep_alive_timeout=LATER)
    server.set_app(path_app)
    with running(server), ExitStack() as stack:
        first, second = (stack.enter_context(client_of(server)) for _ in range(2))
        assert first.ask("/1").body == b"/1"
        assert second.ask("/2").body == b"/2"
        waiting = [stack.enter_context(client_of(server)) for _ in range(5)]
        for number, client in enumerate(waiting):
            client.send(f"/waiting{number}")
        assert first.ask("/3").body == b"/3"  # it serves on
        assert second.ask("/4").body == b"/4"
        assert len(accepted) == 2
        first.connection.shutdown(socket.SHUT_RDWR)
        for number, client in enumerate(waiting):
            assert client.receive().body == f"/waiting{number}".encode()
            client.connection.shutdown(socket.SHUT_RDWR)
        assert second.ask("/5").body == b"/5"


NEEDY = """
import os, resource, sys
from wsgiref_fast.server import Server

def app(environ, start_response):
    start_response("200 OK", [])
    return [environ["PATH_INFO"].encode()]

server = Server(("127.0.0.1", 0), threads=int(sys.argv[1]))
server.set_app(app)
limit = len(os.listdir("/dev/fd")) + 12
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
print(server.server_port, flush=True)
server.serve_forever()
"""


@pytest.mark.parametrize("threads", ["0", "2"])
def test_without_descriptors_it_waits_for_some(implementation: str, threads: str) -> None:
    pytest.importorskip("resource")
    with program(implementation, NEEDY, threads) as process, ExitStack() as stack:
        assert process.stdout is not None
        assert process.stderr is not None
        address = ("127.0.0.1", int(process.stdout.readline()))
        clients = []
        for number in range(24):
            connection = socket.create_connection(address, PATIENCE)
            clients.append(Client(stack.enter_context(connection)))
            clients[-1].send(f"/{number}")
        assert "cannot accept" in process.stderr.readline()
        for number, client in enumerate(clients):
            assert client.receive().body == f"/{number}".encode()
            client.file.close()
            client.connection.close()
        assert process.poll() is None
