"""The other programs that are measured: which interpreter has them.

``WSGIREF_FAST_BENCH_PYTHON`` names one; without it, the one that runs the benchmarks is it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import wsgiref_fast

PYTHON = os.environ.get("WSGIREF_FAST_BENCH_PYTHON", sys.executable)

_QUESTION = "import {0}, sys; print(sys.implementation.cache_tag, *sys.version_info[:3])"


def need(module: str) -> None:
    """Skip the case where a peer cannot be measured."""
    reason = why_not(module)
    if reason is not None:
        pytest.skip(reason)


def why_not(module: str) -> str | None:
    """Say why a peer cannot be measured: it is not there, or runs on another Python than ours."""
    answer = _ask(_QUESTION.format(module))
    if answer is None:
        return f"{module} cannot be imported by {PYTHON}: see bench/requirements.txt"
    ours = " ".join(map(str, (sys.implementation.cache_tag, *sys.version_info[:3])))
    return None if answer == ours else f"{PYTHON} is another Python than this one: {answer}"


def _ask(code: str) -> str | None:
    """Return what the interpreter prints for some code; `None` where it fails."""
    try:
        result = subprocess.run([PYTHON, "-I", "-c", code], capture_output=True, text=True)
    except OSError as error:
        pytest.fail(f"WSGIREF_FAST_BENCH_PYTHON: {error}")
    return result.stdout.strip() if result.returncode == 0 else None


def link_package(folder: Path) -> None:
    """Put the package that is measured into a folder, for an interpreter without it."""
    (folder / "wsgiref_fast").symlink_to(Path(wsgiref_fast.__file__).parent)
