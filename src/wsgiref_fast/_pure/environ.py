"""The WSGI environ of a parsed request (PEP 3333, "environ Variables")."""

from __future__ import annotations

from .request import make_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


def fill_environ(
    environ: dict[str, Any],
    base_environ: dict[str, Any],
    request: tuple[str, str, str],
    software: str,
    address: str,
    variables: dict[str, str],
) -> None:
    """Put a request's variables into its environ.

    ``PATH_INFO`` is the target's path, percent-decoded to "bytes in str". A header field
    whose bare name is a variable of the server already is left out.

    Args:
        environ: is changed.
        base_environ: what is the same for each request of the server; in `environ` already.
        request: method, target and version.
        software: what ``SERVER_SOFTWARE`` says.
        address: what ``REMOTE_ADDR`` says.
        variables: the header fields, as `request.parse_section` returns them.

    """
    method, target, version = request
    environ["SERVER_PROTOCOL"] = version
    environ["SERVER_SOFTWARE"] = software
    environ["REQUEST_METHOD"] = method
    path, _, query = target.partition("?")
    environ["PATH_INFO"] = _unquote(path) if "%" in path else path
    environ["QUERY_STRING"] = query
    environ["REMOTE_ADDR"] = address
    environ["CONTENT_TYPE"] = variables.get("CONTENT_TYPE", "text/plain")
    length = variables.get("CONTENT_LENGTH")
    if length:
        # One of a list of equal values.
        environ["CONTENT_LENGTH"] = (
            length.partition(",")[0].strip(" \t") if "," in length else length
        )
    for key, value in variables.items():
        bare = key[5:]
        if key[:5] != "HTTP_" or bare in base_environ or bare in _REQUEST_VARIABLES:
            continue
        if bare != "CONTENT_LENGTH" or not length:
            environ[key] = value


def _unquote(path: str) -> str:
    from urllib.parse import unquote  # not by programs that handle no request

    return unquote(path, "iso-8859-1")


_REQUEST_VARIABLES = frozenset(
    {
        "SERVER_PROTOCOL", "SERVER_SOFTWARE", "REQUEST_METHOD", "PATH_INFO", "QUERY_STRING",
        "REMOTE_ADDR", "CONTENT_TYPE",
    }
)  # fmt: skip


def add_fields(
    variables: dict[str, str], fields: Iterable[tuple[str, str]], underscores: bool
) -> None:
    """Put header fields in as CGI variables, as `request.parse_section` has them."""
    for name, value in fields:
        if "_" in name and not underscores:
            continue
        key = make_key(name)
        if key not in variables:
            variables[key] = value.strip() if key[0] == "H" else value
        elif key != "CONTENT_TYPE":
            variables[key] += ("; " if key == "HTTP_COOKIE" else ",") + value.strip()
