"""What trusted proxies say of the clients that they speak for (RFC 7239, ``X-Forwarded-*``)."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import ip_address, ip_network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from ipaddress import IPv4Address, IPv6Address

    from ..types import WSGIEnvironment

#: The fields that can be heard, and the variables that they are in an environ.
_VARIABLES = {
    "forwarded": "HTTP_FORWARDED",
    "x-forwarded-for": "HTTP_X_FORWARDED_FOR",
    "x-forwarded-proto": "HTTP_X_FORWARDED_PROTO",
    "x-forwarded-host": "HTTP_X_FORWARDED_HOST",
    "x-forwarded-port": "HTTP_X_FORWARDED_PORT",
    "x-forwarded-prefix": "HTTP_X_FORWARDED_PREFIX",
}
FIELDS = tuple(_VARIABLES)

#: The variable that is true where a trusted proxy has told the client's address; false where
#: that is a proxy's, too, or what others have said of it was dropped.
PROXIED = "wsgiref_fast.proxied"

#: The most elements of a list that are looked at, from the nearest proxy's on.
_HOPS = 64
#: The most parts that commas in quoted strings may cut an element of Forwarded into.
_PARTS = 8

# A parameter of a Forwarded element: a token, and a token or a quoted string. Nothing can be
# read in two ways, which a client would have tried again and again.
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PAIR = rf"({_TOKEN})=({_TOKEN}|\"[^\"\\]*(?:\\.[^\"\\]*)*\")"
_PAIRS = re.compile(_PAIR)
_ELEMENT = re.compile(rf"[ \t]*(?:{_PAIR}[ \t]*)?(?:;[ \t]*(?:{_PAIR}[ \t]*)?)*")

#: No address is longer, with the zone that it may have.
_LONGEST_ADDRESS = 64
_ZONE = re.compile(r"[A-Za-z0-9._~-]+")
_PORT = re.compile(r"[0-9]{1,5}")
_HIDDEN_PORT = re.compile(r"_[A-Za-z0-9._-]+")
_HOST = re.compile(r"[A-Za-z0-9._~-]+(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?")
_PREFIX = re.compile(r"(?:/(?!\.\.?(?:/|\Z))[!$&'()*+,;=:@A-Za-z0-9._~-]+)*/?")


class Addresses:
    """A set of addresses, as options name it.

    Args:
        names: addresses, networks (``10.0.0.0/8``), ``unix`` for a Unix socket, ``*`` for all.
        option: what they are given as, for the error's text.

    Raises:
        ValueError: one of them is none.

    """

    def __init__(self, names: Iterable[str], option: str) -> None:
        self._has_all = self._has_unix = False
        self._networks = []
        for text in names:
            if text == "*":
                self._has_all = True
            elif text == "unix":
                self._has_unix = True
            else:
                try:
                    self._networks.append(ip_network(text))
                except ValueError as error:
                    raise ValueError(
                        f"{option} are addresses, networks, 'unix' or '*': {error}{_hint(text)}"
                    ) from None

    def __contains__(self, address: str) -> bool:
        """Tell whether an address is among them; that of a Unix socket is empty."""
        if self._has_all:
            return True
        if not address:
            return self._has_unix
        found = parse_address(address)
        return found is not None and any(found in network for network in self._networks)


def _hint(text: str) -> str:
    """Return what may have been meant by a network that has bits of a host."""
    try:
        return f"; did you mean {ip_network(text, strict=False)}?"
    except (ValueError, TypeError):
        return ""


class TrustedProxies:
    """Tells the clients' addresses from what is forged.

    Args:
        addresses: those of the proxies: see `Addresses`.
        fields: names of the header fields that are heard. Each must be one that the
            proxies set, or take away, themselves: what they pass on is the client's word.

    Raises:
        ValueError: one of them is none.

    """

    def __init__(self, addresses: Iterable[str], fields: Iterable[str]) -> None:
        trusted = Addresses(addresses, "trusted_proxies")
        self._heard = [name.lower() for name in fields]
        for name in self._heard:
            if name not in _VARIABLES:
                raise ValueError(f"proxy_headers are among {', '.join(FIELDS)}, not {name!r}")
        if "forwarded" in self._heard and len(self._heard) > 1:
            raise ValueError("proxy_headers are Forwarded or X-Forwarded-*, not both")
        self._dropped = [
            variable for name, variable in _VARIABLES.items() if name not in self._heard
        ]
        #: Whether an address is a proxy's.
        self.trusts: Callable[[str], bool] = lru_cache(maxsize=1024)(trusted.__contains__)

    def apply(self, environ: WSGIEnvironment) -> None:
        """Put into an environ what trusted proxies say of its request, and drop what others do."""
        if not self.trusts(environ["REMOTE_ADDR"]):
            _drop(environ, _VARIABLES.values())
            return
        _drop(environ, self._dropped)
        if "forwarded" in self._heard:
            self._apply_forwarded(environ)
        else:
            self._apply_x_forwarded(environ)

    def _apply_forwarded(self, environ: WSGIEnvironment) -> None:
        """Heed ``Forwarded`` (RFC 7239): the element of the last proxy that is trusted."""
        elements = _parse_forwarded(environ.get("HTTP_FORWARDED", ""))
        chosen = self._choose([element.get("for", "") for element in elements])
        if chosen is None:
            return
        element = elements[chosen]
        self._set_client(environ, element["for"])
        _set_scheme(environ, element.get("proto", ""))
        _set_host(environ, element.get("host", ""))

    def _apply_x_forwarded(self, environ: WSGIEnvironment) -> None:
        """Heed those of ``X-Forwarded-*`` that are to be heard."""
        clients = _split(environ.get("HTTP_X_FORWARDED_FOR", ""))
        chosen = self._choose(clients)
        if chosen is not None:
            self._set_client(environ, clients[chosen])

        # Counted from the end: what a client has sent stands before all that proxies add.
        hop = 1 if chosen is None else len(clients) - chosen

        def value_of(variable: str) -> str:
            values = _split(environ.get(variable, ""))
            if len(values) >= hop:
                return values[-hop]
            return values[-1] if values else ""  # of the nearest proxy

        _set_scheme(environ, value_of("HTTP_X_FORWARDED_PROTO"))
        _set_host(environ, value_of("HTTP_X_FORWARDED_HOST"))
        port = value_of("HTTP_X_FORWARDED_PORT")
        if _is_port(port):
            environ["SERVER_PORT"] = port
        _set_prefix(environ, value_of("HTTP_X_FORWARDED_PREFIX"))

    def _choose(self, clients: list[str]) -> int | None:
        """Return which of a chain is the client: the last one that is no trusted proxy.

        What stands before one that is no address, nobody vouches for.
        """
        chosen = None
        for number in range(len(clients) - 1, -1, -1):
            address = _address_in(clients[number])
            if address is None:
                break
            chosen = number
            if not self.trusts(address):
                break
        return chosen

    def _set_client(self, environ: WSGIEnvironment, node: str) -> None:
        host, port = split_node(node)
        environ["REMOTE_ADDR"] = host
        environ["REMOTE_PORT"] = port if _is_port(port) else ""
        environ[PROXIED] = not self.trusts(host)


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Return an address; one of IPv4 that is mapped into IPv6 as that; `None` where it is none."""
    return _parse_address(text) if len(text) <= _LONGEST_ADDRESS else None


@lru_cache(maxsize=1024)
def _parse_address(text: str) -> IPv4Address | IPv6Address | None:
    host, percent, zone = text.partition("%")
    try:
        found = ip_address(host)
    except ValueError:
        return None
    mapped = getattr(found, "ipv4_mapped", None)
    if percent and (found.version == 4 or mapped or not _ZONE.fullmatch(zone)):
        return None
    return mapped or found


def _address_in(node: str) -> str | None:
    """Return the address of a node (RFC 7239 section 6), which may have a port."""
    host, port = split_node(node)
    if port and not (_is_port(port) or _HIDDEN_PORT.fullmatch(port)):
        return None
    return host if parse_address(host) is not None else None


def split_node(node: str) -> tuple[str, str]:
    """Return address and port, each empty where there is none."""
    if node.startswith("["):
        host, bracket, rest = node[1:].partition("]")
        if not bracket or rest[:1] not in ("", ":"):
            return node, ""
        return host, rest.removeprefix(":")
    if node.count(":") == 1:
        host, _, port = node.partition(":")
        return host, port
    return node, ""


def _is_port(text: str) -> bool:
    return _PORT.fullmatch(text) is not None and int(text) <= 65535


def _drop(environ: WSGIEnvironment, variables: Iterable[str]) -> None:
    """Take variables out of an environ, and leave word that there were some."""
    for variable in variables:
        if environ.pop(variable, None) is not None:
            environ[PROXIED] = False


def _split(value: str) -> list[str]:
    """Return the last elements of a list, without those that are empty."""
    parts = value.rsplit(",", _HOPS)[-_HOPS:]
    return [part for part in (part.strip(" \t") for part in parts) if part]


def _parse_forwarded(value: str) -> list[dict[str, str]]:
    """Return the last elements of a ``Forwarded``: those after all that is malformed.

    It is read from its end, which is the nearest proxy's: a client that begins with half a
    quoted string must not have it swallow what proxies add.
    """
    elements: list[dict[str, str]] = []
    end = len(value)
    for _ in range(_HOPS):
        start = _find_element(value, end)
        if start is None:
            break
        element = _read_element(value[start:end])
        if element is None:
            break
        if element:
            elements.append(element)
        if start == 0:
            break
        end = start - 1
    return elements[::-1]


def _find_element(value: str, end: int) -> int | None:
    """Return where the element starts that ends at `end`; `None` where none does."""
    comma = end
    for _ in range(_PARTS):
        comma = value.rfind(",", 0, comma)
        if _ELEMENT.fullmatch(value, comma + 1, end):
            return comma + 1
        if comma < 0 or '"' not in value[comma + 1 : end]:
            return None
    return None


def _read_element(text: str) -> dict[str, str] | None:
    """Return the parameters of a well-formed element; `None` where there is one twice."""
    element: dict[str, str] = {}
    for name, value in _PAIRS.findall(text):
        if name.lower() in element:
            return None
        if value.startswith('"'):
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        element[name.lower()] = value
    return element


def _set_scheme(environ: WSGIEnvironment, scheme: str) -> None:
    scheme = scheme.lower()
    if scheme == "https":
        environ["wsgi.url_scheme"] = scheme
        environ["HTTPS"] = "on"
    elif scheme == "http":
        environ["wsgi.url_scheme"] = scheme
        environ.pop("HTTPS", None)


def _set_host(environ: WSGIEnvironment, host: str) -> None:
    if _HOST.fullmatch(host):
        environ["HTTP_HOST"] = host


def _set_prefix(environ: WSGIEnvironment, prefix: str) -> None:
    prefix = prefix.rstrip("/")
    if prefix and _PREFIX.fullmatch(prefix):
        environ["SCRIPT_NAME"] = prefix
        path = environ["PATH_INFO"]
        if path == prefix or path.startswith(prefix + "/"):
            environ["PATH_INFO"] = path[len(prefix) :]
