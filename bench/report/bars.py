"""The charts of one workload: how many requests a second, and how long one waits."""

from __future__ import annotations

import textwrap
from typing import Any

from bench.servers.results import Case, Results

from . import drawing, words
from .drawing import FAINT, INK, PAPER, Chart

_ROW = 17  # points from one server to the next
_LABEL = 24  # letters of a server's name in a line
#: A limit further out than so many times the fastest is told, not drawn: bars would be stubs.
_LIMIT_IN_SIGHT = 2.5


def throughput(results: Results, workload: str, name: str) -> Chart:
    """Draw a bar for each server, the fastest on top, with whiskers as far as rounds lay apart."""
    cases = [c for c in results.of(workload) if words.kind(results, c.server) != "limit"]
    limit = _limit(results, workload)
    title = f"{words.title(results.workloads, workload)}: requests a second"
    top = 36 if limit else 22
    with drawing.figure(_height(len(cases), top + 38)) as figure:
        axes = _axes(figure, results, cases, top)
        best = max((case.spread[1] for case in cases if case.is_ranked), default=0.0)
        best = best or max((case.spread[1] for case in cases if case.rounds), default=1.0) or 1.0
        is_in_sight = limit is not None and limit.per_second <= _LIMIT_IN_SIGHT * best
        edge = 1.2 * best
        if limit and is_in_sight:
            edge = max(edge, 1.06 * limit.per_second)
        axes.set_xlim(0, edge)
        for place, case in enumerate(cases):
            _bar(axes, results, case, place, edge)
        if limit:
            _draw_limit(axes, results, limit, is_in_sight)
        axes.set_xlabel(f"requests/s: median, least and most of {words.rounds_of(cases)}")
        drawing.even_ticks(axes.xaxis)
        drawing.headline(figure, title)
        return drawing.finished(figure, name, title, _throughput_words(results, cases, limit))


def latency(results: Results, workload: str, name: str) -> Chart:
    """Draw for each server, in the order of their throughput, half and nearly all waits."""
    cases = [c for c in results.of(workload) if words.kind(results, c.server) != "limit"]
    title = f"{words.title(results.workloads, workload)}: latency"
    shown = [case for case in cases if case.is_ranked and case.p50 > 0]
    with drawing.figure(_height(len(cases), 60)) as figure:
        axes = _axes(figure, results, cases, 22)
        low = min((case.p50 for case in shown), default=1e-3)
        high = max((case.p99 for case in shown), default=1e-1)
        axes.set_xscale("log")
        axes.set_xlim(1000 * low / 1.5, 1000 * max(high, 3 * low) * 1.5)
        for place, case in enumerate(cases):
            if case in shown:
                _waits(axes, results, case, place)
            else:
                axes.text(
                    0.01,
                    place,
                    words.unranked(case) or words.NONE,
                    size=8,
                    color=FAINT,
                    va="center",
                    transform=axes.get_yaxis_transform(),
                )
        drawing.log_ticks(axes.xaxis)
        axes.set_xlabel("ms, logarithmic: p50 filled, p99 hollow")
        drawing.headline(figure, title)
        return drawing.finished(figure, name, title, _latency_words(results, shown))


def _limit(results: Results, workload: str) -> Case | None:
    found = [c for c in results.of(workload) if words.kind(results, c.server) == "limit"]
    return next((case for case in found if case.is_ranked), None)


def _height(rows: int, rest: float) -> float:
    return (_ROW * max(rows, 1) + rest) / 72


def _axes(figure: Any, results: Results, cases: list[Case], top: float) -> Any:
    """Return axes with a line for each server, named at the left: our own in bold."""
    labels = [_wrapped(words.title(results.servers, case.server)) for case in cases]
    is_own = [words.kind(results, case.server) == "own" for case in cases]
    widths = [
        drawing.width_of(line, 8.5, is_bold=own)
        for label, own in zip(labels, is_own, strict=True)
        for line in label.split("\n")
    ]
    axes = drawing.inset(figure, 12 + max(widths, default=60), 16, top, 38)
    axes.set_yticks(range(len(labels)), labels, linespacing=1.05)
    axes.set_ylim(max(len(labels), 1) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    for text, label, own in zip(axes.get_yticklabels(), labels, is_own, strict=True):
        text.set(color=INK, weight="bold" if own else "normal", size=7 if "\n" in label else 8.5)
    return axes


def _wrapped(label: str) -> str:
    """Return a long name in two lines, the second the shorter."""
    if len(label) <= _LABEL:
        return label
    return textwrap.fill(
        label,
        max(_LABEL // 2, 6 * len(label) // 10),
        max_lines=2,
        placeholder="\u2026",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _bar(axes: Any, results: Results, case: Case, place: int, edge: float) -> None:
    word = words.unranked(case)
    if not case.rounds:
        told = textwrap.shorten(
            f"{word}: {case.fault}" if case.fault else word, 44, placeholder="\u2026"
        )
        axes.text(edge / 100, place, told, size=8, color=FAINT, va="center")
        return
    kind = words.kind(results, case.server)
    colour = drawing.KINDS.get(kind, drawing.GREY)
    low, high = case.spread
    if word:
        axes.barh(place, case.per_second, 0.66, facecolor=PAPER, edgecolor=colour, hatch="////")
    else:
        axes.barh(place, case.per_second, 0.66, color=colour)
        axes.hlines(place, low, high, color=INK, lw=1)
        axes.vlines((low, high), place - 0.18, place + 0.18, color=INK, lw=1)
    figure = words.number(case.per_second)
    axes.annotate(
        word or figure,
        (min(case.per_second if word else high, 0.86 * edge), place),
        xytext=(4, 0),
        textcoords="offset points",
        size=8,
        va="center",
        weight="bold" if kind == "own" and not word else "normal",
        color=FAINT if word else INK,
        bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1},
    )


def _draw_limit(axes: Any, results: Results, limit: Case, is_in_sight: bool) -> None:
    """Draw the limit as a dashed line, or say where it is."""
    told = f"{words.title(results.servers, limit.server)}: {words.number(limit.per_second)}/s"
    place, edge = limit.per_second, axes.get_xlim()[1]
    if is_in_sight:
        axes.axvline(place, color=INK, lw=1.2, ls=(0, (4, 3)))
    else:
        told, place = f"{told}, far to the right \u2192", edge
    axes.annotate(
        told,
        (place, axes.get_ylim()[1]),
        xytext=(0, 3),
        textcoords="offset points",
        size=8,
        ha="right",
        va="bottom",
        color=INK,
    )


def _waits(axes: Any, results: Results, case: Case, place: int) -> None:
    colour = drawing.KINDS.get(words.kind(results, case.server), drawing.GREY)
    p50, p99 = 1000 * case.p50, 1000 * case.p99
    axes.hlines(place, p50, p99, color=colour, lw=2.5)
    axes.plot([p50], [place], "o", ms=6, color=colour)
    axes.plot([p99], [place], "o", ms=6, mfc=PAPER, mec=colour, mew=1.6)


def _throughput_words(results: Results, cases: list[Case], limit: Case | None) -> str:
    """Say what the bars show."""
    told = [
        f"{words.title(results.servers, case.server)} "
        + (words.unranked(case) or words.number(case.per_second))
        for case in cases
    ]
    if limit:
        name = words.title(results.servers, limit.server)
        told.append(f"the limit, {name}, {words.number(limit.per_second)}")
    return f"The fastest first: {'; '.join(told)}."


def _latency_words(results: Results, cases: list[Case]) -> str:
    told = [
        f"{words.title(results.servers, case.server)} "
        f"{words.milliseconds(case.p50)} and {words.milliseconds(case.p99)}"
        for case in cases
    ]
    return f"p50 and p99 in ms: {'; '.join(told)}."
