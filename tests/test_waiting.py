"""Connections that wait: silent ones hold nobody up, and the loop ends when it is told to."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any
from wsgiref import simple_server as original

import pytest

from support import (
    PATIENCE,
    ClosingServer,
    KeepingHandler,
    QuietHandler,
    connected,
    exchange,
    hello_app,
    receive_all,
    serving,
)
from wsgiref_fast._waiting import Waiting
from wsgiref_fast.simple_server import (
    ThreadingWSGIServer,
    WSGIRequestHandler,
    WSGIServer,
    make_server,
)

pytestmark = pytest.mark.usefixtures("implementation")

REQUEST = b"GET / HTTP/1.0\r\n\r\n"


@contextmanager
def listening(
    server_class: type[WSGIServer] = WSGIServer,
    handler_class: type[WSGIRequestHandler] = QuietHandler,
) -> Iterator[WSGIServer]:
    """Make a server that the test drives by itself."""
    with make_server("127.0.0.1", 0, hello_app, server_class, handler_class) as server:
        server.__dict__.setdefault("log", [])
        yield server


@contextmanager
def running(server: WSGIServer) -> Iterator[None]:
    """Run a server's loop, which looks around by itself once an hour."""
    loop = threading.Thread(target=server.serve_forever, args=(3600,), daemon=True)
    loop.start()
    yield
    assert returns(server.shutdown)
    loop.join(PATIENCE)
    assert not loop.is_alive()


def returns(function: Callable[[], object]) -> bool:
    """Tell whether a function that may block comes back."""
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return not thread.is_alive()


def is_gone(connection: socket.socket) -> bool:
    """Tell whether the peer has closed, in order or not."""
    try:
        return receive_all(connection) == b""
    except ConnectionError:
        return True


# Silent connections


def test_silent_connections_do_not_hold_up_serve_forever() -> None:
    with serving(hello_app) as server, ExitStack() as silent:
        for _ in range(20):
            silent.enter_context(connected(server))
            assert exchange(server, REQUEST).endswith(b"Hello, world!")


def test_a_connection_that_was_silent_is_served_when_it_speaks() -> None:
    with serving(hello_app) as server, connected(server) as connection:
        assert exchange(server, REQUEST).endswith(b"Hello, world!")
        connection.sendall(REQUEST)
        assert receive_all(connection).endswith(b"Hello, world!")


def test_a_silent_connection_that_closes_is_closed() -> None:
    with serving(hello_app, ClosingServer) as server:
        with connected(server) as connection:
            connection.shutdown(socket.SHUT_WR)
            assert receive_all(connection) == b""
        assert server.closed.acquire(timeout=PATIENCE)  # type: ignore[attr-defined]
        assert server.__dict__["log"] == []


def test_the_original_turns_to_a_silent_connection_first() -> None:
    served = []

    class Handler(original.WSGIRequestHandler):
        log_message = QuietHandler.log_message

        def handle(self) -> None:
            served.append(self.client_address)
            super().handle()

    with ExitStack() as stack:
        make = original.make_server
        server = stack.enter_context(make("127.0.0.1", 0, hello_app, handler_class=Handler))
        address = ("127.0.0.1", server.server_port)
        silent = stack.enter_context(socket.create_connection(address))
        talking = stack.enter_context(socket.create_connection(address))
        talking.sendall(REQUEST)
        silent.shutdown(socket.SHUT_WR)  # or it would wait for ever
        server.handle_request()
        assert served == [silent.getsockname()]


def test_handle_request_passes_over_silent_connections() -> None:
    with listening() as server, ExitStack() as silent:
        for _ in range(3):
            silent.enter_context(connected(server))
        with connected(server) as talking:
            talking.sendall(REQUEST)
            server.handle_request()
            assert receive_all(talking).endswith(b"Hello, world!")


def test_handle_request_serves_a_connection_that_an_earlier_one_passed_over() -> None:
    with listening() as server, connected(server) as late:
        with connected(server) as early:
            early.sendall(REQUEST)
            server.handle_request()
            assert receive_all(early).endswith(b"Hello, world!")
        late.sendall(REQUEST)
        server.handle_request()
        assert receive_all(late).endswith(b"Hello, world!")


def test_handle_request_serves_one_request() -> None:
    with listening() as server, ExitStack() as stack:
        clients = [stack.enter_context(connected(server)) for _ in range(3)]
        for client in clients:
            client.sendall(REQUEST)
        for served in range(1, 4):
            server.handle_request()
            assert len(server.__dict__["log"]) == served
        for client in clients:
            assert receive_all(client).endswith(b"Hello, world!")


def test_handle_request_passes_over_a_connection_that_is_being_drained() -> None:
    with listening() as server, connected(server) as refused, connected(server) as talking:
        with running(server):
            refused.sendall(b"POST / HTTP/1.0\r\nContent-Length: 100000\r\n\r\nx")
            assert receive_all(refused).endswith(b"Hello, world!")
            # An answer to somebody else: it is back in the selector.
            assert exchange(server, REQUEST).endswith(b"Hello, world!")
        refused.sendall(b"more of the body")
        requests = len(server.__dict__["log"])
        talking.sendall(REQUEST)
        server.handle_request()
        assert len(server.__dict__["log"]) == requests + 1
        assert receive_all(talking).endswith(b"Hello, world!")


@pytest.mark.skipif(not Waiting.has_descriptor, reason="a silent connection blocks here")
def test_handle_request_tells_when_nobody_has_spoken_in_time() -> None:
    class Impatient(WSGIServer):
        timeout = 0
        timeouts = 0

        def handle_timeout(self) -> None:
            self.timeouts += 1

    with listening(Impatient) as server, connected(server) as connection:
        server.handle_request()  # there is a connection, but it is silent
        server.handle_request()
        assert server.timeouts == 2  # type: ignore[attr-defined]
        connection.sendall(REQUEST)
        server.handle_request()
        assert receive_all(connection).endswith(b"Hello, world!")
        assert server.timeouts == 2  # type: ignore[attr-defined]


def test_handle_request_closes_the_connections_that_a_full_server_lets_go() -> None:
    class Small(WSGIServer):
        waiting_limit = 1

    with listening(Small) as server, connected(server) as oldest, connected(server) as second:
        with connected(server) as talking:
            talking.sendall(REQUEST)
            server.handle_request()
            assert receive_all(talking).endswith(b"Hello, world!")
        assert receive_all(oldest) == b""
        second.sendall(REQUEST)
        server.handle_request()
        assert receive_all(second).endswith(b"Hello, world!")


def test_the_oldest_make_room_when_too_many_wait() -> None:
    class Small(WSGIServer):
        waiting_limit = 2

    with listening(Small) as server, ExitStack() as stack:
        clients = [stack.enter_context(connected(server)) for _ in range(4)]
        with connected(server) as talking:
            talking.sendall(REQUEST)  # before it is accepted, so that it need not wait
            with running(server):
                assert receive_all(talking).endswith(b"Hello, world!")
                for client in clients[:2]:
                    assert receive_all(client) == b""
                for client in clients[2:]:
                    client.sendall(REQUEST)
                    assert receive_all(client).endswith(b"Hello, world!")


def test_a_silent_connection_is_closed_after_the_handlers_timeout() -> None:
    class Brief(QuietHandler):
        timeout = 0.01

    with listening(handler_class=Brief) as server, running(server):
        with connected(server) as connection:
            assert receive_all(connection) == b""
        assert server.__dict__["log"] == []


def test_a_threading_server_gives_silent_connections_a_thread() -> None:
    with serving(hello_app, ThreadingWSGIServer) as server, connected(server) as silent:
        assert exchange(server, REQUEST).endswith(b"Hello, world!")
        silent.sendall(REQUEST)
        assert receive_all(silent).endswith(b"Hello, world!")


def test_a_silent_connection_that_is_not_verified_is_closed() -> None:
    class Unfriendly(WSGIServer):
        def verify_request(self, request: Any, client_address: Any) -> bool:
            return False

    with serving(hello_app, Unfriendly) as server, connected(server) as connection:
        assert receive_all(connection) == b""


def test_a_connection_that_cannot_be_accepted_ends_nothing() -> None:
    class Failing(WSGIServer):
        failures = 0

        def get_request(self) -> Any:
            request = super().get_request()
            if self.failures == 0:
                self.failures += 1
                request[0].close()
                raise OSError("cannot accept")
            return request

    with serving(hello_app, Failing) as server:
        with connected(server) as refused:
            assert receive_all(refused) == b""
        assert exchange(server, REQUEST).endswith(b"Hello, world!")


def test_what_get_request_returns_reaches_the_handler_after_waiting() -> None:
    seen: list[Any] = []

    class Smuggling(WSGIServer):
        def get_request(self) -> Any:
            request, address = super().get_request()
            return request, (address, "more")

        def verify_request(self, request: Any, client_address: Any) -> bool:
            return client_address[1] == "more"  # type: ignore[no-any-return]

    class Handler(QuietHandler):
        def get_environ(self) -> dict[str, Any]:
            seen.append(self.client_address)
            self.client_address = self.client_address[0]  # type: ignore[assignment]
            return super().get_environ()

    with serving(hello_app, Smuggling, Handler) as server, connected(server) as connection:
        own = connection.getsockname()
        assert exchange(server, REQUEST).endswith(b"Hello, world!")
        connection.sendall(REQUEST)
        assert receive_all(connection).endswith(b"Hello, world!")
    assert seen[1] == (own, "more")


def test_an_exception_while_serving_ends_that_connection_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Breaking(QuietHandler):
        def handle(self) -> None:
            raise ZeroDivisionError("in handle")

    with serving(hello_app, handler_class=Breaking) as server:
        assert exchange(server, REQUEST) == b""
        assert exchange(server, REQUEST) == b""
    assert capsys.readouterr().err.count("ZeroDivisionError: in handle") == 2


def test_what_is_more_than_an_exception_ends_the_loop_and_closes_the_connection() -> None:
    class Ending(QuietHandler):
        def handle(self) -> None:
            raise KeyboardInterrupt

    with listening(handler_class=Ending) as server, connected(server) as connection:
        connection.sendall(REQUEST)
        with pytest.raises(KeyboardInterrupt):
            server.serve_forever()
        assert is_gone(connection)


# The loop


@pytest.mark.parametrize("server_class", [WSGIServer, ThreadingWSGIServer])
@pytest.mark.parametrize("silent", [0, 3])
def test_shutdown_does_not_wait_for_the_poll_interval(
    server_class: type[WSGIServer], silent: int
) -> None:
    with listening(server_class) as server, ExitStack() as clients, running(server):
        for _ in range(silent):
            clients.enter_context(connected(server))
        assert exchange(server, REQUEST).endswith(b"Hello, world!")


def test_shutdown_is_heard_when_the_loop_has_only_just_begun() -> None:
    for _ in range(50):
        with listening() as server, running(server):
            pass


def test_shutdown_is_heard_from_within_a_request() -> None:
    def stop(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        threading.Thread(target=server.shutdown).start()
        return hello_app(environ, start_response)

    with listening() as server:
        server.set_app(stop)
        with connected(server) as connection:
            connection.sendall(REQUEST)
            assert returns(lambda: server.serve_forever(3600))
            assert receive_all(connection).endswith(b"Hello, world!")


def test_a_server_serves_again_after_shutdown() -> None:
    with listening() as server:
        for _ in range(3):
            with running(server):
                assert exchange(server, REQUEST).endswith(b"Hello, world!")


@pytest.mark.parametrize("handler_class", [QuietHandler, KeepingHandler])
def test_a_connection_that_waits_through_shutdown_is_served_by_the_next_loop(
    handler_class: type[WSGIRequestHandler],
) -> None:
    with listening(handler_class=handler_class) as server, connected(server) as silent:
        for _ in range(2):
            with running(server):
                assert exchange(server, REQUEST).endswith(b"Hello, world!")
        silent.sendall(REQUEST)
        server.handle_request()
        assert receive_all(silent).endswith(b"Hello, world!")


def test_service_actions_are_taken_after_each_round() -> None:
    class Acting(WSGIServer):
        def __init__(self, *args: Any) -> None:
            self.acted = threading.Semaphore(0)
            super().__init__(*args)

        def service_actions(self) -> None:
            self.acted.release()

    with listening(Acting) as server, running(server):
        for _ in range(3):
            exchange(server, REQUEST)
            assert server.acted.acquire(timeout=PATIENCE)  # type: ignore[attr-defined]


def test_service_actions_are_taken_when_nothing_happens() -> None:
    class Ending(WSGIServer):
        rounds = 0

        def service_actions(self) -> None:
            self.rounds += 1
            if self.rounds == 3:
                raise KeyboardInterrupt

    with listening(Ending) as server, pytest.raises(KeyboardInterrupt):
        server.serve_forever(poll_interval=0)


def test_closing_a_server_closes_the_connections_that_wait() -> None:
    with serving(hello_app) as server, connected(server) as one, connected(server) as two:
        assert exchange(server, REQUEST).endswith(b"Hello, world!")
        server.shutdown()
        server.server_close()
        for silent in (one, two):
            assert receive_all(silent) == b""


def test_a_server_can_be_closed_twice_and_without_having_served() -> None:
    with listening() as server:
        server.server_close()
        server.server_close()
    assert server.fileno() == -1


def test_a_closed_server_leaves_no_descriptor_open() -> None:
    with serving(hello_app) as server:
        exchange(server, REQUEST)
        waiting = server._waiting
        assert waiting is not None
    assert (waiting._alarm.fileno(), waiting._bell.fileno()) == (-1, -1)


# The selector of those that wait


@contextmanager
def a_connection() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, two = socket.socketpair()
    with one, two:
        yield one, two


@contextmanager
def a_waiting(limit: int = 10) -> Iterator[Waiting]:
    with closing(Waiting(limit)) as waiting, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        waiting.listen(listener.fileno())
        waiting.address = listener.getsockname()  # type: ignore[attr-defined]
        yield waiting


NEVER = float("inf")


def test_what_has_bytes_no_longer_waits() -> None:
    with a_waiting() as waiting, a_connection() as (near, far):
        waiting.add(near, print, None)
        assert waiting.wait(0) == (False, [])
        far.sendall(b"x")
        assert waiting.wait(PATIENCE) == (False, [(near, print, NEVER)])
        assert waiting.wait(0) == (False, [])


def test_what_was_closed_by_its_peer_is_ready() -> None:
    with a_waiting() as waiting, a_connection() as (near, far):
        waiting.add(near, print, None)
        far.close()
        assert waiting.wait(PATIENCE) == (False, [(near, print, NEVER)])


def test_a_knock_is_told_until_it_is_heeded() -> None:
    with a_waiting() as waiting, socket.create_connection(waiting.address):  # type: ignore[attr-defined]
        assert waiting.wait(PATIENCE) == (True, [])
        assert waiting.wait(PATIENCE) == (True, [])


def test_a_wake_before_the_wait_counts() -> None:
    with a_waiting() as waiting:
        waiting.wake()
        assert waiting.wait(None) == (False, [])
        assert waiting.wait(0) == (False, [])


def test_waking_often_does_not_block() -> None:
    with a_waiting() as waiting:
        for _ in range(100_000):
            waiting.wake()
        assert waiting.wait(None) == (False, [])


def test_a_wake_that_comes_after_the_end_is_harmless() -> None:
    # As from a shutdown() beside the loop's own end and server_close().
    waiting = Waiting(1)
    waiting.close()
    waiting.wake()


def test_a_connection_added_from_another_thread_is_noticed() -> None:
    with a_waiting() as waiting, a_connection() as (near, far):
        far.sendall(b"x")
        waiting.wait(0)
        adding = threading.Thread(target=waiting.add, args=(near, print, None))
        adding.start()
        ready: list[Any] = []
        while not ready:  # the wake and the bytes may come one after the other
            _, ready = waiting.wait(None)
        adding.join(PATIENCE)
        assert ready == [(near, print, NEVER)]


def test_those_that_waited_too_long_are_given_up() -> None:
    with a_waiting() as waiting, a_connection() as (late, _), a_connection() as (patient, _):
        waiting.add(late, print, 0)
        waiting.add(patient, print, None)
        assert waiting.take_late() == [late]
        assert waiting.take_late() == []
        assert waiting.take_all() == [patient]
        assert waiting.take_all() == []


def test_the_oldest_is_given_up_when_one_is_too_many() -> None:
    with a_waiting(limit=1) as waiting, a_connection() as (old, new):
        waiting.add(old, print, None)
        waiting.add(new, print, None)
        assert waiting.take_all() == [old, new]


class TLSLike:
    """A connection with bytes in a buffer of its own."""

    def __init__(self, connection: socket.socket, pending: int) -> None:
        self.connection = connection
        self.pending = lambda: pending

    def fileno(self) -> int:
        return self.connection.fileno()


def test_bytes_within_a_tls_socket_count() -> None:
    with a_waiting() as waiting, a_connection() as (near, far):
        assert waiting.is_silent(near)
        assert waiting.is_silent(TLSLike(near, 0))
        assert not waiting.is_silent(TLSLike(near, 1))
        far.sendall(b"x")
        assert not waiting.is_silent(near)
        assert not waiting.is_silent(TLSLike(near, 0))


class Broken:
    def fileno(self) -> int:
        raise OSError


def test_only_an_open_socket_can_wait() -> None:
    with a_waiting() as waiting:
        with a_connection() as (near, _):
            assert waiting.can_hold(near)
        assert not waiting.can_hold(near)
        assert not waiting.can_hold(object())
        assert not waiting.can_hold(Broken())


def test_what_is_put_back_waits_no_longer_than_it_was_to() -> None:
    with a_waiting() as waiting, a_connection() as (near, far):
        waiting.add(near, print, 0)
        far.sendall(b"x")
        _, ready = waiting.wait(PATIENCE)
        waiting.put_back(*ready)
        assert waiting.take_late() == [near]


class Sending:
    """An action that waits until its connection takes bytes."""

    events = selectors.EVENT_WRITE

    def __call__(self) -> None:
        pass


def test_an_action_may_wait_for_a_connection_to_take_bytes() -> None:
    sending = Sending()
    with a_waiting() as waiting, a_connection() as (near, far):
        near.setblocking(False)
        try:
            while True:
                near.send(bytes(65536))
        except BlockingIOError:
            pass
        waiting.add(near, sending, None)
        far.sendall(b"x")
        assert waiting.wait(0) == (False, [])
        far.setblocking(False)
        while not (ready := waiting.wait(0)[1]):
            far.recv(65536)
        assert ready == [(near, sending, NEVER)]
