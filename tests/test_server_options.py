"""What the HTTP/1.1 server can be told, and what it says of its work: options and logs."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from http11 import serving
from support import PATIENCE, Application, Lines, connected, exchange, hello_app, logged
from wsgiref_fast.server import Options, Server, serve
from wsgiref_fast.simple_server import demo_app

pytestmark = pytest.mark.usefixtures("implementation")

GET = b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"


@pytest.fixture
def accesses() -> Iterator[Lines]:
    with logged("wsgiref_fast.access") as lines:
        yield lines


# Options


def test_defaults_are_those_that_are_documented() -> None:
    options = Options()
    assert (options.header_timeout, options.keep_alive_timeout) == (10, 5)
    assert (options.body_timeout, options.send_timeout) == (30, 30)
    assert (options.handshake_timeout, options.shutdown_timeout) == (10, 30)
    assert (options.max_connections, options.max_header_fields) == (1000, 100)
    assert (options.max_request_line, options.max_header_line) == (8190, 8190)
    assert (options.max_header_section, options.max_body) == (65536, 1 << 30)
    assert (options.max_trailers, options.max_chunk_overhead) == (16384, 16384)
    assert (options.spool_size, options.max_unread) == (512 * 1024, 65536)
    assert (options.threads, options.loops, options.access_log) == (0, 1, "off")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("thread", "threads"),
        ("max_connection", "max_connections"),
        ("keepalive_timeout", "keep_alive_timeout"),
        ("ssl_contxt", "ssl_context"),
        ("access_logs", "access_log"),
    ],
)
def test_of_an_unknown_option_the_nearest_is_named(name: str, nearest: str) -> None:
    with pytest.raises(TypeError, match=rf"{name}.*\b{nearest}\b"):
        Options(**{name: 1})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["zzz", "__init__", "_check", "__dict__"])
def test_what_is_near_to_none_is_refused_too(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        Options(**{name: 1})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threads", "2"),
        ("threads", 2.0),
        ("threads", True),
        ("threads", None),
        ("max_body", 1.5),
        ("header_timeout", "10"),
        ("header_timeout", None),
        ("header_timeout", True),
        ("server_header", None),
        ("server_header", b"here"),
        ("ssl_context", "certificate.pem"),
        ("trusted_proxies", 127),
        ("trusted_proxies", [127]),
        ("proxy_headers", None),
        ("proxy_protocol", "off"),
    ],
)
def test_a_wrong_type_is_refused_by_the_option_s_name(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=name):
        Options(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threads", -1),
        ("loops", 0),
        ("max_connections", 0),
        ("backlog", 0),
        ("max_body", -1),
        ("max_header_fields", 0),
        ("header_timeout", 0),
        ("header_timeout", -1.0),
        ("send_timeout", float("nan")),
        ("body_timeout", float("inf")),
        ("shutdown_timeout", -0.1),
        ("access_log", "apache"),
        ("access_log", None),
        ("server_header", "a\r\nB: c"),
        ("server_header", "caf\u00e9"),
    ],
)
def test_a_value_out_of_range_is_refused_by_the_option_s_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        Options(**{name: value})


def test_seconds_may_be_whole() -> None:
    assert Options(header_timeout=3).header_timeout == 3.0
    assert Options(shutdown_timeout=0, max_body=0, threads=0).max_body == 0
    assert Options(ssl_context=None).ssl_context is None
    assert Options(ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)).ssl_context is not None


def test_a_context_of_a_client_is_refused() -> None:
    with pytest.raises(ValueError, match="ssl_context is a client's"):
        Options(ssl_context=ssl.create_default_context())
    unchecked = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unchecked.check_hostname = False
    with pytest.raises(ValueError, match="CLIENT_AUTH"):
        Options(ssl_context=unchecked)


def test_one_server_s_options_are_not_another_s() -> None:
    Options(threads=3)
    assert Options().threads == 0


def test_a_server_with_a_wrong_option_does_not_listen() -> None:
    before = len(os.listdir("/dev/fd"))
    with pytest.raises(TypeError, match="did you mean threads"):
        Server(("127.0.0.1", 0), thread=2)  # type: ignore[call-arg]
    assert len(os.listdir("/dev/fd")) == before


@pytest.mark.parametrize(
    "address", ["127.0.0.1:8000", "/tmp/it", "fd://", "fd://x", "fd://\u00b2", ""]
)
def test_an_address_of_no_known_form_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="address"):
        Server(address)


@pytest.mark.parametrize("app", ["hello:app", None])
def test_what_cannot_be_called_is_not_served(app: Any) -> None:
    with pytest.raises(TypeError, match="an application can be called; "):
        serve(app, port=0)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (("127.0.0.1", "8000"), "a port is an int, not '8000'"),
        (("127.0.0.1", None), "a port is an int, not None"),
        ((8000, "127.0.0.1"), "a host is a str, not 8000"),
        (("127.0.0.1",), "an address is (host, port), not ('127.0.0.1',)"),
        ((), "an address is (host, port), not ()"),
        ([("127.0.0.1", 0), ("127.0.0.1", "0")], "a port is an int, not '0'"),
    ],
)
def test_an_address_of_other_types_is_refused(address: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        Server(address)


def test_a_port_within_the_host_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^a host and its port are given apart, not as 'x:80'$"):
        serve(demo_app, "x:80")


def test_an_error_names_the_address_that_it_is_about() -> None:
    with pytest.raises(OSError, match=r"'nonsense\.invalid:8000'$"):
        serve(demo_app, host="nonsense.invalid")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = taken.getsockname()[:2]
        for given in (address, [("127.0.0.1", 0), address]):
            with pytest.raises(OSError, match=f"'127.0.0.1:{address[1]}'$"):
                Server(given)


def test_no_address_is_refused() -> None:
    with pytest.raises(ValueError, match="address"):
        Server([])


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({}, b"\r\nServer: wsgiref_fast\r\n"),
        ({"server_header": "it/1"}, b"\r\nServer: it/1\r\n"),
        ({"server_header": ""}, None),
    ],
)
@pytest.mark.parametrize("request_bytes", [GET, b"nonsense\r\n\r\n"])
def test_the_server_header(
    options: dict[str, str], line: bytes | None, request_bytes: bytes
) -> None:
    with serving(hello_app, **options) as server:
        head, _, _ = exchange(server, request_bytes).partition(b"\r\n\r\n")
    assert b"\r\nDate: " in head
    if line is None:
        assert b"\r\nServer:" not in head
    else:
        assert line in head + b"\r\n"


# The access log


def sized_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer with as many bytes as the query says, in blocks of one."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return (b"a" for _ in range(int(environ["QUERY_STRING"] or 0)))


def ask(target: str, *fields: str, method: str = "GET") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: here", "Connection: close", *fields]
    return "\r\n".join([*lines, "", ""]).encode("iso-8859-1")


COMMON = re.compile(
    r"127\.0\.0\.1 - - \[\d\d/(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)/\d{4}"
    r":\d\d:\d\d:\d\d \+0000\] (.*)"
)


def rest_of(line: str) -> str:
    found = COMMON.fullmatch(line)
    assert found is not None, line
    return found[1]


def test_without_being_told_to_it_logs_no_access(accesses: Lines) -> None:
    with serving(hello_app) as server:
        exchange(server, GET)
    assert accesses.is_empty()


@pytest.mark.parametrize("threads", [0, 2])
def test_common(accesses: Lines, threads: int) -> None:
    with serving(sized_app, access_log="common", threads=threads) as server:
        exchange(server, ask("/a%20b?13", "User-Agent: me"))
        assert rest_of(accesses.next()) == '"GET /a%20b?13 HTTP/1.1" 200 13'
        exchange(server, ask("/?13", method="HEAD"))
        assert rest_of(accesses.next()) == '"HEAD /?13 HTTP/1.1" 200 -'


def test_combined(accesses: Lines) -> None:
    with serving(sized_app, access_log="combined") as server:
        exchange(server, ask("/?3", "Referer: http://there/", "User-Agent: me/1 (it)"))
        assert rest_of(accesses.next()) == ('"GET /?3 HTTP/1.1" 200 3 "http://there/" "me/1 (it)"')
        exchange(server, ask("/?3"))
        assert rest_of(accesses.next()) == '"GET /?3 HTTP/1.1" 200 3 "-" "-"'


def test_a_client_cannot_make_up_parts_of_a_line(accesses: Lines) -> None:
    with serving(sized_app, access_log="combined") as server:
        exchange(server, ask('/"?1', 'User-Agent: a" \\ "b\x85c'))
        assert rest_of(accesses.next()) == (r'"GET /\"?1 HTTP/1.1" 200 1 "-" "a\" \\ \"b\x85c"')


def test_json(accesses: Lines) -> None:
    with serving(sized_app, access_log="json") as server:
        exchange(server, ask("/b?5", 'User-Agent: "me"\t\xe9', "Referer: there"))
        line = accesses.next()
    assert "\n" not in line
    found = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found.pop("time"))
    assert 0 <= found.pop("duration") < PATIENCE
    assert found == {
        "client": "127.0.0.1",
        "method": "GET",
        "target": "/b?5",
        "version": "HTTP/1.1",
        "status": 200,
        "bytes": 5,
        "complete": True,
        "referer": "there",
        "user_agent": '"me"\t\xe9',
    }


def test_each_response_of_a_connection_has_its_line(accesses: Lines) -> None:
    with serving(sized_app, access_log="common") as server:
        exchange(server, b"GET /?1 HTTP/1.1\r\nHost: here\r\n\r\n" * 20 + ask("/?2"))
        lines = [rest_of(accesses.next()) for _ in range(21)]
        assert accesses.is_empty()
    assert lines == ['"GET /?1 HTTP/1.1" 200 1'] * 20 + ['"GET /?2 HTTP/1.1" 200 2']


def failing_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    raise RuntimeError("no")


def test_a_failed_application_s_line_is_that_of_the_error_page(
    accesses: Lines, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(failing_app, access_log="common") as server:
        response = exchange(server, GET)
        size = len(response.partition(b"\r\n\r\n")[2])
        assert rest_of(accesses.next()) == f'"GET / HTTP/1.1" 500 {size}'
    assert capsys.readouterr().err.count("RuntimeError: no") == 1


def breaking_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [])
    yield b"some"
    raise RuntimeError("no more")


def test_what_was_not_sent_in_full_says_so(
    accesses: Lines, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(breaking_app, access_log="json") as server, connected(server) as connection:
        connection.sendall(GET)
        found = json.loads(accesses.next())
    assert (found["status"], found["bytes"], found["complete"]) == (200, 4, False)
    assert "RuntimeError: no more" in capsys.readouterr().err


def test_without_logging_set_up_lines_go_to_the_error_stream(implementation: str) -> None:
    script = """
import socket
from wsgiref_fast.server import Server
def app(environ, start_response):
    start_response("200 OK", [])
    return [b"it"]
server = Server(("127.0.0.1", 0), access_log="common")
server.set_app(app)
with server, socket.create_connection(server.server_address) as connection:
    connection.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
    server.handle_request()
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env={**os.environ, "WSGIREF_FAST_IMPL": implementation},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert rest_of(done.stderr.rstrip("\n")) == '"GET / HTTP/1.0" 200 2'
    assert done.returncode == 0


# The error log


@pytest.mark.parametrize(
    ("request_bytes", "reason"),
    [
        (b"nonsense\r\n\r\n", "127.0.0.1: 400 "),
        (b"GET / HTTP/1.1\r\n\r\n", "127.0.0.1: 400 No Host"),
        (b"GET / HTTP/3.0\r\nHost: here\r\n\r\n", "127.0.0.1: 505 "),
        (b"GET /%b HTTP/1.1\r\n" % (b"a" * 9000), "127.0.0.1: 414 "),
        (b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 99999999999\r\n\r\n", ": 413 "),
    ],
)
def test_a_refused_request_is_logged_with_the_client_and_why(
    errors: Lines, request_bytes: bytes, reason: str
) -> None:
    with serving(hello_app) as server:
        status = exchange(server, request_bytes).split(b" ")[1].decode()
        line = errors.next()
    assert reason in line
    assert f" {status} " in line
    assert "\n" not in line


def longer_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "3")])
    return [b"four"]


def shorter_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "5")])
    return [b"four"]


@pytest.mark.parametrize(("app", "word"), [(longer_app, "longer"), (shorter_app, "shorter")])
def test_a_body_that_is_not_as_long_as_it_said_is_logged(
    errors: Lines, app: Application, word: str
) -> None:
    with serving(app) as server, connected(server) as connection:
        connection.sendall(GET)
        line = errors.next()
    assert line.startswith("127.0.0.1: ")
    assert word in line


def test_an_ordinary_request_is_no_error(errors: Lines) -> None:
    with serving(hello_app) as server:
        exchange(server, GET)
        with connected(server):
            pass  # one that goes without a word
        exchange(server, GET)
    assert errors.is_empty()
