"""What a server has done so far: counted by its loops, put together when somebody asks."""

from __future__ import annotations

import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .loop import Loop

#: What connections do: see `peer.Peer.doing`.
DOINGS: tuple[str, ...] = ("preface", "handshake", "idle", "reading", "answering", "closing")

#: What there is a time for.
TIMEOUTS: tuple[str, ...] = ("head", "body", "idle", "send", "handshake")


class Counts:
    """What one loop has counted. Only its own thread writes here.

    Attributes:
        accepted: connections that were accepted.
        requests: requests whose head and body were here in full.
        received, sent: bytes, without what TLS adds.
        statuses: responses by their status, refusals among them.
        timeouts: connections whose time was over, by the time's name.

    """

    __slots__ = ("accepted", "received", "requests", "sent", "statuses", "timeouts")

    def __init__(self) -> None:
        self.accepted: int = 0
        self.requests: int = 0
        self.received: int = 0
        self.sent: int = 0
        self.statuses: dict[int, int] = {}
        self.timeouts: dict[str, int] = dict.fromkeys(TIMEOUTS, 0)

    def note_status(self, status: int) -> None:
        """Count a response."""
        self.statuses[status] = self.statuses.get(status, 0) + 1

    def add(self, other: Counts) -> None:
        """Add what another loop has counted."""
        self.accepted += other.accepted
        self.requests += other.requests
        self.received += other.received
        self.sent += other.sent
        for status, number in other.statuses.copy().items():
            self.statuses[status] = self.statuses.get(status, 0) + number
        for name, number in other.timeouts.items():
            self.timeouts[name] += number


class Stats:
    """What a server has done since it was made, as it was at one moment.

    Attributes:
        began_at: when the server was made, in seconds of `time.time`.
        uptime: for how many seconds it was there.
        requests: requests that came in full.
        responses: responses that have ended, by status; refusals of bad requests too.
        accepted: connections that were accepted.
        connections: open ones by what they do: ``preface`` (a proxy is to tell whose they
            are), ``handshake`` (TLS), ``idle`` (between two requests), ``reading``,
            ``answering``, ``closing``.
        received, sent: bytes, without what TLS and the system add.
        timeouts: connections whose time was over, by kind: ``head`` (the PROXY protocol's,
            too), ``body``, ``idle`` (kept ones, which is usual), ``send``, ``handshake``.

    """

    __slots__ = (
        *("accepted", "began_at", "connections", "received", "requests", "responses", "sent"),
        *("timeouts", "uptime"),
    )

    def __init__(
        self, began_at: float, uptime: float, counts: Counts, connections: dict[str, int]
    ) -> None:
        self.began_at = began_at
        self.uptime = uptime
        self.requests: int = counts.requests
        self.responses: dict[int, int] = dict(sorted(counts.statuses.items()))
        self.accepted: int = counts.accepted
        self.connections = connections
        self.received: int = counts.received
        self.sent: int = counts.sent
        self.timeouts: dict[str, int] = counts.timeouts

    @property
    def errors(self) -> dict[int, int]:
        """Responses with a status from 400 on, by status."""
        return {status: number for status, number in self.responses.items() if status >= 400}

    def __repr__(self) -> str:
        parts = (f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"Stats({', '.join(parts)})"


class Ledger:
    """The counts of a server: of the loops that it has had, and of those that run."""

    def __init__(self) -> None:
        self._began_at, self._began = time.time(), time.monotonic()
        self._past = Counts()
        self._loops: tuple[Loop, ...] = ()
        self._lock = threading.Lock()  # no count ever seems to go back

    def open(self, loops: Iterable[Loop]) -> None:
        """Count what these loops do."""
        self._loops = tuple(loops)

    def close(self) -> None:
        """Keep what the loops have counted: they have ended."""
        with self._lock:
            loops, self._loops = self._loops, ()
            for loop in loops:
                loop.add_counts(self._past)

    def read(self) -> Stats:
        """Return how things stand."""
        counts = Counts()
        connections = dict.fromkeys(DOINGS, 0)
        with self._lock:
            counts.add(self._past)
            for loop in self._loops:
                loop.add_counts(counts)
                for peer in list(loop.peers.values()):
                    doing = peer.doing
                    if doing in connections:
                        connections[doing] += 1
        uptime = time.monotonic() - self._began
        return Stats(self._began_at, uptime, counts, connections)
