"""What proxies say of their clients, and who is believed: headers and the PROXY protocol."""

from __future__ import annotations

import json
import logging
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support import (
    PATIENCE,
    Lines,
    connected,
    exchange,
    receive_all,
    running,
    split_response,
    wait_until,
)
from wsgiref_fast.server import Options, Server

pytestmark = pytest.mark.usefixtures("implementation")

GET = "GET /path HTTP/1.1\r\nHost: here\r\n"
TOLD = (
    *("REMOTE_ADDR", "REMOTE_PORT", "wsgi.url_scheme", "HTTPS", "HTTP_HOST", "SERVER_PORT"),
    *("SCRIPT_NAME", "PATH_INFO"),
)
ALL_X = tuple(f"x-forwarded-{name}" for name in ("for", "proto", "host", "port", "prefix"))


def tell(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Answer with what of an environ proxies may change."""
    start_response("200 OK", [("Content-Type", "application/json")])
    told = {key: environ.get(key) for key in TOLD}
    told["headers"] = sorted(key for key in environ if "FORWARDED" in key)
    return [json.dumps(told).encode()]


def serving(**options: Any) -> Any:
    server = Server(("127.0.0.1", 0), **options)
    server.set_app(tell)
    return running(server)


def ask(server: Server, *fields: str, preface: bytes = b"") -> dict[str, Any]:
    """Send a request with these fields; return what the application was told."""
    lines = "".join(f"{field}\r\n" for field in (*fields, "Connection: close"))
    response = exchange(server, preface + f"{GET}{lines}\r\n".encode())
    status, _, body = split_response(response)
    assert status == "HTTP/1.1 200 OK"
    told: dict[str, Any] = json.loads(body)
    return told


# Who is believed


@pytest.mark.parametrize("threads", [0, 1])
def test_without_trusted_proxies_nothing_is_touched(threads: int) -> None:
    with serving(threads=threads) as server:
        told = ask(server, "X-Forwarded-For: 9.9.9.9", "Forwarded: for=9.9.9.9;proto=https")
    assert told["REMOTE_ADDR"] == "127.0.0.1"
    assert told["wsgi.url_scheme"] == "http"
    assert told["headers"] == ["HTTP_FORWARDED", "HTTP_X_FORWARDED_FOR"]


@pytest.mark.parametrize("threads", [0, 1])
def test_who_is_not_trusted_is_not_believed_and_leaves_no_trace(threads: int) -> None:
    with serving(trusted_proxies=["10.0.0.0/8"], threads=threads) as server:
        told = ask(
            server,
            *("X-Forwarded-For: 9.9.9.9", "Forwarded: for=9.9.9.9", "X-Forwarded-Proto: https"),
            *("X-Forwarded-Host: evil", "X-Forwarded-Port: 1", "X-Forwarded-Prefix: /evil"),
        )
    assert told["REMOTE_ADDR"] == "127.0.0.1"
    assert told["wsgi.url_scheme"] == "http"
    assert told["HTTP_HOST"] == "here"
    assert told["headers"] == []


@pytest.mark.parametrize("threads", [0, 1])
@pytest.mark.parametrize("trusted", ["127.0.0.1", "127.0.0.0/8", "*", "::1, 127.0.0.1"])
def test_a_trusted_proxy_is_believed(trusted: str, threads: int) -> None:
    with serving(trusted_proxies=trusted, threads=threads) as server:
        told = ask(server, "X-Forwarded-For: 9.9.9.9", "X-Forwarded-Proto: https")
    assert told["REMOTE_ADDR"] == "9.9.9.9"
    assert told["REMOTE_PORT"] == ""
    assert told["wsgi.url_scheme"] == "https"
    assert told["HTTPS"] == "on"


def test_what_is_not_to_be_heard_is_dropped() -> None:
    with serving(trusted_proxies="127.0.0.1") as server:
        told = ask(
            server,
            *("X-Forwarded-For: 9.9.9.9", "Forwarded: for=8.8.8.8", "X-Forwarded-Host: evil"),
            *("X-Forwarded-Prefix: /evil",),
        )
    assert told["REMOTE_ADDR"] == "9.9.9.9"
    assert told["HTTP_HOST"] == "here"
    assert told["SCRIPT_NAME"] == ""
    assert told["headers"] == ["HTTP_X_FORWARDED_FOR"]


@pytest.mark.parametrize(
    ("value", "client"),
    [
        ("9.9.9.9", "9.9.9.9"),
        ("1.1.1.1, 9.9.9.9", "9.9.9.9"),
        ("1.1.1.1, 9.9.9.9, 10.0.0.1, 10.0.0.2", "9.9.9.9"),
        ("10.0.0.9, 10.0.0.1", "10.0.0.9"),
        ("nonsense, 10.0.0.1", "10.0.0.1"),
        ("9.9.9.9, nonsense", "127.0.0.1"),
        ("", "127.0.0.1"),
        (" , ,9.9.9.9 ,", "9.9.9.9"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("9.9.9.9:1234", "9.9.9.9"),
        ("9.9.9.9, ::ffff:10.0.0.1", "9.9.9.9"),
        ("unknown", "127.0.0.1"),
    ],
)
def test_the_client_is_the_last_that_is_no_trusted_proxy(value: str, client: str) -> None:
    with serving(trusted_proxies=["127.0.0.1", "10.0.0.0/8"]) as server:
        assert ask(server, f"X-Forwarded-For: {value}")["REMOTE_ADDR"] == client


def test_several_fields_are_one_list() -> None:
    with serving(trusted_proxies=["127.0.0.1", "10.0.0.0/8"]) as server:
        told = ask(server, "X-Forwarded-For: 9.9.9.9", "X-Forwarded-For: 10.0.0.1")
    assert told["REMOTE_ADDR"] == "9.9.9.9"


def test_everybody_trusted_gives_the_first() -> None:
    with serving(trusted_proxies="*") as server:
        assert ask(server, "X-Forwarded-For: 1.1.1.1, 2.2.2.2")["REMOTE_ADDR"] == "1.1.1.1"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (["X-Forwarded-Proto: https, http", "X-Forwarded-For: 9.9.9.9, 10.0.0.1"], "https"),
        (["X-Forwarded-Proto: http, https", "X-Forwarded-For: 1.1.1.1, 9.9.9.9"], "https"),
        (["X-Forwarded-Proto: http, https"], "https"),
        (["X-Forwarded-Proto: HTTPS"], "https"),
        (["X-Forwarded-Proto: gopher"], "http"),
    ],
)
def test_the_scheme_is_that_of_the_client(fields: list[str], expected: str) -> None:
    with serving(trusted_proxies=["127.0.0.1", "10.0.0.0/8"]) as server:
        assert ask(server, *fields)["wsgi.url_scheme"] == expected


def test_all_x_forwarded_are_heard_where_that_is_wanted() -> None:
    with serving(trusted_proxies="127.0.0.1", proxy_headers=ALL_X) as server:
        told = ask(
            server,
            *("X-Forwarded-For: 9.9.9.9", "X-Forwarded-Proto: https", "X-Forwarded-Port: 8443"),
            *("X-Forwarded-Host: example.org", "X-Forwarded-Prefix: /path/"),
        )
        assert told["HTTP_HOST"] == "example.org"
        assert told["SERVER_PORT"] == "8443"
        assert (told["SCRIPT_NAME"], told["PATH_INFO"]) == ("/path", "")
        told = ask(
            server,
            *("X-Forwarded-Host: bad host", "X-Forwarded-Port: 99x", "X-Forwarded-Prefix: path"),
        )
        assert told["HTTP_HOST"] == "here"
        assert told["SERVER_PORT"] == str(server.server_port)
        assert (told["SCRIPT_NAME"], told["PATH_INFO"]) == ("", "/path")


@pytest.mark.parametrize(
    ("value", "client", "port", "scheme", "host"),
    [
        ("for=9.9.9.9;proto=https;host=example.org", "9.9.9.9", "", "https", "example.org"),
        ('For="9.9.9.9:55"; Proto=HTTPS', "9.9.9.9", "55", "https", "here"),
        ('for="[2001:db8::1]:443"', "2001:db8::1", "443", "http", "here"),
        ("for=1.1.1.1;proto=https, for=9.9.9.9", "9.9.9.9", "", "http", "here"),
        ("for=9.9.9.9;host=a.org, for=10.0.0.1;host=b.org", "9.9.9.9", "", "http", "a.org"),
        ("for=_hidden", "127.0.0.1", None, "http", "here"),
        ("for=unknown, for=10.0.0.1", "10.0.0.1", "", "http", "here"),
        ("for=9.9.9.9;", "9.9.9.9", "", "http", "here"),
        ("for=9.9.9.9 for=8.8.8.8", "127.0.0.1", None, "http", "here"),
        ('for="9.9.9.9', "127.0.0.1", None, "http", "here"),
        ("9.9.9.9", "127.0.0.1", None, "http", "here"),
        ('for="9\\.9.9.9"', "9.9.9.9", "", "http", "here"),
    ],
)
def test_forwarded_is_heard_where_it_is_chosen(
    value: str, client: str, port: str | None, scheme: str, host: str
) -> None:
    options = {"trusted_proxies": ["127.0.0.1", "10.0.0.0/8"], "proxy_headers": ["forwarded"]}
    with serving(**options) as server:
        told = ask(server, f"Forwarded: {value}", "X-Forwarded-For: 7.7.7.7")
    assert told["REMOTE_ADDR"] == client
    assert port is None or told["REMOTE_PORT"] == port
    assert told["wsgi.url_scheme"] == scheme
    assert told["HTTP_HOST"] == host
    assert told["headers"] == ["HTTP_FORWARDED"]


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets")
def test_a_unix_socket_is_trusted_by_its_name(tmp_path: Any) -> None:
    for trusted, client in (("unix", "9.9.9.9"), ("127.0.0.1", "")):
        server = Server(f"unix:{tmp_path}/{trusted}", trusted_proxies=trusted)
        server.set_app(tell)
        with running(server), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(f"{tmp_path}/{trusted}")
            connection.sendall(f"{GET}X-Forwarded-For: 9.9.9.9\r\n\r\n".encode())
            body = split_response(connection.recv(65536))[2]
        assert json.loads(body)["REMOTE_ADDR"] == client


def test_the_access_log_has_the_client() -> None:
    lines, logger = Lines(), logging.getLogger("wsgiref_fast.access")
    logger.addHandler(lines)
    try:
        with serving(trusted_proxies="127.0.0.1", access_log="common") as server:
            ask(server, "X-Forwarded-For: 9.9.9.9")
            assert lines.next().startswith("9.9.9.9 - - [")
    finally:
        logger.removeHandler(lines)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"trusted_proxies": ["10.0.0.300"]}, ValueError, "trusted_proxies"),
        ({"trusted_proxies": ["10.0.0.1/8"]}, ValueError, "host bits"),
        ({"trusted_proxies": [1]}, TypeError, "trusted_proxies"),
        ({"proxy_headers": ["x-real-ip"]}, ValueError, "x-real-ip"),
        ({"proxy_headers": "forwarded, x-forwarded-for"}, ValueError, "not both"),
        ({"proxy_protocol": 1}, TypeError, "bool"),
        ({"proxy_protocol": True}, ValueError, "trusted_proxies"),
    ],
)
def test_what_cannot_be_is_refused(
    options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        Options(**options)


# The PROXY protocol

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V1 = b"PROXY TCP4 9.9.9.9 8.8.8.8 5555 80\r\n"


def second(command: int, kind: int, body: bytes) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, kind, len(body)) + body


def tcp4(rest: bytes = b"") -> bytes:
    addresses = socket.inet_aton("9.9.9.9") + socket.inet_aton("8.8.8.8")
    return second(0x21, 0x11, addresses + struct.pack("!HH", 5555, 80) + rest)


def tcp6() -> bytes:
    addresses = 2 * socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    return second(0x21, 0x21, addresses + struct.pack("!HH", 5555, 80))


TLS = b"\x20\x00\x05\x01\x00\x00\x00\x00"

GOOD = {
    "v1": (V1, "9.9.9.9", "5555", "http"),
    "v1 of IPv6": (b"PROXY TCP6 2001:db8::1 ::1 5555 80\r\n", "2001:db8::1", "5555", "http"),
    "v1 unknown": (b"PROXY UNKNOWN\r\n", "127.0.0.1", None, "http"),
    "v1 unknown, with more": (b"PROXY UNKNOWN ff::1 ff::2 1 2\r\n", "127.0.0.1", None, "http"),
    "v2": (tcp4(), "9.9.9.9", "5555", "http"),
    "v2 of IPv6": (tcp6(), "2001:db8::1", "5555", "http"),
    "v2 local": (second(0x20, 0x00, b""), "127.0.0.1", None, "http"),
    "v2 of a Unix socket": (second(0x21, 0x31, bytes(216)), "127.0.0.1", None, "http"),
    "v2 with TLS": (tcp4(b"\x03\x00\x04abcd" + TLS), "9.9.9.9", "5555", "https"),
    "v2 without TLS": (tcp4(b"\x20\x00\x05" + bytes(5)), "9.9.9.9", "5555", "http"),
}


@pytest.fixture
def proxied() -> Iterator[Server]:
    with serving(trusted_proxies="127.0.0.1", proxy_protocol=True) as server:
        yield server


@pytest.mark.parametrize(("preface", "client", "port", "scheme"), GOOD.values(), ids=list(GOOD))
def test_a_preface_tells_whose_the_connection_is(
    proxied: Server, preface: bytes, client: str, port: str | None, scheme: str
) -> None:
    told = ask(proxied, preface=preface)
    assert told["REMOTE_ADDR"] == client
    assert port is None or told["REMOTE_PORT"] == port
    assert told["wsgi.url_scheme"] == scheme
    assert told["HTTPS"] == ("on" if scheme == "https" else None)


@pytest.mark.parametrize(("preface", "client", "port", "scheme"), GOOD.values(), ids=list(GOOD))
def test_a_preface_may_come_byte_by_byte(
    proxied: Server, preface: bytes, client: str, port: str | None, scheme: str
) -> None:
    with connected(proxied) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        for i in range(len(preface)):
            connection.sendall(preface[i : i + 1])
        connection.sendall(f"{GET}\r\n".encode())
        body = split_response(connection.recv(65536))[2]
    assert json.loads(body)["REMOTE_ADDR"] == client


def test_each_request_of_a_connection_has_the_client(proxied: Server) -> None:
    with connected(proxied) as connection:
        connection.sendall(V1)
        for _ in range(3):
            connection.sendall(f"{GET}X-Forwarded-For: 7.7.7.7\r\n\r\n".encode())
            told = json.loads(split_response(connection.recv(65536))[2])
            assert told["REMOTE_ADDR"] == "9.9.9.9"
            assert told["headers"] == []  # the client is no proxy


BAD = {
    "none": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "another word": b"PROXX TCP4 9.9.9.9 8.8.8.8 1 2\r\n",
    "another family": b"PROXY UDP4 9.9.9.9 8.8.8.8 1 2\r\n",
    "too few words": b"PROXY TCP4 9.9.9.9 8.8.8.8 1\r\n",
    "bad address": b"PROXY TCP4 9.9.9.999 8.8.8.8 1 2\r\n",
    "bad port": b"PROXY TCP4 9.9.9.9 8.8.8.8 1 65536\r\n",
    "port with zeros": b"PROXY TCP4 9.9.9.9 8.8.8.8 01 2\r\n",
    "two spaces": b"PROXY TCP4  9.9.9.9 8.8.8.8 1 2\r\n",
    "bare LF": b"PROXY TCP4 9.9.9.9 8.8.8.8 1 2\n" + b"GET",
    "early LF": b"PROXY TCP4\n 9.9.9.9 8.8.8.8 1 2\r\n",
    "no end": b"PROXY TCP4 " + b"9" * 200,
    "bad signature": SIGNATURE[:-1] + b"X" + tcp4()[12:],
    "version 3": second(0x31, 0x11, bytes(12)),
    "another command": second(0x2F, 0x11, bytes(12)),
    "too short": second(0x21, 0x11, bytes(8)),
    "too long": SIGNATURE + b"\x21\x11\xff\xff" + bytes(5000),
    "a value that is cut": tcp4(b"\x20\x00\x50\x01"),
    "half a value": tcp4(b"\x20\x00"),
    "ends within": V1[:20],
}


@pytest.mark.parametrize("preface", BAD.values(), ids=list(BAD))
def test_a_bad_preface_closes_the_connection(proxied: Server, preface: bytes) -> None:
    lines, logger = Lines(), logging.getLogger("wsgiref_fast.server")
    logger.addHandler(lines)
    try:
        with connected(proxied) as connection:
            connection.sendall(preface)
            try:
                connection.shutdown(socket.SHUT_WR)
                assert connection.recv(65536) == b""
            except OSError:
                pass  # it was reset
        assert "PROXY protocol: " in lines.next()
    finally:
        logger.removeHandler(lines)
    assert ask(proxied, preface=V1)["REMOTE_ADDR"] == "9.9.9.9"


def test_a_check_of_health_is_not_worth_a_line(proxied: Server) -> None:
    lines, logger = Lines(), logging.getLogger("wsgiref_fast.server")
    logger.addHandler(lines)
    try:
        with connected(proxied) as connection:
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""
    finally:
        logger.removeHandler(lines)
    assert lines.is_empty()


def test_a_preface_of_a_stranger_is_not_believed() -> None:
    with serving(trusted_proxies="10.0.0.1", proxy_protocol=True) as server:
        with connected(server) as connection:
            try:
                connection.sendall(V1 + f"{GET}\r\n".encode())
                assert connection.recv(1) == b""
            except ConnectionError:
                pass
        assert server.stats.requests == 0


def test_a_preface_that_does_not_come_is_a_timeout() -> None:
    options = {"trusted_proxies": "127.0.0.1", "proxy_protocol": True, "header_timeout": 0.5}
    with serving(**options) as server, connected(server) as connection:
        connection.sendall(V1[:8])
        assert connection.recv(1) == b""
        assert server.stats.timeouts["head"] == 1


def test_a_server_ends_while_a_preface_is_awaited() -> None:
    with serving(trusted_proxies="127.0.0.1", proxy_protocol=True) as server:
        connection = socket.create_connection(server.server_address[:2], PATIENCE)
        wait_until(lambda: server.stats.connections["preface"] == 1)
    with connection:
        assert connection.recv(1) == b""


def test_a_preface_that_came_in_time_is_heard_by_a_busy_server() -> None:
    options = {"trusted_proxies": "127.0.0.1", "proxy_protocol": True}
    with serving(**options) as server, connected(server) as connection:
        wait_until(lambda: server.stats.connections["preface"] == 1)

        def keep_busy(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            server.set_app(tell)
            (waiting,) = (each for each in server._loops[0].peers.values() if each.doing[0] == "p")
            connection.sendall(V1 + f"{GET}Connection: close\r\n\r\n".encode())
            waiting.set_deadline(0.0)
            return tell(environ, start_response)

        server.set_app(keep_busy)
        assert ask(server, preface=V1)
        assert b"200 OK" in receive_all(connection)
