"""Decode a chunked request body (RFC 9112 section 7.1)."""

from __future__ import annotations

from tempfile import SpooledTemporaryFile

from ._grammar import HEX_DIGITS, MAX_CHUNK_DIGITS, MAX_CHUNK_LINE, MAX_TRAILERS
from ._pure.request import BadRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Bytes of a body that are kept in memory; a longer one goes to a temporary file.
_IN_MEMORY = 512 * 1024

_BLOCK = 1 << 16


def read_chunked(stream: Any, limit: int) -> tuple[SpooledTemporaryFile[bytes], int]:
    """Read a whole chunked body; return a file that stands at its start, and its length.

    Chunk extensions and trailer fields are checked and dropped.

    Raises:
        BadRequest: it is malformed or ends early (400), or has more than `limit` bytes (413).

    """
    # The caller's to close; here where it is not handed over.
    body: SpooledTemporaryFile[bytes] = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115
    try:
        length = 0
        while size := _read_size(stream):
            length += size
            if length > limit:
                raise BadRequest(413, f"Chunked body of more than {limit} bytes")
            _copy(stream, body, size)
            if stream.readline(2) != b"\r\n":
                raise BadRequest(400, "Chunk longer than its size")
        _skip_trailers(stream)
    except BaseException:
        body.close()
        raise
    body.seek(0)
    return body, length


def _read_size(stream: Any) -> int:
    """Read a chunk's first line: its size, in hex digits alone, and extensions."""
    line = stream.readline(MAX_CHUNK_LINE)
    digits, _, extensions = line.removesuffix(b"\r\n").partition(b";")
    digits = digits.rstrip(b" \t") if extensions else digits
    if (
        not line.endswith(b"\r\n")
        or b"\r" in extensions
        or not 0 < len(digits) <= MAX_CHUNK_DIGITS
        or digits.translate(None, HEX_DIGITS)
    ):
        raise BadRequest(400, "Bad chunk size")
    return int(digits, 16)


def _copy(stream: Any, body: SpooledTemporaryFile[bytes], size: int) -> None:
    while size:
        block = stream.read(min(size, _BLOCK))
        if not block:
            raise BadRequest(400, "Body ends within a chunk")
        body.write(block)
        size -= len(block)


def _skip_trailers(stream: Any) -> None:
    """Read the trailer section up to the empty line that ends the body."""
    left = MAX_TRAILERS
    while (line := stream.readline(left)) != b"\r\n":
        left -= len(line)
        name, colon, _ = line.partition(b":")
        if left <= 0 or not (colon and name.strip() == name != b"" and line.endswith(b"\r\n")):
            raise BadRequest(400, "Bad trailer section")
