"""A response of the HTTP/1.1 server: what an application may say, as bytes with their framing."""

from __future__ import annotations

import re
from http import HTTPStatus

from .._grammar import HOP_BY_HOP, VALUE_CONTROLS
from .._pure import request as _request
from .._pure.request import BadRequest
from .._pure.response import serialize_head

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._pure.connection import Request

# A field's name is a token (RFC 9110 section 5.6.2); no other status is an answer's.
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_STATUS = re.compile(r"[2-5][0-9][0-9] ")


class ResponseError(ValueError):
    """A response that an application may not give."""


class Response:
    """A response, as the bytes that go over the wire.

    Args:
        request: what is answered.
        server: what ``Server`` says; empty for no such header.
        may_keep: whether the server lets the connection go on.

    Attributes:
        status: three digits, a space and a reason; empty until there is one.
        headers: the application's.
        keeps_alive: whether the connection goes on after it; known once the head is made.
        is_begun: whether its head was made.
        sent: how many bytes of the body were given out, without their framing.

    """

    __slots__ = (
        *("_is_bodyless", "_is_chunked", "_is_head", "_left", "_server", "_version"),
        *("headers", "is_begun", "keeps_alive", "sent", "status"),
    )

    def __init__(self, request: Request, server: str, may_keep: bool) -> None:
        self._server = server
        self._is_head = request.method == "HEAD"
        self._version = request.version
        self.keeps_alive: bool = may_keep and request.keeps_alive
        self.is_begun: bool = False
        self.status: str = ""
        self.headers: list[tuple[str, str]] = []
        self.sent: int = 0
        self._is_bodyless = self._is_head
        self._is_chunked = False
        # Bytes of the body that its Content-Length has left; `None` where there is none.
        self._left: int | None = None

    def set(self, status: str, headers: list[tuple[str, str]]) -> None:
        """Set status and headers, before the head is made.

        Raises:
            ResponseError: they cannot be sent.

        """
        check_status(status)
        check_headers(headers)
        self.status = status
        self.headers = headers

    def begin(self, date: str, block: bytes, is_whole: bool) -> bytes:
        """Return the head and the first block of the body.

        Args:
            date: what ``Date`` says, where the headers have none.
            block: the first block; empty where the body has none.
            is_whole: whether it is the whole body.

        Raises:
            ResponseError: status or headers cannot be sent; nothing has changed.

        """
        headers = list(self.headers)
        check_headers(headers)
        code = self.status[:3]
        forbids_body = code in ("204", "205", "304")
        is_bodyless = self._is_head or forbids_body
        lengths = [value for name, value in headers if name.lower() == "content-length"]
        left, is_chunked, keeps_alive = None, False, self.keeps_alive
        if lengths:
            try:
                left = _request.parse_content_length(",".join(lengths))
            except BadRequest as error:
                raise ResponseError(f"Content-Length {lengths!r}") from error
            if len(lengths) > 1 or code in ("204", "205"):  # RFC 9110 section 8.6
                headers = [item for item in headers if item[0].lower() != "content-length"]
                if code not in ("204", "205"):
                    headers.append(("Content-Length", str(left)))
        if code == "205":
            headers.append(("Content-Length", "0"))  # RFC 9110 section 15.3.6
        elif not is_bodyless and not lengths:
            if is_whole:
                left = len(block)
                headers.append(("Content-Length", str(left)))
            elif self._version == "HTTP/1.1":
                is_chunked = True
                headers.append(("Transfer-Encoding", "chunked"))
            else:
                keeps_alive = False
        options = [value for name, value in headers if name.lower() == "connection"]
        if options:  # no other than close, as checked
            keeps_alive = False
        elif not keeps_alive:
            headers.append(("Connection", "close"))
        elif self._version == "HTTP/1.0":
            headers.append(("Connection", "keep-alive"))
        head = serialize_head("1.1", self.status, headers, date, self._server)
        self._is_bodyless, self._is_chunked, self._left = is_bodyless, is_chunked, left
        self.keeps_alive = keeps_alive
        self.is_begun = True
        return head + self.frame(block) if block else head

    def resume(self, sent: int, left: int | None) -> None:
        """Go on with a response whose head, and so many bytes of the body, are sent already.

        Args:
            sent: how many bytes.
            left: how many its Content-Length has left; `None`: it has none, and is chunked.

        """
        self.is_begun = True
        self.sent = sent
        self._left = left
        self._is_chunked = left is None

    def frame(self, block: bytes) -> bytes:
        """Return a block of the body as it goes over the wire; what is too much is cut."""
        if self._is_bodyless or not block:
            return b""
        if self._left is not None:
            block = block[: self._left]
            self._left -= len(block)
        self.sent += len(block)
        return b"%x\r\n%b\r\n" % (len(block), block) if self._is_chunked else block

    @property
    def room(self) -> int | None:
        """How many bytes of the body may follow; `None` where that is not known."""
        return 0 if self._is_bodyless else self._left

    @property
    def is_bodyless(self) -> bool:
        """Whether there is no body, whatever blocks there are."""
        return self._is_bodyless

    @property
    def is_limited(self) -> bool:
        """Whether the body has a length that blocks may go beyond."""
        return self._left is not None and not self._is_bodyless

    @property
    def is_chunked(self) -> bool:
        """Whether blocks are framed one by one."""
        return self._is_chunked

    def count(self, size: int) -> None:
        """Count bytes of the body that were sent past `frame`."""
        self.sent += size
        if self._left is not None:
            self._left -= size

    def end(self) -> bytes:
        """Return what follows the last block.

        A body shorter than its length leaves the client waiting for more: the connection
        cannot go on.
        """
        if self._left and not self._is_bodyless:
            self.keeps_alive = False
        return b"0\r\n\r\n" if self._is_chunked else b""

    @property
    def is_short(self) -> bool:
        """Whether the body ended before its length."""
        return bool(self._left) and not self._is_bodyless


def check_status(status: str) -> None:
    """Refuse a status that is not three digits, a space and a reason.

    Raises:
        ResponseError: says why.

    """
    if type(status) is not str:
        raise ResponseError(f"status must be of type str, not {type(status).__name__}")
    if not _STATUS.match(status):
        raise ResponseError(f"status must be three digits, a space and a reason: {status!r}")
    if not VALUE_CONTROLS.isdisjoint(status):
        raise ResponseError(f"control character in the status: {status!r}")
    _check_latin1(status)


def check_headers(headers: list[tuple[str, str]]) -> None:
    """Refuse headers that an application may not send (PEP 3333, "Other HTTP Features").

    ``Connection: close`` alone of the hop-by-hop headers is heard.

    Raises:
        ResponseError: says which, and why.

    """
    if type(headers) is not list:
        raise ResponseError(f"headers must be a list, not {type(headers).__name__}")
    for item in headers:
        if type(item) is not tuple or len(item) != 2:
            raise ResponseError(f"header must be a tuple of two: {item!r}")
        name, value = item
        if type(name) is not str or type(value) is not str:
            raise ResponseError(f"header's name and value must be of type str: {item!r}")
        if not _NAME.fullmatch(name):
            raise ResponseError(f"header name that cannot be sent: {name!r}")
        if not VALUE_CONTROLS.isdisjoint(value):
            raise ResponseError(f"control character in a header: {item!r}")
        lower = name.lower()
        is_close = lower == "connection" and value.strip().lower() == "close"
        if lower in HOP_BY_HOP and not is_close:
            raise ResponseError(f"hop-by-hop header: {item!r}")
        _check_latin1(value)


def _check_latin1(text: str) -> None:
    try:
        text.encode("iso-8859-1")
    except UnicodeEncodeError as error:
        raise ResponseError(f"not Latin-1: {text!r}") from error


def refuse(error: BadRequest, date: str, server: str, is_for_head: bool) -> bytes:
    """Return the answer to a request that is refused, after which the connection closes.

    Args:
        error: has the status, and the reason in words.
        date: what ``Date`` says.
        server: what ``Server`` says; empty for no such header.
        is_for_head: whether to leave the body out, as the answer to HEAD does.

    """
    reason = HTTPStatus(error.status).phrase
    body = f"{error.status} {reason}: {error}\n".encode("iso-8859-1")
    headers = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
    ]
    head = serialize_head("1.1", f"{error.status} {reason}", headers, date, server)
    return head if is_for_head else head + body
