"""The access log: a line for each response, through `logging`."""

from __future__ import annotations

import json
import logging
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .exchange import Exchange

_LOGGER = logging.getLogger("wsgiref_fast.access")
_MONTHS = "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"

# What may stand between quotes in a line, and does not end it.
_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}
_ESCAPES.update({ord('"'): '\\"', ord("\\"): "\\\\"})


def make_access_log(style: str) -> Callable[[str, Exchange], None] | None:
    """Return what logs a response to a client; `None` where nothing is to be logged.

    Args:
        style: ``off``, ``common``, ``combined`` or ``json``.

    """
    if style == "off":
        return None
    if not _LOGGER.handlers and not logging.getLogger().handlers:
        # Nobody has set up logging: lines on the error stream, as wsgiref has them.
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        _LOGGER.addHandler(handler)
        _LOGGER.propagate = False
    if _LOGGER.level == logging.NOTSET:
        _LOGGER.setLevel(logging.INFO)
    make = {"common": _common, "combined": _combined, "json": _json}[style]

    def log(host: str, exchange: Exchange) -> None:
        _LOGGER.info("%s", make(host, exchange))

    return log


def _escape(text: str) -> str:
    return text.translate(_ESCAPES)


def _common(host: str, exchange: Exchange) -> str:
    """Return a line in the Common Log Format; times are UTC."""
    request, response = exchange.request, exchange.response
    year, month, day, *clock = time.gmtime()[:6]
    when = f"{day:02}/{_MONTHS[month - 1]}/{year}:{':'.join(f'{part:02}' for part in clock)} +0000"
    return (
        f"{host} - - [{when}] "
        f'"{_escape(request.method)} {_escape(request.target)} {request.version}" '
        f"{response.status[:3] or '-'} {response.sent or '-'}"
    )


def _combined(host: str, exchange: Exchange) -> str:
    """Return the same with referrer and user agent."""
    variables = exchange.request.variables
    referer, agent = (variables.get(key, "-") for key in ("HTTP_REFERER", "HTTP_USER_AGENT"))
    return f'{_common(host, exchange)} "{_escape(referer)}" "{_escape(agent)}"'


def _json(host: str, exchange: Exchange) -> str:
    """Return an object of JSON; the duration is in seconds."""
    request, response = exchange.request, exchange.response
    now = time.time()
    fields = {
        "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1000):03}Z",
        "client": host,
        "method": request.method,
        "target": request.target,
        "version": request.version,
        "status": int(response.status[:3]) if response.status else None,
        "bytes": response.sent,
        "duration": round(time.monotonic() - exchange.began_at, 6),
        "complete": not exchange.is_cut,
        "referer": request.variables.get("HTTP_REFERER"),
        "user_agent": request.variables.get("HTTP_USER_AGENT"),
    }
    return json.dumps(fields)
