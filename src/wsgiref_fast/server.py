"""An HTTP/1.1 server behind the classes of `wsgiref`: kept connections, one readiness loop.

    from wsgiref_fast import serve
    serve(app, port=8000)

or, as every user of `wsgiref` knows it::

    with make_server("", 8000, app, server_class=Server) as server:
        server.serve_forever()
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time

from ._http11.addresses import EXCLUSIVELY, adopt, claim, clear_path, find_descriptor, naming
from ._http11.addresses import normalize as normalize_address
from ._http11.loop import Loop
from ._http11.options import Options
from ._http11.pool import Pool
from ._http11.stats import Ledger, Stats
from .simple_server import WSGIRequestHandler, WSGIServer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any, Unpack

    from ._http11.options import OptionValues
    from .simple_server import Address, MakeHandler
    from .types import WSGIApplication

__all__ = ["Options", "Server", "Stats", "serve"]

#: Whether the system deals connections to several sockets at one address. By the same option
#: macOS and other BSDs give all of them to one.
_DEALS = sys.platform.startswith(("linux", "android")) and hasattr(socket, "SO_REUSEPORT")

#: What ends it: Ctrl-Break too, which is all that Windows can send to another process.
_ENDING = ("SIGINT", "SIGTERM", "SIGBREAK")


class Server(WSGIServer):
    """A `WSGIServer` that speaks HTTP/1.1 from one readiness loop.

    The application is called in the loop's thread; with ``threads=N`` in one of so many.
    Request handler classes are not used.

    Args:
        server_address: ``(host, port)``; ``"unix:/path"``; ``"fd://3"``, a listening socket
            that was inherited; or a list of those.
        RequestHandlerClass: is not used; it may be any.
        bind_and_activate: listen at once.
        **options: see `Options`.

    Raises:
        OSError: an address cannot be listened on.
        TypeError, ValueError: an option is none, or has a wrong value.

    """

    #: Whether the listening sockets are closed as soon as it ends, since it never serves again.
    ends_for_good: bool = False

    #: What serves the connections.
    loop_class: type[Loop] = Loop

    #: Whether the address can be listened on at once after another server has ended.
    allow_reuse_address: bool = EXCLUSIVELY is None

    server_address: tuple[Any, ...]
    server_port: int
    address_family: int
    request_queue_size: int

    _loops: tuple[Loop, ...] = ()

    def __init__(
        self,
        server_address: Address | Sequence[Address],  # a list; as such it would be invariant
        RequestHandlerClass: MakeHandler = WSGIRequestHandler,  # noqa: N803
        bind_and_activate: bool = True,
        **options: Unpack[OptionValues],
    ) -> None:
        self.options: Options = Options(**options)
        self._ledger = Ledger()
        self.request_queue_size = self.options.backlog
        addresses = server_address if isinstance(server_address, list) else [server_address]
        if not addresses:
            raise ValueError("no address to listen on")
        first, *others = [normalize_address(address) for address in addresses]
        self._inherited = find_descriptor(first)
        # Whether other processes may listen by the same sockets.
        self._shares_sockets = any(find_descriptor(each) is not None for each in (first, *others))
        self._paths: list[tuple[str, tuple[int, int]]] = []
        self._other_addresses = others
        self._others: list[socket.socket] = []
        if isinstance(first, str) and self._inherited is None:
            self.address_family = socket.AF_UNIX
        super().__init__(first, RequestHandlerClass, bind_and_activate=False)
        if self._inherited is not None:
            self.socket.close()
            self.socket: socket.socket = adopt(self._inherited)
        if bind_and_activate:
            try:
                self.server_bind()
                self.server_activate()
            except BaseException:
                self.server_close()
                raise

    def server_bind(self) -> None:
        """Bind the sockets, and make the base environ.

        Raises:
            OSError: an address cannot be had; its `filename` says which.

        """
        with naming(self.server_address):
            self._bind_first()
        for address in self._other_addresses:
            with naming(address):
                self._others.append(self._bind_another(address))

    def _bind_first(self) -> None:
        if self._inherited is not None:
            self.server_address = self.socket.getsockname()
            if isinstance(self.server_address, tuple):
                self._host = self.server_address[0]
                self.server_port = self.server_address[1]
            else:
                self.server_port = 0
            self.setup_environ()
        else:
            if self._can_share():
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if self.address_family == getattr(socket, "AF_UNIX", None):
                clear_path(self.server_address)
            if not self.allow_reuse_address:
                claim(self.socket)
            super().server_bind()
            self._note_path(self.server_address)

    def _bind_another(self, address: Any) -> socket.socket:
        descriptor = find_descriptor(address)
        if descriptor is not None:
            return adopt(descriptor)
        if isinstance(address, str):
            clear_path(address)
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        else:
            host, port = address[:2]
            kind, flags = socket.SOCK_STREAM, socket.AI_PASSIVE
            family, *_, address = socket.getaddrinfo(host or None, port, type=kind, flags=flags)[0]
            listener = socket.socket(family, socket.SOCK_STREAM)
            if self.allow_reuse_address:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            else:
                claim(listener)
            if family == socket.AF_INET6:  # else it would take the IPv4 address too
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            listener.bind(address)
        except OSError:
            listener.close()
            raise
        self._note_path(address)
        return listener

    def _note_path(self, address: Any) -> None:
        """Remember the file of a Unix socket: it is ours to remove as long as it is that."""
        if isinstance(address, str) and address and address[0] != "\0":
            found = os.stat(address)
            self._paths.append((address, (found.st_dev, found.st_ino)))

    def server_activate(self) -> None:
        """Listen."""
        super().server_activate()
        for listener in self._others:
            listener.listen(self.request_queue_size)

    def server_close(self) -> None:
        """Close the listening sockets."""
        super().server_close()
        for listener in self._others:
            listener.close()
        paths, self._paths = self._paths, []
        for path, identity in paths:
            try:
                found = os.stat(path)
                if (found.st_dev, found.st_ino) == identity:
                    os.unlink(path)
            except OSError:
                pass

    @property
    def listeners(self) -> list[socket.socket]:
        """The listening sockets, in the order of their addresses."""
        return [self.socket, *self._others]

    @property
    def stats(self) -> Stats:
        """What the server has done so far, and what its connections do now; from any thread."""
        return self._ledger.read()

    # Serving.

    def serve_forever(self, poll_interval: float | None = 0.5) -> None:
        """Serve until `shutdown`; then finish what is under way.

        `service_actions` is called after each round, and every `poll_interval` seconds.
        """
        self._BaseServer__is_shut_down.clear()
        try:
            self._serve_loops(poll_interval, None, None)
        finally:
            self._BaseServer__shutdown_request = False
            self._BaseServer__is_shut_down.set()

    def handle_request(self) -> None:
        """Serve one request; wait for it at most `timeout` seconds, then `handle_timeout`."""
        own = self.socket.gettimeout()
        if self._shares_sockets:  # since the last call it does not block, which says nothing
            own = own or None
        bounds = [t for t in (own, self.timeout) if t is not None]
        until = time.monotonic() + min(bounds) if bounds else None
        if not self._serve_loops(0.5, 1, until):
            self.handle_timeout()

    def shutdown(self) -> None:
        """End `serve_forever`, which runs in another thread, and wait until it has ended.

        It stops accepting, and finishes what is under way within `Options.shutdown_timeout`.
        """
        self.stop()
        self._BaseServer__is_shut_down.wait()

    def stop(self, at_once: bool = False) -> None:
        """End `serve_forever`, without waiting for that: for signal handlers."""
        self._BaseServer__shutdown_request = True
        for loop in self._loops:
            loop.stop(at_once)

    def _serve_loops(
        self, poll_interval: float | None, requests: int | None, until: float | None
    ) -> bool:
        """Run the loops; tell whether a request was served."""
        self._take_tls_of_socket()
        pool = Pool(self.options.threads) if self.options.threads else None
        listeners = self.listeners
        loops: list[Loop] = []
        extra: list[socket.socket] = []
        threads: list[threading.Thread] = []
        timeouts = [listener.gettimeout() for listener in listeners]
        try:
            loops.append(self.loop_class(self, listeners, pool, True))
            for listener in listeners:
                listener.setblocking(False)
            for _ in range(1, self.options.loops if requests is None else 1):
                extra.append(self._listen_again())
                loops.append(self.loop_class(self, [extra[-1]], pool, False))
            self._loops = tuple(loops)
            self._ledger.open(loops)
            if self._BaseServer__shutdown_request:  # it came before there was one to hear it
                self.stop()
            for loop in loops[1:]:
                run = threading.Thread(target=self._run_another, args=(loop, poll_interval))
                run.daemon = True
                run.start()
                threads.append(run)
            loops[0].run(poll_interval, requests, until)
            return loops[0].has_served
        finally:
            for loop in loops[1:]:
                loop.stop()
            for thread in threads:
                thread.join(self.options.shutdown_timeout)
            self._loops = ()
            for loop in loops:
                loop.close()
            if pool is not None:
                pool.close(1.0)
            self._ledger.close()
            for listener in extra:
                listener.close()
            if not self._shares_sockets:  # else others, who share them, would block
                for listener, timeout in zip(listeners, timeouts, strict=True):
                    if listener.fileno() >= 0:
                        listener.settimeout(timeout)

    def _run_another(self, loop: Loop, poll_interval: float | None) -> None:
        """Run a loop besides the first one; when it fails, the others end too."""
        try:
            loop.run(poll_interval)
        finally:
            self.stop()

    def _listen_again(self) -> socket.socket:
        """Return another socket that listens where the first one does."""
        if not self._can_share():
            shared = self.socket
            listener = socket.fromfd(shared.fileno(), shared.family, shared.type)
            listener.setblocking(False)
            return listener
        listener = socket.socket(self.socket.family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind(self.socket.getsockname())
            listener.listen(self.request_queue_size)
            listener.setblocking(False)
        except BaseException:
            listener.close()
            raise
        return listener

    def _can_share(self) -> bool:
        """Tell whether several sockets are to listen at the first address."""
        is_unix = self.socket.family == getattr(socket, "AF_UNIX", None)
        return _DEALS and self.options.loops > 1 and self._inherited is None and not is_unix

    def _take_tls_of_socket(self) -> None:
        """Heed a listening socket that somebody has wrapped, as wsgiref's users do for TLS."""
        context = getattr(self.socket, "context", None)
        if context is not None and self.options.ssl_context is None:
            self.options.ssl_context = context


def serve(
    app: WSGIApplication,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    status_path: str | None = None,
    status_allowed: Iterable[str] | None = None,
    **options: Unpack[OptionValues],
) -> None:
    """Serve an application until SIGINT or SIGTERM, and finish what is under way.

    A second signal ends it at once. In another thread than the main one signals are not
    heard.

    Args:
        app: the WSGI application.
        host: an address or a name; ``unix:/path`` or ``fd://3`` stand for host and port.
        port: 0 for any that is free.
        status_path: where a `status.StatusPage` is to be, for example ``/-/status``.
        status_allowed: who may see it; by default this machine.
        **options: see `Options`.

    Raises:
        OSError: the address cannot be listened on.
        TypeError, ValueError: an option is none, or has a wrong value; the application
            cannot be called.

    """
    if not callable(app):
        raise TypeError(f"an application can be called; {app!r} cannot")
    if status_path is None and status_allowed is not None:
        raise ValueError("status_allowed needs status_path")
    with Server((host, port), **options) as server:
        if status_path is not None:
            from .status import ALLOWED, StatusPage

            allowed = ALLOWED if status_allowed is None else status_allowed
            app = StatusPage(server, app, status_path, allowed=allowed)
        server.set_app(app)
        serve_until_signal(server)


def serve_until_signal(server: Server) -> None:
    """Do as `serve` does with a server that is there; it can serve but once."""
    import signal

    server.ends_for_good = True

    def end(_number: int, _frame: object) -> None:
        is_second = server._BaseServer__shutdown_request
        server.stop(at_once=is_second)
        if is_second:
            raise KeyboardInterrupt  # it may be an application that has this thread

    heard = threading.current_thread() is threading.main_thread()
    numbers = ending_signals() if heard else []
    before = {number: signal.signal(number, end) for number in numbers}
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        if not heard:
            raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ending_signals() -> list[int]:
    """Return the signals that end a server, those of them that the platform has."""
    import signal

    return [getattr(signal, name) for name in _ENDING if hasattr(signal, name)]
