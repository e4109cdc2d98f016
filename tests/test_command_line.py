"""``python -m wsgiref_fast``, and what it hands on to the programs that it starts."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import wsgiref_fast
from cli import only_if
from support import PATIENCE, has_ipv6

LAUNCHER = ("-W", "error", "-m", "wsgiref_fast")

#: A program that tells how it was started.
TELL = """
import json, os, sys
print(json.dumps({
    "arguments": sys.argv,
    "path": sys.path,
    "name": __name__,
    "file": os.path.normpath(__file__),
    "package": __package__,
    "spec": __spec__ and __spec__.name,
    "is __main__": sys.modules["__main__"].__dict__ is globals(),
}))
"""


def clean_environ(**environ: str) -> dict[str, str]:
    ours = {"PYTHONPATH", "PYTHONWARNINGS", "PYTHONSAFEPATH", "WSGIREF_FAST_RUN"}
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return {**kept, **environ}


def python(
    *arguments: str, folder: Path | None = None, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run Python to its end, in a folder."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=clean_environ(**environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


# run: what a program finds


def told_by(*arguments: str, folder: Path) -> Any:
    done = python(*arguments, folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Make a folder of programs that tell how they were started."""
    (tmp_path / "inner" / "package").mkdir(parents=True)
    for name in ("program.py", "inner/program.py", "package/__init__.py", "package/__main__.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("" if path.name == "__init__.py" else TELL, "utf-8")
    return tmp_path


@pytest.mark.parametrize("options", [(), ("-P",)], ids=["", "-P"])
@pytest.mark.parametrize(
    "command",
    [
        ("program.py",),
        ("program.py", "one", "--two", "-m", "three"),
        ("inner/program.py", "run"),
        ("./inner/../program.py",),
    ],
    ids=" ".join,
)
def test_a_script_finds_all_as_if_python_had_started_it(
    programs: Path, command: tuple[str, ...], options: tuple[str, ...]
) -> None:
    expected = told_by(*options, *command, folder=programs)
    assert expected["name"] == "__main__"
    assert told_by(*options, *LAUNCHER, "run", *command, folder=programs) == expected


def test_a_script_that_is_named_absolutely_finds_all_the_same(programs: Path) -> None:
    program = str(programs / "inner" / "program.py")
    expected = told_by(program, "x", folder=programs)
    assert told_by(*LAUNCHER, "run", program, "x", folder=programs) == expected


@pytest.mark.parametrize(
    "command",
    [("program",), ("program", "one", "--two", "-m"), ("inner.program", "run"), ("package", "x")],
    ids=" ".join,
)
def test_a_module_finds_all_as_if_python_had_started_it(
    programs: Path, command: tuple[str, ...]
) -> None:
    expected = told_by("-m", *command, folder=programs)
    assert expected["name"] == "__main__"
    assert told_by(*LAUNCHER, "run", "-m", *command, folder=programs) == expected


@only_if(hasattr(os, "symlink") and sys.platform != "win32")
def test_a_script_behind_a_link_finds_its_neighbours(programs: Path) -> None:
    (programs / "links").mkdir()
    (programs / "links" / "program.py").symlink_to(programs / "inner" / "program.py")
    expected = told_by("links/program.py", folder=programs)
    assert expected["path"][0] == str((programs / "inner").resolve())
    assert told_by(*LAUNCHER, "run", "links/program.py", folder=programs) == expected


def test_a_program_imports_this_package_as_wsgiref(tmp_path: Path) -> None:
    program = "import wsgiref.simple_server as s; print(s.__name__, s.make_server.__module__)"
    (tmp_path / "program.py").write_text(program, "utf-8")
    done = python(*LAUNCHER, "run", "program.py", folder=tmp_path)
    output = "wsgiref_fast.simple_server wsgiref.simple_server\n"
    assert (done.stdout, done.stderr) == (output, "")


# run: how a program ends


@pytest.mark.parametrize("form", [("program.py",), ("-m", "program")], ids=" ".join)
@pytest.mark.parametrize(
    ("program", "status", "last_line"),
    [
        ("pass", 0, ""),
        ("raise SystemExit(3)", 3, ""),
        ("raise SystemExit('enough')", 1, "enough"),
        ("raise ValueError('oh')", 1, "ValueError: oh"),
        ("import nonsense", 1, "ModuleNotFoundError: No module named 'nonsense'"),
    ],
)
def test_a_program_ends_as_it_would(
    tmp_path: Path, form: tuple[str, ...], program: str, status: int, last_line: str
) -> None:
    (tmp_path / "program.py").write_text(program, "utf-8")
    done = python(*LAUNCHER, "run", *form, folder=tmp_path)
    assert done.returncode == status
    assert (done.stderr.splitlines() or [""])[-1] == last_line


@pytest.mark.parametrize("command", [(), ("-m",), ("--nonsense",), ("-m", "--nonsense")])
def test_run_without_a_program_says_how_to_use_it(command: tuple[str, ...]) -> None:
    done = python(*LAUNCHER, "run", *command)
    assert done.stderr.startswith("usage: python -m wsgiref_fast run script.py")
    assert done.stderr.splitlines()[-1] == "run: a script or -m and a module are needed"
    assert (done.returncode, done.stdout) == (2, "")


def test_run_says_which_file_is_missing(tmp_path: Path) -> None:
    done = python(*LAUNCHER, "run", "nonsense.py", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "wsgiref_fast run: there is no file 'nonsense.py'\n"


def test_run_says_that_an_application_is_no_program(tmp_path: Path) -> None:
    done = python(*LAUNCHER, "run", "hello:app", folder=tmp_path)
    assert done.returncode == 2
    assert "an application is served without run" in done.stderr


def test_run_tells_how_to_use_it_where_asked() -> None:
    done = python(*LAUNCHER, "run", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: python -m wsgiref_fast run script.py")


def test_run_says_which_module_is_missing(tmp_path: Path) -> None:
    done = python(*LAUNCHER, "run", "-m", "nonsense", folder=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "there is no module 'nonsense'" in line


# run: programs that start themselves again

RESTART = """
import os, subprocess, sys, wsgiref.util
print(wsgiref.util.__name__, sys.argv[1:], flush=True)
if len(sys.argv) < 3:
    subprocess.run({command} + ["again"], check=True)
"""

COMMANDS = {
    "as Django does": "[sys.executable] + sys.argv",
    "with options": "[sys.executable, '-W', 'error', '-u'] + sys.argv",
    "by the whole command line": "[sys.executable] + sys.orig_argv[1:]",
}
MODULE_COMMANDS = {
    "as Django does": "[sys.executable, '-m', __spec__.name] + sys.argv[1:]",
    "by the whole command line": "[sys.executable] + sys.orig_argv[1:]",
}

BOTH = "wsgiref_fast.util ['x']\nwsgiref_fast.util ['x', 'again']\n"


@pytest.mark.parametrize("way", COMMANDS)
def test_a_script_that_restarts_itself_keeps_this_package(tmp_path: Path, way: str) -> None:
    (tmp_path / "program.py").write_text(RESTART.format(command=COMMANDS[way]), "utf-8")
    done = python(*LAUNCHER, "run", "program.py", "x", folder=tmp_path)
    assert (done.stdout, done.stderr) == (BOTH, "")


@pytest.mark.parametrize("way", MODULE_COMMANDS)
def test_a_module_that_restarts_itself_keeps_this_package(tmp_path: Path, way: str) -> None:
    (tmp_path / "program.py").write_text(RESTART.format(command=MODULE_COMMANDS[way]), "utf-8")
    done = python(*LAUNCHER, "run", "-m", "program", "x", folder=tmp_path)
    assert (done.stdout, done.stderr) == (BOTH, "")


def test_restarts_do_not_lengthen_the_environment(tmp_path: Path) -> None:
    program = """
import os, subprocess, sys
print(os.environ["PYTHONPATH"], flush=True)
if len(sys.argv) < 4:
    subprocess.run([sys.executable, *sys.orig_argv[1:], "again"], check=True)
"""
    (tmp_path / "program.py").write_text(program, "utf-8")
    done = python(*LAUNCHER, "run", "program.py", "x", folder=tmp_path)
    assert len(done.stdout.splitlines()) == 3
    assert len(set(done.stdout.splitlines())) == 1


def test_another_python_that_a_program_starts_is_left_alone(tmp_path: Path) -> None:
    program = """
import subprocess, sys
child = '''
import sys, wsgiref.util
print(wsgiref.util.__name__, "wsgiref_fast" in sys.modules, [p for p in sys.path if "startup" in p])
'''
subprocess.run([sys.executable, "-c", child], check=True)
"""
    (tmp_path / "program.py").write_text(program, "utf-8")
    done = python(*LAUNCHER, "run", "program.py", folder=tmp_path)
    assert (done.stdout, done.stderr) == ("wsgiref.util False []\n", "")


@pytest.mark.parametrize(
    "command", ["[sys.executable] + sys.argv", "[sys.executable, '-c', 'x=0']"]
)
def test_a_sitecustomize_of_the_user_runs_in_each_python(tmp_path: Path, command: str) -> None:
    customize = "import sys; print('customized', __name__, __file__, flush=True)"
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "sitecustomize.py").write_text(customize, "utf-8")
    (tmp_path / "program.py").write_text(RESTART.format(command=command), "utf-8")
    done = python(
        *LAUNCHER, "run", "program.py", "x", folder=tmp_path, PYTHONPATH=str(tmp_path / "path")
    )
    line = f"customized sitecustomize {tmp_path / 'path' / 'sitecustomize.py'}"
    assert done.stdout.splitlines().count(line) == 2
    assert done.stdout.count("wsgiref_fast.util") == (2 if "argv" in command else 1)
    assert done.stderr == ""


def test_a_python_without_this_package_is_left_alone(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", symlinks=sys.platform != "win32")
    other = tmp_path / "venv" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    program = RESTART.format(command=f"[{str(other)!r}] + sys.argv")
    (tmp_path / "program.py").write_text(program, "utf-8")
    done = python(*LAUNCHER, "run", "program.py", "x", folder=tmp_path)
    assert done.stdout == "wsgiref_fast.util ['x']\nwsgiref.util ['x', 'again']\n"
    assert done.stderr == ""


def test_an_older_python_is_left_alone() -> None:
    # Before 3.10 there was no sys.orig_argv.
    startup = Path(wsgiref_fast.__file__).parent / "_startup"
    program = "import sys; del sys.orig_argv; sys.path.insert(0, sys.argv[1]); import sitecustomize"
    done = python("-S", "-c", program, str(startup), WSGIREF_FAST_RUN="program.py")
    assert (done.returncode, done.stderr) == (0, "")


# The server of one request

# Whoever has port 8000 keeps it: the program is given another one.
OTHER_PORT = """
import os, socket
bind = socket.socket.bind
def bind_elsewhere(self, address):
    if address[1] == 8000:
        print("asked for", address, flush=True)
        address = ("127.0.0.1", 0)
    bind(self, address)
    os.environ["TRUE_PORT"] = str(self.getsockname()[1])
socket.socket.bind = bind_elsewhere
"""
BROWSER = """
import http.client, os, threading
def open(url):
    print("opened", url, flush=True)
    threading.Thread(target=fetch, args=[url.partition("8000")[2]]).start()
def fetch(path):
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ["TRUE_PORT"]))
    connection.request("GET", path)
    with connection.getresponse() as response:
        lines = response.read().decode().splitlines()
    connection.close()
    print(lines[0], *(line for line in lines if "QUERY_STRING" in line), flush=True)
"""


@pytest.mark.parametrize(
    "command",
    [
        ("-W", "error", "-m", "wsgiref_fast.simple_server"),
        ("-m", "wsgiref_fast", "run", "-m", "wsgiref.simple_server"),
    ],
    ids=" ".join,
)
def test_the_server_of_one_request_serves_a_browser(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "sitecustomize.py").write_text(OTHER_PORT, "utf-8")
    (tmp_path / "webbrowser.py").write_text(BROWSER, "utf-8")
    done = python(*command, PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    asked, serving, *others = done.stdout.splitlines()
    assert asked == "asked for ('', 8000)"
    assert re.fullmatch(r"Serving HTTP on 127\.0\.0\.1 port \d+ \.\.\.", serving)
    assert others == [
        "opened http://localhost:8000/xyz?abc",
        "Hello world! QUERY_STRING = 'abc'",
    ]
    assert '"GET /xyz?abc HTTP/1.1" 200' in done.stderr


# demo


@contextmanager
def demo(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the demo, and end it; give the process and its first line."""
    # Where the tests run in the background, their children would ignore an interrupt.
    program = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from wsgiref_fast.__main__ import main
main(["demo", *sys.argv[1:]])
"""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program, *options],
        env=clean_environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().rstrip("\n")
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


def fetch(host: str, port: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
    connection.request("GET", "/")
    with connection.getresponse() as response:
        answer = response.status, response.read()
    connection.close()
    return answer


FIRST_LINE = re.compile(
    r"Serving the demo application on http://(?P<host>.+):(?P<port>\d+)/ "
    r"\(wsgiref_fast (?P<version>.+), (?P<implementation>.+)\)"
)


def test_the_demo_says_where_it_is_and_answers() -> None:
    with demo("--port", "0") as (_, line):
        said = FIRST_LINE.fullmatch(line)
        assert said is not None
        assert said["host"] == "127.0.0.1"
        assert said["version"] == wsgiref_fast.__version__
        assert said["implementation"] == wsgiref_fast.IMPLEMENTATION
        status, body = fetch(said["host"], said["port"])
        assert (status, body.splitlines()[0]) == (200, b"Hello world!")


@only_if(has_ipv6())
def test_the_demo_writes_an_ipv6_address_as_a_browser_wants_it() -> None:
    with demo("--host", "::1", "--port", "0") as (_, line):
        said = FIRST_LINE.fullmatch(line)
        assert said is not None
        assert said["host"] == "[::1]"
        assert fetch("::1", said["port"])[0] == 200


@only_if(sys.platform != "win32")
def test_an_interrupt_ends_the_demo_quietly() -> None:
    with demo("--port", "0") as (process, line):
        said = FIRST_LINE.fullmatch(line)
        assert said is not None
        # Its loop runs by then. An interrupt while it is being set up would have warnings,
        # which these tests ask for, of what it leaves to be collected.
        fetch(said["host"], said["port"])
        assert process.stderr is not None
        assert '"GET / HTTP/1.1" 200' in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=PATIENCE)
        assert (process.returncode, output, errors) == (0, "Stopped.\n", "")


def test_the_demo_says_so_where_the_port_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = python(*LAUNCHER, "demo", "--port", str(port))
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"wsgiref_fast demo: cannot listen on 127.0.0.1:{port}: it is in use")
    assert line.endswith("choose another address by --host or --port")


@pytest.mark.parametrize("port", ["65536", "-1"])
def test_the_demo_says_so_where_there_is_no_such_port(port: str) -> None:
    done = python(*LAUNCHER, "demo", f"--port={port}")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "--port" in line
    assert port in line


def test_a_port_is_a_number() -> None:
    done = python(*LAUNCHER, "demo", "--port", "http")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "a port is a number from 0 to 65535" in line


def test_the_demo_names_what_it_does_not_take() -> None:
    done = python(*LAUNCHER, "demo", "8001")
    line = "wsgiref_fast: demo: what is '8001'? It takes --host and --port\n"
    assert (done.returncode, done.stderr) == (2, line)


# The rest


def test_the_version_tells_the_implementation_too(implementation: str) -> None:
    done = python(*LAUNCHER, "--version", WSGIREF_FAST_IMPL=implementation)
    expected = f"wsgiref_fast {wsgiref_fast.__version__} ({implementation})\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, expected, "")


@pytest.mark.parametrize("command", [(), ("nonsense",)])
def test_a_command_that_is_not_understood_is_answered_with_the_usage(
    command: tuple[str, ...],
) -> None:
    done = python(*LAUNCHER, *command)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: python -m wsgiref_fast [option ...] module:app\n")


def test_help_names_all_commands() -> None:
    done = python(*LAUNCHER, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    for command in ("run script.py", "run -m module", "demo", "--version"):
        assert command in done.stdout
