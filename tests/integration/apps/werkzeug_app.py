"""Werkzeug's server: ``werkzeug_app.py plain|faster|installed one|threads|tls CERT KEY|unix PATH``.

The application tells what it was given, and can do what applications do to servers.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from typing import Any

from werkzeug import serving

from wsgiref_fast import werkzeug as ours
from wsgiref_fast.http_server import RequestMixin


def application(environ: dict[str, Any], start_response: Any) -> Any:
    """Answer by the path."""
    path = environ["PATH_INFO"]
    headers = [("Content-Type", "text/plain"), ("X-Kind", "first"), ("X-Kind", "second")]
    if path == "/empty":
        start_response("204 No Content", [])
        return []
    if path == "/unchanged":
        start_response("304 Not Modified", [("ETag", '"1"')])
        return []
    if path == "/moved":
        start_response("302 Found", [*headers, ("Location", "/"), ("Content-Length", "0")])
        return [b""]
    if path == "/stream":
        start_response("200 OK", headers)
        return (block for block in (b"", b"first\n", b"", b"second\n" * 1000))
    if path == "/write":
        start_response("200 OK", headers)(b"written\n")
        return [b"returned\n"]
    if path == "/broken":
        raise LookupError("provoked")
    if path == "/cut":
        start_response("200 OK", headers)
        return _cut()
    if path == "/unread":
        start_response("413 Too Large", [*headers, ("Content-Length", "3")])
        return [b"no\n"]
    return _tell(environ, start_response, headers)


def _cut() -> Any:
    yield b"begun\n"
    raise LookupError("provoked late")


def _tell(environ: dict[str, Any], start_response: Any, headers: Any) -> list[bytes]:
    try:
        length = None if environ.get("wsgi.input_terminated") else environ.get("CONTENT_LENGTH")
        chunked = "wsgi.input_terminated" in environ
        body = environ["wsgi.input"].read(-1 if chunked else int(length or 0)).decode("latin-1")
    except (OSError, ValueError) as error:
        body = repr(error)
    told = {key: value for key, value in environ.items() if isinstance(value, (str, bool, tuple))}
    for name in ("REMOTE_PORT", "SERVER_PORT"):
        told.pop(name, None)
    told["input"] = type(environ["wsgi.input"]).__name__
    told["socket"] = type(environ["werkzeug.socket"]).__name__
    text = json.dumps([body, told], sort_keys=True).encode()
    start_response("200 OK", [*headers, ("Content-Length", str(len(text)))])
    return [text]


def main(kind: str, way: str, *more: str) -> None:
    """Serve until an interrupt."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    if kind == "installed":
        ours.install()
    server = serving.make_server(
        f"unix://{more[0]}" if way == "unix" else "127.0.0.1",
        0,
        application,
        threaded=way != "one",
        request_handler=ours.WSGIRequestHandler if kind == "faster" else None,
        ssl_context=(more[0], more[1]) if way == "tls" else None,
    )
    handler_class: Any = server.RequestHandlerClass
    is_ours = issubclass(handler_class, RequestMixin)
    assert is_ours == (kind != "plain")
    # An interrupt that is raised may be lost: in what is called as a thread's object dies.
    end = threading.Thread(target=server.shutdown)
    signal.signal(signal.SIGINT, lambda *_: end.start())
    print(f"listening on {server.port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
