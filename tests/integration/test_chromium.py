"""A browser that loads a page of 40 assets from a server that has one thread.

A browser opens connections on the off chance and says nothing on them; so do the idle
clients here. One that is waited for would hold up all the others.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from . import harness
from .conftest import Environments
from .harness import APPS, fetch, needs

pytestmark = needs(harness.CHROMIUM, "chromium")

IDLE = 20
ASSETS = {f"/asset/{n}.gif" for n in range(30)} | {
    f"/asset/{n}.{kind}" for n in range(5) for kind in ("js", "css")
}

#: Headless, alone, and printing the document as it is in the end.
OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--disable-default-apps --disable-extensions --no-proxy-server --dump-dom"
)


@pytest.fixture(params=["HTTP/1.0", "HTTP/1.1"])
def port(
    request: pytest.FixtureRequest, environments: Environments, tmp_path: Path
) -> Iterator[int]:
    script = str(APPS / "browser_app.py")
    command = harness.launch(environments("bare"), script, request.param)
    with harness.running(command, tmp_path) as program:
        yield program.wait_for_port()
    assert "stopped" in program.log()


@pytest.fixture
def idle(port: int) -> Iterator[list[socket.socket]]:
    """Hold connections open and send nothing on them."""
    with ExitStack() as stack:
        address = (harness.HOST, port)
        yield [stack.enter_context(socket.create_connection(address)) for _ in range(IDLE)]


def load(port: int, profile: Path) -> str:
    """Load the page and return its document, as it is once everything has been loaded."""
    assert harness.CHROMIUM is not None
    url = f"http://{harness.HOST}:{port}/"
    command = [harness.CHROMIUM, *OPTIONS.split(), f"--user-data-dir={profile}", url]
    done = subprocess.run(command, capture_output=True, timeout=90, check=True)
    return done.stdout.decode()


def test_a_page_and_its_assets_load_while_idle_connections_stand_open(
    port: int, idle: list[socket.socket], tmp_path: Path
) -> None:
    document = load(port, tmp_path / "profile")
    report = re.search(r'<p id="report">(.*)</p>', document)
    assert report is not None, document
    assert report[1] == f"loaded {len(ASSETS)}, failed 0, scripts 5"
    account = json.loads(fetch(port, "/report").body)
    assert harness.is_ours(account["witness"]["handler"])
    assert account["witness"]["multithread"] is False
    assert {path: account["served"].get(path) for path in ASSETS} == dict.fromkeys(ASSETS, 1)
    for connection in idle:  # none was closed on, none was answered
        connection.setblocking(False)
        with pytest.raises(BlockingIOError):
            connection.recv(1)


def test_an_idle_connection_is_served_once_it_speaks(port: int, idle: list[socket.socket]) -> None:
    for connection in idle:
        connection.settimeout(harness.PATIENCE)
        connection.sendall(b"GET /asset/1.gif HTTP/1.0\r\n\r\n")
        with connection.makefile("rb") as answer:
            assert answer.read().endswith(b"\x3b")
