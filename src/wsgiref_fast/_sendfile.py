"""Send a file by one call of the system, from its descriptor to a connection's.

That is for what can be told to be the same: a plain file that the plain wrapper would read
block by block, to a plain connection. All else is iterated over.
"""

from __future__ import annotations

import io
import os
import socket
import sys
from stat import S_ISREG

from . import _hooks
from ._streams import ConnectionWriter
from .headers import Headers
from .util import FileWrapper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .handlers import SimpleHandler

#: Bytes of one call: some systems refuse, or cut, 2 GiB and more.
_AT_ONCE = 1 << 30

#: A file with less left is sent sooner in blocks, the first together with the headers.
_WORTHWHILE = 1 << 15

#: What follows leaves with what is sent so, where the system knows of that.
_MORE: int = getattr(socket, "MSG_MORE", 0)

#: Each block of an iteration goes through these; whoever has one of their own is to see it.
_BLOCK_HOOKS = "write", "_write", "_flush", "finish_content", "set_content_length"
_WRAPPER_HOOKS = "__iter__", "__next__", "__getattribute__", "filelike", "blksize"

#: What a file may have as attributes of its own: any others may change what reading gives.
_HARMLESS = {"name", "close"}


def send_result(handler: SimpleHandler) -> bool:
    """Do what `ServerHandler.sendfile` says."""
    if not _is_plain(handler):
        return False
    wrapper: FileWrapper = handler.result
    file = wrapper.filelike
    found = locate(file)
    if found is None:
        return False
    position, left = found
    wanted = _find_wanted(handler)
    if wanted is None or left < min(_WORTHWHILE, wanted + 1) or _is_overridden(handler):
        return False
    if not handler.headers_sent:
        _send_head(handler, min(wrapper.blksize, left))
    wanted = _find_wanted(handler)
    if wanted is None or not _send(handler, file, position, position + wanted):
        return False
    wrapper._ended = True
    return True


def _is_plain(handler: SimpleHandler) -> bool:
    """Tell whether the connection and the wrapper are what they seem to be."""
    stdout: Any = handler.stdout
    wrapper = handler.result
    return (
        type(stdout) is ConnectionWriter
        and type(stdout._sock) is socket.socket
        and not stdout.holds
        and type(wrapper) is FileWrapper
        and not wrapper._ended
        and type(wrapper.blksize) is int
        and wrapper.blksize > 0
        and bool(handler.status)
        and isinstance(handler.headers, Headers)
        and not handler._is_bodyless()
        and hasattr(os, "sendfile")
    )


def _is_overridden(handler: SimpleHandler) -> bool:
    """Tell whether somebody has a step of their own in what is done with each block."""
    own = vars(handler)
    flush = handler.stdout.flush  # which the handler notes down in the place of its own
    return (
        any(name in own for name in _BLOCK_HOOKS if name != "_flush")
        or own.get("_flush", flush) != flush
        or not _hooks.is_own(type(handler), _BLOCK_HOOKS)
        or not _hooks.is_own(FileWrapper, _WRAPPER_HOOKS)
    )


def locate(file: Any) -> tuple[int, int] | None:
    """Return where reading a file goes on, and how many bytes are left.

    `None` where its descriptor does not tell all: a file in memory, a compressed one, a
    pipe; also where there is nothing to send.
    """
    is_buffered = type(file) is io.BufferedReader or type(file) is io.BufferedRandom
    raw = file.raw if is_buffered else file
    if type(raw) is not io.FileIO or not vars(raw).keys() | vars(file).keys() <= _HARMLESS:
        return None
    try:
        if not file.readable():
            return None
        file.flush()  # what was written to it, too, would be read
        status = os.fstat(file.fileno())
        left = status.st_size - (position := file.tell())
    except (OSError, ValueError):  # closed, or without a position: reading says so
        return None
    # What the system makes up while it is read has no size.
    return (position, left) if S_ISREG(status.st_mode) and left > 0 else None


def _send_head(handler: SimpleHandler, first_block: int) -> None:
    """Send the headers, to leave together with the beginning of the file."""
    stdout: Any = handler.stdout
    stdout.hold()
    try:
        handler.bytes_sent = first_block  # as write() leaves it for who completes the headers
        handler.send_headers()
        handler.bytes_sent = 0
    except:
        # Nothing has left of a head that could not be made: there can be another.
        if stdout.discard():
            handler.headers_sent = False
        raise
    head = stdout.take()
    if head:
        stdout._sock.sendall(head, _MORE if _find_wanted(handler) else 0)


def _find_wanted(handler: SimpleHandler) -> int | None:
    """Return how many bytes ``Content-Length`` has left; `None` where it is malformed.

    Without one it is more than any file has.
    """
    lengths = handler.headers.get_all("Content-Length")
    if not lengths:
        return sys.maxsize
    length = lengths[0]
    if len(lengths) > 1 or not (length.isascii() and length.isdigit() and len(length) < 19):
        return None
    return max(0, int(length) - handler.bytes_sent)


def _send(handler: SimpleHandler, file: Any, position: int, end: int) -> bool:
    """Send a file from a position to an end, or to its own; false where that did not work.

    The file's end is looked for each time, as each read does.
    """
    stdout: Any = handler.stdout
    try:
        while (count := min(os.fstat(file.fileno()).st_size, end) - position) > 0:
            sent = _send_some(stdout._sock, file.fileno(), position, count)
            if not sent:
                break
            position += sent
            handler.bytes_sent += sent
    except (ConnectionError, TimeoutError):
        raise
    except OSError:  # the file's system cannot do it, or cannot read: reading says so
        file.seek(position)
        return False
    # There the last read, which was empty, would have left it.
    if position == end:
        file.seek(0, os.SEEK_END)
    else:
        file.seek(position)
    return True


def _send_some(connection: socket.socket, file: int, position: int, count: int) -> int:
    """Send bytes of a file; return how many, which is none only at its end.

    Raises:
        TimeoutError: the connection took none for as long as its timeout.

    """
    while True:
        try:
            return os.sendfile(connection.fileno(), file, position, min(count, _AT_ONCE))
        except BlockingIOError:
            _wait(connection)


def _wait(connection: socket.socket) -> None:
    """Wait until a connection takes bytes: for its timeout, or without one for good."""
    import selectors

    # Without poll() there may be sendfile() yet, as eventlet leaves it.
    with getattr(selectors, "PollSelector", selectors.SelectSelector)() as waiting:
        waiting.register(connection, selectors.EVENT_WRITE)
        if not waiting.select(connection.gettimeout() or None):
            raise TimeoutError("timed out")
