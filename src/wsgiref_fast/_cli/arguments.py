"""The arguments of the command line: which there are, and what becomes of them."""

from __future__ import annotations

import argparse
import os
from difflib import get_close_matches

from .. import IMPLEMENTATION, __version__
from .._http11.addresses import write_address
from .._http11.options import _LOGS, _RANGES, Options, kind_of
from . import values
from .messages import NAME, USAGE, Stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

_DESCRIPTION = """\
Serve a WSGI application; or start a program on a faster wsgiref (run), or serve
the demo application (demo).
"""

_EPILOG = """\
exit codes:
  0    it has served until SIGINT or SIGTERM, and finished what was under way;
       --check found nothing
  1    an address cannot be listened on; a second signal has ended it at once;
       --check found something
  2    bad input: an option, a file that it names, or an application that cannot
       be imported
  3, 4 gunicorn's, with --workers: a worker does not begin, or cannot import the
       application
  130  it was interrupted before it served

SIGHUP loads the certificate anew. Sockets that systemd passes are served where
no --bind is given.
"""

#: What the numbers of `Options` are for; what has no text here is called by its name.
_HELP = {
    "max_request_line": "longest request line",
    "max_header_line": "longest header line",
    "max_header_section": "longest header section",
    "max_header_fields": "most header fields of a request",
    "max_body": "longest body of a request",
    "max_trailers": "longest trailers of a chunked body",
    "max_chunk_overhead": "most of a chunked body that is not data",
    "spool_size": "a longer body goes to a temporary file",
    "max_unread": "most that is read from a client that was refused",
    "max_connections": "most connections at once; others wait",
    "backlog": "connections that the system keeps until they are accepted",
    "header_timeout": "for the head of a request",
    "keep_alive_timeout": "a connection may be idle between two requests",
    "body_timeout": "without a byte of a request's body",
    "send_timeout": "in which a client takes nothing of a response",
    "handshake_timeout": "for a TLS handshake",
    "shutdown_timeout": "for what is under way when it ends",
    "drain_timeout": "for one more request of each idle connection when it ends",
    "threads": "threads that run the application; 0: the loop's own does",
    "loops": "loops, each with a thread; for free-threaded Python",
}

#: What others call it.
_OTHER_NAMES = {
    **dict.fromkeys(("--host", "--port", "--address", "-p", "-b", "-H"), "--bind host:port"),
    **dict.fromkeys(("--ssl-certfile", "--cert"), "--certfile"),
    **dict.fromkeys(("--ssl-keyfile", "--key"), "--keyfile"),
    **dict.fromkeys(("--app-dir", "--pythonpath"), "--chdir"),
    **dict.fromkeys(("--ssl", "--tls", "--https"), "--certfile"),
    **dict.fromkeys(("--log", "--access-logfile"), "--access-log"),
    **dict.fromkeys(("--debug", "--watch"), "--reload"),
    **dict.fromkeys(("-v", "-V"), "--version"),
    "-w": "--workers",
    "-t": "--threads",
    "-k": "--workers",
}


class _Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """Raise what ends the program."""
        raise Stop(message.removeprefix("argument "))


def parse(argv: list[str]) -> argparse.Namespace:
    """Return what a command line says; what was not given is None, or false.

    ``app`` is the application, ``bind`` a list of addresses as `Server` takes them,
    ``options`` the options of `Options` that were given (each is an attribute, too), and
    ``argv`` all arguments.

    Raises:
        Stop: it is not understood.
        SystemExit: the help or the version was asked for.

    """
    try:
        os.getcwd()
    except FileNotFoundError:
        raise Stop("the current folder is there no more: go to another one") from None
    parser = make_parser()
    arguments, others = parser.parse_known_args(argv)
    if others:
        _refuse(others, parser)
    if not arguments.app:
        raise Stop("an application is needed: module:app", details=f"usage: {USAGE}")
    _check_together(arguments)
    arguments.argv = list(argv)
    names = [name for name in vars(Options) if not name.startswith("_")]
    given = {name: getattr(arguments, name, None) for name in names}
    arguments.options = {name: value for name, value in given.items() if value is not None}
    try:
        Options(**arguments.options)
    except (TypeError, ValueError) as error:  # two that do not go together
        text = str(error)
        for name in arguments.options.keys() | {"trusted_proxies"}:
            text = text.replace(name, f"--{name.replace('_', '-')}")
        raise Stop(text) from None
    return arguments


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of a command line that serves an application."""
    parser = _Parser(
        prog=NAME,
        usage=USAGE,
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    version = f"{NAME} {__version__} ({IMPLEMENTATION})"
    parser.add_argument("--version", action="version", version=version)
    parser.add_argument(
        "app",
        nargs="?",
        metavar="module:app",
        help="the application; without a name it is called app or application",
    )
    _add_application(parser)
    _add_serving(parser)
    _add_tls(parser)
    _add_development(parser)
    _add_limits(parser)
    return parser


def _add_application(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("application")
    group.add_argument("--factory", action="store_true", help="call it to get the application")
    group.add_argument(
        "--chdir",
        type=values.folder,
        metavar="FOLDER",
        help="go there first; files that other options name are looked for from here",
    )
    group.add_argument(
        "--check",
        action="store_true",
        help="do not serve: send it a GET and a HEAD, and say how it breaks the rules of WSGI",
    )


def _add_serving(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("serving")
    group.add_argument(
        "--bind",
        action="append",
        type=values.address,
        metavar="ADDRESS",
        help="host:port, :port, port, [IPv6]:port, unix:/path or fd://N; may be given several "
        f"times (default: {write_address(values.DEFAULT_ADDRESS)})",
    )
    _add_number(group, "threads")
    _add_number(group, "loops")
    group.add_argument(
        "--workers", type=values.workers, metavar="N", help="processes; this needs gunicorn"
    )
    group.add_argument(
        "--access-log", choices=_LOGS, help=f"lines of log (default: {Options.access_log})"
    )
    group.add_argument(
        "--server-header",
        type=values.server_header,
        metavar="TEXT",
        help=f"what Server says; empty: no such header (default: {Options.server_header})",
    )
    group.add_argument(
        "--trusted-proxies",
        type=values.names_of("trusted_proxies"),
        metavar="LIST",
        help="who is believed what they say of their clients: addresses, networks, unix, *; "
        "with commas between them",
    )
    group.add_argument(
        "--proxy-headers",
        type=values.names_of("proxy_headers"),
        metavar="LIST",
        help="the headers in which they say it: forwarded, or some of x-forwarded-for, -proto, "
        f"-host, -port and -prefix (default: {','.join(Options.proxy_headers)})",
    )
    group.add_argument(
        "--proxy-protocol",
        action="store_true",
        default=None,
        help="connections begin with the PROXY protocol, version 1 or 2",
    )
    group.add_argument(
        "--status-path",
        type=values.status_path,
        metavar="PATH",
        help="show there what the server does, below it as /metrics for Prometheus and /json",
    )
    group.add_argument(
        "--status-allowed",
        type=values.status_allowed,
        metavar="LIST",
        help="who may see it: addresses, networks, unix, * (default: this machine)",
    )


def _add_tls(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("TLS")
    for option, text in (
        ("--certfile", "PEM file of the certificate; this makes it HTTPS"),
        ("--keyfile", "PEM file of its key (default: it is in the same file)"),
        ("--keyfile-password-file", "file that has the password of the key"),
        ("--ca-certs", "PEM file, or folder, of who signs the certificates of clients"),
    ):
        group.add_argument(option, type=values.path, metavar="FILE", help=text)
    group.add_argument(
        "--client-certs",
        choices=("none", "optional", "required"),
        help="whether clients have to show a certificate (default: none)",
    )


def _add_development(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("development")
    group.add_argument("--reload", action="store_true", help="start anew when a file changes")
    group.add_argument(
        "--reload-dir",
        action="append",
        type=values.folder,
        metavar="FOLDER",
        help="watch this one; may be given several times (default: the current one)",
    )


def _add_limits(parser: argparse.ArgumentParser) -> None:
    limits = parser.add_argument_group("limits", "Bytes may end in K, M or G: 10M.")
    times = parser.add_argument_group("times", "In seconds.")
    for name in _RANGES:
        if name not in {"threads", "loops"}:
            _add_number(times if kind_of(name) == "seconds" else limits, name)


def _add_number(group: Any, name: str) -> None:
    kind = kind_of(name)
    text = _HELP.get(name, name.replace("_", " "))
    group.add_argument(
        "--" + name.replace("_", "-"),
        type=values.converter_of(name),
        metavar={"seconds": "SECONDS", "bytes": "BYTES", "number": "N"}[kind],
        help=f"{text} (default: {values.write_default(name)})",
    )


# What the parser cannot say.


def _refuse(others: list[str], parser: argparse.ArgumentParser) -> NoReturn:
    """Say what is wrong with arguments that are none."""
    other = others[0]
    if not other.startswith("-"):
        raise Stop(f"one application at a time: what is {other!r}?", details=f"usage: {USAGE}")
    name = other.partition("=")[0]
    hint = _OTHER_NAMES.get(name)
    if hint is None:
        known = [each for each in parser._option_string_actions if each.startswith("--")]
        hint = next(iter(get_close_matches(name, known, 1, 0.7)), None)
    if hint is not None:
        raise Stop(f"there is no option {name}: did you mean {hint}?")
    raise Stop(f"there is no option {name}: --help shows all")


def _check_together(arguments: argparse.Namespace) -> None:
    """Refuse options that do not go together."""
    for name in ("keyfile", "keyfile_password_file", "ca_certs", "client_certs"):
        if getattr(arguments, name) is not None and arguments.certfile is None:
            raise Stop(f"--{name.replace('_', '-')} is for TLS: it needs --certfile, too")
    if (arguments.client_certs or "none") != "none" and arguments.ca_certs is None:
        raise Stop("--client-certs needs --ca-certs: who signs the certificates")
    if arguments.ca_certs is not None and (arguments.client_certs or "none") == "none":
        raise Stop("--ca-certs needs --client-certs optional or required")
    if arguments.status_allowed and arguments.status_path is None:
        raise Stop("--status-allowed needs --status-path")
    if arguments.status_path is not None and arguments.workers:
        raise Stop(
            "--status-path and --workers do not go together: each process has its own numbers"
        )
    if arguments.reload_dir and not arguments.reload:
        raise Stop("--reload-dir needs --reload")
    if arguments.reload and arguments.workers:
        raise Stop("--reload and --workers do not go together: one is for development")
    binds = [write_address(each) for each in arguments.bind or () if _is_one(each)]
    twice = next((each for each in binds if binds.count(each) > 1), None)
    if twice is not None:
        raise Stop(f"--bind: {twice} is given twice")


def _is_one(address: values.Address) -> bool:
    """Tell whether an address stands for one: port 0 is another one each time."""
    return isinstance(address, str) or address[1] != 0


def parse_demo(argv: list[str]) -> argparse.Namespace:
    """Return the host and the port of ``demo``.

    Raises:
        Stop: they are not understood.
        SystemExit: the help was asked for.

    """
    parser = _Parser(prog=f"{NAME} demo", description="Serve the demo application.")
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1")
    parser.add_argument("--port", type=values.port, default=8000, help="default: 8000")
    arguments, others = parser.parse_known_args(argv)
    if others:
        raise Stop(f"demo: what is {others[0]!r}? It takes --host and --port")
    return arguments
