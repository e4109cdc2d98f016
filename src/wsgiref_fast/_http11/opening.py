"""How a connection begins: with what a proxy tells of its client, then a TLS handshake."""

from __future__ import annotations

from .polling import READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .peer import Peer
    from .preface import Preface


class Opening:
    """What comes on a connection before its first request, where something does.

    Args:
        peer: the connection, which is told when it is open. Until then it has this go on.

    """

    __slots__ = ("_is_shaking_hands", "_peer", "_preface")

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._preface: Preface | None = None
        self._is_shaking_hands = not peer.options.proxy_protocol  # which would come first

    @property
    def doing(self) -> str:
        """What the connection does, in a word: see `stats.Stats`."""
        return "handshake" if self._is_shaking_hands else "preface"

    @property
    def timeout(self) -> float:
        """Seconds for what it does."""
        options = self._peer.options
        return options.handshake_timeout if self._is_shaking_hands else options.header_timeout

    def begin(self) -> None:
        """Wait for what has to come first."""
        peer = self._peer
        proxies = peer.loop.proxies
        if self._is_shaking_hands:
            self._begin_handshake()
        elif proxies is not None and proxies.trusts(peer.host):
            from .preface import Preface

            self._preface = Preface()
            peer.set_deadline(self.timeout)
        else:
            peer.log_error("PROXY protocol: from no trusted proxy")
            peer.close()

    def go_on(self) -> None:
        """Go on, as there are bytes, or the client takes some."""
        if self._is_shaking_hands:
            self._shake_hands()
        else:
            self._read_preface()

    def on_deadline(self) -> None:
        """Give up, as the time is over, unless what is missing has come by now."""
        peer, was_shaking_hands = self._peer, self._is_shaking_hands
        self.go_on()
        if peer.opening is not self or self._is_shaking_hands != was_shaking_hands:
            return
        if was_shaking_hands:
            peer.note_timeout("handshake")
            peer.log_error("TLS handshake not finished in time")
        else:
            peer.note_timeout("head")
            peer.log_error("PROXY protocol: header not received in time")
        peer.close()

    def _read_preface(self) -> None:
        from .preface import BadPreface
        from .proxies import PROXIED

        peer, preface = self._peer, self._preface
        assert preface is not None
        try:
            preface.read(peer.sock)
        except (BlockingIOError, InterruptedError):
            return
        except EOFError:
            peer.close()
            return
        except (BadPreface, OSError) as error:
            peer.log_error(f"PROXY protocol: {error}")
            peer.close()
            return
        if preface.source is not None:
            peer.host, peer.port = preface.source
        if preface.is_encrypted:
            peer.variables = {"wsgi.url_scheme": "https", "HTTPS": "on"}
        elif preface.is_unknown:
            peer.variables = {PROXIED: False}  # it is not the proxy itself that asks
        self._begin_handshake()
        if not peer.is_closed:
            peer.on_readable()

    def _begin_handshake(self) -> None:
        peer = self._peer
        context = peer.options.ssl_context
        if context is None:
            peer.begin_to_listen()
            return
        peer.loop.ignore(peer)  # ssl closes what it cannot take
        try:
            peer.sock.getpeername()  # ssl forgets to close one that has gone
            peer.sock = context.wrap_socket(
                peer.sock, server_side=True, do_handshake_on_connect=False
            )
        except OSError as error:
            if type(error).__name__ == "SSLError":  # of the context; else the client has gone
                peer.log_error(f"TLS cannot begin: {error}")
            peer.close()
            return
        peer.is_plain = False
        self._is_shaking_hands = True
        peer.set_deadline(self.timeout)

    def _shake_hands(self) -> None:
        from ssl import SSLWantReadError, SSLWantWriteError

        from .._tls import describe_client, forget_error

        peer = self._peer
        sock: Any = peer.sock
        try:
            sock.do_handshake()
        except SSLWantReadError:
            peer.loop.want(peer, READ)
        except SSLWantWriteError:
            peer.loop.want(peer, WRITE)
        except OSError as error:  # those of ssl too
            forget_error(sock)
            peer.log_error(f"TLS handshake failed: {error}")
            peer.close()
        else:
            peer.variables = {**(peer.variables or {}), **describe_client(sock)}
            peer.loop.want(peer, READ)
            peer.begin_to_listen()
            peer.on_readable()
