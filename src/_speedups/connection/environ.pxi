# The environ of a plain request. Included by connection.pyx.


#: What each environ has of its own, without the fields.
cdef tuple OF_EACH = (
    "RAW_URI",
    "REQUEST_URI",
    "PATH_INFO",
    "QUERY_STRING",
    "REMOTE_ADDR",
    "REMOTE_PORT",
    "wsgi.input",
    "wsgi.errors",
    "wsgi.early_hints",
)


cdef dict new_environ(Ground ground, loop):
    """Return what each environ begins with: a copy, where nothing that it was made of changed."""
    cdef dict environ
    base = ground.server.base_environ
    if type(base) is not dict:
        return None
    if ground.environ is None or base is not ground.base_environ or (
        ground.base_version == 0 or ground.base_version != dict_version(base)
    ):
        ground.base_environ = base
        ground.base_version = dict_version(base)
        environ = (<dict>base).copy()
        PyDict_Update(environ, loop.constants)
        environ["SERVER_PROTOCOL"] = HTTP_1_1
        environ["REQUEST_METHOD"] = GET
        # What each has is here already: then there is room for it, and no need to grow.
        for key in OF_EACH:
            environ[key] = None
        ground.environ = environ
    return ground.environ.copy()


cdef dict environ_of(
    peer, loop, Ground ground, const char *text, Py_ssize_t left, Py_ssize_t *used, bint *closes
):
    """Return the environ of a plain request, its size, and whether it is the connection's last.

    `None` of another.
    """
    cdef const char *end = <const char *>memchr(text, b"\n", left)
    cdef Py_ssize_t line, section, lines, length = 0
    cdef tuple words
    cdef dict environ
    cdef Seen seen
    cdef object value
    if end is NULL or end == text or end[-1] != b"\r" or end - text > ground.longest_head:
        return None
    line = end + 1 - text
    words = split_line(text, line)
    if (
        words is None
        or words[3] is not HTTP_1_1 and words[3] != HTTP_1_1
        or words[1] is not GET and words[1] not in METHODS
        or not is_path(words[2])
        or line != PyUnicode_GET_LENGTH(words[0]) + 2
    ):
        return None
    environ = new_environ(ground, loop)
    if environ is None:
        return None
    section = fill(
        &table, &seen, environ, NO_BASE, False, NOTHING_TAKEN, text + line, left - line,
        ground.longest_head - line, ground.most_fields + 2,
    )
    if (
        section < 0
        or not seen.numbers[table.host_number]
        or seen.numbers[table.expect_number]
        or seen.numbers[table.content_type_number] > 1
    ):
        return None
    lines = count_lines(text + line, section)
    # Where the ends of the lines are its only control characters, no field has one.
    if count_controls(<const unsigned char *>text + line, section) != 2 * lines:
        return None
    if not has_host(environ):
        return None
    # What the base environ may say of it is not the request's.
    value = environ["HTTP_CONNECTION"] if seen.numbers[table.connection_number] else None
    if value == "close":
        closes[0] = True
    elif value is not None and value != "keep-alive" and value != "Keep-Alive":
        return None
    value = environ.get("CONTENT_TYPE")
    if value and ((<str>value)[-1] == " " or (<str>value)[-1] == "\t"):
        environ["CONTENT_TYPE"] = (<str>value).rstrip(" \t")
    value = environ.get("CONTENT_LENGTH")
    if seen.length or value == "0":
        length = seen.length
        # As the state machine has it, without zeros in front.
        if length > ground.longest_body or PyUnicode_GET_LENGTH(value) != digits_of(length):
            return None
        if left < line + section + length:
            return None
    elif value:
        return None
    if words[1] is not GET:
        environ["REQUEST_METHOD"] = words[1]
    environ["RAW_URI"] = words[2]
    environ["REQUEST_URI"] = words[2]
    split_target(environ, words[2])
    environ["REMOTE_ADDR"] = in_slot(peer, places.host)
    environ["REMOTE_PORT"] = in_slot(peer, places.port)
    environ["wsgi.errors"] = sys_namespace["stderr"]
    if length:
        environ["wsgi.input"] = BytesIO(PyBytes_FromStringAndSize(text + line + section, length))
    else:
        environ["wsgi.input"] = BytesIO()
    used[0] = line + section + length
    return environ


cdef bint is_path(target) noexcept:
    """Tell whether a target is a path and perhaps a query, in ASCII."""
    return (
        PyUnicode_IS_ASCII(target)
        and bytes_of(target)[0] == b"/"
        and memchr(bytes_of(target), b"#", PyUnicode_GET_LENGTH(target)) is NULL
    )


cdef Py_ssize_t count_lines(const char *text, Py_ssize_t size) noexcept:
    """Count line feeds: as `count_controls` does, for the compiler to vectorise."""
    cdef Py_ssize_t count = 0, start, i
    cdef unsigned char some
    for start in range(0, size, 240):
        some = 0
        for i in range(start, min(start + 240, size)):
            some += text[i] == b"\n"
        count += some
    return count


cdef bint has_host(dict environ) except -1:
    """Tell whether there is a plain Host: a name or an address, and perhaps a port."""
    cdef object host = environ.get("HTTP_HOST")
    cdef const unsigned char *text
    cdef Py_ssize_t size, i = 0
    if not is_latin1(host):
        return False
    text, size = bytes_of(host), PyUnicode_GET_LENGTH(host)
    while i < size and is_host[text[i]]:
        i += 1
    if i < size and text[i] == b":":
        i += 1
        while i < size and b"0" <= text[i] <= b"9":
            i += 1
    return size > 0 and i == size


cdef Py_ssize_t digits_of(Py_ssize_t number) noexcept:
    cdef Py_ssize_t count = 1
    while number > 9:
        number //= 10
        count += 1
    return count
