"""What the servers for frameworks have in common."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def take_tls(options: dict[str, Any]) -> dict[str, Any]:
    """Return options with an ``ssl_context`` in place of ``certfile`` and ``keyfile``.

    Raises:
        TypeError: there is a key file only, or a context as well.
        ValueError, OSError: a file cannot be used.

    """
    taken = dict(options)
    certfile, keyfile = taken.pop("certfile", None), taken.pop("keyfile", None)
    if certfile is None and keyfile is None:
        return taken
    if certfile is None:
        raise TypeError("keyfile needs certfile, the file of its certificate")
    if taken.get("ssl_context") is not None:
        raise TypeError("certfile and ssl_context exclude each other")
    from ._tls import make_context

    taken["ssl_context"] = make_context(certfile, keyfile)
    return taken
