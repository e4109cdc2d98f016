"""Connections that wait for their next byte in a selector, and hold nobody up."""

from __future__ import annotations

import select
import selectors
import socket
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Action = Callable[[], object]
    #: A connection, what to do when it has bytes, and until when to wait for them. Where an
    #: action has `events`, that is what it waits for instead, as `selectors` has it.
    Ready = tuple[Any, Action, float]


_NEVER = float("inf")

#: Seconds that a new connection has for its first byte before others are looked after.
_MOMENT = 0.001

#: How many sockets can be waited for together: as many as Python's `select` takes on Windows,
#: where there is nothing else.
SELECTED_AT_MOST = (
    512 if issubclass(selectors.DefaultSelector, selectors.SelectSelector) else _NEVER
)


def make_alarm() -> tuple[socket.socket, socket.socket]:
    """Return two connected sockets; a byte that the second sends wakes who waits for the first."""
    alarm, bell = socket.socketpair()
    alarm.setblocking(False)
    bell.setblocking(False)
    if bell.family in (socket.AF_INET, socket.AF_INET6):  # as Windows has to make it
        # Else a byte waits until the last one is acknowledged.
        bell.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    return alarm, bell


class Waiting:
    """A server's listening socket and its silent connections, waited for together.

    One thread calls `wait`; `add` and `wake` are safe from any.

    Args:
        limit: how many connections may wait, where the system can wait for so many; one
            more, and the oldest is let go.

    """

    #: Whether there is a `fileno`; not by poll() and select().
    has_descriptor = hasattr(selectors.DefaultSelector, "fileno")

    def __init__(self, limit: int) -> None:
        self._limit = min(limit, SELECTED_AT_MOST - 2)  # of the alarm and the listener
        self._selector = selectors.DefaultSelector()
        self._alarm, self._bell = make_alarm()
        self._selector.register(self._alarm, selectors.EVENT_READ, None)
        self._listener: int | None = None
        self._waiter = threading.get_ident()
        self._lock = threading.Lock()
        self._connections: dict[Any, Ready] = {}  # in the order of their coming
        self._dropped: list[Any] = []
        # No deadline is before this; it may be of one that waits no more.
        self._next_end = _NEVER

    def add(self, request: Any, action: Action, timeout: float | None) -> None:
        """Let a connection wait for bytes and then for `action`, at most `timeout` seconds."""
        self.put_back((request, action, _NEVER if timeout is None else time.monotonic() + timeout))

    def put_back(self, ready: Ready) -> None:
        """Let a connection wait that `wait` has returned, no longer than it was to."""
        request, action, end = ready
        events = getattr(action, "events", selectors.EVENT_READ)
        with self._lock:
            if len(self._connections) >= self._limit:
                self._drop_oldest()
            try:
                self._selector.register(request, events, request)
            except KeyError:  # the number of one that somebody else has closed
                self._drop_closed()
                self._selector.register(request, events, request)
            self._connections[request] = ready
            self._next_end = min(self._next_end, end)
        if threading.get_ident() != self._waiter:
            self.wake()

    def __len__(self) -> int:
        return len(self._connections)

    def fileno(self) -> int:
        """Return a descriptor that can be read from when `wait` would not wait.

        Raises:
            AttributeError: the platform has no such thing.

        """
        return self._selector.fileno()

    def listen(self, listener: int) -> None:
        """Have `wait` tell of new connections too, to that descriptor."""
        with self._lock:
            if self._listener is not None:
                self._selector.unregister(self._listener)
            self._selector.register(listener, selectors.EVENT_READ)
            self._listener = listener

    def wait(self, timeout: float | None) -> tuple[bool, list[Ready]]:
        """Wait for bytes, a new connection, `wake` or the end of `timeout` seconds.

        Returns:
            Whether a connection can be accepted; and the connections that have bytes,
            each with its action and its deadline, no longer waiting.

        """
        self._waiter = threading.get_ident()
        knock, ready = False, []
        for key, _ in self._select(self._bounded(timeout)):
            if key.fileobj == self._listener:
                knock = True
            elif key.data is None:
                self._silence()
            else:
                with self._lock:
                    if key.data in self._connections:  # not let go meanwhile
                        ready.append(self._connections[key.data])
                        self._forget(key.data)
        return knock, ready

    def _select(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        try:
            return self._selector.select(timeout)
        except (OSError, ValueError):
            # Where closed descriptors are an error, it does not say whose.
            with self._lock:
                if not self._drop_closed():
                    raise
            return []

    def _bounded(self, timeout: float | None) -> float | None:
        """Return a timeout that ends with the patience for a waiting connection."""
        with self._lock:
            if self._dropped:
                return 0
            end = self._next_end
        if end == _NEVER:
            return timeout
        left = max(end - time.monotonic(), 0)
        return left if timeout is None else min(left, timeout)

    def can_hold(self, request: Any) -> bool:
        """Tell whether a connection is one that a selector can watch: a true socket."""
        fileno = getattr(request, "fileno", None)
        try:
            return fileno is not None and fileno() >= 0
        except (OSError, TypeError):
            return False

    def is_silent(self, request: Any) -> bool:
        """Tell whether a connection can be waited for, and has nothing to be read."""
        return self.can_hold(request) and not _has_bytes(request)

    def drop_oldest(self) -> None:
        """Give up the connection that has waited for the longest time."""
        with self._lock:
            self._drop_oldest()

    def take_late(self) -> list[Any]:
        """Return the connections that waited too long, or were one too many."""
        now = time.monotonic()
        with self._lock:
            given_up, self._dropped = self._dropped, []
            if self._next_end <= now:
                late = [request for request, _, end in self._connections.values() if end <= now]
                given_up += map(self._forget, late)
                ends = (end for _, _, end in self._connections.values())
                self._next_end = min(ends, default=_NEVER)
        return given_up

    def wake(self) -> None:
        """Make `wait` return at once, now or when it is called next."""
        try:
            self._bell.send(b"\0")
        except OSError:
            pass  # it has not yet heard the last ones; or has ended

    def take_all(self) -> list[Any]:
        """Return the connections that wait, no longer waiting."""
        with self._lock:
            requests = [*self._dropped, *map(self._forget, list(self._connections))]
            self._dropped.clear()
        return requests

    def close(self) -> None:
        """End. No connection may wait any more."""
        self._selector.close()
        self._alarm.close()
        self._bell.close()

    def _drop_oldest(self) -> None:
        if self._connections:
            self._dropped.append(self._forget(next(iter(self._connections))))

    def _drop_closed(self) -> bool:
        """Forget what somebody else has closed; tell whether there was anything."""
        closed = [request for request in self._connections if not self.can_hold(request)]
        self._dropped += map(self._forget, closed)
        return bool(closed)

    def _forget(self, request: Any) -> Any:
        del self._connections[request]
        self._selector.unregister(request)
        return request

    def _silence(self) -> None:
        try:
            self._alarm.recv(4096)
        except BlockingIOError:
            pass


_poll = getattr(select, "poll", None)  # missing on Windows


def _has_bytes(request: Any) -> bool:
    """Tell whether a connection can be read from, be it to learn of its end.

    A client sends just after it has connected: to wait a moment for that is less work than
    to have the connection wait in the selector.
    """
    pending = getattr(request, "pending", None)  # a TLS socket may hold bytes itself
    if pending is not None and pending():
        return True
    if _poll is None:
        return bool(select.select([request], [], [], _MOMENT)[0])
    poll = _poll()
    poll.register(request, select.POLLIN)
    return bool(poll.poll(_MOMENT * 1000))
