"""What the README shows of a run: one chart, one table, between two marks."""

from __future__ import annotations

from html import escape
from pathlib import Path

from bench.servers.results import Results

from . import tables, words
from .drawing import Chart
from .page import made

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"

#: Beside the README.
LIGHT, DARK = Path("docs/bench/throughput.svg"), Path("docs/bench/throughput-dark.svg")


class NoMarks(ValueError):
    """A text does not say where the figures go."""


def replaced(text: str, block: str) -> str:
    """Return a text with a block between its marks, in place of what was there.

    Raises:
        NoMarks: they are not there, each once, the first one first.

    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise NoMarks(f"needs one {BEGIN} and after it one {END}")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{block}\n{END}{rest.split(END)[1]}"


def block(results: Results, title: str, about: str) -> str:
    """Return the chart, of a title and of what it shows, and the table, as Markdown."""
    lines = [
        "<picture>",
        f'<source media="(prefers-color-scheme: dark)" srcset="{DARK.as_posix()}">',
        f'<img src="{LIGHT.as_posix()}" alt="{escape(f"{title}. {about}")}" width="640">',
        "</picture>",
        "",
        f"Requests/s: the median of {words.rounds_of(results.cases)}, and how many times the "
        "standard library\u2019s in the same run.",
        *words.caveats(results),
        f"{made(results)}.",
        "",
        *tables.summary(results).markdown(),
    ]
    return "\n".join(lines)


def write(readme: Path, results: Results, chart: Chart) -> None:
    """Put the chart beside a README, and the block into it.

    Raises:
        NoMarks: it does not say where.

    """
    text = replaced(readme.read_text("utf-8"), block(results, chart.title, chart.about))
    for path, svg in ((LIGHT, chart.svg), (DARK, chart.recoloured())):
        (readme.parent / path).parent.mkdir(parents=True, exist_ok=True)
        (readme.parent / path).write_text(svg, "utf-8")
    readme.write_text(text, "utf-8")
