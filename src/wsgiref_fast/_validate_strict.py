"""Check both sides of WSGI against the whole of PEP 3333: ``validator(app, strict=True)``.

The PEP decides, with RFC 9110 (HTTP) and RFC 3875 (CGI) where it refers to them: what must not be
is refused, what should not be is warned of, and the rest is let through. A check that is shared
with the default raises the same AssertionError, be it empty with a cause.

Refused when strict, though the default lets it through or fails otherwise:

* an application, a ``start_response`` or a ``write`` that cannot be called
* a second ``start_response()`` without ``exc_info``, even after a first one that failed
* ``exc_info`` that is not the type, value and traceback of an exception
* an exception from ``start_response()`` with ``exc_info`` that the application swallows
* an ``environ`` without ``SERVER_PROTOCOL`` or ``wsgi.url_scheme``
* an empty ``SERVER_NAME`` or ``SERVER_PROTOCOL``, a ``SERVER_PORT`` that is not digits
* a ``REQUEST_METHOD`` that is empty or no token
* a ``CONTENT_LENGTH`` that is not ASCII digits
* an ``environ`` key that is not a string, a key or CGI value outside Latin-1
* a ``wsgi.version`` other than ``(1, 0)``
* a ``wsgi.file_wrapper``, or a stream's method, that cannot be called
* a size for ``wsgi.input`` that is not an integer
* ``wsgi.input`` giving more than was asked for, or two lines as one
* ``wsgi.input`` whose own ``__iter__()`` gives something else than bytes
* a status whose code is not three ASCII digits from 100 to 599
* a status without its one space, with whitespace around the reason, or with a control character
* a status or a header value outside Latin-1
* a DEL in a header value
* a hop-by-hop header
* a ``Content-Length`` that is not ASCII digits, or that comes with 1xx or 204
* two headers ``Content-Length`` or two ``Content-Type``
* ``write()`` once the application has returned
* a body with 1xx, 204, 205 or 304
* a body longer or shorter than its ``Content-Length``
* a body that ends without any ``start_response()``
* a result that is not iterable, or whose ``len()`` is not the number of its blocks
* a second ``close()`` of the result

Let through when strict, though the default refuses it or warns of it:

* ``wsgi.input.read()`` without a size
* a header name that is a token but begins with a digit or has a character like ``.``
* ``Content-Type`` with 204 or 304
* no ``Content-Type`` with 1xx, or with an empty body
* a ``REQUEST_METHOD`` that is not among the well-known ones
* no ``QUERY_STRING``
* no ``SCRIPT_NAME`` or no ``PATH_INFO``

Warned of when strict, and mostly refused by default:

* a header name that ends in punctuation
* an HTAB in a header value
* a body without ``Content-Type``
* a body in answer to HEAD
* a ``wsgi.url_scheme`` other than ``http`` and ``https``
* ``HTTP_CONTENT_TYPE`` or ``HTTP_CONTENT_LENGTH`` beside its twin of the same value
"""

from __future__ import annotations

import re
from operator import index
from types import TracebackType

from .validate import (
    _ERRORS_METHODS,
    _INPUT_METHODS,
    _MISNAMED,
    _REQUIRED,
    ErrorWrapper,
    InputWrapper,
    IteratorWrapper,
    WriteWrapper,
    _check_application_call,
    _check_bytes,
    _check_dictionary,
    _check_fields,
    _check_header_value,
    _check_one_argument,
    _check_result,
    _check_script_name,
    _check_slashes,
    _check_start_response_call,
    _check_types,
    _misnamed,
    _warn,
    assert_,
    check_errors,
    check_exc_info,
    check_input,
    check_string_type,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any
    from wsgiref.types import StartResponse, WSGIApplication

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 section 5.6.2
_SCHEME = re.compile(r"[a-z][a-z0-9+.\-]*")  # RFC 3986 section 3.1, in lower case
# RFC 9112 section 4, of codes in RFC 9110 section 15; PEP 3333 has no control characters and no
# whitespace at the end.
_STATUS = re.compile(r"[1-5][0-9][0-9] (?:(?! )[^\x00-\x1f\x7f]+(?<! ))?")
_CONTROL_BUT_HTAB = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # RFC 9110 section 5.5

_SINGLE_HEADERS = frozenset({"content-length", "content-type"})

# RFC 2616 section 13.5.1, with both spellings of its "Trailers"; Proxy-Connection "would affect
# the persistence of the client's connection" (PEP 3333, "The start_response() Callable").
_HOP_BY_HOP = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization"),
        *("proxy-connection", "te", "trailer", "trailers", "transfer-encoding", "upgrade"),
    }
)


def strict_validator(application: WSGIApplication) -> WSGIApplication:
    """Return *application* with both sides of each call checked, strictly."""
    _check_callable(application, "The application")

    def lint_app(*args: Any, **kw: Any) -> IteratorWrapper:
        environ, start_response = _check_application_call(args, kw)
        _check_environ(environ)
        _check_callable(start_response, "start_response")
        exchange = _Exchange(start_response, environ["REQUEST_METHOD"])
        environ["wsgi.input"] = _StrictInputWrapper(environ["wsgi.input"])
        environ["wsgi.errors"] = ErrorWrapper(environ["wsgi.errors"])
        result = application(environ, exchange.begin)
        exchange.returned = True
        exchange.check_not_swallowed()
        _check_result(result)
        if not (hasattr(result, "__iter__") or hasattr(result, "__getitem__")):
            raise AssertionError(f"The application must return an iterable (got {result!r})")
        return _StrictIteratorWrapper(result, exchange)

    return lint_app


class _Exchange:
    """One request's response, followed from ``start_response()`` to the last byte."""

    def __init__(self, start_response: StartResponse, method: str) -> None:
        self.start_response = start_response
        self.answers_head = method == "HEAD"
        self.called = False  # start_response(), whatever came of it
        self.started: list[None] = []  # true once the server has taken status and headers
        self.returned = False  # the application has
        self.swallowed = False  # an exception that it must not trap is on its way to it
        self.code = 0
        self.length: int | None = None
        self.has_type = False
        self.sent = 0

    def begin(self, *args: Any, **kw: Any) -> WriteWrapper:
        """Be the ``start_response()`` that the application gets."""
        first, self.called = not self.called, True
        self.check_not_swallowed()
        status, headers, exc_info = _check_start_response_call(args, kw)
        assert_(first or exc_info is not None, "A second start_response() must be given exc_info")
        code = _check_status(status)
        fields = _check_headers(headers)
        length = _check_length(code, fields.get("content-length"))
        _check_exc_info(exc_info)
        # For the server's own exceptions; ours above tell of a bug that may well be trapped.
        self.swallowed = exc_info is not None
        write = self.start_response(*args)
        self.swallowed = False
        _check_callable(write, "The write() that start_response() returns")
        self.code, self.length, self.has_type = code, length, "content-type" in fields
        self.started.append(None)
        return _StrictWriteWrapper(write, self)

    def check_not_swallowed(self) -> None:
        """Check that the application let the server's exception pass."""
        assert_(
            not self.swallowed,
            "The application must not trap what start_response() raises when given exc_info",
        )

    def check_block(self, block: bytes) -> None:
        """Check a block of the body, written or yielded, before it goes to the server."""
        self.check_not_swallowed()
        if not block:
            return
        # RFC 9110 sections 6.4.1 and 15.3.6.
        bodiless = self.code < 200 or self.code in (204, 205, 304)
        assert_(not bodiless, f"A {self.code} response must not have a body")
        sent = self.sent + len(block)
        if self.length is not None and sent > self.length:
            raise AssertionError(
                f"The body is longer than its Content-Length: {self.length} (so far: {sent})"
            )
        if not self.sent:
            self._warn_of_body()
        self.sent = sent

    def _warn_of_body(self) -> None:
        if not self.has_type:
            _warn("A response with a body should have a Content-Type header")
        if self.answers_head:
            _warn("A response to HEAD should have no body; not every server drops it")

    def check_end(self) -> None:
        """Check the whole response, at the end of its iteration."""
        self.check_not_swallowed()
        assert_(self.started, "The body has ended, but start_response has not been called")
        # The length with HEAD and 304 is that of a body which isn't sent (RFC 9110 section 8.6).
        if self.length is None or self.answers_head or self.code == 304:
            return
        if self.sent < self.length:
            raise AssertionError(
                f"The body is shorter than its Content-Length: {self.length} (got: {self.sent})"
            )


class _StrictWriteWrapper(WriteWrapper):
    """A ``write()`` that ends with the application's call, and counts its bytes."""

    def __init__(self, wsgi_writer: Callable[[bytes], object], exchange: _Exchange) -> None:
        super().__init__(wsgi_writer)
        self.exchange = exchange

    def __call__(self, s: bytes) -> None:
        returned = self.exchange.returned
        assert_(not returned, "write() must not be called once the application has returned")
        if type(s) is bytes:
            self.exchange.check_block(s)
        super().__call__(s)


class _StrictIteratorWrapper(IteratorWrapper):
    """A result that is closed once, is as long as it says, and agrees with its headers."""

    def __init__(self, wsgi_iterator: Iterable[bytes], exchange: _Exchange) -> None:
        super().__init__(wsgi_iterator, exchange.started)
        self.exchange = exchange
        self.blocks = 0
        self.expected_blocks = _promised_length(wsgi_iterator)

    def __next__(self) -> bytes:
        try:
            block = super().__next__()
        except StopIteration:
            self._check_end()
            raise
        self.blocks += 1
        self.exchange.check_block(block)
        return block

    def _check_end(self) -> None:
        self.exchange.check_end()
        if self.expected_blocks not in (None, self.blocks):
            raise AssertionError(
                f"The application's result has a len() of {self.expected_blocks}, "
                f"but {self.blocks} blocks"
            )

    def close(self) -> None:
        assert_(not self.closed, "The application's result has already been closed")
        super().close()


def _promised_length(iterable: Iterable[bytes]) -> int | None:
    try:
        return len(iterable)  # type: ignore[arg-type]
    except Exception:
        return None  # PEP 3333 speaks of a call to len() that succeeds


class _StrictInputWrapper(InputWrapper):
    """``wsgi.input`` with ``read()`` as PEP 3333 has it, and answers measured."""

    def read(self, *args: Any) -> bytes:
        size = _check_size("read", args)
        data = _check_bytes("read", self.input.read(*args))
        return _check_not_over("read", data, size)

    def readline(self, *args: Any) -> bytes:
        size = _check_size("readline", args)
        line = _check_line("readline", self.input.readline(*args))
        return _check_not_over("readline", line, size)

    def readlines(self, *args: Any) -> list[bytes]:
        _check_size("readlines", args)
        lines = super().readlines(*args)
        for line in lines:
            _check_line("readlines", line)
        return lines

    def __iter__(self) -> Iterator[bytes]:
        for line in self.input:
            yield _check_line("__iter__", line)


def _check_size(method: str, args: tuple[Any, ...]) -> int | None:
    """Return the size that *args* ask for; ``None`` is no limit, as for any Python file."""
    _check_one_argument(method, args)
    if not args or args[0] is None:
        return None
    try:
        size = index(args[0])
    except TypeError as error:
        raise AssertionError(
            f"wsgi.input.{method}() takes an integer as its size (got {args[0]!r})"
        ) from error
    return size if size >= 0 else None


def _check_not_over(method: str, data: bytes, size: int | None) -> bytes:
    if size is not None and len(data) > size:
        raise AssertionError(f"wsgi.input.{method}({size}) returned {len(data)} bytes")
    return data


def _check_line(method: str, line: object) -> bytes:
    line = _check_bytes(method, line)
    if b"\n" in line[:-1]:
        raise AssertionError(f"wsgi.input.{method}() gave several lines as one: {line!r}")
    return line


def _check_callable(value: object, title: str) -> None:
    if not callable(value):
        raise AssertionError(f"{title} must be callable (got {value!r})")


def _check_latin1(value: str, title: str) -> None:
    """Check a native string's characters (PEP 3333, "Unicode Issues")."""
    try:
        value.encode("latin-1")
    except UnicodeEncodeError as error:
        raise AssertionError(f"{title} has characters outside Latin-1: {value!r}") from error


def _is_digits(value: str) -> bool:
    return value.isascii() and value.isdigit()


def _check_environ(environ: object) -> None:
    environ = _check_dictionary(environ, (*_REQUIRED, "SERVER_PROTOCOL", "wsgi.url_scheme"))
    for key in environ:
        _check_latin1(check_string_type(key, "Environment key"), "Environment key")
    _check_types(environ)
    for key, value in environ.items():
        if "." not in key:
            _check_latin1(value, f"Environmental variable {key}")
    for key in _MISNAMED:
        if key in environ:
            assert_(environ[key] == environ.get(key[5:], ""), _misnamed(key))
            _warn(f"Environment should not have the key: {key} (as it has {key[5:]})")
    _check_cgi_values(environ)
    _check_wsgi_values(environ)
    _check_slashes(environ.get)
    _check_script_name(environ)


def _check_cgi_values(environ: dict[str, Any]) -> None:
    """Check values by PEP 3333, "environ Variables", and RFC 3875 section 4.1."""
    method, port = environ["REQUEST_METHOD"], environ["SERVER_PORT"]
    assert_(_TOKEN.fullmatch(method), f"Bad REQUEST_METHOD: {method!r}")
    assert_(environ["SERVER_NAME"], "SERVER_NAME must not be empty")
    assert_(environ["SERVER_PROTOCOL"], "SERVER_PROTOCOL must not be empty")
    assert_(_is_digits(port), f"Invalid SERVER_PORT: {port!r}")
    length = environ.get("CONTENT_LENGTH")
    assert_(not length or _is_digits(length), f"Invalid CONTENT_LENGTH: {length!r}")


def _check_wsgi_values(environ: dict[str, Any]) -> None:
    version = environ["wsgi.version"]
    assert_(version == (1, 0), f"wsgi.version should be (1, 0): {version!r}")
    scheme = check_string_type(environ["wsgi.url_scheme"], "wsgi.url_scheme")
    assert_(_SCHEME.fullmatch(scheme), f"wsgi.url_scheme is no scheme in lower case: {scheme!r}")
    if scheme not in ("http", "https"):
        _warn(f"wsgi.url_scheme unknown: {scheme!r}")
    check_input(environ["wsgi.input"])
    check_errors(environ["wsgi.errors"])
    for stream, names in (("wsgi.input", _INPUT_METHODS), ("wsgi.errors", _ERRORS_METHODS)):
        for name in names:
            _check_callable(getattr(environ[stream], name), f"{stream}.{name}")
    if "wsgi.file_wrapper" in environ:
        _check_callable(environ["wsgi.file_wrapper"], "wsgi.file_wrapper")


def _check_status(status: object) -> int:
    """Return the code of a status that PEP 3333 allows."""
    status = check_string_type(status, "Status")
    if not _STATUS.fullmatch(status):
        raise AssertionError(
            "The status must be a code from 100 to 599, a space, and a reason without control "
            f"characters and without whitespace around it: {status!r}"
        )
    _check_latin1(status, "Status")
    return int(status[:3])


def _check_headers(headers: object) -> dict[str, str]:
    """Return the headers that may come only once, by their names in lower case."""
    single: dict[str, str] = {}
    for name, value in _check_fields(headers):
        _check_name(name)
        _check_value(name, value)
        lowered = name.lower()
        assert_(lowered not in _HOP_BY_HOP, f"Hop-by-hop headers are the server's: {name!r}")
        assert_(lowered not in single, f"The {name} header must not come twice")
        if lowered in _SINGLE_HEADERS:
            single[lowered] = value
    return single


def _check_name(name: str) -> None:
    assert_(_TOKEN.fullmatch(name), f"Bad header name: {name!r}")
    if not name[-1].isalnum():
        # "Without a trailing colon or other punctuation", says the PEP; but it is a token.
        _warn(f"Header names should not end in punctuation: {name!r}")


def _check_value(name: str, value: str) -> None:
    _check_header_value(value, _CONTROL_BUT_HTAB)
    if "\t" in value:
        # The PEP forbids it with the other control characters; HTTP and CPython do not.
        _warn(f"Header values should not contain tabs: {value!r}")
    _check_latin1(value, f"Value of the header {name}")


def _check_length(code: int, value: str | None) -> int | None:
    """Return a ``Content-Length`` as a number (RFC 9110 section 8.6)."""
    if value is None:
        return None
    # More digits than any file's length: int() would refuse some thousands of them.
    assert_(_is_digits(value) and len(value) < 20, f"Invalid Content-Length: {value!r}")
    forbidden = code < 200 or code == 204
    assert_(not forbidden, f"A {code} response must not have a Content-Length header")
    return int(value)


def _check_exc_info(exc_info: object) -> None:
    """Check that the server could raise *exc_info* (PEP 3333, "Error Handling")."""
    check_exc_info(exc_info)
    if exc_info is None:
        return
    match exc_info:  # pyright: ignore[reportMatchNotExhaustive]
        case (type() as kind, BaseException() as value, TracebackType()) if isinstance(value, kind):
            return
    raise AssertionError(
        f"exc_info ({exc_info!r}) is not the type, value and traceback of an exception"
    )
