"""Build the compiled kernels where that can be done; all else is in pyproject.toml.

``WSGIREF_FAST_IMPL`` chooses, at build time as at import: ``auto`` (the default) builds
the kernels and goes on without them where that fails, ``pure`` leaves them out,
``compiled`` fails where they cannot be had.
"""

import os
import re
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

KERNELS = ["headers", "request", "environ", "response", "run", "filewrapper", "connection"]

wish = os.environ.get("WSGIREF_FAST_IMPL", "auto")
if wish not in {"auto", "pure", "compiled"}:
    raise SystemExit(f"WSGIREF_FAST_IMPL must be auto, pure or compiled, not {wish!r}")

# setuptools' command is Cython's own where that can be imported.
has_cython = any(option[0] == "cython-c-in-temp" for option in build_ext.user_options)

# An index shows it with no file beside it: charts go, and links to files become their words.
readme = Path("README.md").read_text("utf-8")
readme = re.sub(r"<picture>.*?</picture>\n*", "", readme, flags=re.DOTALL)
readme = re.sub(r"!?\[([^]]+)\]\((?!https?:|#)[^)]+\)", r"\1", readme)

setup(
    long_description=readme,
    long_description_content_type="text/markdown",
    ext_modules=[
        Extension(
            f"wsgiref_fast._speedups.{name}",
            [f"src/_speedups/{name}.pyx"],
            optional=wish == "auto",
        )
        for name in (KERNELS if wish != "pure" else [])
    ],
    # Without this the generated C lands beside the sources; without Cython there is none.
    options={"build_ext": {"cython_c_in_temp": True} if has_cython else {}},
)
