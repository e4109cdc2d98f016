"""`wsgiref_fast.validate`, by default, against the standard library's."""

from __future__ import annotations

import ast
import gc
import inspect
import io
import os
import re
import subprocess
import sys
import traceback
import warnings
import wsgiref.validate as stock
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wsgiref_fast.validate as ours

Environ = dict[Any, Any]
App = Callable[..., Any]
Use = Callable[[Environ], object]

SOURCE = Path(ours.__file__)
HTML = ("Content-Type", "text/html")
WRAPPERS = [
    *("InputWrapper", "ErrorWrapper", "WriteWrapper", "PartialIteratorWrapper", "IteratorWrapper")
]
NAMES = [name for name in vars(stock) if not name.startswith("__")]


class Absent:
    """Marks a variable to leave out of an environ."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = Absent()


def environ_with(changes: Environ | None = None) -> Environ:
    """Return an environ that nobody could object to, but for *changes*."""
    environ: Environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(b"one\ntwo\nthree"),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    environ.update(changes or {})
    return {key: value for key, value in environ.items() if value is not ABSENT}


@contextmanager
def unraisable() -> Iterator[list[str]]:
    """Collect what finalizers raise meanwhile."""
    seen: list[str] = []
    hook = sys.unraisablehook
    sys.unraisablehook = lambda info: seen.append(f"{info.exc_type.__name__}: {info.exc_value}")
    try:
        yield seen
    finally:
        sys.unraisablehook = hook


@pytest.fixture(autouse=True)
def _finalized() -> Iterator[None]:
    """Have finalizers run in their test, also where they do not run at once, as in PyPy."""
    with unraisable():
        yield
        if not hasattr(sys, "getrefcount"):
            gc.collect()


@dataclass
class Outcome:
    """What a piece of code came to."""

    value: object = None
    error: str = ""
    message: str = ""
    cause: str = field(default="", compare=False)  # the standard library has none
    warned: list[tuple[str, str]] = field(default_factory=list)


def outcome(function: Callable[[], object]) -> Outcome:
    result = Outcome()
    with warnings.catch_warnings(record=True) as caught, unraisable():
        warnings.simplefilter("always")
        try:
            result.value = function()
        except Exception as error:
            result.error, result.message = type(error).__name__, str(error)
            result.cause = str(error.__cause__ or "")
    result.warned = [(w.category.__name__, str(w.message)) for w in caught]
    return result


def both(function: Callable[[ModuleType], object]) -> tuple[Outcome, Outcome]:
    return outcome(lambda: function(ours)), outcome(lambda: function(stock))


def assert_same(function: Callable[[ModuleType], object]) -> Outcome:
    mine, theirs = both(function)
    assert mine == theirs
    return mine


class Server:
    """A server that keeps what it is given, and iterates over and closes results."""

    def __init__(self) -> None:
        self.seen: list[object] = []
        self.headers_sent = False

    def start_response(self, status: Any, headers: Any, exc_info: Any = None) -> Any:
        if exc_info is not None and self.headers_sent:
            raise exc_info[1]
        self.seen.append((status, list(headers), exc_info and exc_info[0]))
        return self.write

    def write(self, data: bytes) -> None:
        self.headers_sent = self.headers_sent or bool(data)
        self.seen.append(data)

    def serve(self, app: App, environ: Environ) -> list[object]:
        result = app(environ, self.start_response)
        try:
            for block in result:
                self.write(block)
        finally:
            result.close()
        return self.seen


def simple(status: object, headers: object, body: object = (b"hello",)) -> App:
    def app(environ: Environ, start_response: Any) -> object:
        start_response(status, headers)
        return body

    return app


HELLO = simple("200 OK", [HTML])


def using(use: Use) -> App:
    """Return an application that uses its environ before it answers."""

    def app(environ: Environ, start_response: Any) -> object:
        used = use(environ)
        start_response("200 OK", [HTML])
        return [repr(used).encode()]

    return app


# The default: as the standard library.


@pytest.mark.parametrize("name", NAMES)
def test_every_name_exists(name: str) -> None:
    assert type(getattr(ours, name)) is type(getattr(stock, name))


def test_the_public_names_are_the_originals() -> None:
    assert ours.__all__ == stock.__all__


def test_patterns_are_the_originals() -> None:
    theirs = vars(stock)
    assert ours.header_re.pattern == theirs["header_re"].pattern
    assert ours.bad_header_value_re.pattern == theirs["bad_header_value_re"].pattern


@pytest.mark.parametrize("name", WRAPPERS)
def test_wrappers_have_the_same_methods(name: str) -> None:
    theirs = {key for key, value in vars(getattr(stock, name)).items() if callable(value)}
    assert theirs <= set(vars(getattr(ours, name)))


@pytest.mark.parametrize("name", [*WRAPPERS, "WSGIWarning"])
def test_classes_can_be_linked_below_the_originals(name: str) -> None:
    mine, theirs = getattr(ours, name), getattr(stock, name)
    bases = mine.__bases__
    assert len(bases) == 1
    assert bases[0] not in (object, Warning)
    mine.__bases__ = (theirs,)
    try:
        assert issubclass(mine, theirs)
        assert Server().serve(ours.validator(HELLO), environ_with())
    finally:
        mine.__bases__ = bases


def test_wrappers_have_the_same_attributes() -> None:
    def attributes(module: ModuleType) -> object:
        things = [
            module.InputWrapper(1),
            module.ErrorWrapper(2),
            module.WriteWrapper(3),
            module.PartialIteratorWrapper([b"4"]),
            module.IteratorWrapper([b"5"], []),
        ]
        things[-1].close()
        return [(type(thing).__name__, sorted(vars(thing))) for thing in things]

    assert attributes(ours) == attributes(stock)


def test_assert_takes_what_assertion_error_takes() -> None:
    check = ours.assert_
    check(1, "unused")
    with pytest.raises(AssertionError) as caught:
        check([], "a", 2)
    assert caught.value.args == ("a", 2)


class StrSubclass(str):
    __slots__ = ()


class DictSubclass(dict[Any, Any]):
    pass


class OnlyRead:
    def read(self, size: int = -1) -> bytes:
        return b""


ODD_VALUES: list[object] = [
    *(ABSENT, "", "/", "x", "/x", "€", "\x00", None, b"GET", 3, StrSubclass("/x")),
    *("0", "12", "-1", "+4", " 4", "1_0", "٣", "4x"),
    *((1, 0), (1, 1), (), [1, 0], "http", "https", "ftp", "HTTP", "CONNECT", "HEAD", "PATCH"),
    *(io.BytesIO(b""), io.StringIO(""), OnlyRead(), object),
]
KEYS = [
    *environ_with(),
    *("CONTENT_LENGTH", "CONTENT_TYPE", "HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"),
    *("HTTP_X", "wsgi.file_wrapper", "mine.ext", "lower"),
]
values = st.sampled_from(ODD_VALUES)


def serve_both(app: App, changes: Environ) -> Outcome:
    """Run one request under both modules, with streams that are shared by neither."""
    return assert_same(
        lambda module: repr(
            Server().serve(
                module.validator(app), environ_with({k: fresh(v) for k, v in changes.items()})
            )
        )
    )


class SameRepr:
    """Streams whose addresses do not spoil the comparison of messages."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class Reading(SameRepr, io.BytesIO):
    pass


class Writing(SameRepr, io.StringIO):
    pass


class Poor(SameRepr, OnlyRead):
    pass


def fresh(value: object) -> object:
    for old, new in ((io.BytesIO, Reading), (io.StringIO, Writing), (OnlyRead, Poor)):
        if type(value) is old:
            return new()
    return value


@pytest.mark.parametrize("key", KEYS)
def test_default_judges_each_variable_as_the_original(key: str) -> None:
    for value in ODD_VALUES:
        if (key, type(value)) != ("wsgi.url_scheme", tuple):
            serve_both(HELLO, {key: value})


@given(st.dictionaries(st.sampled_from(KEYS), values, max_size=4))
def test_default_judges_environs_as_the_original(changes: Environ) -> None:
    if type(changes.get("wsgi.url_scheme")) is not tuple:
        serve_both(HELLO, changes)


def test_default_says_of_a_scheme_that_is_a_tuple_what_the_original_fails_to_format() -> None:
    mine, theirs = both(lambda module: module.check_environ(environ_with({"wsgi.url_scheme": ()})))
    assert (theirs.error, mine.error) == ("TypeError", "AssertionError")
    assert mine.message == "wsgi.url_scheme unknown: ()"


@pytest.mark.parametrize("environ", [None, [], DictSubclass(environ_with()), "environ"])
def test_default_refuses_an_environ_that_is_no_dict(environ: object) -> None:
    assert assert_same(lambda module: module.check_environ(environ)).error == "AssertionError"


@pytest.mark.parametrize("key", [3, b"KEY", None, ("a", ".")])
def test_default_judges_keys_as_the_original(key: object) -> None:
    assert_same(lambda module: module.check_environ({**environ_with(), key: "x"}))


STATUSES: list[object] = [
    *("200 OK", "200", "200OK", "200  OK", "200\tOK", " 200 OK", "20 X", "2000 X", "099 X"),
    *("-10 X", "+20 X", "99 X", "100 Continue", "204 No", "304 Not", "999 X", "20X OK", "1_0 OK"),
    *("", " ", "٢٠٠ OK", "200 €", "200 \x00", "200 OK\r\n", "200 ", None, 200, b"200 OK"),
    *(StrSubclass("200 OK"), ["200 OK"]),
]
status_text = st.one_of(
    st.sampled_from(STATUSES),
    st.text(max_size=8),
    st.builds(
        "{}{}{}".format, st.integers(-5, 1200), st.sampled_from(["", " ", "\t"]), st.text("OK \n")
    ),
)
HEADER_LISTS: list[object] = [
    *([], [HTML], (HTML,), None, "x", [HTML, HTML], [["Content-Type", "x"]], [("a",)], [()]),
    *([("Content-Type", "x", "y")], [(b"Content-Type", "x")], [("Content-Type", b"x")]),
    [("Content-Type", StrSubclass("x"))],
    *([HTML, (name, "x")] for name in ("Status", "status", "a:", "a\n", "a b", "a-", "a_", "1a")),
    *([HTML, (name, "x")] for name in ("", "a.b", "é", "X-Ok", "Connection", "a\x00")),
    *([HTML, ("a", value)] for value in ("", "\t", "\x00", "\r\n", "\x7f", "\x80", "€", " x ")),
]
header_text = st.text("aZ09-_.:\n\t\x00\x1f\x7f é€", max_size=5)
header_lists = st.one_of(
    st.sampled_from(HEADER_LISTS),
    st.lists(
        st.one_of(
            st.just(HTML),
            st.tuples(header_text, header_text),
            st.tuples(st.sampled_from(["content-TYPE", "STATUS"]), header_text),
            st.tuples(header_text, st.integers()),
            st.lists(header_text, max_size=3),
        ),
        max_size=4,
    ),
)


@pytest.mark.parametrize("status", STATUSES)
def test_default_judges_a_status_as_the_original(status: object) -> None:
    assert_same(lambda module: module.check_status(status))
    assert_same(lambda module: module.check_content_type(status, [HTML]))
    assert_same(lambda module: module.check_content_type(status, []))
    serve_both(simple(status, [HTML]), {})


@pytest.mark.parametrize("headers", HEADER_LISTS)
def test_default_judges_headers_as_the_original(headers: object) -> None:
    assert_same(lambda module: module.check_headers(headers))
    serve_both(simple("200 OK", headers), {})


@given(status_text, header_lists)
def test_default_judges_responses_as_the_original(status: object, headers: object) -> None:
    serve_both(simple(status, headers), {})


BODIES: list[object] = [
    *([], [b""], [b"a", b"b"], (b"a",), None, False, True, 0, 0.0, 5, "text", b"bytes"),
    *(["text"], [b"a", None], [bytearray(b"a")], {b"a": 1}, bytearray(b"a"), object()),
]


@pytest.mark.parametrize("body", BODIES)
def test_default_judges_results_as_the_original(body: object) -> None:
    serve_both(simple("200 OK", [HTML], body), {})
    assert_same(lambda module: module.check_iterator(body))


@pytest.mark.parametrize("exc_info", [None, (), (1, 2, 3), [], "x", 0, (None, None, None)])
def test_default_judges_exc_info_as_the_original(exc_info: object) -> None:
    assert_same(lambda module: module.check_exc_info(exc_info))

    def app(environ: Environ, start_response: Any) -> object:
        start_response("200 OK", [HTML], exc_info)
        return [b"x"]

    serve_both(app, {})


def calling(*args: object, **kw: object) -> App:
    def app(environ: Environ, start_response: Any) -> object:
        start_response(*args, **kw)
        return [b"x"]

    return app


@pytest.mark.parametrize(
    "app",
    [
        calling(),
        calling("200 OK"),
        calling("200 OK", [HTML]),
        calling("200 OK", [HTML], None),
        calling("200 OK", [HTML], None, None),
        calling("200 OK", [HTML], exc_info=None),
        calling("200 OK", headers=[HTML]),
        calling(status="200 OK", headers=[HTML]),
    ],
)
def test_default_judges_calls_of_start_response_as_the_original(app: App) -> None:
    serve_both(app, {})


@pytest.mark.parametrize("args", [(), ({},), ({}, None, None), (environ_with(), None)])
@pytest.mark.parametrize("kw", [{}, {"start_response": None}])
def test_default_judges_calls_of_the_application_as_the_original(
    args: tuple[object, ...], kw: Environ
) -> None:
    # The environ comes through unless a check fails, and so it is copied.
    copies = [tuple(dict(a) if type(a) is dict else a for a in args) for _ in range(2)]
    assert_same(lambda module: bool(module.validator(HELLO)(*copies.pop(), **kw)))


def no_start(environ: Environ, start_response: Any) -> object:
    return [b"too early"]


def no_start_and_empty(environ: Environ, start_response: Any) -> object:
    return []


def late_start(environ: Environ, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [HTML])
    yield b"a"
    yield b"b"


def twice(environ: Environ, start_response: Any) -> object:
    start_response("200 OK", [HTML])
    start_response("201 Created", [HTML])
    return [b"x"]


def writing(*data: object) -> App:
    def app(environ: Environ, start_response: Any) -> object:
        write = start_response("200 OK", [HTML])
        assert [write(block) for block in data] == [None] * len(data)
        return [b"x"]

    return app


@pytest.mark.parametrize(
    "app",
    [
        no_start,
        no_start_and_empty,
        late_start,
        twice,
        writing(b"a", b""),
        writing("a"),
        writing(None),
        writing(bytearray(b"a")),
    ],
)
def test_default_judges_the_course_of_a_response_as_the_original(app: App) -> None:
    serve_both(app, {})


class Wrong:
    """A stream that answers with something else than it should."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def read(self, *args: object) -> object:
        return self.answer

    readline = readlines = write = flush = writelines = read

    def __iter__(self) -> Iterator[object]:
        return iter([self.answer])


INPUT_USES: dict[str, Use] = {
    "read(3)": lambda e: e["wsgi.input"].read(3),
    "read(-1)": lambda e: e["wsgi.input"].read(-1),
    "read(None)": lambda e: e["wsgi.input"].read(None),
    "read('x')": lambda e: e["wsgi.input"].read("x"),
    "read()": lambda e: e["wsgi.input"].read(),
    "read(1, 2)": lambda e: e["wsgi.input"].read(1, 2),
    "read(size=1)": lambda e: e["wsgi.input"].read(size=1),
    "readline()": lambda e: e["wsgi.input"].readline(),
    "readline(2)": lambda e: e["wsgi.input"].readline(2),
    "readline(2, 3)": lambda e: e["wsgi.input"].readline(2, 3),
    "readlines()": lambda e: e["wsgi.input"].readlines(),
    "readlines(4)": lambda e: e["wsgi.input"].readlines(4),
    "readlines(4, 5)": lambda e: e["wsgi.input"].readlines(4, 5),
    "iter": lambda e: list(e["wsgi.input"]),
    "close": lambda e: e["wsgi.input"].close(),
    "seek": lambda e: e["wsgi.input"].seek(0),
}
ERRORS_USES: dict[str, Use] = {
    "write": lambda e: e["wsgi.errors"].write("x"),
    "write bytes": lambda e: e["wsgi.errors"].write(b"x"),
    "write subclass": lambda e: e["wsgi.errors"].write(StrSubclass("x")),
    "writelines": lambda e: e["wsgi.errors"].writelines(["a", "b"]),
    "writelines str": lambda e: e["wsgi.errors"].writelines("ab"),
    "writelines mixed": lambda e: e["wsgi.errors"].writelines(["a", 1]),
    "flush": lambda e: e["wsgi.errors"].flush(),
    "close": lambda e: e["wsgi.errors"].close(),
    "fileno": lambda e: e["wsgi.errors"].fileno(),
}
ANSWERS: list[object] = [b"x", b"", "x", None, [b"x"], [b"x", "y"], (b"x",), [], bytearray(b"x")]


@pytest.mark.parametrize("use", INPUT_USES)
def test_default_judges_uses_of_the_input_as_the_original(use: str) -> None:
    assert_same(
        lambda module: repr(
            Server().serve(module.validator(using(INPUT_USES[use])), environ_with())
        )
    )
    for answer in ANSWERS:
        if (use, answer) not in [("iter", b"x")]:  # which would never end
            serve_both(using(INPUT_USES[use]), {"wsgi.input": Wrong(answer)})


@pytest.mark.parametrize("use", ERRORS_USES)
def test_default_judges_uses_of_the_errors_as_the_original(use: str) -> None:
    written = []
    for module in (ours, stock):
        environ = environ_with()
        stream = environ["wsgi.errors"]
        app = module.validator(using(ERRORS_USES[use]))
        written.append(outcome(lambda app=app, e=environ: Server().serve(app, e)))  # type: ignore[misc]
        written[-1].value = (written[-1].value, stream.getvalue())
    assert written[0] == written[1]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["read", "readline", "readlines", "__iter__", "close"]),
            st.lists(st.one_of(st.none(), st.integers(-2, 9)), max_size=2),
        ),
        max_size=5,
    )
)
def test_default_passes_reads_on_as_the_original(calls: list[tuple[str, list[Any]]]) -> None:
    def reading(module: ModuleType) -> object:
        stream = module.InputWrapper(io.BytesIO(b"one\ntwo\n\nthree"))
        return [outcome(lambda n=n, a=a: take(stream, n, a)) for n, a in calls]  # type: ignore[misc]

    def take(stream: Any, name: str, args: list[Any]) -> object:
        answer = getattr(stream, name)(*args)
        return list(answer) if name == "__iter__" and not args else answer

    assert_same(reading)


NOTHING = io.BytesIO()
EMPTY: list[tuple[Callable[[Any], object], str]] = [
    (lambda v: v.InputWrapper(NOTHING).read(), "wsgi.input.read() takes one argument, the size"),
    (lambda v: v.InputWrapper(Wrong("x")).read(1), "wsgi.input.read() must return bytes (got 'x')"),
    (lambda v: v.InputWrapper(NOTHING).readline(1, 2), "at most one argument (got (1, 2))"),
    (lambda v: v.InputWrapper(Wrong(None)).readline(), "readline() must return bytes (got None)"),
    (lambda v: v.InputWrapper(NOTHING).readlines(1, 2), "at most one argument (got (1, 2))"),
    (lambda v: v.InputWrapper(Wrong(())).readlines(), "must return a list (got ())"),
    (lambda v: v.InputWrapper(Wrong(["x"])).readlines(), "lines of type bytes (got 'x')"),
    (lambda v: v.ErrorWrapper(io.StringIO()).write(b"x"), "write() takes a str (got b'x')"),
    (lambda v: v.WriteWrapper(print)("x"), "write() takes bytes (got 'x')"),
    (lambda v: v.check_headers([("a", "b", "c")]), "a name and a value: ('a', 'b', 'c')"),
]


@pytest.mark.parametrize(("check", "explanation"), EMPTY)
def test_where_the_original_says_nothing_the_cause_explains(
    check: Callable[[Any], object], explanation: str
) -> None:
    assert assert_same(check).error == "AssertionError"
    with pytest.raises(AssertionError) as caught:
        check(ours)
    assert caught.value.args == ()
    printed = traceback.format_exception(caught.value)
    assert printed[0].startswith("TypeError: ")
    assert explanation in printed[0]
    assert printed[-1] == "AssertionError\n"


def test_all_is_explained_where_the_original_says_nothing() -> None:
    calls = [n for n in ast.walk(ast.parse(inspect.getsource(stock))) if isinstance(n, ast.Call)]
    silent = [n for n in calls if ast.unparse(n.func) == "assert_" and len(n.args) == 1]
    assert len(silent) == len(EMPTY)


def test_patterns_can_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "header_re", re.compile(""))
    ours.check_headers([("1.2", "x")])
    monkeypatch.setattr(ours, "bad_header_value_re", re.compile("x"))
    with pytest.raises(AssertionError, match="Bad header value"):
        ours.check_headers([("a", "x")])


def test_checks_can_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "check_content_type", lambda status, headers: None)
    assert Server().serve(ours.validator(simple("200 OK", [])), environ_with())


def closed(iterable: Iterable[bytes]) -> Iterator[bytes]:
    result: Any = iter(iterable)
    try:
        yield from result
    finally:
        result.close()


def test_partial_iterators() -> None:
    with pytest.raises(AssertionError, match="non-bytestring"):
        list(closed(ours.PartialIteratorWrapper(["x"])))  # type: ignore[list-item]
    result = iter(ours.PartialIteratorWrapper([b"x"]))
    assert isinstance(result, ours.IteratorWrapper)
    assert list(result) == [b"x"]
    result.close()


def test_strict_is_keyword_only() -> None:
    with pytest.raises(TypeError):
        ours.validator(HELLO, True)  # type: ignore[call-arg]


# The module itself.


def python(*args: str) -> str:
    """Run Python by itself on the package, whatever wsgiref_fast is installed."""
    env = {**os.environ, "PYTHONPATH": str(SOURCE.parents[1])}
    done = subprocess.run(
        [sys.executable, *args], env=env, capture_output=True, text=True, check=True
    )
    return done.stdout


OUTCOMES = """
import io, sys
from wsgiref_fast.validate import validator
for strict in (False, True):
    print("wsgiref_fast._validate_strict" in sys.modules)
    for status, headers, body in [
        ("200 OK", [("Content-Type", "a/b")], [b"x"]),
        ("200 OK", [("Content-Type", "a/b")], ["x"]),
        ("200 OK", [("Content-Type", "a/b"), ("a:", "x")], [b"x"]),
        ("200 OK", (), [b"x"]),
        ("99 X", [], [b"x"]),
        ("200 OK", [("Content-Type", "a/b"), ("TE", "x")], [b"x"]),
        (None, [], None),
    ]:
        def app(environ, start_response):
            start_response(status, headers)
            return body
        environ = {
            "REQUEST_METHOD": "GET", "SERVER_NAME": "x", "SERVER_PORT": "80", "SCRIPT_NAME": "",
            "PATH_INFO": "/", "QUERY_STRING": "", "SERVER_PROTOCOL": "x", "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(), "wsgi.errors": sys.stderr,
            "wsgi.multithread": 0, "wsgi.multiprocess": 0, "wsgi.run_once": 0,
        }
        try:
            result = validator(app, strict=strict)(environ, lambda *args: print)
            try:
                print(list(result))
            finally:
                result.close()
        except Exception as error:
            print(repr(error))
print("typing" in sys.modules)
"""


def test_python_without_asserts_changes_nothing() -> None:
    plain = python("-c", OUTCOMES)
    assert plain.count("AssertionError") == 11
    for option in ("-O", "-OO"):
        assert python(option, "-c", OUTCOMES) == plain


def test_the_import_is_light() -> None:
    lines = python("-S", "-c", OUTCOMES).splitlines()
    assert [line for line in lines if line in ("True", "False")] == ["False"] * 3


@pytest.mark.parametrize("source", [SOURCE, SOURCE.with_name("_validate_strict.py")])
def test_nothing_depends_on_debug(source: Path) -> None:
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        assert not isinstance(node, ast.Assert)
        assert not (isinstance(node, ast.Name) and node.id == "__debug__")
