# The head of a request, from bytes: what `request`, `run` and `connection` share.

from cpython.dict cimport PyDict_SetItem
from cpython.object cimport PyObject
from hooks cimport PyDict_GET_SIZE
from libc.string cimport memchr, memcmp, memset
from text cimport decode_latin1

cdef enum:
    SLOTS = 512  # of the table of names: a power of two, four times as many as names
    LONGEST_NAME = 64
    NOT_PLAIN = -1

ctypedef struct Name:
    const char *text
    Py_ssize_t length
    PyObject *key
    PyObject *bare
    int number
    bint is_framing

ctypedef struct Table:
    Name names[SLOTS]
    # By code: whether a name can have it, and its place in a CGI variable's name.
    char in_variables[256]
    # Strings that the above points to.
    PyObject *content_type
    PyObject *content_length
    PyObject *cookie
    PyObject *transfer_encoding
    PyObject *keys
    int expect_number
    int host_number
    int connection_number
    int content_type_number

ctypedef struct Seen:
    # By the number of a name: whether the section has had it; of a Content-Type, twice.
    unsigned char numbers[128]
    # The Content-Length; where it is not a plain number, that is not plain but for variables.
    Py_ssize_t length


cdef inline tuple split_line(const char *text, Py_ssize_t size):
    """Return line, method, target and version of a request; `None` if it is not plain."""
    cdef const char *target
    cdef const char *version
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
        or memcmp(version, b"HTTP/1.", 7) != 0
        or not b"0" <= version[7] <= b"9"
        or not is_visible(text, target)
        or not is_visible(target + 1, version - 1)
    ):
        return None
    return (
        decode_latin1(text, size),
        "GET" if memcmp(text, b"GET ", 4) == 0 else decode_latin1(text, target - text),
        decode_latin1(target + 1, version - target - 2),
        "HTTP/1.1" if version[7] == b"1" else decode_latin1(version, 8),
    )


cdef inline Py_ssize_t fill(
    const Table *table, Seen *seen, dict into, dict base, bint collides, frozenset taken,
    const char *text, Py_ssize_t size, Py_ssize_t max_size, Py_ssize_t max_lines,
) except -2:
    """Put a section's fields into `into`; return its length, NOT_PLAIN for what is not plain.

    Without an `into` they are only looked at. With a `base`, `into` is an environ: what is
    in `base` or in `taken` by its bare name is left out. That `base` has none of the common
    names is known where it does not collide.
    """
    cdef const char *line = text
    cdef const char *end
    cdef const char *colon
    cdef Py_ssize_t left, lines = 0
    memset(seen, 0, sizeof(Seen))
    while True:
        left = size - (line - text)
        end = <const char *>memchr(line, b"\r", left)
        if end is NULL or end - line + 1 >= left or end[1] != b"\n":
            return NOT_PLAIN
        if end == line:
            return end + 2 - text
        lines += 1
        colon = <const char *>memchr(line, b":", end - line)
        if (
            colon is NULL
            or colon == line
            or memchr(line, b"\n", end - line) is not NULL
            or lines >= max_lines - 1
            or end + 4 - text > max_size
            or not add_field(
                table, seen, into, base, collides, taken, line, colon - line, colon + 1, end
            )
        ):
            return NOT_PLAIN
        line = end + 2


cdef inline bint add_field(
    const Table *table, Seen *seen, dict into, dict base, bint collides, frozenset taken,
    const char *name, Py_ssize_t length, const char *value, const char *end,
) except -1:
    """Put a field into `into`; false for one that is not plain."""
    cdef const Name *known = find_name(table, name, length)
    cdef object key, text
    while value < end and (value[0] == b" " or value[0] == b"\t"):
        value += 1
    if known is NULL:
        return add_other(table, into, base, taken, name, length, value, end)
    if known.is_framing and not is_printable(value, end):
        return False
    if known.key is table.content_type:
        if seen.numbers[known.number]:
            seen.numbers[known.number] = 2  # the first one counts
            return True
    elif known.key is table.content_length:
        if seen.numbers[known.number]:
            return False
        if not read_length(seen, value, end) and (into is None or base is not None):
            return False
    else:
        while value < end and (end[-1] == b" " or end[-1] == b"\t"):
            end -= 1
        # What is white space to `str` alone.
        if value < end and (is_odd_space(value[0]) or is_odd_space(end[-1])):
            return False
        if known.key is table.transfer_encoding and (into is None or base is not None):
            return False
        if collides and <object>known.bare in base:
            return True
    if into is None:
        seen.numbers[known.number] = 1
        return True
    key = <object>known.key
    text = decode_latin1(value, end - value)
    if seen.numbers[known.number]:
        text = f"{into[key]}; {text}" if known.key is table.cookie else f"{into[key]},{text}"
    seen.numbers[known.number] = 1
    PyDict_SetItem(into, key, text)
    return True


cdef inline bint read_length(Seen *seen, const char *value, const char *end) noexcept:
    """Read a Content-Length; false for what is not a plain number of at most 18 digits."""
    cdef Py_ssize_t length = 0
    if not 0 < end - value <= 18:
        return False
    while value < end:
        if not b"0" <= value[0] <= b"9":
            return False
        length = length * 10 + (value[0] - c"0")
        value += 1
    seen.length = length
    return True


cdef inline bint add_other(
    const Table *table, dict into, dict base, frozenset taken,
    const char *name, Py_ssize_t length, const char *value, const char *end,
) except -1:
    """Put a field with a name that is not common into `into`; false for one that is not plain."""
    cdef object key, bare
    if memchr(name, b"_", length) is not NULL:
        return is_known(table, name, length)
    key = make_key(table, name, length)
    if key in <object>table.keys:  # common, in another case: to be joined with that
        return False
    while value < end and (end[-1] == b" " or end[-1] == b"\t"):
        end -= 1
    if key is None or (value < end and (is_odd_space(value[0]) or is_odd_space(end[-1]))):
        return False
    if into is None:
        return True
    text = decode_latin1(value, end - value)
    if base is not None:
        bare = key[5:]
        if bare in base or bare in taken:
            return True
        if key in into:  # one of the process's, or a repeated field
            return False
    elif key in into:
        text = f"{into[key]},{text}"
    into[key] = text
    return True


cdef inline object make_key(const Table *table, const char *name, Py_ssize_t length):
    """Return a name's variable; `None` for one that is not plain, or common in another case."""
    cdef char[LONGEST_NAME + 5] text
    cdef Py_ssize_t i
    if length > LONGEST_NAME:
        return None
    text[0], text[1], text[2], text[3], text[4] = b"H", b"T", b"T", b"P", b"_"
    for i in range(length):
        text[5 + i] = table.in_variables[<unsigned char>name[i]]
        if text[5 + i] == 0:
            return None
    return decode_latin1(text, length + 5)


cdef inline bint is_known(const Table *table, const char *name, Py_ssize_t length) noexcept:
    """Tell whether a name can be one: of characters that the table has."""
    cdef Py_ssize_t i
    for i in range(length):
        if table.in_variables[<unsigned char>name[i]] == 0:
            return False
    return True


cdef inline bint is_visible(const char *text, const char *end) noexcept:
    """Tell whether all is ASCII that prints, without a space."""
    cdef Py_ssize_t i
    for i in range(end - text):
        if <unsigned char>text[i] < 0x21 or <unsigned char>text[i] > 0x7E:
            return False
    return True


cdef inline bint is_printable(const char *text, const char *end) noexcept:
    """Tell whether all but white space at the end is ASCII that prints."""
    cdef Py_ssize_t i
    while text < end and (end[-1] == b" " or end[-1] == b"\t"):
        end -= 1
    for i in range(end - text):
        if <unsigned char>text[i] < 0x20 or <unsigned char>text[i] > 0x7E:
            return False
    return True


cdef inline bint is_odd_space(unsigned char char) noexcept:
    return 0x0A <= char <= 0x1F or char == 0x85 or char == 0xA0


cdef inline const Name *find_name(const Table *table, const char *name, Py_ssize_t length) noexcept:
    """Return a name's entry, or NULL."""
    cdef unsigned int place = hash_name(name, length)
    while table.names[place].text is not NULL:
        if table.names[place].length == length:
            if memcmp(table.names[place].text, name, length) == 0:
                return &table.names[place]
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


cdef inline list build_table(Table *table, dict common, dict framing):
    """Fill a table; return what it points to, to be kept.

    Of the names that are common in some spelling, each spelling must be looked up here:
    the others are for the twin.
    """
    cdef unsigned int place
    cdef list kept = []
    cdef dict own = {}, numbers = {}
    cdef bytes text
    cdef str key, bare
    spellings = [(name, key, False) for name, key in common.items()]
    for name, key in framing.items():
        spellings += [(name, key, True), (name.title(), key, True)]
    for code in range(0x21, 0x7F):
        table.in_variables[code] = ord(chr(code).upper().replace("-", "_"))
    for name, key, is_framing in spellings:
        text = name.encode()
        key = own.setdefault(key, key)
        bare = own.setdefault(key[5:], key[5:])
        kept.append((text, key, bare))
        place = hash_name(text, len(text))
        while table.names[place].text is not NULL:
            place = (place + 1) % SLOTS
        table.names[place].text = text
        table.names[place].length = len(text)
        table.names[place].key = <PyObject *>key
        table.names[place].bare = <PyObject *>bare
        table.names[place].number = numbers.setdefault(key, len(numbers))
        table.names[place].is_framing = is_framing
    if len(numbers) > 128:
        raise ImportError("more common names than a section's record has places for")
    table.content_type = <PyObject *>own["CONTENT_TYPE"]
    table.content_length = <PyObject *>own["CONTENT_LENGTH"]
    table.cookie = <PyObject *>own["HTTP_COOKIE"]
    table.transfer_encoding = <PyObject *>own["HTTP_TRANSFER_ENCODING"]
    keys = frozenset(numbers) | {"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"}
    table.keys = <PyObject *>keys
    table.expect_number = numbers["HTTP_EXPECT"]
    table.connection_number = numbers["HTTP_CONNECTION"]
    table.host_number = numbers["HTTP_HOST"]
    table.content_type_number = numbers["CONTENT_TYPE"]
    kept.append(keys)
    return kept
