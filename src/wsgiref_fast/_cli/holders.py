"""Who listens on an address already, where the system lets one know: Linux's ``/proc``."""

from __future__ import annotations

import os
import socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_LISTENING = "0A"
_ANY = {"0.0.0.0", "::"}


def find_holder(address: tuple[str, int] | str) -> str | None:
    """Return the program and the process id of who listens on an address; `None`: unknown.

    Args:
        address: numbers of host and port; or the path of a Unix socket.

    """
    try:
        inodes = set(_of_path(address) if isinstance(address, str) else _of_port(*address))
        return _find_process(inodes) if inodes else None
    except (OSError, ValueError, IndexError):
        return None


def _of_port(host: str, port: int) -> Iterator[str]:
    """Yield the inodes of sockets that listen on a port, as far as they are in the way."""
    for table in ("tcp", "tcp6"):
        try:
            lines = _read(f"/proc/net/{table}").splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            where, state, inode = fields[1], fields[3], fields[9]
            other, _, number = where.partition(":")
            if state == _LISTENING and int(number, 16) == port:
                found = _decode(other)
                if found == host or _ANY & {found, host}:
                    yield inode


def _decode(digits: str) -> str:
    """Return an address of the table, whose words are in the order of the machine."""
    words = [int(digits[at : at + 8], 16) for at in range(0, len(digits), 8)]
    family = socket.AF_INET if len(words) == 1 else socket.AF_INET6
    return socket.inet_ntop(family, struct.pack(f"={len(words)}I", *words))


def _of_path(path: str) -> Iterator[str]:
    for line in _read("/proc/net/unix").splitlines()[1:]:
        fields = line.split(None, 7)
        if len(fields) == 8 and fields[7] == path:
            yield fields[6]


def _find_process(inodes: set[str]) -> str | None:
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in filter(str.isdigit, os.listdir("/proc")):
        folder = f"/proc/{process}/fd"
        try:
            descriptors = os.listdir(folder)
        except OSError:
            continue  # it is another user's, or has gone
        if any(_link(f"{folder}/{each}") in wanted for each in descriptors):
            return f"{_program(process)} (process {process})"
    return None


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _program(process: str) -> str:
    """Return a program's name alone: there may be a password among its arguments."""
    first = _read(f"/proc/{process}/cmdline").partition("\0")[0]
    # What has changed its title has all of it there, with spaces.
    return os.path.basename(first.partition(" ")[0])[:60] or "another program"


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()
