"""The reloader: requests go on over restarts, and code that does not start costs nothing."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

from support import PATIENCE, wait_until
from wsgiref_fast._cli import reload
from wsgiref_fast._cli.arguments import parse

LEFT_OUT = "" if os.name == "posix" else "there are no sockets here that a process can inherit"
__test__ = not LEFT_OUT

MEANS = ["polling", "watchfiles"] if find_spec("watchfiles") else ["polling"]

#: What the command line does in the parent.
SUPERVISOR = """
import os, sys
from wsgiref_fast._cli.supervisor import supervise
from wsgiref_fast._cli.watching import Tree
from wsgiref_fast.server import Server

if len(sys.argv) > 5:  # the leader of a session gets the terminal that it opens
    os.close(os.open(sys.argv[5], os.O_RDWR))
with Server(("127.0.0.1", 0)) as server:
    print("port", server.server_port, flush=True)
    command = [sys.executable, "-W", "error", sys.argv[1], f"fd://{server.socket.fileno()}"]
    tree = Tree([sys.argv[2]])
    sys.exit(supervise(
        [server.socket], command, tree,
        interval=0.02, polls=sys.argv[4] == "polling", patience=float(sys.argv[3]),
    ))
"""

#: What it does in a child: it imports `application` from the watched folder.
CHILD = """
import os, signal, sys
from wsgiref_fast._cli.reload import follow_parent, take_ready, tell_ready
from wsgiref_fast.server import Server

follow_parent()
ready = take_ready()
print("starting", os.getpid(), flush=True)
sys.path.insert(0, os.environ["WATCHED"])
import application

server = Server(sys.argv[1], threads=4)
server.set_app(application.app)
server.ends_for_good = True
asked = []

def end(number, frame):
    print("ending", os.getpid(), signal.Signals(number).name, flush=True)
    server.stop(at_once=bool(asked))
    asked.append(number)

signal.signal(signal.SIGINT, end)
signal.signal(signal.SIGTERM, end)
tell_ready(ready)
server.serve_forever()
server.server_close()
print("ended", os.getpid(), flush=True)
"""

APPLICATION = """
import os, select, signal
VERSION = {version!r}
HERE = os.path.dirname(os.path.abspath(__file__))

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/slow":
        open(os.path.join(HERE, "entered"), "w").close()
        while not os.path.exists(os.path.join(HERE, "leave")):
            select.select([], [], [], 0.005)
    elif path == "/crash":
        os._exit(3)
    body = f"{{VERSION}} {{os.getpid()}}".encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


class Reloader:
    """The running program, the code that it serves, and what it says."""

    port = 0

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process = process
        self.folder = folder
        self.file = folder / "code" / "application.py"

    def children(self) -> list[int]:
        """Return the processes that it has started."""
        return [int(number) for number in re.findall(r"starting (\d+)", self.log())]

    def log(self) -> str:
        return (self.folder / "log").read_text("utf-8")

    def wait_for(self, pattern: str, times: int = 1) -> list[str]:
        """Wait until the log has a pattern so many times."""
        wait_until(lambda: len(re.findall(pattern, self.log())) >= times or self._has_gone())
        found: list[str] = re.findall(pattern, self.log())
        assert len(found) >= times, self.log()
        return found

    def _has_gone(self) -> bool:
        return self.process.poll() is not None

    def write(self, version: str) -> None:
        self.file.write_text(APPLICATION.format(version=version), "utf-8")

    def write_broken(self, text: str = "def app(:\n") -> None:
        self.file.write_text(text, "utf-8")

    def ask(self, path: str = "/") -> tuple[str, int]:
        """Return the version that answers, and its process."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            version, number = connection.getresponse().read().decode().split()
        finally:
            connection.close()
        return version, int(number)

    def wait_for_version(self, version: str) -> None:
        wait_until(lambda: self.ask()[0] == version)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


@contextmanager
def reloading(
    folder: Path,
    *,
    application: str = APPLICATION,
    patience: float = PATIENCE,
    means: str = "polling",
    terminal: str = "",
) -> Iterator[Reloader]:
    """Run the program on version ``1``; in the end nothing that it has started may be left."""
    (folder / "code").mkdir()
    (folder / "code" / "application.py").write_text(application.format(version="1"), "utf-8")
    (folder / "child.py").write_text(CHILD, "utf-8")
    arguments = [str(folder / "child.py"), str(folder / "code"), str(patience), means]
    arguments += [terminal] if terminal else []
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", SUPERVISOR, *arguments],
            env={**os.environ, "WATCHED": str(folder / "code")},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    reloader = Reloader(process, folder)
    try:
        reloader.port = int(reloader.wait_for(r"port (\d+)")[0])
        yield reloader
    finally:
        reloader.end()
        wait_until(lambda: not any(map(is_running, reloader.children())))
        assert "Traceback" not in reloader.log() or application is not APPLICATION


def is_running(number: int) -> bool:
    """Tell whether a process runs; one that only its parent remembers does not."""
    with suppress(OSError):
        return Path(f"/proc/{number}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    if Path("/proc/self/stat").exists():
        return False
    with suppress(ProcessLookupError):
        os.kill(number, 0)
        return True
    return False


class Load(threading.Thread):
    """Requests in a row, each on a new connection."""

    def __init__(self, reloader: Reloader) -> None:
        super().__init__()
        self._reloader = reloader
        self._end = threading.Event()
        self.seen: list[str] = []
        self.failures: list[BaseException] = []

    def run(self) -> None:
        while not self._end.is_set():
            try:
                self.seen.append(self._reloader.ask()[0])
            except Exception as error:
                self.failures.append(error)

    def __enter__(self) -> Load:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self.join()


# Reloads.


@pytest.mark.parametrize("means", MEANS)
def test_no_request_fails_over_five_reloads(tmp_path: Path, means: str) -> None:
    with (
        reloading(tmp_path, means=means) as reloader,
        Load(reloader) as load,
        Load(reloader) as other,
    ):
        wait_until(lambda: "1" in load.seen and "1" in other.seen)
        for version in "23456":
            reloader.write(version)
            wait_until(lambda v=version: v in load.seen and v in other.seen)  # type: ignore[misc]
            reloader.wait_for(r"ended \d+", int(version) - 1)
    assert (load.failures, other.failures) == ([], [])
    assert load.seen[0] == "1"
    assert load.seen[-1] == "6"


def test_the_old_process_finishes_what_is_under_way(tmp_path: Path) -> None:
    with reloading(tmp_path) as reloader:
        slow: list[tuple[str, int]] = []
        first = reloader.ask()
        request = threading.Thread(target=lambda: slow.append(reloader.ask("/slow")))
        request.start()
        wait_until((tmp_path / "code" / "entered").exists)
        reloader.write("2")
        reloader.wait_for(f"ending {first[1]} SIGTERM")
        assert reloader.ask()[0] == "2"
        assert is_running(first[1])
        (tmp_path / "code" / "leave").touch()
        request.join(PATIENCE)
        assert slow == [first]
        reloader.wait_for(f"ended {first[1]}")


@pytest.mark.parametrize("means", MEANS)
def test_what_changed_is_said_in_one_line(tmp_path: Path, means: str) -> None:
    with reloading(tmp_path, means=means) as reloader:
        reloader.wait_for_version("1")
        reloader.write("2")
        reloader.wait_for_version("2")
        said = [line for line in reloader.log().splitlines() if line.startswith("reload: ")]
        watching, changed = said
        assert watching == f"reload: watching 1 file in {tmp_path / 'code'}, by {means}"
        assert changed == f"reload: {reloader.file} changed"


def test_a_syntax_error_is_shown_and_the_old_code_serves_on(tmp_path: Path) -> None:
    with reloading(tmp_path, application=APPLICATION + "\n") as reloader:
        first = reloader.ask()
        reloader.write_broken()
        reloader.wait_for(r"the code does not start \(exit status 1\); the old code serves on")
        assert "SyntaxError" in reloader.log()
        assert reloader.ask() == first
        reloader.write("2")
        reloader.wait_for_version("2")


@pytest.mark.parametrize("code", ["import nothing_such", "1 / 0", "import sys; sys.exit(5)"])
def test_code_that_does_not_start_is_waited_for(tmp_path: Path, code: str) -> None:
    with reloading(tmp_path, application=code) as reloader:
        reloader.wait_for(r"the code does not start \(exit status [15]\); waiting for a change")
        reloader.write("2")
        reloader.wait_for_version("2")


def test_a_connection_waits_for_code_that_is_mended(tmp_path: Path) -> None:
    with reloading(tmp_path, application="1 / 0") as reloader:
        reloader.wait_for("waiting for a change")
        answers: list[str] = []
        request = threading.Thread(target=lambda: answers.append(reloader.ask()[0]))
        request.start()
        reloader.write("2")
        request.join(PATIENCE)
        assert answers == ["2"]


def test_a_change_during_a_start_starts_anew(tmp_path: Path) -> None:
    hangs = """
import os, select
print("importing", os.getpid(), flush=True)
while True:
    select.select([], [], [], 1)
"""
    with reloading(tmp_path) as reloader:
        first = reloader.ask()
        reloader.write_broken(hangs)
        (number,) = reloader.wait_for(r"importing (\d+)")
        assert reloader.ask() == first
        reloader.write("3")
        reloader.wait_for_version("3")
        wait_until(lambda: not is_running(int(number)))
        assert "does not start" not in reloader.log()


def test_a_file_that_is_written_by_renaming_is_reloaded(tmp_path: Path) -> None:
    with reloading(tmp_path) as reloader:
        reloader.wait_for_version("1")
        draft = tmp_path / "code" / "application.py.new"
        draft.write_text(APPLICATION.format(version="2"), "utf-8")
        draft.replace(reloader.file)
        reloader.wait_for_version("2")


def test_a_server_that_crashes_is_started_at_the_next_change(tmp_path: Path) -> None:
    with reloading(tmp_path) as reloader:
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            reloader.ask("/crash")
        reloader.wait_for(r"the server has ended \(exit status 3\); waiting for a change")
        reloader.write("2")
        reloader.wait_for_version("2")


def test_a_server_that_is_killed_is_named_by_its_signal(tmp_path: Path) -> None:
    with reloading(tmp_path) as reloader:
        os.kill(reloader.ask()[1], signal.SIGKILL)
        reloader.wait_for(r"the server has ended \(SIGKILL\); waiting for a change")


def test_a_process_that_does_not_end_is_killed(tmp_path: Path) -> None:
    stays = "import threading\nthreading.Thread(target=threading.Event().wait).start()\n"
    with reloading(tmp_path, patience=0.0, application=APPLICATION + stays) as reloader:
        _, number = reloader.ask()
        reloader.write("2")
        reloader.wait_for(f"process {number} does not end; killed")
        assert reloader.ask()[0] == "2"
        wait_until(lambda: not is_running(number))


# Signals.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_in_good_order(tmp_path: Path, number: int) -> None:
    with reloading(tmp_path) as reloader:
        _, child = reloader.ask()
        assert reloader.end(number) == 0
        assert f"ended {child}" in reloader.log()
        assert "SIGTERM" in reloader.log()


def test_an_interrupt_of_the_whole_group_reaches_the_server_once(tmp_path: Path) -> None:
    with reloading(tmp_path) as reloader:
        slow: list[tuple[str, int]] = []
        request = threading.Thread(target=lambda: slow.append(reloader.ask("/slow")))
        request.start()
        wait_until((tmp_path / "code" / "entered").exists)
        os.killpg(reloader.process.pid, signal.SIGINT)
        reloader.wait_for(r"ending \d+ SIGTERM")
        (tmp_path / "code" / "leave").touch()
        request.join(PATIENCE)
        assert [version for version, _ in slow] == ["1"]
        assert reloader.process.wait(PATIENCE) == 0
        assert "SIGINT" not in reloader.log()


@contextmanager
def terminal() -> Iterator[tuple[int, str]]:
    """Give what a person has of a terminal, and the name of what a program has."""
    person, program = os.openpty()
    try:
        yield person, os.ttyname(program)
    finally:
        os.close(program)
        with suppress(OSError):
            os.close(person)


def test_control_c_ends_it_in_good_order(tmp_path: Path) -> None:
    with terminal() as (person, name), reloading(tmp_path, terminal=name) as reloader:
        _, child = reloader.ask()
        os.write(person, b"\x03")
        assert reloader.process.wait(PATIENCE) == 0
        assert f"ended {child}" in reloader.log()
        assert "SIGINT" not in reloader.log()


def test_it_ends_with_its_terminal(tmp_path: Path) -> None:
    with terminal() as (person, name), reloading(tmp_path, terminal=name) as reloader:
        reloader.wait_for_version("1")
        os.close(person)
        assert reloader.process.wait(PATIENCE) == 0


def test_an_interrupt_while_the_code_is_imported_shows_no_traceback(tmp_path: Path) -> None:
    hangs = "print('importing', flush=True)\nimport select\nselect.select([], [], [], {patience})"
    code = hangs.replace("{patience}", str(PATIENCE))
    with reloading(tmp_path, application=code) as reloader:
        reloader.wait_for("importing")
        os.killpg(reloader.process.pid, signal.SIGINT)
        assert reloader.process.wait(PATIENCE) == 0
        assert "Traceback" not in reloader.log()


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with reloading(tmp_path) as reloader:
        failures: list[BaseException] = []

        def ask() -> None:
            try:
                reloader.ask("/slow")
            except (http.client.HTTPException, ConnectionError) as error:
                failures.append(error)

        request = threading.Thread(target=ask)
        request.start()
        wait_until((tmp_path / "code" / "entered").exists)
        reloader.process.send_signal(signal.SIGINT)
        reloader.wait_for(r"ending \d+ SIGTERM")
        assert reloader.end(signal.SIGINT) == 1
        request.join(PATIENCE)
        assert len(failures) == 1


def test_a_hangup_is_handed_on(tmp_path: Path) -> None:
    hears = "import signal\nsignal.signal(signal.SIGHUP, lambda *_: print('heard', flush=True))\n"
    with reloading(tmp_path, application=APPLICATION + hears) as reloader:
        first = reloader.ask()
        reloader.process.send_signal(signal.SIGHUP)
        reloader.wait_for("heard")
        assert reloader.ask() == first


def test_a_server_that_a_hangup_ends_is_started_anew(tmp_path: Path) -> None:
    with reloading(tmp_path) as reloader:
        _, first = reloader.ask()
        reloader.process.send_signal(signal.SIGHUP)
        reloader.wait_for("starting anew")
        version, second = reloader.ask()
        assert (version, second != first) == ("1", True)


def test_children_end_after_a_parent_that_was_killed(tmp_path: Path) -> None:
    with reloading(tmp_path) as reloader:
        _, child = reloader.ask()
        assert reloader.end(signal.SIGKILL) == -signal.SIGKILL
        wait_until(lambda: f"ended {child}" in reloader.log() and not is_running(child))


# What the command line calls.


def listeners(count: int) -> list[socket.socket]:
    return [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["m:app", "--reload"], ["m:app", "BINDS"]),
        (["--bind", ":80", "--reload", "m:app"], ["m:app", "BINDS"]),
        (["--bind=:80", "--bind", "unix:/x", "m:app"], ["m:app", "BINDS"]),
        (
            ["--reload-dir", "a", "--reload-dir=b", "m:app", "--threads", "4"],
            ["m:app", "--threads", "4", "BINDS"],
        ),
        (["--backlog", "5", "-t", "1", "m:app"], ["--backlog", "5", "-t", "1", "m:app", "BINDS"]),
        (["--reload", "--", "m:app", "--reload"], ["BINDS", "--", "m:app", "--reload"]),
    ],
    ids=" ".join,
)
def test_a_child_gets_the_arguments_but_for_those_of_the_parent(
    given: list[str], kept: list[str]
) -> None:
    first, second = listeners(2)
    with first, second:
        command = reload.make_command(given, [first, second])
        binds = ["--bind", f"fd://{first.fileno()}", "--bind", f"fd://{second.fileno()}"]
    place = kept.index("BINDS")
    at = command.index("wsgiref_fast")
    assert command[0] == sys.executable
    assert command[at - 1 : at + 1] == ["-m", "wsgiref_fast"]
    assert command[at + 1 :] == [*kept[:place], *binds, *kept[place + 1 :]]


def test_a_child_gets_the_options_of_the_interpreter() -> None:
    script = "from wsgiref_fast._cli import reload; print(*reload.make_command(['m:app'], []))"
    command = [sys.executable, "-I", "-W", "error", "-X", "faulthandler", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    words = done.stdout.split()
    assert words[-3:] == ["-m", "wsgiref_fast", "m:app"]
    assert {"-I", "-Werror"} <= set(words)
    assert "faulthandler" in done.stdout


def test_a_folder_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = str(tmp_path / "missing")
    arguments = Namespace(bind=[("127.0.0.1", 0)], reload_dir=[missing], argv=[])
    assert reload.run(arguments) == 2
    line = f"reload: there is no folder {missing!r}; give --reload-dir one that exists\n"
    assert capsys.readouterr().err == line


@pytest.mark.parametrize(("given", "least"), [([], 60.0), (["--shutdown-timeout", "300"], 301.0)])
def test_a_child_is_waited_for_longer_than_it_gives_itself(given: list[str], least: float) -> None:
    found = parse(["hello:app", "--reload", *given])
    assert least <= reload.find_patience(found) < least + 60


def test_without_a_parent_there_is_nobody_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(reload.READY, raising=False)
    monkeypatch.delenv(reload.PARENT, raising=False)
    before = threading.active_count()
    reload.tell_ready(reload.take_ready())
    reload.follow_parent()
    assert threading.active_count() == before


def test_a_parent_that_has_gone_does_not_matter_to_one_that_is_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ready, told = os.pipe()
    os.close(ready)
    monkeypatch.setenv(reload.READY, str(told))
    reload.tell_ready(reload.take_ready())
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(told)
    assert reload.READY not in os.environ
