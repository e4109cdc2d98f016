"""An HTTP/1.1 server that is short of something, or whose clock jumps; it ends with its input.

It takes one argument, an object of JSON: the server's ``options``, a ``limit`` of the system
(its name and value; of descriptors, how many there are besides those at the beginning), and
the library that shifts the ``clock``. It writes its port; at the end how many descriptors are
open that were not, and how many objects of connections are left.
"""

from __future__ import annotations

import builtins
import ctypes
import gc
import json
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from wsgiref_fast._http11.exchange import Exchange
from wsgiref_fast._http11.peer import Peer
from wsgiref_fast._http11.response import Response
from wsgiref_fast._pure.connection import Connection, Request
from wsgiref_fast.server import Server

BLOCK = b"x" * 65536
OF_CONNECTIONS = (Peer, Exchange, Connection, Request, Response)

settings: dict[str, Any] = {}
#: How many calls of ``/write`` are over; how many of its results were made, and closed.
counts = {"over": 0, "made": 0, "closed": 0}


class Closing:
    """A response whose blocks are written already."""

    def __init__(self) -> None:
        counts["made"] += 1

    def __iter__(self) -> Iterator[bytes]:
        return iter(())

    def close(self) -> None:
        counts["closed"] += 1


def write_much(way: str, size: int, start_response: Callable[..., Any], is_counted: bool) -> Any:
    """Write much more than the client takes; what that fails with is heeded, or is not."""
    write = start_response("200 OK", [("Content-Length", str(size))] if is_counted else [])
    try:
        for _ in range(size // len(BLOCK)):
            try:
                write(BLOCK)
            except OSError:
                if way == "raise":
                    raise
                if way == "end":
                    break
    finally:
        counts["over"] += 1
    return Closing()


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    _, page, *parts = environ["PATH_INFO"].split("/")
    if page == "write":
        is_counted = environ["QUERY_STRING"] == "counted"
        return write_much(parts[0], int(parts[1]), start_response, is_counted)
    if page == "raise":
        raise getattr(builtins, parts[0])
    text = str(len(environ["wsgi.input"].read()))
    if page == "descriptors":
        text = str(open_descriptors())
    elif page == "counts":
        text = json.dumps(counts)
    elif page == "clock":
        library = ctypes.CDLL(settings["clock"])
        ctypes.c_long.in_dll(library, "clock_shift").value = int(parts[0])
    elif page == "large":
        text = "x" * int(parts[0])
    start_response("200 OK", [])
    return [text.encode()]


def open_descriptors() -> int:
    return len(os.listdir("/dev/fd"))


def set_limit(name: str, value: int) -> None:
    if name == "RLIMIT_NOFILE":
        value += open_descriptors()
    number = getattr(resource, name)
    resource.setrlimit(number, (value, resource.getrlimit(number)[1]))


def end_with_input(server: Server) -> None:
    sys.stdin.read()
    server.shutdown()


def serve() -> None:
    with Server(("127.0.0.1", 0), **settings["options"]) as server:
        server.set_app(app)
        ending = threading.Thread(target=end_with_input, args=(server,))
        ending.start()
        if settings.get("limit"):
            set_limit(*settings["limit"])
        print(server.server_port, flush=True)
        server.serve_forever()
        ending.join()


def main() -> None:
    settings.update(json.loads(sys.argv[1]))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = open_descriptors()
    serve()
    gc.collect()
    left = [found for found in gc.get_objects() if isinstance(found, OF_CONNECTIONS)]
    print(open_descriptors() - before, len(left))


if __name__ == "__main__":
    main()
