# Strings and pairs of them, as C sees them: what several kernels need.

cdef extern from "Python.h":
    bint PyTuple_CheckExact(object)
    bint PyUnicode_CheckExact(object)
    int PyUnicode_KIND(object)
    int PyUnicode_1BYTE_KIND
    str PyUnicode_FromKindAndData(int kind, const void *data, Py_ssize_t size)
    bint PyUnicode_IS_ASCII(object)
    void *PyUnicode_DATA(object)
    Py_ssize_t PyUnicode_GET_LENGTH(object)

from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.string cimport memcpy


cdef inline bint is_latin1(object text) noexcept:
    """Tell whether an object is an exact string with one byte a character."""
    return PyUnicode_CheckExact(text) and PyUnicode_KIND(text) == PyUnicode_1BYTE_KIND


cdef inline bint is_pair(object field) noexcept:
    """Tell whether a header is an exact pair of exact Latin-1 strings."""
    return (
        PyTuple_CheckExact(field)
        and PyTuple_GET_SIZE(field) == 2
        and is_latin1(<object>PyTuple_GET_ITEM(field, 0))
        and is_latin1(<object>PyTuple_GET_ITEM(field, 1))
    )


cdef inline const unsigned char *bytes_of(object text) noexcept:
    """Return the characters of a Latin-1 string."""
    return <const unsigned char *>PyUnicode_DATA(text)


cdef inline Py_ssize_t count_controls(const unsigned char *data, Py_ssize_t length) noexcept:
    """Count what NAME_CONTROLS has: by comparison, and in bytes, for the compiler to vectorise."""
    cdef Py_ssize_t count = 0, start, i
    cdef unsigned char some
    for start in range(0, length, 240):
        some = 0
        for i in range(start, min(start + 240, length)):
            some += (data[i] < 0x20) | (data[i] == 0x7F)
        count += some
    return count


cdef inline bint passes(object text, const unsigned char *refuses) noexcept:
    """Tell whether a Latin-1 string has no character of the table."""
    cdef const unsigned char *data = bytes_of(text)
    cdef Py_ssize_t length = PyUnicode_GET_LENGTH(text), i
    if count_controls(data, length) == 0:
        return True
    for i in range(length):
        if refuses[data[i]]:
            return False
    return True


cdef inline bint is_plain(
    object field, const unsigned char *name_refuses, const unsigned char *value_refuses
) noexcept:
    """Tell whether a header is an exact pair of strings that can be sent as they are."""
    return (
        is_pair(field)
        and passes(<object>PyTuple_GET_ITEM(field, 0), name_refuses)
        and passes(<object>PyTuple_GET_ITEM(field, 1), value_refuses)
    )


cdef inline char *put(char *end, object text) noexcept:
    """Copy a Latin-1 string and return where the next byte goes."""
    cdef Py_ssize_t length = PyUnicode_GET_LENGTH(text)
    memcpy(end, PyUnicode_DATA(text), length)
    return end + length


cdef inline bint same_name(object one, object other) noexcept:
    """Tell whether two Latin-1 strings, one of them ASCII, are equal without case."""
    cdef Py_ssize_t length = PyUnicode_GET_LENGTH(one), i
    cdef const unsigned char *a
    cdef const unsigned char *b
    if length != PyUnicode_GET_LENGTH(other):
        return False
    a = bytes_of(one)
    b = bytes_of(other)
    for i in range(length):
        if a[i] != b[i] and lower(a[i]) != lower(b[i]):
            return False
    return True


cdef inline unsigned char lower(unsigned char char) noexcept:
    """Return an ASCII letter in lower case, and anything else as it is."""
    return char | 0x20 if b"A" <= char <= b"Z" else char


cdef extern from "Python.h":
    object PyUnicode_DecodeLatin1(const char *, Py_ssize_t, const char *)


cdef inline object decode_latin1(const char *text, Py_ssize_t length):
    """Return bytes as the string of the same codes."""
    return PyUnicode_DecodeLatin1(text, length, NULL)


cdef inline char *put_line(char *end, object name, object value) noexcept:
    """Write a header line and return where the next byte goes."""
    end = put(end, name)
    end[0] = b":"
    end[1] = b" "
    end = put(end + 2, value)
    end[0] = b"\r"
    end[1] = b"\n"
    return end + 2
