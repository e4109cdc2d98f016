"""Werkzeug's development server, as it is and with our request handler, side by side."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from . import harness
from .conftest import Environments
from .harness import APPS, HOST, PATIENCE, needs

_PLAIN = {
    "minimal": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "old": b"GET /x?y=1 HTTP/1.0\r\n\r\n",
    "browser": b"GET /a%20b/?q=%C3%A4&r=1 HTTP/1.1\r\nHost: localhost:8000\r\nUser-Agent: M\r\n"
    b"Accept: text/html,*/*;q=0.8\r\nAccept-Encoding: gzip, br\r\nConnection: keep-alive\r\n"
    b"Cookie: a=1\r\nCookie: b=2\r\nX-A: 1\r\nX-A: 2\r\nUpgrade-Insecure-Requests: 1\r\n\r\n",
    "post": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\nContent-Length: 5\r\n\r\nhello",
    "multipart": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"
    b"Content-Type: multipart/form-data; boundary=b\r\n\r\nhi",
    "head": b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
    "odd method": b"brew-it /pot HTTP/1.1\r\nHost: a\r\n\r\n",
    "percent": b"GET /%E2%82%AC/%zz/%2f?%20 HTTP/1.1\r\nHost: a\r\n\r\n",
    "raw bytes": b"GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\nX: \xc3\xa4\xff\r\n\r\n",
    "slashes": b"GET //evil/x HTTP/1.1\r\nHost: a\r\n\r\n",
    "absolute": b"GET http://other:81/x?y HTTP/1.1\r\nHost: a\r\n\r\n",
    "asterisk": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "underscore": b"GET / HTTP/1.1\r\nHost: a\r\nX_A: 1\r\nX-A: 2\r\nContent_Length: 9\r\n\r\n",
    "spaces": b"GET / HTTP/1.1\r\nHost:   a  \r\nX:\r\nY: \t \r\nConnection: close \r\n\r\n",
    "closing": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n",
    "two options": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: close\r\n\r\n",
    "pipelined": b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
    "empty": b"GET /empty HTTP/1.1\r\nHost: a\r\n\r\n",
    "unchanged": b"GET /unchanged HTTP/1.1\r\nHost: a\r\n\r\n",
    "moved": b"GET /moved HTTP/1.1\r\nHost: a\r\n\r\n",
    "stream": b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n",
    "old stream": b"GET /stream HTTP/1.0\r\nHost: a\r\n\r\n",
    "write": b"GET /write HTTP/1.1\r\nHost: a\r\n\r\n",
    "head of a stream": b"HEAD /stream HTTP/1.1\r\nHost: a\r\n\r\n",
    "unread": b"POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
    + b"x" * 100_000,
    "expectation": b"POST / HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\nhi",
    "other expectation": b"POST / HTTP/1.1\r\nExpect: tea\r\nContent-Length: 2\r\n\r\nhi",
    "many fields": b"GET / HTTP/1.1\r\n%b\r\n" % b"".join(b"X-%d: 1\r\n" % n for n in range(97)),
}
_CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: %b\r\n\r\n%b"
_BODIES = {
    "chunked": _CHUNKED % (b"chunked", b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"),
    "chunked, upper case": _CHUNKED % (b"CHUNKED", b"a\r\n0123456789\r\n0\r\n\r\n"),
    "chunked, malformed": _CHUNKED % (b"chunked", b"zz\r\nhello\r\n0\r\n\r\n"),
    "chunked, negative": _CHUNKED % (b"chunked", b"-5\r\nhello\r\n0\r\n\r\n"),
    "chunked, another end": _CHUNKED % (b"chunked", b"5\r\nhelloXX0\r\n\r\n"),
    "another coding": _CHUNKED % (b"gzip", b""),
    "both lengths": b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"
    b"2\r\nhi\r\n0\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhiX",
    "bad length": b"POST / HTTP/1.1\r\nContent-Length: many\r\n\r\nhi",
}
_ODD = {
    "folded": b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n",
    "space before colon": b"GET / HTTP/1.1\r\nHost : a\r\nX: 1\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\nX: 1\r\n\r\n",
    "bare CR": b"GET / HTTP/1.1\r\nHost: a\rX: 1\r\n\r\n",
    "bare LF": b"GET / HTTP/1.1\nHost: a\nX: 1\n\n",
    "NUL": b"GET / HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
    "empty line first": b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "two spaces": b"GET  /  HTTP/1.1\r\nHost: a\r\n\r\n",
    "two words": b"GET /x\r\n\r\n",
    "one word": b"GET\r\n\r\n",
    "four words": b"GET / x HTTP/1.1\r\n\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "no version": b"GET / HTTP/x\r\nHost: a\r\n\r\n",
    "HTTP/1.7": b"GET / HTTP/1.7\r\nHost: a\r\n\r\n",
    "long line": b"GET /%b HTTP/1.1\r\n\r\n" % (b"x" * 70_000),
    "long field": b"GET / HTTP/1.1\r\nX: %b\r\n\r\n" % (b"x" * 70_000),
    "too many fields": b"GET / HTTP/1.1\r\n%b\r\n" % (b"X: 1\r\n" * 150),
    "cut head": b"GET / HTTP/1.1\r\nHost: a\r\nX: ",
    "nothing": b"",
}
REQUESTS = {**_PLAIN, **_BODIES, **_ODD}
_BROKEN = [b"GET /broken HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /cut HTTP/1.1\r\nHost: a\r\n\r\n"]

#: Werkzeug's server and ours: their ports and programs.
Pair = list[tuple[int, harness.Program]]

_VARYING = re.compile(rb"(?m)^Date: .*\r\n")
_TIMES = re.compile(r"\[\d\d/\w+/\d{4} [\d:]+\]|listening on \d+")


@pytest.fixture(scope="module", params=["werkzeug2", "werkzeug3"])
def python(environments: Environments, request: pytest.FixtureRequest) -> str:
    """Return an interpreter that has Werkzeug."""
    return str(environments(request.param))


@pytest.fixture(scope="module", params=["one", "threads"])
def pair(
    python: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    """Run Werkzeug's server and ours beside it."""
    with ExitStack() as stack:
        programs = []
        for kind in ("plain", "faster"):
            folder = tmp_path_factory.mktemp(kind)
            program = stack.enter_context(run(python, kind, request.param, folder=folder))
            programs.append((program.wait_for_port(), program))
        yield programs


def run(python: str, kind: str, way: str, *more: str, folder: Path) -> Any:
    command = [python, str(APPS / "werkzeug_app.py"), kind, way, *more]
    return harness.running(command, folder)


def send(port: int, request: bytes, pieces: int = 1, tls: ssl.SSLContext | None = None) -> bytes:
    """Send a request whole or in pieces; return all that comes back, but for the date."""
    connection = socket.create_connection((HOST, port), PATIENCE)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    if tls is not None:
        connection = tls.wrap_socket(connection, server_hostname=HOST)
    with connection:
        size = -(-len(request) // pieces) or 1
        with suppress(OSError):  # refused before its end
            for start in range(0, len(request), size):
                connection.sendall(request[start : start + size])
            if tls is None:
                connection.shutdown(socket.SHUT_WR)
        return _VARYING.sub(b"", receive(connection))


def receive(connection: socket.socket) -> bytes:
    """Return what comes until the end, be it a reset."""
    blocks = []
    with suppress(ConnectionResetError):
        while block := connection.recv(65536):
            blocks.append(block)
    return b"".join(blocks)


@pytest.mark.parametrize("name", REQUESTS)
def test_answers_are_werkzeugs_byte_for_byte(pair: Pair, name: str) -> None:
    plain, faster = (send(port, REQUESTS[name]) for port, _ in pair)
    assert faster == plain
    assert plain or name in ("nothing", "empty line first", "cut head")


@pytest.mark.parametrize("name", ["browser", "post", "chunked", "bare LF", "long field"])
def test_it_does_not_matter_in_which_pieces_a_request_comes(pair: Pair, name: str) -> None:
    plain, faster = (send(port, REQUESTS[name], 7) for port, _ in pair)
    assert faster == plain != b""


def test_an_error_of_the_application_is_answered_and_logged_alike(
    pair: Pair,
) -> None:
    for request in _BROKEN:
        plain, faster = (send(port, request) for port, _ in pair)
        assert faster == plain != b""
    for _, program in pair:
        program.excuse("LookupError: provoked late\n")


def test_the_log_is_werkzeugs_with_its_colours(pair: Pair) -> None:
    for port, _ in pair:
        for name in ("minimal", "moved", "empty", "unchanged", "unread", "HTTP/2.0", "percent"):
            send(port, REQUESTS[name])
        send(port, b"GET /last HTTP/1.1\r\n\r\n")
    plain, faster = (log_of(program) for _, program in pair)
    assert faster == plain
    assert "\x1b[" in plain


def log_of(program: harness.Program) -> str:
    program.wait_for(r"GET /last")
    return _TIMES.sub("", program.log()).partition("GET /last")[0]


def test_the_interim_response_comes_before_the_body(pair: Pair) -> None:
    for port, program in pair:
        with socket.create_connection((HOST, port), PATIENCE) as connection:
            connection.sendall(
                b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
            )
            interims = b"HTTP/1.1 100 Continue\r\n\r\n" * _interims(program)
            got = b""
            while len(got) < len(interims):
                got += connection.recv(len(interims) - len(got))
            assert got == interims
            connection.sendall(b"hi")
            assert b'["hi",' in receive(connection)


def _interims(program: harness.Program) -> int:
    """Return how many there are: under HTTP/1.1 http.server sends one, and Werkzeug another."""
    return 2 if "threads" in program.process.args else 1  # type: ignore[operator]


def test_install_serves_who_names_no_request_handler(python: str, tmp_path: Path) -> None:
    with run(python, "installed", "one", folder=tmp_path) as program:
        assert b'"PATH_INFO": "/"' in send(program.wait_for_port(), REQUESTS["minimal"])


_AT_ONCE = """\
import os, sys, threading
from wsgiref_fast import werkzeug

sys.setswitchinterval(1e-6)
for _ in range(200):
    werkzeug._ended = None
    found, barrier = [], threading.Barrier(8)

    def find():
        barrier.wait()
        found.append(werkzeug._find_ended())

    threads = [threading.Thread(target=find) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1, found
    os.close(found[0])
"""


def test_threads_whose_requests_are_the_first_share_a_descriptor(
    python: str, tmp_path: Path
) -> None:
    script = tmp_path / "at_once.py"
    script.write_text(_AT_ONCE)
    assert harness.run([python, "-X", "dev", str(script)]) == ""


@pytest.mark.parametrize("kind", ["plain", "faster"])
def test_a_unix_socket_is_served(python: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with run(python, kind, "unix", str(path), folder=tmp_path) as program:
        program.wait_for("listening")
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(str(path))
            connection.sendall(REQUESTS["old"])
            assert b"200 OK" in receive(connection)


@needs(harness.OPENSSL, "openssl")
def test_tls_is_served_alike(python: str, tmp_path: Path) -> None:
    files = [str(file) for file in harness.make_certificate(tmp_path)]
    tls = ssl.create_default_context(cafile=files[0])
    answers = []
    for kind in ("plain", "faster"):
        with run(python, kind, "tls", *files, folder=tmp_path) as program:
            port = program.wait_for_port()
            program._port = None  # a connection without TLS would be a complaint
            names = ("browser", "post", "chunked", "stream")
            answers.append([send(port, REQUESTS[name], tls=tls) for name in names])
    assert answers[0] == answers[1]
    assert b'"wsgi.url_scheme": "https"' in answers[0][0]


def test_moto_answers_boto3_alike(environments: Environments, tmp_path: Path) -> None:
    python = str(environments("moto"))
    variables = {"AWS_EC2_METADATA_DISABLED": "true", "MOTO_S3_DEFAULT_KEY_BUFFER_SIZE": "0"}
    answers = []
    for kind in ("plain", "faster"):
        with harness.running(
            [python, str(APPS / "moto_app.py"), kind], tmp_path, variables=variables
        ) as program:
            program.process.wait(PATIENCE)
        lines = program.log().splitlines()
        answers.append([line for line in lines if " - - [" not in line])
    assert answers[0] == answers[1]
    assert "NoSuchKey" in str(answers[0])
