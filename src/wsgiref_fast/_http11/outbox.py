"""What waits to be sent to a client: in memory, and what is too much for that in a file."""

from __future__ import annotations

import os
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Bytes that are held in memory; what an application writes beyond that goes to a file, and
#: comes from there in pieces.
_HELD_AT_MOST = 1 << 20
_FETCHED_AT_ONCE = 1 << 18


class Outbox:
    """Bytes in the order in which they are to be sent; true where there are any."""

    __slots__ = ("_held", "_pending", "_spool", "_spool_read")

    def __init__(self) -> None:
        self._pending: deque[memoryview] = deque()
        # How many bytes that are, and the file with what follows them; where to go on there.
        self._held = 0
        self._spool: Any = None
        self._spool_read = 0

    def __bool__(self) -> bool:
        return bool(self._pending)

    @property
    def held(self) -> int:
        """How many bytes are in memory."""
        return self._held

    def hold(self, data: bytes | memoryview) -> None:
        """Add bytes, in memory whatever there is; none of them stand for a turn of others."""
        self._held += len(data)
        self._pending.append(memoryview(data))

    def add(self, data: bytes | memoryview) -> None:
        """Add bytes.

        Raises:
            OSError: there is no room for them.

        """
        if self._spool is None and self._held <= _HELD_AT_MOST:
            self.hold(data)
            return
        if self._spool is None:
            from tempfile import TemporaryFile

            self._spool = TemporaryFile(buffering=0)  # noqa: SIM115 - closed when all is read
            self._spool_read = 0
        self._spool.seek(0, os.SEEK_END)
        view = memoryview(data)
        while view:
            view = view[self._spool.write(view) :]

    def first(self) -> memoryview | None:
        """Return what is to be sent next; `None` where there is nothing."""
        if not self._pending and self._spool is not None:
            self._fetch()
        return self._pending[0] if self._pending else None

    def take(self, size: int) -> None:
        """Let go of so many bytes of what is first: they were sent."""
        first = self._pending.popleft()
        self._held -= size
        if size < len(first):
            self._pending.appendleft(first[size:])

    def clear(self) -> None:
        """Let go of all."""
        self._pending.clear()
        self._held = 0
        spool, self._spool = self._spool, None
        if spool is not None:
            spool.close()

    def _fetch(self) -> None:
        """Get more from the file; close it at its end."""
        self._spool.seek(self._spool_read)
        data = self._spool.read(_FETCHED_AT_ONCE)
        if data:
            self._spool_read += len(data)
            self.hold(data)
        else:
            self.clear()
