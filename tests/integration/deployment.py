"""Servers behind a proxy, run by the configurations of the documentation; clients that load them.

What the documentation says is taken from its files, and only addresses and paths are replaced.
"""

from __future__ import annotations

import hashlib
import http.client
import itertools
import json
import os
import shlex
import signal
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support import wait_until

from . import harness
from .harness import APPS, HOST, PATIENCE

DOCS = harness.ROOT / "docs" / "deploy"

NGINX = harness.find_tool("nginx")
HAPROXY = harness.find_tool("haproxy")

#: The addresses of the hosts in the documentation.
HOSTS = [f"192.0.2.{number}:8000" for number in (11, 12, 13)]

#: What clients send in turn: method, length of the body, whether the connection is kept.
_REQUESTS = [
    ("GET", 0, True),
    ("POST", 10_000, True),
    ("POST", 10, True),
    ("GET", 0, False),
    ("POST", 200_000, True),
    ("PUT", 100, True),
    ("POST", 1_000, False),
]
_CLIENTS = 6


def read_document(name: str, replacements: Mapping[str, str]) -> str:
    """Return a file of the documentation with values replaced, each of which has to be in it."""
    text = (DOCS / name).read_text()
    for old, new in replacements.items():
        assert old in text, f"{name} does not have {old!r}"
        text = text.replace(old, new)
    return text


def read_unit(name: str) -> dict[str, str]:
    """Return the settings of a unit file; of several of one name, the last."""
    lines = [line for line in (DOCS / name).read_text().splitlines() if "=" in line]
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


# The servers


class Backend:
    """A server that is ended and started again.

    Args:
        python: the interpreter of its environment.
        folder: where it has its files.
        options: more of its command line.

    """

    def __init__(self, python: Path, folder: Path, *options: str) -> None:
        self.port = harness.find_port()
        self.program: harness.Program
        unit = read_unit("wsgiref-fast@.service")
        program, *arguments = shlex.split(unit["ExecStart"].replace("%i", str(self.port)))
        assert program == f"{unit['WorkingDirectory']}/venv/bin/python"
        self._command = [str(python), *arguments, *options]
        self._stop_signal = signal.Signals[unit["KillSignal"]]
        self._folder = folder
        self._starts = itertools.count()
        self._run: AbstractContextManager[harness.Program] | None = None
        self._is_ending = False

    @property
    def pid(self) -> int:
        return self.program.process.pid

    def start(self, version: str) -> None:
        """Start it with a version of its application; wait until it takes connections."""
        folder = self._folder / f"{self.port}-{next(self._starts)}"
        folder.mkdir()
        (folder / "app.py").write_bytes((APPS / "deployed_app.py").read_bytes())
        variables = {"DEPLOYED_VERSION": version}
        self._is_ending = False
        self._run = harness.running(
            self._command, folder, ends_by=self._stop_signal, variables=variables
        )
        self.program = self._run.__enter__()
        self.program.wait_until_listening(self.port)

    def tell_to_stop(self) -> None:
        """Have it end as systemd would: a second signal would end it at once."""
        if not self._is_ending:
            self._is_ending = True
            self.program.process.send_signal(self._stop_signal)

    def stop(self) -> None:
        """Have it end, if it runs; see that it went well."""
        run, self._run = self._run, None
        if run is not None:
            self.tell_to_stop()
            self.program.process.wait(PATIENCE)
            run.__exit__(None, None, None)

    def kill(self) -> None:
        """Kill it, and wait until it is gone."""
        self.program.status, self._is_ending = -signal.SIGKILL, True
        self.program.process.kill()
        self.program.process.wait(PATIENCE)


# The proxies


@dataclass
class Proxy:
    """A running proxy, its ports with and without TLS, and the socket that it is told by."""

    program: harness.Program
    port: int
    plain_port: int
    tls: ssl.SSLContext
    control: Path

    def connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(HOST, self.port, timeout=PATIENCE, context=self.tls)

    def tell(self, command: str) -> str:
        """Tell HAProxy something by its control socket; return its answer."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(str(self.control))
            connection.sendall(f"{command}\n".encode())
            with connection.makefile() as answer:
                return answer.read()


def make_certificate(folder: Path) -> ssl.SSLContext:
    """Make ``certificate.pem``, ``key.pem`` and both in ``tls/both.pem``; return who trusts it."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=here", "-addext", f"subjectAltName=IP:{HOST}"]
    harness.run([*command, "-keyout", str(key), "-out", str(certificate)])
    (folder / "tls").mkdir()
    (folder / "tls" / "both.pem").write_bytes(certificate.read_bytes() + key.read_bytes())
    return ssl.create_default_context(cafile=str(certificate))


@contextmanager
def nginx(folder: Path, backends: list[Backend], document: str) -> Iterator[Proxy]:
    """Run nginx with a configuration of the documentation."""
    tls, port, plain_port = make_certificate(folder), harness.find_port(), harness.find_port()
    replacements = {
        "user www-data;": "daemon off; user root;" if os.geteuid() == 0 else "daemon off;",
        "/run/nginx.pid": f"{folder}/pid",
        "/var/log/nginx/error.log": "stderr",
        "listen 443": f"listen {HOST}:{port}",
        **_replace_hosts(backends),
    }
    if document == "nginx.conf":
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        places = "".join(f"{kind}_temp_path {folder}/{kind}; " for kind in kinds)
        replacements |= {
            "http {\n": f"http {{\n{places}\n",
            "/var/log/nginx/access.log": f"{folder}/access.log",
            "listen 80": f"listen {HOST}:{plain_port}",
            "/etc/nginx/tls": str(folder),
        }
    configuration = folder / "nginx.conf"
    configuration.write_text(read_document(document, replacements))
    command = [str(NGINX), "-p", str(folder), "-e", "stderr", "-c", str(configuration)]
    assert "[warn]" not in harness.run([*command, "-t"])
    with harness.running(command, folder, ends_by=signal.SIGTERM) as program:
        program.wait_until_listening(port)
        yield Proxy(program, port, plain_port, tls, folder)
    for sign in ("[crit]", "[alert]", "[emerg]"):
        assert sign not in program.log()


@contextmanager
def haproxy(folder: Path, backends: list[Backend], document: str) -> Iterator[Proxy]:
    """Run HAProxy with a configuration of the documentation."""
    tls, port, plain_port = make_certificate(folder), harness.find_port(), harness.find_port()
    replacements = {
        "log /dev/log local0": "log stdout format raw local0 notice",
        "bind :443": f"bind {HOST}:{port}",
        **_replace_hosts(backends),
    }
    if document == "haproxy.cfg":
        replacements |= {
            "/run/haproxy/admin.sock": f"{folder}/control",
            "bind :80": f"bind {HOST}:{plain_port}",
            "/etc/haproxy/tls/": f"{folder}/tls/",
        }
    configuration = folder / "haproxy.cfg"
    configuration.write_text(read_document(document, replacements))
    command = [str(HAPROXY), "-db", "-f", str(configuration)]
    assert harness.run([*command, "-c"]) == "Configuration file is valid\n"
    with harness.running(command, folder, ends_by=signal.SIGUSR1) as program:
        program.wait_until_listening(port)
        yield Proxy(program, port, plain_port, tls, folder / "control")


def _replace_hosts(backends: list[Backend]) -> dict[str, str]:
    return {
        host: f"{HOST}:{backend.port}" for host, backend in zip(HOSTS, backends, strict=True)
    }


# The clients


@dataclass
class Failure:
    """A request that has not got its answer."""

    client: int
    method: str
    begun: float
    reason: str


class Load:
    """Clients that make request after request, and look at each answer.

    Attributes:
        answered: how many good answers each version, and each process, has given.
        failures: what was no good answer.

    """

    def __init__(self, connect: Callable[[], http.client.HTTPConnection]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._has_ended = threading.Event()
        self.answered: Counter[str | int] = Counter()
        self.failures: list[Failure] = []

    def __str__(self) -> str:
        return f"{self.total} requests answered, {len(self.failures)} failed: {self.failures}"

    @property
    def total(self) -> int:
        """How many good answers there were."""
        with self._lock:
            return sum(count for who, count in self.answered.items() if isinstance(who, int))

    def wait_for_more(self, count: int = 300) -> None:
        """Wait until so many more were answered."""
        goal = self.total + count
        wait_until(lambda: self.total >= goal)

    def wait_for(self, who: str | int, count: int = 20) -> None:
        """Wait until a version, or a process, has answered so many more."""
        goal = self.answered[who] + count
        wait_until(lambda: self.answered[who] >= goal)

    def __enter__(self) -> Load:
        self._threads = [
            threading.Thread(target=self._work, args=(number,)) for number in range(_CLIENTS)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._has_ended.set()
        for thread in self._threads:
            thread.join(PATIENCE)
        assert not any(thread.is_alive() for thread in self._threads)

    def _work(self, client: int) -> None:
        requests = itertools.islice(itertools.cycle(_REQUESTS), client, None)
        with ExitStack() as stack:
            connection: http.client.HTTPConnection | None = None
            while not self._has_ended.is_set():
                method, size, is_kept = next(requests)
                if connection is None or not is_kept:
                    stack.close()
                    connection = self._connect()
                    stack.callback(connection.close)
                begun = time.monotonic()
                try:
                    answer = self._ask(connection, method, os.urandom(size))
                except Exception as error:
                    with self._lock:
                        self.failures.append(Failure(client, method, begun, repr(error)))
                    connection = None
                else:
                    with self._lock:
                        self.answered.update((answer["version"], answer["pid"]))

    def _ask(self, connection: http.client.HTTPConnection, method: str, body: bytes) -> Any:
        answer = harness.ask(connection, "/", method, body or None)
        assert answer.status == 200, f"{answer.status} {answer.body!r}"
        account = json.loads(answer.body)
        assert account["sha256"] == hashlib.sha256(body).hexdigest()
        return account
