"""Base classes that run a WSGI application (PEP 3333), as `wsgiref.handlers` has them."""

from __future__ import annotations

import os as os
import sys
import time

from . import _hooks, _impl
from ._grammar import NAME_CONTROLS
from ._process_environ import _is_request as _is_request
from ._process_environ import _needs_transcode as _needs_transcode
from ._process_environ import read_environ
from ._pure.response import _monthname as _monthname
from ._pure.response import _weekdayname as _weekdayname
from ._pure.response import format_date_time as format_date_time
from ._streams import ConnectionWriter
from .headers import Headers
from .util import FileWrapper, guess_scheme, is_hop_by_hop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping
    from types import TracebackType
    from typing import IO, Any, Protocol

    from .types import (
        ErrorStream,
        InputStream,
        StartResponse,
        WSGIApplication,
        WSGIEnvironment,
    )

    ExcInfo = tuple[type[BaseException], BaseException, TracebackType]
    OptExcInfo = ExcInfo | tuple[None, None, None]

    class Output(Protocol):
        """What a `SimpleHandler` needs of its `stdout`."""

        def write(self, data: bytes, /) -> int | None: ...
        def flush(self) -> object: ...


__all__ = [
    "BaseCGIHandler",
    "BaseHandler",
    "CGIHandler",
    "IISCGIHandler",
    "SimpleHandler",
    "read_environ",
]

_FORMAT_DATE = format_date_time  # to tell whether somebody has another in its place
_date = (0, "")


def _current_date() -> str:
    """Return the ``Date`` of a response that begins now; our own is made once a second."""
    global _date
    now = time.time()
    if format_date_time is not _FORMAT_DATE:
        return format_date_time(now)
    second, text = _date
    if second != int(now):
        text = format_date_time(now)
        _date = int(now), text
    return text


def _forbids_body(status: str | None) -> bool:
    """Tell whether a status allows no body and no length (RFC 9110 sections 8.6, 15)."""
    return isinstance(status, str) and (status[:1] == "1" or status[:3] in ("204", "304"))


#: What a client that went away raises.
_GONE = (ConnectionAbortedError, BrokenPipeError, ConnectionResetError)


class _Runner:
    """The base of `BaseHandler`: `install` can put the original class in its place."""


@_impl.accelerated
class BaseHandler(_Runner):
    """Run a WSGI application for one request: environ, call, response.

    Everything that `run` does goes through methods and attributes that a subclass, or
    an instance, may replace; it is a gateway once `_write`, `_flush`, `get_stdin`,
    `get_stderr` and `add_cgi_vars` are there.
    """

    #: What the environ's ``wsgi.*`` variables of these names say.
    wsgi_version: tuple[int, int] = (1, 0)
    wsgi_multithread: bool = True
    wsgi_multiprocess: bool = True
    wsgi_run_once: bool = False

    #: True: the peer is the client. False: it is a gateway that wants a ``Status:`` header.
    origin_server: bool = True
    #: The HTTP version of responses, for an origin server.
    http_version: str = "1.0"
    #: What the ``Server:`` header and ``SERVER_SOFTWARE`` say, for an origin server.
    server_software: str | None = None

    #: Put into each environ first: the process's own, as it was at import.
    os_environ: MutableMapping[str, str] = read_environ()

    #: ``wsgi.file_wrapper``, or `None` to offer none.
    wsgi_file_wrapper: type[FileWrapper] | None = FileWrapper
    #: Makes `headers` out of an application's list.
    headers_class: type[Headers] = Headers

    #: How many frames `log_exception` prints; `None` for all.
    traceback_limit: int | None = None
    #: The response that `error_output` gives.
    error_status: str = "500 Internal Server Error"
    error_headers: list[tuple[str, str]] = [("Content-Type", "text/plain")]  # noqa: RUF012 - as below
    error_body: bytes = b"A server error occurred.  Please contact the administrator."

    # The state of the request; `close` takes it back to this.
    status: str | None = None
    result: Any = None
    headers_sent: bool = False
    headers: Any = None
    bytes_sent: int = 0
    environ: Any  # a WSGIEnvironment while a request runs, else None

    def run(self, application: WSGIApplication) -> None:
        """Run the application and send what it answers.

        An exception of it is logged and answered with an error page; a client that went
        away is no error. The application's iterable is closed on every path.
        """
        # close() is left to finish_response() and the branch below: a subclass for an
        # asynchronous server returns from here with output still to come.
        try:
            if not _impl.set_up(self):
                self.setup_environ()
            self.result = application(self.environ, self.start_response)
            if not _impl.finish(self):
                self.finish_response()
        except _GONE:
            return
        except:  # noqa: E722 - whatever an application raises ends its request alone
            self._fail()

    def _go_on(self, error: BaseException | None = None) -> None:
        """Do the rest of `run` where a short cut has called the application, or failed to."""
        try:
            if error is not None:
                try:
                    raise error
                finally:
                    error = None  # a traceback in a frame that it holds is a cycle
            self.finish_response()
        except _GONE:
            return
        except:  # noqa: E722 - as in run()
            self._fail()

    def _fail(self) -> None:
        try:
            self.handle_error()
        except:
            self.close()
            raise

    def setup_environ(self) -> None:
        """Make `environ`: the process's variables, the request's and the ``wsgi.*`` ones."""
        if _impl.set_up(self):
            return
        env: WSGIEnvironment = dict(self.os_environ)
        self.environ = env
        self.add_cgi_vars()
        env["wsgi.input"] = self.get_stdin()
        env["wsgi.errors"] = self.get_stderr()
        env["wsgi.version"] = self.wsgi_version
        env["wsgi.run_once"] = self.wsgi_run_once
        env["wsgi.url_scheme"] = self.get_scheme()
        env["wsgi.multithread"] = self.wsgi_multithread
        env["wsgi.multiprocess"] = self.wsgi_multiprocess
        wrapper = self.wsgi_file_wrapper
        if wrapper is not None:
            env["wsgi.file_wrapper"] = wrapper
        if self.origin_server and self.server_software:
            env.setdefault("SERVER_SOFTWARE", self.server_software)
        # Kept apart: the environ is the application's to change from now on.
        self._request_method = env.get("REQUEST_METHOD")

    _request_method: str | None = None

    def finish_response(self) -> None:
        """Send what the application gave, then close its iterable and reset the handler.

        An asynchronous server's subclass may return before everything is sent, and call
        `close` itself.
        """
        try:
            if not self.result_is_file() or self._is_bodyless() or not self.sendfile():
                for data in self.result:
                    self.write(data)
                    if self._request_method == "HEAD":
                        break
                self.finish_content()
        except:
            if hasattr(self.result, "close"):
                self.result.close()
            raise
        else:
            # Not after an exception: handle_error() needs the state (bpo-29183).
            self.close()

    def _is_bodyless(self) -> bool:
        """Tell whether the response has no body, whatever the application gives."""
        return self._request_method == "HEAD" or _forbids_body(self.status)

    def get_scheme(self) -> str:
        """Return ``wsgi.url_scheme``."""
        return guess_scheme(self.environ)

    def set_content_length(self) -> None:
        """Add ``Content-Length`` where the body's one block tells it."""
        try:
            blocks = len(self.result)
        except (TypeError, AttributeError, NotImplementedError):
            return
        if blocks == 1 and not _forbids_body(self.status):
            self.headers["Content-Length"] = str(self.bytes_sent)

    def cleanup_headers(self) -> None:
        """Complete `headers` just before they are sent."""
        if "Content-Length" not in self.headers:
            self.set_content_length()

    def start_response(
        self,
        status: str,
        headers: list[tuple[str, str]],
        exc_info: OptExcInfo | None = None,
    ) -> Callable[[bytes], None]:
        """Take status and headers of the response: PEP 3333's ``start_response()``.

        With `exc_info` and the headers already sent, the exception in it is raised.

        Raises:
            AssertionError: called again without `exc_info`; a wrong type; a status that
                is not three digits, a space and a reason; a hop-by-hop header.
            ValueError: a control character in the status or in a header.
            TypeError: `headers` is not a list.

        """
        if exc_info:
            try:
                if self.headers_sent:
                    raise
            finally:
                exc_info = None  # a traceback in a frame that it holds is a cycle
        elif _impl.start(self, status, headers):
            return self.write
        elif self.headers is not None:
            raise AssertionError("Headers already set!")

        self.status = status
        self.headers = self.headers_class(headers)
        status = self._convert_string_type(status, "Status")
        self._validate_status(status)
        overridden = getattr(self._convert_string_type, "__func__", None) is not _CONVERT
        for name, value in headers:
            if overridden or type(name) is not str or type(value) is not str:
                name = self._convert_string_type(name, "Header name")
                value = self._convert_string_type(value, "Header value")
            if is_hop_by_hop(name):
                raise AssertionError(f"Hop-by-hop header, '{name}: {value}', not allowed")
        return self.write

    def _validate_status(self, status: str) -> None:
        if not status.isprintable() and not NAME_CONTROLS.isdisjoint(status):
            raise ValueError(f"Control characters are not allowed in status: {status!r}")
        if len(status) < 4:
            raise AssertionError("Status must be at least 4 characters")
        if not status[:3].isdigit():
            raise AssertionError("Status message must begin w/3-digit code")
        if status[3] != " ":
            raise AssertionError("Status message must have a space after code")

    def _convert_string_type(self, value: Any, title: str) -> str:
        """Return the string; raise `AssertionError` for what is not exactly a `str`."""
        if type(value) is str:
            return value
        raise AssertionError(f"{title} must be of type str (got {value!r})")

    def send_preamble(self) -> None:
        """Send the status line with ``Date`` and ``Server``, or the ``Status`` header."""
        if not self.origin_server:
            self._write(f"Status: {self.status}\r\n".encode("iso-8859-1"))
        elif self.client_is_modern():
            self._write(f"HTTP/{self.http_version} {self.status}\r\n".encode("iso-8859-1"))
            if "Date" not in self.headers:
                self._write(f"Date: {_current_date()}\r\n".encode("iso-8859-1"))
            server = self.server_software  # one look: another thread may set the class's
            if server and "Server" not in self.headers:
                self._write(f"Server: {server}\r\n".encode("iso-8859-1"))

    def write(self, data: bytes) -> None:
        """Send a block of the body, after the headers: PEP 3333's ``write()``.

        Raises:
            AssertionError: `data` is not exactly `bytes`, or no response was started.

        """
        if type(data) is not bytes:
            raise AssertionError("write() argument must be a bytes instance")
        if not self.status:
            raise AssertionError("write() before start_response()")
        bodyless = self._is_bodyless()
        if not self.headers_sent:
            self.bytes_sent = len(data)  # set_content_length() wants to know
            self.send_headers()
            if bodyless:
                self.bytes_sent = 0
        elif not bodyless:
            self.bytes_sent += len(data)
        if not bodyless:
            self._write(data)
        self._flush()

    def sendfile(self) -> bool:
        """Send the file that `result` wraps by a way of the platform's own, if there is one.

        Asked where `result` is a `wsgi_file_wrapper`. Returns true if the file was sent;
        false leaves it to be iterated over. It calls `send_headers` itself, unless
        `headers_sent`.
        """
        return False

    def finish_content(self) -> None:
        """Send the headers, if no block of the body has brought them out."""
        if self.headers_sent:
            return
        # A HEAD's length may be unknown here; the application's own stands.
        if not self._is_bodyless():
            self.headers.setdefault("Content-Length", "0")
        self.send_headers()

    def close(self) -> None:
        """Close the application's iterable and take the state back."""
        try:
            if hasattr(self.result, "close"):
                self.result.close()
        finally:
            self.result = self.headers = self.status = self.environ = None
            self.bytes_sent = 0
            self.headers_sent = False

    def send_headers(self) -> None:
        """Complete the headers and send them."""
        self.cleanup_headers()
        self.headers_sent = True
        if not self.origin_server or self.client_is_modern():
            self._send_head()

    def _send_head(self) -> None:
        self.send_preamble()
        self._write(bytes(self.headers))

    def result_is_file(self) -> bool:
        """Tell whether the application answered with its ``wsgi.file_wrapper``."""
        wrapper = self.wsgi_file_wrapper
        return wrapper is not None and isinstance(self.result, wrapper)

    def client_is_modern(self) -> bool:
        """Tell whether the client takes a status line and headers: not in HTTP/0.9."""
        protocol: str = self.environ["SERVER_PROTOCOL"]
        return protocol.upper() != "HTTP/0.9"

    def log_exception(self, exc_info: OptExcInfo) -> None:
        """Print a traceback to ``wsgi.errors``, `traceback_limit` frames of it."""
        try:
            from traceback import print_exception

            stderr = self.get_stderr()
            print_exception(*exc_info, self.traceback_limit, stderr)  # type: ignore[call-overload]
            stderr.flush()
        finally:
            del exc_info  # a traceback in a frame that it holds is a cycle

    def handle_error(self) -> None:
        """Log the current exception, and answer with an error page where that can be."""
        self.log_exception(sys.exc_info())
        if not self.headers_sent:
            self.result = self.error_output(self.environ, self.start_response)
            self.finish_response()

    def error_output(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        """Answer in place of an application that failed: a WSGI application itself.

        It says nothing of the exception, which is in `sys.exc_info`: a page shown to
        anybody is no place for it.
        """
        start_response(self.error_status, self.error_headers[:], sys.exc_info())
        return [self.error_body]

    # What a gateway must have of its own.

    def _write(self, data: bytes) -> None:
        """Send bytes to the client, or buffer them until `_flush`."""
        raise NotImplementedError

    def _flush(self) -> None:
        """Send what `_write` buffered."""
        raise NotImplementedError

    def get_stdin(self) -> InputStream:
        """Return ``wsgi.input``."""
        raise NotImplementedError

    def get_stderr(self) -> ErrorStream:
        """Return ``wsgi.errors``."""
        raise NotImplementedError

    def add_cgi_vars(self) -> None:
        """Put the request's CGI variables into `environ`."""
        raise NotImplementedError


# What a subclass may replace, to tell whether one did.
_CONVERT = BaseHandler._convert_string_type
_SEND_PREAMBLE = BaseHandler.send_preamble
_IS_MODERN = BaseHandler.client_is_modern
_HEADERS = _hooks.defined_by(Headers)


@_impl.accelerated
class SimpleHandler(BaseHandler):
    """A `BaseHandler` that gets its streams and its environ as arguments.

    For an origin server: the response goes to `stdout` with a status line. What is in
    `environ` comes after the process's own variables.
    """

    #: The streams and the environ that the constructor was given.
    stdin: InputStream
    stdout: IO[bytes]
    stderr: ErrorStream
    base_env: MutableMapping[str, Any]
    # Whether it logs, by its request handler; `None` where nothing is known of it.
    _is_server: bool | None = False

    def __init__(
        self,
        stdin: InputStream,
        stdout: Output,
        stderr: ErrorStream,
        environ: MutableMapping[str, Any],
        multithread: bool = True,
        multiprocess: bool = False,
    ) -> None:
        self.stdin = stdin
        self.stdout = stdout  # type: ignore[assignment] # what is written to it, is there
        self.stderr = stderr
        self.base_env = environ
        self.wsgi_multithread = multithread
        self.wsgi_multiprocess = multiprocess

    def get_stdin(self) -> InputStream:
        """Return `stdin`."""
        return self.stdin

    def get_stderr(self) -> ErrorStream:
        """Return `stderr`."""
        return self.stderr

    def add_cgi_vars(self) -> None:
        """Put the environ that the constructor was given into this request's."""
        self.environ.update(self.base_env)

    def close(self) -> None:
        """Close the application's iterable and take the state back."""
        is_cut = self._is_cut()
        try:
            super().close()  # in which the application may still read the body
        finally:
            # Whoever keeps a connection reads its next request from behind this one's body.
            finish = getattr(getattr(self, "request_handler", None), "_finish_request", None)
            if finish is not None:
                finish(is_cut)

    def _is_cut(self) -> bool:
        """Tell whether the connection cannot go on after this response."""
        return False

    def write(self, data: bytes) -> None:
        """Send a block of the body; the first one leaves together with the headers."""
        if _impl.write(self, data):
            return
        if self.headers_sent or type(self.stdout) is not ConnectionWriter:  # type: ignore[comparison-overlap]
            super().write(data)
        else:
            self._send_together(super().write, data)

    def send_headers(self) -> None:
        """Complete the headers and send them, in one piece."""
        stdout: Any = self.stdout
        if type(stdout) is not ConnectionWriter or stdout.holds:
            super().send_headers()
        else:
            self._send_together(super().send_headers)

    def _send_head(self) -> None:
        # Nobody can tell how many pieces a connection of our own is given.
        stdout: Any = self.stdout
        if type(stdout) is ConnectionWriter and self.origin_server and self._has_own_head():
            headers = self.headers._headers
            date, server = _current_date(), self.server_software
            status = str(self.status)
            self._write(_impl.serialize_head(self.http_version, status, headers, date, server))
        else:
            super()._send_head()

    def _has_own_head(self) -> bool:
        """Tell whether nothing is overridden of what makes a head."""
        cls, own, own_headers = type(self), self.__dict__, _HEADERS
        return (
            cls.send_preamble is _SEND_PREAMBLE
            and cls.client_is_modern is _IS_MODERN
            and "send_preamble" not in own
            and "client_is_modern" not in own
            and format_date_time is _FORMAT_DATE
            and type(self.headers) is Headers
            and len(self.headers.__dict__) == 1
            and Headers.get is own_headers["get"]
            and Headers.__bytes__ is own_headers["__bytes__"]
            and Headers.__str__ is own_headers["__str__"]
            and Headers.__contains__ is own_headers["__contains__"]
            and Headers._convert_string_type is own_headers["_convert_string_type"]
        )

    def _send_together(self, step: Callable[..., None], *args: bytes) -> None:
        """Take a step whose writes to a connection of our own leave by one system call.

        Another `stdout` sees each write as it comes: it may be counting.
        """
        stdout: Any = self.stdout
        stdout.hold()
        try:
            step(*args)
        except:
            # Nothing has left of a head that could not be made: there can be another.
            if stdout.discard():
                self.headers_sent = False
            raise
        stdout.release()

    def _write(self, data: bytes) -> None:
        written = self.stdout.write(data)
        if written is None or written == len(data):
            return
        from warnings import warn

        warn(
            "SimpleHandler.stdout.write() should not do partial writes",
            DeprecationWarning,
            stacklevel=2,
        )
        while data := data[written:]:
            written = self.stdout.write(data)

    def _flush(self) -> None:
        self.stdout.flush()
        self._flush = self.stdout.flush  # type: ignore[method-assign]


class BaseCGIHandler(SimpleHandler):
    """A `SimpleHandler` whose peer is a gateway, CGI's or one like it.

    The status goes out as a ``Status:`` header, and no ``Date`` or ``Server`` is added
    (RFC 3875 section 6.3.3).
    """

    origin_server: bool = False


class CGIHandler(BaseCGIHandler):
    """Run an application as a CGI script: ``CGIHandler().run(application)``.

    Streams and environ are the process's own (RFC 3875).
    """

    wsgi_run_once: bool = True
    # A process that runs several requests must not mix what it was started with into
    # each (bpo-7250).
    os_environ: MutableMapping[str, str] = {}  # noqa: RUF012 - programs assign to it

    def __init__(self) -> None:
        _take_process(self, read_environ())


class IISCGIHandler(BaseCGIHandler):
    """A `CGIHandler` for Microsoft's IIS without its ``allowPathInfo`` setting.

    That gives a ``PATH_INFO`` that begins with ``SCRIPT_NAME``, which is taken off.
    """

    wsgi_run_once: bool = True
    os_environ: MutableMapping[str, str] = {}  # noqa: RUF012 - as CGIHandler

    def __init__(self) -> None:
        environ = read_environ()
        path, script = environ.get("PATH_INFO", ""), environ.get("SCRIPT_NAME", "")
        if (path + "/").startswith(script + "/"):
            environ["PATH_INFO"] = path[len(script) :]
        _take_process(self, environ)


def _take_process(handler: BaseCGIHandler, environ: dict[str, str]) -> None:
    """Give a handler the process's own streams."""
    BaseCGIHandler.__init__(
        handler,
        sys.stdin.buffer,
        sys.stdout.buffer,
        sys.stderr,
        environ,
        multithread=False,
        multiprocess=True,
    )


_hooks.note_names(globals(), "is_hop_by_hop", "format_date_time", "time", "guess_scheme")


def __getattr__(name: str) -> Any:
    """Provide the pattern that the original imports since 3.14, when somebody asks for it."""
    if name == "_name_disallowed_re":
        from .headers import _name_disallowed_re

        return _name_disallowed_re
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
