"""Many requests of each kind leave nothing behind: each implementation in its own process."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

from support import run_isolated

#: Why the tests of this module are left out here, if they are.
LEFT_OUT = "" if hasattr(sys, "getallocatedblocks") else "the interpreter counts no allocations"
__test__ = not LEFT_OUT

SCRIPT = Path(__file__).parent / "isolated" / "memory.py"

#: Deliberate leaks, named by what counts them; of glibc on Linux we know all counts.
LEAKS = ["objects", "blocks", "references", "objects HTTP/1.1", "blocks HTTP/1.1"]
if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
    LEAKS += ["bytes of C", "descriptors", "resident"]

#: Requests of each kind; the script takes any number by hand.
COUNT = 120


def test_no_kind_of_request_leaves_anything_behind(implementation: str) -> None:
    status, lines = run_isolated(SCRIPT, implementation, str(COUNT))
    assert (status, lines[:-1]) == (0, [])
    assert lines[-1].endswith(f" kinds, 0 growing, {COUNT} requests each")


def test_what_leaks_is_found(implementation: str) -> None:
    status, lines = run_isolated(SCRIPT, implementation, "--leaks", str(COUNT))
    grown = {name: measures for name, *measures in (line.split("\t") for line in lines)}
    assert status == 1
    for leak in LEAKS:
        assert any(measure.startswith(f"{leak.split()[0]}+") for measure in grown[leak])
