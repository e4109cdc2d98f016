"""``validator(strict=True)`` against PEP 3333, and what it has in common with the default."""

from __future__ import annotations

import gc
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from test_validate import (
    ABSENT,
    ERRORS_USES,
    HELLO,
    HTML,
    INPUT_USES,
    KEYS,
    App,
    Environ,
    OnlyRead,
    Outcome,
    Reading,
    Server,
    StrSubclass,
    Use,
    Writing,
    Wrong,
    calling,
    environ_with,
    fresh,
    header_lists,
    late_start,
    no_start,
    no_start_and_empty,
    outcome,
    python,
    simple,
    status_text,
    twice,
    unraisable,
    using,
    values,
    writing,
)
from wsgiref_fast import _validate_strict
from wsgiref_fast.validate import validator

# strict=True: a row of the module's documentation, and the cases that hold it.


@dataclass
class Case:
    """A request that the two modes judge differently."""

    changes: Environ = field(default_factory=dict)
    app: Any = HELLO
    serve: Callable[[Server, App, Environ], object] = Server.serve

    def outcome(self, wrap: Callable[[App], App]) -> Outcome:
        return outcome(
            lambda: repr(
                self.serve(
                    Server(),
                    wrap(self.app),
                    environ_with({k: fresh(v) for k, v in self.changes.items()}),
                )
            )
        )


def strictly(app: App) -> App:
    return validator(app, strict=True)


def respond(status: str = "200 OK", *headers: tuple[str, str], body: Iterable[bytes] = ()) -> Case:
    return Case(app=simple(status, [*headers], body))


def reading(use: Use, answer: object) -> Case:
    return Case({"wsgi.input": Wrong(answer)}, using(use))


class NotCallable(Reading):
    readline = None  # type: ignore[assignment]


class NotCallableErrors(Writing):
    flush = None  # type: ignore[assignment]


def with_exc_info(make: Callable[[], object]) -> App:
    def app(environ: Environ, start_response: Any) -> object:
        start_response("200 OK", [HTML], make())
        return [b"x"]

    return app


def caught() -> Any:
    try:
        raise LookupError("trapped")
    except LookupError:
        return sys.exc_info()


def without_traceback() -> object:
    return (*caught()[:2], None)


def again_after_failure(environ: Environ, start_response: Any) -> object:
    try:
        start_response("200 OK", None)
    except AssertionError:
        start_response("200 OK", [HTML])
    return [b"x"]


def swallow(environ: Environ, start_response: Any) -> object:
    start_response("200 OK", [HTML])(b"sent")
    try:
        start_response("500 Oops", [HTML], caught())
    except LookupError:
        return [b"anyway"]
    raise RuntimeError("the server should have raised")


def swallow_later(environ: Environ, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [HTML])
    yield b"sent"
    try:
        start_response("500 Oops", [HTML], caught())
    except LookupError:
        yield b"anyway"


def swallow_and_try_again(environ: Environ, start_response: Any) -> object:
    start_response("200 OK", [HTML])(b"sent")
    for _ in range(2):
        with suppress(LookupError):
            start_response("500 Oops", [HTML], caught())
    return []


def write_while_iterated(environ: Environ, start_response: Any) -> Iterator[bytes]:
    write = start_response("200 OK", [HTML])
    yield b"a"
    write(b"b")


def write_too_much(environ: Environ, start_response: Any) -> object:
    write = start_response("200 OK", [HTML, ("Content-Length", "3")])
    write(b"ab")
    write(b"cd")
    return []


class Lying(list[bytes]):
    def __len__(self) -> int:
        return 1


def close_twice(server: Server, app: App, environ: Environ) -> object:
    result = app(environ, server.start_response)
    result.close()
    result.close()
    return server.seen


def start_with(start_response: object) -> Callable[[Server, App, Environ], object]:
    def serve(server: Server, app: App, environ: Environ) -> object:
        result = app(environ, start_response)
        result.close()
        return None

    return serve


REFUSED: dict[str, list[Case]] = {
    "an application, a ``start_response`` or a ``write`` that cannot be called": [
        Case(app=5),
        Case(app=lambda environ, start_response: [], serve=start_with(None)),
        Case(serve=start_with(lambda status, headers: None)),
    ],
    "a second ``start_response()`` without ``exc_info``, even after a first one that failed": [
        Case(app=twice),
        Case(app=again_after_failure),
    ],
    "``exc_info`` that is not the type, value and traceback of an exception": [
        Case(app=with_exc_info(make))
        for make in (
            *(tuple, lambda: (1, 2, 3), lambda: (None, None, None), lambda: caught()[:2]),
            *(without_traceback, lambda: (KeyError, *caught()[1:])),
        )
    ],
    "an exception from ``start_response()`` with ``exc_info`` that the application swallows": [
        Case(app=swallow),
        Case(app=swallow_later),
        Case(app=swallow_and_try_again),
    ],
    "an ``environ`` without ``SERVER_PROTOCOL`` or ``wsgi.url_scheme``": [
        Case({"SERVER_PROTOCOL": ABSENT}),
        Case({"wsgi.url_scheme": ABSENT}),
    ],
    "an empty ``SERVER_NAME`` or ``SERVER_PROTOCOL``, a ``SERVER_PORT`` that is not digits": [
        Case({"SERVER_NAME": ""}),
        Case({"SERVER_PROTOCOL": ""}),
        *(Case({"SERVER_PORT": port}) for port in ("", "http", "-1", "٣", " 80")),
    ],
    "a ``REQUEST_METHOD`` that is empty or no token": [
        Case({"REQUEST_METHOD": method}) for method in ("", "GET ", "G:", "É", "GET\n")
    ],
    "a ``CONTENT_LENGTH`` that is not ASCII digits": [
        Case({"CONTENT_LENGTH": length}) for length in ("+4", " 4", "4 ", "1_0", "٣", "x", "4\n")
    ],
    "an ``environ`` key that is not a string, a key or CGI value outside Latin-1": [
        Case({3: "x"}),
        Case({StrSubclass("HTTP_X"): "x"}),
        Case({"HTTP_€": "x"}),
        Case({"HTTP_X": "€"}),
        Case({"PATH_INFO": "/\udc80"}),
    ],
    "a ``wsgi.version`` other than ``(1, 0)``": [
        Case({"wsgi.version": version}) for version in ((1, 1), (2, 0), (), (1,), (1, 0, 0))
    ],
    "a ``wsgi.file_wrapper``, or a stream's method, that cannot be called": [
        Case({"wsgi.file_wrapper": None}),
        Case({"wsgi.input": NotCallable()}),
        Case({"wsgi.errors": NotCallableErrors()}),
    ],
    "a size for ``wsgi.input`` that is not an integer": [
        reading(lambda e: e["wsgi.input"].read("1"), b""),
        reading(lambda e: e["wsgi.input"].read(1.0), b""),
        reading(lambda e: e["wsgi.input"].readline("1"), b""),
        reading(lambda e: e["wsgi.input"].readlines("1"), []),
    ],
    "``wsgi.input`` giving more than was asked for, or two lines as one": [
        reading(lambda e: e["wsgi.input"].read(2), b"xyz"),
        reading(lambda e: e["wsgi.input"].read(0), b"x"),
        reading(lambda e: e["wsgi.input"].readline(2), b"xyz"),
        reading(lambda e: e["wsgi.input"].readline(), b"x\ny\n"),
        reading(lambda e: e["wsgi.input"].readlines(), [b"x\ny\n"]),
    ],
    "``wsgi.input`` whose own ``__iter__()`` gives something else than bytes": [
        Case(
            {"wsgi.input": type("Odd", (Reading,), {"__iter__": lambda self: iter(["x"])})(b"")},
            using(lambda e: list(e["wsgi.input"])),
        ),
    ],
    "a status whose code is not three ASCII digits from 100 to 599": [
        respond(status, HTML) for status in ("600 X", "999 X", "٢٠٠ OK", "20X OK", "", "abc")
    ],
    "a status without its one space, with whitespace around the reason, or with a control "
    "character": [
        respond(status, HTML)
        for status in (
            *("200", "200\tOK", "200  OK", "200 OK ", " 200 OK", "200 O\tK", "200 OK\r\n"),
            *("200 \x00", "200 a\x7fb"),
        )
    ],
    "a status or a header value outside Latin-1": [
        respond("200 €", HTML),
        respond("200 OK", HTML, ("X", "€")),
        respond("200 OK", HTML, ("X", "\udc80")),
    ],
    "a DEL in a header value": [respond("200 OK", HTML, ("X", "a\x7f"))],
    "a hop-by-hop header": [
        respond("200 OK", HTML, (name, "x"))
        for name in (
            *("Connection", "keep-alive", "Proxy-Authenticate", "PROXY-AUTHORIZATION", "TE"),
            *("Proxy-Connection", "Trailer", "Trailers", "transfer-encoding", "Upgrade"),
        )
    ],
    "a ``Content-Length`` that is not ASCII digits, or that comes with 1xx or 204": [
        *(respond("200 OK", HTML, ("Content-Length", n)) for n in ("", "-1", "+1", "0 ", "0, 0")),
        respond("200 OK", HTML, ("Content-Length", "1" * 5000)),
        respond("204 No Content", ("Content-Length", "0")),
        respond("100 Continue", HTML, ("Content-Length", "0")),
    ],
    "two headers ``Content-Length`` or two ``Content-Type``": [
        respond("200 OK", HTML, HTML),
        respond("200 OK", HTML, ("Content-Length", "0"), ("content-length", "0")),
    ],
    "``write()`` once the application has returned": [Case(app=write_while_iterated)],
    "a body with 1xx, 204, 205 or 304": [
        respond("100 Continue", HTML, body=[b"x"]),
        respond("204 No Content", body=[b"x"]),
        respond("205 Reset Content", HTML, body=[b"", b"x"]),
        respond("304 Not Modified", body=[b"x"]),
    ],
    "a body longer or shorter than its ``Content-Length``": [
        respond("200 OK", HTML, ("Content-Length", "3"), body=[b"ab", b"cd"]),
        respond("200 OK", HTML, ("Content-Length", "3"), body=[b"ab"]),
        respond("205 Reset Content", HTML, ("Content-Length", "3")),
        Case(app=write_too_much),
    ],
    "a body that ends without any ``start_response()``": [Case(app=no_start_and_empty)],
    "a result that is not iterable, or whose ``len()`` is not the number of its blocks": [
        respond("200 OK", HTML, body=5),  # type: ignore[arg-type]
        respond("200 OK", HTML, body=Lying([b"a", b"b"])),
        respond("200 OK", HTML, body=Lying([])),
    ],
    "a second ``close()`` of the result": [Case(serve=close_twice)],
}

ACCEPTED: dict[str, list[Case]] = {
    "``wsgi.input.read()`` without a size": [Case(app=using(lambda e: e["wsgi.input"].read()))],
    "a header name that is a token but begins with a digit or has a character like ``.``": [
        respond("200 OK", HTML, (name, "x")) for name in ("1st", "a.b", "a!b", "_x", "#'*+^`|~0")
    ],
    "``Content-Type`` with 204 or 304": [
        respond("204 No Content", HTML),
        respond("304 Not Modified", HTML, ("Content-Length", "7")),
    ],
    "no ``Content-Type`` with 1xx, or with an empty body": [
        respond("100 Continue"),
        respond("302 Found", ("Location", "/")),
        respond("200 OK", ("Content-Length", "0"), body=[b"", b""]),
    ],
    "a ``REQUEST_METHOD`` that is not among the well-known ones": [
        Case({"REQUEST_METHOD": method}) for method in ("CONNECT", "PROPFIND", "M-SEARCH", "get")
    ],
    "no ``QUERY_STRING``": [Case({"QUERY_STRING": ABSENT})],
    "no ``SCRIPT_NAME`` or no ``PATH_INFO``": [
        Case({"SCRIPT_NAME": ABSENT}),
        Case({"SCRIPT_NAME": "/x", "PATH_INFO": ABSENT}),
        Case({"SCRIPT_NAME": ABSENT, "PATH_INFO": ABSENT}),
    ],
}

WARNED: dict[str, list[Case]] = {
    "a header name that ends in punctuation": [
        respond("200 OK", HTML, (name, "x")) for name in ("X-", "x_", "x.")
    ],
    "an HTAB in a header value": [respond("200 OK", HTML, ("X", "a\tb"))],
    "a body without ``Content-Type``": [respond("200 OK", body=[b"x", b"y"])],
    "a body in answer to HEAD": [
        Case({"REQUEST_METHOD": "HEAD"}, simple("200 OK", [HTML], [b"x", b"y"]))
    ],
    "a ``wsgi.url_scheme`` other than ``http`` and ``https``": [
        Case({"wsgi.url_scheme": "ws"}),
    ],
    "``HTTP_CONTENT_TYPE`` or ``HTTP_CONTENT_LENGTH`` beside its twin of the same value": [
        Case({"HTTP_CONTENT_TYPE": "a/b", "CONTENT_TYPE": "a/b"}),
        Case({"HTTP_CONTENT_LENGTH": "3", "CONTENT_LENGTH": "3"}),
    ],
}


def cases(table: dict[str, list[Case]]) -> list[Any]:
    return [
        pytest.param(case, id=f"{row} [{number}]")
        for row, row_cases in table.items()
        for number, case in enumerate(row_cases)
    ]


@pytest.mark.parametrize("case", cases(REFUSED))
def test_strict_refuses(case: Case) -> None:
    assert case.outcome(validator).error != "AssertionError"
    judged = case.outcome(strictly)
    assert judged.error == "AssertionError"
    assert judged.message or judged.cause


@pytest.mark.parametrize("case", cases(ACCEPTED))
def test_strict_lets_through(case: Case) -> None:
    lax = case.outcome(validator)
    assert lax.error in ("AssertionError", "KeyError") or lax.warned
    judged = case.outcome(strictly)
    assert (judged.error, judged.message, judged.warned) == ("", "", [])


@pytest.mark.parametrize("case", cases(WARNED))
def test_strict_warns(case: Case) -> None:
    judged = case.outcome(strictly)
    assert (judged.error, judged.message) == ("", "")
    assert [category for category, _ in judged.warned] == ["WSGIWarning"]


def test_the_documentation_lists_what_is_tested_here() -> None:
    tables = [
        re.findall(r"^\* (.*)$", part, re.MULTILINE)
        for part in re.split(r":\n\n(?=\*)", _validate_strict.__doc__ or "")[1:]
    ]
    assert tables == [list(REFUSED), list(ACCEPTED), list(WARNED)]


MISUSED = [
    Case({"HTTP_CONTENT_TYPE": "a/b", "CONTENT_TYPE": "c/d"}),
    Case({"HTTP_CONTENT_LENGTH": "3"}),
    Case({"SCRIPT_NAME": "/"}),
    Case({"SCRIPT_NAME": "x"}),
    Case({"PATH_INFO": "x"}),
    Case({"CONTENT_LENGTH": "-1"}),
    Case({"HTTP_X": None}),
    Case({"wsgi.version": [1, 0]}),
    Case({"wsgi.input": OnlyRead()}),
    *(Case({"wsgi.url_scheme": scheme}) for scheme in ("", "HTTP", "1x", "a b", None, b"http")),
    *(Case({key: ABSENT}) for key in environ_with() if key.startswith(("wsgi", "REQUEST"))),
    *(Case({key: ABSENT}) for key in ("SERVER_NAME", "SERVER_PORT")),
    *(Case(app=using(use)) for name, use in INPUT_USES.items() if name in ("close", "read(1, 2)")),
    *(Case(app=using(use)) for name, use in ERRORS_USES.items() if "bytes" in name),
    *(Case(app=app) for app in (no_start, writing("x"), calling(), calling("200 OK", headers=[]))),
    *(respond("200 OK", HTML, (name, "x")) for name in ("Status", "a:", "a b", "a\n", "", "é")),
    *(respond("200 OK", HTML, ("a", value)) for value in ("\0", "a\r\nb", "\n", "\x1f")),
    *(respond("200 OK", HTML, body=body) for body in ("x", b"x", None, False, ["x"])),  # type: ignore[arg-type]
    *(Case(app=simple(*a)) for a in ((200, [HTML]), ("99 X", [HTML]), ("200 OK", (HTML,)))),
    *(Case(app=simple("200 OK", [item])) for item in (["a", "b"], ("a",), ("a", 1), (b"a", "b"))),
]


@pytest.mark.parametrize("case", MISUSED)
def test_strict_refuses_what_the_default_rightly_refuses(case: Case) -> None:
    assert case.outcome(validator).error in ("AssertionError", "KeyError")
    assert case.outcome(strictly).error == "AssertionError"


def replace_response(environ: Environ, start_response: Any) -> object:
    start_response("200 OK", [HTML, ("Content-Length", "100")])
    start_response("500 Oops", [HTML, ("Content-Length", "2")], caught())
    return [b"no"]


def let_pass(environ: Environ, start_response: Any) -> object:
    start_response("200 OK", [HTML])(b"sent")
    start_response("500 Oops", [HTML], caught())
    return []


class Indexed:
    """The iteration of before Python 2.2, which PEP 3333 still has."""

    def __getitem__(self, number: int) -> bytes:
        return [b"a", b"b"][number]


class Unmeasured(list[bytes]):
    def __len__(self) -> int:
        raise NotImplementedError


PLAIN = [
    Case(),
    Case({"wsgi.url_scheme": "https", "CONTENT_LENGTH": "", "PATH_INFO": "/\xe9"}),
    Case({"CONTENT_LENGTH": "13", "wsgi.file_wrapper": Server, "x.y": "€", "CONTENT_TYPE": ""}),
    Case({"REQUEST_METHOD": "HEAD"}, simple("200 OK", [HTML, ("Content-Length", "9")], [])),
    Case(app=late_start),
    Case(app=replace_response),
    Case(app=writing(b"a", b"")),
    *(respond(status, HTML) for status in ("200 ", "404 Not Found", "299 \xe9", "599 a  b")),
    respond("200 OK", HTML, ("X", "caf\xe9\x80"), ("X", ""), ("Set-Cookie", "a"), body=[b"x"]),
    respond("200 OK", HTML, ("Content-Length", "3"), body=[b"ab", b"", b"c"]),
    respond("200 OK", HTML, body=Indexed()),  # type: ignore[arg-type]
    respond("200 OK", HTML, body=Unmeasured([b"a"])),
    respond("205 Reset Content", HTML, ("Content-Length", "0"), body=[b""]),
    *(
        Case(app=using(use))
        for name, use in INPUT_USES.items()
        if name in ("read(3)", "read(-1)", "read(None)", "readline(2)", "readlines(4)", "iter")
    ),
]


@pytest.mark.parametrize("case", PLAIN)
def test_strict_lets_good_requests_pass(case: Case) -> None:
    bare, judged = case.outcome(lambda app: closing(app)), case.outcome(strictly)
    assert judged == bare
    assert judged.error == ""


def closing(app: App) -> App:
    """Wrap *app* so that results can always be closed, and are not checked."""

    class Result:
        def __init__(self, result: Any) -> None:
            self.result = result

        def __iter__(self) -> Iterator[Any]:
            return iter(self.result)

        def close(self) -> None:
            pass

    return lambda environ, start_response: Result(app(environ, start_response))


def test_strict_leaves_the_servers_exception_alone() -> None:
    assert Case(app=let_pass).outcome(strictly).error == "LookupError"


def test_strict_allows_a_server_to_stop_early() -> None:
    app = validator(simple("200 OK", [HTML, ("Content-Length", "9")], [b"a", b"b"]), strict=True)
    result: Any = app(environ_with(), Server().start_response)
    assert next(result) == b"a"
    result.close()


@given(st.binary(max_size=12), st.lists(st.integers(1, 5), max_size=6), st.integers(0, 14))
def test_strict_holds_bodies_to_their_length(data: bytes, cuts: list[int], length: int) -> None:
    blocks, rest = [], data
    for cut in cuts:
        blocks.append(rest[:cut])
        rest = rest[cut:]
    headers = [HTML, ("Content-Length", str(length))]
    judged = Case(app=simple("200 OK", headers, [*blocks, rest])).outcome(strictly)
    assert (judged.error == "") == (length == len(data))
    assert judged.warned == []


@given(status_text, header_lists, st.dictionaries(st.sampled_from(KEYS), values, max_size=2))
def test_strict_raises_nothing_but_assertion_errors(
    status: object, headers: object, changes: Environ
) -> None:
    assert Case(changes, simple(status, headers)).outcome(strictly).error in ("", "AssertionError")


def test_the_module_can_be_imported_first() -> None:
    assert python("-W", "error", "-c", "import wsgiref_fast._validate_strict") == ""


# Both modes alike.


@pytest.mark.parametrize("strict", [False, True])
def test_an_unclosed_result_is_reported(strict: bool, capsys: pytest.CaptureFixture[str]) -> None:
    complaint = "Iterator garbage collected without being closed"
    with unraisable() as seen:
        validator(HELLO, strict=strict)(environ_with(), Server().start_response)
        gc.collect()
    assert seen == [f"AssertionError: {complaint}"]
    assert capsys.readouterr().err == complaint


@pytest.mark.parametrize("strict", [False, True])
def test_a_closed_result_is_not_reported(strict: bool, capsys: pytest.CaptureFixture[str]) -> None:
    with unraisable() as seen:
        Server().serve(validator(HELLO, strict=strict), environ_with())
        gc.collect()
    assert seen == []
    assert capsys.readouterr().err == ""


class Closing(list[bytes]):
    closed = 0

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("strict", [False, True])
def test_the_validator_is_transparent(strict: bool) -> None:
    body, server, environ = Closing([b"a", b"", b"b"]), Server(), environ_with({"x.y": object()})
    wsgi_input, headers, before = environ["wsgi.input"], [HTML], dict(environ)

    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        assert environ.pop("wsgi.input").input is wsgi_input
        environ.pop("wsgi.errors").write("noted")
        assert environ == {k: v for k, v in before.items() if k not in before.keys() - environ}
        start_response("200 OK", headers)(b"written")
        return body

    assert server.serve(validator(app, strict=strict), environ) == [
        *(("200 OK", headers, None), b"written", b"a", b"", b"b")
    ]
    assert body.closed == 1
    assert before["wsgi.errors"].getvalue() == "noted"


@pytest.mark.parametrize("strict", [False, True])
def test_the_headers_are_the_applications_own_list(strict: bool) -> None:
    given_headers: list[object] = []
    headers = [HTML]

    def start_response(
        status: str, headers: object, exc_info: object = None
    ) -> Callable[[bytes], None]:
        given_headers.append(headers)
        return lambda data: None

    validator(simple("200 OK", headers), strict=strict)(environ_with(), start_response).close()  # type: ignore[attr-defined]
    assert given_headers[0] is headers


@pytest.mark.parametrize("strict", [False, True])
def test_a_result_has_no_len_and_ends_with_its_closing(strict: bool) -> None:
    result: Any = validator(HELLO, strict=strict)(environ_with(), Server().start_response)
    with pytest.raises(TypeError):
        len(result)
    assert iter(result) is result
    result.close()
    with pytest.raises(AssertionError, match=r"^Iterator read after closed$"):
        next(result)
