# cython: language_level=3, freethreading_compatible=True, annotation_typing=False
"""The head of a response: status line, ``Date``, ``Server`` and the application's headers."""

cimport cython
from cpython.bytes cimport (
    PyBytes_AS_STRING,
    PyBytes_CheckExact,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
)
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.tuple cimport PyTuple_GET_ITEM
from libc.string cimport memcpy
from text cimport (
    PyUnicode_GET_LENGTH,
    count_controls,
    is_latin1,
    is_pair,
    put,
    put_line,
    same_name,
)

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


cdef bytes serialize(str version, str status, list headers, str date, str server, bytes body):
    """Return a head from Latin-1 strings; `None` where a header is not plain.

    No user code runs in here, nor is anything allocated that the collector counts.
    """
    cdef Py_ssize_t count = PyList_GET_SIZE(headers), lines = count + 2, size, i
    cdef bint has_date = False, has_server = not server
    cdef object field, name
    cdef bytes head
    cdef char *start
    cdef char *end
    size = PyUnicode_GET_LENGTH(version) + PyUnicode_GET_LENGTH(status) + 10 + 4 * count
    for i in range(count):
        field = <object>PyList_GET_ITEM(headers, i)
        if not is_pair(field):
            return None
        name = <object>PyTuple_GET_ITEM(field, 0)
        size += PyUnicode_GET_LENGTH(name)
        size += PyUnicode_GET_LENGTH(<object>PyTuple_GET_ITEM(field, 1))
        has_date = has_date or same_name("date", name)
        has_server = has_server or same_name("server", name)
    if not has_date:
        size += PyUnicode_GET_LENGTH(date) + 8
        lines += 1
    if not has_server:
        size += PyUnicode_GET_LENGTH(server) + 10
        lines += 1
    head = PyBytes_FromStringAndSize(NULL, size + PyBytes_GET_SIZE(body))
    start = PyBytes_AS_STRING(head)
    memcpy(start, b"HTTP/", 5)
    end = put(start + 5, version)
    end[0] = b" "
    end = put(end + 1, status)
    memcpy(end, b"\r\n", 2)
    end += 2
    if not has_date:
        end = put_line(end, "Date", date)
    if not has_server:
        end = put_line(end, "Server", server)
    for i in range(count):
        field = <object>PyList_GET_ITEM(headers, i)
        end = put_line(
            end, <object>PyTuple_GET_ITEM(field, 0), <object>PyTuple_GET_ITEM(field, 1)
        )
    memcpy(end, b"\r\n", 2)
    # Where the ends of the lines are its only control characters, no field has one.
    if count_controls(<const unsigned char *>start, size) != 2 * lines:
        return None
    memcpy(start + size, PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body))
    return head
