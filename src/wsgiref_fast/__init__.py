"""Python's own ``wsgiref``, name for name, faster and safer.

Import a module of it in place of the original's (``from wsgiref_fast.simple_server import
make_server``), or call `install` once, before anything else imports ``wsgiref``.

For pytest, which would warn where this was imported before it started: PYTEST_DONT_REWRITE
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._impl import IMPLEMENTATION as IMPLEMENTATION
    from .server import serve as serve

__version__ = "0.1.0"
__all__ = ["IMPLEMENTATION", "__version__", "install", "serve", "uninstall"]

_SUBMODULES = frozenset(
    {
        *("handlers", "headers", "server", "simple_server", "status", "testing", "types", "util"),
        "validate",
    }
)


def install(*, strict: bool = False) -> None:
    """Make ``import wsgiref`` and its submodules give this package, from now on.

    Our classes become subclasses of the originals, so `isinstance` and `issubclass` hold
    against those too. A module that took something from the original earlier keeps it.

    Args:
        strict: refuse where such a module exists, in place of warning.

    Warns:
        RuntimeWarning: such a module exists; the text names all of them.

    Raises:
        RuntimeError: the same, with `strict`; nothing is changed.

    """
    from . import _alias

    _alias.install(strict=strict)


def uninstall() -> None:
    """Take back what `install` did; without it, do nothing."""
    from . import _alias

    _alias.uninstall()


def __getattr__(name: str) -> Any:
    """Import what is first asked for: pytest imports the package for who needs nothing of it."""
    if name == "IMPLEMENTATION":
        from . import _impl

        return _impl.IMPLEMENTATION
    if name in _SUBMODULES:
        from importlib import import_module

        return import_module(f"{__name__}.{name}")
    if name == "serve":
        from .server import serve

        return serve
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
