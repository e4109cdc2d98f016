# The whole of a connection: accepted, read, served and closed.

cdef bint accepts_plainly(server, dict state) except -1:
    """Tell whether a server listens as ours do, and does no more with each connection."""
    cdef object listening = state.get("socket")
    return (
        ACCEPTS_DESCRIPTORS
        and socket_tag != 0
        and plan_for(type(server)).can_accept
        and not has_hook(state, ACCEPTING_HOOKS, &server_names)
        and type(listening) is Socket
        and type_version(Socket) == socket_tag
        and listening.timeout is not None
        and listening.family == AF_INET
        and getdefaulttimeout() is None
        and state.get("_served") is not None
        and not state.get("_BaseServer__shutdown_request")
    )


cdef bint serves_plainly(server, dict state) except -1:
    """Tell whether a server's request handlers need not be constructed to serve."""
    handler_class = state.get("RequestHandlerClass")
    return (
        isinstance(handler_class, type)
        and plan_for(handler_class).can_be_skipped
        and plan_for(server_namespace["ServerHandler"]).can_be_skipped
        and names_are_own()
        and type(attribute_of(server, plan_for(type(server)), "base_environ")) is dict
    )


cdef int serve_descriptor(server, dict server_attributes, int descriptor, client_address) except -1:
    """Serve an accepted connection and close it, or let it wait."""
    cdef object request_handler
    cdef bytes data
    cdef dict state
    cdef char[RECEIVED_AT_MOST] buffer
    cdef Plan plan
    cdef unsigned long long version = 0
    cdef Py_ssize_t size = receive_at_once(descriptor, buffer, RECEIVED_AT_MOST)
    if size < 0 and not would_wait():
        try:
            fail()
        except OSError:
            request = make_socket(descriptor)
            server.handle_error(request, client_address)
            server.shutdown_request(request)
        return 0
    if size <= 0:
        # It is silent, or ends already: as with any other connection.
        server._begin(make_socket(descriptor), client_address)
        return 0
    data = buffer[:size]
    request_handler = new_instance(server_attributes["RequestHandlerClass"])
    state = attributes_of(request_handler)
    state["_descriptor"] = descriptor
    state["client_address"] = client_address
    state["server"] = server
    plan = plan_for(type(request_handler))
    try:
        try:
            version = serve_received(
                request_handler, state, plan, plan_for(server_namespace["ServerHandler"]), data
            )
        finally:
            finish_connection(request_handler, state, plan, version)
    except Exception:
        server.handle_error(request_handler.request, client_address)
        server._end(request_handler.request, client_address, False)
    except BaseException:
        server._end(request_handler.request, client_address, False)
        raise
    else:
        if "request" in state or not accepts_plainly(server, server_attributes):
            server._end(request_handler.request, client_address, True)
        else:
            # Whoever has the request handler yet must not come upon the number's next owner.
            state["_descriptor"] = -1
            close_descriptor(descriptor, len(forks) > 0)
    return 0


cdef object make_socket(int descriptor):
    """Return a connection's descriptor as a socket."""
    return Socket(AF_INET, SOCK_STREAM, 0, descriptor)


cdef unsigned long long serve_socket(
    request_handler, dict state, Plan plan, Plan handler_plan
) except? 1:
    """Serve what one call brings."""
    request_handler._hasten()
    return serve_received(
        request_handler, state, plan, handler_plan, state["request"].recv(RECEIVED_AT_MOST)
    )


cdef unsigned long long serve_received(
    request_handler, dict state, Plan plan, Plan handler_plan, bytes data
) except? 1:
    """Serve what has been received; put back what is not a plain request."""
    cdef Py_ssize_t after, length
    cdef dict environ = environ_of_head(state, plan, handler_plan, data, 0, &after, &length)
    if environ is None:
        if data:
            state["rfile"] = request_handler._open_file(data)
        request_handler.handle()
        return 0
    late = new_instance(LateFile)
    late._request_handler = request_handler
    late._received = data[after:]
    late._file = None
    state["_connection_file"] = late
    return run_application(request_handler, state, plan, handler_plan, environ, late, length)


cdef unsigned long long serve_file(
    request_handler, dict state, Plan plan, Plan handler_plan
) except? 1:
    """Serve what is in a file in memory, which stands for a connection."""
    cdef Py_ssize_t after, length
    cdef dict environ = None
    rfile = state["request"].makefile("rb", -1)
    if type(rfile) is BytesIO:
        environ = environ_of_head(
            state, plan, handler_plan, rfile.getvalue(), rfile.tell(), &after, &length
        )
        if environ is not None:
            rfile.seek(after)
    elif type(rfile) is BufferedReader and type(rfile.raw) is BytesIO:
        environ = environ_of_head(state, plan, handler_plan, rfile.peek(), 0, &after, &length)
        if environ is not None and length:
            rfile.read(after)
    if environ is None:
        state["rfile"] = rfile
        request_handler.handle()
        return 0
    return run_application(request_handler, state, plan, handler_plan, environ, rfile, length)


cdef unsigned long long run_application(
    request_handler, dict serving, Plan request_plan, Plan plan, dict environ, rfile,
    Py_ssize_t length,
) except? 1:
    """Run the server's application for a request whose head was taken.

    Returns the version of the request handler's attributes before the application's call.
    """
    cdef object server = serving["server"], body, handler, application, result, stderr
    cdef dict state
    cdef Plan server_plan
    cdef PyObject *outcome
    cdef unsigned long long serving_version
    body = new_body(rfile, length)
    serving["rfile"] = body
    serving["_body"] = body
    serving["_connection_file"] = rfile
    serving_version = dict_version(serving)
    handler = new_instance(plan.cls)
    # What is not set here is made when somebody asks for it: `stdin`, `stdout`, `base_env`.
    state = attributes_of(handler)
    stderr = sys_namespace["stderr"]
    state["stderr"] = stderr
    server_plan = plan_for(type(server))
    state["wsgi_multithread"] = environ["wsgi.multithread"]
    state["wsgi_multiprocess"] = environ["wsgi.multiprocess"]
    state["request_handler"] = request_handler
    state["environ"] = environ
    method = environ["REQUEST_METHOD"]
    if method is not GET and method == "HEAD":
        state["_request_method"] = "HEAD"
    environ["wsgi.input"] = body
    environ["wsgi.errors"] = stderr
    if server_plan.can_tell_app and "get_app" not in attributes_of(server):
        application = attribute_of(server, server_plan, "application")
    else:
        application = server.get_app()
    if plan.start_response is not None and plan.tag == type_version(type(handler)):
        start_response = PyMethod_New(plan.start_response, handler)
    else:
        start_response = handler.start_response
    outcome = call_application(application, environ, start_response)
    start_response = None  # it holds the handler
    if outcome is NULL:
        handler._go_on(take_error())
        return serving_version
    result = <object>outcome
    Py_DECREF(result)
    try:
        is_sent = answer(handler, state, plan, result, request_plan, serving_version)
    except BaseException as error:
        state["result"] = result
        handler._go_on(error)
        return serving_version
    if not is_sent:
        state["result"] = result
        handler._go_on()
    return serving_version


cdef int finish_connection(
    request_handler, dict state, Plan plan, unsigned long long version
) except -1:
    """Close the files of a connection, as ``finish()`` does.

    `version` is that of the attributes as `run_application` set them, or 0.
    """
    cdef object body = state.get("_body"), file
    if (
        (
            (version == 0 or version != dict_version(state))
            and (
                "wfile" in state
                or "finish" in state
                or state.get("_lingers")
                or (body is not None and type(body) is not BodyReader)
            )
        )
        or (body is not None and body.left)
        or not plan_again(plan, type(request_handler)).can_serve
    ):
        request_handler.finish()
        return 0
    file = state.get("_connection_file")
    if file is None:
        file = state.get("rfile")
    if file is not None:
        file.close()
    return 0
