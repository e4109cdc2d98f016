"""What it costs a process to import a module: the installed package, not the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from time import perf_counter

import pytest

from . import subjects
from .ratios import Ratios

_ROUNDS = 40


def _run(code: str, implementation: str = "auto") -> float:
    """Return the seconds of a fresh interpreter that runs some code."""
    environ = os.environ | {"WSGIREF_FAST_IMPL": implementation}
    command = [sys.executable, "-I", "-c", code]
    start = perf_counter()
    subprocess.run(command, env=environ, check=True)
    return perf_counter() - start


def _import(subject: str, module: str) -> float:
    if subject == "stdlib":
        return _run(f"import wsgiref.{module}")
    return _run(f"import wsgiref_fast.{module}", subject)


@pytest.mark.parametrize("module", ["handlers", "simple_server"])
def test_import(module: str, ratios: Ratios) -> None:
    rounds: dict[str, list[float]] = {name: [] for name in subjects.names()}
    for name in rounds:  # the bytecode is written, the files are in memory
        _import(name, module)
        _import(name, module)
    for _ in range(_ROUNDS):
        nothing = _run("pass")
        for name, times in rounds.items():
            times.append(_import(name, module) - nothing)
    ratios.add(f"import {module}", rounds)
