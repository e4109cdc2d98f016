"""What a program can change in the HTTP/1.1 server: its application, its hooks, its class."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from http11 import SOON, Client, ask, client_of, serving
from support import PATIENCE, Lines, open_descriptors, path_app, running
from wsgiref_fast.server import Server
from wsgiref_fast.simple_server import make_server

pytestmark = pytest.mark.usefixtures("implementation")


def test_the_application_can_be_changed_at_run_time() -> None:
    def other_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", [])
        return [b"other"]

    with serving(path_app) as server, client_of(server) as client:
        assert client.ask("/1").body == b"/1"
        server.set_app(other_app)
        assert server.get_app() is other_app
        assert client.ask("/1").body == b"other"
        assert ask(server).body == b"other"


def test_without_an_application_it_answers_500(
    errors: Lines, capsys: pytest.CaptureFixture[str]
) -> None:
    with Server(("127.0.0.1", 0)) as server, running(server):
        assert ask(server).status == 500
        server.set_app(path_app)
        assert ask(server).status == 200


def test_what_the_base_environ_says_is_not_the_request_s() -> None:
    with serving(path_app) as server, client_of(server) as client:
        server.base_environ["HTTP_HOST"] = "other"
        server.base_environ["HTTP_CONNECTION"] = "close"
        assert client.ask("/1").headers.get("connection") is None
        client.connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert client.receive().status == 400
        assert client.is_closed()


def test_service_actions_is_called_without_clients_too() -> None:
    called = threading.Semaphore(0)

    class Acting(Server):
        def service_actions(self) -> None:
            called.release()

    server = Acting(("127.0.0.1", 0))
    with running(server, poll_interval=0.01):
        for _ in range(5):
            assert called.acquire(timeout=PATIENCE)


def test_it_may_look_around_only_when_something_happens() -> None:
    server = Server(("127.0.0.1", 0), keep_alive_timeout=SOON)
    server.set_app(path_app)
    with running(server, poll_interval=None):
        assert ask(server, "/1").body == b"/1"
        with client_of(server) as client:
            assert client.ask("/2").body == b"/2"
            assert client.is_closed()
        assert ask(server, "/3").body == b"/3"


def test_verify_request_turns_clients_away() -> None:
    refused: set[Any] = set()

    class Choosy(Server):
        def verify_request(self, request: Any, client_address: Any) -> bool:
            assert request.getpeername() == client_address
            return client_address not in refused

    server = Choosy(("127.0.0.1", 0))
    server.set_app(path_app)
    with running(server):
        assert ask(server).status == 200
        with socket.socket() as connection:
            connection.settimeout(PATIENCE)
            connection.bind(("127.0.0.1", 0))
            refused.add(connection.getsockname())
            connection.connect(server.server_address)
            client = Client(connection)
            assert client.is_closed()
            client.file.close()
        assert ask(server).status == 200


def test_a_hook_that_fails_costs_that_client_alone(errors: Lines) -> None:
    class Failing(Server):
        def verify_request(self, request: Any, client_address: Any) -> bool:
            if not self.__dict__.pop("is_fine", False):
                raise RuntimeError("no")
            return True

    server = Failing(("127.0.0.1", 0))
    server.set_app(path_app)
    before = open_descriptors()
    with running(server):
        with client_of(server) as client:
            assert client.is_closed()
        assert "error" in errors.next()
        server.__dict__["is_fine"] = True
        assert ask(server).status == 200
    assert open_descriptors() == before - 1


def test_make_server_makes_one() -> None:
    server = make_server("127.0.0.1", 0, path_app, server_class=Server)
    assert isinstance(server, Server)
    with running(server), client_of(server) as client:
        assert client.ask("/1").body == b"/1"
        assert client.ask("/2").body == b"/2"


def test_make_server_takes_one_with_options() -> None:
    server_class: Any = partial(Server, threads=1)
    server = make_server("127.0.0.1", 0, path_app, server_class=server_class)
    with running(server):
        assert ask(server, "/1").body == b"/1"
