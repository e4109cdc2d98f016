"""Requests read faster by any request handler of `http.server`.

    class Handler(RequestMixin, SimpleHTTPRequestHandler):
        pass

This is nothing that `install` brings along, and nothing that the drop-in uses: what a request
is, and how it is refused, stays with `http.server`.
"""

from __future__ import annotations

import io
import time
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler

from . import _impl
from ._pure import request as _request
from ._reading import _make_message, _set_nodelay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from email.message import Message
    from typing import Any

__all__ = ["RequestMixin"]

# To tell whether somebody has others.
_PARSE_REQUEST = BaseHTTPRequestHandler.parse_request
_LOG_DATE_TIME = BaseHTTPRequestHandler.log_date_time_string
_DATE_TIME = BaseHTTPRequestHandler.date_time_string


class _LateMessage:
    """The ``headers`` of a request handler: made when somebody asks for them."""

    def __get__(self, handler: RequestMixin | None, owner: type) -> Any:
        if handler is None:
            return self
        if handler._section is None:
            raise AttributeError(f"{owner.__name__!r} object has no attribute 'headers'")
        message = handler.headers = _make_message(_request.split_fields(handler._section))
        return message


_message: Any = _LateMessage()


class RequestMixin(BaseHTTPRequestHandler):
    """Parse plain requests by the kernels, in front of a class of request handlers.

    Attributes, answers and log are those of `http.server`, which is given whatever is not
    plain. ``TCP_NODELAY`` is set.
    """

    raw_requestline: bytes
    requestline: str
    command: str
    path: str
    request_version: str
    close_connection: bool
    headers: Message = _message
    # The header section of the current request, if it was plain.
    _section: bytes | None = None
    # Texts of a second.
    _log_time = (0, "")
    _date = (0, "")

    def setup(self) -> None:
        """Make `rfile` and `wfile` of the connection."""
        super().setup()
        _set_nodelay(self.connection)

    def parse_request(self) -> bool:
        """Parse `raw_requestline` and read the header section."""
        self.__dict__.pop("headers", None)
        self._section = None
        overridden = getattr(super().parse_request, "__func__", None) is not _PARSE_REQUEST
        if overridden or self.MessageClass is not HTTPMessage:
            return super().parse_request()
        line = _impl.parse_request_line(self.raw_requestline)
        variables = None if line is None else self._take_section()
        if line is None or variables is None:
            return super().parse_request()
        self.requestline, self.command, self.path, self.request_version = line
        return self._heed(variables)

    def _take_section(self) -> _request.Variables | None:
        """Read the header section if it is here in full, and plain; else leave it there."""
        rfile: Any = self.rfile
        if type(rfile) is not io.BufferedReader:
            return None
        data = rfile.peek()
        parsed = _impl.parse_section(data, 0, False)
        if parsed is None:
            return None
        variables, end = parsed
        self._section = rfile.read(end)
        return variables

    def _heed(self, variables: _request.Variables) -> bool:
        """Do what `http.server` does about a connection's end and about expectations."""
        is_newer = self.protocol_version >= "HTTP/1.1"
        self.close_connection = not (is_newer and self.request_version >= "HTTP/1.1")
        if "HTTP_CONNECTION" in variables:
            option = self.headers.get("Connection", "").lower()
            if option == "close":
                self.close_connection = True
            elif option == "keep-alive" and is_newer:
                self.close_connection = False
        if "HTTP_EXPECT" in variables and is_newer and self.request_version >= "HTTP/1.1":
            expected = self.headers.get("Expect", "").lower()
            return expected != "100-continue" or self.handle_expect_100()
        return True

    def log_date_time_string(self) -> str:
        """Return the time as log lines have it, made once a second."""
        if getattr(super().log_date_time_string, "__func__", None) is not _LOG_DATE_TIME:
            return super().log_date_time_string()
        now = int(time.time())
        if RequestMixin._log_time[0] != now:
            RequestMixin._log_time = now, super().log_date_time_string()
        return RequestMixin._log_time[1]

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return a time as a header has it; the current one is made once a second."""
        overridden = getattr(super().date_time_string, "__func__", None) is not _DATE_TIME
        if overridden or timestamp is not None:
            return super().date_time_string(timestamp)
        now = int(time.time())
        if RequestMixin._date[0] != now:
            RequestMixin._date = now, super().date_time_string()
        return RequestMixin._date[1]
