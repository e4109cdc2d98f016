"""Choose the kernels: compiled or pure. Nothing else in the package knows of both.

The environment variable ``WSGIREF_FAST_IMPL`` wishes (``auto``, ``pure`` or ``compiled``);
`IMPLEMENTATION` says what came of it. Either all kernels are compiled or none is.
Callers reach a kernel through this module at each call (``_impl.serialize_head``); a class
that has kernels as methods is decorated with `accelerated`.
"""

from __future__ import annotations

import os
import sys

from . import _hooks
from ._pure import environ as _pure_environ
from ._pure import headers as _pure_headers
from ._pure import request as _pure_request
from ._pure import response as _pure_response
from ._pure import run as _pure_run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal, TypeVar

    Class = TypeVar("Class", bound=type)

#: Each kernel module and the functions of it that have a twin.
KERNELS: dict[str, tuple[str, ...]] = {
    "headers": (
        *("validate_headers", "serialize_headers", "to_bytes", "get", "get_item", "contains"),
        *("set_item", "delete_item", "setdefault", "add_header", "take_list"),
    ),
    "filewrapper": ("next_block",),
    "request": ("parse_request_line", "parse_section"),
    "environ": ("fill_environ",),
    "response": ("serialize_head",),
    "connection": ("heed",),
    "run": ("set_up", "start", "finish", "write", "parse", "copy_environ", "serve", "accept"),
}

#: Those that few programs need: bound once `load` is called, since loading them takes time.
LATE = frozenset({"connection"})

IMPLEMENTATION: Literal["pure", "compiled"] = "pure"

validate_headers = _pure_headers.validate_headers
serialize_headers = _pure_headers.serialize_headers
parse_request_line = _pure_request.parse_request_line
parse_section = _pure_request.parse_section
fill_environ = _pure_environ.fill_environ
serialize_head = _pure_response.serialize_head
set_up = _pure_run.set_up
start = _pure_run.start
finish = _pure_run.finish
write = _pure_run.write
parse = _pure_run.parse
copy_environ = _pure_run.copy_environ
serve = _pure_run.serve
accept = _pure_run.accept
heed: Callable[[Any, list[tuple[int, int]]], None]

#: The kernel modules that are bound by now.
_bound = set(KERNELS) - LATE

#: Classes with kernels as methods: class, method, kernel module, kernel.
_methods: list[tuple[type, str, str, str]] = []


def use(implementation: Literal["pure", "compiled"]) -> None:
    """Bind every kernel to one implementation.

    Raises:
        ImportError: the compiled kernels are not there or do not load; nothing is changed.

    """
    global IMPLEMENTATION
    modules = {name: _load(name, implementation) for name in KERNELS if name in _bound}
    for name in modules:
        for function in KERNELS[name]:
            if function in globals():
                globals()[function] = getattr(modules[name], function)
    IMPLEMENTATION = implementation  # pyright: ignore[reportConstantRedefinition]
    for owner, method, name, function in _methods:
        _bind(owner, method, getattr(modules[name], function))


def load(name: str) -> None:
    """Bind a kernel module that is not bound from the beginning.

    Raises:
        ImportError: it does not load, though the others did.

    """
    if name not in _bound:
        module = _load(name, IMPLEMENTATION)
        globals().update({function: getattr(module, function) for function in KERNELS[name]})
        _bound.add(name)


def accelerated(owner: Class) -> Class:
    """Have those methods of a class that are reference kernels follow the choice.

    The class itself is plain Python: its methods can be replaced as any others.
    """
    kernels = {
        getattr(_load(name, "pure"), function): (name, function)
        for name, functions in KERNELS.items()
        if name not in LATE
        for function in functions
    }
    _hooks.note(owner)
    for method, value in list(vars(owner).items()):
        if type(value) is _FUNCTION and value in kernels:
            name, function = kernels[value]
            _methods.append((owner, method, name, function))
            _bind(owner, method, getattr(_load(name, IMPLEMENTATION), function))
    return owner


_FUNCTION = type(use)


def _bind(owner: type, method: str, kernel: Any) -> None:
    # 3.13 and later no longer follow a class that was changed a thousand times: the short
    # cuts, which have to know of changes, end there.
    if vars(owner).get(method) is not kernel:
        setattr(owner, method, kernel)
    _hooks.renote(owner, method)


def _load(name: str, implementation: str) -> Any:
    home = "_pure" if implementation == "pure" else "_speedups"
    full_name = f"{__package__}.{home}.{name}"
    __import__(full_name)  # importlib, at every start, costs more than the kernel
    return sys.modules[full_name]


def _choose(wish: str) -> None:
    """Carry out the wish, and say so where a kernel that is there will not load."""
    if wish not in ("auto", "pure", "compiled"):
        raise ImportError(f"WSGIREF_FAST_IMPL must be auto, pure or compiled, not {wish!r}")
    if wish == "pure":
        return
    try:
        use("compiled")
    except ModuleNotFoundError as error:
        if wish == "compiled":
            raise ImportError(
                "WSGIREF_FAST_IMPL=compiled, but wsgiref_fast was installed without its "
                f"compiled kernels ({error.name} is missing)"
            ) from error
    except ImportError as error:
        if wish == "compiled":
            raise
        import warnings

        warnings.warn(
            f"wsgiref_fast's compiled kernels do not load ({error}); pure Python is used",
            RuntimeWarning,
            stacklevel=2,
        )


_choose(os.environ.get("WSGIREF_FAST_IMPL", "auto"))
