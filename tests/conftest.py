"""What tests share: implementations and libraries in turn, repeatable chance, certificates."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any, Literal

import pytest
from hypothesis import settings

from certificates import Authority, Contexts, Pair
from hooks import by_a_child
from libraries import LIBRARIES, load
from support import Lines, logged
from wsgiref_fast import _impl

# What a shell starts by "&" ignores interrupts, and so do the programs that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Likewise what nohup starts. These tests go on ignoring it; a handler is nothing that the
# programs which they start would inherit.
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)

# The same examples at each run; the time of one says nothing on a busy machine.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


def implementations() -> list[str]:
    """Name what can be tested here: a pure installation has nothing compiled to test."""
    built = all(find_spec(f"wsgiref_fast._speedups.{name}") for name in _impl.KERNELS)
    demanded = os.environ.get("WSGIREF_FAST_IMPL") == "compiled"
    return ["pure", "compiled"] if built or demanded else ["pure"]


_CHOSEN: Literal["pure", "compiled"] = _impl.IMPLEMENTATION


@pytest.fixture(scope="session", params=implementations())
def _implementation_in_turn(request: pytest.FixtureRequest) -> Any:
    """Have all tests run on one implementation before any runs on the other.

    To go back and forth changes classes; 3.13 and later follow a thousand changes of one.
    """
    return request.param


@pytest.fixture
def implementation(_implementation_in_turn: Literal["pure", "compiled"]) -> str:
    """Run a test on each implementation of the kernels."""
    _impl.use(_implementation_in_turn)  # nothing to do where no test has left another
    return _implementation_in_turn


@pytest.fixture(autouse=True)
def _chosen_implementation(request: pytest.FixtureRequest) -> None:
    """Run other tests on the implementation that the process has chosen."""
    if "implementation" not in request.fixturenames:
        _impl.use(_CHOSEN)


@pytest.fixture(params=LIBRARIES)
def lib(request: pytest.FixtureRequest) -> Any:
    """Run a test on the standard library's wsgiref, and on this one."""
    return load(request.param)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Make who signs the certificates of tests."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def server_pair(authority: Authority) -> Pair:
    """Make the certificate of a server on this machine, and its key."""
    return authority.issue("server", "/CN=127.0.0.1")


@pytest.fixture(scope="session")
def contexts(authority: Authority, server_pair: Pair) -> Contexts:
    """Make what such a server and its clients do TLS with."""
    return Contexts(authority, server_pair)


@pytest.fixture
def errors() -> Iterator[Lines]:
    """Keep what a server says of what goes wrong."""
    with logged("wsgiref_fast.server") as lines:
        yield lines


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "last: run after all tests without this mark")
    config.addinivalue_line("markers", "apart: run in a process of its own, where that can be")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that changes classes very often in a child, whose classes nobody needs."""
    if pyfuncitem.get_closest_marker("apart") is None:
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    by_a_child(lambda: pyfuncitem.obj(**arguments))
    return True


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)


def pytest_report_collectionfinish() -> list[str]:
    """Say which modules of tests are left out here, and why."""
    modules = {name: getattr(module, "__dict__", {}) for name, module in sys.modules.items()}
    return [
        f"{name}: {names['LEFT_OUT']}" for name, names in modules.items() if names.get("LEFT_OUT")
    ]
