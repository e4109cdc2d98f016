"""prometheus_client's `start_http_server`, with and without TLS."""

from __future__ import annotations

import json
import ssl
import subprocess
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from . import harness
from .conftest import Environments
from .harness import APPS, ask, connect, needs

pytestmark = needs(harness.OPENSSL, "openssl")


class Exporter:
    """The running program: a server's port and testimony by name, and who signed for it."""

    def __init__(self, program: harness.Program, certificate: Path) -> None:
        self.servers: dict[str, Any] = json.loads(program.wait_for(r"listening: (.*)\n")[1])
        self._tls = ssl.create_default_context(cafile=str(certificate))

    def ask(self, name: str, path: str, **headers: str) -> harness.Response:
        tls = self._tls if name == "tls" else None
        connection = connect(self.servers[name]["port"], tls)
        try:
            return ask(connection, path, headers=headers)
        finally:
            connection.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate of this host, signed by itself; its key lies beside it."""
    folder = tmp_path_factory.mktemp("tls")
    command = f"{harness.OPENSSL} req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    command += " -addext subjectAltName=IP:127.0.0.1 -addext keyUsage=digitalSignature,keyCertSign"
    harness.run([*command.split(), "-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem"])
    return folder / "cert.pem"


@pytest.fixture
def exporter(environments: Environments, certificate: Path, tmp_path: Path) -> Iterator[Exporter]:
    """Run it for each test: that it stops as it should belongs to what is tested."""
    arguments = [str(APPS / "prometheus_app.py"), str(certificate)]
    arguments.append(str(certificate.with_name("key.pem")))
    command = harness.launch(environments("prometheus"), *arguments)
    with harness.running(command, tmp_path) as program:
        yield Exporter(program, certificate)
    assert program.log().count("stopped: True") == 2


@pytest.mark.parametrize("name", ["plain", "tls"])
def test_metrics_are_scraped_again_and_again(exporter: Exporter, name: str) -> None:
    assert harness.is_ours(exporter.servers[name]["server"])
    for _ in range(3):
        answer = exporter.ask(name, "/metrics")
        assert (answer.status, b"\nvisits_total 42.0\n" in answer.body) == (200, True)
        assert answer.headers["Content-Length"] is not None


@pytest.mark.parametrize("name", ["plain", "tls"])
def test_metrics_are_compressed_for_a_client_that_takes_it(exporter: Exporter, name: str) -> None:
    answer = exporter.ask(name, "/metrics", **{"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.body[:2] == b"\x1f\x8b"


def test_a_client_that_speaks_no_tls_stops_nobody_else(exporter: Exporter) -> None:
    port = exporter.servers["tls"]["port"]
    connection = connect(port)
    with pytest.raises((OSError, HTTPException)):
        ask(connection, "/metrics")
    connection.close()
    assert exporter.ask("tls", "/metrics").status == 200


@needs(harness.CURL, "curl")
def test_curl_scrapes_over_tls(exporter: Exporter, certificate: Path) -> None:
    url = f"https://{harness.HOST}:{exporter.servers['tls']['port']}/metrics"
    assert harness.CURL is not None
    command = [harness.CURL, "-q", "-sS", "--noproxy", "*", "--cacert", str(certificate), url]
    done = subprocess.run(command, capture_output=True, timeout=harness.PATIENCE, check=True)
    assert b"\nvisits_total 42.0\n" in done.stdout
