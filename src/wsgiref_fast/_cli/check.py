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


def check(arguments: argparse.Namespace) -> int:
    """Import an application, send it requests, and say what is wrong; return the exit code.

    Raises:
        Stop: it cannot be imported.

    """
    application.go_to(arguments.chdir)
    app = application.load(arguments.app, arguments.factory)
    verdicts = [_check_one(app, method) for method in ("GET", "HEAD")]
    return FINE if all(verdicts) else FAILED


def _check_one(app: WSGIApplication, method: str) -> bool:
    """Send one request, and say how it went; tell whether well."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", WSGIWarning)
        response = _Response()
        error = _run(app, _make_environ(method), response)
    for warning in caught:
        _pass_on(warning, method)
    if error is None:
        _report("ok", "green", method, f"{response.status}, {response.length} bytes")
        return True
    if _is_breach(error.__traceback__) and isinstance(error, AssertionError):
        _report("wrong", "red", method, _text_of(error))
    else:
        say(application.format_of_user(error).rstrip("\n"), sys.stdout)
        _report("wrong", "red", method, f"the application raised {describe(error)}")
    return False


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
        result = validator(app, strict=True)(environ, start)
        try:
            for block in result:
                response.write(block)
        finally:
            close: Any = getattr(result, "close", None)
            if close is not None:
                close()
    except (Exception, SystemExit) as error:
        return error
    return None


def _is_breach(trace: TracebackType | None) -> bool:
    """Tell whether it was the validator that raised something."""
    name = ""
    while trace is not None:
        name, trace = trace.tb_frame.f_globals.get("__name__", ""), trace.tb_next
    return name in _VALIDATOR


def _text_of(error: AssertionError) -> str:
    """Return what is wrong; where the standard library has no words, the cause has."""
    return str(error) or str(error.__cause__ or "") or "it breaks PEP 3333"
