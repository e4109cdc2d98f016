"""What an archive must and must not hold, before anybody gets it."""

from __future__ import annotations

import ast
import re
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from building import ROOT, run

#: The compiled kernels are here in a wheel, and nothing else is.
_HOME = PurePosixPath("wsgiref_fast/_speedups")

_SOURCES = {".c", ".cpp", ".h", ".pxd", ".pxi", ".pyx"}
_COMPILED = {".so", ".pyd"}


def version() -> str:
    """Return the package's ``__version__``, the one place that has it, without an import."""
    source = (ROOT / "src" / "wsgiref_fast" / "__init__.py").read_text("utf-8")
    return str(_constant(source, "__version__"))


def kernels() -> set[str]:
    """Return the names of the compiled kernels, as ``setup.py`` lists them."""
    return set(_constant((ROOT / "setup.py").read_text("utf-8"), "KERNELS"))


def check(archives: Sequence[Path]) -> None:
    """End with what is wrong with the archives, by our rules and those of others' tools."""
    wheels = [path for path in archives if path.suffix == ".whl"]
    wrong = [f"{path.name}: {what}" for path in wheels for what in complaints(path)]
    wrong += [
        f"{path.name}: is not of version {version()}"
        for path in archives
        if not re.match(rf"wsgiref_fast-{re.escape(version())}(-|\.tar\.gz$)", path.name)
    ]
    if wrong:
        raise SystemExit("\n".join(wrong))
    run(sys.executable, "-m", "twine", "check", "--strict", *archives)
    run(sys.executable, "-m", "check_wheel_contents", *wheels)


def complaints(wheel: Path) -> list[str]:
    """Return what is wrong with the contents of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        names = [PurePosixPath(name) for name in archive.namelist()]
    wrong = [
        f"{top} is at the top, beside the package"
        for top in sorted({name.parts[0] for name in names})
        if top != "wsgiref_fast" and not top.endswith(".dist-info")
    ]
    wrong += [f"{name} is a source of the kernels" for name in names if name.suffix in _SOURCES]
    built = [name for name in names if name.suffix in _COMPILED]
    wrong += [f"{name} is not in its folder" for name in built if name.parent != _HOME]
    expected = set() if wheel.name.endswith("-py3-none-any.whl") else kernels()
    found = {name.name.partition(".")[0] for name in built}
    wrong += [f"the kernel {name} is missing" for name in sorted(expected - found)]
    wrong += [f"there is a kernel {name}" for name in sorted(found - expected)]
    return wrong


def _constant(source: str, name: str) -> Any:
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
    raise LookupError(name)
