"""Django's development server, as it is and started by ``wsgiref_fast run``."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from . import peers, subjects
from .client import Client
from .inputs import BROWSER
from .processes import clients_apart, pin
from .ratios import Ratios, in_turns

_PROJECT = Path(__file__).with_name("hello_project")
_ROUNDS = 7
_REQUESTS = {"stdlib": 20}  # of which each waits for 40 ms
_REQUEST = BROWSER.replace(b"/shop/items?page=2&sort=price", b"/", 1)
_SERVE = ["manage.py", "runserver", "--noreload", "127.0.0.1:0"]


@contextmanager
def _runserver(subject: str, modules: Path) -> Iterator[int]:
    """Run the development server; yield its port."""
    launcher = [] if subject == "stdlib" else ["-m", "wsgiref_fast", "run"]
    environ = os.environ | {
        "PYTHONPATH": str(modules),
        "PYTHONUNBUFFERED": "1",
        "WSGIREF_FAST_IMPL": "auto" if subject == "stdlib" else subject,
    }
    with subprocess.Popen(
        [peers.PYTHON, *launcher, *_SERVE],
        cwd=_PROJECT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        pin(process)
        try:
            yield _read_port(process)
        finally:
            process.kill()


def _read_port(process: subprocess.Popen[bytes]) -> int:
    """Return the port that the development server says it listens on."""
    assert process.stdout is not None
    for line in process.stdout:
        found = re.search(rb"http://127\.0\.0\.1:(\d+)/", line)
        if found is not None:
            return int(found[1])
    raise AssertionError("the development server did not start")


def test_django(tmp_path: Path, ratios: Ratios) -> None:
    peers.need("django")
    peers.link_package(tmp_path)
    with clients_apart(), ExitStack() as stack:
        timers = {}
        for name in subjects.names():
            client = Client(stack.enter_context(_runserver(name, tmp_path)), _REQUEST)
            stack.callback(client.close)
            response = client.ask()
            assert response.startswith(b"HTTP/1.1 200 OK\r\n")
            assert response.endswith(b"\r\n\r\nHello, world!\n")
            timers[name] = partial(client.time, _REQUESTS.get(name, 200))
        ratios.add("Django's runserver, keep-alive", in_turns(timers, _ROUNDS), rate=True)
