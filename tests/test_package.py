"""What is installed and what is shipped: the lists of kernels, the metadata, the archives."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import inspect
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

import wsgiref_fast
from oracle import parameters
from support import PATIENCE
from wsgiref_fast import _impl

ROOT = Path(__file__).parent.parent
SOURCES = ROOT / "src" / "_speedups"

#: What a checkout may hold beside the sources.
LITTER = shutil.ignore_patterns(
    *(".git", ".venv*", ".*_cache", ".hypothesis", ".benchmarks", "__pycache__"),
    *("build", "dist", "*.egg-info", "*.so", "*.pyd", "*.pyc"),
)

BUILD = "import sys, setuptools.build_meta as b; print(getattr(b, sys.argv[1])(sys.argv[2]))"


def listed_kernels() -> list[str]:
    """Return the KERNELS of setup.py, without running it."""
    for node in ast.parse((ROOT / "setup.py").read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "KERNELS":
            kernels: list[str] = ast.literal_eval(node.value)
            return kernels
    raise LookupError("setup.py has no KERNELS")


def pure(kernel: str) -> ModuleType:
    return importlib.import_module(f"wsgiref_fast._pure.{kernel}")


# The kernels


def test_the_lists_of_kernels_are_equal() -> None:
    on_disk = {path.stem for path in SOURCES.glob("*.pyx")}
    assert sorted(on_disk) == sorted(listed_kernels()) == sorted(_impl.KERNELS)


def test_all_kernels_are_built_or_none(implementation: str) -> None:
    package = importlib.import_module("wsgiref_fast._speedups")
    built = {module.name for module in pkgutil.iter_modules(package.__path__)}
    assert built in (set(_impl.KERNELS), set())
    if implementation == "compiled":
        assert built == set(_impl.KERNELS)


def test_what_is_loaded_is_what_was_chosen(implementation: str) -> None:
    program = """
import sys, wsgiref_fast
def loaded():
    home = "wsgiref_fast._speedups."
    return sorted(name.removeprefix(home) for name in sys.modules if name.startswith(home))
print(wsgiref_fast.IMPLEMENTATION, *loaded())
import wsgiref_fast.server
print(*loaded())
"""
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", program],
        env={**os.environ, "WSGIREF_FAST_IMPL": implementation},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    kernels = set(_impl.KERNELS) if implementation == "compiled" else set()
    first, second = done.stdout.splitlines()
    assert first.split() == [implementation, *sorted(kernels - _impl.LATE)]
    assert second.split() == sorted(kernels)


def test_what_few_need_costs_the_others_no_time() -> None:
    program = """
import sys
import wsgiref_fast.handlers, wsgiref_fast.simple_server, wsgiref_fast.validate
print(*(name for name in sys.modules if "_http11" in name or name.endswith(".connection")))
"""
    command = [sys.executable, "-I", "-c", program]
    assert subprocess.run(command, capture_output=True, check=True).stdout.split() == []


def test_each_kernel_function_is_bound_to_the_implementation_in_use(implementation: str) -> None:
    home = {"pure": "_pure", "compiled": "_speedups"}[implementation]
    assert implementation == _impl.IMPLEMENTATION
    for late in _impl.LATE:
        _impl.load(late)
    methods = [vars(owner)[method] for owner, method, _, _ in _impl._methods]
    for kernel, functions in _impl.KERNELS.items():
        module = importlib.import_module(f"wsgiref_fast.{home}.{kernel}")
        for name in functions:
            bound = [method for method in methods if method.__name__ == name]
            bound += [vars(_impl)[name]] if name in vars(_impl) else []
            assert bound
            assert all(each is getattr(module, name) for each in bound)


@pytest.mark.parametrize("kernel", sorted(_impl.KERNELS))
def test_the_cython_source_has_the_functions_of_its_twin(kernel: str) -> None:
    source = (SOURCES / f"{kernel}.pyx").read_text("utf-8")
    # A slot's wrapper is no function, but assigned.
    pattern = r"^(?:(?:def|cpdef .*?)\s*(?=\w+\()|(?=\w+ = wrap\())(\w+)"
    functions = re.findall(pattern, source, re.MULTILINE)
    assert sorted(functions) == sorted(_impl.KERNELS[kernel])
    for name in functions:
        assert inspect.isfunction(getattr(pure(kernel), name))


@pytest.mark.parametrize("kernel", sorted(_impl.KERNELS))
def test_twins_have_the_same_signatures_and_documentation(kernel: str, implementation: str) -> None:
    home = {"pure": "_pure", "compiled": "_speedups"}[implementation]
    module = importlib.import_module(f"wsgiref_fast.{home}.{kernel}")
    for name in _impl.KERNELS[kernel]:
        ours, reference = getattr(module, name), getattr(pure(kernel), name)
        assert parameters(ours) == parameters(reference)
        assert inspect.getdoc(ours) == inspect.getdoc(reference) != None  # noqa: E711
        assert ours.__name__ == reference.__name__


# The installed distribution


def test_the_version_is_that_of_the_distribution() -> None:
    assert wsgiref_fast.__version__ == importlib.metadata.version("wsgiref_fast")
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?(\.dev\d+)?", wsgiref_fast.__version__)


def test_nothing_else_is_required_at_run_time() -> None:
    metadata = importlib.metadata.metadata("wsgiref_fast")
    required = metadata.get_all("Requires-Dist") or []
    assert all("extra ==" in requirement for requirement in required)
    assert metadata["Requires-Python"] == ">=3.11"


def test_the_package_is_marked_as_typed() -> None:
    assert (Path(wsgiref_fast.__file__).parent / "py.typed").read_bytes() == b""


def test_what_all_promises_is_there() -> None:
    for name in wsgiref_fast.__all__:
        assert hasattr(wsgiref_fast, name)


def test_submodules_are_attributes_without_being_imported_first() -> None:
    program = "import wsgiref_fast; print(wsgiref_fast.simple_server.make_server.__module__)"
    command = [sys.executable, "-I", "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.stdout == "wsgiref_fast.simple_server\n", done.stderr


def test_an_unknown_attribute_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'wsgiref_fast' has no attribute 'nonsense'"):
        _ = wsgiref_fast.nonsense


# The archives


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Build the source archive and the pure wheel; the copy of the sources is there too."""
    folder = tmp_path_factory.mktemp("archives")
    tree = shutil.copytree(ROOT, folder / "tree", ignore=LITTER)
    found = {"tree": tree}
    for hook in ("build_sdist", "build_wheel"):
        done = subprocess.run(
            [sys.executable, "-c", BUILD, hook, str(folder)],
            cwd=tree,
            env={**os.environ, "WSGIREF_FAST_IMPL": "pure"},
            capture_output=True,
            text=True,
            timeout=10 * PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        found[hook] = folder / done.stdout.splitlines()[-1]
    return found


def sdist_names(path: Path) -> set[str]:
    with tarfile.open(path) as archive:
        files = [member.name for member in archive if member.isfile()]
    return {name.partition("/")[2] for name in files}


def files_below(tree: Path, folder: str) -> set[str]:
    paths = (tree / folder).rglob("*")
    return {path.relative_to(tree).as_posix() for path in paths if path.is_file()}


def wheel_names(path: Path) -> set[str]:
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


def needs_setuptools(test: Callable[..., None]) -> Callable[..., None]:
    """Leave a test out where there is nothing to build with."""
    if find_spec("setuptools") is None:
        test.__test__ = False  # type: ignore[attr-defined]
    return test


@needs_setuptools
def test_the_source_archive_has_all_that_a_build_and_a_test_run_need(
    archives: dict[str, Path],
) -> None:
    names, tree = sdist_names(archives["build_sdist"]), archives["tree"]
    top = {"setup.py", "pyproject.toml", "Makefile", "LICENSE", "README.md", "MANIFEST.in"}
    assert top <= names
    for folder in ("src/wsgiref_fast", "src/_speedups", "tests", "bench"):
        expected = {
            path.relative_to(tree).as_posix()
            for path in (tree / folder).rglob("*.*")
            if path.suffix in {".py", ".pyx", ".pxd", ".pxi", ".typed"}
        }
        assert expected <= names
    assert {"tests/conftest.py", *files_below(tree, ".ci")} <= names


@needs_setuptools
def test_the_source_archive_has_nothing_that_was_made(archives: dict[str, Path]) -> None:
    names = sdist_names(archives["build_sdist"])
    assert not [name for name in names if name.endswith((".c", ".so", ".pyd", ".pyc"))]
    assert not [name for name in names if name.startswith(("build/", "dist/", ".git/", ".venv/"))]


@needs_setuptools
def test_a_pure_wheel_is_for_every_platform(archives: dict[str, Path]) -> None:
    name = archives["build_wheel"].name
    assert name == f"wsgiref_fast-{wsgiref_fast.__version__}-py3-none-any.whl"


@needs_setuptools
def test_a_wheel_has_the_package_and_nothing_else(archives: dict[str, Path]) -> None:
    names = wheel_names(archives["build_wheel"])
    information = f"wsgiref_fast-{wsgiref_fast.__version__}.dist-info/"
    package = {name for name in names if not name.startswith(information)}
    tree = archives["tree"] / "src"
    expected = {
        path.relative_to(tree).as_posix()
        for path in (tree / "wsgiref_fast").rglob("*.*")
        if path.suffix in {".py", ".typed"}
    }
    assert package == expected
    assert information + "licenses/LICENSE" in names


@needs_setuptools
def test_a_wheel_names_its_licence_and_its_readme(archives: dict[str, Path]) -> None:
    with zipfile.ZipFile(archives["build_wheel"]) as wheel:
        path = f"wsgiref_fast-{wsgiref_fast.__version__}.dist-info/METADATA"
        metadata = wheel.read(path).decode("utf-8")
    assert "License-Expression: MIT" in metadata
    assert "Description-Content-Type: text/markdown" in metadata


@needs_setuptools
def test_the_wheel_built_of_the_source_archive_is_the_same(
    archives: dict[str, Path], tmp_path: Path
) -> None:
    with tarfile.open(archives["build_sdist"]) as archive:
        archive.extractall(tmp_path, filter="data")
    (tree,) = tmp_path.iterdir()
    done = subprocess.run(
        [sys.executable, "-c", BUILD, "build_wheel", str(tmp_path)],
        cwd=tree,
        env={**os.environ, "WSGIREF_FAST_IMPL": "pure"},
        capture_output=True,
        text=True,
        timeout=10 * PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    wheel = tmp_path / done.stdout.splitlines()[-1]
    assert contents(wheel) == contents(archives["build_wheel"])


def contents(wheel: Path) -> dict[str, bytes]:
    """Return the package's files of a wheel; the record of a build is its own."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
        return {name: archive.read(name) for name in names}
