"""Tracebacks of a program's own failures, which 3.15's `traceback` may fail at, too."""

from __future__ import annotations

import traceback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType


def describe(error: BaseException) -> str:
    """Return the line that a traceback ends with: the exception's class and message."""
    try:
        return traceback.format_exception_only(error)[-1].strip()
    except Exception:
        # To say more of a module that is missing, 3.15 imports the package that it is of:
        # once more, if the program has just failed at that.
        return f"{type(error).__name__}: {error}"


def show(error: BaseException, trace: TracebackType | None) -> str:
    """Return a traceback from this frame on."""
    try:
        return "".join(traceback.format_exception(type(error), error, trace))
    except Exception:
        head = "Traceback (most recent call last):\n" if trace else ""
        return f"{head}{''.join(traceback.format_tb(trace))}{describe(error)}\n"
