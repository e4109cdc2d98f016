"""Choose the kernels: compiled or pure. Nothing else in the package knows of both.

The environment variable ``WSGIREF_FAST_IMPL`` wishes (``auto``, ``pure`` or ``compiled``);
`IMPLEMENTATION` says what came of it. Either all kernels are compiled or none is.
Callers reach a kernel through this module at each call (``_impl.serialize_headers``).
"""

from __future__ import annotations

import os
import sys

from ._pure import headers as _pure_headers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

#: Each kernel module and the functions of it that have a twin.
KERNELS = {"headers": ("validate_headers", "serialize_headers")}

IMPLEMENTATION: Literal["pure", "compiled"] = "pure"

validate_headers = _pure_headers.validate_headers
serialize_headers = _pure_headers.serialize_headers


def use(implementation: Literal["pure", "compiled"]) -> None:
    """Bind every kernel to one implementation.

    Raises:
        ImportError: the compiled kernels are not there or do not load; nothing is changed.

    """
    global IMPLEMENTATION
    home = "_pure" if implementation == "pure" else "_speedups"
    modules = {name: _import(f"{__package__}.{home}.{name}") for name in KERNELS}
    for name, functions in KERNELS.items():
        for function in functions:
            globals()[function] = getattr(modules[name], function)
    IMPLEMENTATION = implementation


def _import(name: str) -> Any:
    __import__(name)  # importlib, at every start, costs more than the kernel
    return sys.modules[name]


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
