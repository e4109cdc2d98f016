"""What hostile clients send through proxies that are trusted, or make up themselves."""

from __future__ import annotations

import json
import random
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import implementations
from support import connected, receive_all, running
from wsgiref_fast import _impl
from wsgiref_fast._http11.preface import BadPreface, Preface
from wsgiref_fast._http11.proxies import PROXIED, TrustedProxies, parse_address
from wsgiref_fast.server import Server
from wsgiref_fast.status import StatusPage

TRUSTED = ("127.0.0.1", "10.0.0.0/8")
X = tuple(f"x-forwarded-{name}" for name in ("for", "proto", "host", "port", "prefix"))

#: What lists and their elements are made of, whole or broken.
PIECES = (
    *('"', "\\", ",", ";", "=", " ", "\t", "[", "]", "%", ":", "\xa0", "\xff", "_", "a", "::"),
    *(
        "for=",
        "For=",
        "proto=https",
        "host=evil",
        'for="',
        "for=127.0.0.1",
        "for=9.9.9.2",
        "127.0.0.1",
        "10.0.0.1",
    ),
    *(
        "9.9.9.1",
        "::1",
        "[::1]:80",
        "::ffff:127.0.0.1",
        "fe80::1%eth0",
        "unknown",
        '"[::1]"',
        "1.1",
    ),
    *("https", "http", "évil.example", "/a", "/..", "//", "443", "99999", "²"),
)
values = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


def apply(variables: dict[str, str], *fields: str, trusted: Any = TRUSTED) -> dict[str, Any]:
    """Return an environ after it was shown to a server's proxies."""
    environ: dict[str, Any] = {
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "5",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "HTTP_HOST": "here",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a",
        **variables,
    }
    TrustedProxies(trusted, fields).apply(environ)
    return environ


# A client behind a proxy that adds to what it has sent.


@given(values)
def test_what_a_client_begins_forwarded_with_hides_nothing_of_the_proxy(junk: str) -> None:
    own = "for=9.9.9.9;proto=http;host=there"
    environ = apply({"HTTP_FORWARDED": f"{junk}, {own}"}, "forwarded")
    assert environ["REMOTE_ADDR"] == "9.9.9.9"
    assert (environ["wsgi.url_scheme"], environ["HTTP_HOST"]) == ("http", "there")


@given(values, st.sampled_from(['for="[2001:db8::9]:80"', 'by="a,b\\"c";for="[2001:db8::9]"']))
def test_nor_where_proxies_write_quoted_strings(junk: str, own: str) -> None:
    value = f'{junk},{own} , for=10.0.0.1;host="b,c"'
    assert apply({"HTTP_FORWARDED": value}, "forwarded")["REMOTE_ADDR"] == "2001:db8::9"


@given(values)
def test_what_a_client_begins_x_forwarded_for_with_hides_nothing_of_the_proxy(junk: str) -> None:
    for added in ("9.9.9.9", "9.9.9.9:4711, 10.0.0.1"):
        environ = apply({"HTTP_X_FORWARDED_FOR": f"{junk}, {added}"}, "x-forwarded-for")
        assert environ["REMOTE_ADDR"] == "9.9.9.9"


@given(values, values)
def test_longer_lists_do_not_move_what_proxies_say_to_one_another(first: str, second: str) -> None:
    """The client came by HTTP to the first proxy, which speaks HTTPS to the second."""
    variables = {
        "HTTP_X_FORWARDED_FOR": f"{first}, 9.9.9.9, 10.0.0.1",
        "HTTP_X_FORWARDED_PROTO": f"{second}, http, https",
    }
    assert apply(variables, *X)["wsgi.url_scheme"] == "http"


# Whatever comes.


@given(
    st.fixed_dictionaries({}, optional={f"HTTP_{n.upper().replace('-', '_')}": values for n in X})
)
def test_what_was_told_is_well_formed(variables: dict[str, str]) -> None:
    for trusted in (TRUSTED, ("*",)):
        environ = apply(variables, *X, trusted=trusted)
        assert parse_address(environ["REMOTE_ADDR"]) is not None
        assert not set(environ["REMOTE_ADDR"]) - set("0123456789abcdefABCDEF:.%eth")
        assert environ["REMOTE_PORT"] == "" or 0 <= int(environ["REMOTE_PORT"]) <= 65535
        assert 0 <= int(environ["SERVER_PORT"]) <= 65535
        assert environ["wsgi.url_scheme"] in ("http", "https")
        assert ("HTTPS" in environ) == (environ["wsgi.url_scheme"] == "https")
        assert environ["HTTP_HOST"].isascii()
        assert "//" not in environ["SCRIPT_NAME"]
        assert ".." not in environ["SCRIPT_NAME"].split("/")


@given(values)
def test_forwarded_is_well_formed_too(value: str) -> None:
    environ = apply({"HTTP_FORWARDED": value}, "forwarded", trusted=("*",))
    assert parse_address(environ["REMOTE_ADDR"]) is not None
    assert environ["HTTP_HOST"].isascii()


@given(values)
def test_a_stranger_is_not_heard(value: str) -> None:
    before = {"REMOTE_ADDR": "9.9.9.9", "REMOTE_PORT": "1"}
    told = {f"HTTP_{name.upper().replace('-', '_')}": value for name in (*X, "forwarded")}
    environ = apply({**before, **told}, *X)
    assert environ.pop(PROXIED) is False
    assert environ == apply(before, *X)


@pytest.mark.parametrize(
    "node",
    [
        *(
            "9.9.9.9%eth0",
            "9.9.9.9%<b>",
            "::ffff:9.9.9.9%1",
            "fe80::1%",
            'fe80::1%"',
            "fe80::1%a b",
        ),
        *("[9.9.9.9", "[::1]x", "[::1", "9.9.9.9:x", "9.9.9.9:65536", "fe80::1%" + 60 * "a"),
        *("9.9.9.9 1.1.1.1", "09.9.9.9", "0x9.9.9.9", "9.9", "9", "\xb2.9.9.9", "[[::1]]", "::1]"),
    ],
)
def test_what_is_nearly_an_address_is_none(node: str) -> None:
    assert apply({"HTTP_X_FORWARDED_FOR": node}, "x-forwarded-for")["REMOTE_ADDR"] == "127.0.0.1"


@pytest.mark.parametrize("node", ["fe80::1%eth0", "[fe80::1%eth0]:80", "[fe80::1%eth0]:_x"])
def test_an_address_may_have_a_zone(node: str) -> None:
    assert apply({"HTTP_X_FORWARDED_FOR": node}, "x-forwarded-for")["REMOTE_ADDR"] == "fe80::1%eth0"


@pytest.mark.parametrize(
    "prefix", ["/..", "/../x", "/x/..", "/.", "/x/./y", "//x", "x", "/%2e", "/\xe9"]
)
def test_a_prefix_leads_nowhere_else(prefix: str) -> None:
    assert apply({"HTTP_X_FORWARDED_PREFIX": prefix}, *X)["SCRIPT_NAME"] == ""


@pytest.mark.parametrize("prefix", ["/..x", "/x..", "/.well-known", "/x.y/"])
def test_a_prefix_may_have_dots(prefix: str) -> None:
    found = apply({"HTTP_X_FORWARDED_PREFIX": prefix}, *X)["SCRIPT_NAME"]
    assert found == prefix.rstrip("/")


def test_an_element_that_says_something_twice_is_malformed() -> None:
    for value in ("for=9.9.9.9;For=9.9.9.1", "for=9.9.9.9, proto=http;proto=https;for=9.9.9.1"):
        environ = apply({"HTTP_FORWARDED": value}, "forwarded")
        assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == ("127.0.0.1", "http")


@pytest.mark.parametrize(
    "unit",
    ["1.1.1.1,", ",", ", ", '"', '",', 'for="', 'a=",', 'a="\\', "a;", "a=b;", ";", " ", "a", "="],
)
def test_the_longest_lists_come_to_an_end(unit: str) -> None:
    """What is tried in many ways would take hours here."""
    value = (65536 // len(unit)) * unit
    for end in ("", ", for=9.9.9.9", '"', "\x80"):
        for trusted in (TRUSTED, ("*",)):
            apply({"HTTP_FORWARDED": value + end}, "forwarded", trusted=trusted)
            every = {f"HTTP_{name.upper().replace('-', '_')}": value + end for name in X}
            apply(every, *X, trusted=trusted)


def test_a_chain_is_followed_for_no_longer_than_any_is() -> None:
    value = "9.9.9.9, " + ", ".join(["10.0.0.1"] * 63)
    assert apply({"HTTP_X_FORWARDED_FOR": value}, *X)["REMOTE_ADDR"] == "9.9.9.9"
    assert apply({"HTTP_X_FORWARDED_FOR": f"{value}, 10.0.0.2"}, *X)["REMOTE_ADDR"] == "10.0.0.1"
    assert (
        apply({"HTTP_FORWARDED": "for=9.9.9.9" + 64 * ",for=10.0.0.1"}, "forwarded")["REMOTE_ADDR"]
        == "10.0.0.1"
    )


# Who sees the status page, whatever was dropped on the way to it.


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"trusted_proxies": "10.0.0.1"}, "X-Forwarded-For: 9.9.9.9"),
        ({"trusted_proxies": "10.0.0.1"}, "X-Real-IP: 9.9.9.9"),
        ({"trusted_proxies": "127.0.0.1"}, "Forwarded: for=9.9.9.9"),
        (
            {"trusted_proxies": "127.0.0.1", "proxy_headers": "forwarded"},
            "X-Forwarded-For: 9.9.9.9",
        ),
        ({"trusted_proxies": "127.0.0.1", "proxy_headers": "forwarded"}, "Forwarded: junk"),
    ],
)
@pytest.mark.usefixtures("implementation")
def test_a_proxy_that_is_not_heard_shows_the_status_page_to_nobody(
    options: dict[str, Any], field: str
) -> None:
    server = Server(("127.0.0.1", 0), **options)
    server.set_app(StatusPage(server))
    with running(server), connected(server) as connection:
        connection.sendall(f"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n{field}\r\n\r\n".encode())
        assert connection.recv(12) == b"HTTP/1.1 403"


@pytest.mark.parametrize(
    ("preface", "status"),
    [
        (b"PROXY UNKNOWN\r\n", b"403"),
        (b"PROXY TCP4 9.9.9.9 127.0.0.1 5555 80\r\n", b"403"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x00\0\0", b"403"),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\0", b"200"),  # a proxy for itself
    ],
)
@pytest.mark.usefixtures("implementation")
def test_a_client_that_a_proxy_does_not_know_does_not_see_the_status_page(
    preface: bytes, status: bytes
) -> None:
    server = Server(("127.0.0.1", 0), trusted_proxies="127.0.0.1", proxy_protocol=True)
    server.set_app(StatusPage(server))
    with running(server), connected(server) as connection:
        connection.sendall(preface + b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 " + status


# All that serve requests agree.

_TOLD = (
    *("REMOTE_ADDR", "wsgi.url_scheme", "HTTPS", "HTTP_HOST", "SERVER_PORT", "SCRIPT_NAME"),
    *("PATH_INFO", "QUERY_STRING", "REQUEST_METHOD", "SERVER_PROTOCOL", "RAW_URI", PROXIED),
)

_NAMES = (
    *("X-Forwarded-For", "x-forwarded-for", "X_Forwarded_For", "X-FORWARDED-PROTO"),
    *("Forwarded", "forwarded", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Prefix"),
    *("X-Forwarded_Host", "Remote-Addr", "SSL-Client-Verify", "HTTPS", "X-Real-IP", "Cookie"),
    *("X-Forwarded-For ", " X-Forwarded-For", "Host", "Content-Length", "Wsgiref_fast.proxied"),
)
_TARGETS = (
    "/a",
    "/a/b?c",
    "http://evil/a",
    "https://evil/a",
    "//evil",
    "/%2e%2e/a",
    "*",
    "evil:80",
)


def tell(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Answer with what proxies may change."""
    told = {
        key: value for key, value in environ.items() if key in _TOLD or key[:3] in ("HTT", "SSL")
    }
    told.pop("SERVER_PORT", None)
    body = json.dumps(
        [environ["SERVER_PORT"] if environ["SERVER_PORT"] == "443" else "", told], sort_keys=True
    )
    start_response("200 OK", [("Content-Type", "application/json")])
    return [body.encode()]


def make_request(chance: random.Random) -> bytes:
    """Return one or two requests; every other is good but for what it says of proxies."""
    is_good = chance.random() < 0.5
    names, targets = (_NAMES[:-5], _TARGETS[:-2]) if is_good else (_NAMES, _TARGETS)
    requests = []
    for _ in range(chance.choice((1, 1, 1, 2))):
        version = chance.choice(("HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0"))
        lines = [f"GET {chance.choice(targets)} {version}", "Host: here"]
        for _ in range(chance.randrange(6)):
            value = "".join(chance.choices(PIECES, k=chance.randrange(6)))
            if chance.random() < 0.4:
                value = chance.choice(("9.9.9.1", "for=9.9.9.2;proto=https", "9.9.9.3,10.0.0.1"))
            lines.append(f"{chance.choice(names)}:{chance.choice(('', ' '))}{value}")
            if not is_good and chance.random() < 0.03:
                lines.append(f" {value}")  # a folded line
        body = ""
        if chance.random() < 0.2:
            lines[0] = lines[0].replace("GET", "POST")
            lines.append("Transfer-Encoding: chunked")
            body = "1\r\nx\r\n0\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"
        requests.append("\r\n".join([*lines, "", body]))
    return "".join(requests).encode("iso-8859-1")


def answers_to(requests: list[bytes], **options: Any) -> Iterator[Any]:
    """Yield what a server answers to each on a connection of its own."""
    server = Server(("127.0.0.1", 0), **options)
    server.set_app(tell)
    with running(server):
        for request in requests:
            with connected(server) as connection:
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
                response = receive_all(connection)
            lines = [each for each in response.split(b"\r\n") if not each.startswith(b"Date: ")]
            yield b"\r\n".join(lines)


@pytest.mark.parametrize("headers", ["x", "forwarded"])
def test_all_ways_to_serve_tell_applications_the_same(headers: str) -> None:
    chance = random.Random(6)
    requests = [make_request(chance) for _ in range(150)]
    options = {
        "trusted_proxies": TRUSTED,
        "proxy_headers": X if headers == "x" else ("forwarded",),
    }
    expected = None
    for implementation in implementations():
        _impl.use(implementation)  # type: ignore[arg-type]
        for threads in (0, 1):
            answers = list(answers_to(requests, threads=threads, **options))
            expected = answers if expected is None else expected
            assert answers == expected
    assert expected is not None
    assert sum(b"HTTP/1.1 200 OK" in each for each in expected) > 50
    assert any(b'"REMOTE_ADDR": "9.9.9.' in each for each in expected)
    assert not any(b"6.6.6.6" in each for each in expected)  # what trailers say


# The PROXY protocol

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def read_preface(data: bytes, size: int) -> tuple[Any, bytes]:
    """Return what a preface says, or is, that comes in blocks of a size; and what is left."""
    sender, receiver = socket.socketpair()
    with sender, receiver:
        receiver.setblocking(False)
        preface = Preface()
        for start in range(0, len(data), size):
            sender.sendall(data[start : start + size])
            try:
                preface.read(receiver)
            except BlockingIOError:
                continue
            except BadPreface:
                return "bad", b""
            sender.sendall(data[start + size :])
            sender.shutdown(socket.SHUT_WR)
            return (preface.source, preface.is_encrypted), receive_all(receiver)
        return None, b""


_words = st.sampled_from(
    [
        "TCP4",
        "TCP6",
        "UNKNOWN",
        "9.9.9.9",
        "::1",
        "::ffff:9.9.9.9",
        "9.9.9.9\0",
        "1",
        "65535",
        "65536",
    ]
)
_lines = st.builds(
    lambda words, end: (" ".join(["PROXY", *words]) + end).encode(),
    st.lists(_words, max_size=7),
    st.sampled_from(["\r\n", "\r\n", "\n", "\r", " \r\n", ""]),
)
_binaries = st.builds(
    lambda command, kind, body, more: (
        _SIGNATURE + struct.pack("!BBH", command, kind, (len(body) + more) & 0xFFFF) + body
    ),
    st.sampled_from([0x20, 0x21, 0x21, 0x21, 0x11, 0x22]),
    st.sampled_from([0x11, 0x21, 0x00, 0x31, 0x12]),
    st.binary(max_size=60),
    st.sampled_from([0, 0, 0, 0, 1, -1, 5000]),
)


@given(
    st.one_of(_lines, _binaries, st.binary(max_size=40)),
    st.sampled_from([b"", b"GET / HTTP/1.1\r\n"]),
)
def test_a_preface_is_the_same_in_any_pieces_and_takes_nothing_else(
    data: bytes, rest: bytes
) -> None:
    found, left = read_preface(data + rest, len(data + rest) or 1)
    for size in (1, 7):
        assert read_preface(data + rest, size) == (found, left)
    if type(found) is tuple:
        assert (data + rest).endswith(left)
        source, _ = found
        if source is not None:
            assert parse_address(source[0]) is not None
            assert 0 <= int(source[1]) <= 65535
