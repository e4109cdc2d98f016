"""What a request costs as the work grows: curves that should be lines, without a knee."""

from __future__ import annotations

import resource
import socket
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from .measure import HOST, Running, load, running
from .registry import SERVERS, Server, _launched
from .results import Curve, Point
from .workloads import WORKLOADS, Workload

_HELLO = next(workload for workload in WORKLOADS if workload.name == "hello")
_WAITING = next(workload for workload in WORKLOADS if workload.name == "waiting")

#: Called with what is measured next.
Tell = Callable[[str], None]


@dataclass
class Plan:
    """A curve to be measured: which servers, and which places on it."""

    name: str
    title: str
    x_title: str
    y_title: str
    servers: tuple[str, ...]
    places: tuple[float, ...]
    #: Measures one place: server, place, seconds of a round, rounds, folder.
    measure: Callable[[Server, float, int, int, Path], list[float]]

    def seconds(self, rounds: int) -> float:
        """Return about how long it takes."""
        return len(self.servers) * len(self.places) * (rounds + 0.7)


def _loaded(
    server: Server, workload: Workload, seconds: int, rounds: int, folder: Path
) -> Iterator[float]:
    """Yield the requests a second of each round."""
    with running(server, workload.app, "") as process:
        for _ in range(rounds):
            one = load(process, workload, seconds, folder)
            if one.errors:
                raise ValueError(f"{server.name}: {one.errors} errors")
            yield one.per_second


def _by_fields(
    server: Server, count: float, seconds: int, rounds: int, folder: Path
) -> list[float]:
    # Host is one of them.
    fields = tuple(f"X-Field-{n}: some value of it" for n in range(int(count) - 1))
    workload = replace(_HELLO, fields=fields)
    return [1e6 / rate for rate in _loaded(server, workload, seconds, rounds, folder)]


def _by_size(server: Server, size: float, seconds: int, rounds: int, folder: Path) -> list[float]:
    workload = replace(_HELLO, fields=(f"X-Field: {'x' * (int(size) - 9)}",))
    return [1e6 / rate for rate in _loaded(server, workload, seconds, rounds, folder)]


_PIECE = bytes(1 << 16)


def _by_body(server: Server, size: float, _seconds: int, rounds: int, _folder: Path) -> list[float]:
    times = []
    with running(server, "count", "") as process:
        for _ in range(rounds):
            times.append(_post(process, int(size)))
    return times


def _post(server: Running, size: int) -> float:
    """Send a body, and return how many seconds it took until the answer was here."""
    head = f"POST / HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n"
    with socket.create_connection((HOST, server.port), 60) as connection:
        began = time.perf_counter()
        connection.sendall(head.encode())
        left = size
        while left:
            left -= connection.send(_PIECE[:left])
        answer = b""
        while data := connection.recv(65536):
            answer += data
        took = time.perf_counter() - began
    if not answer.endswith(b"\r\n\r\n%d\n" % size):
        raise ValueError(f"answer to {size} bytes: {answer!r}")
    return took


def _by_idle(server: Server, count: float, seconds: int, rounds: int, folder: Path) -> list[float]:
    with running(server, "hello", "") as process, _idle(process.port, int(count)):
        rates = []
        for _ in range(rounds):
            one = load(process, _HELLO, seconds, folder)
            if one.errors:
                raise ValueError(f"{one.errors} errors")
            rates.append(one.per_second)
        return rates


@contextmanager
def _idle(port: int, count: int) -> Iterator[None]:
    """Have so many connections that were served once, and say nothing more."""
    request = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
    with ExitStack() as stack:
        for number in range(count):
            # An address has not ports for all of them.
            source = (f"127.0.1.{1 + number // 20_000}", 0)
            address = (HOST, port)
            connection = socket.create_connection(address, 10, source_address=source)
            stack.enter_context(connection)
            connection.sendall(request)
            if not connection.recv(4096).startswith(b"HTTP/1.1 200"):
                raise ValueError("an idle connection is not served")
        yield


def _by_threads(
    server: Server, count: float, seconds: int, rounds: int, folder: Path
) -> list[float]:
    several = replace(server, command=_launched("server", threads=int(count)))
    return list(_loaded(several, _WAITING, seconds, rounds, folder))


def _by_loops(server: Server, count: float, seconds: int, rounds: int, folder: Path) -> list[float]:
    several = replace(server, command=_launched("server", loops=int(count)))
    return list(_loaded(several, _HELLO, seconds, rounds, folder))


_COST = "microseconds a request"

PLANS = [
    Plan(
        *("header-fields", "Header fields", "fields", _COST),
        servers=("server", "server-pure", "bjoern", "wsgiref"),
        places=(1, 10, 25, 50, 75, 100),
        measure=_by_fields,
    ),
    Plan(
        *("header-size", "Size of a header field", "bytes", _COST),
        servers=("server", "server-pure", "bjoern"),
        places=(100, 1000, 2000, 4000, 6000, 8000),
        measure=_by_size,
    ),
    Plan(
        *("body", "Size of a request's body", "bytes", "seconds"),
        servers=("server", "server-pure", "gunicorn-gthread"),
        places=(1 << 10, 1 << 15, 1 << 20, 1 << 25, 1 << 28, 1 << 30),
        measure=_by_body,
    ),
    Plan(
        *("idle", "Idle connections beside 32 busy ones", "idle connections", "requests a second"),
        servers=("server",),
        places=(0, 100, 1000, 5000, 10_000),
        measure=_by_idle,
    ),
    Plan(
        *("threads", "Threads, an application that waits", "threads", "requests a second"),
        servers=("server",),
        places=(1, 2, 3, 4),
        measure=_by_threads,
    ),
]

#: Several loops are for interpreters whose threads run side by side.
if sysconfig.get_config_var("Py_GIL_DISABLED"):
    PLANS.append(
        Plan(
            *("loops", "Loops", "loops", "requests a second"),
            servers=("server",),
            places=(1, 2, 3, 4),
            measure=_by_loops,
        )
    )


def measure(plan: Plan, seconds: int, rounds: int, folder: Path, tell: Tell) -> Iterator[Curve]:
    """Yield the curves of a plan, one for each server, as far as each came."""
    _allow_descriptors()
    for server in SERVERS:
        if server.name not in plan.servers or server.why_not() is not None:
            continue
        curve = Curve(plan.name, plan.title, plan.x_title, plan.y_title, server.name)
        for place in plan.places:
            tell(f"{plan.title}: {server.title}, {place:,.0f}")
            try:
                found = plan.measure(server, place, seconds, rounds, folder)
            except (OSError, ValueError, RuntimeError) as error:
                tell(f"{plan.title}: {server.title} ends at {place:,.0f}: {error}")
                break
            curve.points.append(Point(place, median(found), min(found), max(found)))
        if curve.points:
            yield curve


def _allow_descriptors() -> None:
    """Take as many descriptors as may be had, for this process and the servers."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
