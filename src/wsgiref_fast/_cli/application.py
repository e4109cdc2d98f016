"""Find the application that a command line names: ``module:app``."""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import sys
from difflib import get_close_matches

from .._tracebacks import describe, show
from .messages import INTERRUPTED, Stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import Any

    from ..types import WSGIApplication

#: Names that an application has where none is given.
DEFAULT_NAMES = ("app", "application")

#: What others have as a command.
_COMMANDS = {"help", "version"}

_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_PATH = re.compile(r"(?P<folder>.*[/\\])?(?P<name>[^/\\:]+?)(\.py)?(?P<rest>:.*)?")
_CALLED = re.compile(r"([\w.]+)\(\s*\)")

#: How its files are named; the second as of PyPy.
_IMPORT_SYSTEM = ("<frozen importlib", "<builtin>/frozen importlib")

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def go_to(folder: str | None) -> None:
    """Make a folder the current one, and let its modules be imported as ``python -m`` does."""
    before = os.getcwd()
    if folder is not None:
        try:
            os.chdir(folder)
        except OSError as error:
            raise Stop(f"--chdir: cannot go to {folder!r}: {error.strerror}") from None
    if sys.flags.safe_path:
        return
    if sys.path[:1] == [before]:
        del sys.path[0]
    if os.getcwd() not in sys.path[:1]:
        sys.path.insert(0, os.getcwd())


def load(target: str, is_factory: bool = False) -> WSGIApplication:
    """Import an application.

    Args:
        target: ``module:name``, or the module alone.
        is_factory: whether the name is that of what returns it.

    Raises:
        Stop: there is none.

    """
    name, colon, attribute = target.partition(":")
    _check_names(target, name, attribute if colon else None)
    module = _import(name, is_bare=not colon)
    found = _look_up(module, name, attribute) if colon else _find_default(module, name)
    attribute = attribute or next(each for each in DEFAULT_NAMES if hasattr(module, each))
    label = f"{name}:{attribute}"
    if not callable(found):
        raise Stop(f"{label} is {_describe(found)}, which cannot be called: no application")
    if is_factory:
        return _make(found, label)
    _check_signature(found, label)
    application: WSGIApplication = found  # pyright: ignore[reportAssignmentType]
    return application


def _check_names(target: str, name: str, attribute: str | None) -> None:
    """Say how to write what was meant by something else than names."""
    if not _DOTTED.fullmatch(name) or name.endswith(".py"):
        path = _PATH.fullmatch(target)
        if path and ("/" in target or "\\" in target or name.endswith(".py")):
            folder = os.path.normpath(path["folder"] or ".")
            folder = "" if folder == "." else f"--chdir {folder} "
            better = f"{folder}{path['name']}{path['rest'] or ''}"
            raise Stop(f"{target!r}: a module is named, not its file: {better}")
        raise Stop(f"{target!r} names no module: an application is given as module:app")
    if attribute is not None and not _DOTTED.fullmatch(attribute):
        called = _CALLED.fullmatch(attribute)
        if called:
            raise Stop(f"{target!r}: to have it called, give {name}:{called[1]} --factory")
        raise Stop(f"{target!r}: {attribute!r} is no name: an application is given as module:app")


# The module.


def _import(name: str, is_bare: bool) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not _is_of_user(error.__traceback__) and _stands_for(name, error.name):
            raise _missing(name, error, is_bare) from None
        raise _failed(f"{name} cannot be imported", error) from None
    except BaseException as error:
        raise _failed(f"{name} cannot be imported", error) from None


def _stands_for(name: str, missing: str | None) -> bool:
    """Tell whether a missing module is the one that was asked for, or a package of it."""
    return missing is not None and (name == missing or name.startswith(missing + "."))


def _missing(name: str, error: ModuleNotFoundError, is_bare: bool) -> Stop:
    """Return what says that there is no such module, and which there are."""
    missing = error.name or name
    package, _, last = missing.rpartition(".")
    if package and "is not a package" in str(error):
        hint = f": did you mean {package}:{last}?" if missing == name else ""
        return Stop(f"there is no module {missing}: {package} is not a package{hint}")
    paths = sys.modules[package].__path__ if package else [os.getcwd()]
    siblings = sorted({module.name for module in pkgutil.iter_modules(paths)})
    siblings = [each for each in siblings if not each.startswith("_")]
    near = nearest(last, siblings)
    text = f"there is no module {missing}"
    if is_bare and missing in _COMMANDS:
        return Stop(f"{text}: did you mean --{missing}?")
    if near:
        prefix = f"{package}." if package else ""
        return Stop(f"{text}: did you mean {' or '.join(prefix + each for each in near)}?")
    place = f"{package} has" if package else f"{os.getcwd()} has"
    has = f"{', '.join(siblings[:5])}{', ...' if len(siblings) > 5 else ''}" if siblings else "none"
    usage = _usage() if is_bare and not package else ""
    return Stop(f"{text}: {place} {has}; --chdir goes to another folder", details=usage)


def _usage() -> str:
    from .messages import USAGE

    return f"usage: {USAGE}"


def nearest(name: str, names: Iterable[str]) -> list[str]:
    """Return those names that may have been meant, the nearest first."""
    by_folded = {each.casefold().replace("-", "_"): each for each in names}
    found = get_close_matches(name.casefold(), by_folded, 2, 0.6)
    return [by_folded[each] for each in found]


# What it has.


def _find_default(module: Any, name: str) -> Any:
    for attribute in DEFAULT_NAMES:
        if hasattr(module, attribute):
            return getattr(module, attribute)
    makers = [each for each in ("create_app", "make_app") if callable(getattr(module, each, None))]
    hint = f"is it {name}:{makers[0]} --factory?" if makers else f"name it, as in {name}:NAME"
    raise Stop(f"module {name} has neither app nor application: {hint}")


def _look_up(module: Any, name: str, dotted: str) -> Any:
    found, label = module, f"module {name}"
    for attribute in dotted.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError as error:
            if _is_of_user(error.__traceback__):  # a property of theirs, or __getattr__
                raise _failed(f"{label}: {attribute} cannot be had", error) from None
            near = nearest(attribute, (each for each in dir(found) if not each.startswith("__")))
            hint = f"did you mean {' or '.join(near)}?" if near else _what_is_there(found)
            raise Stop(f"{label} has no {attribute}: {hint}") from None
        except Exception as error:
            raise _failed(f"{label}: {attribute} cannot be had", error) from None
        label = attribute
    return found


def _what_is_there(thing: Any) -> str:
    """Name what could be an application: what can be called, and is defined there."""
    home = getattr(thing, "__name__", None)
    names = [
        name
        for name, value in vars(thing).items()
        if not name.startswith("_")
        and callable(value)
        and getattr(value, "__module__", home) == home
    ]
    return f"it has {', '.join(names[:5])}" if names else "it has nothing that can be called"


def _describe(value: object) -> str:
    kind = type(value)
    if value is None or value is True or value is False:
        return str(value)
    article = "an" if kind.__name__[:1].lower() in "aeiou" else "a"
    return f"{article} {kind.__name__}"


# What it takes.


def _check_signature(application: Callable[..., Any], label: str) -> None:
    """Refuse what cannot be called as an application is, where that can be known."""
    takes = _signature_test(application)
    if takes is None or takes(2):
        return
    if takes(0):
        raise Stop(f"{label} takes no arguments: if it returns the application, add --factory")
    if takes(3):
        text = f"{label} takes three arguments, as an ASGI application does"
        raise Stop(f"{text}: this server is for WSGI")
    raise Stop(f"{label} does not take the two arguments of WSGI: environ, start_response")


def _signature_test(function: Callable[..., Any]) -> Callable[[int], bool] | None:
    """Return what tells whether a function takes so many arguments; `None`: unknown."""
    import inspect

    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None

    def takes(number: int) -> bool:
        try:
            signature.bind(*range(number))
        except TypeError:
            return False
        return True

    return takes


def _make(factory: Callable[..., Any], label: str) -> WSGIApplication:
    takes = _signature_test(factory)
    if takes is not None and not takes(0):
        raise Stop(f"{label} wants arguments: a factory is called without")
    try:
        application: WSGIApplication = factory()
    except BaseException as error:
        raise _failed(f"{label}() failed", error) from None
    if not callable(application):
        raise Stop(f"{label}() returned {_describe(application)}, which cannot be called")
    _check_signature(application, f"what {label}() returned")
    return application


# What went wrong in it.


def _failed(what: str, error: BaseException) -> Stop:
    """Return what shows the user's part of a traceback, and says what has failed."""
    if isinstance(error, KeyboardInterrupt):
        return Stop(f"{what}: interrupted", INTERRUPTED)
    if isinstance(error, SystemExit):
        return Stop(f"{what}: it ended the program, with exit code {error.code!r}")
    hint = ""
    if isinstance(error, ModuleNotFoundError) and error.name:
        hint = f" ({error.name.partition('.')[0]} has to be installed, or is misspelt)"
    return Stop(f"{what}: {describe(error)}{hint}", details=format_of_user(error))


def format_of_user(error: BaseException) -> str:
    """Return a traceback that begins with the user's code."""
    trace = error.__traceback__
    while trace is not None and _is_ours(trace):
        trace = trace.tb_next
    return show(error, trace)


def _is_of_user(trace: TracebackType | None) -> bool:
    """Tell whether something has come by the user's code."""
    while trace is not None:
        if not _is_ours(trace):
            return True
        trace = trace.tb_next
    return False


def _is_ours(trace: TracebackType) -> bool:
    """Tell whether a frame is of this package, or of the import system."""
    name = trace.tb_frame.f_code.co_filename
    if name.startswith(_IMPORT_SYSTEM) or name == importlib.__file__:
        return True
    return os.path.abspath(name).startswith(_OURS + os.sep)
