"""Our modules against typeshed's stubs for `wsgiref`: at run time, and declaration by declaration.

The stubs are those that come with mypy, so that nothing is fetched. They are copied under our
package's name; then mypy's stubtest compares them with what is imported, as typeshed's own tests
do with the original. And mypy itself compares our annotations with theirs.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from conftest import implementations

LEFT_OUT = None if find_spec("mypy") else "mypy is not installed"
if LEFT_OUT:
    pytest.skip(LEFT_OUT, allow_module_level=True)

import mypy  # noqa: E402 - where it is there

MODULES = ("handlers", "headers", "simple_server", "types", "util", "validate")
ALLOWED = Path(__file__).parent / "typed" / "allowed.txt"
TYPESHED = Path(mypy.__file__).parent / "typeshed" / "stdlib" / "wsgiref"


@pytest.fixture
def stubs(tmp_path: Path) -> Path:
    """Copy typeshed's stubs for `wsgiref` under our name; return the folder to look in."""
    package = tmp_path / "stubs" / "wsgiref_fast"
    package.mkdir(parents=True)
    for source in TYPESHED.glob("*.pyi"):
        text = source.read_text().replace("from _typeshed.wsgi import", "from .types import")
        (package / source.name).write_text(text)
    return package.parent


def run(folder: Path, *arguments: object, **environ: str) -> tuple[int, str]:
    """Run a tool of mypy's that looks in a folder; return its status and what it says."""
    done = subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **environ, "MYPYPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("kernels", implementations())
def test_what_is_imported_is_what_the_stubs_of_the_original_say(kernels: str, stubs: Path) -> None:
    names = [f"wsgiref_fast.{name}" for name in MODULES]
    options = ["--allowlist", ALLOWED, "--concise"]
    status, report = run(stubs, "mypy.stubtest", *names, *options, WSGIREF_FAST_IMPL=kernels)
    assert (status, report) == (0, "")


#: Where our annotations part from typeshed's on purpose.
DECLARED_OTHERWISE = {
    "InputWrapper.readlines": "is a list of lines, not bytes as typeshed has it",
    "IteratorWrapper.check_start_response": "anything with a truth value; a list, where it is ours",
    "IteratorWrapper.original_iterator": "any iterable, which is what applications return",
    "PartialIteratorWrapper.iterator": "the same",
    "ServerHandler.server_software": "never None, in typeshed too; there the base alone may be",
}


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """Copy typeshed's stubs as a package `theirs`; classes that they mention are ours."""
    package = tmp_path / "theirs"
    package.mkdir()
    for source in TYPESHED.glob("[!_]*.pyi"):
        ours = f"wsgiref_fast.{source.stem}"
        text = source.read_text().replace("from _typeshed.wsgi", "from wsgiref_fast.types")
        text = re.sub(r"from \.(headers|util) import", r"from wsgiref_fast.\1 import", text)
        text = re.sub(r"-> (\w+Wrapper):", rf"-> {ours}.\1:", text)
        (package / source.name).write_text(f"import {ours}\n{text}")
    return package


def comparison(package: Path) -> str:
    """Write the program that a type checker takes only if ours can stand for theirs.

    A class with two bases has to keep what the second one promises; so has a name that is
    imported from one of two modules.
    """
    lines = []
    for name in MODULES:
        tree = ast.parse((package / f"{name}.pyi").read_text())
        lines += [f"import theirs.{name}", f"import wsgiref_fast.{name}"]
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and name != "types":
                bases = f"wsgiref_fast.{name}.{node.name}, theirs.{name}.{node.name}"
                lines.append(f"class {name}_{node.name}({bases}): ...")
            elif isinstance(node, ast.FunctionDef):
                lines += ["try:", f"    from theirs.{name} import {node.name}"]
                lines += ["except ImportError:", f"    from wsgiref_fast.{name} import {node.name}"]
    return "\n".join(lines) + "\n"


def test_what_we_declare_can_stand_for_what_typeshed_declares(theirs: Path) -> None:
    program = theirs.parent / "comparison.py"
    program.write_text(comparison(theirs))
    settings = theirs.parent / "mypy.ini"
    settings.write_text("[mypy]\nstrict = true\ndisable_error_code = no-redef\n")
    _, report = run(theirs.parent, "mypy", "--config-file", settings, program)
    found, others = set(), []
    for line in report.splitlines():
        if match := re.search(r'Definition of "(\w+)" in base class "(\w+)"', line):
            found.add(f"{match[2]}.{match[1]}")
        elif not line.startswith("Found "):
            others.append(line)
    assert (found, others) == (set(DECLARED_OTHERWISE), [])
