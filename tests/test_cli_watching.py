"""What is told of changed files: which ones, once, and nothing of what nobody edits."""

from __future__ import annotations

import importlib.util
import os
import py_compile
import queue
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support import PATIENCE, open_descriptors, wait_until
from wsgiref_fast._cli.watching import Tree, Watch, describe

MEANS = ["polling", "watchfiles"] if importlib.util.find_spec("watchfiles") else ["polling"]


@pytest.fixture(params=MEANS)
def means(request: pytest.FixtureRequest) -> Any:
    """Watch by each means that there is."""
    return request.param


class Changes:
    """What a watch has told, as paths below a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._told: queue.Queue[list[str]] = queue.Queue()

    def add(self, paths: list[str]) -> None:
        self._told.put([Path(path).relative_to(self._folder).as_posix() for path in paths])

    def next(self) -> list[str]:
        return self._told.get(timeout=PATIENCE)

    def is_empty(self) -> bool:
        return self._told.empty()


@contextmanager
def watching(folder: Path, means: str) -> Iterator[Changes]:
    changes = Changes(folder)
    watch = Watch(Tree([str(folder)]), changes.add, interval=0.02, polls=means == "polling")
    watch.start()
    try:
        assert watch.means == means
        yield changes
    finally:
        watch.stop()


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


# A watch.

EDITS: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "written": (lambda folder: write(folder / "a.py", "longer"), ["a.py"]),
    "new": (lambda folder: write(folder / "c.py"), ["c.py"]),
    "new in a new folder": (lambda folder: write(folder / "new" / "c.py"), ["new/c.py"]),
    "removed": (lambda folder: (folder / "a.py").unlink(), ["a.py"]),
    "renamed": (lambda folder: (folder / "a.py").rename(folder / "c.py"), ["a.py", "c.py"]),
    "written by renaming": (
        lambda folder: write(folder / "a.py~", "x").replace(folder / "a.py"),
        ["a.py"],
    ),
    "in a folder that is renamed": (
        lambda folder: (folder / "inner").rename(folder / "other"),
        ["inner/b.py", "other/b.py"],
    ),
    "in a folder that leaves": (
        lambda folder: (folder / "inner").rename(folder.parent / "elsewhere"),
        ["inner/b.py"],
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_file_is_told_of_that_is(edit: str, tmp_path: Path, means: str) -> None:
    folder = tmp_path / "code"
    write(folder / "a.py")
    write(folder / "inner" / "b.py")
    with watching(folder, means) as changes:
        act, expected = EDITS[edit]
        act(folder)
        told: list[str] = []
        while sorted(set(told)) != expected:
            told += changes.next()


def test_nothing_is_told_of_what_nobody_edits(tmp_path: Path, means: str) -> None:
    write(tmp_path / "venv" / "pyvenv.cfg")
    with watching(tmp_path, means) as changes:
        for name in (
            *(".git/hook.py", ".hidden/a.py", "node_modules/a.py", "__pycache__/a.py"),
            *("venv/lib/a.py", "lib/site-packages/a.py", "a.txt", "a.pyc", "data/a.json"),
        ):
            write(tmp_path / name)
        write(tmp_path / "inner" / "last.py")
        assert changes.next() == ["inner/last.py"]
    assert changes.is_empty()


def test_many_changes_in_a_row_are_told_at_once(tmp_path: Path, means: str) -> None:
    names = [f"{number:02}.py" for number in range(40)]
    with watching(tmp_path, means) as changes:
        for name in names:
            write(tmp_path / name)
        told = changes.next()
        calls = 1
        while sorted(set(told)) != names:
            told += changes.next()
            calls += 1
    assert calls < len(names) / 2


def test_a_watch_ends_and_leaves_nothing_open(tmp_path: Path, means: str) -> None:
    with watching(tmp_path, means):
        pass  # what is imported and made once
    before = open_descriptors()
    with watching(tmp_path, means):
        pass
    wait_until(lambda: open_descriptors() <= before)


def stand_in(monkeypatch: pytest.MonkeyPatch, watch: Callable[..., Iterator[object]]) -> None:
    module = types.ModuleType("watchfiles")
    module.__dict__["watch"] = watch
    monkeypatch.setitem(sys.modules, "watchfiles", module)


def test_where_watchfiles_fails_it_polls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def watch(*_: object, **__: object) -> Iterator[object]:
        raise OSError("no space left for watches")
        yield

    stand_in(monkeypatch, watch)
    changes = Changes(tmp_path)
    watcher = Watch(Tree([str(tmp_path)]), changes.add, interval=0.02)
    watcher.start()
    try:
        assert watcher.means == "polling, as watchfiles failed: no space left for watches"
        write(tmp_path / "a.py")
        assert changes.next() == ["a.py"]
    finally:
        watcher.stop()


@pytest.mark.parametrize(
    ("source", "means"),
    [
        ("import nothing_such", "polling, as watchfiles cannot be loaded: No module named 'noth"),
        ("raise ImportError('broken')", "polling, as watchfiles cannot be loaded: broken"),
    ],
)
def test_a_broken_watchfiles_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, means: str
) -> None:
    write(tmp_path / "watchfiles.py", source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "watchfiles", raising=False)
    assert Watch(Tree([str(tmp_path)]), print).means.startswith(means)


def test_without_watchfiles_it_polls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "watchfiles", raising=False)
    assert Watch(Tree([str(tmp_path)]), print).means == "polling"


# A tree.


def test_a_tree_that_is_looked_at_twice_has_not_changed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.py")
    tree = Tree([str(tmp_path)])
    assert tree.look() == []
    path.write_text("x", "utf-8")
    assert tree.look() == [str(path)]
    assert tree.look() == []


def test_a_folder_that_is_named_is_watched_whatever_it_is(tmp_path: Path) -> None:
    write(tmp_path / ".venv" / "pyvenv.cfg")
    write(tmp_path / ".venv" / "a.py")
    assert len(Tree([str(tmp_path)])) == 0
    assert len(Tree([str(tmp_path), str(tmp_path / ".venv")])) == 1


def test_a_folder_that_is_named_twice_is_looked_at_once(tmp_path: Path) -> None:
    write(tmp_path / "inner" / "a.py")
    tree = Tree([str(tmp_path), str(tmp_path / "inner"), f"{tmp_path}/inner/..", str(tmp_path)])
    assert len(tree) == 1
    (tmp_path / "inner" / "a.py").unlink()
    assert tree.look() == [str(tmp_path / "inner" / "a.py")]


def test_a_folder_that_goes_does_not_end_the_watch(tmp_path: Path) -> None:
    path = write(tmp_path / "code" / "a.py")
    tree = Tree([str(path.parent)])
    path.unlink()
    path.parent.rmdir()
    assert tree.look() == [str(path)]
    write(path)
    assert tree.look() == [str(path)]


@pytest.mark.parametrize("name", ["missing", "file"])
def test_what_is_no_folder_is_named(tmp_path: Path, name: str) -> None:
    write(tmp_path / "file")
    with pytest.raises(NotADirectoryError, match=f"there is no folder '.*{name}'"):
        Tree([str(tmp_path), str(tmp_path / name)])


def test_what_is_compiled_of_another_version_is_not_taken_for_the_new_one(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a.py", "1"), write(tmp_path / "b.py", "1")
    for path in (first, second):
        os.utime(path, ns=(10**18, 10**18))
        py_compile.compile(str(path))
    tree = Tree([str(tmp_path)])
    for path in (first, second):
        path.write_text("2", "utf-8")
    os.utime(first, ns=(10**18, 10**18 + 1))  # in the same second, of the same size
    assert tree.look() == [str(first), str(second)]
    assert not Path(importlib.util.cache_from_source(str(first))).exists()
    assert Path(importlib.util.cache_from_source(str(second))).exists()


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "code" / "a.py")
    os.symlink(tmp_path, tmp_path / "code" / "loop", target_is_directory=True)
    os.symlink(tmp_path / "nowhere", tmp_path / "code" / "broken.py")
    assert len(Tree([str(tmp_path / "code")])) == 1


# What is said.


def test_one_line_names_the_first_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    inside, outside = str(tmp_path / "inner" / "a.py"), os.path.abspath(os.sep)
    assert describe([inside]) == os.path.join("inner", "a.py")
    assert describe([inside, outside, outside]) == f"{os.path.join('inner', 'a.py')} and 2 more"
    assert describe([outside]) == outside
