"""The order of the modules: imports only go down, and nothing comes from outside."""

from __future__ import annotations

import ast
import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

import wsgiref_fast
from support import PATIENCE

PACKAGE = Path(wsgiref_fast.__file__).parent
SOURCES = Path(__file__).parent.parent / "src" / "_speedups"

#: From the lowest up. A module may import what stands in a line above its own.
LAYERS = [
    {"types", "_grammar", "_hooks", "_streams", "_tls", "_tracebacks"},
    {"_short_cuts"},
    {"_pure"},
    {"_speedups"},
    {"_impl"},
    {"_chunked", "_handshakes", "_waiting", "_process_environ", "headers", "util"},
    {"handlers", "_reading", "_server_loop"},
    {"_sendfile"},
    {"simple_server"},
    {"_http11"},
    {"_status_text"},
    {"_status_html"},
    {"status"},
    {"server"},
    {"http_server", "testing", "_frameworks", "_gunicorn"},
    {"bottle", "django", "flask", "pytest_plugin", "werkzeug"},
    {"_alias"},
    {"__init__"},
    {"gunicorn"},
    {"_cli"},
    {"__main__"},
]
LEVELS = {name: level for level, names in enumerate(LAYERS) for name in names}

#: What needs nothing of ours but each other: it can be copied out of here. Any may use it.
ALONE = {"validate", "_validate_strict"}
LEVELS |= dict.fromkeys(ALONE, -1)

#: Not imported as a part of the package: `site` runs it, from a folder on the path.
SCRIPTS = {"_startup.sitecustomize"}


#: What of others is imported where there is need of it, and by which module.
EXTRAS = {"_cli.watching": {"watchfiles"}, "_gunicorn.settings": {"gunicorn"}}

#: What a module, or all of a subpackage, cannot be imported without.
NEEDS = {
    "_cli.arbiter": {"gunicorn"},
    "bottle": {"bottle"},
    "django": {"django"},
    "flask": {"click", "flask", "werkzeug"},
    "gunicorn": {"gunicorn"},
    "pytest_plugin": {"pytest"},
    "werkzeug": {"werkzeug"},
}


def find_modules() -> dict[str, Path]:
    """Find the installed modules: dotted names below the package, and their files."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if len(parts) > 1 and parts[-1] == "__init__":
            parts = parts[:-1]
        found[".".join(parts)] = path
    return found


MODULES = find_modules()


def needs_of(module: str) -> set[str]:
    """Return what of others a module cannot be imported without."""
    return NEEDS.get(module) or NEEDS.get(layer_of(module), set())


def layer_of(module: str) -> str:
    """Name what LAYERS has for a module: that of a subpackage stands for all in it."""
    return module.partition(".")[0]


IMPORTABLE = sorted(module for module in MODULES.keys() - SCRIPTS if not needs_of(module))


def level_of(module: str) -> float:
    """Return how high a module stands; nothing may build on what has no place yet."""
    return LEVELS.get(layer_of(module), math.inf)


def imports_of(source: str, module: str) -> Iterator[str]:
    """Yield the absolute names of what a module imports, functions and type checks included.

    ``from a import b`` gives ``a.b``: only the file system knows whether that is a module.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            home = node.module or ""
            if node.level:
                package = ["wsgiref_fast", *module.split(".")][: -node.level]
                home = ".".join([*package, home] if home else package)
            yield from (f"{home}.{alias.name}" for alias in node.names)


def own_imports(source: str, module: str) -> set[str]:
    """Return the modules of ours that a module imports, each as in MODULES."""
    found = set()
    for name in imports_of(source, module):
        package, _, inner = name.partition(".")
        if package != "wsgiref_fast":
            continue
        while inner and inner not in MODULES:
            inner = inner.rpartition(".")[0]  # a name in a module, not a module
        found.add(inner or "__init__")
    return found


def python_of(pyx: str) -> str:
    """Return the imports of a Cython source; a cimport gives nothing at run time."""
    return "\n".join(re.findall(r"^\s*((?:from\s+\S+\s+)?import\s.*)$", pyx, re.MULTILINE))


def test_the_modules_are_found() -> None:
    assert {"__init__", "_pure", "_pure.headers", "simple_server"} <= MODULES.keys()


def test_the_walk_sees_each_form_of_import() -> None:
    source = """
import wsgiref_fast.util
from . import _impl
from ._pure.headers import check_name
def f():
    from .handlers import SimpleHandler
if TYPE_CHECKING:
    from wsgiref_fast import types
from wsgiref_fast import __version__
"""
    expected = {"util", "_impl", "_pure.headers", "handlers", "types", "__init__"}
    assert own_imports(source, "headers") == expected
    assert own_imports("from ..util import x\nfrom .headers import y", "_pure.response") == {
        "util",
        "_pure.headers",
    }


def test_the_walk_sees_the_imports_of_cython_sources() -> None:
    source = "from libc.string cimport memcpy\nfrom wsgiref_fast._pure import headers as h\n"
    assert own_imports(python_of(source), "_speedups.x") == {"_pure.headers"}


def test_each_module_has_a_place_in_the_order() -> None:
    places = {layer_of(module) for module in MODULES.keys() - SCRIPTS}
    assert places == LEVELS.keys() | ALONE


def rooms() -> list[set[str]]:
    """Return the modules of each row of the table in CONTRIBUTING."""
    text = (SOURCES.parents[1] / "CONTRIBUTING.md").read_text("utf-8")
    rows = re.findall(r"^\| (`.+?) \|", text.partition("\n## The house\n")[2], re.MULTILINE)
    return [set(re.findall(r"`(\w+)/?`", row)) for row in rows]


def test_each_module_has_a_room_in_the_house() -> None:
    named = sorted(name for room in rooms() for name in room)
    assert named == sorted({layer_of(module) for module in MODULES})


def test_the_rooms_of_the_house_stand_in_the_order() -> None:
    placed = [room & LEVELS.keys() - ALONE for room in rooms()]
    levels = [sorted(map(level_of, room)) for room in placed if room]
    assert all(below[-1] <= above[0] for below, above in pairwise(levels))


@pytest.mark.parametrize("module", IMPORTABLE)
def test_imports_only_go_down(module: str) -> None:
    imported = own_imports(MODULES[module].read_text("utf-8"), module)
    if module in ALONE:
        assert imported <= ALONE
        return
    layer = layer_of(module)
    higher = {
        name
        for name in imported
        # Within a subpackage modules may use each other; the next test holds their order.
        if not ("." in module and layer_of(name) == layer)
        and not (level_of(name) < level_of(module))
    }
    assert not higher


def test_a_subpackage_has_no_circle_of_imports() -> None:
    graph = {
        module: own_imports(path.read_text("utf-8"), module)
        for module, path in MODULES.items()
        if module.startswith("_pure.")
    }
    assert graph
    while graph:
        free = [module for module, imported in graph.items() if not imported & graph.keys()]
        assert free, f"these import each other: {sorted(graph)}"
        for module in free:
            del graph[module]


@pytest.mark.parametrize("source", sorted(SOURCES.glob("*.pyx")), ids=lambda path: path.name)
def test_cython_sources_import_what_is_below_them(source: Path) -> None:
    module = f"_speedups.{source.stem}"
    for name in own_imports(python_of(source.read_text("utf-8")), module):
        # `run` goes through the other kernels.
        assert level_of(name) < LEVELS["_speedups"] or source.stem == "run"


@pytest.mark.parametrize("module", sorted(MODULES.keys() - {"_impl"}))
def test_only_the_chooser_knows_of_the_compiled_kernels(module: str) -> None:
    source = MODULES[module].read_text("utf-8")
    tree = ast.parse(source)
    documentation = ast.get_docstring(tree, clean=False)
    # Strings too: a module can be imported by its name.
    words = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    names = [*imports_of(source, module), *(word for word in words if word != documentation)]
    assert not [name for name in names if "_speedups" in str(name)]


@pytest.mark.parametrize("module", sorted(MODULES))
def test_nothing_outside_the_standard_library_is_imported(module: str) -> None:
    names = {
        name.partition(".")[0] for name in imports_of(MODULES[module].read_text("utf-8"), module)
    }
    # What `site` would have imported in the place of our start-up script.
    names -= {"sitecustomize"} if module in SCRIPTS else set()
    foreign = needs_of(module) | EXTRAS.get(module, set())
    assert names <= sys.stdlib_module_names | {"wsgiref_fast"} | foreign


@pytest.mark.parametrize("module", IMPORTABLE)
def test_each_module_can_be_imported_alone(module: str) -> None:
    name = "wsgiref_fast" if module == "__init__" else f"wsgiref_fast.{module}"
    command = [sys.executable, "-I", "-W", "error", "-c", f"import {name}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


LOADED_FROM_ELSEWHERE = """
import importlib, json, os, sys
before = set(sys.modules)
for name in sys.argv[1:]:
    importlib.import_module(name)
# What Cython makes up in memory has no place that it came from; parts of the standard
# library, as 3.15 and PyPy have, are in no list.
home = os.path.dirname(os.__file__)
new = [name for name in set(sys.modules) - before
       if (spec := getattr(sys.modules[name], "__spec__", None)) and spec.origin
       and ("-packages" in spec.origin or not spec.origin.startswith(home))]
top = {name.partition(".")[0] for name in new}
print(json.dumps(sorted(top - sys.stdlib_module_names)))
"""


def test_importing_everything_loads_nothing_else() -> None:
    names = [f"wsgiref_fast.{module}" for module in IMPORTABLE]
    command = [sys.executable, "-I", "-W", "error", "-c", LOADED_FROM_ELSEWHERE, *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["wsgiref_fast"]
