"""The status page of a server: read by prometheus_client's parser, and shown by a browser."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import find_port

from . import harness
from .conftest import Environments
from .harness import APPS, HOST, needs
from .test_chromium import OPTIONS

needs_chromium = needs(harness.CHROMIUM, "chromium")

REQUESTS = {"/": 7, "/missing": 3, "/broken": 2}
PAGE = "/-/status"


class Site:
    """The running server, and the interpreter that runs it."""

    def __init__(self, python: Path, port: int, is_counted_late: bool) -> None:
        self.python, self.port = str(python), port
        #: Whether what asks for the numbers is not among them: see `StatusPage`.
        self.is_counted_late = is_counted_late

    def request_all(self) -> tuple[int, int]:
        """Make the requests; return how many bytes they have, and their answers."""
        sent = received = 0
        for path, times in REQUESTS.items():
            request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
            for _ in range(times):
                with socket.create_connection((HOST, self.port), harness.PATIENCE) as connection:
                    connection.sendall(request)
                    with connection.makefile("rb") as answer:
                        received += len(answer.read())
                sent += len(request)
        return sent, received

    def scrape(self, path: str) -> Any:
        """Return what prometheus_client makes of the metrics."""
        url = f"http://{HOST}:{self.port}{path}"
        return json.loads(harness.run([self.python, str(APPS / "scrape.py"), url]))

    def load(self, path: str, profile: Path) -> tuple[str, list[str]]:
        """Load a page in a browser; return its document, and what the browser says of it."""
        assert harness.CHROMIUM is not None
        options = [*OPTIONS.split(), "--enable-logging=stderr", f"--user-data-dir={profile}"]
        command = [harness.CHROMIUM, *options, f"http://{HOST}:{self.port}{path}"]
        done = subprocess.run(command, capture_output=True, timeout=90, check=True)
        return done.stdout.decode(), re.findall(r"CONSOLE.*", done.stderr.decode())


@pytest.fixture(
    params=[("pure", 0), ("pure", 2), ("compiled", 0), ("compiled", 2)],
    ids=lambda way: f"{way[0]}-{'threads' if way[1] else 'loop'}",
)
def site(
    request: pytest.FixtureRequest, environments: Environments, tmp_path: Path
) -> Iterator[Site]:
    implementation, threads = request.param
    python, port = environments("prometheus"), find_port()
    if implementation == "compiled" and harness.implementation(str(python)) != "compiled":
        pytest.skip("nothing compiled was built here")
    command = [str(python), str(APPS / "status_app.py"), str(port), str(threads)]
    variables = {"WSGIREF_FAST_IMPL": implementation}
    with harness.running(command, tmp_path, ends_by=signal.SIGTERM, variables=variables) as program:
        program.wait_until_listening(port)  # by a connection, which is counted
        yield Site(python, port, implementation == "compiled" and not threads)
    assert "stopped" in program.log()


@pytest.mark.parametrize("path", [PAGE, f"{PAGE}/metrics"])
def test_prometheus_client_reads_the_exact_numbers(site: Site, path: str) -> None:
    sent, received = site.request_all()
    scraped = site.scrape(path)
    assert scraped["kind"] == "text/plain; version=0.0.4; charset=utf-8"
    families = scraped["families"]
    assert all(family["help"] for family in families.values())
    own = not site.is_counted_late

    def values(name: str, kind: str, label: str | None = None) -> Any:
        family = families.pop(f"wsgiref_fast_{name}")
        assert family["type"] == kind
        total = "_total" if kind == "counter" else ""
        assert {sample[0] for sample in family["samples"]} == {f"wsgiref_fast_{name}{total}"}
        if label is None:
            ((_, labels, value),) = family["samples"]
            assert labels == {}
            return value
        return {labels.pop(label): value for _, labels, value in family["samples"]}

    assert values("requests", "counter") == 12 + own
    assert values("responses", "counter", "status") == {"200": 7, "404": 3, "500": 2}
    assert values("connections_accepted", "counter") == 1 + 12 + 1
    connections = values("connections", "gauge", "state")
    states = {"preface", "handshake", "idle", "reading", "answering", "closing"}
    assert {state: number for state, number in connections.items() if number} == {
        "answering" if own else "idle": 1
    }
    assert connections.keys() == states
    assert values("max_connections", "gauge") == 1000
    assert values("sent_bytes", "counter") == received
    assert sent < values("received_bytes", "counter") < sent + 1000  # what the scrape has sent
    kinds = ("head", "body", "idle", "send", "handshake")
    assert values("timeouts", "counter", "kind") == dict.fromkeys(kinds, 0)
    assert 0 < time.time() - values("start_time_seconds", "gauge") < 600
    assert values("loops", "gauge") == 1
    assert values("threads", "gauge") in (0, 2)
    info = families.pop("wsgiref_fast_info")
    assert (info["type"], info["samples"][0][2]) == ("gauge", 1)
    assert info["samples"][0][1].keys() == {"version", "implementation", "python"}
    assert families == {}


@needs_chromium
def test_a_browser_shows_the_page_and_complains_of_nothing(site: Site, tmp_path: Path) -> None:
    site.request_all()
    document, complaints = site.load(f"{PAGE}?refresh=3600", tmp_path / "profile")
    assert complaints == []
    text = re.sub(r"<style>.*?</style>", "", document, flags=re.DOTALL)
    shown = re.sub(r"(\s*<[^>]*>\s*)+", "|", text)
    assert f"|Requests|{12 + (not site.is_counted_late)}|" in shown
    assert "|200|OK|7|" in shown
    assert "|404|Not Found|3|" in shown
    assert "|500|Internal Server Error|2|" in shown
    assert "|Responses 5xx|2|16.7% of all|" in shown
    assert "|max_connections|1,000|" in shown
    # What it asks for is the page alone: no icon, nothing else.
    responses = site.scrape(f"{PAGE}/metrics")["families"]["wsgiref_fast_responses"]["samples"]
    assert {labels["status"]: value for _, labels, value in responses}["200"] == 8


@needs_chromium
def test_a_complaint_of_the_browser_would_be_seen(site: Site, tmp_path: Path) -> None:
    _, complaints = site.load("/", tmp_path / "profile")
    assert "on purpose" in complaints[0]
