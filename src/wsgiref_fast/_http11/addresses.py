"""The addresses of a server: what one may be, and the sockets that stand there already."""

from __future__ import annotations

import os
import socket
import stat
import sys
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

_HAS_UNIX = hasattr(socket, "AF_UNIX")

#: What keeps others from listening where we do: on Windows, where an address that may be
#: reused may be stolen, too.
EXCLUSIVELY: int | None = getattr(socket, "SO_EXCLUSIVEADDRUSE", None)


@contextmanager
def naming(address: Any) -> Generator[None]:
    """Have the message of an error name the address that it is about."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = write_address(address)
        raise


def write_address(address: Any) -> str:
    """Return an address as ``--bind`` takes it; the path of a Unix socket as it is."""
    if not isinstance(address, tuple):
        return str(address)
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"


def stands_alone(host: str) -> bool:
    """Tell whether what was given as a host is an address without a port."""
    return host.startswith(("unix:", "fd://"))


def claim(listener: socket.socket) -> None:
    """Have nobody else listen on an address, where that is to be asked for."""
    if EXCLUSIVELY is not None:
        listener.setsockopt(socket.SOL_SOCKET, EXCLUSIVELY, 1)


def normalize(address: Any) -> Any:
    """Return an address as sockets have it; the path of a Unix socket, ``fd://N`` as it is.

    Raises:
        TypeError, ValueError: it is none.

    """
    if isinstance(address, tuple) and address and stands_alone(str(address[0])):
        address = address[0]
    if isinstance(address, str):
        if address.startswith("unix:"):
            if not _HAS_UNIX:
                raise ValueError("this platform has no Unix sockets")
            return address.removeprefix("unix:")
        if address.startswith("fd://") and address[5:].isdecimal():
            return address
        raise ValueError(f"an address is (host, port), 'unix:/path' or 'fd://3', not {address!r}")
    if isinstance(address, tuple):
        _check_pair(address)
    return address


def _check_pair(address: tuple[Any, ...]) -> None:
    """Refuse what is no host and port, as sockets would with fewer words."""
    if len(address) < 2:
        raise TypeError(f"an address is (host, port), not {address!r}")
    host, port = address[:2]
    if not (host is None or isinstance(host, (str, bytes, bytearray))):
        raise TypeError(f"a host is a str, not {host!r}")
    if not hasattr(port, "__index__"):
        raise TypeError(f"a port is an int, not {port!r}")
    if isinstance(host, str) and host.count(":") == 1:
        raise ValueError(f"a host and its port are given apart, not as {host!r}")


def find_descriptor(address: Any) -> int | None:
    """Return the number of an inherited socket, ``fd://N``; `None` of another address."""
    is_inherited = isinstance(address, str) and address.startswith("fd://")
    return int(address[5:]) if is_inherited else None


def adopt(descriptor: int) -> socket.socket:
    """Return the socket of a descriptor that other processes may have, too.

    It goes on to block, or not to block, as it did. PyPy would have it block, and whoever
    serves on it meanwhile would wait in `accept` for ever.
    """
    is_pypy = sys.implementation.name == "pypy"
    if not is_pypy or os.name != "posix" or os.get_blocking(descriptor):
        return socket.socket(fileno=descriptor)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(0.0)  # what the socket begins with
    try:
        return socket.socket(fileno=descriptor)
    finally:
        socket.setdefaulttimeout(before)


def clear_path(path: Any) -> None:
    """Remove the file of a Unix socket that nobody listens on any more."""
    if not isinstance(path, str) or not path or path[0] == "\0":
        return
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except OSError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.setblocking(False)  # one whose backlog is full is alive, and lets us wait
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError:
            pass
