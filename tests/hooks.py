"""Overrides of every kind: put in place, observed while requests are served, taken back.

A `Row` is a hook: a method or an attribute of a class, with what an override of it does. A
placement is a way in which programs put one in place, such as by a subclass or on the
class of a server that already runs. `observe` has one library serve requests before, under
and after the override, so that what came of it can be compared with the original's.
"""
# mypy: disallow-subclassing-any=False

from __future__ import annotations

import contextlib
import gc
import http.server
import io
import os
import pickle
import re
import socketserver
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from operator import getitem
from types import TracebackType
from typing import Any, NamedTuple

from libraries import MODULES, load, running
from support import StubSocket, connected

Change = Callable[..., Any]

#: The stages of a request: an override is too late for those that are past.
BEFORE_THE_CALL, IN_THE_CALL, AFTER_THE_CALL = range(3)


def call_through(owner: Any, call: Callable[..., Any], *args: Any) -> Any:
    """Do nothing but what the original does."""
    return call(*args)


@dataclass(frozen=True, eq=False)
class Row:
    """A hook and an override of it.

    Args:
        owner: the class that it belongs to, by its name.
        name: of the method or attribute.
        page: what to ask for, so that the hook matters.
        stage: the last stage of a request in which an override comes in time.
        inert: placements of which the original takes no notice.
        label: tells rows of the same name apart.

    """

    owner: str
    name: str
    page: str = "hello"
    stage: int = AFTER_THE_CALL
    inert: tuple[str, ...] = ()
    label: str = ""

    def __str__(self) -> str:
        return f"{self.owner}.{self.name}" + (f"-{self.label}" if self.label else "")

    def on_class(self, note: Note, owner: Any) -> Any:
        """Return what a class's attribute of that name is to be."""
        raise NotImplementedError

    def on_instance(self, note: Note, owner: Any) -> Any:
        """Return what an instance's attribute of that name is to be."""
        raise NotImplementedError

    def is_in_time(self, placement: str) -> bool:
        """Tell whether the original takes notice of the override."""
        if placement in self.inert:
            return False
        if self.owner == "WSGIServer":
            return True  # which goes on to the next request
        if placement in ("application", "another class"):
            return self.stage >= IN_THE_CALL
        if placement == "answered application":
            return self.stage >= AFTER_THE_CALL and self.page not in RAISING
        return True


Note = Callable[[str, tuple[Any, ...]], None]


@dataclass(frozen=True, eq=False)
class Method(Row):
    """A method, and what is done in its place: ``change(self, original, *args)``."""

    change: Change = call_through

    def on_class(self, note: Note, owner: Any) -> Any:
        original = getattr(owner, self.name)

        def override(instance: Any, *args: Any, **options: Any) -> Any:
            note(self.name, args)
            return self.change(instance, partial(original, instance, **options), *args)

        return override

    def on_instance(self, note: Note, owner: Any) -> Any:
        return partial(self.on_class(note, type(owner)), owner)


@dataclass(frozen=True, eq=False)
class Attribute(Row):
    """An attribute that is no method, and its value."""

    value: Any = None

    def on_class(self, note: Note, owner: Any) -> Any:
        return self.value

    def on_instance(self, note: Note, owner: Any) -> Any:
        return self.value


@dataclass(frozen=True, eq=False)
class Function(Method):
    """A function of a module, and what is done in its place: ``change(None, original, *args)``."""

    def on_class(self, note: Note, owner: Any) -> Any:
        original = getattr(owner, self.name)

        def override(*args: Any) -> Any:
            note(self.name, args)
            return self.change(None, original, *args)

        return override


@dataclass(frozen=True, eq=False)
class Made(Row):
    """An attribute of an instance, made of the one that it has: ``make(value, note)``."""

    make: Callable[..., Any] = lambda value, note: value

    def on_instance(self, note: Note, owner: Any) -> Any:
        return self.make(getattr(owner, self.name), note)


# Pages: what the application answers, by the path.


def say_hello(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"Hello, world!"]


def show_environ(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Answer with what neither the process nor the server's address decides."""
    foreign = {"SERVER_NAME", "SERVER_PORT", *load("wsgiref").handlers.read_environ()}
    shown = {key: describe(value) for key, value in environ.items() if key not in foreign}
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [repr(sorted(shown.items())).encode()]


def show_some(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Answer with those variables that overrides change."""
    shown = ("own.variable", "REMOTE_ADDR", "SERVER_SOFTWARE")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [repr([environ.get(name) for name in shown]).encode()]


def show_connection(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Answer with what the request handler has made of its connection."""
    handler = start_response.__self__.request_handler
    state = {
        "timeout": getattr(handler.connection, "gettimeout", lambda: None)(),
        "reads ahead": hasattr(handler.rfile, "raw"),
        "buffers": isinstance(handler.wfile, io.BufferedWriter),
    }
    start_response("200 OK", [])
    return [repr(state).encode()]


def fail(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    raise LookupError("the application failed")


def crash(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Fail so that the exception reaches the server."""

    def fail_again(*args: object) -> None:
        raise KeyError("no page either")

    start_response("200 OK", [])
    start_response.__self__.error_output = fail_again
    raise LookupError("the application failed")


def show_nagle(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Answer whether a connection holds small blocks back."""
    connection = start_response.__self__.request_handler.connection
    start_response("200 OK", [])
    return [repr(bool(connection.getsockopt(6, 1))).encode()]  # IPPROTO_TCP, TCP_NODELAY


def read_input(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Answer with the request's body."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 4))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body]


def send_file(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    start_response("200 OK", [("Content-Type", "text/plain")])
    wrap = environ.get("wsgi.file_wrapper")
    return [b"no wrapper"] if wrap is None else wrap(io.BytesIO(b"a file's content"))


def generate(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"Hello,"
    yield b" world!"


def use_write(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])(b"Hello,")
    return [b" world!"]


def send_nothing(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return []


def send_odd_status(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("2000 ODD", [])
    return [b"odd"]


def send_hop_by_hop(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Keep-Alive", "5")])
    return [b"hop"]


def send_dated(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("date", "today"), ("SERVER", "mine")])
    return [b"dated"]


def touch_headers(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Use everything that a header list can do."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-A", "1"), ("x-a", "2")])
    return [repr(edit(start_response.__self__.headers)).encode()]


def edit(headers: Any) -> list[Any]:
    """Edit a header list, and return what it answered."""
    # Not by brackets: 3.13 goes on calling what it found there once a class has been
    # changed a thousand times.
    seen: list[Any] = [getitem(headers, "X-A"), getitem(headers, "X-None")]
    seen += ["x-A" in headers, "X-None" in headers]
    seen += [headers.get("X-A"), headers.get("X-None", "default"), headers.get_all("X-A")]
    headers["X-B"] = "3"
    headers["X-B"] = "4"
    headers.add_header("Content-Disposition", "attachment", filename="a b", plain=None)
    seen += [headers.setdefault("X-C", "5"), headers.setdefault("X-C", "6"), len(headers)]
    del headers["X-A"]
    seen += [headers.keys(), headers.values(), headers.items(), repr(headers)]
    return [*seen, str(headers), bytes(headers)]


PAGES: dict[str, Callable[..., Any]] = {
    "hello": say_hello,
    "environ": show_environ,
    "some": show_some,
    "connection": show_connection,
    "nagle": show_nagle,
    "input": read_input,
    "failure": fail,
    "crash": crash,
    "file": send_file,
    "blocks": generate,
    "write": use_write,
    "nothing": send_nothing,
    "odd status": send_odd_status,
    "hop-by-hop": send_hop_by_hop,
    "dated": send_dated,
    "headers": touch_headers,
}

#: Pages of which the application never returns, or is never called.
RAISING = ("failure", "crash", "odd status", "hop-by-hop", "bad", "long", "unreadable")

_BROWSER = (
    "Host: here\r\nUser-Agent: Browser/1.0 (X11; x86_64)\r\nAccept: text/html,*/*;q=0.8\r\n"
    "Accept-Language: en\r\nAccept-Encoding: gzip\r\nConnection: close\r\n"
)

#: Requests that do not ask for a page in the ordinary way.
_REQUESTS = {
    "bad": b"GET /hello there HTTP/1.0\r\nHost: here\r\n\r\n",
    "long": b"GET /" + 65_536 * b"a",
    "unreadable": b"GET /hello HTTP/1.0\r\n" + b"".join(b"X-%d: a\r\n" % n for n in range(102)),
    "simple": b"GET /environ\r\n\r\n",
    "backslash": b"GET /hello?\\ HTTP/1.0\r\n\r\n",
    "input": b"POST /input HTTP/1.0\r\nContent-Length: 4\r\n\r\nbody",
    "underscore": b"GET /environ HTTP/1.0\r\nX_Y: 1\r\n\r\n",
    "expectation": b"GET /hello HTTP/1.1\r\nConnection: close\r\nExpect: 100-continue\r\n\r\n",
}


def request_for(page: str) -> bytes:
    path = page.replace(" ", "%20")
    head = f"GET /{path}?a=b HTTP/1.1\r\n{_BROWSER}\r\n"
    return _REQUESTS.get(page, head.encode("iso-8859-1"))


# What is seen.


def describe(value: Any) -> Any:
    """Return a value as data that another library's can be compared with."""
    if isinstance(value, HTTPStatus):
        return int(value)
    if isinstance(value, bytes):
        return neutral(value)
    if isinstance(value, str):
        return neutral(value.encode()).decode()
    if value is None or isinstance(value, (int, float)):
        return "time" if value is not None and value > 1e9 else value
    if isinstance(value, (list, tuple)):
        if [*map(type, value)] == [str, int]:
            return value[0], "port"
        return [describe(item) for item in value]
    if isinstance(value, (BaseException, type)):
        return repr(value) if isinstance(value, BaseException) else value.__name__
    if isinstance(value, TracebackType):
        return "traceback"
    if getattr(value, "__module__", "") != __name__:
        return "object"
    return getattr(value, "__name__", type(value).__name__)


def neutral(data: bytes) -> bytes:
    """Take the time out of a response."""
    return re.sub(rb"\w{3}, \d\d \w{3} 20\d\d [\d:]{8} GMT", b"now", data)


def neutral_log(text: str) -> list[str]:
    """Return the lines of a log without times, ports, and places in the source."""
    text = re.sub(r"\[\d\d/\w{3}/20\d\d [\d:]{8}\]", "[now]", text)
    text = re.sub(r"\[\d\d/(\w{4,})/20\d\d [\d:]{8}\]", r"[now, in \1]", text)
    text = re.sub(r"\('127.0.0.1', \d+\)", "client", text)
    text = re.sub(r"(?m)(^ +.*\n)+", "  ...\n", text)
    return text.splitlines()


class Seen(NamedTuple):
    """What came of an override."""

    before: list[bytes]
    under: list[bytes]
    after: list[bytes]
    events: list[tuple[Any, ...]]
    apart: list[tuple[Any, ...]]
    log: list[str]


class World:
    """A library, the overrides that are tried on it, and an application for both."""

    def __init__(self, package: str, rows: tuple[Row, ...], send: Transport) -> None:
        self.lib: Any = load(package)
        self.rows = rows
        self.owner = rows[0].owner
        self.events: list[tuple[Any, ...]] = []
        self.apart: list[tuple[Any, ...]] = []
        self.handler_class: Any = self.lib.simple_server.WSGIRequestHandler
        #: Makes what runs the application, where there is no request handler to do so.
        self.runner: Any = self.lib.handlers.SimpleHandler
        #: A server at work, and the class of its request handlers.
        self.server: Any = None
        self.handler_class_served: Any = self.handler_class
        #: What the application does before it answers, after that, and after the first block.
        self.first: Callable[[Any], None] | None = None
        self.then: Callable[[Any], None] | None = None
        self.between: Callable[[Any], None] | None = None
        self.send = send

    def ask(self, page: str) -> bytes:
        """Send a request for a page; return the response."""
        return neutral(self.send(self, request_for(page)))

    def note(self, name: str, args: tuple[Any, ...]) -> None:
        noted = [describe(arg) for arg in args]
        while noted and noted[-1] is None:
            noted.pop()  # a default of the original's
        self.events.append((name, noted))

    def app(self, environ: dict[str, Any], start_response: Any) -> Any:
        if self.first is not None:
            self.first(start_response)
        page: Callable[..., Any] = PAGES.get(environ["PATH_INFO"][1:], say_hello)
        result = page(environ, start_response)
        if self.then is not None:
            self.then(start_response)
        return result if self.between is None else self._do_between(result, start_response)

    def _do_between(self, result: Any, start_response: Any) -> Iterator[bytes]:
        """Do something after the first block of a result."""
        blocks = iter(result)
        yield next(blocks)
        if self.between is not None:
            self.between(start_response)
        yield from blocks

    def find(self, owner: str) -> Any:
        """Return a class, or a module, by its name."""
        if owner in MODULES:
            return getattr(self.lib, owner)
        if owner in sys.modules:
            return sys.modules[owner]
        homes = (self.lib.simple_server, self.lib.handlers, self.lib.headers)
        for home in (*homes, http.server, socketserver):
            if hasattr(home, owner):
                return getattr(home, owner)
        raise LookupError(owner)

    # The ways to have the rows on something.

    def names(self, owner: Any) -> dict[str, Any]:
        """Return what a class must have to override the hooks of that class."""
        return {row.name: row.on_class(self.note, owner) for row in self.rows}

    def subclass(self, owner: Any) -> Any:
        return type(owner.__name__, (owner,), self.names(owner))

    def equip(self, instance: Any) -> Any:
        """Override the hooks of an instance."""
        for row in self.rows:
            setattr(instance, row.name, row.on_instance(self.note, instance))
        return instance

    def constructor(self, owner: Any) -> Any:
        """Return a subclass whose constructor overrides the hooks of the instance."""

        def __init__(instance: Any, *args: Any, **options: Any) -> None:  # noqa: N807
            if not issubclass(owner, self.lib.handlers.BaseHandler):
                self.equip(instance)  # which does all its work in its constructor
            owner.__init__(instance, *args, **options)
            self.equip(instance)

        return type(owner.__name__, (owner,), {"__init__": __init__})


Transport = Callable[[World, bytes], bytes]


# Ways for a request to reach the application.


def receive_what_comes(connection: Any) -> bytes:
    """Read until the peer has closed, in whichever way."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while block := connection.recv(65536):
            received += block
    return received


def exchange(server: Any, request: bytes) -> bytes:
    with connected(server) as connection:
        connection.sendall(request)
        return receive_what_comes(connection)


def through_own_server(world: World, request: bytes) -> bytes:
    """Send a request to a server whose ``serve_forever()`` runs."""
    if world.handler_class is not world.handler_class_served:
        world.handler_class_served = world.handler_class
        world.server.RequestHandlerClass = world.handler_class
    return exchange(world.server, request)


class StubServer:
    """The least that a request handler wants of its server."""

    def __init__(self, app: Any) -> None:
        self.base_environ = {"SERVER_NAME": "stub", "SERVER_PORT": "80", "CONTENT_LENGTH": ""}
        self.app = app

    def get_app(self) -> Any:
        return self.app


def through_stub(world: World, request: bytes) -> bytes:
    """Have a request handler serve a stand-in for a socket."""
    stub = StubSocket(request)
    try:
        world.handler_class(stub, ("192.0.2.1", 4711), StubServer(world.app))
    except Exception as error:
        print("raised", repr(error), file=sys.stderr)
    return b"".join(stub.sent)


class CountedFile(io.BytesIO):
    """A file that can tell its writes apart, as the client of a connection cannot."""

    def write(self, data: Any, /) -> int:
        return super().write(b"[" + data + b"]") - 2


def through_memory(world: World, request: bytes) -> bytes:
    """Have a handler run the application without a request handler."""
    path = request.split()[1].partition(b"?")[0].decode().replace("%20", " ")
    environ: dict[str, Any] = {"PATH_INFO": path, "SCRIPT_NAME": ""}
    world.lib.util.setup_testing_defaults(environ)
    out = CountedFile()
    try:
        world.runner(io.BytesIO(b"body"), out, sys.stderr, environ).run(world.app)
    except Exception as error:
        print("raised", repr(error), file=sys.stderr)
    return out.getvalue()


# Placements.

Placement = Callable[[World], AbstractContextManager[None]]


@contextmanager
def assigned(owner: Any, names: dict[str, Any]) -> Iterator[None]:
    """Assign attributes of a class or module, and take that back."""
    was = {name: vars(owner)[name] for name in names if name in vars(owner)}
    try:
        for name, value in names.items():
            setattr(owner, name, value)
        yield
    finally:
        for name in names:
            if name in was:
                setattr(owner, name, was[name])
            elif name in vars(owner):
                delattr(owner, name)


def handling_by(world: World, make: Callable[..., Any]) -> Any:
    """Return a request handler that re-implements ``handle()``, as many projects do."""

    base: Any = world.lib.simple_server.WSGIRequestHandler

    class Handler(base):
        def handle(self) -> None:
            self.raw_requestline = self.rfile.readline(65537)
            if len(self.raw_requestline) > 65536:
                self.requestline = self.request_version = self.command = ""
                self.send_error(414)
            elif self.parse_request():
                streams = self.rfile, self.wfile, self.get_stderr()
                handler = make(*streams, self.get_environ(), multithread=False)
                handler.request_handler = self
                handler.run(self.server.get_app())

    return Handler


@contextmanager
def made_by(world: World, make: Callable[..., Any]) -> Iterator[None]:
    """Have the owner's instances made by something else, in the ordinary way for it."""
    if world.owner == "WSGIRequestHandler":
        with assigned(world, {"handler_class": make}):
            yield
    elif world.owner == "Headers":
        own = {"headers_class": staticmethod(make)}
        server_handler = world.lib.simple_server.ServerHandler
        serve = handling_by(world, type(server_handler.__name__, (server_handler,), own))
        runner = type(world.runner.__name__, (world.runner,), own)
        with assigned(world, {"handler_class": serve, "runner": runner}):
            yield
    else:
        names = {"handler_class": handling_by(world, make), "runner": make}
        with assigned(world, names):
            yield


def base_of(world: World) -> Any:
    """Return the class whose instances serve: in memory there is no `ServerHandler`."""
    return world.runner if world.owner == "SimpleHandler" else world.find(world.owner)


@contextmanager
def by_subclass(world: World) -> Iterator[None]:
    with made_by(world, world.subclass(base_of(world))):
        yield


@contextmanager
def by_property(world: World) -> Iterator[None]:
    names = properties(world.rows)
    with made_by(world, type("Own", (base_of(world),), names)):
        yield


def properties(rows: tuple[Row, ...]) -> dict[str, Any]:
    """Return properties with the rows' values, that take no other."""

    def make(value: Any) -> property:
        return property(lambda _: value, lambda *_: None)

    return {row.name: make(row.on_class(lambda *_: None, None)) for row in rows}


@contextmanager
def by_constructor(world: World) -> Iterator[None]:
    with made_by(world, world.constructor(base_of(world))):
        yield


@contextmanager
def by_maker(world: World) -> Iterator[None]:
    """Override hooks of an instance once it is made."""
    base = base_of(world)
    with made_by(world, lambda *args, **options: world.equip(base(*args, **options))):
        yield


@contextmanager
def by_module_name(world: World) -> Iterator[None]:
    """Put a subclass in the place of the module's own name."""
    with assigned(world.lib.simple_server, {world.owner: world.subclass(base_of(world))}):
        yield


def owner_of(world: World, start_response: Any) -> Any:
    """Return the instance that has the hooks, as an application finds it."""
    handler = start_response.__self__
    if world.owner == "Headers":
        return handler.headers
    return handler.request_handler if world.owner == "WSGIRequestHandler" else handler


@contextmanager
def by_application(world: World) -> Iterator[None]:
    """Let the application override hooks before it answers."""

    def override(start_response: Any) -> None:
        if world.owner == "Headers":  # there are none yet
            make = world.lib.headers.Headers
            start_response.__self__.headers_class = lambda headers: world.equip(make(headers))
        else:
            world.equip(owner_of(world, start_response))

    with assigned(world, {"first": override}):
        yield


@contextmanager
def by_answered_application(world: World) -> Iterator[None]:
    """Let the application override hooks when it has called ``start_response()``."""
    with assigned(world, {"then": lambda start: world.equip(owner_of(world, start))}):
        yield


@contextmanager
def between_blocks(world: World) -> Iterator[None]:
    """Let the application override hooks when the response has begun."""
    with assigned(world, {"between": lambda start: world.equip(owner_of(world, start))}):
        yield


@contextmanager
def by_another_class(world: World) -> Iterator[None]:
    """Let the application give the instance another class."""
    changed = world.subclass(base_of(world))

    def change(start_response: Any) -> None:
        owner_of(world, start_response).__class__ = changed

    with assigned(world, {"first": change}):
        yield


@contextmanager
def late_on_a_subclass(world: World) -> Iterator[None]:
    """Assign to a subclass that has served requests without an override."""
    base = base_of(world)
    subclass = type(base.__name__, (base,), {})
    with made_by(world, subclass):
        apart(world, "plain")
        with assigned(subclass, world.names(subclass)):
            yield
        apart(world, "plain")


@contextmanager
def late_on_a_mixin(world: World) -> Iterator[None]:
    """Assign to a base that comes before the library's in a subclass."""
    base = base_of(world)
    mixin = type("Mixin", (), {})
    with made_by(world, type(base.__name__, (mixin, base), {})):
        apart(world, "plain")
        with assigned(mixin, world.names(base)):
            yield
        apart(world, "plain")


def late_on(owner: str) -> Placement:
    """Assign to a class while the server runs."""

    def place(world: World) -> AbstractContextManager[None]:
        cls = world.find(owner)
        return assigned(cls, world.names(cls))

    return place


@contextmanager
def by_late_property(world: World) -> Iterator[None]:
    with assigned(world.find(world.owner), properties(world.rows)):
        yield


@contextmanager
def late_in_a_request(world: World) -> Iterator[None]:
    """Assign to a class from within a request, and take that back so too."""
    cls = world.find(world.owner)
    with from_within(world, lambda _: assigned(cls, world.names(cls))):
        yield


@contextmanager
def from_within(world: World, place: Callable[[Any], Any]) -> Iterator[None]:
    """Have the application enter and leave a context, in a request each."""
    stack = contextlib.ExitStack()

    def enter(start_response: Any) -> None:
        world.first = None
        stack.enter_context(place(start_response))

    def leave(_: object) -> None:
        world.first = None
        stack.close()

    with stack:
        world.first = enter
        apart(world, "entered")
        yield
        world.first = leave
        apart(world, "left")
    world.first = None


def apart(world: World, name: str) -> None:
    """Ask for a page, apart from those that are compared with the plain ones."""
    with contextlib.redirect_stderr(io.StringIO()) as log:
        response = world.ask("hello")
    world.apart.append((name, response, neutral_log(log.getvalue())))


def equipped(world: World, instance: Any) -> AbstractContextManager[None]:
    """Override the hooks of an instance, and take that back."""
    names = {row.name: row.on_instance(world.note, instance) for row in world.rows}
    return assigned(instance, names)


@contextmanager
def on_the_server(world: World) -> Iterator[None]:
    """Override the hooks of a server that runs."""
    with equipped(world, world.server):
        yield


@contextmanager
def on_the_server_by_application(world: World) -> Iterator[None]:
    """Let the application override the hooks of its server, in the middle of a request."""

    def place(start_response: Any) -> AbstractContextManager[None]:
        return equipped(world, start_response.__self__.request_handler.server)

    with from_within(world, place):
        yield


PLACEMENTS: dict[str, Placement] = {
    "subclass": by_subclass,
    "property": by_property,
    "constructor": by_constructor,
    "instance": by_maker,
    "module": by_module_name,
    "application": by_application,
    "answered application": by_answered_application,
    "between blocks": between_blocks,
    "another class": by_another_class,
    "late on a subclass": late_on_a_subclass,
    "late on a mixin": late_on_a_mixin,
    "late property": by_late_property,
    "running server": on_the_server,
    "server by application": on_the_server_by_application,
    "late in a request": late_in_a_request,
}


def placement_of(name: str) -> Placement:
    """Return a placement by its name; ``late on X`` is one for each class X."""
    return PLACEMENTS[name] if name in PLACEMENTS else late_on(name.removeprefix("late on "))


def definers(owner: type, name: str) -> list[str]:
    """Name the classes that an attribute of the owner is its own or inherited from."""
    home = next((cls for cls in owner.__mro__ if name in vars(cls)), owner)
    return [owner.__name__] if home in (owner, object) else [owner.__name__, home.__name__]


def joined(events: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Join writes in a row: on a connection they leave together."""
    found: list[tuple[Any, ...]] = []
    for event in events:
        if found and event[0] == found[-1][0] == "_write":
            event = "_write", [found.pop()[1][0] + event[1][0]]
        found.append(event)
    return found


#: How often these are called is the loop's own affair.
UNCOUNTED = ("service_actions", "fileno")


def counted(events: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Leave of uncounted events one of a kind, at the end."""
    found = [event for event in events if event[0] not in UNCOUNTED]
    return found + [(name, []) for name in UNCOUNTED if any(e[0] == name for e in events)]


def through_handle_request(world: World, request: bytes) -> bytes:
    """Send a request to a server that is told to handle one."""
    with connected(world.server) as connection:
        connection.sendall(request)
        world.server.handle_request()
        return receive_what_comes(connection)


@contextmanager
def serving(world: World, server_class: Any, is_forever: bool) -> Iterator[None]:
    """Run a server of that class for a world."""
    make = world.lib.simple_server.make_server
    with make("127.0.0.1", 0, world.app, server_class, world.handler_class) as server:
        world.server = server
        # The original hears its end no sooner.
        with running(server, poll_interval=0.001) if is_forever else contextlib.nullcontext():
            yield


def at_work(world: World) -> AbstractContextManager[None]:
    """Run a server, if the world wants one and has none."""
    if world.server is not None or world.send is not through_own_server:
        return contextlib.nullcontext()
    return serving(world, world.lib.simple_server.WSGIServer, True)


def by_a_child(function: Callable[[], Any]) -> Any:
    """Return what a function returns in a process of its own.

    3.13 and later give up following the changes of a class after a thousand of them; what
    goes by a class's version, as short cuts may, would go untested from then on.
    """
    if not hasattr(os, "fork") or sys.implementation.name == "pypy":
        return function()  # PyPy would have each child compile all anew
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # 3.15 counts threads of C, too, as is the one that waits to dump tracebacks.
        warnings.filterwarnings("ignore", ".* is multi-threaded", DeprecationWarning)
        child = os.fork()
    if child == 0:
        report(function, writer)
    os.close(writer)
    with open(reader, "rb") as stream:
        is_done, value = pickle.load(stream)
    os.waitpid(child, 0)
    assert is_done, value
    return value


def report(function: Callable[[], Any], writer: int) -> None:
    """Write what a function comes to, and end the process."""
    gc.disable()  # it would copy all that the processes share
    try:
        outcome = True, function()
    except BaseException:
        outcome = False, traceback.format_exc()
    with open(writer, "wb") as stream:
        pickle.dump(outcome, stream)
    os._exit(0)


def observe_from_the_start(world: World, server_class: Any, is_forever: bool) -> Seen:
    """Return all that is seen from the making of a server to its end."""
    with (
        contextlib.redirect_stderr(io.StringIO()) as log,
        serving(world, server_class, is_forever),
    ):
        under = [world.ask(world.rows[0].page), world.ask("hello")]
    return Seen([], under, [], counted(joined(world.events)), [], neutral_log(log.getvalue()))


def observe(world: World, placement: Placement | None, is_joined: bool = True) -> Seen:
    """Ask before, under and after an override, and return all that was seen."""
    page = world.rows[0].page
    with contextlib.redirect_stderr(io.StringIO()) as log, at_work(world):
        before = [world.ask("hello"), world.ask("hello"), world.ask(page)]
        with contextlib.nullcontext() if placement is None else placement(world):
            under = [world.ask(page), world.ask(page)]
        count = len(world.events)
        after = [world.ask(page), world.ask("hello"), world.ask("hello")][::-1]
    assert len(world.events) == count, "taken back, and yet called"
    events = counted(joined(world.events)) if is_joined else world.events
    return Seen(before, under, after, events, world.apart, neutral_log(log.getvalue()))
