"""Which servers are measured, and how each is started.

To add one: a line in `SERVERS`; a peer without a command of its own has a function in
``launch.py`` too, and its package a line in ``bench/requirements.txt``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
ROOT = _HERE.parent.parent

_APP = "bench.servers.apps:app"


@dataclass(frozen=True)
class Server:
    """One server: what it is called, and the command that runs it on a port."""

    name: str
    title: str
    kind: str  # own, standard, peer or limit
    command: Callable[[int], list[str]]
    package: str = ""  # its distribution; none: it is here in any case
    environ: dict[str, str] = field(default_factory=dict)
    has_threads: bool = False  # four of them
    ends_bodies: bool = True  # also those of unknown length, otherwise than by closing

    def why_not(self) -> str | None:
        """Say why it cannot be measured here."""
        if self.package:
            try:
                version(self.package)
            except PackageNotFoundError:
                return f"{self.package} is not installed: see bench/requirements.txt"
        if self.kind == "limit" and shutil.which("cc") is None:
            return "there is no C compiler"
        if self.environ.get("WSGIREF_FAST_IMPL") == "compiled" and not _is_compiled():
            return "wsgiref_fast is installed without its kernels"
        return None


def _is_compiled() -> bool:
    import wsgiref_fast

    return wsgiref_fast.IMPLEMENTATION == "compiled"


def _launched(name: str, **options: Any) -> Callable[[int], list[str]]:
    module = "bench.servers.launch"
    return lambda port: [sys.executable, "-m", module, name, str(port), json.dumps(options)]


def _script(name: str) -> str:
    """Return the path of a program that came with a package."""
    return str(Path(sys.executable).with_name(name))


def _granian(port: int) -> list[str]:
    options = "--interface wsgi --workers 1 --blocking-threads 1 --no-log --host 127.0.0.1"
    return [_script("granian"), *options.split(), "--port", str(port), _APP]


def _uwsgi(port: int) -> list[str]:
    options = "--need-app --die-on-term --disable-logging --listen 100 --buffer-size 32768"
    where = ["--http11-socket", f"127.0.0.1:{port}", "--home", sys.prefix]
    return [_script("uwsgi"), *where, *options.split(), "--module", _APP]


def _gunicorn(worker: str) -> Callable[[int], list[str]]:
    options = f"--worker-class {worker} --threads {4 if worker == 'gthread' else 1}"
    more = "--workers 1 --keep-alive 600 --log-level critical --backlog 1024"

    def command(port: int) -> list[str]:
        bind = ["--bind", f"127.0.0.1:{port}"]
        return [_script("gunicorn"), *options.split(), *more.split(), *bind, _APP]

    return command


def _limit(port: int) -> list[str]:
    return [str(build_limit()), str(port)]


def build_limit() -> Path:
    """Compile the C program, where that was not done yet."""
    source = _HERE / "limit.c"
    program = ROOT / "build" / "bench" / "limit"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        program.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cc", "-O2", "-o", str(program), str(source)], check=True)
    return program


_PURE = {"WSGIREF_FAST_IMPL": "pure"}
_COMPILED = {"WSGIREF_FAST_IMPL": "compiled"}

SERVERS = [
    Server("server", "wsgiref_fast Server", "own", _launched("server"), environ=_COMPILED),
    Server(
        *("server-threads", "wsgiref_fast Server, 4 threads", "own"),
        _launched("server", threads=4),
        environ=_COMPILED,
        has_threads=True,
    ),
    Server("server-pure", "wsgiref_fast Server, pure", "own", _launched("server"), environ=_PURE),
    Server(
        *("drop-in", "wsgiref_fast drop-in", "own"),
        _launched("drop-in"),
        environ=_COMPILED,
        ends_bodies=False,
    ),
    Server(
        *("drop-in-threading", "wsgiref_fast drop-in, threading", "own"),
        _launched("drop-in-threading"),
        environ=_COMPILED,
        ends_bodies=False,
    ),
    Server("wsgiref", "wsgiref", "standard", _launched("wsgiref"), ends_bodies=False),
    Server(
        *("wsgiref-threading", "wsgiref, threading", "standard"),
        _launched("wsgiref-threading"),
        ends_bodies=False,
    ),
    Server("bjoern", "bjoern", "peer", _launched("bjoern"), "bjoern"),
    Server("fastpysgi", "FastPySGI", "peer", _launched("fastpysgi"), "fastpysgi"),
    Server("granian", "granian", "peer", _granian, "granian"),
    Server("uwsgi", "uWSGI", "peer", _uwsgi, "uWSGI", ends_bodies=False),
    Server("gunicorn-sync", "gunicorn sync", "peer", _gunicorn("sync"), "gunicorn"),
    Server(
        *("gunicorn-gthread", "gunicorn gthread, 4 threads", "peer"),
        _gunicorn("gthread"),
        "gunicorn",
        has_threads=True,
    ),
    Server("waitress", "waitress", "peer", _launched("waitress"), "waitress", has_threads=True),
    Server("cheroot", "cheroot", "peer", _launched("cheroot"), "cheroot", has_threads=True),
    Server("werkzeug", "werkzeug", "peer", _launched("werkzeug"), "Werkzeug"),
    Server("limit", "C loop, fixed answer", "limit", _limit),
]


def versions() -> dict[str, str]:
    """Return the version of each distribution that is measured, or takes part."""
    names = {server.package for server in SERVERS if server.package}
    found = {}
    for name in sorted({*names, "wsgiref_fast", "Flask", "Django"}, key=str.lower):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            pass
    return found


def environ_of(server: Server, app: str, file: str) -> dict[str, str]:
    """Return the environment variables that a server is started with."""
    kept = {name: value for name, value in os.environ.items() if name != "WSGIREF_FAST_IMPL"}
    ours = {"BENCH_APP": app, "BENCH_FILE": file, "PYTHONPATH": str(ROOT)}
    return {**kept, **ours, "PYTHONDONTWRITEBYTECODE": "1", **server.environ}
