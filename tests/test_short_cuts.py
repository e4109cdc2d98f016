"""What a short cut leaves out must not be missed: by applications that look, keep or change."""

from __future__ import annotations

import abc
import gc
import io
import multiprocessing
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from support import (
    PATIENCE,
    QuietHandler,
    StubSocket,
    connected,
    exchange,
    hello_app,
    receive_all,
    serving,
    split_response,
)
from wsgiref_fast.handlers import SimpleHandler
from wsgiref_fast.simple_server import WSGIRequestHandler, WSGIServer

pytestmark = pytest.mark.usefixtures("implementation")

GET = b"GET /path?query HTTP/1.1\r\nHost: here\r\n\r\n"


def post(body: bytes) -> bytes:
    """Make a request with a body."""
    return b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body


class Keeper:
    """An application that keeps what it is given."""

    def __init__(self) -> None:
        self.kept: list[tuple[dict[str, Any], Any]] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.kept.append((environ, start_response.__self__))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"kept"]


# -- What is kept beyond the request -------------------------------------------------------


def test_a_kept_request_handler_does_not_reach_the_next_client() -> None:
    app = Keeper()
    with serving(app) as server, connected(server) as first:
        first.sendall(GET)
        receive_all(first)
        with connected(server) as second:
            second.sendall(GET)
            assert b"kept" in receive_all(second)
            with pytest.raises((OSError, ValueError)):
                app.kept[0][1].request_handler.connection.sendall(b"not for you")
            with pytest.raises((OSError, ValueError)):
                app.kept[0][1].stdout.write(b"nor this")
        assert exchange(server, GET).endswith(b"kept")


def test_a_kept_input_is_a_closed_file() -> None:
    app = Keeper()
    with serving(app) as server:
        exchange(server, post(b"body"))
        stream = app.kept[0][0]["wsgi.input"]
        assert stream.closed
        with pytest.raises(ValueError, match="closed"):
            stream.raw.read()


def test_a_late_call_of_start_response_disturbs_nobody() -> None:
    app = Keeper()
    with serving(app) as server:
        exchange(server, GET)
        write = app.kept[0][1].start_response("200 OK", [])
        with pytest.raises((OSError, ValueError, KeyError, TypeError, AttributeError)):
            write(b"late")
        assert exchange(server, GET).endswith(b"kept")


# -- What is looked at ---------------------------------------------------------------------

LATE = [
    *("raw_requestline", "requestline", "command", "path", "request_version", "headers"),
    *("close_connection", "client_address", "server"),
]


def test_what_is_not_made_is_there_for_who_asks() -> None:
    found: dict[str, Any] = {}

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        handler = start_response.__self__
        request_handler = handler.request_handler
        found.update({name: getattr(request_handler, name) for name in LATE})
        found["peer"] = request_handler.connection.getpeername()
        found["same"] = request_handler.request is request_handler.connection
        found["stdin"] = handler.stdin is environ["wsgi.input"] is request_handler.rfile
        found["stdout"] = handler.stdout is request_handler.wfile
        found["base"] = {**handler.base_env}
        found["environ"] = {**environ}
        return hello_app(environ, start_response)

    with serving(app) as server:
        assert exchange(server, GET).endswith(b"\r\n\r\nHello, world!")
        assert found["server"] is server
    assert found["raw_requestline"] == b"GET /path?query HTTP/1.1\r\n"
    assert found["requestline"] == "GET /path?query HTTP/1.1"
    assert (found["command"], found["path"]) == ("GET", "/path?query")
    assert found["request_version"] == "HTTP/1.1"
    assert found["headers"].items() == [("Host", "here")]
    assert found["close_connection"]
    assert found["peer"] == found["client_address"]
    assert found["same"]
    assert found["stdin"]
    assert found["stdout"]
    assert found["base"].items() <= found["environ"].items()


def test_an_attribute_that_is_late_is_missing_before_there_is_a_request() -> None:
    handler = WSGIRequestHandler.__new__(WSGIRequestHandler)
    for name in ("request", "rfile", "wfile", "connection", "path", "command", "headers"):
        with pytest.raises(AttributeError, match=name):
            getattr(handler, name)


def test_a_body_is_read_past_what_came_with_the_head() -> None:
    bodies = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        stream = environ["wsgi.input"]
        bodies.append(stream.readline() + stream.read(5) + stream.read())
        return hello_app(environ, start_response)

    body = b"line\n" + b"0123456789" * 5000
    with serving(app) as server, connected(server) as client:
        head, rest = post(body)[:-50000], post(body)[-50000:]
        client.sendall(head)
        client.sendall(rest)
        assert receive_all(client).endswith(b"Hello, world!")
    assert bodies == [body]


# -- What is set before, or made otherwise -------------------------------------------------


def test_what_a_constructor_sets_first_is_overwritten_by_the_request() -> None:
    class Handler(QuietHandler):
        def __init__(self, *args: Any) -> None:
            self.path = self.command = ""  # as some frameworks do
            super().__init__(*args)

    paths = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        paths.append(start_response.__self__.request_handler.path)
        return hello_app(environ, start_response)

    with serving(app, handler_class=Handler) as server:
        exchange(server, GET)
    assert paths == ["/path?query"]


def test_a_class_may_have_a_metaclass() -> None:
    class Handler(QuietHandler, metaclass=abc.ABCMeta):
        pass

    with serving(hello_app, handler_class=Handler) as server:
        assert exchange(server, GET).endswith(b"Hello, world!")
        assert exchange(server, GET).endswith(b"Hello, world!")


def test_an_abstract_class_costs_its_request_alone(capsys: pytest.CaptureFixture[str]) -> None:
    class Handler(QuietHandler, metaclass=abc.ABCMeta):
        @abc.abstractmethod
        def missing(self) -> None: ...

    with serving(hello_app, handler_class=Handler) as server:
        assert exchange(server, GET) == b""
        server.RequestHandlerClass = QuietHandler
        assert exchange(server, GET).endswith(b"Hello, world!")
    assert "abstract" in capsys.readouterr().err


def test_a_metaclass_is_asked_for_each_instance() -> None:
    made = []

    class Meta(type):
        def __call__(cls, *args: Any) -> Any:
            made.append(cls.__name__)
            return super().__call__(*args)

    class Handler(QuietHandler, metaclass=Meta):
        pass

    with serving(hello_app, handler_class=Handler) as server:
        exchange(server, GET)
        exchange(server, GET)
    assert made == ["Handler", "Handler"]


def test_a_finalizer_sees_no_instance_but_those_that_served() -> None:
    ended = []

    class Handler(QuietHandler):
        def __del__(self) -> None:
            ended.append(self.client_address)

    with serving(hello_app, handler_class=Handler) as server:
        exchange(server, GET)
    gc.collect()  # PyPy's finalizers wait for it
    assert len(ended) == 1
    assert ended[0][0] == "127.0.0.1"


def test_a_factory_may_stand_for_the_class() -> None:
    def make(*args: Any) -> QuietHandler:
        return QuietHandler(*args)

    factory: Any = make
    with serving(hello_app, handler_class=factory) as server:
        assert exchange(server, GET).endswith(b"Hello, world!")


# -- What is changed while the server runs -------------------------------------------------


@pytest.mark.parametrize("change", ["value", "new key", "gone", "another dictionary"])
def test_a_changed_base_environ_is_heard(change: str) -> None:
    seen = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append({**environ})
        return hello_app(environ, start_response)

    with serving(app) as server:
        exchange(server, GET)
        if change == "value":
            server.base_environ["SERVER_NAME"] = "changed"
        elif change == "new key":
            server.base_environ["HOST"] = "mine"  # hides a field, as in the original
        elif change == "gone":
            del server.base_environ["REMOTE_HOST"]
        else:
            server.base_environ = {"SERVER_NAME": "x", "SERVER_PORT": "1", "SCRIPT_NAME": ""}
        exchange(server, GET)
    before, after = seen
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    assert (
        changed - {"wsgi.input"}
        == {
            "value": {"SERVER_NAME"},
            "new key": {"HOST", "HTTP_HOST"},
            "gone": {"REMOTE_HOST"},
            "another dictionary": {
                *(
                    "SERVER_NAME",
                    "SERVER_PORT",
                    "GATEWAY_INTERFACE",
                    "REMOTE_HOST",
                    "CONTENT_LENGTH",
                ),
            },
        }[change]
    )


def test_an_environ_is_the_applications_alone() -> None:
    seen = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append("left.over" in environ)
        environ["left.over"] = environ["SERVER_NAME"] = "mine"
        environ.pop("wsgi.version")
        return hello_app(environ, start_response)

    with serving(app) as server:
        for _ in range(3):
            assert exchange(server, GET).endswith(b"Hello, world!")
    assert seen == [False, False, False]


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_connection_ends_though_a_child_has_it() -> None:
    """A process that the application forks has the connection open too."""
    context = multiprocessing.get_context("fork")
    release = context.Event()
    children = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        children.append(context.Process(target=release.wait, args=(PATIENCE,), daemon=True))
        children[-1].start()
        return hello_app(environ, start_response)

    with serving(app) as server:
        try:
            assert exchange(server, GET).endswith(b"Hello, world!")
        finally:
            release.set()
            children[0].join(PATIENCE)


# -- What goes wrong -----------------------------------------------------------------------


def test_an_exception_of_the_log_closes_the_connection(capsys: pytest.CaptureFixture[str]) -> None:
    class Handler(QuietHandler):
        def log_message(self, format: str, *args: Any) -> None:
            raise RuntimeError("no log")

    with serving(hello_app, handler_class=Handler) as server:
        assert exchange(server, GET).endswith(b"Hello, world!")
        assert exchange(server, GET).endswith(b"Hello, world!")
    assert "no log" in capsys.readouterr().err


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_what_ends_the_program_ends_the_connection_first(error: type[BaseException]) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise error

    class Server(WSGIServer):
        def serve_forever(self, poll_interval: float = 0.5) -> None:
            try:
                super().serve_forever(poll_interval)
            except error:
                ended.append(error)

    ended: list[Any] = []
    with serving(app, Server) as server:
        response = exchange(server, GET)
    # A handler answers for whatever an application raises, as in the original.
    assert split_response(response)[0].startswith("HTTP/1.0 500 ")
    assert ended == []


def test_the_traceback_of_an_application_begins_with_the_handler(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise LookupError("of the application")

    with serving(app) as server:
        assert exchange(server, GET).startswith(b"HTTP/1.0 500 ")
    printed = capsys.readouterr().err
    assert printed.count("Traceback") == 1
    assert "LookupError: of the application" in printed
    assert ".pyx" not in printed


def test_several_threads_may_serve_stubs_at_once() -> None:
    wrong: list[Any] = []

    def serve(number: int) -> None:
        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            start_response("200 OK", [("X-Path", environ["PATH_INFO"])])
            return [environ["PATH_INFO"].encode()]

        class Server:
            base_environ: dict[str, Any] = {"SERVER_NAME": "x"}  # noqa: RUF012
            get_app: Callable[..., Any] = staticmethod(lambda: app)

        for turn in range(200):
            path = f"/{number}/{turn}"
            stub = StubSocket(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            server: Any = Server()
            Silent(stub, ("127.0.0.1", 1), server)
            response = b"".join(stub.sent)
            if f"X-Path: {path}\r\n".encode() not in response or not response.endswith(
                path.encode()
            ):
                wrong.append(response)

    class Silent(WSGIRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    threads = [threading.Thread(target=serve, args=(number,)) for number in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []


def test_headers_may_be_sent_before_the_first_block() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", "2")])
        start_response.__self__.send_headers()
        yield b"x"
        yield b"y"

    with serving(app) as server:
        assert exchange(server, GET).endswith(b"\r\n\r\nxy")


def test_a_handler_may_be_constructed_in_its_own_way() -> None:
    class Handler(SimpleHandler):
        def __init__(self, output: io.BytesIO) -> None:
            self.stdin, self.stdout, self.stderr = io.BytesIO(), output, sys.stderr
            self.base_env = {"SERVER_PROTOCOL": "HTTP/1.0"}

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"%d%d" % (environ["wsgi.multithread"], environ["wsgi.multiprocess"])]

    output = io.BytesIO()
    Handler(output).run(app)
    assert output.getvalue().endswith(b"\r\n\r\n11")


def test_the_attributes_of_an_object_may_be_the_base_environ() -> None:
    class Settings:
        pass

    seen = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(environ["NUMBER"])
        return hello_app(environ, start_response)

    settings: Any = Settings()
    with serving(app) as server:
        server.base_environ = settings.__dict__
        for number in range(3):
            settings.NUMBER = number
            exchange(server, GET)
    assert seen == [0, 1, 2]


def test_threads_of_a_request_get_one_connection() -> None:
    found: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        request_handler = start_response.__self__.request_handler
        together = threading.Barrier(4)

        def look() -> None:
            together.wait(PATIENCE)
            found.append(request_handler.request)

        threads = [threading.Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        return hello_app(environ, start_response)

    with serving(app) as server:
        for _ in range(20):
            assert exchange(server, GET).endswith(b"Hello, world!")
    assert [len({*found[i : i + 4]}) for i in range(0, 80, 4)] == [1] * 20
