"""``--workers N``: several processes under gunicorn's arbiter, each with our server."""

from __future__ import annotations

import math
import os

from .._http11.addresses import find_descriptor, write_address
from ..server import Server
from . import certificates
from .application import go_to
from .listening import explained
from .messages import Stop
from .systemd import find_passed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from .values import Address


def run(arguments: argparse.Namespace) -> int:
    """Serve with so many processes until a signal; return the exit code.

    The arbiter ends with `SystemExit`, in this process and in its children.

    Raises:
        Stop: it cannot.

    """
    certificates.load(arguments)  # what is wrong with it, is said once
    settings = make_settings(arguments)
    _try_addresses(arguments.bind)
    try:
        from .arbiter import Application
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "gunicorn":
            raise Stop('--workers needs gunicorn: pip install "wsgiref_fast[gunicorn]"') from None
        raise Stop(f"--workers: gunicorn does not run here: {error}") from None
    folder = os.getcwd()
    go_to(arguments.chdir)
    Application(arguments, settings, folder).run()
    return 0


def _try_addresses(addresses: list[Address]) -> None:
    """Bind to the addresses once: gunicorn tries in vain for seconds, and says less."""
    if "GUNICORN_PID" in os.environ:  # they are passed on by the arbiter that this takes over from
        return
    own = [address for address in addresses if find_descriptor(address) is None]
    with explained(addresses):
        if own:
            server = Server(own, bind_and_activate=False)
            try:
                server.server_bind()
            finally:
                server.server_close()


def make_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return gunicorn's settings for a command line.

    Raises:
        Stop: gunicorn cannot do it.

    """
    options = arguments.options
    settings: dict[str, Any] = {
        "bind": _make_binds(arguments.bind),
        "workers": arguments.workers,
        "threads": options.get("threads") or 1,
        "worker_class": "wsgiref_fast.gunicorn.Worker",
        "default_proc_name": arguments.app,
        "secure_scheme_headers": {},  # proxies are trusted by our own option
        "control_socket_disable": True,
    }
    if arguments.certfile is not None:
        settings["certfile"] = arguments.certfile
        settings["ssl_context"] = lambda _settings, _default: certificates.load(arguments)
    for name, option in {"backlog": "backlog", "worker_connections": "max_connections"}.items():
        if option in options:
            settings[name] = options[option]
    if "shutdown_timeout" in options:
        settings["graceful_timeout"] = max(1, math.ceil(options["shutdown_timeout"]))
    return settings


def _make_binds(addresses: list[Address]) -> list[str]:
    """Return addresses as gunicorn writes them."""
    binds = [write_address(address) for address in addresses]
    inherited = [bind for bind in binds if find_descriptor(bind) is not None]
    if inherited and len(inherited) < len(binds):
        raise Stop("--bind: with --workers, fd:// cannot stand beside other addresses")
    # gunicorn takes what systemd has passed by itself; nothing may be given to it twice.
    passed = find_passed(keeps=True)
    return [bind for bind in binds if bind not in passed]
