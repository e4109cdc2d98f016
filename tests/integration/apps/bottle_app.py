"""A Bottle application on Bottle's default server."""

# Bottle is not there where types are checked.
# mypy: disable-error-code="import-not-found, untyped-decorator"

from __future__ import annotations

import hashlib
import sys
from typing import Any

import bottle
from bottle import request
from witness import Witness

app = bottle.Bottle()


@app.get("/witness")
def tell() -> Any:
    return request.environ["witness"]


@app.post("/digest")
def digest() -> Any:
    body = request.body.read()
    return {"length": len(body), "sha256": hashlib.sha256(body).hexdigest()}


@app.post("/form")
def form() -> Any:
    upload = request.files.get("upload")
    return {
        "colour": request.forms.getunicode("colour"),
        "name": upload.raw_filename,
        "sha256": hashlib.sha256(upload.file.read()).hexdigest(),
    }


@app.get("/static/<name>")
def static(name: str) -> Any:
    return bottle.static_file(name, root=".")


@app.get("/wrapped")
def wrapped() -> Any:
    """Send a file by ``wsgi.file_wrapper``, and say what that is."""
    wrapper = request.environ["wsgi.file_wrapper"]
    bottle.response.set_header("X-Wrapper", wrapper.__module__)
    return wrapper(open("asset.bin", "rb"), 1000)


@app.get("/lines")
def lines() -> Any:
    for number in range(1000):
        yield f"{number}\n"


@app.get("/broken")
def broken() -> Any:
    raise LookupError("provoked")


if __name__ == "__main__":
    bottle.run(Witness(app), host="127.0.0.1", port=int(sys.argv[1]))
