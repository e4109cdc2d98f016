"""The certificate of a command line: loaded when it starts, and anew on SIGHUP."""

from __future__ import annotations

import re

from .messages import Stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    import ssl


def load(arguments: argparse.Namespace) -> ssl.SSLContext | None:
    """Return the TLS context that a command line asks for; `None`: it does not.

    Raises:
        Stop: a file cannot be used.

    """
    if arguments.certfile is None:
        return None
    try:
        from .._tls import make_context
    except ModuleNotFoundError as error:
        if error.name not in {"ssl", "_ssl"}:
            raise
        raise Stop("--certfile: this Python was built without ssl") from None
    password = _read_password(arguments.keyfile_password_file)
    try:
        return make_context(
            arguments.certfile,
            arguments.keyfile,
            password=password,
            ca_certs=arguments.ca_certs,
            client_certs=arguments.client_certs or "none",
        )
    except (OSError, ValueError) as error:
        text = f"{_option_of(str(error))}: {error}"
        hint = "; give --keyfile-password-file" if "password is needed" in text else ""
        hint = "; give --keyfile" if "no private key in" in text and not arguments.keyfile else hint
        raise Stop(text + hint) from None


def _option_of(text: str) -> str:
    """Return the option that an error is about."""
    what = re.split("['\"]", text, maxsplit=1)[0]  # not what is in the name of a file
    options = {
        "password": "--keyfile-password-file",
        "CA file": "--ca-certs",
        "key file": "--keyfile",
    }
    return next((option for part, option in options.items() if part in what), "--certfile")


def _read_password(path: str | None) -> str | None:
    """Return the first line of a file."""
    if path is None:
        return None
    try:
        with open(path, encoding="utf-8") as file:
            return file.readline().rstrip("\r\n")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Stop(f"--keyfile-password-file: cannot read {path!r}: {reason}") from None
