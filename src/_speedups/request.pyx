# cython: language_level=3, freethreading_compatible=True, annotation_typing=False
"""A request line and a header section, from bytes."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from head cimport Seen, Table, build_table, fill, split_line

from wsgiref_fast._grammar import MAX_HEADER_LINES, MAX_LINE
from wsgiref_fast._pure import request as _reference

cdef Py_ssize_t max_line = MAX_LINE, max_lines = MAX_HEADER_LINES
cdef Table table
cdef list _kept = build_table(&table, _reference.COMMON_KEYS, _reference.FRAMING_KEYS)


def parse_request_line(line: bytes) -> tuple[str, str, str, str] | None:
    """Return line, method, target and version of an HTTP/1 request, or `None`.

    Plain is: three words with single spaces between them.
    """
    cdef tuple words = None
    if PyBytes_CheckExact(line):
        words = split_line(PyBytes_AS_STRING(line), PyBytes_GET_SIZE(line))
    return _reference.parse_request_line(line) if words is None else words


def parse_section(
    data: bytes, start: int, underscores: bool
) -> tuple[dict[str, str], int] | None:
    """Return the header section that starts in `data` at `start`, as CGI variables, and its end.

    Repeated fields are joined with a comma, cookies with a semicolon (RFC 9113 section
    8.2.3); of several ``Content-Type`` the first counts.

    Plain is: lines that end in CRLF, the last one empty; on each a name of printable ASCII,
    a colon and a value; fewer of them than any `http.client` has as its limit; in fields
    that frame the request nothing but printable ASCII.

    Args:
        data: what has come of the request.
        start: where its header section starts.
        underscores: whether names with an underscore count: they are the same variable
            as the name with a dash, which a client may not be meant to set.

    """
    cdef dict variables = {}
    cdef Seen seen
    cdef Py_ssize_t length
    if (
        not PyBytes_CheckExact(data)
        or type(start) is not int
        or not 0 <= start <= PyBytes_GET_SIZE(data)
        or underscores is not False
    ):
        return _reference.parse_section(data, start, underscores)
    length = fill(
        &table, &seen, variables, None, False, None, PyBytes_AS_STRING(data) + <Py_ssize_t>start,
        PyBytes_GET_SIZE(data) - <Py_ssize_t>start, max_line, max_lines,
    )
    if length < 0:
        return _reference.parse_section(data, start, underscores)
    return variables, start + length
