"""Where the HTTP/1.1 server listens: Unix sockets, inherited ones, IPv6, and several at once."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from http11 import Client, ask, client_of, serving
from support import PATIENCE, has_ipv6, hello_app, open_descriptors, path_app, wait_until
from wsgiref_fast.server import Server, serve

pytestmark = pytest.mark.usefixtures("implementation")


@pytest.fixture
def path() -> Iterator[str]:
    """Make a path for a Unix socket, which has to be a short one."""
    if not hasattr(socket, "AF_UNIX"):
        pytest.skip("there are no Unix sockets")
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(dir="/tmp") as home:
        yield f"{home}/it"


def test_a_unix_socket(path: str) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        assert all(type(value) is str for key, value in environ.items() if key.isupper())
        return path_app(environ, start_response)

    with serving(app, f"unix:{path}") as server:
        with client_of(path, socket.AF_UNIX) as client:
            assert client.ask("/1").body == b"/1"
            assert client.ask("/2").body == b"/2"
        assert server.socket.getsockname() == path
    assert not os.path.exists(path)


def test_a_stale_unix_socket_is_replaced(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    with serving(path_app, f"unix:{path}"), client_of(path, socket.AF_UNIX) as client:
        assert client.ask("/1").body == b"/1"
    assert not os.path.exists(path)


def test_a_live_unix_socket_is_refused_and_left_alone(path: str) -> None:
    with serving(path_app, f"unix:{path}") as server:
        with client_of(path, socket.AF_UNIX) as client:  # from now on it has all that it opens
            assert client.ask("/0").body == b"/0"
        wait_until(lambda: not any(loop.peers for loop in server._loops))
        before = open_descriptors()
        with pytest.raises(OSError, match="in use"):
            Server(f"unix:{path}")
        wait_until(lambda: open_descriptors() == before)  # it has closed the probe too
        with client_of(path, socket.AF_UNIX) as client:
            assert client.ask("/1").body == b"/1"


def test_a_live_unix_socket_whose_backlog_is_full_is_refused_too(path: str) -> None:
    failures: list[str] = []

    def listen() -> None:
        try:
            Server(f"unix:{path}").server_close()
        except OSError as error:
            failures.append(str(error))

    with socket.socket(socket.AF_UNIX) as busy, ExitStack() as stack:
        busy.bind(path)
        busy.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            try:
                client.connect(path)
            except BlockingIOError:
                break
        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        thread.join(PATIENCE / 4)
        assert not thread.is_alive()
    assert len(failures) == 1
    assert "in use" in failures[0]


def test_another_file_at_the_path_is_left_alone(path: str) -> None:
    Path(path).write_text("mine")
    with pytest.raises(OSError, match="in use"):
        Server(f"unix:{path}")
    assert Path(path).read_text() == "mine"


def test_a_unix_socket_that_another_has_replaced_is_left_alone(path: str) -> None:
    with serving(path_app, f"unix:{path}"), socket.socket(socket.AF_UNIX) as other:
        os.unlink(path)
        other.bind(path)
    assert os.path.exists(path)


def test_loops_on_a_unix_socket(path: str) -> None:
    with serving(path_app, f"unix:{path}", loops=2), ExitStack() as stack:
        for number in range(8):
            client = stack.enter_context(client_of(path, socket.AF_UNIX))
            assert client.ask(f"/{number}").body == f"/{number}".encode()


def test_an_inherited_socket() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        with serving(path_app, f"fd://{listener.detach()}") as server:
            assert server.server_address == address
            assert server.server_port == address[1]
            assert ask(server, "/1").body == b"/1"


def test_what_others_may_share_goes_on_not_to_block() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = os.dup(listener.fileno())
        with serving(path_app, f"fd://{ours}") as server:
            assert ask(server, "/1").body == b"/1"
            assert not os.get_blocking(listener.fileno())
        # Somebody else may be told of a connection that a third one takes first.
        assert not os.get_blocking(listener.fileno())


def test_what_others_serve_on_does_not_block_for_being_inherited() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        first, second = os.dup(listener.fileno()), os.dup(listener.fileno())
        with Server([f"fd://{first}", f"fd://{second}"]) as server:
            assert not os.get_blocking(listener.fileno())
            assert [each.fileno() for each in server.listeners] == [first, second]
        assert socket.getdefaulttimeout() is None


def test_handle_request_waits_each_time_on_what_others_may_share() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = os.dup(listener.fileno())
        with Server(f"fd://{ours}") as server:
            server.set_app(path_app)
            server.timeout = PATIENCE
            calls: list[str] = []
            server.handle_timeout = lambda: calls.append("timeout")  # type: ignore[method-assign]
            for number in range(2):
                with client_of(server) as client:
                    asking = threading.Timer(0.05, client.send, [f"/{number}"])
                    asking.start()
                    server.handle_request()
                    asking.join()
                    assert not calls
                    assert client.receive().body == f"/{number}".encode()


def test_an_inherited_unix_socket_keeps_its_file(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        with (
            serving(path_app, f"fd://{listener.detach()}"),
            client_of(path, socket.AF_UNIX) as client,
        ):
            assert client.ask("/1").body == b"/1"
    assert os.path.exists(path)


def test_a_descriptor_that_is_no_socket_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file, pytest.raises(OSError, match="socket"):
        Server(f"fd://{file.fileno()}")


def test_several_addresses_at_once(path: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as inherited:
        address = inherited.getsockname()
        descriptor = inherited.detach()
    before = open_descriptors()
    addresses = [("127.0.0.1", 0), f"unix:{path}", f"fd://{descriptor}"]
    with serving(path_app, addresses) as server, ExitStack() as stack:
        third = stack.enter_context(socket.create_connection(address, PATIENCE))
        clients = [
            stack.enter_context(client_of(server)),
            stack.enter_context(client_of(path, socket.AF_UNIX)),
            Client(third),
        ]
        for number, client in enumerate([*clients, *clients]):
            assert client.ask(f"/{number}").body == f"/{number}".encode()
        clients[2].file.close()
    assert not os.path.exists(path)
    assert open_descriptors() == before - 1


def test_one_address_that_is_taken_closes_the_others(path: str) -> None:
    before = open_descriptors()
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(OSError, match="in use"),
    ):
        Server([f"unix:{path}", ("127.0.0.1", 0), taken.getsockname()])
    assert open_descriptors() == before
    assert not os.path.exists(path)


class TestIPv6:
    #: Without IPv6 on this machine there is nothing to collect here.
    __test__ = has_ipv6()

    @pytest.mark.parametrize("is_first", [True, False])
    def test_ipv6(self, is_first: bool) -> None:
        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            start_response("200 OK", [])
            return [environ["REMOTE_ADDR"].encode()]

        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
            port = probe.getsockname()[1]
        addresses = [("::1", port), ("127.0.0.1", 0)]
        with serving(app, addresses if is_first else addresses[::-1]) as server:
            with socket.create_connection(("::1", port), PATIENCE) as connection:
                client = Client(connection)
                assert client.ask().body == b"::1"
                client.file.close()
            assert len(server.server_address) == (4 if is_first else 2)


def test_serve_says_what_it_cannot_listen_on() -> None:
    before = open_descriptors()
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        serve(hello_app, port=taken.getsockname()[1])
    with pytest.raises(TypeError, match="threads"):
        serve(hello_app, port=0, thread=1)  # type: ignore[call-arg]
    assert open_descriptors() == before
