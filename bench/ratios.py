"""Collect times, and make of them ratios against the standard library."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from timeit import repeat, timeit

import wsgiref_fast

from . import peers

#: What is demanded at least: (case, subject) -> times as fast as the standard library, or as
#: the peer that the case names.
LEAST_RATIOS = {
    ("request in memory: browser", "pure"): 2.0,
    ("request in memory: browser", "compiled"): 12.0,
    ("request in memory: own handle()", "compiled"): 8.0,
    ("request in memory: minimal", "compiled"): 10.0,
    ("request in memory: POST of 10 KiB", "compiled"): 10.0,
    ("parse_request()", "compiled"): 20.0,
    ("get_environ()", "compiled"): 6.0,
    ("SimpleHandler.run()", "compiled"): 5.0,
    ("bytes(Headers)", "compiled"): 8.0,
    ("Headers, a sequence of edits", "compiled"): 4.0,
    ("FileWrapper, 128 blocks of 512", "compiled"): 2.0,
    ("validator around an application", "compiled"): 1.5,
    ("loopback, a connection each", "pure"): 1.5,
    ("loopback, a connection each", "compiled"): 1.5,
    ("loopback, a file of 1 MiB", "compiled"): 1.5,
    ("loopback, wrk", "compiled"): 4.0,
    ("loopback, wrk, against bjoern", "compiled"): 1.0,
    ("Django's runserver, keep-alive", "compiled"): 5.0,
    ("Server, wrk: hello, against wsgiref", "compiled"): 15.0,
    ("Server, wrk: hello, against bjoern", "compiled"): 1.4,
    ("Server, wrk: browser, against bjoern", "compiled"): 2.0,
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
    ("live_server: start to first answer", "pure"): 0.002,
    ("live_server: start to first answer", "compiled"): 0.002,
    ("live_server: end", "pure"): 0.005,
    ("live_server: end", "compiled"): 0.005,
}


#: Rounds of two functions in turns, and about how long one of them is.
_ROUNDS = 61
_ROUND_SECONDS = 0.005


@dataclass
class Time:
    """How long a subject took for one call, and how many times as fast as the first it is."""

    seconds: float
    ratio: float
    is_rate: bool = False  # to be shown as calls a second

    def __str__(self) -> str:
        if self.is_rate:
            return f"{1 / self.seconds:.0f} /s"
        if self.seconds < 1e-3:
            return f"{self.seconds * 1e6:.2f} us"
        return f"{self.seconds * 1e3:.2f} ms"

    def factor(self) -> str:
        """Return the ratio as it is shown."""
        return f"x {self.ratio:.2f}" if self.ratio < 100 else f"x {self.ratio:.0f}"


@dataclass
class Ratios:
    """All times of a run: case -> subject -> time, what is compared with first."""

    cases: dict[str, dict[str, Time]] = field(default_factory=dict)

    def add(
        self, case: str, rounds: dict[str, list[float]], base: str = "stdlib", rate: bool = False
    ) -> None:
        """Add the seconds of rounds that took turns: the median, and that of paired ratios."""
        times = self.cases.setdefault(case, {})
        for subject, own in rounds.items():
            ratio = median(b / t for b, t in zip(rounds[base], own, strict=True))
            times[subject] = Time(median(own), ratio, rate)

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
        heads = "stdlib", "pure", "compiled", "pure", "compiled"
        return [_line("", heads)] + [_line(case, self.row(case)) for case in self.cases]

    def row(self, case: str) -> tuple[str, ...]:
        """Return the times of a case, that of what is compared with first, and two ratios."""
        times = self.cases[case]
        pure, compiled = times.get("pure"), times.get("compiled")
        shown = [
            str(time) if time else "-" for time in (next(iter(times.values())), pure, compiled)
        ]
        return *shown, *(time.factor() if time else "-" for time in (pure, compiled))

    def save(self, path: Path) -> None:
        """Write everything as JSON, seconds unrounded."""
        cases = {
            case: {subject: asdict(time) for subject, time in times.items()}
            for case, times in self.cases.items()
        }
        saved = {"machine": machine(), "versions": versions(), "cases": cases}
        path.write_text(json.dumps(saved, indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> tuple[Ratios, dict[str, str]]:
        """Return what `save` wrote, and the machine that it was measured on."""
        saved = json.loads(path.read_text())
        cases = {
            case: {subject: Time(**time) for subject, time in times.items()}
            for case, times in saved["cases"].items()
        }
        return cls(cases), saved["machine"]


def _line(case: str, columns: tuple[str, ...]) -> str:
    return f"{case:42}" + "".join(f"{column:>12}" for column in columns)


def in_turns(timers: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Call what returns the seconds of a round, each in turn."""
    times: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(rounds):
        for name, timer in timers.items():
            times[name].append(timer())
    return times


def paired_rounds(
    base: Callable[[], object], own: Callable[[], object]
) -> tuple[list[float], list[float]]:
    """Time two functions in turns; return the seconds of one call in each round.

    A machine's pace changes from second to second, by half where others work on it: only
    what was timed side by side can be compared.
    """
    calls = [
        max(1, round(_ROUND_SECONDS / min(repeat(f, number=1, repeat=20)))) for f in (base, own)
    ]
    times: tuple[list[float], list[float]] = [], []
    for _ in range(_ROUNDS):
        for function, number, into in zip((base, own), calls, times, strict=True):
            into.append(timeit(function, number=number) / number)
    return times


def machine() -> dict[str, str]:
    """Say what was measured, and where."""
    return {
        "wsgiref_fast": wsgiref_fast.__version__,
        "implementation": wsgiref_fast.IMPLEMENTATION,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "compiler": platform.python_compiler(),
        "system": f"{platform.system()} {platform.release()}",
        "cpu": _cpu(),
    }


#: What is measured beside the package: in the process that measures, and in another.
_PEERS_HERE = ("h11", "httptools", "multidict", "Werkzeug")
_PEERS_ELSEWHERE = ("bjoern", "Django")

_VERSIONS = """
import sys
from importlib.metadata import PackageNotFoundError, version
for name in sys.argv[1:]:
    try:
        print(name, version(name))
    except PackageNotFoundError:
        pass
"""


def versions() -> dict[str, str]:
    """Return which version there is of the package, its peers and what measures them."""
    found: dict[str, str] = {}
    for python, names in (
        (sys.executable, ("wsgiref_fast", "pytest", "pytest-benchmark", *_PEERS_HERE)),
        (peers.PYTHON, _PEERS_ELSEWHERE),
    ):
        command = [python, "-I", "-c", _VERSIONS, *names]
        done = subprocess.run(command, capture_output=True, text=True)
        for line in done.stdout.splitlines():
            name, _, version = line.partition(" ")
            found[name] = version
    return found


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    return f"{len(models)} x {models[0]}" if models else platform.machine()
