"""One server in this process: ``python -m bench.servers.launch NAME PORT [JSON of options]``.

The options are keyword arguments of our own server.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from socketserver import ThreadingMixIn
from typing import Any

from .apps import app

HOST = "127.0.0.1"


def _serve_simply(package: str, port: int, is_threading: bool) -> None:
    from importlib import import_module

    module = import_module(f"{package}.simple_server")

    class Quiet(module.WSGIRequestHandler):  # type: ignore[name-defined,misc]
        def log_message(self, *_: object) -> None:
            pass

    bases = (ThreadingMixIn, module.WSGIServer) if is_threading else (module.WSGIServer,)
    names: dict[str, Any] = {"daemon_threads": True}
    if package == "wsgiref":
        # Else what is measured is how clients wait for room in a queue of five.
        names["request_queue_size"] = 1024
    server_class = type("BenchServer", bases, names)
    # Log lines are left out everywhere, for not every server writes them.
    with module.make_server(HOST, port, app, server_class, Quiet) as server:
        server.serve_forever()


def _serve_wsgiref(port: int, **_: Any) -> None:
    _serve_simply("wsgiref", port, False)


def _serve_wsgiref_threading(port: int, **_: Any) -> None:
    _serve_simply("wsgiref", port, True)


def _serve_drop_in(port: int, **_: Any) -> None:
    _serve_simply("wsgiref_fast", port, False)


def _serve_drop_in_threading(port: int, **_: Any) -> None:
    _serve_simply("wsgiref_fast", port, True)


def _serve_server(port: int, **options: Any) -> None:
    from wsgiref_fast import serve

    # As many connections as are measured; none is to be closed between two rounds.
    serve(app, HOST, port, **{"max_connections": 20_000, "keep_alive_timeout": 600.0, **options})


def _serve_bjoern(port: int, **_: Any) -> None:
    import bjoern

    bjoern.run(app, HOST, port)


def _serve_fastpysgi(port: int, **_: Any) -> None:
    import fastpysgi

    fastpysgi.server.loglevel = 0
    fastpysgi.run(app, HOST, port)


def _serve_waitress(port: int, **_: Any) -> None:
    import waitress

    waitress.serve(app, host=HOST, port=port, threads=4, connection_limit=2000, _quiet=True)


def _serve_cheroot(port: int, **_: Any) -> None:
    from cheroot.wsgi import Server

    Server((HOST, port), app, numthreads=4, request_queue_size=1024).start()


def _serve_werkzeug(port: int, **_: Any) -> None:
    from werkzeug import serving

    names = {"protocol_version": "HTTP/1.1", "log": lambda *_: None}
    quiet = type("Quiet", (serving.WSGIRequestHandler,), names)
    serving.make_server(HOST, port, app, threaded=True, request_handler=quiet).serve_forever()


SERVERS: dict[str, Callable[..., None]] = {
    "wsgiref": _serve_wsgiref,
    "wsgiref-threading": _serve_wsgiref_threading,
    "drop-in": _serve_drop_in,
    "drop-in-threading": _serve_drop_in_threading,
    "server": _serve_server,
    "bjoern": _serve_bjoern,
    "fastpysgi": _serve_fastpysgi,
    "waitress": _serve_waitress,
    "cheroot": _serve_cheroot,
    "werkzeug": _serve_werkzeug,
}


def main(name: str, port: str, options: str = "{}") -> None:
    """Serve until a signal ends it."""
    try:
        SERVERS[name](int(port), **json.loads(options))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main(*sys.argv[1:])
