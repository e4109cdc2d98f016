"""The WSGI environ of a parsed request (PEP 3333, "environ Variables")."""

from __future__ import annotations

from urllib.parse import unquote

from .._grammar import COMMON_FIELDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


def make_keys(name: str) -> tuple[str, str]:
    """Return a header name as a CGI variable (RFC 3875 section 4.1.18), bare and prefixed."""
    key = name.replace("-", "_").upper()
    return key, "HTTP_" + key


_COMMON_KEYS = {
    spelling: keys
    for name in COMMON_FIELDS
    for keys in (make_keys(name),)
    for spelling in (name, name.lower())
}


def add_target(environ: dict[str, Any], target: str) -> None:
    """Put ``PATH_INFO``, percent-decoded to "bytes in str", and ``QUERY_STRING`` in."""
    path, _, query = target.partition("?")
    environ["PATH_INFO"] = unquote(path, "iso-8859-1") if "%" in path else path
    environ["QUERY_STRING"] = query


def add_fields(
    environ: dict[str, Any], fields: Iterable[tuple[str, str]], underscores: bool
) -> None:
    """Put a request's header fields in as ``HTTP_`` variables.

    A field whose bare name is a variable already (``Content-Type``) is left out. Repeated
    fields are joined with a comma, cookies with a semicolon (RFC 9113 section 8.2.3).

    Args:
        environ: is changed.
        fields: names and values.
        underscores: whether names with an underscore count: they are the same variable
            as the name with a dash, which a client may not be meant to set.

    """
    for name, value in fields:
        keys = _COMMON_KEYS.get(name)
        if keys is None:
            if "_" in name and not underscores:
                continue
            keys = make_keys(name)
        bare, key = keys
        if bare in environ:
            continue
        if key in environ:
            separator = "; " if key == "HTTP_COOKIE" else ","
            environ[key] += separator + value.strip()
        else:
            environ[key] = value.strip()
