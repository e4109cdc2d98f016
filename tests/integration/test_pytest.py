"""pytest's fixture as a new user has it: installed, and nothing said to pytest."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from .conftest import Environments
from .harness import PATIENCE

_TESTS = """
import urllib.request

import pytest

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")][:environ["PATH_INFO"] != "/wrong"])
    return [b"Hello"]

@pytest.mark.parametrize("number", range(20))
def test_hello(live_wsgi_server, number):
    servers = [live_wsgi_server(app), live_wsgi_server(app, threads=2)]
    for server in servers:
        with urllib.request.urlopen(server.url_for(f"/{number}")) as answer:
            assert answer.read() == b"Hello"
        assert [request.path for request in server.requests] == [f"/{number}"]

def test_wrong(live_wsgi_server):
    urllib.request.urlopen(live_wsgi_server(app).url_for("/wrong")).close()
"""


def run(python: Path, folder: Path, *options: str) -> str:
    """Run the tests; return what pytest says of them."""
    (folder / "test_shop.py").write_text(_TESTS)
    variables = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    command = [str(python), "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", *options]
    done = subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("options", [[], ["-n", "2"]], ids=["one process", "xdist"])
def test_the_fixture_is_there(
    environments: Environments, tmp_path: Path, options: list[str]
) -> None:
    output = run(environments("pytest"), tmp_path, *options)
    assert "21 passed, 1 error in" in output
    assert "GET /wrong: A response with a body should have a Content-Type header" in output


def test_pytest_names_the_plugin(environments: Environments, tmp_path: Path) -> None:
    output = run(environments("pytest"), tmp_path)
    assert "wsgiref_fast-" in output.partition("\nplugins: ")[2].partition("\n")[0]
