"""A server whose silent and idle connections wait in a selector, while others are served."""

from __future__ import annotations

import errno
import socket
import socketserver
import sys
import threading
import time
from functools import partial
from http.server import HTTPServer

from . import _hooks, _impl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._handshakes import Handshake
    from ._streams import Farewell
    from ._waiting import Action, Ready, Waiting

#: Servers that give each connection a process of its own.
FORKING = (socketserver.ForkingMixIn,) if hasattr(socketserver, "ForkingMixIn") else ()
#: Servers that give each connection a thread or a process of its own.
CONCURRENT = (socketserver.ThreadingMixIn, *FORKING)

#: Seconds to wait for a connection that somebody else may have accepted. Not none where
#: an accepted socket inherits that it does not block, as on BSD.
_ACCEPT_TIMEOUT = 0.0 if sys.platform == "linux" else 0.001

#: What heeding a connection comes to that has no request to serve.
_SILENT = object()


@_impl.accelerated
class WaitingServer(HTTPServer):
    """An HTTP server that hands a connection on when there is something to read from it.

    Each hook of `socketserver` is called as it is there. A request handler may have its
    connection kept: then it waits again, for the next request.
    """

    #: How many connections the system keeps for us to accept: a browser's burst of them,
    #: as on 3.15. With 5, some wait for seconds.
    request_queue_size: int = socket.SOMAXCONN
    #: How many connections may wait; one more, and the oldest is closed.
    waiting_limit: int = 500
    #: Seconds for a TLS handshake, which holds nobody up; `None`: any time.
    handshake_timeout: float | None = 10.0

    _waiting: Waiting | None = None
    # While serve_forever() runs: the connections that are being served in its own thread,
    # by their id, and what is to be done with each when it has bytes again, within how many
    # seconds; `None`: close it.
    _served: dict[int, tuple[Callable[[Any, Any], object], float | None] | None] | None = None
    # The kept connections that wait in a thread of their own.
    _resting: set[Any]
    # Those whose handshake is under way.
    _handshakes: dict[Any, Handshake]
    _is_closed = False
    # The thread of serve_forever() or handle_request().
    _loop_thread: int | None = None

    # The standard library's own, so that whoever sets them by that name is heard.
    _BaseServer__shutdown_request: bool
    _BaseServer__is_shut_down: Any

    def server_activate(self) -> None:
        """Listen. What serving needs is imported by now, so that no interrupt cuts it short."""
        from . import _waiting  # noqa: F401 - not by programs that only import the server

        super().server_activate()

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Serve until `shutdown`, which is heard at once.

        `service_actions` is called after each round, and every `poll_interval` seconds.
        """
        self._BaseServer__is_shut_down.clear()
        timeout = self.socket.gettimeout()
        try:
            waiting = self._start_waiting()
            self._served = {}
            if timeout is None:
                # Another process, or thread, may accept first what the selector told of.
                self.socket.settimeout(_ACCEPT_TIMEOUT)
            while not self._BaseServer__shutdown_request:
                knock, ready = waiting.wait(poll_interval)
                try:
                    if not self._BaseServer__shutdown_request:
                        self._heed(knock, ready)
                finally:
                    self._put_back(ready)
        finally:
            self._served = None
            if self._is_closed:
                self._close_waiting()
            elif timeout is None:
                self.socket.settimeout(None)
            self._BaseServer__shutdown_request = False
            self._BaseServer__is_shut_down.set()

    def _heed(self, knock: bool, ready: list[Ready]) -> None:
        """Serve those that have come; what is left in `ready` was not."""
        self._close_late()  # now: what comes while others are served may be in time
        while ready:
            _, action, _ = ready.pop(0)
            action()
        if knock and not _impl.accept(self):
            self._handle_request_noblock()
        self.service_actions()

    def shutdown(self) -> None:
        """End `serve_forever`, which runs in another thread, and wait until it has ended."""
        self._BaseServer__shutdown_request = True
        waiting = self._waiting
        if waiting is not None:
            waiting.wake()
        self._BaseServer__is_shut_down.wait()

    def handle_request(self) -> None:
        """Serve one request; wait for it at most `timeout` seconds, then `handle_timeout`."""
        bounds = [t for t in (self.socket.gettimeout(), self.timeout) if t is not None]
        deadline = time.monotonic() + min(bounds) if bounds else None
        waiting = self._start_waiting()
        while not self._handle_next(waiting, deadline):
            if deadline is not None and time.monotonic() >= deadline:
                self.handle_timeout()
                break

    def fileno(self) -> int:
        """Return a descriptor that can be read from when `handle_request` has work.

        The listening socket's; while connections wait for a program that calls
        `handle_request` by itself, one that stands for them all.
        """
        if self._waiting is not None and len(self._waiting) and self._served is None:
            try:
                return self._waiting.fileno()
            except AttributeError:
                pass  # the platform has none; they are heard at the next call
        return super().fileno()

    def _handle_next(self, waiting: Waiting, deadline: float | None) -> bool:
        """Wait for something to do, and do it; tell whether a request was served."""
        left = None if deadline is None else max(deadline - time.monotonic(), 0)
        knock, ready = waiting.wait(left)
        self._close_late()
        if ready:
            (_, action, _), *others = ready
            self._put_back(others)
            return action() is not _SILENT
        return knock and self._handle_request_noblock() is not _SILENT

    def _handle_request_noblock(self) -> Any:
        """Accept a connection; serve it, or let it wait until it has bytes."""
        handshake = request = client_address = None
        try:
            if self._defers_handshakes():
                handshake = self._accept_tls()
            else:
                request, client_address = self.get_request()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE) and self._waiting is not None:
                self._waiting.drop_oldest()
            return None
        if handshake is not None:
            return self._shake_hands(handshake)
        return self._welcome(request, client_address)

    def _welcome(self, request: Any, client_address: Any) -> Any:
        """Serve a new connection if it is to be served."""
        if not self.verify_request(request, client_address):
            self.shutdown_request(request)
            return None
        return self._begin(request, client_address)

    def _defers_handshakes(self) -> bool:
        """Tell whether connections are of TLS, and nobody else sees them before `_welcome`."""
        if not hasattr(self.socket, "do_handshake_on_connect") or not self._may_wait():
            return False
        if "get_request" in vars(self) or not _hooks.is_own(type(self), ("get_request",)):
            return False
        from . import _handshakes

        return _handshakes.can_be_deferred(self.socket)

    def _may_wait(self) -> bool:
        """Tell whether somebody hears of the connections that wait.

        Who waits for the server by its descriptor, and has `handle_request` wait for nothing,
        does not where the descriptor cannot stand for them.
        """
        if self._waiting is None:
            return False
        if self._waiting.has_descriptor or self._served is not None:
            return True
        return 0 not in (self.timeout, self.socket.gettimeout())

    def _accept_tls(self) -> Handshake:
        """Accept a connection as `get_request` does, but for its handshake."""
        from . import _handshakes

        accepted = _handshakes.accept(self.socket)
        return _handshakes.Handshake(*accepted, self.handshake_timeout, self._shake_hands)

    def _shake_hands(self, handshake: Handshake) -> Any:
        """Go on with a handshake; serve the connection at its end."""
        request, client_address = handshake.request, handshake.client_address
        self._handshakes[request] = handshake
        try:
            is_done = handshake.go_on()
        except Exception:
            self._tell_lost(handshake)
            self._shut([request])
            return None
        except:
            self._shut([request])
            raise
        if not is_done:
            self._put_back([(request, handshake, handshake.deadline)])
            return _SILENT
        del self._handshakes[request]
        return self._welcome(request, client_address)

    def _tell_lost(self, handshake: Handshake) -> None:
        """Have the current exception told: why a handshake was not done."""
        try:
            self.handle_error(handshake.request, handshake.client_address)
        except Exception:
            pass  # the original does not ask, so that none of these ends its loop

    def _begin(self, request: Any, client_address: Any) -> Any:
        """Serve a new connection, or let it wait until it has bytes."""
        if (
            self._waiting is not None
            and not isinstance(self, CONCURRENT)
            and self._may_wait()
            and self._waiting.is_silent(request)
        ):
            try:
                self._let_wait(request, partial(self._serve, request, client_address))
            except (KeyError, OSError, TypeError, ValueError):
                pass  # it cannot wait: it is served at once
            else:
                return _SILENT
        self._serve(request, client_address)
        return None

    def _serve(self, request: Any, client_address: Any) -> None:
        """Process a request as `socketserver` does: an exception is handled, and closes."""
        try:
            self.process_request(request, client_address)
        except Exception:
            self.handle_error(request, client_address)
            self.shutdown_request(request)
        except:
            self.shutdown_request(request)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection; then close it, or let it wait as its handler has asked."""
        served = self._served
        if served is None:
            self.finish_request(request, client_address)
            self.shutdown_request(request)
            return
        served[id(request)] = None
        try:
            self.finish_request(request, client_address)
        except:
            del served[id(request)]
            raise
        self._end(request, client_address, True)

    def _end(self, request: Any, client_address: Any, may_wait: bool) -> None:
        """Close a connection that was served, or let it wait as its handler has asked."""
        then = (self._served or {}).pop(id(request), None)
        if then is None or not may_wait:
            self.shutdown_request(request)
        else:
            action, patience = then
            self._let_wait(request, partial(action, request, client_address), patience)

    # For request handlers; the server that one has may be another, or a stand-in.

    def _can_keep(self, request: Any) -> bool:
        """Tell whether a connection that is being served can wait in the selector."""
        return (
            self._served is not None
            and id(request) in self._served
            and self._waiting is not None
            and self._waiting.can_hold(request)
        )

    def _keep(self, request: Any) -> None:
        """Have a connection wait for its next request."""
        if self._served is not None:
            self._served[id(request)] = self._serve, None

    def _let_drain(self, request: Any, farewell: Farewell) -> bool:
        """Have a connection wait for its end; false where it cannot."""
        if self._served is None or not self._can_keep(request):
            return False
        self._served[id(request)] = partial(self._drain, farewell), farewell.patience()
        return True

    def _drain(self, farewell: Farewell, request: Any, client_address: Any) -> object:
        if farewell.receive():
            again = partial(self._drain, farewell, request, client_address)
            self._let_wait(request, again, farewell.patience())
        else:
            self.shutdown_request(request)
        return _SILENT

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print the current exception; a client that went away is one line of log."""
        error = sys.exc_info()[1]
        if isinstance(error, (ConnectionError, TimeoutError)) or _is_of_tls(error):
            print(f"{_host_of(client_address)} - - connection lost: {error}", file=sys.stderr)
        else:
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        """Close the listening socket and the connections that wait."""
        self._is_closed = True
        super().server_close()
        if self._waiting is None:
            return
        self._shut(self._waiting.take_all())
        for request in list(self._resting):
            try:
                request.shutdown(socket.SHUT_RDWR)  # its thread closes it
            except OSError:
                pass
        if self._served is None:
            self._close_waiting()

    def _close_waiting(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._shut(waiting.take_all())
            waiting.close()

    def _start_waiting(self) -> Waiting:
        self._loop_thread = threading.get_ident()
        if self._waiting is None:
            from ._waiting import Waiting

            self._waiting = Waiting(self.waiting_limit)
            self._resting = set()
            self._handshakes = {}
        # fileno() may be a subclass's own; ours stands for more while connections wait.
        self._waiting.listen(self.socket.fileno() if len(self._waiting) else self.fileno())
        return self._waiting

    def _let_wait(self, request: Any, action: Action, timeout: float | None = None) -> None:
        """Let a connection wait; by default as long as its handler would."""
        if timeout is None:
            patience = getattr(self.RequestHandlerClass, "timeout", None)
            timeout = patience if isinstance(patience, (int, float)) else None
        if self._waiting is None:  # the server was closed meanwhile
            self.shutdown_request(request)
        else:
            self._waiting.add(request, action, timeout)

    def _put_back(self, connections: list[Ready]) -> None:
        for ready in connections:
            if self._waiting is None:
                self._shut([ready[0]])
            else:
                self._waiting.put_back(ready)

    def _close_late(self) -> None:
        if self._waiting is None:
            return
        late = self._waiting.take_late()
        for handshake in [self._handshakes[r] for r in late if r in self._handshakes]:
            try:
                handshake.give_up()
            except OSError:
                self._tell_lost(handshake)
        self._shut(late)

    def _shut(self, requests: list[Any]) -> None:
        for request in requests:
            if self._handshakes.pop(request, None) is None:
                self.shutdown_request(request)
            else:
                request.close()  # it was no connection yet: no hook has heard of it


_hooks.note(HTTPServer, socketserver.TCPServer, socketserver.BaseServer)


def _is_of_tls(error: Any) -> bool:
    ssl = sys.modules.get("ssl")  # without it there is no such error
    return ssl is not None and isinstance(error, ssl.SSLError)


def _host_of(client_address: Any) -> str:
    return str(client_address[0] if isinstance(client_address, tuple) else client_address)
