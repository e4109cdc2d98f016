"""What an HTTP/1.1 server can be told: limits, times and sizes, checked where they are given."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable
    from typing import Any, Literal, TypedDict, Unpack

    AccessLog = Literal["off", "common", "combined", "json"]

    class OptionValues(TypedDict, total=False):
        """What `Options` takes, by name: the names are those of its attributes."""

        max_request_line: int
        max_header_line: int
        max_header_section: int
        max_header_fields: int
        max_body: int
        max_trailers: int
        max_chunk_overhead: int
        spool_size: int
        max_unread: int
        max_connections: int
        backlog: int
        header_timeout: float
        keep_alive_timeout: float
        body_timeout: float
        send_timeout: float
        handshake_timeout: float
        shutdown_timeout: float
        drain_timeout: float
        threads: int
        loops: int
        access_log: AccessLog
        server_header: str
        ssl_context: ssl.SSLContext | None
        trusted_proxies: str | Iterable[str]
        proxy_headers: str | Iterable[str]
        proxy_protocol: bool


_FOREVER = 86400.0 * 365


class Options:
    """The options of a `server.Server`.

    Raises:
        TypeError: a name that is none of them (the nearest is named), or a wrong type.
        ValueError: a value out of range.

    """

    # The class's values are the defaults.

    #: The most bytes of a request line, and of a header line, without their ends.
    max_request_line: int = 8190
    max_header_line: int = 8190
    #: The most bytes of a header section, and the most fields in it.
    max_header_section: int = 65536
    max_header_fields: int = 100
    #: The most bytes of a request's body.
    max_body: int = 1 << 30
    #: The most bytes of a chunked body's trailers, and of what its chunks have besides data,
    #: beyond 16 bytes a chunk and twice the data.
    max_trailers: int = 16384
    max_chunk_overhead: int = 16384
    #: A longer body goes to a temporary file, in bytes.
    spool_size: int = 512 * 1024
    #: The most bytes that are read and dropped from a client that was refused.
    max_unread: int = 65536
    #: How many connections there are at once; further ones wait in the backlog.
    max_connections: int = 1000
    #: How many connections the system keeps to be accepted.
    backlog: int = 1024

    #: Seconds for a whole head since its first byte; a new connection's first byte too.
    header_timeout: float = 10.0
    #: Seconds that a connection may be idle between two requests.
    keep_alive_timeout: float = 5.0
    #: Seconds without a byte of a body.
    body_timeout: float = 30.0
    #: Seconds in which a client takes no byte of a response.
    send_timeout: float = 30.0
    #: Seconds for a TLS handshake.
    handshake_timeout: float = 10.0
    #: Seconds for what is under way when the server shuts down.
    shutdown_timeout: float = 30.0
    #: Seconds, of these, in which a connection that has nothing under way may send one more
    #: request when the server shuts down, as proxies do on those that they keep. 0: none.
    drain_timeout: float = 0.0

    #: How many threads run applications; none: the loop's own does.
    threads: int = 0
    #: How many loops there are, each with a listening socket and a thread.
    loops: int = 1
    #: The access log's format: ``off``, ``common``, ``combined`` or ``json``.
    access_log: AccessLog = "off"
    #: What ``Server`` says; empty for no such header.
    server_header: str = "wsgiref_fast"
    #: An `ssl.SSLContext` for TLS; another one that is put here later is for new connections.
    ssl_context: ssl.SSLContext | None = None
    #: Proxies that are believed what they say of their clients: addresses, networks
    #: (``10.0.0.0/8``), ``unix``, ``*`` for all. Where there are any, what anybody else says
    #: of that kind is dropped.
    trusted_proxies: tuple[str, ...] = ()
    #: The header fields in which they say it: ``forwarded`` (RFC 7239), or some of
    #: ``x-forwarded-for``, ``-proto``, ``-host``, ``-port`` and ``-prefix``.
    proxy_headers: tuple[str, ...] = ("x-forwarded-for", "x-forwarded-proto")
    #: Whether each connection begins with a header of the PROXY protocol, version 1 or 2; only
    #: from `trusted_proxies`.
    proxy_protocol: bool = False

    def __init__(self, **options: Unpack[OptionValues]) -> None:
        for name, value in options.items():
            if name not in _RANGES and name not in _OTHERS:
                raise TypeError(_unknown(name))
            setattr(self, name, _check(name, value))
        if self.proxy_protocol and not self.trusted_proxies:
            raise ValueError("proxy_protocol needs trusted_proxies")


#: The least and the largest value of each number.
_RANGES: dict[str, tuple[float, float]] = {
    "max_request_line": (16, 1 << 20),
    "max_header_line": (16, 1 << 20),
    "max_header_section": (16, 1 << 26),
    "max_header_fields": (1, 100_000),
    "max_body": (0, 1 << 62),
    "max_trailers": (0, 1 << 26),
    "max_chunk_overhead": (64, 1 << 26),
    "spool_size": (1, 1 << 40),
    "max_unread": (0, 1 << 40),
    "max_connections": (1, 1 << 24),
    "backlog": (1, 1 << 16),
    "header_timeout": (0.001, _FOREVER),
    "keep_alive_timeout": (0.001, _FOREVER),
    "body_timeout": (0.001, _FOREVER),
    "send_timeout": (0.001, _FOREVER),
    "handshake_timeout": (0.001, _FOREVER),
    "shutdown_timeout": (0.0, _FOREVER),
    "drain_timeout": (0.0, _FOREVER),
    "threads": (0, 10_000),
    "loops": (1, 1000),
}
#: Those of them that count something else than bytes or seconds.
_COUNTS = {"max_header_fields", "max_connections", "backlog", "threads", "loops"}

_OTHERS = (
    *("access_log", "proxy_headers", "proxy_protocol", "server_header", "ssl_context"),
    "trusted_proxies",
)
_LOGS = ("off", "common", "combined", "json")


def kind_of(name: str) -> str:
    """Tell what an option counts: ``seconds``, ``bytes`` or ``number``; empty: it is no number."""
    if name not in _RANGES:
        return ""
    if isinstance(getattr(Options, name), float):
        return "seconds"
    return "number" if name in _COUNTS else "bytes"


def _check(name: str, value: Any) -> Any:
    """Return an option's value as it is used."""
    if name in _RANGES:
        least, most = _RANGES[name]
        is_number = isinstance(value, int) and not isinstance(value, bool)
        if kind_of(name) == "seconds":
            if not (is_number or isinstance(value, float)):
                raise TypeError(f"{name} must be a number of seconds, not {value!r}")
            value = float(value)
        elif not is_number:
            raise TypeError(f"{name} must be an int, not {value!r}")
        if not least <= value <= most:
            raise ValueError(f"{name} must be from {least} to {most}, not {value}")
    elif name == "access_log" and value not in _LOGS:
        raise ValueError(f"access_log must be one of {', '.join(_LOGS)}, not {value!r}")
    elif name == "server_header":
        if not isinstance(value, str):
            raise TypeError(f"server_header must be a str, not {value!r}")
        if not ((value.isascii() and value.isprintable()) or not value):
            raise ValueError(f"server_header must be printable ASCII, not {value!r}")
    elif name == "ssl_context" and value is not None:
        _check_context(value)
    elif name == "proxy_protocol" and not isinstance(value, bool):
        raise TypeError(f"proxy_protocol must be a bool, not {value!r}")
    elif name in ("trusted_proxies", "proxy_headers"):
        return _check_names(name, value)
    return value


def _check_context(context: Any) -> None:
    if not hasattr(context, "wrap_socket"):
        raise TypeError(f"ssl_context must be an ssl.SSLContext, not {context!r}")
    protocol = getattr(getattr(context, "protocol", None), "name", "")
    if protocol == "PROTOCOL_TLS_CLIENT" or getattr(context, "check_hostname", False):
        raise ValueError("ssl_context is a client's; a server's is for ssl.Purpose.CLIENT_AUTH")


def _check_names(name: str, value: Any) -> tuple[str, ...]:
    """Return proxies, or the fields that they set: an iterable, or text with commas."""
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    names = tuple(value) if hasattr(value, "__iter__") else (value,)
    if not all(isinstance(each, str) for each in names):
        raise TypeError(f"{name} must be strings, not {value!r}")
    from .proxies import TrustedProxies

    if name == "trusted_proxies":
        TrustedProxies(names, ())
    else:
        TrustedProxies((), names)
    return names


def _unknown(name: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, [*_RANGES, *_OTHERS], n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"there is no option {name!r}{hint}"
