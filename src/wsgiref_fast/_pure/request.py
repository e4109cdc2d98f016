"""A request line and a header section, from bytes; how the body is framed.

Each function answers for the plain case and says `None` to anything else: the caller then
asks the standard library's own parser.
"""

from __future__ import annotations

from .._grammar import COMMON_FIELDS, FRAMING_FIELDS, MAX_HEADER_LINES, MAX_LENGTH_DIGITS

#: A request's header section: names and values in the order of the wire.
Fields = list[tuple[str, str]]

#: Of `FRAMING_FIELDS` those that a request has: lower-case names, values in their order.
Framing = dict[str, list[str]]


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


def parse_fields(section: bytes) -> tuple[Fields, Framing] | None:
    """Return a header section's fields and the values of those that frame it, or `None`.

    Plain is: lines that all end in CRLF, or all in LF, the last one empty; on each a
    name of printable ASCII, a colon and a value; fewer of them than any `http.client` has
    as its limit.
    """
    text = section.decode("iso-8859-1")
    ends = text.count("\n")
    if text.count("\r") not in (0, ends):
        return None
    lines = text.splitlines()
    if len(lines) != ends:
        # It splits at a bare CR too, and at what is no line's end here, such as NEL.
        lines = [line.removesuffix("\r") for line in text.split("\n")]
        if lines.pop() or "\r" in "".join(lines):
            return None
    if not 0 < ends < MAX_HEADER_LINES or lines.pop():
        return None
    try:
        fields = [(name, value.lstrip(" \t")) for name, value in [x.split(":", 1) for x in lines]]
    except ValueError:  # no colon
        return None
    framing: Framing = {}
    for name, value in fields:
        role = _ROLES.get(name, "")
        if role is None:
            continue
        if not role:
            if not (name and name.isascii() and name.isprintable()) or " " in name:
                return None
            role = name.lower()
            if role not in FRAMING_FIELDS:
                continue
        framing.setdefault(role, []).append(value)
    return fields, framing


def find_framing(fields: Fields) -> Framing:
    """Return the values of those fields that say where a body ends, and what it is."""
    framing: Framing = {}
    for name, value in fields:
        role = name.lower()
        if role in FRAMING_FIELDS:
            framing.setdefault(role, []).append(value)
    return framing


# Names in the spellings that are common, and what each is to the framing, if anything.
_ROLES = {
    spelling: lower if lower in FRAMING_FIELDS else None
    for name in COMMON_FIELDS
    for lower in (name.lower(),)
    for spelling in (name, lower)
}


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
            if name.lower().decode("iso-8859-1") in FRAMING_FIELDS - {"content-type"}:
                raise BadRequest(400, "Folded header")
            continue
        name, colon, _ = line.partition(b":")
        if colon and name.split() not in ([name], []):
            raise BadRequest(400, "White space before the colon of a header")


def parse_content_length(values: list[str]) -> int:
    """Return what all Content-Length fields of a request say.

    A list of equal values is one value (RFC 9110 section 8.6).

    Raises:
        BadRequest: they differ, or one is anything but digits, or larger than any file.

    """
    lengths = {part.strip(" \t") for part in ",".join(values).split(",")}
    length = lengths.pop()
    if lengths or not (length.isascii() and length.isdigit()):
        raise BadRequest(400, "Bad Content-Length")
    if len(length) > MAX_LENGTH_DIGITS:
        raise BadRequest(400, "Content-Length too large")
    return int(length)


def is_chunked(values: list[str], version: str) -> bool:
    """Tell from its Transfer-Encoding fields whether a request's body is chunked.

    Raises:
        BadRequest: another coding (501); chunked not last, twice, or before HTTP/1.1 (400;
            RFC 9112 sections 6.1 and 7.1).

    """
    codings = [part.strip(" \t").lower() for part in ",".join(values).split(",")]
    if codings == ["chunked"] and version >= "HTTP/1.1":
        return True
    if "chunked" in codings[:-1] or "" in codings or version < "HTTP/1.1":
        raise BadRequest(400, "Bad Transfer-Encoding")
    raise BadRequest(501, "Unsupported Transfer-Encoding")
