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
    cdef Py_ssize_t size = 2, i
    cdef object field
    cdef bytes block
    cdef char *end
    for i in range(PyTuple_GET_SIZE(fields)):
        field = <object>PyTuple_GET_ITEM(fields, i)
        if not is_plain(field):
            return _reference.serialize_headers(headers)
        size += 4 + PyUnicode_GET_LENGTH(<object>PyTuple_GET_ITEM(field, 0))
        size += PyUnicode_GET_LENGTH(<object>PyTuple_GET_ITEM(field, 1))
    block = PyBytes_FromStringAndSize(NULL, size)
    end = PyBytes_AS_STRING(block)
    for i in range(PyTuple_GET_SIZE(fields)):
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
    return block


cdef inline bint is_plain(object field) noexcept:
    """Tell whether a header is an exact pair of strings that can be sent as they are."""
    return (
        PyTuple_CheckExact(field)
        and PyTuple_GET_SIZE(field) == 2
        and passes(<object>PyTuple_GET_ITEM(field, 0), name_refuses)
        and passes(<object>PyTuple_GET_ITEM(field, 1), value_refuses)
    )


cdef inline bint passes(object text, const unsigned char *refuses) noexcept:
    """Tell whether an object is an exact Latin-1 string without a character of the table."""
    if not PyUnicode_CheckExact(text) or PyUnicode_KIND(text) != PyUnicode_1BYTE_KIND:
        return False
    cdef const unsigned char *data = <const unsigned char *>PyUnicode_DATA(text)
    cdef Py_ssize_t i
    for i in range(PyUnicode_GET_LENGTH(text)):
        if refuses[data[i]]:
            return False
    return True


cdef inline char *put(char *end, object text) noexcept:
    """Copy a Latin-1 string and return where the next byte goes."""
    cdef Py_ssize_t length = PyUnicode_GET_LENGTH(text)
    memcpy(end, PyUnicode_DATA(text), length)
    return end + length
