"""A page of how a server does: HTML for people, Prometheus' text for what scrapes, JSON.

    serve(app, status_path="/-/status")

or with a server of one's own, around an application or by itself::

    server.set_app(StatusPage(server, app))
    admin.set_app(StatusPage(server))
"""

from __future__ import annotations

import re
from urllib.parse import parse_qs, quote

from ._http11.proxies import PROXIED, Addresses, parse_address, split_node
from ._status_html import render_page
from ._status_text import METRICS_TYPE, render_json, render_metrics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol

    from ._http11.options import Options
    from ._http11.stats import Stats
    from .types import StartResponse, WSGIApplication, WSGIEnvironment

    class Observed(Protocol):
        """What a page is of: a `server.Server`."""

        options: Options

        @property
        def stats(self) -> Stats:
            """What it has done so far."""
            ...


__all__ = ["ALLOWED", "StatusPage"]

#: Who may see the page where nobody says otherwise: this machine.
ALLOWED = ("127.0.0.0/8", "::1")

_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@-]+)*")

#: How the variables begin by which proxies show that a request has passed them.
_TRACES = ("HTTP_X_FORWARDED_", "HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_REAL_IP")

_HEADERS = [
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'",
    ),
]


class StatusPage:
    """Tell how a server does: the page, and below it ``/metrics`` and ``/json``.

    At the page's own path a client that asks for plain text or OpenMetrics, and for no HTML,
    gets the metrics as well. ``?refresh=5`` has a browser load the page anew every 5 seconds.
    The numbers are of one server in one process. A request for them is among them while it is
    answered in a thread; one that the compiled kernels serve is counted once it is over, and
    its connection is idle until then.

    What it tells is for those who run the server. Who may see it is decided by
    ``REMOTE_ADDR``; behind a proxy that is the proxy's own, which is often this machine, unless
    the server has `Options.trusted_proxies`. So a request that shows that it came through a
    proxy is refused where the server does not trust that, and one from this machine is
    refused where it asks for a name other than ``localhost``. A proxy that shows nothing of
    itself cannot be told: have it refuse the path, or serve the page by itself at an address
    that it does not pass on. The same goes for ``unix``, which nobody but proxies speaks as
    a rule.

    Args:
        server: the `Server` that it tells of.
        app: the application that everything else goes to; `None`: there is nothing else.
        path: where the page is, below ``SCRIPT_NAME``; by default ``/-/status`` with an
            application, and the root without.
        allowed: who may see it: addresses, networks (``10.0.0.0/8``), ``unix`` for a Unix
            socket; ``*`` for anybody, whatever proxies there are.

    Raises:
        TypeError: `app` is no application.
        ValueError: `path` is none, or `allowed` has what is no address.

    """

    def __init__(
        self,
        server: Observed,
        app: WSGIApplication | None = None,
        path: str | None = None,
        *,
        allowed: Iterable[str] = ALLOWED,
    ) -> None:
        if app is not None and not callable(app):
            raise TypeError(f"app must be a WSGI application, not {app!r}")
        self._server = server
        self._app: WSGIApplication = _find_nothing if app is None else app
        self._path = check_path("/-/status" if path is None and app is not None else path or "")
        if app is not None and not self._path:
            raise ValueError("the status page needs a path besides that of the application")
        names = allowed.split(",") if isinstance(allowed, str) else allowed
        names = [name.strip() for name in names if name.strip()]
        self._allows_all = "*" in names
        self._allowed = Addresses(names, "those allowed to see the status page")

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer below the path; hand everything else on as it is."""
        path = environ.get("PATH_INFO", "")
        if not path.startswith(self._path):
            return self._app(environ, start_response)
        rest = path[len(self._path) :]
        if rest and rest[0] != "/":
            return self._app(environ, start_response)
        if not self._may_see(environ):
            text = "The status page is not for this address, or not through this proxy or name."
            return _answer(environ, start_response, "403 Forbidden", text + "\n")
        return self._answer_at(rest, environ, start_response)

    def _answer_at(
        self, rest: str, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        if rest not in ("", "/", "/metrics", "/json"):
            return _find_nothing(environ, start_response)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            text, allow = "There is GET and HEAD.\n", ("Allow", "GET, HEAD")
            return _answer(environ, start_response, "405 Method Not Allowed", text, headers=[allow])
        stats, options = self._server.stats, self._server.options
        if rest == "/json":
            text, kind = render_json(stats, options), "application/json"
        elif rest == "/metrics" or _wants_metrics(environ):
            text, kind = render_metrics(stats, options), METRICS_TYPE
        else:
            text = render_page(stats, options, _find_base(environ), _find_refresh(environ))
            kind = "text/html; charset=utf-8"
        vary = [] if rest in ("/metrics", "/json") else [("Vary", "Accept")]
        return _answer(environ, start_response, "200 OK", text, kind, vary)

    def _may_see(self, environ: WSGIEnvironment) -> bool:
        """Tell whether a client may see the page."""
        if self._allows_all:
            return True
        address = environ.get("REMOTE_ADDR", "")
        if address not in self._allowed:
            return False
        if not environ.get(PROXIED, not any(key.startswith(_TRACES) for key in environ)):
            return False  # whose address that is, nobody knows
        return not _is_here(address) or _asks_for_here(environ.get("HTTP_HOST", ""))


def check_path(path: str) -> str:
    """Return a page's path without a slash at its end.

    Raises:
        ValueError: it is none.

    """
    checked = path.removesuffix("/")
    if not _PATH.fullmatch(checked):
        raise ValueError(f"a status page's path is like /-/status, not {path!r}")
    return checked


def _is_here(address: str) -> bool:
    """Tell whether an address is this machine's, in a way that others cannot have."""
    found = parse_address(address)
    return not address or (found is not None and found.is_loopback)


def _asks_for_here(host: str) -> bool:
    """Tell whether a ``Host`` is no name that others have made up for this machine.

    Pages of a site whose name has come to stand for 127.0.0.1 could read ours otherwise; and
    a public name is what a proxy on this machine passes on.
    """
    name = split_node(host)[0].lower()
    is_local = name in ("", "localhost") or name.endswith(".localhost")
    return is_local or parse_address(name) is not None


def _wants_metrics(environ: WSGIEnvironment) -> bool:
    """Tell whether a client is one that scrapes: these ask for text, and not for HTML."""
    accepted = environ.get("HTTP_ACCEPT", "").lower()
    wants_text = "text/plain" in accepted or "application/openmetrics-text" in accepted
    return wants_text and "text/html" not in accepted


def _find_base(environ: WSGIEnvironment) -> str:
    """Return what references begin with, which go below the page's own path.

    They are relative: a proxy may have taken a prefix away.
    """
    whole = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    last = whole.rpartition("/")[2]
    return f"./{quote(last, encoding='latin-1')}/" if last else "./"


def _find_refresh(environ: WSGIEnvironment) -> int | None:
    """Return after how many seconds the page is to be loaded anew, from 1 to 3,600."""
    value = parse_qs(environ.get("QUERY_STRING", "")).get("refresh", [""])[0]
    if value.isascii() and value.isdigit() and len(value) < 5 and 1 <= int(value) <= 3600:
        return int(value)
    return None


def _find_nothing(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    return _answer(environ, start_response, "404 Not Found", "There is nothing here.\n")


def _answer(
    environ: WSGIEnvironment,
    start_response: StartResponse,
    status: str,
    text: str,
    kind: str = "text/plain; charset=utf-8",
    headers: Iterable[tuple[str, str]] = (),
) -> Iterable[bytes]:
    body = text.encode()
    own = [("Content-Type", kind), ("Content-Length", str(len(body)))]
    start_response(status, [*own, *_HEADERS, *headers])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
