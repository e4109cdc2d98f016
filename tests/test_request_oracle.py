"""Any request at all comes to the same with us as with the standard library.

The same bytes go through a request handler of each, over a stand-in for a socket; environ,
response, log lines and exceptions must be equal. What differs on purpose is left out by
`deviation`, a rule for each row of the table of deviations and nothing more.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from http.client import HTTPException, HTTPMessage, parse_headers
from typing import Any, NamedTuple
from wsgiref import simple_server as original

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from support import StubSocket
from wsgiref_fast import simple_server

pytestmark = pytest.mark.usefixtures("implementation")

Headers = list[tuple[str, str]]
Change = Callable[[Any], None]

BASE = {
    "SERVER_NAME": "server",
    "GATEWAY_INTERFACE": "CGI/1.1",
    "SERVER_PORT": "80",
    "REMOTE_HOST": "",
    "CONTENT_LENGTH": "",
    "SCRIPT_NAME": "",
}


class Outcome(NamedTuple):
    """All that a request comes to."""

    environ: dict[str, Any] | None
    body: bytes | None
    response: bytes
    log: list[str]
    error: str | None
    state: dict[str, Any]


class StubServer:
    """The least of a server: an environ, and an application that keeps what it is given."""

    def __init__(self) -> None:
        self.base_environ = BASE
        self.environ: dict[str, Any] | None = None
        self.body: bytes | None = None

    def get_app(self) -> Any:
        return self.app

    def app(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        # No more than the length: the standard library's input goes on behind it.
        self.body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"] or 0))
        own = ("wsgi.input", "wsgi.file_wrapper")
        self.environ = {key: value for key, value in environ.items() if key not in own}
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [self.body]


STATE = ("command", "path", "request_version", "requestline", "close_connection")


def serve(library: Any, raw: bytes, change: Change | None = None) -> tuple[Outcome, Any]:
    """Serve a request by one library; return its outcome and the request handler."""
    handlers: list[Any] = []
    log: list[str] = []

    class Handler(library.WSGIRequestHandler):  # type: ignore[misc]
        def setup(self) -> None:
            handlers.append(self)
            super().setup()

        def log_message(self, format: str, *args: Any) -> None:
            log.append(format % args)

        def get_environ(self) -> Any:
            if change is not None:
                change(self.headers)
            return super().get_environ()

    server, request, error = StubServer(), StubSocket(raw), None
    try:
        Handler(request, ("192.0.2.1", 4711), server)
    except Exception as exception:
        error = repr(exception)
    response = re.sub(rb"\r\nDate: [^\r]*\r\n", b"\r\nDate: now\r\n", b"".join(request.sent))
    state = {name: getattr(handlers[0], name, None) for name in STATE}
    return Outcome(server.environ, server.body, response, log, error, state), handlers[0]


# What differs on purpose


def section_of(raw: bytes) -> list[bytes]:
    """Return the header lines of a request as the standard library cuts them, without ends."""
    stream = io.BytesIO(raw)
    stream.readline(65_537)
    lines = []
    while (line := stream.readline(65_537)) not in (b"\r\n", b"\n", b""):
        lines.append(line.removesuffix(b"\n").removesuffix(b"\r"))
    return lines


def fields_of(raw: bytes) -> Headers:
    """Return the header fields of a request as the standard library reads them."""
    stream = io.BytesIO(raw)
    stream.readline(65_537)
    try:
        return parse_headers(stream).items()
    except HTTPException:
        return []  # refused, and by both in the same way


def has_space_before_colon(line: bytes) -> bool:
    """Tell whether white space stands in or behind the name of a line that has one."""
    name, colon, _ = line.partition(b":")
    return bool(colon and name[:1] not in b" \t" and name.split() not in ([], [name]))


def deviation(raw: bytes) -> str | None:
    """Name the row of the table of deviations that a request falls under, if it does."""
    lines, fields = section_of(raw), fields_of(raw)
    names = [name.lower() for name, _ in fields]
    lengths = [value for name, value in fields if name.lower() == "content-length"]
    rules = {
        "bare CR in a header": any(b"\r" in line for line in lines),
        "space before the colon": any(map(has_space_before_colon, lines)),
        "malformed Content-Length": not all(re.fullmatch("[0-9]{1,18}", x) for x in lengths),
        "conflicting Content-Length": len(set(lengths)) > 1,
        "duplicate Cookie headers": names.count("cookie") > 1,
        "HEAD": raw.split(None, 1)[:1] == [b"HEAD"],
        "Transfer-Encoding in a request": "transfer-encoding" in names,
        "header names with _": any("_" in name for name in names),
        "HTTP/0.9 on 3.14.4 and newer": sys.version_info >= (3, 14)
        and len(raw.split(b"\n", 1)[0].split()) == 2,
    }
    return next((name for name, applies in rules.items() if applies), None)


# Requests

TOKEN = "!#$%&'*+-.^`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

methods = st.one_of(st.sampled_from(["GET", "POST", "PUT", "get"]), st.text(TOKEN, min_size=1))
targets = st.one_of(
    st.sampled_from(["/", "//", "//h/x", "*", "http://h/a?b", "/a?b?c", "?", "/%41%zz%e9", "/#x"]),
    st.text(st.characters(codec="latin-1", min_codepoint=0x21), min_size=1),
)
versions = st.sampled_from(
    ["HTTP/1.0", "HTTP/1.1"] * 4 + ["HTTP/1.9", "HTTP/0.9", "HTTP/2.0", "HTTP/01.1", "HTTP/1.10"]
)
names = st.one_of(
    st.sampled_from(["Host", "Content-Type", "content-type", "Cookie", "Connection", "Expect"]),
    st.sampled_from(["Content-Length", "Remote-Addr", "Https", "Script-Name", "X-A", "x-a"]),
    st.text(TOKEN, min_size=1, max_size=8),
)
values = st.one_of(
    st.sampled_from(
        ["", "1", "close", "keep-alive", "100-continue", "a, b", "text/html; charset=x", "text",
         "multipart/mixed; boundary=x", "multipart/mixed", "message/rfc822", "/",
         "=?utf-8?q?=41?=", "\xe9t\xe9", " padded \t"]
    ),
    st.text(st.characters(codec="latin-1", categories=["L", "N", "P", "S", "Zs"])),
)  # fmt: skip
fields = st.lists(st.tuples(names, st.sampled_from([": ", ":", ":\t"]), values), max_size=8)


def write_request(
    method: str, target: str, version: str, lines: list[tuple[str, ...]], end: str, body: bytes
) -> bytes:
    head = [f"{method} {target} {version}", *map("".join, lines), "", ""]
    return end.join(head).encode("iso-8859-1") + body


well_formed = st.builds(
    write_request, methods, targets, versions, fields, st.sampled_from(["\r\n"] * 5 + ["\n"]),
    st.binary(max_size=30),
)  # fmt: skip


@st.composite
def with_bodies(draw: st.DrawFn) -> bytes:
    """Draw a request whose Content-Length says something of its body."""
    body, more = draw(st.binary(max_size=60)), draw(st.binary(max_size=9))
    cut = draw(st.sampled_from([0, 0, 0, 1]))
    length = ("Content-Length", ": ", str(len(body) + cut))
    before, after = draw(fields), draw(fields)
    return write_request(
        "POST", "/", "HTTP/1.1", [*before, length, *after], "\r\n", body + more * (1 - cut)
    )


ODD = st.sampled_from([bytes([byte]) for byte in b" \t\r\n:\0\x0b\x0c\x1c\x7f\x85\xa0\xff,;%?/A"])


@st.composite
def nearly_well_formed(draw: st.DrawFn) -> bytes:
    """Draw a request with a few bytes put in, taken out or changed."""
    raw = draw(well_formed)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(raw)))
        raw = raw[:at] + draw(st.one_of(st.just(b""), ODD)) + raw[at + draw(st.integers(0, 1)) :]
    return raw


FRAGMENTS = [
    b"GET", b"POST", b" ", b"  ", b"\t", b"/", b"/x?y", b"HTTP/", b"HTTP/1.0", b"HTTP/1.1", b"1",
    b".", b"\r\n", b"\n", b"\r\n\r\n", b"\r", b"A", b"B: 2\r\n", b":", b"Content-Length: 1\r\n",
    b"Content-Type: ", b"Cookie: a=b\n", b"From x\r\n", b">From x\n", b"\x00", b"\xff", b"\x0c",
    b"\x85", b"--x", b" folded\r\n", b"\tfolded\n", b": nameless\r\n",
]  # fmt: skip
strung_together = st.lists(st.sampled_from(FRAGMENTS), max_size=25).map(b"".join)
headers_strung_together = strung_together.map(lambda section: b"GET / HTTP/1.0\r\n" + section)


def types_of(environ: dict[str, Any] | None) -> dict[str, type]:
    return {key: type(value) for key, value in (environ or {}).items()}


def assert_same(raw: bytes, change: Change | None = None) -> None:
    ours, theirs = serve(simple_server, raw, change)[0], serve(original, raw, change)[0]
    assert ours == theirs
    assert types_of(ours.environ) == types_of(theirs.environ)


@given(st.one_of(well_formed, with_bodies()))
def test_a_well_formed_request_is_served_as_by_the_original(raw: bytes) -> None:
    assume(not deviation(raw))
    assert_same(raw)


@given(nearly_well_formed())
def test_a_nearly_well_formed_request_is_served_as_by_the_original(raw: bytes) -> None:
    assume(not deviation(raw))
    assert_same(raw)


@given(st.one_of(strung_together, headers_strung_together, st.binary()))
@example(b"")
@example(b"\r\n")
@example(b"GET /\r\n\r\n")
@example(b"GET / HTTP/1.0\r\n")
@example(b"GET / HTTP/1.0\r\n: x\r\nA: b\r\n\r\n")
@example(b"GET / HTTP/1.0\r\nFrom x\r\nA: b\r\n\r\n")
@example(b"GET / HTTP/1.0\r\nA: b\n\nbody: \r\n\r\n")
@example(b"GET / HTTP/1.0\r\nA: b\n\r\nbody: \r\n\r\n")
@example(b"GET / HTTP/1.0\r\nA: b\r\n\nbody: \r\n\r\n")
@example(b"GET / HTTP/1.0\r\nA: \x85b\x1cc\r\n\r\n")
@example(b"GET / HTTP/1.0\r\nA\xe9: b\r\n\r\n")
@example(b"GET /" + b"a" * 65_536)
@example(b"GET / HTTP/1.0\r\n" + b"A: b\r\n" * 99 + b"\r\n")
@example(b"GET / HTTP/1.0\r\n" + b"A: b\r\n" * 100 + b"\r\n")
@example(b"GET / HTTP/1.0\r\n" + b"A: b\r\n" * 101 + b"\r\n")
@example(b"GET / HTTP/1.0\r\nA:" + b"b" * 65_532 + b"\r\n\r\n")
@example(b"GET / HTTP/1.0\r\nA:" + b"b" * 65_533 + b"\r\n\r\n")
@example(b"GET / HTTP/1.0\r\nA:" + b"b" * 65_534 + b"\r\n\r\n")
@example(b"GET / HTTP/1.0\r\n" + (b"A:" + b"b" * 60_000 + b"\r\n") * 5 + b"\r\n")
def test_anything_is_served_as_by_the_original(raw: bytes) -> None:
    assume(not deviation(raw))
    assert_same(raw)


# The headers that a request handler shows


def describe(message: HTTPMessage) -> dict[str, Any]:
    """Return all that can be seen of a message."""
    attributes = dict(vars(message))
    del attributes["policy"]  # an object of its own
    attributes["defects"] = [repr(defect) for defect in message.defects]
    if not isinstance(message._payload, str | None):  # type: ignore[attr-defined]
        attributes["_payload"] = [describe(part) for part in message.get_payload()]  # type: ignore[arg-type]
    questions: dict[str, Callable[[], Any]] = {
        "type": lambda: type(message),
        "items": message.items,
        "str items": lambda: [str(value) for value in message.values()],
        "content type": message.get_content_type,
        "charset": message.get_content_charset,
        "boundary": message.get_boundary,
        "file name": message.get_filename,
        "parameters": message.get_params,
        "multipart": message.is_multipart,
        "string": message.as_string,
        "bytes": message.as_bytes,
        "policy": lambda: repr(message.policy),
    }
    return attributes | {name: answer(question) for name, question in questions.items()}


def answer(question: Callable[[], Any]) -> Any:
    try:
        return question()
    except Exception as error:
        return repr(error)


@given(st.one_of(well_formed, nearly_well_formed(), headers_strung_together))
@example(b"GET / HTTP/1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x--")
@example(b"GET / HTTP/1.0\r\nContent-Type: multipart/mixed\r\n\r\n")
@example(b"GET / HTTP/1.0\r\nContent-Type: message/rfc822\r\nA: \xe9\r\n\r\n")
@example(b"GET / HTTP/1.0\r\nContent-Type: message/delivery-status\r\n\r\n")
@example(b"GET / HTTP/1.0\r\nContent-Type: text\r\nContent-Type: multipart/x\r\n\r\n")
@example(
    b"GET / HTTP/1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\n"
)
def test_the_headers_of_a_request_are_the_message_of_the_original(raw: bytes) -> None:
    assume(not deviation(raw))
    ours, theirs = serve(simple_server, raw)[1], serve(original, raw)[1]
    assert hasattr(ours, "headers") == hasattr(theirs, "headers")
    if hasattr(theirs, "headers"):
        assert describe(ours.headers) == describe(theirs.headers)
        assert ours.headers is ours.headers


PLAIN = st.text("abc123", min_size=1, max_size=5)
changed_names = st.sampled_from(
    ["Host", "x-a", "X-New", "Cookie", "content-type", "Content-Length", "ACCEPT"]
)


def delete(name: str, _: str) -> Change:
    return lambda message: message.__delitem__(name)


def append(name: str, value: str) -> Change:
    return lambda message: message.__setitem__(name, value)


def add_with_parameter(name: str, value: str) -> Change:
    return lambda message: message.add_header(name, value, q=value)


def set_type(name: str, value: str) -> Change:
    return lambda message: message.set_type(f"text/{value}")


def replace(name: str, value: str) -> Change:
    def change(message: HTTPMessage) -> None:
        if name in message:
            message.replace_header(name, value)

    return change


changes = st.lists(
    st.builds(
        lambda make, name, value: make(name, value),
        st.sampled_from([delete, append, add_with_parameter, set_type, replace]),
        changed_names.filter(lambda name: name not in ("Cookie", "Content-Length")),
        PLAIN,
    ),
    max_size=4,
)


@given(well_formed, changes)
def test_the_environ_shows_what_was_changed_in_the_headers(raw: bytes, steps: list[Change]) -> None:
    assume(not deviation(raw))

    def change(message: HTTPMessage) -> None:
        for step in steps:
            step(message)

    assert_same(raw, change)


@pytest.mark.parametrize("library", [simple_server, original], ids=["ours", "original"])
def test_headers_may_be_deleted_while_they_are_iterated_over(library: Any) -> None:
    def strip(message: HTTPMessage) -> None:
        for name in message:
            if "-" in name:
                del message[name]

    raw = b"GET / HTTP/1.0\r\nX-A: 1\r\nHost: x\r\nX-B: 2\r\nX-A: 3\r\n\r\n"
    environ = serve(library, raw, strip)[0].environ
    assert environ is not None
    assert [key for key in environ if key.startswith("HTTP_X")] == []
    assert environ["HTTP_HOST"] == "x"


def test_deleted_headers_do_not_change_the_body() -> None:
    def strip(message: HTTPMessage) -> None:
        del message["Content-Length"]

    raw = b"POST / HTTP/1.0\r\nContent-Length: 4\r\n\r\nbody"
    outcome, _ = serve(simple_server, raw, strip)
    assert outcome.environ is not None
    assert outcome.environ["CONTENT_LENGTH"] == ""


def test_white_space_behind_a_length_stays_in_the_environ() -> None:
    # Not malformed (RFC 9110 section 5.5), but nothing that the filter above lets through.
    assert_same(b"POST / HTTP/1.0\r\nContent-Length: 4 \t\r\n\r\nbody")


# The filter itself: each of its rules names requests that do differ


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"GET / HTTP/1.0\r\nA: b\rc\r\n\r\n", "bare CR in a header"),
        (b"GET / HTTP/1.0\r\nA : b\r\n\r\n", "space before the colon"),
        (b"GET / HTTP/1.0\r\nContent-Length: +0\r\n\r\n", "malformed Content-Length"),
        (
            b"GET / HTTP/1.0\r\nContent-Length: 0\r\nContent-Length: 1\r\n\r\n",
            "conflicting Content-Length",
        ),
        (b"GET / HTTP/1.0\r\nCookie: a\r\nCookie: b\r\n\r\n", "duplicate Cookie headers"),
        (b"HEAD / HTTP/1.0\r\nContent-Length: 1\r\n\r\nx", "HEAD"),
        (
            b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "Transfer-Encoding in a request",
        ),
        (b"GET / HTTP/1.0\r\nA_B: c\r\n\r\n", "header names with _"),
    ],
)
def test_what_is_left_out_does_differ(raw: bytes, name: str) -> None:
    assert deviation(raw) == name
    with pytest.raises(AssertionError):
        assert_same(raw)
