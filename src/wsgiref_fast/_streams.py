"""A connection's two sides as files: a request's body to read, a response to write."""

from __future__ import annotations

import io
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

_SHUT_WR = 1  # as socket.SHUT_WR, which a CGI script need not import

#: Bytes of one read: a length that a client merely claims allocates no more.
_BLOCK = 1 << 20

#: The bounds of a `Farewell`: bytes, seconds, and seconds without a byte.
_FAREWELL_BYTES = 1 << 26
_FAREWELL_TIME = 2.0
_FAREWELL_PAUSE = 0.5

#: Up to here blocks are copied together; above, the system gathers them.
_COPIED_AT_MOST = 1 << 16


class ConnectionWriter:
    """Write to a socket, without a buffer, but for what is held back to leave at once.

    Between `hold` and `release` (or `flush`), blocks are kept and then sent by one
    system call. It is a file as `io.BufferedIOBase` describes one, without inheriting
    from it: one is made for each connection, and an `io` object is dear to make and drop.
    """

    __slots__ = ("__dict__", "__weakref__", "_held", "_sock", "closed", "holds")

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._held: list[bytes] = []
        #: Whether blocks are being held back.
        self.holds = False
        self.closed = False

    def readable(self) -> bool:
        """Return false."""
        return False

    def seekable(self) -> bool:
        """Return false."""
        return False

    def writable(self) -> bool:
        """Return true."""
        return True

    def isatty(self) -> bool:
        """Return false."""
        return False

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._sock.fileno()  # type: ignore[no-any-return]

    def write(self, data: Any) -> int:
        """Send all the bytes, or keep them while blocks are held; return their number."""
        if self.holds:
            self._held.append(data if type(data) is bytes else bytes(data))
        else:
            self._sock.sendall(data)
        return len(data) if type(data) is bytes else memoryview(data).nbytes

    def writelines(self, lines: Iterable[Any]) -> None:
        """Write blocks of bytes one after another."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Send what is held."""
        if self.holds:
            self.release()

    def close(self) -> None:
        """Send what is held; the socket stays open."""
        self.flush()
        self.closed = True

    def __enter__(self) -> ConnectionWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def hold(self) -> None:
        """Keep what is written from now on."""
        self.holds = True

    def release(self) -> None:
        """Send what is held, at once, and hold no more."""
        self.holds = False
        if self._held:
            held, self._held = self._held, []
            self._send(held)

    def take(self) -> bytes:
        """Return what is held, for somebody else to send it, and hold no more."""
        held, self.holds, self._held = self._held, False, []
        return b"".join(held)

    def discard(self) -> bool:
        """Forget what is held and hold no more; tell whether anything was being held."""
        held, self.holds, self._held = self.holds, False, []
        return held

    def _send(self, blocks: list[bytes]) -> None:
        if len(blocks[-1]) > _COPIED_AT_MOST:
            head, tail = b"".join(blocks[:-1]), memoryview(blocks[-1])
            try:
                sent = self._sock.sendmsg([head, tail])
            except (AttributeError, NotImplementedError):  # Windows, stand-ins; TLS
                self._sock.sendall(head)
            else:
                if sent < len(head):
                    self._sock.sendall(head[sent:])
                tail = tail[max(sent - len(head), 0) :]
            if tail:
                self._sock.sendall(tail)
        else:
            self._sock.sendall(b"".join(blocks))


class Farewell:
    """The end of a connection whose client may still be sending.

    Closing with bytes unread would reset the connection, and what the client had not yet
    read of its answer is lost (RFC 9112 section 9.6). So the sending side is closed, and
    what comes is thrown away, within bounds of bytes and of time.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._left = _FAREWELL_BYTES
        self._deadline = time.monotonic() + _FAREWELL_TIME
        try:
            connection.shutdown(_SHUT_WR)
        except (OSError, AttributeError):  # it is gone; or is a stand-in
            self._left = 0

    def patience(self) -> float:
        """Return how many seconds a next byte may take."""
        return max(0.0, min(self._deadline - time.monotonic(), _FAREWELL_PAUSE))

    def receive(self) -> bool:
        """Throw away what is there, or comes within `patience`; tell whether to go on."""
        if self._left <= 0:
            return False
        try:
            self._connection.settimeout(self.patience())
            received = len(self._connection.recv(_COPIED_AT_MOST))
        except (OSError, AttributeError):
            return False
        self._left -= received
        return received > 0

    def finish(self) -> None:
        """Go on to the end."""
        while self.receive():
            pass


class BodyReader:
    """Read a request's body from a stream that goes on behind it: ``wsgi.input``.

    Every method ends at the body's length (PEP 3333, "Input and Error Streams"). What
    else a connection's file has (``raw``, ``fileno()``) is that file's own.

    Args:
        source: the stream that the body is read from.
        length: the body's bytes.
        connection: the connection's file, where `source` is not it.

    """

    __slots__ = ("_connection", "_source", "left")

    def __init__(self, source: Any, length: int, connection: Any = None) -> None:
        self._source = source
        self._connection = source if connection is None else connection
        #: Bytes of the body that were not read yet.
        self.left = length

    def read(self, size: int | None = -1, /) -> bytes:
        """Return `size` bytes, or all that is left; fewer only where the client stopped."""
        left = self.left
        wanted = left if size is None or size < 0 or size > left else size
        if wanted > _BLOCK:
            return self._read_blocks(wanted)
        block: bytes = (self._source.read(wanted) if wanted else b"") or b""
        self.left = left - len(block)
        if len(block) == wanted or not block:
            return block
        return block + self._read_blocks(wanted - len(block))

    def _read_blocks(self, wanted: int) -> bytes:
        blocks: list[bytes] = []
        while wanted:
            block = self._take(self._source.read(min(wanted, _BLOCK)))
            if not block:
                break
            blocks.append(block)
            wanted -= len(block)
        return b"".join(blocks)

    def read1(self, size: int = -1, /) -> bytes:
        """Return what one read brings, at most `size` bytes."""
        wanted = min(self._bounded(size), _BLOCK)
        return self._take(self._source.read1(wanted)) if wanted else b""

    def readinto(self, buffer: Any, /) -> int:
        """Read into a buffer; return how many bytes."""
        return _fill(buffer, self.read)

    def readinto1(self, buffer: Any, /) -> int:
        """Read into a buffer what one read brings; return how many bytes."""
        return _fill(buffer, self.read1)

    def peek(self, size: int = 0, /) -> bytes:
        """Return bytes that are buffered, or come by one read, without taking them."""
        return self._source.peek(size)[: self.left] if self.left else b""

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return the next line with its end, at most `size` bytes of it."""
        wanted = self._bounded(size)
        return self._take(self._source.readline(wanted)) if wanted else b""

    def readlines(self, hint: int | None = None, /) -> list[bytes]:
        """Return lines: all, or until they are `hint` bytes together."""
        lines, size = [], 0
        while line := self.readline():
            lines.append(line)
            size += len(line)
            if hint and 0 < hint <= size:
                break
        return lines

    def __iter__(self) -> BodyReader:
        return self

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def __enter__(self) -> BodyReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Do nothing: the connection is not the application's to close (PEP 3333)."""

    def release(self, connection: Any) -> None:
        """Close the source, unless it is the connection's file."""
        if self._source is not connection:
            self._source.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def _bounded(self, size: int | None) -> int:
        return self.left if size is None or size < 0 else min(size, self.left)

    def _take(self, block: bytes | None) -> bytes:
        if block is None:  # a connection that does not block has none
            return b""
        self.left -= len(block)
        return block


class LateFile:
    """The file of a connection, made when it is first used.

    Args:
        request_handler: the connection's.
        received: bytes that have been received already; they are read first.

    """

    __slots__ = ("_file", "_received", "_request_handler")

    def __init__(self, request_handler: Any, received: bytes) -> None:
        self._request_handler = request_handler
        self._received = received
        self._file: Any = None

    def close(self) -> None:
        """Close the file, if there is one; there will be none any more."""
        self._request_handler = None
        if self._file is not None:
            self._file.close()

    def __getattr__(self, name: str) -> Any:
        if self._file is None:
            if self._request_handler is None:  # as a file that was closed
                self._file = io.BufferedReader(io.BytesIO())
                self._file.close()
            else:
                self._file = self._request_handler._open_file(self._received)
        return getattr(self._file, name)


class ReceivedIO(io.RawIOBase):
    """A connection's raw file with bytes in front that have been received already."""

    def __init__(self, received: bytes, raw: Any) -> None:
        self._received = received
        self._raw = raw

    def readable(self) -> bool:
        """Return true."""
        return True

    def fileno(self) -> int:
        """Return the connection's descriptor."""
        return self._raw.fileno()  # type: ignore[no-any-return]

    def readinto(self, buffer: Any, /) -> int | None:
        """Read into a buffer; return how many bytes, or `None` where it would have to wait."""
        received = self._received[: len(buffer)]
        if not received:
            return self._raw.readinto(buffer)  # type: ignore[no-any-return]
        self._received = self._received[len(received) :]
        buffer[: len(received)] = received
        return len(received)

    def close(self) -> None:
        """Close the raw file."""
        self._raw.close()
        super().close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


def _fill(buffer: Any, read: Callable[[int], bytes]) -> int:
    view = memoryview(buffer).cast("B")
    block = read(len(view))
    view[: len(block)] = block
    return len(block)


io.BufferedIOBase.register(ConnectionWriter)
io.BufferedIOBase.register(BodyReader)
