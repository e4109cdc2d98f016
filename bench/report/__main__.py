"""The command line: make the page and its charts, and what the README shows of them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from bench.servers.results import Results

from . import bars, lines, readme, tables
from .drawing import Chart
from .page import anchor, page


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments say; 2 is that it could not be done, and one line says why."""
    options = _parsed(arguments)
    try:
        results = _loaded(options.results)
        if options.readme:
            _check(options.readme)
        if find_spec("matplotlib") is None:
            raise ValueError("charts need matplotlib: python -m pip install matplotlib")
        _make(results, options.out, options.readme)
    except (OSError, ValueError) as error:
        print(f"bench.report: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.report", description=__doc__)
    parser.add_argument("results", type=Path, metavar="RESULTS.json")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument(
        "--readme",
        type=Path,
        metavar="README.md",
        help=f"put a chart and a table between its {readme.BEGIN} and {readme.END}",
    )
    return parser.parse_args(arguments)


def _loaded(path: Path) -> Results:
    try:
        return Results.load(path)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no results file: {error}") from error


def _check(path: Path) -> None:
    """See that a README has a place for the figures, before anything is written."""
    try:
        readme.replaced(path.read_text("utf-8"), "")
    except readme.NoMarks as error:
        raise ValueError(f"{path} {error}") from error


def _make(results: Results, folder: Path, into: Path | None) -> None:
    charts = {
        workload: workload_charts(results, workload) for workload in tables.workloads(results)
    }
    curves = curve_charts(results)
    folder.mkdir(parents=True, exist_ok=True)
    for chart in [*(one for some in charts.values() for one in some), *curves]:
        chart.write(folder)
    (folder / "report.html").write_text(page(results, charts, curves), "utf-8")
    if into and charts:
        readme.write(into, results, next(iter(charts.values()))[0])


def workload_charts(results: Results, workload: str) -> list[Chart]:
    """Draw what was measured under a workload."""
    name = anchor(workload)
    return [
        bars.throughput(results, workload, f"throughput-{name}"),
        bars.latency(results, workload, f"latency-{name}"),
    ]


def curve_charts(results: Results) -> list[Chart]:
    """Draw the curves: by connections, and what else there is."""
    found = lines.by_name([*lines.connections(results), *results.curves])
    return [lines.chart(results, some, f"curve-{anchor(name)}") for name, some in found.items()]


if __name__ == "__main__":
    sys.exit(main())
