"""Where the drop-in differs from the standard library, on purpose: beside it, over sockets.

The rows of the table about bodies are in `test_streams`, those about waiting and the end of
`serve_forever` in `test_waiting`, those about clients that go away in `test_bad_input`, and
more about TLS in `test_tls_drop_in`.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref import simple_server as original

import pytest

from support import (
    PATIENCE,
    Application,
    OriginalHandler,
    OriginalServer,
    QuietHandler,
    connected,
    exchange,
    has_ipv6,
    hello_app,
    receive_all,
    serving,
    split_response,
)
from wsgiref_fast import simple_server
from wsgiref_fast.simple_server import ThreadingWSGIServer, WSGIServer, make_server

pytestmark = pytest.mark.usefixtures("implementation")


#: The two sides of each comparison: a server class and a request handler class.
OURS: dict[str, Any] = {"server_class": WSGIServer, "handler_class": QuietHandler}
THEIRS: dict[str, Any] = {"server_class": OriginalServer, "handler_class": OriginalHandler}


def get(server: WSGIServer, *fields: str, method: str = "GET") -> bytes:
    """Send a request with further header lines; return the whole response."""
    head = "".join(f"{line}\r\n" for line in (f"{method} / HTTP/1.0", *fields, ""))
    return exchange(server, head.encode("iso-8859-1"))


def answering(
    status: str = "200 OK",
    headers: Iterable[tuple[str, str]] = (),
    body: Callable[[], Iterable[bytes]] = lambda: [b"body"],
) -> Application:
    """Make an application of a fixed answer."""

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response(status, list(headers))
        return body()

    return app


class EnvironKeeper:
    """An application that keeps the environs of its requests."""

    def __init__(self) -> None:
        self.environs: list[dict[str, Any]] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        self.environs.append(dict(environ))
        start_response("200 OK", [])
        return [b"kept"]


def environ_of(*fields: str, sides: dict[str, Any] = OURS) -> dict[str, Any]:
    """Return the environ that a request with these header lines comes to."""
    app = EnvironKeeper()
    with serving(app, **sides) as server:
        assert get(server, *fields).endswith(b"kept")
    return app.environs[0]


# Writes of one response


class CountingSocket(socket.socket):
    """A socket that keeps what each of its sending calls was given."""

    sends: list[bytes]

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        self.sends.append(bytes(data))
        super().sendall(data, flags)

    def send(self, data: Any, flags: int = 0, /) -> int:
        self.sends.append(bytes(data))
        return super().send(data, flags)

    def sendmsg(self, buffers: Iterable[Any], *args: Any) -> int:
        buffers = list(buffers)
        self.sends.append(b"".join(map(bytes, buffers)))
        return super().sendmsg(buffers, *args)


class CountingMixIn:
    """Has a server's connections be `CountingSocket` objects, kept in ``accepted``."""

    accepted: list[CountingSocket]

    def get_request(self) -> tuple[CountingSocket, Any]:
        connection, address = super().get_request()  # type: ignore[misc]
        counting = CountingSocket(fileno=connection.detach())
        counting.sends = []
        self.__dict__.setdefault("accepted", []).append(counting)
        return counting, address


class CountingServer(CountingMixIn, WSGIServer):
    pass


class CountingOriginal(CountingMixIn, OriginalServer):
    pass


def sends_of(
    app: Application,
    server_class: Any = CountingServer,
    handler_class: Any = QuietHandler,
    method: str = "GET",
) -> list[bytes]:
    """Return the pieces in which a response was sent."""
    with serving(app, server_class, handler_class) as server:
        response = get(server, method=method)
    sends: list[bytes] = server.accepted[0].sends  # type: ignore[attr-defined]
    assert b"".join(sends) == response
    return sends


def use_write(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [])(b"by write()")
    return []


def fail(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    raise ZeroDivisionError


@pytest.mark.parametrize(
    "app",
    [
        pytest.param(hello_app, id="one block"),
        pytest.param(answering(body=lambda: [b""]), id="an empty block"),
        pytest.param(answering(body=list), id="no block"),
        pytest.param(answering(body=lambda: iter(())), id="an empty iterator"),
        pytest.param(answering("204 No Content", body=list), id="no body allowed"),
        pytest.param(answering(body=lambda: [b"x" * 65_536]), id="64 KiB"),
        pytest.param(answering(body=lambda: [b"x" * (1 << 20)]), id="1 MiB"),
        pytest.param(use_write, id="write"),
    ],
)
def test_head_and_first_block_leave_in_one_send(app: Application) -> None:
    assert len(sends_of(app)) == 1


def test_a_head_request_is_answered_in_one_send() -> None:
    assert len(sends_of(hello_app, method="HEAD")) == 1


def test_an_error_page_leaves_in_one_send(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(sends_of(fail)) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_the_original_sends_a_response_in_pieces() -> None:
    assert len(sends_of(hello_app, CountingOriginal, OriginalHandler)) > 1


def test_each_later_block_has_a_send_of_its_own() -> None:
    sends = sends_of(answering(body=lambda: iter([b"first", b"second", b"third"])))
    assert [sends[0].partition(b"\r\n\r\n")[2], *sends[1:]] == [b"first", b"second", b"third"]


def test_a_block_is_sent_before_the_next_is_asked_for() -> None:
    received = threading.Event()

    def blocks() -> Iterator[bytes]:
        yield b"first"
        assert received.wait(PATIENCE)
        received.clear()
        yield b"second"
        assert received.wait(PATIENCE)
        yield b"third"

    with serving(answering(body=blocks)) as server, connected(server) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        response = b""
        for block in (b"first", b"second", b"third"):
            while not response.endswith(block):
                response += connection.recv(65_536)
            received.set()


def test_an_empty_first_block_brings_the_head_out() -> None:
    received = threading.Event()

    def blocks() -> Iterator[bytes]:
        yield b""
        assert received.wait(PATIENCE)
        yield b"body"

    with serving(answering(body=blocks)) as server, connected(server) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        response = b""
        while not response.endswith(b"\r\n\r\n"):
            response += connection.recv(65_536)
        received.set()
        assert receive_all(connection) == b"body"


def test_a_large_first_block_arrives_whole_on_a_connection_with_a_timeout() -> None:
    class TimingOut(QuietHandler):
        timeout = PATIENCE  # its sends are partial

    body = bytes(range(256)) * (1 << 14)
    with serving(answering(body=lambda: [body]), handler_class=TimingOut) as server:
        assert split_response(get(server))[2] == body


def test_a_head_that_cannot_be_encoded_leaves_nothing_but_an_error_page(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with serving(answering(headers=[("X-A", "\u20ac")])) as server:
        line, headers, body = split_response(get(server))
    assert line == "HTTP/1.0 500 Internal Server Error"
    assert ("Content-Length", str(len(body))) in headers
    assert capsys.readouterr().err.count("UnicodeEncodeError") == 1


# Nagle's algorithm


def nodelay_of(sides: dict[str, Any]) -> bool:
    seen = []
    base: Any = sides["handler_class"]

    class Looking(base):  # type: ignore[misc]
        def get_environ(self) -> dict[str, Any]:
            seen.append(self.connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            return super().get_environ()  # type: ignore[no-any-return]

    with serving(hello_app, sides["server_class"], Looking) as server:
        get(server)
    return bool(seen[0])


def test_nagles_algorithm_is_off() -> None:
    assert nodelay_of(OURS)


def test_the_original_leaves_nagles_algorithm_on() -> None:
    assert not nodelay_of(THEIRS)


def test_a_class_can_leave_nagles_algorithm_on() -> None:
    class Delaying(QuietHandler):
        disable_nagle_algorithm = False

    assert not nodelay_of({"server_class": WSGIServer, "handler_class": Delaying})


if hasattr(socket, "AF_UNIX"):
    from socketserver import UnixStreamServer

    class UnixServer(UnixStreamServer, WSGIServer):
        address_family = socket.AF_UNIX

        def get_request(self) -> Any:
            return super().get_request()[0], ("somebody", 0)  # such a peer has no address

    def test_a_server_on_a_unix_socket_has_no_nagle_to_turn_off(
        tmp_path: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        server = UnixServer(str(tmp_path / "socket"), QuietHandler)
        with server, socket.socket(socket.AF_UNIX) as connection:
            server.set_app(hello_app)
            connection.connect(server.server_address)
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            server.handle_request()
            assert receive_all(connection).endswith(b"Hello, world!")
        assert capsys.readouterr().err == ""


# Control characters and hop-by-hop headers

SCRIPT = """
import sys, socket
from importlib import import_module
assert not __debug__ or sys.argv[2] == "plain"
library = import_module(sys.argv[1] + ".simple_server")
headers, status = eval(sys.argv[3]), eval(sys.argv[4])

def app(environ, start_response):
    start_response(status, headers)
    return [b"body"]

with library.make_server("127.0.0.1", 0, app) as server:
    with socket.create_connection(server.server_address) as connection:
        connection.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        server.handle_request()
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
        print(answer.decode("iso-8859-1").partition("\\r\\n")[0])
"""

BAD_HEADERS = [
    pytest.param([("X-A", "1\r\nX-B: 2")], "200 OK", "ValueError", id="CRLF in a value"),
    pytest.param([("X-A\n", "1")], "200 OK", "ValueError", id="LF in a name"),
    pytest.param([("X-A", "\x7f")], "200 OK", "ValueError", id="DEL in a value"),
    pytest.param([("X\tA", "1")], "200 OK", "ValueError", id="HTAB in a name"),
    pytest.param([], "200 OK\r\nX-A: 1", "ValueError", id="CRLF in the status"),
    pytest.param([], "200 \x00", "ValueError", id="NUL in the status"),
    pytest.param([("Connection", "close")], "200 OK", "Hop-by-hop", id="hop-by-hop"),
    pytest.param([("transfer-encoding", "chunked")], "200 OK", "Hop-by-hop", id="lower case"),
]


def run_script(
    library: str, optimized: bool, headers: object, status: str, implementation: str
) -> tuple[str, str]:
    """Serve one response in an interpreter of its own; return status line and log."""
    options = ["-O"] if optimized else []
    mode = "optimized" if optimized else "plain"
    arguments = [library, mode, repr(headers), repr(status)]
    done = subprocess.run(
        [sys.executable, *options, "-c", SCRIPT, *arguments],
        env={**os.environ, "WSGIREF_FAST_IMPL": implementation, "PYTHONOPTIMIZE": ""},
        capture_output=True,
        text=True,
        timeout=PATIENCE * 3,
        check=True,
    )
    return done.stdout.rstrip("\n"), done.stderr


@pytest.mark.parametrize(("headers", "status", "complaint"), BAD_HEADERS)
def test_a_bad_header_is_an_error_page(
    headers: list[tuple[str, str]],
    status: str,
    complaint: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with serving(answering(status, headers)) as server:
        line, fields, body = split_response(get(server))
    assert line == "HTTP/1.0 500 Internal Server Error"
    assert not {"X-A", "X-B", "Connection", "transfer-encoding"} & {name for name, _ in fields}
    assert body.startswith(b"A server error occurred.")
    assert capsys.readouterr().err.count(complaint) >= 1


@pytest.mark.parametrize(("headers", "status", "complaint"), BAD_HEADERS)
def test_a_bad_header_is_an_error_page_when_assertions_are_off(
    headers: list[tuple[str, str]], status: str, complaint: str, implementation: str
) -> None:
    line, log = run_script("wsgiref_fast", True, headers, status, implementation)
    assert line == "HTTP/1.0 500 Internal Server Error"
    assert complaint in log


def test_the_original_sends_hop_by_hop_headers_when_assertions_are_off() -> None:
    line, _ = run_script("wsgiref", True, [("Connection", "close")], "200 OK", "auto")
    assert line == "HTTP/1.0 200 OK"


@pytest.mark.parametrize("value", ["a\tb", "\xe9", "\x80\xff", ""])
def test_a_header_value_may_hold_tabs_and_bytes_beyond_ascii(value: str) -> None:
    with serving(answering(headers=[("X-A", value)])) as server:
        assert ("X-A", value) in split_response(get(server))[1]


# Strict refusals; test_bad_input has more of them, and what they log


REFUSED = [
    pytest.param(["X-A: 1\rX-B: 2"], id="bare CR"),
    pytest.param(["X-A: 1\r\r"], id="two CRs"),
    pytest.param(["X-A : 1"], id="space before the colon"),
    pytest.param(["X-A\t: 1"], id="tab before the colon"),
    pytest.param(["Content-Length: 4", "Content-Length: 5"], id="two lengths"),
    pytest.param(["Content-Length: 4, 5"], id="a list of two lengths"),
    pytest.param(["Content-Length: 4,"], id="half a list"),
    pytest.param(["Content-Length: +4"], id="plus"),
    pytest.param(["Content-Length: -1"], id="minus"),
    pytest.param(["Content-Length: 0x4"], id="hexadecimal"),
    pytest.param(["Content-Length: 4_0"], id="underscore"),
    pytest.param(["Content-Length: 4 0"], id="two numbers"),
    pytest.param(["Content-Length: four"], id="a word"),
    pytest.param(["Content-Length:"], id="empty"),
    pytest.param(["Content-Length: \xb2"], id="a digit that is none"),
    pytest.param(["Content-Length: " + "9" * 30], id="huge"),
]


@pytest.mark.parametrize("fields", REFUSED)
def test_what_two_parsers_may_read_differently_is_refused(fields: list[str]) -> None:
    app = EnvironKeeper()
    with serving(app, **OURS) as server:
        status, headers, _ = split_response(get(server, *fields))
    assert status.startswith("HTTP/1.0 400 ")
    assert ("Connection", "close") in headers
    assert app.environs == []


@pytest.mark.parametrize("fields", REFUSED)
def test_the_original_serves_what_two_parsers_may_read_differently(fields: list[str]) -> None:
    app = EnvironKeeper()
    with serving(app, **THEIRS) as server:
        assert get(server, *fields).startswith(b"HTTP/1.0 200 ")
    assert len(app.environs) == 1


@pytest.mark.parametrize(
    "fields",
    [
        ["Content-Length: 4"],
        ["Content-Length: 4", "Content-Length: 4"],
        ["Content-Length: 4", "content-LENGTH: 4"],
        ["Content-Length: 4, 4"],
        ["Content-Length: 4 ,\t4", "Content-Length: 4"],
    ],
)
def test_a_list_of_equal_lengths_is_one_length(fields: list[str]) -> None:
    app = EnvironKeeper()
    head = "\r\n".join(["POST / HTTP/1.0", *fields, "", "body"])
    with serving(app, **OURS) as server:
        assert exchange(server, head.encode()).startswith(b"HTTP/1.0 200 ")
    assert app.environs[0]["CONTENT_LENGTH"] == "4"


# Cookies


@pytest.mark.parametrize("names", [("Cookie", "Cookie"), ("Cookie", "COOKIE"), ("cookie",) * 2])
def test_cookies_are_joined_as_cookies_are(names: tuple[str, str]) -> None:
    environ = environ_of(f"{names[0]}: a=1", "X-A: 1", f"{names[1]}: b=2; c=3", "X-A: 2")
    assert environ["HTTP_COOKIE"] == "a=1; b=2; c=3"
    assert environ["HTTP_X_A"] == "1,2"


def test_the_original_joins_cookies_with_commas() -> None:
    assert environ_of("Cookie: a=1", "Cookie: b=2", sides=THEIRS)["HTTP_COOKIE"] == "a=1,b=2"


# Responses without a body

BODYLESS = ["100 Continue", "102 Processing", "199 x", "204 No Content", "304 Not Modified"]


@pytest.mark.parametrize("body", [list, lambda: [b""], lambda: iter(()), lambda: iter([b"x"])])
@pytest.mark.parametrize("status", BODYLESS)
def test_a_response_without_a_body_has_no_length(
    status: str, body: Callable[[], Iterable[bytes]]
) -> None:
    with serving(answering(status, body=body)) as server:
        line, headers, sent = split_response(get(server))
    assert line == f"HTTP/1.0 {status}"
    assert [name for name, _ in headers] == ["Date", "Server"]
    assert sent == b""


@pytest.mark.parametrize("status", BODYLESS)
def test_the_original_gives_it_a_length(status: str) -> None:
    with serving(answering(status, body=list), **THEIRS) as server:
        assert ("Content-Length", "0") in split_response(get(server))[1]


def test_the_applications_own_length_stays_in_a_304() -> None:
    app = answering("304 Not Modified", [("Content-Length", "1234")], list)
    with serving(app) as server:
        assert ("Content-Length", "1234") in split_response(get(server))[1]


@pytest.mark.parametrize("status", ["200 OK", "205 Reset Content", "301 Moved", "240 Odd"])
def test_other_responses_without_a_block_have_the_length_0(status: str) -> None:
    with serving(answering(status, body=list)) as server:
        assert ("Content-Length", "0") in split_response(get(server))[1]


# HEAD


class Blocks:
    """An iterable whose closing is counted, and how many blocks it gave."""

    def __init__(self, *blocks: bytes) -> None:
        self.left = list(blocks)
        self.given = self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        for block in self.left:
            self.given += 1
            yield block

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize(
    ("headers", "body", "length"),
    [
        ([("Content-Length", "999")], lambda: [b"body"], ["999"]),
        ([("Content-Length", "4")], lambda: iter([b"body"]), ["4"]),
        ([("Content-Length", "4")], list, ["4"]),
        ([], lambda: [b"body"], ["4"]),
        ([], lambda: iter([b"body"]), []),
        ([], list, []),
    ],
)
def test_head_is_answered_without_a_body(
    headers: list[tuple[str, str]], body: Callable[[], Iterable[bytes]], length: list[str]
) -> None:
    with serving(answering(headers=headers, body=body)) as server:
        line, fields, sent = split_response(get(server, method="HEAD"))
    assert line == "HTTP/1.0 200 OK"
    assert [value for name, value in fields if name == "Content-Length"] == length
    assert sent == b""
    assert server.__dict__["log"] == ['"HEAD / HTTP/1.0" 200 0']


def test_the_original_answers_head_with_a_body() -> None:
    with serving(hello_app, **THEIRS) as server:
        assert get(server, method="HEAD").endswith(b"Hello, world!")


def test_an_iterable_is_not_exhausted_for_head_but_closed() -> None:
    body = Blocks(b"first", b"second", b"third")
    with serving(answering(body=lambda: body)) as server:
        get(server, method="HEAD")
    assert (body.given, body.closed) == (1, 1)


def test_what_is_written_for_head_is_dropped() -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        write = start_response("200 OK", [])
        write(b"one")
        write(b"two")
        return [b"three"]

    with serving(app) as server:
        assert split_response(get(server, method="HEAD"))[2] == b""


def test_a_file_is_not_sent_for_head(tmp_path: Any) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"contents")

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", [("Content-Length", "8")])
        return environ["wsgi.file_wrapper"](open(path, "rb"))

    with serving(app) as server:
        assert split_response(get(server, method="HEAD"))[2] == b""
        assert split_response(get(server))[2] == b"contents"


def test_a_method_that_an_application_writes_into_the_environ_is_not_heeded() -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        environ["REQUEST_METHOD"] = "GET"
        start_response("200 OK", [])
        return [b"body"]

    with serving(app) as server:
        assert split_response(get(server, method="HEAD"))[2] == b""


# TLS


@contextmanager
def two_clients(sides: dict[str, Any]) -> Iterator[list[Any]]:
    """Make a server of TLS, and two clients whose handshakes both fail: one says nothing."""
    server = make_server("127.0.0.1", 0, hello_app, **sides)
    context: Any = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with server, connected(server) as silent, connected(server) as talking:
        talking.sendall(b"GET / HTTP/1.0\r\n\r\n")
        yield [server, silent, talking]


def test_a_silent_client_does_not_keep_others_from_their_handshake(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with two_clients(OURS) as (server, silent, talking):
        server.handle_request()
        assert select.select([silent, talking], [], [], PATIENCE)[0] == [talking]
    assert "- - connection lost: TLS handshake failed: " in capsys.readouterr().err


def test_the_original_does_one_handshake_after_the_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with two_clients(THEIRS) as (server, silent, talking):
        silent.shutdown(socket.SHUT_WR)  # or it would wait for ever
        server.handle_request()
        assert select.select([silent, talking], [], [], PATIENCE)[0] == [silent]
    assert capsys.readouterr().err == ""


# Start without a look-up


def forbid_lookups(monkeypatch: pytest.MonkeyPatch) -> None:
    def lookup(*args: object) -> None:
        raise AssertionError(f"a name was looked up: {args}")

    for name in ("getfqdn", "gethostbyaddr", "gethostbyname", "getnameinfo"):
        monkeypatch.setattr(socket, name, lookup)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "", "0.0.0.0"])
def test_no_name_is_looked_up_to_start_and_to_serve(
    host: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forbid_lookups(monkeypatch)
    with (
        make_server(host, 0, hello_app, handler_class=QuietHandler) as server,
        socket.create_connection(("127.0.0.1", server.server_port), PATIENCE) as connection,
    ):
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        server.handle_request()
        assert receive_all(connection).endswith(b"Hello, world!")
    assert capsys.readouterr().err == ""


def test_the_original_looks_a_name_up_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    forbid_lookups(monkeypatch)
    with pytest.raises(AssertionError, match="looked up"):
        original.make_server("127.0.0.1", 0, hello_app)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", ""])
def test_server_name_is_the_originals_when_it_is_asked_for(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OriginalServer((host, 0), OriginalHandler) as theirs:
        name = theirs.server_name
    asked = []
    getfqdn = socket.getfqdn

    def counting(host: str = "") -> str:
        asked.append(host)
        return getfqdn(host)

    monkeypatch.setattr(socket, "getfqdn", counting)
    with WSGIServer((host, 0), QuietHandler) as ours:
        assert asked == []
        assert ours.server_name == name
        assert ours.server_name == name
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "localhost"),
        ("0.0.0.0", socket.gethostname()),
        ("", socket.gethostname()),
    ],
)
def test_the_environ_names_the_server_without_a_look_up(host: str, name: str) -> None:
    with WSGIServer((host, 0), QuietHandler) as server:
        assert server.base_environ["SERVER_NAME"] == name
        assert server.base_environ["SERVER_PORT"] == str(server.server_port)


def test_a_server_name_that_somebody_has_set_is_the_environs() -> None:
    class Named(WSGIServer):
        server_name = "example.org"

    class NamedLater(WSGIServer):
        def server_bind(self) -> None:
            self.server_name = "example.net"
            super().server_bind()

    for server_class, name in ((Named, "example.org"), (NamedLater, "example.net")):
        with server_class(("127.0.0.1", 0), QuietHandler) as server:
            assert server.base_environ["SERVER_NAME"] == server.server_name == name


# No second traceback without a status


def error_page_fails(*_: object) -> list[bytes]:
    raise RuntimeError("no error page")


def traceback_of(library: Any, sides: dict[str, Any], monkeypatch: Any, capsys: Any) -> str:
    """Return what is printed where an application and its error page fail."""
    monkeypatch.setattr(library.ServerHandler, "error_output", error_page_fails)
    with serving(fail, **sides) as server:
        assert get(server) == b""
    return capsys.readouterr().err  # type: ignore[no-any-return]


def test_a_request_without_a_status_is_logged_and_no_second_traceback_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = traceback_of(simple_server, OURS, monkeypatch, capsys)
    assert "no error page" in printed
    assert "NoneType" not in printed


def test_the_original_prints_that_a_missing_status_cannot_be_split(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = traceback_of(original, THEIRS, monkeypatch, capsys)
    assert "'NoneType' object has no attribute 'split'" in printed


# HTTP/0.9


def parse_as_3_14_4(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `http.server` give an HTTP/0.9 request an empty `dict` for headers."""
    parse_request = BaseHTTPRequestHandler.parse_request

    def parse(self: BaseHTTPRequestHandler) -> bool:
        parsed = parse_request(self)
        if parsed and self.request_version == "HTTP/0.9":
            self.headers = {}  # type: ignore[assignment]
        return parsed

    monkeypatch.setattr(BaseHTTPRequestHandler, "parse_request", parse)


@pytest.mark.parametrize("newest", [False, True], ids=["as here", "as 3.14.4"])
@pytest.mark.parametrize("line", [b"GET /a?b\r\n", b"GET /a?b\n", b"  GET   /a?b  \r\n"])
def test_http_0_9_is_answered(
    line: bytes,
    newest: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if newest:
        parse_as_3_14_4(monkeypatch)
    app = EnvironKeeper()
    with serving(app) as server, connected(server) as connection:
        connection.sendall(line)
        connection.shutdown(socket.SHUT_WR)
        assert receive_all(connection) == b"kept"
    (environ,) = app.environs
    assert environ["SERVER_PROTOCOL"] == "HTTP/0.9"
    assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == ("/a", "b")
    assert environ["CONTENT_TYPE"] == "text/plain"
    assert capsys.readouterr().err == ""


def test_the_originals_environ_fails_where_headers_are_an_empty_dict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parse_as_3_14_4(monkeypatch)
    with serving(hello_app, **THEIRS) as server, connected(server) as connection:
        connection.sendall(b"GET /\r\n")
        connection.shutdown(socket.SHUT_WR)
        assert receive_all(connection) == b""
    assert "AttributeError" in capsys.readouterr().err


# Names with an underscore


def test_headers_with_an_underscore_are_dropped() -> None:
    environ = environ_of("X_A: spoofed", "X-A: true", "X-B_C: 1", "_: 2", "Content_Length: 3")
    assert environ["HTTP_X_A"] == "true"
    assert not {"HTTP_X_B_C", "HTTP__", "HTTP_CONTENT_LENGTH"} & set(environ)
    assert environ["CONTENT_LENGTH"] == ""


def test_a_class_attribute_lets_underscores_through_again() -> None:
    class Lenient(QuietHandler):
        underscore_headers = True

    fields = ["X_A: 1", "X-A: 2", "X-B_C: 3"]
    ours = environ_of(*fields, sides={"server_class": WSGIServer, "handler_class": Lenient})
    theirs = environ_of(*fields, sides=THEIRS)
    assert ours["HTTP_X_A"] == theirs["HTTP_X_A"] == "1,2"
    assert ours["HTTP_X_B_C"] == theirs["HTTP_X_B_C"] == "3"


# What the environ says of threads and processes


class MixedServer(ThreadingMixIn, WSGIServer):
    pass


class MixedOriginal(ThreadingMixIn, OriginalServer):
    pass


@pytest.mark.parametrize(
    ("server_class", "multithread"),
    [(WSGIServer, False), (MixedServer, True), (ThreadingWSGIServer, True)],
)
def test_the_environ_tells_whether_there_are_threads(
    server_class: type[WSGIServer], multithread: bool
) -> None:
    sides = {"server_class": server_class, "handler_class": QuietHandler}
    environ = environ_of(sides=sides)
    assert environ["wsgi.multithread"] is multithread
    assert environ["wsgi.multiprocess"] is False


def test_the_originals_environ_denies_its_threads() -> None:
    sides = {"server_class": MixedOriginal, "handler_class": OriginalHandler}
    assert environ_of(sides=sides)["wsgi.multithread"] is False


FORKING = """
import socket
from socketserver import ForkingMixIn
from wsgiref_fast.simple_server import WSGIServer, make_server

class Server(ForkingMixIn, WSGIServer):
    pass

def app(environ, start_response):
    start_response("200 OK", [])
    return [repr((environ["wsgi.multithread"], environ["wsgi.multiprocess"])).encode()]

with make_server("127.0.0.1", 0, app, Server) as server:
    with socket.create_connection(server.server_address) as connection:
        connection.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        server.handle_request()
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
        print(answer.decode().rpartition("\\r\\n")[2])
"""


if hasattr(os, "fork"):

    def test_the_environ_tells_that_there_are_processes(implementation: str) -> None:
        # A process of its own, as this one may have threads by now.
        done = subprocess.run(
            [sys.executable, "-c", FORKING],
            env={**os.environ, "WSGIREF_FAST_IMPL": implementation},
            capture_output=True,
            text=True,
            timeout=PATIENCE * 3,
            check=True,
        )
        assert done.stdout == "(False, True)\n"


def test_a_threading_server_serves_several_at_once() -> None:
    together = threading.Barrier(3, timeout=PATIENCE)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        together.wait()
        return hello_app(environ, start_response)

    with (
        serving(app, ThreadingWSGIServer) as server,
        connected(server) as one,
        connected(server) as two,
    ):
        for connection in (one, two):
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        together.wait()
        assert receive_all(one).endswith(b"Hello, world!")
        assert receive_all(two).endswith(b"Hello, world!")
    assert ThreadingWSGIServer.daemon_threads


# IPv6


if has_ipv6():

    def test_an_ipv6_address_makes_a_server_for_ipv6() -> None:
        app = EnvironKeeper()
        with serving(app, host="::1") as server:
            assert server.socket.family == socket.AF_INET6
            assert get(server).endswith(b"kept")
        assert app.environs[0]["REMOTE_ADDR"] == "::1"
        assert app.environs[0]["SERVER_NAME"] == "::1"

    def test_the_ipv6_wildcard_serves_ipv4_too() -> None:
        with serving(hello_app, host="::") as server:
            assert server.base_environ["SERVER_NAME"] == socket.gethostname()
            for host in ("::1", "127.0.0.1"):
                with socket.create_connection((host, server.server_port), PATIENCE) as connection:
                    connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                    assert receive_all(connection).endswith(b"Hello, world!")

    def test_the_original_cannot_listen_on_an_ipv6_address() -> None:
        with pytest.raises(socket.gaierror):
            OriginalServer(("::1", 0), OriginalHandler)

    def test_a_family_that_a_class_has_chosen_stays() -> None:
        class Chosen(WSGIServer):
            address_family = socket.AF_INET6

        with Chosen(("::1", 0), QuietHandler) as server:
            assert server.socket.family == socket.AF_INET6
        assert WSGIServer.address_family == socket.AF_INET


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "", "0.0.0.0"])
def test_other_hosts_stay_with_ipv4(host: str) -> None:
    with WSGIServer((host, 0), QuietHandler) as server:
        assert server.socket.family == socket.AF_INET
