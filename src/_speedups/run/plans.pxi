# Which short cuts a type, an instance and the modules' names allow at this moment.

cdef tuple START = short_cuts.START, WRITE = short_cuts.WRITE, LOG = short_cuts.LOG
cdef tuple TELL_ENVIRON = short_cuts.TELL_ENVIRON, FORGOTTEN = short_cuts.FORGOTTEN
cdef tuple CONSTRUCTED = short_cuts.CONSTRUCTED
cdef frozenset HANDLER_HOOKS = short_cuts.HANDLER_HOOKS
cdef frozenset SERVING_HOOKS = short_cuts.SERVING_HOOKS
cdef frozenset ACCEPTING_HOOKS = short_cuts.ACCEPTING_HOOKS
# What an instance may not have before it serves.
cdef tuple PRESET = (*SERVING_HOOKS, *short_cuts.SERVING_STATE)
cdef dict module_names = _hooks.module_names

cdef list own_names = None, namespaces = None
cdef object Headers = None, FileWrapper = None
cdef dict server_namespace = None


@cython.final
@cython.auto_pickle(False)
cdef class Plan:
    """What a type's methods and settings allow, as long as it has a version."""

    cdef unsigned int tag
    cdef object cls
    cdef bint can_set_up, can_start, can_finish, is_server, is_origin, can_be_skipped
    cdef bint can_serve, can_log, can_accept, has_threads, has_processes, has_plain_state
    cdef bint can_tell_app, can_parse, can_tell_environ, may_keep, is_modern
    cdef str http_version
    cdef object software, wrapper, version, run_once, server_version, start_response
    cdef dict os_environ
    cdef Template template


# By type. Cleared when there are many: types may come and go.
cdef dict plans = {}


cdef Plan NO_PLAN = Plan.__new__(Plan)


cdef Plan plan_for(cls):
    """Return what a type allows at this moment."""
    cdef Plan plan
    if not isinstance(cls, type):
        return Plan.__new__(Plan)  # it may make instances of any type
    plan = plans.get(cls)
    if plan is None or plan.tag == 0 or plan.tag != type_version(cls):
        plan = make_plan(cls)
        if len(plans) > 100:
            plans.clear()
        plans[cls] = plan
    return plan


cdef inline Plan plan_again(Plan plan, cls):
    """Return what a type allows, where it was asked before."""
    return plan if plan.tag != 0 and plan.tag == type_version(cls) else plan_for(cls)


cdef Plan make_plan(cls):
    cdef Plan plan = Plan.__new__(Plan)
    load()
    hasattr(cls, "__init__")  # a look-up gives a type its version
    plan.tag = type_version(cls)
    plan.cls = cls
    if (
        plan.tag == 0
        or Headers is None
        or not short_cuts.has_plain_attributes(cls)
        or type(cls).__call__ is not type.__call__
        or getattr(cls, "__abstractmethods__", None)
    ):
        return plan
    if hasattr(cls, "start_response"):
        allow_handler(plan, short_cuts.allowed_by_handler(cls, Headers))
        if plan.can_be_skipped:
            prime(cls, short_cuts.HANDLER_STATE)
    elif hasattr(cls, "parse_request") and server_namespace is not None:
        allow_serving(plan, short_cuts.allowed_by_request_handler(cls, HTTPMessage))
        if plan.can_be_skipped:
            prime(cls, short_cuts.SERVING_STATE)
    elif hasattr(cls, "get_app"):
        allow_server(plan, short_cuts.allowed_by_server(cls, ThreadingMixIn, FORKING))
    if plan.tag != type_version(cls):
        return Plan.__new__(Plan)  # it has changed meanwhile
    return plan


cdef int allow_handler(Plan plan, dict allowed) except -1:
    if allowed:
        plan.can_set_up = allowed["can_set_up"]
        plan.can_start = allowed["can_start"]
        plan.can_finish = allowed["can_finish"]
        plan.can_be_skipped = allowed["can_be_skipped"]
        plan.is_server = allowed["is_server"]
        plan.is_origin = allowed["is_origin"]
        plan.http_version = allowed["http_version"]
        plan.is_modern = plan.http_version >= "1.1"
        plan.software = allowed["software"]
        plan.os_environ = allowed["os_environ"]
        plan.wrapper = allowed["wrapper"]
        plan.version = allowed["version"]
        plan.run_once = allowed["run_once"]
        plan.start_response = allowed["start_response"]
    return 0


cdef int allow_serving(Plan plan, dict allowed) except -1:
    plan.can_log = allowed["can_log"]
    plan.may_keep = allowed["may_keep"]
    plan.can_parse = allowed["can_parse"]
    plan.can_tell_environ = allowed["can_tell_environ"]
    plan.can_serve = allowed["can_serve"]
    plan.can_be_skipped = allowed["can_be_skipped"]
    plan.server_version = allowed["server_version"]
    return 0


cdef int allow_server(Plan plan, dict allowed) except -1:
    plan.can_accept = allowed["can_accept"]
    plan.can_tell_app = allowed["can_tell_app"]
    plan.has_plain_state = allowed["has_plain_state"]
    plan.has_threads = allowed["has_threads"]
    plan.has_processes = allowed["has_processes"]
    return 0


cdef int prime(cls, tuple names) except -1:
    """Have a type's instances share the keys of their state: it is smaller then, and faster."""
    if hasattr(cls, "__del__"):
        return 0
    instance = new_instance(cls)
    for name in names:
        object.__setattr__(instance, name, None)
    return 0


cdef int load() except -1:
    """Learn of the classes that short cuts go through; they stand above the kernels."""
    global Headers, FileWrapper, server_namespace, own_names, namespaces
    if Headers is None:
        if "BaseHandler" not in _hooks.classes:
            return 0  # there are no handlers yet
        Headers = _hooks.classes["Headers"]
        FileWrapper = _hooks.classes["FileWrapper"]
        names = ("_hoppish", "is_hop_by_hop", "format_date_time", "time", "guess_scheme")
        own_names = [(module_names[name][0], name, module_names[name][1]) for name in names]
        namespaces = [module_names["_hoppish"][0], module_names["is_hop_by_hop"][0]]
    if server_namespace is None and "ServerHandler" in module_names:
        load_server()
        server_namespace = module_names["ServerHandler"][0]
    return 0


cdef int load_server() except -1:
    """Learn of the standard library's classes that a server stands on."""
    global socket_tag, ThreadingMixIn, Socket, HTTPMessage
    global getdefaulttimeout, AF_INET, SOCK_STREAM, FORKING
    import socket
    import socketserver
    from http.client import HTTPMessage as message_class
    ThreadingMixIn = socketserver.ThreadingMixIn
    FORKING = getattr(socketserver, "ForkingMixIn", ())
    Socket = socket.socket
    hasattr(Socket, "accept")  # a look-up gives a type its version
    # Those of others, which have their own ways to wait, have none here.
    socket_tag = type_version(Socket) if Socket.__module__ == "socket" else 0
    getdefaulttimeout = socket.getdefaulttimeout
    AF_INET = socket.AF_INET
    SOCK_STREAM = socket.SOCK_STREAM
    HTTPMessage = message_class
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=partial(forks.__setitem__, "forked", True))
    return 0


# The names of state, by the address of the string: what an instance mostly has.
cdef enum:
    PLACES = 128
    MOST_NAMES = 32

ctypedef struct Names:
    PyObject *at[PLACES]
    int number[PLACES]

cdef Names handler_names, serving_names, server_names


cdef int fill_names(Names *names, tuple texts) except -1:
    cdef Py_ssize_t place
    cdef int number
    assert len(texts) <= MOST_NAMES
    for number, text in enumerate(texts):
        text = sys.intern(text)
        kept.append(text)
        place = (<size_t><PyObject *>text >> 4) % PLACES
        while names.at[place] is not NULL:
            place = (place + 1) % PLACES
        names.at[place] = <PyObject *>text
        names.number[place] = number
    return 0


cdef list kept = []
cdef tuple HANDLER_STATE = short_cuts.HANDLER_STATE
fill_names(&handler_names, HANDLER_STATE)
fill_names(&serving_names, short_cuts.SERVING_STATE)
fill_names(&server_names, short_cuts.SERVER_STATE)


cdef bint has_hook(dict attributes, frozenset hooks, Names *state) except -1:
    """Tell whether an instance's own attributes hide something that short cuts skip."""
    cdef Py_ssize_t position = 0, place
    cdef PyObject *key
    with cython.critical_section(attributes):
        while PyDict_Next(attributes, &position, &key, NULL):
            place = (<size_t>key >> 4) % PLACES
            while state.at[place] is not NULL and state.at[place] is not key:
                place = (place + 1) % PLACES
            if state.at[place] is NULL and (
                not PyUnicode_CheckExact(<object>key) or <object>key in hooks
            ):
                return True
    return False


# Where `collect` puts them.
cdef int STDOUT = HANDLER_STATE.index("stdout")
cdef int REQUEST_HANDLER = HANDLER_STATE.index("request_handler")
cdef int ENVIRON = HANDLER_STATE.index("environ")
cdef int METHOD = HANDLER_STATE.index("_request_method")
cdef int RESULT = HANDLER_STATE.index("result")
cdef int STATUS = HANDLER_STATE.index("status")
cdef int HEADERS = HANDLER_STATE.index("headers")
cdef int HEADERS_SENT = HANDLER_STATE.index("headers_sent")


cdef bint collect(
    dict attributes, frozenset hooks, Names *names, tuple texts, PyObject **values
) except -1:
    """Borrow an instance's own attributes, by their number in `texts`.

    Returns false where one of them hides something that short cuts skip.
    """
    cdef Py_ssize_t position = 0, place
    cdef PyObject *key
    cdef PyObject *value
    for place in range(PyTuple_GET_SIZE(texts)):
        values[place] = NULL
    while PyDict_Next(attributes, &position, &key, &value):
        place = (<size_t>key >> 4) % PLACES
        while names.at[place] is not NULL and names.at[place] is not key:
            place = (place + 1) % PLACES
        if names.at[place] is not NULL:
            values[names.number[place]] = value
        elif (
            not PyUnicode_CheckExact(<object>key)
            or <object>key in hooks
            or <object>key in texts  # an equal string, but another
        ):
            return False
    return True


cdef bint has_any(dict attributes, tuple names) except -1:
    """Tell whether an instance's own attributes are among these few."""
    for name in names:
        if name in attributes:
            return True
    return False


cdef object attribute_of(server, Plan plan, str name):
    """Return an attribute of a server, without a look at its class where that has none of it."""
    cdef object value = attributes_of(server).get(name) if plan.has_plain_state else None
    return getattr(server, name) if value is None else value


cdef unsigned int headers_tag = 0


cdef bint headers_are_own() except -1:
    """Tell whether `Headers` is as it was."""
    global headers_tag
    cdef unsigned int tag = type_version(Headers)
    if tag != 0 and tag == headers_tag:
        return True
    hasattr(Headers, "get")  # a look-up gives a type its version
    tag = type_version(Headers)
    own = vars(Headers).copy()  # another thread may be adding to it
    if not _hooks.is_own(Headers, [name for name, value in own.items() if callable(value)]):
        return False
    if tag == type_version(Headers):
        headers_tag = tag
    return True


# The versions of the namespaces in which all names stood for what they did.
cdef unsigned long long names_version = 0


cdef bint names_are_own() except -1:
    """Tell whether the names of our modules that short cuts go past stand for what they did."""
    global names_version
    cdef unsigned long long version = 0
    cdef tuple entry
    cdef dict namespace
    for namespace in namespaces:
        version = version * 31 + dict_version(namespace)
    if version != 0 and version == names_version:
        return True
    for entry in own_names:
        if (<dict>entry[0]).get(entry[1]) is not entry[2]:
            return False
    names_version = version
    return True
