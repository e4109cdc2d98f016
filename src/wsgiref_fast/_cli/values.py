"""What stands behind the options of the command line: addresses, sizes, times, and their text."""

from __future__ import annotations

import argparse
import os
import re
import socket

from .._http11.options import _RANGES, Options, kind_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    #: An address as `server.Server` takes it.
    Address = tuple[str, int] | str

DEFAULT_HOST = "127.0.0.1"
DEFAULT_ADDRESS = (DEFAULT_HOST, 8000)

_SIZE = re.compile(r"([0-9]+)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE | re.ASCII)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}

_FORMS = "host:port, :port, [IPv6]:port, unix:/path or fd://3"


class Invalid(argparse.ArgumentTypeError):
    """A value that cannot be used; the message says what can."""


def address(text: str) -> Address:
    """Return an address as a `server.Server` takes it; a path becomes an absolute one."""
    if text.startswith("unix:"):
        return _unix(text)
    if text.startswith("fd://"):
        if not _is_number(text[5:]):
            raise Invalid(f"{text!r} has no descriptor's number, as fd://3 has")
        return text
    if text.startswith(("/", "./", "../")):
        raise Invalid(f"{text!r} is no address: did you mean unix:{text}?")
    if "://" in text or "/" in text:
        raise Invalid(f"{text!r} is no address: {_FORMS}")
    host, colon, port = text.rpartition(":")
    if not colon and not _is_number(port):
        raise Invalid(f"{text!r} has no port, as {text or DEFAULT_HOST}:8000 has")
    return _host(host, text) if colon else DEFAULT_HOST, _port(port, text)


def _unix(text: str) -> str:
    path = text.removeprefix("unix:").removeprefix("//")
    if not path:
        raise Invalid("'unix:' has no path, as unix:/run/app.sock has")
    if "\0" in path:
        raise Invalid("a path has no null character")
    if not hasattr(socket, "AF_UNIX"):
        raise Invalid("this system has no Unix sockets")
    return "unix:" + os.path.abspath(path)


def _host(host: str, text: str) -> str:
    is_bracketed = host.startswith("[") and host.endswith("]")
    if is_bracketed:
        return host[1:-1]
    if ":" in host:
        raise Invalid(f"{text!r}: an IPv6 address stands in brackets, as [::1]:8000")
    if host == "*":
        raise Invalid(f"{text!r}: for all addresses write {text[1:]}")
    return host


def port(text: str) -> int:
    """Return the number of a port."""
    return _port(text, text)


def _port(port: str, text: str) -> int:
    if not _is_number(port) or int(port) > 65535:
        raise Invalid(f"{text!r}: a port is a number from 0 to 65535")
    return int(port)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def names_of(name: str) -> Callable[[str], tuple[str, ...]]:
    """Return what reads the value of an option that is a list, with commas."""

    def convert(text: str) -> tuple[str, ...]:
        found: tuple[str, ...] = _checked(name, text)
        if not found:
            raise Invalid("there is nothing in the list")
        return found

    return convert


def status_path(text: str) -> str:
    """Return the path of a status page."""
    from ..status import check_path

    if not text:
        raise Invalid("a status page's path is like /-/status")
    try:
        return check_path(text)
    except ValueError as error:
        raise Invalid(str(error)) from None


def status_allowed(text: str) -> list[str]:
    """Return the addresses that may see a status page, from a list with commas."""
    from .._http11.proxies import Addresses

    names = [part.strip() for part in text.split(",") if part.strip()]
    if not names:
        raise Invalid("there is nothing in the list")
    try:
        Addresses(names, "they")
    except ValueError as error:
        raise Invalid(str(error).removeprefix("they are ")) from None
    return names


def server_header(text: str) -> str:
    """Return what a `Server` header may say."""
    return str(_checked("server_header", text))


def workers(text: str) -> int:
    """Return a number of processes."""
    if not _is_number(text) or int(text) < 1:
        raise Invalid(f"a number from 1 on, not {text!r}")
    return int(text)


def path(text: str) -> str:
    """Return the absolute path of a file."""
    if not text or "\0" in text:
        raise Invalid("the name of a file is needed")
    return os.path.abspath(text)


def folder(text: str) -> str:
    """Return the absolute path of a folder that is there."""
    if not os.path.isdir(text):
        raise Invalid(f"there is no folder {text!r}")
    return os.path.abspath(text)


# The numbers of Options.


def converter_of(name: str) -> Callable[[str], Any]:
    """Return what reads the value of an option of `Options`, and checks it."""
    parse = {"seconds": _seconds, "bytes": _bytes, "number": _number}[kind_of(name)]

    def convert(text: str) -> Any:
        value = parse(text)
        least, most = _RANGES[name]
        if value is None or not least <= value <= most:
            raise Invalid(f"{_describe(name, least, most)}, not {text!r}")
        return value

    return convert


def _describe(name: str, least: float, most: float) -> str:
    kind = kind_of(name)
    if kind == "bytes":
        bounds = f"from {write_size(int(least))} to {write_size(int(most))}"
        return f"a number of bytes {bounds}, which may end in K, M or G"
    return f"a number{' of seconds' if kind == 'seconds' else ''} from {least:g} to {most:.8g}"


def _seconds(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _bytes(text: str) -> int | None:
    found = _SIZE.fullmatch(text.strip()) if len(text) < 30 else None
    return int(found[1]) * _UNITS[found[2].upper()] if found else None


def _number(text: str) -> int | None:
    return int(text) if _is_number(text) else None


def _checked(name: str, value: Any) -> Any:
    """Return a value that `Options` takes, or say in its words why not."""
    try:
        return getattr(Options(**{name: value}), name)
    except (TypeError, ValueError) as error:
        raise Invalid(str(error).removeprefix(f"{name} ").removeprefix("are ")) from None


def write_size(size: int) -> str:
    """Return a number of bytes as a person would write it."""
    for unit in ("T", "G", "M", "K"):
        if size and size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]}{unit}"
    return str(size)


def write_default(name: str) -> str:
    """Return the default of an option with its unit."""
    value, kind = getattr(Options, name), kind_of(name)
    if kind == "seconds":
        return f"{value:g} seconds"
    return f"{write_size(value)} bytes" if kind == "bytes" else str(value)
