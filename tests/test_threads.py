"""What requests share changes in other threads while they run: no response is torn."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from support import PATIENCE

SCRIPT = Path(__file__).parent / "isolated" / "threads.py"

#: Requests of each thread in each scene; the script takes any number by hand.
COUNT = 100

GIL = "off" if sysconfig.get_config_var("Py_GIL_DISABLED") else "on"


def run(implementation: str, *arguments: str) -> tuple[int, list[str]]:
    """Run the script on one implementation; return its status and the lines it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "faulthandler", str(SCRIPT), *arguments],
        env={**os.environ, "WSGIREF_FAST_IMPL": implementation},
        capture_output=True,
        text=True,
        timeout=5 * PATIENCE,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def test_no_response_is_torn(implementation: str) -> None:
    assert run(implementation, str(COUNT)) == (0, [f"6 scenes, 0 torn, GIL {GIL}"])


def test_torn_responses_are_found(implementation: str) -> None:
    status, lines = run(implementation, "--wrong", str(COUNT * 20))
    assert (status, lines[-1]) == (1, f"4 scenes, 4 torn, GIL {GIL}")
