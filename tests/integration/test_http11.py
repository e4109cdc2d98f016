"""The HTTP/1.1 server and those that talk to it: curl, http.client, requests, a browser, nginx."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from support import find_port

from . import harness
from .conftest import Environments
from .harness import APPS, HOST, NGINX, ask, connect, curl, fetch, needs
from .test_chromium import ASSETS, load

needs_curl = needs(harness.CURL, "curl")
needs_nginx = needs(NGINX, "nginx")

CONTENT = bytes(range(256)) * 20_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
STREAM = b"".join(b"line %d\n" % number for number in range(50))

_CONFIGURATION = """\
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr info;
events {{ }}
http {{
    access_log off;
    client_max_body_size 50m;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream application {{ server 127.0.0.1:{upstream}; keepalive 4; keepalive_timeout 2s; }}
    server {{
        listen 127.0.0.1:{port};
        proxy_http_version 1.1;
        proxy_set_header Connection "";
{locations}
    }}
}}
"""

_LOCATION = """\
        location /{responses}-{requests}/ {{
            proxy_buffering {responses};
            proxy_request_buffering {requests};
            proxy_pass http://application/;
        }}
"""

#: Whether nginx collects responses, and requests, before it passes them on.
BUFFERINGS = [(responses, requests) for responses in ("on", "off") for requests in ("on", "off")]


class Site:
    """The running server, on one implementation, with so many threads."""

    def __init__(
        self, program: harness.Program, port: int, implementation: str, threads: int
    ) -> None:
        self.program, self.port = program, port
        self.implementation, self.threads = implementation, threads


@pytest.fixture(
    scope="module",
    params=[("pure", 0), ("pure", 4), ("compiled", 0), ("compiled", 4)],
    ids=lambda way: f"{way[0]}-{'threads' if way[1] else 'loop'}",
)
def site(
    request: pytest.FixtureRequest,
    environments: Environments,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    implementation, threads = request.param
    python, port = environments("bare"), find_port()
    if implementation == "compiled" and harness.implementation(str(python)) != "compiled":
        pytest.skip("nothing compiled was built here")
    command = [str(python), str(APPS / "http11_app.py"), str(port), str(threads)]
    folder = tmp_path_factory.mktemp("http11")
    variables = {"WSGIREF_FAST_IMPL": implementation}
    with harness.running(command, folder, ends_by=signal.SIGTERM, variables=variables) as program:
        program.wait_until_listening(port)
        yield Site(program, port, implementation, threads)
    assert "stopped" in program.log()


@pytest.fixture
def upload(tmp_path: Path) -> Path:
    file = tmp_path / "upload.bin"
    file.write_bytes(CONTENT)
    return file


def test_requests_are_run_by_the_new_server(site: Site) -> None:
    testimony = json.loads(fetch(site.port, "/witness").body)
    assert harness.is_ours(testimony["file"])
    is_kernel = site.implementation == "compiled" and not site.threads  # which has no threads
    room = "_speedups.connection" if is_kernel else "_http11.exchange"
    assert testimony["module"] == f"wsgiref_fast.{room}"
    assert testimony["implementation"] == site.implementation


# curl


@needs_curl
def test_curl_makes_many_requests_on_one_connection(site: Site) -> None:
    options = ["-o", os.devnull, "-w", "%{http_code} %{http_version} %{num_connects}\n"]
    answers = curl(site.port, "/echo?n=[1-20]", *options, "--data-binary", "some=text")
    assert answers.decode().splitlines() == ["200 1.1 1", *["200 1.1 0"] * 19]


@needs_curl
def test_curl_downloads_a_stream_on_a_kept_connection(site: Site) -> None:
    answers = curl(site.port, "/stream?n=[1-3]", "-w", "%{num_connects}\n")
    assert answers == STREAM + b"1\n" + (STREAM + b"0\n") * 2


@needs_curl
def test_curl_sees_the_chunks(site: Site) -> None:
    answer = curl(site.port, "/stream", "--raw", "-D", "-")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"\r\nTransfer-Encoding: chunked" in head
    assert body.startswith(b"7\r\nline 0\n\r\n")
    assert body.endswith(b"\r\n0\r\n\r\n")


@needs_curl
def test_curl_of_http_1_0_gets_a_stream_up_to_the_end(site: Site) -> None:
    answer = curl(site.port, "/stream", "--http1.0", "-D", "-")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Transfer-Encoding" not in head
    assert body == STREAM


@needs_curl
def test_curl_uploads_in_chunks(site: Site, upload: Path) -> None:
    options = ["-H", "Transfer-Encoding: chunked", "-H", "Expect:", "--data-binary", f"@{upload}"]
    echo = json.loads(curl(site.port, "/echo", *options))
    assert (echo["size"], echo["sha256"]) == (len(CONTENT), SHA256)


@needs_curl
@pytest.mark.parametrize("coding", [[], ["-H", "Transfer-Encoding: chunked"]])
def test_curl_waits_to_continue(site: Site, upload: Path, coding: list[str]) -> None:
    """It would wait a minute for the word, and so fail."""
    options = ["-H", "Expect: 100-continue", "--expect100-timeout", "60", "-D", "-", *coding]
    answer = curl(site.port, "/echo", *options, "--data-binary", f"@{upload}")
    first, second, body = answer.split(b"\r\n\r\n")
    assert first == b"HTTP/1.1 100 Continue"
    assert second.startswith(b"HTTP/1.1 200 OK\r\n")
    assert json.loads(body)["sha256"] == SHA256


@needs_curl
def test_curl_is_refused_after_it_has_sent_much(site: Site, upload: Path) -> None:
    options = ["-w", "%{http_code} %{num_connects}\n", "--data-binary", f"@{upload}"]
    answers = curl(site.port, "/refuse?n=[1-3]", *options).decode()
    assert answers == "no403 1\nno403 0\nno403 0\n"


@needs_curl
def test_head_has_the_length_of_get_and_no_body(site: Site) -> None:
    answer = curl(site.port, "/big?n=[1-2]", "--head", "-w", "%{num_connects}\n")
    *heads, end = re.split(rb"\r\n\r\n[01]\n", answer)
    assert len(heads) == 2
    assert end == b""
    for head in heads:
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\nContent-Length: 3000000" in head


@needs_curl
def test_curl_sends_a_file_as_a_put_and_gets_one(site: Site, upload: Path) -> None:
    echo = json.loads(curl(site.port, "/echo", "--upload-file", str(upload)))
    assert (echo["method"], echo["sha256"]) == ("PUT", SHA256)
    assert curl(site.port, "/file", "-H", f"X-File: {upload}") == CONTENT


# http.client


def test_http_client_keeps_its_connection(site: Site) -> None:
    with closing(connect(site.port)) as connection:
        sockets = []
        for method, path, status in [
            ("GET", "/stream", 200),
            ("HEAD", "/stream", 200),
            ("POST", "/echo", 200),
            ("DELETE", "/nothing", 204),
            ("POST", "/refuse", 403),
            ("HEAD", "/big", 200),
            ("GET", "/big", 200),
        ]:
            body = CONTENT if method == "POST" else None
            assert ask(connection, path, method, body).status == status
            sockets.append(connection.sock)
    assert sockets[0] is not None
    assert len(set(sockets)) == 1


def test_http_client_sends_chunks(site: Site) -> None:
    with closing(connect(site.port)) as connection:
        pieces = (CONTENT[start : start + 100_000] for start in range(0, len(CONTENT), 100_000))
        connection.request("POST", "/echo", pieces, encode_chunked=True)
        with connection.getresponse() as response:
            assert json.loads(response.read())["sha256"] == SHA256
        assert ask(connection, "/echo").status == 200


def test_http_client_can_tell_a_body_that_was_cut(site: Site) -> None:
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        fetch(site.port, "/broken")
    site.program.excuse("LookupError: provoked\n")


# requests


def test_requests_keeps_its_connection(site: Site, environments: Environments) -> None:
    python, client = environments("requests"), APPS / "requests_client.py"
    report = json.loads(harness.run([str(python), str(client), f"http://{HOST}:{site.port}"]))
    sent = b"".join(b"%d," % number * 1000 for number in range(50))
    assert report == {
        "connections": 1,
        "chunked": [len(sent), hashlib.sha256(sent).hexdigest()],
        "form": ["5", 5],
        "stream": STREAM.decode().splitlines(),
        "head": [200, "3000000", ""],
        "nothing": [204, ""],
    }


# A browser


@needs(harness.CHROMIUM, "chromium")
def test_a_browser_loads_a_page_and_its_assets_on_few_connections(
    site: Site, tmp_path: Path
) -> None:
    document = load(site.port, tmp_path / "profile")
    report = re.search(r'<p id="report">(.*)</p>', document)
    assert report is not None, document
    assert report[1] == f"loaded {len(ASSETS)}, failed 0, scripts 5"
    account = json.loads(fetch(site.port, "/report").body)
    served = account["served"]
    assert {path: served.get(path) for path in ASSETS} == dict.fromkeys(ASSETS, 1)
    assert 1 <= len(account["ports"]) <= 6  # as many as browsers open to one host


# A proxy


class Proxy:
    """The running nginx."""

    def __init__(self, program: harness.Program, port: int) -> None:
        self.program, self.port = program, port


@pytest.fixture(scope="module")
def proxy(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder, port = tmp_path_factory.mktemp("nginx"), find_port()
    locations = "".join(
        _LOCATION.format(responses=responses, requests=requests)
        for responses, requests in BUFFERINGS
    )
    configuration = folder / "nginx.conf"
    values = {"folder": folder, "port": port, "upstream": site.port, "locations": locations}
    configuration.write_text(_CONFIGURATION.format(**values))
    command = [str(NGINX), "-p", str(folder), "-e", "stderr", "-c", str(configuration)]
    with harness.running(command, folder, ends_by=signal.SIGTERM) as program:
        program.wait_until_listening(port)
        yield Proxy(program, port)
    for sign in ("[warn] ", "[error]", "[crit]", "[alert]", "upstream"):
        lines = [line for line in program.log().splitlines() if sign in line]
        assert [line for line in lines if "buffered to a temporary file" not in line] == []


@pytest.fixture(params=BUFFERINGS, ids=lambda ways: f"responses-{ways[0]}-requests-{ways[1]}")
def prefix(request: pytest.FixtureRequest) -> str:
    return "/" + "-".join(request.param)


@needs_nginx
def test_a_proxy_keeps_its_connection(site: Site, proxy: Proxy, prefix: str) -> None:
    with closing(connect(proxy.port)) as client:
        echoes: list[dict[str, Any]] = []
        for number in range(10):
            body = None if number % 2 else b"some"
            method = "POST" if body else "GET"
            echoes.append(json.loads(ask(client, f"{prefix}/echo?{number}", method, body).body))
            assert ask(client, f"{prefix}/stream").body == STREAM
            assert ask(client, f"{prefix}/nothing").status == 204
            assert ask(client, f"{prefix}/big", "HEAD").headers["Content-Length"] == "3000000"
    assert [echo["query"] for echo in echoes] == list(map(str, range(10)))
    assert [echo["size"] for echo in echoes] == [4, 0] * 5
    assert {echo["protocol"] for echo in echoes} == {"HTTP/1.1"}
    assert len({echo["port"] for echo in echoes}) == 1


@needs_nginx
@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
def test_an_upload_comes_through_a_proxy(
    site: Site, proxy: Proxy, prefix: str, is_chunked: bool
) -> None:
    with closing(connect(proxy.port)) as client:
        for _ in range(2):
            body = iter([CONTENT[:1000], CONTENT[1000:]]) if is_chunked else CONTENT
            client.request("POST", f"{prefix}/echo", body, encode_chunked=is_chunked)
            with client.getresponse() as response:
                echo = json.loads(response.read())
            assert (echo["size"], echo["sha256"]) == (len(CONTENT), SHA256)


@needs_nginx
def test_a_download_comes_through_a_proxy(
    site: Site, proxy: Proxy, prefix: str, upload: Path
) -> None:
    with closing(connect(proxy.port)) as client:
        for _ in range(2):
            assert ask(client, f"{prefix}/big").body == b"x" * 3_000_000
            assert ask(client, f"{prefix}/file", headers={"X-File": str(upload)}).body == CONTENT
            refused = ask(client, f"{prefix}/refuse", "POST", CONTENT)
            assert (refused.status, refused.body) == (403, b"no")
