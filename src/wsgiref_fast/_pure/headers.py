"""Response headers: a header list checked, as bytes, and as a mapping.

The functions whose first parameter is `self` are methods of `wsgiref_fast.headers.Headers`.
"""

from __future__ import annotations

from .. import _hooks
from .._grammar import NAME_CONTROLS, VALUE_CONTROLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


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


def _convert_string_type(self: Any, value: Any, *, name: bool | None = None) -> str:
    """Return `value` where it is exactly a `str`; a subclass may convert it first.

    With `name` told (true for a header name, false for a value), control characters
    are refused too, as 3.14's own does.
    """
    check_type(value)
    if name is not None:
        check_name(value) if name else check_value(value, "")
    return value  # type: ignore[no-any-return]


# Subclasses override the conversion with one argument, as it was before 3.14; and what it
# lets through is checked all the same.


def converts_plainly(self: Any) -> bool:
    """Tell whether names and values are converted by our own method."""
    return (
        type(self)._convert_string_type is _convert_string_type
        and "_convert_string_type" not in self.__dict__
    )


def as_name(self: Any, name: Any) -> str:
    """Convert and check a header name."""
    converted: str = self._convert_string_type(name)
    if isinstance(converted, str):  # a subclass may let other types through
        check_name(converted)
    return converted


def as_value(self: Any, value: Any, name: str) -> str:
    """Convert and check a header value."""
    converted: str = self._convert_string_type(value)
    if isinstance(converted, str):
        check_value(converted, name)
    return converted


def as_key(self: Any, name: Any) -> str:
    """Convert and check a name, as names are compared."""
    key = name.lower()
    if type(key) is str and key.isprintable() and converts_plainly(self):
        return key
    return as_name(self, key)


def take_list(self: Any, headers: list[tuple[str, str]] | None = None) -> None:
    """Take the caller's own list.

    Raises:
        TypeError: `headers` is neither a list nor `None`.

    """
    if headers is None:
        headers = []
    elif type(headers) is not list:
        raise TypeError("Headers must be a list of name/value tuples")
    self._headers = headers
    if converts_plainly(self):
        validate_headers(headers)
    else:
        for name, value in headers:
            as_name(self, name)
            as_value(self, value, name)


def to_text(self: Any) -> str:
    """Return the headers as they go on the wire, with the empty line that ends them."""
    lines = ["%s: %s" % field for field in self._headers]  # noqa: UP031 - bytes() does so
    return "\r\n".join([*lines, "", ""])


def to_bytes(self: Any) -> bytes:
    """Return the headers as they go on the wire, in Latin-1 (PEP 3333).

    Raises:
        UnicodeEncodeError: a name or a value is not Latin-1.
        ValueError: a control character has come into the list since it was checked.

    """
    cls: Any = type(self)
    if cls.__str__ is not to_text:
        return str(self).encode("iso-8859-1")
    return serialize_headers(self._headers)


def get(self: Any, name: str, default: str | None = None) -> str | None:
    """Return the first value of that name, or `default`."""
    # As as_key() has it, without its call: each response asks some six times.
    key = name.lower()
    if not (
        type(key) is str
        and key.isprintable()
        and type(self)._convert_string_type is _convert_string_type
        and "_convert_string_type" not in self.__dict__
    ):
        key = as_name(self, key)
    for other, value in self._headers:
        if other.lower() == key:
            return value  # type: ignore[no-any-return]
    return default


def get_item(self: Any, name: str) -> str | None:
    """Return the first value of that name, or `None`."""
    return self.get(name)  # type: ignore[no-any-return]


def contains(self: Any, name: str) -> bool:
    """Tell whether a header of that name is there."""
    return self.get(name) is not None


def set_item(self: Any, name: str, val: str) -> None:
    """Replace all headers of that name by one, at the end of the list."""
    del self[name]
    if (
        type(name) is type(val) is str
        and name.isprintable()
        and val.isprintable()
        and type(self)._convert_string_type is _convert_string_type
        and "_convert_string_type" not in self.__dict__
    ):
        self._headers.append((name, val))
    else:
        self._headers.append((as_name(self, name), as_value(self, val, name)))


def delete_item(self: Any, name: str) -> None:
    """Remove all headers of that name, if there are any."""
    key = as_key(self, name)
    self._headers[:] = [field for field in self._headers if field[0].lower() != key]


def setdefault(self: Any, name: str, value: str) -> str:
    """Return the first value of that name; where there is none, add `value` first."""
    found: str | None = self.get(name)
    if found is not None:
        return found
    self._headers.append((as_name(self, name), as_value(self, value, name)))
    return value


def add_header(self: Any, _name: str, _value: str | None, **_params: str | None) -> None:
    """Add a header after those of the same name, with MIME parameters.

    A parameter's underscores become dashes; one that is `None` stands without a value::

        headers.add_header("Content-Disposition", "attachment", filename="bud.gif")
    """
    parts = []
    if _value is not None:
        parts.append(as_value(self, _value, _name))
    for key, value in _params.items():
        param = as_name(self, key).replace("_", "-")
        if value is not None:
            value = as_value(self, value, f"{_name}; {param}")
            # What stands under that name in the public module: somebody may have another.
            param = _hooks.module_names["_formatparam"][0]["_formatparam"](param, value)
        parts.append(param)
    self._headers.append((as_name(self, _name), "; ".join(parts)))


_TSPECIALS = ' ()<>@,;:\\"/[]?='


def _formatparam(  # pyright: ignore[reportUnusedFunction]
    param: str, value: str | None = None, quote: int = 1
) -> str:
    """Format a parameter: its name alone, or ``name="value"``.

    With a false `quote`, the quotes are there only where a character demands them.
    """
    if not value:
        return param
    if quote or not set(_TSPECIALS).isdisjoint(value):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'{param}="{escaped}"'
    return f"{param}={value}"


_hooks.note_names(globals(), "_formatparam")
