"""Types for static checking of WSGI code (PEP 3333), as `wsgiref.types` has them."""

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Protocol, TypeAlias

__all__ = [
    "ErrorStream",
    "FileWrapper",
    "InputStream",
    "StartResponse",
    "WSGIApplication",
    "WSGIEnvironment",
]

_ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType]
_OptExcInfo: TypeAlias = _ExcInfo | tuple[None, None, None]


class StartResponse(Protocol):
    """What a server hands to an application to begin its response with."""

    def __call__(
        self,
        status: str,
        headers: list[tuple[str, str]],
        exc_info: _OptExcInfo | None = ...,
        /,
    ) -> Callable[[bytes], object]:
        """Take status line and headers, and return the ``write()`` callable."""
        ...


#: What an application is told of a request: CGI's variables, and the ``wsgi.*`` ones.
WSGIEnvironment: TypeAlias = dict[str, Any]
#: An application: called once for each request, it returns the blocks of the body.
WSGIApplication: TypeAlias = Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]


class InputStream(Protocol):
    """``environ["wsgi.input"]``: the request's body."""

    def read(self, size: int = ..., /) -> bytes:
        """Return at most that many bytes, or all that is left."""
        ...

    def readline(self, size: int = ..., /) -> bytes:
        """Return one line, or at most that many bytes of it."""
        ...

    def readlines(self, hint: int = ..., /) -> list[bytes]:
        """Return the lines that are left, or some of them from about that many bytes on."""
        ...

    def __iter__(self) -> Iterator[bytes]: ...


class ErrorStream(Protocol):
    """``environ["wsgi.errors"]``: where an application's complaints go, as text."""

    def flush(self) -> object:
        """Bring out what is buffered."""
        ...

    def write(self, s: str, /) -> object:
        """Write a text."""
        ...

    def writelines(self, seq: list[str], /) -> object:
        """Write several texts."""
        ...


class _Readable(Protocol):
    """A file as a `FileWrapper` needs it. It may also have a ``close()``."""

    def read(self, size: int = ..., /) -> bytes: ...


class FileWrapper(Protocol):
    """``environ["wsgi.file_wrapper"]``: makes an iterable of a file."""

    def __call__(self, file: _Readable, block_size: int = ..., /) -> Iterable[bytes]:
        """Wrap the file; each block has at most that many bytes."""
        ...
