"""Response headers: a header list checked, and a header list as bytes."""

from __future__ import annotations

from .._grammar import NAME_CONTROLS, VALUE_CONTROLS


def validate_headers(headers: list[tuple[str, str]]) -> None:
    """Check that a header list can be sent: strings alone, without control characters.

    A value may hold HTAB (RFC 9110 section 5.5), a name may not.

    Raises:
        AssertionError: a name or a value is not exactly a `str`.
        ValueError: a name or a value holds a control character; the message names the
            field. Also where an item does not have exactly two parts.

    """
    for name, value in headers:
        if type(name) is not str or type(value) is not str:
            check_type(name)
            check_type(value)
        if not (name.isprintable() and value.isprintable()):
            check_name(name)
            check_value(value, name)


def serialize_headers(headers: list[tuple[str, str]]) -> bytes:
    """Return a header list as it goes on the wire, with the empty line that ends it.

    Raises:
        UnicodeEncodeError: a name or a value is not Latin-1.
        ValueError: a name or a value holds a control character, as for `validate_headers`.

    """
    lines = ["%s: %s" % field for field in headers]  # noqa: UP031 - the original's errors
    block = "\r\n".join([*lines, "", ""]).encode("iso-8859-1")
    if count_controls(block) != 2 * len(lines) + 2:
        check_lines(lines)
    return block


def count_controls(block: bytes) -> int:
    """Count the bytes that are control characters; each end of a line has two."""
    return len(block) - len(block.translate(None, _CONTROLS))


_CONTROLS = "".join(NAME_CONTROLS).encode("iso-8859-1")


def check_lines(lines: list[str]) -> None:
    """Raise `ValueError` for a header line that holds a control character.

    The list that it comes from may hold what `validate_headers` never saw.
    """
    for line in lines:
        name, _, value = line.partition(": ")
        check_name(name)
        check_value(value, name)


def check_type(text: object) -> None:
    """Raise `AssertionError` for what is not exactly a `str` (PEP 3333, "native strings")."""
    if type(text) is not str:
        raise AssertionError(f"Header names/values must be of type str (got {text!r})")


def check_name(name: str) -> None:
    """Raise `ValueError` for a header name with a control character."""
    if not name.isprintable() and not NAME_CONTROLS.isdisjoint(name):
        raise ValueError(f"Control characters not allowed in headers: in the name {name!r}")


def check_value(value: str, name: str) -> None:
    """Raise `ValueError` for a header value with a control character other than HTAB."""
    if not value.isprintable() and not VALUE_CONTROLS.isdisjoint(value):
        raise ValueError(
            f"Control characters not allowed in headers: in the value of {name!r}, {value!r}"
        )
