"""Install `wsgiref_fast` in a restart of a program that ``python -m wsgiref_fast run`` started.

A development server that reloads starts its program anew, by a command line of its own.
The launcher has put this folder on ``PYTHONPATH`` and the program into the environment; the
true ``sitecustomize``, if there is one, follows.
"""

import importlib.util
import os
import sys

_here = os.path.dirname(__file__)
sys.path[:] = [entry for entry in sys.path if entry != _here]
_this = sys.modules.pop("sitecustomize")

if os.environ.get("WSGIREF_FAST_RUN") in getattr(sys, "orig_argv", ()) and importlib.util.find_spec(
    "wsgiref_fast"
):
    import wsgiref_fast

    wsgiref_fast.install()

if importlib.util.find_spec("sitecustomize"):
    __import__("sitecustomize")
else:
    sys.modules["sitecustomize"] = _this  # the import system asks for it
