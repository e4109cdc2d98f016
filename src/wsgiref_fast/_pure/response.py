"""The head of a response: status line, ``Date``, ``Server`` and the application's headers."""

from __future__ import annotations

import time

from .headers import check_lines, count_controls

# HTTP dates are English in every locale (RFC 9110 section 5.6.7).
_weekdayname = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
_monthname = [None, "Jan", "Feb", "Mar", "Apr", "May", "Jun",
              "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]  # fmt: skip


def format_date_time(timestamp: float | None) -> str:
    """Return seconds since the epoch (`None`: now) as an HTTP date (RFC 9110 5.6.7)."""
    year, month, day, hour, minute, second, weekday, *_ = time.gmtime(timestamp)
    return (
        f"{_weekdayname[weekday]}, {day:02d} {_monthname[month]} {year:4d} "
        f"{hour:02d}:{minute:02d}:{second:02d} GMT"
    )


def serialize_head(
    version: str,
    status: str,
    headers: list[tuple[str, str]],
    date: str,
    server: str | None,
    body: bytes = b"",
) -> bytes:
    """Return a response's head, with the empty line that ends it, and what of the body follows.

    Args:
        version: of HTTP, such as ``1.1``.
        status: three digits, a space and a reason.
        headers: the header list; a ``Date`` or ``Server`` in it stands alone.
        date: what ``Date`` says otherwise.
        server: what ``Server`` says otherwise; empty or `None` for no such header.
        body: a first block that leaves together with the head.

    Raises:
        UnicodeEncodeError: something is not Latin-1.
        ValueError: a header holds a control character.

    """
    names = {name.lower() for name, _ in headers}
    fields = [f"{name}: {value}" for name, value in headers]
    lines = [f"HTTP/{version} {status}"]
    if "date" not in names:
        lines.append(f"Date: {date}")
    if server and "server" not in names:
        lines.append(f"Server: {server}")
    head = "\r\n".join([*lines, *fields, "", ""]).encode("iso-8859-1")
    if count_controls(head) != 2 * (len(lines) + len(fields)) + 2:
        check_lines(fields)
    return head + body if body else head
