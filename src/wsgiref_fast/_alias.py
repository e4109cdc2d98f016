"""Put the package in the place of ``wsgiref``, for a whole process, and take it out again."""

from __future__ import annotations

import sys
import threading
import warnings
from importlib import import_module

from . import _hooks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType
    from typing import Any

_MODULES = ("util", "headers", "handlers", "simple_server", "validate", "types")

_lock = threading.Lock()
#: While installed: what `uninstall` takes back, last first.
_changes: list[tuple[Any, str, Any]] = []


def install(*, strict: bool = False) -> None:
    """Do what `wsgiref_fast.install` says."""
    with _lock:
        if _changes:
            return
        was_imported = "wsgiref" in sys.modules
        package = import_module("wsgiref")
        originals = {name: import_module(f"wsgiref.{name}") for name in _MODULES}
        late = sorted(_find_users(originals.values())) if was_imported else []
        if late:
            report = (
                "these modules took names from the standard library's wsgiref before "
                f"wsgiref_fast.install(), and keep them: {', '.join(late)}"
            )
            if strict:
                raise RuntimeError(report)
            warnings.warn(report, RuntimeWarning, stacklevel=3)
        try:
            for name, original in originals.items():
                ours = import_module(f"{__package__}.{name}")
                _link(ours, original)
                _set(sys.modules, f"wsgiref.{name}", ours)
                _set(package, name, ours)
            _set(sys.modules, "wsgiref", sys.modules[str(__package__)])
        except BaseException:
            _take_back()
            raise


def uninstall() -> None:
    """Do what `wsgiref_fast.uninstall` says."""
    with _lock:
        _take_back()


def _take_back() -> None:
    while _changes:
        owner, name, value = _changes.pop()
        _put(owner, name, value)


def _find_users(originals: Any) -> Iterator[str]:
    """Yield the names of modules that hold an original module, a part of one, or a subclass."""
    modules = list(originals)
    parts = {id(module) for module in modules}
    for module in modules:
        for value in vars(module).values():
            if getattr(value, "__module__", None) == module.__name__:
                parts.add(id(value))
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in ("wsgiref", __package__) or module is None:
            continue
        for value in list(getattr(module, "__dict__", {}).values()):
            if id(value) in parts or (
                issubclass(type(value), type) and not parts.isdisjoint(map(id, value.__mro__))
            ):
                yield name
                break


def _link(ours: ModuleType, original: ModuleType) -> None:
    """Make each class of a module of ours a subclass of its original, and bear its name."""
    for name, value in list(vars(ours).items()):
        counterpart = vars(original).get(name)
        if not _is_ours(value) or getattr(counterpart, "__module__", "") != original.__name__:
            continue
        if isinstance(value, type) and isinstance(counterpart, type) and not _is_protocol(value):
            kept = tuple(base for base in value.__bases__ if _stays(base))
            _hooks.note(counterpart)  # it hides nothing
            _set(value, "__bases__", (*kept, counterpart))
        # Where a pickle, or a warning filter, looks for it.
        _set(value, "__module__", original.__name__)


def _is_ours(value: Any) -> bool:
    return str(getattr(value, "__module__", "")).partition(".")[0] == __package__


def _stays(base: type) -> bool:
    """Tell whether a base is ours; a private or foreign one stands where the original belongs."""
    is_ours = _is_ours(base) or base.__module__.startswith("wsgiref.")
    return is_ours and not base.__name__.startswith("_")


def _is_protocol(value: type) -> bool:
    return getattr(value, "_is_protocol", False)


def _set(owner: Any, name: str, value: Any) -> None:
    before = owner[name] if isinstance(owner, dict) else getattr(owner, name)
    _put(owner, name, value)
    _changes.append((owner, name, before))


def _put(owner: Any, name: str, value: Any) -> None:
    if isinstance(owner, dict):
        owner[name] = value
    else:
        setattr(owner, name, value)
