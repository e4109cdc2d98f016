"""The tables: what is in them, and how they are written as HTML and as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html import escape

from bench.servers.results import Case, Results

from . import words


@dataclass
class Row:
    """A line: its name, its figures, or instead of figures a note."""

    name: str
    cells: list[str] = field(default_factory=list)
    kind: str = ""
    rank: int = 0
    note: str = ""


@dataclass
class Table:
    """Rows below heads; the first head is that of the names."""

    title: str
    heads: list[str]
    rows: list[Row]

    def html(self) -> str:
        """Return it for the page; cells know their heads, for a screen too narrow for columns."""
        head = "".join(
            f'<th scope="col" role="columnheader">{escape(one)}</th>' for one in self.heads
        )
        body = "\n".join(self._html_row(row) for row in self.rows)
        return (
            f'<table role="table">\n<caption>{escape(self.title)}</caption>\n'
            f'<thead role="rowgroup"><tr role="row">{head}</tr></thead>\n'
            f'<tbody role="rowgroup">\n{body}\n</tbody>\n</table>'
        )

    def _html_row(self, row: Row) -> str:
        rank = (
            f'<span class="rank">{row.rank or ""}</span>' if any(r.rank for r in self.rows) else ""
        )
        name = f'<th scope="row" role="rowheader">{rank}{escape(row.name)}</th>'
        cells = "".join(
            f'<td role="cell" data-head="{escape(head)}">{escape(cell)}</td>'
            for head, cell in zip(self.heads[1:], row.cells, strict=False)
        )
        if row.note:
            width = len(self.heads) - 1 - len(row.cells)
            cells += f'<td role="cell" class="note" colspan="{width}">{escape(row.note)}</td>'
        return f'<tr role="row" class="{row.kind or "plain"}">{name}{cells}</tr>'

    def markdown(self) -> list[str]:
        """Return its lines for the README."""
        rows = [
            _markdown_row([row.name, *row.cells, *([row.note] if row.note else [])])
            for row in self.rows
        ]
        rule = _markdown_row(["---", *["---:"] * (len(self.heads) - 1)])
        return [_markdown_row(self.heads), rule, *rows]


def _markdown_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def of_workload(results: Results, workload: str) -> Table:
    """Return all that was measured under a workload, a line for each server."""
    heads = [
        "server",
        "requests/s",
        "least\u2013most",
        "p50, ms",
        "p99, ms",
        "processor, s/10\u202f000",
        "idle, MiB",
        "peak, MiB",
    ]
    rows, rank, cases = [], 0, results.of(workload)
    for case in cases:
        kind = words.kind(results, case.server)
        is_placed = case.is_ranked and kind != "limit"
        rank += is_placed
        rows.append(_case_row(results, case, kind, rank if is_placed else 0))
    return Table(
        f"{words.title(results.workloads, workload)}: medians of {words.rounds_of(cases)}",
        heads,
        rows,
    )


def _case_row(results: Results, case: Case, kind: str, rank: int) -> Row:
    name = words.title(results.servers, case.server)
    if not case.rounds:
        return Row(name, kind=f"{kind} unranked", note=words.reason(case))
    cells = [
        words.number(case.per_second),
        words.span(*case.spread),
        words.milliseconds(case.p50),
        words.milliseconds(case.p99),
        words.number(case.processor),
        words.mebibytes(case.idle_bytes),
        words.mebibytes(case.peak_bytes),
    ]
    if case.is_ranked:
        return Row(name, cells, kind, rank)
    return Row(name, cells[:1], f"{kind} unranked", note=words.reason(case))


def summary(results: Results) -> Table:
    """Return a line for each workload: our servers, the standard library's, the fastest other.

    Each figure is the median of requests a second, and how many times that is the standard
    library's in this run.
    """
    named = [name for name in results.servers if words.kind(results, name) in ("standard", "own")]
    named.sort(key=lambda name: words.kind(results, name) == "own")
    measured = {case.server for case in results.cases}
    # A thread for each connection is told of under each workload; here there is no room.
    named = [name for name in named if name in measured and not name.endswith("-threading")]
    heads = ["workload", *(words.title(results.servers, name) for name in named), "fastest other"]
    rows = []
    for workload in workloads(results):
        cases = {case.server: case for case in results.of(workload)}
        base = next((cases[name] for name in named if _is_base(results, cases.get(name))), None)
        cells = [_rate(cases.get(name), base) for name in named]
        other = next((c for c in cases.values() if _is_ranked_peer(results, c)), None)
        cells.append(
            f"{words.title(results.servers, other.server)}: {_rate(other, base)}"
            if other
            else words.NONE
        )
        rows.append(Row(words.title(results.workloads, workload), cells))
    return Table("Requests/s, and how many times the standard library\u2019s", heads, rows)


def _is_base(results: Results, case: Case | None) -> bool:
    return case is not None and case.is_ranked and words.kind(results, case.server) == "standard"


def _is_ranked_peer(results: Results, case: Case) -> bool:
    return case.is_ranked and words.kind(results, case.server) == "peer"


def _rate(case: Case | None, base: Case | None) -> str:
    """Write a server's figure; a word where it has no rank."""
    if case is None:
        return words.NONE
    if not case.is_ranked:
        return words.unranked(case)
    rate = words.number(case.per_second)
    if base is None or base is case or not base.per_second:
        return rate
    return f"{rate} ({words.times(case.per_second / base.per_second)})"


def workloads(results: Results) -> list[str]:
    """Return the workloads that have cases, in their order."""
    measured = dict.fromkeys(case.workload for case in results.cases)
    return [
        *(name for name in results.workloads if name in measured),
        *(name for name in measured if name not in results.workloads),
    ]


def of_pairs(caption: str, heads: tuple[str, str], pairs: Mapping[str, str]) -> Table:
    """Return a table of two columns: versions, the machine, what was skipped."""
    return Table(caption, list(heads), [Row(name, [value]) for name, value in pairs.items()])
