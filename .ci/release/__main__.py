"""Build, repair, check and try all archives that this machine can make; see ``make dist``.

Wheels are built of the source archive: compiled ones for each CPython that is found, the
pure one by the interpreter that runs this. Each is tried in an environment of its own.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

from building import ROOT, make_sdist, make_wheel, repair, set_epoch, unpack
from checking import check
from interpreters import Interpreter, find
from trying import try_wheel


def main() -> None:
    """Read the arguments, make the archives, and say what each is and how its tests ended."""
    parser = argparse.ArgumentParser(prog="python .ci/release", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="the folder, emptied")
    parser.add_argument("python", nargs="*", help="more interpreters, where they are not found")
    arguments = parser.parse_args()
    interpreters = find(arguments.python)
    if not interpreters:
        raise SystemExit("no interpreter of a version that the package is for: name one")
    shutil.rmtree(arguments.out, ignore_errors=True)
    arguments.out.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="dist-") as folder:
        make(interpreters, arguments.out.resolve(), Path(folder))


def make(interpreters: list[Interpreter], out: Path, folder: Path) -> None:
    """Make and try the archives; `folder` is for all that nobody wants to keep."""
    started = time.monotonic()
    print(f"SOURCE_DATE_EPOCH={set_epoch()}")
    sdist = make_sdist(out)
    _say(sdist, "", started)
    jobs = [(one, "compiled") for one in interpreters if one.compiles]
    for one in interpreters:
        if not one.compiles:
            print(f"{one.name}: is not CPython with its headers; the pure wheel is tried with it")
    wheels = []
    for interpreter, wish in [*jobs, (interpreters[0], "pure")]:
        started = time.monotonic()
        wheels.append((repair(make_wheel(sdist, interpreter, wish, folder), out), interpreter))
        _say(wheels[-1][0], "", started)
    check([sdist, *(wheel for wheel, _ in wheels)])
    print("checked: contents, twine --strict, check-wheel-contents")
    pure = wheels[-1][0]
    wheels += [(pure, one) for one in interpreters if not one.compiles]
    sources = unpack(sdist, folder)
    for wheel, interpreter in wheels:
        started = time.monotonic()
        _say(
            wheel, f"{interpreter.name}: {try_wheel(wheel, interpreter, sources, folder)}", started
        )


def _say(path: Path, what: str, started: float) -> None:
    size = f"{path.stat().st_size / 1024:.0f} KiB"
    print(f"{path.name}  {what or size}  ({time.monotonic() - started:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
