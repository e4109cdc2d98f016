"""Collect times, and make of them ratios against the standard library."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from timeit import repeat, timeit

import wsgiref_fast

#: What is demanded at least: (case, subject) -> times as fast as the standard library.
LEAST_RATIOS = {
    ("request in memory: browser", "pure"): 2.0,
    ("request in memory: browser", "compiled"): 2.0,
    ("loopback, a connection each", "pure"): 1.5,
    ("loopback, a connection each", "compiled"): 1.5,
    ("bytes(Headers)", "compiled"): 4.0,
    # No dearer than the original; what is below 1 is how well it can be measured.
    ("import handlers", "pure"): 0.97,
    ("import handlers", "compiled"): 0.97,
    ("import simple_server", "pure"): 0.97,
    ("import simple_server", "compiled"): 0.97,
}

#: What is demanded at most: (case, subject) -> seconds.
MOST_SECONDS = {
    ("make_server() to first answer", "pure"): 0.005,
    ("make_server() to first answer", "compiled"): 0.005,
    ("shutdown()", "pure"): 0.005,
    ("shutdown()", "compiled"): 0.005,
}


#: Rounds of two functions in turns, and about how long one of them is.
_ROUNDS = 61
_ROUND_SECONDS = 0.005


@dataclass
class Time:
    """How long a subject took: seconds, and how many times as fast as the standard library."""

    seconds: float
    ratio: float


@dataclass
class Ratios:
    """All times of a run: case -> subject -> time."""

    cases: dict[str, dict[str, Time]] = field(default_factory=dict)

    def add(self, case: str, rounds: dict[str, list[float]]) -> None:
        """Add the seconds of rounds that took turns: the median, and that of paired ratios."""
        base = rounds["stdlib"]
        for subject, own in rounds.items():
            ratio = median(b / t for b, t in zip(base, own, strict=True))
            self.cases.setdefault(case, {})[subject] = Time(median(own), ratio)

    def missed(self) -> list[str]:
        """Name the demands that were measured and not met."""
        complaints = []
        for case, times in self.cases.items():
            for subject, time in times.items():
                least, most = LEAST_RATIOS.get((case, subject)), MOST_SECONDS.get((case, subject))
                if least is not None and time.ratio < least:
                    complaints.append(f"{case}, {subject}: {time.ratio:.2f}, not {least:g}")
                if most is not None and time.seconds > most:
                    complaints.append(f"{case}, {subject}: {time.seconds * 1e3:.2f} ms")
        return complaints

    def table(self) -> list[str]:
        """Return lines that show a case each."""
        lines = [f"{'':34}{'stdlib':>11}{'pure':>11}{'compiled':>11}{'pure':>9}{'compiled':>10}"]
        for case, times in self.cases.items():
            shown = [times.get(subject) for subject in ("stdlib", "pure", "compiled")]
            seconds = "".join(f"{_duration(time):>11}" for time in shown)
            factors = f"{_factor(shown[1]):>9}{_factor(shown[2]):>10}"
            lines.append(f"{case:34}{seconds}{factors}")
        return lines

    def save(self, path: Path) -> None:
        """Write everything as JSON, seconds unrounded."""
        cases = {
            case: {
                subject: {"seconds": time.seconds, "ratio": time.ratio}
                for subject, time in times.items()
            }
            for case, times in self.cases.items()
        }
        path.write_text(json.dumps({"machine": machine(), "cases": cases}, indent=2) + "\n")


def paired_rounds(
    base: Callable[[], object], own: Callable[[], object]
) -> tuple[list[float], list[float]]:
    """Time two functions in turns; return the seconds of one call in each round.

    A machine's pace changes from second to second, by half where others work on it: only
    what was timed side by side can be compared.
    """
    calls = max(1, round(_ROUND_SECONDS / min(repeat(base, number=1, repeat=20))))
    times: tuple[list[float], list[float]] = [], []
    for _ in range(_ROUNDS):
        for function, into in zip((base, own), times, strict=True):
            into.append(timeit(function, number=calls) / calls)
    return times


def machine() -> dict[str, str]:
    """Say what was measured, and where."""
    return {
        "wsgiref_fast": wsgiref_fast.__version__,
        "implementation": wsgiref_fast.IMPLEMENTATION,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()}",
        "cpu": _cpu(),
    }


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    return f"{len(models)} x {models[0]}" if models else platform.machine()


def _duration(time: Time | None) -> str:
    if time is None:
        return "-"
    if time.seconds < 1e-3:
        return f"{time.seconds * 1e6:.2f} us"
    return f"{time.seconds * 1e3:.2f} ms"


def _factor(time: Time | None) -> str:
    if time is None:
        return "-"
    return f"x {time.ratio:.2f}" if time.ratio < 100 else f"x {time.ratio:.0f}"
