"""The process's environment as CGI leaves it, with its text made bytes again."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_is_request = frozenset(
    {
        "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "REQUEST_METHOD", "AUTH_TYPE",
        "CONTENT_TYPE", "CONTENT_LENGTH", "HTTPS", "REMOTE_USER", "REMOTE_IDENT",
    }
).__contains__  # fmt: skip


def _needs_transcode(k: str) -> bool:
    """Tell whether a variable comes out of the HTTP request, and so was decoded."""
    while k.startswith("REDIRECT_"):
        k = k.removeprefix("REDIRECT_")
    return _is_request(k) or k.startswith(("HTTP_", "SSL_"))


def read_environ() -> dict[str, str]:
    """Return `os.environ` with the request's variables as PEP 3333's "bytes in str".

    Their bytes are got back from the text that the operating system's interface made of
    them, and decoded as Latin-1.
    """
    transcode = _transcoder()
    return {k: transcode(v) if _needs_transcode(k) else v for k, v in os.environ.items()}


def _transcoder() -> Callable[[str], str]:
    """Choose how the bytes of a request's variable are got back from its text."""
    encoding, errors = sys.getfilesystemencoding(), "surrogateescape"
    if sys.platform == "win32":
        # The environment is text there: what it was made from depends on the server.
        software = os.environ.get("SERVER_SOFTWARE", "").lower()
        if software.startswith("apache/"):
            return str  # mod_cgi wrote each byte as one character
        if software.startswith("microsoft-iis/") or (
            software.startswith("simplehttp/") and "python/3" in software
        ):
            encoding, errors = "utf-8", "strict"
        else:
            errors = "replace"
    return lambda text: text.encode(encoding, errors).decode("iso-8859-1")
