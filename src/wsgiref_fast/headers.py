"""The header list of a response (PEP 3333) with a mapping's interface."""

from __future__ import annotations

from . import _impl
from ._pure.headers import check_name, check_type, check_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    HeaderList = list[tuple[str, str]]

_TSPECIALS = ' ()<>@,;:\\"/[]?='


def _formatparam(param: str, value: str | None = None, quote: int = 1) -> str:
    """Format a parameter: its name alone, or ``name="value"``.

    With a false `quote`, the quotes are there only where a character demands them.
    """
    if not value:
        return param
    if quote or not set(_TSPECIALS).isdisjoint(value):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'{param}="{escaped}"'
    return f"{param}={value}"


class _Mapping:
    """The base of `Headers`: `install` can put the original class in its place."""


class Headers(_Mapping):
    """A mapping-like view of a list of ``(name, value)`` pairs.

    The list is the caller's own: what changes here changes there. Names are compared
    without case, a name may stand in the list several times, and a missing one is
    neither an error to get (`None`) nor to delete.

    Names and values are exact `str` (else `AssertionError`, as in the original) without
    control characters (else `ValueError` that names the field; RFC 9110 section 5.5).

    Raises:
        TypeError: `headers` is neither a list nor `None`.

    """

    _headers: HeaderList

    def __init__(self, headers: HeaderList | None = None) -> None:
        if headers is None:
            headers = []
        elif type(headers) is not list:
            raise TypeError("Headers must be a list of name/value tuples")
        self._headers = headers
        if type(self)._convert_string_type is _CONVERT:
            _impl.validate_headers(headers)
        else:
            for name, value in headers:
                self._name(name)
                self._value(value, name)

    def _convert_string_type(self, value: Any, *, name: bool | None = None) -> str:
        """Return `value` where it is exactly a `str`; a subclass may convert it first.

        With `name` told (true for a header name, false for a value), control characters
        are refused too, as 3.14's own does.
        """
        check_type(value)
        if name is not None:
            check_name(value) if name else check_value(value, "")
        return value  # type: ignore[no-any-return]

    # Subclasses override the conversion with one argument, as it was before 3.14; and
    # what it lets through is checked all the same.

    def _key(self, name: Any) -> str:
        """Return a name as names are compared."""
        key = name.lower()
        if type(key) is str and key.isprintable() and type(self)._convert_string_type is _CONVERT:
            return key
        return self._name(key)

    def _name(self, name: Any) -> str:
        converted = self._convert_string_type(name)
        if isinstance(converted, str):  # a subclass may let other types through
            check_name(converted)
        return converted

    def _value(self, value: Any, name: str) -> str:
        converted = self._convert_string_type(value)
        if isinstance(converted, str):
            check_value(converted, name)
        return converted

    def __len__(self) -> int:
        """Return the number of headers, repeated ones counted each."""
        return len(self._headers)

    def __setitem__(self, name: str, val: str) -> None:
        """Replace all headers of that name by one, at the end of the list."""
        del self[name]
        if (
            type(name) is type(val) is str
            and name.isprintable()
            and val.isprintable()
            and type(self)._convert_string_type is _CONVERT
        ):
            self._headers.append((name, val))
        else:
            self._headers.append((self._name(name), self._value(val, name)))

    def __delitem__(self, name: str) -> None:
        """Remove all headers of that name, if there are any."""
        key = self._key(name)
        self._headers[:] = [field for field in self._headers if field[0].lower() != key]

    def __getitem__(self, name: str) -> str | None:
        """Return the first value of that name, or `None`."""
        return self.get(name)

    def __contains__(self, name: str) -> bool:
        """Tell whether a header of that name is there."""
        return self.get(name) is not None

    def get_all(self, name: str) -> list[str]:
        """Return the values of that name in the list's order; an empty list for none."""
        key = self._key(name)
        return [field[1] for field in self._headers if field[0].lower() == key]

    def get(self, name: str, default: str | None = None) -> str | None:
        """Return the first value of that name, or `default`."""
        # As _key() has it, without its call: each response asks some six times.
        key = name.lower()
        if not (
            type(key) is str and key.isprintable() and type(self)._convert_string_type is _CONVERT
        ):
            key = self._name(key)
        for other, value in self._headers:
            if other.lower() == key:
                return value
        return default

    def keys(self) -> list[str]:
        """Return the names in the list's order, repeated ones each."""
        return [name for name, _ in self._headers]

    def values(self) -> list[str]:
        """Return the values in the list's order."""
        return [value for _, value in self._headers]

    def items(self) -> HeaderList:
        """Return a copy of the list."""
        return self._headers[:]

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({self._headers!r})"

    def __str__(self) -> str:
        """Return the headers as they go on the wire, with the empty line that ends them."""
        lines = ["%s: %s" % field for field in self._headers]  # noqa: UP031 - bytes() does so
        return "\r\n".join([*lines, "", ""])

    def __bytes__(self) -> bytes:
        """Return the headers as they go on the wire, in Latin-1 (PEP 3333).

        Raises:
            UnicodeEncodeError: a name or a value is not Latin-1.
            ValueError: a control character has come into the list since it was checked.

        """
        if type(self).__str__ is not _STR:
            return str(self).encode("iso-8859-1")
        return _impl.serialize_headers(self._headers)

    def setdefault(self, name: str, value: str) -> str:
        """Return the first value of that name; where there is none, add `value` first."""
        found = self.get(name)
        if found is not None:
            return found
        self._headers.append((self._name(name), self._value(value, name)))
        return value

    def add_header(self, _name: str, _value: str | None, **_params: str | None) -> None:
        """Add a header after those of the same name, with MIME parameters.

        A parameter's underscores become dashes; one that is `None` stands without a value::

            headers.add_header("Content-Disposition", "attachment", filename="bud.gif")
        """
        parts = []
        if _value is not None:
            parts.append(self._value(_value, _name))
        for key, value in _params.items():
            param = self._name(key).replace("_", "-")
            if value is not None:
                value = self._value(value, f"{_name}; {param}")
            parts.append(_formatparam(param, value))
        self._headers.append((self._name(_name), "; ".join(parts)))


# What a subclass may replace, to tell whether one did.
_CONVERT = Headers._convert_string_type
_STR = Headers.__str__


# Patterns of the original, for who imports them; compiled then, as nothing here uses them.
_PATTERNS = {
    "tspecials": r'[ \(\)<>@,;:\\"/\[\]\?=]',
    "_name_disallowed_re": r"[\x00-\x1f\x7f]",
    "_value_disallowed_re": r"[\x00-\x08\x0a-\x1f\x7f]",
}


def __getattr__(name: str) -> Any:
    """Make a pattern of the original, or its module `re`, when somebody asks for one."""
    if name not in _PATTERNS and name != "re":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import re

    value: Any = re if name == "re" else re.compile(_PATTERNS[name])
    globals()[name] = value
    return value
