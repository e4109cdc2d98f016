"""systemd: sockets that it passes, what it is told, the watchdog."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import APPLICATION, LAUNCHER, environment, only_if, service
from support import PATIENCE, receive_all

LEFT_OUT = "" if hasattr(socket, "AF_UNIX") else "there is no systemd on this system"

IS_POSIX = os.name == "posix"
IS_LINUX = sys.platform == "linux"
ACTIVATE = shutil.which("systemd-socket-activate")

#: Answers with what the environment has of systemd, and what a child would inherit.
TELL = """
import json, os
def app(environ, start_response):
    names = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_USEC")
    kept = [name for name in names if name in os.environ]
    passed = [number for number in (3, 4) if os.get_inheritable(number)]
    body = json.dumps([kept, passed]).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""

#: Becomes the command line as a service does: its sockets at 3 and on, and its own process id.
AS_SERVICE = """
import os, sys
passed = [int(number) for number in sys.argv[1].split(",") if number]
copies = [os.dup(number) for number in passed]
spare = [os.dup2(number, 100 + at) for at, number in enumerate(passed)]
for at, number in enumerate(spare):
    os.dup2(number, 3 + at)
os.environ["LISTEN_PID"] = sys.argv[2] or str(os.getpid())
os.environ["LISTEN_FDS"] = sys.argv[3] or str(len(passed))
os.environ["LISTEN_FDNAMES"] = "web"
os.execv(sys.executable, [sys.executable, "-W", "error", "-m", "wsgiref_fast", *sys.argv[4:]])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder with applications."""
    (tmp_path / "hello.py").write_text(APPLICATION, "utf-8")
    (tmp_path / "tell.py").write_text(TELL, "utf-8")
    return tmp_path


def as_service(*passed: socket.socket, process: str = "", number: str = "") -> tuple[str, ...]:
    """Return how to start the command line as a service with sockets."""
    numbers = ",".join(str(each.fileno()) for each in passed)
    return sys.executable, "-c", AS_SERVICE, numbers, process, number


def numbers_of(*passed: socket.socket) -> list[int]:
    return [each.fileno() for each in passed]


@pytest.fixture
def one() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def two() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def url_of(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}/"


# Sockets


@only_if(IS_POSIX)
def test_the_sockets_that_are_passed_are_served(
    folder: Path, one: socket.socket, two: socket.socket
) -> None:
    with service(
        "tell",
        folder=folder,
        places=2,
        launcher=as_service(one, two),
        pass_fds=numbers_of(one, two),
    ) as served:
        assert served.places == [url_of(one), url_of(two)]
        assert served.get() == (200, b"[[], []]")
        served.places.reverse()
        assert served.get() == (200, b"[[], []]")


@only_if(IS_POSIX)
def test_sockets_for_another_process_are_not_served(folder: Path, one: socket.socket) -> None:
    with service(
        *("hello", "--bind", "127.0.0.1:0"),
        folder=folder,
        launcher=as_service(one, process="1"),
        pass_fds=numbers_of(one),
    ) as served:
        assert served.places[0] != url_of(one)


@only_if(IS_POSIX)
@pytest.mark.parametrize("number", ["nonsense", "0", "-1"])
def test_a_number_that_says_nothing_passes_nothing(
    folder: Path, one: socket.socket, number: str
) -> None:
    with service(
        *("hello", "--bind", "127.0.0.1:0"),
        folder=folder,
        launcher=as_service(one, number=number),
        pass_fds=numbers_of(one),
    ) as served:
        assert served.places[0] != url_of(one)


@only_if(IS_POSIX)
def test_sockets_beside_an_address_that_is_given_are_told(folder: Path, one: socket.socket) -> None:
    with service(
        *("hello", "--bind", "127.0.0.1:0"),
        folder=folder,
        places=0,
        launcher=as_service(one),
        pass_fds=numbers_of(one),
    ) as served:
        line = "wsgiref_fast: --bind is given: 1 socket(s) of systemd's are not used"
        assert served.next_line() == line


@only_if(IS_POSIX)
def test_a_passed_socket_can_be_given_by_its_number(folder: Path, one: socket.socket) -> None:
    with service(
        *("hello", "--bind", "fd://3"),
        folder=folder,
        launcher=as_service(one),
        pass_fds=numbers_of(one),
    ) as served:
        assert served.places == [url_of(one)]


@only_if(IS_POSIX)
def test_a_passed_connection_is_refused_in_one_line(folder: Path, one: socket.socket) -> None:
    # As a unit with Accept=yes passes it.
    with socket.create_connection(one.getsockname()) as passed:
        done = subprocess.run(
            [*as_service(passed), "hello"],
            cwd=folder,
            env=environment(),
            capture_output=True,
            encoding="utf-8",
            pass_fds=numbers_of(passed),
            timeout=PATIENCE,
        )
    assert done.returncode == 2
    assert done.stderr == (
        "wsgiref_fast: fd://3: the socket does not listen (a stream socket that does is due)\n"
    )


@only_if(ACTIVATE is not None)
def test_systemd_activates_it_by_the_first_connection(folder: Path) -> None:
    path = folder / "app.sock"
    assert ACTIVATE is not None
    with service(
        "tell",
        folder=folder,
        places=0,
        launcher=(ACTIVATE, "-l", str(path), "--", *LAUNCHER),
    ) as served:
        assert "Listening on" in served.next_line()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(str(path))
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            response = receive_all(connection)
        assert response.endswith(b"[[], []]") or b"\r\n\r\n[[], [4]]" in response
        assert served.end(signal.SIGTERM) == 0
        assert f"  unix:{path}" in served.rest()


# Notifications


@pytest.fixture(params=["path", "abstract"] if IS_LINUX else ["path"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    """Play the service manager."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        is_abstract = request.param == "abstract"
        address = f"\0wsgiref_fast-{os.getpid()}" if is_abstract else str(tmp_path / "notify")
        listener.bind(address)
        listener.settimeout(PATIENCE)
        yield listener


def name_of(manager: socket.socket) -> str:
    name = manager.getsockname()
    return "@" + name[1:].decode() if isinstance(name, bytes) else name


def heard(manager: socket.socket) -> dict[str, str]:
    """Return the assignments of the next message."""
    lines = manager.recv(4096).decode("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines)


@only_if(IS_POSIX)
def test_the_manager_is_told_when_it_serves_and_when_it_ends(
    folder: Path, manager: socket.socket
) -> None:
    given = ("hello", "--bind", "127.0.0.1:0")
    environ = {"NOTIFY_SOCKET": name_of(manager)}
    with service(*given, folder=folder, environ=environ) as served:
        first = heard(manager)
        assert first["READY"] == "1"
        assert first["STATUS"] == f"serves hello at {served.places[0]}"
        assert served.get()[0] == 200
        served.process.terminate()
        assert heard(manager)["STOPPING"] == "1"
        assert served.wait() == 0


@only_if(IS_POSIX)
def test_the_manager_is_told_of_a_reload(folder: Path, manager: socket.socket) -> None:
    given = ("hello", "--bind", "127.0.0.1:0")
    environ = {"NOTIFY_SOCKET": name_of(manager)}
    with service(*given, folder=folder, environ=environ) as served:
        assert heard(manager)["READY"] == "1"
        served.process.send_signal(signal.SIGHUP)
        begun = heard(manager)
        assert begun["RELOADING"] == "1"
        assert re.fullmatch(r"\d+", begun["MONOTONIC_USEC"])
        assert heard(manager) == {"READY": "1"}


@only_if(IS_POSIX)
def test_the_watchdog_hears_again_and_again(folder: Path, manager: socket.socket) -> None:
    given = ("hello", "--bind", "127.0.0.1:0")
    environ = {"NOTIFY_SOCKET": name_of(manager), "WATCHDOG_USEC": "100000"}
    with service(*given, folder=folder, environ=environ):
        assert heard(manager)["READY"] == "1"
        for _ in range(3):
            assert heard(manager) == {"WATCHDOG": "1"}


@only_if(IS_POSIX)
def test_what_is_the_services_own_is_not_inherited(folder: Path, manager: socket.socket) -> None:
    # Nor is it there when the application is imported, which may start others.
    program = "import os\nearly = dict(os.environ)\n" + TELL.replace("in os.environ", "in early")
    (folder / "late.py").write_text(program.replace("(3, 4)", "()"), "utf-8")
    environ = {"NOTIFY_SOCKET": name_of(manager), "WATCHDOG_USEC": "60000000"}
    with service("late", "--bind", "127.0.0.1:0", folder=folder, environ=environ) as served:
        assert served.get() == (200, b"[[], []]")


@only_if(IS_POSIX)
@pytest.mark.parametrize("name", ["/nonsense", "@nonsense", "nonsense", "@"])
def test_a_manager_that_is_not_there_changes_nothing(folder: Path, name: str) -> None:
    environ = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "nonsense"}
    with service("hello", "--bind", "127.0.0.1:0", folder=folder, environ=environ) as served:
        assert served.get()[0] == 200
        assert (served.end(signal.SIGTERM), served.rest()) == (0, [])
