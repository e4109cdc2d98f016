"""Requests as files, good ones and bad ones, and beside each what must come of it.

In `corpus/` the bytes of ``NAME.http`` are what a client sends. ``NAME.json`` says why that is
a case, which rule it is one of, which requests must reach the application (text stands for
bytes, as Latin-1), and the status of the refusal that must follow them, if any. With
``half_close`` the client then sends no more; with ``continues`` it gets a 100 before it sends
the first body. ``options`` are the server's.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pytest

from support import connected, running
from wsgiref_fast._http11.options import Options
from wsgiref_fast._pure.connection import Connection
from wsgiref_fast._pure.request import BadRequest
from wsgiref_fast.server import Server

FOLDER = Path(__file__).parent / "corpus"
RULES = {
    *("before the request line", "request line", "target", "line ends", "header line", "Host"),
    *("limits", "half-close", "trailers", "environ", "Content-Length", "Transfer-Encoding"),
    *("chunk size", "body left unread by the application", "Expect", "keep-alive"),
    *("body larger than memory should hold", "pipelining"),
}


class Case(NamedTuple):
    data: bytes
    rule: str
    why: str
    requests: list[dict[str, Any]]
    refusal: int | None = None
    half_close: bool = False
    continues: bool = False
    options: dict[str, Any] = {}  # noqa: RUF012 - nobody changes it

    @property
    def goes_on(self) -> bool:
        """Whether another request may follow."""
        is_kept = not self.requests or self.requests[-1]["keeps_alive"]
        return is_kept and self.refusal is None and not self.half_close


def load(name: str) -> Case:
    said = json.loads((FOLDER / f"{name}.json").read_text("ascii"))
    return Case((FOLDER / f"{name}.http").read_bytes(), **said)


NAMES = sorted(path.stem for path in FOLDER.glob("*.http"))
CASES = {name: load(name) for name in NAMES}

#: What follows where something may: nothing of it must have been read with the case.
NEXT = b"PUT /next?a HTTP/1.1\r\nHost: next\r\nX-Next: b\r\nContent-Length: 3\r\n\r\nabc"
NEXT_REQUEST = {
    "method": "PUT",
    "target": "/next?a",
    "path": "/next?a",
    "path_info": "/next",
    "query_string": "a",
    "version": "HTTP/1.1",
    "variables": {"HTTP_HOST": "next", "HTTP_X_NEXT": "b", "CONTENT_LENGTH": "3"},
    "body": "abc",
    "keeps_alive": True,
}


def by_line(data: bytes) -> list[bytes]:
    return [line + b"\n" for line in data.split(b"\n")[:-1]] + [data[data.rfind(b"\n") + 1 :]]


def by_byte(data: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in data]


def test_each_case_is_a_file_and_what_is_expected_of_it() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.json")) == NAMES
    assert len(NAMES) >= 220
    assert {case.rule for case in CASES.values()} == RULES
    assert all(case.why for case in CASES.values())


def test_the_limits_are_the_documented_ones() -> None:
    options = Options()
    assert options.max_request_line == options.max_header_line == 8190
    assert options.max_header_section == 64 * 1024
    assert options.max_header_fields == 100
    assert options.max_body == 1 << 30
    assert options.max_trailers == options.max_chunk_overhead == 16 * 1024
    assert options.spool_size == 512 * 1024


# Without a socket.


def outcome(case: Case, pieces: Iterable[bytes]) -> tuple[list[dict[str, Any]], int | None]:
    """Return the requests that the state machine makes of those pieces, and the refusal."""
    connection = Connection(Options(**case.options))
    found: list[dict[str, Any]] = []
    try:
        for piece in pieces:
            connection.receive(piece)
            while (request := connection.next_request()) is not None:
                found.append(seen_of(request))
                if not request.keeps_alive:
                    return found, None
    except BadRequest as error:
        return found, error.status
    finally:
        connection.close()
    return found, None


def seen_of(request: Any) -> dict[str, Any]:
    names = ("method", "target", "path", "version", "variables", "keeps_alive")
    seen = {name: getattr(request, name) for name in names}
    seen["body"] = ""
    if request.body is not None:
        with request.body:
            seen["body"] = request.body.read().decode("iso-8859-1")
    return seen


def expected(case: Case) -> tuple[list[dict[str, Any]], int | None]:
    """Return what the state machine must make of a case."""
    requests = [*case.requests, NEXT_REQUEST] if case.goes_on else case.requests
    environ_only = ("path_info", "query_string")
    return [
        {name: value for name, value in request.items() if name not in environ_only}
        for request in requests
    ], case.refusal


@pytest.mark.parametrize("name", NAMES)
def test_however_the_bytes_come(name: str) -> None:
    case = CASES[name]
    data = case.data + NEXT if case.goes_on else case.data
    end = [b""] if case.half_close else []
    wanted = expected(case)
    assert outcome(case, [data, *end] if data else end) == wanted
    assert outcome(case, [*filter(None, by_line(data)), *end]) == wanted
    assert outcome(case, [*by_byte(data), *end]) == wanted
    if len(case.data) < 200:
        for cut in range(1, len(case.data) + 1):
            pieces = filter(None, (data[:cut], data[cut:]))
            assert outcome(case, [*pieces, *end]) == wanted, cut


@pytest.mark.parametrize("name", [name for name in NAMES if CASES[name].half_close])
def test_bytes_and_their_end_at_once(name: str) -> None:
    case = CASES[name]
    connection = Connection(Options(**case.options))
    if case.data:
        connection.receive(case.data)
    connection.receive(b"")
    requests, refusal = expected(case)
    for wanted in requests:
        assert seen_of(connection.next_request()) == wanted
    if refusal is None:
        assert connection.next_request() is None
    else:
        with pytest.raises(BadRequest) as caught:
            connection.next_request()
        assert caught.value.status == refusal
    connection.close()


@pytest.mark.parametrize(
    "name", [name for name in NAMES if CASES[name].rule == "Expect" and not CASES[name].refusal]
)
def test_whether_a_client_waits(name: str) -> None:
    case = CASES[name]
    head, end, _ = case.data.partition(b"\r\n\r\n")
    connection = Connection(Options())
    connection.receive(head + end)
    request = connection.next_request()
    assert connection.wants_continue == case.continues
    assert (request is None) == (case.requests[0]["body"] != "")
    connection.close()


# Over a socket.


class Application:
    """Remembers what it is asked; answers how many times that has happened."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        is_read = environ["PATH_INFO"] != "/unread"
        body = environ["wsgi.input"].read() if is_read else b""
        seen = {
            "method": environ["REQUEST_METHOD"],
            "target": environ["RAW_URI"],
            "path_info": environ["SCRIPT_NAME"] + environ["PATH_INFO"],
            "query_string": environ["QUERY_STRING"],
            "version": environ["SERVER_PROTOCOL"],
            "variables": {
                name: value
                for name, value in environ.items()
                # Of an empty one of these PEP 3333 says that it may be absent.
                if name.startswith("HTTP_") or (name.startswith("CONTENT_") and value)
            },
            "body": body.decode("iso-8859-1") if is_read else None,
        }
        self.seen.append(seen)
        assert environ["REQUEST_URI"] == environ["RAW_URI"]
        assert environ["wsgi.input_terminated"] is True
        assert environ["wsgi.url_scheme"] == "http"
        assert environ.get("HTTPS", "off") == "off"
        assert environ["REMOTE_ADDR"] == "127.0.0.1"
        assert 0 < int(environ["REMOTE_PORT"]) != int(environ["SERVER_PORT"])
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(len(self.seen)).encode()]


def expected_by_application(request: dict[str, Any]) -> dict[str, Any]:
    names = ("method", "target", "path_info", "query_string", "version", "variables", "body")
    wanted = {name: request[name] for name in names}
    if wanted["path_info"] == "/unread":
        wanted["body"] = None
    return wanted


class Client:
    """One connection: pieces out, responses in."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection = connection
        self.file: BinaryIO = connection.makefile("rb")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def send(self, pieces: Iterable[bytes]) -> None:
        """Send pieces, as long as the server takes them."""
        try:
            for piece in pieces:
                self.connection.sendall(piece)
        except ConnectionError:
            pass  # after a refusal; what it was is to be read

    def receive(self, method: str, continues: bool) -> tuple[int, dict[str, str], bytes]:
        """Return the next response; a 100 may be in front where it `continues`."""
        status, headers = self.receive_head()
        if continues and status == 100:
            status, headers = self.receive_head()
        length = 0 if method == "HEAD" else int(headers["content-length"])
        return status, headers, self.file.read(length)

    def receive_head(self) -> tuple[int, dict[str, str]]:
        version, status = self.file.readline().split()[:2]
        assert version == b"HTTP/1.1"
        headers = {}
        while (line := self.file.readline()) != b"\r\n":
            name, colon, value = line.decode("iso-8859-1").partition(": ")
            assert colon
            headers[name.lower()] = value.removesuffix("\r\n")
        return int(status), headers

    def is_at_end(self) -> bool:
        """Tell whether the server has closed, with nothing more to say."""
        try:
            return self.file.read() == b""
        except ConnectionResetError:  # it had not read all that was sent
            return True


@contextmanager
def served(options: dict[str, Any]) -> Iterator[tuple[Any, Application]]:
    application = Application()
    server = Server(("127.0.0.1", 0), **options)
    server.set_app(application)
    with running(server):
        yield server, application


@pytest.fixture(scope="module")
def serve() -> Iterator[Callable[[str, dict[str, int]], tuple[Any, Application]]]:
    """Return what starts a server, if there is none with these options yet."""
    with ExitStack() as stack:
        servers: dict[tuple[str, str], tuple[Any, Application]] = {}

        def start(implementation: str, options: dict[str, int]) -> tuple[Any, Application]:
            key = implementation, json.dumps(options)
            if key not in servers:
                servers[key] = stack.enter_context(served(options))
            return servers[key]

        yield start


Serve = Callable[[str, dict[str, int]], tuple[Any, Application]]


def check(
    case: Case,
    served: tuple[Any, Application],
    cut: Callable[[bytes], Iterable[bytes]],
    before: int = 0,
    waits: bool = False,
) -> None:
    """Send a case in pieces, after plain requests; check what the application saw, and all answers.

    With `waits` the first body follows once there is a 100.
    """
    server, application = served
    application.seen.clear()
    wanted = [NEXT_REQUEST] * before + case.requests + [NEXT_REQUEST] * case.goes_on
    with connected(server) as connection, Client(connection) as client:
        for number in range(1, before + 1):
            client.send([NEXT])
            assert client.receive("PUT", False)[::2] == (200, b"%d" % number)
        data = case.data
        if waits:
            head, end, data = data.partition(b"\r\n\r\n")
            client.send([head + end])
            assert client.receive_head() == (100, {})
        client.send(cut(data + NEXT if case.goes_on else data))
        if case.half_close:
            connection.shutdown(socket.SHUT_WR)
        for number, request in enumerate(wanted[before:], before + 1):
            may_wait = case.continues and not waits and "HTTP_EXPECT" in request["variables"]
            status, headers, body = client.receive(request["method"], may_wait)
            assert status == 200
            assert body in (b"%d" % number, b"" if request["method"] == "HEAD" else None)
            assert_says(headers, request)
        if case.refusal is not None:
            status, headers, body = client.receive("GET", False)
            assert status == case.refusal
            assert headers["connection"] == "close"
        assert case.goes_on or client.is_at_end()
    assert application.seen == [expected_by_application(request) for request in wanted]


def assert_says(headers: dict[str, str], request: dict[str, Any]) -> None:
    """Check that a response says what becomes of the connection."""
    if not request["keeps_alive"]:
        assert headers["connection"] == "close"
    elif request["version"] == "HTTP/1.0":
        assert headers["connection"].lower() == "keep-alive"
    else:
        assert headers.get("connection") != "close"


@pytest.mark.parametrize("name", NAMES)
def test_over_a_socket(name: str, implementation: str, serve: Serve) -> None:
    case = CASES[name]
    served = serve(implementation, case.options)
    check(case, served, lambda data: [data])
    check(case, served, by_line)


def follows_a_plain_one(case: Case) -> bool:
    """Tell whether options leave room for the request in front."""
    return not case.options or len(NEXT) < min(case.options.values())


@pytest.mark.parametrize("name", [name for name in NAMES if follows_a_plain_one(CASES[name])])
def test_on_a_kept_connection(name: str, implementation: str, serve: Serve) -> None:
    case = CASES[name]
    check(case, serve(implementation, case.options), lambda data: [data], before=2)


@pytest.mark.parametrize("name", [name for name in NAMES if len(CASES[name].data) < 300][::8])
def test_over_a_socket_by_byte(name: str, implementation: str, serve: Serve) -> None:
    case = CASES[name]
    check(case, serve(implementation, case.options), by_byte)


@pytest.mark.parametrize("name", [name for name in NAMES if CASES[name].continues])
def test_a_client_that_waits_is_told_to_go_on(name: str, implementation: str, serve: Serve) -> None:
    case = CASES[name]
    served = serve(implementation, case.options)
    check(case, served, lambda data: [data], waits=True)
    check(case, served, lambda data: [data], waits=True, before=1)
