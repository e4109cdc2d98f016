"""The page: one file that needs no other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from bench.servers.results import Results

from . import drawing, tables, words
from .drawing import Chart
from .tables import Table

_TITLE = "WSGI servers, side by side"


def page(results: Results, charts: dict[str, list[Chart]], curves: list[Chart]) -> str:
    """Return the report: charts of each workload by its name, then those of curves."""
    body = "\n".join(
        [
            *_opening(results, has_curves=bool(curves)),
            *_section("summary", "In short", [_html(tables.summary(results))]),
            *_curves(curves),
            *(
                line
                for workload in tables.workloads(results)
                for line in _workload(results, workload, charts.get(workload, []))
            ),
            *_section("made", "What was measured, and where", _circumstances(results)),
            "</main>",
        ]
    )
    style = f"{Path(__file__).with_name('page.css').read_text('utf-8')}{drawing.dark_rules()}"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{_TITLE}</title>\n<style>\n{style}\n</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def anchor(workload: str) -> str:
    """Return a name for a workload that files and links can have."""
    return re.sub(r"[^a-z0-9-]+", "-", workload.lower()).strip("-") or "workload"


def _opening(results: Results, *, has_curves: bool) -> list[str]:
    links = [("summary", "In short")]
    links += [("curves", "Curves")] if has_curves else []
    links += [
        (f"w-{anchor(name)}", words.title(results.workloads, name))
        for name in tables.workloads(results)
    ]
    links.append(("made", "Versions and machine"))
    items = "".join(f'<li><a href="#{to}">{escape(text)}</a></li>' for to, text in links)
    rounds = words.rounds_of(results.cases)
    return [
        f"<header>\n<h1>{_TITLE}</h1>",
        f'<p class="faint">{escape(made(results))}</p>',
        *(f'<p class="caveat" role="note">{escape(note)}</p>' for note in words.caveats(results)),
        f"<p>Each figure is the median of {rounds}, in which the servers took turns. Whiskers and "
        "bands reach from the least to the most of a round: servers whose spreads overlap are "
        "not told apart. A server that erred, or gave a wrong answer, has no rank. p50 and p99: "
        "half of the requests, and 99 in 100, took no longer.</p>",
        f'<ul class="key">{_key()}</ul>\n</header>',
        f'<nav aria-label="Contents"><ul>{items}</ul></nav>\n<main>',
    ]


def made(results: Results) -> str:
    """Say when and where a run was made."""
    return ", ".join([f"Made {results.made_at}", *map(str, results.machine.values())])


def _key() -> str:
    """Return what the colours of bars mean."""
    items = []
    for kind, text in (
        ("own", "ours"),
        ("standard", "the standard library"),
        ("peer", "others"),
    ):
        swatch = f'<rect width="32" height="16" style="fill: {drawing.KINDS[kind]}"/>'
        items.append(_swatch(swatch, text))
    for path, colour, text in (
        ("M0 16L16 0M8 16L24 0M16 16L32 0", drawing.GREY, "erred or wrong, not ranked"),
        ("M0 8H8M12 8H20M24 8H32", drawing.INK, "the limit: no Python, no WSGI"),
    ):
        line = f'<path d="{path}" stroke-width="3" style="stroke: {colour}"/>'
        items.append(_swatch(line, text))
    return "".join(items)


def _swatch(shape: str, text: str) -> str:
    return f'<li><svg viewBox="0 0 32 16" aria-hidden="true">{shape}</svg>{text}</li>'


def _section(name: str, title: str, parts: Iterable[str]) -> list[str]:
    return [f'<section id="{name}">\n<h2>{escape(title)}</h2>', *parts, "</section>"]


def _html(table: Table) -> str:
    return table.html().replace("<table", '<table class="wide"', 1)


def _figures(charts: Sequence[Chart]) -> str:
    return "\n".join(
        [
            '<div class="charts">',
            *(f"<figure>\n{chart.svg}\n</figure>" for chart in charts),
            "</div>",
        ]
    )


def _curves(charts: Sequence[Chart]) -> list[str]:
    told = "<p>Our own lines are thick. What a server erred at is not in its line.</p>"
    return _section("curves", "Curves", [told, _figures(charts)]) if charts else []


def _workload(results: Results, workload: str, charts: Sequence[Chart]) -> list[str]:
    about = results.workloads.get(workload, {}).get("about", "")
    parts = [f"<p>{escape(about)}</p>"] if about else []
    parts += [_figures(charts)] if charts else []
    parts.append(_html(tables.of_workload(results, workload)))
    return _section(f"w-{anchor(workload)}", words.title(results.workloads, workload), parts)


def _circumstances(results: Results) -> list[str]:
    skipped = {words.title(results.servers, name): why for name, why in results.skipped.items()}
    found = [
        tables.of_pairs("Versions", ("program", "version"), results.versions),
        tables.of_pairs("Machine", ("part", "is"), results.machine),
        tables.of_pairs("Skipped", ("server", "reason"), skipped),
    ]
    return [
        table.html().replace("<table", '<table class="pairs"', 1) for table in found if table.rows
    ]
