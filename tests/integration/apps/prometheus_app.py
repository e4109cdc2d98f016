"""Metrics by prometheus_client's own server, with and without TLS."""

# The library is not there where types are checked.
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import json
import signal
import sys
from typing import Any

from prometheus_client import Counter, start_http_server

import wsgiref_fast


def main(certificate: str, key: str) -> None:
    Counter("visits", "Visits of the shop").inc(42)
    started = {
        "plain": start_http_server(0, "127.0.0.1"),
        "tls": start_http_server(0, "127.0.0.1", certfile=certificate, keyfile=key),
    }
    signal.signal(signal.SIGINT, signal.default_int_handler)
    print("listening:", json.dumps({name: tell(server) for name, (server, _) in started.items()}))
    try:
        signal.pause()
    except KeyboardInterrupt:
        for server, thread in started.values():
            server.shutdown()
            server.server_close()
            thread.join(20)
            print("stopped:", not thread.is_alive() and server.socket.fileno() == -1)


def tell(server: Any) -> dict[str, Any]:
    return {
        "port": server.server_port,
        "server": server.serve_forever.__func__.__code__.co_filename,
        "implementation": wsgiref_fast.IMPLEMENTATION,
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
