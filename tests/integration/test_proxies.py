"""What applications and clients see of each other through nginx and HAProxy.

The proxies run by the configurations in ``docs/deploy``.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from . import harness
from .conftest import Environments
from .deployment import CLIENT, NGINX_STREAM, PROXIES, Site, run_site
from .harness import HAPROXY, HOST, NGINX, ask, needs

pytestmark = needs(harness.OPENSSL, "openssl")

#: What a client would like to be taken for.
FORGED = {
    "Forwarded": "for=198.51.100.7;proto=http;host=forged.invalid",
    "X-Forwarded-For": "198.51.100.7",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Host": "forged.invalid",
    "X-Forwarded-Port": "7",
    "X-Forwarded-Prefix": "/forged",
}


@pytest.fixture(scope="module", params=PROXIES)
def site(
    request: pytest.FixtureRequest,
    environments: Environments,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    kind, document = request.param
    folder = tmp_path_factory.mktemp(kind)
    with run_site(kind, document, folder, environments("bare")) as site:
        yield site


@pytest.fixture
def client(site: Site) -> Iterator[http.client.HTTPConnection]:
    with closing(site.proxy.connect()) as connection:
        yield connection


def test_the_application_sees_who_has_asked_the_proxy(
    site: Site, client: http.client.HTTPConnection
) -> None:
    account = json.loads(ask(client, "/").body)
    assert (account["address"], account["scheme"]) == (CLIENT, "https")
    assert account["host"] == f"{HOST}:{site.proxy.port}"


def test_what_a_client_says_of_that_kind_is_not_heard(
    client: http.client.HTTPConnection,
) -> None:
    plain = json.loads(ask(client, "/").body)
    account = json.loads(ask(client, "/", headers=FORGED).body)
    for name in ("address", "scheme", "host", "forwarded"):
        assert account[name] == plain[name]


def test_who_asks_without_tls_is_sent_elsewhere_with_its_method(site: Site) -> None:
    with closing(site.proxy.connect_plainly(site.proxy.plain_port)) as client:
        answer = ask(client, "/path?query=1", "POST", headers={"Host": "here.example"})
    assert answer.status == 308
    assert answer.headers["Location"] == "https://here.example/path?query=1"


def test_blocks_come_through_when_they_are_yielded(
    client: http.client.HTTPConnection, tmp_path: Path
) -> None:
    client.request("GET", f"/stream?{tmp_path}")
    with client.getresponse() as answer:
        assert answer.readline() == b"first\n"
        (tmp_path / "release").touch()
        assert answer.read() == b"second\n"


def test_the_proxy_refuses_a_body_that_is_too_long(client: http.client.HTTPConnection) -> None:
    client.putrequest("POST", "/")
    client.putheader("Content-Length", str(10 * 2**20 + 1))
    client.endheaders()
    with client.getresponse() as answer:
        assert answer.status == 413


def test_a_body_of_the_greatest_length_comes_through(client: http.client.HTTPConnection) -> None:
    assert ask(client, "/", "POST", b"x" * (10 * 2**20)).status == 200


# The PROXY protocol


@pytest.mark.parametrize(
    ("kind", "document", "changes"),
    [
        pytest.param(
            "nginx",
            "nginx-stream.conf",
            {},
            marks=[needs(NGINX, "nginx"), needs(NGINX_STREAM, "libnginx-mod-stream")],
        ),
        pytest.param("haproxy", "haproxy-tcp.cfg", {}, marks=needs(HAPROXY, "haproxy")),
        pytest.param(
            "haproxy",
            "haproxy-tcp.cfg",
            {"send-proxy-v2": "send-proxy"},
            marks=needs(HAPROXY, "haproxy"),
        ),
    ],
    ids=["nginx-1", "haproxy-2", "haproxy-1"],
)
def test_the_proxy_protocol_tells_whose_connection_it_is(
    kind: str, document: str, changes: dict[str, str], environments: Environments, tmp_path: Path
) -> None:
    python, options = environments("bare"), ("--proxy-protocol",)
    with run_site(kind, document, tmp_path, python, *options, changes=changes) as site:
        pids: set[int] = set()
        while len(pids) < len(site.backends):
            with closing(site.proxy.connect_plainly(site.proxy.port)) as client:
                for _ in range(2):
                    account = json.loads(ask(client, "/", headers=FORGED).body)
                    assert client.sock is not None
                    assert account["address"] == CLIENT
                    assert account["port"] == str(client.sock.getsockname()[1])
            pids.add(account["pid"])
