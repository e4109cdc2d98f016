"""What programs may override, and whether they did.

A short cut through several methods is taken only where each of them is still our own.
Whoever defines such methods notes them here; a subclass's, or one assigned later, is found
not to be them.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

#: What each noted class defined.
_noted: dict[type, dict[str, Any]] = {}

#: The noted classes by their names.
classes: dict[str, type] = {}

#: Names of modules that programs replace: where each stands, and what stood there.
module_names: dict[str, tuple[dict[str, Any], Any]] = {}

_MISSING = object()


def note(*owners: type) -> None:
    """Remember what these classes define."""
    for owner in owners:
        _noted[owner] = dict(vars(owner))
        classes.setdefault(owner.__name__, owner)  # not an original of that name


def note_names(namespace: dict[str, Any], *names: str) -> None:
    """Remember what these names of a module stand for."""
    module_names.update((name, (namespace, namespace[name])) for name in names)


def renote(owner: type, name: str) -> None:
    """Remember that a noted class has another value for a name, by our own doing."""
    _noted[owner][name] = vars(owner)[name]


def defined_by(owner: type) -> dict[str, Any]:
    """Return what a noted class defined, by name; it follows our own changes."""
    return _noted[owner]


def find(cls: type, name: str) -> Any:
    """Return what a class has for a name, unbound; `None` where it has nothing."""
    for base in cls.__mro__:
        if name in vars(base):
            return vars(base)[name]
    return None


def is_own(cls: type, names: Iterable[str]) -> bool:
    """Tell whether a class has for each of the names what noted classes defined, or nothing."""
    return all(_is_own(cls, name) for name in names)


def _is_own(cls: type, name: str) -> bool:
    """Tell it of one name; every definition counts, as methods of ours call their super's."""
    has_own = has_other = False
    for base in cls.__mro__:
        found = vars(base).get(name, _MISSING)
        if found is _MISSING:
            continue
        if base not in _noted:
            has_other = True
        elif has_other or _noted[base].get(name, _MISSING) is not found:
            return False
        else:
            has_own = True
    return has_own or not has_other


note(object)
