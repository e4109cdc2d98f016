"""Counted instructions, and how they are held against what is kept."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench import instructions
from bench.instructions import REFERENCE, Counts, compare, report, why_not_comparable

from wsgiref_fast import _impl

MADE_WITH = {
    "python": "CPython 3.11.7",
    "architecture": "x86_64",
    "compiler": "GCC 12.2.0",
    "cython": "3.1.2",
}


def counts(cases: dict[str, float] | None = None, **others: str) -> Counts:
    return Counts({**MADE_WITH, **others}, cases or {})


# Comparing


def test_what_is_dearer_than_the_tolerance_fails() -> None:
    found = compare({"a": 1000, "b": 1000}, {"a": 1031, "b": 1029})
    assert found.has_failed
    assert found.dearer == ["a: +3.1%"]
    assert found.cheaper == found.unmatched == []
    assert found.lines[1].split() == ["a", "1,000", "1,031", "+3.1%"]
    text = "\n".join(report(found, MADE_WITH, MADE_WITH))
    assert "dearer by more than 3%: a: +3.1%" in text
    assert "--update" in text
    assert "It need not be" not in text


def test_what_is_cheaper_is_told_and_does_not_fail() -> None:
    found = compare({"a": 1000, "b": 1000}, {"a": 969, "b": 971})
    assert not found.has_failed
    assert found.cheaper == ["a: -3.1%"]
    text = "\n".join(report(found, MADE_WITH, {**MADE_WITH, "cython": "3.2.0"}))
    assert "cheaper by more than 3%: a: -3.1%" in text
    assert "It need not be the package: cython 3.2.0, kept 3.1.2." in text
    assert text.endswith("none is dearer by more than 3%")


def test_a_case_that_only_one_side_has_fails() -> None:
    found = compare({"kept": 1000, "both": 1000}, {"both": 1000, "new": 1000})
    assert found.has_failed
    assert found.unmatched == ["new: not kept", "kept: not counted"]
    assert [line.split() for line in found.lines[2:]] == [
        ["new", "-", "1,000"],
        ["kept", "1,000", "-"],
    ]


def test_counts_are_kept_as_whole_numbers(tmp_path: Path) -> None:
    path = tmp_path / "counts.json"
    counts({"a": 12.6}).save(path)
    assert Counts.load(path) == counts({"a": 13})


@pytest.mark.parametrize(
    ("what", "other"),
    [
        ("python", "CPython 3.12.1"),
        ("python", "PyPy 3.11.7"),
        ("architecture", "aarch64"),
        ("compiler", "GCC 13.1.0"),
        ("compiler", "clang 12.2.0"),
    ],
)
def test_others_are_not_compared(what: str, other: str) -> None:
    reason = why_not_comparable(counts(), Counts({**MADE_WITH, what: other}, {}))
    assert reason == f"{what} {other} here, {MADE_WITH[what]} there"


def test_releases_of_the_same_are_compared() -> None:
    now = counts(python="CPython 3.11.9", compiler="GCC 12.4.0", cython="3.2.0")
    assert why_not_comparable(counts(), now) == ""


def test_interpreters_that_were_compiled_otherwise_are_not_compared() -> None:
    kept = counts({REFERENCE: 1000})
    assert why_not_comparable(kept, counts({REFERENCE: 1019})) == ""
    assert why_not_comparable(kept, counts({REFERENCE: 979})).startswith("-2.1% for")


def test_a_pattern_selects_cases_beside_the_one_that_is_always_needed() -> None:
    assert instructions.select(["a", REFERENCE, "b"], "^b") == [REFERENCE, "b"]
    with pytest.raises(instructions.CannotCountError, match="no case matches"):
        instructions.select(["a"], "b")


# The command


class Counting:
    """Counts what it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
        self.path = path
        self.now = counts(dict.fromkeys(instructions.CASES, 1000))
        monkeypatch.setattr(instructions, "find_valgrind", lambda: "valgrind")
        monkeypatch.setattr(instructions, "made_with", lambda: self.now.made_with)
        monkeypatch.setattr(instructions, "count", self.count)

    def count(self, names: Any) -> dict[str, float]:
        return {name: self.now.cases[name] for name in names}

    def run(self, *arguments: str) -> int:
        return instructions.main(["--file", str(self.path), *arguments])


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Counting:
    return Counting(monkeypatch, tmp_path / "counts.json")


def test_what_was_kept_is_compared(counting: Counting, capsys: pytest.CaptureFixture[str]) -> None:
    assert counting.run() == 2  # nothing is kept yet
    assert counting.run("--update") == 0
    assert counting.run() == 0
    counting.now.cases["bytes(Headers)"] = 1100
    assert counting.run() == 1
    assert "dearer by more than 3%: bytes(Headers): +10.0%\n" in capsys.readouterr().out
    assert counting.run("--only", "Server") == 0
    assert counting.run("--only", "nonsense") == 2


def test_a_part_can_be_updated(counting: Counting) -> None:
    counting.run("--update")
    counting.now.cases = {name: 2000 if name != REFERENCE else 1000 for name in instructions.CASES}
    assert counting.run("--update", "--only", "Server") == 0
    kept = Counts.load(counting.path).cases
    assert kept["Server, kept: hello"] == 2000
    assert kept["bytes(Headers)"] == 1000
    counting.now = replace(counting.now, made_with={**MADE_WITH, "compiler": "GCC 13.1.0"})
    assert counting.run("--update", "--only", "Server") == 2


def test_elsewhere_nothing_is_counted_and_nothing_fails(
    counting: Counting, capsys: pytest.CaptureFixture[str]
) -> None:
    counting.run("--update")
    capsys.readouterr()
    counting.now = counts({}, architecture="aarch64")
    assert counting.run() == 0
    assert capsys.readouterr().out == "not compared: architecture aarch64 here, x86_64 there\n"


def test_what_is_missing_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert instructions.main([]) == 2
    assert capsys.readouterr().err == "bench.instructions: valgrind is not installed\n"
    monkeypatch.setattr(shutil, "which", lambda name: name)
    monkeypatch.setattr(_impl, "IMPLEMENTATION", "pure")
    assert instructions.main([]) == 2
    assert capsys.readouterr().err == (
        "bench.instructions: wsgiref_fast is installed without its compiled kernels\n"
    )


# What is kept, and a real count


def test_each_case_is_kept() -> None:
    kept = Counts.load(instructions.KEPT)
    assert list(kept.cases) == list(instructions.CASES)
    assert all(number > 100 for number in kept.cases.values())
    assert set(kept.made_with) >= {"python", "architecture", "compiler", "valgrind"}
    text = json.dumps({"made_with": kept.made_with, "instructions": kept.cases}, indent=2)
    assert instructions.KEPT.read_text() == text + "\n"


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
def test_a_call_is_counted(implementation: str, capfd: pytest.CaptureFixture[str]) -> None:
    if implementation == "pure":
        with pytest.raises(instructions.CannotCountError, match="compiled kernels"):
            instructions.count(["bytes(Headers)"])
        return
    found = instructions.count(["bytes(Headers)", "Headers, a sequence of edits"])
    assert list(found) == ["bytes(Headers)", "Headers, a sequence of edits"]
    assert 500 < found["bytes(Headers)"] < found["Headers, a sequence of edits"] < 500_000
    assert capfd.readouterr() == ("", "")
