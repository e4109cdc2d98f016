"""The server, its loop and its connections, as a worker of gunicorn has them."""

from __future__ import annotations

import os
import sys

from .._http11.loop import Loop
from .._http11.peer import Peer
from ..server import Server
from .proxies import Senders
from .settings import speaks_proxy_protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any

    from .._http11.exchange import Exchange
    from .._http11.pool import Pool
    from .._http11.proxies import TrustedProxies


class WorkerPeer(Peer):
    """A connection whose worker has gunicorn's settings and log."""

    __slots__ = ()

    loop: WorkerLoop

    @property
    def can_send_files(self) -> bool:
        """Whether the system can, and may, send a file to the socket by itself."""
        return bool(self.loop.worker.cfg.sendfile) and super().can_send_files

    def log_exception(self, errors: Any) -> None:
        """Log the current exception, as gunicorn does.

        That by which a quick end gets a worker out of an application is none of the
        application's. That of a timeout has another code, and shows where it blocked.
        """
        error = sys.exception()
        if isinstance(error, SystemExit) and not error.code and not self.loop.worker.alive:
            return
        exchange = self.exchange
        if exchange is None:
            self.loop.worker.log.exception("Error handling request")
        else:
            request = exchange.request
            message = "Error handling request %s %s"
            self.loop.worker.log.exception(message, request.method, request.target)


class WorkerLoop(Loop):
    """Ends in the way that workers end: others accept what it does not."""

    peer_class = WorkerPeer

    def __init__(
        self, server: Any, listeners: list[socket.socket], pool: Pool | None, is_first: bool
    ) -> None:
        super().__init__(server, listeners, pool, is_first)
        self.worker: Any = server.worker
        self.constants["wsgi.multiprocess"] = True
        self.constants["SERVER_SOFTWARE"] = self.worker.server_software

    def _make_proxies(self) -> TrustedProxies | None:
        if speaks_proxy_protocol(self.server.worker.cfg):
            return Senders(self.options.trusted_proxies, ())
        return super()._make_proxies()

    def stop(self, at_once: bool = False) -> None:
        """End `run`: once what is under way is finished, or at once."""
        self._most_peers = 0  # also where it is just accepting one after the other
        super().stop(at_once)

    def _begin_to_end(self) -> None:
        super()._begin_to_end()
        for listener in self.worker.sockets:
            listener.close()

    def is_usual(self) -> bool:
        """Tell whether requests can be served without a word to the loop."""
        worker = self.worker
        return worker.recorder is None and worker.cfg.keepalive > 0 and super().is_usual()

    @property
    def may_keep(self) -> bool:
        """Whether connections may go on after the next response."""
        return self.worker.cfg.keepalive > 0 and super().may_keep

    def log_access(self, peer: Peer, exchange: Exchange) -> None:
        """Tell loggers and hooks of a response."""
        super().log_access(peer, exchange)
        if self.worker.recorder is not None:
            self.worker.recorder.finish(exchange)


class WorkerServer(Server):
    """Serves on the sockets that a worker has from its arbiter.

    Args:
        worker: the `gunicorn.Worker`.
        options: see `server.Options`.

    """

    ends_for_good = True
    loop_class: type[Loop] = WorkerLoop

    def __init__(self, worker: Any, options: dict[str, Any]) -> None:
        self.worker = worker
        addresses = [f"fd://{os.dup(listener.fileno())}" for listener in worker.sockets]
        super().__init__(addresses, **options)

    def server_activate(self) -> None:
        """Do nothing: the arbiter listens already."""

    def service_actions(self) -> None:
        """Show that the worker is alive."""
        self.worker.beat()
