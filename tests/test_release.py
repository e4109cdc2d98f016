"""What a release is made of: its interpreters, platforms, workflows, and the checks before it."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from email import message_from_string
from email.message import Message
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

# Last: the names of its modules are anybody's.
sys.path.append(str(Path(__file__).parent.parent / ".ci" / "release"))

import building
import checking
import interpreters
import tag
from support import PATIENCE

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))

#: What there are wheels for: CPython's versions, those without the GIL among them.
PYTHONS = ["311", "312", "313", "314", "314t", "315", "315t"]

PLATFORMS = {
    "linux": ["manylinux_x86_64", "manylinux_aarch64", "musllinux_x86_64", "musllinux_aarch64"],
    "macos": ["macosx_x86_64", "macosx_arm64"],
    "windows": ["win_amd64", "win_arm64"],
}

#: The machines of the workflow, and what cibuildwheel calls an architecture of theirs.
MACHINES = {
    "ubuntu-latest": ("linux", "x86_64"),
    "ubuntu-24.04-arm": ("linux", "aarch64"),
    "macos-15-intel": ("macos", "x86_64"),
    "macos-latest": ("macos", "arm64"),
    "windows-latest": ("windows", "AMD64"),
    "windows-11-arm": ("windows", "ARM64"),
}


def needs(module: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Leave a test out where a module is not installed."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        test.__test__ = find_spec(module) is not None  # type: ignore[attr-defined]
        return test

    return decorate


def dotted(python: str) -> str:
    """Write ``314t`` as ``3.14t``."""
    return f"{python[0]}.{python[1:]}"


def workflow(name: str) -> str:
    return (ROOT / ".github" / "workflows" / name).read_text("utf-8")


def matrix(text: str, axis: str) -> list[str]:
    """Return a list of a workflow's matrix: each is written in a line, as JSON."""
    (line,) = re.findall(rf"^ +{axis}: (\[.*\])$", text, re.MULTILINE)
    values: list[str] = json.loads(line)
    return values


# Interpreters and platforms


@needs("cibuildwheel")
@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_release_has_wheels_for_each_python_on_each_platform(platform: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cibuildwheel", "--print-build-identifiers", "--platform", platform],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("CIBW_")},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    expected = {f"cp{python}-{where}" for python in PYTHONS for where in PLATFORMS[platform]}
    assert set(done.stdout.split()) == expected


def test_the_pythons_of_wheels_classifiers_and_workflows_are_the_same() -> None:
    assert [f"cp{python}-*" for python in PYTHONS] == PROJECT["tool"]["cibuildwheel"]["build"]
    versions = [dotted(python) for python in PYTHONS if not python.endswith("t")]
    start = "Programming Language :: Python :: 3."
    classifiers = PROJECT["project"]["classifiers"]
    named = [f"3.{name.removeprefix(start)}" for name in classifiers if name.startswith(start)]
    assert versions == named
    assert matrix(workflow("tests.yml"), "python") == [dotted(python) for python in PYTHONS]
    assert {f"3.{minor}" for minor in interpreters.MINORS} == set(versions)
    assert PROJECT["project"]["requires-python"] == f">={versions[0]}"


def test_pypy_is_tested_on_each_system_and_free_threading_is_told_of() -> None:
    text = workflow("tests.yml")
    pypy = re.findall(r'system: "([^"]+)", python: "pypy[^"]+", implementation: "pure"', text)
    assert pypy == matrix(text, "system") == ["ubuntu-latest", "macos-latest", "windows-latest"]
    names = "\n".join(PROJECT["project"]["classifiers"])
    assert "Implementation :: PyPy" in names
    assert "Free Threading :: " in names


def test_each_architecture_has_a_machine_that_builds_for_it() -> None:
    machines = [MACHINES[name] for name in matrix(workflow("release.yml"), "system")]
    settings = PROJECT["tool"]["cibuildwheel"]
    wanted = [(platform, each) for platform in PLATFORMS for each in settings[platform]["archs"]]
    assert machines == wanted


def test_wheels_are_tested_with_the_kernels_that_they_must_have() -> None:
    settings = PROJECT["tool"]["cibuildwheel"]
    assert settings["environment"]["WSGIREF_FAST_IMPL"] == "compiled"
    assert settings["test-environment"]["WSGIREF_FAST_IMPL"] == "compiled"
    assert "pytest" in settings["test-command"]
    assert all((ROOT / name).exists() for name in settings["test-sources"])
    shipped = re.findall(
        r"^(?:include|graft) (.*)$", (ROOT / "MANIFEST.in").read_text(), re.MULTILINE
    )
    assert {name.partition("/")[0] for line in shipped for name in line.split()} <= {
        *settings["test-sources"]
    }


# Workflows


def test_actions_are_pinned_to_a_commit() -> None:
    used = [
        line for path in WORKFLOWS for line in re.findall(r"uses: (.*)", path.read_text("utf-8"))
    ]
    assert used
    assert not [line for line in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", line)]


def test_workflows_may_do_no_more_than_they_must() -> None:
    for path in WORKFLOWS:
        text = path.read_text("utf-8")
        assert "\npermissions: {}\n" in text
        checkouts = text.count("actions/checkout@")
        assert checkouts == text.count("persist-credentials: false")
        granted = re.findall(r"^ +([\w-]+): (?:write|write-all)\b", text, re.MULTILINE)
        assert granted == (["id-token"] if path.name == "release.yml" else [])
        assert "secrets." not in text


def test_what_publishes_runs_nothing_of_the_repository_and_only_for_a_tag() -> None:
    before, _, job = workflow("release.yml").partition("\n  publish:\n")
    assert "id-token" not in before
    assert "run:" not in job
    assert "checkout" not in job
    assert "if: github.event_name == 'push' && github.ref_type == 'tag'" in job
    assert "needs: [archives, wheels]" in job


# What is shown of it


@pytest.fixture(scope="module")
def metadata(tmp_path_factory: pytest.TempPathFactory) -> Message:
    """Have the metadata made of the sources, as for an archive."""
    folder = tmp_path_factory.mktemp("metadata")
    ignored = shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__", "*.so", "tests")
    tree = shutil.copytree(ROOT, folder / "tree", ignore=ignored)
    program = "import setuptools.build_meta as b; b.prepare_metadata_for_build_wheel('..')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tree,
        capture_output=True,
        text=True,
        timeout=10 * PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.dist-info/METADATA")
    return message_from_string(path.read_text("utf-8"))


@needs("setuptools")
def test_the_description_refers_to_no_file_beside_it(metadata: Message) -> None:
    text = str(metadata.get_payload())
    assert metadata["Description-Content-Type"] == "text/markdown"
    targets = re.findall(r"\]\(([^)]*)\)", text) + re.findall(
        r'(?:src|srcset|href)="([^"]*)"', text
    )
    assert not [target for target in targets if not target.startswith(("https://", "#"))]
    assert "<picture" not in text


@needs("setuptools")
def test_the_description_is_the_readme(metadata: Message) -> None:
    text, readme = str(metadata.get_payload()), (ROOT / "README.md").read_text("utf-8")
    blocks = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
    assert blocks.findall(text) == blocks.findall(readme) != []
    headings = re.compile(r"^#+ .*$", re.MULTILINE)
    assert headings.findall(text) == headings.findall(readme)
    assert "|  |" not in text


@needs("trove_classifiers")
def test_classifiers_are_those_of_the_index() -> None:
    known: Any = __import__("trove_classifiers").classifiers
    assert [name for name in PROJECT["project"]["classifiers"] if name not in known] == []


# The checks of archives


def wheel(folder: Path, tags: str, *names: str) -> Path:
    """Make a wheel with empty files of these names."""
    path = folder / f"wsgiref_fast-{checking.version()}-{tags}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("wsgiref_fast/__init__.py", "wsgiref_fast-1.dist-info/METADATA", *names):
            archive.writestr(name, "")
    return path


def built() -> list[str]:
    return [f"wsgiref_fast/_speedups/{name}.cpython-311.so" for name in checking.kernels()]


def test_sound_wheels_have_nothing_to_complain_of(tmp_path: Path) -> None:
    assert checking.complaints(wheel(tmp_path, "py3-none-any")) == []
    assert checking.complaints(wheel(tmp_path, "cp311-cp311-linux_x86_64", *built())) == []


@pytest.mark.parametrize(
    ("tags", "name", "complaint"),
    [
        ("py3-none-any", "_speedups/x.py", "_speedups is at the top"),
        ("py3-none-any", "wsgiref_fast/_speedups/headers.pyx", "is a source of the kernels"),
        ("py3-none-any", "wsgiref_fast/_speedups/headers.c", "is a source of the kernels"),
        ("py3-none-any", "wsgiref_fast/_speedups/headers.so", "there is a kernel headers"),
        ("py3-none-any", "wsgiref_fast/headers.pyd", "is not in its folder"),
        ("cp311-cp311-win_amd64", "wsgiref_fast/py.typed", "the kernel headers is missing"),
    ],
)
def test_a_wheel_with_too_much_or_too_little_is_found_out(
    tmp_path: Path, tags: str, name: str, complaint: str
) -> None:
    assert complaint in "\n".join(checking.complaints(wheel(tmp_path, tags, name)))


def test_an_archive_of_another_version_is_found_out(tmp_path: Path) -> None:
    path = tmp_path / f"wsgiref_fast-{checking.version()}1.tar.gz"
    with pytest.raises(SystemExit, match="is not of version"):
        checking.check([path])


def test_the_same_sources_make_the_same_source_archive(tmp_path: Path) -> None:
    first, second = tmp_path / "first.tar.gz", tmp_path / "second.tar.gz"
    for path, owner, names in ((first, 0, "ab"), (second, 1000, "ba")):
        with tarfile.open(path, "w:gz") as archive:
            for name in names:
                member = tarfile.TarInfo(name)
                member.size, member.mtime, member.uid = 4, 1000.5 * (1 + owner), owner
                member.uname, member.mode = f"user{owner}", 0o664 if owner else 0o644
                archive.addfile(member, io.BytesIO(name.encode() * 4))
        building.settle(path, 1_700_000_000)
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as archive:
        assert [(member.name, member.mtime) for member in archive] == [
            ("a", 1_700_000_000),
            ("b", 1_700_000_000),
        ]


def test_the_date_of_files_is_the_one_that_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1234567890")
    assert building.set_epoch() == 1234567890


def test_this_interpreter_is_found_with_its_name() -> None:
    found = interpreters.find()
    assert Path(found[0].path) == Path(sys.executable)
    assert found[0].name[2:].startswith(f"3{sys.version_info[1]}")
    assert len({each.name for each in found}) == len(found)


def test_an_interpreter_that_does_not_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="none does not run"):
        interpreters.find([str(tmp_path / "none")])


# The check of a tag

CHANGELOG = f"# Changelog\n\n## {checking.version()} (2030-01-31)\n"
WITH_SOURCE = '[project]\nurls = { Source = "https://example.org/" }\n'


def test_a_tag_that_is_the_version_can_be_released() -> None:
    assert tag.problems(f"v{checking.version()}", CHANGELOG, WITH_SOURCE) == []


@pytest.mark.parametrize(
    ("name", "changelog", "project", "problem"),
    [
        ("v0.0.0", CHANGELOG, WITH_SOURCE, "the tag is v0.0.0, but __version__ is "),
        (
            f"v{checking.version()}",
            CHANGELOG.replace("2030-01-31", "unreleased"),
            WITH_SOURCE,
            "CHANGELOG.md has no line",
        ),
        (f"v{checking.version()}", CHANGELOG, "[project]\n", "pyproject.toml has no Source"),
    ],
)
def test_a_tag_that_cannot_be_released_is_told_why(
    name: str, changelog: str, project: str, problem: str
) -> None:
    (said,) = tag.problems(name, changelog, project)
    assert said.startswith(problem)
