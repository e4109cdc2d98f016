"""Django with the package among its applications: `runserver`, live-server tests, the check."""

from __future__ import annotations

import json
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import find_port

from . import harness
from .conftest import Environments
from .harness import APPS, ask, connect, fetch

#: The environments, each with a version of Django.
VERSIONS = ["django42", "django"]

#: How a client of TLS begins to speak, up to the first byte that ends a line.
HELLO = bytes.fromhex("16030100c0010000bc0303") + b"r" * 32 + b"\n"


class Site:
    """A project that is served."""

    def __init__(self, program: harness.Program, port: int, options: list[str]) -> None:
        self.program, self.port, self.options = program, port, options
        self.is_threaded = "--nothreading" not in options


def lay_out(folder: Path) -> Path:
    project = folder / "project"
    shutil.copytree(APPS / "django_project", project)
    return project


def serve(
    python: Path,
    folder: Path,
    *options: str,
    settings: str = "settings_fast",
    launcher: list[str] | None = None,
) -> Iterator[Site]:
    port = find_port()
    address = f"{harness.HOST}:{port}"
    start = launcher or [str(python), "-m", "django"]
    command = [*start, "runserver", address, "--settings", settings, *options]
    with harness.running(command, lay_out(folder), variables={"PYTHONPATH": f"{APPS}:."}) as it:
        it.wait_until_listening(port)
        yield Site(it, port, list(options))
    assert not harness.is_listening(port)


WAYS = {"as is": [], "no reloader": ["--noreload"], "no threads": ["--noreload", "--nothreading"]}


@pytest.fixture(scope="module", params=[(v, w) for v in VERSIONS for w in WAYS], ids="-".join)
def site(
    request: pytest.FixtureRequest,
    environments: Environments,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    version, way = request.param
    yield from serve(environments(version), tmp_path_factory.mktemp("django"), *WAYS[way])


@pytest.fixture(params=VERSIONS)
def python(request: pytest.FixtureRequest, environments: Environments) -> Path:
    return environments(request.param)


def tell(port: int, path: str = "/witness") -> dict[str, Any]:
    testimony: dict[str, Any] = json.loads(fetch(port, path).body)
    return testimony


def test_requests_are_run_by_the_package(site: Site) -> None:
    testimony = tell(site.port)
    assert harness.is_ours(testimony["handler"])
    assert testimony["implementation"] == harness.implementation(testimony["python"])
    assert testimony["multithread"] == site.is_threaded


def test_requests_share_a_connection_even_without_threads(site: Site) -> None:
    connection = connect(site.port)
    sockets = []
    for path, method in [("/", "GET"), ("/", "HEAD"), ("/static/site.css", "GET")]:
        assert ask(connection, path, method).status == 200
        sockets.append(connection.sock)
    connection.close()
    assert sockets[0] is not None
    assert len(set(sockets)) == 1


def test_static_files_are_served(site: Site) -> None:
    expected = (APPS / "django_project" / "static" / "site.css").read_bytes()
    assert fetch(site.port, "/static/site.css").body == expected


def test_requests_are_lines_of_djangos_log(site: Site) -> None:
    assert fetch(site.port, "/headers?logged=here").status == 200
    line = r'\[\d\d/\w{3}/\d{4} \d\d:\d\d:\d\d\] "GET /headers\?logged=here HTTP/1\.1" 200 \d+\n'
    assert site.program.wait_for(line)


def test_a_client_that_speaks_tls_leaves_a_hint(site: Site) -> None:
    with socket.create_connection((harness.HOST, site.port), harness.PATIENCE) as client:
        client.sendall(HELLO)
        assert b"Bad request" in client.recv(65536)
    assert site.program.wait_for("accessing the development server over HTTPS, but it only")


def test_an_exception_is_djangos_to_answer(site: Site) -> None:
    answer = fetch(site.port, "/broken")
    site.program.excuse("LookupError: provoked\n")
    assert (answer.status, b"LookupError" in answer.body) == (500, True)


def test_a_large_upload_that_is_refused_costs_no_answer(site: Site) -> None:
    assert fetch(site.port, "/unread", "POST", b"x" * (6 << 20)).status == 403


def test_static_files_can_be_left_out(python: Path, tmp_path: Path) -> None:
    for site in serve(python, tmp_path, "--noreload", "--nostatic"):
        assert fetch(site.port, "/static/site.css").status == 404


@pytest.mark.parametrize("settings", ["settings_shop", "settings_shop_alone"])
def test_a_command_and_a_server_class_derived_from_djangos_are_kept(
    python: Path, tmp_path: Path, settings: str
) -> None:
    for site in serve(python, tmp_path, "--noreload", settings=settings):
        assert fetch(site.port, "/static/site.css").status == 200
        testimony = tell(site.port)
        assert testimony["server"] == "ShopServer"
        assert harness.is_ours(testimony["handler"])


def test_the_launcher_and_the_application_go_together(python: Path, tmp_path: Path) -> None:
    launcher = harness.launch(python, "manage.py")
    for site in serve(python, tmp_path, "--noreload", launcher=launcher):
        assert harness.is_ours(tell(site.port)["handler"])


def test_changed_code_is_served_after_a_reload(python: Path, tmp_path: Path) -> None:
    pages = tmp_path / "project" / "pages.py"
    for site in serve(python, tmp_path):
        first = tell(site.port)
        pages.write_text(pages.read_text().replace('EDITION = "first"', 'EDITION = "second"'))
        site.program.wait_for(r"pages\.py changed, reloading", lambda: harness.make_newer(pages))
        site.program.wait_for(r"(?s)reloading.*Starting (WSGI )?development server")
        site.program.wait_until_listening(site.port)
        second = tell(site.port)
        assert (first["edition"], second["edition"]) == ("first", "second")
        assert harness.is_ours(second["handler"])


@pytest.mark.parametrize("settings", ["settings_fast", "settings_shop", "settings_late"])
def test_the_check_warns_where_another_runserver_hides_ours(
    python: Path, tmp_path: Path, settings: str
) -> None:
    project = lay_out(tmp_path)
    command = [str(python), "-m", "django", "check", "--settings", settings]
    with harness.running(command, project, variables={"PYTHONPATH": f"{APPS}:."}) as program:
        program.wait_for("System check identified")
        assert program.process.wait(harness.PATIENCE) == 0
        said = re.findall(r"wsgiref_fast\.W\d+|HINT: .*|(?<=that of )\S+(?=,)", program.log())
        if settings == "settings_late":
            program.excuse("W001")
    hint = "HINT: Put 'wsgiref_fast.django' at the top of INSTALLED_APPS."
    warned = ["wsgiref_fast.W001", "'django.contrib.staticfiles'", hint]
    assert said == (warned if settings == "settings_late" else [])


def test_live_server_tests_pass(python: Path, tmp_path: Path) -> None:
    project = lay_out(tmp_path)
    command = [str(python), "-m", "django", "test", "fast_live", "--settings", "settings_fast"]
    with harness.running(command, project, variables={"PYTHONPATH": f"{APPS}:."}) as program:
        program.wait_for(r"\nOK\n")
        assert program.process.wait(harness.PATIENCE) == 0
        assert "Ran 8 tests" in program.log()
