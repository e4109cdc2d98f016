"""Flask behind `make_server`: one request a connection, kept connections, and threads."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from . import harness
from .conftest import Environments
from .harness import APPS, ask, connect, curl, fetch, needs

needs_curl = needs(harness.CURL, "curl")

#: How the server is run: the protocol of its handler class, and whether it has threads.
WAYS = {"one": ["HTTP/1.0"], "kept": ["HTTP/1.1"], "threads": ["HTTP/1.1", "threads"]}

CONTENT = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Shop:
    """The running application."""

    def __init__(self, program: harness.Program, way: str) -> None:
        self.program = program
        self.way = way
        self.port = program.wait_for_port()


@pytest.fixture(scope="module", params=WAYS)
def shop(
    request: pytest.FixtureRequest,
    environments: Environments,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Shop]:
    script = str(APPS / "flask_app.py")
    command = harness.launch(environments("flask"), script, *WAYS[request.param])
    with harness.running(command, tmp_path_factory.mktemp("flask")) as program:
        yield Shop(program, request.param)
    assert "stopped" in program.log()


@pytest.fixture
def upload(tmp_path: Path) -> Path:
    file = tmp_path / "upload.bin"
    file.write_bytes(CONTENT)
    return file


def test_requests_are_run_by_the_package(shop: Shop) -> None:
    testimony = json.loads(fetch(shop.port, "/witness").body)
    assert harness.is_ours(testimony["handler"])
    assert testimony["input"] == "wsgiref_fast._streams"
    assert testimony["implementation"] == harness.implementation(testimony["python"])
    assert testimony["multithread"] == (shop.way == "threads")


def test_a_client_that_keeps_its_connection_is_kept_where_the_handler_says_so(shop: Shop) -> None:
    connection = connect(shop.port)
    sockets = []
    for number in range(3):
        body = f"body {number}".encode()
        echo = json.loads(ask(connection, f"/echo?n={number}", "POST", body).body)
        assert (echo["query"], echo["sent"]) == ({"n": [str(number)]}, body.decode())
        sockets.append(connection.sock)
    connection.close()
    assert len(set(sockets)) == 1
    assert (sockets[0] is None) == (shop.way == "one")


def test_a_client_that_asks_to_close_is_heard(shop: Shop) -> None:
    connection = connect(shop.port)
    assert ask(connection, "/echo", headers={"Connection": "close"}).status == 200
    assert connection.sock is None


@needs_curl
@pytest.mark.parametrize(
    "method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "PURGE", "QUERY"]
)
def test_any_method_arrives_with_its_body(shop: Shop, method: str) -> None:
    echo = json.loads(curl(shop.port, "/echo", "-X", method, "--data-binary", "some=text"))
    assert (echo["method"], echo["sent"], echo["length"]) == (method, "some=text", 9)


@needs_curl
def test_a_method_that_is_not_allowed_is_refused(shop: Shop) -> None:
    status = curl(shop.port, "/visits", "-X", "BREW", "-o", os.devnull, "-w", "%{http_code}")
    assert status == b"405"


@needs_curl
def test_a_form_with_a_file_arrives(shop: Shop, upload: Path) -> None:
    fields = ["-F", "title=Käse & more", "-F", f"scan=@{upload};filename=a b.bin"]
    answer = json.loads(curl(shop.port, "/upload", *fields))
    assert answer["form"] == {"title": "Käse & more"}
    assert answer["files"] == {"scan": {"name": "a b.bin", "sha256": SHA256}}


@needs_curl
def test_a_chunked_upload_arrives(shop: Shop, upload: Path) -> None:
    options = ["-H", "Transfer-Encoding: chunked", "--data-binary", f"@{upload}"]
    assert json.loads(curl(shop.port, "/digest", *options)) == {"sha256": SHA256}


@needs_curl
def test_a_chunked_form_arrives(shop: Shop, upload: Path) -> None:
    options = ["-H", "Transfer-Encoding: chunked", "-F", f"scan=@{upload}"]
    files = json.loads(curl(shop.port, "/upload", *options))["files"]
    assert files == {"scan": {"name": "upload.bin", "sha256": SHA256}}


@needs_curl
def test_an_expectation_is_met_where_the_protocol_has_it(shop: Shop, upload: Path) -> None:
    options = ["-H", "Expect: 100-continue", "-D", "-"]
    answer = curl(shop.port, "/digest", *options, "--data-binary", f"@{upload}")
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\n") == (shop.way != "one")
    assert json.loads(answer.rpartition(b"\r\n\r\n")[2]) == {"sha256": SHA256}


@needs_curl
def test_head_has_the_length_of_get_and_no_body(shop: Shop) -> None:
    answer = curl(shop.port, "/file", "--head").decode()
    assert answer.endswith("\r\n\r\n")
    assert answer.startswith("HTTP/1.0 200 OK" if shop.way == "one" else "HTTP/1.1 200 OK")
    assert "content-length: 256000\r\n" in answer.lower()


@needs_curl
def test_curl_makes_many_requests_in_one_run(shop: Shop) -> None:
    options = ["-o", os.devnull, "-w", "%{http_code} %{num_connects}\n"]
    answers = curl(shop.port, "/echo?n=[1-20]", *options).decode().splitlines()
    later = "200 1" if shop.way == "one" else "200 0"
    assert answers == ["200 1", *[later] * 19]


@needs_curl
def test_cookies_come_and_go(shop: Shop, tmp_path: Path) -> None:
    jar = str(tmp_path / "jar")
    visits = [curl(shop.port, "/visits", "-b", jar, "-c", jar) for _ in range(3)]
    assert visits == [b"1", b"2", b"3"]
    assert {"colour", "session"} <= set(Path(jar).read_text().split())


def test_cookies_in_two_headers_are_both_read(shop: Shop) -> None:
    connection = connect(shop.port)
    jar = fetch(shop.port, "/visits").headers.get_all("Set-Cookie", [])
    connection.putrequest("GET", "/visits")
    for cookie in jar:
        connection.putheader("Cookie", cookie.partition(";")[0])
    connection.endheaders()
    with connection.getresponse() as response:
        assert response.read() == b"2"
    connection.close()
    assert len(jar) == 2


def test_a_stream_is_sent_block_by_block(shop: Shop, tmp_path: Path) -> None:
    """The first line is here while the application still waits for what comes second."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    connection = connect(shop.port)
    connection.request("GET", f"/stream?fifo={fifo}")
    with connection.getresponse() as response:
        assert response.readline() == b"first\n"
        fifo.write_bytes(b"second\n")
        assert response.readline() == b"second\n"
        assert response.read() == b"." * 50_000
    connection.close()


def test_a_body_that_was_refused_does_not_cost_the_answer(shop: Shop) -> None:
    for path, status in [("/unread", 403), ("/digest", 413)]:
        assert fetch(shop.port, path, "POST", b"x" * (6 << 20)).status == status


@needs_curl
def test_curl_gets_the_answer_to_a_body_that_was_refused(shop: Shop, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(b"x" * (6 << 20))
    for path, status in [("/unread", b"403"), ("/digest", b"413")]:
        options = ["--data-binary", f"@{large}", "-o", os.devnull, "-w", "%{http_code}"]
        assert curl(shop.port, path, *options) == status


def test_a_part_of_a_file_is_sent(shop: Shop) -> None:
    part = fetch(shop.port, "/file", headers={"Range": "bytes=256-511"})
    assert (part.status, part.body) == (206, bytes(range(256)))
    assert part.headers["Content-Length"] == "256"


def test_answers_without_a_body_have_no_length_and_keep_the_connection(shop: Shop) -> None:
    connection = connect(shop.port)
    unchanged = ask(connection, "/file", headers={"If-None-Match": '"v1"'})
    deleted = ask(connection, "/thing", "DELETE")
    kept = connection.sock is not None
    assert ask(connection, "/echo").status == 200
    connection.close()
    assert [(r.status, r.headers["Content-Length"], r.body) for r in (unchanged, deleted)] == [
        (304, None, b""),
        (204, None, b""),
    ]
    assert kept == (shop.way != "one")


def test_an_exception_is_flasks_to_answer(shop: Shop) -> None:
    answer = fetch(shop.port, "/broken")
    shop.program.excuse("LookupError: provoked\n")
    assert (answer.status, b"Internal Server Error" in answer.body) == (500, True)


def test_each_request_is_a_line_of_the_log(shop: Shop) -> None:
    assert fetch(shop.port, "/echo?logged=here").status == 200
    line: Any = shop.program.wait_for(r'"GET /echo\?logged=here HTTP/1\.1" (\d+) (\d+)')
    assert line[1] == "200"
