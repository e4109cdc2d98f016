"""TLS handshakes of a server's connections, taken step by step while others are served."""

from __future__ import annotations

import selectors
import ssl
import time

from ._tls import forget_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def can_be_deferred(listener: Any) -> bool:
    """Tell whether a listening socket does TLS, and the handshake where it accepts."""
    return (
        isinstance(listener, ssl.SSLSocket)
        and getattr(listener, "do_handshake_on_connect", False)
        and type(listener).accept is ssl.SSLSocket.accept
        and "accept" not in vars(listener)
    )


def accept(listener: Any) -> tuple[ssl.SSLSocket, Any]:
    """Accept a connection as the listening socket does by itself, short of the handshake.

    Raises:
        OSError: there is none, or it has gone already.

    """
    plain: Any = super(ssl.SSLSocket, listener)
    connection, address = plain.accept()
    try:
        connection.getpeername()  # ssl forgets to close one that has gone
        request: Any = listener.context.wrap_socket(
            connection,
            server_side=True,
            do_handshake_on_connect=False,
            suppress_ragged_eofs=listener.suppress_ragged_eofs,
        )
    except BaseException:
        connection.close()
        raise
    request.do_handshake_on_connect = True  # for whoever looks
    return request, address


class Handshake:
    """The handshake of one connection; as an action of `Waiting` it calls `then` with itself.

    Args:
        request: the connection; it does not block until the handshake is done.
        client_address: the client's.
        timeout: the seconds for all of it; `None` for any time.
        then: called when the handshake may go on.

    """

    __slots__ = ("_then", "_timeout", "client_address", "deadline", "events", "request")

    def __init__(
        self,
        request: ssl.SSLSocket,
        client_address: Any,
        timeout: float | None,
        then: Callable[[Handshake], object],
    ) -> None:
        self.request = request
        self.client_address = client_address
        self.deadline = float("inf") if timeout is None else time.monotonic() + timeout
        #: What it waits for, as `selectors` has it.
        self.events = selectors.EVENT_READ
        self._then = then
        self._timeout = request.gettimeout()
        request.setblocking(False)

    def __call__(self) -> object:
        return self._then(self)

    def go_on(self) -> bool:
        """Take the next step; tell whether it was the last. The connection blocks again then.

        Raises:
            ConnectionAbortedError: the handshake has failed.

        """
        try:
            self.request.do_handshake()
        except ssl.SSLWantReadError:
            self.events = selectors.EVENT_READ
            return False
        except ssl.SSLWantWriteError:
            self.events = selectors.EVENT_WRITE
            return False
        except OSError as error:
            forget_error(self.request)
            raise ConnectionAbortedError(f"TLS handshake failed: {error}") from error
        self.request.settimeout(self._timeout)
        return True

    def give_up(self) -> None:
        """Raise the error that it is when nobody waits for the handshake any more.

        Raises:
            TimeoutError: it took too long.
            ConnectionAbortedError: there are too many others.

        """
        if self.deadline <= time.monotonic():
            raise TimeoutError("TLS handshake not finished in time")
        raise ConnectionAbortedError("TLS handshake given up, as too many connections wait")
