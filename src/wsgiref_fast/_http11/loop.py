"""The readiness loop of the HTTP/1.1 server: it accepts, waits, and knows what the time is."""

from __future__ import annotations

import errno
import heapq
import logging
import socket
import sys
import threading
import time
from collections import deque
from itertools import count

from .. import _impl
from .._pure.response import format_date_time
from .._waiting import SELECTED_AT_MOST, make_alarm
from ..util import FileWrapper
from .access_log import make_access_log
from .peer import CLOSED, NEVER, OPENING, READING, Peer
from .polling import READ, WRITE, make_poller
from .stats import Counts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..types import WSGIApplication, WSGIEnvironment
    from .exchange import Exchange
    from .options import Options
    from .pool import Pool
    from .proxies import TrustedProxies

_impl.load("connection")

_LOGGER = logging.getLogger("wsgiref_fast.server")

#: Connections that are accepted before others are heard.
_ACCEPTED_IN_A_ROW = 64

#: So many where other loops accept from the same socket: they are to have some, too.
_SHARED_IN_A_ROW = 4

#: Ready connections that are heard before it is asked again which are: a client whose turn
#: has just passed waits for so many others, not for all.
_HEARD_AT_ONCE = 16

#: Deadlines of closed connections that are left in the queue until they are half of it.
_DEAD_AT_LEAST = 1000

#: Seconds since it was accepted in which a connection's first request may come though the
#: server ends: its client has met nobody else, and would take a close for a failure.
_GRACE = 1.0

#: Seconds until accepting is tried again where the system had no descriptor left.
_PAUSE = 0.5

#: What `accept` fails with while there are too many descriptors, or too little memory.
_FULL = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Loop:
    """Serves the connections of some listening sockets, in one thread.

    Args:
        server: has the application, the options and the base environ.
        listeners: listening sockets.
        pool: runs the applications; `None`: the loop does.
        is_first: whether it is the one that calls ``service_actions``.

    """

    #: What is made of each connection.
    peer_class: type[Peer] = Peer

    def __init__(
        self, server: Any, listeners: list[socket.socket], pool: Pool | None, is_first: bool
    ) -> None:
        self.server = server
        self._is_first = is_first
        self.options: Options = server.options
        self._listeners = {listener.fileno(): listener for listener in listeners}
        self._pool = pool
        self._most_peers = min(
            -(-self.options.max_connections // self.options.loops),
            SELECTED_AT_MOST - len(listeners) - 1,  # of the alarm
        )
        is_alone = self.options.loops == 1 or server._can_share()
        self._accepted_in_a_row = _ACCEPTED_IN_A_ROW if is_alone else _SHARED_IN_A_ROW
        self.peers: dict[int, Peer] = {}
        self._poller = make_poller()
        self._deadlines: list[tuple[float, int, Peer]] = []
        self._numbers = count()
        # How many of them are of no use: of closed connections, or replaced; or more.
        self._dead = 0
        self._soon: deque[tuple[Peer, Callable[[], object]]] = deque()
        self._alarm, self._bell = make_alarm()
        self._thread: int | None = None
        self._is_accepting = False
        self._resume_at: float | None = None
        self._end_at: float | None = None
        self._served = 0
        #: What has happened so far, but for what the compiled kernels count themselves.
        self.counts: Counts = Counts()
        self._is_for_one = False
        self._is_closed = False
        self._date = (0, "")
        self._log_access = make_access_log(self.options.access_log)
        #: What puts into an environ what proxies say; `None` where none is trusted.
        self.proxies: TrustedProxies | None = self._make_proxies()
        self.is_stopping: bool = False
        #: What the compiled kernels know of all requests, while `run` runs.
        self.ground: Any = None
        self._is_cut_short = False
        self.constants: dict[str, Any] = {
            "SERVER_SOFTWARE": self.options.server_header or "wsgiref_fast",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http" if self.options.ssl_context is None else "https",
            "wsgi.multithread": pool is not None or self.options.loops > 1,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "wsgi.file_wrapper": FileWrapper,
            "wsgi.input_terminated": True,
        }
        if self.options.ssl_context is not None:
            self.constants["HTTPS"] = "on"

    def _make_proxies(self) -> TrustedProxies | None:
        if not self.options.trusted_proxies:
            return None
        from .proxies import TrustedProxies

        return TrustedProxies(self.options.trusted_proxies, self.options.proxy_headers)

    @property
    def has_served(self) -> bool:
        """Whether a request was served since `run` was called."""
        return self._served > 0

    @property
    def is_cut_short(self) -> bool:
        """Whether it was told to end at once."""
        return self._is_cut_short

    # From any thread.

    def stop(self, at_once: bool = False) -> None:
        """End `run`: once what is under way is finished, or at once."""
        if at_once:
            self._is_cut_short = True
        self.is_stopping = True
        self._wake()

    def call_soon(self, peer: Peer, action: Callable[[], object]) -> None:
        """Have the loop call something in its own thread."""
        self._soon.append((peer, action))
        if self._is_closed:
            self._do_the_rest()
        elif threading.get_ident() != self._thread:
            self._wake()

    def _wake(self) -> None:
        try:
            self._bell.send(b"\0")
        except (BlockingIOError, OSError):
            pass  # it rings already, or the loop has ended

    # The loop.

    def run(
        self, poll_interval: float | None, requests: int | None = None, until: float | None = None
    ) -> None:
        """Serve until `stop`; or so many requests, or until a time of `time.monotonic`.

        Args:
            poll_interval: seconds after which ``service_actions`` is called at the latest;
                `None`: only once something has happened.
            requests: how many are served at most.
            until: when to end without them.

        """
        self._thread = threading.get_ident()
        self._served = 0
        self._is_for_one = requests is not None
        self.ground = None
        self._poller.register(self._alarm.fileno(), READ)
        for descriptor in self._listeners:
            self._poller.register(descriptor, READ)
        self._is_accepting = True
        while not self._has_ended(requests, until):
            patience = self._patience(poll_interval, until)
            # PyPy's epoll takes no None for "for ever".
            found = self._poller.poll(-1 if patience is None else patience, _HEARD_AT_ONCE)
            _impl.heed(self, found)
            if self._soon:
                self._do_what_is_due()
            self._look_at_the_time()
            if self._is_first:
                self.server.service_actions()

    def _has_ended(self, requests: int | None, until: float | None) -> bool:
        """Tell whether there is nothing more to do; begin to end where that was asked for."""
        if requests is not None and self._served >= requests:
            self.is_stopping = True
        if self.is_stopping:
            if self._end_at is None:
                self._begin_to_end()
            assert self._end_at is not None
            return not self.peers or self._is_cut_short or time.monotonic() >= self._end_at
        return until is not None and time.monotonic() >= until

    def _do_what_is_due(self) -> None:
        """Do what was asked for by now; what comes meanwhile waits until others are heard."""
        for _ in range(len(self._soon)):
            self._guard(*self._soon.popleft())

    def _begin_to_end(self) -> None:
        """Take what has come so far, and no more."""
        end_at = time.monotonic() + self.options.shutdown_timeout
        for descriptor in list(self._listeners):
            while self._is_accepting and not self._is_for_one and self._accept(descriptor):
                pass
        self._pause_accepting()
        if self.server.ends_for_good:
            for listener in self._listeners.values():
                listener.close()  # who comes now is refused, not left to wait
        for peer in list(self.peers.values()):
            if peer.is_waiting:
                self._guard(peer, peer.on_readable)  # what it has sent is under way
                if peer.is_waiting:
                    self.let_drain(peer)
        self._end_at = end_at

    def let_drain(self, peer: Peer) -> None:
        """Close a connection that waits, unless its next request may be on the way."""
        options, seconds = self.options, self.options.drain_timeout
        usual = options.keep_alive_timeout
        if peer.is_first:
            usual = options.header_timeout if peer.opening is None else peer.opening.timeout
            seconds = max(seconds, peer.deadline - usual + _GRACE - time.monotonic())
        if seconds > 0:
            peer.set_deadline(min(seconds, usual))
        else:
            peer.close()

    def close(self) -> None:
        """Close all connections, and what the loop itself has."""
        self.is_stopping = self._is_closed = True
        for peer in list(self.peers.values()):
            peer.interrupt()  # a thread that has its socket finds it gone
            peer.close()
        self._do_the_rest()
        self._poller.close()
        self._alarm.close()
        self._bell.close()

    def _do_the_rest(self) -> None:
        """Do what is left, also what threads are late with."""
        while True:
            try:
                peer, action = self._soon.popleft()
            except IndexError:
                return
            self._guard(peer, action)

    def _patience(self, poll_interval: float | None, until: float | None) -> float | None:
        """Return for how many seconds nothing else than a connection needs to be heard.

        `None`: for ever.
        """
        if self._soon:
            return 0.0
        due = self._deadlines[0][0] if self._deadlines else NEVER
        for other in (self._resume_at, self._end_at, until):
            if other is not None and other < due:
                due = other
        if due == NEVER:
            return poll_interval
        patience = max(0.0, due - time.monotonic())
        return patience if poll_interval is None else min(poll_interval, patience)

    def heed(self, descriptor: int, events: int) -> None:
        """Go on with a connection that is ready for something, or with a new one."""
        peer = self.peers.get(descriptor)
        if peer is not None:
            # An end or an error is read, where it is not only waited to write.
            if events & WRITE and not events & READ:
                self._guard(peer, peer.on_writable)
            else:
                self._guard(peer, peer.on_readable)
        elif descriptor in self._listeners:
            self._accept(descriptor)
        elif descriptor == self._alarm.fileno():
            try:
                self._alarm.recv(4096)
            except BlockingIOError:
                pass

    def _guard(self, peer: Peer | None, action: Callable[[], object]) -> None:
        """Do something for a client; what goes wrong is logged, and costs nobody else."""
        try:
            action()
        except Exception:
            self.fail(peer)

    def fail(self, peer: Peer | None) -> None:
        """Log the current exception, and close the connection that it is about."""
        _LOGGER.exception("%s: internal error", "-" if peer is None else peer.host or "-")
        if peer is not None:
            peer.close()

    # Accepting.

    def _accept(self, descriptor: int) -> bool:
        """Accept some of those that have come; tell whether there may be more."""
        listener = self._listeners[descriptor]
        for _ in range(self._accepted_in_a_row):
            if self._is_for_one and self.is_stopping:
                return False
            if len(self.peers) >= (1 if self._is_for_one else self._most_peers):
                self._pause_accepting()
                return False
            try:
                # Past TLS's own way, which would shake hands here.
                connection, address = socket.socket.accept(listener)
            except (BlockingIOError, InterruptedError):
                return False
            except ConnectionError:
                continue  # it has gone already, others may wait behind it
            except OSError as error:
                if listener.fileno() != descriptor:
                    self.is_stopping = True  # somebody has closed it
                    return False
                if error.errno in _FULL:
                    _LOGGER.warning("cannot accept: %s", error)
                    self._pause_accepting()
                    self._resume_at = time.monotonic() + _PAUSE
                return False
            self._guard(None, lambda c=connection, a=address: self._welcome(c, a))  # type: ignore[misc]
        return True

    def _welcome(self, connection: socket.socket, address: Any) -> None:
        """Begin to serve a connection."""
        try:
            connection.setblocking(False)
            is_unix = connection.family == getattr(socket, "AF_UNIX", None)
            if address is None and not is_unix:  # macOS, of one that has gone already
                connection.close()
                return
            if not is_unix:
                _set_nodelay(connection)
            if not self.server.verify_request(connection, address):
                connection.close()
                return
            peer = self.peer_class(self, connection, address)
        except BaseException:
            connection.close()
            raise
        self.counts.accepted += 1
        self.peers[peer.descriptor] = peer
        self._guard(peer, peer.begin)
        if peer.state == CLOSED:
            return
        _impl.heed(self, [(peer.descriptor, READ)])  # most have sent their request by now
        if peer.state in (OPENING, READING) and not peer.wanted:
            self.want(peer, READ)

    def _pause_accepting(self) -> None:
        if self._is_accepting:
            self._is_accepting = False
            for descriptor, listener in self._listeners.items():
                if listener.fileno() == descriptor:  # nobody has closed it
                    self._poller.unregister(descriptor)

    def _resume_accepting(self) -> None:
        self._resume_at = None
        if not self._is_accepting and not self.is_stopping:
            self._is_accepting = True
            for descriptor in self._listeners:
                self._poller.register(descriptor, READ)

    def is_usual(self) -> bool:
        """Tell whether requests can be served without a word to the loop."""
        return self._pool is None and self._log_access is None and not self._is_for_one

    @property
    def is_ending(self) -> bool:
        """Whether `run` has begun to end: who waits has been told so."""
        return self._end_at is not None

    @property
    def may_keep(self) -> bool:
        """Whether connections may go on after the next response."""
        return not self.is_stopping and not self._is_for_one

    # For connections.

    def dispatch(self, peer: Peer) -> bool:
        """Have a request served; tell whether the connection's next one may follow at once."""
        self._served += 1
        self.counts.requests += 1
        if self._is_for_one and not self.is_stopping:
            self.is_stopping, self._end_at = True, NEVER
            self._pause_accepting()
        if self._pool is None:
            return peer.run_in_loop()
        self._submit(peer, peer.run_in_thread)
        return False

    def go_on_in_thread(self, peer: Peer) -> bool:
        """Have a thread go on with a response; false where there are none."""
        if self._pool is None:
            return False
        self._submit(peer, peer.resume_in_thread)
        return True

    def _submit(self, peer: Peer, job: Callable[[], object]) -> None:
        assert self._pool is not None
        self.ignore(peer)
        peer.deadline = NEVER
        peer.hand_to_thread()
        self._pool.submit(job)

    def want(self, peer: Peer, events: int) -> None:
        """Wait for something else on a connection's behalf."""
        if peer.wanted == 0:
            self._poller.register(peer.descriptor, events)
        elif peer.wanted != events:
            self._poller.modify(peer.descriptor, events)
        peer.wanted = events

    def ignore(self, peer: Peer) -> None:
        """Wait for nothing on a connection's behalf."""
        if peer.wanted:
            self._poller.unregister(peer.descriptor)
            peer.wanted = 0

    def forget(self, peer: Peer) -> None:
        """Close a connection's socket."""
        if self.peers.pop(peer.descriptor, None) is None:
            return
        self.ignore(peer)
        peer.say_goodbye()
        peer.sock.close()
        self._dead += peer.queued is not None
        if self._dead > _DEAD_AT_LEAST and 2 * self._dead > len(self._deadlines):
            self._deadlines[:] = [
                entry
                for entry in self._deadlines
                if entry[2].state != CLOSED and entry[0] == entry[2].queued
            ]
            heapq.heapify(self._deadlines)
            self._dead = 0
        if self._resume_at is None and not self._is_accepting:
            self._resume_accepting()

    def expect(self, peer: Peer) -> None:
        """Have a connection's deadline noticed."""
        # An entry that comes too early is moved when its time has come.
        if peer.queued is None or peer.deadline < peer.queued:
            self._dead += peer.queued is not None  # the entry that it has had until now
            peer.queued = peer.deadline
            heapq.heappush(self._deadlines, (peer.deadline, next(self._numbers), peer))

    def _look_at_the_time(self) -> None:
        now = time.monotonic()
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= now:
            queued, _, peer = heapq.heappop(deadlines)
            if peer.state == CLOSED or queued != peer.queued:
                continue
            peer.queued = None
            if peer.deadline <= now:
                self._guard(peer, peer.on_deadline)
            elif peer.deadline != NEVER:
                self.expect(peer)
        if self._resume_at is not None and self._resume_at <= now:
            self._resume_accepting()

    def application(self) -> WSGIApplication:
        """Return the server's application."""
        application: WSGIApplication | None = self.server.get_app()
        if application is None:
            raise RuntimeError("the server has no application: see set_app()")
        return application

    def make_environ(self, peer: Peer) -> WSGIEnvironment:
        """Return what each environ of a connection begins with."""
        environ: WSGIEnvironment = self.server.base_environ.copy()
        environ.update(self.constants)
        environ["REMOTE_ADDR"] = peer.host
        environ["REMOTE_PORT"] = peer.port
        if peer.variables is not None:
            environ.update(peer.variables)
        environ["wsgi.errors"] = sys.stderr
        return environ

    def date(self) -> str:
        """Return the ``Date`` of a response that begins now; it is made once a second."""
        second, text = self._date
        now = int(time.time())
        if now != second:
            text = format_date_time(now)
            self._date = now, text
        return text

    def add_counts(self, total: Counts) -> None:
        """Add all that has happened so far to a total; from any thread."""
        total.add(self.counts)
        if self.ground is not None:
            requests, received, sent, statuses = self.ground.counts()
            total.requests += requests
            total.received += received
            total.sent += sent
            for status, number in statuses.items():
                total.statuses[status] = total.statuses.get(status, 0) + number

    def log_access(self, peer: Peer, exchange: Exchange) -> None:
        """Log a response, if that is wanted."""
        if self._log_access is not None:
            self._log_access(exchange.client or peer.host or "-", exchange)

    def log_error(self, host: str, reason: str) -> None:
        """Log what went wrong with a client."""
        _LOGGER.warning("%s: %s", host, reason)


def _set_nodelay(connection: socket.socket) -> None:
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    except OSError:
        pass  # macOS, of one that has gone already: to read tells
