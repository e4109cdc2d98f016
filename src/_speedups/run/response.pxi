# A response of one block: sent, logged, and the state taken back.

cdef bint may_finish(handler, dict state, Plan plan) except -1:
    """Tell whether nothing is overridden of what follows the application's call."""
    return (
        plan.can_finish
        and plan.tag == type_version(type(handler))
        and not has_hook(state, HANDLER_HOOKS, &handler_names)
        and headers_are_own()
        and names_are_own()
    )


cdef bint send_and_close(handler, dict state, Plan plan, result) except -1:
    """Send a response of one block and close; false where the methods have to do that."""
    cdef list headers
    cdef bytes block
    cdef dict environ
    cdef object status, send, request_handler = None, own, protocol, version, size, held
    block = only_block(result)
    own = state.get("headers")
    held = attributes_of(own) if type(own) is Headers else {}
    headers = plain_list(held)
    status = state.get("status")
    environ = plain_dict(state.get("environ"))
    if (
        block is None
        or headers is None
        or not are_plain(headers)
        or not is_status(status)
        or state.get("headers_sent")
        or not may_have_body(status)
        or state.get("_request_method") == "HEAD"
        or environ is None
        or (plan.wrapper is not FileWrapper and isinstance(result, plan.wrapper or ()))
    ):
        return False
    protocol = environ.get("SERVER_PROTOCOL")
    if not (type(protocol) is str and (<str>protocol).startswith("HTTP/1")):
        return False
    version = plan.http_version
    if plan.is_server:
        request_handler = state.get("request_handler")
        if not closes_connection(request_handler):
            return False
    send = find_sender(state, request_handler)
    if send is None:
        return False
    # From here on it is done: what is odd now raises as it would in the methods.
    size = str(PyBytes_GET_SIZE(block))
    if not has_field(headers, "content-length"):
        headers.append(("Content-Length", size))
    if plan.is_server and version >= "1.1" and "Connection" not in own:
        own["Connection"] = "close"
    state["bytes_sent"] = PyBytes_GET_SIZE(block)
    now = int(time_namespace["time"]())
    data = serialize_head(version, status, headers, date_of(now), plan.software, block)
    state["headers_sent"] = True
    if send is DIRECTLY:
        send_directly(request_handler, data)
    else:
        send(data)
    log_and_reset(handler, state, plan, request_handler, status, size, now)
    return True


cdef bint closes_connection(request_handler) except -1:
    """Tell whether a request handler surely closes its connection after the response."""
    if plan_for(type(request_handler)).can_serve:
        return attributes_of(request_handler).get("close_connection", True) is True
    return getattr(request_handler, "close_connection", True) is True


cdef object find_sender(dict state, request_handler):
    """Return what sends bytes, where nobody can tell how many pieces they come in."""
    cdef dict serving
    stdout = state.get("stdout")
    if stdout is None and request_handler is not None:
        # That of the connection, which nobody may have asked for yet.
        serving = attributes_of(request_handler)
        stdout = serving.get("wfile")
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


cdef int log_and_reset(
    handler, dict state, Plan plan, request_handler, status, str size, now
) except -1:
    """Log the request and take the state back."""
    try:
        if plan.is_server:
            log(request_handler, status, size, state["bytes_sent"], now)
    except BaseException:
        reset_handler(state, request_handler)
        raise
    # Where nobody else has the handler, nobody sees what becomes of it.
    if is_held(handler):
        reset_handler(state, request_handler)
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


cdef int log(request_handler, str status, str size, sent, now) except -1:
    """Log a request as the methods of its handler do."""
    cdef Plan plan = plan_for(type(request_handler))
    cdef dict state
    cdef object line, host, text
    if plan.can_log:
        state = attributes_of(request_handler)
        line = state.get("requestline")
        if line is None and "_head" in state:
            line = (<tuple>(<tuple>state["_head"])[0])[0]
        address = state.get("client_address")
        host = (<tuple>address)[0] if type(address) is tuple and <tuple>address else None
        if is_latin1(line) and is_latin1(host) and not logs_otherwise(state):
            log_time = log_time_of(request_handler, now)
            text = f'{host} - - [{log_time}] "{line}" {status[:3]} {size}\n'
            if is_plain_line(text):
                sys_namespace["stderr"].write(text)
                return 0
    request_handler.log_request(status.partition(" ")[0], sent)
    return 0


cdef bint logs_otherwise(dict state) except -1:
    """Tell whether an instance has a method of its own that makes lines of log."""
    return has_any(state, LOG)


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
