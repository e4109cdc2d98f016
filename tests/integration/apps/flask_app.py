"""A Flask application behind `wsgiref.simple_server.make_server`."""

# Flask is not there where types are checked.
# mypy: disable-error-code="import-not-found, untyped-decorator"

from __future__ import annotations

import hashlib
import io
import os
import sys
from collections.abc import Iterator
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from flask import Flask, jsonify, make_response, request, send_file, session
from witness import Witness

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "PURGE", "QUERY")

app = Flask(__name__)
app.secret_key = "not a secret"
app.config["MAX_CONTENT_LENGTH"] = 4 << 20
app.wsgi_app = Witness(app.wsgi_app)


@app.get("/witness")
def tell() -> Any:
    return jsonify(request.environ["witness"])


@app.route("/echo", methods=METHODS, provide_automatic_options=False)
def echo() -> Any:
    return jsonify(
        method=request.method,
        query=request.args.to_dict(flat=False),
        sent=request.get_data(as_text=True),
        length=request.content_length,
        protocol=request.environ["SERVER_PROTOCOL"],
    )


@app.post("/upload")
def upload() -> Any:
    files = {
        name: {"name": file.filename, "sha256": hashlib.sha256(file.read()).hexdigest()}
        for name, file in request.files.items()
    }
    return jsonify(form=request.form.to_dict(), files=files)


@app.post("/digest")
def digest() -> Any:
    return jsonify(sha256=hashlib.sha256(request.get_data()).hexdigest())


@app.post("/unread")
def unread() -> Any:
    return "not looked at", 403


@app.get("/stream")
def stream() -> Any:
    """Send a line, then what comes out of a FIFO, then many blocks."""
    fifo = request.args["fifo"]

    def blocks() -> Iterator[bytes]:
        yield b"first\n"
        with open(fifo, "rb") as source:
            yield source.read()
        for _ in range(50):
            yield b"." * 1000

    return app.response_class(blocks(), mimetype="text/plain")


@app.get("/file")
def file() -> Any:
    """Send a file with a validator: a client may ask for a part, or if it has changed."""
    content = io.BytesIO(bytes(range(256)) * 1000)
    return send_file(content, "application/octet-stream", conditional=True, etag="v1")


@app.get("/visits")
def visits() -> Any:
    session["visits"] = session.get("visits", 0) + 1
    response = make_response(str(session["visits"]))
    response.set_cookie("colour", "green")
    return response


@app.delete("/thing")
def delete() -> Any:
    return "", 204


@app.get("/broken")
def broken() -> Any:
    raise LookupError("provoked")


class ThreadingServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True


def main(protocol: str, threads: bool) -> None:
    handler = type("Handler", (WSGIRequestHandler,), {"protocol_version": protocol})
    server_class = ThreadingServer if threads else WSGIServer
    with make_server("127.0.0.1", 0, app, server_class, handler) as server:
        print(f"listening on {server.server_port}, process {os.getpid()}")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("stopped")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:] == ["threads"])
