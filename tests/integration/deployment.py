"""Servers behind a proxy, run by the configurations and units of the documentation.

What those say is taken from their files, and only addresses and paths are replaced.
"""

from __future__ import annotations

import http.client
import itertools
import os
import shlex
import shutil
import signal
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

from support import find_port, wait_until

from . import harness
from .harness import APPS, HAPROXY, HOST, NGINX, PATIENCE, needs

DOCS = harness.ROOT / "docs" / "deploy"

#: Where Debian's nginx finds its modules.
NGINX_STREAM = shutil.which("ngx_stream_module.so", os.F_OK, "/usr/share/nginx/modules")

#: The proxies, and the configurations of those that read what they pass on.
PROXIES = [
    pytest.param(("nginx", "nginx.conf"), id="nginx", marks=needs(NGINX, "nginx")),
    pytest.param(("haproxy", "haproxy.cfg"), id="haproxy", marks=needs(HAPROXY, "haproxy")),
]

#: Where clients come from; Linux has all of 127.0.0.0/8.
CLIENT = "127.0.0.2"

#: The addresses of the hosts in the documentation.
HOSTS = [f"192.0.2.{number}:8000" for number in (11, 12, 13)]


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


class Backend:
    """A server that is ended and started again.

    Args:
        python: the interpreter of its environment.
        folder: where it has its files.
        options: more of its command line.

    """

    def __init__(self, python: Path, folder: Path, *options: str) -> None:
        self.port = find_port()
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


@dataclass
class Proxy:
    """A running proxy, its ports with and without TLS, and the socket that it is told by."""

    program: harness.Program
    port: int
    plain_port: int
    tls: ssl.SSLContext
    control: Path

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection, from an address that is not the proxy's."""
        return http.client.HTTPSConnection(
            HOST, self.port, timeout=PATIENCE, context=self.tls, source_address=(CLIENT, 0)
        )

    def connect_plainly(self, port: int) -> http.client.HTTPConnection:
        """Return a connection without TLS."""
        return http.client.HTTPConnection(HOST, port, timeout=PATIENCE, source_address=(CLIENT, 0))

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
def _run_nginx(
    folder: Path, backends: list[Backend], document: str, changes: Mapping[str, str]
) -> Iterator[Proxy]:
    """Run nginx with a configuration of the documentation."""
    tls, port, plain_port = make_certificate(folder), find_port(), find_port()
    replacements = {
        "user www-data;": "daemon off; user root;" if os.geteuid() == 0 else "daemon off;",
        "/run/nginx.pid": f"{folder}/pid",
        "/var/log/nginx/error.log": "stderr",
        "listen 443": f"listen {HOST}:{port}",
        **_replace_hosts(backends),
        **changes,
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
    command = [str(NGINX), "-e", "stderr", "-c", str(configuration)]
    assert "[warn]" not in harness.run([*command, "-t"])
    with harness.running(command, folder, ends_by=signal.SIGTERM) as program:
        program.wait_until_listening(port)
        yield Proxy(program, port, plain_port, tls, folder)
    for sign in ("[crit]", "[alert]", "[emerg]"):
        assert sign not in program.log()


@contextmanager
def _run_haproxy(
    folder: Path, backends: list[Backend], document: str, changes: Mapping[str, str]
) -> Iterator[Proxy]:
    """Run HAProxy with a configuration of the documentation."""
    tls, port, plain_port = make_certificate(folder), find_port(), find_port()
    replacements = {
        "log /dev/log local0": "log stdout format raw local0 notice",
        "bind :443": f"bind {HOST}:{port}",
        **_replace_hosts(backends),
        **changes,
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
    return {host: f"{HOST}:{backend.port}" for host, backend in zip(HOSTS, backends, strict=True)}


class Site(NamedTuple):
    """Servers and the proxy before them."""

    kind: str
    backends: list[Backend]
    proxy: Proxy

    def of_process(self, pid: int) -> Backend:
        return next(backend for backend in self.backends if backend.pid == pid)

    def ask(self, path: str, method: str = "GET", **headers: str) -> harness.Response:
        with closing(self.proxy.connect()) as connection:
            return harness.ask(connection, path, method, headers=headers)

    def drain(self, number: int) -> None:
        """Have HAProxy give a server no more requests; wait until it has none."""
        name = f"application/app{number + 1}"
        assert self.proxy.tell(f"set server {name} state drain").strip() == ""
        counts = f"show servers conn {name.partition('/')[0]}"
        wait_until(lambda: _used_connections(self.proxy.tell(counts))[f"app{number + 1}"] == 0)


def _used_connections(table: str) -> dict[str, int]:
    header, *rows = (line.split() for line in table.splitlines() if line)
    column = header[1:].index("used_cur")  # it begins with "#"
    return {row[0].partition("/")[2]: int(row[column]) for row in rows}


@contextmanager
def run_site(
    kind: str,
    document: str,
    folder: Path,
    python: Path,
    *options: str,
    changes: Mapping[str, str] | None = None,
) -> Iterator[Site]:
    """Run three servers, and a proxy before them by a configuration of the documentation.

    Args:
        kind: ``nginx`` or ``haproxy``.
        document: the name of the configuration.
        folder: an empty one.
        python: the interpreter of the servers.
        options: more of their command line.
        changes: what else is to be replaced in the configuration.

    """
    with ExitStack() as stack:
        backends = [Backend(python, folder, *options) for _ in range(3)]
        for backend in backends:
            stack.callback(backend.stop)
            backend.start("1")
        place = folder / "proxy"
        place.mkdir()
        run = {"nginx": _run_nginx, "haproxy": _run_haproxy}[kind]
        yield Site(
            kind, backends, stack.enter_context(run(place, backends, document, changes or {}))
        )
