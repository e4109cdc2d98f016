"""Which application a command line names, and what is said where there is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli import APPLICATION, command, refused


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder of modules, a package among them."""
    files = {
        "hello.py": APPLICATION,
        "django_like.py": APPLICATION + "application = app\ndel app\n",
        "package/__init__.py": "",
        "package/web.py": APPLICATION,
        "makers.py": "def create_app(): pass",
        "empty.py": "import json as other\ndef index(request): pass",
        "inner/site.py": "",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    return tmp_path


@pytest.mark.parametrize(
    "given",
    [
        ("hello",),
        ("hello:app",),
        ("hello:Holder.inner.app",),
        ("django_like",),
        ("django_like:application",),
        ("package.web:app",),
        ("package.web",),
        ("hello:create_app", "--factory"),
        ("web:app", "--chdir", "package"),
    ],
    ids=" ".join,
)
def test_an_application_is_found(folder: Path, given: tuple[str, ...]) -> None:
    done = command(*given, "--check", folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "ok: GET /: 200 OK, 1 bytes\nok: HEAD /: 200 OK, 1 bytes\n"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("helo:app", "there is no module helo: did you mean hello?"),
        ("Hello:app", "there is no module Hello: did you mean hello?"),
        ("package.wep:app", "there is no module package.wep: did you mean package.web?"),
        ("package.nonsense:app", "there is no module package.nonsense: package has web; "),
        ("hello.web:app", "hello is not a package: did you mean hello:web?"),
        ("nonsense.web:app", "there is no module nonsense: {folder} has django_like, empty, "),
        ("hello.py", "'hello.py': a module is named, not its file: hello"),
        ("hello.py:app", "'hello.py:app': a module is named, not its file: hello:app"),
        ("./hello.py:app", "a module is named, not its file: hello:app"),
        ("package/web.py", "a module is named, not its file: --chdir package web"),
        ("hello-world:app", "'hello-world:app' names no module: an application is given as"),
        (":app", "':app' names no module: an application is given as module:app"),
        ("hello:", "'' is no name: an application is given as module:app"),
        ("hello:a b", "'a b' is no name: an application is given as module:app"),
        ("hello:create_app()", "to have it called, give hello:create_app --factory"),
        ("hello:aap", "module hello has no aap: did you mean app"),
        ("hello:Holder.iner.app", "Holder has no iner: did you mean inner?"),
        ("empty:nonsense", "module empty has no nonsense: it has index"),
        ("inner.site:app", "module inner.site has no app: it has nothing that can be called"),
        ("empty", "module empty has neither app nor application: name it, as in empty:NAME"),
        ("makers", "has neither app nor application: is it makers:create_app --factory?"),
        ("hello:text", "hello:text is a str, which cannot be called: no application"),
        ("hello:nothing", "hello:nothing is None, which cannot be called"),
        ("hello:create_app", "takes no arguments: if it returns the application, add --factory"),
        ("empty:index", "does not take the two arguments of WSGI: environ, start_response"),
    ],
)
def test_what_is_no_application_is_told_in_one_line(folder: Path, given: str, message: str) -> None:
    assert message.format(folder=folder) in refused(given, folder=folder)


def test_an_asgi_application_is_told_apart(folder: Path) -> None:
    (folder / "other.py").write_text("async def app(scope, receive, send): pass", "utf-8")
    message = "other:app takes three arguments, as an ASGI application does: this server is for"
    assert message in refused("other:app", folder=folder)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("def make(x): pass", "code:make wants arguments: a factory is called without"),
        ("def make(): return None", "code:make() returned None, which cannot be called"),
        ("def make(): return 'x'", "code:make() returned a str, which cannot be called"),
        (
            "def make(): return lambda: None",
            "what code:make() returned takes no arguments: if it returns the application",
        ),
        ("make = 3", "code:make is an int, which cannot be called"),
    ],
)
def test_what_is_no_factory_is_told_in_one_line(folder: Path, program: str, message: str) -> None:
    (folder / "code.py").write_text(program, "utf-8")
    assert message in refused("code:make", "--factory", folder=folder)


@pytest.mark.parametrize(
    ("program", "shown", "message"),
    [
        (
            "import nonsense",
            "import nonsense",
            "code cannot be imported: ModuleNotFoundError: No module named 'nonsense' "
            "(nonsense has to be installed, or is misspelt)",
        ),
        (
            "import code.inner",
            "import code.inner",
            "code cannot be imported: ModuleNotFoundError: No module named 'code.inner'; "
            "'code' is not a package (code has to be installed, or is misspelt)",
        ),
        (
            "from hello import nonsense",
            "from hello import nonsense",
            "code cannot be imported: ImportError: cannot import name 'nonsense'",
        ),
        # What is wrong with it is said in words of the interpreter's own.
        ("def app(:", "    def app(:", "code cannot be imported: SyntaxError: "),
        ("1 / 0", "    1 / 0", "code cannot be imported: ZeroDivisionError: division by zero"),
        (
            "class A:\n    @property\n    def app(self): return self.x\na = A()",
            "return self.x",
            "a: app cannot be had: AttributeError: 'A' object has no attribute 'x'",
        ),
        (
            "def __getattr__(name): raise OSError(name)",
            "raise OSError(name)",
            "module code: a cannot be had: OSError: a",
        ),
    ],
)
def test_an_error_of_the_users_is_shown_without_our_code(
    folder: Path, program: str, shown: str, message: str
) -> None:
    (folder / "code.py").write_text(program, "utf-8")
    done = command("code:a.app", folder=folder)
    assert (done.returncode, done.stdout) == (2, "")
    *details, line = done.stderr.splitlines()
    assert line.startswith(f"wsgiref_fast: {message}")
    assert any(shown in each for each in details)
    assert str(folder / "code.py") in done.stderr
    assert "_cli" not in done.stderr
    assert "importlib" not in done.stderr


def test_a_factory_that_fails_is_shown(folder: Path) -> None:
    (folder / "code.py").write_text("def make():\n    raise OSError('no database')", "utf-8")
    done = command("code:make", "--factory", folder=folder)
    *details, line = done.stderr.splitlines()
    assert line == "wsgiref_fast: code:make() failed: OSError: no database"
    assert "    raise OSError('no database')" in details
    assert "_cli" not in done.stderr
    assert done.returncode == 2


@pytest.mark.parametrize("way", ["sys.exit(3)", "raise SystemExit(3)"])
def test_a_module_that_ends_the_program_is_told(folder: Path, way: str) -> None:
    (folder / "code.py").write_text(f"import sys\n{way}", "utf-8")
    message = "code cannot be imported: it ended the program, with exit code 3"
    assert refused("code:app", folder=folder) == message


def test_an_error_of_many_lines_ends_in_one(folder: Path) -> None:
    (folder / "code.py").write_text("raise ValueError('one\\ntwo\\x1b[31m')", "utf-8")
    line = command("code:app", folder=folder).stderr.splitlines()[-1]
    assert line.startswith("wsgiref_fast: code cannot be imported: ")
    assert "\x1b" not in line


TELL = """
import json, os, sys
print(json.dumps([sys.path, os.getcwd()]))
def app(environ, start_response):
    start_response("204 No Content", [])
    return []
"""


@pytest.mark.parametrize("place", [".", "inner"])
def test_the_current_folder_is_the_first_of_the_path(folder: Path, place: str) -> None:
    (folder / place / "tell.py").write_text(TELL, "utf-8")
    (folder / "tell.py").write_text(TELL, "utf-8")
    done = command("tell:app", "--check", "--chdir", place, folder=folder)
    path, current = json.loads(done.stdout.splitlines()[0])
    expected = str((folder / place).resolve())
    assert (path[0], current) == (expected, expected)
    assert path.count(str(folder)) == (place == ".")


def test_a_python_that_trusts_no_folder_imports_nothing_of_it(folder: Path) -> None:
    done = command("hello:app", "--check", folder=folder, PYTHONSAFEPATH="1")
    assert done.returncode == 2
    assert "there is no module hello" in done.stderr
