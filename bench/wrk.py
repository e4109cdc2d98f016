"""Load from ``wrk``: each request on a connection of its own, or kept ones."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass

_OPTIONS = ("--threads", "2", "--duration", "1s")
_CLOSING = ("--connections", "16", "--header", "Connection: close")
_KEPT = ("--connections", "32")


@dataclass
class Load:
    """What one run of wrk found."""

    requests: int
    per_second: float
    errors: int


def need() -> None:
    """Skip the case where there is no wrk."""
    import pytest

    if shutil.which("wrk") is None:
        pytest.skip("wrk is not installed")


def load(port: int) -> Load:
    """Ask a server for its page for a second, by two threads with 16 connections at a time."""
    return _load(port, _CLOSING)


def load_kept(port: int, fields: tuple[str, ...] = ()) -> Load:
    """Do so over 32 connections that are kept, with these header fields."""
    return _load(port, (*_KEPT, *(option for field in fields for option in ("--header", field))))


def _load(port: int, options: tuple[str, ...]) -> Load:
    command = ["wrk", *_OPTIONS, *options, f"http://127.0.0.1:{port}/"]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return read(report)


def read(report: str) -> Load:
    """Return what a report of wrk says.

    Raises:
        ValueError: it is none.

    """
    errors = re.findall(r"(?:connect|read|write|timeout|responses:) (\d+)", report)
    return Load(
        int(find(r"(\d+) requests in", report)[1]),
        float(find(r"Requests/sec: +([\d.]+)", report)[1]),
        sum(map(int, errors)),
    )


def find(pattern: str, report: str) -> re.Match[str]:
    """Return where a report has what is looked for.

    Raises:
        ValueError: it has no such thing.

    """
    found = re.search(pattern, report, re.MULTILINE)
    if found is None:
        raise ValueError(f"no report of wrk: {report!r}")
    return found
