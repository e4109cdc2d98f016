# cython: language_level=3, freethreading_compatible=True, annotation_typing=False
"""Response headers: a header list checked, and a header list as bytes."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.string cimport memcpy

from wsgiref_fast._grammar import NAME_CONTROLS, VALUE_CONTROLS
from wsgiref_fast._pure import headers as _reference

cdef extern from "Python.h":
    bint PyTuple_CheckExact(object)
    bint PyUnicode_CheckExact(object)
    int PyUnicode_KIND(object)
    int PyUnicode_1BYTE_KIND
    void *PyUnicode_DATA(object)
    Py_ssize_t PyUnicode_GET_LENGTH(object)

# By Latin-1 code: what a name, and what a value, may not hold.
cdef unsigned char[256] name_refuses
cdef unsigned char[256] value_refuses
if NAME_CONTROLS != {chr(_code) for _code in (*range(0x20), 0x7F)}:
    raise ImportError("count_controls() knows other control characters than the grammar")
for _code in range(256):
    name_refuses[_code] = chr(_code) in NAME_CONTROLS
    value_refuses[_code] = chr(_code) in VALUE_CONTROLS


def validate_headers(headers: list[tuple[str, str]]) -> None:
    """Check that a header list can be sent: strings alone, without control characters.

    A value may hold HTAB (RFC 9110 section 5.5), a name may not.

    Raises:
        AssertionError: a name or a value is not exactly a `str`.
        ValueError: a name or a value holds a control character; the message names the
            field. Also where an item does not have exactly two parts.

    """
    # A snapshot: another thread may change the caller's list.
    cdef tuple fields = tuple(headers)
    cdef Py_ssize_t i
    for i in range(PyTuple_GET_SIZE(fields)):
        if not is_plain(<object>PyTuple_GET_ITEM(fields, i)):
            return _reference.validate_headers(headers)


def serialize_headers(headers: list[tuple[str, str]]) -> bytes:
    """Return a header list as it goes on the wire, with the empty line that ends it.

    Raises:
        UnicodeEncodeError: a name or a value is not Latin-1.
        ValueError: a name or a value holds a control character, as for `validate_headers`.

    """
    # A snapshot: another thread may change the caller's list.
    cdef tuple fields = tuple(headers)
    cdef Py_ssize_t count = PyTuple_GET_SIZE(fields), size = 2 + 4 * count, i
    cdef object field
    cdef bytes block
    cdef char *end
    for i in range(count):
        field = <object>PyTuple_GET_ITEM(fields, i)
        if not is_pair(field):
            return _reference.serialize_headers(headers)
        size += PyUnicode_GET_LENGTH(<object>PyTuple_GET_ITEM(field, 0))
        size += PyUnicode_GET_LENGTH(<object>PyTuple_GET_ITEM(field, 1))
    block = PyBytes_FromStringAndSize(NULL, size)
    end = PyBytes_AS_STRING(block)
    for i in range(count):
        field = <object>PyTuple_GET_ITEM(fields, i)
        end = put(end, <object>PyTuple_GET_ITEM(field, 0))
        end[0] = b":"
        end[1] = b" "
        end = put(end + 2, <object>PyTuple_GET_ITEM(field, 1))
        end[0] = b"\r"
        end[1] = b"\n"
        end += 2
    end[0] = b"\r"
    end[1] = b"\n"
    # Where the ends of the lines are its only control characters, no field has one.
    if count_controls(<const unsigned char *>PyBytes_AS_STRING(block), size) == 2 * count + 2:
        return block
    for i in range(count):
        if not is_plain(<object>PyTuple_GET_ITEM(fields, i)):
            return _reference.serialize_headers(headers)
    return block


cdef inline bint is_pair(object field) noexcept:
    """Tell whether a header is an exact pair of exact Latin-1 strings."""
    return (
        PyTuple_CheckExact(field)
        and PyTuple_GET_SIZE(field) == 2
        and is_latin1(<object>PyTuple_GET_ITEM(field, 0))
        and is_latin1(<object>PyTuple_GET_ITEM(field, 1))
    )


cdef inline bint is_latin1(object text) noexcept:
    """Tell whether an object is an exact string with one byte a character."""
    return PyUnicode_CheckExact(text) and PyUnicode_KIND(text) == PyUnicode_1BYTE_KIND


cdef inline Py_ssize_t count_controls(const unsigned char *data, Py_ssize_t length) noexcept:
    """Count what NAME_CONTROLS has: by comparison, for the compiler to vectorise."""
    cdef Py_ssize_t count = 0, i
    for i in range(length):
        count += (data[i] < 0x20) | (data[i] == 0x7F)
    return count


cdef inline bint is_plain(object field) noexcept:
    """Tell whether a header is an exact pair of strings that can be sent as they are."""
    return (
        is_pair(field)
        and passes(<object>PyTuple_GET_ITEM(field, 0), name_refuses)
        and passes(<object>PyTuple_GET_ITEM(field, 1), value_refuses)
    )


cdef inline bint passes(object text, const unsigned char *refuses) noexcept:
    """Tell whether a Latin-1 string has no character of the table."""
    cdef const unsigned char *data = <const unsigned char *>PyUnicode_DATA(text)
    cdef Py_ssize_t length = PyUnicode_GET_LENGTH(text), i
    if count_controls(data, length) == 0:
        return True
    for i in range(length):
        if refuses[data[i]]:
            return False
    return True


cdef inline char *put(char *end, object text) noexcept:
    """Copy a Latin-1 string and return where the next byte goes."""
    cdef Py_ssize_t length = PyUnicode_GET_LENGTH(text)
    memcpy(end, PyUnicode_DATA(text), length)
    return end + length
