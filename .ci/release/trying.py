"""Wheels tried as a user has them: installed into an environment with nothing else."""

from __future__ import annotations

from pathlib import Path

from building import make_environment, pip, run
from interpreters import Interpreter

#: A part of the suite that takes half a minute.
QUICK = [
    *("test_headers", "test_util", "test_streams", "test_simple_server_api", "test_validate"),
    *("test_connection", "test_server_options", "test_keep_alive", "test_install", "test_layers"),
]

#: What is installed is what was built, and each entry point leads somewhere.
_PROBE = """
import importlib.util, sys
from importlib.metadata import distribution
import wsgiref_fast, wsgiref_fast.server, wsgiref_fast.simple_server
assert wsgiref_fast.__file__.startswith(sys.prefix), wsgiref_fast.__file__
assert wsgiref_fast.__version__ == distribution("wsgiref_fast").version
for entry in distribution("wsgiref_fast").entry_points:
    assert importlib.util.find_spec(entry.module), entry
print(wsgiref_fast.IMPLEMENTATION)
"""


def try_wheel(wheel: Path, interpreter: Interpreter, sources: Path, folder: Path) -> str:
    """Install a wheel and use it; return the last line of its tests.

    Args:
        wheel: a compiled one, or the pure one, by its name.
        interpreter: one that it is for.
        sources: an unpacked source archive: its tests are run, its package is not seen.
        folder: where the environment is made; not below the checkout.

    """
    pure = wheel.name.endswith("-any.whl")
    wish = "pure" if pure else "compiled"
    home = folder / f"try-{interpreter.name}-{wish}"
    python = make_environment(interpreter, home)
    pip(python, "install", "--no-index", wheel)  # it requires nothing
    said = run(python, "-I", "-W", "error", "-c", _PROBE, cwd=home, WSGIREF_FAST_IMPL="auto")
    _expect(wish, said)
    version = f"wsgiref_fast {wheel.name.split('-')[1]} ({wish})"
    _expect(version, run(python, "-I", "-m", "wsgiref_fast", "--version", cwd=home))
    _expect(version, run(python.parent / "wsgiref-fast", "--version", cwd=home))
    # Not for each interpreter is there a compiled hypothesis; an older one is pure.
    only = "--only-binary=hypothesis"
    pip(python, "install", only, f"wsgiref_fast[test] @ {wheel.resolve().as_uri()}")
    modules = [f"tests/{name}.py" for name in QUICK]
    options = ["-q", "-n0", "-p", "no:cacheprovider"]
    done = run(python, "-m", "pytest", *options, *modules, cwd=sources, WSGIREF_FAST_IMPL=wish)
    return done.strip().splitlines()[-1]


def _expect(expected: str, said: str) -> None:
    if said.strip() != expected:
        raise SystemExit(f"expected {expected!r} from the installed wheel, not:\n{said}")
