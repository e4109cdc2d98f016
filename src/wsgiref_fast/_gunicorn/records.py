"""Requests and responses as gunicorn's loggers and hooks know them."""

from __future__ import annotations

import time
from datetime import timedelta

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .._http11.exchange import Exchange
    from ..types import StartResponse, WSGIApplication, WSGIEnvironment


class Request:
    """A request, by the names of gunicorn's.

    Attributes:
        method, uri: as they were sent.
        path, query: of the target, as they were sent.
        version: such as ``(1, 1)``.
        scheme: ``http`` or ``https``.
        remote_addr, peer_addr: the client's address and port, empty for a Unix socket.
        body: the body, as ``wsgi.input``.

    """

    fragment = ""
    trailers: tuple[tuple[str, str], ...] = ()

    def __init__(self, exchange: Exchange, environ: WSGIEnvironment) -> None:
        request = exchange.request
        self.method = request.method
        self.uri = request.target
        self.path, _, self.query = request.path.partition("?")
        self.version = (1, int(request.version[-1]))
        self.scheme = environ["wsgi.url_scheme"]
        self.remote_addr = self.peer_addr = (environ["REMOTE_ADDR"], environ["REMOTE_PORT"])
        self.body = environ["wsgi.input"]
        self.environ = environ
        self._variables = request.variables
        self._keeps_alive = request.keeps_alive

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The header fields, with names in capitals."""
        return [
            (variable.removeprefix("HTTP_").replace("_", "-"), value)
            for variable, value in self._variables.items()
        ]

    def should_close(self) -> bool:
        """Tell whether the client wants no further response on its connection."""
        return not self._keeps_alive


class Response:
    """A response, by the names of gunicorn's.

    Attributes:
        status: with its reason.
        headers: the application's.
        sent: how many bytes of the body were sent.
        headers_sent: whether any of it was sent.

    """

    def __init__(self, exchange: Exchange) -> None:
        response = exchange.response
        # The client has gone before the application said anything.
        self.status = response.status or "500 Internal Server Error"
        self.headers = response.headers
        self.sent = response.sent
        self.headers_sent = response.is_begun

    @property
    def status_code(self) -> int:
        """The number of the status."""
        return int(self.status[:3])

    @property
    def response_length(self) -> int | None:
        """The ``Content-Length`` that the application gave."""
        lengths = [value for name, value in self.headers if name.lower() == "content-length"]
        return int(lengths[0]) if lengths else None


class Recorder:
    """Tells loggers and hooks of each request.

    Args:
        worker: has the hooks, in its ``cfg``, and the logger.

    """

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._requests: dict[Exchange, Request] = {}

    def watch(self, application: WSGIApplication) -> WSGIApplication:
        """Return an application whose requests are recorded."""
        worker, requests = self._worker, self._requests

        def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
            exchange: Exchange = start_response.__self__  # type: ignore[attr-defined]
            request = requests[exchange] = Request(exchange, environ)
            worker.cfg.pre_request(worker, request)
            return application(environ, start_response)

        return serve

    def finish(self, exchange: Exchange) -> None:
        """Tell of a response that is over; what goes wrong there costs no connection."""
        request = self._requests.pop(exchange, None)
        if request is None:
            return
        worker, response = self._worker, Response(exchange)
        duration = timedelta(seconds=time.monotonic() - exchange.began_at)
        try:
            worker.log.access(response, request, request.environ, duration)
        except Exception:
            worker.log.exception("Exception in the access log")
        try:
            worker.cfg.post_request(worker, request, request.environ, response)
        except Exception:
            worker.log.exception("Exception in post_request hook")
