"""HTTPS of the HTTP/1.1 server: clients' certificates, and a new certificate while it runs."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from certificates import CAN_BE_MADE, Authority, Pair, almost_shake_hands
from support import (
    PATIENCE,
    connected,
    is_closed,
    receive_all,
    receive_to_the_end,
    running,
    split_response,
    wait_until,
)
from wsgiref_fast._http11.loop import Loop
from wsgiref_fast._http11.peer import Peer
from wsgiref_fast._http11.stats import DOINGS
from wsgiref_fast._tls import make_context
from wsgiref_fast.server import Server

pytestmark = pytest.mark.usefixtures("implementation")

LEFT_OUT = "" if CAN_BE_MADE else "no certificate can be made without openssl"
__test__ = not LEFT_OUT

GET = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"

#: More than a client and the system take at once.
MUCH = 16 << 20

#: Bytes on the way where the server is to wait for its client, again and again.
SMALL = 1 << 15


@pytest.fixture(scope="session")
def client_pair(authority: Authority) -> Pair:
    return authority.issue("guest", "/O=Guests/CN=someone", client=True)


def tell(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Answer with what an environ says of TLS."""
    start_response("200 OK", [("Content-Type", "application/json")])
    told = {key: value for key, value in environ.items() if "SSL" in key or key == "HTTPS"}
    return [json.dumps(told).encode()]


def make(context: ssl.SSLContext, **options: Any) -> Any:
    server = Server(("127.0.0.1", 0), ssl_context=context, **options)
    server.set_app(tell)
    return running(server)


def ask(server: Server, client: ssl.SSLContext, times: int = 1) -> list[dict[str, str]]:
    """Send requests over one connection; return what the application was told each time."""
    told = []
    with (
        connected(server) as plain,
        client.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        for _ in range(times):
            connection.sendall(GET)
            told.append(json.loads(split_response(connection.recv(65536))[2]))
    return told


@pytest.mark.parametrize("threads", [0, 2])
def test_each_request_has_what_a_client_has_shown(
    authority: Authority, server_pair: Pair, client_pair: Pair, threads: int
) -> None:
    root = authority.root.certificate
    context = make_context(
        server_pair.certificate, server_pair.key, ca_certs=root, client_certs="required"
    )
    with make(context, threads=threads) as server:
        answers = ask(server, authority.client_context(client_pair), 3)
    assert len(answers) == 3
    for told in answers:
        assert told == answers[0]
        assert told["SSL_CLIENT_VERIFY"] == "SUCCESS"
        assert told["SSL_CLIENT_S_DN"] == "CN=someone,O=Guests"
        assert told["SSL_PROTOCOL"].startswith("TLSv1.")
        assert told["HTTPS"] == "on"


def test_who_has_no_certificate_is_told_of_where_none_is_needed(
    authority: Authority, server_pair: Pair
) -> None:
    root = authority.root.certificate
    context = make_context(
        server_pair.certificate, server_pair.key, ca_certs=root, client_certs="optional"
    )
    with make(context) as server:
        (told,) = ask(server, authority.client_context())
    assert told["SSL_CLIENT_VERIFY"] == "NONE"
    assert not [name for name in told if name.startswith("SSL_CLIENT_S")]


def test_who_has_no_certificate_is_not_served_where_one_is_needed(
    authority: Authority, server_pair: Pair, client_pair: Pair
) -> None:
    root = authority.root.certificate
    context = make_context(
        server_pair.certificate, server_pair.key, ca_certs=root, client_certs="required"
    )
    with make(context) as server:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            ask(server, authority.client_context())
        assert server.stats.requests == 0
        assert ask(server, authority.client_context(client_pair))


def test_what_one_client_has_shown_is_not_said_of_another(
    authority: Authority, server_pair: Pair, client_pair: Pair
) -> None:
    root = authority.root.certificate
    context = make_context(
        server_pair.certificate, server_pair.key, ca_certs=root, client_certs="optional"
    )
    with make(context) as server:
        for _ in range(3):
            assert ask(server, authority.client_context(client_pair))[0]["SSL_CLIENT_CERT"]
            assert "SSL_CLIENT_CERT" not in ask(server, authority.client_context())[0]


def test_a_new_certificate_is_for_new_connections(
    authority: Authority, server_pair: Pair, tmp_path: Path
) -> None:
    other = Authority(tmp_path / "other", "Other")
    other_pair = other.issue("server", "/CN=127.0.0.1")
    with make(make_context(server_pair.certificate, server_pair.key)) as server:
        address = server.server_address
        with (
            socket.create_connection(address, PATIENCE) as plain,
            authority.client_context().wrap_socket(plain, server_hostname="127.0.0.1") as old,
        ):
            old.sendall(GET)
            assert old.recv(65536).startswith(b"HTTP/1.1 200 ")
            server.options.ssl_context = make_context(other_pair.certificate, other_pair.key)
            assert ask(server, other.client_context())
            with ThreadPoolExecutor(1) as pool:  # PyPy's ssl has a thread's errors meet again
                refused = pool.submit(ask, server, authority.client_context())
                assert isinstance(refused.exception(), ssl.SSLCertVerificationError)
            old.sendall(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            assert receive_all(old).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "preface",
    [
        b"PROXY TCP4 9.9.9.9 8.8.8.8 5555 80\r\n",
        b"\r\n\r\n\0\r\nQUIT\n!\x11\0\x0c" + bytes([9] * 4 + [8] * 4) + b"\x15\xb3\0P",
    ],
    ids=["v1", "v2"],
)
def test_tls_follows_what_a_proxy_has_told(
    authority: Authority, server_pair: Pair, preface: bytes
) -> None:
    context = make_context(server_pair.certificate, server_pair.key)
    seen: list[str] = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        seen.append(environ["REMOTE_ADDR"])
        return tell(environ, start_response)

    with (
        make(context, trusted_proxies="127.0.0.1", proxy_protocol=True) as server,
        connected(server) as plain,
    ):
        server.set_app(app)
        plain.sendall(preface)
        client = authority.client_context()
        with client.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
            connection.sendall(GET)
            told = json.loads(split_response(connection.recv(65536))[2])
    assert seen == ["9.9.9.9"]
    assert told["HTTPS"] == "on"


# What goes wrong with a connection


def speak_in_the_clear(server: Server, client: ssl.SSLContext) -> None:
    with connected(server) as plain:
        plain.sendall(GET)
        receive_to_the_end(plain)


def send_nonsense(server: Server, client: ssl.SSLContext) -> None:
    with connected(server) as plain:
        with client.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
            connection.sendall(GET)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
            below = socket.socket(fileno=connection.detach())
        with below:
            below.settimeout(PATIENCE)
            below.sendall(b"\x17\x03\x03\0\x20" + bytes(32))  # a record that nobody has sealed
            receive_to_the_end(below)


def leave_without_a_word(server: Server, client: ssl.SSLContext) -> None:
    with (
        connected(server) as plain,
        client.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        connection.sendall(GET)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        socket.socket(fileno=connection.detach()).close()
    wait_until(lambda: sum(server.stats.connections.values()) == 1)


@pytest.mark.parametrize("fail", [speak_in_the_clear, send_nonsense, leave_without_a_word])
@pytest.mark.parametrize("threads", [0, 2])
def test_what_goes_wrong_with_a_connection_is_not_put_down_to_another(
    fail: Callable[[Server, ssl.SSLContext], None],
    threads: int,
    authority: Authority,
    server_pair: Pair,
) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        body = bytes(MUCH if environ["PATH_INFO"] == "/much" else 2)
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    client = authority.client_context()
    with make(make_context(server_pair.certificate, server_pair.key), threads=threads) as server:
        server.set_app(app)
        server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        with connected(server) as plain, ExitStack() as stack:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
            wrapped = client.wrap_socket(plain, server_hostname="127.0.0.1")
            slow = stack.enter_context(wrapped)
            slow.sendall(b"GET /much HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
            assert slow.recv(12) == b"HTTP/1.1 200"
            fail(server, client)
            assert len(receive_all(slow)) > MUCH  # of which not all was sent by then


# What goes wrong before a handshake begins


class Broken(ssl.SSLContext):
    """A context whose next connections fail; put in the place of a good one while it serves."""

    def wrap_socket(self, sock: socket.socket, *_: Any, **__: Any) -> Any:
        raise RuntimeError("broken")


@pytest.mark.parametrize("kind", ["raises", "closes"])
@pytest.mark.parametrize("with_preface", [False, True])
def test_a_context_that_fails_costs_its_connections_alone(
    authority: Authority,
    server_pair: Pair,
    kind: str,
    with_preface: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    good = make_context(server_pair.certificate, server_pair.key)
    bad: ssl.SSLContext = Broken(ssl.PROTOCOL_TLS_SERVER)
    if kind == "closes":  # as ssl does where OpenSSL wants no server of it
        bad = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        bad.check_hostname = False
    options: dict[str, Any] = {"max_connections": 1}
    if with_preface:
        options |= {"trusted_proxies": "127.0.0.1", "proxy_protocol": True}
    preface = b"PROXY TCP4 9.9.9.9 8.8.8.8 5555 80\r\n" if with_preface else b""
    with make(good, **options) as server:
        server.options.ssl_context = bad
        for _ in range(2):
            with connected(server) as plain:
                if with_preface:  # the loop knows of it before its handshake begins
                    wait_until(lambda: server.stats.connections["preface"] == 1)
                    plain.sendall(preface)
                assert is_closed(plain)
        # Somebody has to hear why.
        wait_until(lambda: len(caplog.records) == 2)
        assert kind == "raises" or "TLS cannot begin" in caplog.text
        server.options.ssl_context = good
        with connected(server) as plain:
            plain.sendall(preface)
            with authority.client_context().wrap_socket(
                plain, server_hostname="127.0.0.1"
            ) as connection:
                connection.sendall(GET)
                assert connection.recv(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize("with_preface", [False, True])
def test_at_each_moment_it_is_known_what_a_connection_does(
    authority: Authority, server_pair: Pair, with_preface: bool
) -> None:
    said: list[str] = []

    class Telling(Peer):
        """Says after each change what another thread would be told now."""

        __slots__ = ()

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)
            if name in ("opening", "state") and hasattr(self, "_is_aborted"):  # it is made
                said.append(self.doing)

    class TellingLoop(Loop):
        peer_class = Telling

    options: dict[str, Any] = {}
    if with_preface:
        options = {"trusted_proxies": "127.0.0.1", "proxy_protocol": True}
    context = make_context(server_pair.certificate, server_pair.key)
    server = Server(("127.0.0.1", 0), ssl_context=context, **options)
    server.loop_class = TellingLoop
    server.set_app(tell)
    with running(server), connected(server) as plain:
        if with_preface:
            plain.sendall(b"PROXY TCP4 9.9.9.9 8.8.8.8 5555 80\r\n")
        with authority.client_context().wrap_socket(
            plain, server_hostname="127.0.0.1"
        ) as connection:
            connection.sendall(GET)
            assert connection.recv(12) == b"HTTP/1.1 200"
    wait_until(lambda: "closed" in said)
    assert ("preface" in said) == with_preface
    assert {"handshake", "closed"} <= set(said) <= {*DOINGS, "closed"}


def test_who_shakes_hands_as_the_server_ends_does_not_hold_it_up(
    authority: Authority, server_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = make_context(server_pair.certificate, server_pair.key)
    times = dict.fromkeys(("handshake_timeout", "header_timeout", "shutdown_timeout"), 3600.0)
    monkeypatch.setattr("wsgiref_fast._http11.loop._GRACE", 3600.0)
    with make(context, **times) as server:
        told = threading.Event()

        def look() -> None:
            if server._loops[0].is_ending:
                told.set()

        server.service_actions = look
        with connected(server) as plain:
            wait_until(lambda: server.stats.connections["handshake"] == 1)
            ending = threading.Thread(target=server.shutdown)
            ending.start()
            assert told.wait(PATIENCE)
            monkeypatch.setattr("wsgiref_fast._http11.loop._GRACE", 0.05)
            with authority.client_context().wrap_socket(plain, server_hostname="127.0.0.1"):
                ending.join(PATIENCE)
                is_over = not ending.is_alive()
            server.stop(at_once=True)
    assert is_over


def test_a_handshake_that_was_done_in_time_is_heard_by_a_busy_server(
    authority: Authority, server_pair: Pair
) -> None:
    context = make_context(server_pair.certificate, server_pair.key)
    with make(context) as server, connected(server) as plain:
        client, incoming, outgoing = almost_shake_hands(authority.client_context(), plain)
        wait_until(lambda: server.stats.connections["handshake"] == 1)

        def keep_busy(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            server.set_app(tell)
            (waiting,) = (each for each in server._loops[0].peers.values() if each.doing[0] == "h")
            plain.sendall(outgoing.read())
            waiting.set_deadline(0.0)
            return tell(environ, start_response)

        server.set_app(keep_busy)
        assert ask(server, authority.client_context())
        client.write(GET)
        plain.sendall(outgoing.read())
        answer = b""
        while b"\r\n\r\n" not in answer:
            block = plain.recv(65536)
            assert block
            incoming.write(block)
            try:
                answer += client.read(65536)
            except ssl.SSLWantReadError:
                pass
    assert answer.startswith(b"HTTP/1.1 200 ")
