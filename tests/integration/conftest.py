"""Environments of the applications; and that these tests run only where they are asked for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from .harness import build_wheel, make_environment, workshop

_HERE = Path(__file__).resolve().parent

#: Returns the interpreter that has an application's requirements and the package.
Environments = Callable[[str], Path]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave these tests out of a run that does not name their folder, or a file of it.

    They need a network and the programs of a system, and start processes.
    """
    named = ((config.invocation_params.dir / name.split("::")[0]).resolve() for name in config.args)
    if os.name == "posix" and any(path.is_relative_to(_HERE) for path in named):
        return None
    return True


@pytest.fixture(scope="session")
def environments() -> Environments:
    """Make environments, and keep them: a second run is quick."""
    home = workshop()
    home.mkdir(parents=True, exist_ok=True)
    wheel = build_wheel(home)
    return lambda name: make_environment(name, wheel, home)
