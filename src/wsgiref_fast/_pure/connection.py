"""The requests of an HTTP/1.1 connection, without its socket: bytes in, requests out.

A server as RFC 9110 and RFC 9112 want an origin server, strict where they allow leniency:
two parties that read the same bytes differently is what request smuggling is. What comes
of a request does not depend on how its bytes were cut up on the way.
"""

from __future__ import annotations

import io
import re

from .._grammar import HEX_DIGITS, MAX_CHUNK_DIGITS
from . import request as _request
from .request import BadRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    class Limits(Protocol):
        """What a client may send, in bytes unless it says otherwise."""

        max_request_line: int
        max_header_line: int
        max_header_section: int
        max_header_fields: int
        max_body: int
        max_trailers: int
        max_chunk_overhead: int
        spool_size: int


# What a method or a field's name is made of (RFC 9110 section 5.6.2).
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(
    rb"(%b) ([\x21\x22\x24-\x7e\x80-\xff]+) HTTP/([0-9])\.([0-9])\r\n" % _TOKEN
)
_PLAIN_SECTION = re.compile(rb"(?:%b:[\t\x20-\x7e]*\r\n)*\r\n" % _TOKEN)
_FIELD = re.compile(rb"(%b):[ \t]*([\t\x20-\x7e\x80-\xff]*)\r\n" % _TOKEN)
_ABSOLUTE = re.compile(r"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
# A comma, though a name may have one, is what joins two fields (RFC 9110 section 7.2).
_HOST = re.compile(
    r"(?:[A-Za-z0-9._~!$&'()*+;=-]|%[0-9A-Fa-f]{2})*(?::[0-9]*)?"
    r"|\[(?:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]+|[vV][0-9A-Fa-f]+\.[0-9A-Za-z._~!$&'()*+;=:-]+)\](?::[0-9]*)?"
)

#: What a client that wants it gets before it sends the body (RFC 9110 section 10.1.1).
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

#: No line of a chunked body is longer, whatever the sizes allow.
_LONGEST_CHUNK_LINE = 65536

# What is read next.
_HEAD, _BODY, _CHUNK_LINE, _CHUNK, _CHUNK_END, _TRAILERS = range(6)


class Request:
    """A request whose head and body are here.

    Attributes:
        method: as it was sent.
        target: as it was sent.
        path: the target's path and query, in origin form; ``*`` for the server itself.
        version: ``HTTP/1.1`` or ``HTTP/1.0``.
        variables: the header fields, as CGI variables.
        body: a file that stands at the body's start; `None` where there is none.
        keeps_alive: whether the client lets the connection go on.

    """

    __slots__ = ("body", "keeps_alive", "method", "path", "target", "variables", "version")

    def __init__(self, method: str, target: str, path: str, version: str) -> None:
        self.method: str = method
        self.target: str = target
        self.path: str = path
        self.version: str = version
        self.variables: dict[str, str] = {}
        self.body: Any = None
        self.keeps_alive: bool = False


class Connection:
    """The requests of a connection, out of the bytes that come.

    After a `BadRequest` nothing that comes later can be told apart any more: the
    connection can only be closed.

    Args:
        limits: what a client may send.

    """

    __slots__ = (
        *("_buffer", "_checked", "_file", "_has_ended", "_has_skipped", "_left", "_length"),
        *("_limits", "_line_overhead", "_lines", "_pieces", "_request", "_state"),
        *("is_for_head", "wants_continue"),
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._buffer = bytearray()
        self._has_ended = False
        self._start_over()

    def _start_over(self) -> None:
        self._state = _HEAD
        self._request: Request | None = None
        # Of the head: its whole lines so far, where they end, and whether an empty one came first.
        self._lines: list[bytes] = []
        self._checked = 0
        self._has_skipped = False
        # Of the body: its length, or of what has come of it; what is left of it, or of a chunk.
        self._length = 0
        self._left = 0
        # What has come of a body of a known length, and is in no file yet.
        self._pieces: list[bytes] = []
        self._line_overhead = 0
        self._file: Any = None
        #: Whether a method that is HEAD has come: no answer has a body then.
        self.is_for_head: bool = False
        #: Whether the client waits for a ``100 Continue`` before it sends the body.
        self.wants_continue: bool = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing of a next request is here."""
        return self._state == _HEAD and not self._buffer

    @property
    def is_in_head(self) -> bool:
        """Whether the head of a request is not yet here in full."""
        return self._state == _HEAD

    @property
    def has_ended(self) -> bool:
        """Whether the client sends no more."""
        return self._has_ended

    @property
    def buffered(self) -> int:
        """How many bytes are here that no request was made of."""
        return len(self._buffer) + sum(map(len, self._pieces))

    def receive(self, data: bytes) -> None:
        """Take bytes; none of them: the client sends no more."""
        if not data:
            self._has_ended = True
        elif self._state == _BODY:
            self._gather(data)
        else:
            self._buffer += data

    def next_request(self) -> Request | None:
        """Return the next request, once it is here in full; else `None`.

        Raises:
            BadRequest: it must be refused.

        """
        if self._state == _HEAD and not self._take_head():
            if self._has_ended and self._buffer:
                raise BadRequest(400, "Request ends within its head")
            return None
        if not self._take_body():
            if self._has_ended:
                raise BadRequest(400, "Request ends within its body")
            return None
        request = self._request
        self._start_over()
        return request

    def close(self) -> None:
        """Let go of what is here of a request."""
        file, self._file = self._file, None
        self._buffer.clear()
        self._pieces.clear()
        if file is not None:
            try:
                file.close()
            except OSError:
                pass  # the disk has no room for the rest, which nobody wants

    # The head.

    def _take_head(self) -> bool:
        buffer = self._buffer
        if not self._has_skipped and not self._checked:
            if buffer.startswith(b"\r\n"):  # one that follows a body (RFC 9112 section 2.2)
                del buffer[:2]
                self._has_skipped = True
            elif buffer == b"\r":
                return False
        if not buffer:
            return False
        if not self._checked:
            end = buffer.find(b"\r\n\r\n")
            if end >= 0 and self._take_plain_head(_copy(buffer, 0, end + 4)):
                return True
        return self._take_lines()

    def _take_plain_head(self, head: bytes) -> bool:
        """Take a whole head if it is a plain one; else leave it to `_take_lines`."""
        limits = self._limits
        if len(head) > min(limits.max_request_line, limits.max_header_line):
            return False  # some line may be too long
        line = _REQUEST_LINE.match(head)
        if line is None or line[3] != b"1":
            return False
        start = line.end()
        if (
            len(head) - start > limits.max_header_section
            or head.count(b"\n") - 2 > limits.max_header_fields
            or not _PLAIN_SECTION.fullmatch(head, start)
        ):
            return False
        parsed = _request.parse_section(head, start, False)
        if parsed is None:
            return False
        variables, _ = parsed
        if "CONTENT_TYPE" in variables:
            if head.lower().count(b"\ncontent-type:") > 1:
                return False
            variables["CONTENT_TYPE"] = variables["CONTENT_TYPE"].rstrip(" \t")
        del self._buffer[: len(head)]
        self._begin(line, variables)
        return True

    def _take_lines(self) -> bool:
        """Take the lines of a head that are here; tell whether that was all of it."""
        buffer, limits, lines = self._buffer, self._limits, self._lines
        while True:
            start = self._checked
            end = buffer.find(b"\n", start) + 1
            size = (end or len(buffer)) - start
            # Without the end of the line, of which a CR may be here.
            length = size - 2 if end else size - 1
            if not lines:
                if length > limits.max_request_line:
                    raise BadRequest(414, "Request line too long")
            elif length > limits.max_header_line:
                raise BadRequest(431, "Header line too long")
            elif start + size - len(lines[0]) > limits.max_header_section:
                raise BadRequest(431, "Header section too large")
            if not end:
                return False
            line = _copy(buffer, start, end)
            if size < 2 or line.find(b"\r") != size - 2:
                raise BadRequest(400, "Line does not end in CRLF, or has a CR in it")
            if not lines:
                _check_request_line(line)
                self.is_for_head = line.startswith(b"HEAD ")
            elif size == 2:
                break
            elif len(lines) > limits.max_header_fields:
                raise BadRequest(431, "Too many header fields")
            else:
                _check_field(line)
            lines.append(line)
            self._checked = end
        del buffer[:end]
        request_line = _REQUEST_LINE.fullmatch(lines[0])
        assert request_line is not None
        self._begin(request_line, _join_fields(lines[1:]))
        return True

    def _begin(self, line: re.Match[bytes], variables: dict[str, str]) -> None:
        """Begin a request whose head is here."""
        self.is_for_head = line[1] == b"HEAD"
        method, target = line[1].decode("ascii"), line[2].decode("iso-8859-1")
        version = "HTTP/1.0" if line[4] == b"0" else "HTTP/1.1"
        path, authority = _split_target(method, target)
        host = variables.get("HTTP_HOST")
        if host is None:
            if version == "HTTP/1.1":
                raise BadRequest(400, "No Host")
        elif not _HOST.fullmatch(host):
            raise BadRequest(400, "Bad Host, or several")
        if authority is not None:
            if not authority or not _HOST.fullmatch(authority):
                raise BadRequest(400, "Bad authority in the target")
            variables["HTTP_HOST"] = authority  # RFC 9112 section 3.2.2
        request = self._request = Request(method, target, path, version)
        request.variables = variables
        request.keeps_alive = _keeps_alive(variables.get("HTTP_CONNECTION"), version)
        self._find_framing(variables, version)

    def _find_framing(self, variables: dict[str, str], version: str) -> None:
        """Find out how long the body is (RFC 9112 section 6.3)."""
        length = variables.get("CONTENT_LENGTH")
        codings = variables.get("HTTP_TRANSFER_ENCODING")
        expectation = variables.get("HTTP_EXPECT")
        self._state = _BODY
        if codings is not None:
            if length is not None:
                raise BadRequest(400, "Both Content-Length and Transfer-Encoding")
            _request.is_chunked(codings, version)
            self._state = _CHUNK_LINE
            from tempfile import SpooledTemporaryFile

            self._file = SpooledTemporaryFile(max_size=self._limits.spool_size)  # noqa: SIM115
        elif length is not None:
            self._length = self._left = _request.parse_content_length(length)
            if self._length > self._limits.max_body:
                raise BadRequest(413, "Body too large")
            variables["CONTENT_LENGTH"] = str(self._length)
        if expectation is not None and version == "HTTP/1.1":
            expected = {each.strip(" \t").lower() for each in expectation.split(",")} - {""}
            if expected - {"100-continue"}:
                raise BadRequest(417, "Unknown expectation")
            if expected and (codings is not None or self._length):
                self.wants_continue = not self._buffer

    # The body.

    def _take_body(self) -> bool:
        """Take what is here of the body; tell whether that was the rest of it."""
        if self._state == _BODY:
            return not self._length or self._take_counted()
        while self._take_chunked():
            pass
        return self._state == _HEAD

    def _take_counted(self) -> bool:
        """Take a body of a known length; a long one goes to a file."""
        buffer, request = self._buffer, self._request
        assert request is not None
        is_long = self._length > self._limits.spool_size
        if buffer and self._left == self._length:  # what came with the head
            if self._length <= len(buffer) and not is_long:
                self.wants_continue = False
                request.body = io.BytesIO(_copy(buffer, 0, self._length))
                del buffer[: self._length]
                return True
            first = bytes(buffer)
            buffer.clear()
            self._gather(first)
        if is_long and self._pieces:
            self._spool()
        if self._left:
            return False
        if is_long:
            self._hand_over()
        else:
            # As one object, which the file has for its own without another copy.
            request.body = io.BytesIO(b"".join(self._pieces))
        return True

    def _gather(self, data: bytes) -> None:
        """Take bytes of a body of a known length; those beyond it begin the next request."""
        self.wants_continue = False
        if len(data) > self._left:
            self._buffer += data[self._left :]
            data = data[: self._left]
        self._pieces.append(data)
        self._left -= len(data)

    def _spool(self) -> None:
        """Put what has come of a body into its file."""
        if self._file is None:
            from tempfile import TemporaryFile

            self._file = TemporaryFile()  # noqa: SIM115 - the connection closes it
        for piece in self._pieces:
            self._file.write(piece)
        self._pieces.clear()

    def _store(self, size: int) -> int:
        """Put up to so many bytes into the body's file; return how many there were."""
        buffer = self._buffer
        with memoryview(buffer) as view, view[:size] as part:
            size = len(part)
            self._file.write(part)
        del buffer[:size]
        return size

    def _hand_over(self) -> None:
        assert self._request is not None
        self._file.seek(0)
        self._request.body, self._file = self._file, None

    def _take_chunked(self) -> bool:
        """Take the next piece of a chunked body; tell whether there may be more to take."""
        buffer = self._buffer
        if buffer:
            self.wants_continue = False
        if self._state == _CHUNK:
            self._left -= self._store(self._left)
            if self._left:
                return False
            self._state = _CHUNK_END
        if self._state == _CHUNK_END:
            if not b"\r\n".startswith(buffer[:2]):
                raise BadRequest(400, "Chunk longer than its size")
            if len(buffer) < 2:
                return False
            del buffer[:2]
            self._state = _CHUNK_LINE
        if self._state == _CHUNK_LINE:
            return self._take_chunk_line()
        return self._take_trailer()

    def _take_chunk_line(self) -> bool:
        # What a line may have depends on its size, whose digits come first.
        digits = _copy(self._buffer, 0, MAX_CHUNK_DIGITS + 1).partition(b";")[0].strip()
        is_size = digits and not digits.translate(None, HEX_DIGITS)
        left = 16 + 2 * (int(digits, 16) if is_size else 0) - self._line_overhead
        limit = min(self._limits.max_chunk_overhead + left, _LONGEST_CHUNK_LINE)
        line = self._take_line(limit, 400, "Chunk lines too long")
        if line is None:
            return False
        digits, _, extensions = line.partition(b";")
        if extensions:
            digits = digits.rstrip(b" \t")
        if not 0 < len(digits) <= MAX_CHUNK_DIGITS or digits.translate(None, HEX_DIGITS):
            raise BadRequest(400, "Bad chunk size")
        size = int(digits, 16)
        # So that small chunks do not cost a multiple of what they bring.
        self._line_overhead += len(line) - 16 - 2 * size
        if self._line_overhead > self._limits.max_chunk_overhead:
            raise BadRequest(400, "Chunk lines too long")
        self._length += size
        if self._length > self._limits.max_body:
            raise BadRequest(413, "Body too large")
        self._left = size
        self._state = _CHUNK if size else _TRAILERS
        if not size:
            self._line_overhead = 0  # of the trailers from now on
        return True

    def _take_trailer(self) -> bool:
        """Check a line of the trailer section, and drop it (RFC 9110 section 6.5.1)."""
        left = self._limits.max_trailers - self._line_overhead
        line = self._take_line(left, 431, "Trailers too large")
        if line is None:
            return False
        if line:
            self._line_overhead += len(line) + 2
            _check_field(line + b"\r\n")
            return True
        self._hand_over()
        request = self._request
        assert request is not None
        # As the coding's removal demands (RFC 9112 section 7.1.3).
        request.variables["CONTENT_LENGTH"] = str(self._length)
        del request.variables["HTTP_TRANSFER_ENCODING"]
        self._state = _HEAD
        return False

    def _take_line(self, limit: int, status: int, reason: str) -> bytes | None:
        """Take a line of a chunked body, without its end, once it is here."""
        buffer = self._buffer
        end = buffer.find(b"\n")
        if (len(buffer) - 1 if end < 0 else end - 1) > limit:
            raise BadRequest(status, reason)
        if end < 0:
            return None
        line = _copy(buffer, 0, end + 1)
        if end < 1 or line.find(b"\r") != end - 1 or not _is_text(line[:-2]):
            raise BadRequest(400, "Line does not end in CRLF, or has a control character in it")
        del buffer[: end + 1]
        return line[:-2]


def _copy(buffer: bytearray, start: int, end: int) -> bytes:
    """Return a part of a buffer, which can be resized then.

    In PyPy it cannot as long as there is a view of it that nobody has let go of.
    """
    with memoryview(buffer) as view, view[start:end] as part:
        return bytes(part)


def _is_text(line: bytes) -> bool:
    return not line.translate(None, _TEXT)


_TEXT = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])


def _check_request_line(line: bytes) -> None:
    """Refuse a line that is not one of HTTP/1 (RFC 9112 section 3)."""
    found = _REQUEST_LINE.fullmatch(line)
    if found is None:
        raise BadRequest(400, "Bad request line")
    if found[3] != b"1":
        raise BadRequest(505 if found[3] > b"1" else 400, "HTTP version")


def _check_field(line: bytes) -> None:
    """Refuse a line that is not a field (RFC 9112 section 5)."""
    if _FIELD.fullmatch(line) is None:
        folded = line[:1] in (b" ", b"\t")
        raise BadRequest(400, "Folded header line" if folded else "Bad header line")


def _join_fields(lines: list[bytes]) -> dict[str, str]:
    """Return checked lines as CGI variables: repeated fields are one."""
    variables: dict[str, str] = {}
    for line in lines:
        name, _, rest = line.decode("iso-8859-1").partition(":")
        value = rest.strip(" \t\r\n")
        if "_" in name:
            continue
        key = _request.make_key(name)
        if key not in variables:
            variables[key] = value
        else:
            variables[key] += ("; " if key == "HTTP_COOKIE" else ",") + value
    return variables


def _split_target(method: str, target: str) -> tuple[str, str | None]:
    """Return a target in origin form, and its authority (RFC 9112 section 3.2)."""
    if target[0] == "/":
        return target, None
    if method == "CONNECT":
        raise BadRequest(501, "No tunnels here")
    if target == "*":
        if method == "OPTIONS":
            return "*", None
        raise BadRequest(400, "Bad target")
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise BadRequest(400, "Bad target")
    path = absolute[2]
    if not path and method == "OPTIONS":
        return "*", absolute[1]
    return path if path.startswith("/") else "/" + path, absolute[1]


def _keeps_alive(options: str | None, version: str) -> bool:
    """Tell whether a client lets the connection go on (RFC 9112 section 9.3)."""
    if options is None:
        return version == "HTTP/1.1"
    found = {option.strip(" \t").lower() for option in options.split(",")}
    return "close" not in found and (version == "HTTP/1.1" or "keep-alive" in found)


def heed(loop: Any, ready: list[tuple[int, int]]) -> None:
    """Go on with those connections of a loop that are ready.

    Args:
        loop: has a method of the same name, for one of them.
        ready: descriptors, and what each is ready for.

    """
    for descriptor, events in ready:
        loop.heed(descriptor, events)
