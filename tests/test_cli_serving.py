"""The command line serving: addresses, what it says, signals, how it ends."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import wsgiref_fast
from cli import APPLICATION, LAUNCHER, command, environment, only_if, refused, service
from support import PATIENCE, has_ipv6, receive_all, wait_until

IS_POSIX = os.name == "posix"
IS_LINUX = sys.platform == "linux"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder with an application."""
    (tmp_path / "hello.py").write_text(APPLICATION, "utf-8")
    return tmp_path


def fetch_by_path(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(str(path))
        connection.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return receive_all(connection)


# Where it serves


def test_it_says_what_it_serves_and_where(folder: Path) -> None:
    with service("hello:app", "--bind", "127.0.0.1:0", folder=folder) as served:
        assert re.fullmatch(r"http://127\.0\.0\.1:[1-9]\d*/", served.places[0])
        assert served.get("/hello") == (200, b"/hello")


def test_the_first_line_has_version_and_implementation(folder: Path, implementation: str) -> None:
    environ = {"WSGIREF_FAST_IMPL": implementation}
    with service("hello:app", "--bind=:0", folder=folder, places=0, environ=environ) as served:
        version = wsgiref_fast.__version__
        line = f"wsgiref_fast {version} ({implementation}) serves hello:app"
        assert served.next_line() == line


def test_all_addresses_are_told_by_one_that_a_browser_can_open(folder: Path) -> None:
    with service("hello", "--bind", ":0", folder=folder) as served:
        url, _, rest = served.places[0].partition(" ")
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", url)
        assert rest == "(and all other addresses of this machine)"
        assert served.get()[0] == 200


@only_if(has_ipv6())
def test_an_ipv6_address_is_served_and_written_in_brackets(folder: Path) -> None:
    with service("hello", "--bind", "[::1]:0", folder=folder) as served:
        assert served.places[0].startswith("http://[::1]:")
        assert served.get(host="::1")[0] == 200


@only_if(IS_POSIX)
def test_several_addresses_are_served(folder: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as inherited,
        service(
            *("hello", "--bind", "localhost:0", "--bind", "unix:app.sock"),
            *("--bind", f"fd://{inherited.fileno()}"),
            folder=folder,
            places=3,
            pass_fds=[inherited.fileno()],
        ) as served,
    ):
        _, path, url = served.places
        assert path == f"unix:{folder / 'app.sock'}"
        assert url == f"http://127.0.0.1:{inherited.getsockname()[1]}/"
        assert served.get()[0] == 200
        assert fetch_by_path(folder / "app.sock").endswith(b"\r\n\r\n/hello")
        served.places.reverse()
        assert served.get()[0] == 200
        assert served.end(signal.SIGTERM) == 0
    assert not (folder / "app.sock").exists()


@only_if(IS_POSIX)
def test_a_path_is_served_from_where_the_command_was_given(folder: Path) -> None:
    (folder / "inner").mkdir()
    (folder / "inner" / "there.py").write_text(APPLICATION, "utf-8")
    given = ("there", "--chdir", "inner", "--bind", "unix:app.sock")
    with service(*given, folder=folder):
        assert stat.S_ISSOCK((folder / "app.sock").stat().st_mode)
        assert fetch_by_path(folder / "app.sock").startswith(b"HTTP/1.1 200 OK")


# Where it cannot


def test_a_port_in_use_is_told_in_one_line(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = refused("hello", "--bind", f"127.0.0.1:{port}", folder=folder, code=1)
    assert message.startswith(f"cannot listen on 127.0.0.1:{port}: it is in use")
    assert message.endswith("choose another address by --bind")


@only_if(IS_LINUX)
@pytest.mark.parametrize("host", ["127.0.0.1", "", "localhost"])
def test_who_has_a_port_is_told(folder: Path, host: str) -> None:
    with service("hello", "--bind", "127.0.0.1:0", folder=folder) as served:
        message = refused("hello", "--bind", f"{host}:{served.port}", folder=folder, code=1)
        assert f"(process {served.process.pid}); end that, or choose another" in message
        assert f": it is in use by {Path(sys.executable).name} (process" in message


@only_if(IS_LINUX)
def test_who_has_a_path_is_told(folder: Path) -> None:
    with service("hello", "--bind", "unix:app.sock", folder=folder) as served:
        message = refused("hello", "--bind", "unix:app.sock", folder=folder, code=1)
        assert f"(process {served.process.pid}); end that, or choose another" in message
        assert fetch_by_path(folder / "app.sock").startswith(b"HTTP/1.1 200")


def test_the_address_that_cannot_be_had_is_named_among_several(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        given = ("--bind", "127.0.0.1:0", "--bind", f"127.0.0.1:{port}")
        message = refused("hello", *given, folder=folder, code=1)
    assert message.startswith(f"cannot listen on 127.0.0.1:{port}: it is in use")


@only_if(IS_LINUX)
def test_an_address_of_another_machine_is_told(folder: Path) -> None:
    # Of a block for documentation: nobody has it (RFC 5737).
    message = refused("hello", "--bind", "192.0.2.1:8000", folder=folder, code=1)
    assert "192.0.2.1:8000: it is no address of this machine" in message


@only_if(IS_POSIX)
def test_a_descriptor_that_does_not_listen_is_told(folder: Path) -> None:
    with socket.socket() as mute, socket.socket(type=socket.SOCK_DGRAM) as other:
        for each in (mute, other):
            each.bind(("127.0.0.1", 0))
            done = subprocess.run(
                [*LAUNCHER, "hello", "--bind", f"fd://{each.fileno()}"],
                cwd=folder,
                env=environment(),
                capture_output=True,
                encoding="utf-8",
                pass_fds=[each.fileno()],
                timeout=PATIENCE,
            )
            assert done.returncode == 2
            (line,) = done.stderr.splitlines()
            assert line.endswith("the socket does not listen (a stream socket that does is due)")


def can_become_nobody() -> bool:
    return IS_LINUX and os.geteuid() == 0


def first_free_port() -> int:
    """Return the first port that anybody may listen on."""
    try:
        path = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
        return int(path.read_text("ascii"))
    except OSError:
        return 1024


#: An application that makes its process nobody's, before it listens.
NOBODY = """
import encodings.idna, inspect, os  # while they can be read
os.setegid(65534)
os.seteuid(65534)
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Make a folder that anybody can read."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "hello.py").write_text(NOBODY + APPLICATION, "utf-8")
        yield folder


@only_if(can_become_nobody())
def test_a_folder_that_is_not_ours_is_told(open_folder: Path) -> None:
    message = refused("hello", "--bind", "unix:app.sock", folder=open_folder, code=1)
    assert f"not allowed in the folder '{open_folder}'; choose another" in message


@only_if(can_become_nobody() and first_free_port() > 81)
def test_a_port_for_the_system_administrator_is_told(open_folder: Path) -> None:
    message = refused("hello", "--bind", "127.0.0.1:81", folder=open_folder, code=1)
    assert message.startswith("cannot listen on 127.0.0.1:81: ports below 1024 are for the")


# How it serves


def test_limits_of_the_command_line_hold(folder: Path) -> None:
    given = ("--max-request-line", "100", "--server-header", "mine", "--threads", "2")
    with (
        service("hello", "--bind", "127.0.0.1:0", *given, folder=folder) as served,
        socket.create_connection(("127.0.0.1", served.port), PATIENCE) as connection,
    ):
        connection.sendall(b"GET /" + 100 * b"x" + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        response = receive_all(connection)
        assert response.startswith(b"HTTP/1.1 414 ")
        assert b"\r\nServer: mine\r\n" in response


@pytest.mark.parametrize(
    ("style", "line"),
    [
        ("common", r'127\.0\.0\.1 - - \[.*\] "GET /hello HTTP/1.1" 200 6'),
        ("combined", r'127\.0\.0\.1 .* 200 6 "-" "-"'),
        ("json", r'\{.*"target": "/hello".*\}'),
    ],
)
def test_the_access_log_goes_to_the_error_stream(folder: Path, style: str, line: str) -> None:
    given = ("--bind", "127.0.0.1:0", "--access-log", style)
    with service("hello", *given, folder=folder) as served:
        assert served.get()[0] == 200
        assert re.fullmatch(line, served.next_line())


def test_a_status_page_is_where_it_was_asked_for(folder: Path) -> None:
    given = ("--bind", "127.0.0.1:0", "--status-path", "/-/status")
    with service("hello", *given, folder=folder) as served:
        assert served.get("/hello") == (200, b"/hello")
        status, text = served.get("/-/status/metrics")
        assert status == 200
        assert b'wsgiref_fast_responses_total{status="200"} 1' in text
    with service("hello", *given, "--status-allowed", "10.0.0.1", folder=folder) as served:
        assert served.get("/-/status")[0] == 403


@only_if(IS_POSIX)
def test_a_parent_is_told_when_it_serves(folder: Path) -> None:
    program = "import os\nos.write(1, b'imported')\n" + APPLICATION
    (folder / "hello.py").write_text(program, "utf-8")
    reader, writer = os.pipe()
    try:
        with service(
            *("hello", "--bind", "127.0.0.1:0"),
            folder=folder,
            places=0,
            environ={"WSGIREF_FAST_READY": str(writer)},
            pass_fds=[writer],
            stdout=writer,
        ) as served:
            os.close(writer)
            with os.fdopen(reader, "rb", buffering=0) as told:
                said = b""
                while len(said) < 9:
                    assert select.select([told], [], [], PATIENCE)[0]
                    said += told.read(9)
            assert said == b"imported\n"
            assert re.fullmatch(
                r"wsgiref_fast serves hello at http://127\.0\.0\.1:\d+/", served.next_line()
            )
    finally:
        served.process.kill()


#: Writes which of some descriptors a program has that an application starts.
_STARTER = """
import subprocess, sys
SCRIPT = '''
import os, sys
print(*(name for name in os.environ if name in ("WSGIREF_FAST_READY", "WSGIREF_FAST_PARENT")))
for number in os.environ["NUMBERS"].split():
    try:
        os.fstat(int(number))
        print(number)
    except OSError:
        pass
'''
with open("seen", "wb") as seen:
    subprocess.run([sys.executable, "-c", SCRIPT], close_fds=False, stdout=seen, check=True)
"""


@only_if(IS_POSIX)
def test_what_an_application_starts_inherits_nothing(folder: Path) -> None:
    """Else it would listen on, and answer nobody, after the server has ended."""
    (folder / "hello.py").write_text(_STARTER + APPLICATION, "utf-8")
    ready, told = os.pipe()
    life, own_life = os.pipe()
    with (
        os.fdopen(ready, "rb"),
        os.fdopen(own_life, "wb"),
        os.fdopen(told, "wb"),
        os.fdopen(life, "rb"),
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        numbers = (listener.fileno(), told, life)
        with service(
            *("hello", "--bind", f"fd://{listener.fileno()}"),
            folder=folder,
            places=0,
            environ={
                "WSGIREF_FAST_READY": str(told),
                "WSGIREF_FAST_PARENT": str(life),
                "NUMBERS": " ".join(map(str, numbers)),
            },
            pass_fds=numbers,
        ) as served:
            assert served.next_line().startswith("wsgiref_fast serves hello at ")
    assert (folder / "seen").read_text("utf-8").split() == []


@only_if(IS_POSIX)
def test_standard_streams_that_are_closed_are_no_sockets(folder: Path) -> None:
    program = APPLICATION + "\nprint('to nobody', flush=True)\nos.write(1, b'x' * 10)\n"
    (folder / "hello.py").write_text(program, "utf-8")
    words = " ".join(f"'{word}'" for word in LAUNCHER)
    line = f"exec {words} hello --bind unix:app.sock <&- >&- 2>&-"
    with subprocess.Popen(["bash", "-c", line], cwd=folder, env=environment()) as process:
        try:
            wait_until(lambda: accepts(folder / "app.sock"))
            assert fetch_by_path(folder / "app.sock").endswith(b"\r\n\r\n/hello")
            process.terminate()
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()


@only_if(IS_POSIX)
def test_a_log_that_nobody_reads_any_more_does_not_end_it(folder: Path) -> None:
    given = ("hello", "--bind", "unix:app.sock", "--access-log", "common")
    with subprocess.Popen(
        [*LAUNCHER, *given],
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            assert process.stderr is not None
            process.stderr.readline()
            process.stderr.close()
            wait_until(lambda: accepts(folder / "app.sock"))
            for _ in range(3):
                assert fetch_by_path(folder / "app.sock").startswith(b"HTTP/1.1 200")
            process.terminate()
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()


# How it ends


@only_if(IS_POSIX)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_quietly(folder: Path, number: int) -> None:
    with service("hello", "--bind", "127.0.0.1:0", folder=folder) as served:
        assert served.get()[0] == 200
        assert (served.end(number), served.rest()) == (0, [])


@only_if(IS_POSIX)
@pytest.mark.parametrize("threads", ["0", "2"])
def test_what_is_under_way_is_finished_first(folder: Path, threads: str) -> None:
    given = ("hello:slow", "--bind", "127.0.0.1:0", "--threads", threads)
    with (
        service(*given, folder=folder) as served,
        socket.create_connection(("127.0.0.1", served.port), PATIENCE) as connection,
    ):
        connection.sendall(b"GET /end HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until((folder / "begun").exists)
        served.process.terminate()
        assert not select.select([connection], [], [], 0)[0]
        (folder / "go on").touch()
        assert receive_all(connection).endswith(b"\r\n\r\n/end")
        connection.close()
        assert served.wait() == 0


@only_if(IS_POSIX)
@pytest.mark.parametrize("threads", ["0", "2"])
def test_a_second_signal_ends_it_at_once(folder: Path, threads: str) -> None:
    given = ("hello:slow", "--bind", "unix:app.sock", "--threads", threads)
    with (
        service(*given, folder=folder) as served,
        socket.socket(socket.AF_UNIX) as connection,
    ):
        connection.connect(str(folder / "app.sock"))
        connection.sendall(b"GET /end HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until((folder / "begun").exists)
        served.process.send_signal(signal.SIGTERM)
        served.process.send_signal(signal.SIGINT)
        assert (served.wait(), served.rest()) == (1, [])


def accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


@only_if(IS_POSIX)
def test_an_interrupt_before_it_serves_is_quiet(folder: Path) -> None:
    (folder / "late.py").write_text(
        "import signal, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "open('begun', 'w').close()\n"
        "while True: time.sleep(0.01)\n",
        "utf-8",
    )
    with service("late", folder=folder, places=0) as served:
        wait_until((folder / "begun").exists)
        assert served.end(signal.SIGINT) == 130
        assert served.rest() == ["wsgiref_fast: late cannot be imported: interrupted"]


@only_if(IS_POSIX)
def test_a_hang_up_without_a_certificate_changes_nothing(folder: Path) -> None:
    with service("hello", "--bind", "127.0.0.1:0", folder=folder) as served:
        served.process.send_signal(signal.SIGHUP)
        line = "wsgiref_fast: SIGHUP: there is no certificate to load anew"
        assert served.next_line() == line
        assert served.get()[0] == 200
        assert served.end(signal.SIGTERM) == 0


# On a terminal


def read_terminal(descriptor: int, until: bytes) -> bytes:
    found = b""
    while until not in found:
        assert select.select([descriptor], [], [], PATIENCE)[0]
        try:
            found += os.read(descriptor, 4096)
        except OSError:  # nobody has the other end any more
            break
    return found


@only_if(IS_POSIX)
@pytest.mark.parametrize(
    ("environ", "has_colours"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
    ],
)
def test_a_terminal_shows_colours(folder: Path, environ: dict[str, str], has_colours: bool) -> None:
    ours, theirs = os.openpty()
    given: dict[str, Any] = {
        "cwd": folder,
        "env": environment(**environ),
        "stdin": theirs,
        "stdout": theirs,
    }
    try:
        with subprocess.Popen(
            [*LAUNCHER, "hello", "--bind", "127.0.0.1:0"], stderr=theirs, **given
        ) as process:
            shown = read_terminal(ours, b"Ctrl+C ends it.")
            process.terminate()
        subprocess.run([*LAUNCHER, "nonsense:app"], stderr=theirs, check=False, **given)
        wrong = read_terminal(ours, b"another folder")
    finally:
        os.close(ours)
        os.close(theirs)
    assert (b"\x1b[36mhttp://127.0.0.1:" in shown) is has_colours
    assert (b"\x1b[1;31mwsgiref_fast:\x1b[0m there is no module" in wrong) is has_colours
    assert (b"\x1b" in shown + wrong) is has_colours


@contextmanager
def on_terminal(folder: Path, *given: str, **environ: str) -> Iterator[tuple[int, Any]]:
    """Serve on a terminal; give its end, and the process."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", ON_TERMINAL, *LAUNCHER[1:], *given],
        cwd=folder,
        env=environment(TERM="dumb", **environ),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    try:
        os.close(theirs)
        yield ours, process
    finally:
        process.kill()
        process.wait()


@only_if(IS_LINUX)
def test_it_ends_with_its_terminal(folder: Path) -> None:
    with on_terminal(folder, "hello", "--bind", "127.0.0.1:0") as (terminal, process):
        read_terminal(terminal, b"Ctrl+C ends it.")
        os.close(terminal)
        assert process.wait(PATIENCE) == 0


WAITS = b"waits for requests under way; a second Ctrl+C ends it at once\r\n"


@only_if(IS_LINUX)
@pytest.mark.parametrize("given", [(), ("--threads", "1"), ("--reload",)])
def test_a_terminal_is_told_what_an_interrupt_waits_for(
    folder: Path, given: tuple[str, ...], implementation: str
) -> None:
    given = ("hello:slow", "--bind", "unix:app.sock", *given)
    with (
        on_terminal(folder, *given, WSGIREF_FAST_IMPL=implementation) as (terminal, process),
        socket.socket(socket.AF_UNIX) as connection,
    ):
        try:
            read_terminal(terminal, b"unix:")
            wait_until(lambda: accepts(folder / "app.sock"))
            connection.connect(str(folder / "app.sock"))
            connection.sendall(b"GET /end HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_until((folder / "begun").exists)
            os.write(terminal, b"\x03")
            shown = read_terminal(terminal, WAITS)
            assert b"^C\r\n" in shown
            os.write(terminal, b"\x03")
            assert read_terminal(terminal, b"^C\r\n").endswith(b"^C\r\n")
            assert process.wait(PATIENCE) == 1
        finally:
            os.close(terminal)


@only_if(IS_LINUX)
def test_a_terminal_is_told_nothing_where_nothing_is_under_way(folder: Path) -> None:
    with on_terminal(folder, "hello", "--bind", "127.0.0.1:0") as (terminal, process):
        try:
            read_terminal(terminal, b"Ctrl+C ends it.\r\n")
            os.write(terminal, b"\x03")
            assert process.wait(PATIENCE) == 0
            assert read_terminal(terminal, b"\0") == b"^C\r\n"
        finally:
            os.close(terminal)


#: Becomes the command line, with its standard input as its terminal.
ON_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def test_the_command_line_imports_no_server_to_say_its_version() -> None:
    done = command("--version")
    assert done.returncode == 0
    program = "import sys, wsgiref_fast.__main__; print('argparse' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert found.stdout.split() == [b"False"]
