"""pytest's fixture ``live_wsgi_server``, in runs of pytest's own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from support import PATIENCE

pytest_plugins = "pytester"

_APPLICATION = """
import urllib.error, urllib.request
import pytest

def app(environ, start_response):
    if environ["PATH_INFO"] == "/broken":
        raise LookupError("provoked")
    headers = {"/wrong": {}, "/doubtful": []}.get(environ["PATH_INFO"])
    headers = [("Content-Type", "text/plain")] if headers is None else headers
    start_response("200 OK", headers)
    return [b"Hello"]

def get(url):
    try:
        with urllib.request.urlopen(url) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
"""


def run(pytester: pytest.Pytester, tests: str, *arguments: str) -> pytest.RunResult:
    pytester.makepyfile(_APPLICATION + tests)
    return pytester.runpytest_subprocess("-W", "error", *_plugin(), *arguments, timeout=PATIENCE)


def _plugin() -> list[str]:
    """Return what loads the plugin where the package was installed before it had one."""
    from importlib.metadata import entry_points

    return [] if entry_points(group="pytest11", name="wsgiref_fast") else ["-p", PLUGIN]


PLUGIN = "wsgiref_fast.pytest_plugin"


def test_the_fixture_serves_an_application(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
def test_hello(live_wsgi_server):
    server = live_wsgi_server(app)
    assert get(server.url) == get(server.url_for("/a")) == (200, b"Hello")
    assert [request.path for request in server.requests] == ["/", "/a"]
""",
    )
    result.assert_outcomes(passed=1)


def test_all_servers_of_a_test_are_closed_with_it(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
seen = []

@pytest.mark.parametrize("fails", [False, True])
def test_two(live_wsgi_server, fails):
    seen.extend([live_wsgi_server(app), live_wsgi_server(app, threads=2)])
    assert get(seen[-1].url) == get(seen[-2].url)
    assert not fails

def test_that_they_are_closed():
    import socket
    assert len(seen) == 4
    for server in seen:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((server.host, server.port))
""",
    )
    result.assert_outcomes(passed=2, failed=1)


@pytest.mark.parametrize("path", ["/wrong", "/doubtful"])
def test_what_the_application_does_wrong_fails_the_test(
    pytester: pytest.Pytester, path: str
) -> None:
    result = run(
        pytester,
        f"""
def test_it(live_wsgi_server):
    get(live_wsgi_server(app).url)
    get(live_wsgi_server(app).url_for("{path}"))
""",
    )
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["not as PEP 3333 demands:", f"GET {path}: *[Hh]eader*"])
    assert f"GET {path}: " not in result.stderr.str()


def test_an_exception_of_the_application_is_in_the_output_of_a_test_that_fails(
    pytester: pytest.Pytester,
) -> None:
    result = run(
        pytester,
        """
def test_it(live_wsgi_server):
    assert get(live_wsgi_server(app).url_for("/broken"))[0] == 200
""",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E *assert 500 == 200", "GET /broken failed with LookupError: provoked", "LookupError: *"]
    )


def test_a_fixture_of_a_wider_scope_stands_on_the_context_manager(
    pytester: pytest.Pytester,
) -> None:
    result = run(
        pytester,
        """
from wsgiref_fast.testing import live_server

@pytest.fixture(scope="session")
def shop():
    with live_server(app) as server:
        yield server

class TestShop:
    def test_one(self, shop):
        assert get(shop.url) == (200, b"Hello")

    def test_two(self, shop):
        assert get(shop.url) == (200, b"Hello")
        assert len(shop.requests) == 2
""",
    )
    result.assert_outcomes(passed=2)


def test_pytest_does_not_mind_that_the_package_is_there_already(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(_APPLICATION + "def test_it(live_wsgi_server): live_wsgi_server(app)")
    program = "import sys, wsgiref_fast, pytest; sys.exit(pytest.main(sys.argv[1:]))"
    result = pytester.run(sys.executable, "-c", program, "-W", "error", *_plugin())
    result.assert_outcomes(passed=1)


def test_the_plugin_costs_next_to_nothing_where_nobody_uses_it() -> None:
    program = f"import sys, pytest; before = set(sys.modules); import {PLUGIN}"
    program += "; print(*sorted(set(sys.modules) - before))"
    command = [sys.executable, "-I", "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert done.stdout.split() == ["wsgiref_fast", PLUGIN]
