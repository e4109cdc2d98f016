"""Measure servers side by side: ``python -m bench.servers``."""

from __future__ import annotations

import argparse
import fnmatch
import shutil
import signal
import sys
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from ..processes import clients_apart
from ..ratios import machine
from . import curves
from .compare import compare, table
from .measure import Fault, Running, check, load, running
from .progress import Progress
from .registry import ROOT, SERVERS, Server, versions
from .results import Case, Results
from .workloads import WORKLOADS, Workload

_QUICK_SERVERS = {
    *("server", "drop-in", "wsgiref", "bjoern", "fastpysgi", "granian", "gunicorn-gthread"),
    *("waitress", "limit"),
}
_QUICK_WORKLOADS = {"hello", "browser", "post-10k", "streaming", "file-1m", "flask"}

#: Seconds that a server takes to start and to end, roughly.
_START = 0.5


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.servers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the main ones, in under two minutes")
    parser.add_argument(
        "--only",
        action="append",
        metavar="PATTERN",
        help="WORKLOAD, WORKLOAD/SERVER or curve:NAME, with * and ?; may be repeated",
    )
    parser.add_argument("--rounds", type=_positive, metavar="N", help="5; with --quick 1")
    parser.add_argument("--seconds", type=_positive, default=1, metavar="N", help="of a load: 1")
    default = ROOT / "build" / "bench" / "results.json"
    parser.add_argument("--json", type=Path, default=default, metavar="FILE", help=str(default))
    parser.add_argument("--compare", type=Path, metavar="FILE", help="say what got slower since")
    parser.add_argument("--list", action="store_true", help="name workloads, servers and curves")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def main() -> int:
    """Run what the command line asks for."""
    arguments = _parser().parse_args()
    if arguments.list:
        for workload in WORKLOADS:
            print(f"{workload.name:24} {workload.title}")
        for server in SERVERS:
            print(f"{'*/' + server.name:24} {server.title}")
        for plan in curves.PLANS:
            print(f"{f'curve:{plan.name}':24} {plan.title}")
        return 0
    old = None
    if arguments.compare is not None:
        try:
            old = Results.load(arguments.compare)
        except (OSError, ValueError, KeyError, TypeError) as error:
            return _fail(f"{arguments.compare} cannot be compared with: {error}")
    if shutil.which("wrk") is None:
        return _fail("wrk is not installed; Debian has it as wrk")
    run = _Run(arguments)
    if not run.cases and not run.plans:
        return _fail(f"nothing matches {arguments.only}; see --list")
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    try:
        run.measure()
    except KeyboardInterrupt:
        run.results.is_whole = False
        print("interrupted: what was measured is kept", file=sys.stderr)
    finally:
        run.results.save(arguments.json)
    print("\n".join(table(run.results)))
    print(f"kept in {arguments.json}")
    if old is not None:
        print("\n".join(compare(old, run.results)))
    return 0 if run.results.is_whole else 130


def _fail(message: str) -> int:
    print(f"bench.servers: {message}", file=sys.stderr)
    return 2


class _Run:
    """What is asked for, and what has come of it."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.seconds: int = arguments.seconds
        self.rounds: int = arguments.rounds or (1 if arguments.quick else 5)
        self._patterns: list[str] | None = arguments.only
        self._is_quick: bool = arguments.quick and not arguments.only
        self.results = Results(
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            machine={k: v for k, v in machine().items() if k != "wsgiref_fast"},
            versions=versions(),
            servers={each.name: {"title": each.title, "kind": each.kind} for each in SERVERS},
            workloads={each.name: {"title": each.title, "about": each.about} for each in WORKLOADS},
            is_quick=arguments.quick,
        )
        self._servers = []
        for server in SERVERS:
            reason = server.why_not()
            if reason is None:
                self._servers.append(server)
            else:
                self.results.skipped[server.name] = reason
        self.cases = {
            workload.name: [each for each in self._servers if self._wants(workload, each)]
            for workload in WORKLOADS
        }
        self.cases = {name: servers for name, servers in self.cases.items() if servers}
        self.plans = [plan for plan in curves.PLANS if self._wants_plan(plan)]

    def _wants(self, workload: Workload, server: Server) -> bool:
        if server.kind == "limit" and not workload.has_limit:
            return False
        if workload.wants_threads and not server.has_threads:
            return False
        if workload.is_endless and not server.ends_bodies:
            return False
        if self._is_quick:
            return workload.name in _QUICK_WORKLOADS and server.name in _QUICK_SERVERS
        names = workload.name, f"{workload.name}/{server.name}"
        return self._patterns is None or any(
            fnmatch.fnmatch(name, pattern) for name in names for pattern in self._patterns
        )

    def _wants_plan(self, plan: curves.Plan) -> bool:
        if self._is_quick:
            return False
        name = f"curve:{plan.name}"
        return self._patterns is None or any(fnmatch.fnmatch(name, p) for p in self._patterns)

    def measure(self) -> None:
        """Measure all of it; what is done is in the results whenever it ends."""
        for name, reason in self.results.skipped.items():
            print(f"not measured: {name}: {reason}", file=sys.stderr)
        by_load = self.rounds * (self.seconds + 0.1) + _START
        total = sum(map(len, self.cases.values())) * by_load
        total += sum(plan.seconds(self.rounds * self.seconds) for plan in self.plans)
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            stack.enter_context(clients_apart())
            progress = stack.enter_context(Progress(total))
            file = folder / "file"
            file.write_bytes(bytes(range(256)) * 4096)
            for workload in WORKLOADS:
                if workload.name in self.cases:
                    self._measure(workload, folder, str(file), progress)
            for plan in self.plans:
                share = plan.seconds(self.rounds * self.seconds) / (
                    len(plan.servers) * len(plan.places)
                )
                found = curves.measure(
                    *(plan, self.seconds, self.rounds, folder),
                    lambda what, share=share: progress.tell(what, share),  # type: ignore[misc]
                )
                for curve in found:
                    self.results.curves.append(curve)

    def _measure(self, workload: Workload, folder: Path, file: str, progress: Progress) -> None:
        """Measure the servers in turns, so that a drift of the machine's pace hits all alike."""
        with ExitStack() as stack:
            at_work: list[tuple[Server, Case, Running]] = []
            for server in self.cases[workload.name]:
                progress.tell(f"{workload.title}: {server.title} starts", _START)
                case = Case(workload.name, server.name)
                self.results.cases.append(case)
                try:
                    process = stack.enter_context(running(server, workload.app, file))
                    if server.kind != "limit":
                        check(process, workload)
                except Fault as fault:
                    case.fault = str(fault)
                    continue
                case.idle_bytes = process.memory()
                at_work.append((server, case, process))
            for number in range(self.rounds):
                for server, case, process in at_work:
                    what = f"{workload.title}, round {number + 1}: {server.title}"
                    progress.tell(what, self.seconds + 0.1)
                    if process.process.poll() is not None:
                        case.fault = "it has ended under load"
                    if not case.fault:
                        case.rounds.append(load(process, workload, self.seconds, folder))
            for _, case, process in at_work:
                case.peak_bytes = process.memory("VmHWM")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
