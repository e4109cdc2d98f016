"""A Bottle application on the package's adapter: ``bottle_adapter_app.py PORT {options}``."""

# Bottle is not there where types are checked.
# mypy: disable-error-code="import-not-found, untyped-decorator"

from __future__ import annotations

import json
import os
import sys
from typing import Any

import bottle

EDITION = "first"


@bottle.get("/")
def tell() -> Any:
    environ = bottle.request.environ
    return {
        "edition": EDITION,
        "process": os.getpid(),
        "scheme": environ["wsgi.url_scheme"],
        "multithread": environ["wsgi.multithread"],
        "software": environ["SERVER_SOFTWARE"],
    }


@bottle.get("/slow")
def slow() -> Any:
    """Answer once somebody has written to a pipe."""
    print("waiting", flush=True)
    with open("fifo", "rb") as fifo:
        return fifo.read()


if __name__ == "__main__":
    options = json.loads(sys.argv[2])
    bottle.run(server="wsgiref_fast.bottle:Server", port=sys.argv[1], **options)
