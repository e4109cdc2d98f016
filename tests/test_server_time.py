"""The HTTP/1.1 server's times: for a head, a body, an idle connection, and who takes nothing."""

from __future__ import annotations

import select
import threading
from contextlib import ExitStack
from typing import Any

import pytest

from http11 import AWHILE, LATER, SOON, Endless, ask, client_of, echo_app, large_app, serving
from support import PATIENCE, Lines, hello_app, path_app, wait_until

pytestmark = pytest.mark.usefixtures("implementation")


@pytest.mark.parametrize("is_first", [True, False])
def test_a_head_that_trickles_is_refused_in_time(errors: Lines, is_first: bool) -> None:
    with (
        serving(hello_app, header_timeout=AWHILE, keep_alive_timeout=LATER) as server,
        client_of(server) as client,
    ):
        if not is_first:
            client.ask()
        client.connection.sendall(b"GET / HTTP/1.1\r\nA: ")
        for _ in range(1000):
            if select.select([client.connection], [], [], 0.01)[0]:
                break
            client.connection.sendall(b"a")
        answer = client.receive()
        assert answer.status == 408
        assert answer.headers["connection"] == "close"
        assert client.is_closed()
        line = errors.next()
    assert line.startswith("127.0.0.1: 408 ")


def test_who_says_nothing_is_closed_without_a_word(errors: Lines) -> None:
    with serving(hello_app, header_timeout=SOON) as server, client_of(server) as client:
        assert client.is_closed()
    assert errors.is_empty()


@pytest.mark.parametrize("threads", [0, 2])
def test_an_idle_kept_connection_is_closed_without_a_word(errors: Lines, threads: int) -> None:
    options = {"keep_alive_timeout": SOON, "header_timeout": LATER, "threads": threads}
    with serving(hello_app, **options) as server, client_of(server) as client:
        assert client.ask().status == 200
        assert client.is_closed()
    assert errors.is_empty()


@pytest.mark.parametrize("threads", [0, 2])
def test_a_kept_connection_s_time_begins_with_its_idleness(threads: int) -> None:
    """The time for the first head, or for an earlier idleness, is not that of the next."""
    options = {"keep_alive_timeout": LATER, "header_timeout": AWHILE, "threads": threads}
    with serving(hello_app, **options) as server, client_of(server) as client:
        assert client.ask().status == 200
        with client_of(server) as silent:
            assert silent.is_closed()  # as late as the first would be
        assert client.ask().status == 200


@pytest.mark.parametrize("framing", ["Content-Length: 10", "Transfer-Encoding: chunked"])
def test_a_body_that_does_not_come_is_refused_in_time(errors: Lines, framing: str) -> None:
    options = {"body_timeout": SOON, "header_timeout": LATER, "keep_alive_timeout": LATER}
    with serving(echo_app, **options) as server, client_of(server) as client:
        client.send("/", framing, method="POST")
        client.connection.sendall(b"3\r\nab")
        answer = client.receive()
        assert answer.status == 408
        assert answer.headers["connection"] == "close"
        assert client.is_closed()
        assert errors.next().startswith("127.0.0.1: 408 ")


def test_a_body_does_not_have_the_head_s_time() -> None:
    with (
        serving(echo_app, header_timeout=AWHILE, body_timeout=LATER) as server,
        client_of(server) as client,
    ):
        client.send("/", "Content-Length: 4", method="POST")
        client.connection.sendall(b"ab")
        with client_of(server) as silent:
            assert silent.is_closed()  # as late as a head would be
        client.connection.sendall(b"cd")
        assert client.receive().body == b"abcd"


@pytest.mark.parametrize("threads", [0, 2])
def test_who_takes_nothing_of_a_response_is_cut_off(errors: Lines, threads: int) -> None:
    app = Endless()
    with (
        serving(app, send_timeout=SOON, threads=threads) as server,
        client_of(server) as client,
    ):
        client.send("/endless")
        assert app.is_closed.wait(PATIENCE)
        assert "client takes nothing" in errors.next()
        with pytest.raises((ConnectionError, AssertionError, ValueError)):
            client.receive()  # it is cut, and can be told from a whole one
    assert app.closed == 1


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("field", ["Connection: close", "A: b"])
@pytest.mark.parametrize("ahead", [b"", b"GET /next HT"])
def test_who_takes_nothing_of_a_large_block_is_cut_off(
    errors: Lines, threads: int, field: str, ahead: bytes
) -> None:
    options = {"send_timeout": SOON, "keep_alive_timeout": LATER, "header_timeout": LATER}
    with (
        serving(large_app, threads=threads, **options) as server,
        client_of(server) as client,
    ):
        client.send("/", field)
        client.connection.sendall(ahead)
        assert errors.next() == "127.0.0.1: client takes nothing of its response"
        with pytest.raises((ConnectionError, AssertionError)):
            client.receive()


# A busy server


def test_time_that_a_request_takes_is_not_the_next_one_s() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        threading.Event().wait(1.5 * AWHILE)
        start_response("200 OK", [])
        return [environ["PATH_INFO"].encode()]

    with serving(app, keep_alive_timeout=AWHILE) as server, client_of(server) as client:
        for number in range(3):
            assert client.ask(f"/{number}").body == f"/{number}".encode()


@pytest.mark.parametrize("kind", ["kept", "new"])
def test_who_spoke_in_time_is_heard_by_a_busy_server(kind: str) -> None:
    """More are ready than are heard at once, and the first ones take all the time there is."""
    is_slow = threading.Event()

    def app(environ: Any, start_response: Any) -> list[bytes]:
        if is_slow.is_set():
            threading.Event().wait(AWHILE / 20)
        start_response("200 OK", [])
        return [environ["PATH_INFO"].encode()]

    options = {"keep_alive_timeout": AWHILE if kind == "kept" else LATER}
    if kind == "new":
        options["header_timeout"] = AWHILE
    with serving(app, **options) as server, ExitStack() as stack:
        clients = [stack.enter_context(client_of(server)) for _ in range(40)]
        if kind == "kept":
            for client in clients:
                client.send("/first")
            for client in clients:
                client.receive()
        is_slow.set()
        for number, client in enumerate(clients):
            client.send(f"/{number}")
        for number, client in enumerate(clients):
            assert client.receive().body == f"/{number}".encode()


def test_deadlines_of_closed_connections_are_forgotten() -> None:
    with serving(path_app, header_timeout=LATER, keep_alive_timeout=LATER / 2) as server:
        for _ in range(2500):
            ask(server, "/", "Connection: keep-alive")
        (loop,) = server._loops
        wait_until(lambda: not loop.peers)
        assert len(loop._deadlines) < 2500
