"""Environments for real programs, the programs themselves, and clients that talk to them."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
APPS = Path(__file__).resolve().parent / "apps"
HOST = "127.0.0.1"

#: Seconds after which whatever is waited for has failed.
PATIENCE = 30.0

#: Seconds between two looks at something that another process does.
_PAUSE = 0.02

#: What a build of the package is made of.
_SOURCES = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "MANIFEST.in", "src")
_NO_SOURCES = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.so", "*.pyd", "*.c")

#: Variables that would reach a program past what a test wants it to have.
_WITHHELD = re.compile(r"PYTHON(PATH|HOME|WARNINGS|SAFEPATH)|WSGIREF_FAST_RUN|DJANGO_.*|FLASK_.*")

#: What no log may hold unless a test has asked for it.
_COMPLAINT = re.compile(
    r"Traceback|Exception (ignored|occurred|in)|Error in |Warning: |Fatal Python"
)


def source() -> Path:
    """Return the source tree that is tested: this one, unless the environment names another."""
    return Path(os.environ.get("WSGIREF_FAST_SOURCE", ROOT)).resolve()


def workshop() -> Path:
    """Return where environments are kept from one run to the next, for this interpreter."""
    tag = f"{sys.implementation.cache_tag}{getattr(sys, 'abiflags', '')}"
    return ROOT / "build" / "integration" / tag


def build_wheel(home: Path) -> Path:
    """Return a wheel of the package, compiled where that can be; build it if it is not there."""
    folder = home / f"wheel-{_digest_sources()}"
    if not list(folder.glob("*.whl")):
        for old in home.glob("wheel-*"):
            shutil.rmtree(old)
        tree = folder / "source"
        _copy_sources(tree)
        _pip("wheel", "--no-deps", "--wheel-dir", str(folder), str(tree))
    (wheel,) = folder.glob("*.whl")
    return wheel


def _digest_sources() -> str:
    digest = hashlib.sha256()
    tree = source()
    files = [tree / name for name in _SOURCES]
    files += sorted((tree / "src").rglob("*.p*"))
    for file in files:
        if file.is_file() and file.suffix not in (".pyc", ".pyd"):
            digest.update(f"{file.relative_to(tree)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _copy_sources(tree: Path) -> None:
    """Copy what is built from: a build writes beside its sources, and others may change them."""
    tree.mkdir(parents=True)
    for name in _SOURCES:
        origin = source() / name
        if origin.is_dir():
            shutil.copytree(origin, tree / name, ignore=_NO_SOURCES)
        elif origin.exists():
            shutil.copy(origin, tree / name)


def make_environment(name: str, wheel: Path, home: Path) -> Path:
    """Return the interpreter of an environment with an application's requirements.

    One that has been made of the same wheel and the same requirements is used again.
    """
    folder = home / name
    python = folder / "bin" / "python"
    requirements = APPS / "requirements" / f"{name}.txt"
    contents = f"{wheel.parent.name}\n{requirements.read_text()}"
    stamp = folder / "contents"
    if not (stamp.exists() and stamp.read_text() == contents):
        shutil.rmtree(folder, ignore_errors=True)
        run([sys.executable, "-m", "venv", "--without-pip", str(folder)])
        _pip("install", "--requirement", str(requirements), str(wheel), python=python)
        stamp.write_text(contents)
    return python


def _pip(*arguments: str, python: Path | None = None) -> None:
    """Run pip for another interpreter: many environments come without one."""
    options = ["--quiet", "--disable-pip-version-check", "--no-input"]
    if python is not None:
        options += ["--python", str(python)]
    # Both implementations are wanted; which one runs is said when a program starts.
    variables = {k: v for k, v in os.environ.items() if k != "WSGIREF_FAST_IMPL"}
    run([_find_pip(), "-m", "pip", *options, *arguments], variables)


def _find_pip() -> str:
    """Return an interpreter that has pip: ours, or the one that our environment is made of."""
    for python in (sys.executable, getattr(sys, "_base_executable", ""), shutil.which("python3")):
        if (
            python
            and not subprocess.run(
                [python, "-m", "pip", "--version"], capture_output=True, check=False
            ).returncode
        ):
            return python
    raise RuntimeError("no python3 here has pip (Debian package python3-pip)")


def run(command: list[str], variables: Mapping[str, str] | None = None) -> str:
    """Run a command to its end and return its output; what it says is in the failure."""
    done = subprocess.run(
        command,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


class Program:
    """A running program and its log: all that it writes to its output and error output."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        #: The exit status that it is to end with.
        self.status = 0
        self._log = log
        self._excused = 0
        self._port: int | None = None

    def log(self) -> str:
        """Return what the program has written so far."""
        return self._log.read_text(errors="replace")

    def wait_for(self, pattern: str, prompt: Callable[[], None] | None = None) -> re.Match[str]:
        """Wait until the log has, past what was excused, what a pattern describes.

        Args:
            pattern: a regular expression.
            prompt: called again and again meanwhile, to bring it about.

        """
        compiled = re.compile(pattern)
        found: list[re.Match[str]] = []

        def look() -> bool:
            if prompt is not None:
                prompt()
            found.extend(compiled.finditer(self.log(), self._excused))
            return bool(found)

        self._wait(look, f"{pattern!r} in its log")
        return found[0]

    def wait_until_listening(self, port: int) -> None:
        """Wait until connections to a port are accepted."""
        self._wait(lambda: is_listening(port), f"a server on port {port}")
        self._port = port

    def wait_for_port(self) -> int:
        """Wait until the program says which port it listens on; return it."""
        self._port = int(self.wait_for(r"listening on (\d+)")[1])
        return self._port

    def _wait(self, look: Callable[[], object], what: str) -> None:
        """Look again and again, while the program runs; a program that ends is looked at last."""
        for _ in range(int(PATIENCE / _PAUSE)):
            code = self.process.poll()
            if look():
                return
            assert code is None, f"ended with {code} before {what}:\n{self.log()}"
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(_PAUSE)
        raise AssertionError(f"there was no {what}:\n{self.log()}")

    def excuse(self, pattern: str) -> None:
        """Wait for what a test has provoked, and forgive it, and all before it."""
        self._excused = self.wait_for(pattern).end()

    def complaints(self) -> list[str]:
        """Return what the log holds that no log should."""
        return _COMPLAINT.findall(self.log()[self._excused :])

    def end(self, by: signal.Signals) -> int:
        """End this one process, be it by force; return its exit status."""
        if self.process.poll() is None:
            self._settle()
            self.process.send_signal(by)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def _settle(self) -> None:
        """Wait until requests that were answered are over for the server too.

        An interrupt before that counts as an exception of the application, which does not
        end a server. A connection without a request is closed after those before it.
        """
        if self._port is not None:
            with suppress(OSError), socket.create_connection((HOST, self._port), PATIENCE) as last:
                last.shutdown(socket.SHUT_WR)
                last.recv(1)


@contextmanager
def running(
    command: list[str],
    folder: Path,
    *,
    ends_by: signal.Signals = signal.SIGINT,
    status: int = 0,
    variables: Mapping[str, str] | None = None,
) -> Iterator[Program]:
    """Run a program in a folder; then end it, and see that it went well."""
    log = folder / "log"
    with log.open("wb") as output, _interruptible():
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=_environment(variables or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    program = Program(process, log)
    program.status = status
    try:
        yield program
    finally:
        ended_with = program.end(ends_by)
    assert ended_with == program.status, f"{command} ended with {ended_with}:\n{program.log()}"
    assert not program.complaints(), program.log()


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not _WITHHELD.fullmatch(name)}
    ours = {"PYTHONPATH": str(APPS), "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return {**kept, **ours, **more}


@contextmanager
def _interruptible() -> Iterator[None]:
    """Have what is started heed SIGINT even where the tests run in the background of a shell."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def is_listening(port: int) -> bool:
    """Tell whether a port takes connections."""
    try:
        socket.create_connection((HOST, port), PATIENCE).close()
    except ConnectionError:
        return False
    return True


def wait_until_refused(port: int) -> None:
    """Wait until a port takes no more connections."""
    for _ in range(int(PATIENCE / _PAUSE)):
        if not is_listening(port):
            return
        time.sleep(_PAUSE)
    raise AssertionError(f"port {port} is still listened on")


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate of this host, signed by itself, and its key; return their files."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = f"{OPENSSL} req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", f"subjectAltName=IP:{HOST},DNS:localhost"]
    run([*command.split(), *names, "-out", str(certificate), "-keyout", str(key)])
    return certificate, key


def find_tool(*names: str) -> str | None:
    """Return the path of a system program, also one that is for the administrator."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
    return next(filter(None, (shutil.which(name, path=path) for name in names)), None)


CURL = find_tool("curl")
OPENSSL = find_tool("openssl")
LIGHTTPD = find_tool("lighttpd")
NGINX = find_tool("nginx")
HAPROXY = find_tool("haproxy")
CHROMIUM = find_tool("chromium", "chromium-browser", "google-chrome")


def needs(tool: str | None, package: str) -> pytest.MarkDecorator:
    """Skip tests where a system program is missing, and say which package has it."""
    return pytest.mark.skipif(tool is None, reason=f"install the Debian package {package}")


@dataclass
class Response:
    """A response as a client has seen it."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


def connect(port: int, tls: ssl.SSLContext | None = None) -> http.client.HTTPConnection:
    """Return a connection, of http.client."""
    if tls is None:
        return http.client.HTTPConnection(HOST, port, timeout=PATIENCE)
    return http.client.HTTPSConnection(HOST, port, timeout=PATIENCE, context=tls)


def ask(
    connection: http.client.HTTPConnection,
    path: str,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Make a request on a connection and read the whole response."""
    connection.request(method, path, body, dict(headers or {}))
    with connection.getresponse() as answer:
        return Response(answer.status, answer.headers, answer.read())


def fetch(
    port: int,
    path: str,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Make a request on a connection of its own."""
    connection = connect(port)
    try:
        return ask(connection, path, method, body, headers)
    finally:
        connection.close()


def curl(port: int, path: str, *options: str) -> bytes:
    """Run curl, and return what it prints: the body, unless the options say otherwise."""
    assert CURL is not None
    fixed = [CURL, "-q", "--silent", "--show-error", "--noproxy", "*", "--max-time", str(PATIENCE)]
    command = [*fixed, *options, f"http://{HOST}:{port}{path}"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, f"{command} ended with {done.returncode}: {done.stderr!r}"
    return done.stdout


def launch(python: Path, *program: str) -> list[str]:
    """Return the command that runs a program with the package in the place of wsgiref."""
    return [str(python), "-m", "wsgiref_fast", "run", *program]


def make_newer(file: Path) -> None:
    """Change a file's time, by which its versions are told apart, to one that it never had.

    The reloader looks every second, and the first time when the server may be long ready: it
    has to see the file before a change and after it.
    """
    later = file.stat().st_mtime + 10
    os.utime(file, (later, later))


def implementation(python: str) -> str:
    """Return which kernels an environment's interpreter chooses: it has to be what serves."""
    version = run([python, "-m", "wsgiref_fast", "--version"])
    return version.strip().rpartition("(")[2].removesuffix(")")


def is_ours(file: str) -> bool:
    """Tell whether a file of code belongs to the package, as it is installed."""
    return Path(file).parent.name == "wsgiref_fast" and "site-packages" in Path(file).parts
