"""Check both sides of WSGI against PEP 3333, name for name as `wsgiref.validate` does.

`validator` wraps an application; what then breaks the protocol, on either side, raises an
`AssertionError`, and what is merely doubtful is a `WSGIWarning`. Requests and responses pass
unchanged. No check needs ``assert``, so ``python -O`` changes nothing.

By default the checks, their order and their messages are those of the standard library, which
is older than PEP 3333 and departs from it both ways. Where it has no message, the cause of the
AssertionError says what is wrong. With ``strict=True`` the PEP decides: `_validate_strict` lists
where the two part.
"""

from __future__ import annotations

import re
import sys
import warnings
from _thread import get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, NoReturn
    from wsgiref.types import ErrorStream, InputStream, WSGIApplication

__all__ = ["validator"]

#: What the default takes for a header name. Looked up at each call, so it can be replaced.
header_re: re.Pattern[str] = re.compile(r"^[a-zA-Z][a-zA-Z0-9\-_]*$")

#: What the default refuses in a header value; replaceable as well.
bad_header_value_re: re.Pattern[str] = re.compile(r"[\000-\037]")

_REQUIRED = (
    *("REQUEST_METHOD", "SERVER_NAME", "SERVER_PORT", "wsgi.version", "wsgi.input", "wsgi.errors"),
    *("wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once"),
)
_MISNAMED = ("HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH")
_METHODS = ("GET", "HEAD", "POST", "OPTIONS", "PATCH", "PUT", "DELETE", "TRACE")
_INPUT_METHODS = ("read", "readline", "readlines", "__iter__")
_ERRORS_METHODS = ("flush", "write", "writelines")


# Python lets the ``__bases__`` of a class be assigned only where no built-in class is replaced, and
# `wsgiref_fast.install` puts our classes below the standard library's. Hence an empty base between.
class _Warning(Warning):
    """The base of `WSGIWarning`."""


class _Wrapper:
    """The base of the wrappers."""


class WSGIWarning(_Warning):
    """What is doubtful in a server or an application, but perhaps not forbidden."""


def assert_(cond: object, *args: object) -> None:
    """Raise ``AssertionError(*args)`` unless *cond* is true, under ``python -O`` too."""
    if not cond:
        raise AssertionError(*args)


def _refuse(explanation: str) -> NoReturn:
    """Raise an AssertionError as empty as the standard library's; its cause explains it.

    CPython's own tests hold the last line of such a traceback to "AssertionError".
    """
    raise AssertionError from TypeError(explanation)


def check_string_type(value: object, title: str) -> str:
    """Return *value* if it is a native string; *title* names it in the error.

    Raise AssertionError for everything else, a subclass of `str` included (PEP 3333, "A Note
    On String Types").
    """
    if type(value) is str:
        return value
    raise AssertionError(f"{title} must be of type str (got {value!r})")


def validator(application: WSGIApplication, *, strict: bool = False) -> WSGIApplication:
    """Return an application that calls *application* and checks both sides of the call.

    A breach of the protocol raises AssertionError where it happens: in the call, in
    ``start_response()``, in ``write()``, in a method of ``wsgi.input`` or ``wsgi.errors``, or in
    the iteration of the result. A result that is never closed is reported on ``sys.stderr``. What
    is doubtful is a `WSGIWarning`. The result has no ``len()``. With *strict* PEP 3333 is the
    measure instead of the standard library.
    """
    if strict:
        from ._validate_strict import strict_validator  # which imports this module

        return strict_validator(application)

    def lint_app(*args: Any, **kw: Any) -> IteratorWrapper:
        environ, start_response = _check_application_call(args, kw)
        check_environ(environ)
        started: list[None] = []

        def start_response_wrapper(*args: Any, **kw: Any) -> WriteWrapper:
            status, headers, exc_info = _check_start_response_call(args, kw)
            check_status(status)
            check_headers(headers)
            check_content_type(status, headers)
            check_exc_info(exc_info)
            started.append(None)
            return WriteWrapper(start_response(*args))

        environ["wsgi.input"] = InputWrapper(environ["wsgi.input"])
        environ["wsgi.errors"] = ErrorWrapper(environ["wsgi.errors"])
        result = application(environ, start_response_wrapper)
        _check_result(result)
        return IteratorWrapper(result, started)

    return lint_app


def _check_application_call(args: tuple[Any, ...], kw: dict[str, Any]) -> tuple[Any, Any]:
    assert_(len(args) == 2, "Two arguments required")
    assert_(not kw, "No keyword arguments allowed")
    return args


def _check_start_response_call(args: tuple[Any, ...], kw: dict[str, Any]) -> tuple[Any, Any, Any]:
    if len(args) not in (2, 3):
        raise AssertionError(f"Invalid number of arguments: {args}")
    assert_(not kw, "No keyword arguments allowed")
    return args if len(args) == 3 else (*args, None)


def _check_result(result: object) -> None:
    if result in (None, False):
        raise AssertionError("The application must return an iterator, if only an empty list")
    check_iterator(result)


class InputWrapper(_Wrapper):
    """``wsgi.input`` as an application may use it, and its answers checked.

    A call with the wrong number of arguments, an answer that is not bytes, and `close` raise
    AssertionError (PEP 3333, "Input and Error Streams").
    """

    def __init__(self, wsgi_input: InputStream) -> None:
        self.input = wsgi_input

    def read(self, *args: int) -> bytes:
        """Read at most the given number of bytes; the one argument is required."""
        if len(args) != 1:
            _refuse(f"wsgi.input.read() takes one argument, the size, by default (got {args!r})")
        return _check_bytes("read", self.input.read(*args))

    def readline(self, *args: int) -> bytes:
        """Read one line, of at most the given number of bytes if there is one."""
        _check_one_argument("readline", args)
        return _check_bytes("readline", self.input.readline(*args))

    def readlines(self, *args: int) -> list[bytes]:
        """Read the lines that are left, or about the given number of bytes of them."""
        _check_one_argument("readlines", args)
        lines = self.input.readlines(*args)
        if type(lines) is not list:
            _refuse(f"wsgi.input.readlines() must return a list (got {lines!r})")
        for line in lines:
            if type(line) is not bytes:
                _refuse(f"wsgi.input.readlines() must return lines of type bytes (got {line!r})")
        return lines

    def __iter__(self) -> Iterator[bytes]:
        while line := self.readline():
            yield line

    def close(self) -> NoReturn:
        """Raise AssertionError: the stream is the server's to close."""
        raise AssertionError("input.close() must not be called")


def _check_one_argument(method: str, args: tuple[Any, ...]) -> None:
    if len(args) > 1:
        _refuse(f"wsgi.input.{method}() takes at most one argument (got {args!r})")


def _check_bytes(method: str, data: object) -> bytes:
    if type(data) is not bytes:
        _refuse(f"wsgi.input.{method}() must return bytes (got {data!r})")
    return data


class ErrorWrapper(_Wrapper):
    """``wsgi.errors`` as an application may use it.

    Text that is not a native string, and `close`, raise AssertionError (PEP 3333, "Input and
    Error Streams").
    """

    def __init__(self, wsgi_errors: ErrorStream) -> None:
        self.errors = wsgi_errors

    def write(self, s: str) -> None:
        """Write a native string."""
        if type(s) is not str:
            _refuse(f"wsgi.errors.write() takes a str (got {s!r})")
        self.errors.write(s)

    def flush(self) -> None:
        """Bring out what is buffered."""
        self.errors.flush()

    def writelines(self, seq: Iterable[str]) -> None:
        """Write native strings, each by `write`."""
        for line in seq:
            self.write(line)

    def close(self) -> NoReturn:
        """Raise AssertionError: the stream is the server's to close."""
        raise AssertionError("errors.close() must not be called")


class WriteWrapper(_Wrapper):
    """The ``write()`` that ``start_response()`` returned; other than bytes raise AssertionError."""

    def __init__(self, wsgi_writer: Callable[[bytes], object]) -> None:
        self.writer = wsgi_writer

    def __call__(self, s: bytes) -> None:
        if type(s) is not bytes:
            _refuse(f"write() takes bytes (got {s!r})")
        self.writer(s)


class PartialIteratorWrapper(_Wrapper):
    """An iterable whose iterator is checked, `IteratorWrapper`, once it is asked for."""

    def __init__(self, wsgi_iterator: Iterable[bytes]) -> None:
        self.iterator = wsgi_iterator

    def __iter__(self) -> IteratorWrapper:
        return IteratorWrapper(self.iterator, None)


class IteratorWrapper(_Wrapper):
    """What an application returned, checked as the server iterates over and closes it.

    AssertionError is raised for a block that is not bytes, for one that comes while
    *check_start_response* is still false (``None`` demands nothing), and for iterating after
    `close`. One that goes unclosed is reported on ``sys.stderr`` when it is collected (PEP 3333,
    "Specification Details").
    """

    closed: bool = True  # nothing to report of one whose iterator could not be had

    def __init__(self, wsgi_iterator: Iterable[bytes], check_start_response: object) -> None:
        self.original_iterator = wsgi_iterator
        self.iterator: Iterator[bytes] = iter(wsgi_iterator)
        self.closed = False
        self.check_start_response: object = check_start_response

    def __iter__(self) -> IteratorWrapper:
        return self

    def __next__(self) -> bytes:
        assert_(not self.closed, "Iterator read after closed")
        block = next(self.iterator)
        if type(block) is not bytes:
            raise AssertionError(f"Iterator yielded non-bytestring ({block!r})")
        if self.check_start_response is not None:
            assert_(
                self.check_start_response,
                "The application returns and we started iterating over its body, "
                "but start_response has not yet been called",
            )
            self.check_start_response = None
        return block

    def close(self) -> None:
        """Close what the application returned, if it can be closed."""
        self.closed = True
        original: Any = self.original_iterator
        if hasattr(original, "close"):
            original.close()

    def __del__(self) -> None:
        if not self.closed:
            # What a finalizer raises reaches nobody but sys.unraisablehook.
            complaint = "Iterator garbage collected without being closed"
            sys.stderr.write(complaint)
            raise AssertionError(complaint)


def check_environ(environ: object) -> None:
    """Check a WSGI environment (PEP 3333, "environ Variables").

    Raise AssertionError for a breach; ValueError for a ``CONTENT_LENGTH`` that is no number, and
    KeyError for a missing ``wsgi.url_scheme``, ``SCRIPT_NAME`` or ``PATH_INFO``, as the standard
    library does. Warn of a missing ``QUERY_STRING`` and of an unfamiliar method.
    """
    environ = _check_dictionary(environ, _REQUIRED)
    for key in _MISNAMED:
        assert_(key not in environ, _misnamed(key))
    if "QUERY_STRING" not in environ:
        _warn(
            "QUERY_STRING is not in the WSGI environment; the cgi module will use sys.argv when "
            "this variable is missing, so application errors are more likely"
        )
    _check_types(environ)
    if environ["wsgi.url_scheme"] not in ("http", "https"):
        raise AssertionError(f"wsgi.url_scheme unknown: {environ['wsgi.url_scheme']!r}")
    check_input(environ["wsgi.input"])
    check_errors(environ["wsgi.errors"])
    if environ["REQUEST_METHOD"] not in _METHODS:
        _warn(f"Unknown REQUEST_METHOD: {environ['REQUEST_METHOD']!r}")
    _check_slashes(environ.__getitem__)  # which is where the standard library demands both
    length = environ.get("CONTENT_LENGTH")
    if length and int(length) < 0:
        raise AssertionError(f"Invalid CONTENT_LENGTH: {length!r}")
    _check_script_name(environ)


#: Who is told of what is doubtful in place of a warning, by the thread that it happens in: a
#: filter of warnings is everybody's.
_doubts: dict[int, Callable[[str], object]] = {}


def _warn(message: str) -> None:
    tell = _doubts.get(get_ident())
    if tell is None:
        warnings.warn(message, WSGIWarning, stacklevel=2)
    else:
        tell(message)


def _check_dictionary(environ: object, required: tuple[str, ...]) -> dict[Any, Any]:
    if type(environ) is not dict:
        raise AssertionError(
            f"Environment is not of the right type: {type(environ)!r} (environment: {environ!r})"
        )
    for key in required:
        if key not in environ:
            raise AssertionError(f"Environment missing required key: {key!r}")
    return environ


def _misnamed(key: str) -> str:
    return f"Environment should not have the key: {key} (use {key[5:]} instead)"


def _check_types(environ: dict[Any, Any]) -> None:
    for key, value in environ.items():
        # With a dot in its name it is an extension, of whatever type.
        if "." not in key and type(value) is not str:
            raise AssertionError(
                f"Environmental variable {key} is not a string: {type(value)!r} (value: {value!r})"
            )
    version = environ["wsgi.version"]
    if type(version) is not tuple:
        raise AssertionError(f"wsgi.version should be a tuple ({version!r})")


def _check_slashes(get: Callable[[str], Any]) -> None:
    for key in ("SCRIPT_NAME", "PATH_INFO"):
        path = get(key)
        if path and not path.startswith("/"):
            raise AssertionError(f"{key} doesn't start with /: {path!r}")


def _check_script_name(environ: dict[Any, Any]) -> None:
    assert_(
        environ.get("SCRIPT_NAME") != "/",
        "SCRIPT_NAME cannot be '/'; it should instead be '', and PATH_INFO should be '/'",
    )


def check_input(wsgi_input: object) -> None:
    """Raise AssertionError if a method that PEP 3333 lists for ``wsgi.input`` is missing."""
    _check_methods(wsgi_input, "wsgi.input", _INPUT_METHODS)


def check_errors(wsgi_errors: object) -> None:
    """Raise AssertionError if a method that PEP 3333 lists for ``wsgi.errors`` is missing."""
    _check_methods(wsgi_errors, "wsgi.errors", _ERRORS_METHODS)


def _check_methods(stream: object, title: str, names: tuple[str, ...]) -> None:
    for name in names:
        if not hasattr(stream, name):
            raise AssertionError(f"{title} ({stream!r}) doesn't have the attribute {name}")


def check_status(status: object) -> None:
    """Check a status such as ``"200 OK"`` (PEP 3333, "The start_response() Callable").

    Raise AssertionError for another type and for a first word that is not three characters long
    or below 100; ValueError or IndexError for one that is no number or not there, as the standard
    library does. Warn if no space follows the code.
    """
    status = check_string_type(status, "Status")
    code = status.split(None, 1)[0]
    assert_(len(code) == 3, f"Status codes must be three characters: {code!r}")
    assert_(int(code) >= 100, f"Status code is invalid: {int(code)!r}")
    if len(status) < 4 or status[3] != " ":
        _warn(
            f"The status string ({status!r}) should be a three-digit integer followed by a single "
            "space and a status explanation"
        )


def check_headers(headers: object) -> None:
    """Raise AssertionError if a header list, a name or a value is not as it should be."""
    for name, value in _check_fields(headers):
        if "\n" in name or ":" in name:
            raise AssertionError(f"Header names may not contain ':' or '\\n': {name!r}")
        if not header_re.search(name):
            raise AssertionError(f"Bad header name: {name!r}")
        if name.endswith(("-", "_")):
            raise AssertionError(f"Names may not end in '-' or '_': {name!r}")
        _check_header_value(value, bad_header_value_re)


def _check_header_value(value: str, bad_characters: re.Pattern[str]) -> None:
    if bad := bad_characters.search(value):
        raise AssertionError(f"Bad header value: {value!r} (bad char: {bad.group(0)!r})")


def _check_fields(headers: object) -> Iterator[tuple[str, str]]:
    """Yield names and values, each once its types are checked."""
    if type(headers) is not list:
        raise AssertionError(f"Headers ({headers!r}) must be of type list: {type(headers)!r}")
    for item in headers:
        if type(item) is not tuple:
            raise AssertionError(
                f"Individual headers ({item!r}) must be of type tuple: {type(item)!r}"
            )
        if len(item) != 2:
            _refuse(f"Individual headers must be a name and a value: {item!r}")
        name = check_string_type(item[0], "Header name")
        value = check_string_type(item[1], "Header value")
        if name.lower() == "status":
            raise AssertionError(
                "The Status header cannot be used; it conflicts with CGI script, and HTTP status "
                f"is not given through headers (value: {value!r})."
            )
        yield name, value


def check_content_type(status: object, headers: list[tuple[str, str]]) -> None:
    """Raise AssertionError unless there is a ``Content-Type`` just where a body may be.

    As the standard library sees it: not with 204 and 304, and with all others, 1xx included.
    """
    status = check_string_type(status, "Status")
    code = int(status.split(None, 1)[0])
    found = any(check_string_type(n, "Header name").lower() == "content-type" for n, _ in headers)
    if found and code in (204, 304):
        raise AssertionError(
            f"Content-Type header found in a {code} response, which must not return content."
        )
    if not found and code not in (204, 304):
        raise AssertionError(f"No Content-Type header found in headers ({headers})")


def check_exc_info(exc_info: object) -> None:
    """Raise AssertionError unless *exc_info* is ``None`` or a tuple."""
    if exc_info is not None and type(exc_info) is not tuple:
        raise AssertionError(f"exc_info ({exc_info!r}) is not a tuple: {type(exc_info)!r}")


def check_iterator(iterator: object) -> None:
    """Raise AssertionError if an application returned a string instead of blocks.

    Bytes are iterable, but into integers; a str would be sent character by character.
    """
    if isinstance(iterator, (str, bytes)):
        raise AssertionError(
            "You should not return a string as your application iterator, instead return a "
            "single-item list containing a bytestring."
        )
