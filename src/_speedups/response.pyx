# cython: language_level=3, freethreading_compatible=True, annotation_typing=False
"""The head of a response: status line, ``Date``, ``Server`` and the application's headers."""

cimport cython
from cpython.bytes cimport PyBytes_CheckExact
from serialize cimport serialize
from text cimport is_latin1

from wsgiref_fast._pure import response as _reference


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
    cdef bytes head = None
    if (
        type(headers) is list
        and is_latin1(version)
        and is_latin1(status)
        and is_latin1(date)
        and (server is None or is_latin1(server))
        and PyBytes_CheckExact(body)
    ):
        # The caller's list: another thread may change it.
        with cython.critical_section(headers):
            head = serialize(version, status, headers, date, server, body)
    if head is None:
        return _reference.serialize_head(version, status, headers, date, server, body)
    return head
