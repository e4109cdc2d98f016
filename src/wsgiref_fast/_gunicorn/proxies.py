"""What trusted proxies say of their clients, as gunicorn has it."""

from __future__ import annotations

from .._http11.proxies import TrustedProxies

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..types import WSGIEnvironment


class Senders(TrustedProxies):
    """Proxies that speak the PROXY protocol: header fields are another matter."""

    def apply(self, environ: WSGIEnvironment) -> None:
        """Leave an environ as it is."""


class Schemes:
    """Heeds the fields that tell of HTTPS (``secure_scheme_headers``), from who may set them.

    Args:
        cfg: gunicorn's settings.

    Attributes:
        variables: what these fields are in an environ.

    Raises:
        ValueError: ``forwarded_allow_ips`` has what is no address.

    """

    def __init__(self, cfg: Any) -> None:
        headers = cfg.secure_scheme_headers or {}
        self._secure = {
            "HTTP_" + name.upper().replace("-", "_"): value for name, value in headers.items()
        }
        self.variables = tuple(self._secure)
        self._trusts = TrustedProxies(list_addresses(cfg.forwarded_allow_ips), ()).trusts

    def heed(self, environ: WSGIEnvironment) -> bool:
        """Set the scheme by such fields; false where they contradict each other."""
        if not self._trusts(environ["REMOTE_ADDR"]):
            return True
        found = {
            environ[variable] == secure
            for variable, secure in self._secure.items()
            if variable in environ
        }
        if len(found) > 1:
            return False
        if True in found:
            environ["wsgi.url_scheme"] = "https"
            environ["HTTPS"] = "on"
        elif found:
            environ["wsgi.url_scheme"] = "http"
            environ.pop("HTTPS", None)
        return True


def list_addresses(setting: Any) -> list[str]:
    """Return the addresses of a setting, which may be text; Unix sockets are always trusted."""
    if isinstance(setting, str):
        setting = setting.split(",")
    return ["unix", *(address.strip() for address in setting if address.strip())]
