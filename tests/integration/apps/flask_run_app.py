"""A Flask application that starts itself: ``flask_run_app.py PORT {options}``."""

# Flask is not there where types are checked.
# mypy: disable-error-code="import-not-found, untyped-decorator"

from __future__ import annotations

import json
import os
import sys
from typing import Any

from flask import Flask, request

from wsgiref_fast.flask import run

EDITION = "first"

app = Flask(__name__)


@app.get("/")
def tell() -> Any:
    return {
        "edition": EDITION,
        "process": os.getpid(),
        "debug": app.debug,
        "scheme": request.environ["wsgi.url_scheme"],
        "multithread": request.environ["wsgi.multithread"],
        "software": request.environ["SERVER_SOFTWARE"],
    }


@app.get("/inheritable")
def find_inheritable() -> Any:
    found = []
    for number in range(3, 64):
        try:
            if os.get_inheritable(number):
                found.append(number)
        except OSError:
            pass  # there is none of that number
    return found


@app.get("/broken")
def broken() -> Any:
    raise LookupError("provoked")


if __name__ == "__main__" or "RUN_ANYHOW" in os.environ:
    port, options = json.loads(os.environ.get("RUN_ANYHOW", "null")) or sys.argv[1:]
    run(app, port=int(port), **json.loads(options))
