"""Connections of the HTTP/1.1 server over TLS: handshakes, bodies, and how they end."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from certificates import CAN_BE_MADE, Contexts
from http11 import LATER, SOON, Answer, Client, client_of, echo_app, serving
from support import (
    PATIENCE,
    Lines,
    connected,
    open_descriptors,
    receive_all,
    reset_at_close,
    running,
    wait_until,
)
from wsgiref_fast.server import Server

pytestmark = pytest.mark.usefixtures("implementation")

_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"  # how a TLS handshake begins


@contextmanager
def encrypted(server: Server, contexts: Contexts) -> Iterator[Client]:
    """Open a connection whose end must be a proper one, and do the handshake."""
    with (
        connected(server) as plain,
        contexts.client.wrap_socket(
            plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False
        ) as connection,
    ):
        client = Client(connection)
        with client.file:
            yield client


def scheme_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [])
    return [f"{environ['wsgi.url_scheme']} {environ.get('HTTPS')}".encode()]


class TestTLS:
    #: Without the command that makes a certificate there is nothing to collect here.
    __test__ = CAN_BE_MADE

    @pytest.mark.parametrize("threads", [0, 2])
    @pytest.mark.parametrize("loops", [1, 2])
    @pytest.mark.parametrize("how", ["option", "socket"])
    def test_tls(self, contexts: Contexts, how: str, threads: int, loops: int) -> None:
        options: dict[str, Any] = {"threads": threads, "loops": loops}
        if how == "option":
            options["ssl_context"] = contexts.server
        server = Server(("127.0.0.1", 0), **options)
        server.set_app(scheme_app)
        if how == "socket":
            server.socket = contexts.server.wrap_socket(server.socket, server_side=True)
        with running(server):
            for _ in range(4):
                with encrypted(server, contexts) as client:
                    assert client.ask().body == b"https on"
                    assert client.ask("/", "Connection: close").body == b"https on"
                    assert client.is_closed()

    def test_the_old_idiom_without_sides_keeps_on_after_shutdown(self, contexts: Contexts) -> None:
        with Server(("127.0.0.1", 0)) as server:
            server.set_app(scheme_app)
            server.socket = contexts.server.wrap_socket(server.socket, server_side=True)
            for _ in range(2):
                thread = threading.Thread(target=server.serve_forever)
                thread.start()
                with encrypted(server, contexts) as client:
                    assert client.ask().body == b"https on"
                server.shutdown()
                thread.join(PATIENCE)

    @pytest.mark.parametrize("threads", [0, 2])
    def test_large_bodies_both_ways(self, contexts: Contexts, threads: int) -> None:
        body = os.urandom(1 << 16) * 64
        options = {"ssl_context": contexts.server, "threads": threads}
        with serving(echo_app, **options) as server, encrypted(server, contexts) as client:
            for _ in range(2):
                client.send("/", f"Content-Length: {len(body)}", method="POST")
                client.connection.sendall(body)
                assert ask_tls(server, contexts).status == 200
                assert client.receive().body == body

    def test_a_handshake_has_its_time(self, contexts: Contexts, errors: Lines) -> None:
        options = {"ssl_context": contexts.server, "handshake_timeout": SOON}
        with serving(echo_app, **options) as server, client_of(server) as client:
            client.connection.sendall(_HELLO)
            assert client.is_closed()
            assert errors.next() == "127.0.0.1: TLS handshake not finished in time"

    def test_plain_http_is_refused_and_logged(self, contexts: Contexts, errors: Lines) -> None:
        with serving(echo_app, ssl_context=contexts.server) as server:
            with connected(server) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
                try:
                    receive_all(connection)
                except ConnectionResetError:
                    pass
            assert errors.next().startswith("127.0.0.1: TLS handshake failed: ")
            assert ask_tls(server, contexts).status == 200

    @pytest.mark.parametrize("threads", [0, 2])
    def test_half_a_handshake_costs_the_others_nothing(
        self, contexts: Contexts, threads: int
    ) -> None:
        before = open_descriptors()
        options = {"ssl_context": contexts.server, "threads": threads}
        with serving(echo_app, **options) as server, ExitStack() as stack:
            kept = stack.enter_context(encrypted(server, contexts))
            for start in (b"", _HELLO[:1], _HELLO[:5], _HELLO) * 8:
                party = stack.enter_context(connected(server))
                party.sendall(start)
            for _ in range(3):
                assert kept.ask().status == 200
                assert ask_tls(server, contexts).status == 200
            stack.close()
            assert ask_tls(server, contexts).status == 200
        wait_until(lambda: open_descriptors() == before)

    def test_an_idle_one_and_a_half_handshake_do_not_delay_the_end(
        self, contexts: Contexts
    ) -> None:
        options = {"ssl_context": contexts.server, "shutdown_timeout": LATER}
        options.update(handshake_timeout=LATER, keep_alive_timeout=LATER)
        with (
            serving(echo_app, **options) as server,
            encrypted(server, contexts) as idle,
            client_of(server) as half,
        ):
            half.connection.sendall(_HELLO)
            assert idle.ask().status == 200
            server.shutdown()
            assert half.is_closed()
            assert idle.is_closed()

    def test_a_refused_request_s_answer_ends_in_order(self, contexts: Contexts) -> None:
        """It has come in full, and can be told from one that somebody has cut."""
        options = {"ssl_context": contexts.server, "max_body": 1000}
        with serving(echo_app, **options) as server, encrypted(server, contexts) as client:
            client.connection.sendall(
                b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 20000\r\n\r\n" + b"a" * 20000
            )
            assert client.receive().status == 413
            assert client.is_closed()

    def test_a_broken_response_does_not_end_in_order(
        self, contexts: Contexts, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Before HTTP/1.1 the end of the connection is that of the body."""

        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            start_response("200 OK", [])
            yield b"some"
            raise RuntimeError("no more")

        with (
            serving(app, ssl_context=contexts.server) as server,
            encrypted(server, contexts) as client,
        ):
            client.connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with pytest.raises(OSError, match=r"EOF|reset"):
                receive_all(client.connection)
        assert "RuntimeError: no more" in capsys.readouterr().err

    def test_who_resets_the_connection_is_no_error_of_ours(
        self, contexts: Contexts, errors: Lines
    ) -> None:
        before = open_descriptors()
        with Server(("127.0.0.1", 0), ssl_context=contexts.server) as server:
            server.set_app(echo_app)
            for data in (b"", _HELLO, b"nonsense") * 4:
                with connected(server) as connection:
                    connection.sendall(data)
                    reset_at_close(connection)
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            assert ask_tls(server, contexts).status == 200
            server.shutdown()
            thread.join(PATIENCE)
        while not errors.is_empty():
            assert "internal error" not in errors.next()
        assert open_descriptors() == before


def ask_tls(server: Server, contexts: Contexts) -> Answer:
    with encrypted(server, contexts) as client:
        return client.ask()
