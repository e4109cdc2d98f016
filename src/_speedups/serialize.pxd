# The head of a response and its first block, as one piece of bytes.

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.tuple cimport PyTuple_GET_ITEM
from libc.string cimport memcpy
from text cimport PyUnicode_GET_LENGTH, count_controls, is_pair, put, put_line, same_name


cdef inline bytes serialize(
    str version, str status, list headers, str date, str server, bytes body
):
    """Return a response's head and first block from Latin-1 strings; `None` if it is not plain.

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
