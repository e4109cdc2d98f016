# cython: language_level=3, freethreading_compatible=True, annotation_typing=False
"""Short cuts through a request, where none of the methods that they skip is overridden.

Each tells whether it did the work. Where it did not, nothing has happened, and the work is
done step by step, in the methods of `handlers` and `simple_server`.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Update
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_REFCNT
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from head cimport Seen, Table, build_table, fill, split_line
from descriptors cimport (
    accept_client,
    close_descriptor,
    fail,
    receive_at_once,
    send_at_once,
    would_wait,
)
from hooks cimport (
    PyDict_GET_SIZE,
    PyDict_Next,
    attributes_of,
    call_application,
    new_instance,
    take_error,
    type_version,
)
from libc.string cimport memchr, memcmp
from target cimport split_target
from text cimport (
    PyUnicode_DATA,
    PyUnicode_GET_LENGTH,
    PyUnicode_IS_ASCII,
    bytes_of,
    count_controls,
    is_latin1,
    is_pair,
    passes,
    same_name,
)

import io
import socket
import socketserver
import sys
import time
from _thread import get_ident
from http.client import HTTPMessage

from wsgiref_fast import _hooks
from wsgiref_fast._grammar import HOP_BY_HOP, NAME_CONTROLS, VALUE_CONTROLS
from wsgiref_fast._grammar import MAX_HEADER_LINES, MAX_LENGTH_DIGITS, MAX_LINE
from wsgiref_fast._pure import environ as _environ
from wsgiref_fast._pure import request as _request
from wsgiref_fast._pure import run as _reference
from wsgiref_fast._speedups.response import serialize_head
from wsgiref_fast._streams import BodyReader, ConnectionWriter, LateFile


def set_up(handler: Any) -> bool:
    """Make the environ of a handler, as `handlers.BaseHandler.setup_environ` does."""
    cdef Plan plan = plan_for(type(handler))
    cdef dict state = attributes_of(handler), environ
    if not plan.can_set_up or has_hook(state, HANDLER_HOOKS, &handler_state):
        return _reference.set_up(handler)
    if "stdin" not in state:
        return _reference.set_up(handler)
    environ = plan.os_environ.copy()
    state["environ"] = environ
    environ.update(state["base_env"])
    add_server_variables(environ, state, plan, state["stdin"])
    if plan.is_origin and plan.software:
        environ.setdefault("SERVER_SOFTWARE", plan.software)
    state["_request_method"] = environ.get("REQUEST_METHOD")
    return True


def start(handler: Any, status: str, headers: list[tuple[str, str]]) -> bool:
    """Take status and headers, as `handlers.BaseHandler.start_response` does the first time."""
    cdef Plan plan = plan_for(type(handler))
    cdef dict state = attributes_of(handler)
    if (
        not plan.can_start
        or state.get("headers") is not None
        or has_hook(state, HANDLER_HOOKS, &handler_state)
        or not headers_are_own()
        or not are_own(START_NAMES)
        or not is_status(status)
        or type(headers) is not list
        or not can_be_sent(tuple(<list>headers))
    ):
        return _reference.start(handler, status, headers)
    own = new_instance(Headers)
    own._headers = headers
    state["status"] = status
    state["headers"] = own
    return True


def finish(handler: Any) -> bool:
    """Send a response of one block and close, as `handlers.BaseHandler.finish_response` does."""
    cdef Plan plan = plan_for(type(handler))
    cdef dict state = attributes_of(handler)
    if may_finish(handler, state, plan) and send_and_close(
        handler, state, plan, state.get("result")
    ):
        return True
    return _reference.finish(handler)


cdef int add_server_variables(dict environ, dict state, Plan plan, stdin) except -1:
    """Put in the ``wsgi.`` variables of a handler."""
    environ["wsgi.input"] = stdin
    environ["wsgi.errors"] = state["stderr"]
    environ["wsgi.version"] = plan.version
    environ["wsgi.run_once"] = plan.run_once
    scheme = environ.get("HTTPS")
    environ["wsgi.url_scheme"] = (
        "http" if scheme is None or scheme not in ("yes", "on", "1") else "https"
    )
    environ["wsgi.multithread"] = state["wsgi_multithread"]
    environ["wsgi.multiprocess"] = state["wsgi_multiprocess"]
    if plan.wrapper is not None:
        environ["wsgi.file_wrapper"] = plan.wrapper
    return 0


cdef bint may_finish(handler, dict state, Plan plan) except -1:
    """Tell whether nothing is overridden of what follows the application's call."""
    return (
        plan.can_finish
        and plan.tag == type_version(type(handler))
        and not has_hook(state, HANDLER_HOOKS, &handler_state)
        and headers_are_own()
        and are_own(FINISH_NAMES)
    )


cdef bint send_and_close(handler, dict state, Plan plan, result) except -1:
    """Send a response of one block and close; false where the methods have to do that."""
    cdef list headers
    cdef bytes block
    cdef dict environ
    cdef object status, send, request_handler = None, own, protocol, version
    block = only_block(result)
    own = state.get("headers")
    status = state.get("status")
    environ = state["environ"] if type(state.get("environ")) is dict else None
    if (
        block is None
        or type(own) is not Headers
        or PyDict_GET_SIZE(attributes_of(own)) != 1
        or type(own._headers) is not list
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
    headers = own._headers
    if plan.is_server:
        request_handler = state.get("request_handler")
        if getattr(request_handler, "close_connection", True) is not True:
            return False
    send = find_sender(state, request_handler)
    if send is None:
        return False
    # From here on it is done: what is odd now raises as it would in the methods.
    if find(headers, "content-length") != 1:
        headers.append(("Content-Length", str(PyBytes_GET_SIZE(block))))
    if plan.is_server and version >= "1.1" and "Connection" not in own:
        own["Connection"] = "close"
    state["bytes_sent"] = PyBytes_GET_SIZE(block)
    now = int(time.time())
    data = serialize_head(version, status, headers, date_of(now), plan.software, block)
    state["headers_sent"] = True
    if send is DIRECTLY:
        send_directly(request_handler, data)
    else:
        send(data)
    close(handler, state, plan, request_handler, status, now)
    return True


cdef object find_sender(dict state, request_handler):
    """Return what sends bytes, where nobody can tell how many pieces they come in."""
    cdef dict serving
    stdout = state.get("stdout")
    if stdout is None and request_handler is not None:
        # That of the connection, which nobody may have asked for yet.
        serving = attributes_of(request_handler)
        stdout = serving.get("wfile")
        if stdout is None:
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


cdef int close(handler, dict state, Plan plan, request_handler, status, now) except -1:
    """Log the request and take the state back."""
    try:
        if plan.is_server:
            log(request_handler, status, state["bytes_sent"], now)
    finally:
        # Where nobody else has the handler, nobody sees what becomes of it.
        if Py_REFCNT(handler) > 1:
            take_back(state, request_handler)
    return 0


cdef int take_back(dict state, request_handler) except -1:
    """Take the state of a handler back."""
    state["result"] = None
    state["headers"] = None
    state["status"] = None
    state["environ"] = None
    state["bytes_sent"] = 0
    state["headers_sent"] = False
    if request_handler is not None:
        leave_body(request_handler)
    return 0


cdef int log(request_handler, str status, size, now) except -1:
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
            text = f'{host} - - [{log_time_of(request_handler, now)}] "{line}" {status[:3]} {size}\n'
            if is_plain_line(text):
                sys_namespace["stderr"].write(text)
                return 0
    request_handler.log_request(status.partition(" ")[0], size)
    return 0


cdef bint logs_otherwise(dict state) except -1:
    """Tell whether an instance has a method of its own that makes lines of log."""
    return (
        "log_message" in state
        or "log_request" in state
        or "log_date_time_string" in state
        or "address_string" in state
    )


cdef bint is_plain_line(str text) noexcept:
    """Tell whether a line of log has nothing to be escaped but its end."""
    cdef const unsigned char *data = bytes_of(text)
    cdef Py_ssize_t size = PyUnicode_GET_LENGTH(text) - 1
    return (
        PyUnicode_IS_ASCII(text)
        and count_controls(data, size) == 0
        and memchr(data, b"\\", size) is NULL
    )


cdef int leave_body(request_handler) except -1:
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


# -- The whole of a connection -------------------------------------------------------------


def serve(request_handler: Any, request: Any, client_address: Any, server: Any) -> bool:
    """Serve the request of a connection that is not kept, as its handler's constructor does."""
    cdef Plan plan = plan_for(type(request_handler))
    cdef Plan handler_plan = plan_for(server_namespace["ServerHandler"])
    cdef dict state = attributes_of(request_handler)
    cdef bint is_socket = type(request) is Socket
    if (
        not plan.can_serve
        or not handler_plan.can_be_skipped
        or (PyDict_GET_SIZE(state) and has_hook(state, SERVING_HOOKS, &serving_state))
        or type(getattr(server, "base_environ", None)) is not dict
        or type(client_address) is not tuple
        or not <tuple>client_address
        or (is_socket and request.timeout is not None)
    ):
        return _reference.serve(request_handler, request, client_address, server)
    state["request"] = request
    state["client_address"] = client_address
    state["server"] = server
    try:
        if is_socket:
            serve_socket(request_handler, state, plan, handler_plan)
        else:
            serve_file(request_handler, state, plan, handler_plan)
    finally:
        leave(request_handler, state)
    return True


cdef int serve_socket(request_handler, dict state, Plan plan, Plan handler_plan) except -1:
    """Serve what one call brings."""
    serve_received(
        request_handler, state, plan, handler_plan, state["request"].recv(RECEIVED_AT_MOST)
    )
    return 0


cdef int serve_received(
    request_handler, dict state, Plan plan, Plan handler_plan, bytes data
) except -1:
    """Serve what has been received; put back what is not a plain request."""
    cdef Py_ssize_t after, length
    cdef dict environ = take_head(state, plan, handler_plan, data, 0, &after, &length)
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
    run_application(request_handler, state, handler_plan, environ, late, length)
    return 0


# -- The loop ------------------------------------------------------------------------------


def accept(server: Any) -> bool:
    """Accept and serve the connections that have come, as ``_handle_request_noblock()`` does."""
    cdef Plan plan = plan_for(type(server))
    cdef dict state = attributes_of(server)
    cdef int descriptor, listener
    cdef int count = 0
    cdef PyObject *address
    listening = state.get("socket")
    if (
        not plan.can_accept
        or has_hook(state, ACCEPTING_HOOKS, &server_state)
        or type(listening) is not Socket
        or listening.timeout is None
        or listening.family != AF_INET
        or getdefaulttimeout() is not None
        or state.get("_served") is None
        or not serves_plainly(server, state)
    ):
        return _reference.accept(server)
    listener = listening.fileno()
    while count < ACCEPTED_AT_MOST:
        address = NULL
        descriptor = accept_client(listener, &address)
        if descriptor < 0:
            break
        client_address = <object>address
        Py_DECREF(client_address)
        count += 1
        serve_descriptor(server, state, descriptor, client_address)
        # What was served may have changed anything.
        if (
            plan.tag != type_version(type(server))
            or has_hook(state, ACCEPTING_HOOKS, &server_state)
            or state.get("socket") is not listening
            or state.get("_BaseServer__shutdown_request")
            or not serves_plainly(server, state)
        ):
            break
    return count > 0 or _reference.accept(server)


cdef bint serves_plainly(server, dict state) except -1:
    """Tell whether a server's request handlers need not be constructed to serve."""
    handler_class = state.get("RequestHandlerClass")
    return (
        isinstance(handler_class, type)
        and plan_for(handler_class).can_be_skipped
        and plan_for(server_namespace["ServerHandler"]).can_be_skipped
        and type(server.base_environ) is dict
    )


cdef int serve_descriptor(server, dict server_attributes, int descriptor, client_address) except -1:
    """Serve an accepted connection and close it, or let it wait."""
    cdef object request_handler, request
    cdef bytes data
    cdef dict state
    cdef char[RECEIVED_AT_MOST] buffer
    cdef Py_ssize_t size = receive_at_once(descriptor, buffer, RECEIVED_AT_MOST)
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
    try:
        try:
            serve_received(
                request_handler,
                state,
                plan_for(type(request_handler)),
                plan_for(server_namespace["ServerHandler"]),
                data,
            )
        finally:
            leave(request_handler, state)
    except Exception:
        server.handle_error(request_handler.request, client_address)
        server._end(request_handler.request, client_address, False)
    except:
        server._end(request_handler.request, client_address, False)
        raise
    else:
        if "request" in state:
            server._end(state["request"], client_address, True)
        else:
            close_descriptor(descriptor)
    return 0


cdef object make_socket(int descriptor):
    """Return a connection's descriptor as a socket."""
    return Socket(AF_INET, SOCK_STREAM, 0, descriptor)


cdef int serve_file(request_handler, dict state, Plan plan, Plan handler_plan) except -1:
    """Serve what is in a file in memory, which stands for a connection."""
    cdef Py_ssize_t after, length
    cdef dict environ = None
    rfile = state["request"].makefile("rb", -1)
    if type(rfile) is BytesIO:
        environ = take_head(
            state, plan, handler_plan, rfile.getvalue(), rfile.tell(), &after, &length
        )
        if environ is not None:
            rfile.seek(after)
    elif type(rfile) is BufferedReader and type(rfile.raw) is BytesIO:
        environ = take_head(state, plan, handler_plan, rfile.peek(), 0, &after, &length)
        if environ is not None:
            rfile.read(after)
    if environ is None:
        state["rfile"] = rfile
        request_handler.handle()
    else:
        run_application(request_handler, state, handler_plan, environ, rfile, length)
    return 0


cdef dict take_head(
    dict state, Plan plan, Plan handler_plan, bytes data, Py_ssize_t start,
    Py_ssize_t *after, Py_ssize_t *length,
):
    """Return the environ of a request whose head is whole and plain; `None` of another."""
    cdef const char *text = PyBytes_AS_STRING(data) + start
    cdef const char *end
    cdef Py_ssize_t left = PyBytes_GET_SIZE(data) - start, section, size
    cdef tuple words
    cdef dict environ, base_environ
    cdef Seen seen
    end = <const char *>memchr(text, b"\n", left) if left > 0 else NULL
    if end is NULL or end - text >= max_line:
        return None
    words = split_line(text, end + 1 - text)
    if words is None or not PyUnicode_IS_ASCII(<str>words[2]):
        return None
    base_environ = state["server"].base_environ
    environ = handler_plan.os_environ.copy()
    PyDict_Update(environ, base_environ)
    environ["SERVER_PROTOCOL"] = words[3]
    environ["SERVER_SOFTWARE"] = plan.server_version
    environ["REQUEST_METHOD"] = words[1]
    split_target(environ, words[2])
    environ["REMOTE_ADDR"] = (<tuple>state["client_address"])[0]
    environ["CONTENT_TYPE"] = "text/plain"
    section = end + 1 - text
    size = fill(
        &table, &seen, environ, base_environ, taken, end + 1, left - section, max_line, max_lines
    )
    if size < 0:
        return None
    length[0] = 0
    if seen.numbers[table.length_number]:
        if not is_length(environ["CONTENT_LENGTH"]):
            return None
        length[0] = int(environ["CONTENT_LENGTH"])
    after[0] = start + section + size
    state["_head"] = words, data, start, start + section, after[0]
    return environ


cdef int run_application(
    request_handler, dict serving, Plan plan, dict environ, rfile, Py_ssize_t length
) except -1:
    """Run the server's application for a request whose head was taken."""
    cdef object server = serving["server"], body, handler, application, result
    cdef dict state
    cdef PyObject *outcome
    body = new_instance(BodyReader)
    body._source = rfile
    body._connection = rfile
    body.left = length
    serving["rfile"] = body
    serving["_body"] = body
    serving["_connection_file"] = rfile
    handler = new_instance(server_namespace["ServerHandler"])
    # What is not set here is made when somebody asks for it: `stdin`, `stdout`, `base_env`.
    state = attributes_of(handler)
    state["stderr"] = sys_namespace["stderr"]
    state["wsgi_multithread"] = is_threaded(server)
    state["wsgi_multiprocess"] = isinstance(server, FORKING)
    state["request_handler"] = request_handler
    state["environ"] = environ
    if environ["REQUEST_METHOD"] == "HEAD":
        state["_request_method"] = "HEAD"
    add_server_variables(environ, state, plan, body)
    application = server.get_app()
    outcome = call_application(application, environ, handler.start_response)
    if outcome is NULL:
        handler._go_on(take_error())
        return 0
    result = <object>outcome
    Py_DECREF(result)
    try:
        is_sent = may_finish(handler, state, plan) and send_and_close(handler, state, plan, result)
    except BaseException as error:
        state["result"] = result
        handler._go_on(error)
        return 0
    if not is_sent:
        state["result"] = result
        handler._go_on()
    return 0


cdef int leave(request_handler, dict state) except -1:
    """Close the files of a connection, as ``finish()`` does."""
    cdef object body = state.get("_body"), file
    if (
        "wfile" in state
        or "finish" in state
        or state.get("_lingers")
        or (body is not None and (type(body) is not BodyReader or body.left))
        or not plan_for(type(request_handler)).can_serve
    ):
        request_handler.finish()
        return 0
    file = state.get("_connection_file", state.get("rfile"))
    if file is not None:
        file.close()
    return 0


cdef bint is_length(value) except -1:
    """Tell whether a Content-Length, if there is one, is a plain number."""
    cdef Py_ssize_t i, size
    cdef const unsigned char *digits
    if value is None:
        return True
    size = PyUnicode_GET_LENGTH(value)
    digits = bytes_of(value)
    for i in range(size):
        if not b"0" <= digits[i] <= b"9":
            return False
    return 0 < size <= max_length_digits


cdef bint is_threaded(server) except -1:
    """Tell whether a request runs beside others: not in the server's own thread."""
    loop_thread = getattr(server, "_loop_thread", None)
    if loop_thread is None:
        return isinstance(server, ThreadingMixIn)
    return loop_thread != get_ident()


# -- What is plain -------------------------------------------------------------------------

cdef enum:
    RECEIVED_AT_MOST = 16384  # bytes of one call: the head of an ordinary request
    ACCEPTED_AT_MOST = 64  # connections before the server looks for anything else

# By Latin-1 code: what a name, and what a value, may not hold.
cdef unsigned char[256] name_refuses
cdef unsigned char[256] value_refuses
for _code in range(256):
    name_refuses[_code] = chr(_code) in NAME_CONTROLS
    value_refuses[_code] = chr(_code) in VALUE_CONTROLS

cdef Py_ssize_t max_line = MAX_LINE, max_lines = MAX_HEADER_LINES
cdef Py_ssize_t max_length_digits = MAX_LENGTH_DIGITS
cdef Table table
cdef list table_parts = build_table(&table, _request.COMMON_KEYS, _request.FRAMING_KEYS)
cdef frozenset taken = _environ._REQUEST_VARIABLES
cdef dict sys_namespace = vars(sys)
cdef tuple hop_by_hop = tuple(sorted(HOP_BY_HOP))
cdef type BytesIO = io.BytesIO, BufferedReader = io.BufferedReader
cdef type ThreadingMixIn = socketserver.ThreadingMixIn
cdef type Socket = socket.socket
cdef object getdefaulttimeout = socket.getdefaulttimeout
cdef object AF_INET = socket.AF_INET, SOCK_STREAM = socket.SOCK_STREAM
cdef object FORKING = getattr(socketserver, "ForkingMixIn", ())


cdef bint is_status(status) noexcept:
    """Tell whether a status is three digits, a space and a reason that can be sent."""
    cdef const unsigned char *text
    if not is_latin1(status) or PyUnicode_GET_LENGTH(status) < 4:
        return False
    text = bytes_of(status)
    return (
        b"0" <= text[0] <= b"9"
        and b"0" <= text[1] <= b"9"
        and b"0" <= text[2] <= b"9"
        and text[3] == b" "
        and passes(status, name_refuses)
    )


cdef bint may_have_body(status) noexcept:
    """Tell whether a status allows a body (RFC 9110 sections 8.6, 15)."""
    cdef const unsigned char *text = bytes_of(status)
    return text[0] != b"1" and memcmp(text, b"204", 3) != 0 and memcmp(text, b"304", 3) != 0


cdef bint can_be_sent(tuple headers) noexcept:
    """Tell whether an application may send these headers, and they are plain."""
    cdef Py_ssize_t i
    cdef object field
    for i in range(PyTuple_GET_SIZE(headers)):
        field = <object>PyTuple_GET_ITEM(headers, i)
        if (
            not is_pair(field)
            or not passes(<object>PyTuple_GET_ITEM(field, 0), name_refuses)
            or not passes(<object>PyTuple_GET_ITEM(field, 1), value_refuses)
            or is_hop_by_hop(<object>PyTuple_GET_ITEM(field, 0))
        ):
            return False
    return True


cdef bint is_hop_by_hop(name) noexcept:
    cdef Py_ssize_t i
    for i in range(PyTuple_GET_SIZE(hop_by_hop)):
        if same_name(<object>PyTuple_GET_ITEM(hop_by_hop, i), name):
            return True
    return False


cdef int find(list headers, str name) except -1:
    """Return 1 where a header of that name is there, 0 where none is."""
    cdef object field
    for field in headers:
        if is_pair(field) and same_name(name, <object>PyTuple_GET_ITEM(field, 0)):
            return 1
    return 0


cdef bytes only_block(result):
    """Return the one block of a list or a tuple; `None` for any other result."""
    if type(result) is list and len(<list>result) == 1:
        block = (<list>result)[0]
    elif type(result) is tuple and len(<tuple>result) == 1:
        block = (<tuple>result)[0]
    else:
        return None
    return block if PyBytes_CheckExact(block) else None


# -- What is as it was ---------------------------------------------------------------------

cdef tuple SET_UP = (
    "setup_environ", "add_cgi_vars", "get_stdin", "get_stderr", "get_scheme",
)
cdef tuple FINISH = (
    "finish_response", "result_is_file", "sendfile", "write", "send_headers", "cleanup_headers",
    "set_content_length", "send_preamble", "_write", "_flush", "finish_content", "close",
    "client_is_modern", "_is_bodyless", "_send_head", "_send_together", "_is_cut",
)
cdef tuple START = ("_convert_string_type", "_validate_status")
cdef tuple SETTINGS = (
    "http_version", "server_software", "os_environ", "wsgi_file_wrapper", "headers_class",
    "origin_server", "wsgi_version", "wsgi_run_once", "_is_server",
)
cdef tuple HANDLER_STATE = (
    "stdin", "stdout", "stderr", "base_env", "wsgi_multithread", "wsgi_multiprocess",
    "request_handler", "environ", "_request_method", "result", "status", "headers",
    "bytes_sent", "headers_sent",
)
cdef frozenset HANDLER_HOOKS = frozenset(SET_UP + FINISH + START + SETTINGS)

cdef tuple SERVE = (
    "setup", "handle", "finish", "_open_file", "parse_request", "get_environ", "get_stderr", "_handle_request", "_get_variables",
    "_take_body", "_take_section", "_parse_buffered", "_is_threaded", "_finish_request",
    "address_string", "_heed_expect", "_heed_connection", "_may_go_on",
)
cdef tuple LOG = ("log_request", "log_message", "log_date_time_string", "address_string")
cdef tuple SERVING_SETTINGS = (
    "protocol_version", "MessageClass", "server_version", "underscore_headers", "timeout",
    "rbufsize", "wbufsize", "disable_nagle_algorithm",
)
cdef tuple SERVING_STATE = (
    "request", "client_address", "server", "connection", "rfile", "wfile", "raw_requestline",
    "requestline", "request_version", "command", "close_connection", "path", "_variables",
    "_section", "_connection_file", "_body", "_keeps_connection", "_chunked_length", "headers",
    "_lingers", "_head", "_descriptor",
)
cdef frozenset SERVING_HOOKS = frozenset(SERVE + LOG + SERVING_SETTINGS)

cdef tuple ACCEPT = (
    "get_request", "verify_request", "process_request", "finish_request", "shutdown_request",
    "close_request", "service_actions", "_handle_request_noblock", "_serve", "_begin", "_end",
    "socket", "_served", "RequestHandlerClass",
)
cdef tuple SERVER_STATE = (
    "server_address", "RequestHandlerClass", "_BaseServer__is_shut_down",
    "_BaseServer__shutdown_request", "socket", "_host", "server_port", "base_environ",
    "application", "_loop_thread", "_resting", "_waiting", "_served", "timeout",
)
cdef frozenset ACCEPTING_HOOKS = frozenset(ACCEPT[:11])

cdef tuple START_NAMES = ("is_hop_by_hop", "_hoppish")
cdef tuple FINISH_NAMES = ("format_date_time", "time")

cdef object Headers = None, FileWrapper = None
cdef dict server_namespace = None


@cython.final
cdef class Plan:
    """What a type's methods and settings allow, as long as it has a version."""

    cdef unsigned int tag
    cdef bint can_set_up, can_start, can_finish, is_server, is_origin, can_be_skipped
    cdef bint can_serve, can_log, can_accept
    cdef str http_version
    cdef object software, wrapper, version, run_once, server_version
    cdef dict os_environ


# By type. Cleared when there are many: types may come and go.
cdef dict plans = {}


cdef Plan plan_for(type cls):
    """Return what a type allows at this moment."""
    cdef Plan plan = plans.get(cls)
    if plan is None or plan.tag == 0 or plan.tag != type_version(cls):
        plan = make_plan(cls)
        if len(plans) > 100:
            plans.clear()
        plans[cls] = plan
    return plan


cdef Plan make_plan(type cls):
    cdef Plan plan = Plan.__new__(Plan)
    load()
    _hooks.find(cls, "__init__")
    hasattr(cls, "__init__")  # a look-up gives a type its version
    plan.tag = type_version(cls)
    if plan.tag == 0 or not has_plain_attributes(cls):
        return plan
    if hasattr(cls, "start_response"):
        make_handler_plan(plan, cls)
    elif hasattr(cls, "parse_request"):
        make_serving_plan(plan, cls)
    elif hasattr(cls, "serve_forever"):
        plan.can_accept = _hooks.is_own(cls, ACCEPT)
    if plan.tag != type_version(cls):
        return Plan.__new__(Plan)  # it has changed meanwhile
    return plan


cdef int make_handler_plan(Plan plan, cls) except -1:
    settings = [_hooks.find(cls, name) for name in SETTINGS]
    if any(hasattr(type(value), "__get__") and not isinstance(value, type) for value in settings):
        return 0
    http_version, software, os_environ, wrapper, headers_class, is_origin, version, run_once, is_server = settings
    is_plain = (
        type(http_version) is str
        and (software is None or type(software) is str)
        and type(os_environ) is dict
        and (wrapper is None or isinstance(wrapper, type))
        and _hooks.is_own(cls, HANDLER_STATE)
    )
    if not is_plain:
        return 0
    plan.http_version, plan.software, plan.os_environ, plan.wrapper = http_version, software, os_environ, wrapper
    plan.is_origin, plan.version, plan.run_once = bool(is_origin), version, run_once
    plan.is_server = bool(is_server)
    is_simple = is_server is not None
    plan.can_set_up = is_simple and _hooks.is_own(cls, SET_UP)
    plan.can_start = headers_class is Headers and _hooks.is_own(cls, START)
    plan.can_finish = plan.can_set_up and plan.is_origin and _hooks.is_own(cls, FINISH)
    plan.can_be_skipped = (
        plan.can_finish
        and plan.is_server
        and http_version < "1.1"
        and _hooks.is_own(cls, ("__init__", "__new__", "run", "_go_on"))
    )
    return 0


cdef int make_serving_plan(Plan plan, cls) except -1:
    (
        *(protocol_version, message_class, server_version, underscores, timeout, rbufsize),
        *(wbufsize, is_without_delay),
    ) = [_hooks.find(cls, name) for name in SERVING_SETTINGS]
    plan.can_log = LOGS_PLAINLY and _hooks.is_own(cls, LOG) and _hooks.is_own(cls, SERVING_STATE)
    plan.can_serve = (
        _hooks.is_own(cls, SERVE)
        and _hooks.is_own(cls, SERVING_STATE)
        and type(protocol_version) is str
        and protocol_version < "HTTP/1.1"
        and message_class is HTTPMessage
        and type(server_version) is str
        and underscores is False
        and timeout is None
        and rbufsize == -1
        and wbufsize == 0
        and is_without_delay is True
    )
    plan.server_version = server_version
    plan.can_be_skipped = plan.can_serve and _hooks.is_own(cls, ("__init__", "__new__"))
    return 0


cdef bint LOGS_PLAINLY = sys.version_info < (3, 15)  # later ones colour a terminal's lines


cdef int load() except -1:
    """Learn of the classes that short cuts go through; they stand above the kernels."""
    global Headers, FileWrapper, server_namespace
    if Headers is None:
        Headers = _hooks.classes["Headers"]
        FileWrapper = _hooks.classes["FileWrapper"]
    if server_namespace is None and "ServerHandler" in module_names:
        server_namespace = module_names["ServerHandler"][0]
    return 0


cdef bint has_plain_attributes(cls) except -1:
    """Tell whether a type's instances keep and find attributes as objects do."""
    return (
        cls.__getattribute__ is object.__getattribute__
        and cls.__setattr__ is object.__setattr__
        and cls.__delattr__ is object.__delattr__
    )


# The names of state, by the address of the string: what an instance mostly has.
cdef enum:
    PLACES = 128

ctypedef struct Names:
    PyObject *at[PLACES]

cdef Names handler_state, serving_state, server_state


cdef int fill_names(Names *names, tuple texts) except -1:
    cdef Py_ssize_t place
    for text in texts:
        text = sys.intern(text)
        kept.append(text)
        place = (<size_t><PyObject *>text >> 4) % PLACES
        while names.at[place] is not NULL:
            place = (place + 1) % PLACES
        names.at[place] = <PyObject *>text
    return 0


cdef list kept = []
fill_names(&handler_state, HANDLER_STATE)
fill_names(&serving_state, SERVING_STATE)
fill_names(&server_state, SERVER_STATE)


cdef bint has_hook(dict attributes, frozenset hooks, Names *state) except -1:
    """Tell whether an instance's own attributes hide something that short cuts skip."""
    cdef Py_ssize_t position = 0, place
    cdef PyObject *key
    with cython.critical_section(attributes):
        while PyDict_Next(attributes, &position, &key, NULL):
            place = (<size_t>key >> 4) % PLACES
            while state.at[place] is not NULL and state.at[place] is not key:
                place = (place + 1) % PLACES
            if state.at[place] is NULL and <object>key in hooks:
                return True
    return False


cdef unsigned int headers_tag = 0


cdef bint headers_are_own() except -1:
    """Tell whether `Headers` is as it was."""
    global headers_tag
    cdef unsigned int tag = type_version(Headers)
    if tag != 0 and tag == headers_tag:
        return True
    if not _hooks.is_own(Headers, [name for name, value in vars(Headers).items() if callable(value)]):
        return False
    if tag == type_version(Headers):
        headers_tag = tag
    return True


cdef bint are_own(tuple names) except -1:
    """Tell whether names of our modules stand for what they did."""
    cdef tuple entry
    for name in names:
        entry = module_names[name]
        if (<dict>entry[0]).get(name) is not entry[1]:
            return False
    return True


cdef dict module_names = _hooks.module_names


# -- Texts that are made once a second -----------------------------------------------------

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
