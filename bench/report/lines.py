"""The charts with a line for each server: what the work's size does to its cost."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.servers.results import Case, Curve, Point, Results, Round

from . import drawing, words
from .drawing import BLUE, FAINT, GREEN, INK, ORANGE, PURPLE, SKY, VERMILLION, Chart

#: An axis whose ends lie further apart than so many times is logarithmic.
_DECADES = 20
#: So many places that were measured are all at the axis.
_FEW = 8
_HEIGHT = 3.6
_NAME = 11  # points from one name beside the lines to the next
_SIZE = 7.5

_OWN = (BLUE, VERMILLION, GREEN, PURPLE)
_OTHERS = (FAINT, SKY, ORANGE, PURPLE, GREEN)
_MARKERS = "osD^vPX<>"
_DASHES = ((0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))

_CONNECTIONS = re.compile(r"connections-([1-9][0-9]*)")


@dataclass
class _Style:
    colour: str
    marker: str
    dash: Any
    width: float


def connections(results: Results) -> list[Curve]:
    """Return as curves what was measured with one connection, with 32, with 256 and so on."""
    counts = {
        workload: int(found[1])
        for workload in {case.workload for case in results.cases}
        if (found := _CONNECTIONS.fullmatch(workload))
    }
    if len(counts) < 2:
        return []
    curves = []
    for name, title, y_title, figure in _FIGURES:
        for server in dict.fromkeys(case.server for case in results.cases):
            cases = [c for c in results.cases if c.workload in counts and c.server == server]
            points = [_point(counts[c.workload], c, figure) for c in cases if c.is_ranked]
            if points:
                points.sort(key=lambda point: point.x)
                curves.append(Curve(name, title, "connections", y_title, server, points))
    return curves


_FIGURES: tuple[tuple[str, str, str, Callable[[Round], float]], ...] = (
    (
        "connections-throughput",
        "Requests a second by connections",
        "requests/s",
        lambda one: one.per_second,
    ),
    ("connections-p50", "Latency by connections, p50", "ms", lambda one: 1000 * one.p50),
    ("connections-p99", "Latency by connections, p99", "ms", lambda one: 1000 * one.p99),
)


def _point(x: int, case: Case, figure: Callable[[Round], float]) -> Point:
    figures = sorted(figure(one) for one in case.rounds)
    middle = (figures[(len(figures) - 1) // 2] + figures[len(figures) // 2]) / 2
    return Point(x, middle, figures[0], figures[-1])


def by_name(curves: Iterable[Curve]) -> dict[str, list[Curve]]:
    """Return curves that belong in one chart, those without a point left out."""
    found: dict[str, list[Curve]] = {}
    for curve in curves:
        if curve.points:
            found.setdefault(curve.name, []).append(curve)
    return found


def chart(results: Results, curves: Sequence[Curve], name: str) -> Chart:
    """Draw curves of one name, with a band as far as rounds lay apart."""
    first = curves[0]
    styles = _styles(results)
    labels = _labels(results, curves)
    bold = [words.kind(results, curve.server) == "own" for curve in curves]
    widths = [drawing.width_of(n, _SIZE, is_bold=b) for n, b in zip(labels, bold, strict=True)]
    height = max(_HEIGHT, (_NAME * len(curves) + 70) / 72)
    with drawing.figure(height) as figure:
        axes = drawing.inset(figure, 44, min(max(widths), 130) + 26, 40, 36)
        for curve in sorted(curves, key=lambda one: styles[one.server].width):
            _line(axes, curve, styles[curve.server])
        _scale(axes, curves)
        axes.set_xlabel(first.x_title)
        axes.annotate(
            first.y_title,
            (0, 1),
            xytext=(-38, 6),
            xycoords="axes fraction",
            textcoords="offset points",
            size=8,
            color=FAINT,
            va="bottom",
        )
        _name_lines(axes, curves, labels, styles)
        drawing.headline(figure, first.title)
        return drawing.finished(figure, name, first.title, _in_words(results, curves))


def _styles(results: Results) -> dict[str, _Style]:
    """Give each server a style that it keeps in all charts: our own are strong."""
    names = dict.fromkeys([*results.servers, *(one.server for one in results.cases)])
    names.update(dict.fromkeys(one.server for one in results.curves))
    styles, own, others = {}, 0, 0
    for name in names:
        kind = words.kind(results, name)
        if kind == "own":
            dash: Any = "-" if own < len(_OWN) else _DASHES[0]
            styles[name] = _Style(_OWN[own % len(_OWN)], _MARKERS[own % 9], dash, 2.2)
            own += 1
        elif kind in ("standard", "limit"):
            dash = (0, (4, 3)) if kind == "limit" else "-"
            styles[name] = _Style(INK, "" if kind == "limit" else "s", dash, 1.4)
        else:
            colour, dash = _OTHERS[others % len(_OTHERS)], _DASHES[others // 5 % 3]
            styles[name] = _Style(colour, _MARKERS[(others + others // 5) % 9], dash, 1.1)
            others += 1
    return styles


def _line(axes: Any, curve: Curve, style: _Style) -> None:
    points = sorted(curve.points, key=lambda point: point.x)
    xs, ys = [point.x for point in points], [point.y for point in points]
    lows, highs = [point.low for point in points], [point.high for point in points]
    if len(points) == 1:
        axes.vlines(xs, lows, highs, color=style.colour, lw=style.width)
    else:
        axes.fill_between(
            xs, lows, highs, color=style.colour, alpha=0.2 if style.width > 2 else 0.1, lw=0
        )
    axes.plot(
        xs,
        ys,
        color=style.colour,
        lw=style.width,
        ls=style.dash,
        marker=style.marker or None,
        ms=3.6,
        solid_capstyle="round",
    )


def _scale(axes: Any, curves: Sequence[Curve]) -> None:
    xs = sorted({point.x for curve in curves for point in curve.points})
    ys = [y for curve in curves for point in curve.points for y in (point.y, point.low, point.high)]
    positive = [x for x in xs if x > 0]
    is_wide = xs[0] >= 0 and xs[-1] > _DECADES * positive[0] if positive else False
    if is_wide and xs[0] > 0:
        axes.set_xscale("log")
        drawing.log_ticks(axes.xaxis)
    elif is_wide:  # and from nothing on
        axes.set_xscale("symlog", linthresh=positive[0], linscale=0.5)
    else:
        drawing.even_ticks(axes.xaxis)
    if len(xs) <= _FEW or (is_wide and not xs[0]):
        _tick_at(axes, xs, is_bytes="byte" in curves[0].x_title)
    if min(ys) > 0 and max(ys) > _DECADES * min(ys):
        axes.set_yscale("log")
        drawing.log_ticks(axes.yaxis)
    else:
        axes.set_ylim(bottom=min(0, *ys), top=1.05 * max(ys) or 1)
        drawing.even_ticks(axes.yaxis)


def _tick_at(axes: Any, xs: Sequence[float], *, is_bytes: bool) -> None:
    """Have the measured places at the axis, but for those that have no room."""
    width = axes.get_window_extent().width * 72 / axes.figure.dpi
    ticks, labels, edge = [], [], -math.inf
    for x in xs:
        label = words.size(int(x)) if is_bytes else words.plain(x)
        half = drawing.width_of(label, 8) / 2
        place = width * axes.transAxes.inverted().transform(axes.transData.transform((x, 0.5)))[0]
        if place - half > edge:
            ticks.append(x)
            labels.append(label)
            edge = place + half
    axes.set_xticks(ticks, labels)
    axes.minorticks_off()


def _labels(results: Results, curves: Sequence[Curve]) -> list[str]:
    """Name the lines, and say of those that end early where they do."""
    ends = [max(point.x for point in curve.points) for curve in curves]
    return [
        words.title(results.servers, curve.server)
        + ("" if end == max(ends) else f", to {words.plain(end)}")
        for curve, end in zip(curves, ends, strict=True)
    ]


def _name_lines(
    axes: Any, curves: Sequence[Curve], labels: Sequence[str], styles: dict[str, _Style]
) -> None:
    """Write each line's name at its end, apart from the others, with a thread between the two."""
    last = [max(curve.points, key=lambda point: point.x) for curve in curves]
    ends = [axes.transData.transform((point.x, point.y))[1] for point in last]
    box = axes.get_window_extent()
    edge = max(point.x for point in last)
    step = _NAME * axes.figure.dpi / 72
    places = apart(ends, step, box.y0, box.y1 + step)
    for point, place, label, curve in zip(last, places, labels, curves, strict=True):
        style = styles[curve.server]
        axes.annotate(
            label,
            (point.x, point.y),
            xytext=(1.07, (place - box.y0) / box.height),
            textcoords="axes fraction",
            size=_SIZE,
            va="center",
            color=INK,
            weight="bold" if style.width > 2 else "normal",
            arrowprops={
                "arrowstyle": "-",
                "color": style.colour,
                "lw": 0.6,
                "shrinkA": 1,
                "shrinkB": 2,
                "ls": "-" if point.x == edge else (0, (1, 3)),
                "relpos": (0, 0.5),
            },
        )


def apart(wanted: Sequence[float], step: float, low: float, high: float) -> list[float]:
    """Return places as near to those wanted as there is room, each a step from the next."""
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    places = list(wanted)
    floor = low
    for index in order:
        places[index] = floor = max(floor, wanted[index])
        floor += step
    ceiling = max(high, low + step * (len(wanted) - 1))
    for index in reversed(order):
        places[index] = ceiling = min(ceiling, places[index])
        ceiling -= step
    return places


def _in_words(results: Results, curves: Sequence[Curve]) -> str:
    told = []
    for curve in curves:
        points = sorted(curve.points, key=lambda point: point.x)
        first, last = (
            f"{words.number(p.y)} at {words.plain(p.x)}" for p in (points[0], points[-1])
        )
        way = first if len(points) == 1 else f"{first} to {last}"
        told.append(f"{words.title(results.servers, curve.server)} from {way}")
    return f"{curves[0].y_title} by {curves[0].x_title}: {'; '.join(told)}."
