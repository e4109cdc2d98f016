"""The kernels under sanitizers of memory and of undefined behaviour, with hostile input."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from support import PATIENCE

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "tests" / "isolated" / "corpus.py"


def find_library() -> str:
    """Return the sanitizer's run-time library; an empty string where there is none."""
    if sys.platform != "linux" or not shutil.which("gcc"):
        return ""
    command = ["gcc", "-print-file-name=libasan.so"]
    path = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE).stdout.strip()
    return path if os.path.isabs(path) else ""


LIBRARY = find_library()
MISSING = [name for name in ("setuptools", "Cython") if find_spec(name) is None]
MISSING += [] if LIBRARY else ["gcc with libasan"]
MISSING += [] if sys.implementation.name == "cpython" else ["CPython"]
# Without the GIL, objects are in memory that the sanitizer knows nothing of.
MISSING += ["the GIL"] if sysconfig.get_config_var("Py_GIL_DISABLED") else []
#: Why the tests of this module are left out here, if they are.
LEFT_OUT = f"nothing can be sanitized without {' and '.join(MISSING)}" if MISSING else ""
__test__ = not LEFT_OUT

#: What a checkout may hold beside the sources.
LITTER = shutil.ignore_patterns(
    ".*", "build", "dist", "*.egg-info", "__pycache__", "*.so", "*.pyc", "tests", "bench"
)

#: The interpreter's own assertions about what its macros are given, too.
FLAGS = "-fsanitize=address,undefined -fno-sanitize-recover=undefined "
FLAGS += "-fno-omit-frame-pointer -O1 -g1 -UNDEBUG"

ENVIRON = {
    **os.environ,
    "CC": "gcc",
    "LDSHARED": "gcc -shared",
    "CFLAGS": FLAGS,
    "WSGIREF_FAST_IMPL": "compiled",
}

#: A kernel that reads and writes behind what it was given, to see that it is noticed.
OVERRUN = """
#include <Python.h>

static PyObject *overrun(PyObject *module, PyObject *text) {
    char *copy = PyMem_Malloc(PyBytes_GET_SIZE(text));
    memcpy(copy, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text) + 1);
    PyMem_Free(copy);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {{"overrun", overrun, METH_O, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "overrun", NULL, -1, methods};

PyMODINIT_FUNC PyInit_overrun(void) { return PyModule_Create(&module); }
"""


def build(folder: Path) -> Path:
    """Build the package with the sanitizer; return the folder to import it from."""
    tree = shutil.copytree(ROOT, folder / "tree", ignore=LITTER)
    site = folder / "site"
    command = [sys.executable, "setup.py", "--quiet", "build_py", f"--build-lib={site}"]
    command += ["build_ext", f"--build-lib={site}", f"--parallel={os.cpu_count()}"]
    check(execute(command, cwd=tree, env=ENVIRON))
    return site


def execute(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    # Kernels are compiled for it, and the corpus runs at a fraction of its pace.
    return subprocess.run(command, capture_output=True, text=True, timeout=30 * PATIENCE, **options)


def check(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python on what was built."""
    environ = {
        **os.environ,
        "PYTHONPATH": str(site),
        "PYTHONMALLOC": "malloc",  # so that the sanitizer knows each object's bounds
        "LD_PRELOAD": LIBRARY,
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",  # CPython's own leaks
        "WSGIREF_FAST_IMPL": "compiled",
    }
    return execute([sys.executable, *arguments], cwd=site, env=environ)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("sanitized"))


SAY_HOMES = """
import sys
import wsgiref_fast.simple_server
for name, module in sys.modules.items():
    if name.startswith("wsgiref_fast._speedups."):
        print(module.__file__)
"""


def test_the_corpus_finds_no_error_of_memory(site: Path) -> None:
    homes = check(run(site, "-c", SAY_HOMES)).splitlines()
    assert homes
    assert all(b"__asan_report_load" in Path(home).read_bytes() for home in homes)
    lines = check(run(site, str(SCRIPT))).splitlines()
    assert lines[0] == "compiled"
    assert len(lines) > 10


def test_an_error_of_memory_would_be_found(site: Path) -> None:
    source = site / "overrun.c"
    source.write_text(OVERRUN)
    target = site / f"overrun{sysconfig.get_config_var('EXT_SUFFIX')}"
    command = ["gcc", "-shared", "-fPIC", *FLAGS.split(), f"-I{sysconfig.get_path('include')}"]
    command += [str(source), "-o", str(target)]
    check(execute(command))
    done = run(site, "-c", "import overrun; overrun.overrun(bytes(1000))")
    assert done.returncode != 0
    assert "AddressSanitizer: heap-buffer-overflow" in done.stderr
