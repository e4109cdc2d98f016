"""What all tests share: each implementation of the kernels in turn, and repeatable chance."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Literal, cast

import pytest
from hypothesis import settings

from wsgiref_fast import _impl

# The same examples at each run; the time of one says nothing on a busy machine.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


def implementations() -> list[str]:
    """Name what can be tested here: a pure installation has nothing compiled to test."""
    built = all(find_spec(f"wsgiref_fast._speedups.{name}") for name in _impl.KERNELS)
    demanded = os.environ.get("WSGIREF_FAST_IMPL") == "compiled"
    return ["pure", "compiled"] if built or demanded else ["pure"]


@pytest.fixture(params=implementations())
def implementation(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run a test on each implementation of the kernels."""
    before = _impl.IMPLEMENTATION
    name = cast(Literal["pure", "compiled"], request.param)
    _impl.use(name)
    yield name
    _impl.use(before)


def pytest_report_collectionfinish() -> list[str]:
    """Say which modules of tests are left out here, and why."""
    modules = {name: getattr(module, "__dict__", {}) for name, module in sys.modules.items()}
    return [
        f"{name}: {names['LEFT_OUT']}" for name, names in modules.items() if names.get("LEFT_OUT")
    ]
