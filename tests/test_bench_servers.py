"""The benchmark of servers: what it reads, keeps and compares, and a load that is real."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from bench.servers.compare import compare, table  # noqa: E402
from bench.servers.measure import read_report  # noqa: E402
from bench.servers.registry import SERVERS  # noqa: E402
from bench.servers.results import Case, Curve, Point, Results, Round  # noqa: E402
from bench.servers.workloads import WORKLOADS  # noqa: E402

REPORT = """Running 1s test @ http://127.0.0.1:8000/
  2 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   250.11us  100.00us   3.00ms   90.00%
    Req/Sec    50.00k     1.00k   51.00k    50.00%
  Latency Distribution
     50%  236.00us
     75%  250.00us
     90%    0.95ms
     99%    1.20ms
  101000 requests in 1.01s, 12.00MB read
{errors}Requests/sec: 100000.50
Transfer/sec:     12.00MB
"""


def results(*cases: Case) -> Results:
    return Results(
        made_at="2026-11-01T12:00:00+00:00",
        machine={"cpu": "4 x some"},
        versions={"one": "1.0"},
        servers={name: {"title": f"Server {name}", "kind": "peer"} for name in "abc"},
        workloads={"hello": {"title": "Hello", "about": "a page"}},
        cases=list(cases),
    )


def case(server: str, *rates: float, errors: int = 0, fault: str = "") -> Case:
    rounds = [Round(round(rate), rate, 0.001, 0.002, errors, 0.5) for rate in rates]
    return Case("hello", server, rounds, 10_000_000, 20_000_000, fault)


def test_a_report_of_the_load_generator_is_read() -> None:
    read = read_report(REPORT.format(errors=""), 0.9)
    assert (read.requests, read.per_second, read.errors) == (101000, 100000.5, 0)
    assert (read.p50, read.p99) == pytest.approx((236e-6, 1.2e-3))
    assert read.processor == 0.9


def test_errors_of_all_kinds_are_counted() -> None:
    lines = "  Socket errors: connect 1, read 20, write 300, timeout 4000\n"
    lines += "  Non-2xx or 3xx responses: 50000\n"
    assert read_report(REPORT.format(errors=lines), 0.0).errors == 54321


def test_what_is_no_report_is_said() -> None:
    with pytest.raises(ValueError, match="unable to connect"):
        read_report("unable to connect to 127.0.0.1", 0.0)


def test_results_are_kept(tmp_path: Path) -> None:
    kept = results(case("a", 10.0, 30.0, 20.0), case("b", fault="it does not listen"))
    kept.curves.append(Curve("idle", "Idle", "connections", "per second", "a", [Point(1, 2, 1, 3)]))
    kept.save(tmp_path / "file")
    assert Results.load(tmp_path / "file") == kept
    first = kept.cases[0]
    assert (first.per_second, first.spread) == (20.0, (10.0, 30.0))
    assert first.processor == pytest.approx(10_000 * 0.5 / 20)


@pytest.mark.parametrize("text", ["{}", "[]", '{"format": 0}', "1"])
def test_other_files_are_no_results(tmp_path: Path, text: str) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(ValueError, match="no results"):
        Results.load(tmp_path / "file")


def test_who_errs_is_not_ranked() -> None:
    found = results(
        case("a", 10.0),
        case("b", 99.0, errors=1),
        case("c", 20.0),
    ).of("hello")
    assert [each.server for each in found] == ["c", "a", "b"]
    assert [each.is_ranked for each in found] == [True, True, False]
    assert not case("a").is_ranked
    assert not case("a", 0.0).is_ranked


def test_the_table_names_each() -> None:
    lines = table(results(case("a", 1234.0), case("b", 5.0, errors=7), case("c", fault="it ended")))
    text = "\n".join(lines)
    assert "Server a" in text
    assert "1234" in text
    assert "7 errors: not ranked" in text
    assert "not measured: it ended" in text


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((100.0, 110.0), (80.0, 90.0), "-19"),
        ((100.0, 110.0), (80.0, 101.0), "nothing"),  # within the noise
        ((100.0, 110.0), (200.0,), "nothing"),
        ((100.0,), (98.0,), "nothing"),  # too little to tell
    ],
)
def test_what_got_slower_is_told(before: Any, after: Any, expected: str) -> None:
    text = "\n".join(compare(results(case("a", *before)), results(case("a", *after))))
    assert expected in text


def test_who_errs_now_got_slower() -> None:
    now = results(case("a", 200.0, errors=3))
    assert "hello/a: 3 errors" in "\n".join(compare(results(case("a", 100.0)), now))


def test_names_are_unique() -> None:
    for each in (SERVERS, WORKLOADS):
        names = [one.name for one in each]
        assert len(set(names)) == len(names)
        titles = [one.title for one in each]
        assert len(set(titles)) == len(titles)


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench.servers", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, **options)


def test_bad_arguments_are_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("{}")
    for arguments, reason in (
        (("--only", "nothing"), "nothing matches"),
        (("--compare", str(tmp_path / "old")), "no results"),
        (("--compare", str(tmp_path / "none")), "No such file"),
    ):
        if arguments[0] == "--only" and shutil.which("wrk") is None:
            continue
        found = run(*arguments)
        assert found.returncode == 2
        assert reason in found.stderr
        assert found.stderr.count("\n") == 1


needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")


@needs_wrk
def test_a_load_is_measured(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    patterns = [
        f"--only={name}/{server}"
        for name in ("hello", "streaming", "post-10k")
        for server in ("server-pure", "wsgiref")
    ]
    found = run(*patterns, "--rounds=1", "--json", str(file))
    assert found.returncode == 0, found.stderr
    kept = Results.load(file)
    assert kept.is_whole
    assert all(each.is_ranked for each in kept.cases if each.server == "server-pure")
    measured = {(each.workload, each.server) for each in kept.cases if each.rounds}
    # The last one ends a body of unknown length by closing, which counts as an error.
    assert measured == {
        *(("hello", "server-pure"), ("hello", "wsgiref"), ("streaming", "server-pure")),
        *(("post-10k", "server-pure"), ("post-10k", "wsgiref")),
    }
    if sys.platform == "linux":
        assert all(each.idle_bytes > 1_000_000 for each in kept.cases)
    assert "Hello, world" in found.stdout


@needs_wrk
def test_an_interruption_keeps_what_was_measured(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    command = [sys.executable, "-m", "bench.servers", "--only", "hello/server-pure"]
    with subprocess.Popen(
        [*command, "--rounds", "1000", "--json", str(file)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "round 3" in line:
                break
        os.kill(process.pid, signal.SIGINT)
        process.communicate()
    assert process.returncode == 130
    kept = json.loads(file.read_text())
    assert not kept["is_whole"]
    assert len(kept["cases"][0]["rounds"]) >= 2
