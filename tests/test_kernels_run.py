"""The compiled short cuts through a request against the methods that they skip.

Their reference does nothing but say so. What is compared is a whole request: what was sent,
what was logged, what the application saw, and how the handlers are left.
"""

from __future__ import annotations

import io
import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr
from copy import copy
from dataclasses import dataclass, replace
from itertools import count
from socketserver import ThreadingMixIn
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import strategies as st

from conftest import implementations
from oracle import Text, exception_lines, outcome
from support import (
    PATIENCE,
    StubSocket,
    receive_all,
    reset_at_close,
)
from twins import (
    HOSTILE_BYTES,
    HOSTILE_TEXT,
    Bytes,
    Call,
    Doubled,
    Kernel,
    Listed,
    Loud,
    Mapped,
    Pair,
    TwinTests,
    in_use,
    noting,
    noting_reference,
    short,
    short_bytes,
)
from wsgiref_fast import _impl
from wsgiref_fast._streams import ConnectionWriter
from wsgiref_fast.handlers import SimpleHandler
from wsgiref_fast.simple_server import WSGIRequestHandler, WSGIServer, make_server

# A pure installation has no twins to compare: then there are no tests here to collect.
__test__ = "compiled" in implementations()

#: What tells the time: in a head, and in a line of log.
TIMES = re.compile(r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT|\[\d\d/\w{3}/\d{4} [\d:]{8}\]")


@dataclass(frozen=True)
class App:
    """An application that does what it is told, and tells what it saw."""

    status: Any = "200 OK"
    headers: Any = (("Content-Type", "text/plain"),)
    result: Any = (b"Hello",)
    kind: Callable[[Any], Any] = list
    read: int | None = None
    writes: tuple[Any, ...] = ()
    starts: int = 1

    def called(self, seen: list[Any]) -> Callable[..., Any]:
        headers = list(self.headers) if type(self.headers) is tuple else copy(self.headers)

        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            seen.append(sorted((str(key), tell(value)) for key, value in environ.items()))
            if self.read is not None:
                seen.append(environ["wsgi.input"].read(self.read))
            for _ in range(self.starts):
                write = start_response(self.status, headers)
            for block in self.writes:
                write(block)
            seen.append(headers)
            return self.kind(self.result)

        return app


def tell(value: Any) -> Any:
    """Describe a value of an environ without its place in memory."""
    return repr(value) if isinstance(value, (str, bool, tuple)) else type(value).__name__


def raising(result: Any) -> Any:
    raise LookupError(f"no result: {result!r}")


def without_times(text: str) -> str:
    return TIMES.sub("(time)", text)


# -- A request through a handler of a gateway ----------------------------------------------


def run_by(implementation: Literal["pure", "compiled"], environ: Any, app: App) -> Any:
    """Run an application by a `SimpleHandler`; tell all that came of it."""
    out, log = io.BytesIO(), io.StringIO()
    seen: list[Any] = []
    with in_use(implementation):
        handler = SimpleHandler(io.BytesIO(b"body"), out, log, environ)
        result = outcome(handler.run, app.called(seen))
    left = {name: tell(getattr(handler, name, "none")) for name in LEFT_OF_A_RUN}
    sent = without_times(out.getvalue().decode("iso-8859-1"))
    return result, sent, exception_lines(without_times(log.getvalue())), seen, left


#: What of a handler programs look at afterwards.
LEFT_OF_A_RUN = [
    *("status", "headers", "headers_sent", "bytes_sent", "result", "environ"),
    *("wsgi_multithread", "wsgi_multiprocess", "http_version"),
]


def run_purely(environ: Any, app: App) -> Any:
    return run_by("pure", environ, app)


def run_compiled(environ: Any, app: App) -> Any:
    return run_by("compiled", environ, app)


ENVIRON = {"REQUEST_METHOD": "GET", "SERVER_PROTOCOL": "HTTP/1.0"}

plain_texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=6)
plain_fields = st.tuples(plain_texts.map("X-{}".format), plain_texts)
plain_headers = st.lists(plain_fields, max_size=4).map(tuple)
plain_apps = st.builds(
    App,
    status=plain_texts.map("200 {}".format) | plain_texts.map("404 {}".format),
    headers=plain_headers,
    result=st.tuples(st.binary(max_size=20)),
    kind=st.sampled_from([list, tuple]),
    read=st.none() | st.integers(0, 9),
)
ODD_HEADERS: list[Any] = [
    *(None, 3, "AB", [("A", "\r")], [("A", 1)], [("A",)], [None], [["A", "1"]], [Pair(("A", "1"))]),
    *([("Connection", "close")], [("tE", "")], [(Text("A"), "1")], [("A", Loud("1"))]),
    *([("A", "\u0100")], [("A", "\ud800")], Listed([("A", "1")]), Doubled([("A", "1")])),
]
ODD_STATUSES: list[Any] = [
    *(None, 200, b"200 OK", "", "2", "200", "200OK", "20 OK", "abc d", "200 \r\n", "200 \x7f"),
    *("\u0662\u0660\u0660 OK", "200 \u0100", "200 \ud800", Text("200 OK"), Loud("200 OK")),
]
ODD_RESULTS: list[Any] = [
    *((), (b"",), (b"a", b"b"), (b"", b"a"), (bytearray(b"a"),), ("a",), (None,), (Bytes(b"a"),)),
    *(("",), (memoryview(b"a"),), (3,)),
]
odd_apps = st.builds(
    App,
    status=st.sampled_from(["204 No", "304 Not", "100 Go", "200 OK", *ODD_STATUSES]),
    headers=plain_headers
    | st.sampled_from(ODD_HEADERS)
    | st.sampled_from(["Content-Length", "content-length", "Date", "SERVER", "Connection"]).map(
        lambda name: ((name, "5"),)
    ),
    result=st.sampled_from([(b"Hello",), *ODD_RESULTS]),
    kind=st.sampled_from([list, tuple, iter, Listed, Doubled, raising, set]),
    read=st.none() | st.integers(-1, 9),
    writes=st.sampled_from([(), (), (b"a",), (b"",), ("a",), (b"a", b"b")]),
    starts=st.sampled_from([1, 1, 1, 0, 2]),
)
plain_environs = st.builds(
    lambda method, more: {**ENVIRON, "REQUEST_METHOD": method, **more},
    st.sampled_from(["GET", "POST", "PUT"]),
    st.dictionaries(plain_texts.map("HTTP_{}".format), plain_texts, max_size=3)
    | st.sampled_from([{"HTTPS": "on"}, {"HTTPS": "off"}, {"SERVER_SOFTWARE": "x"}]),
)
odd_environs: st.SearchStrategy[Any] = plain_environs | st.sampled_from(
    [
        *({}, {"REQUEST_METHOD": "HEAD"}, {"SERVER_PROTOCOL": "HTTP/0.9"}, None, 3, []),
        *({"SERVER_PROTOCOL": None}, {**ENVIRON, "REQUEST_METHOD": "HEAD"}, {3: 4}),
        *({**ENVIRON, "SERVER_PROTOCOL": Text("HTTP/1.0")}, {**ENVIRON, "HTTPS": 1}),
    ]
)


def forgets_a_variable(environ: Any, app: App) -> Any:
    return run_purely({k: v for k, v in environ.items() if k[:1] != "\x80"} if environ else {}, app)


def answers_ok(environ: Any, app: App) -> Any:
    return run_purely(environ, replace(app, status="200 OK"))


def sends_no_body(environ: Any, app: App) -> Any:
    result, sent, *rest = run_purely(environ, app)
    return result, sent.removesuffix("Hello"), *rest


def logs_nothing(environ: Any, app: App) -> Any:
    result, sent, _, *rest = run_purely(environ, app)
    return result, sent, [], *rest


def keeps_the_state(environ: Any, app: App) -> Any:
    *rest, left = run_purely(environ, app)
    return *rest, {**left, "status": app.status}


class RunTests(TwinTests):
    """A kernel as part of a whole run."""

    module = "run"
    plain = st.tuples(plain_environs, plain_apps)
    odd = st.tuples(odd_environs, odd_apps)
    examples = 50
    most = 2
    wrong: ClassVar[tuple[Kernel, ...]] = (answers_ok, sends_no_body, logs_nothing, keeps_the_state)

    def twins(self) -> tuple[Kernel, Kernel]:
        return run_purely, run_compiled


class TestSetUp(RunTests):
    name = "set_up"
    odd_calls: ClassVar[tuple[Call, ...]] = ()
    wrong = (*RunTests.wrong, forgets_a_variable)

    def hostile(self) -> Iterator[Call]:
        for text in short(HOSTILE_TEXT, 1):
            yield {**ENVIRON, text: text, "HTTP_" + text: "1"}, App()
            yield {**ENVIRON, "REQUEST_METHOD": text, "SERVER_PROTOCOL": "HTTP/1" + text}, App()
            yield {**ENVIRON, "HTTPS": text, "SERVER_SOFTWARE": text}, App(read=3)
            yield (
                {**ENVIRON, "SERVER_PROTOCOL": text},
                App(result=(text.encode("utf-8", "ignore"),)),
            )
        yield ENVIRON, App(status="404 Not Found")
        yield ENVIRON, App(result=("a",))


class TestStart(RunTests):
    name = "start"
    odd_calls = (
        *((ENVIRON, App(headers=odd)) for odd in ODD_HEADERS),
        *((ENVIRON, App(status=odd)) for odd in ODD_STATUSES if odd != "200 \u0100"),
        (ENVIRON, App(starts=2)),
    )

    def hostile(self) -> Iterator[Call]:
        for text in short(HOSTILE_TEXT, 2):
            yield ENVIRON, App(status="200 " + text)
            yield ENVIRON, App(headers=(("A", text), ("B" + text, "")))
        for text in short(HOSTILE_TEXT, 1):
            yield ENVIRON, App(status=text)
            yield ENVIRON, App(status="20" + text + " OK")
            yield ENVIRON, App(status="200" + text + "OK")
            yield ENVIRON, App(headers=((text, text),))


class TestFinish(RunTests):
    name = "finish"
    odd_calls = (
        *((ENVIRON, App(result=odd)) for odd in ODD_RESULTS if odd != (b"",)),
        *((ENVIRON, App(kind=odd)) for odd in (iter, Listed, Doubled, set)),
        *((ENVIRON, App(status=odd)) for odd in ("204 No Content", "304 Not Modified", "100 Go")),
        *((ENVIRON, App(writes=odd)) for odd in ((b"a",), (b"a", b"b"))),
        ({**ENVIRON, "REQUEST_METHOD": "HEAD"}, App()),
        *(({**ENVIRON, "SERVER_PROTOCOL": odd}, App()) for odd in ("HTTP/0.9", "", None)),
    )

    def hostile(self) -> Iterator[Call]:
        for name in ("Content-Length", "content-length", "Date", "SERVER", "X"):
            for text in short(HOSTILE_TEXT, 1):
                yield ENVIRON, App(headers=((name + text, "5"),))
                yield ENVIRON, App(headers=((name, "5" + text),))
                yield ENVIRON, App(headers=((name, "5"), (text, "1")))
        for body in map(str.encode, short(HOSTILE_BYTES, 1)):
            yield ENVIRON, App(result=(body,), kind=tuple)
            yield ENVIRON, App(result=(b"", body), writes=(body,))
        yield ENVIRON, App(status="404 Not Found")


# -- A request through a handler of the server ---------------------------------------------


class Server:
    """What of a server a request handler asks."""

    def __init__(self, application: Any, base_environ: Any) -> None:
        self.application = application
        self.base_environ = base_environ

    def get_app(self) -> Any:
        return self.application


class ThreadedServer(ThreadingMixIn, Server):
    """One whose request handlers wait for the next request by themselves."""


BASE = {"SERVER_NAME": "h", "SERVER_PORT": "80", "SCRIPT_NAME": "", "REMOTE_HOST": ""}


def serve_by(implementation: Literal["pure", "compiled"], request: bytes, app: App) -> Any:
    """Serve a request on a connection; tell all that came of it."""
    log = io.StringIO()
    seen: list[Any] = []
    ours, theirs = socket.socketpair()
    with in_use(implementation), redirect_stderr(log), ours, theirs:
        theirs.sendall(request)
        theirs.shutdown(socket.SHUT_WR)
        server = Server(app.called(seen), dict(BASE))
        handler = WSGIRequestHandler.__new__(WSGIRequestHandler)
        result = outcome(handler.__init__, ours, ("127.0.0.1", 1), server)  # type: ignore[misc]
        ours.close()
        blocks = list(iter(lambda: theirs.recv(65536), b""))
    left = {name: getattr(handler, name, "none") for name in LEFT}
    headers = getattr(handler, "headers", None)
    fields = None if headers is None else headers.items()
    sent = without_times(b"".join(blocks).decode("iso-8859-1"))
    return result, sent, exception_lines(without_times(log.getvalue())), seen, left, fields


#: What of a request handler programs look at afterwards.
LEFT = [
    *("requestline", "raw_requestline", "request_version", "command", "path", "close_connection"),
    "client_address",
]


def serve_purely(request: bytes, app: App) -> Any:
    return serve_by("pure", request, app)


def serve_compiled(request: bytes, app: App) -> Any:
    return serve_by("compiled", request, app)


def serves_another(request: bytes, app: App) -> Any:
    return serve_purely(request.replace(b"%41", b"A"), app)


def serves_in_upper_case(request: bytes, app: App) -> Any:
    return serve_purely(request.replace(b"/a", b"/A"), app)


def serves_without_its_body(request: bytes, app: App) -> Any:
    return serve_purely(request, replace(app, read=None))


def serves_without_a_log(request: bytes, app: App) -> Any:
    result, sent, _, *rest = serve_purely(request, app)
    return result, sent, [], *rest


def request_of(method: str, target: str, fields: list[tuple[str, str]], body: bytes) -> bytes:
    lines = [
        f"{method} {target} HTTP/1.{len(fields) % 2}",
        *(f"{n}: {v}" for n, v in fields),
        "",
        "",
    ]
    return "\r\n".join(lines).encode("iso-8859-1") + body


words = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=6)
tokens = st.sampled_from(["Host", "Accept", "Cookie", "X-A", "x-a", "User-Agent", "Referer"])
plain_requests = st.one_of(
    st.builds(
        request_of,
        st.sampled_from(["GET", "POST", "DELETE"]),
        words.map("/a{}".format),
        st.lists(st.tuples(tokens, words), max_size=4, unique_by=lambda field: field[0].lower()),
        st.just(b""),
    ),
    st.binary(max_size=9).map(
        lambda body: request_of("POST", "/", [("Content-Length", str(len(body)))], body)
    ),
)
odd_requests = st.lists(
    st.sampled_from(
        [
            *(b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.0\r\n", b"HEAD /a HTTP/1.1\r\n", b"GET /\r\n"),
            *(b"POST //a HTTP/1.0\r\n", b"Host: h\r\n", b"Content-Length: 3\r\n", b"abc", b"\r\n"),
            *(
                b"Transfer-Encoding: chunked\r\n",
                b"3\r\nabc\r\n0\r\n\r\n",
                b"Expect: 100-continue\r\n",
            ),
            *(
                b"Content-Length: 3, 3\r\n",
                b"Content-Length: -1\r\n",
                b"A : 1\r\n",
                b" b\r\n",
                b"\n",
            ),
            *(b"X_A: 1\r\n", b"\r", b"GET / HTTP/2.0\r\n", b"\0", b"Connection: keep-alive\r\n"),
        ]
    ),
    max_size=6,
).map(b"".join)


class TestServe(TwinTests):
    module = "run"
    name = "serve"
    examples = 50
    plain = st.tuples(plain_requests, plain_apps)
    odd = st.tuples(odd_requests | plain_requests, odd_apps)
    odd_calls = (
        *(
            (b"\r\n", App()),
            (b"GET /\r\n", App()),
            (b"GET / HTTP/2.0\r\n\r\n", App()),
        ),
        *((b"GET / HTTP/1.0\r\n", App()), (b"GET //a HTTP/1.1\r\nA : b\r\n\r\n", App())),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", App(read=-1)),
        (b"POST / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\nab", App(read=-1)),
        (b"POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\nab", App(read=-1)),
    )
    wrong = (serves_another, serves_in_upper_case, serves_without_its_body, serves_without_a_log)

    def twins(self) -> tuple[Kernel, Kernel]:
        return serve_purely, serve_compiled

    def handed_over(self, calls: Iterable[Call]) -> list[list[str]]:
        """Tell from a step that the methods alone take whether they served a request."""
        found = []
        with in_use("compiled"), pytest.MonkeyPatch.context() as patch:
            noted: list[str] = []
            patch.setattr(
                _impl, "parse_request_line", noting(noted, "serve", _impl.parse_request_line)
            )
            for call in calls:
                noted.clear()
                serve_compiled(*call)
                found.append(noted.copy())
        return found

    def hostile(self) -> Iterator[Call]:
        for text in map(str.encode, short(HOSTILE_BYTES, 1)):
            yield b"GET /a" + text + b"b%41?%41 HTTP/1.0\r\n\r\n", App()
            yield b"GET" + text + b" / HTTP/1.0\r\nHost: h\r\n\r\n", App()
            yield b"GET / HTTP/1." + text + b"\r\n\r\n", App()
            yield b"GET / HTTP/1.1\r\nA" + text + b": 1\r\nB:" + text + b"\r\n\r\n", App()
            yield b"POST / HTTP/1.1\r\nContent-Length: 3" + text + b"\r\n\r\nabcdef", App(read=-1)
            yield b"GET / HTTP/1.0\r\n" + text + b"\r\n", App()
        for end in range(0, len(SAMPLE) + 1, 3):
            yield SAMPLE[:end], App(read=-1)


SAMPLE = b"POST /a%20b?c HTTP/1.0\r\nHost: h\r\nContent-Length: 4\r\nCookie: a\r\n\r\nbody and more"


# -- The steps of a request handler --------------------------------------------------------


def nothing(_: Any) -> None:
    """Leave a handler as it is."""


def whole(data: bytes) -> Any:
    return io.BytesIO(data)


def buffered(data: bytes) -> Any:
    return io.BufferedReader(io.BytesIO(data))


def tight(data: bytes) -> Any:
    """Give a buffer that is smaller than any head."""
    return io.BufferedReader(io.BytesIO(data), 16)


def piecemeal(data: bytes) -> Any:
    return io.BufferedReader(Pieces(data))


def received(data: bytes) -> None:
    """Leave it to a socket."""


class Pieces(io.RawIOBase):
    """A raw file that gives few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        piece, self._data = self._data[:7], self._data[7:]
        buffer[: len(piece)] = piece
        return len(piece)


@dataclass(frozen=True)
class Visit:
    """How requests come to a handler, and what is done to it on the way."""

    file: Callable[[bytes], Any] = whole
    keeps: bool = False
    base: tuple[tuple[Any, Any], ...] = ()
    before: Callable[[Any], Any] = nothing
    between: Callable[[Any], Any] = nothing
    app: App = App()


class Stub(StubSocket):
    """A connection whose file is of any kind."""

    def __init__(self, file: Any) -> None:
        super().__init__(b"")
        self._file = file

    def makefile(self, mode: str, bufsize: int = -1) -> Any:
        return self._file


class Observed(WSGIRequestHandler):
    """A request handler that notes what its steps come to."""

    visit: ClassVar[Visit]
    records: ClassVar[list[Any]]

    def parse_request(self) -> bool:
        self.visit.before(self)
        try:
            result = super().parse_request()
        finally:
            self.records.append(self.state())
        self.visit.between(self)
        return result

    def get_environ(self) -> dict[str, Any]:
        environ = super().get_environ()
        self.records.append(sorted((str(key), tell(value)) for key, value in environ.items()))
        self.records.append(self.state())
        self.records.append(self.headers.items())
        return environ

    def state(self) -> dict[str, Any]:
        return {name: tell(getattr(self, name, "none")) for name in LEFT_OF_A_STEP}


#: What of a request handler a program's own steps may look at in between.
LEFT_OF_A_STEP = [
    *("requestline", "raw_requestline", "request_version", "command", "path", "rfile"),
    *("close_connection", "_chunked_length", "_section", "_variables"),
]


@contextmanager
def connection_with(visit: Visit, data: bytes, sent: list[bytes]) -> Iterator[Any]:
    """Give what brings requests, as the visit wants it; note what is sent to it."""
    if visit.file is not received:
        stub = Stub(visit.file(data))
        yield stub
        sent += stub.sent
        return
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        yield ours
        ours.close()
        sent += iter(lambda: theirs.recv(65536), b"")


def visit_by(implementation: Literal["pure", "compiled"], data: bytes, visit: Visit) -> Any:
    """Have a handler take the requests of a connection step by step; tell all it came to."""
    log, seen, sent = io.StringIO(), list[Any](), list[bytes]()
    version = "HTTP/1.1" if visit.keeps else "HTTP/1.0"
    space = {"protocol_version": version, "visit": visit, "records": []}
    handler_class = type("Handler", (Observed,), space)
    server = ThreadedServer(visit.app.called(seen), {**BASE, **dict(visit.base)})
    serving = connection_with(visit, data, sent)
    with in_use(implementation), redirect_stderr(log), serving as connection:
        result = outcome(handler_class, connection, ("127.0.0.1", 1), server)[:2]
    answer = without_times(b"".join(sent).decode("iso-8859-1"))
    lines = exception_lines(without_times(log.getvalue()))
    return result[0], answer, lines, seen, space["records"]


def visit_purely(data: bytes, visit: Visit) -> Any:
    return visit_by("pure", data, visit)


def visit_compiled(data: bytes, visit: Visit) -> Any:
    return visit_by("compiled", data, visit)


def sees_the_first_request_again(data: bytes, visit: Visit) -> Any:
    *rest, records = visit_purely(data, visit)
    return *rest, [records[n % 4] for n in range(len(records))]


def leaves_its_base_out(data: bytes, visit: Visit) -> Any:
    return visit_purely(data, replace(visit, base=()))


def ends_after_one_request(data: bytes, visit: Visit) -> Any:
    return visit_purely(data, replace(visit, keeps=False))


def sees_no_change(data: bytes, visit: Visit) -> Any:
    return visit_purely(data, replace(visit, between=nothing))


def takes_underscores(data: bytes, visit: Visit) -> Any:
    return visit_purely(data.replace(b"X_", b"X-"), visit)


# What programs do to a handler between its steps.


def looks_at_the_headers(handler: Any) -> None:
    handler.records.append(handler.headers.get("Host"))


def adds_a_header(handler: Any) -> None:
    handler.headers["X-New"] = "1"


def removes_a_header(handler: Any) -> None:
    del handler.headers["Host"]


def replaces_the_headers(handler: Any) -> None:
    handler.headers = handler.MessageClass()


def replaces_the_path(handler: Any) -> None:
    handler.path = "/b%20?q\xe9"


def replaces_the_path_by_text(handler: Any) -> None:
    handler.path = Text("/a")


def replaces_words(handler: Any) -> None:
    handler.command, handler.request_version = "PUT", "HTTP/3"


def takes_an_odd_line(handler: Any) -> None:
    handler.raw_requestline = bytearray(handler.raw_requestline)


def takes_a_line_of_another_type(handler: Any) -> None:
    handler.raw_requestline = Bytes(handler.raw_requestline)


def takes_no_line(handler: Any) -> None:
    handler.raw_requestline = None


def takes_underscore_headers(handler: Any) -> None:
    handler.underscore_headers = True


def has_another_version(handler: Any) -> None:
    handler.server_version = "Other/1"


def has_another_address(handler: Any) -> None:
    handler.client_address = ("::1", 2, 0, 0)


def has_an_odd_address(handler: Any) -> None:
    handler.client_address = ["127.0.0.2", 3]


def has_no_address(handler: Any) -> None:
    handler.client_address = ""


def tells_an_address(handler: Any) -> None:
    handler.address_string = lambda: "host.example"


def has_an_odd_base(handler: Any) -> None:
    handler.server.base_environ = Mapped(handler.server.base_environ)


def loses_its_server(handler: Any) -> None:
    server = handler.server
    del handler.server
    handler.__class__.server = property(lambda self: server)


def reads_the_body(handler: Any) -> None:
    handler.records.append(handler.rfile.read())


def parses_again(handler: Any) -> None:
    if handler._chunked_length is not None:
        return  # there is a file to be closed first
    handler.raw_requestline = b"GET /again HTTP/1.0\r\n"
    handler.records.append(outcome(WSGIRequestHandler.parse_request, handler))


def asks_for_more_speed(handler: Any) -> None:
    handler.protocol_version = "HTTP/1.1"


BEFORE = [
    *(takes_an_odd_line, takes_a_line_of_another_type, takes_no_line, takes_underscore_headers),
    asks_for_more_speed,
]
#: After which the parsed fields are no longer all that makes an environ.
BETWEEN = [
    *(looks_at_the_headers, adds_a_header, removes_a_header, replaces_the_headers),
    *(replaces_the_path, replaces_the_path_by_text, takes_underscore_headers),
    *(has_another_version, has_an_odd_address, has_no_address, tells_an_address, has_an_odd_base),
    loses_its_server,
]
HARMLESS_BETWEEN = [nothing, replaces_words, has_another_address, reads_the_body]
FILES = [whole, buffered, received]
COLLIDING: list[tuple[tuple[Any, Any], ...]] = [
    *((("HTTP_HOST", "base"),), (("HOST", "1"), ("X_A", "2")), (("CONTENT_LENGTH", "9"),)),
    *((("X-A", "1"), ("HTTP_X_A", "2")), (("COOKIE", ""), ("HTTP_COOKIE", "c")), ((3, 4),)),
    *((("CONTENT_TYPE", "a/b"), ("PATH_INFO", "/p")), (("wsgi.input", "w"),)),
]

LAST = b"GET /last HTTP/1.1\r\nConnection: close\r\n\r\n"

#: The last one says that it is: nothing is parsed behind it.
conversations = st.lists(plain_requests, max_size=3).map(lambda some: b"".join([*some, LAST]))
plain_visits = st.builds(
    Visit,
    file=st.sampled_from(FILES),
    keeps=st.booleans(),
    base=st.sampled_from([(), (("X", "1"),), (("SCRIPT_NAME", "/s"),)]),
    between=st.sampled_from(HARMLESS_BETWEEN),
    app=plain_apps,
)
odd_visits = st.builds(
    Visit,
    file=st.sampled_from([*FILES, tight, piecemeal]),
    keeps=st.booleans(),
    base=st.sampled_from([(), (), *COLLIDING]),
    before=st.sampled_from([nothing] * 5 + BEFORE),
    between=st.sampled_from([*HARMLESS_BETWEEN, *BETWEEN, parses_again]),
    app=plain_apps | odd_apps,
)
odd_conversations = st.lists(odd_requests | plain_requests, max_size=3).map(b"".join)

SIMPLE = b"GET /a?b HTTP/1.1\r\nHost: h\r\nX-A: 1\r\n\r\n"
POSTED = b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody"
UNDERSCORED = b"GET /u HTTP/1.1\r\nX_A: 1\r\nX-A: 2\r\nContent_Length: 3\r\n\r\n"
CHUNKED = b"POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
EXPECTING = b"POST /e HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab"
BARE = b"GET /l HTTP/1.1\nHost: h\n\n"
LONG = b"GET /long HTTP/1.1\r\n" + b"X-A: %s\r\n" % (b"a" * 40000) * 2 + b"\r\n"
KINDS = [SIMPLE, POSTED, UNDERSCORED, CHUNKED, EXPECTING, BARE, LONG]


def hostile_requests(text: bytes) -> list[bytes]:
    """Put a text wherever a request can have one."""
    return [
        b"GET /a" + text + b"b HTTP/1.1\r\n\r\n",
        b"GET" + text + b" / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1." + text + b"\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nX-A" + text + b": 1\r\nX-A:" + text + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + text + b"\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3" + text + b"\r\n\r\nabcdef",
        b"POST / HTTP/1.1\r\nTransfer-Encoding:" + text + b"chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nConnection:" + text + b"close" + text + b"\r\n\r\n" + SIMPLE,
        b"GET / HTTP/1.1\r\nCookie: a" + text + b"\r\ncookie: b\r\nCookie: c\r\n\r\n",
    ]


class StepTests(TwinTests):
    """A kernel as a step that a request handler takes."""

    module = "run"
    plain = st.tuples(conversations, plain_visits)
    odd = st.tuples(odd_conversations, odd_visits)
    examples = 40
    most = 9
    wrong: ClassVar[tuple[Kernel, ...]] = (
        *(sees_the_first_request_again, leaves_its_base_out, ends_after_one_request),
        *(sees_no_change, takes_underscores),
    )

    def twins(self) -> tuple[Kernel, Kernel]:
        return visit_purely, visit_compiled

    def handed_over(self, calls: Iterable[Call]) -> list[list[str]]:
        """Name the step alone: the others of a request have tests of their own."""
        paths = super().handed_over(calls)
        return [[name for name in names if name == self.name] for names in paths]


class TestParse(StepTests):
    name = "parse"
    odd_calls = (
        *((SIMPLE, Visit(before=before)) for before in BEFORE[:4]),
        *((SIMPLE * 2, Visit(before=before, keeps=True)) for before in BEFORE[:4]),
        *((request, Visit(keeps=True)) for request in (CHUNKED, EXPECTING, BARE, b"GET /\r\n")),
        *((SIMPLE + other, Visit(keeps=True)) for other in (CHUNKED, EXPECTING, BARE)),
        *((SIMPLE, Visit(file=file)) for file in (tight, piecemeal)),
        (LONG, Visit(file=buffered)),
        (LONG, Visit(file=received, keeps=True)),
        (SIMPLE + UNDERSCORED, Visit(base=COLLIDING[0], keeps=True, before=BEFORE[3])),
    )

    def hostile(self) -> Iterator[Call]:
        """Mix ordinary requests with every short string in each place, and cut them."""
        for one in KINDS:
            for other in KINDS:
                for read in (None, -1):
                    yield one + other + SIMPLE, Visit(keeps=True, app=App(read=read))
                    yield one + other, Visit(buffered, between=parses_again)
        for text in short_bytes(1):
            for request in hostile_requests(text):
                yield request + SIMPLE, Visit(buffered, keeps=True)
        for file in (whole, buffered, received):
            for end in range(0, len(POSTED + SIMPLE), 3):
                yield (POSTED + SIMPLE)[:end], Visit(file, keeps=True)

    def test_twins_agree_on_longer_hostile_strings_in_each_place(self) -> None:
        found = []
        for text in short_bytes(2)[len(HOSTILE_BYTES) + 1 :: 7]:
            calls = [(request, Visit()) for request in hostile_requests(text)]
            found += [call for call in calls if visit_purely(*call) != visit_compiled(*call)]
        assert found == [], found[:5]


class TestCopyEnviron(StepTests):
    name = "copy_environ"
    odd_calls = (
        *((SIMPLE, Visit(between=between)) for between in BETWEEN),
        *((SIMPLE + POSTED, Visit(keeps=True, between=between)) for between in BETWEEN),
        *((SIMPLE + other, Visit(keeps=True)) for other in (CHUNKED, BARE)),
        (SIMPLE + CHUNKED + SIMPLE, Visit(keeps=True, app=App(read=-1))),
        (UNDERSCORED, Visit(before=takes_underscore_headers)),
        (b"GET / HTTP/1.0\r\nX-A: 1\r\nX-A: 2\r\n\r\n", Visit()),
        (b"GET / HTTP/1.0\r\n\r\n", Visit(before=takes_an_odd_line)),
    )

    def hostile(self) -> Iterator[Call]:
        """Mix ordinary requests with bases that they collide with, and with changes."""
        for request in (*KINDS, POSTED + UNDERSCORED + SIMPLE):
            for base in COLLIDING:
                yield request, Visit(base=base)
                yield SIMPLE + request + SIMPLE, Visit(base=base, keeps=True)
            for between in (*BETWEEN, *HARMLESS_BETWEEN):
                yield request + SIMPLE, Visit(buffered, True, between=between)
        for text in short_bytes(1):
            key = text.decode("iso-8859-1").upper()
            for request in hostile_requests(text):
                yield SIMPLE + request, Visit(keeps=True, base=(("X_A" + key, "1"),))

    def test_an_attribute_that_nobody_has_asked_for_yet_is_in_the_environ(self) -> None:
        found: list[Any] = []

        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            request_handler = start_response.__self__.request_handler
            found.append(request_handler.path)
            found.append(sorted(request_handler.get_environ().items()))
            start_response("200 OK", [])
            return [b""]

        for implementation in ("pure", "compiled"):
            stub = Stub(whole(POSTED))
            with in_use(implementation), redirect_stderr(io.StringIO()):
                WSGIRequestHandler(stub, ("127.0.0.1", 1), Server(app, dict(BASE)))
        assert found[:2] == found[2:]
        assert ("REQUEST_METHOD", "POST") in found[3]

    def test_a_handler_without_a_server_says_so(self) -> None:
        results = []
        for implementation in ("pure", "compiled"):
            with in_use(implementation):
                handler: Any = WSGIRequestHandler.__new__(WSGIRequestHandler)
                handler.raw_requestline = b"GET / HTTP/1.0\r\n"
                handler.rfile = whole(b"\r\n")
                handler.client_address = ("127.0.0.1", 1)
                assert handler.parse_request()
                results.append(outcome(handler.get_environ))
        assert results[0] == results[1]
        assert results[0][1] is AttributeError


# -- A response block by block -------------------------------------------------------------


@dataclass(frozen=True)
class Stream:
    """A response of several blocks, and what is done to its handler before each."""

    blocks: tuple[Any, ...] = (b"one", b"", b"three")
    #: How many of them go through ``write()``; the others are yielded.
    written: int = 0
    #: By the block before which it is done.
    changes: tuple[tuple[int, Callable[[Any], Any]], ...] = ()
    status: str = "200 OK"
    headers: tuple[tuple[str, str], ...] = ()
    method: str = "GET"
    #: The block with which the connection breaks.
    broken_at: int | None = None
    on_socket: bool = False

    def called(self, seen: list[Any], handler: Any, connection: Any) -> Callable[..., Any]:
        def before(place: int) -> None:
            for at, change in self.changes:
                if at == place:
                    change(handler)
            seen.append((handler.bytes_sent, handler.status, connection.taken()))

        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            write = start_response(self.status, list(self.headers))
            for place, block in enumerate(self.blocks[: self.written]):
                before(place)
                seen.append(write(block))
            return rest()

        def rest() -> Iterator[Any]:
            for place, block in enumerate(self.blocks[self.written :], self.written):
                before(place)
                yield block
            before(len(self.blocks))

        return app


class Wire(StubSocket):
    """A connection that can break, and tells what has been sent on it since it was asked."""

    def __init__(self, broken_at: int | None) -> None:
        super().__init__(b"")
        self._broken_at = broken_at
        self.calls = 0

    def sendall(self, data: bytes) -> None:
        self.calls += 1
        if self.calls - 1 == self._broken_at:
            raise BrokenPipeError("gone")
        super().sendall(data)

    def taken(self) -> Any:
        sent, self.sent = b"".join(self.sent), []
        return without_times(sent.decode("iso-8859-1"))

    def close(self) -> None:
        """Have nothing to close."""


class SocketWire:
    """The same over a socket."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair()
        self._theirs.setblocking(False)
        self.sendall = self._ours.sendall

    def taken(self) -> Any:
        try:
            return without_times(self._theirs.recv(65536).decode("iso-8859-1"))
        except BlockingIOError:
            return ""

    def close(self) -> None:
        self._ours.close()
        self._theirs.close()


def stream_by(implementation: Literal["pure", "compiled"], stream: Stream) -> Any:
    """Send a response block by block; tell what left when, and how the handler is left."""
    log, seen = io.StringIO(), list[Any]()
    connection: Any = SocketWire() if stream.on_socket else Wire(stream.broken_at)
    environ = {**ENVIRON, "REQUEST_METHOD": stream.method}
    with in_use(implementation):
        handler = SimpleHandler(io.BytesIO(), ConnectionWriter(connection), log, environ)
        result = outcome(handler.run, stream.called(seen, handler, connection))
    left = {name: tell(getattr(handler, name, "none")) for name in LEFT_OF_A_RUN}
    seen.append((connection.taken(), handler.stdout.closed))
    connection.close()
    return result, exception_lines(without_times(log.getvalue())), seen, left


def stream_purely(stream: Stream) -> Any:
    return stream_by("pure", stream)


def stream_compiled(stream: Stream) -> Any:
    return stream_by("compiled", stream)


# What an application, or a handler's subclass, does between two blocks.


def has_no_content(handler: Any) -> None:
    handler.status = "204 No Content"


def has_no_status(handler: Any) -> None:
    handler.status = None


def has_an_odd_status(handler: Any) -> None:
    handler.status = Text("200 OK")


def says_it_is_a_head(handler: Any) -> None:
    handler._request_method = "HEAD"


def says_no_headers_were_sent(handler: Any) -> None:
    handler.headers_sent = False


def replaces_the_flush(handler: Any) -> None:
    handler._flush = lambda: handler.stdout.write(b"(flushed)")


def flushes_by_closing(handler: Any) -> None:
    handler._flush = handler.stdout.close


def replaces_the_write(handler: Any) -> None:
    handler._write = lambda data: handler.stdout.write(data.upper())


def replaces_the_writer(handler: Any) -> None:
    handler.stdout = ConnectionWriter(handler.stdout._sock)


def writes_to_memory(handler: Any) -> None:
    handler.stdout = io.BytesIO()


def counts_what_is_written(handler: Any) -> None:
    write = handler.stdout.write
    handler.stdout.write = lambda data: write(b"<" + data + b">") and len(data)


def counts_flushes(handler: Any) -> None:
    handler.stdout.flush = lambda: handler.stdout.write(b"(flush)")


def holds_back(handler: Any) -> None:
    handler.stdout.hold()


def counts_otherwise(handler: Any) -> None:
    handler.bytes_sent = 1.5


def fails_before(handler: Any) -> None:
    raise LookupError("in between")


CHANGES = [
    *(has_no_content, has_no_status, has_an_odd_status, says_it_is_a_head),
    *(says_no_headers_were_sent, replaces_the_flush, replaces_the_write, replaces_the_writer),
    *(flushes_by_closing, writes_to_memory, counts_what_is_written, counts_flushes, holds_back),
    *(counts_otherwise, fails_before),
]
#: After which a block is for the methods; flush and write stay replaced for further ones.
HANDED_OVER = [
    *(has_no_content, has_no_status, has_an_odd_status, says_it_is_a_head),
    *(says_no_headers_were_sent, replaces_the_flush, replaces_the_write, replaces_the_writer),
    *(writes_to_memory, holds_back),
]
ODD_BLOCKS: list[Any] = [
    *("text", None, bytearray(b"a"), memoryview(b"a"), Bytes(b"a"), 3, [b"a"]),
]


def lengths(number: int) -> tuple[tuple[str, str], ...]:
    return (("Content-Length", str(number)),)


plain_streams = st.builds(
    Stream,
    blocks=st.lists(st.binary(max_size=9), min_size=2, max_size=5).map(tuple),
    written=st.integers(0, 5),
    status=st.sampled_from(["200 OK", "404 Not Found"]),
    headers=plain_headers | st.integers(0, 9).map(lengths),
    method=st.sampled_from(["GET", "POST"]),
    on_socket=st.booleans(),
)
odd_streams = st.builds(
    Stream,
    blocks=st.lists(st.binary(max_size=9) | st.sampled_from(ODD_BLOCKS), max_size=5).map(tuple),
    written=st.integers(0, 5),
    changes=st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from([nothing, *CHANGES])), max_size=2
    ).map(tuple),
    status=st.sampled_from(["200 OK", "204 No Content", "304 Not Modified", "100 Continue"]),
    headers=plain_headers | st.integers(0, 9).map(lengths),
    method=st.sampled_from(["GET", "HEAD"]),
    broken_at=st.none() | st.integers(0, 4),
)


def joins_its_blocks(stream: Stream) -> Any:
    if {type(block) for block in stream.blocks} == {bytes}:
        return stream_purely(replace(stream, blocks=(b"".join(stream.blocks),)))
    return stream_purely(stream)


def counts_no_bytes(stream: Stream) -> Any:
    result, log, seen, left = stream_purely(stream)
    return result, log, [(0, *item[1:]) if type(item) is tuple else item for item in seen], left


def heeds_no_change(stream: Stream) -> Any:
    return stream_purely(replace(stream, changes=()))


def sends_bodies_to_all(stream: Stream) -> Any:
    return stream_purely(replace(stream, method="GET"))


def never_breaks(stream: Stream) -> Any:
    return stream_purely(replace(stream, broken_at=None))


class TestWrite(TwinTests):
    module = "run"
    name = "write"
    examples = 40
    most = 9
    plain = st.tuples(plain_streams)
    odd = st.tuples(odd_streams)
    odd_calls = (
        *((Stream(changes=((1, change),)),) for change in HANDED_OVER),
        *((Stream(changes=((1, change),), written=3),) for change in HANDED_OVER),
        *((Stream(blocks=(b"a", block)),) for block in ODD_BLOCKS),
        *((Stream(blocks=(b"a", block), written=2),) for block in ODD_BLOCKS),
        (Stream(method="HEAD", written=3),),
        (Stream(status="204 No Content"),),
        (Stream(status="304 Not Modified", written=2),),
    )
    wrong = (
        *(joins_its_blocks, counts_no_bytes, heeds_no_change, sends_bodies_to_all),
        never_breaks,
    )

    def twins(self) -> tuple[Kernel, Kernel]:
        return stream_purely, stream_compiled

    def handed_over(self, calls: Iterable[Call]) -> list[list[str]]:
        """Name the blocks after the first alone: that one goes with the head."""
        paths = super().handed_over(calls)
        return [[name for name in names if name == self.name][1:] for names in paths]

    def hostile(self) -> Iterator[Call]:
        """Change each thing before each block, and break the connection at each."""
        for place in range(4):
            for written in (0, 2, 3):
                for change in CHANGES:
                    for method in ("GET", "HEAD"):
                        changes = ((place, change),)
                        yield (Stream(changes=changes, written=written, method=method),)
                for status in ("200 OK", "204 No Content", "100 Continue"):
                    yield (Stream(broken_at=place, written=written, status=status),)
        for text in short_bytes(1):
            yield (Stream(blocks=(text, text, b"a" + text), written=1),)
        for number in range(12):
            yield (Stream(headers=lengths(number)),)


# -- The connections of a server -----------------------------------------------------------


@dataclass(frozen=True)
class Client:
    """A client: what it sends before the server begins, then how it goes on."""

    sends: bytes = b"GET / HTTP/1.0\r\n\r\n"
    #: "stays", "half-closes", "closes" or "resets".
    then: str = "stays"
    #: What it sends when those before it have their answer.
    later: bytes = b""

    def connect(self, address: Any) -> socket.socket:
        connection = socket.create_connection(address, PATIENCE)
        connection.sendall(self.sends)
        if self.then == "half-closes":
            connection.shutdown(socket.SHUT_WR)
        elif self.then == "resets":
            reset_at_close(connection)
        if self.then in ("resets", "closes"):
            connection.close()
        return connection

    def finish(self, connection: socket.socket) -> Any:
        """Tell what the server answers; for one that has gone, nothing."""
        if self.then in ("resets", "closes"):
            return None
        with connection:
            result = outcome(self._exchange, connection)
        if result[0] == "raised":
            return result[1]
        return without_times(result[2].decode("iso-8859-1"))

    def _exchange(self, connection: socket.socket) -> bytes:
        if self.later:
            connection.sendall(self.later)
        return receive_all(connection)


@dataclass(frozen=True)
class Site:
    """A server's application, and what it does to the server at its first request."""

    app: App = App()
    change: Callable[[Any, Any], Any] | None = None
    handler_class: type[WSGIRequestHandler] = WSGIRequestHandler
    server_class: type[WSGIServer] = WSGIServer
    #: Whether the server ends by itself.
    ends: bool = False

    def called(self, seen: list[Any], server: Any) -> Callable[..., Any]:
        turns = count()

        def changing(environ: dict[str, Any], start_response: Any) -> Any:
            environ["REMOTE_PORT"] = type(environ.pop("REMOTE_PORT", "")).__name__
            if self.change is not None and next(turns) == 0:
                self.change(server, start_response.__self__.request_handler)
            return self.app.called(seen)({**environ, "SERVER_PORT": "0"}, start_response)

        return changing


def host_by(
    implementation: Literal["pure", "compiled"], clients: tuple[Client, ...], site: Site
) -> Any:
    """Serve clients that all have come before the server begins; tell what each got.

    The last one is an ordinary one: when it has its answer, each before it had its turn.
    """
    log, seen, ended = io.StringIO(), list[Any](), list[Any]()
    with in_use(implementation), redirect_stderr(log), ExitStack() as stack:
        # With classes of its own for each server, what is changed of them is only its own.
        server_class = type("Server", (site.server_class,), {"notes": []})
        handler_class = type("Handler", (site.handler_class,), {})
        server: WSGIServer = make_server("127.0.0.1", 0, hello, server_class, handler_class)
        stack.callback(server.server_close)
        server.set_app(site.called(seen, server))
        everyone = [*clients, Client()]
        connections = [client.connect(server.server_address) for client in everyone]
        for connection in connections:
            stack.callback(connection.close)
        thread = threading.Thread(target=lambda: ended.append(how_it_ends(server)), daemon=True)
        thread.start()
        if site.ends:
            thread.join(PATIENCE)
            assert ended
            server.server_close()
        pairs = zip(everyone, connections, strict=True)
        answers = [client.finish(connection) for client, connection in pairs]
        if not site.ends:
            server.shutdown()
        thread.join(PATIENCE)
        takes_from_another(server_class)
    lines = sorted(exception_lines(without_times(log.getvalue())))
    return answers, lines, sorted(map(repr, seen)), ended, without_ends(vars(server_class)["notes"])


def without_ends(notes: list[Any]) -> list[str]:
    """Leave out how often connections were closed: those that linger end at any time."""
    ends = {"shutdown_request", "close_request"}
    others = [str(note) for note in notes if note not in ends]
    return sorted(others) + [name for name in sorted(ends) if name in notes]


def how_it_ends(server: Any) -> Any:
    """Serve; tell with which exception that ends."""
    try:
        return server.serve_forever()
    except BaseException as error:
        return type(error), str(error)


def hello(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [])
    return [b"another application"]


def host_purely(clients: tuple[Client, ...], site: Site) -> Any:
    return host_by("pure", clients, site)


def host_compiled(clients: tuple[Client, ...], site: Site) -> Any:
    return host_by("compiled", clients, site)


# What an application does to its server.


def noted(server: Any, name: str) -> Callable[..., Any]:
    """Replace a method by one that notes each call, and calls the original."""
    original = getattr(server, name)

    def replacement(*args: Any) -> Any:
        server.notes.append(name)
        return original(*args)

    return replacement


def replacing(name: str) -> Callable[[Any, Any], None]:
    """Return a change that replaces a method of the server."""

    def replaces(server: Any, _: Any) -> None:
        setattr(server, name, noted(server, name))

    return replaces


def replacing_of_class(name: str) -> Callable[[Any, Any], None]:
    """Return a change that replaces a method of the server's class."""

    def replaces(server: Any, _: Any) -> None:
        original = getattr(type(server), name)

        def replacement(self: Any, *args: Any) -> Any:
            self.notes.append(name)
            return original(self, *args)

        setattr(type(server), name, replacement)

    return replaces


def denies_the_next(server: Any, _: Any) -> None:
    server.verify_request = lambda request, client_address: bool(server.notes.append("denied"))


def sets_another_application(server: Any, _: Any) -> None:
    server.set_app(hello)


def sets_another_base(server: Any, _: Any) -> None:
    server.base_environ = {**server.base_environ, "X": "1"}


def adds_to_the_base(server: Any, _: Any) -> None:
    server.base_environ["HTTP_HOST"] = "base"


def sets_an_odd_base(server: Any, _: Any) -> None:
    server.base_environ = Mapped(server.base_environ)


def sets_another_handler_class(server: Any, _: Any) -> None:
    server.RequestHandlerClass = type("Other", (WSGIRequestHandler,), {"server_version": "O/1"})


def sets_a_handler_function(server: Any, _: Any) -> None:
    server.RequestHandlerClass = lambda *args: WSGIRequestHandler(*args)


def logs_otherwise(_: Any, handler: Any) -> None:
    type(handler).log_message = lambda self, *args: self.server.notes.append(args)


def takes_the_connection(server: Any, handler: Any) -> None:
    server.notes.append(handler.connection.fileno() >= 0)
    handler.wfile.write(b"HTTP/1.0 299 By hand\r\n\r\n")


def closes_the_server(server: Any, _: Any) -> None:
    server.server_close()


def opens_another_in_its_place(server: Any, _: Any) -> None:
    """Close the server, and listen for other connections by its number."""
    number = server.fileno()
    server.server_close()
    other = socket.create_server(("127.0.0.1", 0))
    server.notes.append(other.fileno() == number)
    other.setblocking(False)
    type(server).other = other, socket.create_connection(other.getsockname())


def takes_from_another(server_class: Any) -> None:
    """Note whether the other socket, where there is one, has its connection yet."""
    if not hasattr(server_class, "other"):
        return
    listener, client = server_class.other
    with listener, client:
        result = outcome(listener.accept)
        server_class.notes.append(result[0])
        if result[0] == "returned":
            result[2][0].close()


def has_the_listener_wait(server: Any, _: Any) -> None:
    server.socket.settimeout(None)


def asks_it_to_end(server: Any, _: Any) -> None:
    server._BaseServer__shutdown_request = True


def asks_it_to_end_by_a_thread(server: Any, _: Any) -> None:
    threading.Thread(target=server.shutdown, daemon=True).start()
    while not server._BaseServer__shutdown_request:
        server.notes.clear()


def fails(_: Any, __: Any) -> None:
    raise LookupError("of the application")


def loses_the_connection(_: Any, __: Any) -> None:
    raise ConnectionResetError("as if")


def exits(_: Any, __: Any) -> None:
    raise SystemExit(3)


def exits_in_the_end(server: Any, _: Any) -> None:
    shutdown_request = server.shutdown_request

    def replacement(request: Any) -> None:
        del server.shutdown_request
        shutdown_request(request)
        raise SystemExit(3)

    server.shutdown_request = replacement


def interrupts(_: Any, __: Any) -> None:
    raise KeyboardInterrupt


HOOKS = [
    *("get_request", "verify_request", "process_request", "finish_request", "shutdown_request"),
    *("close_request", "handle_error"),
]
SERVER_CHANGES = [
    *(change(name) for name in HOOKS for change in (replacing, replacing_of_class)),
    *(denies_the_next, sets_another_application, sets_another_base, adds_to_the_base),
    *(sets_an_odd_base, sets_another_handler_class, sets_a_handler_function, logs_otherwise),
    *(takes_the_connection, closes_the_server, fails, loses_the_connection),
    *(opens_another_in_its_place, has_the_listener_wait),
    *(exits, interrupts),
]
ENDING_CHANGES = [asks_it_to_end, asks_it_to_end_by_a_thread, exits_in_the_end]
#: With which the second connection is no longer for the compiled loop.
NO_LONGER_PLAIN = [
    *(change(name) for name in HOOKS[:6] for change in (replacing, replacing_of_class)),
    *(denies_the_next, sets_an_odd_base, sets_a_handler_function),
]


class Persistent(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"


class Patient(WSGIRequestHandler):
    timeout = 7


class Choosy(WSGIServer):
    def verify_request(self, request: Any, client_address: Any) -> bool:
        return False


class Asked(WSGIServer):
    def get_app(self) -> Any:
        notes: list[Any] = type(self).__dict__["notes"]
        notes.append("asked")
        return super().get_app()


GET = Client()
POST = Client(SAMPLE)
SILENT = Client(b"", later=b"GET /late HTTP/1.0\r\n\r\n")
SPLIT = Client(b"GET /split HT", later=b"TP/1.0\r\nHost: h\r\n\r\n")
ODD_CLIENTS = [
    *(GET, SILENT, SPLIT, Client(b"", "half-closes"), Client(b"", "closes")),
    *(Client(b"GET / HT", "half-closes"), Client(b"\r\n", "half-closes"), Client(b"", "resets")),
    *(Client(then="half-closes"), Client(then="closes"), Client(b"GET /", "closes")),
    *(
        Client(b"GET /\r\n", "half-closes"),
        Client(b"GET / HTTP/2.0\r\n\r\n"),
        Client(b"\0\r\n\r\n"),
    ),
    *(Client(CHUNKED), Client(EXPECTING), Client(BARE), Client(LONG), Client(LONG + SIMPLE)),
    *(Client(SIMPLE + SIMPLE), Client(POSTED[:-2], later=b"dy"), Client(POSTED[:-1], "closes")),
    Client(b"POST / HTTP/1.0\r\nContent-Length: 99999\r\n\r\nshort", "half-closes"),
]
plain_clients = st.lists(plain_requests.map(Client), max_size=4).map(tuple)
odd_clients = st.lists(
    st.sampled_from(ODD_CLIENTS) | odd_requests.map(lambda data: Client(data, "half-closes")),
    max_size=4,
).map(tuple)


def hosts_without_a_log(clients: tuple[Client, ...], site: Site) -> Any:
    answers, _, *rest = host_purely(clients, site)
    return answers, [], *rest


def hosts_the_last_alone(clients: tuple[Client, ...], site: Site) -> Any:
    answers, *rest = host_purely(clients[-1:], site)
    return [None] * (len(clients) - 1) + answers, *rest


def hosts_without_changes(clients: tuple[Client, ...], site: Site) -> Any:
    return host_purely(clients, replace(site, change=None, ends=False))


def hosts_in_lower_case(clients: tuple[Client, ...], site: Site) -> Any:
    changed = [replace(client, sends=client.sends.replace(b"GET", b"get")) for client in clients]
    return host_purely(tuple(changed), site)


class TestAccept(TwinTests):
    module = "run"
    name = "accept"
    examples = 30
    most = 99
    plain = st.tuples(plain_clients, st.builds(Site, app=plain_apps))
    odd = st.tuples(
        odd_clients,
        st.builds(Site, app=odd_apps, change=st.sampled_from([None, *SERVER_CHANGES])),
    )
    odd_calls = (
        *(((GET, GET, POST), Site(change=change)) for change in NO_LONGER_PLAIN),
        *(
            ((Client(data, "half-closes"),), Site())
            for data in (b"GET /\r\n", BARE, CHUNKED, b"\0")
        ),
        *(((GET,), Site(handler_class=handler)) for handler in (Persistent, Patient)),
        ((GET,), Site(server_class=Choosy)),
        ((GET, SILENT), Site(server_class=Choosy)),
    )
    wrong = (
        *(hosts_without_a_log, hosts_the_last_alone, hosts_without_changes),
        hosts_in_lower_case,
    )

    def twins(self) -> tuple[Kernel, Kernel]:
        return host_purely, host_compiled

    def handed_over(self, calls: Iterable[Call]) -> list[list[str]]:
        """Count the connections too whose request went through the methods."""
        found = []
        patching = pytest.MonkeyPatch.context()
        with noting_reference("run") as names, in_use("compiled"), patching as patch:
            parse_line = noting(names, "accept", _impl.parse_request_line)
            patch.setattr(_impl, "parse_request_line", parse_line)
            for call in calls:
                names.clear()
                host_compiled(*call)
                found.append([name for name in names if name == "accept"])
        return found

    def hostile(self) -> Iterator[Call]:
        """Have clients of each kind, several at once, with each change and short string."""
        for change in SERVER_CHANGES:
            yield (GET, POST, SILENT), Site(change=change)
            yield (SPLIT, GET), Site(change=change)
        for change in ENDING_CHANGES:
            for clients in ((GET, POST), (POST, SILENT, GET)):
                yield clients, Site(change=change, ends=True)
            yield clients[1:], Site(server_class=Asked)
        for client in ODD_CLIENTS:
            for read in (None, -1):
                yield (GET, client, POST), Site(App(read=read))
        # Not all odd ones at once: the order in which their ends are heard is chance.
        for text in short_bytes(1):
            some = [Client(request, "half-closes") for request in hostile_requests(text)]
            yield tuple(some), Site()
