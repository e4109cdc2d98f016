"""Servers in processes of their own, on a processor core of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = Path(__file__).with_name("serving.py")
#: The processor cores that this process may use; none where that cannot be told.
CORES = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []


@dataclass
class Server:
    """A server that runs: where it listens, and its process."""

    port: int
    pid: int

    def processor_seconds(self) -> float:
        """Return how long it has been computing, in the system's calls too."""
        return processor_seconds(self.pid)


def processor_seconds(pid: int) -> float:
    """Return how long a process has been computing, in the system's calls too.

    Raises:
        OSError: there is no such process.

    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def clients_apart() -> Iterator[None]:
    """Keep this process, and what it starts, off the last core: that is the servers'.

    Servers that take turns share it, so that none has a better one.
    """
    if len(CORES) < 2:
        yield
        return
    os.sched_setaffinity(0, CORES[:-1])
    try:
        yield
    finally:
        os.sched_setaffinity(0, CORES)


def pin(process: subprocess.Popen[bytes]) -> None:
    """Put a server on its core, if clients keep off it; threads that it starts stay there."""
    if CORES and os.sched_getaffinity(0) != set(CORES):
        os.sched_setaffinity(process.pid, CORES[-1:])


@contextmanager
def serving(subject: str, *arguments: str, python: str = sys.executable) -> Iterator[Server]:
    """Run ``serving.py`` for an implementation, with what else it is to be told."""
    package = {"stdlib": "wsgiref", "bjoern": "bjoern"}.get(subject, "wsgiref_fast")
    wish = subject if package == "wsgiref_fast" else "auto"
    with subprocess.Popen(
        [python, "-I", str(_SCRIPT), package, *arguments],
        env=os.environ | {"WSGIREF_FAST_IMPL": wish},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        pin(process)
        try:
            assert process.stdout is not None
            yield Server(int(process.stdout.readline()), process.pid)
            if package != "bjoern":  # which ends only by force
                process.communicate()
                assert process.returncode == 0
        finally:
            process.kill()
