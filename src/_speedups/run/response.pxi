# A response of one block: sent, logged, and the state taken back.

cdef bint answer(
    handler, dict state, Plan plan, result, Plan request_plan, unsigned long long serving_version
) except -1:
    """Send a response of one block and close; false where the methods have to do that.

    `request_plan` is what the request handler's type allowed, as far as it is known, and
    `serving_version` that of its attributes when they hid nothing; 0 where it is not known.
    """
    cdef PyObject *values[MOST_NAMES]
    cdef bint is_untouched = False  # the request handler, since the application was called
    cdef object status, own, environ, send, request_handler, stdout, protocol, now
    cdef list headers
    cdef bytes block, data
    cdef str size
    if (
        not plan.can_finish
        or plan.tag != type_version(type(handler))
        or not headers_are_own()
        or not names_are_own()
    ):
        return False
    with cython.critical_section(state):
        if not collect(state, HANDLER_HOOKS, &handler_names, HANDLER_STATE, values):
            return False
        if (
            values[STATUS] is NULL
            or values[HEADERS] is NULL
            or values[ENVIRON] is NULL
            or (values[HEADERS_SENT] is not NULL and <object>values[HEADERS_SENT])
            or (values[METHOD] is not NULL and <object>values[METHOD] == "HEAD")
        ):
            return False
        status, own = <object>values[STATUS], <object>values[HEADERS]
        environ = <object>values[ENVIRON]
        request_handler = value_or_none(values[REQUEST_HANDLER])
        stdout = value_or_none(values[STDOUT])
        if result is None:
            result = value_or_none(values[RESULT])
    block = only_block(result)
    headers = plain_list(attributes_of(own)) if type(own) is Headers else None
    if (
        block is None
        or headers is None
        or type(environ) is not dict
        or not are_plain(headers)
        or not is_status(status)
        or not may_have_body(status)
        or (plan.wrapper is not FileWrapper and isinstance(result, plan.wrapper or ()))
    ):
        return False
    protocol = (<dict>environ).get("SERVER_PROTOCOL")
    if protocol is not HTTP_1_1 and not (
        type(protocol) is str and (<str>protocol).startswith("HTTP/1")
    ):
        return False
    if plan.is_server:
        request_plan = plan_again(request_plan, type(request_handler))
        is_untouched = (
            serving_version != 0 and serving_version == dict_version(attributes_of(request_handler))
        )
        if not is_untouched and not closes_connection(request_handler, request_plan):
            return False
    send = find_sender(stdout, request_handler, is_untouched)
    if send is None:
        return False
    # From here on it is done: what is odd now raises as it would in the methods.
    size = decimal_of(PyBytes_GET_SIZE(block))
    if not has_field(headers, "content-length"):
        headers.append(("Content-Length", size))
    if plan.is_server and plan.is_modern and "Connection" not in own:
        own["Connection"] = "close"
    state["bytes_sent"] = PyBytes_GET_SIZE(block)
    now = time_namespace["time"]()
    now = <long long>PyFloat_AS_DOUBLE(now) if type(now) is float else int(now)
    data = head_and_block(plan, status, headers, date_of(now), block)
    state["headers_sent"] = True
    if send is DIRECTLY:
        send_directly(request_handler, data)
    else:
        send(data)
    try:
        if plan.is_server:
            request_plan = plan_again(request_plan, type(request_handler))
            is_untouched = is_untouched and (
                serving_version == dict_version(attributes_of(request_handler))
            )
            log(request_handler, request_plan, is_untouched, status, size, state["bytes_sent"], now)
    except BaseException:
        reset_handler(state, request_handler)
        raise
    # Where nobody else has the handler, nobody sees what becomes of it.
    if is_held(handler):
        reset_handler(state, request_handler)
    return True


cdef bytes head_and_block(Plan plan, str status, list headers, date, bytes block):
    """Return the head of a response and its block as one piece of bytes."""
    cdef bytes data = None
    if is_latin1(plan.http_version) and (plan.software is None or is_latin1(plan.software)):
        with cython.critical_section(headers):
            if is_latin1(date):
                data = serialize(plan.http_version, status, headers, date, plan.software, block)
    if data is None:
        data = serialize_head(plan.http_version, status, headers, date, plan.software, block)
    return data


cdef inline object value_or_none(PyObject *value):
    return None if value is NULL else <object>value


cdef bint closes_connection(request_handler, Plan plan) except -1:
    """Tell whether a request handler surely closes its connection after the response."""
    if plan.can_serve:
        return attributes_of(request_handler).get("close_connection", True) is True
    return getattr(request_handler, "close_connection", True) is True


cdef object find_sender(stdout, request_handler, bint is_untouched):
    """Return what sends bytes, where nobody can tell how many pieces they come in."""
    cdef dict serving
    if stdout is None and request_handler is not None:
        # That of the connection, which nobody may have asked for yet.
        serving = attributes_of(request_handler)
        stdout = None if is_untouched else serving.get("wfile")
        if type(stdout) is not ConnectionWriter:  # there is none, or but another one by now
            return serving["request"].sendall if "request" in serving else DIRECTLY
    if type(stdout) is BytesIO or (type(stdout) is ConnectionWriter and not stdout.holds):
        return stdout.write
    return None


cdef object DIRECTLY = object()


cdef int send_directly(request_handler, bytes data) except -1:
    """Send to a connection that is but a descriptor yet."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
    cdef Py_ssize_t sent = send_at_once(
        attributes_of(request_handler)["_descriptor"], PyBytes_AS_STRING(data), size
    )
    if sent < 0 and not would_wait():
        fail()
    if sent < size:
        request_handler.request.sendall(data[max(sent, 0):])
    return 0


cdef int reset_handler(dict state, request_handler) except -1:
    """Take the state of a handler back."""
    state["result"] = None
    state["headers"] = None
    state["status"] = None
    state["environ"] = None
    state["bytes_sent"] = 0
    state["headers_sent"] = False
    if request_handler is not None:
        finish_request_of(request_handler)
    return 0


cdef int log(
    request_handler, Plan plan, bint is_untouched, str status, str size, sent, now
) except -1:
    """Log a request as the methods of its handler do."""
    cdef dict state
    cdef object line, host, text
    if plan.can_log:
        state = attributes_of(request_handler)
        line = None if is_untouched else state.get("requestline")
        if line is None and "_head" in state:
            line = (<tuple>(<tuple>state["_head"])[0])[0]
        address = state.get("client_address")
        host = (<tuple>address)[0] if type(address) is tuple and <tuple>address else None
        if (
            is_latin1(line)
            and is_latin1(host)
            and (is_untouched or not has_any(state, LOG))
        ):
            log_time = log_time_of(request_handler, now)
            text = f'{host} - - [{log_time}] "{line}" {status[:3]} {size}\n'
            if is_plain_line(text):
                sys_namespace["stderr"].write(text)
                return 0
    request_handler.log_request(status.partition(" ")[0], sent)
    return 0


cdef int finish_request_of(request_handler) except -1:
    """Leave a request's body behind, as `_reading.RequestReader._finish_request` does."""
    cdef dict state
    finish_request = getattr(request_handler, "_finish_request", None)
    if finish_request is None:
        return 0
    state = attributes_of(request_handler)
    body = state.get("_body")
    if type(body) is BodyReader and not body.left and plan_for(type(request_handler)).can_serve:
        if state.get("_chunked_length") is None:
            state["_body"] = None
            state["close_connection"] = True
            state["rfile"] = state["_connection_file"]
            return 0
    finish_request(True)
    return 0


# Texts that are made once a second.
cdef dict dates = {}, log_times = {}


cdef object date_of(now):
    """Return the ``Date`` of a second."""
    text = dates.get(now)
    if text is None:
        dates.clear()
        text = dates[now] = module_names["format_date_time"][1](now)
    return text


cdef object log_time_of(request_handler, now):
    """Return the time of a second as log lines have it."""
    text = log_times.get(now)
    if text is None:
        log_times.clear()
        text = log_times[now] = request_handler.log_date_time_string()
    return text
