"""Serve an application until a signal: what the command line does mostly."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager

from .. import IMPLEMENTATION, __version__
from .._http11.addresses import write_address
from .._http11.loop import Loop
from ..server import Server, ending_signals
from . import application, certificates
from .listening import explained, keep_from_children
from .messages import FAILED, FINE, NAME, WAITS, Stop, paint, say, warn
from .reload import find_patience, follow_parent, take_ready, tell_ready
from .systemd import Notifier

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    import socket
    from collections.abc import Generator
    from types import FrameType
    from typing import Any

    from ..types import WSGIApplication

_ALL = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}


def serve(arguments: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM; return the exit code.

    Raises:
        Stop: it cannot.

    """
    follow_parent(find_patience(arguments))
    ready = take_ready()
    keep_from_children(arguments.bind)
    notifier = Notifier()
    context = certificates.load(arguments)
    application.go_to(arguments.chdir)
    app = application.load(arguments.app, arguments.factory)
    with explained(arguments.bind):
        server = _Service(arguments, notifier, ready, ssl_context=context)
    server.set_app(_with_status_page(server, app, arguments))
    with server, _signals(server):
        server.begin()
        try:
            server.serve_forever(server.notifier.interval or 0.5)
        except KeyboardInterrupt:
            server.is_cut = True
        server.tell_end()  # where the loop had no time to
    return FAILED if server.is_cut else FINE


def _with_status_page(
    server: Server, app: WSGIApplication, arguments: argparse.Namespace
) -> WSGIApplication:
    """Return an application with the status page that was asked for."""
    if arguments.status_path is None:
        return app
    from ..status import ALLOWED, StatusPage

    allowed = arguments.status_allowed or ALLOWED
    return StatusPage(server, app, arguments.status_path, allowed=allowed)


class _Service(Server):
    """A server that heeds signals, and tells people and the service manager what it does."""

    ends_for_good = True

    def __init__(
        self,
        arguments: argparse.Namespace,
        notifier: Notifier,
        ready: int | None,
        **options: Any,
    ) -> None:
        super().__init__(list(arguments.bind), **{**arguments.options, **options})
        self.arguments = arguments
        self.notifier = notifier
        #: Tells the reloader, which has started it, that it serves.
        self.ready = ready
        #: Whether something was under way when it ended.
        self.is_cut = False
        self._has_terminal = _is_terminal()
        self._is_hung_up = False
        self._is_told_to_end = False
        self._is_ending = False
        self._has_told_end = False

    def begin(self) -> None:
        """Tell that it serves."""
        text = f"serves {self.arguments.app} at {', '.join(_places(self))}"
        if self.ready is not None:
            say(f"{NAME} {text}")
        else:
            _greet(self, self.arguments.app)
        self.notifier.send("READY=1", f"STATUS={text}")
        tell_ready(self.ready)

    def service_actions(self) -> None:
        """Do what signals have asked for."""
        if self._is_hung_up:
            self._is_hung_up = False
            self._load_anew()
        if self._is_ending:
            self.tell_end()
        if self.notifier.interval:
            self.notifier.send_life()

    def tell_end(self) -> None:
        """Tell the manager, once, that it ends."""
        if not self._has_told_end:
            self._has_told_end = True
            self.notifier.send("STOPPING=1", "STATUS=finishes what is under way")

    # Signal handlers.

    def end(self, number: int, frame: FrameType | None) -> None:
        """End once all is finished; the second time, at once."""
        is_second, self._is_told_to_end = self._is_told_to_end, True
        self._is_ending = True
        self.stop(at_once=is_second)
        if os.isatty(2):
            self._tell_person(number, None if is_second else frame)
        if is_second:
            self.is_cut = True
            raise KeyboardInterrupt  # it may be an application that has this thread

    def hang_up(self, _number: int, _frame: object) -> None:
        """Load the certificate anew; end where it was the terminal that has gone."""
        if self._has_terminal and not _is_terminal():
            self._is_ending = True  # not yet told: a reloader that ends too says so once more
            self.stop()
        else:
            self._is_hung_up = True

    def _tell_person(self, number: int, frame: FrameType | None) -> None:
        """Say what it waits for, and end the line in which the terminal has shown ``^C``.

        The application may just be writing to `sys.stderr`, which a signal handler cannot then.
        """
        text = "\n" if number == signal.SIGINT else ""
        # A reloader's child ends so when a file has changed, too.
        if frame is not None and self.ready is None and self._is_busy(frame):
            text += f"{NAME}: {WAITS}\n"
        try:
            os.write(2, text.encode())
        except OSError:
            pass

    def _is_busy(self, frame: FrameType) -> bool:
        """Tell whether a request is under way: in this thread's frames, or anywhere."""
        return _has_application(frame) or any(
            peer.doing in {"reading", "answering"}
            for loop in self._loops
            for peer in list(loop.peers.values())
        )

    def _load_anew(self) -> None:
        """Have new connections use the certificate as it is now."""
        self.notifier.send_reloading()
        try:
            if self.options.ssl_context is None:
                warn("SIGHUP: there is no certificate to load anew")
            else:
                self.options.ssl_context = certificates.load(self.arguments)
                say(f"{NAME}: the certificate was loaded anew")
        except Stop as error:
            warn(f"{error.message}; the old certificate stays")
        self.notifier.send("READY=1")


def _has_application(frame: FrameType | None) -> bool:
    """Tell whether the loop has called an application: compiled kernels tell it afterwards."""
    is_foreign = False
    while frame is not None and frame.f_code is not Loop.run.__code__:
        is_foreign |= not frame.f_globals.get("__name__", "").startswith("wsgiref_fast.")
        frame = frame.f_back
    return is_foreign and frame is not None


@contextmanager
def _signals(server: _Service) -> Generator[None]:
    """Have signals heard by a server."""
    handlers: dict[int, Any] = dict.fromkeys(ending_signals(), server.end)
    hang_up = getattr(signal, "SIGHUP", None)
    if hang_up is not None and signal.getsignal(hang_up) is not signal.SIG_IGN:  # as under nohup
        handlers[hang_up] = server.hang_up
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    except KeyboardInterrupt:  # while it began, or closed
        server.is_cut = True
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_terminal() -> bool:
    return any(os.isatty(number) for number in range(3))


# The banner.


def _greet(server: _Service, app: str) -> None:
    name = paint(f"{NAME} {__version__}", "bold", sys.stderr)
    say(f"{name} ({IMPLEMENTATION}) serves {paint(app, 'bold', sys.stderr)}")
    for place in _places(server):
        say(f"  {paint(place, 'cyan', sys.stderr)}")
    if os.isatty(2):
        say("Ctrl+C ends it.")


def _places(server: Server) -> list[str]:
    """Return where a server can be found: URLs, the paths of Unix sockets."""
    scheme = "http" if server.options.ssl_context is None else "https"
    return [_place(scheme, listener) for listener in server.listeners]


def _place(scheme: str, listener: socket.socket) -> str:
    address: Any = listener.getsockname()
    if not isinstance(address, tuple):
        return f"unix:{os.fsdecode(address)}"
    host, port = address[:2]
    if host in _ALL:
        return f"{scheme}://{_ALL[host]}:{port}/ (and all other addresses of this machine)"
    return f"{scheme}://{write_address(address)}/"
