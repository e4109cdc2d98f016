"""The header list of a response (PEP 3333) with a mapping's interface."""

from __future__ import annotations

from . import _hooks, _impl
from ._pure import headers as _kernels
from ._pure.headers import _formatparam as _formatparam

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, overload

    HeaderList = list[tuple[str, str]]


class _Mapping:
    """The base of `Headers`: `install` can put the original class in its place."""


@_impl.accelerated
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

    if TYPE_CHECKING:  # what the kernels below are, as methods

        def __init__(self, headers: HeaderList | None = None) -> None: ...
        def __getitem__(self, name: str) -> str | None: ...
        def __setitem__(self, name: str, val: str) -> None: ...
        def __delitem__(self, name: str) -> None: ...
        def __contains__(self, name: str) -> bool: ...
        @overload
        def get(self, name: str, default: str) -> str: ...
        @overload
        def get(self, name: str, default: str | None = None) -> str | None: ...
        def get(self, name: str, default: str | None = None) -> str | None:
            """Return the first value of that name, or `default`."""

        def __str__(self) -> str: ...
        def __bytes__(self) -> bytes: ...
        def setdefault(self, name: str, value: str) -> str:
            """Return the first value of that name; where there is none, add `value` first."""
            ...

        def add_header(self, _name: str, _value: str | None, **_params: str | None) -> None:
            """Add a header after those of the same name, with MIME parameters."""

    else:
        __init__ = _kernels.take_list
        __getitem__ = _kernels.get_item
        __setitem__ = _kernels.set_item
        __delitem__ = _kernels.delete_item
        __contains__ = _kernels.contains
        get = _kernels.get
        __str__ = _kernels.to_text
        __bytes__ = _kernels.to_bytes
        setdefault = _kernels.setdefault
        add_header = _kernels.add_header

    _convert_string_type = _kernels._convert_string_type

    def __len__(self) -> int:
        """Return the number of headers, repeated ones counted each."""
        return len(self._headers)

    def get_all(self, name: str) -> list[str]:
        """Return the values of that name in the list's order; an empty list for none."""
        key = _kernels.as_key(self, name)
        return [field[1] for field in self._headers if field[0].lower() == key]

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


_hooks.note_names(globals(), "_formatparam")

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
