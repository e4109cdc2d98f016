"""Bottle on the HTTP/1.1 server, as its own `run` starts it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support import find_port

from . import harness
from .conftest import Environments
from .harness import APPS, ask, connect, fetch, needs

LOGGED = r'127\.0\.0\.1 - - \[.*\] "GET / HTTP/1\.1" 200 \d+\n'


@pytest.fixture
def python(environments: Environments) -> Path:
    return environments("bottle")


@contextmanager
def cooking(
    python: Path, folder: Path, ends_by: signal.Signals = signal.SIGINT, **options: Any
) -> Iterator[tuple[harness.Program, int]]:
    port = find_port()
    shutil.copy(APPS / "bottle_adapter_app.py", folder / "app.py")
    command = [str(python), "app.py", str(port), json.dumps(options)]
    with harness.running(command, folder, ends_by=ends_by) as program:
        program.wait_until_listening(port)
        yield program, port
    harness.wait_until_refused(port)  # a reloaded process ends a little later


def refusal(python: Path, folder: Path, **options: Any) -> str:
    """Return the last line of what a start with wrong options says."""
    script = str(APPS / "bottle_adapter_app.py")
    command = [str(python), script, "0", json.dumps(options)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Listening" not in done.stderr
    return done.stderr.splitlines()[-1].partition(": ")[2]


def test_connections_are_kept_and_requests_logged(python: Path, tmp_path: Path) -> None:
    with cooking(python, tmp_path) as (program, port):
        connection = connect(port)
        first = json.loads(ask(connection, "/").body)
        assert connection.sock is not None
        assert json.loads(ask(connection, "/").body) == first
        connection.close()
        assert (first["software"], first["multithread"]) == ("wsgiref_fast", False)
        assert program.wait_for("(?s)" + LOGGED + LOGGED)


def test_a_quiet_one_writes_nothing(python: Path, tmp_path: Path) -> None:
    with cooking(python, tmp_path, quiet=True) as (program, port):
        assert fetch(port, "/").status == 200
    assert program.log() == ""


def test_options_of_the_server_are_taken(python: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "threads": 2,
        "server_header": "kitchen",
        "access_log": "json",
        "quiet": True,
    }
    with cooking(python, tmp_path, **options) as (program, port):
        answer = fetch(port, "/")
        assert answer.headers["Server"] == "kitchen"
        assert json.loads(answer.body)["multithread"] is True
        assert program.wait_for(r'^\{"time": .*"target": "/"')


@pytest.mark.parametrize("ends_by", [signal.SIGINT, signal.SIGTERM])
def test_what_is_under_way_is_finished_at_the_end(
    python: Path, tmp_path: Path, ends_by: signal.Signals
) -> None:
    os.mkfifo(tmp_path / "fifo")
    answers: list[bytes] = []
    with cooking(python, tmp_path, threads=1) as (program, port):
        client = threading.Thread(target=lambda: answers.append(fetch(port, "/slow").body))
        client.start()
        program.wait_for("waiting")
        program.process.send_signal(ends_by)
        harness.wait_until_refused(port)
        (tmp_path / "fifo").write_bytes(b"done")
        client.join(harness.PATIENCE)
        assert program.process.wait(harness.PATIENCE) == 0
    assert answers == [b"done"]


def test_changed_code_is_served_after_a_reload(python: Path, tmp_path: Path) -> None:
    with cooking(python, tmp_path, reloader=True, interval=0.1) as (program, port):
        first = json.loads(fetch(port, "/").body)
        script = tmp_path / "app.py"
        script.write_text(script.read_text().replace('EDITION = "first"', 'EDITION = "second"'))
        program.wait_for(r"(?s)starting.*starting", lambda: harness.make_newer(script))
        program.wait_until_listening(port)
        second = json.loads(fetch(port, "/").body)
        assert (first["edition"], second["edition"]) == ("first", "second")
        assert first["process"] != second["process"]


@needs(harness.OPENSSL, "openssl")
def test_tls_is_served_from_files(python: Path, tmp_path: Path) -> None:
    certificate, key = harness.make_certificate(tmp_path)
    options: dict[str, Any] = {"certfile": str(certificate), "keyfile": str(key)}
    with cooking(python, tmp_path, **options) as (_, port):
        connection = connect(port, ssl.create_default_context(cafile=str(certificate)))
        assert json.loads(ask(connection, "/").body)["scheme"] == "https"
        connection.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"thread": 1}, "there is no option 'thread'; did you mean threads?"),
        ({"threads": -1}, "threads must be from 0 to 10000, not -1"),
        ({"keyfile": "k"}, "keyfile needs certfile, the file of its certificate"),
        ({"certfile": "none.pem"}, "certificate file not found: 'none.pem'"),
    ],
)
def test_a_wrong_option_is_told_before_anything_is_served(
    python: Path, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    assert refusal(python, tmp_path, **options) == said


def test_it_can_be_shut_down_from_another_thread(python: Path, tmp_path: Path) -> None:
    script = tmp_path / "shut.py"
    script.write_text(
        "import threading, urllib.request, bottle\n"
        "from wsgiref_fast.bottle import Server\n"
        "server = Server(port=0, access_log='off')\n"
        "thread = threading.Thread(target=server.run, args=(bottle.default_app(),))\n"
        "thread.start()\n"
        "while server.port == 0 and thread.is_alive(): thread.join(0.01)\n"
        "try: urllib.request.urlopen(f'http://127.0.0.1:{server.port}/nothing')\n"
        "except OSError as error: print(error)\n"
        "server.srv.shutdown()\n"
        "thread.join()\n"
    )
    assert harness.run([str(python), str(script)]) == "HTTP Error 404: Not Found\n"
