"""Print a saved table of ratios as Markdown: ``python -m bench.table FILE``."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from .ratios import LEAST_RATIOS, Ratios

_HEADS = (
    "case",
    "standard library, or peer",
    "pure",
    "compiled",
    "ratio, pure",
    "ratio, compiled",
    "at least",
)


def markdown(path: Path) -> list[str]:
    """Return the lines of a table, and above it one that says where it was measured."""
    ratios, machine = Ratios.load(path)
    about = "{cpu}, {system}, {python}".format(**machine)
    rows = [_row(case, *ratios.row(case), _demands(case)) for case in _ordered(ratios.cases)]
    return [f"{about}:", "", _row(*_HEADS), _row("---", *["---:"] * 6), *rows]


def _ordered(cases: Iterable[str]) -> list[str]:
    """Return cases as the demands name them, and then the others."""
    places = {case: place for place, (case, _) in enumerate(LEAST_RATIOS)}
    return sorted(cases, key=lambda case: places.get(case, len(places)))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |".replace(" us ", " µs ")


def _demands(case: str) -> str:
    """Return what is demanded of a case: of the compiled kernels, and of pure ones if less."""
    pure, compiled = (LEAST_RATIOS.get((case, name)) for name in ("pure", "compiled"))
    if pure is None or pure == compiled:
        return "" if compiled is None else f"{compiled:g}"
    return f"{compiled:g} (pure: {pure:g})"


if __name__ == "__main__":
    print("\n".join(markdown(Path(sys.argv[1]))))
