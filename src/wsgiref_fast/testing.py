"""Real servers for tests: on a free port at once, gone at once, and the application checked.

    with live_server(app) as server:
        urllib.request.urlopen(server.url_for("/"))

pytest has the same as the fixture ``live_wsgi_server``; for a fixture of a wider scope, and
in `unittest` (``self.enterContext(live_server(app))``), this is the way.
"""

from __future__ import annotations

import sys
import threading
from _thread import get_ident
from contextlib import contextmanager

from . import _validate_strict
from . import validate as _validate
from ._http11.addresses import stands_alone, write_address
from .server import Server

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from typing import Any, Unpack

    from ._http11.options import OptionValues
    from .types import StartResponse, WSGIApplication, WSGIEnvironment

    class LiveServerValues(OptionValues, total=False):
        """What a `LiveServer` takes by name."""

        host: str
        port: int
        validate: bool


__all__ = ["LiveServer", "NonconformingApplication", "Request", "live_server"]

#: Seconds for what is under way when a server closes, unless the options say otherwise.
_PATIENCE = 2.0

#: Where what raises is the checker, not the application.
_CHECKERS = frozenset({_validate.__name__, _validate_strict.__name__})


class NonconformingApplication(AssertionError):
    """What applications did against PEP 3333 while their server ran; a line for each."""


class Request:
    """A request that has come to a `LiveServer`.

    Attributes:
        method: as sent.
        path: ``PATH_INFO``, with ``SCRIPT_NAME`` in front.
        query: ``QUERY_STRING``.
        status: the number that was answered; `None` as long as there is none.
        error: the exception that ended it, on one line; else `None`.

    """

    def __init__(self, environ: WSGIEnvironment) -> None:
        self.method: str = environ["REQUEST_METHOD"]
        self.path: str = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        self.query: str = environ.get("QUERY_STRING", "")
        self.status: int | None = None
        self.error: str | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}{'?' if self.query else ''}{self.query}"

    def __repr__(self) -> str:
        return f"<{self}: {self.status}>"


class LiveServer:
    """A server that runs in a thread of its own, and what has come to it.

    Args:
        application: the WSGI application.
        host: an address or a name of this machine.
        port: 0 for any that is free.
        validate: hold the application to PEP 3333, as ``validator(application, strict=True)``.
        **options: see `server.Options`; `ssl_context` makes it HTTPS.

    Raises:
        OSError: the address cannot be listened on.
        TypeError, ValueError: an option is none, or has a wrong value.

    """

    def __init__(
        self,
        application: WSGIApplication,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        validate: bool = True,
        **options: Unpack[OptionValues],
    ) -> None:
        options.setdefault("shutdown_timeout", _PATIENCE)
        if stands_alone(host):
            raise ValueError(f"host must be an address or a name, for there to be a URL: {host!r}")
        self._server = Server((host, port), **options)
        self._server.ends_for_good = True
        self._server.set_app(self._serve)
        self._checks = validate
        self.application = application
        self.host = host
        self.port: int = self._server.server_port
        #: The requests that have come, in their order.
        self.requests: list[Request] = []
        #: What applications did against PEP 3333; whoever expects it takes it out of here.
        self.complaints: list[str] = []
        scheme = "http" if self._server.options.ssl_context is None else "https"
        #: Where it is, without a slash at the end.
        self.url: str = f"{scheme}://{write_address((host, self.port))}"
        name = f"live server on {self.port}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def application(self) -> WSGIApplication:
        """The WSGI application; another one may be assigned."""
        return self._application

    @application.setter
    def application(self, application: WSGIApplication) -> None:
        self._application = application

    def url_for(self, path: str) -> str:
        """Return the URL of a path, with its query if there is one."""
        return f"{self.url}/{path.removeprefix('/')}"

    def check(self) -> None:
        """Raise `NonconformingApplication` if an application did what PEP 3333 forbids."""
        if self.complaints:
            raise NonconformingApplication("\n".join(self.complaints))

    def close(self) -> None:
        """End the server, once what is under way is finished; no more than once."""
        self._server.stop()
        self._thread.join(self._server.options.shutdown_timeout + 1.0)
        self._server.server_close()
        if self._thread.is_alive():
            for request in self.requests:
                if request.status is None and request.error is None:
                    self.complaints.append(f"{request}: not answered when the server was closed")

    def _run(self) -> None:
        self._server.serve_forever(poll_interval=None)

    def _serve(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = Request(environ)
        self.requests.append(request)
        watch = _Watch(self, request, start_response)
        application = self._application
        if self._checks:
            application = _validate.validator(watch.within(application), strict=True)
        return watch.begin(application, environ)


@contextmanager
def live_server(
    application: WSGIApplication, **options: Unpack[LiveServerValues]
) -> Generator[LiveServer]:
    """Serve an application while the block runs.

    Args:
        application: the WSGI application.
        **options: see `LiveServer`.

    Raises:
        NonconformingApplication: at the end of the block: what the application did wrong,
            request by request. Where the block itself has failed, that stands below it.

    """
    server = LiveServer(application, **options)
    try:
        yield server
    except BaseException as error:
        server.close()
        for complaint in server.complaints:
            error.add_note(complaint)
        raise
    server.close()
    server.check()


class _Watch:
    """One request's way through the checker and the application.

    It is iterated over in the place of what the application has returned.
    """

    def __init__(self, server: LiveServer, request: Request, start_response: StartResponse) -> None:
        self._server = server
        self._request = request
        self._start_response = start_response
        self._result: Any = None
        self._iterator: Iterator[bytes] = iter(())
        self._is_begun = False

    def begin(self, application: WSGIApplication, environ: WSGIEnvironment) -> _Watch:
        """Call an application."""
        self._guard(self._call, application, environ)
        return self

    def _call(self, application: WSGIApplication, environ: WSGIEnvironment) -> None:
        self._result = application(environ, self._start)
        self._iterator = iter(self._result)

    def within(self, application: WSGIApplication) -> WSGIApplication:
        """Return what the checker calls: many applications answer a refused header list.

        Then nothing of it comes out again.
        """

        def watched(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
            def start(*args: Any, **kw: Any) -> Callable[[bytes], object]:
                try:
                    return start_response(*args, **kw)
                except Exception as error:
                    self._note_breach(error)
                    raise

            return application(environ, start)

        return watched

    def _start(self, status: str, headers: Any, exc_info: Any = None) -> Any:
        write = self._start_response(status, headers, exc_info)
        self._request.status = int(status[:3])

        def write_begins(block: bytes) -> None:
            write(block)
            self._is_begun = True

        return write_begins

    def __iter__(self) -> _Watch:
        return self

    def __next__(self) -> bytes:
        block: bytes | None = self._guard(next, self._iterator, None)
        if block is None:
            raise StopIteration
        self._is_begun = self._is_begun or bool(block)
        return block

    def close(self) -> None:
        """Close what the application has returned."""
        close = getattr(self._result, "close", None)
        self._result = None
        if close is not None:
            self._guard(close)

    def _guard(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Call what may go wrong: breaches are for the test to fail, errors for its output."""
        thread = get_ident()
        _validate._doubts[thread] = self._complain
        try:
            return call(*arguments)
        except BaseException as error:
            self._note_breach(error)
            self._note_error(error)
            raise
        finally:
            del _validate._doubts[thread]

    def _note_breach(self, error: BaseException) -> None:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        if trace is not None and trace.tb_frame.f_globals.get("__name__") in _CHECKERS:
            self._complain(str(error) or str(error.__cause__))

    def _note_error(self, error: BaseException) -> None:
        request = self._request
        if not self._is_begun:
            request.status = 500
        request.error = f"{type(error).__name__}: {error}".rstrip(": ")
        print(f"{request} failed with {request.error}", file=sys.stderr)

    def _complain(self, message: str) -> None:
        complaint = f"{self._request}: {message}"
        if complaint not in self._server.complaints:
            self._server.complaints.append(complaint)
