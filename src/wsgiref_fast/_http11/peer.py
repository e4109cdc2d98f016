"""A connection of the HTTP/1.1 server: its socket, what waits to be sent, what comes next."""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
import time
from functools import partial

from .._pure.connection import CONTINUE, Connection
from .._pure.request import BadRequest
from .._tracebacks import show
from .exchange import Exchange
from .outbox import Outbox
from .polling import READ, WRITE
from .response import refuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..types import WSGIEnvironment
    from .loop import Loop
    from .opening import Opening
    from .options import Options

#: Bytes of one call, and how many calls before others are heard.
_RECEIVED_AT_MOST = 65536
_RECEIVED_IN_A_TURN = 4

#: Bytes of TLS at once: OpenSSL says nothing of what a client took of more.
_SENT_AT_MOST = 16384

#: Bytes of a file that are sent by one call: others are to be heard in between.
_FILE_AT_ONCE = 1 << 20

#: Requests that a client may have sent ahead and that are answered before others are heard.
_ANSWERED_IN_A_ROW = 16

#: Seconds for a client that was refused to stop sending.
_LINGER_TIME = 2.0

#: The deadline of a connection whose next step is not the client's.
NEVER = float("inf")

# What a connection does, and what that is called.
OPENING, READING, ANSWERING, LINGERING, CLOSED = range(5)
_DOINGS = ("opening", "reading", "answering", "closing", "closed")


class Peer:
    """A client's connection.

    Args:
        loop: the loop that it belongs to.
        sock: its socket, which does not block; with TLS, not yet shaken hands.
        address: the client's, as the socket's family has it.

    """

    __slots__ = (
        *("_has_closed_writing", "_has_turn_coming", "_is_aborted", "_is_in_thread"),
        *("_is_running", "_is_timed", "_may_hear_more", "_outbox", "_sent_in_thread", "_unread"),
        *("connection", "deadline", "descriptor", "exchange", "host", "is_first"),
        *("is_plain", "loop", "opening", "options", "port", "queued", "sock", "state"),
        *("variables", "wanted"),
    )

    def __init__(self, loop: Loop, sock: socket.socket, address: Any) -> None:
        self.loop = loop
        self.options: Options = loop.options
        self.sock: socket.socket = sock
        self.descriptor: int = sock.fileno()
        #: The client's address and port, as text; of a Unix socket there are none.
        has_port = isinstance(address, tuple)
        self.host: str = str(address[0]) if has_port else ""
        self.port: str = str(address[1]) if has_port else ""
        #: What all its environs have besides; `None`: nothing.
        self.variables: dict[str, Any] | None = None
        #: What comes before its first request, until it has come.
        self.opening: Opening | None = None
        self.connection: Connection = Connection(self.options)
        self.exchange: Exchange | None = None
        self.state: int = READING
        #: What the loop waits for on its behalf; nothing: it is new, or a thread has it.
        self.wanted = 0
        #: When its time is over, and the time under which the loop has it in its queue.
        self.deadline: float = 0.0
        self.queued: float | None = None
        #: Whether there is nothing between its bytes and the system.
        self.is_plain: bool = type(sock) is socket.socket
        #: Whether it has sent no request yet.
        self.is_first: bool = True
        self._outbox = Outbox()
        # Whether the exchange is being worked on, and whether by a thread: it has the socket then.
        self._is_running = False
        self._is_in_thread = False
        self._sent_in_thread = 0
        # Whether the time for the current head runs already.
        self._is_timed = False
        self._unread = 0
        self._has_closed_writing = False
        # Whether `advance_later` will be called; whether it may be sending as it is closed on.
        self._has_turn_coming = False
        self._may_hear_more = False
        # Whether it is to see that it did not get all.
        self._is_aborted = False

    @property
    def is_closed(self) -> bool:
        """Whether there is nobody to send anything to."""
        return self.state == CLOSED

    @property
    def is_waiting(self) -> bool:
        """Whether nothing is under way."""
        is_open = self.state in (OPENING, READING)
        return is_open and not self._outbox and self.connection.is_idle

    @property
    def doing(self) -> str:
        """What it does, in a word: see `stats.Stats`."""
        opening, state = self.opening, self.state  # in this order: they may be changing
        if opening is not None:
            return opening.doing
        return "idle" if state == READING and self.is_waiting else _DOINGS[state]

    @property
    def is_blocked(self) -> bool:
        """Whether something that was to be sent is still here."""
        return bool(self._outbox)

    def pause(self) -> None:
        """Have the loop hear others first, if it is the loop that sends."""
        if not self._is_in_thread:
            self._outbox.hold(b"")

    @property
    def can_send_files(self) -> bool:
        """Whether the system can send a file to the socket by itself."""
        return type(self.sock) is socket.socket and hasattr(os, "sendfile")

    def date(self) -> str:
        """Return what ``Date`` says."""
        return self.loop.date()

    def make_environ(self) -> WSGIEnvironment:
        """Return what each environ of this connection begins with."""
        return self.loop.make_environ(self)

    def log_error(self, reason: str) -> None:
        """Log what went wrong with this client."""
        self.loop.log_error(self.host or "-", reason)

    def log_exception(self, errors: Any) -> None:
        """Print the current exception to an environ's ``wsgi.errors``.

        That by which a second signal gets out of an application is none of the application's.
        """
        error = sys.exception()
        assert error is not None
        if isinstance(error, KeyboardInterrupt) and self.loop.is_cut_short:
            return
        try:
            errors.write(show(error, error.__traceback__))
            errors.flush()
        except Exception:
            self.log_error("wsgi.errors cannot be written to")

    # What the loop has heard.

    def begin(self) -> None:
        """Begin to be heard: with what comes before the first request, or with that."""
        if self.options.proxy_protocol or self.options.ssl_context is not None:
            from .opening import Opening

            self.opening = Opening(self)  # first: whoever asks what it does looks there
            self.state = OPENING
            self.opening.begin()
        else:
            self.begin_to_listen()

    def begin_to_listen(self) -> None:
        """Wait for the first request; not for long where the server ends."""
        self.state = READING
        self.opening = None
        self.set_deadline(self.options.header_timeout)
        if self.loop.is_ending:
            self.loop.let_drain(self)

    def on_readable(self) -> None:
        """Go on, as there are bytes, or the client has closed its side."""
        if self.opening is not None:
            self.opening.go_on()
        elif self.state == READING:
            self._read()
        elif self.state == LINGERING:
            self._drop_unread()
        else:
            self.close()  # it has gone while its response is being made

    def on_writable(self) -> None:
        """Go on, as the client takes bytes again."""
        if self.opening is not None:
            self.opening.go_on()
        elif not self._flush():
            return
        elif self.state == ANSWERING:
            assert self.exchange is not None
            if self.loop.go_on_in_thread(self):
                return
            self._is_running = True
            try:
                is_finished = self.exchange.resume()
            finally:
                self._is_running = False
            if self.finish_in_loop(is_finished):
                self.loop.want(self, READ)
                self.advance()
        elif self.state == READING:
            self.loop.want(self, READ)
            self.advance()
        elif self.state == LINGERING:
            self._linger()

    def on_deadline(self) -> None:
        """Give up, as the time is over."""
        # What it has sent or taken meanwhile may have been in time, while others were served.
        deadline = self.deadline
        if self.opening is not None:
            self.opening.on_deadline()
        elif self._outbox:
            self.on_writable()
            if self._outbox and self.deadline == deadline:
                self.note_timeout("send")
                self.log_error("client takes nothing of its response")
                self.abort()
        elif self.state == READING:
            connection = self.connection
            data = self._receive()
            if data:
                connection.receive(data)
                self.advance()
                if self.state != READING or self.deadline != deadline:
                    return
            if connection.is_idle:
                self.note_timeout("idle")
                self.close()
            else:
                what = "head" if connection.is_in_head else "body"
                self.note_timeout(what)
                self._refuse(BadRequest(408, f"Request {what} not received in time"))
        elif self.state == LINGERING:
            self.close()

    def note_timeout(self, kind: str) -> None:
        """Count a time that was over: see `stats.Stats`."""
        self.loop.counts.timeouts[kind] += 1

    # Reading.

    def _receive(self) -> bytes | None:
        """Return what has come, empty at its end; `None` where nothing has."""
        try:
            data = self.sock.recv(_RECEIVED_AT_MOST)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            if is_wanting(error):
                return None
            self._forget(error)
            return b""
        self.loop.counts.received += len(data)
        return data

    def _read(self) -> None:
        if self._has_turn_coming:
            return  # first what is here
        data = self._receive()
        if data is None:
            return
        self.connection.receive(data)
        turns = 1
        while data and self._may_have_more(len(data), turns):
            data = self._receive()
            if data is None:
                break
            self.connection.receive(data)
            turns += 1
        self.advance()

    def _may_have_more(self, size: int, turns: int) -> bool:
        """Tell whether to receive again, after so many bytes the last time."""
        if self.is_plain:
            return size == _RECEIVED_AT_MOST and turns < _RECEIVED_IN_A_TURN
        # What TLS holds, the poller knows nothing of.
        pending = getattr(self.sock, "pending", None)
        return pending is not None and pending() > 0

    # For the short cut through what is plain.

    def take(self, data: bytes) -> None:
        """Go on with bytes that have been received; none: the client sends no more."""
        self.connection.receive(data)
        self.advance()

    def adopt(
        self, data: bytes, status: str | None, headers: list[tuple[str, str]] | None
    ) -> Exchange:
        """Return the exchange of a request that is being served already."""
        self.connection.receive(data)
        request = self.connection.next_request()
        assert request is not None
        self.loop.counts.requests += 1
        self.is_first = self._is_timed = False
        self.state = ANSWERING
        self._is_running = True
        self.exchange = Exchange(self, request, not self.loop.is_stopping)
        if status is not None and headers is not None:
            # As they were found good when the application gave them.
            self.exchange.response.status = status
            self.exchange.response.headers = headers
        return self.exchange

    def conclude(self, rest: bytes, go_on: Callable[..., bool], *arguments: Any) -> None:
        """Go on with an adopted exchange, by one of its methods; then with the rest received."""
        self._is_running = True
        try:
            is_finished = go_on(*arguments)
        finally:
            arguments = ()  # an error among them, whose traceback has this frame, is a cycle
            self._is_running = False
        if rest:
            self.connection.receive(rest)
        if self.finish_in_loop(is_finished):
            self.advance()

    def send_late(self, data: bytes, rest: bytes) -> None:
        """Send what is left of a response when the client takes it; then go on."""
        self._take_over(data, rest)
        self._want_to_write()

    def end(self, data: bytes, rest: bytes) -> None:
        """Send what is left of the last response when the client takes it; then close."""
        self._take_over(data, rest)
        self._linger()

    def _take_over(self, data: bytes, rest: bytes) -> None:
        """Hold what is left of a response, and what has come after its request."""
        self.is_first = self._is_timed = False
        if data:
            self._outbox.hold(data)
        if rest:
            self.connection.receive(rest)

    def advance(self) -> None:
        """Serve the requests that are here."""
        connection = self.connection
        for _ in range(_ANSWERED_IN_A_ROW):
            try:
                request = connection.next_request()
            except BadRequest as error:
                self._refuse(error)
                return
            except OSError as error:  # there is no place for its body
                self.log_error(f"request body cannot be kept: {error}")
                self._refuse(BadRequest(500, "Request body cannot be kept"))
                return
            if request is None:
                self._wait_for_more()
                return
            self.is_first = self._is_timed = False
            self.state = ANSWERING
            self.exchange = Exchange(self, request, self.loop.may_keep)
            if not self.loop.dispatch(self):
                return
        if connection.buffered:
            self._has_turn_coming = True
            self.deadline = NEVER
            self.loop.call_soon(self, self.advance_later)
        else:
            self._wait_for_more()

    def advance_later(self) -> None:
        """Serve the requests that are here, after others were heard."""
        self._has_turn_coming = False
        if self.state == READING and not self._outbox:
            self.advance()

    def _wait_for_more(self) -> None:
        """Wait for the rest of a request, or for the next one."""
        connection, options = self.connection, self.options
        if connection.has_ended:  # between two requests
            self.close()
        elif connection.is_idle:
            data = self._receive() if self.loop.is_stopping else None
            if data:  # sent when it was told that it could
                connection.receive(data)
                self.advance()
            elif self.loop.is_stopping:
                self.loop.let_drain(self)
            else:
                self.set_deadline(
                    options.header_timeout if self.is_first else options.keep_alive_timeout
                )
        elif not connection.is_in_head:
            if connection.wants_continue:
                connection.wants_continue = False
                self.send(CONTINUE)
                if self._outbox:
                    self._want_to_write()
                    return
            self.set_deadline(options.body_timeout)
        elif not self._is_timed:
            self._is_timed = True
            self.set_deadline(options.header_timeout)

    # Answering.

    def run_in_loop(self) -> bool:
        """Run the exchange; tell whether the next request may be served."""
        assert self.exchange is not None
        self._is_running = True
        try:
            is_finished = self.exchange.run()
        finally:
            self._is_running = False
        return self.finish_in_loop(is_finished)

    def finish_in_loop(self, is_finished: bool) -> bool:
        """Go on after the exchange ran; tell whether the next request may be served."""
        if not is_finished:
            self._want_to_write()
            return False
        self._end_exchange()
        return self.state == READING and not self._outbox

    def run_in_thread(self) -> None:
        """Run the exchange as far as it goes, in another thread than the loop's."""
        self._work_in_thread(False)

    def resume_in_thread(self) -> None:
        """Go on with it, as the client takes bytes again."""
        self._work_in_thread(True)

    def _work_in_thread(self, is_begun: bool) -> None:
        exchange = self.exchange
        assert exchange is not None
        is_finished = True
        try:
            if self.state == CLOSED:
                exchange.abort()
            else:
                is_finished = exchange.resume() if is_begun else exchange.run()
        finally:
            self.loop.call_soon(self, partial(self._finish_in_thread, is_finished))

    def hand_to_thread(self) -> None:
        """Leave the socket to the thread that runs the exchange."""
        self._is_running = self._is_in_thread = True

    def _finish_in_thread(self, is_finished: bool) -> None:
        """Go on, in the loop's thread again."""
        self._is_running = self._is_in_thread = False
        self.loop.counts.sent += self._sent_in_thread
        self._sent_in_thread = 0
        if self.state == CLOSED:
            self.connection.close()
            self.loop.forget(self)
            if not is_finished and self.exchange is not None:
                self.exchange.abort()
            self._end_exchange()
            return
        if not is_finished:
            self._want_to_write()
            return
        self._end_exchange()
        if self.state == READING and not self._outbox:
            self.loop.want(self, READ)
            self.advance()

    def _end_exchange(self) -> None:
        """Log what has been done, and go on to the next request, or to the end."""
        exchange, self.exchange = self.exchange, None
        if exchange is None:
            return
        self.loop.log_access(self, exchange)
        response = exchange.response
        if response.is_begun:
            self.loop.counts.note_status(int(response.status[:3]))
        if self.state == CLOSED:
            return
        if response.is_begun and response.keeps_alive and not exchange.is_cut:
            self.state = READING
            if self._outbox:
                self._want_to_write()
        else:
            self._may_hear_more = exchange.request.keeps_alive  # the closing is not its own
            self._linger()

    def _want_to_write(self) -> None:
        self.loop.want(self, WRITE)
        self.set_deadline(self.options.send_timeout)

    def _refuse(self, error: BadRequest) -> None:
        """Answer a request that is no good, and close."""
        self._may_hear_more = True
        self.loop.counts.note_status(error.status)
        self.log_error(f"{error.status} {error}")
        is_for_head = self.connection.is_for_head
        self.send(refuse(error, self.date(), self.options.server_header, is_for_head))
        self._linger()

    # Sending.

    def send(self, data: bytes) -> None:
        """Send bytes, at once where the client takes them."""
        if self.state == CLOSED:
            return
        if self._outbox:
            self._keep(data)
            return
        sent = self._send_some(data)
        if sent < len(data):
            self._keep(memoryview(data)[sent:])

    def _keep(self, data: bytes | memoryview) -> None:
        """Keep bytes to be sent later."""
        try:
            self._outbox.add(data)
        except OSError as error:  # whatever the application makes of it, the client has to see it
            self.log_error(f"response cannot be kept: {error}")
            self.abort()
            raise

    def _send_some(self, data: Any) -> int:
        """Send what the client takes now; return how many bytes. All of them, if it has gone."""
        sent = 0
        try:
            if self.is_plain:
                sent = self.sock.send(data)
            else:
                view = memoryview(data)
                while sent < len(view):
                    sent += self.sock.send(view[sent : sent + _SENT_AT_MOST])
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            if not is_wanting(error):
                self._forget(error)
                self._count_sent(sent)
                self.close()
                return len(data)
        self._count_sent(sent)
        return sent

    def _count_sent(self, size: int) -> None:
        if self._is_in_thread:
            self._sent_in_thread += size  # the loop's counts are for its own thread to change
        else:
            self.loop.counts.sent += size

    def send_file(self, file: int, position: int, count: int) -> int:
        """Send bytes of a file; return how many. None of them: `is_blocked`, or its end."""
        while self.state != CLOSED:
            try:
                sent = os.sendfile(self.descriptor, file, position, min(count, _FILE_AT_ONCE))
                self._count_sent(sent)
                return sent
            except (BlockingIOError, InterruptedError):
                self._outbox.hold(b"")
                return 0
            except OSError as error:
                if error.errno in _NO_SENDFILE:  # the file's system cannot do it
                    data = os.pread(file, min(count, _RECEIVED_AT_MOST), position)
                    self.send(data)
                    return len(data)
                self.close()
        return 0

    def _flush(self) -> bool:
        """Send what waits; tell whether all of it has left."""
        outbox = self._outbox
        progress = False
        while self.state != CLOSED and (view := outbox.first()) is not None:
            sent = self._send_some(view) if view else 0
            if self.state == CLOSED:
                break
            outbox.take(sent)
            if sent < len(view):
                if sent or progress:
                    self.set_deadline(self.options.send_timeout)
                return False
            progress = True
        return self.state != CLOSED

    # The end.

    def _linger(self) -> None:
        """Close in order: the client is to see all of its response (RFC 9112 section 9.6)."""
        self.state = LINGERING
        if self._outbox:
            self._want_to_write()
            return
        if not self._has_closed_writing:
            self._has_closed_writing = True
            if self.connection.has_ended:
                self.close()
                return
            data = self._receive()
            if data == b"" or (
                data is None and not self.connection.buffered and not self._may_hear_more
            ):
                # Whatever it sent has been read.
                self.close()
                return
            self._unread = len(data or b"")
            try:
                self.say_goodbye()
                self.sock.shutdown(socket.SHUT_WR)
            except OSError:
                self.close()
                return
            self.set_deadline(_LINGER_TIME)
        self.loop.want(self, READ)

    def _drop_unread(self) -> None:
        data = self._receive()
        if data is None:
            return
        self._unread += len(data)
        if not data or self._unread > self.options.max_unread:
            self.close()

    def abort(self) -> None:
        """Close so that the client can tell that it was not all."""
        if self.state != CLOSED:
            self._is_aborted = True
            try:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            except OSError:
                pass
            self.close()

    def close(self) -> None:
        """Close the connection, whatever it does."""
        if self.state == CLOSED:
            return
        self.state = CLOSED
        self.opening = None
        self._outbox.clear()
        if self._is_in_thread:
            return  # its thread has the socket yet; the loop closes it afterwards
        self.connection.close()
        self.loop.forget(self)
        if self.exchange is not None and not self._is_running:
            self.exchange.abort()
            self._end_exchange()

    def interrupt(self) -> None:
        """Have a thread that runs the exchange find that the client is gone."""
        try:
            # Past TLS's own, which would have the thread send what follows in the clear.
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)
        except OSError:
            pass

    def say_goodbye(self) -> None:
        """Tell a TLS client that this was all, unless it was not."""
        unwrap = getattr(self.sock, "unwrap", None)
        if unwrap is not None and not self._is_aborted:
            try:
                unwrap()  # does not wait for its answer
            except (OSError, ValueError) as error:
                self._forget(error)

    def _forget(self, error: Exception) -> None:
        """Keep an error of this connection from others, if it is one of TLS."""
        if not self.is_plain and not is_wanting(error):
            from .._tls import forget_error

            forget_error(self.sock)

    def set_deadline(self, seconds: float) -> None:
        """Have `on_deadline` called after so many seconds, unless another one is set."""
        self.deadline = time.monotonic() + seconds
        self.loop.expect(self)


# Two names of one number on Linux, of two on macOS.
_NO_SENDFILE = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, getattr(errno, "ENOTSUP", None)}

# struct linger: on, for no time at all.
_AT_ONCE = struct.pack("HH" if os.name == "nt" else "ii", 1, 0)


def is_wanting(error: Exception) -> bool:
    """Tell whether TLS would have to wait for the client to go on."""
    return type(error).__name__ in ("SSLWantReadError", "SSLWantWriteError")
