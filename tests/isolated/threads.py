"""Change what requests share, from other threads, while they run; look at each response.

    python threads.py [--wrong] [COUNT [SCENE...]]

For each scene (or those whose name holds one of the words given) four threads make COUNT
requests each while three others change header lists, the base environ, or classes. A
response that is not one of those that can be is printed, and makes the exit status 1; a
crash does so by itself. With ``--wrong`` the responses are made in ways that are not safe:
to see that it would be noticed. The last line says whether the GIL was on.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, suppress
from functools import partial
from itertools import cycle
from typing import Any

import traffic
from traffic import CLIENT, GET, Case, Stub

from wsgiref_fast import handlers
from wsgiref_fast.handlers import BaseHandler, SimpleHandler
from wsgiref_fast.headers import Headers
from wsgiref_fast.server import Server
from wsgiref_fast.simple_server import (
    ServerHandler,
    ThreadingWSGIServer,
    WSGIRequestHandler,
    WSGIServer,
)

REQUESTERS, CHANGERS = 4, 3

BODY = b"Hello, world!"
ERROR_BODY = BaseHandler.error_body

#: What lists are made of: short, long and repeated fields.
POOL = [
    *((f"X-{letter}", letter * size) for letter in "ABC" for size in (1, 40, 3000)),
    *(("X-Same", str(i)) for i in range(20)),
    ("Content-Type", "text/plain"),
]
#: What may not be sent, though a list may hold it for a moment.
EVIL: list[Any] = [("X-Evil", "1\r\nX-Injected: 1"), ("X\n", "1"), ("X-Evil", 1), ("X-Evil",), None]


# Responses


class Torn(Exception):
    """A response that cannot be."""


STATUS = re.compile(r"HTTP/1\.[01] (200 OK|500 Internal Server Error)")
DATE = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT|now")
SERVERS = (ServerHandler.server_software, "wsgiref_fast", "First/1", "Second/" + "2" * 100)
LINES = {f"{name}: {value}" for name, value in POOL}
LINES |= {"Connection: close", "X-Cleaned: 1", "X-Own: 1"}
LINES |= {"X-Evil: 1"}  # what is no string may come too late to be refused, but does no harm


def check(response: bytes, may_fail: bool) -> None:
    """Raise `Torn` unless it is a whole response, of parts that were put in somewhere."""
    head, end, body = response.partition(b"\r\n\r\n")
    status, *lines = head.decode("iso-8859-1").split("\r\n")
    match = STATUS.fullmatch(status)
    if match is None or not end:
        raise Torn(f"no head: {response[:200]!r}")
    expected = BODY if match[1] == "200 OK" else ERROR_BODY
    if expected == ERROR_BODY and not may_fail:
        raise Torn("the request has failed")
    if body != expected:
        raise Torn(f"wrong body: {body[:200]!r} after {head[:200]!r}")
    for line in lines:
        if line not in LINES and not is_ours(line, len(body)):
            raise Torn(f"no line of ours: {line[:200]!r}")


def is_ours(line: str, length: int) -> bool:
    """Tell whether a header is one that the server adds, and right."""
    name, _, value = line.partition(": ")
    if name == "Content-Length":
        return value == str(length)
    if name == "Server":
        return value in SERVERS
    return name == "Date" and DATE.fullmatch(value) is not None


# Scenes: what is shared, who changes it, what is requested


class Scene:
    """Something shared; each of `changes` is called again and again by one thread."""

    handler: type[WSGIRequestHandler] = WSGIRequestHandler
    #: Whether what is shared may be such that there is no response to it.
    may_fail = False

    def __init__(self) -> None:
        self.changes: list[Callable[[], object]] = []
        #: What an application has seen that cannot be.
        self.torn: list[str] = []

    def answer(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        """Run the application; what it finds torn is kept, for a server only logs it."""
        try:
            return self.app(environ, start_response)
        except Torn as error:
            self.torn.append(str(error))
            raise

    def app(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [BODY]

    def watch(self, server: WSGIServer) -> None:
        """Look at the server whose requests these are."""


class SharedList(Scene):
    """Applications give all responses the same header list, which grows and shrinks."""

    fields: list[Any]

    more: list[Any] = POOL

    def __init__(self) -> None:
        super().__init__()
        self.fields = list(POOL)
        self.changes = [
            partial(_rotate, self.fields, cycle(self.more)),
            partial(_refill, self.fields),
        ]

    def app(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", self.fields)
        return [BODY]


def _rotate(fields: list[Any], more: Iterator[Any]) -> None:
    fields.append(next(more))
    del fields[:1]
    if len(fields) > 2:
        fields[1] = next(more)
        fields.reverse()


def _refill(fields: list[Any]) -> None:
    fields.clear()
    fields.extend(POOL)
    fields[:] = POOL[:5] * 10
    fields *= 2
    del fields[3:]


class BadList(SharedList):
    """At times the list has what cannot be sent: then the request fails as a whole."""

    more = POOL + EVIL
    may_fail = True


class SharedHeaders(Scene):
    """Applications edit one `Headers` object, and send what it then holds."""

    def __init__(self) -> None:
        super().__init__()
        self.headers = Headers(list(POOL))
        self.changes = [self.edit, partial(_refill, self.headers._headers)]

    def edit(self) -> None:
        headers = self.headers
        headers["X-A"] = "A"
        headers.add_header("X-B", "B" * 40)
        headers.setdefault("X-C", "C")
        del headers["x-same"]
        for line in bytes(headers).decode("iso-8859-1").split("\r\n"):
            if line and line not in LINES:
                raise Torn(f"no line of ours: {line[:200]!r}")
        value = headers.get("x-a")
        if value not in (None, "A", "A" * 40, "A" * 3000):
            raise Torn(f"no value of ours: {value!r}")

    def app(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.edit()
        start_response("200 OK", self.headers.items())
        return [BODY]


class SharedEnviron(Scene):
    """The base environ changes and is replaced; each request has one state of it."""

    server: Any

    def __init__(self) -> None:
        super().__init__()
        self.changes = [self.resize, partial(self.replace, cycle(range(1000)))]

    def watch(self, server: WSGIServer) -> None:
        self.server = server

    def resize(self) -> None:
        environ = self.server.base_environ
        for i in range(40):
            environ[f"own.{i}"] = str(i)
        for i in range(40):
            environ.pop(f"own.{i}", None)

    def replace(self, numbers: Iterator[int]) -> None:
        number = str(next(numbers)) * 10
        environ = {"SERVER_NAME": number, "SERVER_PORT": "80", "SCRIPT_NAME": number}
        self.server.base_environ = environ

    def app(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        number = environ["SCRIPT_NAME"]
        if number and environ["SERVER_NAME"] != number:
            raise Torn("an environ of two")
        for key, value in environ.items():
            if key.startswith("own.") and key != f"own.{value}":
                raise Torn(f"{key} is {value!r}")
        if environ["PATH_INFO"] != "/path" or environ["HTTP_COOKIE"] != "a=1; b=2":
            raise Torn(f"the request is lost: {environ!r}")
        return super().app(environ, start_response)


class SharedClasses(Scene):
    """Programs assign to the attributes of classes, and put methods in their place."""

    def __init__(self) -> None:
        super().__init__()
        self.changes = [
            partial(_assign, [cycle(values) for values in ATTRIBUTES]),
            partial(_assign, [cycle(values) for values in METHODS]),
            partial(_grow, cycle(range(50))),
        ]


#: An owner, one of its names, a value; each list in turn.
Change = tuple[Any, str, Any]


def _values(owner: Any, name: str, *values: Any) -> list[Change]:
    """Return values for a name of a class, and at the end its own."""
    return [(owner, name, value) for value in (*values, getattr(owner, name))]


ATTRIBUTES: list[list[Change]] = [
    _values(ServerHandler, "http_version", "1.1"),
    _values(ServerHandler, "server_software", "", *SERVERS[1:]),
    _values(WSGIRequestHandler, "server_version", "A/1", "B/" + "2" * 100),
    _values(WSGIRequestHandler, "underscore_headers", True),
    _values(BaseHandler, "os_environ", {}, {"OWN": "1"}),
    _values(BaseHandler, "wsgi_file_wrapper", None),
    _values(BaseHandler, "error_headers", [("Content-Type", "text/plain")]),
    _values(handlers, "format_date_time", lambda _: "now"),
]


def _around(owner: type, name: str) -> Callable[..., Any]:
    """Return a method that does what that one does."""
    method = getattr(owner, name)
    return lambda *args, **kwargs: method(*args, **kwargs)


def _cleanup(handler: Any) -> None:
    handler.headers["X-Cleaned"] = "1"
    _CLEANUP(handler)


_CLEANUP = ServerHandler.cleanup_headers

METHODS: list[list[Change]] = [
    *(_values(Headers, name, _around(Headers, name)) for name in ("get", "__bytes__")),
    *(
        _values(owner, name, _around(owner, name))
        for owner, names in (
            (WSGIRequestHandler, ("parse_request", "get_environ", "handle", "log_request")),
            (SimpleHandler, ("write", "send_headers", "_write")),
            (BaseHandler, ("run", "setup_environ", "finish_response", "start_response")),
        )
        for name in names
    ),
    _values(ServerHandler, "cleanup_headers", _cleanup),
]


def _assign(changes: list[Iterator[Change]]) -> None:
    for change in changes:
        setattr(*next(change))


def _grow(numbers: Iterator[int]) -> None:
    """Give the classes new attributes, and take them back."""
    name = f"own_{next(numbers)}"
    for owner in (Headers, ServerHandler, WSGIRequestHandler):
        setattr(owner, name, restore)
    for owner in (Headers, ServerHandler, WSGIRequestHandler):
        delattr(owner, name)


def restore() -> None:
    for values in (*ATTRIBUTES, *METHODS):
        setattr(*values[-1])


class OwnHandle(SharedList):
    """A request handler with a ``handle()`` of its own, and the shared list."""

    handler = traffic.OwnHandle


SCENES: dict[str, Callable[[], Scene]] = {
    "shared header list": SharedList,
    "shared header list, at times bad": BadList,
    "shared header list, own handle()": OwnHandle,
    "shared Headers": SharedHeaders,
    "base environ": SharedEnviron,
    "classes": SharedClasses,
}


# Scenes that go wrong


class LooksTwice(Headers):
    """Sends the names of a header list with the values that it has a moment later."""

    def __bytes__(self) -> bytes:
        pairs = zip(self.keys(), self.values(), strict=False)
        lines = [f"{name}: {value}" for name, value in pairs]
        return "\r\n".join([*lines, "", ""]).encode("iso-8859-1")


class LooksTwiceAtLists(SharedList):
    def app(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response.__self__.headers_class = LooksTwice
        return super().app(environ, start_response)


class LooksTwiceAtEnvirons(SharedEnviron):
    def app(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        name = self.server.base_environ["SERVER_NAME"]
        return super().app({**environ, "SERVER_NAME": name}, start_response)


class CountsWrong(Scene):
    def app(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "5")])
        return [BODY]


class Fails(Scene):
    def app(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise ValueError("for no reason")


WRONG: dict[str, Callable[[], Scene]] = {
    "two looks at a header list": LooksTwiceAtLists,
    "two looks at the base environ": LooksTwiceAtEnvirons,
    "wrong length": CountsWrong,
    "failure": Fails,
}


# Threads


class Run:
    """The threads of one scene; it ends when something is torn, or each has had its turns."""

    def __init__(self, scene: Scene, count: int) -> None:
        self.scene = scene
        self.count = count
        self.torn: list[str] = []
        self._ends = threading.Event()
        self._start = threading.Barrier(REQUESTERS + CHANGERS)
        # A scene that changes less has as many changers all the same.
        self._changes = [*scene.changes, *[lambda: None] * CHANGERS][:CHANGERS]

    def __call__(self, request: Callable[[], bytes]) -> None:
        """Have `request` called again and again while things change."""
        requesters = [self._thread(self._request, request) for _ in range(REQUESTERS)]
        changers = [self._thread(self._change, change) for change in self._changes]
        for thread in (*requesters, *changers):
            thread.start()
        for thread in requesters:
            thread.join()
        self._ends.set()
        for thread in changers:
            thread.join()

    def _thread(self, turn: Callable[[Any], None], argument: object) -> threading.Thread:
        return threading.Thread(target=self._guard, args=(turn, argument))

    def _guard(self, turn: Callable[[Any], None], argument: object) -> None:
        try:
            self._start.wait(traffic.PATIENCE)
            turn(argument)
        except Exception as error:
            self.torn.append(f"{type(error).__name__}: {error}")
            self._ends.set()

    def _request(self, request: Callable[[], bytes]) -> None:
        for _ in range(self.count):
            if self._ends.is_set():
                break
            check(request(), self.scene.may_fail)

    def _change(self, change: Callable[[], object]) -> None:
        while not self._ends.is_set():
            with suppress(IndexError):  # the list has shrunk meanwhile
                change()


def in_memory(scene: Scene, run: Run) -> None:
    """Have each thread drive request handlers of its own, on one server."""
    with traffic.make_server(Case(GET, scene.answer, handler=scene.handler)) as server:
        scene.watch(server)

        def request() -> bytes:
            stub: Any = Stub(GET)
            scene.handler(stub, CLIENT, server)
            return b"".join(stub.sent)

        run(request)


def over_sockets(scene: Scene, run: Run) -> None:
    """Have each thread be a client of a server with threads."""
    case = Case(GET, scene.answer, handler=scene.handler)
    with traffic.looping(case, ThreadingWSGIServer) as server:
        scene.watch(server)

        def request() -> bytes:
            with traffic.connect(server) as connection:
                connection.sendall(GET)
                return traffic.receive_all(connection)

        run(request)


#: How a client says that the request is its last.
LAST = GET.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)


def by_server(scene: Scene, run: Run) -> None:
    """Have each thread be a client of the HTTP/1.1 server, which has one."""
    with traffic.looping(Case(LAST, scene.answer), Server) as server:
        scene.watch(server)

        def request() -> bytes:
            with traffic.connect(server) as connection:
                connection.sendall(LAST)
                return traffic.receive_all(connection)

        run(request)


def is_torn(name: str, make_scene: Callable[[], Scene], count: int) -> bool:
    """Run a scene in each way; print what was torn, and tell whether anything was."""
    found: list[str] = []
    for way, turns in ((in_memory, count), (over_sockets, count // 4 + 1), (by_server, count)):
        scene = make_scene()
        run = Run(scene, turns)
        with redirect_stderr(traffic.Sink()):
            try:
                way(scene, run)
            finally:
                restore()
        found += [f"{way.__name__}: {text}" for text in (*run.torn, *scene.torn)]
    if found:
        print(name, found[0], sep="\t", flush=True)
    return bool(found)


def main(arguments: list[str]) -> int:
    wrong = arguments[:1] == ["--wrong"]
    count, *words = arguments[wrong:] or ["1000"]
    sys.setswitchinterval(1e-5)
    scenes = WRONG if wrong else SCENES
    chosen = {n: scene for n, scene in scenes.items() if not words or any(w in n for w in words)}
    torn = [name for name, scene in chosen.items() if is_torn(name, scene, int(count))]
    print(f"{len(chosen)} scenes, {len(torn)} torn, GIL {'on' if has_gil() else 'off'}")
    return int(bool(torn))


def has_gil() -> bool:
    is_enabled: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)
    return is_enabled()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
