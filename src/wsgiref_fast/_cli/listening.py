"""Listen on the addresses of a command line, or say what is in the way."""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import contextmanager

from .._http11.addresses import adopt, find_descriptor, write_address
from ..server import Server
from .holders import find_holder
from .messages import FAILED, MISUSED, Stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from .values import Address

#: Lower ports are the system administrator's, mostly.
_FIRST_FREE_PORT = 1024

_OTHER = "choose another address by --bind"


@contextmanager
def explained(addresses: list[Address]) -> Generator[None]:
    """Have what listens on some addresses end by a `Stop` that says why it cannot."""
    for address in addresses:
        _check_descriptor(address)
        _check_path(address)
    try:
        yield
    except (OSError, OverflowError, UnicodeError) as error:
        raise _explain_first(addresses, error) from None


def keep_from_children(addresses: list[Address]) -> None:
    """Have what the application starts not inherit the sockets that this process has inherited.

    It would go on to listen there, and answer nobody, after this process has ended.
    """
    for address in addresses:
        descriptor = find_descriptor(address)
        if descriptor is not None:
            try:
                os.set_inheritable(descriptor, False)
            except OSError:
                pass  # it is said later that it is none


def _explain_first(addresses: list[Address], error: Exception) -> Stop:
    """Return what is wrong with the first address that cannot be listened on."""
    for address in addresses:
        if find_descriptor(address) is None:
            try:
                Server(address).server_close()
            except (OSError, OverflowError, UnicodeError) as its_own:
                return explain(address, its_own)
    # Each can, alone: they stand in each other's way.
    return explain(addresses[-1], error)


def explain(address: Address, error: Exception) -> Stop:
    """Return what says why an address cannot be listened on, and what to do."""
    what = f"cannot listen on {write_address(address)}"
    if isinstance(address, str):
        return _explain_path(address.removeprefix("unix:"), what, error)
    host, port = address
    number = getattr(error, "errno", None)
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return Stop(f"{what}: there is no host {host!r}; {_OTHER}")
    if number in {errno.EADDRINUSE, getattr(errno, "WSAEADDRINUSE", None)}:
        return _explain_use(what, _resolve(host, port), "it is in use")
    if number in {errno.EACCES, errno.EPERM, getattr(errno, "WSAEACCES", None)}:
        why = "not allowed"
        if port < _FIRST_FREE_PORT:
            why = f"ports below {_FIRST_FREE_PORT} are for the system administrator"
        return Stop(f"{what}: {why}; {_OTHER}", FAILED)
    if number in {errno.EADDRNOTAVAIL, getattr(errno, "WSAEADDRNOTAVAIL", None)}:
        return Stop(f"{what}: it is no address of this machine; {_OTHER}", FAILED)
    return Stop(f"{what}: {_reason(error)}", FAILED)


def _explain_use(what: str, address: tuple[str, int] | str, text: str) -> Stop:
    holder = find_holder(address)
    by_whom = f" by {holder}; end that," if holder else ";"
    return Stop(f"{what}: {text}{by_whom}{' or' if holder else ''} {_OTHER}", FAILED)


def _resolve(host: str, port: int) -> tuple[str, int]:
    """Return an address in numbers."""
    flags = socket.AI_PASSIVE
    found: Any = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=flags)
    return found[0][4][0], port


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


# Unix sockets.


def _check_path(address: Address) -> None:
    """Refuse a path where there cannot be a socket."""
    if not (isinstance(address, str) and address.startswith("unix:")):
        return
    path = address.removeprefix("unix:")
    what = f"cannot listen on {address}"
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise Stop(f"{what}: there is no folder {folder!r}; make it first")
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return
    if not stat.S_ISSOCK(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a file that is no socket"
        raise Stop(f"{what}: there is {kind}; {_OTHER}")


def _explain_path(path: str, what: str, error: Exception) -> Stop:
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        return _explain_use(what, path, "it is in use")
    if number in {errno.EACCES, errno.EPERM}:
        folder = os.path.dirname(path)
        return Stop(f"{what}: not allowed in the folder {folder!r}; {_OTHER}", FAILED)
    if "too long" in str(error):
        length = len(os.fsencode(path))
        return Stop(f"{what}: a path of {length} bytes is too long for a socket; {_OTHER}", MISUSED)
    return Stop(f"{what}: {_reason(error)}; {_OTHER}", FAILED)


# Inherited ones.


def _check_descriptor(address: Address) -> None:
    """Refuse a descriptor that is no listening socket."""
    number = find_descriptor(address)
    if number is None:
        return
    try:
        duplicate = os.dup(number)
    except OSError:
        text = f"{address}: no descriptor {number} was inherited"
        raise Stop(f"{text}; whoever starts this has to pass a socket") from None
    if not stat.S_ISSOCK(os.fstat(duplicate).st_mode):
        os.close(duplicate)
        raise Stop(f"{address}: descriptor {number} is no socket")
    with adopt(duplicate) as found:
        if not _is_listening(found):
            raise Stop(f"{address}: the socket does not listen (a stream socket that does is due)")


def _is_listening(found: socket.socket) -> bool:
    if found.type != socket.SOCK_STREAM:
        return False
    try:
        return bool(found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except (OSError, AttributeError):
        return True  # this system does not tell
