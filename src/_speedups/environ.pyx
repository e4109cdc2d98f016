# cython: language_level=3, freethreading_compatible=True, annotation_typing=False
"""The WSGI environ of a parsed request (PEP 3333, "environ Variables")."""

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.string cimport memchr
from text cimport (
    PyUnicode_DATA,
    PyUnicode_GET_LENGTH,
    PyUnicode_IS_ASCII,
    decode_latin1,
    is_latin1,
)

from wsgiref_fast._grammar import COMMON_FIELDS
from wsgiref_fast._pure import environ as _reference
from wsgiref_fast._pure.request import make_key

cdef str TEXT_PLAIN = "text/plain"

# The bare names of the variables that common fields have.
cdef dict BARE = {
    key: key[5:] for key in map(make_key, COMMON_FIELDS) if key.startswith("HTTP_")
}


def make_environ(
    base_environ: dict[str, Any],
    request: tuple[str, str, str],
    software: str,
    address: str,
    variables: dict[str, str],
) -> dict[str, Any]:
    """Return a request's environ.

    ``PATH_INFO`` is the target's path, percent-decoded to "bytes in str". A header field
    whose bare name is a variable already is left out.

    Args:
        base_environ: what is the same for each request of the server.
        request: method, target and version.
        software: what ``SERVER_SOFTWARE`` says.
        address: what ``REMOTE_ADDR`` says.
        variables: the header fields, as `request.parse_section` returns them.

    """
    cdef dict environ
    cdef object method, target, version, key, value, bare
    cdef const char *path
    cdef const char *query
    cdef Py_ssize_t size
    if type(request) is not tuple or len(request) != 3 or type(variables) is not dict:
        return _reference.make_environ(base_environ, request, software, address, variables)
    method, target, version = <tuple>request
    if type(base_environ) is not dict or not is_latin1(target) or not PyUnicode_IS_ASCII(target):
        return _reference.make_environ(base_environ, request, software, address, variables)
    environ = (<dict>base_environ).copy()
    environ["SERVER_PROTOCOL"] = version
    environ["SERVER_SOFTWARE"] = software
    environ["REQUEST_METHOD"] = method
    path = <const char *>PyUnicode_DATA(target)
    size = PyUnicode_GET_LENGTH(target)
    query = <const char *>memchr(path, b"?", size)
    if query is NULL:
        environ["PATH_INFO"] = target if memchr(path, b"%", size) is NULL else unquote(path, size)
        environ["QUERY_STRING"] = ""
    else:
        environ["PATH_INFO"] = unquote(path, query - path)
        environ["QUERY_STRING"] = decode_latin1(query + 1, size - (query + 1 - path))
    environ["REMOTE_ADDR"] = address
    environ["CONTENT_TYPE"] = (<dict>variables).get("CONTENT_TYPE", TEXT_PLAIN)
    length = (<dict>variables).get("CONTENT_LENGTH")
    if length:
        # One of a list of equal values.
        environ["CONTENT_LENGTH"] = (
            length.partition(",")[0].strip(" \t") if "," in length else length
        )
    for key, value in (<dict>variables).items():
        bare = BARE.get(key)
        if bare is None:
            if key[:5] != "HTTP_":
                continue
            bare = key[5:]
        if bare not in environ:
            environ[key] = value
    return environ


cdef object unquote(const char *text, Py_ssize_t size):
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
