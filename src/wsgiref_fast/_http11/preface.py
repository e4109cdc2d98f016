"""The PROXY protocol, versions 1 and 2: whose connection a proxy hands on.

As HAProxy's "The PROXY protocol", sections 2.1 and 2.2, has it.
"""

from __future__ import annotations

import socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: What version 2 begins with.
_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
#: Bytes before the part of version 2 whose length they tell, and that part at most.
_FIXED = 16
_LONGEST = 4096
#: The shortest and the longest line of version 1, with its end.
_SHORTEST_LINE = len(b"PROXY UNKNOWN\r\n")
_LONGEST_LINE = 107

_LOCAL, _PROXY = 0x20, 0x21  # version and command
_TCP4, _TCP6 = 0x11, 0x21  # family and transport
_SSL, _IS_SSL = 0x20, 0x01  # a type-length-value, and a bit of its first byte


class BadPreface(ValueError):
    """What is no header of the PROXY protocol."""


class Preface:
    """Reads the header, and not a byte that follows it.

    Attributes:
        source: the client's address and port; `None` where the proxy speaks for itself, or
            does not know.
        is_encrypted: whether the proxy says that the client speaks TLS with it.
        is_unknown: whether there is a client, and the proxy does not know whose address it has.

    """

    __slots__ = ("_data", "is_encrypted", "is_unknown", "source")

    def __init__(self) -> None:
        self._data = b""
        self.source: tuple[str, str] | None = None
        self.is_encrypted = self.is_unknown = False

    def read(self, sock: Any) -> None:
        """Receive the rest of the header, as far as it is here.

        Raises:
            BadPreface: it is none.
            EOFError: the connection has ended without a byte, as a check of health does.
            OSError: receiving failed; `BlockingIOError` where there is nothing more for now.

        """
        while (wanted := self._missing()) != 0:
            if wanted > 0:
                block = sock.recv(wanted)
            else:
                # A line whose end nobody knows: only what belongs to it is taken.
                block = sock.recv(_LONGEST_LINE - len(self._data), socket.MSG_PEEK)
                block = sock.recv(block.find(b"\n") + 1 or len(block))
            if not block:
                raise BadPreface("the connection ends within it") if self._data else EOFError
            self._data += block

    def _missing(self) -> int:
        """Return how many bytes are missing; -1: as many as it takes to the end of a line."""
        data = self._data
        size = len(data)
        if data.startswith(_SIGNATURE[: max(size, 1)]) and size < len(_SIGNATURE):
            return _FIXED - size
        if data.startswith(_SIGNATURE):
            if size < _FIXED:
                return _FIXED - size
            length: int = struct.unpack_from("!H", data, 14)[0]
            if length > _LONGEST:
                raise BadPreface("too long")
            if size < _FIXED + length:
                return _FIXED + length - size
            self._parse_second()
            return 0
        if data[:6] != b"PROXY "[:size]:
            raise BadPreface("no header of the PROXY protocol")
        if data.endswith(b"\r\n"):
            self._parse_first()
            return 0
        if size >= _LONGEST_LINE or b"\n" in data:
            raise BadPreface("its line does not end")
        return _SHORTEST_LINE - size if size < _SHORTEST_LINE else -1

    def _parse_first(self) -> None:
        words = self._data[:-2].split(b" ")
        if words[1] == b"UNKNOWN":
            self.is_unknown = True
            return
        family = {b"TCP4": socket.AF_INET, b"TCP6": socket.AF_INET6}.get(words[1])
        if family is None or len(words) != 6:
            raise BadPreface("no header of the PROXY protocol")
        for address, port in zip(words[2:4], words[4:6], strict=True):
            try:
                socket.inet_pton(family, address.decode("ascii"))
            except (OSError, ValueError):
                raise BadPreface("an address that is none") from None
            is_number = port.isdigit() and str(int(port)).encode() == port
            if not is_number or int(port) > 65535:
                raise BadPreface("a port that is none")
        self.source = words[2].decode("ascii"), words[4].decode("ascii")

    def _parse_second(self) -> None:
        command, kind = self._data[12], self._data[13]
        if command == _LOCAL:
            return
        if command != _PROXY:
            raise BadPreface("a version or a command that is unknown")
        body = self._data[_FIXED:]
        size = {_TCP4: 4, _TCP6: 16}.get(kind)
        if size is None:  # not of the network: the proxy's own address stands
            self.is_unknown = True
            return
        if len(body) < 2 * size + 4:
            raise BadPreface("too short for its addresses")
        family = socket.AF_INET if kind == _TCP4 else socket.AF_INET6
        port: int = struct.unpack_from("!H", body, 2 * size)[0]
        self.source = socket.inet_ntop(family, body[:size]), str(port)
        self._look_for_tls(body[2 * size + 4 :])

    def _look_for_tls(self, rest: bytes) -> None:
        """Go through what follows the addresses, which may say that the client speaks TLS."""
        while rest:
            if len(rest) < 3 or len(rest) < 3 + (length := int.from_bytes(rest[1:3], "big")):
                raise BadPreface("a value that is cut")
            if rest[0] == _SSL and length and rest[3] & _IS_SSL:
                self.is_encrypted = True
            rest = rest[3 + length :]
