"""The iteration over a `FileWrapper`: a file as blocks (PEP 3333).

The function is a method of `wsgiref_fast.util.FileWrapper`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def next_block(self: Any) -> Any:
    """Return the next block; once one was empty the file is not read again."""
    if not self._ended:
        block = self.filelike.read(self.blksize)
        if block:
            return block
        self._ended = True
    raise StopIteration
