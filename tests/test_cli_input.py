"""What the command line refuses: each option's bad input, in one line, with exit code 2."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

import wsgiref_fast
from cli import APPLICATION, LAUNCHER, command, environment, only_if, refused
from support import PATIENCE
from wsgiref_fast._cli import arguments, values
from wsgiref_fast._cli.messages import Stop
from wsgiref_fast._http11.addresses import write_address
from wsgiref_fast._http11.options import _RANGES, Options, kind_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder with an application, and a file that is none."""
    (tmp_path / "hello.py").write_text(APPLICATION, "utf-8")
    (tmp_path / "text").write_text("text", "utf-8")
    return tmp_path


NUMBERS = sorted(_RANGES)


def option_of(name: str) -> str:
    return "--" + name.replace("_", "-")


BAD = [
    ("--bind", "", "has no port"),
    ("--bind", "localhost", "'localhost' has no port, as localhost:8000 has"),
    ("--bind", "localhost:", "a port is a number from 0 to 65535"),
    ("--bind", "localhost:http", "a port is a number from 0 to 65535"),
    ("--bind", ":65536", "a port is a number from 0 to 65535"),
    ("--bind", ":-1", "a port is a number from 0 to 65535"),
    ("--bind", ":\u0662", "a port is a number from 0 to 65535"),
    ("--bind", "::1", "stands in brackets"),
    ("--bind", "fe80::1:8000", "stands in brackets"),
    ("--bind", "*:8000", "for all addresses write :8000"),
    ("--bind", "http://localhost:8000", "no address"),
    ("--bind", "/run/app.sock", "no address: did you mean unix:/run/app.sock?"),
    ("--nonsense", "x", "there is no option --nonsense: --help shows all"),
    ("--https", "x", "did you mean --certfile?"),
    ("--log", "x", "did you mean --access-log?"),
    ("--bind", "unix:", "has no path"),
    ("--bind", "unix:nonsense/app.sock", "no folder"),
    ("--bind", "unix:text", "no socket; choose another"),
    ("--bind", "unix:.", "there is a folder"),
    ("--bind", "unix:" + 120 * "x", "is too long for a socket"),
    ("--bind", "fd://", "no descriptor's number"),
    ("--bind", "fd://x", "no descriptor's number"),
    ("--bind", "fd://-1", "no descriptor's number"),
    ("--bind", "fd://999", "no descriptor 999 was inherited"),
    ("--bind", "fd://0", "descriptor 0 is no socket"),
    ("--bind", "nonsense.invalid:8000", "there is no host 'nonsense.invalid'"),
    ("--bind", f"{64 * 'x'}.x:8000", "there is no host"),
    ("--workers", "0", "a number from 1 on, not '0'"),
    ("--workers", "-1", "a number from 1 on"),
    ("--workers", "many", "a number from 1 on"),
    ("--access-log", "nonsense", "invalid choice: 'nonsense'"),
    ("--server-header", "a\nb", "must be printable ASCII"),
    ("--server-header", "\xe9", "must be printable ASCII"),
    ("--trusted-proxies", "", "there is nothing in the list"),
    ("--trusted-proxies", "10.0.0.0/8,nonsense", "nonsense"),
    ("--trusted-proxies", "10.0.0.1/8", "10.0.0.1/8 has host bits set; did you mean 10.0.0.0/8?"),
    ("--status-allowed", "::1/64", "::1/64 has host bits set; did you mean ::/64?"),
    ("--proxy-headers", "nonsense", "nonsense"),
    ("--proxy-headers", ",", "there is nothing in the list"),
    ("--status-path", "", "a status page's path is like /-/status"),
    ("--status-path", "status", "a status page's path is like /-/status, not 'status'"),
    ("--status-allowed", "127.0.0.1", "--status-allowed needs --status-path"),
    ("--status-allowed", "nonsense", "--status-allowed: addresses, networks"),
    ("--trusted-proxies", "nonsense", "--trusted-proxies: addresses, networks"),
    ("--status-allowed", ",", "there is nothing in the list"),
    ("--certfile", "", "the name of a file"),
    ("--certfile", "nonsense.pem", "not found"),
    ("--certfile", "text", "no certificate in"),
    ("--keyfile", "key.pem", "needs --certfile, too"),
    ("--keyfile-password-file", "text", "needs --certfile, too"),
    ("--ca-certs", "text", "needs --certfile, too"),
    ("--client-certs", "maybe", "invalid choice: 'maybe'"),
    ("--client-certs", "required", "needs --certfile, too"),
    ("--chdir", "nonsense", "there is no folder 'nonsense'"),
    ("--chdir", "text", "there is no folder 'text'"),
    ("--reload-dir", "nonsense", "there is no folder 'nonsense'"),
    ("--reload-dir", ".", "needs --reload"),
    *((option_of(name), "nonsense", "number") for name in NUMBERS),
    *((option_of(name), "-1", "number") for name in NUMBERS),
    *((option_of(name), "1e400", "number") for name in NUMBERS),
    *((option_of(name), "99999999999T", "number") for name in NUMBERS),
    *((option_of(name), "nan", "number") for name in NUMBERS),
    ("--max-body", "10Q", "which may end in K, M or G, not '10Q'"),
    ("--max-header-fields", "1K", "a number from 1 to 100000, not '1K'"),
    ("--threads", "1.5", "a number from 0 to 10000, not '1.5'"),
    ("--header-timeout", "0", "a number of seconds from 0.001 to 31536000, not '0'"),
    ("--header-timeout", "10s", "a number of seconds"),
]

#: What is found out only where one tries; the rest is refused by the parser.
TRIED = {"unix:" + 120 * "x", "nonsense.invalid:8000", f"{64 * 'x'}.x:8000", "fd://999", "fd://0"}
TRIED |= {"unix:nonsense/app.sock", "unix:text", "unix:.", "nonsense.pem", "text"}


@pytest.mark.parametrize(("option", "value", "message"), BAD)
def test_bad_input_is_answered_by_one_line(
    folder: Path, option: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if value in TRIED:
        assert message in refused("hello:app", f"{option}={value}", folder=folder)
        return
    monkeypatch.chdir(folder)
    with pytest.raises(Stop) as found:
        arguments.parse(["hello:app", f"{option}={value}"])
    assert message in found.value.message
    assert (found.value.code, found.value.details) == (2, "")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--max-body=x",), "--max-body: a number of bytes"),
        (("--bind",), "--bind: expected one argument"),
        (("--factory=yes",), "ignored explicit argument 'yes'"),
        (("--bind", ":0", "--bind", "x"), "'x' has no port"),
        (("--bind", ":8000", "--bind", ":8000"), "--bind: :8000 is given twice"),
        (("--proxy-protocol",), "--proxy-protocol needs --trusted-proxies"),
        (("--reload", "--workers", "2"), "do not go together"),
        (("--status-path", "/status", "--workers", "2"), "do not go together"),
        (("--certfile", "text", "--ca-certs", "text"), "--ca-certs needs --client-certs"),
        (("--certfile", "text", "--client-certs", "required"), "--client-certs needs --ca-certs"),
        (("--port", "80"), "there is no option --port: did you mean --bind host:port?"),
        (("-b", ":80"), "there is no option -b: did you mean --bind host:port?"),
        (("--thread=3",), "there is no option --thread: did you mean --threads?"),
        (("--max-bodi", "3"), "there is no option --max-bodi: did you mean --max-body?"),
    ],
)
def test_a_wrong_command_line_is_answered_by_one_line(
    folder: Path, given: tuple[str, ...], message: str
) -> None:
    assert message in refused("hello:app", *given, folder=folder)


@pytest.mark.parametrize("given", ["help", "version"])
def test_what_others_have_as_a_command_is_an_option(folder: Path, given: str) -> None:
    expected = f"there is no module {given}: did you mean --{given}?"
    assert refused(given, folder=folder) == expected
    (folder / f"{given}.py").write_text(APPLICATION, "utf-8")
    assert command(given, "--check", folder=folder).returncode == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((), "an application is needed: module:app"),
        (("",), "an application is needed: module:app"),
        (("--bind", ":0"), "an application is needed: module:app"),
        (("hello:app", "other:app"), "one application at a time: what is 'other:app'?"),
        (("nonsense",), "there is no module nonsense: {folder} has hello; --chdir goes"),
    ],
)
def test_what_is_no_command_is_answered_with_the_usage(
    folder: Path, given: tuple[str, ...], message: str
) -> None:
    done = command(*given, folder=folder)
    assert (done.returncode, done.stdout) == (2, "")
    *usage, line = done.stderr.splitlines()
    assert len(usage) == 5
    assert line.startswith("wsgiref_fast: " + message.format(folder=folder))


def test_each_number_of_the_server_is_an_option_with_its_unit_and_default() -> None:
    text = " ".join(command("--help").stdout.split())
    for name in NUMBERS:
        kind = {"seconds": "SECONDS", "bytes": "BYTES", "number": "N"}[kind_of(name)]
        assert f"{option_of(name)} {kind}" in text
    assert "--header-timeout SECONDS for the head of a request (default: 10 seconds)" in text
    assert "longest body of a request (default: 1G bytes)" in text


def test_help_tells_the_exit_codes() -> None:
    done = command("--help", COLUMNS="120")
    assert (done.returncode, done.stderr) == (0, "")
    codes = done.stdout.partition("exit codes:\n")[2].partition("\n\n")[0].splitlines()
    found = [line.split()[0] for line in codes if line[2] != " "]
    assert found == ["0", "1", "2", "3,", "130"]


def test_help_fits_a_terminal_of_80_columns() -> None:
    done = command("--help", COLUMNS="80")
    assert [line for line in done.stdout.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        ("10M", "max_body", 10 << 20),
        ("10MB", "max_body", 10 << 20),
        ("10MiB", "max_body", 10 << 20),
        ("1g", "max_body", 1 << 30),
        ("0", "max_body", 0),
        ("4k", "max_header_line", 4096),
        ("0.5", "header_timeout", 0.5),
        ("7", "header_timeout", 7.0),
        ("3", "threads", 3),
    ],
)
def test_numbers_are_read_with_their_units(given: str, name: str, value: float) -> None:
    found = arguments.parse(["hello:app", option_of(name), given])
    assert found.options == {name: value}
    assert type(found.options[name]) is type(getattr(Options, name))


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("8000", ("127.0.0.1", 8000)),
        (":8000", ("", 8000)),
        ("0.0.0.0:8000", ("0.0.0.0", 8000)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:8000", ("::1", 8000)),
        ("[::]:8000", ("::", 8000)),
        ("fd://3", "fd://3"),
    ],
)
def test_addresses_are_read(given: str, address: object) -> None:
    assert arguments.parse(["hello:app", "--bind", given]).bind == [address]
    assert values.address(write_address(values.address(given))) == address


def test_files_are_looked_for_where_the_command_was_given(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    found = arguments.parse(["a:b", "--certfile", "c.pem", "--bind=unix:s", "--chdir", "."])
    assert (found.certfile, found.bind) == (str(folder / "c.pem"), [f"unix:{folder / 's'}"])
    assert found.chdir == str(folder)


def test_options_and_the_application_come_in_any_order() -> None:
    one = arguments.parse(["--threads", "2", "hello:app", "--factory"])
    other = arguments.parse(["hello:app", "--factory", "--threads", "2"])
    one.argv = other.argv = []
    assert one == other
    assert (one.app, one.factory, one.options) == ("hello:app", True, {"threads": 2})


def test_a_module_of_the_name_of_a_command_can_be_served(folder: Path) -> None:
    for name in ("run", "demo"):
        (folder / f"{name}.py").write_text(APPLICATION, "utf-8")
        done = command(f"{name}:app", "--check", folder=folder)
        assert (done.returncode, done.stderr) == (0, "")


def test_the_console_script_does_the_same(folder: Path) -> None:
    # As pip's script calls it, from a folder of its own.
    script = folder / "bin" / "wsgiref-fast"
    script.parent.mkdir()
    script.write_text(
        "import sys\nfrom wsgiref_fast._cli import console\nsys.exit(console())\n", "utf-8"
    )
    for given in (("--version",), ("hello:app", "--check"), ("nonsense:app",)):
        done = subprocess.run(
            [sys.executable, "-W", "error", str(script), *given],
            cwd=folder,
            env=environment(),
            capture_output=True,
            encoding="utf-8",
            timeout=PATIENCE,
        )
        expected = command(*given, folder=folder)
        assert (done.returncode, done.stdout, done.stderr) == (
            expected.returncode,
            expected.stdout,
            expected.stderr,
        )


def test_the_console_script_runs_modules_of_the_current_folder(folder: Path) -> None:
    script = folder / "bin" / "wsgiref-fast"
    script.parent.mkdir()
    script.write_text(
        "import sys\nfrom wsgiref_fast._cli import console\nsys.exit(console())\n", "utf-8"
    )
    (folder / "program.py").write_text("import sys; print(sys.argv[1:], sys.path[0])", "utf-8")
    done = subprocess.run(
        [sys.executable, str(script), "run", "-m", "program", "x"],
        cwd=folder,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
    )
    assert (done.stdout, done.stderr) == (f"['x'] {folder}\n", "")


@pytest.mark.parametrize(
    ("address", "code", "message"),
    [
        ("unix:nonsense/app.sock", 2, "there is no folder"),
        ("nonsense.invalid:8000", 2, "there is no host 'nonsense.invalid'"),
        ("127.0.0.1:{taken}", 1, "it is in use"),
    ],
)
def test_workers_are_not_begun_where_they_cannot_listen(
    folder: Path, address: str, code: int, message: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        given = address.format(taken=taken.getsockname()[1])
        line = refused("hello:app", "--workers=2", "--bind", given, folder=folder, code=code)
        assert message in line


def test_workers_without_gunicorn_say_what_to_install(folder: Path) -> None:
    (folder / "sitecustomize.py").write_text(
        "import sys\nsys.modules['gunicorn'] = None\n", "utf-8"
    )
    done = command("hello:app", "--workers=2", "--bind=:0", folder=folder, PYTHONPATH=str(folder))
    assert done.returncode == 2
    assert done.stderr == (
        'wsgiref_fast: --workers needs gunicorn: pip install "wsgiref_fast[gunicorn]"\n'
    )


@only_if(sys.platform != "win32")
@pytest.mark.parametrize("given", ["--help", "--version", "hello:app --check", "nonsense:app"])
def test_nobody_who_listens_is_no_traceback(folder: Path, given: str) -> None:
    # Its output goes to a pipe whose reader has gone, and its errors nowhere; then both.
    words = " ".join(f"'{word}'" for word in LAUNCHER)
    for way in ("2>err | true", ">&- 2>err", "2>&1 >&- | cat >err", "<&- >&- 2>&-", "2>/dev/full"):
        subprocess.run(
            ["bash", "-c", f"{words} {given} {way}; exit 0"],
            cwd=folder,
            env=environment(),
            stdout=subprocess.DEVNULL,
            check=True,
            timeout=PATIENCE,
        )
        said = (folder / "err").read_text("utf-8") if (folder / "err").exists() else ""
        assert "Traceback" not in said
        assert "Exception" not in said
        assert "Warning" not in said


def test_the_version_is_told(folder: Path) -> None:
    done = command("--version", folder=folder)
    version = f"wsgiref_fast {wsgiref_fast.__version__} ({wsgiref_fast.IMPLEMENTATION})\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, version, "")


# PyPy does not start in such a folder.
@only_if(sys.platform == "linux" and sys.implementation.name == "cpython")
def test_a_current_folder_that_has_gone_is_told(tmp_path: Path) -> None:
    program = (
        "import os, sys\nos.chdir(sys.argv[1])\nos.rmdir(sys.argv[1])\n"
        "os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"
    )
    (tmp_path / "gone").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "gone", *LAUNCHER[1:], "hello:app"],
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
    )
    assert done.returncode == 2
    assert done.stderr == ("wsgiref_fast: the current folder is there no more: go to another one\n")
