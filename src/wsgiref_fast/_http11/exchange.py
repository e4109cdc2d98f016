"""A request and its response: the application called, its blocks sent (PEP 3333)."""

from __future__ import annotations

import io
import os
import sys
import time
from urllib.parse import unquote

from .._sendfile import locate
from ..util import FileWrapper
from .response import Response, check_headers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from .._pure.connection import Request
    from ..types import WSGIEnvironment
    from .peer import Peer

#: What no iterator of an application yields.
_END: Any = object()

_ERROR_BODY = b"A server error occurred.  Please contact the administrator."
_ERROR_HEADERS = [("Content-Type", "text/plain")]

#: Several blocks that a list has are sent as one, up to this size, in bytes.
_JOINED_AT_MOST = 1 << 16

#: Blocks, and bytes, that a client that takes all is sent before others are heard.
_BLOCKS_IN_A_TURN = 256
_SENT_IN_A_TURN = 1 << 17


class Exchange:
    """What becomes of one request.

    Where the connection takes no more for now, `run` and `resume` return false; then
    `resume` goes on. The application's iterable is closed once on every path.
    """

    __slots__ = (
        *("_errors", "_file", "_is_closed", "_is_over", "_iterator", "_peer", "_result"),
        *("began_at", "client", "is_cut", "request", "response"),
    )

    def __init__(self, peer: Peer, request: Request, may_keep: bool) -> None:
        self._peer = peer
        self.request = request
        self.response: Response = Response(request, peer.options.server_header, may_keep)
        self._errors = sys.stderr
        self._result: Any = None
        self._iterator: Iterator[bytes] | None = None
        self._file: tuple[Any, int] | None = None
        # Whether no more of the body is wanted.
        self._is_over = False
        # Whether the application's iterable was closed: nothing may follow.
        self._is_closed = False
        #: Whether the client could not be given the whole response.
        self.is_cut: bool = False
        self.began_at: float = time.monotonic()
        #: The client's address, where a proxy has told it.
        self.client: str = ""

    def run(self) -> bool:
        """Call the application and send what it answers; tell whether that was all."""
        try:
            application = self._peer.loop.application()
            result = application(self._make_environ(), self.start_response)
        except BaseException as error:
            return self.conclude(None, error)
        return self.conclude(result, None)

    def conclude(self, result: Any, error: BaseException | None) -> bool:
        """Send what the application has answered, or failed with; tell whether that was all."""
        self._result = result
        try:
            if error is not None:
                try:
                    raise error
                finally:
                    error = None  # a traceback in a frame that it holds is a cycle
            if not self._send_whole():
                self._begin_iteration()
        except BaseException:
            return self._fail()
        return self.resume() if self._iterator is not None or self._file else self._finish()

    def go_on(
        self,
        result: Any,
        iterator: Iterator[bytes],
        data: bytes,
        blocks: tuple[bytes, ...],
        error: BaseException | None = None,
    ) -> bool:
        """Go on with a response that somebody else has begun to send; tell whether that was all.

        Args:
            result: what the application has returned.
            iterator: has the blocks that are to come.
            data: what has been taken from it and framed, and is yet to be sent.
            blocks: what has been taken from it only.
            error: what taking a block has failed with.

        """
        self._result, self._iterator = result, iterator
        try:
            if error is not None:
                try:
                    raise error
                finally:
                    error = None
            if data:
                self._peer.send(data)
            for block in blocks:
                self._send_block(block)
        except BaseException:
            return self._fail()
        return self._finish() if self._is_over else self.resume()

    def resume(self) -> bool:
        """Go on with the response; tell whether that was the rest of it."""
        peer, blocks, sent = self._peer, 0, self.response.sent
        try:
            while not peer.is_blocked:
                if peer.is_closed:
                    self.is_cut = True
                    break
                blocks += 1
                if blocks > _BLOCKS_IN_A_TURN or self.response.sent - sent > _SENT_IN_A_TURN:
                    peer.pause()
                    blocks, sent = 0, self.response.sent
                    continue
                if self._file is not None:
                    if not self._send_some_of_file():
                        break
                    continue
                assert self._iterator is not None
                block = next(self._iterator, _END)
                if block is _END:
                    if not self.response.is_begun:
                        self._begin(b"", True)
                    break
                self._send_block(block)
                if self._is_over:
                    break  # whatever else there is, nobody gets it
            else:
                return False
        except BaseException:
            return self._fail()
        return self._finish()

    def abort(self) -> None:
        """Give up: the client has gone."""
        self.is_cut = True
        self._close()

    # The application's side.

    def _make_environ(self) -> WSGIEnvironment:
        peer, request = self._peer, self.request
        environ = peer.make_environ()
        environ.update(request.variables)
        environ["REQUEST_METHOD"] = request.method
        environ["SERVER_PROTOCOL"] = request.version
        environ["RAW_URI"] = environ["REQUEST_URI"] = request.target
        path, _, query = request.path.partition("?")
        environ["PATH_INFO"] = unquote(path, "iso-8859-1") if "%" in path else path
        environ["QUERY_STRING"] = query
        environ["wsgi.input"] = io.BytesIO() if request.body is None else request.body
        environ["wsgi.errors"] = self._errors
        environ["wsgi.early_hints"] = self.send_early_hints
        proxies = peer.loop.proxies
        if proxies is not None:
            proxies.apply(environ)
            self.client = environ["REMOTE_ADDR"]
        return environ

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Any:
        """Take status and headers of the response: PEP 3333's ``start_response()``."""
        if exc_info:
            try:
                if self.response.is_begun:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # a traceback in a frame that it holds is a cycle
        elif self.response.status:
            raise AssertionError("Headers already set!")
        self.response.set(status, headers)
        return self.write

    def write(self, data: bytes) -> None:
        """Send a block of the body: PEP 3333's ``write()``."""
        if self._peer.is_closed:
            raise ConnectionResetError("the client has gone")
        if self._is_closed:
            raise AssertionError("the response is over")
        self._send_block(data)

    def send_early_hints(self, headers: list[tuple[str, str]]) -> None:
        """Send a 103 with these headers (RFC 8297), where the client's version has that."""
        headers = list(headers)
        check_headers(headers)
        if self.request.version == "HTTP/1.1" and not self.response.is_begun:
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
            self._peer.send(f"HTTP/1.1 103 Early Hints\r\n{lines}\r\n".encode("iso-8859-1"))

    # The client's side.

    def _begin(self, block: bytes, is_whole: bool) -> None:
        """Send the head, together with a first block."""
        response = self.response
        if not response.status:
            raise AssertionError("no response was started")
        if self._peer.loop.is_stopping:
            response.keeps_alive = False  # whatever was so when the request came
        self._peer.send(response.begin(self._peer.date(), block, is_whole))
        if is_whole:
            self._check_cut(len(block), response.sent)

    def _send_block(self, block: bytes) -> None:
        response = self.response
        if type(block) is not bytes:
            raise TypeError(f"a block of a response must be bytes, not {type(block).__name__}")
        if not response.status:
            raise AssertionError("no response was started")
        if not block:
            return
        before = response.sent
        if response.is_begun:
            framed = response.frame(block)
            if framed:
                self._peer.send(framed)
        else:
            self._begin(block, False)
        self._check_cut(len(block), response.sent - before)
        if response.is_bodyless:
            self._is_over = True

    def _check_cut(self, size: int, sent: int) -> None:
        """Say so where a block went beyond the length of the body."""
        if sent < size and self.response.is_limited:
            self._is_over = True
            self._peer.log_error("response longer than its Content-Length: the rest was cut")

    def _send_whole(self) -> bool:
        """Send a response that is here in full; tell whether it was."""
        result = self._result
        if type(result) is not list and type(result) is not tuple:
            return False
        if self.response.is_begun or not all(type(block) is bytes for block in result):
            return False
        if sum(map(len, result)) > _JOINED_AT_MOST and len(result) > 1:
            return False
        self._begin(result[0] if len(result) == 1 else b"".join(result), True)
        return True

    def _begin_iteration(self) -> None:
        result = self._result
        if type(result) is FileWrapper and self._locate_file(result):
            return
        self._iterator = iter(result)

    # Files.

    def _locate_file(self, wrapper: FileWrapper) -> bool:
        """Find out whether a file can be sent from its descriptor, and from where.

        Its length is told in either case.
        """
        file: Any = wrapper.filelike
        found = locate(file) if self.response.status else None
        if found is None:
            return False
        position, left = found
        response, sends = self.response, self._peer.can_send_files
        if not response.is_begun:
            if not any(name.lower() == "content-length" for name, _ in response.headers):
                response.headers = [*response.headers, ("Content-Length", str(left))]
            if sends:
                self._begin(b"", False)
        if response.is_chunked or not sends:
            return False  # it is read in blocks
        self._file = file, position
        return True

    def _send_some_of_file(self) -> bool:
        """Send what the connection takes of the file; false at its end."""
        assert self._file is not None
        file, position = self._file
        room = self.response.room
        left = os.fstat(file.fileno()).st_size - position
        count = left if room is None else min(left, room)
        if count <= 0:
            return False
        sent = self._peer.send_file(file.fileno(), position, count)
        self.response.count(sent)
        self._file = file, position + sent
        return sent > 0 or self._peer.is_blocked

    # The end.

    def _fail(self) -> bool:
        """Log the current exception, and answer with an error page where that can be."""
        error = sys.exc_info()[1]
        if self._peer.is_closed:
            if not isinstance(error, (ConnectionError, TimeoutError)):
                self._peer.log_exception(self._errors)
            self.is_cut = True
            self._close()
            return True
        self._peer.log_exception(self._errors)
        self._close()
        if self.response.is_begun:
            # The client must see that this was not all of it.
            self.is_cut = True
            self.response.keeps_alive = False
            has_end = self.response.is_chunked or self.response.is_limited
            if not (has_end or self.response.is_bodyless):
                self._peer.abort()
        else:
            response = Response(
                self.request, self._peer.options.server_header, self.response.keeps_alive
            )
            response.set("500 Internal Server Error", list(_ERROR_HEADERS))
            self.response = response
            self._peer.send(response.begin(self._peer.date(), _ERROR_BODY, True))
        if isinstance(error, KeyboardInterrupt):
            raise error
        return True

    def _finish(self) -> bool:
        response = self.response
        if self._peer.is_closed:
            self.is_cut = True  # nobody is left to send the rest to
        if not self.is_cut:
            rest = response.end()
            if rest:
                self._peer.send(rest)
            if response.is_short:
                self.is_cut = True
                self._peer.log_error("response shorter than its Content-Length")
        self._close()
        return True

    def _close(self) -> None:
        """Close the application's iterable, and the request's body."""
        self._is_closed = True
        result, self._result = self._result, None
        self._iterator = self._file = None
        try:
            close = getattr(result, "close", None)
            if close is not None:
                close()
        except KeyboardInterrupt:
            self._peer.log_exception(self._errors)
            raise
        except BaseException:
            self._peer.log_exception(self._errors)
        finally:
            body, self.request.body = self.request.body, None
            if body is not None:
                try:
                    body.close()
                except OSError:
                    self._peer.log_exception(self._errors)
