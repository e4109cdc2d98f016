"""``demo``: wsgiref's demo application."""

from __future__ import annotations

from .. import IMPLEMENTATION, __version__
from .._http11.addresses import write_address


def demo(host: str, port: int) -> None:
    """Serve the demo application until interrupted; exit with 1 where that cannot be."""
    from ..simple_server import ThreadingWSGIServer, demo_app, make_server

    try:
        server = make_server(host, port, demo_app, ThreadingWSGIServer)
    except (OSError, OverflowError) as error:
        from .listening import explain

        text = explain((host, port), error).message.replace("by --bind", "by --host or --port")
        raise SystemExit(f"wsgiref_fast demo: {text}") from None
    with server:
        place = write_address((host, server.server_port))
        try:
            print(
                f"Serving the demo application on http://{place}/ "
                f"(wsgiref_fast {__version__}, {IMPLEMENTATION})",
                flush=True,
            )
            server.serve_forever()
        except KeyboardInterrupt:
            print("Stopped.")
