"""What clients and proxies ask of the HTTP/1.1 server, and the browser's page."""

# What lies beside a program is found when it runs.
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import browser_app

import wsgiref_fast

#: The ports of the clients whose connections have asked for an asset.
ports: set[str] = set()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    text = [("Content-Type", "text/plain")]
    if path == "/echo":
        return answer_json(start_response, echo(environ))
    if path == "/witness":
        return answer_json(start_response, testify(start_response))
    if path == "/report":
        return answer_json(start_response, {"served": browser_app.served, "ports": sorted(ports)})
    if path == "/big":
        start_response("200 OK", [*text, ("Content-Length", "3000000")])
        return [b"x" * 3_000_000]
    if path == "/stream":
        start_response("200 OK", text)
        return (b"line %d\n" % number for number in range(50))
    if path == "/file":
        start_response("200 OK", text)
        file = open(environ["HTTP_X_FILE"], "rb")  # noqa: SIM115
        blocks: Iterable[bytes] = environ["wsgi.file_wrapper"](file)
        return blocks
    if path == "/refuse":
        start_response("403 Forbidden", text)
        return [b"no"]
    if path == "/nothing":
        start_response("204 No Content", [])
        return []
    if path == "/broken":
        start_response("200 OK", text)
        return break_off()
    if path.startswith("/asset/"):
        ports.add(environ["REMOTE_PORT"])
    answer: Iterable[bytes] = browser_app.application(environ, start_response)
    return answer


def answer_json(start_response: Callable[..., Any], value: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(value).encode()]


def testify(start_response: Any) -> dict[str, str]:
    """Tell what runs this request."""
    return {
        "file": wsgiref_fast.__file__,
        "module": type(start_response.__self__).__module__,
        "implementation": wsgiref_fast.IMPLEMENTATION,
    }


def echo(environ: dict[str, Any]) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    while block := environ["wsgi.input"].read(65536):
        digest.update(block)
        size += len(block)
    return {
        "method": environ["REQUEST_METHOD"],
        "protocol": environ["SERVER_PROTOCOL"],
        "query": environ["QUERY_STRING"],
        "length": environ.get("CONTENT_LENGTH"),
        "size": size,
        "sha256": digest.hexdigest(),
        "port": environ["REMOTE_PORT"],
    }


def break_off() -> Iterator[bytes]:
    yield b"some"
    raise LookupError("provoked")


def main(port: str, threads: str) -> None:
    wsgiref_fast.serve(application, port=int(port), threads=int(threads))
    print("stopped")


if __name__ == "__main__":
    main(*sys.argv[1:])
