"""What systemd and a service say to each other: passed sockets, notifications, the watchdog."""

from __future__ import annotations

import os
import socket
import time

from .messages import warn
from .values import DEFAULT_ADDRESS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .values import Address

#: Passed descriptors begin here (sd_listen_fds(3)).
_FIRST = 3
_PASSED = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")


def choose_addresses(given: list[Address] | None, keeps: bool = False) -> list[Address]:
    """Return where to listen: as given, else on the sockets that were passed, else the default.

    Args:
        given: the addresses of ``--bind``.
        keeps: whether the environment goes on saying what was passed.

    """
    passed = find_passed(keeps)
    if not given:
        return [*passed] or [DEFAULT_ADDRESS]
    if passed and not set(passed) & set(given):
        warn(f"--bind is given: {len(passed)} socket(s) of systemd's are not used")
    return given


def find_passed(keeps: bool = False) -> list[str]:
    """Return the sockets that systemd has passed to this process, as addresses.

    They, and the variables that tell of them, are not inherited further, unless `keeps`.
    """
    environ = os.environ
    try:
        is_for_us = int(environ.get("LISTEN_PID", "")) == os.getpid()
        number = int(environ.get("LISTEN_FDS", ""))
    except ValueError:
        is_for_us, number = False, 0
    if not keeps:
        for name in _PASSED:
            environ.pop(name, None)
    if not is_for_us:
        return []
    descriptors = range(_FIRST, _FIRST + min(number, 10_000))
    if not keeps:
        for descriptor in descriptors:
            try:
                os.set_inheritable(descriptor, False)
            except OSError:
                pass  # it is said later that it is none
    return [f"fd://{descriptor}" for descriptor in descriptors]


class Notifier:
    """Tells the service manager what this process does, where there is one (sd_notify(3)).

    The variables that name it are taken out of the environment: it is this process's matter.
    """

    def __init__(self) -> None:
        self._path = os.environ.pop("NOTIFY_SOCKET", "")
        #: Seconds between two signs of life; none: 0.
        self.interval = _take_interval() if self._path else 0.0
        self._alive_at = 0.0

    def send(self, *lines: str) -> None:
        """Send some assignments (``READY=1``); where nobody takes them, go on."""
        if not self._path:
            return
        address = "\0" + self._path[1:] if self._path.startswith("@") else self._path
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)  # it is the loop that waits
                sender.sendto("\n".join(lines).encode("utf-8", "replace"), address)
        except (OSError, AttributeError):
            pass

    def send_reloading(self) -> None:
        """Tell that a reload begins; ``READY=1`` tells that it is done."""
        self.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def send_life(self) -> None:
        """Tell the watchdog that this process lives, once in each interval."""
        now = time.monotonic()
        if now >= self._alive_at:
            self._alive_at = now + self.interval
            self.send("WATCHDOG=1")


def _take_interval() -> float:
    """Return half of what the watchdog waits; 0 where there is none (sd_watchdog_enabled(3))."""
    limit, process = os.environ.pop("WATCHDOG_USEC", ""), os.environ.pop("WATCHDOG_PID", "")
    try:
        is_for_us = not process or int(process) == os.getpid()
        return int(limit) / 2e6 if is_for_us else 0.0
    except ValueError:
        return 0.0
