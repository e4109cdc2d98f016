"""``run``: start a program on `wsgiref_fast`."""

from __future__ import annotations

import builtins
import os
import runpy
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import find_spec
from io import open_code
from types import ModuleType

from .. import install
from .messages import MISUSED, RUN_USAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_PACKAGE = __name__.partition(".")[0]


def run(command: list[str]) -> None:
    """Run a script (``script.py argument ...``) or a module (``-m module argument ...``).

    The program finds ``sys.argv`` and ``sys.path`` as if Python had started it; it, and
    what it starts anew in order to reload, imports this package as ``wsgiref``.
    """
    if command[:1] in (["-h"], ["--help"]):
        print(f"usage: {RUN_USAGE}")
        return
    is_module = command[:1] == ["-m"]
    if is_module:
        command = command[1:]
    if not command or command[0].startswith("-"):
        print(f"usage: {RUN_USAGE}\nrun: a script or -m and a module are needed", file=sys.stderr)
        raise SystemExit(MISUSED)
    program = command[0]
    if not is_module and not os.path.exists(program):
        _refuse(_describe_missing(program))
    _pass_on(program)
    sys.argv = list(command)
    if not is_module:
        install()
        _run_script(program)
        return
    if program.partition(".")[0] == "wsgiref":
        program = _PACKAGE + program.removeprefix("wsgiref")
    else:
        install()
    if "." not in program and find_spec(program) is None:
        _refuse(f"there is no module {program!r} in the current folder, nor installed")
    runpy.run_module(program, run_name="__main__", alter_sys=True)


def _describe_missing(program: str) -> str:
    """Say what may have been meant by a file that is not there."""
    if ":" in program and "/" not in program:
        return f"there is no file {program!r}: an application is served without run"
    return f"there is no file {program!r}"


def _refuse(text: str) -> NoReturn:
    """Say what is wrong, and end the program as bad input does."""
    print(f"wsgiref_fast run: {text}", file=sys.stderr)
    raise SystemExit(MISUSED)


def _run_script(program: str) -> None:
    """Run a file as the main program."""
    if not sys.flags.safe_path:
        sys.path[0] = os.path.dirname(os.path.realpath(program))
    if not os.path.isfile(program) or program.endswith((".zip", ".pyz")):
        runpy.run_path(program, run_name="__main__")
        return
    # Not by run_path(), which knows no package of None and no absolute path, and takes
    # the module away again while the program's threads may still run.
    path = os.path.abspath(program)
    with open_code(path) as file:
        code = compile(file.read(), path, "exec", dont_inherit=True)
    main = sys.modules["__main__"] = ModuleType("__main__")
    vars(main).update(
        __file__=path,
        __cached__=None,
        __loader__=SourceFileLoader("__main__", path),
        __builtins__=builtins,
    )
    exec(code, vars(main))


def _pass_on(program: str) -> None:
    """Have a restart of the program install this package too (see ``_startup``)."""
    startup = os.path.join(os.path.dirname(os.path.dirname(__file__)), "_startup")
    path = os.environ.get("PYTHONPATH")
    if startup not in (path or "").split(os.pathsep):
        os.environ["PYTHONPATH"] = startup + (os.pathsep + path if path else "")
    os.environ["WSGIREF_FAST_RUN"] = program
