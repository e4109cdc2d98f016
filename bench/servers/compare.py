"""Results as text: a table of one run, and what got slower between two."""

from __future__ import annotations

from .results import Case, Results

#: Less than this is not told: part of the rate.
_LEAST_CHANGE = 0.03


def table(results: Results) -> list[str]:
    """Return the lines of a table for each workload."""
    lines = []
    for name, workload in results.workloads.items():
        cases = results.of(name)
        if not cases:
            continue
        lines += ["", f"{workload['title']}: {workload['about']}", _HEAD]
        lines += [_line(results.servers[case.server]["title"], case) for case in cases]
    for curve in results.curves:
        title = results.servers[curve.server]["title"]
        points = ", ".join(f"{point.x:,.0f}: {point.y:,.4g}" for point in curve.points)
        lines += ["", f"{curve.title}, {title}: {curve.y_title} by {curve.x_title}", f"  {points}"]
    return lines


_HEAD = f"  {'':32}{'/s':>9}{'spread':>17}{'p50':>10}{'p99':>10}{'s/10k':>8}{'MB':>7}"


def _line(title: str, case: Case) -> str:
    if case.fault or not case.rounds:
        return f"  {title:32} not measured: {case.fault or 'no time'}"
    low, high = case.spread
    marks = "" if case.is_ranked else f"  {case.errors} errors: not ranked"
    return (
        f"  {title:32}{case.per_second:9.0f}{f'{low:.0f}-{high:.0f}':>17}"
        f"{_seconds(case.p50):>10}{_seconds(case.p99):>10}{case.processor:8.3f}"
        f"{case.peak_bytes / 1e6:7.0f}{marks}"
    )


def _seconds(value: float) -> str:
    return f"{value * 1e3:.2f} ms" if value < 1 else f"{value:.2f} s"


def compare(old: Results, new: Results) -> list[str]:
    """Return lines that say which cases got slower, with the noise beside the change.

    A case got slower where its fastest round is slower than the slowest of before.
    """
    before = {(case.workload, case.server): case for case in old.cases}
    slower, compared = [], 0
    for case in new.cases:
        was = before.get((case.workload, case.server))
        if was is None or not was.is_ranked:
            continue
        name = f"{case.workload}/{case.server}"
        if not case.is_ranked:
            slower.append(f"  {name}: {case.fault or f'{case.errors} errors'}")
            continue
        compared += 1
        change = case.per_second / was.per_second - 1
        if change < -_LEAST_CHANGE and case.spread[1] < was.spread[0]:
            noise = max(_noise(was), _noise(case))
            slower.append(f"  {name}: {change:+.1%} (rounds lie {noise:.1%} apart)")
    if not slower:
        return [f"nothing got slower; {compared} cases compared"]
    return [f"slower than in {old.made_at}:", *slower]


def _noise(case: Case) -> float:
    low, high = case.spread
    return (high - low) / case.per_second
