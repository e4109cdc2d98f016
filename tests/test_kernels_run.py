"""The compiled short cuts through a request against the methods that they skip.

Their reference does nothing but say so. What is compared is a whole request: what was sent,
what was logged, what the application saw, and how the handlers are left.
"""

from __future__ import annotations

import io
import re
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stderr
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import strategies as st

from conftest import implementations
from oracle import Text, exception_lines, outcome
from twins import (
    HOSTILE_BYTES,
    HOSTILE_TEXT,
    Bytes,
    Call,
    Doubled,
    Kernel,
    Listed,
    Loud,
    Pair,
    TwinTests,
    in_use,
    noting,
    short,
)
from wsgiref_fast import _impl
from wsgiref_fast.handlers import SimpleHandler
from wsgiref_fast.simple_server import WSGIRequestHandler

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
