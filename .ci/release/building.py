"""The source archive, and the wheels that are built of it."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

from interpreters import Interpreter

ROOT = Path(__file__).parent.parent.parent


def run(*command: str | Path, cwd: Path | None = None, **environ: str) -> str:
    """Run a command; return what it prints, or end with that if it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd or ROOT,
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{done.stdout}\nfailed: {' '.join(map(str, command))}")
    return done.stdout


def set_epoch() -> int:
    """Set SOURCE_DATE_EPOCH, unless it is set, to the time of the last commit; return it."""
    if "SOURCE_DATE_EPOCH" not in os.environ:
        command = ["git", "log", "-1", "--format=%ct"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        # Where there is no repository: 1980, the first year that a wheel can name.
        os.environ["SOURCE_DATE_EPOCH"] = done.stdout.strip() or "315532800"
    return int(os.environ["SOURCE_DATE_EPOCH"])


def make_sdist(folder: Path) -> Path:
    """Build the source archive; the same sources give the same bytes."""
    run(sys.executable, "-m", "build", "--sdist", "--outdir", folder, ROOT)
    (sdist,) = folder.glob("*.tar.gz")
    settle(sdist, int(os.environ["SOURCE_DATE_EPOCH"]))
    return sdist


def settle(sdist: Path, epoch: int) -> None:
    """Write an archive anew without what differs from build to build: times, owners, order."""
    new = sdist.with_suffix(".new")
    with (
        tarfile.open(sdist) as old,
        new.open("wb") as file,
        gzip.GzipFile("", "wb", 9, file, mtime=epoch) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            member.mtime, member.uid, member.gid = epoch, 0, 0
            member.uname = member.gname = ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.pax_headers = {}
            archive.addfile(member, old.extractfile(member) if member.isfile() else None)
    new.replace(sdist)


def unpack(sdist: Path, folder: Path) -> Path:
    """Unpack a source archive below a folder; return the folder of the sources."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    return folder / sdist.name.removesuffix(".tar.gz")


def make_environment(interpreter: Interpreter, folder: Path) -> Path:
    """Make a virtual environment with nothing in it; return its interpreter."""
    run(interpreter.path, "-m", "venv", "--without-pip", folder)
    windows = folder / "Scripts" / "python.exe"
    return windows if windows.exists() else folder / "bin" / "python"


def pip(python: Path, *arguments: str | Path, before: Sequence[str] = (), **environ: str) -> str:
    """Run our own pip for the environment of another interpreter."""
    command = [*before, sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    return run(*command, "--python", str(python), *arguments, cwd=None, **environ)


def make_wheel(sdist: Path, interpreter: Interpreter, wish: str, folder: Path) -> Path:
    """Build a wheel of the source archive, without a network where that can be taken away.

    What the build requires is installed before.
    """
    python = make_environment(interpreter, folder / f"build-{interpreter.name}-{wish}")
    pip(python, "install", *_build_requirements())
    out = folder / f"built-{interpreter.name}-{wish}"
    options = ["--no-index", "--no-build-isolation", "--no-deps", "--no-cache-dir"]
    options += ["--wheel-dir", str(out)]
    # -g0: the folder's name, by chance, would be in what debuggers read.
    environ = {"WSGIREF_FAST_IMPL": wish, "CPPFLAGS": "-g0"}
    pip(python, "wheel", *options, sdist, before=_without_network(), **environ)
    (wheel,) = out.iterdir()
    return wheel


def repair(wheel: Path, folder: Path) -> Path:
    """Put a wheel into the folder, on Linux named by the oldest C library that it runs with."""
    before = set(folder.glob("*.whl"))
    if sys.platform == "linux" and not wheel.name.endswith("-any.whl"):
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        command = [sys.executable, "-m", "auditwheel", "repair"]
        run(*command, "--wheel-dir", folder, wheel, PATH=path)
    else:
        shutil.copy(wheel, folder)
    (new,) = set(folder.glob("*.whl")) - before
    return new


def _build_requirements() -> list[str]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        requirements: list[str] = tomllib.load(file)["build-system"]["requires"]
    return requirements


def _without_network() -> list[str]:
    """Return what to put before a command so that it reaches no network, if there is a way."""
    command = ["unshare", "--map-root-user", "--net"]
    try:
        works = subprocess.run([*command, "true"], capture_output=True).returncode == 0
    except OSError:
        works = False
    return command if works else []
