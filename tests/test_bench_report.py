"""The benchmarks' report: what it says of a run, and that it says it in one sound page."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import pytest

# Last: the repository has folders with the names of installed packages.
sys.path.append(str(Path(__file__).parent.parent))

from bench.report import lines, readme, tables, words
from bench.report.__main__ import main
from bench.report.page import page
from bench.servers.results import Case, Curve, Point, Results, Round

needs_matplotlib = pytest.mark.skipif(
    find_spec("matplotlib") is None, reason="matplotlib, which draws the charts, is not installed"
)

THIN = "\u202f"
MARKED = f"# A\n\n{readme.BEGIN}\nold\n{readme.END}\n\nafter\n"


def case(workload: str, server: str, *rates: float, errors: int = 0, fault: str = "") -> Case:
    rounds = [
        Round(int(rate) * 2, rate, 16 / rate, 64 / rate, errors if rate == rates[-1] else 0, 1.5)
        for rate in rates
    ]
    return Case(workload, server, rounds, 20 * 2**20, 30 * 2**20 + 2**19, fault)


@pytest.fixture
def results() -> Results:
    """Return a run with all that can go wrong in one."""
    cases = [
        case("hello", "wsgiref", 4000, 5000, 4500),
        case("hello", "ours", 60_000, 61_234, 62_000),
        case("hello", "peer", 30_000, 31_000, 32_000),
        case("hello", "hasty", 90_000, 91_000, errors=7),
        case("hello", "wrong", 80_000, fault="answered <nothing> & closed"),
        case("hello", "absent", fault="did not start"),
        case("hello", "empty"),
        case("hello", "loop", 120_000, 118_000),
        case("post", "ours", 12.3456),
        case("connections-32", "ours", 50_000),
        case("connections-1", "ours", 16_000, 18_000),
        case("connections-32", "hasty", 9000, errors=1),
        case("limits", "loop", 100),
        case("connections-1", "hasty", 8000),
    ]
    curves = [
        Curve(
            "fields", "By fields", "fields", "µs", "ours", [Point(1, 5, 4, 6), Point(90, 9, 8, 9)]
        ),
        Curve("fields", "By fields", "fields", "µs", "peer", [Point(1, 7, 6, 8)]),
        Curve("fields", "By fields", "fields", "µs", "empty", []),
        Curve("lone", "Alone", "bytes", "s", "ours", [Point(1024, 0, 0, 0)]),
        Curve(
            "wide", "Wide", "bytes", "s", "ours", [Point(x, 1 + x, 1, 2 + x) for x in (0, 9, 9e6)]
        ),
        Curve("none", "None", "x", "y", "ours", []),
    ]
    servers = {
        "wsgiref": {"title": "wsgiref", "kind": "standard"},
        "ours": {"title": "Our $erver, $4", "kind": "own"},
        **{name: {"title": name.title(), "kind": "peer"} for name in ("peer", "hasty", "wrong")},
        "absent": {"title": "A server whose name is far too long for a line", "kind": "peer"},
        "loop": {"title": "C loop", "kind": "limit"},
        "gone": {"title": "Gone & away", "kind": "peer"},
    }
    return Results(
        made_at="2026-01-02 03:04",
        machine={"cpu": "4 x <Fast>", "system": "Linux"},
        versions={"Peer": "1.2.3"},
        servers=servers,
        workloads={"hello": {"title": "Hello | you", "about": "13 bytes <b>"}},
        skipped={"gone": "needs a compiler > 5"},
        cases=cases,
        curves=curves,
        is_whole=False,
        is_quick=True,
    )


@pytest.fixture
def saved(results: Results, tmp_path: Path) -> Path:
    path = tmp_path / "results.json"
    results.save(path)
    return path


class Checker(HTMLParser):
    """Reads a page, and holds that all that is opened is closed in turn."""

    VOID = frozenset({"meta", "img", "source", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def check(html: str) -> Checker:
    """Hold that a page is balanced and needs nothing but itself."""
    checker = Checker()
    checker.feed(html)
    checker.close()
    assert not checker.open
    assert not {"script", "link", "iframe", "object"} & set(checker.tags)
    values = {
        name: [v for n, v in checker.attributes if n == name] for name, _ in checker.attributes
    }
    assert len(values["id"]) == len(set(values["id"]))
    targets = [to or "" for to in values.get("href", []) + values.get("xlink:href", [])]
    assert {to[1:] for to in targets} <= set(values["id"])
    assert all(to.startswith("#") for to in targets)
    assert "src" not in values
    assert "@import" not in html
    assert set(re.findall(r"url\((.)", html)) <= {"#"}
    return checker


# Figures


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, "0"),
        (30_124, f"30{THIN}100"),
        (1_234_567, f"1{THIN}230{THIN}000"),
        (999.6, f"1{THIN}000"),
        (0.9996, "1.00"),
        (0.0123456, "0.0123"),
        (88.08, "88.1"),
        (float("nan"), "\u2014"),
    ],
)
def test_a_figure_has_three_digits_and_thin_thousands(value: float, written: str) -> None:
    assert words.number(value) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.1, "0.1"), (1e-5, "0.00001"), (2.5, "2.5"), (1e6, f"1{THIN}000{THIN}000")],
)
def test_a_round_figure_has_no_digit_too_many(value: float, written: str) -> None:
    assert words.plain(value) == written


def test_sizes_are_whole_in_their_unit() -> None:
    sizes = [0, 100, 1024, 1536, 2**20, 3 * 2**30]
    assert [words.size(one) for one in sizes] == [
        "0",
        "100",
        "1 KiB",
        "1\u202f536",
        "1 MiB",
        "3 GiB",
    ]


# Tables


def test_each_server_has_its_median_and_its_rank(results: Results) -> None:
    rows = {row.name: row for row in tables.of_workload(results, "hello").rows}
    ours = rows["Our $erver, $4"]
    assert ours.cells[:2] == [f"61{THIN}200", f"60{THIN}000\u201362{THIN}000"]
    assert ours.cells[2:4] == ["0.261", "1.05"]
    assert ours.cells[-2:] == ["20.0", "30.5"]
    assert {name: row.rank for name, row in rows.items() if row.rank} == {
        "Our $erver, $4": 1,
        "Peer": 2,
        "wsgiref": 3,
    }


def test_what_erred_is_told_and_has_no_rank(results: Results) -> None:
    rows = tables.of_workload(results, "hello").rows
    unranked = {row.name: row for row in rows if "unranked" in row.kind}
    assert unranked["Hasty"].note == f"erred: 7 errors beside 362{THIN}000 answers"
    assert unranked["Wrong"].note == "fault: answered <nothing> & closed"
    assert unranked["empty"].note == "not measured"
    assert unranked["A server whose name is far too long for a line"].note == "fault: did not start"
    assert not any(row.rank for row in unranked.values())
    assert [row.kind for row in rows[-4:]] == ["peer unranked"] * 4


def test_the_summary_has_ratios_and_the_fastest_that_did_not_err(results: Results) -> None:
    table = tables.summary(results)
    rows = {row.name: row.cells for row in table.rows}
    assert table.heads == ["workload", "wsgiref", "Our $erver, $4", "fastest other"]
    assert rows["Hello | you"] == [
        f"4{THIN}500",
        f"61{THIN}200 (14\u00d7)",
        f"Peer: 31{THIN}000 (6.9\u00d7)",
    ]
    assert rows["post"] == ["\u2014", "12.3", "\u2014"]


def test_without_results_there_are_no_lines() -> None:
    empty = Results("now", {}, {}, {}, {})
    assert tables.summary(empty).rows == []
    assert check(page(empty, {}, [])).text.count("no rounds") == 1


# Curves


def test_connections_become_curves_without_what_erred(results: Results) -> None:
    curves = {(one.name, one.server): one.points for one in lines.connections(results)}
    assert curves["connections-throughput", "ours"] == [
        Point(1, 17_000, 16_000, 18_000),
        Point(32, 50_000, 50_000, 50_000),
    ]
    assert curves["connections-p99", "ours"][1] == Point(32, *[64_000 / 50_000] * 3)
    assert [point.x for point in curves["connections-p50", "hasty"]] == [1]


def test_one_count_of_connections_is_no_curve(results: Results) -> None:
    results.cases = [one for one in results.cases if one.workload != "connections-1"]
    assert lines.connections(results) == []


def test_curves_without_points_are_left_out(results: Results) -> None:
    found = lines.by_name(results.curves)
    assert {name: [one.server for one in some] for name, some in found.items()} == {
        "fields": ["ours", "peer"],
        "lone": ["ours"],
        "wide": ["ours"],
    }


def test_names_beside_lines_keep_apart_and_in_order() -> None:
    assert lines.apart([50, 50, 10, 99], 10, 0, 100) == [50, 60, 10, 99]
    assert lines.apart([99, 98, 97], 10, 0, 100) == [100, 90, 80]
    assert lines.apart([0, 0, 0], 10, 0, 5) == [0, 10, 20]


# The page


def test_the_page_is_sound_and_says_all(results: Results) -> None:
    said = check(page(results, {}, [])).text
    for text in (
        "interrupted",
        "quick run",
        "Hello | you",
        "13 bytes <b>",
        "answered <nothing> & closed",
        "4 x <Fast>",
        "1.2.3",
        "Gone & away",
        "needs a compiler > 5",
        *(words.number(one.per_second) for one in results.cases if one.is_ranked),
    ):
        assert text in said


def test_a_whole_run_has_no_caveats(results: Results) -> None:
    results.is_whole, results.is_quick = True, False
    assert 'class="caveat"' not in page(results, {}, [])


# The README


def test_the_block_is_put_in_the_place_of_the_last(results: Results) -> None:
    block = readme.block(results, "Hello", 'of "all" <b>')
    text = readme.replaced(MARKED, block)
    assert text == f"# A\n\n{readme.BEGIN}\n{block}\n{readme.END}\n\nafter\n"
    assert readme.replaced(text, block) == text
    assert 'alt="Hello. of &quot;all&quot; &lt;b&gt;"' in block
    assert f"| Hello \\| you | 4{THIN}500 | 61{THIN}200 (14\u00d7) |" in block
    assert "interrupted" in block


@pytest.mark.parametrize(
    "text",
    ["", readme.BEGIN, readme.END, readme.END + readme.BEGIN, MARKED + readme.BEGIN, 2 * MARKED],
)
def test_marks_must_be_there_once_and_in_order(text: str) -> None:
    with pytest.raises(readme.NoMarks):
        readme.replaced(text, "new")


# The command


def fails(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run a command that cannot be done, and return the one line that says why."""
    assert main([str(one) for one in arguments]) == 2
    out, error = capsys.readouterr()
    assert not out
    assert error.count("\n") == 1
    assert error.startswith("bench.report: ")
    return error


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"\xff", b'{"format": 1}', b'{"format": 1, "cases": [3], "curves": []}'],
)
def test_a_file_without_results_is_refused(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "other.json"
    path.write_bytes(content)
    assert str(path) in fails(capsys, path, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_not_there_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "missing.json" in fails(capsys, tmp_path / "missing.json", "--out", tmp_path)


def test_a_readme_without_marks_is_refused_before_anything_is_written(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "README.md"
    path.write_text("# A\n")
    error = fails(capsys, saved, "--out", tmp_path / "out", "--readme", path)
    assert readme.BEGIN in error
    assert str(path) in error
    assert not (tmp_path / "out").exists()


@needs_matplotlib
def test_all_is_written_and_the_same_again(saved: Path, tmp_path: Path) -> None:
    out, path = tmp_path / "out", tmp_path / "README.md"
    path.write_text(MARKED)
    arguments = [str(saved), "--out", str(out), "--readme", str(path)]
    assert main(arguments) == 0
    first = {one: one.read_bytes() for one in tmp_path.rglob("*") if one.is_file()}
    assert main(arguments) == 0
    assert first == {one: one.read_bytes() for one in tmp_path.rglob("*") if one.is_file()}

    workloads = ("hello", "post", "connections-1", "connections-32", "limits")
    names = {f"{what}-{name}" for what in ("throughput", "latency") for name in workloads}
    names |= {f"curve-connections-{what}" for what in ("throughput", "p50", "p99")}
    names |= {"curve-fields", "curve-lone", "curve-wide"}
    assert {one.name for one in out.iterdir()} == {
        "report.html",
        *(f"{name}.{kind}" for name in names for kind in ("svg", "png")),
    }
    assert check((out / "report.html").read_text("utf-8")).tags.count("figure") == len(names)
    for name in (readme.LIGHT, readme.DARK):
        assert ElementTree.parse(tmp_path / name).getroot().tag.endswith("svg")
        assert f'"{name.as_posix()}"' in path.read_text("utf-8")


@needs_matplotlib
def test_charts_can_be_read_aloud_and_show_what_erred(saved: Path, tmp_path: Path) -> None:
    assert main([str(saved), "--out", str(tmp_path)]) == 0
    for path in tmp_path.glob("*.svg"):
        root = ElementTree.parse(path).getroot()
        title, about = (root.find(f"{{*}}{tag}") for tag in ("title", "desc"))
        assert title is not None
        assert title.text
        assert about is not None
        assert root.get("aria-labelledby") == f"{title.get('id')} {about.get('id')}"
    svg = (tmp_path / "throughput-hello.svg").read_text("utf-8")
    assert "<pattern" in svg  # hatched
    assert "stroke-dasharray" in svg  # the limit
    written = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert {"erred", "fault", "Our $erver, $4", f"61{THIN}200", f"31{THIN}000"} <= set(written)
    assert f"91{THIN}000" not in written
    assert "<pattern" not in (tmp_path / "throughput-post.svg").read_text("utf-8")
