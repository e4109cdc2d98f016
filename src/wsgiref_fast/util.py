"""Utilities for WSGI environments (PEP 3333), as `wsgiref.util` has them."""

from __future__ import annotations

import posixpath
import sys

from . import _hooks, _impl
from ._grammar import HOP_BY_HOP
from ._pure import filewrapper as _kernels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO, Protocol

    from .types import WSGIEnvironment

    class Readable(Protocol):
        """What a `FileWrapper` needs of a file."""

        def read(self, size: int, /) -> bytes: ...


__all__ = [
    "FileWrapper",
    "application_uri",
    "guess_scheme",
    "request_uri",
    "setup_testing_defaults",
    "shift_path_info",
]
if sys.version_info >= (3, 13):
    __all__ += ["is_hop_by_hop"]

_DEFAULT_PORTS = {"http": "80", "https": "443"}


class _Wrapper:
    """The base of `FileWrapper`: `install` can put the original class in its place."""


@_impl.accelerated
class FileWrapper(_Wrapper):
    """Make an iterable of a file: each block is one ``filelike.read(blksize)``.

    An empty block ends the iteration for good. The wrapper has a ``close()``, the file's
    own, exactly where the file has one (PEP 3333, "Optional Platform-Specific File
    Handling").
    """

    filelike: IO[bytes]
    blksize: int
    close: Callable[[], None]  # where the file has one

    def __init__(self, filelike: Readable, blksize: int = 8192) -> None:
        self.filelike = filelike  # type: ignore[assignment] # what is read of it, is there
        self.blksize = blksize
        if hasattr(filelike, "close"):
            self.close = self.filelike.close

    def __iter__(self) -> FileWrapper:
        return self

    if TYPE_CHECKING:

        def __next__(self) -> bytes:
            """Return the next block; once one was empty the file is not read again."""
            ...
    else:
        __next__ = _kernels.next_block

    def __getitem__(self, _index: int) -> bytes:
        """Return the next block, whatever the index: iteration as before ``__iter__``."""
        try:
            return next(self)
        except StopIteration:
            raise IndexError("no more blocks") from None

    _ended = False


def guess_scheme(environ: WSGIEnvironment) -> str:
    """Return ``"https"`` where the variable ``HTTPS`` says yes, on or 1, else ``"http"``."""
    return "https" if environ.get("HTTPS") in ("yes", "on", "1") else "http"


def application_uri(environ: WSGIEnvironment) -> str:
    """Return the URI of the application: scheme, host and ``SCRIPT_NAME``.

    The host is ``HTTP_HOST``, else ``SERVER_NAME`` with ``SERVER_PORT`` where that is not
    the scheme's own (PEP 3333, "URL Reconstruction").

    Raises:
        KeyError: a variable that PEP 3333 demands is missing.

    """
    from urllib.parse import quote

    scheme = environ["wsgi.url_scheme"]
    host = environ.get("HTTP_HOST")
    if not host:
        host = environ["SERVER_NAME"]
        port = environ["SERVER_PORT"]
        if port != ("443" if scheme == "https" else "80"):
            host += ":" + port
    path = quote(environ.get("SCRIPT_NAME") or "/", encoding="latin1")
    return f"{scheme}://{host}{path}"


def request_uri(environ: WSGIEnvironment, include_query: bool = True) -> str:
    """Return the URI of the request, with its query string unless told otherwise.

    Raises:
        KeyError: a variable that PEP 3333 demands is missing.

    """
    from urllib.parse import quote

    uri = application_uri(environ)
    path = quote(environ.get("PATH_INFO", ""), safe="/;=,", encoding="latin1")
    # Without a SCRIPT_NAME the application's URI ends in the path's own slash.
    uri += path if environ.get("SCRIPT_NAME") else path[1:]
    if include_query and environ.get("QUERY_STRING"):
        uri += "?" + environ["QUERY_STRING"]
    return uri


def shift_path_info(environ: WSGIEnvironment) -> str | None:
    """Move the first segment of ``PATH_INFO`` to ``SCRIPT_NAME`` and return it.

    Empty and ``.`` segments are skipped, but for the last: a ``PATH_INFO`` of ``/`` gives
    ``""`` and a ``SCRIPT_NAME`` that ends in a slash, so that ``/x`` and ``/x/`` can be
    told apart. Without a segment left the result is `None`. The environ is changed.
    """
    path = environ.get("PATH_INFO", "")
    if not path:
        return None
    if "/" not in path:
        raise IndexError(f"PATH_INFO has no segment to shift: {path!r}")
    before, *middle, last = path.split("/")
    segments = [segment for segment in middle if segment and segment != "."]
    segments.append(last)
    name: str = segments.pop(0)
    script = posixpath.normpath(environ.get("SCRIPT_NAME", "") + "/" + name)
    if script.endswith("/"):
        script = script[:-1]
    if not name and not script.endswith("/"):  # normpath() keeps two leading slashes
        script += "/"
    environ["SCRIPT_NAME"] = script
    environ["PATH_INFO"] = "/".join([before, *segments])
    return None if name == "." else name


def setup_testing_defaults(environ: WSGIEnvironment) -> None:
    """Give an environ what PEP 3333 demands and it has not, with made-up values.

    For tests of WSGI code alone: a server knows the true values.
    """
    from io import BytesIO, StringIO

    default = environ.setdefault
    default("SERVER_NAME", "127.0.0.1")
    default("SERVER_PROTOCOL", "HTTP/1.0")
    default("HTTP_HOST", environ["SERVER_NAME"])
    default("REQUEST_METHOD", "GET")
    if "SCRIPT_NAME" not in environ and "PATH_INFO" not in environ:
        environ["SCRIPT_NAME"] = ""
        environ["PATH_INFO"] = "/"
    default("wsgi.version", (1, 0))
    default("wsgi.run_once", 0)
    default("wsgi.multithread", 0)
    default("wsgi.multiprocess", 0)
    default("wsgi.input", BytesIO())
    default("wsgi.errors", StringIO())
    scheme = default("wsgi.url_scheme", guess_scheme(environ))
    if scheme in _DEFAULT_PORTS:
        default("SERVER_PORT", _DEFAULT_PORTS[scheme])


# Programs put a function of their own here, to let applications send such headers.
_hoppish = HOP_BY_HOP.__contains__


def is_hop_by_hop(header_name: str) -> bool:
    """Tell whether a header concerns one connection only (RFC 2616 section 13.5.1)."""
    return _hoppish(header_name.lower())


_hooks.note_names(globals(), "_hoppish")
