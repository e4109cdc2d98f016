"""The `FileWrapper`: a file as an iterable of blocks (PEP 3333)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class _Wrapper:
    """The base of `FileWrapper`: `install` can put the original class in its place."""


class FileWrapper(_Wrapper):
    """Make an iterable of a file: each block is one ``filelike.read(blksize)``.

    An empty block ends the iteration for good. The wrapper has a ``close()``, the file's
    own, exactly where the file has one (PEP 3333, "Optional Platform-Specific File
    Handling").
    """

    close: Callable[[], object]

    def __init__(self, filelike: Any, blksize: int = 8192) -> None:
        self.filelike = filelike
        self.blksize = blksize
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __iter__(self) -> FileWrapper:
        return self

    def __next__(self) -> Any:
        """Return the next block; once one was empty the file is not read again."""
        if not self._ended:
            block = self.filelike.read(self.blksize)
            if block:
                return block
            self._ended = True
        raise StopIteration

    def __getitem__(self, _index: int) -> Any:
        """Return the next block, whatever the index: iteration as before ``__iter__``."""
        try:
            return next(self)
        except StopIteration:
            raise IndexError("no more blocks") from None

    _ended = False
