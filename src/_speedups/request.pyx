# cython: language_level=3, freethreading_compatible=True, annotation_typing=False
"""A request line and a header section, from bytes."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from hooks cimport PyDict_GET_SIZE
from libc.string cimport memchr, memcmp
from text cimport decode_latin1, is_latin1

from wsgiref_fast._grammar import MAX_HEADER_LINES, MAX_LINE
from wsgiref_fast._pure import request as _reference

cdef enum:
    SLOTS = 512  # of the table of names: a power of two, four times as many as names
    LONGEST_NAME = 64

ctypedef struct Name:
    const char *text
    Py_ssize_t length
    PyObject *key
    bint is_framing

cdef extern from "Python.h":
    ctypedef struct PyObject

cdef Py_ssize_t max_line = MAX_LINE, max_lines = MAX_HEADER_LINES
cdef Name[SLOTS] names
# What the table points to.
cdef list kept = []
# By code: whether a name can have it, and its place in a CGI variable's name.
cdef char[256] in_variables

cdef dict methods = {m.encode(): m for m in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")}
cdef tuple versions = tuple(f"HTTP/1.{minor}" for minor in range(10))
cdef str CONTENT_TYPE = "CONTENT_TYPE", CONTENT_LENGTH = "CONTENT_LENGTH"
cdef str COOKIE = "HTTP_COOKIE"


def parse_request_line(line: bytes) -> tuple[str, str, str, str] | None:
    """Return line, method, target and version of an HTTP/1 request, or `None`.

    Plain is: three words with single spaces between them.
    """
    cdef const char *text
    cdef const char *target
    cdef const char *version
    cdef Py_ssize_t size
    if not PyBytes_CheckExact(line):
        return _reference.parse_request_line(line)
    text = PyBytes_AS_STRING(line)
    size = PyBytes_GET_SIZE(line)
    while size and (text[size - 1] == b"\n" or text[size - 1] == b"\r"):
        size -= 1
    target = <const char *>memchr(text, b" ", size)
    # Behind the target: a space and a version, of nine characters together.
    version = text + size - 8
    if (
        target is NULL
        or target == text
        or version - target < 3
        or version[-1] != b" "
        or target[1] == b"/" == target[2]
        or not is_version(version)
        or not is_visible(text, target)
        or not is_visible(target + 1, version - 1)
    ):
        return _reference.parse_request_line(line)
    return (
        decode_latin1(text, size),
        name_method(text, target - text),
        decode_latin1(target + 1, version - target - 2),
        versions[version[7] - c'0'],
    )


cdef inline bint is_version(const char *text) noexcept:
    return memcmp(text, b"HTTP/1.", 7) == 0 and b"0" <= text[7] <= b"9"


cdef inline bint is_visible(const char *text, const char *end) noexcept:
    """Tell whether all is ASCII that prints, without a space."""
    cdef Py_ssize_t odd = 0, i
    for i in range(end - text):
        odd += (<unsigned char>text[i] < 0x21) | (<unsigned char>text[i] > 0x7E)
    return odd == 0


cdef object name_method(const char *text, Py_ssize_t size):
    if size == 3 and memcmp(text, b"GET", 3) == 0:
        return "GET"
    method = text[:size]
    return methods.get(method) or decode_latin1(text, size)


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
    cdef Py_ssize_t length
    if (
        not PyBytes_CheckExact(data)
        or type(start) is not int
        or not 0 <= start <= PyBytes_GET_SIZE(data)
        or underscores is not False
    ):
        return _reference.parse_section(data, start, underscores)
    length = fill(variables, PyBytes_AS_STRING(data) + <Py_ssize_t>start,
                  PyBytes_GET_SIZE(data) - <Py_ssize_t>start)
    if length < 0:
        return _reference.parse_section(data, start, underscores)
    return variables, start + length


cdef Py_ssize_t fill(dict variables, const char *text, Py_ssize_t size) except -2:
    """Put a section's fields into `variables`; return its length, -1 for what is not plain."""
    cdef const char *line = text
    cdef const char *end
    cdef const char *colon
    cdef Py_ssize_t left, lines = 0
    while True:
        left = size - (line - text)
        end = <const char *>memchr(line, b"\r", left)
        if end is NULL or end - line + 1 >= left or end[1] != b"\n":
            return -1
        if end == line:
            return end + 2 - text
        lines += 1
        colon = <const char *>memchr(line, b":", end - line)
        if (
            colon is NULL
            or colon == line
            or memchr(line, b"\n", end - line) is not NULL
            or lines >= max_lines - 1
            or end + 4 - text > max_line
            or not add(variables, line, colon - line, colon + 1, end)
        ):
            return -1
        line = end + 2


cdef bint add(
    dict variables, const char *name, Py_ssize_t length, const char *value, const char *end
) except -1:
    """Put a field into `variables`; false for one that is not plain."""
    cdef const Name *known = find(name, length)
    cdef Py_ssize_t before = PyDict_GET_SIZE(variables)
    cdef object key, text
    while value < end and (value[0] == b" " or value[0] == b"\t"):
        value += 1
    if known is not NULL:
        key = <object>known.key
        if known.is_framing and not is_printable(value, end):
            return False
    else:
        if memchr(name, b"_", length) is not NULL:
            return is_visible(name, name + length)
        key = make_key(name, length)
        if key is None:
            return False
    if key is not CONTENT_TYPE and key is not CONTENT_LENGTH:
        while value < end and (end[-1] == b" " or end[-1] == b"\t"):
            end -= 1
        # What is white space to `str` alone.
        if value < end and (is_odd_space(value[0]) or is_odd_space(end[-1])):
            return False
    text = decode_latin1(value, end - value)
    first = variables.setdefault(key, text)
    if PyDict_GET_SIZE(variables) == before and key is not CONTENT_TYPE:
        variables[key] = f"{first}; {text}" if key is COOKIE else f"{first},{text}"
    return True


cdef inline bint is_printable(const char *text, const char *end) noexcept:
    cdef Py_ssize_t odd = 0, i
    while text < end and (end[-1] == b" " or end[-1] == b"\t"):
        end -= 1
    for i in range(end - text):
        odd += (<unsigned char>text[i] < 0x20) | (<unsigned char>text[i] > 0x7E)
    return odd == 0


cdef inline bint is_odd_space(unsigned char char) noexcept:
    return 0x0A <= char <= 0x1F or char == 0x85 or char == 0xA0


cdef object make_key(const char *name, Py_ssize_t length):
    """Return a name's variable; `None` for a name that is not plain, or spelt in another way."""
    cdef char[LONGEST_NAME + 5] text
    cdef Py_ssize_t i
    if length > LONGEST_NAME:
        return None
    text[:5] = b"HTTP_"
    for i in range(length):
        text[5 + i] = in_variables[<unsigned char>name[i]]
        if text[5 + i] == 0:
            return None
    key = decode_latin1(text, length + 5)
    return None if key in spelt else key


# -- The table of names --------------------------------------------------------------------


cdef inline const Name *find(const char *name, Py_ssize_t length) noexcept:
    """Return a name's entry, or NULL."""
    cdef unsigned int place = hash_name(name, length)
    while names[place].text is not NULL:
        if names[place].length == length and memcmp(names[place].text, name, length) == 0:
            return &names[place]
        place = (place + 1) % SLOTS
    return NULL


cdef inline unsigned int hash_name(const char *name, Py_ssize_t length) noexcept:
    """Return a place in the table; of a name of at least one character."""
    return (
        length * 37
        + <unsigned char>name[0] * 5
        + <unsigned char>name[length - 1] * 17
        + <unsigned char>name[length // 2] * 101
    ) % SLOTS


cdef void *build() except NULL:
    cdef unsigned int place
    cdef bytes text
    cdef str name, key
    known = {key: key for key in (CONTENT_TYPE, CONTENT_LENGTH, COOKIE)}
    for code in range(0x21, 0x7F):
        in_variables[code] = ord(chr(code).upper().replace("-", "_"))
    spellings = [(name, key, False) for name, key in _reference.COMMON_KEYS.items()]
    for name, key in _reference.FRAMING_KEYS.items():
        spellings += [(name, key, True), (name.title(), key, True)]
    for name, key, is_framing in spellings:
        text = name.encode()
        key = known.get(key, key)
        kept.append((text, key))
        place = hash_name(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
        while names[place].text is not NULL:
            place = (place + 1) % SLOTS
        names[place].text = PyBytes_AS_STRING(text)
        names[place].length = PyBytes_GET_SIZE(text)
        names[place].key = <PyObject *>key
        names[place].is_framing = is_framing
    return names


# Variables whose fields have to be known by their names: prefixed, as make_key() makes them.
cdef frozenset spelt = frozenset(
    ["HTTP_CONTENT_TYPE", *(f"HTTP_{n.upper().replace('-', '_')}" for n in _reference.FRAMING_KEYS)]
    + ["HTTP_COOKIE"]
)
build()
