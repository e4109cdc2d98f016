"""`--reload` as developers use it: from a folder with a file; with watchfiles, and without."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import find_port

from . import harness
from .conftest import Environments

PAGE = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"{version}"]
"""

#: Environments, and what tells of changes in each.
MEANS = {"watchfiles": "watchfiles", "bare": "polling"}


class Site:
    """The folder of a developer, and the server that runs in it."""

    def __init__(self, program: harness.Program, port: int, file: Path) -> None:
        self.program = program
        self.port = port
        self._file = file

    def write(self, text: str) -> None:
        self._file.write_text(text, "utf-8")

    def serve(self, version: str) -> None:
        """Write a version, and wait until it is served."""
        self.write(PAGE.format(version=version))
        while self.version() != version:
            pass

    def version(self) -> str:
        return harness.fetch(self.port, "/").body.decode()


@pytest.fixture(params=MEANS)
def site(
    request: pytest.FixtureRequest, environments: Environments, tmp_path: Path
) -> Iterator[Site]:
    file = tmp_path / "app.py"
    file.write_text(PAGE.format(version="1"), "utf-8")
    port = find_port()
    python = str(environments(request.param))
    command = [python, "-m", "wsgiref_fast", "app:app", "--reload", "--bind", f"127.0.0.1:{port}"]
    with harness.running(command, tmp_path) as program:
        program.wait_for(f"reload: watching 1 file in .+, by {MEANS[request.param]}\n")
        program.wait_until_listening(port)
        yield Site(program, port, file)


def test_an_edit_is_served_and_one_that_fails_is_not(site: Site) -> None:
    assert site.version() == "1"
    site.serve("2")
    site.write("def app(:\n")
    site.program.wait_for(r"SyntaxError[^$]+the old code serves on")
    assert site.version() == "2"
    site.serve("3")
    # Who looks between the emptying of a file and its writing has seen two changes.
    assert site.program.log().count("reload: app.py changed\n") >= 3


def test_no_request_fails_while_code_is_replaced(site: Site) -> None:
    ended = threading.Event()
    seen: list[str] = []
    failures: list[Exception] = []

    def ask() -> None:
        while not ended.is_set():
            try:
                seen.append(site.version())
            except Exception as error:
                failures.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for number in range(2, 7):
            site.serve(str(number))
    finally:
        ended.set()
        asking.join(harness.PATIENCE)
    assert not failures
    assert set(seen) <= set("123456")
