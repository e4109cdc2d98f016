"""A worker for gunicorn, whose loop is the HTTP/1.1 server's.

    gunicorn -k wsgiref_fast.gunicorn.Worker module:app

The arbiter, its signals, hooks, logs and settings stay gunicorn's (21.2 and later). What is not
as with gunicorn's own workers:

======================= ===========================================================================
``threads``             1: the loop calls the application, as ``sync``, but connections are kept;
                        more: so many threads call it
``timeout``             as ``sync``: an application that blocks for longer ends its worker; with
                        ``threads`` the loop goes on, and nothing ends (as ``gthread``)
``worker_connections``  the most connections of a worker, whether threads serve or not
graceful ends           idle connections are heard for 2 more seconds at most; what still waits in
                        the backlog is left to other workers
``max_requests``        also counts what is served at the end: kept connections may have sent
                        more; each gets ``Connection: close``
``pre_request``         called in the thread that serves the request; ``post_request`` and the
                        access log in the loop's, once the response was sent. Any of them costs
                        the compiled short cut
hooks' requests         have gunicorn's attributes, but cannot be changed; no ``unreader``
refused requests        are in the error log, not in the access log
``wsgi.multiprocess``   always true
``SERVER_SOFTWARE``     names both; the field ``Server`` is ours
``SERVER_PORT``         the first address's, also with several
``gunicorn.socket``     is not there: nobody can take over a connection
bodies                  are received before the application is called; 1 GiB at most
request heads           stricter: see the documentation of the server. Names with ``_`` are
                        always dropped (``header_map``, ``forwarder_headers``)
``forwarded_allow_ips`` with the PROXY protocol, it is the client's address that is looked up
``proxy_protocol``      either version, whichever is set; each connection has to begin with it;
                        no variables ``PROXY_*``
TLS                     certificates are read when a worker starts: HUP renews them; handshakes
                        never block (``do_handshake_on_connect``)
HTTP/2, uwsgi           are not spoken
======================= ===========================================================================

What gunicorn has no setting for, a subclass says, which is then the worker class::

    class PatientWorker(wsgiref_fast.gunicorn.Worker):
        server_options = {"max_body": 1 << 34, "header_timeout": 30}
"""

from __future__ import annotations

import logging
import os
import time

try:
    from gunicorn import SERVER_SOFTWARE
    from gunicorn.workers import base
except ImportError as _error:
    raise ImportError(
        f'gunicorn cannot be imported ({_error}): pip install "wsgiref_fast[gunicorn]"'
    ) from _error

from . import __version__
from ._gunicorn import settings
from ._gunicorn.application import wrap
from ._gunicorn.records import Recorder
from ._gunicorn.serving import WorkerServer
from .server import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar

__all__ = ["Worker"]

#: Seconds between two signs of life, and how long the loop waits for its clients at most.
_BEAT = 0.1
_PATIENCE = 0.5


class Worker(base.Worker):  # type: ignore[misc]
    """Serves with the HTTP/1.1 server's loop; see above for its settings.

    Attributes:
        server: the running `server.Server`; `None` before and after that.
        recorder: tells of each request; `None` where nobody wants to know.
        due: when the next sign of life is due, by `time.monotonic`.

    """

    #: Options of a `server.Server`, which take precedence over gunicorn's settings.
    server_options: ClassVar[dict[str, Any]] = {}

    alive: bool  # ends as soon as it is false

    #: What ``SERVER_SOFTWARE`` in an environ says.
    server_software: str = f"{SERVER_SOFTWARE} wsgiref_fast/{__version__}"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.server: WorkerServer | None = None
        self.recorder: Recorder | None = None
        self.due: float = 0.0

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Say what cannot be honoured, before there are workers.

        Raises:
            RuntimeError: it cannot be served at all.

        """
        settings.check(cfg)
        try:
            Options(**cls.server_options)
        except (TypeError, ValueError) as error:
            raise RuntimeError(f"server_options of {cls.__qualname__}: {error}") from None
        for line in settings.find_idle_settings(cfg):
            log.warning(line)

    def run(self) -> None:
        """Serve until the arbiter wants no more."""
        options = settings.make_options(self.cfg)
        options.update(self.server_options)
        options.update(getattr(self.app, "server_options", {}))
        if settings.has_access_log(self.cfg, self.log) or settings.has_request_hooks(self.cfg):
            self.recorder = Recorder(self)
        _relay(self.log)
        with WorkerServer(self, options) as server:
            self.server = server
            server.set_app(wrap(self, server))
            if self.alive:  # a signal may have come before there was a server
                server.serve_forever(_PATIENCE)

    def beat(self) -> None:
        """Tell the arbiter that this is alive, and see whether it is to end."""
        now = time.monotonic()
        if now < self.due:
            return
        self.due = now + _BEAT
        self.notify()
        if self.ppid != os.getppid() and self.alive:
            self.log.info("Parent changed, shutting down: %s", self)
            self.alive = False
        if not self.alive:
            self._stop()

    def retire(self) -> None:
        """End after the current request: there were ``max_requests``."""
        if self.alive:
            self.log.info("Autorestarting worker after current request.")
            self.alive = False
        self._stop()

    def _stop(self, at_once: bool = False) -> None:
        if self.server is not None:
            self.server.stop(at_once)

    # Signals: each may come while the application runs, in its thread.

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Finish what is under way, and end."""
        self.alive = False
        self._stop()

    def handle_quit(self, sig: int, frame: Any) -> None:
        """End now; what an application makes of that does not matter."""
        self._stop(at_once=True)
        super().handle_quit(sig, frame)

    def handle_abort(self, sig: int, frame: Any) -> None:
        """End now: the application has taken too long."""
        self._stop(at_once=True)
        super().handle_abort(sig, frame)


class _Relay(logging.Handler):
    """Hands the server's messages to gunicorn's logger."""

    def __init__(self, log: Any) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Log a message as gunicorn does."""
        self._log.log(record.levelno, "%s", record.getMessage(), exc_info=record.exc_info)


def _relay(log: Any) -> None:
    """Have the server's messages in gunicorn's error log, unless somebody wants them elsewhere."""
    logger = logging.getLogger("wsgiref_fast.server")
    if not logger.handlers:
        logger.addHandler(_Relay(log))
        logger.propagate = False
