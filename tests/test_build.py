"""Real builds: with and without a compiler and Cython; and what is imported of each."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from support import PATIENCE

ROOT = Path(__file__).parent.parent

MISSING = [name for name in ("setuptools", "Cython") if find_spec(name) is None]
#: Why the tests of this module are left out here, if they are.
LEFT_OUT = f"nothing can be built without {' and '.join(MISSING)}" if MISSING else ""
__test__ = not LEFT_OUT

#: What a checkout may hold beside the sources.
LITTER = shutil.ignore_patterns(
    ".*", "build", "dist", "*.egg-info", "__pycache__", "*.so", "*.pyd", "*.pyc"
)

BUILD = "import sys, setuptools.build_meta as b; print(b.build_wheel(sys.argv[1]))"

#: Ends each compilation: elsewhere the first is obeyed, by Microsoft's compiler the second.
NO_COMPILER = {"CC": "there-is-no-such-compiler", "CL": "/FIthere-is-no-such-file.h"}

#: Nobody measures these kernels.
QUICKLY = {"CFLAGS": "-O0"}

SAY_IMPLEMENTATION = "import wsgiref_fast; print(wsgiref_fast.IMPLEMENTATION)"

#: A whole request: what was built must work, not only load.
ANSWER = """
import io
from wsgiref_fast import IMPLEMENTATION
from wsgiref_fast.handlers import SimpleHandler
from wsgiref_fast.util import setup_testing_defaults

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"Hello"]

environ, output = {}, io.BytesIO()
setup_testing_defaults(environ)
SimpleHandler(io.BytesIO(), output, io.StringIO(), environ).run(app)
assert output.getvalue().endswith(b"\\r\\nContent-Length: 5\\r\\n\\r\\nHello")
print(IMPLEMENTATION)
"""


def needs_compiler(test: Callable[..., None]) -> Callable[..., None]:
    """Leave a test out where kernels cannot be compiled."""
    is_cpython = sys.implementation.name == "cpython"  # for whose C API they are
    command = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "").split()
    has_compiler = sys.platform == "win32" or (command and shutil.which(command[0]))
    if not (is_cpython and has_compiler):
        test.__test__ = False  # type: ignore[attr-defined]
    return test


def copy_sources(folder: Path) -> Path:
    return shutil.copytree(ROOT, folder / "tree", ignore=LITTER)


def build(tree: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Build a wheel into the tree's parent folder."""
    return subprocess.run(
        [sys.executable, "-c", BUILD, str(tree.parent)],
        cwd=tree,
        env={**clean_environ(), **QUICKLY, **environ},
        capture_output=True,
        text=True,
        timeout=20 * PATIENCE,
    )


def unpack(done: subprocess.CompletedProcess[str], tree: Path) -> Path:
    """Unpack what `build` has built; return the folder to import it from."""
    assert done.returncode == 0, done.stderr
    site = tree.parent / "site"
    with zipfile.ZipFile(tree.parent / done.stdout.splitlines()[-1]) as wheel:
        wheel.extractall(site)
    return site


def clean_environ() -> dict[str, str]:
    ours = {"WSGIREF_FAST_IMPL", "PYTHONPATH", "PYTHONWARNINGS"}
    return {name: value for name, value in os.environ.items() if name not in ours}


def run(program: str, site: Path, *options: str, **environ: str) -> tuple[int, str, str]:
    """Run a program on the package in a folder; return status, output and errors."""
    done = subprocess.run(
        [sys.executable, *options, "-c", program],
        cwd=site,
        env={**clean_environ(), "PYTHONPATH": str(site), **environ},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    return done.returncode, done.stdout.strip(), done.stderr


def extensions(site: Path) -> list[Path]:
    suffixes = {".so", ".pyd"}
    return [path for path in site.rglob("*.*") if path.suffix in suffixes]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build as anybody does; return the folder to import from."""
    tree = copy_sources(tmp_path_factory.mktemp("compiled"))
    return unpack(build(tree), tree)


@pytest.fixture(scope="module")
def pure(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build without kernels; return the folder to import from."""
    tree = copy_sources(tmp_path_factory.mktemp("pure"))
    return unpack(build(tree, WSGIREF_FAST_IMPL="pure"), tree)


@pytest.fixture(scope="module")
def tree_without_compiler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Share a tree among builds that fail: its generated C is made once."""
    return copy_sources(tmp_path_factory.mktemp("uncompiled"))


# Builds


@needs_compiler
def test_a_build_compiles_the_kernels(compiled: Path) -> None:
    kernels = {path.stem for path in (ROOT / "src" / "_speedups").glob("*.pyx")}
    assert {path.name.partition(".")[0] for path in extensions(compiled)} == kernels
    assert run(ANSWER, compiled, "-W", "error") == (0, "compiled", "")


@needs_compiler
def test_a_compiled_wheel_has_no_sources_of_the_kernels(compiled: Path) -> None:
    (information,) = compiled.glob("*.dist-info")
    assert sorted(path.name for path in compiled.iterdir()) == ["wsgiref_fast", information.name]
    assert not [
        path for path in compiled.rglob("*.*") if path.suffix in {".pyx", ".pxd", ".pxi", ".c"}
    ]


@needs_compiler
def test_a_build_leaves_the_sources_as_they_are(compiled: Path) -> None:
    tree = compiled.parent / "tree" / "src"
    made = [path.name for path in tree.rglob("*") if path.suffix in {".c", ".so", ".pyd"}]
    assert made == []


def test_a_demanded_kernel_that_does_not_compile_fails_the_build(
    tree_without_compiler: Path,
) -> None:
    done = build(tree_without_compiler, WSGIREF_FAST_IMPL="compiled", **NO_COMPILER)
    assert done.returncode != 0
    assert "there-is-no-such" in done.stderr
    assert not list(tree_without_compiler.parent.glob("*.whl"))


def test_without_a_compiler_the_package_is_pure(tree_without_compiler: Path) -> None:
    done = build(tree_without_compiler, **NO_COMPILER)
    site = unpack(done, tree_without_compiler)
    assert "there-is-no-such" in done.stdout + done.stderr  # somebody may want to know why
    assert extensions(site) == []
    assert run(ANSWER, site, "-W", "error") == (0, "pure", "")


def test_without_cython_the_package_is_pure(tmp_path: Path) -> None:
    blocker = tmp_path / "path" / "Cython"
    blocker.mkdir(parents=True)
    (blocker / "__init__.py").write_text('raise ImportError("no Cython today", name="Cython")\n')
    tree = copy_sources(tmp_path)
    site = unpack(build(tree, PYTHONPATH=str(blocker.parent)), tree)
    assert extensions(site) == []
    assert run(ANSWER, site, "-W", "error") == (0, "pure", "")


def test_a_pure_build_has_no_kernels(pure: Path) -> None:
    assert extensions(pure) == []
    assert run(ANSWER, pure, "-W", "error") == (0, "pure", "")


def test_a_build_refuses_a_wish_that_it_does_not_know(tree_without_compiler: Path) -> None:
    done = build(tree_without_compiler, WSGIREF_FAST_IMPL="turbo")
    assert done.returncode != 0
    assert "WSGIREF_FAST_IMPL must be auto, pure or compiled, not 'turbo'" in done.stderr


# The switch at import


@needs_compiler
@pytest.mark.parametrize(
    ("wish", "outcome"), [("auto", "compiled"), ("pure", "pure"), ("compiled", "compiled")]
)
def test_a_wish_is_granted_where_there_are_kernels(compiled: Path, wish: str, outcome: str) -> None:
    done = run(SAY_IMPLEMENTATION, compiled, "-W", "error", WSGIREF_FAST_IMPL=wish)
    assert done == (0, outcome, "")


@pytest.mark.parametrize("wish", ["auto", "pure"])
def test_missing_kernels_are_missed_by_nobody_who_did_not_demand_them(
    pure: Path, wish: str
) -> None:
    done = run(SAY_IMPLEMENTATION, pure, "-W", "error", WSGIREF_FAST_IMPL=wish)
    assert done == (0, "pure", "")


def test_missing_kernels_that_are_demanded_are_an_import_error(pure: Path) -> None:
    status, output, errors = run(SAY_IMPLEMENTATION, pure, WSGIREF_FAST_IMPL="compiled")
    assert (status, output) == (1, "")
    assert errors.splitlines()[-1].startswith(
        "ImportError: WSGIREF_FAST_IMPL=compiled, but wsgiref_fast was installed without its "
        "compiled kernels"
    )


@pytest.mark.parametrize("wish", ["turbo", "", "Pure"])
def test_a_wish_that_is_not_known_is_an_import_error(pure: Path, wish: str) -> None:
    status, output, errors = run(SAY_IMPLEMENTATION, pure, WSGIREF_FAST_IMPL=wish)
    assert (status, output) == (1, "")
    line = f"ImportError: WSGIREF_FAST_IMPL must be auto, pure or compiled, not {wish!r}"
    assert errors.splitlines()[-1] == line


@pytest.fixture(scope="module")
def broken(compiled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with kernels that are there but do not load."""
    site = shutil.copytree(compiled, tmp_path_factory.mktemp("broken") / "site")
    for path in extensions(site):
        path.write_bytes(path.read_bytes()[:100])
    return site


@needs_compiler
def test_a_kernel_that_does_not_load_is_a_warning(broken: Path) -> None:
    status, output, errors = run(ANSWER, broken)
    assert (status, output) == (0, "pure")
    assert errors.count("RuntimeWarning: wsgiref_fast's compiled kernels do not load") == 1
    assert "headers" in errors  # which of them, and why


@needs_compiler
def test_a_demanded_kernel_that_does_not_load_is_an_import_error(broken: Path) -> None:
    status, output, errors = run(SAY_IMPLEMENTATION, broken, WSGIREF_FAST_IMPL="compiled")
    assert (status, output) == (1, "")
    assert errors.splitlines()[-1].startswith("ImportError: ")


@needs_compiler
def test_a_kernel_that_does_not_load_is_left_alone_by_who_wants_none(broken: Path) -> None:
    done = run(SAY_IMPLEMENTATION, broken, "-W", "error", WSGIREF_FAST_IMPL="pure")
    assert done == (0, "pure", "")


@needs_compiler
def test_all_kernels_are_used_or_none(compiled: Path, tmp_path: Path) -> None:
    site = shutil.copytree(compiled, tmp_path / "site")
    extensions(site)[-1].unlink()
    program = """
from wsgiref_fast import _impl
kernels = {name for names in _impl.KERNELS.values() for name in names}
homes = {value.__module__ for name, value in vars(_impl).items() if name in kernels}
print(_impl.IMPLEMENTATION, {home.split(".")[1] for home in homes})
"""
    assert run(program, site, "-W", "error") == (0, "pure {'_pure'}", "")
