"""What requests share changes in other threads while they run: no response is torn."""

from __future__ import annotations

import sysconfig
from pathlib import Path

from support import run_isolated

SCRIPT = Path(__file__).parent / "isolated" / "threads.py"

#: Requests of each thread in each scene; the script takes any number by hand.
COUNT = 100

GIL = "off" if sysconfig.get_config_var("Py_GIL_DISABLED") else "on"


def test_no_response_is_torn(implementation: str) -> None:
    assert run_isolated(SCRIPT, implementation, str(COUNT)) == (0, [f"6 scenes, 0 torn, GIL {GIL}"])


def test_torn_responses_are_found(implementation: str) -> None:
    status, lines = run_isolated(SCRIPT, implementation, "--wrong", str(COUNT * 20))
    assert (status, lines[-1]) == (1, f"4 scenes, 4 torn, GIL {GIL}")
