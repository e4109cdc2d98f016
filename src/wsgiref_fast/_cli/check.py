"""``--check``: one GET and one HEAD through the strict validator, and what they break."""

from __future__ import annotations

import io
import sys
import warnings

from .._tracebacks import describe
from ..util import setup_testing_defaults
from ..validate import WSGIWarning, validator
from . import application
from .messages import FAILED, FINE, flatten, paint, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any

    from ..types import WSGIApplication, WSGIEnvironment

#: The modules whose AssertionErrors are about the application.
_VALIDATOR = {"wsgiref_fast.validate", "wsgiref_fast._validate_strict"}

#: What our server makes good: it drops such a body, as most do.
_HARMLESS = "A response to HEAD should have no body"

#: What is said of `None`, for which the validator has the words of the standard library.
_NONE = "the application returned None, not an iterable of bytes: is there a return?"


def check(arguments: argparse.Namespace) -> int:
    """Import an application, send it requests, and say what is wrong; return the exit code.

    Raises:
        Stop: it cannot be imported.

    """
    application.go_to(arguments.chdir)
    app = application.load(arguments.app, arguments.factory)
    failure = _check_one(app, "GET")
    other = _check_one(app, "HEAD", failure)
    return FINE if failure is other is None else FAILED


def _check_one(app: WSGIApplication, method: str, known: str | None = None) -> str | None:
    """Send one request, and say how it went; return what is wrong.

    Args:
        app: the application.
        method: of the request.
        known: what was wrong before: it is not said in full once more.

    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", WSGIWarning)
        response = _Response()
        error = _run(app, _make_environ(method), response)
    for warning in caught:
        _pass_on(warning, method)
    if error is None:
        _report("ok", "green", method, f"{response.status}, {response.length} bytes")
        return None
    is_breach = _is_breach(error.__traceback__) and isinstance(error, AssertionError)
    text = _text_of(error) if is_breach else f"the application raised {describe(error)}"
    if text == known:
        _report("wrong", "red", method, "the same")
        return text
    if not is_breach:
        say(application.format_of_user(error).rstrip("\n"), sys.stdout)
    _report("wrong", "red", method, text)
    return text


def _pass_on(warning: warnings.WarningMessage, method: str) -> None:
    """Say what is doubtful; show other warnings as Python would."""
    text = str(warning.message)
    if not issubclass(warning.category, WSGIWarning):
        warnings.showwarning(warning.message, warning.category, warning.filename, warning.lineno)
    elif not text.startswith(_HARMLESS):
        _report("doubtful", "yellow", method, text)


def _report(verdict: str, colour: str, method: str, text: str) -> None:
    say(f"{paint(f'{verdict}:', colour, sys.stdout)} {method} /: {flatten(text)}", sys.stdout)


def _make_environ(method: str) -> WSGIEnvironment:
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": method,
        "QUERY_STRING": "",
        "REMOTE_ADDR": "127.0.0.1",
        "SERVER_SOFTWARE": "wsgiref_fast",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.errors": sys.stderr,
        "wsgi.input": io.BytesIO(),
    }
    setup_testing_defaults(environ)
    return environ


class _Response:
    """What an application answers; it plays the server."""

    status = ""
    length = 0
    #: Whether the application has returned `None`.
    is_none = False

    def start(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], object]:
        """Begin the response."""
        self.status = status
        return self.write

    def write(self, data: bytes) -> None:
        """Take some of the body."""
        self.length += len(data)


def _run(app: WSGIApplication, environ: Any, response: _Response) -> BaseException | None:
    """Run an application as a server does; return what went wrong."""
    start: Any = response.start
    try:
        result = validator(_noting(app, response), strict=True)(environ, start)
        try:
            for block in result:
                response.write(block)
        finally:
            close: Any = getattr(result, "close", None)
            if close is not None:
                close()
    except (Exception, SystemExit) as error:
        if response.is_none and _is_breach(error.__traceback__):
            return AssertionError(_NONE).with_traceback(error.__traceback__)
        return error
    return None


def _noting(app: WSGIApplication, response: _Response) -> WSGIApplication:
    """Have a response know whether its application has returned anything."""

    def noting(environ: WSGIEnvironment, start_response: Any) -> Any:
        result: Any = app(environ, start_response)
        response.is_none = result is None
        return result

    return noting


def _is_breach(trace: TracebackType | None) -> bool:
    """Tell whether it was the validator that raised something."""
    name = ""
    while trace is not None:
        name, trace = trace.tb_frame.f_globals.get("__name__", ""), trace.tb_next
    return name in _VALIDATOR


def _text_of(error: BaseException) -> str:
    """Return what is wrong; where the standard library has no words, the cause has."""
    return str(error) or str(error.__cause__ or "") or "it breaks PEP 3333"
