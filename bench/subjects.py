"""What is compared: the standard library's modules, and ours on each kind of kernel."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from wsgiref_fast import _impl

_MODULES = ("handlers", "headers", "simple_server", "util", "validate")


@dataclass
class Subject:
    """One implementation under its name: ``stdlib``, ``pure`` or ``compiled``."""

    name: str
    handlers: Any
    headers: Any
    simple_server: Any
    util: Any
    validate: Any


def load(name: str) -> Subject:
    """Return an implementation; where it is ours its kernels are in use from now on."""
    package = "wsgiref" if name == "stdlib" else "wsgiref_fast"
    subject = Subject(name, *(import_module(f"{package}.{module}") for module in _MODULES))
    activate(subject)
    return subject


def activate(subject: Subject) -> None:
    """Have ours run on the kernels that the subject is named after."""
    if subject.name == "pure":
        _impl.use("pure")
    elif subject.name == "compiled":
        _impl.use("compiled")


def names() -> list[str]:
    """Name what can be timed here: a pure installation has nothing compiled."""
    built = all(find_spec(f"wsgiref_fast._speedups.{name}") for name in _impl.KERNELS)
    demanded = os.environ.get("WSGIREF_FAST_IMPL") == "compiled"
    return ["stdlib", "pure", "compiled"] if built or demanded else ["stdlib", "pure"]
