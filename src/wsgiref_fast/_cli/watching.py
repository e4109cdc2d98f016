"""What has changed below some folders: told by `watchfiles` if it is installed, else by polling."""

from __future__ import annotations

import os
import threading
import time
from importlib.util import cache_from_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Folders in which nobody edits; besides hidden ones and virtual environments.
_IGNORED = {"__pycache__", "node_modules", "site-packages"}

#: What only a virtual environment has.
_MARK = "pyvenv.cfg"

#: Seconds without a change after which a series of them is over, and how many are waited for.
_QUIET = 0.1
_MOST_WAITS = 30

#: How many times what a look costs passes until the next one: 2 % of one processor.
_REST = 50

#: What tells one version of a file from another: when it was written, its size, its number.
_Version = tuple[int, int, int]


class Tree:
    """The Python files below some folders, as they were when it was last looked.

    Folders that are hidden, virtual environments, and `_IGNORED` are left out, except where
    they are named themselves. Folders behind symbolic links are not followed.

    Args:
        folders: paths.

    Raises:
        NotADirectoryError: one of them is not there, or is no folder.

    """

    def __init__(self, folders: list[str]) -> None:
        self.folders = sorted({os.path.abspath(folder) for folder in folders})
        for folder in self.folders:
            if not os.path.isdir(folder):
                raise NotADirectoryError(f"there is no folder {folder!r}")
        #: Seconds that the last look has taken.
        self.cost = 0.0
        self._versions = self._scan()

    def look(self) -> list[str]:
        """Return the paths of the files that are new, changed or gone since the last look."""
        before, self._versions = self._versions, self._scan()
        if before == self._versions:
            return []
        changed = sorted({path for path, _ in before.items() ^ self._versions.items()})
        for path in changed:
            if path in before and path in self._versions:
                _forget_bytecode(path, before[path], self._versions[path])
        return changed

    def __len__(self) -> int:
        return len(self._versions)

    def __str__(self) -> str:
        count = len(self._versions)
        return f"{count} file{'s' * (count != 1)} in {', '.join(self.folders)}"

    def _scan(self) -> dict[str, _Version]:
        begin = time.perf_counter()
        found: dict[str, _Version] = {}
        left = list(self.folders)
        while left:
            left += _read_folder(left.pop(), found)
        self.cost = time.perf_counter() - begin
        return found

    def is_of_interest(self, path: str) -> bool:
        """Tell whether something at a path can be, or hold, a file of the tree."""
        folder = next((f for f in self.folders if path.startswith(os.path.join(f, ""))), None)
        if folder is None:
            return True  # it may have another name: of a link, or in other letters
        *above, name = path[len(folder) :].lstrip(os.sep).split(os.sep)
        if any(_is_ignored(part) for part in above):
            return False
        return name.endswith(".py") or not (_is_ignored(name) or os.path.isfile(path))


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name in _IGNORED


def _read_folder(folder: str, found: dict[str, _Version]) -> list[str]:
    """Add a folder's files to those found; return the folders in it."""
    inner = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if name.endswith(".py"):
                    _add(entry, found)
                elif _is_ignored(name) or not entry.is_dir(follow_symlinks=False):
                    continue
                elif not os.path.exists(os.path.join(entry.path, _MARK)):
                    inner.append(entry.path)
    except OSError:
        pass  # it has gone meanwhile, or is not ours to read
    return inner


def _add(entry: os.DirEntry[str], found: dict[str, _Version]) -> None:
    try:
        if entry.is_file():
            status = entry.stat()
            found[entry.path] = (status.st_mtime_ns, status.st_size, status.st_ino)
    except OSError:
        pass  # it has gone meanwhile


def _forget_bytecode(path: str, before: _Version, now: _Version) -> None:
    """Remove what is compiled of a file where Python would take it for the new version's.

    It knows them apart by the size and the second: two changes within one look the same.
    """
    if (before[0] // 10**9, before[1]) == (now[0] // 10**9, now[1]):
        try:
            os.unlink(cache_from_source(path))
        except (OSError, NotImplementedError):
            pass  # it was not compiled, or nothing ever is


class Watch:
    """Tells of changes, from a thread of its own.

    Args:
        tree: what is watched.
        tell: called with the paths that have changed, once they have come to rest.
        interval: seconds between two looks where it polls; more where a look costs much.
        polls: whether it polls though `watchfiles` is installed.

    """

    def __init__(
        self,
        tree: Tree,
        tell: Callable[[list[str]], object],
        interval: float = 0.5,
        polls: bool = False,
    ) -> None:
        self._tree = tree
        self._tell = tell
        self._interval = interval
        self._end = threading.Event()
        self._is_watching = threading.Event()
        #: What tells of changes, in words; an error of `watchfiles` changes it.
        self.means = "polling"
        self._notices = None if polls else self._find_notices()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Begin, and wait until no change can be missed."""
        self._thread.start()
        self._is_watching.wait()

    def stop(self) -> None:
        """End, and wait for that."""
        self._end.set()
        self._thread.join()

    # How `watchfiles` asks whether to end: the first time, it watches.

    def is_set(self) -> bool:
        """Tell whether it is to end."""
        self._is_watching.set()
        return self._end.is_set()

    def _find_notices(self) -> Iterator[object] | None:
        """Return what gives something after each change that `watchfiles` hears of."""
        try:
            from watchfiles import watch
        except ModuleNotFoundError as error:
            if error.name == "watchfiles":
                return None
            self.means = f"polling, as watchfiles cannot be loaded: {error}"
            return None
        except ImportError as error:
            self.means = f"polling, as watchfiles cannot be loaded: {error}"
            return None
        self.means = "watchfiles"
        notices: Iterator[object] = watch(
            *self._tree.folders,
            watch_filter=lambda _, path: self._tree.is_of_interest(path),
            stop_event=self,
            raise_interrupt=False,
            ignore_permission_denied=True,
        )
        return notices

    def _run(self) -> None:
        if self._notices is not None:
            try:
                for _ in self._notices:
                    self._look()
            except Exception as error:  # such as no more watches, of the system or the user
                self.means = f"polling, as watchfiles failed: {error}"
        # A change since the tree was made is found by the first look.
        self._is_watching.set()
        while not self._end.wait(max(self._interval, _REST * self._tree.cost)):
            self._look()

    def _look(self) -> None:
        """Tell of what has changed, if anything has, once nothing more changes."""
        changed = self._tree.look()
        if not changed:
            return
        paths = dict.fromkeys(changed)
        for _ in range(_MOST_WAITS):
            if self._end.wait(_QUIET):
                return
            more = self._tree.look()
            if not more:
                break
            paths.update(dict.fromkeys(more))
        self._tell(list(paths))


def describe(paths: list[str]) -> str:
    """Name changed files in one line: the first, and how many there are besides."""
    first, *others = (_shorten(path) for path in paths)
    return f"{first} and {len(others)} more" if others else first


def _shorten(path: str) -> str:
    """Return a path as it is seen from the current directory, where that is shorter."""
    try:
        relative = os.path.relpath(path)
    except (OSError, ValueError):  # no current directory any more; another drive
        return path
    return relative if not relative.startswith(os.pardir) else path
