"""Django: `runserver` in each of its ways, with its reloader, and its live server for tests."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import find_port

from . import harness
from .conftest import Environments
from .harness import APPS, ask, connect, curl, fetch, needs

needs_curl = needs(harness.CURL, "curl")

#: How it is started, and `runserver`'s options; without any it has threads and the reloader.
WAYS = {
    "as is": (["manage.py"], []),
    "no reloader": (["manage.py"], ["--noreload"]),
    "no threads": (["manage.py"], ["--noreload", "--nothreading"]),
    "module": (["-m", "django"], []),
}

CONTENT = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Site:
    """A project that is served, and the folder that it lies in."""

    def __init__(self, program: harness.Program, port: int, folder: Path, way: str) -> None:
        self.program, self.port, self.folder, self.way = program, port, folder, way
        self.keeps = way != "no threads"


def lay_out(folder: Path) -> Path:
    """Make a copy of the project, which a test may change."""
    project = folder / "project"
    shutil.copytree(APPS / "django_project", project)
    (project / "static" / "asset.bin").write_bytes(CONTENT)
    return project


def serve(python: Path, folder: Path, way: str) -> Iterator[Site]:
    project, port = lay_out(folder), find_port()
    address = f"{harness.HOST}:{port}"
    program_name, options = WAYS[way]
    command = harness.launch(python, *program_name, "runserver", address, *options)
    settings = {"DJANGO_SETTINGS_MODULE": "settings"}
    with harness.running(command, project, variables=settings) as program:
        program.wait_until_listening(port)
        yield Site(program, port, project, way)
    assert not harness.is_listening(port)  # the reloader's own process has ended as well


@pytest.fixture(scope="module", params=["as is", "no reloader", "no threads"])
def site(
    request: pytest.FixtureRequest,
    environments: Environments,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    yield from serve(environments("django"), tmp_path_factory.mktemp("django"), request.param)


@pytest.fixture(params=["as is", "module"])
def changing_site(
    request: pytest.FixtureRequest, environments: Environments, tmp_path: Path
) -> Iterator[Site]:
    yield from serve(environments("django"), tmp_path, request.param)


def test_requests_are_run_by_the_package(site: Site) -> None:
    testimony = json.loads(fetch(site.port, "/witness").body)
    assert harness.is_ours(testimony["handler"])
    assert testimony["input"] == "django.core.handlers.wsgi"  # its own limit, around ours
    assert testimony["implementation"] == harness.implementation(testimony["python"])
    # With the reloader the server is a process that Django has started by itself.
    assert (testimony["process"] == site.program.process.pid) == (site.way != "as is")


def test_requests_share_a_connection_where_there_are_threads(site: Site) -> None:
    connection = connect(site.port)
    sockets = []
    for path, method, body in [
        ("/", "GET", None),
        ("/digest", "POST", CONTENT),
        ("/", "HEAD", None),
    ]:
        answer = ask(connection, path, method, body)
        assert (answer.status, answer.headers["Connection"]) == (
            200,
            None if site.keeps else "close",
        )
        sockets.append(connection.sock)
    connection.close()
    assert (sockets[0] is not None) == site.keeps
    assert len(set(sockets)) == 1


def test_a_page_is_served(site: Site) -> None:
    answer = fetch(site.port, "/")
    assert (answer.status, answer.body) == (200, b"Welcome")
    assert answer.headers["Content-Length"] == "7"


@pytest.mark.parametrize("path", ["/static/asset.bin", "/file"])
def test_a_file_is_served(site: Site, path: str) -> None:
    answer = fetch(site.port, path)
    assert (answer.status, answer.body) == (200, CONTENT)
    assert answer.headers["Content-Length"] == str(len(CONTENT))


@needs_curl
@pytest.mark.parametrize("path", ["/", "/static/asset.bin", "/file"])
def test_head_has_the_length_of_get_and_no_body(site: Site, path: str) -> None:
    length = fetch(site.port, path).headers["Content-Length"]
    head = curl(site.port, path, "--head").decode()
    assert head.startswith("HTTP/1.1 200 OK\r\n")
    assert head.endswith("\r\n\r\n")
    assert f"\r\nContent-Length: {length}\r\n" in head


def test_an_empty_answer_has_no_body(site: Site) -> None:
    connection = connect(site.port)
    answer = ask(connection, "/empty")
    assert (answer.status, answer.body) == (204, b"")
    assert ask(connection, "/").body == b"Welcome"
    connection.close()


def test_an_unchanged_page_is_not_sent(site: Site) -> None:
    connection = connect(site.port)
    headers = {"If-None-Match": ask(connection, "/").headers["ETag"]}
    answer = ask(connection, "/", headers=headers)
    assert (answer.status, answer.body) == (304, b"")
    assert ask(connection, "/").body == b"Welcome"
    connection.close()


def test_an_unchanged_static_file_is_not_sent(site: Site) -> None:
    changed = fetch(site.port, "/static/asset.bin").headers["Last-Modified"]
    answer = fetch(site.port, "/static/asset.bin", headers={"If-Modified-Since": changed})
    assert (answer.status, answer.body) == (304, b"")


@needs_curl
def test_a_form_with_a_file_arrives(site: Site) -> None:
    fields = ["-F", "title=Käse & more", "-F", f"scan=@{site.folder}/static/asset.bin"]
    answer = json.loads(curl(site.port, "/form", *fields))
    assert answer == {
        "form": {"title": "Käse & more"},
        "files": {"scan": {"name": "asset.bin", "sha256": SHA256}},
    }


@needs_curl
def test_a_chunked_upload_arrives(site: Site) -> None:
    asset = f"@{site.folder}/static/asset.bin"
    options = ["-H", "Transfer-Encoding: chunked", "--data-binary", asset]
    assert json.loads(curl(site.port, "/digest", *options)) == {"sha256": SHA256}


@needs_curl
def test_an_expectation_is_met(site: Site) -> None:
    options = ["-H", "Expect: 100-continue", "-D", "-"]
    asset = f"@{site.folder}/static/asset.bin"
    answer = curl(site.port, "/digest", *options, "--data-binary", asset)
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert json.loads(answer.rpartition(b"\r\n\r\n")[2]) == {"sha256": SHA256}


@pytest.mark.parametrize(("path", "status"), [("/digest", 400), ("/unread", 403)])
def test_a_large_upload_is_refused_and_the_client_is_told(
    site: Site, path: str, status: int
) -> None:
    for _ in range(3):
        assert fetch(site.port, path, "POST", b"x" * (6 << 20)).status == status
        if status == 400:
            site.program.excuse("RequestDataTooBig: .*\n")


def test_a_stream_is_whole(site: Site) -> None:
    answer = fetch(site.port, "/stream")
    assert answer.body == b"".join(b"%04d" % number * 250 for number in range(100))
    assert (answer.headers["Connection"], answer.headers["Content-Length"]) == ("close", None)


def test_headers_that_could_be_mistaken_for_others_are_dropped(site: Site) -> None:
    sent = {"X-User": "hyphen", "X_User": "underscore", "X-Other": "kept", "Y_Other": "dropped"}
    headers = json.loads(fetch(site.port, "/headers", headers=sent).body)
    assert headers["X-User"] == "hyphen"
    assert "kept" in headers.values()
    assert "dropped" not in headers.values()


def test_an_exception_is_djangos_to_answer(site: Site) -> None:
    answer = fetch(site.port, "/broken")
    site.program.excuse("LookupError: provoked\n")
    assert (answer.status, b"LookupError" in answer.body) == (500, True)


def test_each_request_is_a_line_of_djangos_log(site: Site) -> None:
    assert fetch(site.port, "/headers?logged=here").status == 200
    assert site.program.wait_for(r'\] "GET /headers\?logged=here HTTP/1\.1" 200 \d+')


def test_changed_code_is_served_after_a_reload(changing_site: Site) -> None:
    first = json.loads(fetch(changing_site.port, "/witness").body)
    pages = changing_site.folder / "pages.py"
    pages.write_text(pages.read_text().replace('EDITION = "first"', 'EDITION = "second"'))
    changing_site.program.wait_for(
        r"pages\.py changed, reloading", lambda: harness.make_newer(pages)
    )
    changing_site.program.wait_for(r"(?s)reloading.*Starting development server")
    changing_site.program.wait_until_listening(changing_site.port)
    second = json.loads(fetch(changing_site.port, "/witness").body)
    assert (first["edition"], second["edition"]) == ("first", "second")
    assert first["process"] != second["process"]
    assert harness.is_ours(second["handler"])


def test_a_terminated_reloader_takes_its_server_along(
    environments: Environments, tmp_path: Path
) -> None:
    project, port = lay_out(tmp_path), find_port()
    address = f"{harness.HOST}:{port}"
    command = harness.launch(environments("django"), "manage.py", "runserver", address)
    with harness.running(command, project, ends_by=signal.SIGTERM) as program:
        program.wait_until_listening(port)
    assert not harness.is_listening(port)


def test_djangos_own_live_server_tests_pass(environments: Environments, tmp_path: Path) -> None:
    project = lay_out(tmp_path)
    command = harness.launch(environments("django"), "manage.py", "test", "--verbosity", "2")
    with harness.running(command, project) as program:
        program.wait_for(r"\nOK\n")
        assert program.process.wait(harness.PATIENCE) == 0
    assert re.search(r"Ran 4 tests", program.log())
