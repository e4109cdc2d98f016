"""The short cut through plain requests of kept connections against the state machine."""

from __future__ import annotations

import gc
import io
import re
import socket
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stderr
from typing import Any, Literal

import pytest
from hypothesis import strategies as st

from conftest import implementations
from oracle import exception_lines
from support import PATIENCE, receive_all, running
from twins import HOSTILE_BYTES, Call, Kernel, TwinTests, in_use, short
from wsgiref_fast._http11 import peer as peers
from wsgiref_fast._http11.exchange import Exchange
from wsgiref_fast.server import Server

# A pure installation has no twins to compare: then there are no tests here to collect.
__test__ = "compiled" in implementations()

_DATE = re.compile(rb"Date: [^\r]+")

#: What differs from one connection to the next, or is no text.
_LEFT_OUT = {"REMOTE_PORT", "SERVER_PORT", "wsgi.errors", "wsgi.early_hints", "wsgi.input"}


def tell(environ: dict[str, Any]) -> bytes:
    """Return what an application sees of a request."""
    seen = {key: value for key, value in environ.items() if key not in _LEFT_OUT}
    return repr((sorted(seen.items(), key=repr), environ["wsgi.input"].read())).encode()


def one(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [("X-A", "b")])
    return [tell(environ)]


def with_its_length(environ: Any, start_response: Any) -> Any:
    seen = tell(environ)
    start_response("200 OK", [("content-length", str(len(seen)))])
    return [seen]


def answering(status: Any, headers: Any, result: Any) -> Callable[..., Any]:
    def app(environ: Any, start_response: Any) -> Any:
        start_response(status, headers)
        return result() if callable(result) else result

    return app


def writing(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [])(tell(environ))
    return [b"more"]


def hinting(environ: Any, start_response: Any) -> Any:
    environ["wsgi.early_hints"]([("Link", "</a>")])
    return one(environ, start_response)


def starting_again(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [("X-A", "b")])
    try:
        raise LookupError("no page")
    except LookupError:
        start_response("404 Not Found", [("X-B", "c")], sys.exc_info())
    return [b"none"]


def starting_twice(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [])
    start_response("200 OK", [])
    return [b"never"]


def failing(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [])
    raise LookupError("no page")


def changing_headers(environ: Any, start_response: Any) -> Any:
    headers = [("X-A", "b")]
    start_response("200 OK", headers)
    headers.append(("X-C", "d\r\nX-D: e"))
    return [b"never"]


def clearing(environ: Any, start_response: Any) -> Any:
    environ.clear()
    start_response("200 OK", [])
    return [b"cleared"]


def never_starting(environ: Any, start_response: Any) -> Any:
    return [b"never"]


class Blocks:
    """Some blocks, which have a close() that fails, or does not."""

    def __init__(self, blocks: list[Any], error: BaseException | None = None) -> None:
        self.blocks = blocks
        self.error = error

    def __iter__(self) -> Iterator[Any]:
        return iter(self.blocks)

    def close(self) -> None:
        sys.stderr.write("KeyError: closed\n")
        if self.error is not None:
            raise self.error


def starting_late(environ: Any, start_response: Any) -> Iterator[bytes]:
    yield b""
    start_response("200 OK", [("X-A", "b")])
    yield b"late"


def starting_at_last(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [("X-A", "b")])
    yield b"last"


def starting_too_late(environ: Any, start_response: Any) -> Iterator[bytes]:
    yield b"late"
    start_response("200 OK", [("X-A", "b")])


def writing_between(environ: Any, start_response: Any) -> Iterator[bytes]:
    write = start_response("200 OK", [])
    yield b"one"
    write(b"two")
    yield b"three"
    write(b"four")


def hinting_between(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [])
    yield b"one"
    environ["wsgi.early_hints"]([("Link", "</a>")])
    yield b"two"


def starting_again_between(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [])
    yield b"one"
    try:
        raise LookupError("no page")
    except LookupError:
        start_response("404 Not Found", [], sys.exc_info())
    yield b"two"


def starting_again_before(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [])
    yield b""
    try:
        raise LookupError("no page")
    except LookupError:
        start_response("404 Not Found", [], sys.exc_info())
    yield b"two"


def hinting_when_closed(environ: Any, start_response: Any) -> Any:
    class Hinting(Blocks):
        def close(self) -> None:
            environ["wsgi.early_hints"]([("Link", "</a>")])
            super().close()

    start_response("200 OK", [])
    return Hinting([b"a", b"b"])


def adding_a_header(environ: Any, start_response: Any) -> Any:
    headers = [("X-A", "b")]
    start_response("200 OK", headers)
    headers.append(("X-C", "d"))
    return (b"one",)


def changing_headers_before(environ: Any, start_response: Any) -> Iterator[bytes]:
    headers = [("X-A", "b")]
    start_response("200 OK", headers)
    headers.append(("X-C", "d\r\nX-D: e"))
    yield b"never"


def with_its_length_by_blocks(environ: Any, start_response: Any) -> Iterator[bytes]:
    seen = tell(environ)
    start_response("200 OK", [("Content-Length", str(len(seen)))])
    yield seen[:10]
    yield seen[10:]


def failing_after(*blocks: bytes) -> Callable[[], Iterator[bytes]]:
    def failing_later() -> Iterator[bytes]:
        yield from blocks
        raise LookupError("no more")

    return failing_later


def of_length(length: int, *blocks: bytes) -> Callable[..., Any]:
    return answering("200 OK", [("Content-Length", str(length))], lambda: iter(blocks))


APPS: dict[str, Callable[..., Any]] = {
    "one": one,
    "length": with_its_length,
    "two": answering("200 OK", [], [b"a", b"b"]),
    "tuple": answering("201 Created", [("X-A", "")], (b"a",)),
    "none": answering("200 OK", [], []),
    "empty": answering("200 OK", [], [b""]),
    "blocks": answering("200 OK", [], lambda: iter([b"a", b"", b"b"])),
    "many": answering("200 OK", [], [b"ab", b"cd"] * 500),
    "many by turns": answering("200 OK", [], lambda: iter([b"ab", b"cd"] * 500)),
    "some": answering("200 OK", [], lambda: (b"%d" % n for n in range(255))),
    "no blocks": answering("200 OK", [], lambda: iter([])),
    "empty blocks": answering("200 OK", [("X-A", "b")], lambda: iter([b"", b""])),
    "sizes": answering("200 OK", [], lambda: (b"x" * n for n in (1, 15, 16, 255, 256, 4096))),
    "large blocks": answering("200 OK", [], lambda: iter([b"x" * 1_000_000] * 5)),
    "two large": answering("200 OK", [], [b"x" * 33_000] * 2),
    "length of blocks": with_its_length_by_blocks,
    "blocks of length": of_length(4, b"ab", b"", b"cd"),
    "blocks too short": of_length(5, b"ab", b"cd"),
    "blocks too long": of_length(3, b"ab", b"cd", b"ef"),
    "first block too long": of_length(1, b"ab", b"cd"),
    "blocks without room": of_length(0, b"ab"),
    "no blocks of none": of_length(0),
    "no blocks of some": of_length(3),
    "large blocks of length": of_length(2_000_000, b"x" * 1_500_000, b"y" * 500_000),
    "blocks of no content": answering("204 No Content", [], lambda: iter([b"a"])),
    "text between": answering("200 OK", [], lambda: iter([b"a", "b"])),
    "number first": answering("200 OK", [], lambda: iter([1])),
    "bytes": answering("200 OK", [], b"ab"),
    "failing at once": answering("200 OK", [], failing_after()),
    "failing between": answering("200 OK", [], failing_after(b"a", b"b")),
    "failing of length": answering("200 OK", [("Content-Length", "9")], failing_after(b"a", b"b")),
    "closed": answering("200 OK", [], lambda: Blocks([b"a", b"b"])),
    "closed without blocks": answering("200 OK", [], lambda: Blocks([])),
    "closed badly": answering("200 OK", [], lambda: Blocks([b"a", b"b"], LookupError("bad"))),
    "exit when closed": answering("200 OK", [], lambda: Blocks([b"a", b"b"], SystemExit(3))),
    "closed on failure": answering("200 OK", [], lambda: Blocks([b"a", "b"], LookupError("bad"))),
    "late": starting_late,
    "at last": starting_at_last,
    "too late": starting_too_late,
    "write between": writing_between,
    "hints between": hinting_between,
    "again between": starting_again_between,
    "again before": starting_again_before,
    "hints when closed": hinting_when_closed,
    "header added": adding_a_header,
    "tab": answering("200 OK", [("X-A", "b\tc")], [b"one"]),
    "tab of two": answering("200 OK", [("X-A", "b\tc")], [b"one", b"two"]),
    "headers before": changing_headers_before,
    "large": answering("200 OK", [], [b"x" * 3_000_000]),
    "longer": answering("200 OK", [("Content-Length", "2")], [b"abc"]),
    "shorter": answering("200 OK", [("Content-Length", "9")], [b"abc"]),
    "two lengths": answering("200 OK", [("Content-Length", "3")] * 2, [b"abc"]),
    "odd length": answering("200 OK", [("Content-Length", "+3")], [b"abc"]),
    "text": answering("200 OK", [], ["text"]),
    "array": answering("200 OK", [], [bytearray(b"a")]),
    "nothing": answering("200 OK", [], None),
    "no content": answering("204 No Content", [], [b"a"]),
    "reset": answering("205 Reset Content", [], [b"a"]),
    "not modified": answering("304 Not Modified", [("ETag", '"a"')], [b""]),
    "status": answering("20 OK", [], [b"a"]),
    "early status": answering("103 Early Hints", [], [b"a"]),
    "latin status": answering("200 \xe9", [], [b"a"]),
    "tuples": answering("200 OK", (), [b"a"]),
    "name": answering("200 OK", [("A(b)", "c")], [b"a"]),
    "no name": answering("200 OK", [("", "c")], [b"a"]),
    "value": answering("200 OK", [("A", "b\nc")], [b"a"]),
    "latin value": answering("200 OK", [("A", "\xe9")], [b"a"]),
    "wide value": answering("200 OK", [("A", "\u20ac")], [b"a"]),
    "close": answering("200 OK", [("Connection", "close")], [b"a"]),
    "keep": answering("200 OK", [("Connection", "keep-alive")], [b"a"]),
    "coding": answering("200 OK", [("Transfer-Encoding", "chunked")], [b"a"]),
    "own date": answering("200 OK", [("date", "now"), ("SERVER", "own")], [b"a"]),
    "write": writing,
    "hints": hinting,
    "again": starting_again,
    "twice": starting_twice,
    "failing": failing,
    "headers": changing_headers,
    "clear": clearing,
    "never": never_starting,
}

#: Which of these the short cut answers by itself.
PLAIN_APPS = {
    "one",
    "length",
    "tuple",
    "two",
    "none",
    "empty",
    "blocks",
    "many",
    "two large",
    "some",
    "no blocks",
    "empty blocks",
    "sizes",
    "length of blocks",
    "blocks of length",
    "no blocks of none",
    "closed",
    "closed without blocks",
    "hints when closed",
    "closed badly",
    "exit when closed",
    "at last",
    "large",
    "latin status",
    "latin value",
    "own date",
    "clear",
}


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    """Answer by the application that the path names."""
    name = environ["PATH_INFO"][1:].replace("-", " ")
    chosen: Callable[..., Any] = APPS.get(name, one)
    return chosen(environ, start_response)


def request(path: str = "/one", line: str = "", body: str = "", method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: here\r\n{line}\r\n{body}".encode("iso-8859-1")


def exchange(server: Any, data: bytes) -> bytes:
    """Return all that a server sends to who sends this, and no more."""
    with socket.create_connection(server.server_address, PATIENCE) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        try:
            return receive_all(connection)
        except ConnectionError:
            return b"(reset)"


def answers(implementation: Literal["pure", "compiled"], data: list[bytes]) -> list[Any]:
    """Return what an implementation answers to each, and logs meanwhile."""
    found: list[Any] = []
    with in_use(implementation):
        server = Server(("127.0.0.1", 0), server_header="here")
        server.set_app(app)
        # The port is in the environ.
        server.base_environ["SERVER_PORT"] = "80"
        with running(server):
            for each in data:
                log = io.StringIO()
                with redirect_stderr(log):
                    answer = exchange(server, each)
                found.append((_DATE.sub(b"Date: then", answer), exception_lines(log.getvalue())))
    return found


def check(data: list[bytes]) -> None:
    """Compare the implementations."""
    pure, compiled = answers("pure", data), answers("compiled", data)
    different = [pair for pair in zip(data, pure, compiled, strict=True) if pair[1] != pair[2]]
    assert not different, different[:3]


def hostile() -> Iterator[bytes]:
    for text in short(HOSTILE_BYTES, 1):
        yield request(f"/one{text}/a%41{text}?b{text}")
        yield request("/one", f"A{text}b: c\r\n")
        yield request("/one", f"A: {text}b\r\n")
        yield request("/one", f"A_{text}: b\r\n")
        yield request("/one", f"Accept: b{text}\r\n")
        yield request("/one", f"Connection: keep{text}-alive\r\n")
        yield request("/one", f"Content-Length: 3{text}\r\n", "abc")
        yield request("/one", f"Content-Type: a/b{text}\r\n")
        yield f"GET /one HTTP/1.1\r\nHost: he{text}re\r\n\r\n".encode("iso-8859-1")
        yield f"GE{text}T /one HTTP/1.1\r\nHost: here\r\n\r\n".encode("iso-8859-1")
        yield f"GET /one HTTP/1.{text}\r\nHost: here\r\n\r\n".encode("iso-8859-1")
        yield f"GET {text}/one HTTP/1.1\r\nHost: here{text}\n\r\n".encode("iso-8859-1")


def test_hostile_requests_are_the_same_to_both() -> None:
    check(list(hostile()))


def test_requests_of_many_kinds_are_the_same_to_both() -> None:
    fields = "".join(f"X-{number}: {number}\r\n" for number in range(99))
    check(
        [
            *(request("/one", fields), request("/one", fields + "X-A: b\r\n")),
            *(request("/one", f"A: {'b' * size}\r\n") for size in (8000, 8186, 8187, 8188, 8190)),
            *(request("/" + "a" * size) for size in (8000, 8174, 8175, 8190)),
            *(
                request("/one", f"Content-Length: {n}\r\n", "abc")
                for n in ("0", "3", "03", "4", "")
            ),
            request("/one", "Content-Length: 3\r\ncontent-length: 3\r\n", "abc"),
            request("/one", "Content-Length: 3\r\nContent-Length: 4\r\n", "abc"),
            request("/one", "Content-Length: 60000\r\n", "a" * 60000, "POST"),
            request("/one", "Content-Length: 70000\r\n", "a" * 70000, "PUT"),
            request("/one", "Transfer-Encoding: chunked\r\n", "1\r\na\r\n0\r\n\r\n"),
            request("/one", "Expect: 100-continue\r\nContent-Length: 1\r\n", "a"),
            request("/one", "Cookie: a\r\nCOOKIE: b\r\ncookie: c\r\nX-A: 1\r\nx-a: 2\r\n"),
            request("/one", "Content-Type: a/b\r\nContent-Type: c/d\r\nHTTP-A: b\r\n"),
            request("/one", "Host: there\r\n"),
            *(request("/one", method=name) for name in ("HEAD", "OPTIONS", "CONNECT", "get", "A")),
            *(request(path) for path in ("*", "//a", "/%zz%", "http://there/a?b", "/%e2%82%ac")),
            *(request("/one") * count for count in (2, 3, 40)),
            request("/one") + request("/blocks") + request("/one") + b"GET / HTTP/1.1\r\n\r\n",
            request("/one", "Content-Length: 3\r\n", "abc") + b"\r\n" + request("/one"),
            request("/one", "Connection: close\r\n") + request("/one"),
            request("/one").replace(b"1.1", b"1.0"),
            *(request("/one")[:end] for end in range(0, len(request("/one")), 3)),
        ]
    )


@pytest.mark.parametrize("name", APPS)
def test_responses_of_many_kinds_are_the_same_to_both(name: str) -> None:
    path = "/" + name.replace(" ", "-")
    check([request(path), request(path) + request("/one"), request(path, method="HEAD")])


@pytest.mark.parametrize("name", APPS)
def test_what_is_plain_needs_no_exchange(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Counted(Exchange):
        __slots__ = ()

        def __init__(self, *args: Any) -> None:
            made.append(args)
            super().__init__(*args)

    monkeypatch.setattr(peers, "Exchange", Counted)
    answers("compiled", [request("/" + name.replace(" ", "-"))])
    assert len(made) == (name not in PLAIN_APPS)


@pytest.mark.parametrize("path", ["/one", "/blocks", "/no-blocks", "/closed", "/two-large"])
def test_a_last_request_needs_no_exchange(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    last = request(path, "Connection: close\r\n")
    check([last, request("/one") + last, last + request("/one"), last + b"more"])

    def refuse(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(peers, "Exchange", refuse)
    (answer, logged), *_ = answers("compiled", [last])
    assert b"\r\nConnection: close\r\n" in answer
    assert b"Internal Server Error" not in answer
    assert logged == (["KeyError: closed"] if path == "/closed" else [])


def test_what_a_failed_application_had_is_freed_at_once() -> None:
    alive: list[Any] = []

    def failing_app(environ: Any, start_response: Any) -> Any:
        held = Blocks([])
        alive.append(weakref.ref(held))
        raise LookupError(held)

    was_enabled = gc.isenabled()
    gc.disable()
    try:
        with in_use("compiled"), redirect_stderr(io.StringIO()):
            server = Server(("127.0.0.1", 0))
            server.set_app(failing_app)
            with running(server):
                for _ in range(5):
                    assert b" 500 " in exchange(server, request())
        assert [each() for each in alive] == [None] * 5
    finally:
        if was_enabled:
            gc.enable()


def answers_in_turn(
    implementation: Literal["pure", "compiled"], pieces: list[bytes]
) -> list[bytes]:
    """Return the status line of the answer to each piece, which is waited for before the next."""
    found = []
    with in_use(implementation):
        server = Server(("127.0.0.1", 0))
        server.set_app(APPS["tuple"])
        with (
            running(server),
            socket.create_connection(("127.0.0.1", server.server_port), PATIENCE) as connection,
        ):
            for piece in pieces:
                connection.sendall(piece)
                received = connection.recv(65536)
                found.append(received.partition(b"\r\n")[0])
    return found


@pytest.mark.parametrize("implementation", ["pure", "compiled"])
def test_an_empty_line_may_follow_each_body(implementation: Any) -> None:
    pieces = [request() + b"\r\n", request() + b"\r\n", request(), b"\r\n" + request()]
    assert answers_in_turn(implementation, pieces) == [b"HTTP/1.1 201 Created"] * 4


@pytest.mark.parametrize("implementation", ["pure", "compiled"])
def test_what_begins_with_the_end_of_a_line_is_refused(implementation: Any) -> None:
    pieces = [request(), b"\nGET / HTTP/1.1\r\n"]
    assert answers_in_turn(implementation, pieces)[1] == b"HTTP/1.1 400 Bad Request"


# -- As any other kernel -------------------------------------------------------------------


def answered_purely(data: bytes) -> Any:
    return answers("pure", [data])[0]


def answered_compiled(data: bytes) -> Any:
    return answers("compiled", [data])[0]


def answers_without_queries(data: bytes) -> Any:
    return answered_purely(data.replace(b"?", b"/", 1))


def answers_another(data: bytes) -> Any:
    return answered_purely(data.replace(b"A", b"B", 1))


def answers_without_bodies(data: bytes) -> Any:
    answer, log = answered_purely(data)
    return answer.partition(b"\r\n\r\n")[0], log


texts = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=6)
names = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,8}", fullmatch=True).map("X-{}".format)
fields = st.dictionaries(names.map(str.title), texts, max_size=5)
paths = texts.filter(lambda text: "#" not in text).map("/{}".format)


def make(path: str, found: dict[str, str], body: str, repeats: int) -> bytes:
    """Return a plain request, so many times."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in found.items())
    return request(path, f"{lines}Content-Length: {len(body)}\r\n", body, "POST") * repeats


plain_requests = st.builds(
    make, paths.filter(lambda path: path[1:2] != "/"), fields, texts, st.integers(1, 3)
)


@st.composite
def cut_requests(draw: st.DrawFn) -> bytes:
    """Draw a plain request of which some bytes are missing, or are others."""
    data = draw(plain_requests)
    start = draw(st.integers(0, len(data)))
    end = draw(st.integers(start, min(start + 3, len(data))))
    other = draw(st.sampled_from([b"", b"\r", b"\n", b"\0", b":", b" ", b"\xff", b"\r\n\r\n"]))
    return data[:start] + other + data[end:]


class TestHeed(TwinTests):
    module = "connection"
    name = "heed"
    examples = 60
    # A part of a request may come in several pieces.
    most = 3
    plain = st.tuples(plain_requests)
    odd = st.tuples(cut_requests() | st.binary(max_size=40))
    odd_calls = (
        (request(method="HEAD"),),
        (request().replace(b"1.1", b"1.0"),),
        (request("/one", "Transfer-Encoding: chunked\r\n", "0\r\n\r\n"),),
        (request("/one", "Expect: 100-continue\r\n"),),
        (request("/one", "Host: there\r\n"),),
        (request("//a"),),
        (request("/write"),),
        (request("/write-between"),),
        (request("/many-by-turns"),),
        (b"GET / HTTP/1.1\r\n",),
    )
    wrong = (answers_without_queries, answers_another, answers_without_bodies)

    def twins(self) -> tuple[Kernel, Kernel]:
        return answered_purely, answered_compiled

    def hostile(self) -> Iterator[Call]:
        for data in hostile():
            yield (data,)

    def handed_over(self, calls: Iterable[Call]) -> list[list[str]]:
        """Tell from what a connection is asked for whether the short cut left a request to it."""
        noted: list[str] = []
        take, adopt = peers.Peer.take, peers.Peer.adopt

        def take_noted(peer: Any, data: bytes) -> None:
            if data:
                noted.append(self.name)
            take(peer, data)

        def adopt_noted(peer: Any, *args: Any) -> Any:
            noted.append(self.name)
            return adopt(peer, *args)

        found = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(peers.Peer, "take", take_noted)
            patch.setattr(peers.Peer, "adopt", adopt_noted)
            for call in calls:
                noted.clear()
                answered_compiled(*call)
                found.append(noted.copy())
        return found
