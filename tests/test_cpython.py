"""CPython's own tests of ``wsgiref``, run where they lie, with this package in its place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from support import PATIENCE


def has_suite() -> bool:
    try:
        return find_spec("test.test_wsgiref") is not None
    except ModuleNotFoundError:
        return False


#: Why the tests of this module are left out here, if they are.
LEFT_OUT = "" if has_suite() else "this interpreter was installed without the tests of CPython"
__test__ = not LEFT_OUT

_INPUT = "`wsgi.input` blocks past the body | ends at `Content-Length`"

#: What fails on purpose: tests, where the running interpreter has them, and the row of the
#: table of deviations that each contradicts. The requests of these have a body without a
#: length, which nobody can tell from the next request.
CONTRADICTED = {
    "test_wsgi_input_iter": _INPUT,
    "test_wsgi_input_read": _INPUT,
    "test_wsgi_input_readline": _INPUT,
    "test_wsgi_input_readlines": _INPUT,
}

RUNNER = """
import json, sys, unittest
from test import test_wsgiref
import wsgiref_fast

suite = unittest.defaultTestLoader.loadTestsFromModule(test_wsgiref)
names = [test._testMethodName for group in suite for test in group]
result = unittest.TextTestRunner(sys.stderr).run(suite)
bad = [getattr(test, "test_case", test) for test, _ in result.failures + result.errors]
print(json.dumps({
    "names": names,
    "ran": result.testsRun,
    "failed": sorted({getattr(test, "_testMethodName", str(test)) for test in bad}),
    "skipped": [reason for _, reason in result.skipped],
    "unexpected": len(result.unexpectedSuccesses),
    "implementation": wsgiref_fast.IMPLEMENTATION,
    "ours": test_wsgiref.WSGIServer is wsgiref_fast.simple_server.WSGIServer
        and test_wsgiref.Headers is wsgiref_fast.headers.Headers,
}))
"""


def run_suite(folder: Path, implementation: str, *options: str) -> tuple[dict[str, Any], str]:
    """Run the suite in a process of its own; return its results and the text of them."""
    (folder / "runner.py").write_text(RUNNER, "utf-8")
    done = subprocess.run(
        [sys.executable, *options, "-m", "wsgiref_fast", "run", "runner.py"],
        cwd=folder,
        env={**os.environ, "WSGIREF_FAST_IMPL": implementation},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=5 * PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


@pytest.mark.parametrize("options", [(), ("-O",)], ids=["", "-O"])
def test_the_tests_of_cpython_pass_but_for_what_is_contradicted(
    tmp_path: Path, implementation: str, options: tuple[str, ...]
) -> None:
    results, text = run_suite(tmp_path, implementation, *options)
    assert results["ours"]
    assert results["implementation"] == implementation
    assert results["ran"] == len(results["names"]) > 30
    expected = sorted(CONTRADICTED.keys() & set(results["names"]))
    assert results["failed"] == expected, text
    assert results["unexpected"] == 0


def test_the_suite_runs_by_the_command_of_unittest_too(tmp_path: Path, implementation: str) -> None:
    command = ["run", "-m", "unittest", "test.test_wsgiref.UtilityTests"]
    done = subprocess.run(
        [sys.executable, "-m", "wsgiref_fast", *command],
        cwd=tmp_path,
        env={**os.environ, "WSGIREF_FAST_IMPL": implementation},
        capture_output=True,
        text=True,
        timeout=5 * PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1].startswith("OK")
