"""What tells which descriptors are ready: epoll where there is one, else what `selectors` has."""

from __future__ import annotations

import select
import selectors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

READ, WRITE = 1, 4  # as epoll and poll have them


class _Selector:
    """The platform's best selector, used as `select.epoll` is."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def register(self, descriptor: int, events: int) -> None:
        self._selector.register(descriptor, _to_selectors(events))

    def modify(self, descriptor: int, events: int) -> None:
        self._selector.modify(descriptor, _to_selectors(events))

    def unregister(self, descriptor: int) -> None:
        try:
            self._selector.unregister(descriptor)
        except KeyError:
            pass  # it was closed by somebody else, see below

    def poll(self, timeout: float, _at_most: int) -> list[tuple[int, int]]:
        found = []
        try:
            keys = self._selector.select(timeout if timeout >= 0 else None)
        except (OSError, ValueError):
            # What somebody has closed is an error of all, as of select() on Windows.
            waiting = [key.fd for key in self._selector.get_map().values()]
            closed = [each for each in waiting if _is_closed(each)]
            if not closed:
                raise
            for each in closed:
                self._selector.unregister(each)
            return [(each, READ) for each in closed]
        for key, events in keys:
            ready = READ if events & selectors.EVENT_READ else 0
            found.append((key.fd, ready | (WRITE if events & selectors.EVENT_WRITE else 0)))
        return found

    def close(self) -> None:
        self._selector.close()


def _is_closed(descriptor: int) -> bool:
    try:
        select.select([descriptor], [], [], 0)
    except (OSError, ValueError):
        return True
    return False


def _to_selectors(events: int) -> int:
    reads = selectors.EVENT_READ if events & READ else 0
    return reads | (selectors.EVENT_WRITE if events & WRITE else 0)


def make_poller() -> Any:
    """Return a new poller: ``register``, ``modify``, ``unregister``, ``poll`` and ``close``."""
    if hasattr(select, "epoll"):
        return select.epoll()
    return _Selector()
