"""What is ours alone: the HTTP/1.1 server, its options, its statistics, tests against it."""

from __future__ import annotations

from typing import Literal, assert_type

import wsgiref_fast
from wsgiref_fast.server import Options, Server, Stats, serve
from wsgiref_fast.simple_server import demo_app, make_server
from wsgiref_fast.status import StatusPage
from wsgiref_fast.testing import LiveServer, Request, live_server


def run() -> None:
    serve(demo_app, port=0, threads=4, access_log="combined", trusted_proxies=["10.0.0.0/8"])
    wsgiref_fast.serve(demo_app, status_path="/-/status")
    serve(demo_app, thread=4)  # type: ignore[call-arg] # no option
    serve(demo_app, threads="4")  # type: ignore[arg-type] # no number
    serve(demo_app, access_log="apache")  # type: ignore[arg-type] # no format


def configure() -> None:
    options = Options(max_body=1 << 20, header_timeout=5)
    assert_type(options.max_body, int)
    assert_type(options.header_timeout, float)
    assert_type(options.access_log, Literal["off", "common", "combined", "json"])
    with Server(("127.0.0.1", 0), loops=2, keep_alive_timeout=1.5) as server:
        server.set_app(StatusPage(server, demo_app, "/-/status"))
        assert_type(server.options, Options)
        assert_type(server.stats, Stats)
        assert_type(server.stats.responses, dict[int, int])
        assert_type(server.server_port, int)
        server.serve_forever()
    assert_type(make_server("", 0, demo_app, server_class=Server), Server)
    Server(["unix:/run/app.sock", ("127.0.0.1", 8000)])
    Server(paths())
    Server(8000)  # type: ignore[arg-type] # no address


def paths() -> list[str]:
    return ["unix:/run/a.sock", "unix:/run/b.sock"]


def check() -> None:
    with live_server(demo_app, threads=2) as server:
        assert_type(server, LiveServer)
        assert_type(server.url, str)
        assert_type(server.requests, list[Request])
        assert_type(server.requests[0].path, str)


def substitute() -> None:
    assert_type(wsgiref_fast.IMPLEMENTATION, Literal["pure", "compiled"])
    assert_type(wsgiref_fast.__version__, str)
    wsgiref_fast.install(strict=True)
    wsgiref_fast.uninstall()
