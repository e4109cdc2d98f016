"""Python's own ``wsgiref``, name for name, faster and safer.

Import a module of it in place of the original's (``from wsgiref_fast.simple_server import
make_server``), or call `install` once, before anything else imports ``wsgiref``.
"""

from __future__ import annotations

from ._impl import IMPLEMENTATION

__version__ = "0.1.0"
__all__ = ["IMPLEMENTATION", "__version__"]
