# A request's target as CGI variables: what `environ`, `run` and `connection` share.

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.string cimport memchr
from text cimport PyUnicode_DATA, PyUnicode_GET_LENGTH, decode_latin1


cdef inline int split_target(dict environ, target) except -1:
    """Put ``PATH_INFO`` and ``QUERY_STRING`` in, of a target of ASCII."""
    cdef const char *path = <const char *>PyUnicode_DATA(target)
    cdef Py_ssize_t size = PyUnicode_GET_LENGTH(target)
    cdef const char *query = <const char *>memchr(path, b"?", size)
    if query is not NULL:
        environ["PATH_INFO"] = unquote(path, query - path)
        environ["QUERY_STRING"] = decode_latin1(query + 1, size - (query + 1 - path))
    else:
        environ["PATH_INFO"] = target if memchr(path, b"%", size) is NULL else unquote(path, size)
        environ["QUERY_STRING"] = ""
    return 0


cdef inline object unquote(const char *text, Py_ssize_t size):
    """Return ASCII text with each ``%XX`` decoded to the character of that code."""
    cdef char[1024] short_one
    cdef char *decoded = short_one
    cdef Py_ssize_t i = 0, end = 0
    cdef int high, low
    short_one[0] = 0  # gcc does not see that all that is read was written
    if memchr(text, b"%", size) is NULL:
        return decode_latin1(text, size)
    if size > <Py_ssize_t>sizeof(short_one):
        decoded = <char *>PyMem_Malloc(size)
        if decoded is NULL:
            raise MemoryError
    while i < size:
        if text[i] == b"%" and i + 2 < size:
            high = digit(text[i + 1])
            low = digit(text[i + 2])
            if high >= 0 and low >= 0:
                decoded[end] = <char>(high * 16 + low)
                end += 1
                i += 3
                continue
        decoded[end] = text[i]
        end += 1
        i += 1
    try:
        return decode_latin1(decoded, end)
    finally:
        if decoded is not short_one:
            PyMem_Free(decoded)


cdef inline int digit(char char) noexcept:
    """Return what a hexadecimal digit stands for; -1 for another character."""
    if b"0" <= char <= b"9":
        return char - c'0'
    if b"a" <= char <= b"f":
        return char - c'a' + 10
    if b"A" <= char <= b"F":
        return char - c'A' + 10
    return -1
