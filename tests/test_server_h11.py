"""The HTTP/1.1 server against h11, a client that others have written: both must have seen one
and the same exchange, and agree on whether another may follow."""

from __future__ import annotations

import socket
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support import PATIENCE, connected, receive_all, running
from wsgiref_fast.server import Server

h11: Any = pytest.importorskip("h11")

pytestmark = pytest.mark.usefixtures("implementation")

Environ = dict[str, Any]
Field = tuple[str, str]

EXAMPLES = 120
BODILESS = (204, 304)

#: What an exchange says by other means than a field of any name.
_TAKEN = {
    *("connection", "content-length", "content-type", "cookie", "date", "expect", "host"),
    *("keep-alive", "proxy-authenticate", "proxy-authorization", "server", "te", "trailer"),
    *("trailers", "transfer-encoding", "upgrade"),
}


@dataclass(frozen=True)
class Question:
    """What the client asks."""

    method: str
    target: str
    fields: list[Field]
    #: The body's blocks; none: a request without a body.
    body: list[bytes] | None
    is_chunked: bool
    trailers: list[Field]
    expects: bool
    version: str
    #: The value of ``Connection``.
    connection: str | None

    @property
    def may_keep(self) -> bool:
        """Whether the client is willing to ask more on its connection."""
        asked = [each.strip().lower() for each in (self.connection or "").split(",")]
        return "close" not in asked and (self.version == "1.1" or "keep-alive" in asked)


@dataclass(frozen=True)
class Answer:
    """What the application answers."""

    status: int
    reason: str
    fields: list[Field]
    blocks: list[bytes]
    says_length: bool
    says_close: bool
    has_hints: bool
    way: str
    #: How many bytes of the body are read at a time; 0 for none at all, -1 for all.
    reads: int

    @property
    def body(self) -> bytes:
        return b"".join(self.blocks)


@dataclass(frozen=True)
class Talk:
    """The exchanges on one connection."""

    exchanges: list[tuple[Question, Answer]]
    #: Send all requests before any response is read.
    is_pipelined: bool
    #: How many bytes there are in each piece that is sent, in turn.
    cuts: list[int]


# What is made up

_TOKEN = "!#$%&'*+-.^_`|~0123456789ABCXYZabcxyz"
_VISIBLE = "".join(map(chr, [*range(0x21, 0x7F), *range(0x80, 0x100)]))
_PATH = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in "#")

_names = st.text(_TOKEN, min_size=1, max_size=8).filter(lambda name: name.lower() not in _TAKEN)
_values = st.text(_VISIBLE + " \t", max_size=12).map(lambda value: value.strip(" \t"))
_asked_values = st.one_of(_values, st.text(_VISIBLE, min_size=300, max_size=400))
_plain_fields = st.lists(st.tuples(_names, _values), max_size=4)
_asked_fields = st.lists(
    st.one_of(
        st.tuples(_names, _asked_values),
        st.tuples(st.sampled_from(["Accept", "accept", "X-A", "x-a", "X_A"]), _values),
        st.tuples(st.sampled_from(["Cookie", "cookie"]), _values),
    ),
    max_size=6,
)
_blocks = st.lists(
    st.one_of(
        st.binary(max_size=20),
        st.just(b"\r\n0\r\n\r\n"),
        st.just(b"GET / HTTP/1.1\r\n\r\n"),
        st.integers(1, 3000).map(lambda size: b"0123456789abcde\n" * (size // 16 + 1)),
    ),
    max_size=4,
)
_methods = st.one_of(
    st.sampled_from(["GET", "HEAD", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "get", "head"]),
    st.text(_TOKEN, min_size=1, max_size=8).filter(lambda method: method != "CONNECT"),
)
_path_parts = st.one_of(
    st.text(_PATH, max_size=4), st.sampled_from(["/", "//", "..", "?", "?A=b&c", "%41", "%e9", "%"])
)
_paths = st.lists(_path_parts, max_size=6).map(lambda parts: "/" + "".join(parts))
_closings = st.sampled_from([None] * 6 + ["close", "CLOSE", "x, close"])


@st.composite
def _questions(draw: Any) -> Question:
    method = draw(_methods)
    target = draw(st.one_of(_paths, _paths, _paths.map(lambda path: f"http://other.test:81{path}")))
    if method == "OPTIONS" and draw(st.booleans()):
        target = "*"
    body = draw(st.none() | _blocks)
    version = draw(st.sampled_from(["1.1", "1.1", "1.1", "1.0"]))
    is_new = version == "1.1"
    is_chunked = is_new and body is not None and draw(st.booleans())
    kept = [None] if is_new else [None, "keep-alive", "Keep-Alive", "x, keep-alive"]
    return Question(
        method=method,
        target=target,
        fields=draw(_asked_fields),
        body=body,
        is_chunked=is_chunked,
        trailers=draw(_plain_fields) if is_chunked else [],
        expects=is_new and bool(body) and any(body) and draw(st.booleans()),
        version=version,
        connection=draw(_closings) or draw(st.sampled_from(kept)),
    )


_answers = st.builds(
    Answer,
    status=st.sampled_from([200, 200, 200, 201, 204, 299, 304, 404, 500]),
    reason=st.sampled_from(["OK", "Not quite", "~ \xe9"]),
    fields=_plain_fields,
    blocks=_blocks,
    says_length=st.booleans(),
    says_close=st.sampled_from([False] * 7 + [True]),
    has_hints=st.sampled_from([False] * 4 + [True]),
    way=st.sampled_from(["list", "iterator", "write", "file"]),
    reads=st.sampled_from([-1, -1, 0, 1, 1000]),
)
_talks = st.builds(
    Talk,
    exchanges=st.lists(st.tuples(_questions(), _answers), min_size=1, max_size=5),
    is_pipelined=st.booleans(),
    cuts=st.lists(st.one_of(st.integers(1, 40), st.integers(40, 5000)), min_size=1, max_size=5),
)


# The application's side


class Blocks:
    """An iterable that counts how often it is closed."""

    def __init__(self, blocks: list[bytes], closed: list[Blocks]) -> None:
        self._blocks = iter(blocks)
        self._closed = closed

    def __iter__(self) -> Iterator[bytes]:
        return self._blocks

    def close(self) -> None:
        self._closed.append(self)


@dataclass
class Scribe:
    """An application that answers as it is told, and writes down what it was asked."""

    answers: deque[Answer] = field(default_factory=deque)
    asked: list[Environ] = field(default_factory=list)
    opened: list[Blocks] = field(default_factory=list)
    closed: list[Blocks] = field(default_factory=list)

    def begin(self, talk: Talk) -> None:
        self.answers = deque(answer for _, answer in talk.exchanges)
        self.asked, self.opened, self.closed = [], [], []

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Any:
        answer = self.answers.popleft()
        self.asked.append({**environ, "body": _read(environ["wsgi.input"], answer.reads)})
        if answer.has_hints:
            environ["wsgi.early_hints"]([("Link", "</a>")])
        headers = list(answer.fields)
        if answer.says_length and answer.status not in BODILESS:
            headers.append(("Content-Length", str(len(answer.body))))
        if answer.says_close:
            headers.append(("Connection", "close"))
        write = start_response(f"{answer.status} {answer.reason}", headers)
        blocks = answer.blocks
        if answer.way == "list":
            return list(blocks)
        if answer.way == "file":
            file = tempfile.TemporaryFile()  # noqa: SIM115
            file.write(answer.body)
            file.seek(0)
            return environ["wsgi.file_wrapper"](file, 512)
        if answer.way == "write":
            for block in blocks[:2]:
                write(block)
            blocks = blocks[2:]
        self.opened.append(Blocks(blocks, self.closed))
        return self.opened[-1]


def _read(stream: Any, size: int) -> bytes | None:
    """Read all of a body, so many bytes at a time."""
    if size <= 0:
        return bytes(stream.read()) if size else None
    return b"".join(iter(lambda: stream.read(size), b""))


def expected_environ(question: Question) -> Environ:
    """Return what the application must have been told, of what a client can say."""
    path, host = question.target, "here"
    if path.startswith("http://"):
        host, slash, path = path.removeprefix("http://").partition("/")
        path = slash + path
    path, _, query = path.partition("?")
    fields: dict[str, list[str]] = {}
    for name, value in question.fields:
        if "_" not in name:
            fields.setdefault("HTTP_" + name.upper().replace("-", "_"), []).append(value)
    if question.connection is not None:
        fields["HTTP_CONNECTION"] = [question.connection]
    if question.expects:
        fields["HTTP_EXPECT"] = ["100-continue"]
    joined = {
        name: ("; " if name == "HTTP_COOKIE" else ",").join(values)
        for name, values in fields.items()
    }
    return {
        **joined,
        "HTTP_HOST": host,
        "REQUEST_METHOD": question.method,
        "RAW_URI": question.target,
        "REQUEST_URI": question.target,
        "PATH_INFO": unquote_to_bytes(path).decode("iso-8859-1"),
        "QUERY_STRING": query,
        "SERVER_PROTOCOL": f"HTTP/{question.version}",
        "SCRIPT_NAME": "",
        "wsgi.input_terminated": True,
    }


def assert_asked(question: Question, answer: Answer, environ: Environ) -> None:
    """See that the application was told what the client has said, and nothing else."""
    expected = expected_environ(question)
    told = {
        name: value
        for name, value in environ.items()
        if name in expected or (name.startswith("HTTP_") and name != "HTTP_TRANSFER_ENCODING")
    }
    assert told == expected
    body = b"".join(question.body or [])
    if answer.reads:
        assert environ["body"] == body
    assert environ.get("CONTENT_LENGTH") in (
        [None, str(len(body))] if question.is_chunked
        else [None, ""] if question.body is None
        else [str(len(body))]
    )  # fmt: skip


# The client's side


@dataclass
class Seen:
    """A response as h11 has read it."""

    status: int
    reason: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes
    hints: int
    keeps_alive: bool

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key.lower() == name]


class Client:
    """One connection, with a state machine of h11's for each request on it."""

    def __init__(self, connection: socket.socket, cuts: list[int]) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection = connection
        self._cuts = cuts
        self._next_cut = 0
        self.rest = b""

    def send(self, data: bytes) -> None:
        """Send bytes in pieces."""
        start = 0
        while start < len(data):
            size = self._cuts[self._next_cut % len(self._cuts)]
            self._next_cut += 1
            self.connection.sendall(data[start : start + size])
            start += size

    def feed(self, machine: Any) -> None:
        machine.receive_data(self.connection.recv(65536))

    def await_continue(self, machine: Any) -> None:
        while (event := machine.next_event()) is h11.NEED_DATA:
            self.feed(machine)
        assert type(event) is h11.InformationalResponse
        assert event.status_code == 100

    def receive(self, machine: Any) -> Seen:
        """Read a response to its end, and what is behind it into `rest`."""
        if self.rest:
            machine.receive_data(self.rest)
        head: Any = None
        body, hints = b"", 0
        while type(event := machine.next_event()) is not h11.EndOfMessage:
            if event is h11.NEED_DATA:
                self.feed(machine)
            elif type(event) is h11.InformationalResponse:
                assert event.status_code in (100, 103)
                hints += event.status_code == 103
            elif type(event) is h11.Response:
                head = event
            else:
                body += event.data
        self.rest = machine.trailing_data[0]
        return Seen(
            status=head.status_code,
            reason=head.reason,
            fields=head.headers.raw_items(),
            body=body,
            hints=hints,
            keeps_alive=machine.their_state is h11.DONE,
        )

    def is_at_end(self) -> bool:
        with suppress(ConnectionResetError):
            return self.rest == self.connection.recv(1) == b""
        return not self.rest


def write_request(question: Question) -> tuple[Any, bytes, bytes]:
    """Have h11 write a request; return its state machine, the head and the body."""
    machine = h11.Connection(h11.CLIENT)
    headers = [("Host", "here"), *question.fields]
    if question.connection is not None:
        headers.append(("Connection", question.connection))
    if question.expects:
        headers.append(("Expect", "100-continue"))
    if question.is_chunked:
        headers.append(("Transfer-Encoding", "chunked"))
    elif question.body is not None:
        headers.append(("Content-Length", str(sum(map(len, question.body)))))
    raw = [(name.encode(), value.encode("iso-8859-1")) for name, value in headers]
    head = machine.send(h11.Request(method=question.method, target=question.target, headers=raw))
    if question.version == "1.0":  # which h11 understands, and does not write
        head = head.replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", 1)
    parts = [machine.send(h11.Data(data=block)) for block in question.body or []]
    trailers = [(name, value.encode("iso-8859-1")) for name, value in question.trailers]
    parts.append(machine.send(h11.EndOfMessage(headers=trailers)))
    return machine, head, b"".join(parts)


def assert_answered(question: Question, answer: Answer, seen: Seen) -> None:
    """See that the client was told what the application has said."""
    reason = answer.reason.encode("iso-8859-1")
    assert (seen.status, seen.reason) == (answer.status, reason)
    assert seen.hints == (answer.has_hints and question.version == "1.1")
    is_bodiless = question.method == "HEAD" or answer.status in BODILESS
    assert seen.body == (b"" if is_bodiless else answer.body)
    said = [(name.encode(), value.encode("iso-8859-1")) for name, value in answer.fields]
    framing = (b"connection", b"content-length", b"transfer-encoding", b"date", b"server")
    assert [each for each in seen.fields if each[0].lower() not in framing] == said
    assert len(seen.all(b"date")) == len(seen.all(b"server")) == 1
    lengths, codings = seen.all(b"content-length"), seen.all(b"transfer-encoding")
    assert not (lengths and codings)
    if answer.status == 204:
        assert not lengths
    if is_bodiless:
        assert not codings or question.method == "HEAD"
    elif answer.says_length:
        assert lengths == [b"%d" % len(answer.body)]
    if question.version == "1.0":
        assert not codings


def assert_agreed(question: Question, answer: Answer, seen: Seen) -> None:
    """See that the response says of the connection what the two sides have said."""
    said = [value.lower() for value in seen.all(b"connection")]
    may_keep = question.may_keep and not answer.says_close
    if question.version == "1.1":
        assert seen.keeps_alive == may_keep
        return
    assert seen.keeps_alive == (said == [b"keep-alive"])
    if not may_keep:
        assert not seen.keeps_alive
    elif answer.says_length and answer.status not in BODILESS:
        assert seen.keeps_alive


def hold(talk: Talk, client: Client) -> list[Seen]:
    """Have a talk; return the responses, of which the last may have ended it."""
    asked = [question for question, _ in talk.exchanges]
    last = next((n for n, question in enumerate(asked) if not question.may_keep), len(asked))
    requests = [write_request(question) for question in asked[: last + 1]]  # RFC 9112 section 9.6
    if talk.is_pipelined:
        with suppress(BrokenPipeError, ConnectionResetError):  # it may have closed by then
            client.send(b"".join(head + body for _, head, body in requests))
    seen: list[Seen] = []
    for (question, _), (machine, head, body) in zip(talk.exchanges, requests, strict=False):
        if not talk.is_pipelined:
            client.send(head if question.expects else head + body)
            if question.expects:
                client.await_continue(machine)
                client.send(body)
        seen.append(client.receive(machine))
        if not seen[-1].keeps_alive:
            break
    else:
        client.connection.shutdown(socket.SHUT_WR)
    assert client.is_at_end()
    return seen


def test_a_request_on_its_way_when_the_server_closes_takes_no_response_away() -> None:
    """The client has not said that it closes, and may be sending (RFC 9112 section 9.6)."""

    def close(environ: Environ, start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", [("Connection", "close")])
        return [b"the last"]

    server = Server(("127.0.0.1", 0), shutdown_timeout=PATIENCE)
    server.set_app(close)
    request = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
    with running(server), connected(server) as connection:
        connection.sendall(request)
        assert receive_all(connection).endswith(b"\r\n\r\nthe last")
        for _ in range(2):  # the first one would have the connection reset
            connection.sendall(request)


@pytest.mark.parametrize("threads", [0, 2], ids=["loop", "threads"])
def test_both_sides_have_seen_the_same_exchanges(threads: int) -> None:
    scribe = Scribe()
    server = Server(("127.0.0.1", 0), threads=threads, spool_size=256, shutdown_timeout=PATIENCE)
    server.set_app(scribe)

    @settings(max_examples=EXAMPLES)
    @given(_talks)
    def check(talk: Talk) -> None:
        scribe.begin(talk)
        with connected(server) as connection:
            seen = hold(talk, Client(connection, talk.cuts))
        assert len(scribe.asked) == len(seen)  # what follows the last is nobody's request
        for (question, answer), environ, response in zip(
            talk.exchanges, scribe.asked, seen, strict=False
        ):
            assert_asked(question, answer, environ)
            assert_answered(question, answer, response)
            assert_agreed(question, answer, response)
        assert scribe.closed == scribe.opened

    with running(server):
        check()
