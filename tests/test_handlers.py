"""`wsgiref_fast.handlers`: its promises, and the standard library's as the oracle."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import wsgiref.handlers as original
import wsgiref.simple_server as original_server
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle import (
    Text,
    classes_of,
    exception_lines,
    missing_names,
    names,
    odd_headers,
    other_signatures,
    outcome,
    texts,
)
from support import StubSocket
from wsgiref_fast import handlers as ours
from wsgiref_fast import simple_server
from wsgiref_fast._streams import ConnectionWriter
from wsgiref_fast.handlers import BaseCGIHandler, BaseHandler, SimpleHandler
from wsgiref_fast.headers import Headers
from wsgiref_fast.util import FileWrapper

pytestmark = pytest.mark.usefixtures("implementation")

App = Callable[..., Any]

#: Sun, 06 Nov 1994 08:49:37 GMT, the date of RFC 9110's examples.
NOW = 784111777.25
DATE = b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"


@contextmanager
def frozen_clock() -> Iterator[None]:
    """Let it be `NOW`."""
    with mock.patch("time.time", return_value=NOW):
        yield


# -- Names ---------------------------------------------------------------------------------


def test_every_name_of_the_original_exists() -> None:
    assert missing_names(original, ours) == []
    for name in classes_of(original):
        assert missing_names(getattr(original, name), getattr(ours, name)) == []


def test_every_name_of_the_originals_server_exists() -> None:
    assert missing_names(original_server, simple_server) == []
    for name in classes_of(original_server):
        theirs, mine = getattr(original_server, name), getattr(simple_server, name)
        assert missing_names(theirs, mine) == []


def test_functions_take_the_same_arguments_as_the_originals() -> None:
    assert other_signatures(original, ours) == {}
    for name in classes_of(original):
        assert other_signatures(getattr(original, name), getattr(ours, name)) == {}


def test_all_names_what_the_original_names() -> None:
    assert sorted(ours.__all__) == sorted(original.__all__)


def test_classes_descend_from_one_another_as_in_the_original() -> None:
    for name in classes_of(original):
        theirs = [c.__name__ for c in getattr(original, name).__mro__]
        mine = [c.__name__ for c in getattr(ours, name).__mro__ if c.__name__[0] != "_"]
        assert mine == theirs


DEFAULTS = [
    *("wsgi_version", "wsgi_multithread", "wsgi_multiprocess", "wsgi_run_once", "origin_server"),
    *("http_version", "server_software", "traceback_limit", "error_status", "error_headers"),
    *("error_body", "status", "result", "headers", "headers_sent", "bytes_sent"),
]


@pytest.mark.parametrize("name", classes_of(original))
@pytest.mark.parametrize("attribute", DEFAULTS)
def test_attributes_begin_as_the_originals(name: str, attribute: str) -> None:
    theirs = getattr(getattr(original, name), attribute)
    mine = getattr(getattr(ours, name), attribute)
    assert (type(mine), mine) == (type(theirs), theirs)


def test_classes_that_the_handlers_use_are_our_own() -> None:
    assert BaseHandler.wsgi_file_wrapper is FileWrapper
    assert BaseHandler.headers_class is Headers


# -- Functions of the module ---------------------------------------------------------------


@given(st.integers(-(10**10), 10**11) | st.floats(-1e10, 1e11))
def test_dates_are_the_originals(timestamp: float) -> None:
    module: Any = ours
    assert module.format_date_time(timestamp) == original.format_date_time(timestamp)


def test_names_of_days_and_months_are_the_originals() -> None:
    assert ours._weekdayname == original._weekdayname  # type: ignore[attr-defined]
    assert ours._monthname == original._monthname  # type: ignore[attr-defined]


VARIABLES = [
    *("PATH_INFO", "SCRIPT_NAME", "QUERY_STRING", "REQUEST_METHOD", "AUTH_TYPE", "CONTENT_TYPE"),
    *("CONTENT_LENGTH", "HTTPS", "REMOTE_USER", "REMOTE_IDENT", "HTTP_HOST", "SSL_CIPHER"),
    *("REDIRECT_URL", "REDIRECT_HTTP_HOST", "REDIRECT_REDIRECT_PATH_INFO", "REDIRECT_PATH"),
    *("HTTP_", "REDIRECT_", "PATH", "SERVER_SOFTWARE", "http_host", "XHTTP_HOST"),
]


@pytest.mark.parametrize("variable", VARIABLES)
def test_the_requests_variables_are_those_of_the_original(variable: str) -> None:
    theirs: Any = original
    assert ours._needs_transcode(variable) == theirs._needs_transcode(variable)
    assert ours._is_request(variable) == theirs._is_request(variable)


@pytest.fixture
def cgi_environ(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a request into the process's environment, as a web server would."""
    for name in ("PATH_INFO", "REDIRECT_HTTP_NAME", "HTTP_NAME", "OTHER"):
        monkeypatch.setenv(name, b"/caf\xc3\xa9".decode())


@pytest.mark.usefixtures("cgi_environ")
def test_the_environment_is_read_as_bytes_in_strings() -> None:
    environ = ours.read_environ()
    assert environ["PATH_INFO"] == environ["HTTP_NAME"] == "/caf\xc3\xa9"
    assert environ["REDIRECT_HTTP_NAME"] == "/caf\xc3\xa9"
    assert environ["OTHER"] == "/caf\xe9"
    assert environ == original.read_environ()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such environment on Windows")
def test_undecodable_bytes_of_the_environment_come_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(os.environb, b"HTTP_NAME", b"\xff\xfe")
    assert ours.read_environ()["HTTP_NAME"] == "\xff\xfe"


@pytest.mark.usefixtures("cgi_environ")
@pytest.mark.parametrize(
    "software",
    [
        *("Microsoft-IIS/10.0", "Apache/2.4", "SimpleHTTP/0.6 Python/3.11", "SimpleHTTP/0.6"),
        *("Other/1.0", ""),
    ],
)
def test_the_environment_of_windows_is_read_as_in_the_original(
    monkeypatch: pytest.MonkeyPatch, software: str
) -> None:
    monkeypatch.setenv("SERVER_SOFTWARE", software)
    monkeypatch.setenv("HTTP_NAME", "\xe9\xff")  # what mod_cgi could have written
    monkeypatch.setattr(sys, "platform", "win32")
    if software.startswith("Apache"):
        monkeypatch.setenv("PATH_INFO", "\xc3\xa9")
    assert ours.read_environ() == original.read_environ()


# -- Applications, made of a description ---------------------------------------------------


class Broken(Exception):
    """What an application raises."""


class Iterable:
    """An application's iterable: it counts its ``close()`` calls, and fails on demand."""

    def __init__(self, blocks: list[Any], plan: Plan, run: Run) -> None:
        self.blocks = blocks
        self.plan = plan
        self.run = run

    def __iter__(self) -> Iterator[Any]:
        for number, block in enumerate(self.blocks):
            if self.plan.fails == f"at block {number}":
                raise Broken(number)
            yield block
        if self.plan.fails == "at the end":
            raise Broken("at the end")

    def close(self) -> None:
        self.run.closed += 1
        if self.plan.fails == "in close":
            raise Broken("in close")


class Sized(Iterable):
    def __len__(self) -> int:
        return len(self.blocks)


class Uncounted(Iterable):
    def __len__(self) -> int:
        raise NotImplementedError


class File(io.BytesIO):
    """A file that counts its ``close()`` calls."""

    run: Run

    def close(self) -> None:
        self.run.closed += 1
        super().close()


@dataclass(frozen=True)
class Plan:
    """What an application does, and by which handler it is run."""

    status: Any = "200 OK"
    headers: Any = (("Content-Type", "text/plain"),)
    blocks: tuple[Any, ...] = (b"Hello",)
    kind: str = "list"
    #: Through ``write()``, before the iterable.
    written: tuple[Any, ...] = ()
    fails: str = ""
    #: A second ``start_response``: "plainly", "with exc_info" or "after output".
    again: str = ""
    #: Whether the application keeps going when ``start_response`` refuses.
    stubborn: bool = False

    cls: str = "SimpleHandler"
    protocol: str = "HTTP/1.0"
    method: str = "GET"
    attributes: tuple[tuple[str, Any], ...] = ()
    #: Number of the ``stdout.write`` that fails, and how.
    output_fails: tuple[int, type[Exception]] = (-1, OSError)


@dataclass
class Run:
    """What came of it."""

    writes: list[bytes] = field(default_factory=list)
    flushes: int = 0
    log: list[str] = field(default_factory=list)
    closed: int = 0
    escaped: tuple[Any, ...] = ()
    left: tuple[Any, ...] = ()
    called: list[str] = field(default_factory=list)


class Output:
    """A ``stdout`` that notes each write, and fails on demand."""

    def __init__(self, run: Run, fails: tuple[int, type[Exception]]) -> None:
        self.run = run
        self.fails = fails

    def write(self, data: bytes) -> int:
        if len(self.run.writes) == self.fails[0]:
            self.fails = (-1, OSError)
            raise self.fails[1]("output")
        self.run.writes.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        self.run.flushes += 1


def iterable_of(plan: Plan, run: Run, environ: dict[str, Any]) -> Any:
    if plan.kind in ("list", "tuple"):
        return {"list": list, "tuple": tuple}[plan.kind](plan.blocks)
    if plan.kind == "generator":
        return iter(Iterable(list(plan.blocks), plan, run))
    if plan.kind == "file":
        file = File(b"".join(block for block in plan.blocks if isinstance(block, bytes)))
        file.run = run
        return environ["wsgi.file_wrapper"](file, 3)
    if plan.kind == "nothing":
        return None
    cls = {"iterable": Iterable, "sized": Sized, "uncounted": Uncounted}[plan.kind]
    return cls(list(plan.blocks), plan, run)


def start(plan: Plan, start_response: App) -> App | None:
    """Begin the response as planned; return its ``write()``."""
    try:
        headers = list(plan.headers) if isinstance(plan.headers, tuple) else plan.headers
        return start_response(plan.status, headers)  # type: ignore[no-any-return]
    except Exception:
        if not plan.stubborn:
            raise
        return None


def start_again(plan: Plan, start_response: App, write: App | None) -> None:
    again = [("X-Again", "yes")]
    if plan.again == "plainly":
        start_response("201 Again", again)
    elif plan.again:
        if plan.again == "after output" and write is not None:
            write(b"output")
        try:
            raise Broken("the first one")
        except Broken:
            start_response("501 Again", again, sys.exc_info())


def application_of(plan: Plan, run: Run) -> App:
    def application(environ: dict[str, Any], start_response: App) -> Any:
        if plan.fails == "before":
            raise Broken("before")
        write = None
        if plan.fails != "never started":
            write = start(plan, start_response)
        if plan.fails == "after":
            raise Broken("after")
        if plan.again:
            start_again(plan, start_response, write)
        for block in plan.written:
            if write is not None:
                write(block)
        if plan.fails == "after writing":
            raise Broken("after writing")
        return iterable_of(plan, run, environ)

    return application


def carry_out(
    module: Any, plan: Plan, cls: Any = None, prepare: Callable[[Any, Run], object] | None = None
) -> Run:
    """Run a planned application by a module's handler."""
    run = Run()
    errors = io.StringIO()
    environ = {"SERVER_PROTOCOL": plan.protocol, "REQUEST_METHOD": plan.method}
    cls = cls or getattr(module, plan.cls)
    handler = cls(io.BytesIO(b"body"), Output(run, plan.output_fails), errors, environ)
    vars(handler).update(plan.attributes)
    if prepare is not None:
        prepare(handler, run)
    with frozen_clock():
        run.escaped = outcome(handler.run, application_of(plan, run))
    run.log = exception_lines(errors.getvalue())
    state = ("status", "result", "headers", "headers_sent", "bytes_sent")
    run.left = tuple(map(comparable, (getattr(handler, name) for name in state)))
    return run


def comparable(value: Any) -> Any:
    return value if isinstance(value, (str, int, bytes, type(None))) else type(value).__name__


def compare(plan: Plan) -> Run:
    """Run by both handlers; demand the same, and return it."""
    theirs, mine = carry_out(original, plan), carry_out(ours, plan)
    assert mine == theirs
    return mine


# What is outside the deviations: no status that forbids a body, no control characters.
statuses = st.sampled_from(
    [
        *("200 OK", "404 Not Found", "299 caf\xe9", "200 \u0100", "2", "", "200", "200OK", "2xx O"),
        *("abc d", " 200 OK", "\xb2\xb2\xb2 digits", "200 ", None, 200, b"200 OK", Text("200 OK")),
    ]
)
good_statuses = st.sampled_from(["200 OK", "404 Not Found", "299 caf\xe9"])
header_names = st.sampled_from(
    [*("Content-Type", "content-length", "Date", "Server", "X-A", "Set-Cookie", "Connection")]
)
good_headers = st.lists(st.tuples(header_names, texts("a0 ;\xe9", 4)), max_size=3).map(tuple)
any_headers = st.one_of(
    good_headers,
    st.lists(st.tuples(header_names | names, texts()), max_size=3).map(tuple),
    odd_headers.map(tuple),
    st.sampled_from([None, {}, "", iter(()), 3]),
)
blocks = st.lists(st.sampled_from([b"", b"a", b"Hello", b"x" * 3000]), max_size=3).map(tuple)
any_blocks = st.one_of(
    blocks,
    st.lists(
        st.sampled_from([b"a", "text", bytearray(b"array"), memoryview(b"view"), None, 3, b""]),
        max_size=3,
    ).map(tuple),
)
kinds = ["list", "tuple", "generator", "iterable", "sized", "uncounted", "file", "nothing"]
failures = [
    *("", "", "", "", "before", "never started", "after", "after writing", "in close"),
    *("at the end", "at block 0", "at block 1"),
]
software = st.sampled_from([None, "", "Software/1.0 (caf\xe9)"])
attributes = st.fixed_dictionaries(
    {},
    optional={
        "http_version": st.sampled_from(["1.0", "1.1", "9"]),
        "server_software": software,
        "origin_server": st.booleans(),
    },
).map(lambda some: tuple(some.items()))

plans = st.builds(
    Plan,
    status=good_statuses | statuses,
    headers=good_headers | any_headers,
    blocks=blocks | any_blocks,
    kind=st.sampled_from(kinds),
    written=st.just(()) | blocks | any_blocks,
    fails=st.sampled_from(failures),
    again=st.sampled_from(["", "", "", "plainly", "with exc_info", "after output"]),
    stubborn=st.booleans(),
    cls=st.sampled_from(["SimpleHandler", "BaseCGIHandler"]),
    protocol=st.sampled_from(["HTTP/0.9", "http/0.9", "HTTP/1.0", "HTTP/1.1", ""]),
    method=st.sampled_from(["GET", "POST", "head", ""]),
    attributes=attributes,
)
good_plans = st.builds(
    Plan,
    status=good_statuses,
    headers=good_headers,
    blocks=blocks,
    kind=st.sampled_from(kinds[:-1]),
    written=st.just(()) | blocks,
    cls=st.sampled_from(["SimpleHandler", "BaseCGIHandler"]),
    protocol=st.sampled_from(["HTTP/0.9", "HTTP/1.0", "HTTP/1.1"]),
    method=st.sampled_from(["GET", "POST"]),
    attributes=attributes,
)


@settings(max_examples=400)
@given(plans)
def test_applications_run_as_in_the_original(plan: Plan) -> None:
    compare(plan)


@settings(max_examples=300)
@given(good_plans)
def test_good_applications_run_as_in_the_original(plan: Plan) -> None:
    compare(plan)


@given(
    plan=good_plans,
    number=st.integers(0, 5),
    error=st.sampled_from(
        [BrokenPipeError, ConnectionResetError, ConnectionAbortedError, OSError, ValueError]
    ),
    fails=st.sampled_from(failures),
)
def test_a_failing_output_is_met_as_in_the_original(
    plan: Plan, number: int, error: type[Exception], fails: str
) -> None:
    compare(replace(plan, output_fails=(number, error), fails=fails))


@pytest.mark.parametrize("fails", sorted(set(failures)))
@pytest.mark.parametrize("kind", kinds)
@pytest.mark.parametrize("cls", ["SimpleHandler", "BaseCGIHandler"])
def test_failures_at_each_point_are_met_as_in_the_original(cls: str, kind: str, fails: str) -> None:
    for again in ("", "plainly", "with exc_info", "after output"):
        compare(Plan(kind=kind, fails=fails, again=again, cls=cls, blocks=(b"a", b"b")))


@pytest.mark.parametrize("status", [None, 200, b"200 OK", Text("200 OK"), "", 1, 204, b"204 No"])
def test_a_wrong_status_that_the_application_insists_on_is_met_as_in_the_original(
    status: Any,
) -> None:
    for kind in kinds:
        compare(Plan(status=status, kind=kind, stubborn=True))
        compare(Plan(status=status, kind=kind, stubborn=True, blocks=()))
        compare(Plan(status=status, kind=kind, stubborn=True, cls="BaseCGIHandler"))


@pytest.mark.parametrize(
    "block",
    ["text", bytearray(b"a"), memoryview(b"a"), None, 3],
    ids=lambda block: type(block).__name__,
)
def test_a_block_that_is_not_bytes_is_refused(block: Any) -> None:
    run = compare(Plan(blocks=(block,)))
    assert run.log[-1] == "AssertionError: write() argument must be a bytes instance"
    assert b"".join(run.writes).endswith(BaseHandler.error_body)


def test_an_empty_block_brings_the_headers_out() -> None:
    run = compare(Plan(kind="generator", blocks=(b"", b"a")))
    assert run.writes[-2:] == [b"", b"a"]
    assert b"Content-Length" not in b"".join(run.writes)


def test_one_block_tells_the_length() -> None:
    assert b"Content-Length: 5\r\n" in b"".join(compare(Plan()).writes)


def test_no_block_is_a_length_of_nothing() -> None:
    assert b"Content-Length: 0\r\n" in b"".join(compare(Plan(blocks=())).writes)


def test_a_custom_stdout_sees_every_write() -> None:
    run = compare(Plan(attributes=(("server_software", "S"),)))
    assert run.writes == [
        *(b"HTTP/1.0 200 OK\r\n", DATE, b"Server: S\r\n"),
        *(b"Content-Type: text/plain\r\nContent-Length: 5\r\n\r\n", b"Hello"),
    ]


def test_the_iterable_is_closed_once_where_nothing_fails() -> None:
    assert compare(Plan(kind="iterable")).closed == 1
    assert compare(Plan(kind="file")).closed == 1


def test_the_handler_is_reset_by_close() -> None:
    assert compare(Plan()).left == (None, None, None, False, 0)


def test_a_client_that_went_away_is_not_logged() -> None:
    for error in (BrokenPipeError, ConnectionResetError, ConnectionAbortedError):
        plan = Plan(kind="iterable", output_fails=(0, error))

        def failing(handler: Any, run: Run, error: type[Exception] = error) -> None:
            def write(data: bytes) -> None:
                raise error("gone")

            handler.stdout.write = write

        for module in (original, ours):
            run = carry_out(module, plan, prepare=failing)
            assert (run.log, run.escaped) == ([], ("returned", type(None), None))
            assert run.closed == 1


class Halves(io.BytesIO):
    """A file that takes half of what it is given, as it should not."""

    def write(self, data: Any) -> int:
        return super().write(data[: (len(data) + 1) // 2])


def test_partial_writes_are_completed_with_a_warning() -> None:
    sent = []
    for module in (original, ours):
        output = Halves()
        handler = module.SimpleHandler(
            io.BytesIO(), output, io.StringIO(), {"SERVER_PROTOCOL": "HTTP/1.0"}
        )
        with (
            frozen_clock(),
            pytest.warns(DeprecationWarning, match=r"^SimpleHandler\.stdout\.write\(\) should"),
        ):
            handler.run(application_of(Plan(), Run()))
        sent.append(output.getvalue())
    assert sent[0] == sent[1]
    assert sent[0].endswith(b"\r\n\r\nHello")


# -- Deviations: what has no body, and what no header may hold -----------------------------


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified", "100 Go", "199 So"])
@pytest.mark.parametrize("kind", ["list", "generator", "iterable", "sized", "file"])
@pytest.mark.parametrize("body", [(), (b"",), (b"body",), (b"bo", b"dy")])
def test_a_status_without_a_body_has_neither_length_nor_body(
    status: str, kind: str, body: tuple[bytes, ...]
) -> None:
    run = carry_out(ours, Plan(status=status, kind=kind, blocks=body, headers=()))
    sent = b"".join(run.writes)
    assert sent == f"HTTP/1.0 {status}\r\n".encode() + DATE + b"\r\n"
    assert run.log == []
    assert run.closed == (kind in ("iterable", "sized", "file"))


def test_the_length_that_an_application_gives_stays_with_304() -> None:
    headers = (("Content-Length", "5"),)
    run = carry_out(ours, Plan(status="304 Not Modified", blocks=(), headers=headers))
    assert b"".join(run.writes).endswith(b"Content-Length: 5\r\n\r\n")


@pytest.mark.parametrize("kind", ["list", "generator", "iterable", "sized", "file"])
@pytest.mark.parametrize("length", ["", "5", "0", "99"])
def test_head_drops_the_body_and_keeps_the_applications_length(kind: str, length: str) -> None:
    headers = (("Content-Length", length),) if length else ()
    run = carry_out(ours, Plan(method="HEAD", kind=kind, headers=headers, blocks=(b"He", b"llo")))
    head, _, body = b"".join(run.writes).partition(b"\r\n\r\n")
    assert body == b""
    assert head.split(b"\r\n")[2:] == ([b"Content-Length: " + length.encode()] if length else [])
    assert run.closed == (kind in ("iterable", "sized", "file"))


def test_head_of_one_block_has_its_length() -> None:
    run = carry_out(ours, Plan(method="HEAD", headers=()))
    assert b"".join(run.writes).endswith(b"Content-Length: 5\r\n\r\n")


def test_head_without_a_block_is_given_no_length() -> None:
    run = carry_out(ours, Plan(method="HEAD", headers=(), blocks=()))
    assert b"Content-Length" not in b"".join(run.writes)


def test_head_drops_what_is_written_too() -> None:
    run = carry_out(ours, Plan(method="HEAD", written=(b"a", b"b"), blocks=(b"c",)))
    assert b"".join(run.writes).endswith(b"\r\n\r\n")


def test_an_error_page_for_head_has_no_body() -> None:
    run = carry_out(ours, Plan(method="HEAD", fails="before"))
    sent = b"".join(run.writes)
    assert sent.startswith(b"HTTP/1.0 500 ")
    assert sent.endswith(b"Content-Length: 59\r\n\r\n")


def test_an_application_that_changes_the_method_does_not_change_the_answer() -> None:
    def application(environ: dict[str, Any], start_response: App) -> list[bytes]:
        environ["REQUEST_METHOD"] = "GET" if environ["REQUEST_METHOD"] == "HEAD" else "HEAD"
        start_response("200 OK", [])
        return [b"Hello"]

    for method, body in (("HEAD", b""), ("GET", b"Hello")):
        stdout = io.BytesIO()
        environ = {"SERVER_PROTOCOL": "HTTP/1.0", "REQUEST_METHOD": method}
        SimpleHandler(io.BytesIO(), stdout, io.StringIO(), environ).run(application)
        assert stdout.getvalue().partition(b"\r\n\r\n")[2] == body


@pytest.mark.parametrize("form", ["200 O{}K", "200 OK{}", "200{}OK", "{}200 OK"])
def test_a_control_character_in_the_status_is_refused(form: str) -> None:
    for char in [*map(chr, range(0x20)), "\x7f"]:
        run = carry_out(ours, Plan(status=form.format(char)))
        assert run.log[-1].startswith("ValueError: Control characters are not allowed in status")
        assert b"".join(run.writes).startswith(b"HTTP/1.0 500 Internal Server Error\r\n")


@pytest.mark.parametrize("field", [("X\r\nY", "1"), ("X", "1\r\nY: 2"), ("X", "\0"), ("X\t", "")])
def test_a_control_character_in_a_header_is_refused(field: tuple[str, str]) -> None:
    run = carry_out(ours, Plan(headers=(field,)))
    assert run.log[-1].startswith("ValueError: Control characters not allowed in headers")
    assert b"".join(run.writes).startswith(b"HTTP/1.0 500 Internal Server Error\r\n")


UNOPTIMIZED = """
import io, sys
from wsgiref_fast import _impl
from wsgiref_fast.handlers import SimpleHandler

assert False, "this line must not run"

def refused(error, status, headers, block=None):
    handler = SimpleHandler(io.BytesIO(), io.BytesIO(), sys.stderr, {"SERVER_PROTOCOL": "HTTP/0.9"})
    handler.setup_environ()
    try:
        write = handler.start_response(status, headers)
        if block is not None:
            write(block)
    except error:
        return
    raise SystemExit(f"not refused: {status!r} {headers!r} {block!r}")

refused(ValueError, "200 O\\rK", [])
refused(ValueError, "200 OK", [("A\\n", "1")])
refused(ValueError, "200 OK", [("A", "1\\0")])
refused(AssertionError, "200 OK", [("Connection", "close")])
refused(AssertionError, "200 OK", [("A", 1)])
refused(AssertionError, "200 OK", [(b"A", "1")])
refused(AssertionError, b"200 OK", [])
for status in ("2", "abc d", "200OK"):
    refused(AssertionError, status, [])
refused(AssertionError, "200 OK", [], "text")
print(_impl.IMPLEMENTATION)
"""


def test_responses_are_checked_without_assertions_too(implementation: str) -> None:
    done = run_python("-O", "-c", UNOPTIMIZED, WSGIREF_FAST_IMPL=implementation)
    assert (done.stdout, done.stderr, done.returncode) == (
        *(f"{implementation}\n".encode(), b"", 0),
    )


def run_python(
    *args: str, stdin: bytes = b"", **environ: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, *args],
        env={**os.environ, **environ},
        input=stdin,
        capture_output=True,
    )


# -- Everything can be overridden ----------------------------------------------------------

#: In the order of a request's life.
METHODS = [
    *("run", "setup_environ", "add_cgi_vars", "get_stdin", "get_stderr", "get_scheme"),
    *("start_response", "_convert_string_type", "_validate_status", "finish_response"),
    *("result_is_file", "sendfile", "write", "send_headers", "cleanup_headers"),
    *("set_content_length", "client_is_modern", "send_preamble", "_write", "_flush"),
    *("finish_content", "close", "handle_error", "log_exception", "error_output"),
]
OVERRIDABLE = [name for name in METHODS if hasattr(original.SimpleHandler, name)]

LIVES = {
    "one block": Plan(),
    "a gateway": Plan(cls="BaseCGIHandler"),
    "no block": Plan(blocks=()),
    "blocks": Plan(kind="iterable", blocks=(b"a", b"b"), headers=(("X", "1"), ("Y", "2"))),
    "a file": Plan(kind="file"),
    "written": Plan(written=(b"a",), blocks=(b"b",)),
    "an error": Plan(fails="after"),
    "a late error": Plan(kind="iterable", blocks=(b"a", b"b"), fails="at block 1"),
    "a wrong status": Plan(status="200OK"),
    "the oldest protocol": Plan(protocol="HTTP/0.9"),
}

methods = pytest.mark.parametrize("name", OVERRIDABLE)


class Stop(Exception):
    """What a replaced method raises."""


def stop(*_: Any, **__: Any) -> None:
    raise Stop("replaced")


def noting(name: str, method: Callable[..., Any], run: list[str]) -> Callable[..., Any]:
    """Return a method that notes that it is called and does what it did."""

    def noted(*args: Any, **kwargs: Any) -> Any:
        run.append(name)
        return method(*args, **kwargs)

    return noted


def run_overridden(
    module: Any, plan: Plan, replacements: dict[str, Any], where: str
) -> tuple[Run, list[str]]:
    """Run with methods noted or replaced; tell what came of it and what was called."""
    base = getattr(module, plan.cls)
    called: list[str] = []

    def members(owner: Any) -> dict[str, Any]:
        return {
            name: noting(name, getattr(owner, name), called) if new is None else new
            for name, new in replacements.items()
        }

    if where == "subclass":
        return carry_out(module, plan, type("Sub", (base,), members(base))), called
    if where == "instance":

        def prepare(handler: Any, run: Run) -> None:
            vars(handler).update(members(handler))

        return carry_out(module, plan, prepare=prepare), called
    with mock.patch.multiple(base, create=True, **members(base)):
        return carry_out(module, plan), called


# For each of these a class is changed dozens of times.
late = pytest.param("class, later", marks=pytest.mark.apart)
wheres = pytest.mark.parametrize("where", ["subclass", "instance", late])


@pytest.mark.parametrize("life", LIVES)
@wheres
def test_overridden_methods_are_called_in_the_originals_order(where: str, life: str) -> None:
    everything = dict.fromkeys(OVERRIDABLE)
    mine = run_overridden(ours, LIVES[life], everything, where)
    assert mine == run_overridden(original, LIVES[life], everything, where)
    assert mine[0] == carry_out(ours, LIVES[life])
    assert mine[1]


@wheres
@methods
@pytest.mark.parametrize("new", [None, stop], ids=["noted", "replaced"])
def test_each_overridden_method_takes_effect_as_in_the_original(
    new: Any, name: str, where: str
) -> None:
    called: list[str] = []
    for life, plan in LIVES.items():
        mine = run_overridden(ours, plan, {name: new}, where)
        assert mine == run_overridden(original, plan, {name: new}, where), life
        called += mine[1]
    assert bool(called) == (new is None)


@methods
def test_a_late_assignment_holds_as_long_as_it_stands(name: str) -> None:
    before = carry_out(ours, LIVES["an error"])
    run_overridden(ours, LIVES["an error"], {name: stop}, "class, later")
    assert carry_out(ours, LIVES["an error"]) == before


class Mapped(dict[str, str]):
    """Stands for a program's own `headers_class`."""

    def __bytes__(self) -> bytes:
        return repr(sorted(self.items())).encode()


def wrap(file: Any, size: int = 1) -> list[bytes]:
    return [file.read(), b"wrapped"]


ATTRIBUTES: dict[str, Any] = {
    "wsgi_version": (2, 0),
    "wsgi_multithread": "threads",
    "wsgi_multiprocess": "processes",
    "wsgi_run_once": "once",
    "origin_server": False,
    "http_version": "1.1",
    "server_software": "Mine/1.0",
    "os_environ": {"FROM_OS": "1", "SERVER_SOFTWARE": "before"},
    "wsgi_file_wrapper": None,
    "headers_class": lambda headers: Mapped(headers),
    "traceback_limit": 1,
    "error_status": "599 Mine",
    "error_headers": [("X-Mine", "1")],
    "error_body": b"mine",
}


def observed_run(module: Any, plan: Plan, cls: Any, attributes: dict[str, Any]) -> tuple[Any, ...]:
    """Run, and look at the environ and at the whole log."""
    run, seen, errors = Run(), dict[str, Any](), io.StringIO()

    def application(environ: dict[str, Any], start_response: App) -> Any:
        seen.update(environ)
        return application_of(plan, run)(environ, start_response)

    handler = cls(None, Output(run, plan.output_fails), errors, {"SERVER_PROTOCOL": plan.protocol})
    vars(handler).update(attributes)
    with frozen_clock():
        run.escaped = outcome(handler.run, application)
    frames = errors.getvalue().count("  File ")
    seen.pop("wsgi.errors", None)
    wrapper = seen.pop("wsgi.file_wrapper", None)
    return run, seen, exception_lines(errors.getvalue()), frames, wrapper is None


@pytest.mark.parametrize("life", ["one block", "a gateway", "an error"])
@pytest.mark.parametrize("name", ATTRIBUTES)
@pytest.mark.parametrize("where", ["subclass", "property", "instance", late])
def test_each_attribute_takes_effect_as_in_the_original(where: str, name: str, life: str) -> None:
    plan, value = LIVES[life], ATTRIBUTES[name]
    if where != "instance" and name == "headers_class":
        value = staticmethod(value)

    def observe(module: Any) -> tuple[Any, ...]:
        base = getattr(module, plan.cls)
        if where == "instance":
            return observed_run(module, plan, base, {name: value})
        if where == "subclass":
            return observed_run(module, plan, type("Sub", (base,), {name: value}), {})
        if where == "property":
            # As programs do; the constructor's own assignments would fail on some.
            sub = type("Sub", (base,), {name: property(lambda _: value, lambda *_: None)})
            if name == "headers_class":
                sub = type("Sub", (base,), {name: property(lambda _: ATTRIBUTES[name])})
            return observed_run(module, plan, sub, {})
        with mock.patch.object(base, name, value):
            return observed_run(module, plan, base, {})

    assert observe(ours) == observe(original)


def test_a_file_wrapper_of_ones_own_need_not_be_a_class_where_nobody_asks() -> None:
    for module in (original, ours):
        run = carry_out(module, Plan(attributes=(("wsgi_file_wrapper", wrap),)))
        # isinstance() refuses a function: the error page is the original's answer too.
        assert run.escaped[0] == "raised"
        assert run.escaped[1] is TypeError


def test_a_platforms_sendfile_serves_files_alone() -> None:
    for module in (original, ours):

        def send(self: Any) -> bool:
            self.send_headers()
            self._write(b"by sendfile")
            return True

        cls = type("Sub", (module.SimpleHandler,), {"sendfile": send})
        assert carry_out(module, Plan(kind="file"), cls).writes[-1] == b"by sendfile"
        assert carry_out(module, Plan(kind="iterable"), cls).writes[-1] == b"Hello"


def test_hop_by_hop_is_looked_up_in_the_handlers_module(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(headers=(("Connection", "close"), ("X-Mine", "1")))
    assert "Hop-by-hop header, 'Connection: close', not allowed" in compare(plan).log[-1]
    for module in (original, ours):
        monkeypatch.setattr(module, "is_hop_by_hop", "X-Mine".__eq__)
    assert "Hop-by-hop header, 'X-Mine: 1', not allowed" in compare(plan).log[-1]
    for module in (original, ours):
        monkeypatch.setattr(module, "is_hop_by_hop", lambda name: False)
    assert b"Connection: close\r\n" in b"".join(compare(plan).writes)


def test_the_date_is_asked_of_the_modules_own_formatter(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (original, ours):
        monkeypatch.setattr(module, "format_date_time", lambda _: "today")
    assert b"Date: today\r\n" in compare(Plan()).writes


def test_start_response_and_write_are_bound_methods() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        handler = start_response.__self__
        before = handler.headers
        assert before is None
        write = start_response("200 OK", [])
        assert write.__self__ is handler
        handler.headers["X-Late"] = "yes"
        return [b""]

    for module in (original, ours):
        stdout = io.BytesIO()
        environ = {"SERVER_PROTOCOL": "HTTP/1.0"}
        module.SimpleHandler(None, stdout, io.StringIO(), environ).run(application)
        assert b"X-Late: yes\r\n" in stdout.getvalue()


def test_mixins_stand_before_and_behind_as_in_the_original() -> None:
    for module in (original, ours):
        called: list[str] = []

        def write(self: Any, data: bytes, called: list[str] = called, module: Any = module) -> None:
            called.append("write")
            module.BaseHandler.write(self, data)

        mixin = type("Mixin", (module.BaseHandler,), {"write": write})
        behind = type("Behind", (module.SimpleHandler, mixin), {})
        before = type("Before", (mixin, module.SimpleHandler), {})
        assert carry_out(module, Plan(), behind).writes == carry_out(module, Plan()).writes
        assert carry_out(module, Plan(), before).writes == carry_out(module, Plan()).writes
        assert called == ["write"] * 2


# -- Our own connection: the same bytes, in fewer pieces -----------------------------------


def connect(stub: StubSocket, handler: Any, run: Run) -> None:
    handler.stdout = ConnectionWriter(stub)


@given(plan=good_plans)
def test_a_connection_of_our_own_is_sent_the_originals_bytes(plan: Plan) -> None:
    stub = StubSocket(b"")
    mine = carry_out(ours, plan, prepare=partial(connect, stub))
    theirs = carry_out(original, plan)
    assert b"".join(stub.sent) == b"".join(theirs.writes)
    assert (mine.log, mine.closed, mine.escaped, mine.left) == (
        *(theirs.log, theirs.closed, theirs.escaped, theirs.left),
    )


#: What may run less often there: the head is put together in one piece.
UNCOUNTED = {"client_is_modern", "_write"}


@methods
@pytest.mark.parametrize("where", ["subclass", "instance"])
def test_overridden_methods_are_called_with_a_connection_of_our_own(where: str, name: str) -> None:
    def overridden(module: Any, plan: Plan, stub: StubSocket | None) -> tuple[bytes, list[str]]:
        called: list[str] = []
        base = getattr(module, plan.cls)
        cls = base
        if where == "subclass":
            cls = type("Sub", (base,), {name: noting(name, getattr(base, name), called)})

        def prepare(handler: Any, run: Run) -> None:
            if stub is not None:
                connect(stub, handler, run)
            if where == "instance":
                vars(handler)[name] = noting(name, getattr(handler, name), called)

        run = carry_out(module, plan, cls, prepare)
        return b"".join(run.writes if stub is None else stub.sent), called

    for life, plan in LIVES.items():
        mine, theirs = overridden(ours, plan, StubSocket(b"")), overridden(original, plan, None)
        if name in UNCOUNTED:
            assert bool(mine[1]) == bool(theirs[1])
            mine, theirs = (mine[0], []), (theirs[0], [])
        assert mine == theirs, life


def test_head_and_first_block_leave_together_and_later_ones_as_they_come() -> None:
    stub = StubSocket(b"")
    plan = Plan(kind="generator", blocks=(b"one", b"two", b"three"))
    carry_out(ours, plan, prepare=partial(connect, stub))
    assert stub.sent[0].endswith(b"\r\n\r\none")
    assert stub.sent[1:] == [b"two", b"three"]


def test_a_head_that_cannot_be_made_is_replaced_by_an_error_page() -> None:
    stub = StubSocket(b"")
    run = carry_out(ours, Plan(status="200 \u0100"), prepare=partial(connect, stub))
    assert run.log[-1].startswith("UnicodeEncodeError: ")
    assert stub.sent[0].startswith(b"HTTP/1.0 500 Internal Server Error\r\n")


# -- Handlers without streams --------------------------------------------------------------


@pytest.mark.parametrize("name", ["_flush", "get_stdin", "get_stderr", "add_cgi_vars"])
def test_a_base_handler_lacks_what_a_subclass_must_have(name: str) -> None:
    with pytest.raises(NotImplementedError):
        getattr(BaseHandler(), name)()


def test_a_base_handler_cannot_write() -> None:
    with pytest.raises(NotImplementedError):
        BaseHandler()._write(b"")


class Minimal:
    """The least that a subclass of `BaseHandler` has to have, for each module's."""

    def __init__(self, environ: dict[str, Any]) -> None:
        self.given = environ
        self.sent: list[bytes] = []
        self.errors = io.StringIO()

    def _write(self, data: bytes) -> None:
        self.sent.append(data)

    def _flush(self) -> None:
        self.sent.append(b"|")

    def get_stdin(self) -> Any:
        return io.BytesIO(b"body")

    def get_stderr(self) -> Any:
        return self.errors

    def add_cgi_vars(self) -> None:
        self.environ: dict[str, Any]
        self.environ.update(self.given)


@given(good_plans)
def test_a_minimal_handler_runs_as_in_the_original(plan: Plan) -> None:
    def run(module: Any) -> Any:
        cls = type("Sub", (Minimal, module.BaseHandler), dict(plan.attributes))
        handler = cls({"SERVER_PROTOCOL": plan.protocol, "REQUEST_METHOD": plan.method})
        with frozen_clock():
            handler.run(application_of(plan, Run()))
        return handler.sent, exception_lines(handler.errors.getvalue())

    assert run(ours) == run(original)


def test_the_environ_is_a_fresh_dict_of_os_request_and_wsgi_variables() -> None:
    def environ_of(module: Any) -> dict[str, Any]:
        handler = module.SimpleHandler(
            None, None, None, {"HTTPS": "on", "A": "1"}, multithread=3, multiprocess=4
        )
        handler.os_environ = {"A": "0", "B": "2"}
        handler.server_software = "S"
        handler.setup_environ()
        assert type(handler.environ) is dict
        assert handler.os_environ == {"A": "0", "B": "2"}
        assert handler.base_env == {"HTTPS": "on", "A": "1"}
        assert handler.environ.pop("wsgi.file_wrapper") is module.FileWrapper
        return dict(handler.environ)

    mine = environ_of(ours)
    assert list(mine.items()) == list(environ_of(original).items())
    assert (mine["A"], mine["B"], mine["wsgi.url_scheme"]) == ("1", "2", "https")
    assert (mine["SERVER_SOFTWARE"], mine["wsgi.multithread"]) == ("S", 3)


def test_the_software_is_no_variable_of_a_gateway_and_replaces_none() -> None:
    for cls, given_one, expected in (
        (SimpleHandler, {"SERVER_SOFTWARE": "given"}, "given"),
        (SimpleHandler, {}, "S"),
        (BaseCGIHandler, {}, None),
    ):
        handler = cls(io.BytesIO(), io.BytesIO(), io.StringIO(), given_one)
        handler.os_environ, handler.server_software = {}, "S"
        handler.setup_environ()
        assert handler.environ.get("SERVER_SOFTWARE") == expected


def test_streams_and_flags_are_attributes() -> None:
    streams = (io.BytesIO(), io.BytesIO(), io.StringIO())
    environ = {"A": "1"}
    handler = SimpleHandler(*streams, environ)
    assert (handler.stdin, handler.stdout, handler.stderr) == streams
    assert handler.base_env is environ
    assert handler.get_stdin() is handler.stdin
    assert handler.get_stderr() is handler.stderr
    assert (handler.wsgi_multithread, handler.wsgi_multiprocess) == (True, False)
    handler = SimpleHandler(*streams, environ, False, True)
    assert (handler.wsgi_multithread, handler.wsgi_multiprocess) == (False, True)


def test_the_process_environment_is_part_of_each_environ() -> None:
    assert BaseHandler.os_environ.keys() == original.BaseHandler.os_environ.keys()
    assert BaseHandler.os_environ is not os.environ
    assert ours.CGIHandler.os_environ == ours.IISCGIHandler.os_environ == {}


def test_a_handler_can_run_again() -> None:
    for module in (original, ours):
        stdout = io.BytesIO()
        environ = {"SERVER_PROTOCOL": "HTTP/1.0"}
        handler = module.SimpleHandler(None, stdout, io.StringIO(), environ)
        for status in ("200 OK", "404 Not Found"):
            handler.run(application_of(Plan(status=status), Run()))
        assert stdout.getvalue().count(b"HTTP/1.0 ") == 2
        assert b"HTTP/1.0 404 Not Found\r\n" in stdout.getvalue()


def test_the_traceback_names_the_application() -> None:
    errors = io.StringIO()
    handler = SimpleHandler(io.BytesIO(), io.BytesIO(), errors, {"SERVER_PROTOCOL": "HTTP/1.0"})
    handler.run(application_of(Plan(fails="before"), Run()))
    assert errors.getvalue().startswith("Traceback (most recent call last):\n")
    assert "in application" in errors.getvalue()


# -- CGI: a process for each request -------------------------------------------------------

CGI = """
import sys
from {package}.handlers import {cls}

def application(environ, start_response):
    write = start_response("404 Not H\\xe9re", [("Content-Type", "text/plain"), ("X", "1")])
    write(environ["wsgi.input"].read())
    flags = [environ["wsgi." + name] for name in ("run_once", "multithread", "multiprocess")]
    print("to the log", file=environ["wsgi.errors"])
    keys = ("SCRIPT_NAME", "PATH_INFO", "HTTP_NAME", "OTHER", "wsgi.url_scheme")
    yield ascii([environ.get(key) for key in keys] + flags).encode()

{cls}().run(application)
"""


def run_cgi(package: str, cls: str, **environ: str) -> tuple[bytes, bytes, int]:
    request = {"SERVER_PROTOCOL": "HTTP/1.0", "REQUEST_METHOD": "POST", "SCRIPT_NAME": "/app"}
    script = CGI.format(package=package, cls=cls)
    done = run_python("-c", script, stdin=b"body", **(request | environ))
    return done.stdout, done.stderr, done.returncode


@pytest.mark.parametrize("cls", ["CGIHandler", "IISCGIHandler"])
def test_cgi_scripts_answer_as_in_the_original(cls: str) -> None:
    environ = {"PATH_INFO": "/caf\xe9", "HTTP_NAME": "\xe9", "OTHER": "\xe9", "HTTPS": "on"}
    stdout, stderr, code = run_cgi("wsgiref_fast", cls, **environ)
    assert (stdout, stderr, code) == run_cgi("wsgiref", cls, **environ)
    assert stdout.startswith(b"Status: 404 Not H\xe9re\r\nContent-Type: text/plain\r\nX: 1\r\n")
    assert stdout.endswith(b"'https', True, False, True]")
    assert (stderr.strip(), code) == (b"to the log", 0)


@pytest.fixture
def processes_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO()))


@pytest.mark.usefixtures("processes_streams")
@pytest.mark.parametrize("script", ["", "/", "/app", "/app/", None])
@pytest.mark.parametrize("path", ["", "/", "/app", "/app/", "/app/page", "/apps", "/page", None])
def test_iis_gets_its_path_without_the_script(
    monkeypatch: pytest.MonkeyPatch, script: str | None, path: str | None
) -> None:
    for name, value in (("SCRIPT_NAME", script), ("PATH_INFO", path)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    mine, theirs = ours.IISCGIHandler().base_env, original.IISCGIHandler().base_env
    assert mine == theirs
    if (script, path) == ("/app", "/app/page"):
        assert mine["PATH_INFO"] == "/page"


@pytest.mark.usefixtures("processes_streams")
@pytest.mark.parametrize("name", ["CGIHandler", "IISCGIHandler"])
def test_cgi_handlers_take_the_streams_of_the_moment(name: str) -> None:
    handler = getattr(ours, name)()
    assert handler.stdin is sys.stdin.buffer
    assert handler.stdout is sys.stdout.buffer
    assert handler.stderr is sys.stderr
    flags = (handler.wsgi_run_once, handler.wsgi_multithread, handler.wsgi_multiprocess)
    assert flags == (True, False, True)
