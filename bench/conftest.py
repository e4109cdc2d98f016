"""Fixtures and the table of ratios."""

from __future__ import annotations

import gc
import io
import os
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import pytest

from wsgiref_fast import _impl

from . import subjects
from .ratios import Ratios, machine, paired_rounds, versions
from .subjects import Subject

_RATIOS = pytest.StashKey[Ratios]()
_CASE_SECONDS = 120

#: Seconds for which pytest-benchmark calls a function: ratios are found besides.
_STATISTICS_SECONDS = 0.25

Timed = Callable[[str, Callable[[Subject], Callable[[], Any]]], None]
Against = Callable[[str, str, Callable[[], Any], Callable[[Subject], Callable[[], Any]]], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("ratios against the standard library")
    group.addoption("--ratios-json", type=Path, metavar="FILE", help="write them to a file too")
    group.addoption("--check", action="store_true", help="fail where a demand is not met")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_RATIOS] = Ratios()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.benchmark(disable_gc=True, max_time=_STATISTICS_SECONDS))


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    machine_info.update(machine(), versions=versions())


def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    if config.option.check and config.stash[_RATIOS].missed():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    found = config.stash[_RATIOS]
    for report in terminalreporter.stats.get("skipped", []):
        terminalreporter.line(f"not measured: {report.nodeid}: {report.longrepr[2]}")
    if not found.cases:
        return
    terminalreporter.section("times, and how many times as fast as the standard library")
    terminalreporter.line(", ".join(f"{name} {value}" for name, value in machine().items()))
    for line in found.table():
        terminalreporter.line(line)
    if config.option.check:
        for complaint in found.missed() or ["every demand is met"]:
            terminalreporter.line(f"check: {complaint}")
    if config.option.ratios_json:
        found.save(config.option.ratios_json)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """End a case that hangs: clients wait for answers without a timeout, which costs time."""
    if not hasattr(signal, "SIGALRM"):
        return (yield)
    before = signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(_CASE_SECONDS)
    try:
        return (yield)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _give_up(*_: object) -> None:
    raise TimeoutError(f"a case took more than {_CASE_SECONDS} seconds")


@pytest.fixture(scope="session", autouse=True)
def _frozen() -> Iterator[None]:
    """Leave what was there before the first benchmark out of every collection."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _kernels() -> Iterator[None]:
    """Put the chosen kernels back after each benchmark."""
    before = _impl.IMPLEMENTATION
    yield
    _impl.use(before)


@pytest.fixture(scope="session")
def ratios(pytestconfig: pytest.Config) -> Ratios:
    """Return what the times are added to."""
    return pytestconfig.stash[_RATIOS]


@pytest.fixture(params=subjects.names())
def subject(request: pytest.FixtureRequest) -> Subject:
    """Run a benchmark on each implementation, the standard library first."""
    return subjects.load(request.param)


class Discarded(io.TextIOBase):
    """A text stream that forgets what is written to it."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass


@contextmanager
def _on_one_core() -> Iterator[None]:
    """Stay on the last core, which others use least, and go back to where it was."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@pytest.fixture
def timed(benchmark: Any, subject: Subject, ratios: Ratios) -> Timed:
    """Return what times a case: its name, and what makes the function for a subject."""

    def run(case: str, make: Callable[[Subject], Callable[[], Any]]) -> None:
        function = make(subject)
        benchmark.group = case
        # In the call itself: pytest puts its own stream back before it.
        with redirect_stderr(Discarded()), _on_one_core():
            benchmark(function)
            if subject.name != "stdlib" and benchmark.stats is not None:
                base, own = paired_rounds(make(subjects.load("stdlib")), function)
                ratios.add(case, {"stdlib": base, subject.name: own})

    return run


@pytest.fixture
def against(ratios: Ratios) -> Against:
    """Return what times a case beside a peer: their names, its function, and what makes ours."""

    def run(
        case: str,
        peer: str,
        function: Callable[[], Any],
        make: Callable[[Subject], Callable[[], Any]],
    ) -> None:
        for name in subjects.names()[1:]:
            own_function = make(subjects.load(name))
            with _on_one_core():
                base, own = paired_rounds(function, own_function)
            ratios.add(f"{case}, against {peer}", {peer: base, name: own}, peer)

    return run
