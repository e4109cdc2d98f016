"""Several servers behind nginx and HAProxy, under load, while some end and come again.

They run by the configurations and units in ``docs/deploy``.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from support import wait_until

from . import harness
from .conftest import Environments
from .deployment import PROXIES, Site, run_site
from .harness import needs
from .load import Load

pytestmark = needs(harness.OPENSSL, "openssl")


@pytest.fixture(params=PROXIES)
def site(
    request: pytest.FixtureRequest, environments: Environments, tmp_path: Path
) -> Iterator[Site]:
    kind, document = request.param
    with run_site(kind, document, tmp_path, environments("bare")) as site:
        yield site


class Held(NamedTuple):
    """A request that a server works on until it is released."""

    pid: int
    thread: threading.Thread
    answers: list[harness.Response]

    def answer(self) -> harness.Response:
        self.thread.join(harness.PATIENCE)
        (answer,) = self.answers
        return answer


def _hold(site: Site, method: str, folder: Path) -> Held:
    """Make a request; wait until a server has begun to work on it."""
    answers: list[harness.Response] = []
    folder.mkdir()
    thread = threading.Thread(
        target=lambda: answers.append(site.ask(f"/hold?{folder}", method)), daemon=True
    )
    thread.start()
    wait_until(lambda: any(folder.glob("held-*")))
    (mark,) = folder.glob("held-*")
    return Held(int(mark.name.partition("-")[2]), thread, answers)


# One is killed, one restarts, all of them get a new version


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_only_requests_in_flight_on_a_killed_server_fail(
    site: Site, tmp_path: Path, method: str
) -> None:
    with Load(site.proxy.connect) as load:
        load.wait_for_more()
        held = _hold(site, method, tmp_path / "held")
        site.of_process(held.pid).kill()
        gone_at = time.monotonic()
        (tmp_path / "held" / "release").touch()
        answer = held.answer()
        load.wait_for_more(1000)
    print(load)  # for pytest -rP
    if method == "POST":
        assert answer.status == 502
    else:
        assert json.loads(answer.body)["pid"] != held.pid
    if site.kind == "nginx":  # HAProxy repeats nothing that was reset
        assert {failure.method for failure in load.failures} <= {"POST"}
    assert all(failure.begun < gone_at for failure in load.failures), load.failures
    assert len({failure.client for failure in load.failures}) == len(load.failures)


def test_a_server_that_restarts_costs_no_request(site: Site, tmp_path: Path) -> None:
    with Load(site.proxy.connect) as load:
        load.wait_for_more()
        held = _hold(site, "POST", tmp_path / "held")
        backend = site.of_process(held.pid)
        backend.tell_to_stop()
        wait_until(lambda: not harness.is_listening(backend.port))
        load.wait_for_more()
        (tmp_path / "held" / "release").touch()
        assert json.loads(held.answer().body)["pid"] == held.pid
        backend.stop()
        load.wait_for_more()
        backend.start("1")
        load.wait_for(backend.pid)
    print(load)  # for pytest -rP
    assert load.failures == []


def test_an_upgrade_of_one_after_the_other_costs_no_request(site: Site) -> None:
    with Load(site.proxy.connect) as load:
        load.wait_for_more()
        for number, backend in enumerate(site.backends):
            if site.kind == "haproxy":
                site.drain(number)
            backend.stop()
            backend.start("2")
            if site.kind == "haproxy":
                site.proxy.tell(f"set server application/app{number + 1} state ready")
            load.wait_for(backend.pid)
        old = load.answered["1"]
        load.wait_for_more()
        assert load.answered["1"] == old
    print(load)  # for pytest -rP
    assert load.failures == []
    versions = {json.loads(site.ask("/").body)["version"] for _ in range(12)}
    assert versions == {"2"}
