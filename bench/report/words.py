"""How figures, their units and servers are written: the same on the page, in charts, in README."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bench.servers.results import Case, Results

#: Between thousands: narrow, and no place for a line break.
THIN = "\u202f"
DASH = "\u2013"
#: Where there is no figure.
NONE = "\u2014"

_SERVER = {"kind": "peer"}  # what is known of a server that results do not describe


def number(value: float, digits: int = 3) -> str:
    """Write a figure with so many significant digits: 30 100, 1.25, 0.0520."""
    if not math.isfinite(value):
        return NONE
    rounded = float(f"{value:.{digits - 1}e}")
    if not rounded:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    return f"{rounded:,.{decimals}f}".replace(",", THIN)


def plain(value: float) -> str:
    """Write a round figure, as axes have them: no digit more than it has."""
    if value == int(value):
        return whole(int(value))
    return f"{value:.10f}".rstrip("0")


def whole(value: int) -> str:
    """Write a count, with all its digits."""
    return f"{value:,}".replace(",", THIN)


def milliseconds(seconds: float) -> str:
    return number(1000 * seconds)


def mebibytes(count: int) -> str:
    return number(count / 2**20) if count else NONE


def size(count: int) -> str:
    """Write so many bytes in the largest unit that they are whole in."""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if count and not count % unit:
            return f"{whole(count // unit)} {name}"
    return whole(count)


def span(low: float, high: float) -> str:
    """Write how far rounds lie apart."""
    return f"{number(low)}{DASH}{number(high)}"


def times(ratio: float) -> str:
    """Write how many times as fast: two digits are what one run can say."""
    return f"{number(ratio, 2)}\u00d7"


def title(names: Mapping[str, Mapping[str, str]], name: str) -> str:
    """Return what a server or a workload is called where people read."""
    return names.get(name, {}).get("title") or name


def kind(results: Results, server: str) -> str:
    """Return a server's kind: own, standard, peer or limit."""
    return results.servers.get(server, _SERVER).get("kind", "peer")


def unranked(case: Case) -> str:
    """Say in a word why a case has no rank; nothing where it has one."""
    if case.is_ranked:
        return ""
    if case.errors:
        return "erred"
    return "fault" if case.rounds else "not measured"


def reason(case: Case) -> str:
    """Say in full why a case has no rank."""
    parts = []
    if case.errors:
        asked = sum(one.requests for one in case.rounds)
        parts.append(f"erred: {whole(case.errors)} errors beside {whole(asked)} answers")
    if case.fault:
        parts.append(f"fault: {case.fault}")
    elif not case.rounds:
        parts.append("not measured")
    return "; ".join(parts)


def caveats(results: Results) -> list[str]:
    """Say what a reader must know before any figure."""
    notes = []
    if not results.is_whole:
        notes.append("This run was interrupted: what it had not measured yet is missing.")
    if results.is_quick:
        notes.append("This was a quick run: few and short rounds, good for a look, not to compare.")
    return notes


def rounds_of(cases: Sequence[Case]) -> str:
    """Say how many rounds there were: 5, or 3 to 5."""
    counts = sorted({len(case.rounds) for case in cases if case.rounds})
    if not counts:
        return "no rounds"
    count = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{count} round{'' if count == '1' else 's'}"
