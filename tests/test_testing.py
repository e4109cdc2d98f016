"""Servers for tests: what they serve, what they tell, how applications are held to PEP 3333."""

from __future__ import annotations

import http.client
import sys
import threading
import unittest
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from certificates import CAN_BE_MADE, Contexts
from support import PATIENCE, Application, hello_app, open_descriptors, wait_until
from wsgiref_fast.testing import LiveServer, NonconformingApplication, live_server

pytestmark = pytest.mark.usefixtures("implementation")

_TEXT = [("Content-Type", "text/plain")]


def get(url: str, data: bytes | None = None, **options: Any) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, data, PATIENCE, **options) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def app_with(status: str, headers: Any, body: Any) -> Application:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response(status, headers)
        return body

    return app


def broken_app(environ: dict[str, Any], start_response: Any) -> Any:
    raise LookupError("provoked")


def test_an_application_is_served_on_a_free_port() -> None:
    with live_server(hello_app) as server:
        assert server.url == f"http://127.0.0.1:{server.port}"
        assert get(server.url) == (200, b"Hello, world!")
        assert get(server.url_for("/a?b")) == get(server.url_for("a")) == (200, b"Hello, world!")
    assert [str(request) for request in server.requests] == ["GET /", "GET /a?b", "GET /a"]


def test_requests_are_told_with_their_status() -> None:
    with live_server(app_with("404 Not Found", _TEXT, [b"no"])) as server:
        get(server.url_for("/x%20y?z=1"), b"posted")
    (request,) = server.requests
    assert (request.method, request.path, request.query) == ("POST", "/x y", "z=1")
    assert (request.status, request.error) == (404, None)
    assert repr(request) == "<POST /x y?z=1: 404>"


def test_another_application_can_take_its_place() -> None:
    with live_server(hello_app) as server:
        server.application = app_with("200 OK", _TEXT, [b"another"])
        assert get(server.url) == (200, b"another")


def test_several_servers_run_side_by_side() -> None:
    with live_server(hello_app) as one, live_server(app_with("200 OK", _TEXT, [b"2"])) as other:
        assert (get(one.url)[1], get(other.url)[1]) == (b"Hello, world!", b"2")
        assert one.port != other.port
    assert len(one.requests) == len(other.requests) == 1


def test_nothing_is_left_of_a_server() -> None:
    def serve() -> None:
        with live_server(hello_app, threads=2) as server:
            kept = http.client.HTTPConnection(server.host, server.port)
            kept.request("GET", "/")
            kept.getresponse().read()
        kept.close()
        with pytest.raises(ConnectionRefusedError):
            http.client.HTTPConnection(server.host, server.port).connect()

    serve()
    threads, descriptors = threading.active_count(), open_descriptors()
    for _ in range(5):
        serve()
    wait_until(lambda: threading.active_count() <= threads)
    assert open_descriptors() <= descriptors


def test_a_server_can_be_closed_twice() -> None:
    server = LiveServer(hello_app)
    server.close()
    server.close()


def test_an_exception_of_the_application_is_told_and_answered(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with live_server(broken_app) as server:
        assert get(server.url_for("/a"))[0] == 500
    assert (server.requests[0].status, server.requests[0].error) == (500, "LookupError: provoked")
    errors = capfd.readouterr().err
    assert "GET /a failed with LookupError: provoked\n" in errors
    assert "Traceback (most recent call last):" in errors


def test_an_exception_amid_a_response_leaves_its_status() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", _TEXT)
        yield b"begun"
        raise LookupError("provoked")

    with live_server(app) as server, pytest.raises(http.client.IncompleteRead):
        get(server.url)
    assert (server.requests[0].status, server.requests[0].error) == (200, "LookupError: provoked")


def test_an_assertion_of_the_application_is_none_of_the_checker() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise AssertionError("the application's own")

    with live_server(app) as server:
        assert get(server.url)[0] == 500
    assert server.complaints == []


_WRONG = {
    "must be of type list": ("200 OK", tuple(_TEXT), [b"x"]),
    "hop": ("200 OK", [*_TEXT, ("Connection", "close")], [b"x"]),
    "should have a Content-Type": ("200 OK", [], [b"x"]),
    "shorter than its Content-Length: 5": ("200 OK", [*_TEXT, ("Content-Length", "5")], [b"x"]),
    "longer than its Content-Length: 0": ("200 OK", [*_TEXT, ("Content-Length", "0")], [b"x"]),
    "non-bytestring": ("200 OK", _TEXT, ["text"]),
    "should not return a string": ("200 OK", _TEXT, b"bytes"),
    "must not have a body": ("204 No Content", [], [b"x"]),
    "must return an iterator": ("200 OK", _TEXT, None),
}


@pytest.mark.parametrize("message", _WRONG)
def test_what_an_application_does_wrong_is_told_with_the_request(message: str) -> None:
    server = LiveServer(app_with(*_WRONG[message]))
    with suppress(http.client.HTTPException, OSError):
        get(server.url_for("/wrong"))
    server.close()
    with pytest.raises(NonconformingApplication) as raised:
        server.check()
    assert str(raised.value).startswith("GET /wrong: ")
    assert message.casefold() in str(raised.value).casefold()


def test_what_is_doubtful_does_not_change_the_answer() -> None:
    with live_server(app_with("200 OK", [], [b"all"])) as server:
        assert get(server.url) == (200, b"all")
        assert len(server.complaints) == 1
        assert "Content-Type" in server.complaints.pop()


def ask_doubtful(fails: bool) -> None:
    with live_server(app_with("200 OK", [], [b"x"])) as server:
        get(server.url)
        _ = 1 / (not fails)


def test_the_end_of_the_block_raises_what_is_wrong() -> None:
    with pytest.raises(NonconformingApplication, match=r"^GET /: .*Content-Type"):
        ask_doubtful(fails=False)


def test_a_failure_of_the_block_stands_above_what_the_application_did() -> None:
    with pytest.raises(ZeroDivisionError) as raised:
        ask_doubtful(fails=True)
    (note,) = raised.value.__notes__
    assert note.startswith("GET /: ")


def test_a_refusal_that_the_application_swallows_is_told_all_the_same() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        try:
            start_response("200", _TEXT)
        except AssertionError:
            start_response("500 Sorry", _TEXT, sys.exc_info())
        return [b"sorry"]

    with live_server(app) as server:
        assert get(server.url) == (500, b"sorry")
        (complaint,) = server.complaints
        assert complaint.startswith("GET /: ")
        with pytest.raises(NonconformingApplication):
            server.check()
        server.complaints.clear()


def test_a_stream_of_the_request_is_held_to_its_rules_too() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ["wsgi.input"].close()
        return []

    with live_server(app) as server:
        assert get(server.url)[0] == 500
        assert server.complaints == ["GET /: input.close() must not be called"]
        server.complaints.clear()


def test_validation_can_be_left_out() -> None:
    with live_server(app_with("200 OK", [], [b"x"]), validate=False) as server:
        assert get(server.url) == (200, b"x")


def test_an_application_that_does_not_return_is_named() -> None:
    let_go = threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        let_go.wait(PATIENCE)
        return hello_app(environ, start_response)

    with live_server(app, shutdown_timeout=0.01) as server:
        connection = http.client.HTTPConnection(server.host, server.port)
        connection.request("GET", "/slow")
        wait_until(lambda: bool(server.requests))
        server.close()
        assert server.complaints == ["GET /slow: not answered when the server was closed"]
        server.complaints.clear()
        let_go.set()
        connection.close()
    wait_until(lambda: not server._thread.is_alive())


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(TypeError, match=r"no option 'thread'; did you mean threads\?"):
        LiveServer(hello_app, thread=2)  # type: ignore[call-arg]


def test_threads_answer_at_the_same_time() -> None:
    meeting = threading.Barrier(2, timeout=PATIENCE)

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        meeting.wait()
        return hello_app(environ, start_response)

    with live_server(app, threads=2) as server:
        other = threading.Thread(target=get, args=(server.url,))
        other.start()
        assert get(server.url) == (200, b"Hello, world!")
        other.join()


@pytest.mark.skipif(not CAN_BE_MADE, reason="makes a certificate with openssl")
def test_tls_is_an_option(contexts: Contexts) -> None:
    with live_server(hello_app, ssl_context=contexts.server) as server:
        assert server.url.startswith("https://127.0.0.1:")
        assert get(server.url, context=contexts.client) == (200, b"Hello, world!")


def test_unittest_closes_what_it_has_entered() -> None:
    class Case(unittest.TestCase):
        def test_it(self) -> None:
            self.server = self.enterContext(live_server(hello_app))
            assert get(self.server.url) == (200, b"Hello, world!")

    case = Case("test_it")
    result = unittest.TestResult()
    case.run(result)
    assert (result.testsRun, result.errors, result.failures) == (1, [], [])
    assert not case.server._thread.is_alive()


@pytest.mark.parametrize("host", ["unix:/nowhere", "fd://3"])
def test_what_has_no_url_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="an address or a name"):
        LiveServer(hello_app, host=host)
