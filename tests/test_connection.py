"""The state machine of a connection, without a socket: bytes in, requests out."""

from __future__ import annotations

from typing import Any

import pytest

from wsgiref_fast._http11.options import Options
from wsgiref_fast._http11.response import Response, ResponseError
from wsgiref_fast._pure.connection import Connection
from wsgiref_fast._pure.request import BadRequest

Outcome = list[Any]


def requests_of(data: bytes, step: int, **options: Any) -> Outcome:
    """Return the requests that bytes make, or the refusal, when they come in such steps."""
    connection = Connection(Options(**options))
    found: Outcome = []
    try:
        for start in range(0, len(data), step):
            connection.receive(data[start : start + step])
            while (request := connection.next_request()) is not None:
                body = b""
                if request.body is not None:
                    with request.body:
                        body = request.body.read()
                line = request.method, request.target, request.path, request.version
                found.append((*line, request.variables, body, request.keeps_alive))
    except BadRequest as error:
        found.append(error.status)
    connection.close()
    return found


def outcome(data: bytes, **options: Any) -> Outcome:
    """Return the same, whichever way the bytes come; it must not matter."""
    whole, by_byte = (requests_of(data, step, **options) for step in (len(data), 1))
    assert whole == by_byte == requests_of(data, 7, **options)
    return whole


HOST = b"Host: here\r\n"


def test_a_plain_request() -> None:
    assert outcome(b"GET /a%20b?c=d HTTP/1.1\r\nHost: here\r\nCookie: a\r\ncookie: b\r\n\r\n") == [
        (
            *("GET", "/a%20b?c=d", "/a%20b?c=d", "HTTP/1.1"),
            {"HTTP_HOST": "here", "HTTP_COOKIE": "a; b"},
            b"",
            True,
        )
    ]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: here\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: here\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: he\rre\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET / HTTP/0.9\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505),
        (b"GET /a#b HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET a HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET * HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"CONNECT here:80 HTTP/1.1\r\n" + HOST + b"\r\n", 501),
        (b"GET / HTTP/1.1\r\n" + HOST + b"A : b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b": b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\0c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"A(b): c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Expect: more\r\n\r\n", 417),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +1\r\n\r\na", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1, 2\r\n\r\na", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length:\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked, chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (
            b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
    ],
)
def test_what_two_parties_may_read_differently_is_refused(data: bytes, status: int) -> None:
    assert outcome(data) == [status]


CHUNKED = b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"3\r\nabc\r\n0\r\n\r\n", b"abc"),
        (b"03;a=b\r\nabc\r\nA\r\n0123456789\r\n0\r\nX-A: b\r\n\r\n", b"abc0123456789"),
        (b"3\r\nabcd\r\n0\r\n\r\n", 400),
        (b"3\nabc\r\n0\r\n\r\n", 400),
        (b"0x3\r\nabc\r\n0\r\n\r\n", 400),
        (b"\r\nabc\r\n0\r\n\r\n", 400),
        (b"00000000000000003\r\nabc\r\n0\r\n\r\n", 400),
        (b"0\r\nX A: b\r\n\r\n", 400),
    ],
)
def test_chunked_bodies(body: bytes, expected: Any) -> None:
    found = outcome(CHUNKED + body)
    if isinstance(expected, int):
        assert found == [expected]
    else:
        (*_, variables, read, _) = found[0]
        assert read == expected
        assert variables["CONTENT_LENGTH"] == str(len(expected))
        assert "HTTP_TRANSFER_ENCODING" not in variables


def test_a_large_body_goes_to_a_file() -> None:
    connection = Connection(Options(spool_size=10))
    connection.receive(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 20\r\n\r\n")
    assert connection.next_request() is None
    connection.receive(b"0123456789" * 2)
    request = connection.next_request()
    assert request is not None
    with request.body as body:
        assert body.fileno() > 0
        assert body.read() == b"0123456789" * 2


@pytest.mark.parametrize(
    ("data", "options", "status"),
    [
        (b"GET /%s HTTP/1.1\r\n" % (b"a" * 20), {"max_request_line": 20}, 414),
        (b"GET / HTTP/1.1\r\nA: %s\r\n" % (b"a" * 20), {"max_header_line": 20}, 431),
        (b"GET / HTTP/1.1\r\nA: %s\r\n" % (b"a" * 20), {"max_header_section": 20}, 431),
        (b"GET / HTTP/1.1\r\nA: b\r\nB: c\r\nC: d\r\n\r\n", {"max_header_fields": 2}, 431),
        (
            b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\n\r\n",
            {"max_body": 4},
            413,
        ),
        (CHUNKED + b"5\r\n", {"max_body": 4}, 413),
        (CHUNKED + b"1;%s\r\n" % (b"a" * 200), {"max_chunk_overhead": 100}, 400),
        (CHUNKED + b"0\r\nA: %s\r\n" % (b"a" * 200), {"max_trailers": 100}, 431),
    ],
)
def test_limits(data: bytes, options: dict[str, int], status: int) -> None:
    assert outcome(data, **options) == [status]


def test_requests_follow_each_other() -> None:
    one = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\nab"
    two = CHUNKED + b"1\r\nc\r\n0\r\n\r\n"
    found = outcome(one + b"\r\n" + two + one)
    assert [body for *_, body, _ in found] == [b"ab", b"c", b"ab"]


@pytest.mark.parametrize(
    ("target", "path", "host"),
    [
        ("http://there:80/a?b", "/a?b", "there:80"),
        ("HTTPS://there", "/", "there"),
        ("http://there?b", "/?b", "there"),
    ],
)
def test_an_absolute_target_has_its_own_host(target: str, path: str, host: str) -> None:
    ((_, sent, found, _, variables, *_),) = outcome(
        f"GET {target} HTTP/1.1\r\nHost: here\r\n\r\n".encode()
    )
    assert (sent, found, variables["HTTP_HOST"]) == (target, path, host)


def response(method: str = "GET", version: str = "HTTP/1.1", options: str = "") -> Response:
    connection = Connection(Options())
    connection.receive(f"{method} / {version}\r\nHost: here\r\n{options}\r\n".encode())
    request = connection.next_request()
    assert request is not None
    return Response(request, "", True)


def test_a_response_of_one_block_has_its_length() -> None:
    it = response()
    it.set("200 OK", [])
    sent = it.begin("now", b"hello", True) + it.end()
    assert sent == b"HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 5\r\n\r\nhello"
    assert it.keeps_alive


def test_a_response_of_unknown_length_is_chunked() -> None:
    it = response()
    it.set("200 OK", [])
    sent = it.begin("now", b"hello", False) + it.frame(b"!") + it.end()
    head, _, body = sent.partition(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert body == b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"
    assert it.keeps_alive


def test_before_1_1_it_ends_with_the_connection() -> None:
    it = response(version="HTTP/1.0", options="Connection: keep-alive\r\n")
    it.set("200 OK", [])
    sent = it.begin("now", b"hello", False) + it.frame(b"!") + it.end()
    assert sent == b"HTTP/1.1 200 OK\r\nDate: now\r\nConnection: close\r\n\r\nhello!"
    assert not it.keeps_alive


def test_a_body_is_cut_at_its_length() -> None:
    it = response()
    it.set("200 OK", [("Content-Length", "3")])
    assert it.begin("now", b"hello", True).endswith(b"\r\n\r\nhel")
    assert it.frame(b"more") == b""
    assert it.sent == 3


def test_a_short_body_ends_the_connection() -> None:
    it = response()
    it.set("200 OK", [("Content-Length", "9")])
    it.begin("now", b"hello", True)
    it.end()
    assert it.is_short
    assert not it.keeps_alive


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_some_have_no_body(status: str) -> None:
    it = response()
    it.set(status, [("X-A", "b")])
    sent = it.begin("now", b"hello", True) + it.frame(b"more") + it.end()
    assert sent.endswith(b"X-A: b\r\n\r\n")
    assert b"Transfer-Encoding" not in sent
    assert it.keeps_alive


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        ("200", []),
        ("2000 OK", []),
        ("199 OK", []),
        ("200 O\nK", []),
        ("200 \u20ac", []),
        (b"200 OK", []),
        ("200 OK", ()),
        ("200 OK", [["A", "b"]]),
        ("200 OK", [("A", b"b")]),
        ("200 OK", [("A b", "c")]),
        ("200 OK", [("A", "b\r\nc")]),
        ("200 OK", [("A", "\u20ac")]),
        ("200 OK", [("Connection", "keep-alive")]),
        ("200 OK", [("Transfer-Encoding", "chunked")]),
    ],
)
def test_what_cannot_be_sent_is_refused(status: Any, headers: Any) -> None:
    with pytest.raises(ResponseError):
        response().set(status, headers)


def test_several_equal_lengths_are_one() -> None:
    it = response()
    it.set("200 OK", [("Content-Length", "5"), ("content-length", "5")])
    sent = it.begin("now", b"hello", True)
    assert sent.lower().count(b"content-length: 5\r\n") == 1


def test_a_reset_of_content_has_none() -> None:
    it = response()
    it.set("205 Reset Content", [("Content-Length", "5")])
    assert it.begin("now", b"hello", True).endswith(b"Content-Length: 0\r\n\r\n")
