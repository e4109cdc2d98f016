"""Flask on the HTTP/1.1 server: `run`, and the command of ``flask``."""

from __future__ import annotations

import json
import shutil
import signal
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support import find_port

from . import harness
from .conftest import Environments
from .harness import APPS, ask, connect, fetch, needs


@pytest.fixture
def python(environments: Environments) -> Path:
    return environments("flask")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(APPS / "flask_run_app.py", tmp_path / "app.py")
    return tmp_path


@contextmanager
def shop(
    command: list[str], folder: Path, ends_by: signal.Signals = signal.SIGINT
) -> Iterator[tuple[harness.Program, int]]:
    """Run a command; ``PORT`` in it is replaced."""
    port = find_port()
    command = [word.replace("PORT", str(port)) for word in command]
    with harness.running(command, folder, ends_by=ends_by) as program:
        program.wait_until_listening(port)
        yield program, port
    harness.wait_until_refused(port)  # the reloader's own process has ended as well


def script(python: Path, **options: Any) -> list[str]:
    return [str(python), "app.py", "PORT", json.dumps(options)]


def flask(python: Path, *words: str) -> list[str]:
    return [str(python), "-m", "flask", "--app", "app", *words]


def tell(port: int) -> dict[str, Any]:
    testimony: dict[str, Any] = json.loads(fetch(port, "/").body)
    return testimony


WAYS: dict[str, Callable[[Path], list[str]]] = {
    "run": lambda python: script(python),
    "command": lambda python: flask(python, "fast", "--port", "PORT"),
}
DEBUG_WAYS: dict[str, Callable[[Path], list[str]]] = {
    "run": lambda python: script(python, debug=True),
    "command": lambda python: flask(python, "--debug", "fast", "--port", "PORT"),
}


@pytest.mark.parametrize("way", WAYS)
def test_connections_are_kept_and_requests_logged(python: Path, folder: Path, way: str) -> None:
    with shop(WAYS[way](python), folder) as (program, port):
        connection = connect(port)
        first = json.loads(ask(connection, "/").body)
        assert connection.sock is not None
        assert json.loads(ask(connection, "/").body) == first
        connection.close()
        assert (first["software"], first["multithread"]) == ("wsgiref_fast", True)
        assert first["debug"] is False
        assert program.wait_for(r'127\.0\.0\.1 - - \[.*\] "GET / HTTP/1\.1" 200 \d+\n')
        assert program.wait_for(rf"Serving Flask app '.*app'(?s:.)*http://127\.0\.0\.1:{port} ")


@pytest.mark.parametrize("way", WAYS)
def test_without_debug_mode_an_error_is_not_shown(python: Path, folder: Path, way: str) -> None:
    with shop(WAYS[way](python), folder, signal.SIGTERM) as (program, port):
        answer = fetch(port, "/broken")
        program.excuse("LookupError: provoked\n")
        assert (answer.status, b"LookupError" in answer.body) == (500, False)


@pytest.mark.parametrize("way", DEBUG_WAYS)
def test_the_debugger_shows_an_error(python: Path, folder: Path, way: str) -> None:
    with shop(DEBUG_WAYS[way](python), folder) as (program, port):
        answer = fetch(port, "/broken")
        program.excuse("LookupError: provoked\n")
        assert answer.status == 500
        assert b"LookupError: provoked" in answer.body
        script = fetch(port, "/?__debugger__=yes&cmd=resource&f=debugger.js")
        assert (script.status, b"promptForPin" in script.body) == (200, True)
        assert tell(port)["debug"] is True


@pytest.mark.parametrize("ends_by", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("way", DEBUG_WAYS)
def test_changed_code_is_served_after_a_reload_and_nobody_is_refused(
    python: Path, folder: Path, way: str, ends_by: signal.Signals
) -> None:
    with shop(DEBUG_WAYS[way](python), folder, ends_by) as (program, port):
        seen = [tell(port)]
        has_changed = threading.Event()  # or the test has failed

        def keep_asking() -> None:
            while not has_changed.is_set():
                seen.append(tell(port))
                if seen[-1]["edition"] == "second":
                    has_changed.set()

        client = threading.Thread(target=keep_asking)
        client.start()
        app = folder / "app.py"
        app.write_text(app.read_text().replace('EDITION = "first"', 'EDITION = "second"'))
        try:
            program.wait_for(r"app\.py', reloading", lambda: harness.make_newer(app))
            assert has_changed.wait(harness.PATIENCE)
        finally:
            has_changed.set()
            client.join()
        assert [seen[0]["edition"], seen[-1]["edition"]] == ["first", "second"]
        assert seen[0]["process"] != seen[-1]["process"]


def test_a_mistake_is_shown_after_a_reload_and_mended_by_the_next(
    python: Path, folder: Path
) -> None:
    with shop(DEBUG_WAYS["command"](python), folder) as (program, port):
        tell(port)
        app = folder / "app.py"
        code = app.read_text()
        app.write_text(code + "\n)")
        program.wait_for(r"app\.py', reloading", lambda: harness.make_newer(app))
        program.excuse("SyntaxError: unmatched")
        answer = fetch(port, "/")
        assert (answer.status, b"SyntaxError: unmatched" in answer.body) == (500, True)
        program.excuse("SyntaxError: unmatched")
        app.write_text(code)
        program.wait_for(r"app\.py', reloading", lambda: harness.make_newer(app))
        program.wait_for("(?s)reloading.*Debugger is active")
        assert fetch(port, "/").status == 200


def test_what_the_application_starts_does_not_listen_too(python: Path, folder: Path) -> None:
    with shop(script(python, debug=True), folder) as (_, port):
        assert json.loads(fetch(port, "/inheritable").body) == []


def test_options_of_the_server_are_taken(python: Path, folder: Path) -> None:
    command = script(python, threads=0, access_log="off", server_header="shop")
    with shop(command, folder) as (program, port):
        assert tell(port)["multithread"] is False
        assert fetch(port, "/").headers["Server"] == "shop"
    assert "GET" not in program.log()


@needs(harness.OPENSSL, "openssl")
@pytest.mark.parametrize("way", WAYS)
def test_tls_is_served_from_files(python: Path, folder: Path, way: str) -> None:
    certificate, key = (str(file) for file in harness.make_certificate(folder))
    command = {
        "run": script(python, certfile=certificate, keyfile=key),
        "command": [
            *flask(python, "fast", "--port", "PORT"),
            "--certfile",
            certificate,
            "--keyfile",
            key,
        ],
    }[way]
    with shop(command, folder) as (program, port):
        connection = connect(port, ssl.create_default_context(cafile=certificate))
        assert json.loads(ask(connection, "/").body)["scheme"] == "https"
        connection.close()
        assert program.wait_for(f"https://127.0.0.1:{port} ")


def refused(command: list[str], folder: Path) -> tuple[int, str]:
    """Return the exit status and the last line of a start that fails."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr.splitlines()[-1]


def test_an_address_that_is_taken_is_told_in_a_line(python: Path, folder: Path) -> None:
    with shop(script(python), folder) as (_, port):
        told = f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another address"
        for way in WAYS.values():
            command = [word.replace("PORT", str(port)) for word in way(python)]
            assert refused(command, folder) == (1, told)


@pytest.mark.parametrize(
    ("host", "written"), [("2001:db8::1", "[2001:db8::1]:4711"), ("fd://77", "fd://77")]
)
def test_an_address_is_told_as_it_is_written(
    python: Path, folder: Path, host: str, written: str
) -> None:
    command = [word.replace("PORT", "4711") for word in script(python, host=host)]
    code, line = refused(command, folder)
    assert code == 1
    assert line.startswith(f"cannot listen on {written}: ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--keyfile", "k"], "keyfile needs certfile, the file of its certificate"),
        (["--certfile", "none.pem"], "certificate file not found: 'none.pem'"),
        (["--threads", "-1"], "Invalid value for '--threads': -1 is not in the range x>=0."),
        (["--port", "70000"], "Invalid value for '--port' / '-p': 70000 is not in the range"),
    ],
)
def test_a_wrong_option_of_the_command_is_told_in_a_line(
    python: Path, folder: Path, words: list[str], said: str
) -> None:
    status, line = refused(flask(python, "fast", *words), folder)
    assert (status, line[: len(f"Error: {said}")]) == (2, f"Error: {said}")


def test_an_option_that_is_none_is_told_with_the_nearest(python: Path, folder: Path) -> None:
    status, line = refused([*script(python)[:2], "0", '{"thread": 2}'], folder)
    assert (status, line) == (1, "TypeError: there is no option 'thread'; did you mean threads?")


def test_the_flask_command_does_not_run_what_the_program_would(python: Path, folder: Path) -> None:
    command = flask(python, "routes")
    with harness.running(command, folder, variables={"RUN_ANYHOW": '["0", "{}"]'}) as program:
        program.wait_for("Guard it: if __name__ == '__main__'")
        program.wait_for("/broken")
        assert program.process.wait(harness.PATIENCE) == 0
