"""The unit files in ``docs/deploy``, and the numbers there that have to fit together."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import socket
from pathlib import Path

import pytest

from wsgiref_fast.server import Options

from . import harness
from .conftest import Environments
from .deployment import DOCS, read_unit
from .harness import APPS, PATIENCE, needs

ANALYZE = shutil.which("systemd-analyze")
ACTIVATE = shutil.which("systemd-socket-activate")

UNITS = ["wsgiref-fast.service", "wsgiref-fast.socket", "wsgiref-fast@.service"]

#: How much of a service is exposed, in tenths of what systemd counts; at most.
_EXPOSURE = 20


@pytest.fixture
def units(tmp_path: Path, environments: Environments) -> Path:
    """Write the units with a program that exists; an instance of the template among them."""
    for name in UNITS:
        text = (DOCS / name).read_text()
        text = text.replace("/srv/app/venv/bin/python", str(environments("bare")))
        (tmp_path / name.replace("@", "@8001")).write_text(text)
    return tmp_path


@needs(ANALYZE, "systemd")
@pytest.mark.parametrize("name", UNITS)
def test_systemd_finds_nothing_wrong_with_a_unit(units: Path, name: str) -> None:
    unit = str(units / name.replace("@", "@8001"))
    assert harness.run([str(ANALYZE), "verify", "--man=no", unit]) == ""


@needs(ANALYZE, "systemd")
@pytest.mark.parametrize("name", [name for name in UNITS if name.endswith(".service")])
def test_a_service_may_do_little(units: Path, name: str) -> None:
    unit = str(units / name.replace("@", "@8001"))
    harness.run([str(ANALYZE), "security", "--offline=true", f"--threshold={_EXPOSURE}", unit])


@needs(ACTIVATE, "systemd")
def test_a_service_serves_on_the_socket_that_systemd_keeps(
    tmp_path: Path, environments: Environments
) -> None:
    (tmp_path / "app.py").write_bytes((APPS / "deployed_app.py").read_bytes())
    listener = read_unit("wsgiref-fast.socket")["ListenStream"]
    path = tmp_path / Path(listener).name
    program, *arguments = shlex.split(read_unit("wsgiref-fast.service")["ExecStart"])
    assert program == "/srv/app/venv/bin/python"
    command = [str(ACTIVATE), "--listen", str(path), "--setenv=DEPLOYED_VERSION=1"]
    command += ["--setenv=PYTHONDONTWRITEBYTECODE=1", str(environments("bare")), *arguments]
    with harness.running(command, tmp_path, ends_by=signal.SIGTERM) as program_run:
        program_run.wait_for("Listening on")
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(str(path))
            client.sendall(b"GET / HTTP/1.0\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n")
            with client.makefile("rb") as answer:
                body = answer.read().partition(b"\r\n\r\n")[2]
    assert json.loads(body)["address"] == "192.0.2.7"


# Numbers


def _read_number(name: str, pattern: str) -> int:
    found = re.search(pattern, (DOCS / name).read_text(), re.DOTALL)
    assert found is not None
    return int(found[1])


def test_a_proxy_closes_idle_connections_before_the_server_does() -> None:
    upstream = _read_number("nginx.conf", r"upstream .*?keepalive_timeout (\d+)s")
    assert upstream < Options.keep_alive_timeout
    assert _read_number("haproxy.cfg", r"pool-purge-delay (\d+)s") < Options.keep_alive_timeout


def test_a_proxy_takes_no_longer_bodies_than_the_server() -> None:
    assert _read_number("nginx.conf", r"client_max_body_size (\d+)m") << 20 <= Options.max_body
    assert _read_number("haproxy.cfg", r"content-length\) gt (\d+)") <= Options.max_body


@pytest.mark.parametrize("name", [name for name in UNITS if name.endswith(".service")])
def test_systemd_waits_until_what_is_under_way_is_finished(name: str) -> None:
    unit = read_unit(name)
    assert int(unit["TimeoutStopSec"]) > Options.shutdown_timeout
    assert unit["KillSignal"] == "SIGTERM"
