"""gunicorn's settings as options of ours, and those that cannot be honoured."""

from __future__ import annotations

import os

from .._http11.proxies import TrustedProxies
from .proxies import list_addresses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

#: What gunicorn takes for a limit that is 0, or beyond its own.
_LONGEST_REQUEST_LINE = 8190
_LONGEST_FIELD = 8190
_MOST_FIELDS = 32768

#: Seconds that a kept connection is still heard when its worker is to end: a request may be
#: under way, as the client was told that it could.
_DRAIN_TIMEOUT = 2.0

#: Settings that change nothing here, and why.
_WITHOUT_EFFECT = {
    "casefold_http_method": "methods stay as they were sent",
    "do_handshake_on_connect": "handshakes are made beside other connections",
    "forwarder_headers": "names with an underscore are always dropped",
    "header_map": "names with an underscore are always dropped",
    "http2_cleartext": "HTTP/2 is not spoken",
    "http_parser": "requests are parsed by wsgiref_fast",
    "http_protocols": "HTTP/2 is not spoken",
    "permit_obsolete_folding": "folded lines are always refused",
    "permit_unconventional_http_method": "any token is a method",
    "permit_unconventional_http_version": "HTTP/1.x alone is served",
    "strip_header_spaces": "such lines are always refused",
    "suppress_ragged_eofs": "a cut TLS connection is closed",
    "tmp_upload_dir": "large bodies go where TMPDIR says (raw_env)",
    "tolerate_dangerous_framing": "ambiguous framing is always refused",
}


def make_options(cfg: Any) -> dict[str, Any]:
    """Return the options of a `server.Server` that gunicorn's settings ask for."""
    field = cfg.limit_request_field_size or _LONGEST_FIELD
    fields = min(cfg.limit_request_fields or _MOST_FIELDS, _MOST_FIELDS)
    line = min(cfg.limit_request_line, _LONGEST_REQUEST_LINE) or 1 << 20  # 0: without a limit
    options: dict[str, Any] = {
        "max_connections": _limit(cfg.worker_connections, 1, 1 << 24),
        "threads": cfg.threads if cfg.threads > 1 else 0,
        "keep_alive_timeout": cfg.keepalive or 0.001,  # not kept at all, see `Loop.may_keep`
        "shutdown_timeout": cfg.graceful_timeout,
        "drain_timeout": min(_DRAIN_TIMEOUT, cfg.graceful_timeout),
        "max_request_line": max(line, 16),
        "max_header_line": _limit(field, 16, 1 << 20),
        "max_header_fields": fields,
        "max_header_section": _limit(fields * (field + 2) + 4, 16, 1 << 26),
    }
    if cfg.is_ssl:
        options["ssl_context"] = _make_context(cfg)
    if speaks_proxy_protocol(cfg):
        options["proxy_protocol"] = True
        options["trusted_proxies"] = list_addresses(cfg.proxy_allow_ips)
    return options


def speaks_proxy_protocol(cfg: Any) -> bool:
    """Tell whether connections begin with a header of the PROXY protocol."""
    return cfg.proxy_protocol not in (False, None, "off")


def _limit(value: int, least: int, most: int) -> int:
    return max(least, min(value, most))


def _make_context(cfg: Any) -> Any:
    """Return what TLS is done with, by the hook ``ssl_context`` too."""
    from gunicorn.sock import ssl_context

    context = ssl_context(cfg)
    context.set_alpn_protocols(["http/1.1"])
    return context


def check(cfg: Any) -> None:
    """Refuse what cannot be served.

    Raises:
        RuntimeError: gunicorn ends with its message.

    """
    if getattr(cfg, "protocol", "http") != "http":
        raise RuntimeError(
            f"wsgiref_fast.gunicorn.Worker speaks HTTP alone, not {cfg.protocol}: "
            "drop --protocol, or take another worker class"
        )
    for name in ("forwarded_allow_ips", "proxy_allow_ips"):
        try:
            TrustedProxies(list_addresses(getattr(cfg, name)), ())
        except ValueError as error:
            raise RuntimeError(f"{name}: {error}") from None


def find_idle_settings(cfg: Any) -> Iterator[str]:
    """Yield a line for each setting that was given and changes nothing."""
    for name, reason in _WITHOUT_EFFECT.items():
        setting = cfg.settings.get(name)
        if setting is not None and setting.get() != type(setting)().get():
            yield f"{name} has no effect with wsgiref_fast: {reason}"


def has_access_log(cfg: Any, log: Any) -> bool:
    """Tell whether a logger wants to know of each response."""
    from gunicorn.glogging import Logger

    if getattr(type(log), "access", None) is not Logger.access:
        return True  # statsd's, or somebody's own
    return bool(
        cfg.accesslog
        or cfg.logconfig
        or cfg.logconfig_dict
        or getattr(cfg, "logconfig_json", None)
        or (cfg.syslog and not cfg.disable_redirect_access_to_syslog)
    )


def has_request_hooks(cfg: Any) -> bool:
    """Tell whether somebody is to be called before or after each request."""
    if cfg.loglevel.lower() == "debug":
        return True  # gunicorn's own hook has a line for each
    return any(
        cfg.settings[name].get() is not type(cfg.settings[name])().get()
        for name in ("pre_request", "post_request")
    )


def has_other_errors(cfg: Any) -> bool:
    """Tell whether ``wsgi.errors`` goes elsewhere than to the error stream."""
    files = cfg.logconfig or cfg.logconfig_dict or getattr(cfg, "logconfig_json", None)
    return cfg.errorlog != "-" or bool(cfg.syslog or files)


def find_script_name() -> str:
    """Return the path that the application is mounted at, as the environment has it."""
    return os.environ.get("SCRIPT_NAME", "").rstrip("/")
