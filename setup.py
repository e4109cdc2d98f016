"""Build the compiled kernels where that can be done; all else is in pyproject.toml.

``WSGIREF_FAST_IMPL`` chooses, at build time as at import: ``auto`` (the default) builds
the kernels and goes on without them where that fails, ``pure`` leaves them out,
``compiled`` fails where they cannot be had.
"""

import os

from setuptools import Extension, setup

KERNELS = ["headers"]

wish = os.environ.get("WSGIREF_FAST_IMPL", "auto")
if wish not in {"auto", "pure", "compiled"}:
    raise SystemExit(f"WSGIREF_FAST_IMPL must be auto, pure or compiled, not {wish!r}")

setup(
    ext_modules=[
        Extension(
            f"wsgiref_fast._speedups.{name}",
            [f"src/_speedups/{name}.pyx"],
            optional=wish == "auto",
        )
        for name in (KERNELS if wish != "pure" else [])
    ],
    # Without this the generated C lands beside the sources.
    options={"build_ext": {"cython_c_in_temp": True}},
)
