"""The interpreters of this machine that wheels are built for and tried with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

#: The versions that the package is for; each may be there without the GIL, too.
MINORS = range(11, 16)

_PROBE = """
import json, os, sys, sysconfig
short = {"cpython": "cp", "pypy": "pp"}.get(sys.implementation.name, sys.implementation.name)
gil = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
print(json.dumps({
    "name": "%s%d%d%s" % (short, *sys.version_info[:2], gil),
    "minor": sys.version_info[1],
    "has_headers": os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")),
}))
"""


@dataclass(frozen=True)
class Interpreter:
    """One that runs: `name` is as in the tags of wheels (``cp314t``, ``pp311``)."""

    name: str
    minor: int
    has_headers: bool
    path: str

    @property
    def compiles(self) -> bool:
        """Tell whether kernels can be built for it: PyPy is served by the pure wheel."""
        return self.name.startswith("cp") and self.has_headers


def find(more: Iterable[str] = ()) -> list[Interpreter]:
    """Return one interpreter of each name: this one, what is named, and what is found."""
    found: dict[str, Interpreter] = {}
    for path in (sys.executable, *more, *_candidates()):
        interpreter = _probe(path)
        if interpreter is None and path in more:
            raise SystemExit(f"{path} does not run: name the interpreter's file")
        if interpreter and interpreter.minor in MINORS:
            found.setdefault(interpreter.name, interpreter)
    return list(found.values())


def _candidates() -> Iterator[str]:
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for minor in MINORS:
        for name in (f"3.{minor}", f"3.{minor}t"):
            yield from filter(None, [shutil.which(f"python{name}")])
            yield from map(str, sorted(versions.glob(f"{name}[.0-9a-z]*/bin/python3")))
        yield from filter(None, [shutil.which(f"pypy3.{minor}")])


def _probe(path: str) -> Interpreter | None:
    """Ask an interpreter what it is; None for what does not run, as a shim without a target."""
    try:
        done = subprocess.run(
            [path, "-I", "-c", _PROBE], capture_output=True, text=True, timeout=60
        )
        return Interpreter(**json.loads(done.stdout), path=path) if done.returncode == 0 else None
    except (OSError, ValueError):
        return None
