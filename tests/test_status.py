"""The page of how a server does: what it says, to whom, and what it leaves alone."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urljoin
from wsgiref.util import setup_testing_defaults

import pytest

from support import PATIENCE, connected, exchange, receive_all, running, split_response, wait_until
from wsgiref_fast import __version__
from wsgiref_fast.server import Server, serve
from wsgiref_fast.status import StatusPage
from wsgiref_fast.validate import validator

pytestmark = pytest.mark.usefixtures("implementation")

PLACES = ["", "/", "/metrics", "/json"]


def path_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Answer with the path; the path ``/404`` with that status."""
    status = "404 Not Found" if environ["PATH_INFO"] == "/404" else "200 OK"
    body = environ["PATH_INFO"].encode("latin-1")
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def serving(app: Any = path_app, **options: Any) -> Any:
    """Run a server that has the page, around an application, or without one by itself."""
    server = Server(("127.0.0.1", 0), **options)
    server.set_app(StatusPage(server, app))
    return running(server)


class Answer:
    """What a client has got."""

    def __init__(self, response: bytes) -> None:
        line, fields, self.body = split_response(response)
        self.status = int(line.split()[1])
        self.headers = dict(fields)
        assert len(self.headers) == len(fields)
        self.text = self.body.decode()


def ask(server: Any, path: str, *fields: str, method: str = "GET") -> Answer:
    lines = "".join(f"{field}\r\n" for field in ("Host: 127.0.0.1", *fields, "Connection: close"))
    return Answer(exchange(server, f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode()))


def ask_directly(page: StatusPage, path: str = "/-/status", **variables: str) -> int:
    """Return the status that a request with this environ has."""
    environ: dict[str, Any] = {"PATH_INFO": path, "REMOTE_ADDR": "127.0.0.1", **variables}
    setup_testing_defaults(environ)
    seen: list[str] = []
    list(page(environ, lambda status, headers, exc_info=None: seen.append(status)))  # type: ignore[arg-type]
    return int(seen[0][:3])


def samples(text: str) -> dict[str, float]:
    """Return the samples of Prometheus' text format; each with its HELP and TYPE before it."""
    found: dict[str, float] = {}
    family = ""
    for line in text.splitlines():
        if line.startswith("# HELP "):
            family = line.split()[2]
            assert line.endswith(".")
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name == family
            assert kind == ("counter" if name.endswith("_total") else "gauge")
        else:
            sample, value = line.rsplit(" ", 1)
            assert sample.partition("{")[0] == family
            assert sample not in found
            found[sample] = float(value)
    assert text.endswith("\n")
    return found


class Page(HTMLParser):
    """The tables of the page, what it refers to, and which elements it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, dict[str, list[str]]] = {}
        self.references: list[str] = []
        self.elements: set[str] = set()
        self.tiles: dict[str, str] = {}
        self._title = self._row = self._tile = ""
        self._within = ""
        self.refresh: str | None = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self._within = tag
        self.references += [value or "" for name, value in attrs if name in ("href", "src")]
        if ("http-equiv", "refresh") in attrs:
            self.refresh = dict(attrs)["content"]

    def handle_data(self, data: str) -> None:
        text = data.strip()
        if not text:
            return
        if self._within == "h2":
            self._title = text
            self.tables[text] = {}
        elif self._within == "th":
            self._row = text
            self.tables[self._title][text] = []
        elif self._within == "td" or (self._within == "small" and self._title):
            self.tables[self._title][self._row].append(text)
        elif self._within == "dt":
            self._tile = text
        elif self._within == "dd":
            self.tiles[self._tile] = text


def own(implementation: str, threads: int = 0) -> int:
    """Return how often a request for the numbers is among them.

    The compiled kernels count what they serve themselves, on Linux, when it is over.
    """
    by_kernel = implementation == "compiled" and sys.platform == "linux"
    return 0 if by_kernel and not threads else 1


# What it says


@pytest.mark.parametrize("threads", [0, 2])
def test_the_metrics_are_those_of_the_server(threads: int, implementation: str) -> None:
    with serving(threads=threads) as server:
        assert server.stats.requests == 0
        sent = sum(len(exchange(server, request)) for request in [*[REQUEST] * 3, MISSING])
        wait_until(lambda: not any(server.stats.connections.values()))
        before = server.stats
        answer = Answer(exchange(server, QUESTION))
        found = samples(answer.text)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    info = [name for name in found if name.startswith("wsgiref_fast_info")]
    assert f'version="{__version__}",implementation="{implementation}",python="' in info[0]
    assert found.pop(info[0]) == 1
    assert found.pop("wsgiref_fast_start_time_seconds") == before.began_at
    received = found.pop("wsgiref_fast_received_bytes_total") - before.received
    assert received == len(QUESTION)
    states = ("preface", "handshake", "idle", "reading", "answering", "closing")
    kinds = ("head", "body", "idle", "send", "handshake")
    assert before.sent == sent
    busy = "answering" if own(implementation, threads) else "idle"
    assert found == {
        "wsgiref_fast_requests_total": 4 + own(implementation, threads),
        'wsgiref_fast_responses_total{status="200"}': 3,
        'wsgiref_fast_responses_total{status="404"}': 1,
        "wsgiref_fast_connections_accepted_total": 5,
        **{f'wsgiref_fast_connections{{state="{state}"}}': int(state == busy) for state in states},
        "wsgiref_fast_max_connections": 1000,
        "wsgiref_fast_sent_bytes_total": sent,
        **{f'wsgiref_fast_timeouts_total{{kind="{kind}"}}': 0 for kind in kinds},
        "wsgiref_fast_threads": threads,
        "wsgiref_fast_loops": 1,
    }


REQUEST = b"GET /here HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
MISSING = REQUEST.replace(b"/here", b"/404")
QUESTION = REQUEST.replace(b"/here", b"/-/status/metrics").replace(b"x", b"localhost")


def test_the_page_has_the_same_numbers(implementation: str) -> None:
    with serving(max_connections=1234, keep_alive_timeout=0.5) as server:
        for request in [*[REQUEST] * 3, MISSING]:
            exchange(server, request)
        wait_until(lambda: not any(server.stats.connections.values()))
        sent = server.stats.sent
        answer = ask(server, "/-/status")
    page = Page(answer.text)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.tiles["Requests"] == str(4 + own(implementation))
    assert page.tiles["Responses 4xx"] == "1"
    assert page.tiles["Responses 5xx"] == "0"
    assert page.tiles["Sent"] == f"{sent} B"
    assert page.tables["Responses by status"] == {"200": ["OK", "3"], "404": ["Not Found", "1"]}
    connections = page.tables["Connections by state"]
    assert connections["answering"][-1] == str(own(implementation))
    assert connections["reading"][-1] == "0"
    assert connections["accepted"][-1] == "5"
    assert {row[-1] for row in page.tables["Timeouts by kind"].values()} == {"0"}
    assert page.tables["Server"]["implementation"] == [implementation]
    assert page.tables["Server"]["version"] == [__version__]
    assert page.tables["Server"]["process"] == [str(os.getpid())]
    assert page.tables["Limits"]["max_connections"] == ["1,234", "default 1,000"]
    assert page.tables["Limits"]["max_body"] == ["1 GiB"]
    assert page.tables["Times"]["keep_alive_timeout"] == ["0.5 s", "default 5 s"]


def test_the_json_has_the_same_numbers(implementation: str) -> None:
    with serving(trusted_proxies="10.0.0.0/8") as server:
        exchange(server, MISSING)
        answer = ask(server, "/-/status/json")
        facts = json.loads(answer.text)
        stats = server.stats
    assert answer.headers["Content-Type"] == "application/json"
    assert (facts["requests"], facts["accepted"]) == (1 + own(implementation), 2)
    assert facts["responses"] == {"404": 1}
    assert facts["connections"]["answering"] == own(implementation)
    assert facts["timeouts"] == stats.timeouts
    assert facts["began_at"] == stats.began_at
    assert facts["implementation"] == implementation
    assert facts["options"]["max_body"] == 1 << 30
    assert facts["options"]["ssl_context"] is False
    assert facts["options"]["trusted_proxies"] == ["10.0.0.0/8"]


def test_a_server_that_has_done_nothing_has_a_page() -> None:
    with Server(("127.0.0.1", 0)) as server:
        page = StatusPage(server)
        assert [ask_directly(page, place) for place in PLACES] == [200] * 4


def test_an_unknown_status_has_no_phrase() -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("299 Odd", [("Content-Length", "0")])
        return []

    with serving(app) as server:
        exchange(server, REQUEST)
        page = Page(ask(server, "/-/status").text)
    assert page.tables["Responses by status"] == {"299": ["1"]}


def test_what_an_option_says_is_no_markup() -> None:
    with serving(server_header="<script>alert(1)</script>&") as server:
        answer = ask(server, "/-/status")
    page = Page(answer.text)
    assert "script" not in page.elements
    assert page.tables["Server"]["server_header"][0] == "<script>alert(1)</script>&"


# How it is asked for


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "text/html"),
        ("*/*", "text/html"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html"),
        ("text/html, text/plain", "text/html"),
        ("text/plain; version=0.0.4", "text/plain"),
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,"
            "*/*;q=0.2",
            "text/plain",
        ),
        ("application/openmetrics-text; version=0.0.1", "text/plain"),
    ],
)
def test_a_client_that_scrapes_gets_the_metrics_at_the_page(accept: str | None, kind: str) -> None:
    with serving() as server:
        answer = ask(server, "/-/status", *([f"Accept: {accept}"] if accept else []))
    assert answer.headers["Content-Type"].partition(";")[0] == kind
    assert answer.headers["Vary"] == "Accept"


@pytest.mark.parametrize("place", PLACES)
def test_head_has_the_headers_and_no_body(place: str) -> None:
    with serving() as server:
        answer = ask(server, f"/-/status{place}", method="HEAD")
        assert (answer.status, answer.body) == (200, b"")
        assert int(answer.headers["Content-Length"]) > 500


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_are_told_which_there_are(method: str) -> None:
    with serving() as server:
        answer = ask(server, "/-/status", method=method)
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
        assert server.stats.errors == {} or server.stats.errors == {405: 1}


def test_nobody_keeps_an_answer() -> None:
    with serving() as server:
        for place in [*PLACES, "/nothing"]:
            answer = ask(server, f"/-/status{place}")
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("query", "seconds"),
    [
        ("", None),
        ("?refresh=5", "5"),
        ("?x=1&refresh=3600", "3600"),
        ("?refresh=0", None),
        ("?refresh=3601", None),
        ("?refresh=-5", None),
        ("?refresh=5;url=http://elsewhere", None),
        ("?refresh=%22%3E%3Cscript%3E", None),
        ("?refresh=%C2%B2", None),
        ("?refresh", None),
    ],
)
def test_the_page_is_loaded_anew_as_often_as_is_asked_for(query: str, seconds: str | None) -> None:
    with serving() as server:
        page = Page(ask(server, f"/-/status{query}").text)
    assert page.refresh == seconds
    assert ("?" if seconds else "?refresh=5") in page.references
    assert "script" not in page.elements


@pytest.mark.parametrize(
    ("url", "script_name", "path"),
    [
        ("/-/status", "", "/-/status"),
        ("/-/status/", "", "/-/status/"),
        ("/prefix/-/status", "/prefix", "/-/status"),
        ("/taken/away/-/status", "", "/-/status"),
    ],
)
def test_references_of_the_page_lead_below_it(url: str, script_name: str, path: str) -> None:
    with Server(("127.0.0.1", 0)) as server:
        references = references_at(StatusPage(server, path_app), script_name, path)
    found = [urljoin(f"http://here{url}", reference) for reference in references]
    below = f"http://here{url.rstrip('/')}"
    assert found == [f"{below}/metrics", f"{below}/json"]


@pytest.mark.parametrize(
    ("url", "script_name", "path"),
    [
        ("/", "", "/"),
        ("/mount", "/mount", ""),
        ("/mount/", "/mount", "/"),
        ("/b%C3%A4r", "/bÃ¤r", ""),
    ],
)
def test_references_of_a_page_by_itself_lead_below_it(
    url: str, script_name: str, path: str
) -> None:
    with Server(("127.0.0.1", 0)) as server:
        references = references_at(StatusPage(server), script_name, path)
    found = [urljoin(f"http://here{url}", reference) for reference in references]
    below = f"http://here{url.rstrip('/')}"
    assert found == [f"{below}/metrics", f"{below}/json"]


def references_at(page: StatusPage, script_name: str, path: str) -> list[str]:
    """Return what the page at a place refers to below itself; there is nothing from elsewhere."""
    environ = {"SCRIPT_NAME": script_name, "PATH_INFO": path, "REMOTE_ADDR": "127.0.0.1"}
    setup_testing_defaults(environ)
    (body,) = page(environ, lambda status, headers, exc_info=None: bytes)
    references = Page(body.decode()).references
    assert references[:2] == ["data:,", "?refresh=5"]
    return references[2:]


# What is left alone


@pytest.mark.parametrize(
    "path", ["/", "/-/statu", "/-/statuses", "/-/", "/x/-/status", "//-/status"]
)
def test_everything_else_goes_to_the_application(path: str) -> None:
    with serving() as server:
        answer = ask(server, path)
    assert (answer.status, answer.text) == (200, path)


def test_the_application_gets_what_the_page_got() -> None:
    seen: list[Any] = []
    result = [b"as it is"]

    def app(environ: Any, start_response: Any) -> Any:
        seen.extend((environ, dict(environ), start_response))
        return result

    environ: dict[str, Any] = {"PATH_INFO": "/other"}
    setup_testing_defaults(environ)
    before = dict(environ)

    def start_response(*_: Any) -> Any: ...

    with Server(("127.0.0.1", 0)) as server:
        assert StatusPage(server, app)(environ, start_response) is result
    assert seen[0] is environ
    assert seen[1] == before
    assert seen[2] is start_response


def test_what_is_not_there_is_not_found() -> None:
    with serving() as server:
        assert ask(server, "/-/status/nothing").status == 404
        assert ask(server, "/-/status/metrics/").status == 404
    with serving(None) as server:
        assert [ask(server, place or "/").status for place in PLACES] == [200] * 4
        assert ask(server, "/-/status").status == 404


def test_a_page_by_itself_may_have_a_path() -> None:
    with Server(("127.0.0.1", 0)) as server:
        page = StatusPage(server, path="/here/")
        paths = ["/here", "/here/", "/here/metrics", "/", "/hereabouts", "/metrics"]
        found = [ask_directly(page, path) for path in paths]
    assert found == [200, 200, 200, 404, 404, 404]


@pytest.mark.parametrize("path", ["status", "/a b", "/a?b", "/a#b", "/%61", "//", "/ä", "/\n"])
def test_a_path_that_is_none_is_refused(path: str) -> None:
    with (
        Server(("127.0.0.1", 0)) as server,
        pytest.raises(ValueError, match="path is like /-/status, not"),
    ):
        StatusPage(server, path_app, path)


@pytest.mark.parametrize("path", ["", "/"])
def test_a_path_that_would_hide_the_application_is_refused(path: str) -> None:
    with (
        Server(("127.0.0.1", 0)) as server,
        pytest.raises(ValueError, match="needs a path besides"),
    ):
        StatusPage(server, path_app, path)


def test_what_is_no_application_is_refused() -> None:
    with Server(("127.0.0.1", 0)) as server, pytest.raises(TypeError, match="WSGI application"):
        StatusPage(server, "/-/status")  # type: ignore[arg-type]


def test_it_keeps_to_the_letter_of_pep_3333() -> None:
    server = Server(("127.0.0.1", 0))
    page = StatusPage(server, validator(path_app, strict=True))
    server.set_app(validator(page, strict=True))
    with running(server):
        for method in ("GET", "HEAD"):
            for place in [*PLACES, "?refresh=2"]:
                assert ask(server, f"/-/status{place}", method=method).status == 200
        assert ask(server, "/-/status", method="POST").status == 405
        assert ask(server, "/-/status/nothing").status == 404
        assert ask(server, "/-/status", "Via: 1.1 x").status == 403
        assert ask(server, "/app").status == 200


# Who may see it


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0)) as server:
        yield server


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("127.0.0.1", 200),
        ("127.1.2.3", 200),
        ("::1", 200),
        ("::ffff:127.0.0.1", 200),
        ("10.0.0.1", 403),
        ("192.168.0.1", 403),
        ("::2", 403),
        ("::ffff:10.0.0.1", 403),
        ("", 403),
        ("unknown", 403),
    ],
)
def test_by_default_it_is_for_this_machine(server: Server, address: str, status: int) -> None:
    page = StatusPage(server, path_app)
    for place in [*PLACES, "/nothing"]:
        found = ask_directly(page, f"/-/status{place}", REMOTE_ADDR=address)
        assert found == (404 if (status, place) == (200, "/nothing") else status)
    assert ask_directly(page, "/other", REMOTE_ADDR=address) == 200


@pytest.mark.parametrize(
    "allowed", [["10.0.0.0/8", "unix", "fd00::/8"], " 10.0.0.0/8,unix,fd00::/8"]
)
def test_others_may_be_allowed(server: Server, allowed: Any) -> None:
    page = StatusPage(server, path_app, allowed=allowed)
    found = [
        ask_directly(page, REMOTE_ADDR=address)
        for address in ("10.9.9.9", "", "fd00::7%eth0", "127.0.0.1", "11.0.0.1")
    ]
    assert found == [200, 200, 200, 403, 403]


def test_nobody_may_be_allowed(server: Server) -> None:
    assert ask_directly(StatusPage(server, path_app, allowed=())) == 403


@pytest.mark.parametrize("allowed", [["10.0.0.1/8"], ["localhost"], "127.0.0.1 ::1"])
def test_what_is_no_address_cannot_be_allowed(server: Server, allowed: Any) -> None:
    with pytest.raises(ValueError, match="those allowed to see the status page are addresses"):
        StatusPage(server, path_app, allowed=allowed)


TRACES = {
    "HTTP_X_FORWARDED_FOR": "127.0.0.1",
    "HTTP_X_FORWARDED_PROTO": "https",
    "HTTP_X_FORWARDED_HOST": "localhost",
    "HTTP_FORWARDED": "for=127.0.0.1",
    "HTTP_X_REAL_IP": "127.0.0.1",
    "HTTP_VIA": "1.1 proxy",
}


@pytest.mark.parametrize("trace", TRACES)
def test_a_proxy_that_is_not_trusted_shows_it_to_nobody(server: Server, trace: str) -> None:
    variables = {trace: TRACES[trace]}
    assert ask_directly(StatusPage(server, path_app), **variables) == 403
    page = StatusPage(server, path_app, allowed=["127.0.0.1", "unix"])
    assert ask_directly(page, **variables) == 403
    assert ask_directly(page, **variables, REMOTE_ADDR="") == 403
    assert ask_directly(StatusPage(server, path_app, allowed="*"), **variables) == 200


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (["X-Forwarded-For: 10.0.0.7"], 200),
        (["X-Forwarded-For: 10.0.0.7", "Via: 1.1 x", "X-Forwarded-Proto: https"], 200),
        (["X-Forwarded-For: 127.0.0.1, 10.0.0.7"], 200),
        (["X-Forwarded-For: 9.9.9.9"], 403),
        (["X-Forwarded-For: 127.0.0.1, 9.9.9.9"], 403),
        (["X-Forwarded-For: 10.0.0.7, 9.9.9.9"], 403),
        # The client's address is not known: it is the proxy's, or one that was made up.
        (["X-Forwarded-For: 127.0.0.1"], 403),
        (["X-Forwarded-For: nonsense"], 403),
        (["Via: 1.1 x"], 403),
        ([], 200),
    ],
)
def test_a_trusted_proxy_says_who_sees_it(fields: list[str], status: int) -> None:
    server = Server(("127.0.0.1", 0), trusted_proxies="127.0.0.1")
    server.set_app(StatusPage(server, path_app, allowed="127.0.0.1, 10.0.0.0/8"))
    with running(server):
        assert ask(server, "/-/status", *fields).status == status


def test_where_all_are_trusted_nobody_can_make_up_an_address() -> None:
    with serving(trusted_proxies="*") as server:
        assert ask(server, "/-/status", "X-Forwarded-For: 127.0.0.1").status == 403
        assert ask(server, "/-/status").status == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8000", 200),
        ("shop.localhost:8000", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("192.168.0.1", 200),
        ("", 200),
        ("shop.example", 403),
        ("shop.example:8000", 403),
        ("localhost.example", 403),
        ("127.0.0.1.example", 403),
    ],
)
def test_this_machine_asks_for_no_name_of_somebody_elses(
    server: Server, host: str, status: int
) -> None:
    page = StatusPage(server, path_app, allowed=["127.0.0.1", "unix", "10.0.0.1"])
    assert ask_directly(page, HTTP_HOST=host) == status
    assert ask_directly(page, HTTP_HOST=host, REMOTE_ADDR="") == status
    assert ask_directly(page, HTTP_HOST=host, REMOTE_ADDR="10.0.0.1") == 200


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets")
@pytest.mark.parametrize(("allowed", "status"), [("127.0.0.1", 403), ("unix", 200)])
def test_a_unix_socket_is_allowed_by_its_name(allowed: str, status: int, tmp_path: Path) -> None:
    server = Server(f"unix:{tmp_path}/socket")
    server.set_app(StatusPage(server, path_app, allowed=allowed))
    request = REQUEST.replace(b"/here", b"/-/status").replace(b"x", b"localhost")
    with running(server), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(f"{tmp_path}/socket")
        connection.sendall(request)
        assert Answer(receive_all(connection)).status == status


def test_a_refusal_says_nothing_of_the_server(server: Server) -> None:
    with serving() as server:
        answer = ask(server, "/-/status", "Via: 1.1 x")
    assert answer.status == 403
    assert not re.search(r"\d", answer.text)


# With other connections, and with `serve`


def test_other_connections_are_seen_as_they_are() -> None:
    with serving(threads=1) as server, connected(server) as idle, connected(server) as slow:
        idle.sendall(b"GET /here HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(12) == b"HTTP/1.1 200"  # or it could be the one that is read
        slow.sendall(b"GET /he")
        wait_until(lambda: server.stats.connections["reading"] == 1)
        wait_until(lambda: server.stats.connections["idle"] == 1)
        found = samples(ask(server, "/-/status/metrics").text)
    assert found['wsgiref_fast_connections{state="idle"}'] == 1
    assert found['wsgiref_fast_connections{state="reading"}'] == 1
    assert found['wsgiref_fast_connections{state="answering"}'] == 1


SERVED = """
import sys
from wsgiref_fast import serve
from wsgiref_fast.simple_server import demo_app
serve(demo_app, "fd://" + sys.argv[1], status_path="/-/how", status_allowed=sys.argv[2])
"""


@pytest.mark.skipif(os.name != "posix", reason="sockets are inherited otherwise")
@pytest.mark.parametrize(("allowed", "status"), [("127.0.0.1", 200), ("10.0.0.1", 403)])
def test_serve_has_it_where_it_is_told(allowed: str, status: int, implementation: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", SERVED, str(listener.fileno()), allowed],
            pass_fds=[listener.fileno()],
            env={**os.environ, "WSGIREF_FAST_IMPL": implementation},
        )
        try:
            request = b"GET /-/how HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            with socket.create_connection(listener.getsockname(), PATIENCE) as connection:
                connection.sendall(request)
                answer = Answer(receive_all(connection))
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
            process.wait()
    assert answer.status == status
    assert ("up for" in answer.text) == (status == 200)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"status_path": "here"}, "path is like"),
        ({"status_path": ""}, "needs a path"),
        ({"status_path": "/x", "status_allowed": ["me"]}, "those allowed"),
        ({"status_allowed": ["127.0.0.1"]}, "status_allowed needs status_path"),
    ],
)
def test_serve_says_what_is_wrong_with_it(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        serve(path_app, port=0, **options)
