"""A request handler that reads requests strictly, and its body no further than it goes."""

from __future__ import annotations

import errno
import io
import socket
import sys
import time
from http.client import HTTPMessage, parse_headers
from http.server import BaseHTTPRequestHandler
from socketserver import BaseRequestHandler, StreamRequestHandler

from . import _hooks, _impl
from ._grammar import MAX_HEADER_LINES, MAX_LINE
from ._pure import request as _request
from ._streams import BodyReader, ConnectionWriter, Farewell, ReceivedIO

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from email.message import Message
    from typing import Any

#: Bytes of a body that an application left unread and that are read to keep a connection.
_SKIPPED_AT_MOST = 1 << 16


class _LazyMessage:
    """The ``headers`` of a request handler: made of the parsed fields when asked for."""

    def __get__(self, handler: RequestReader | None, owner: type) -> Any:
        if handler is None:
            return self
        if handler._variables is None:
            raise AttributeError(f"{owner.__name__!r} object has no attribute 'headers'")
        message = handler.headers = _make_message(_request.split_fields(handler._section))
        return message


class _Late:
    """An attribute of a handler, or a request handler, that is made when somebody asks for it.

    Args:
        make: makes it of that.
        source: the attribute that it is made of: without that, there is none.
        default: what it is then; by default an error.

    """

    def __init__(self, make: Callable[[Any], Any], source: str, default: Any = ...) -> None:
        self._make = make
        self._source = source
        self._default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, handler: object, owner: type) -> Any:
        if handler is None:
            return self
        if self._source in handler.__dict__:
            value = self._make(handler)
            setattr(handler, self._name, value)
            return value
        if self._default is ...:
            raise AttributeError(f"{owner.__name__!r} object has no attribute {self._name!r}")
        return self._default


def _late(make: Callable[[Any], Any], source: str, default: Any = ...) -> Any:
    """Return a `_Late`, declared as what it stands for."""
    return _Late(make, source, default)


_message: Any = _LazyMessage()


def _make_variables(handler: Any) -> _request.Variables | None:
    parsed = _impl.parse_section(handler._section, 0, bool(handler.underscore_headers))
    return None if parsed is None else parsed[0]


def _make_message(fields: _request.Fields) -> HTTPMessage:
    """Return header fields as the message that `http.client.parse_headers` makes."""
    message = HTTPMessage()
    for name, value in fields:
        message.set_raw(name, value)
    if message.get_content_maintype() in ("multipart", "message"):
        # The parser looks for parts in the body, finds none, and notes that down.
        section = "".join(f"{name}: {value}\r\n" for name, value in fields)
        return parse_headers(io.BytesIO(f"{section}\r\n".encode("iso-8859-1")))
    message.set_payload("")
    return message


@_impl.accelerated
class RequestReader(BaseHTTPRequestHandler):
    """Read requests from a connection: line, header section and body.

    What is plain is parsed here; the rest goes to `http.server`, whose answers stand. What
    two parties may understand differently is refused.
    """

    #: Set ``TCP_NODELAY``: a response leaves when it is there.
    disable_nagle_algorithm = True
    #: The most bytes of a chunked request body; they are kept in memory or in a file.
    max_chunked_body: int = 1 << 30
    headers: Message = _message
    # A connection that was but a descriptor until somebody asked for more.
    _descriptor: int
    request: Any = _late(lambda handler: handler._make_request(), "_descriptor")
    # The connection's files, and what a short cut has taken from the first of them: words
    # of the request line, bytes, and where in them request line, header section and body start.
    connection: Any = _late(lambda handler: handler.request, "server")
    rfile: io.BufferedIOBase = _late(lambda handler: handler._open_file(b""), "server")
    wfile: io.BufferedIOBase = _late(lambda handler: ConnectionWriter(handler.connection), "server")
    _head: tuple[tuple[str, str, str, str], bytes, int, int, int]
    raw_requestline: bytes = _late(lambda handler: handler._cut(2, 3), "_head")
    requestline: str = _late(lambda handler: handler._head[0][0], "_head")
    command: str = _late(lambda handler: handler._head[0][1], "_head")
    path: str = _late(lambda handler: handler._head[0][2], "_head")
    request_version: str = _late(lambda handler: handler._head[0][3], "_head")
    close_connection: bool = True
    #: Whether headers with an underscore in their name get into the environ. There they
    #: are the same variable as those with a dash, which a proxy may have checked.
    underscore_headers: bool = False

    _control_char_table: dict[int, str]  # http.server's

    # The header section of the current request, if our own parser read it.
    _section: Any = _late(lambda handler: handler._cut(3, 4), "_head")
    _variables: Any = _late(_make_variables, "_head", None)
    # Its body; while that is read it stands in the place of the connection's file.
    _body: BodyReader | None = None
    _connection_file: Any = None
    _chunked_length: int | None = None
    # Whether the client may still be sending, so that closing would cost it the answer.
    _lingers = False

    def setup(self) -> None:
        """Make `rfile` and `wfile` of the connection."""
        connection = self.connection = self.request
        if self.timeout is not None:
            connection.settimeout(self.timeout)
        if self.disable_nagle_algorithm:
            _set_nodelay(connection)
        self.rfile = connection.makefile("rb", self.rbufsize)
        if self.wbufsize == 0:
            self.wfile = ConnectionWriter(connection)  # type: ignore[assignment]
        else:
            self.wfile = connection.makefile("wb", self.wbufsize)

    def _make_request(self) -> Any:
        if self._descriptor < 0:
            raise OSError(errno.EBADF, "the connection was closed")
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, self._descriptor)
        request = self.__dict__.setdefault("request", made)
        if request is not made:  # another thread was first
            made.detach()
            return request
        _set_nodelay(request)
        served = getattr(self.server, "_served", None)
        if served is not None:
            served[id(request)] = None
        return request

    def _open_file(self, received: bytes) -> Any:
        """Open the connection's file, with bytes in front that have been received already."""
        if not received:
            return self.connection.makefile("rb")
        return io.BufferedReader(ReceivedIO(received, self.connection.makefile("rb", 0)))

    def _hasten(self) -> None:
        """Have small blocks not wait for the acknowledgement of those before them."""
        _set_nodelay(self.connection)

    def finish(self) -> None:
        """Close the files of the connection, once the client has what was sent."""
        if self._body is not None:
            self._finish_request(is_cut=True)
        own = self.__dict__
        wfile = own.get("wfile")
        if (
            wfile is not None and (type(wfile) is not ConnectionWriter or wfile.holds)
        ) or StreamRequestHandler.finish is not _FINISH:
            super().finish()
        elif "rfile" in own:
            self.rfile.close()
        if self._lingers:
            farewell = Farewell(self.connection)
            let_drain = getattr(self.server, "_let_drain", None)
            if let_drain is None or not let_drain(self.request, farewell):
                farewell.finish()

    def parse_request(self) -> bool:
        """Parse `raw_requestline` and read the header section; the body is next in `rfile`.

        What is not plain is left to `http.server`. Returns whether there is a request to
        be answered; if not, an error has been sent.
        """
        try:
            if _impl.parse(self):
                return True
            self._forget_request()
            line = _impl.parse_request_line(self.raw_requestline)
            if line is None or self.MessageClass is not HTTPMessage:
                return self._parse_with_library(b"", odd=line is None)
            self.requestline, self.command, self.path, self.request_version = line
            self.close_connection = True
            if not self._parse_buffered():
                section = self._read_section()
                plain = section if b"\r" in section else section.replace(b"\n", b"\r\n")
                if not self._take_section(plain, 0):
                    return self._parse_with_library(section, odd=True)
            variables = self._variables or {}
            if self.protocol_version >= "HTTP/1.1":
                self._heed_connection(variables.get("HTTP_CONNECTION", ""))
            return self._take_body(variables, may_expect=True)
        except _request.BadRequest as error:
            self._refuse(error.status, str(error))
        except TimeoutError:
            self._refuse(408, "Request not received in time")
        return False

    def _cut(self, start: int, end: int) -> bytes:
        _, data, *places = self._head
        return data[places[start - 2] : places[end - 2]]

    def _forget_request(self) -> None:
        self.__dict__.pop("headers", None)
        self.__dict__.pop("_head", None)
        self._variables = None
        self._chunked_length = None
        if self._body is not None:  # of a handler that keeps connections by itself
            if self.rfile is self._body:  # type: ignore[comparison-overlap]
                self.rfile = self._connection_file
            self._body = None

    def _parse_buffered(self) -> bool:
        """Parse the header section if it has come with the request line and is plain.

        Nothing is read where it is not: lines that end in LF alone may mark its end
        before the empty line that is looked for here.
        """
        rfile: io.BufferedIOBase = self.rfile
        if type(rfile) is io.BufferedReader:
            end = self._take_section(rfile.peek(), 0)
            rfile.read(end)
        elif type(rfile) is io.BytesIO:
            end = self._take_section(rfile.getvalue(), rfile.tell())
            if end:
                rfile.seek(end)
        else:
            return False
        return end > 0

    def _take_section(self, data: bytes, start: int) -> int:
        """Parse a header section if it is plain; return where it ends, else 0."""
        parsed = _impl.parse_section(data, start, bool(self.underscore_headers))
        if parsed is None:
            return 0
        self._variables, end = parsed
        self._section = data[start:end]
        return end

    def _read_section(self) -> bytes:
        """Read the header section by lines, with the empty one that ends it, if it comes."""
        rfile = self.rfile
        lines: list[bytes] = []
        while len(lines) <= MAX_HEADER_LINES:
            line = rfile.readline(MAX_LINE + 1)
            lines.append(line)
            if len(line) > MAX_LINE or line in (b"\r\n", b"\n", b""):
                break
        return b"".join(lines)

    def _parse_with_library(self, section: bytes, odd: bool) -> bool:
        """Have `http.server` parse the request, after a section that was read already.

        What it takes leniently, another may read differently: an odd request is the
        connection's last (RFC 9112 section 11.2).
        """
        connection_file = self.rfile
        replay = self.rfile = _Replay(section, connection_file)  # type: ignore[assignment]
        try:
            if not super().parse_request():
                return False
        finally:
            self.rfile = connection_file
        _request.check_section(replay.seen())
        if type(self.headers) is dict:  # type: ignore[comparison-overlap]
            self.headers = self.MessageClass()  # HTTP/0.9, since 3.14.4
        if odd or _impl.parse_section(replay.seen(), 0, True) is None:
            self.close_connection = True
        fields: _request.Fields = list(self.headers.items())
        return self._take_body(_request.find_framing(fields), may_expect=False)

    def _heed_connection(self, value: str) -> None:
        """Set `close_connection` as version and ``Connection`` say (RFC 9112 section 9.3)."""
        options = {option.strip(" \t").lower() for option in value.split(",")}
        persists = self.request_version != "HTTP/1.0" or "keep-alive" in options
        self.close_connection = "close" in options or not persists

    def _heed_expect(self, value: str) -> bool:
        """Answer ``Expect: 100-continue``, between parties of HTTP/1.1."""
        if (
            value.partition(",")[0].lower() != "100-continue"
            or self.protocol_version < "HTTP/1.1"
            or self.request_version < "HTTP/1.1"
        ):
            return True
        return self.handle_expect_100()

    def _take_body(self, framing: _request.Variables, may_expect: bool) -> bool:
        """Let `rfile` be the request's body until the request is finished.

        Returns false where the client's expectation was refused.

        Raises:
            BadRequest: the body's end is not clear, or a chunked body malformed.

        """
        length, chunked = 0, False
        if "CONTENT_LENGTH" in framing:
            length = _request.parse_content_length(framing["CONTENT_LENGTH"])
        if "HTTP_TRANSFER_ENCODING" in framing:
            chunked = _request.is_chunked(framing["HTTP_TRANSFER_ENCODING"], self.request_version)
            if "CONTENT_LENGTH" in framing:
                raise _request.BadRequest(400, "Both Content-Length and Transfer-Encoding")
        expected = framing.get("HTTP_EXPECT")
        if expected and may_expect and not self._heed_expect(expected):
            return False
        connection_file = self._connection_file = self.rfile
        source: Any = connection_file
        if chunked:
            from ._chunked import read_chunked

            source, length = read_chunked(connection_file, self.max_chunked_body)
            self._chunked_length = length
        self._body = BodyReader(source, length, connection_file)
        self.rfile = self._body  # type: ignore[assignment]
        return True

    def _finish_request(self, is_cut: bool) -> None:
        """Leave the request's body behind, and see whether the connection can go on."""
        body, self._body = self._body, None
        if is_cut:
            self.close_connection = True
        if body is None:
            return
        self.rfile = self._connection_file
        if body.left and not self.close_connection and body.left <= _SKIPPED_AT_MOST:
            self._read_at_once(body.read)  # nobody waits for the rest
        if body.left and self._chunked_length is None:
            self.close_connection = self._lingers = True
        body.release(self.rfile)

    def _can_skip_body(self) -> bool:
        """Tell whether what is unread of the body does not end the connection by its size."""
        body = self._body
        if body is None or self._chunked_length is not None:  # read, as far as the wire goes
            return True
        return body.left <= _SKIPPED_AT_MOST

    def _read_at_once(self, read: Callable[[], bytes]) -> bytes:
        """Read without waiting: what has come already."""
        try:
            timeout = self.connection.gettimeout()
            self.connection.settimeout(0)
            try:
                return read()
            finally:
                self.connection.settimeout(timeout)
        except (OSError, AttributeError):
            return b""  # it is gone; or is a stand-in

    def _refuse(self, status: int, reason: str) -> None:
        """Send an error, and log it by one line."""
        self.__dict__["log_request"] = _ignore
        try:
            self.send_error(status, reason)
        finally:
            del self.log_request

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Send and log an error; the connection closes, once the client has it."""
        self._lingers = True
        super().send_error(code, message, explain)

    def log_message(self, format: str, *args: Any) -> None:
        """Write a line to the log, with control characters escaped."""
        text = format % args
        if (
            text.isprintable()
            and "\\" not in text
            and getattr(super().log_message, "__func__", None) is _LOG_MESSAGE
            and self._control_char_table is _ESCAPES
            and _LOGS_PLAINLY
        ):
            # Nothing to escape: the original's table is much work for the same text.
            host, now = self.address_string(), self.log_date_time_string()
            sys.stderr.write(f"{host} - - [{now}] {text}\n")
        else:
            super().log_message(format, *args)

    def log_date_time_string(self) -> str:
        """Return the time as log lines have it; the original's is made once a second."""
        global _log_time
        if (
            getattr(super().log_date_time_string, "__func__", None) is not _LOG_DATE_TIME
            or self.monthname is not _MONTHS
        ):
            return super().log_date_time_string()
        now = int(time.time())
        if _log_time[0] != now:
            _log_time = now, super().log_date_time_string()
        return _log_time[1]


_hooks.note(BaseHTTPRequestHandler, StreamRequestHandler, BaseRequestHandler)

# To tell whether somebody has others.
_FINISH = StreamRequestHandler.finish
_LOG_MESSAGE = BaseHTTPRequestHandler.log_message
_ESCAPES = BaseHTTPRequestHandler._control_char_table  # type: ignore[attr-defined]
_LOG_DATE_TIME = BaseHTTPRequestHandler.log_date_time_string
_MONTHS = BaseHTTPRequestHandler.monthname
_LOGS_PLAINLY = sys.version_info < (3, 15)  # later ones colour a terminal's lines
_log_time = (0, "")


def _ignore(*_: object) -> None:
    """Take the place of a method that is not to be called."""


class _Replay:
    """The connection's file as a parser wants it, with bytes put back in front of it."""

    def __init__(self, section: bytes, connection_file: Any) -> None:
        self._section = io.BytesIO(section)
        self._file = connection_file
        self._seen: list[bytes] = []

    def readline(self, size: int = -1, /) -> bytes:
        line: bytes = self._section.readline(size) or self._file.readline(size)
        self._seen.append(line)
        return line

    def seen(self) -> bytes:
        return b"".join(self._seen)


def _set_nodelay(connection: Any) -> None:
    set_option = getattr(connection, "setsockopt", None)
    if set_option is None:
        return  # a stand-in
    try:
        set_option(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    except OSError:
        pass  # not TCP
