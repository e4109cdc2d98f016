"""``--check``: what it says of an application, and its exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli import command

START = "start_response('200 OK', [('Content-Type', 'text/plain')])"


def checked(folder: Path, body: str) -> tuple[int, list[str], str]:
    """Check an application; return exit code, lines and errors."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    program = f"import sys, warnings\ndef app(environ, start_response):\n{lines}\n"
    (folder / "code.py").write_text(program, "utf-8")
    done = command("code:app", "--check", folder=folder)
    return done.returncode, done.stdout.splitlines(), done.stderr


def test_an_application_that_keeps_the_rules_is_fine(tmp_path: Path) -> None:
    body = f"{START}\nreturn [b'hello', b' world']"
    expected = ["ok: GET /: 200 OK, 11 bytes", "ok: HEAD /: 200 OK, 11 bytes"]
    assert checked(tmp_path, body) == (0, expected, "")


def test_what_is_written_counts_too(tmp_path: Path) -> None:
    body = f"write = {START}\nwrite(b'12')\nreturn [b'345']"
    assert checked(tmp_path, body)[:2] == (
        0,
        ["ok: GET /: 200 OK, 5 bytes", "ok: HEAD /: 200 OK, 5 bytes"],
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (f"{START}\nreturn 'text'", "bytes"),
        (f"{START}\nreturn None", "the application returned None, not an iterable of bytes"),
        (f"{START}\nreturn ['text']", "bytes"),
        ("return [b'']", "start_response"),
        ("start_response('200', [])\nreturn []", "status"),
        ("start_response('200 OK', [('Connection', 'close')])\nreturn []", "Hop-by-hop headers"),
        ("start_response('200 OK', [('Content-Length', '3')])\nreturn []", "Content-Length"),
        ("start_response('200 OK', {})\nreturn [b'']", "list"),
        ("start_response('200 OK', [('a', 'b\\nc')])\nreturn [b'']", "header"),
    ],
)
def test_what_breaks_the_rules_is_told(tmp_path: Path, body: str, message: str) -> None:
    code, lines, errors = checked(tmp_path, body)
    assert (code, errors) == (1, "")
    assert lines[0].startswith("wrong: GET /: ")
    assert lines[1:] in (["wrong: HEAD /: the same"], ["ok: HEAD /: 200 OK, 0 bytes"])
    assert message.lower() in lines[0].lower()


def test_an_application_that_raises_is_shown(tmp_path: Path) -> None:
    code, lines, errors = checked(tmp_path, "raise KeyError('user')")
    assert (code, errors) == (1, "")
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].startswith(f'  File "{tmp_path / "code.py"}", line 3, in app')
    assert "wrong: GET /: the application raised KeyError: 'user'" in lines
    assert lines.count("Traceback (most recent call last):") == 1
    assert lines[-1] == "wrong: HEAD /: the same"
    assert not [line for line in lines if "_cli" in line or "validate" in line]


def test_what_the_output_cannot_hold_is_escaped(tmp_path: Path) -> None:
    # As on Windows, where output that goes into a file has the letters of one alphabet.
    (tmp_path / "code.py").write_text("def app(*_): raise KeyError('gr\u00f6\u00dfer')", "utf-8")
    done = command("code:app", "--check", folder=tmp_path, PYTHONIOENCODING="ascii")
    said = "wrong: GET /: the application raised KeyError: 'gr\\xf6\\xdfer'"
    assert said in done.stdout.splitlines()
    assert done.stdout.startswith("Traceback (most recent call last):")
    assert (done.returncode, done.stderr) == (1, "")


def test_an_assertion_of_the_application_is_its_own(tmp_path: Path) -> None:
    code, lines, _ = checked(tmp_path, "assert not 'mine', 'own words'")
    assert code == 1
    assert "wrong: GET /: the application raised AssertionError: own words" in lines


def test_head_is_asked_for_too(tmp_path: Path) -> None:
    body = f"if environ['REQUEST_METHOD'] == 'HEAD': return None\n{START}\nreturn [b'x']"
    code, lines, _ = checked(tmp_path, body)
    assert code == 1
    assert [line.partition(" /")[0] for line in lines] == ["ok: GET", "wrong: HEAD"]


def test_what_is_doubtful_is_told_and_no_failure(tmp_path: Path) -> None:
    body = "start_response('200 OK', [('X-', 'x'), ('Content-Type', 'a/b')])\nreturn [b'x']"
    code, lines, _ = checked(tmp_path, body)
    assert code == 0
    assert lines[0].startswith("doubtful: GET /: ")


def test_a_warning_of_the_applications_is_shown_as_python_shows_it(tmp_path: Path) -> None:
    body = f"warnings.simplefilter('always')\nwarnings.warn('old')\n{START}\nreturn [b'']"
    code, lines, errors = checked(tmp_path, body)
    assert code == 0
    assert [line.partition(":")[0] for line in lines] == ["ok", "ok"]
    assert f"{tmp_path / 'code.py'}:4: UserWarning: old" in errors


def test_an_error_page_is_an_answer(tmp_path: Path) -> None:
    body = "start_response('404 Not Found', [('Content-Type', 'text/plain')])\nreturn [b'no']"
    assert checked(tmp_path, body)[:2] == (
        0,
        ["ok: GET /: 404 Not Found, 2 bytes", "ok: HEAD /: 404 Not Found, 2 bytes"],
    )
