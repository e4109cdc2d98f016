"""README and docs: each code block runs, each link leads somewhere, and nothing is left out."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tomllib
from pathlib import Path

import pytest

import documentation
import wsgiref_fast
from documentation import ROOT, pages, play, read_steps
from wsgiref_fast._cli.arguments import make_parser
from wsgiref_fast._http11.options import Options

PAGES = pages()
PACKAGE = Path(wsgiref_fast.__file__).parent
LEFT_OUT = ""
if os.name != "posix" or shutil.which("curl") is None or shutil.which("openssl") is None:
    LEFT_OUT = "pages' commands need a POSIX system with curl and openssl"


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def code_pages() -> list[str]:
    return [] if LEFT_OUT else [page for page in PAGES if read_steps(page)]


@pytest.mark.parametrize("page", code_pages())
def test_the_blocks_of_a_page_run(page: str, tmp_path: Path) -> None:
    play(page, "", tmp_path)


def test_what_is_not_run_is_on_the_list_and_what_is_on_the_list_is_there() -> None:
    reasons = {step.reason for page in PAGES for step in read_steps(page)} - {None}
    assert reasons == set(documentation.NOT_RUN)
    listed = {(step.page, step.kind) for page in PAGES for step in read_steps(page)}
    run = {"file", "program", "command", "toml", "ini", "json"}
    assert {each for each in listed if each[1] not in run} == set(documentation.NO_CODE)


def test_a_file_that_a_page_shows_is_used_by_it() -> None:
    for page in PAGES:
        steps = read_steps(page)
        for number, step in enumerate(steps):
            if step.kind == "file":
                stem = step.title.partition(".")[0]
                assert any(stem in later.text for later in steps[number + 1 :]), f"{step}"


def test_a_block_with_an_error_in_it_is_found(tmp_path: Path) -> None:
    step = documentation.Step("page.md", 1, "program", "raise SystemExit(3)\n")
    with pytest.raises(AssertionError, match=r"page\.md:1.*ended with 3"):
        documentation.Session(tmp_path, Path(sys.executable)).run(step)


@pytest.mark.parametrize("page", PAGES)
def test_what_pip_is_to_install_is_offered(page: str) -> None:
    extras = tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"]
    for name, extra in re.findall(r"pip install (?!-)\"?([\w-]+)(?:\[(\w+)\])?", read(page)):
        assert name == "wsgiref_fast"
        assert not extra or extra in extras


def slug(heading: str) -> str:
    """Return a heading's anchor, as GitHub and MkDocs have it."""
    text = re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", text).strip().replace(" ", "-")


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_links_within_the_project_lead_somewhere(page: str) -> None:
    text = re.sub(r"```.*?```", "", read(page), flags=re.S)
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"(?:src|srcset)=\"([^\"]+)\"", text)
    for link in links:
        if re.match(r"https?://", link):
            continue
        file, _, anchor = link.partition("#")
        target = (ROOT / page).parent / file if file else ROOT / page
        assert target.exists(), f"{page}: {link}"
        if anchor and not anchor.startswith(("wsgiref_fast", "only-")):
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.M)
            assert anchor in map(slug, headings), f"{page}: {link}"


def test_the_change_that_newcomers_make_can_still_be_made() -> None:
    changes = [step.text for step in read_steps("CONTRIBUTING.md") if step.kind == "diff"]
    files = re.split(r"^--- a/(.+)\n\+\+\+ b/.+\n", "".join(changes), flags=re.M)[1:]
    assert len(files) == 10
    for name, change in zip(files[::2], files[1::2], strict=True):
        for part in re.split(r"^@@.*\n", change, flags=re.M)[1:]:
            old, new = (
                "".join(line[1:] or "\n" for line in part.splitlines(True) if line[0] != sign)
                for sign in "+-"
            )
            # They run these tests in the end, when they have made it.
            assert 1 in (read(name).count(old), read(name).count(new)), f"{name}: {old}"


def test_every_page_is_in_the_navigation() -> None:
    navigation = read("mkdocs.yml").partition("\nnav:\n")[2].partition("\nvalidation:")[0]
    named = re.findall(r"([\w/.-]+\.md)$", navigation, re.M)
    assert sorted(named) == sorted(p.removeprefix("docs/") for p in PAGES if p.startswith("docs/"))


def test_the_page_of_deviations_has_the_rows_of_the_readme_each_with_a_reason() -> None:
    table = read("README.md").partition("## Where it differs")[2].partition("\n## ")[0]
    rows = [row.split(" | ")[0].removeprefix("| ") for row in table.splitlines() if row[:2] == "| "]
    reasons = re.findall(r"^(.+)\n:   \*Why\*: ", read("docs/deviations.md"), re.M)
    assert sorted(reasons) == sorted(row for row in rows if row not in ("what", "---"))


def test_the_page_of_the_command_line_says_of_each_option_what_its_help_says() -> None:
    rows = re.findall(r"^\| `(--[\w-]+)[^`]*` \| (.+) \| (.*) \|$", read_cli(), re.M)
    shown = {option: (text.replace("`", ""), default) for option, text, default in rows}
    told = {}
    for action in make_parser()._actions:
        if action.option_strings and action.option_strings[-1] not in ("--help", "--version"):
            text, _, default = str(action.help).partition(" (default: ")
            told[action.option_strings[-1]] = (text, default.removesuffix(")"))
    assert shown == told


def modules() -> set[str]:
    """Name the modules and packages of this one."""
    found = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    return found - {"_startup", "__pycache__"}  # the one is on a path of its own


def test_the_drawing_of_the_layers_has_each_module() -> None:
    boxes = re.findall(r"middle\"[^>]*>([^<:]+)", read("docs/images/layers.svg"))
    assert {name for box in boxes for name in box.split(", ")} == modules()


def test_the_reference_has_each_public_module() -> None:
    shown = "".join(read(page) for page in PAGES if page.startswith("docs/reference/"))
    names = set(re.findall(r"^::: wsgiref_fast\.(\w+)$", shown, re.M))
    assert names == {name for name in modules() if not name.startswith("_")}


def test_what_pages_take_from_other_files_is_there() -> None:
    for page in PAGES:
        for name, part in re.findall(r"^<!-- from (\S+?)(?:, (\w+))? -->$", read(page), re.M):
            text = read(name)
            assert not part or f"<!-- {part}:begin -->" in text, page


def read_cli() -> str:
    return read("docs/guides/command-line.md")


def test_the_page_of_the_command_line_has_each_exit_code() -> None:
    codes = re.findall(r"^  (\d+(?:, \d+)*) +\w", str(make_parser().epilog), re.M)
    assert re.findall(r"^\| ([\d, ]+) \| ", read_cli(), re.M) == codes


def write(value: float) -> str:
    """Return a limit as the page has it."""
    for size, unit in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if not isinstance(value, float) and value >= 16 * 1024 and value % size == 0:
            return f"{value // size} {unit}"
    return f"{value:g} s" if isinstance(value, float) else f"{value:,}"


def test_the_page_of_security_has_each_limit_with_its_default() -> None:
    section = read("docs/security.md").partition("\n## Limits")[2].partition("\n## ")[0]
    shown = dict(re.findall(r"^\| `(\w+)` \| ([\d,]+(?: [KMG]iB| s)?)", section, re.M))
    limits = {name: value for name, value in vars(Options).items() if is_limit(name)}
    assert shown == {name: write(value) for name, value in limits.items()}


def is_limit(name: str) -> bool:
    return name.startswith("max_") or name.endswith("_timeout") or name in ("backlog", "spool_size")
