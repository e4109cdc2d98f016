# The environs of plain requests, made of the bytes received.

@cython.final
@cython.auto_pickle(False)
cdef class Template:
    """What environs of plain requests had in common, and what it was made of."""

    cdef dict environ, base_environ
    cdef unsigned long long base_version, os_version
    cdef Plan server_plan, plan
    cdef bint is_multithreaded, collides


cdef dict new_environ(
    server, Plan server_plan, dict base_environ, Plan plan, Plan handler_plan, bint *collides
):
    """Return what a plain request's environ has whatever the request.

    A copy of the last one, where nothing that it was made of has changed.
    """
    cdef bint is_multithreaded = is_threaded(server, server_plan)
    cdef Template last = handler_plan.template
    cdef dict environ
    if (
        last is None
        or last.base_environ is not base_environ
        or last.base_version != dict_version(base_environ)
        or last.os_version != dict_version(handler_plan.os_environ)
        or last.base_version == 0
        or last.os_version == 0
        or last.server_plan is not server_plan
        or last.plan is not plan
        or last.is_multithreaded != is_multithreaded
    ):
        last = Template.__new__(Template)
        last.base_environ = base_environ
        last.base_version = dict_version(base_environ)
        last.os_version = dict_version(handler_plan.os_environ)
        last.server_plan = server_plan
        last.plan = plan
        last.is_multithreaded = is_multithreaded
        last.environ = environ = handler_plan.os_environ.copy()
        # A copy: another thread may be changing the server's.
        base_environ = base_environ.copy()
        PyDict_Update(environ, base_environ)
        environ["SERVER_PROTOCOL"] = HTTP_1_1
        environ["SERVER_SOFTWARE"] = plan.server_version
        environ["REQUEST_METHOD"] = GET
        environ["CONTENT_TYPE"] = "text/plain"
        add_settings(environ, handler_plan, is_multithreaded, server_plan.has_processes)
        last.collides = not common_names.isdisjoint(base_environ)
        if last.base_version != 0 and last.os_version != 0:
            handler_plan.template = last
    collides[0] = last.collides
    return last.environ.copy()


cdef dict new_request_environ(dict base_environ, Plan plan, bint *collides):
    """Return what `get_environ` has whatever the request: a copy of the last one, if it may be."""
    cdef Template last = plan.template
    if (
        last is None
        or last.base_environ is not base_environ
        or last.base_version == 0
        or last.base_version != dict_version(base_environ)
    ):
        last = Template.__new__(Template)
        last.base_environ = base_environ
        last.base_version = dict_version(base_environ)
        last.environ = base_environ.copy()
        # Of the copy: another thread may be changing the other.
        last.collides = not common_names.isdisjoint(last.environ)
        last.environ["SERVER_PROTOCOL"] = HTTP_1_1
        last.environ["SERVER_SOFTWARE"] = plan.server_version
        last.environ["REQUEST_METHOD"] = GET
        last.environ["PATH_INFO"] = last.environ["QUERY_STRING"] = ""
        last.environ["REMOTE_ADDR"] = ""
        last.environ["CONTENT_TYPE"] = "text/plain"
        if last.base_version != 0:
            plan.template = last
    collides[0] = last.collides
    return last.environ.copy()


cdef int add_settings(dict environ, Plan plan, multithread, multiprocess) except -1:
    """Put in the ``wsgi.`` variables that are the same for each request."""
    environ["wsgi.version"] = plan.version
    environ["wsgi.run_once"] = plan.run_once
    scheme = environ.get("HTTPS")
    environ["wsgi.url_scheme"] = (
        "http" if scheme is None or scheme not in ("yes", "on", "1") else "https"
    )
    environ["wsgi.multithread"] = multithread
    environ["wsgi.multiprocess"] = multiprocess
    if plan.wrapper is not None:
        environ["wsgi.file_wrapper"] = plan.wrapper
    return 0


cdef bint is_threaded(server, Plan plan) except -1:
    """Tell whether a request runs beside others: not in the server's own thread."""
    loop_thread = getattr(server, "_loop_thread", None)
    if loop_thread is None:
        return plan.has_threads
    return loop_thread != get_ident()


cdef dict environ_of_head(
    dict state, Plan plan, Plan handler_plan, bytes data, Py_ssize_t start,
    Py_ssize_t *after, Py_ssize_t *length,
):
    """Return the environ of a request whose head is whole and plain; `None` of another."""
    cdef const char *text = PyBytes_AS_STRING(data) + start
    cdef const char *end
    cdef Py_ssize_t left = PyBytes_GET_SIZE(data) - start, section, size
    cdef tuple words
    cdef dict environ, base_environ
    cdef object server
    cdef Plan server_plan
    cdef bint collides = True
    cdef Seen seen
    end = <const char *>memchr(text, b"\n", left) if left > 0 else NULL
    if end is NULL or end - text >= max_line:
        return None
    words = split_line(text, end + 1 - text)
    if words is None or not PyUnicode_IS_ASCII(<str>words[2]):
        return None
    server = state["server"]
    server_plan = plan_for(type(server))
    base_environ = attribute_of(server, server_plan, "base_environ")
    environ = new_environ(server, server_plan, base_environ, plan, handler_plan, &collides)
    if words[3] is not HTTP_1_1:
        environ["SERVER_PROTOCOL"] = words[3]
    if words[1] is not GET:
        environ["REQUEST_METHOD"] = words[1]
    split_target(environ, words[2])
    environ["REMOTE_ADDR"] = (<tuple>state["client_address"])[0]
    section = end + 1 - text
    size = fill(
        &table, &seen, environ, base_environ, collides, taken, end + 1, left - section, max_line,
        max_lines,
    )
    if size < 0:
        return None
    length[0] = seen.length
    after[0] = start + section + size
    state["_head"] = words, data, start, start + section, after[0]
    return environ


cdef Py_ssize_t take_section(
    dict state, Plan plan, tuple words, rfile, bytes data, Py_ssize_t start
) except -1:
    """Take a header section if it is whole and plain; return where it ends, else 0."""
    cdef Seen seen
    cdef Py_ssize_t size = 0
    if start < PyBytes_GET_SIZE(data):
        size = fill(
            &table, &seen, None, None, False, None, PyBytes_AS_STRING(data) + start,
            PyBytes_GET_SIZE(data) - start, max_line, max_lines,
        )
    if size <= 0 or (plan.may_keep and seen.numbers[table.expect_number]):
        return 0
    for name in FORGOTTEN:
        if name in state:
            del state[name]
    # The fields are made of the bytes by whoever asks for them.
    state["_head"] = words, data, 0, start, start + size
    state["requestline"], state["command"], state["path"], state["request_version"] = words
    state["close_connection"] = True
    body = new_body(rfile, seen.length)
    state["_connection_file"] = rfile
    state["_body"] = body
    state["rfile"] = body
    return start + size


cdef bint add_fields(
    dict environ, dict base_environ, bint collides, bytes data, Py_ssize_t start, Py_ssize_t end
) except -1:
    """Put a section's fields into an environ; false where they are not plain there."""
    cdef Seen seen
    return fill(
        &table, &seen, environ, base_environ, collides, taken, PyBytes_AS_STRING(data) + start,
        end - start, max_line, max_lines,
    ) >= 0


cdef Py_ssize_t source_at = slot_offset(BodyReader._source)
cdef Py_ssize_t connection_at = slot_offset(BodyReader._connection)
cdef Py_ssize_t left_at = slot_offset(BodyReader.left)


cdef object new_body(rfile, Py_ssize_t length):
    """Return a reader of a request's body."""
    body = new_instance(BodyReader)
    fill_slot(body, source_at, rfile)
    fill_slot(body, connection_at, rfile)
    fill_slot(body, left_at, length)
    return body
