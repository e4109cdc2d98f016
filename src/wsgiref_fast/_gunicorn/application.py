"""What a worker does around the application: heartbeats, counts, and gunicorn's environ."""

from __future__ import annotations

import sys
import time
from itertools import count

from . import settings
from .proxies import Schemes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ..server import Server
    from ..types import StartResponse, WSGIApplication, WSGIEnvironment


def wrap(worker: Any, server: Server) -> WSGIApplication:
    """Return a worker's application with all that its settings want around it."""
    application: WSGIApplication = worker.wsgi
    script_name = settings.find_script_name()
    if script_name:
        application = _mount(application, script_name)
    if settings.has_other_errors(worker.cfg):
        application = _write_errors(application, Errors())
    if worker.recorder is not None:
        application = worker.recorder.watch(application)
    return _count(application, worker, is_alone=not server.options.threads)


def _count(application: WSGIApplication, worker: Any, is_alone: bool) -> WSGIApplication:
    """Count requests; and show between them that the worker lives, if its loop is in them."""
    schemes = Schemes(worker.cfg)
    variables = schemes.variables
    most = worker.max_requests
    next_number = count(1).__next__
    monotonic = time.monotonic

    def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        worker.nr = number = next_number()
        if number >= most:
            worker.retire()
        if is_alone and monotonic() >= worker.due:
            worker.beat()
        for variable in variables:
            if variable in environ:
                if not schemes.heed(environ):
                    return _refuse(start_response)
                break
        return application(environ, start_response)

    return serve


def _refuse(start_response: StartResponse) -> Iterable[bytes]:
    start_response("400 Bad Request", [("Content-Type", "text/plain"), ("Connection", "close")])
    return [b"Contradictory scheme headers"]


def _mount(application: WSGIApplication, script_name: str) -> WSGIApplication:
    """Return an application below a path: the ``SCRIPT_NAME`` of the process's environment."""

    def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        path = environ["PATH_INFO"]
        if not path.startswith(script_name):
            raise ValueError(f"path {path!r} does not start with SCRIPT_NAME {script_name!r}")
        environ["SCRIPT_NAME"] = script_name
        environ["PATH_INFO"] = path[len(script_name) :]
        return application(environ, start_response)

    return serve


def _write_errors(application: WSGIApplication, errors: Errors) -> WSGIApplication:
    """Return an application whose ``wsgi.errors`` is gunicorn's error log."""

    def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        environ["wsgi.errors"] = errors
        return application(environ, start_response)

    return serve


class Errors:
    """A text stream to where gunicorn's error log goes now: files are opened anew on SIGUSR1."""

    def _streams(self) -> list[Any]:
        from logging import getLogger

        streams = [getattr(each, "stream", None) for each in getLogger("gunicorn.error").handlers]
        found = [stream for stream in streams if stream is not None]
        return found or [sys.stderr]

    def write(self, text: str) -> int:
        """Write a text to each."""
        for stream in self._streams():
            stream.write(text)
            stream.flush()
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Do nothing: nothing is kept back."""
