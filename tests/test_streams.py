"""Request bodies and the streams of a connection: where `wsgi.input` ends, how a chunked body
is decoded, what becomes of a body that nobody reads; and the file that responses go to.
"""

from __future__ import annotations

import array
import io
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import (
    PATIENCE,
    Application,
    KeepingHandler,
    OriginalHandler,
    OriginalServer,
    QuietHandler,
    StubSocket,
    connected,
    exchange,
    receive_all,
    serving,
    split_response,
)
from wsgiref_fast import _streams
from wsgiref_fast._streams import BodyReader, ConnectionWriter, Farewell
from wsgiref_fast.simple_server import WSGIRequestHandler, WSGIServer

pytestmark = pytest.mark.usefixtures("implementation")

Reading = Callable[[Any], bytes]


class Reader:
    """An application that reads its input in a way of the test's, and answers with that."""

    def __init__(self, reading: Reading = lambda stream: stream.read()) -> None:
        self._reading = reading
        self.environs: list[dict[str, Any]] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        self.environs.append(dict(environ))
        block = self._reading(environ["wsgi.input"])
        start_response("200 OK", [("Content-Length", str(len(block)))])
        return [block]


def post(body: bytes, *fields: str, version: str = "1.0") -> bytes:
    """Make a request with a body; without fields its length is declared."""
    head = [f"POST / HTTP/{version}", *(fields or [f"Content-Length: {len(body)}"]), "", ""]
    return "\r\n".join(head).encode("iso-8859-1") + body


def answer_while_open(app: Application, request: bytes) -> bytes:
    """Return the body of the answer to a client that keeps its side open."""
    with serving(app) as server:
        return split_response(exchange(server, request))[2]


# wsgi.input ends where the body ends

BODY = b"first line\nsecond\n\nlast without end"


def read_into(stream: Any) -> bytes:
    buffer = bytearray(2 * len(BODY))
    return bytes(buffer[: stream.readinto(buffer)])


def read_into_words(stream: Any) -> bytes:
    words = array.array("H", bytes(2 * len(BODY)))
    size = stream.readinto(words)
    return words.tobytes()[:size]


READINGS = {
    "read()": lambda stream: stream.read(),
    "read(-1)": lambda stream: stream.read(-1),
    "read(None)": lambda stream: stream.read(None),
    "read(more)": lambda stream: stream.read(1000),
    "read(2)": lambda stream: b"".join(iter(lambda: stream.read(2), b"")),
    "read() twice": lambda stream: stream.read() + stream.read() + stream.read(1),
    "readline()": lambda stream: b"".join(iter(stream.readline, b"")),
    "readline(3)": lambda stream: b"".join(iter(lambda: stream.readline(3), b"")),
    "readline(more)": lambda stream: b"".join(iter(lambda: stream.readline(1000), b"")),
    "readlines()": lambda stream: b"".join(stream.readlines()),
    "readlines(hint)": lambda stream: b"".join(stream.readlines(11) + stream.readlines(1000)),
    "iteration": lambda stream: b"".join(stream),
    "read1()": lambda stream: b"".join(iter(stream.read1, b"")),
    "read1(3)": lambda stream: b"".join(iter(lambda: stream.read1(3), b"")),
    "readinto()": read_into,
    "readinto() of words": read_into_words,
}  # fmt: skip


@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS.keys())
def test_the_input_ends_with_the_body_and_not_with_the_connection(reading: Reading) -> None:
    request = post(BODY) + b"what follows is not the body\n"
    assert answer_while_open(Reader(reading), request) == BODY


@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS.keys())
def test_a_request_that_declares_no_body_has_an_empty_input(reading: Reading) -> None:
    request = b"POST / HTTP/1.0\r\n\r\nnobody knows what this is\n"
    assert answer_while_open(Reader(reading), request) == b""


@pytest.mark.parametrize("declared", ["Content-Length: 0", "Content-Length: 000"])
def test_a_body_of_no_bytes_is_empty(declared: str) -> None:
    assert answer_while_open(Reader(), post(b"x", declared)) == b""


def test_the_originals_input_goes_on_behind_the_body() -> None:
    with (
        serving(Reader(), OriginalServer, OriginalHandler) as server,  # type: ignore[arg-type]
        connected(server) as connection,
    ):
        connection.sendall(post(BODY) + b" and more")
        connection.shutdown(socket.SHUT_WR)
        assert receive_all(connection).endswith(BODY + b" and more")


def test_a_body_that_the_client_cuts_ends_there() -> None:
    with serving(Reader()) as server, connected(server) as connection:
        connection.sendall(post(b"half", "Content-Length: 8"))
        connection.shutdown(socket.SHUT_WR)
        assert split_response(receive_all(connection))[2] == b"half"


@pytest.mark.parametrize("size", [65_536, 65_537, 65_538])
def test_a_line_ends_with_the_body_whatever_size_is_asked_for(size: int) -> None:
    app = Reader(lambda stream: b"|".join(stream.readline(size) for _ in range(3)))
    with serving(app) as server, connected(server) as connection:
        connection.sendall(post(b"line\nend") + b"and more\n")
        connection.shutdown(socket.SHUT_WR)
        assert split_response(receive_all(connection))[2] == b"line\n|end|"


def test_a_length_that_a_client_merely_claims_allocates_nothing() -> None:
    with serving(Reader()) as server, connected(server) as connection:
        connection.sendall(post(b"tiny", "Content-Length: " + "9" * 17))
        connection.shutdown(socket.SHUT_WR)
        assert split_response(receive_all(connection))[2] == b"tiny"


def test_a_block_is_there_as_soon_as_it_has_come() -> None:
    first_read = threading.Event()

    def reading(stream: Any) -> bytes:
        first: bytes = stream.read1(100)
        first_read.set()
        return first + b"|" + stream.read()  # type: ignore[no-any-return]

    with serving(Reader(reading)) as server, connected(server) as connection:
        connection.sendall(post(b"one", "Content-Length: 6"))
        assert first_read.wait(PATIENCE)
        connection.sendall(b"two")
        assert split_response(receive_all(connection))[2] == b"one|two"


def test_a_body_of_megabytes_is_read_whole() -> None:
    body = bytes(range(256)) * 12_345
    assert answer_while_open(Reader(), post(body)) == body


def test_the_connections_socket_can_be_reached_through_the_input() -> None:
    def reading(stream: Any) -> bytes:
        assert stream.raw._sock.fileno() == stream.fileno()
        assert not stream.closed
        assert stream.readable()
        return b"reached"

    assert answer_while_open(Reader(reading), post(b"x")) == b"reached"


Operation = tuple[str, "int | None"]
operations = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["read", "readline", "readlines"]), st.integers(-1, 40)),
        st.tuples(st.sampled_from(["read", "readline", "readlines"]), st.none()),
        st.tuples(st.just("readinto"), st.integers(0, 40)),
        st.tuples(st.just("next"), st.none()),
    ),
    max_size=8,
)


def perform(stream: Any, operation: Operation) -> Any:
    name, argument = operation
    if name == "next":
        return next(iter(stream), b"")
    if name == "readinto":
        buffer = bytearray(argument or 0)
        return stream.readinto(buffer), bytes(buffer)
    return getattr(stream, name)(argument)


@given(body=st.text("ab\n", max_size=60), behind=st.text("c\n", max_size=9), steps=operations)
def test_a_body_reads_like_a_file_of_its_own(
    body: str, behind: str, steps: list[Operation]
) -> None:
    connection = io.BufferedReader(io.BytesIO((body + behind).encode()))
    reader, model = BodyReader(connection, len(body)), io.BytesIO(body.encode())
    for step in steps:
        assert perform(reader, step) == perform(model, step)
        assert reader.left == len(body) - model.tell()
    rest = model.read()
    assert reader.read() == rest
    assert connection.read() == behind.encode()


# Chunked bodies


def chunked(*blocks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(block), block) for block in blocks) + end


CODED = "Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    ("body", "decoded"),
    [
        pytest.param(chunked(), b"", id="empty"),
        pytest.param(chunked(b"one", b"two"), b"onetwo", id="two chunks"),
        pytest.param(b"0003\r\none\r\n0000\r\n\r\n", b"one", id="leading zeroes"),
        pytest.param(b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789", id="upper case"),
        pytest.param(b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789", id="lower case"),
        pytest.param(b"3;a\r\none\r\n0;b=c\r\n\r\n", b"one", id="extensions"),
        pytest.param(b'3;a="b;c"\r\none\r\n0\r\n\r\n', b"one", id="a quoted extension"),
        pytest.param(b"3 \t; a\r\none\r\n0\r\n\r\n", b"one", id="space before an extension"),
        pytest.param(chunked(b"one", end=b"0\r\nX-A: 1\r\nB:\r\n\r\n"), b"one", id="trailers"),
        pytest.param(chunked(b"\r\n0\r\n\r\n"), b"\r\n0\r\n\r\n", id="an end within a chunk"),
        pytest.param(b"%016x\r\none\r\n0\r\n\r\n" % 3, b"one", id="16 digits"),
        pytest.param(chunked(*[b"x"] * 999), b"x" * 999, id="many chunks"),
    ],
)
@pytest.mark.parametrize("handler_class", [QuietHandler, KeepingHandler])
def test_a_chunked_body_is_decoded(
    body: bytes, decoded: bytes, handler_class: type[WSGIRequestHandler]
) -> None:
    app = Reader()
    request = post(body, CODED, "Connection: close", version="1.1")
    with serving(app, handler_class=handler_class) as server:
        assert split_response(exchange(server, request))[2] == decoded
    (environ,) = app.environs
    assert environ["wsgi.input_terminated"] is True
    assert environ["CONTENT_LENGTH"] == str(len(decoded))
    assert "HTTP_TRANSFER_ENCODING" not in environ
    assert "HTTP_X_A" not in environ


@pytest.mark.parametrize("coding", ["chunked", "CHUNKED", " chunked\t"])
def test_the_coding_is_named_without_regard_to_case(coding: str) -> None:
    request = post(chunked(b"body"), f"transfer-ENCODING:{coding}", version="1.1")
    assert answer_while_open(Reader(), request) == b"body"


@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS.keys())
def test_a_decoded_body_can_be_read_in_every_way(reading: Reading) -> None:
    request = post(chunked(BODY[:7], BODY[7:]) + b"behind", CODED, version="1.1")
    assert answer_while_open(Reader(reading), request) == BODY


def test_a_chunked_body_may_come_byte_by_byte() -> None:
    body = chunked(b"one", b"two", end=b"0\r\nA: b\r\n\r\n")
    with serving(Reader()) as server, connected(server) as connection:
        for byte in post(body, CODED, version="1.1"):
            connection.sendall(bytes([byte]))
        assert split_response(receive_all(connection))[2] == b"onetwo"


def test_a_large_chunked_body_goes_to_a_file() -> None:
    rolled = []

    def reading(stream: Any) -> bytes:
        rolled.append(stream._source._rolled)
        return stream.read()  # type: ignore[no-any-return]

    for size in (512 * 1024, 512 * 1024 + 1):
        body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        request = post(chunked(body[:70_000], body[70_000:]), CODED, version="1.1")
        assert answer_while_open(Reader(reading), request) == body
    assert rolled == [False, True]


def test_the_file_of_a_chunked_body_is_closed_with_its_request() -> None:
    sources = []

    def reading(stream: Any) -> bytes:
        sources.append(stream._source)
        return b""

    answer_while_open(Reader(reading), post(chunked(b"unread"), CODED, version="1.1"))
    assert isinstance(sources[0], tempfile.SpooledTemporaryFile)
    assert sources[0].closed


def test_without_a_coding_the_input_does_not_call_itself_terminated() -> None:
    app = Reader()
    answer_while_open(app, post(b"body", version="1.1"))
    assert "wsgi.input_terminated" not in app.environs[0]


def test_the_original_leaves_a_chunked_body_as_it_is() -> None:
    app = Reader(lambda stream: b"")
    with serving(app, OriginalServer, OriginalHandler) as server:  # type: ignore[arg-type]
        exchange(server, post(b"", CODED, version="1.1"))
    assert app.environs[0]["HTTP_TRANSFER_ENCODING"] == "chunked"
    assert app.environs[0]["CONTENT_LENGTH"] == ""


class Limited(QuietHandler):
    max_chunked_body = 6


MALFORMED = {
    "no digit": b"\r\nx",
    "not a digit": b"3x\r\none\r\n0\r\n\r\n",
    "0x": b"0x3\r\none\r\n0\r\n\r\n",
    "plus": b"+3\r\none\r\n0\r\n\r\n",
    "minus": b"-3\r\none\r\n0\r\n\r\n",
    "underscore": b"0_3\r\none\r\n0\r\n\r\n",
    "space before": b" 3\r\none\r\n0\r\n\r\n",
    "space behind": b"3 \r\none\r\n0\r\n\r\n",
    "17 digits": b"%017x\r\none\r\n0\r\n\r\n" % 3,
    "LF alone behind the size": b"3\none\r\n0\r\n\r\n",
    "CR in an extension": b"3;a\rb\r\none\r\n0\r\n\r\n",
    "an endless extension": b"3;" + b"a" * 5000 + b"\r\none\r\n0\r\n\r\n",
    "chunk longer than its size": b"2\r\none\r\n0\r\n\r\n",
    "chunk shorter than its size": b"4\r\none\r\n0\r\n\r\n",
    "LF alone behind a chunk": b"3\r\none\n0\r\n\r\n",
    "trailer without a colon": chunked(b"one", end=b"0\r\nX-A\r\n\r\n"),
    "trailer without a name": chunked(b"one", end=b"0\r\n: 1\r\n\r\n"),
    "trailer with a space before the colon": chunked(b"one", end=b"0\r\nX-A : 1\r\n\r\n"),
    "folded trailer": chunked(b"one", end=b"0\r\nX-A: 1\r\n 2\r\n\r\n"),
    "LF alone behind a trailer": chunked(b"one", end=b"0\r\nX-A: 1\n\r\n"),
    "endless trailers": chunked(b"one", end=b"0\r\n" + b"A: b\r\n" * 4000 + b"\r\n"),
    "an endless trailer": chunked(b"one", end=b"0\r\nA: " + b"b" * 20_000 + b"\r\n\r\n"),
}


@contextmanager
def refusing(
    status: int, handler_class: type[WSGIRequestHandler] = QuietHandler
) -> Iterator[WSGIServer]:
    """Serve an application that must not be asked; one line of log must say why."""
    app = Reader()
    with serving(app, handler_class=handler_class) as server:
        yield server
        exchange(server, post(b"", version="1.0"))  # the refusals are behind us
    assert len(app.environs) == 1
    refusals = server.__dict__["log"][:-1]
    assert [line.split(",")[0] for line in refusals] == [f"code {status}"]


def status_of(response: bytes) -> int:
    return int(response.split(b" ", 2)[1])


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
@pytest.mark.parametrize("handler_class", [QuietHandler, KeepingHandler])
def test_a_malformed_chunked_body_is_refused(
    body: bytes, handler_class: type[WSGIRequestHandler]
) -> None:
    with refusing(400, handler_class) as server:
        response = exchange(server, post(body, CODED, version="1.1"))
    assert status_of(response) == 400
    assert ("Connection", "close") in split_response(response)[1]


@pytest.mark.parametrize("length", range(len(chunked(b"one", end=b"0\r\nA: b\r\n\r\n"))))
def test_a_chunked_body_that_ends_early_is_refused(length: int) -> None:
    body = chunked(b"one", end=b"0\r\nA: b\r\n\r\n")[:length]
    with refusing(400) as server, connected(server) as connection:
        connection.sendall(post(body, CODED, version="1.1"))
        connection.shutdown(socket.SHUT_WR)
        assert status_of(receive_all(connection)) == 400


@pytest.mark.parametrize(
    "body", [chunked(b"1234567"), chunked(b"123", b"4567"), b"FFFFFFFFFFFFFFFF\r\nx"]
)
def test_a_chunked_body_over_the_limit_is_refused(body: bytes) -> None:
    with refusing(413, Limited) as server:
        assert status_of(exchange(server, post(body, CODED, version="1.1"))) == 413


def test_a_chunked_body_of_just_the_limit_is_served() -> None:
    request = post(chunked(b"123", b"456"), CODED, version="1.1")
    with serving(Reader(), handler_class=Limited) as server:
        assert split_response(exchange(server, request))[2] == b"123456"


@pytest.mark.parametrize(
    ("fields", "version", "status"),
    [
        pytest.param(["Transfer-Encoding: gzip"], "1.1", 501, id="unknown"),
        pytest.param(["Transfer-Encoding: identity"], "1.1", 501, id="identity"),
        pytest.param(["Transfer-Encoding: xchunked"], "1.1", 501, id="much like chunked"),
        pytest.param(["Transfer-Encoding: gzip, chunked"], "1.1", 501, id="two"),
        pytest.param(["Transfer-Encoding: gzip", CODED], "1.1", 501, id="two fields"),
        pytest.param(["Transfer-Encoding: chunked, gzip"], "1.1", 400, id="not last"),
        pytest.param(["Transfer-Encoding: chunked, chunked"], "1.1", 400, id="twice"),
        pytest.param([CODED, CODED], "1.1", 400, id="twice in two fields"),
        pytest.param(["Transfer-Encoding: chunked,"], "1.1", 400, id="half a list"),
        pytest.param(["Transfer-Encoding:"], "1.1", 400, id="empty"),
        pytest.param([CODED], "1.0", 400, id="HTTP/1.0"),
        pytest.param([CODED, "Content-Length: 14"], "1.1", 400, id="both framings"),
        pytest.param(["Content-Length: 14", CODED], "1.1", 400, id="both the other way"),
    ],
)
def test_a_coding_that_is_not_chunked_alone_is_refused(
    fields: list[str], version: str, status: int
) -> None:
    with refusing(status) as server:
        response = exchange(server, post(chunked(b"body"), *fields, version=version))
    assert status_of(response) == status


@given(blocks=st.lists(st.binary(min_size=1, max_size=50), max_size=6))
def test_any_chunks_come_out_as_they_went_in(blocks: list[bytes]) -> None:
    class Server:
        base_environ: dict[str, str] = {}  # noqa: RUF012

        def get_app(self) -> Application:
            return Reader()

    request = StubSocket(post(chunked(*blocks), CODED, version="1.1"))
    QuietHandlerOf(request, ("127.0.0.1", 0), Server())
    assert split_response(b"".join(request.sent))[2] == b"".join(blocks)


class QuietHandlerOf(WSGIRequestHandler):
    """A request handler of a stand-in for a server: its log goes nowhere."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


# A body that nobody reads


def refuse_unread(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("413 Content Too Large", [("Content-Type", "text/plain")])
    return [b"too large" * 1000]


@pytest.mark.parametrize("handler_class", [QuietHandler, KeepingHandler])
@pytest.mark.parametrize("fields", [(), ("X-A: 1\r\n folded",)], ids=["plain", "odd"])
def test_a_client_that_sends_all_of_an_unread_body_gets_the_whole_answer(
    handler_class: type[WSGIRequestHandler], fields: tuple[str, ...]
) -> None:
    body = bytes(5_000_000)
    request = post(body, f"Content-Length: {len(body)}", *fields, version="1.1")
    with serving(refuse_unread, handler_class=handler_class) as server:
        response = exchange(server, request)
    assert response.endswith(b"\r\n\r\n" + b"too large" * 1000)


def test_a_client_gets_the_whole_refusal_of_a_body() -> None:
    request = post(bytes(5_000_000), "Content-Length: 5000000, 1")
    with serving(refuse_unread) as server:
        response = exchange(server, request)
    assert response.startswith(b"HTTP/1.0 400 ")
    assert response.rstrip().endswith(b"</html>")


def test_a_client_gets_the_whole_refusal_of_a_chunked_body() -> None:
    request = post(chunked(bytes(5_000_000)), CODED, version="1.1")
    with serving(refuse_unread, handler_class=Limited) as server:
        response = exchange(server, request)
    assert response.startswith(b"HTTP/1.0 413 ")
    assert response.rstrip().endswith(b"</html>")


def test_a_body_half_read_is_drained_too() -> None:
    app = Reader(lambda stream: stream.read(1000))
    assert answer_while_open(app, post(bytes(5_000_000))) == bytes(1000)


def test_the_connection_is_closed_in_order_when_the_answer_is_read_late() -> None:
    with serving(refuse_unread) as server, connected(server) as connection:
        connection.sendall(post(bytes(100_000)))
        connection.shutdown(socket.SHUT_WR)
        # The next client's answer says that the server is done with the first.
        assert exchange(server, post(b"")).startswith(b"HTTP/1.0 413 ")
        assert receive_all(connection).endswith(b"too large")


class Endless:
    """A connection that goes on sending, and counts what was read of it."""

    def __init__(self) -> None:
        self.received = 0

    def shutdown(self, how: int) -> None:
        assert how == socket.SHUT_WR

    def settimeout(self, timeout: float) -> None:
        assert 0 <= timeout <= _streams._FAREWELL_PAUSE

    def recv(self, size: int) -> bytes:
        self.received += size
        return bytes(size)


def test_draining_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_streams, "_FAREWELL_TIME", float("inf"))
    connection = Endless()
    Farewell(connection).finish()
    assert connection.received == _streams._FAREWELL_BYTES


def test_draining_is_bounded_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_streams, "_FAREWELL_TIME", 0.0)
    with socket.socket(socket.AF_INET) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with socket.create_connection(listener.getsockname()) as client:
            connection, _ = listener.accept()
            with connection:
                Farewell(connection).finish()  # it comes back, though nobody has closed
            assert receive_all(client) == b""


def test_there_is_no_draining_of_what_is_gone() -> None:
    with socket.socket() as never_connected:
        assert not Farewell(never_connected).receive()
    assert not Farewell(StubSocket(b"")).receive()


def test_a_client_that_goes_on_sending_holds_nobody_up() -> None:
    with serving(refuse_unread) as server, connected(server) as connection:
        connection.sendall(post(bytes(100_000), "Content-Length: 100000000"))
        assert receive_all(connection).endswith(b"too large")
        connection.sendall(b"more")
        assert exchange(server, post(b"")).startswith(b"HTTP/1.0 413 ")


# The file of a connection that responses are written to


class ShortSocket(StubSocket):
    """A socket whose ``sendmsg`` takes only so many bytes."""

    def __init__(self, taken: int) -> None:
        super().__init__(b"")
        self.taken = taken

    def sendmsg(self, buffers: list[Any]) -> int:
        self.sent.append(b"".join(map(bytes, buffers))[: self.taken])
        return len(self.sent[-1])


class TLSLikeSocket(StubSocket):
    def sendmsg(self, buffers: list[Any]) -> int:
        raise NotImplementedError


HEAD, LARGE = b"the head", b"0123456789abcdef" * 8192


@pytest.mark.parametrize(
    "connection",
    [StubSocket(b""), TLSLikeSocket(b""), *(ShortSocket(n) for n in (0, 3, 8, 9, 1000, 1 << 20))],
    ids=["no sendmsg", "TLS", "0", "3", "8", "9", "1000", "all"],
)
@pytest.mark.parametrize("tail", [b"", b"x" * 10, LARGE], ids=len)
def test_what_was_held_arrives_whatever_a_send_takes(connection: Any, tail: bytes) -> None:
    connection.sent.clear()
    writer = ConnectionWriter(connection)
    writer.hold()
    assert writer.write(HEAD) == len(HEAD)
    assert writer.write(tail) == len(tail)
    assert connection.sent == []
    writer.release()
    assert b"".join(connection.sent) == HEAD + tail


@pytest.mark.parametrize("end", [ConnectionWriter.flush, ConnectionWriter.close])
def test_flushing_and_closing_send_what_is_held(end: Callable[[ConnectionWriter], None]) -> None:
    connection = StubSocket(b"")
    writer = ConnectionWriter(connection)
    writer.hold()
    writer.write(HEAD)
    end(writer)
    assert connection.sent == [HEAD]
    assert not writer.holds


def test_what_is_discarded_is_never_sent() -> None:
    connection = StubSocket(b"")
    writer = ConnectionWriter(connection)
    assert not writer.discard()
    writer.hold()
    writer.write(HEAD)
    assert writer.discard()
    writer.flush()
    assert connection.sent == []


def test_a_writer_that_does_not_hold_sends_at_once() -> None:
    connection = StubSocket(b"")
    writer = ConnectionWriter(connection)
    writer.writelines([b"one", b"two"])
    assert connection.sent == [b"one", b"two"]


def test_a_writer_takes_any_buffer_and_tells_its_bytes() -> None:
    connection = StubSocket(b"")
    writer = ConnectionWriter(connection)
    words = array.array("H", [1, 2, 3])
    assert writer.write(words) == words.itemsize * 3
    writer.hold()
    assert writer.write(words) == words.itemsize * 3
    words[0] = 9  # what is held is a copy
    writer.release()
    assert connection.sent[0] == connection.sent[1]


def test_closing_a_writer_leaves_the_socket_open() -> None:
    # As with the original: a wrapper around ``wfile`` may have been collected meanwhile.
    one, two = socket.socketpair()
    with one, two:
        with ConnectionWriter(one) as writer:
            assert writer.fileno() == one.fileno()
        assert writer.closed
        writer.write(b"late")
        assert two.recv(100) == b"late"


def test_a_writer_passes_for_the_file_that_it_replaces() -> None:
    writer = ConnectionWriter(StubSocket(b""))
    assert isinstance(writer, io.BufferedIOBase)
    assert (writer.readable(), writer.writable(), writer.seekable()) == (False, True, False)
    assert not writer.isatty()
