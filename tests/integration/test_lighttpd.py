"""`CGIHandler` behind a real web server: lighttpd starts a process for each request."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import find_port

from . import harness
from .conftest import Environments
from .harness import APPS, curl, fetch, needs

pytestmark = needs(harness.LIGHTTPD, "lighttpd")

_CONFIGURATION = """\
server.document-root = "{folder}/scripts"
server.port = {port}
server.bind = "127.0.0.1"
server.modules = ( "mod_cgi", "mod_setenv" )
server.upload-dirs = ( "{folder}" )
setenv.add-environment = ( "PYTHONPATH" => "{apps}", "WSGIREF_FAST_IMPL" => "{wish}" )
static-file.exclude-extensions = ( ".py" )
$HTTP["url"] =~ "^/cgi_app.py" {{ cgi.assign = ( ".py" => "{folder}/launch" ) }}
$HTTP["url"] =~ "^/cgi_direct.py" {{ cgi.assign = ( ".py" => "{python}" ) }}
"""

_LAUNCHER = """\
#!/bin/sh
exec "{python}" -m wsgiref_fast run "$1"
"""


class Site:
    """The running web server, and a script's address."""

    def __init__(self, program: harness.Program, port: int) -> None:
        self.program, self.port = program, port


@pytest.fixture(scope="module")
def site(environments: Environments, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder, port = tmp_path_factory.mktemp("lighttpd"), find_port()
    python = environments("bare")
    (folder / "scripts").mkdir()
    for script in ("cgi_app.py", "cgi_direct.py"):
        (folder / "scripts" / script).write_bytes((APPS / script).read_bytes())
    launcher = folder / "launch"
    launcher.write_text(_LAUNCHER.format(python=python))
    launcher.chmod(0o755)
    configuration = folder / "lighttpd.conf"
    wish = os.environ.get("WSGIREF_FAST_IMPL", "auto")
    values = {"folder": folder, "port": port, "apps": APPS, "python": python, "wish": wish}
    configuration.write_text(_CONFIGURATION.format(**values))
    command = [str(harness.LIGHTTPD), "-D", "-f", str(configuration)]
    with harness.running(command, folder, ends_by=signal.SIGTERM) as program:
        program.wait_until_listening(port)
        yield Site(program, port)


@pytest.fixture(params=["/cgi_app.py", "/cgi_direct.py"])
def script(request: pytest.FixtureRequest) -> str:
    """Give a script that the launcher starts, and one that imports the package itself."""
    return str(request.param)


def ask_script(site: Site, path: str, *arguments: Any) -> dict[str, Any]:
    answer = fetch(site.port, path, *arguments)
    assert answer.status == 200
    account: dict[str, Any] = json.loads(answer.body)
    return account


def test_requests_are_run_by_the_package(site: Site, script: str) -> None:
    account = ask_script(site, script)
    assert harness.is_ours(account["witness"]["handler"])
    implementation = harness.implementation(account["witness"]["python"])
    assert account["witness"]["implementation"] == implementation
    assert account["flags"] == [False, True, True]


def test_path_and_query_arrive_as_bytes_in_str(site: Site, script: str) -> None:
    account = ask_script(site, f"{script}/caf%C3%A9/%E2%82%AC?q=caf%C3%A9&r=%20")
    assert account["PATH_INFO"].encode("iso-8859-1").decode() == "/café/€"
    assert account["QUERY_STRING"] == "q=caf%C3%A9&r=%20"
    assert account["SCRIPT_NAME"] == script


def test_bytes_of_a_path_that_are_no_utf8_survive(site: Site, script: str) -> None:
    account = ask_script(site, f"{script}/caf%E9")
    assert account["PATH_INFO"].encode("iso-8859-1") == b"/caf\xe9"


@pytest.mark.parametrize("size", [0, 1, 5_000_000])
def test_a_posted_body_arrives(site: Site, script: str, size: int) -> None:
    body = os.urandom(size)
    account = ask_script(site, script, "POST", body)
    assert account["REQUEST_METHOD"] == "POST"
    assert account["sha256"] == hashlib.sha256(body).hexdigest()


@needs(harness.CURL, "curl")
def test_a_chunked_upload_arrives(site: Site, script: str, tmp_path: Path) -> None:
    """The web server decodes it, and says its length."""
    upload = tmp_path / "upload"
    upload.write_bytes(b"chunks " * 50_000)
    options = ["-H", "Transfer-Encoding: chunked", "--data-binary", f"@{upload}"]
    account = json.loads(curl(site.port, script, *options))
    assert account["sha256"] == hashlib.sha256(upload.read_bytes()).hexdigest()
    assert account["CONTENT_LENGTH"] == "350000"


def test_the_status_goes_out_as_the_application_says(site: Site, script: str) -> None:
    empty = fetch(site.port, f"{script}/nothing")
    elsewhere = fetch(site.port, f"{script}/elsewhere")
    assert (empty.status, empty.body) == (204, b"")
    assert (elsewhere.status, elsewhere.headers["Location"]) == (302, "http://localhost/there")


def test_the_body_of_many_blocks_is_whole(site: Site, script: str) -> None:
    assert fetch(site.port, f"{script}/many").body == b"x" * 1_000_000


@needs(harness.CURL, "curl")
def test_head_has_the_length_of_get_and_no_body(site: Site, script: str) -> None:
    answer = curl(site.port, script, "--head")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\n")
    assert b"\r\nContent-Length: " in answer


def test_an_exception_is_an_error_page_and_a_traceback_in_the_servers_log(
    site: Site, script: str
) -> None:
    answer = fetch(site.port, f"{script}/broken")
    site.program.excuse("LookupError: provoked\n")
    assert answer.status == 500
    assert answer.body == b"A server error occurred.  Please contact the administrator."
    assert answer.headers["Content-Type"] == "text/plain"
