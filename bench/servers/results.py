"""What a run has measured, and the file that it is kept in."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

#: Changes when older files cannot be read any more.
FORMAT = 1


@dataclass
class Round:
    """One load of one server: seconds throughout."""

    requests: int
    per_second: float
    p50: float
    p99: float
    errors: int
    processor: float  # seconds that the server computed, in the system's calls too


@dataclass
class Case:
    """A server under one workload, in all rounds."""

    workload: str
    server: str
    rounds: list[Round] = field(default_factory=list)
    idle_bytes: int = 0  # resident, after the first answer
    peak_bytes: int = 0
    fault: str = ""  # why it could not be measured, or gave a wrong answer

    @property
    def is_ranked(self) -> bool:
        """Whether it answered all that it was asked."""
        is_answered = bool(self.rounds) and all(one.requests for one in self.rounds)
        return is_answered and not self.fault and not self.errors

    @property
    def errors(self) -> int:
        return sum(one.errors for one in self.rounds)

    @property
    def per_second(self) -> float:
        return median(one.per_second for one in self.rounds)

    @property
    def spread(self) -> tuple[float, float]:
        """The least and the most requests a second of a round."""
        rates = [one.per_second for one in self.rounds]
        return min(rates), max(rates)

    @property
    def p50(self) -> float:
        return median(one.p50 for one in self.rounds)

    @property
    def p99(self) -> float:
        return median(one.p99 for one in self.rounds)

    @property
    def processor(self) -> float:
        """Seconds of processor for 10,000 requests."""
        shares = [one.processor / one.requests for one in self.rounds if one.requests]
        return 10_000 * median(shares) if shares else 0.0


@dataclass
class Point:
    """A place on a curve: the cost where the work is so large, and how far rounds lay apart."""

    x: float
    y: float
    low: float
    high: float


@dataclass
class Curve:
    """What one server's cost is as the work grows."""

    name: str
    title: str
    x_title: str
    y_title: str
    server: str
    points: list[Point] = field(default_factory=list)


@dataclass
class Results:
    """A run, as far as it came."""

    made_at: str
    machine: dict[str, str]
    versions: dict[str, str]
    servers: dict[str, dict[str, str]]  # name -> title, kind: own, standard, peer or limit
    workloads: dict[str, dict[str, str]]  # name -> title, about
    skipped: dict[str, str] = field(default_factory=dict)  # server -> reason
    cases: list[Case] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    is_whole: bool = True  # else it was interrupted
    is_quick: bool = False

    def of(self, workload: str) -> list[Case]:
        """Return the cases of a workload: the fastest first, the unranked last."""
        found = [case for case in self.cases if case.workload == workload]
        return sorted(found, key=lambda case: -case.per_second if case.is_ranked else 0.0)

    def save(self, path: Path) -> None:
        """Write all of it as JSON."""
        path.write_text(json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read what `save` wrote.

        Raises:
            ValueError: it is no such file, or of another format.

        """
        data: dict[str, Any] = json.loads(path.read_text())
        if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
            raise ValueError(f"{path} holds no results of this version")
        cases = [
            Case(**{**case, "rounds": [Round(**one) for one in case["rounds"]]})
            for case in data.pop("cases")
        ]
        curves = [
            Curve(**{**curve, "points": [Point(**one) for one in curve["points"]]})
            for curve in data.pop("curves")
        ]
        return cls(cases=cases, curves=curves, **data)
