"""What is measured now, and how long it will still take."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any


def _make_bar() -> Any:
    """Return a bar, if there is a terminal to draw it on, and what draws it."""
    if not sys.stderr.isatty():
        return None
    try:
        from rich import progress
        from rich.console import Console
    except ImportError:
        return None
    columns = (
        progress.BarColumn(),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.description}", markup=False),
    )
    return progress.Progress(*columns, console=Console(stderr=True), transient=True)


class Progress:
    """A bar on a terminal; elsewhere a line for each step.

    Args:
        seconds: how long all steps take, as far as is known.

    """

    def __init__(self, seconds: float) -> None:
        self._bar = _make_bar()
        self._seconds = seconds
        self._task = None if self._bar is None else self._bar.add_task("", total=seconds)
        self._done = self._current = 0.0

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def tell(self, what: str, seconds: float) -> None:
        """Say what is measured next, and about how long that takes."""
        self._done += self._current
        self._current = seconds
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, description=what)
        else:
            left = max(0.0, self._seconds - self._done)
            print(f"[{left:5.0f} s left] {what}", file=sys.stderr, flush=True)
