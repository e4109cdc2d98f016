"""TLS in the drop-in by a wrapped listening socket: no handshake is in anybody's way."""
# mypy: disallow-subclassing-any=False

from __future__ import annotations

import os
import re
import select
import selectors
import socket
import socketserver
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest

from certificates import CAN_BE_MADE, Authority, Contexts, almost_shake_hands, encrypted
from libraries import LIBRARIES, Keeper, load, quiet, running
from support import (
    PATIENCE,
    QuietHandler,
    connected,
    hello_app,
    open_descriptors,
    program,
    receive_all,
    receive_to_the_end,
    reset,
    wait_until,
)
from wsgiref_fast._waiting import Waiting
from wsgiref_fast.simple_server import ThreadingWSGIServer, WSGIServer, make_server

pytestmark = pytest.mark.usefixtures("implementation")

LEFT_OUT = "" if CAN_BE_MADE else "no certificate can be made without openssl"
__test__ = not LEFT_OUT

REQUEST = b"GET / HTTP/1.0\r\n\r\n"

#: More than a client and the system take at once.
MUCH = 16 << 20

#: Seconds that a handshake takes at most, for tests that wait for its end: a client on a busy
#: machine still has time to begin it.
SOON = 0.5


class Threaded(socketserver.ThreadingMixIn, WSGIServer):
    """A server as people make it, whose threads end before it does."""


@pytest.fixture(params=[WSGIServer, Threaded], ids=["one thread", "threads"])
def server_class(request: pytest.FixtureRequest) -> Any:
    return request.param


def wrapped(
    contexts: Contexts,
    server_class: Any = WSGIServer,
    app: Any = hello_app,
    handler_class: Any = QuietHandler,
) -> Any:
    """Make a server, and have it do TLS by the usual idiom."""
    server: Any = make_server("127.0.0.1", 0, app, server_class, handler_class)
    server.__dict__.setdefault("log", [])
    server.socket = contexts.server.wrap_socket(server.socket, server_side=True)
    return server


def ask(server: Any, contexts: Contexts, request: bytes = REQUEST) -> bytes:
    with encrypted(server, contexts) as connection:
        connection.sendall(request)
        return receive_all(connection)


def greets(server: Any, contexts: Contexts) -> bool:
    return ask(server, contexts).endswith(b"Hello, world!")


def first_flight(contexts: Contexts) -> bytes:
    """Return what a client sends to begin a handshake."""
    outgoing = ssl.MemoryBIO()
    client = contexts.client.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="127.0.0.1")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


# What clients do that never finish a handshake. Those of which the connection is still open
# are silent from then on.


def say_nothing(connection: socket.socket, hello: bytes) -> None:
    pass


def say_half(connection: socket.socket, hello: bytes) -> None:
    connection.sendall(hello[: len(hello) // 2])


def go_half_way(connection: socket.socket, hello: bytes) -> None:
    connection.sendall(hello)
    assert connection.recv(1)  # the server's turn has begun


def close_half_way(connection: socket.socket, hello: bytes) -> None:
    go_half_way(connection, hello)
    connection.close()


def speak_plainly(connection: socket.socket, hello: bytes) -> None:
    connection.sendall(REQUEST)


def leave(connection: socket.socket, hello: bytes) -> None:
    connection.close()


def abort(connection: socket.socket, hello: bytes) -> None:
    connection.sendall(hello[:7])
    reset(connection)


LINGERING = [say_nothing, say_half, go_half_way]
FAILING = [speak_plainly, leave, abort, close_half_way]


@pytest.mark.parametrize("behave", LINGERING + FAILING)
def test_others_are_served_beside_clients_that_do_not_finish_a_handshake(
    behave: Callable[[socket.socket, bytes], None],
    server_class: Any,
    contexts: Contexts,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hello = first_flight(contexts)
    with running(wrapped(contexts, server_class)) as server, ExitStack() as stack:
        for number in range(50):
            behave(stack.enter_context(connected(server)), hello)
            if number % 10 == 9:
                assert greets(server, contexts)
        with encrypted(server, contexts) as connection:
            connection.sendall(REQUEST)
            assert receive_all(connection).endswith(b"Hello, world!")
    printed = capsys.readouterr().err
    assert "Traceback" not in printed
    line = r"127\.0\.0\.1 - - connection lost: TLS handshake failed: .+"
    assert all(re.fullmatch(line, text) for text in printed.splitlines())
    assert len(server.log) == 6


def test_a_handshake_that_failed_is_not_put_down_to_another_connection(
    server_class: Any, contexts: Contexts
) -> None:
    class Patient(QuietHandler):
        timeout = PATIENCE  # with one, to wait is told as an error, by OpenSSL

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", [("Content-Length", str(MUCH))])
        return [bytes(MUCH)]

    with (
        running(wrapped(contexts, server_class, app, Patient)) as server,
        encrypted(server, contexts) as other,
        connected(server) as failing,
    ):
        speak_plainly(failing, b"")
        receive_to_the_end(failing)
        other.sendall(REQUEST)
        assert len(receive_all(other)) > MUCH


def test_all_kinds_of_clients_at_once_keep_nobody_waiting(
    server_class: Any, contexts: Contexts
) -> None:
    hello = first_flight(contexts)
    with running(wrapped(contexts, server_class)) as server, ExitStack() as stack:
        for behave in (LINGERING + FAILING) * 8:
            behave(stack.enter_context(connected(server)), hello)
        clients = [stack.enter_context(encrypted(server, contexts)) for _ in range(10)]
        for client in reversed(clients):
            client.sendall(REQUEST)
            assert receive_all(client).endswith(b"Hello, world!")


def test_a_handshake_that_comes_by_the_byte_is_finished(
    server_class: Any, contexts: Contexts
) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = contexts.client.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with running(wrapped(contexts, server_class)) as server, connected(server) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        is_done = False
        while not is_done:
            try:
                client.do_handshake()
                is_done = True
            except ssl.SSLWantReadError:
                pass
            for byte in outgoing.read():
                connection.sendall(bytes([byte]))
            if not is_done:
                incoming.write(connection.recv(65536))
        client.write(REQUEST)
        connection.sendall(outgoing.read())
        while block := connection.recv(65536):
            incoming.write(block)
        assert client.read(65536).endswith(b"Hello, world!")


def test_a_client_that_was_silent_is_served_when_it_speaks(
    server_class: Any, contexts: Contexts
) -> None:
    with running(wrapped(contexts, server_class)) as server, connected(server) as silent:
        assert greets(server, contexts)
        with contexts.client.wrap_socket(silent, server_hostname="127.0.0.1") as late:
            if server_class is WSGIServer:
                assert greets(server, contexts)  # it waits for its request, too
            late.sendall(REQUEST)
            assert receive_all(late).endswith(b"Hello, world!")


def test_the_original_turns_to_a_silent_client_first(contexts: Contexts) -> None:
    original = load("wsgiref").simple_server
    handler_class = quiet(original.WSGIRequestHandler)
    server = original.make_server("127.0.0.1", 0, hello_app, handler_class=handler_class)
    server.socket = contexts.server.wrap_socket(server.socket, server_side=True)
    with server, connected(server) as silent, connected(server) as talking:
        talking.sendall(first_flight(contexts))
        silent.shutdown(socket.SHUT_WR)  # or it would wait for ever
        server.handle_request()
        assert select.select([silent, talking], [], [], PATIENCE)[0] == [silent]


@pytest.mark.parametrize("behave", LINGERING)
def test_a_handshake_has_its_time(
    behave: Callable[[socket.socket, bytes], None],
    server_class: Any,
    contexts: Contexts,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Impatient(server_class):
        handshake_timeout = SOON

    hello = first_flight(contexts)
    with running(wrapped(contexts, Impatient)) as server, connected(server) as connection:
        behave(connection, hello)
        receive_to_the_end(connection)
        wait_until(lambda: not server._handshakes)
        server.handshake_timeout = PATIENCE
        assert greets(server, contexts)
    line = "127.0.0.1 - - connection lost: TLS handshake not finished in time\n"
    assert capsys.readouterr().err == line


def test_a_handshake_may_have_any_time(contexts: Contexts) -> None:
    assert WSGIServer.handshake_timeout == 10.0

    class Patient(WSGIServer):
        handshake_timeout = None

    with running(wrapped(contexts, Patient)) as server, connected(server) as silent:
        assert greets(server, contexts)
        assert len(server._handshakes) == 1
        with contexts.client.wrap_socket(silent, server_hostname="127.0.0.1") as late:
            late.sendall(REQUEST)
            assert receive_all(late).endswith(b"Hello, world!")


def test_the_oldest_handshakes_make_room(
    contexts: Contexts, capsys: pytest.CaptureFixture[str]
) -> None:
    class Small(WSGIServer):
        waiting_limit = 2

    with wrapped(contexts, Small) as server, ExitStack() as stack:
        oldest, *_ = [stack.enter_context(connected(server)) for _ in range(3)]
        with running(server):
            assert receive_all(oldest) == b""
            assert greets(server, contexts)
    line = "connection lost: TLS handshake given up, as too many connections wait"
    assert line in capsys.readouterr().err


# What others have of it


class Telling(WSGIServer):
    """A server that keeps what its hooks are called with."""

    def __init__(self, *args: Any) -> None:
        self.calls: list[str] = []
        super().__init__(*args)

    def note(self, name: str, request: Any) -> None:
        assert isinstance(request, ssl.SSLSocket)
        assert request.cipher()
        assert request.gettimeout() is None
        assert request.do_handshake_on_connect  # type: ignore[attr-defined]
        assert not request.getpeercert()
        self.calls.append(name)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        self.note("verify", request)
        return super().verify_request(request, client_address)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.note("process", request)
        super().process_request(request, client_address)

    def finish_request(self, request: Any, client_address: Any) -> None:
        self.note("finish", request)
        super().finish_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.calls.append("shutdown")
        super().shutdown_request(request)


class TellingThreads(socketserver.ThreadingMixIn, Telling):
    def process_request(self, request: Any, client_address: Any) -> None:
        self.note("process", request)
        super().process_request(request, client_address)


@pytest.mark.parametrize("telling", [Telling, TellingThreads])
def test_hooks_are_called_with_what_has_shaken_hands_and_with_nothing_else(
    telling: Any, contexts: Contexts
) -> None:
    hello = first_flight(contexts)
    with running(wrapped(contexts, telling)) as server, ExitStack() as stack:
        for behave in LINGERING + FAILING:
            behave(stack.enter_context(connected(server)), hello)
        assert greets(server, contexts)
        assert greets(server, contexts)
    assert sorted(server.calls) == sorted(["verify", "process", "finish", "shutdown"] * 2)


def test_the_applications_input_leads_to_the_tls_socket(
    server_class: Any, contexts: Contexts
) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        connection = environ["wsgi.input"].raw._sock
        start_response("200 OK", [])
        return [connection.version().encode()]

    with running(wrapped(contexts, server_class, app)) as server:
        assert ask(server, contexts).endswith(b"TLSv1.3")


def test_a_connection_that_is_not_verified_is_closed(server_class: Any, contexts: Contexts) -> None:
    class Unfriendly(server_class):
        def verify_request(self, request: Any, client_address: Any) -> bool:
            return False

    with running(wrapped(contexts, Unfriendly)) as server:
        for _ in range(2):
            with encrypted(server, contexts) as connection:
                assert receive_all(connection) == b""


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("raises", [False, True])
def test_handle_error_of_a_program_ends_nothing(
    raises: bool, library: str, contexts: Contexts
) -> None:
    lib: Any = load(library)
    errors: list[BaseException | None] = []

    class Server(lib.simple_server.WSGIServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            errors.append(sys.exc_info()[1])
            if raises:
                raise

    server = lib.simple_server.make_server(
        "127.0.0.1", 0, hello_app, Server, quiet(lib.simple_server.WSGIRequestHandler)
    )
    server.socket = contexts.server.wrap_socket(server.socket, server_side=True)
    with running(server):
        with connected(server) as connection:
            connection.sendall(REQUEST)
            receive_to_the_end(connection)
        assert greets(server, contexts)
    if library == "wsgiref_fast":  # the original asks nobody
        (error,) = errors
        assert isinstance(error, ConnectionAbortedError)
        assert isinstance(error.__cause__, ssl.SSLError)


def test_get_request_of_a_program_has_its_handshake_done(contexts: Contexts) -> None:
    seen = []

    class Server(WSGIServer):
        def get_request(self) -> Any:
            accepted: Any = super().get_request()
            seen.append(accepted[0].cipher())
            return accepted

    with running(wrapped(contexts, Server)) as server:
        assert greets(server, contexts)
    assert len(seen) == 1
    assert seen[0]


def test_a_handshake_that_fails_in_a_programs_thread_is_a_line_of_log(
    contexts: Contexts, capsys: pytest.CaptureFixture[str]
) -> None:
    class Server(Threaded):
        def finish_request(self, request: Any, client_address: Any) -> None:
            request.do_handshake()
            super().finish_request(request, client_address)

    server: Any = make_server("127.0.0.1", 0, hello_app, Server, QuietHandler)
    server.socket = contexts.server.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    with running(server):
        with connected(server) as connection:
            speak_plainly(connection, b"")
            receive_to_the_end(connection)
        assert greets(server, contexts)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("127.0.0.1 - - connection lost: ")


def test_accept_of_a_program_is_called(contexts: Contexts) -> None:
    seen = []
    server = wrapped(contexts)
    accept = server.socket.accept

    def noting() -> Any:
        seen.append(accept())
        return seen[-1]

    server.socket.accept = noting
    with running(server):
        assert greets(server, contexts)
    assert len(seen) == 1


def test_a_server_without_a_base_environ_serves(contexts: Contexts) -> None:
    """As with the original, where a handler makes environs alone."""

    class Bare(WSGIServer):
        def server_bind(self) -> None:
            socketserver.TCPServer.server_bind(self)

    class Handler(QuietHandler):
        def get_environ(self) -> dict[str, Any]:
            return {"REQUEST_METHOD": "GET", "SERVER_PROTOCOL": "HTTP/1.0"}

    with running(wrapped(contexts, Bare, handler_class=Handler)) as server:
        assert greets(server, contexts)


def test_a_context_of_a_program_wraps(contexts: Contexts) -> None:
    class Context(ssl.SSLContext):
        calls: list[dict[str, Any]]

        def wrap_socket(self, *args: Any, **options: Any) -> Any:
            self.calls.append(options)
            return super().wrap_socket(*args, **options)

    context = Context(ssl.PROTOCOL_TLS_SERVER)
    context.calls = []
    context.load_cert_chain(*contexts.files)
    server: Any = make_server("127.0.0.1", 0, hello_app, handler_class=QuietHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True, suppress_ragged_eofs=False)
    with running(server):
        assert greets(server, contexts)
    _, options = context.calls
    assert options["server_side"]
    assert options["suppress_ragged_eofs"] is False


def test_a_handshake_that_a_program_breaks_ends_nothing(
    contexts: Contexts, capsys: pytest.CaptureFixture[str]
) -> None:
    class Failing(ssl.SSLSocket):
        failures = iter([RuntimeError("broken"), None])

        def do_handshake(self, block: bool = False) -> None:
            if self.server_side and (failure := next(self.failures, None)):
                raise failure
            super().do_handshake(block)

    pair = contexts.files
    context: Any = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    context.sslsocket_class = Failing
    server: Any = make_server("127.0.0.1", 0, hello_app, handler_class=QuietHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with running(server):
        with connected(server) as connection:
            connection.sendall(first_flight(contexts))
            receive_to_the_end(connection)
        assert greets(server, contexts)
    assert "RuntimeError: broken" in capsys.readouterr().err


def test_a_certificate_that_is_loaded_later_is_for_who_comes_later(
    server_class: Any, contexts: Contexts, tmp_path: Any
) -> None:
    renewed = Authority(tmp_path / "renewed")
    pair = renewed.issue("server", "/CN=127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*contexts.files)
    server: Any = make_server("127.0.0.1", 0, hello_app, server_class, QuietHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with running(server), encrypted(server, contexts) as earlier:
        context.load_cert_chain(pair.certificate, pair.key)
        with connected(server) as connection:
            client = renewed.client_context()
            with client.wrap_socket(connection, server_hostname="127.0.0.1") as later:
                later.sendall(REQUEST)
                assert receive_all(later).endswith(b"Hello, world!")
        earlier.sendall(REQUEST)
        assert receive_all(earlier).endswith(b"Hello, world!")


def test_an_application_is_told_that_it_is_https(server_class: Any, contexts: Contexts) -> None:
    seen: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append((environ["wsgi.url_scheme"], environ["HTTPS"]))
        return hello_app(environ, start_response)

    for said in (None, "yes"):
        server: Any = make_server("127.0.0.1", 0, app, server_class, QuietHandler)
        if said is not None:
            server.base_environ["HTTPS"] = said
        server.socket = contexts.server.wrap_socket(server.socket, server_side=True)
        with running(server), encrypted(server, contexts) as connection:
            connection.sendall(REQUEST)
            assert receive_all(connection).endswith(b"Hello, world!")
    assert seen == [("https", "on"), ("https", "yes")]


def test_an_application_is_not_told_so_of_a_plain_connection(server_class: Any) -> None:
    app = Keeper(b"kept")
    server: Any = make_server("127.0.0.1", 0, app, server_class, QuietHandler)
    with running(server), connected(server) as connection:
        connection.sendall(REQUEST)
        assert receive_all(connection).endswith(b"kept")
    assert app.environ["wsgi.url_scheme"] == "http"
    assert "HTTPS" not in app.environ


def test_kept_connections_wait_for_their_next_request(contexts: Contexts) -> None:
    class Keeping(QuietHandler):
        protocol_version = "HTTP/1.1"

    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    with running(wrapped(contexts, handler_class=Keeping)) as server, ExitStack() as stack:
        clients = [stack.enter_context(encrypted(server, contexts)) for _ in range(3)]
        for _ in range(3):
            for client in clients:
                client.sendall(request)
                assert receive_response(client).endswith(b"Hello, world!")
        clients[0].sendall(request + request)  # in one record
        assert receive_response(clients[0], 2).endswith(b"Hello, world!")


def receive_response(connection: Any, number: int = 1) -> bytes:
    received = b""
    while received.count(b"Hello, world!") < number:
        block = connection.recv(65536)
        assert block
        received += block
    return received


def test_a_body_of_many_records_comes_whole(server_class: Any, contexts: Contexts) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body: bytes = environ["wsgi.input"].read()
        start_response("200 OK", [])
        return [body]

    body = os.urandom(300_000)
    head = b"POST / HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body)
    with running(wrapped(contexts, server_class, app)) as server:
        assert ask(server, contexts, head + body).endswith(b"\r\n\r\n" + body)


# A client that takes nothing


def is_held_up(server: Any) -> bool:
    """Tell whether a handshake waits for its client to take bytes."""
    handshakes = list(getattr(server, "_handshakes", {}).values())
    return selectors.EVENT_WRITE in [handshake.events for handshake in handshakes]


def test_a_server_that_cannot_send_its_part_waits_until_it_can(
    server_class: Any, contexts: Contexts, tmp_path: Any
) -> None:
    certificate, key = contexts.files
    chain = tmp_path / "chain.pem"
    root = contexts.authority.root.certificate.read_text()
    with open(certificate) as file:
        chain.write_text(file.read() + root * 60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    server: Any = make_server("127.0.0.1", 0, hello_app, server_class, QuietHandler)
    server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with running(server), socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        connection.settimeout(PATIENCE)
        connection.connect(server.server_address)
        # Past sockets of ssl, which might read what the server sends as soon as it does.
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        slow = contexts.client.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")

        def go_on(step: Callable[[], Any]) -> Any:
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    connection.sendall(outgoing.read())
                    incoming.write(connection.recv(65536))

        with pytest.raises(ssl.SSLWantReadError):
            slow.do_handshake()
        connection.sendall(outgoing.read())
        wait_until(lambda: is_held_up(server))
        assert greets(server, contexts)
        go_on(slow.do_handshake)
        slow.write(REQUEST)
        answer = b""
        while not answer.endswith(b"Hello, world!"):
            answer += go_on(slow.read)


# The ends of a server


def test_nothing_is_left_of_handshakes_that_were_under_way(
    server_class: Any, contexts: Contexts, implementation: str
) -> None:
    hello = first_flight(contexts)

    def scene() -> None:
        with ExitStack() as stack:
            with running(wrapped(contexts, server_class)) as server:
                clients = [stack.enter_context(connected(server)) for _ in LINGERING * 5]
                for client, behave in zip(clients, LINGERING * 5, strict=True):
                    behave(client, hello)
                assert greets(server, contexts)
                wait_until(lambda: len(server._handshakes) == len(clients))
            for client in clients:
                receive_to_the_end(client)
            assert not server._handshakes

    scene()
    before = open_descriptors()
    scene()
    assert open_descriptors() == before


@pytest.mark.parametrize("behave", FAILING)
def test_nothing_is_left_of_handshakes_that_failed(
    behave: Callable[[socket.socket, bytes], None], server_class: Any, contexts: Contexts
) -> None:
    hello = first_flight(contexts)

    def scene() -> None:
        with running(wrapped(contexts, server_class)) as server:
            for _ in range(20):
                with connected(server) as connection:
                    behave(connection, hello)
                    if behave is speak_plainly:
                        receive_to_the_end(connection)
            assert greets(server, contexts)
            wait_until(lambda: not server._handshakes)

    scene()
    before = open_descriptors()
    scene()
    assert open_descriptors() == before


def test_a_handshake_that_waits_through_shutdown_is_finished_by_the_next_loop(
    server_class: Any, contexts: Contexts
) -> None:
    with wrapped(contexts, server_class) as server, connected(server) as silent:
        loop = threading.Thread(target=server.serve_forever)
        loop.start()
        assert greets(server, contexts)
        server.shutdown()
        loop.join(PATIENCE)
        with (
            running(server),
            contexts.client.wrap_socket(silent, server_hostname="127.0.0.1") as late,
        ):
            late.sendall(REQUEST)
            assert receive_all(late).endswith(b"Hello, world!")


# A program's own loop


@contextmanager
def asking(server: Any, contexts: Contexts) -> Iterator[list[bytes]]:
    """Ask in another thread."""
    answers: list[bytes] = []
    client = threading.Thread(target=lambda: answers.append(ask(server, contexts)))
    client.start()
    try:
        yield answers
    finally:
        client.join(PATIENCE)
    assert answers
    assert answers[0].endswith(b"Hello, world!")


def test_handle_request_serves_one_request_past_handshakes_that_are_not_finished(
    server_class: Any, contexts: Contexts
) -> None:
    hello = first_flight(contexts)
    with wrapped(contexts, server_class) as server, ExitStack() as stack:
        for behave in (say_nothing, say_half):
            behave(stack.enter_context(connected(server)), hello)
        for _ in range(2):
            with asking(server, contexts):
                server.handle_request()


def test_handle_request_returns_after_a_handshake_that_failed(
    server_class: Any, contexts: Contexts, capsys: pytest.CaptureFixture[str]
) -> None:
    with wrapped(contexts, server_class) as server, connected(server) as connection:
        connection.sendall(REQUEST)
        server.handle_request()
        receive_to_the_end(connection)
    assert "TLS handshake failed" in capsys.readouterr().err


def test_handle_request_tells_when_nobody_has_finished_in_time(contexts: Contexts) -> None:
    class Hasty(WSGIServer):
        timeout = SOON
        timeouts = 0

        def handle_timeout(self) -> None:
            self.timeouts += 1

    with wrapped(contexts, Hasty) as server, connected(server):
        server.handle_request()
        assert server.timeouts == 1


@pytest.mark.skipif(not Waiting.has_descriptor, reason="a silent connection blocks here")
def test_a_loop_around_select_and_handle_request_serves(contexts: Contexts) -> None:
    with wrapped(contexts) as server, connected(server), asking(server, contexts) as answers:
        while not answers:
            if select.select([server], [], [], 0.01)[0]:
                server.timeout = 0
                server.handle_request()


FORKING = """
import socket, ssl, sys
from socketserver import ForkingMixIn
from threading import Thread
from wsgiref_fast.simple_server import WSGIServer, make_server

class Server(ForkingMixIn, WSGIServer):
    pass

def app(environ, start_response):
    start_response("200 OK", [])
    return [repr(environ["wsgi.multiprocess"]).encode()]

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
with make_server("127.0.0.1", 0, app, Server) as server:
    server.socket = context.wrap_socket(server.socket, server_side=True)
    print(server.server_port, flush=True)
    sys.stdin.readline()
    server.handle_request()
    server.handle_request()
"""


if hasattr(os, "fork"):

    def test_a_forking_server_serves_beside_silent_clients(
        contexts: Contexts, implementation: str
    ) -> None:
        # A process of its own, as this one may have threads by now.
        with program(implementation, FORKING, *contexts.files) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            address = "127.0.0.1", int(process.stdout.readline())
            with socket.create_connection(address, PATIENCE):
                process.stdin.write("\n")
                process.stdin.flush()
                for _ in range(2):
                    connection = socket.create_connection(address, PATIENCE)
                    with contexts.client.wrap_socket(
                        connection, server_hostname="127.0.0.1"
                    ) as both:
                        both.sendall(REQUEST)
                        assert receive_all(both).endswith(b"True")
                _, errors = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0
            assert "connection lost" not in errors
            assert "Traceback" not in errors


def test_a_threading_server_of_ours_does_it_too(contexts: Contexts) -> None:
    app = Keeper(b"Hello, world!")
    with running(wrapped(contexts, ThreadingWSGIServer, app)) as server, connected(server):
        assert greets(server, contexts)
    assert app.environ["wsgi.multithread"] is True


def test_a_handshake_that_was_done_in_time_is_heard_after_a_long_request(
    contexts: Contexts,
) -> None:
    server = wrapped(contexts)
    with running(server), connected(server) as plain:
        client, incoming, outgoing = almost_shake_hands(contexts.client, plain)
        wait_until(lambda: len(server._waiting) == 1)

        def take_long(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            server.set_app(hello_app)
            waiting = server._waiting
            ((request, action, _),) = waiting._connections.values()
            plain.sendall(outgoing.read())
            waiting._connections[request] = request, action, 0.0
            waiting._next_end = 0.0
            return hello_app(environ, start_response)

        server.set_app(take_long)
        assert greets(server, contexts)
        client.write(REQUEST)
        plain.sendall(outgoing.read())
        incoming.write(receive_all(plain))
        answer = b""
        with suppress(ssl.SSLError):
            while block := client.read(65536):
                answer += block
    assert answer.endswith(b"Hello, world!")
