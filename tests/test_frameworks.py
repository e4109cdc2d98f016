"""The modules for frameworks where these are not there: a clear line, and nobody else's cost."""

from __future__ import annotations

import subprocess
import sys

import pytest

from support import PATIENCE
from wsgiref_fast._frameworks import take_tls

#: Each module, what it needs, and how that is called where it is installed from.
MODULES = {
    "wsgiref_fast.django": ("django", "Django", "django"),
    "wsgiref_fast.django.servers": ("django", "Django", "django"),
    "wsgiref_fast.bottle": ("bottle", "Bottle", "bottle"),
    "wsgiref_fast.werkzeug": ("werkzeug", "Werkzeug", "werkzeug"),
    "wsgiref_fast.flask": ("flask", "Flask", "flask"),
}


def run(program: str) -> str:
    """Run a program in an interpreter of its own; return the last line of what it says."""
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    return (done.stdout + done.stderr).splitlines()[-1]


@pytest.mark.parametrize("module", MODULES)
def test_a_framework_that_is_missing_is_named(module: str) -> None:
    needed, name, distribution = MODULES[module]
    home = "wsgiref_fast.django" if needed == "django" else module
    # As if it were not installed, whether it is or not; what it needs itself may be.
    line = run(
        "import sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path, target=None):\n"
        f"        if name == {needed!r}: raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Finder())\n"
        f"import {module}"
    )
    assert line == f"ImportError: {home} needs {name}: pip install {distribution}"


def test_what_a_framework_itself_misses_is_told_as_it_is() -> None:
    line = run(
        "import sys, types\n"
        "class Finder:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'bottle': import missing_part\n"
        "sys.meta_path.insert(0, Finder())\n"
        "import wsgiref_fast.bottle"
    )
    assert line == "ModuleNotFoundError: No module named 'missing_part'"


def test_a_django_that_is_too_old_is_refused() -> None:
    line = run(
        "import sys, types\n"
        "django = sys.modules['django'] = types.ModuleType('django')\n"
        "django.VERSION, django.__version__ = (3, 2, 25, 'final', 0), '3.2.25'\n"
        "import wsgiref_fast.django"
    )
    needs = "wsgiref_fast.django needs Django 4.2 or newer, not 3.2.25"
    assert line == f"ImportError: {needs}: pip install --upgrade django"


def test_the_package_alone_imports_none_of_them() -> None:
    line = run(
        "import sys, wsgiref_fast, wsgiref_fast.server, wsgiref_fast.simple_server\n"
        "print(*(name for name in sys.modules if name.startswith('wsgiref_fast.')))"
    )
    assert {"wsgiref_fast.server", "wsgiref_fast.simple_server"} <= set(line.split())
    assert not {*MODULES, "wsgiref_fast._frameworks"} & set(line.split())


def test_options_without_tls_are_left_as_they_are() -> None:
    options = {"threads": 2}
    assert take_tls(options) == options
    assert take_tls({"certfile": None, "keyfile": None}) == {}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"keyfile": "k"}, "keyfile needs certfile, the file of its certificate"),
        ({"certfile": "c", "ssl_context": object()}, "certfile and ssl_context exclude each other"),
    ],
)
def test_tls_options_that_do_not_go_together_are_refused(
    options: dict[str, object], said: str
) -> None:
    with pytest.raises(TypeError, match=said):
        take_tls(options)
