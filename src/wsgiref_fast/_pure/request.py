"""A request line and a header section, from bytes; how the body is framed.

What is parsed here is plain; to anything else a parser says `None`, and the caller then
asks the standard library's own.
"""

from __future__ import annotations

from .._grammar import COMMON_FIELDS, FRAMING_FIELDS, MAX_HEADER_LINES, MAX_LENGTH_DIGITS, MAX_LINE

#: A request's header fields: names and values in the order of the wire.
Fields = list[tuple[str, str]]

#: The same as CGI variables (RFC 3875 section 4.1.18): repeated fields are one.
Variables = dict[str, str]

_VERSIONS = frozenset(f"HTTP/1.{minor}" for minor in range(10))


class BadRequest(ValueError):
    """A request that must be refused; `status` is the answer to it."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def parse_request_line(line: bytes) -> tuple[str, str, str, str] | None:
    """Return line, method, target and version of an HTTP/1 request, or `None`.

    Plain is: three words with single spaces between them.
    """
    text = line.decode("iso-8859-1").rstrip("\r\n")
    words = text.split()
    if len(words) != 3:
        return None
    method, target, version = words
    if version not in _VERSIONS or text != f"{method} {target} {version}":
        return None
    if target.startswith("//"):  # a URI's authority, to whoever echoes it (gh-87389)
        target = "/" + target.lstrip("/")
    return text, method, target, version


def parse_section(data: bytes, start: int, underscores: bool) -> tuple[dict[str, str], int] | None:
    """Return the header section that starts in `data` at `start`, as CGI variables, and its end.

    Repeated fields are joined with a comma, cookies with a semicolon (RFC 9113 section
    8.2.3); of several ``Content-Type`` the first counts.

    Plain is: lines that end in CRLF, the last one empty; on each a name of printable ASCII,
    a colon and a value; fewer of them than any `http.client` has as its limit; in fields
    that frame the request nothing but printable ASCII.

    Args:
        data: what has come of the request.
        start: where its header section starts.
        underscores: whether names with an underscore count: they are the same variable
            as the name with a dash, which a client may not be meant to set.

    """
    if data.startswith(b"\r\n", start):
        return {}, start + 2
    end = data.find(b"\r\n\r\n", start, start + MAX_LINE)
    if end < 0:
        return None
    text = data[start:end].decode("iso-8859-1")
    lines = text.split("\r\n")
    if not text.count("\r") == text.count("\n") == len(lines) - 1:
        return None
    if len(lines) >= MAX_HEADER_LINES - 1:
        return None
    variables: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            return None
        key = COMMON_KEYS.get(name)
        if key is None:
            key = _find_key(name, value, underscores)
            if key is None:
                return None
            if not key:
                continue
        if key not in variables:
            variables[key] = value.strip() if key[0] == "H" else value.lstrip(" \t")
        elif key != "CONTENT_TYPE":
            separator = "; " if key == "HTTP_COOKIE" else ","
            variables[key] += separator + value.strip()
    return variables, end + 4


def _find_key(name: str, value: str, underscores: bool) -> str | None:
    """Return a field's variable; an empty one for a field that does not count, or `None`."""
    lower = name.lower()
    if lower in FRAMING_KEYS:
        plain = value.isascii() and value.strip(" \t").isprintable()
        return FRAMING_KEYS[lower] if plain else None
    if not (name and name.isascii() and name.isprintable()) or " " in name:
        return None
    if "_" not in name:
        return make_key(lower)
    if not underscores:
        return ""
    key = make_key(lower)
    return None if key in _FRAMING_VARIABLES else key


def make_key(name: str) -> str:
    """Return a header name as a CGI variable (RFC 3875 section 4.1.18)."""
    key = name.replace("-", "_").upper()
    return key if name.lower() in _BARE else "HTTP_" + key


_BARE = frozenset({"content-type", "content-length"})

#: Fields whose value two parties must not read differently, and their variables.
FRAMING_KEYS = {name: make_key(name) for name in sorted(FRAMING_FIELDS)}
_FRAMING_VARIABLES = frozenset(FRAMING_KEYS.values())

#: The variables of other names, in the spellings that are common.
COMMON_KEYS = {
    spelling: make_key(name)
    for name in COMMON_FIELDS
    for spelling in (name, name.lower())
    if name.lower() not in FRAMING_KEYS
}


def split_fields(section: bytes) -> Fields:
    """Return the fields of a header section that `parse_section` took."""
    text = section.decode("iso-8859-1").removesuffix("\r\n\r\n")
    pairs = [line.split(":", 1) for line in text.split("\r\n")] if ":" in text else []
    return [(name, value.lstrip(" \t")) for name, value in pairs]


def find_framing(fields: Fields) -> Variables:
    """Return those fields that say where a body ends, as CGI variables."""
    framing: Variables = {}
    for name, value in fields:
        key = make_key(name)
        if name.lower() in FRAMING_KEYS:
            framing[key] = f"{framing[key]},{value}" if key in framing else value
    return framing


def check_section(section: bytes) -> None:
    """Refuse a header section that two parsers may read differently.

    Raises:
        BadRequest: a CR that is not part of a line's end (RFC 9112 section 2.2), or white
            space between a name and its colon (section 5.1), or a folded line of a field
            that frames the request (section 5.2).

    """
    name = b""
    for line in section.split(b"\n"):
        line = line.removesuffix(b"\r")
        if b"\r" in line:
            raise BadRequest(400, "Bare CR in a header")
        if line[:1] in (b" ", b"\t"):
            if name.lower().decode("iso-8859-1") in FRAMING_FIELDS:
                raise BadRequest(400, "Folded header")
            continue
        name, colon, _ = line.partition(b":")
        if colon and name.split() not in ([name], []):
            raise BadRequest(400, "White space before the colon of a header")


def parse_content_length(value: str) -> int:
    """Return what the Content-Length fields of a request say, joined with commas.

    A list of equal values is one value (RFC 9110 section 8.6).

    Raises:
        BadRequest: they differ, or one is anything but digits, or larger than any file.

    """
    lengths = {part.strip(" \t") for part in value.split(",")}
    length = lengths.pop()
    if lengths or not (length.isascii() and length.isdigit()):
        raise BadRequest(400, "Bad Content-Length")
    if len(length) > MAX_LENGTH_DIGITS:
        raise BadRequest(400, "Content-Length too large")
    return int(length)


def is_chunked(value: str, version: str) -> bool:
    """Tell from its Transfer-Encoding fields, joined, whether a request's body is chunked.

    Raises:
        BadRequest: another coding (501); chunked not last, twice, or before HTTP/1.1 (400;
            RFC 9112 sections 6.1 and 7.1).

    """
    codings = [part.strip(" \t").lower() for part in value.split(",")]
    if codings == ["chunked"] and version >= "HTTP/1.1":
        return True
    if "chunked" in codings[:-1] or "" in codings or version < "HTTP/1.1":
        raise BadRequest(400, "Bad Transfer-Encoding")
    raise BadRequest(501, "Unsupported Transfer-Encoding")
