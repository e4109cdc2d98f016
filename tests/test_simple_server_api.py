"""The interface of `wsgiref_fast.simple_server`: its names, and what its servers are made of."""

from __future__ import annotations

import http.server
import inspect
import io
import platform
import socket
import socketserver
import sys
import threading
import warnings
import wsgiref.simple_server as original
from collections.abc import Callable
from typing import Any

import pytest

from oracle import parameters
from support import (
    PATIENCE,
    QuietHandler,
    exchange,
    has_ipv6,
    hello_app,
    serving,
    split_response,
)
from wsgiref_fast import simple_server
from wsgiref_fast.simple_server import (
    ServerHandler,
    ThreadingWSGIServer,
    WSGIRequestHandler,
    WSGIServer,
    demo_app,
    make_server,
)

pytestmark = pytest.mark.usefixtures("implementation")

GET = b"GET /path?a=b HTTP/1.0\r\n\r\n"


def needs_ipv6(test: Callable[..., None]) -> Callable[..., None]:
    """Leave a test out where there is no IPv6."""
    test.__test__ = has_ipv6()  # type: ignore[attr-defined]
    return test


def call(app: Callable[..., Any], environ: dict[str, Any]) -> tuple[str, list[Any], bytes]:
    """Call an application; return status, headers and body."""
    started: list[Any] = []

    def start_response(*args: Any) -> Callable[[bytes], object]:
        started.extend(args)
        return started.append

    body = b"".join(app(environ, start_response))
    status, headers = started
    return status, headers, body


def fetch_once(server: WSGIServer, request: bytes) -> bytes:
    """Send a request to a server that is about to handle one."""
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    try:
        return exchange(server, request)
    finally:
        thread.join(PATIENCE)


# Names


def public_names(module: Any) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return sorted(name for name in dir(module) if not name.startswith("__"))


@pytest.mark.parametrize("name", public_names(original))
def test_each_name_of_the_original_is_there(name: str) -> None:
    theirs, ours = getattr(original, name), getattr(simple_server, name)
    assert type(ours) is type(theirs)
    if not str(getattr(theirs, "__module__", "")).startswith("wsgiref"):
        assert ours == theirs


def test_all_is_that_of_the_original_and_one_more() -> None:
    assert set(simple_server.__all__) == {*original.__all__, "ThreadingWSGIServer"}


@pytest.mark.parametrize("name", ["server_version", "sys_version", "software_version"])
def test_versions_are_those_of_the_running_interpreter(name: str) -> None:
    assert getattr(simple_server, name) == getattr(original, name)


def test_the_version_of_the_module_is_the_originals() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        version = simple_server.__version__
    assert version == "0.2"
    categories = [DeprecationWarning] if sys.version_info >= (3, 15) else []
    assert [warning.category for warning in caught] == categories


def test_python_implementation_is_the_function_of_platform() -> None:
    assert simple_server.python_implementation is platform.python_implementation


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="simple_server' has no attribute 'nonsense'"):
        _ = simple_server.nonsense


@pytest.mark.parametrize("name", ["WSGIServer", "WSGIRequestHandler", "ServerHandler"])
def test_methods_take_what_the_originals_take(name: str) -> None:
    ours, theirs = getattr(simple_server, name), getattr(original, name)
    for method, function in inspect.getmembers(theirs, inspect.isfunction):
        # PyPy has object's own methods among them, which are of no module.
        if (function.__module__ or "").startswith("wsgiref"):
            assert parameters(getattr(ours, method)) == parameters(function), method


@pytest.mark.parametrize("name", ["make_server", "demo_app"])
def test_functions_take_what_the_originals_take(name: str) -> None:
    ours, theirs = parameters(getattr(simple_server, name)), parameters(getattr(original, name))
    assert [entry[:2] for entry in ours] == [entry[:2] for entry in theirs]


def test_classes_stand_on_those_of_the_standard_library() -> None:
    assert issubclass(WSGIServer, http.server.HTTPServer)
    assert issubclass(WSGIRequestHandler, http.server.BaseHTTPRequestHandler)
    assert issubclass(ThreadingWSGIServer, socketserver.ThreadingMixIn)
    assert issubclass(ThreadingWSGIServer, WSGIServer)


def test_classes_have_the_attributes_of_the_originals() -> None:
    for name in ("WSGIServer", "WSGIRequestHandler", "ServerHandler"):
        ours, theirs = getattr(simple_server, name), getattr(original, name)
        missing = [attribute for attribute in dir(theirs) if not hasattr(ours, attribute)]
        assert missing == [], name


# make_server


def test_make_server_gives_a_server_that_listens() -> None:
    with make_server("127.0.0.1", 0, hello_app, handler_class=QuietHandler) as server:
        assert type(server) is WSGIServer
        assert server.RequestHandlerClass is QuietHandler
        assert server.get_app() is hello_app
        status, _, body = split_response(fetch_once(server, GET))
    assert (status, body) == ("HTTP/1.0 200 OK", b"Hello, world!")


def test_make_server_takes_its_arguments_by_position() -> None:
    with make_server("127.0.0.1", 0, hello_app, ThreadingWSGIServer, QuietHandler) as server:
        assert type(server) is ThreadingWSGIServer
        assert server.RequestHandlerClass is QuietHandler


def test_make_server_takes_its_arguments_by_name() -> None:
    server = make_server(
        port=0,
        host="127.0.0.1",
        handler_class=QuietHandler,
        app=hello_app,
        server_class=ThreadingWSGIServer,
    )
    with server:
        assert type(server) is ThreadingWSGIServer
        assert server.RequestHandlerClass is QuietHandler
        assert server.get_app() is hello_app


def test_make_server_uses_its_own_classes_unless_told() -> None:
    with make_server("127.0.0.1", 0, hello_app) as server:
        assert (type(server), server.RequestHandlerClass) == (WSGIServer, WSGIRequestHandler)


def test_make_server_calls_the_class_with_an_address_and_a_handler() -> None:
    calls: list[Any] = []

    class Server(WSGIServer):
        def __init__(self, server_address: Any, handler_class: Any) -> None:
            calls.append((server_address, handler_class))
            super().__init__(server_address, handler_class, bind_and_activate=False)

    make_server("127.0.0.1", 1, hello_app, Server, QuietHandler).server_close()
    assert calls == [(("127.0.0.1", 1), QuietHandler)]


def test_a_port_that_is_taken_is_an_os_error() -> None:
    with make_server("127.0.0.1", 0, hello_app) as server:
        port = server.server_port
        with pytest.raises(OSError, match="in use"):
            make_server("127.0.0.1", port, hello_app)


# WSGIServer


def test_the_port_is_told() -> None:
    with make_server("127.0.0.1", 0, hello_app) as server:
        assert server.server_port == server.server_address[1] == server.socket.getsockname()[1]
        assert server.server_port > 0
        assert server.base_environ["SERVER_PORT"] == str(server.server_port)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask nobody for the name of an address: the answer may take its time."""
    monkeypatch.setattr(socket, "getfqdn", "name-of-{}".format)


@pytest.mark.usefixtures("names")
def test_the_name_is_the_originals() -> None:
    with (
        make_server("127.0.0.1", 0, hello_app) as ours,
        original.make_server("127.0.0.1", 0, hello_app) as theirs,
    ):
        assert ours.server_name == theirs.server_name == "name-of-127.0.0.1"


@pytest.mark.usefixtures("names")
def test_the_base_environ_has_the_keys_of_the_original() -> None:
    with (
        make_server("127.0.0.1", 0, hello_app) as ours,
        original.make_server("127.0.0.1", 0, hello_app) as theirs,
    ):
        assert type(ours.base_environ) is dict
        assert ours.base_environ.keys() == theirs.base_environ.keys()


def test_an_application_can_be_changed() -> None:
    def other_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("202 Accepted", [])
        return [b"other"]

    with serving(hello_app) as server:
        assert exchange(server, GET).endswith(b"Hello, world!")
        server.set_app(other_app)
        assert server.get_app() is server.application is other_app
        assert exchange(server, GET).endswith(b"other")


def test_there_is_no_application_before_one_is_set() -> None:
    server = WSGIServer(("127.0.0.1", 0), QuietHandler)
    with server:
        assert server.get_app() is server.application is WSGIServer.application is None


def test_an_application_of_the_class_serves() -> None:
    class Server(WSGIServer):
        application = staticmethod(hello_app)

    with Server(("127.0.0.1", 0), QuietHandler) as server:
        assert fetch_once(server, GET).endswith(b"Hello, world!")


def test_a_server_closes_at_the_end_of_its_block() -> None:
    with make_server("127.0.0.1", 0, hello_app) as server:
        assert server.fileno() == server.socket.fileno() >= 0
        port = server.server_port
    assert server.fileno() == -1
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_server_that_was_not_bound_can_be_bound_later() -> None:
    server = WSGIServer(("127.0.0.1", 0), QuietHandler, bind_and_activate=False)
    with server:
        assert not hasattr(server, "base_environ")
        server.server_bind()
        server.server_activate()
        server.set_app(hello_app)
        assert fetch_once(server, GET).endswith(b"Hello, world!")


def test_setup_environ_is_called_once_the_port_is_known() -> None:
    class Server(WSGIServer):
        def setup_environ(self) -> None:
            super().setup_environ()
            self.base_environ["example.port"] = self.server_port

    with make_server("127.0.0.1", 0, demo_app, Server, QuietHandler) as server:
        port = server.server_port
        assert f"example.port = {port}\n".encode() in fetch_once(server, GET)


def test_a_threading_server_answers_from_other_threads() -> None:
    names: list[str] = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        names.append(threading.current_thread().name)
        start_response("200 OK", [])
        return [str(environ["wsgi.multithread"]).encode()]

    with serving(app, ThreadingWSGIServer) as server:
        assert exchange(server, GET).endswith(b"True")
        assert exchange(server, GET).endswith(b"True")
    assert len(set(names)) == 2
    assert ThreadingWSGIServer.daemon_threads


@needs_ipv6
@pytest.mark.parametrize("host", ["::1", "::"])
def test_an_ipv6_address_is_listened_on(host: str) -> None:
    with make_server(host, 0, demo_app, handler_class=QuietHandler) as server:
        assert server.address_family == socket.AF_INET6
        assert WSGIServer.address_family == socket.AF_INET  # of this server alone
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with socket.create_connection(("::1", server.server_port), PATIENCE) as connection:
            connection.sendall(GET)
            body = connection.makefile("rb").read()
        thread.join(PATIENCE)
    assert b"REMOTE_ADDR = '::1'\n" in body


@needs_ipv6
def test_all_ipv6_addresses_are_those_of_ipv4_too() -> None:
    with serving(demo_app, host="::") as server:
        address = ("127.0.0.1", server.server_port)
        with socket.create_connection(address, PATIENCE) as connection:
            connection.sendall(GET)
            assert b"REMOTE_ADDR = '::ffff:127.0.0.1'\n" in connection.makefile("rb").read()


@needs_ipv6
def test_a_family_that_was_set_is_kept() -> None:
    class Server(WSGIServer):
        address_family = socket.AF_INET6

    with make_server("::1", 0, hello_app, Server) as server:
        assert server.socket.family == socket.AF_INET6
        assert server.server_address[0] == "::1"


# WSGIRequestHandler and ServerHandler


def test_errors_of_an_application_go_to_get_stderr() -> None:
    errors = io.StringIO()

    class Handler(QuietHandler):
        def get_stderr(self) -> io.StringIO:
            return errors

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        environ["wsgi.errors"].write("noted\n")
        raise LookupError("lost")

    with serving(app, handler_class=Handler) as server:
        assert split_response(exchange(server, GET))[0].endswith("500 Internal Server Error")
    assert errors.getvalue().startswith("noted\nTraceback")
    assert errors.getvalue().endswith("LookupError: lost\n")


def test_get_stderr_is_the_process_s(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = io.StringIO()
    monkeypatch.setattr(sys, "stderr", errors)
    handler = WSGIRequestHandler.__new__(WSGIRequestHandler)
    assert handler.get_stderr() is errors


def test_get_environ_can_be_added_to() -> None:
    class Handler(QuietHandler):
        def get_environ(self) -> dict[str, Any]:
            return {**super().get_environ(), "example.key": "value"}

    with serving(demo_app, handler_class=Handler) as server:
        assert b"example.key = 'value'\n" in exchange(server, GET)


def test_a_response_names_its_server() -> None:
    with serving(demo_app) as server:
        _, headers, body = split_response(exchange(server, GET))
    assert ("Server", simple_server.software_version) in headers
    assert f"SERVER_SOFTWARE = {simple_server.server_version!r}\n".encode() in body
    assert ServerHandler.server_software == original.ServerHandler.server_software
    assert WSGIRequestHandler.server_version == original.WSGIRequestHandler.server_version


def test_an_error_names_the_server_as_http_server_does() -> None:
    with serving(hello_app) as server:
        _, headers, _ = split_response(
            exchange(server, b"GET / HTTP/1.0\r\nContent-Length: x\r\n\r\n")
        )
    version = f"{simple_server.server_version} {WSGIRequestHandler.sys_version}"
    assert ("Server", version) in headers


def test_the_log_has_a_line_for_each_request() -> None:
    with serving(hello_app) as server:
        exchange(server, GET)
        exchange(server, b"HEAD / HTTP/1.0\r\n\r\n")
    assert server.__dict__["log"] == [
        '"GET /path?a=b HTTP/1.0" 200 13',
        '"HEAD / HTTP/1.0" 200 0',
    ]


# demo_app


def test_the_demo_says_hello_and_lists_the_environ() -> None:
    environ = {"b": [1], "a": "\xe9\u20ac", "wsgi.x": None}
    status, headers, body = call(demo_app, environ)
    assert (status, headers) == ("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    assert body.decode("utf-8") == "Hello world!\n\na = '\xe9\u20ac'\nb = [1]\nwsgi.x = None\n"


@pytest.mark.parametrize("environ", [{}, {"a": 1}, {"B": "'", "a": b"\x00", "\xe9": object}])
def test_the_demo_answers_as_the_original_s(environ: dict[str, Any]) -> None:
    assert call(demo_app, dict(environ)) == call(original.demo_app, dict(environ))


def test_the_demo_can_be_served_and_read() -> None:
    with serving(demo_app) as server:
        status, headers, body = split_response(exchange(server, GET))
    assert status == "HTTP/1.0 200 OK"
    assert ("Content-Length", str(len(body))) in headers
    assert body.startswith(b"Hello world!\n\n")
    for line in (b"PATH_INFO = '/path'", b"QUERY_STRING = 'a=b'", b"REQUEST_METHOD = 'GET'"):
        assert line in body.splitlines()
