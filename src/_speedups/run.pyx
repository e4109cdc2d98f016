# cython: language_level=3, freethreading_compatible=True, annotation_typing=False
"""Short cuts through a request, where none of the methods that they skip is overridden.

Each tells whether it did the work. Where it did not, nothing has happened, and the work is
done step by step, in the methods of `handlers` and `simple_server`.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Update
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from head cimport Seen, Table, build_table, fill, split_line
from descriptors cimport (
    ACCEPTS_DESCRIPTORS,
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
    dict_version,
    is_held,
    new_instance,
    take_error,
    type_version,
)
from libc.string cimport memchr, memcmp
from target cimport split_target
from text cimport (
    PyUnicode_GET_LENGTH,
    PyUnicode_IS_ASCII,
    bytes_of,
    count_controls,
    is_latin1,
    is_pair,
    is_plain,
    passes,
    same_name,
)

import io
import os
import sys
import time
from _thread import get_ident
from functools import partial

from wsgiref_fast import _hooks
from wsgiref_fast._grammar import HOP_BY_HOP, NAME_CONTROLS, VALUE_CONTROLS
from wsgiref_fast._grammar import MAX_HEADER_LINES, MAX_LINE
from wsgiref_fast._pure import environ as _environ
from wsgiref_fast._pure import request as _request
from wsgiref_fast._pure import run as _reference
from wsgiref_fast._speedups.response import serialize_head
from wsgiref_fast._streams import BodyReader, ConnectionWriter, LateFile


def set_up(handler: Any) -> bool:
    """Make the environ of a handler, as `handlers.BaseHandler.setup_environ` does."""
    cdef Plan plan = plan_for(type(handler))
    cdef dict state = attributes_of(handler) if plan.can_set_up else None, environ
    if (
        state is None
        or has_hook(state, HANDLER_HOOKS, &handler_state)
        or not names_are_own()
    ):
        return _reference.set_up(handler)
    for name in CONSTRUCTED:
        if name not in state:
            return _reference.set_up(handler)
    environ = plan.os_environ.copy()
    state["environ"] = environ
    base_env = state["base_env"]
    if type(base_env) is dict:
        PyDict_Update(environ, base_env)
    else:
        environ.update(base_env)
    environ["wsgi.input"] = state["stdin"]
    environ["wsgi.errors"] = state["stderr"]
    add_settings(environ, plan, state["wsgi_multithread"], state["wsgi_multiprocess"])
    if plan.is_origin and plan.software:
        environ.setdefault("SERVER_SOFTWARE", plan.software)
    state["_request_method"] = environ.get("REQUEST_METHOD")
    return True


def start(handler: Any, status: str, headers: list[tuple[str, str]]) -> bool:
    """Take status and headers, as `handlers.BaseHandler.start_response` does the first time."""
    cdef Plan plan = plan_for(type(handler))
    cdef dict state = attributes_of(handler) if plan.can_start else None
    if (
        state is None
        or state.get("headers") is not None
        or has_any(state, START)
        or not headers_are_own()
        or not names_are_own()
        or not is_status(status)
        or type(headers) is not list
        or not can_be_sent(headers)
    ):
        return _reference.start(handler, status, headers)
    own = new_instance(Headers)
    attributes_of(own)["_headers"] = headers
    state["status"] = status
    state["headers"] = own
    return True


def finish(handler: Any) -> bool:
    """Send a response of one block and close, as `handlers.BaseHandler.finish_response` does."""
    cdef Plan plan = plan_for(type(handler))
    cdef dict state = attributes_of(handler) if plan.can_finish else None
    if (
        state is None
        or not may_finish(handler, state, plan)
        or not send_and_close(handler, state, plan, state.get("result"))
    ):
        return _reference.finish(handler)
    return True


def write(handler: Any, data: bytes) -> bool:
    """Send a block after the first, as `handlers.SimpleHandler.write` does."""
    cdef Plan plan = plan_for(type(handler))
    cdef dict state = attributes_of(handler) if plan.can_finish else None
    if (
        state is None
        or not PyBytes_CheckExact(data)
        or state.get("headers_sent") is not True
        or state.get("_request_method") == "HEAD"
        or not is_status(state.get("status"))
        or not may_have_body(state["status"])
        or has_any(state, WRITE)
    ):
        return _reference.write(handler, data)
    stdout = handler.stdout
    flush = state.get("_flush")
    if (
        type(stdout) is not ConnectionWriter
        or stdout.holds
        or getattr(flush, "__func__", None) is not ConnectionWriter.flush
        or flush.__self__ is not stdout
    ):
        return _reference.write(handler, data)
    state["bytes_sent"] = handler.bytes_sent + PyBytes_GET_SIZE(data)
    stdout.write(data)
    return True


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


cdef bint may_finish(handler, dict state, Plan plan) except -1:
    """Tell whether nothing is overridden of what follows the application's call."""
    return (
        plan.can_finish
        and plan.tag == type_version(type(handler))
        and not has_hook(state, HANDLER_HOOKS, &handler_state)
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
    close(handler, state, plan, request_handler, status, size, now)
    return True


cdef bint closes_connection(request_handler) except -1:
    """Tell whether a request handler surely closes its connection after the response."""
    if plan_for(type(request_handler)).can_serve:
        return attributes_of(request_handler).get("close_connection", True) is True
    return getattr(request_handler, "close_connection", True) is True


cdef dict plain_dict(value):
    return value if type(value) is dict else None


cdef list plain_list(dict held):
    """Return the list that `Headers` hold, if that is all they have."""
    headers = held.get("_headers") if PyDict_GET_SIZE(held) == 1 else None
    return headers if type(headers) is list else None


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


cdef int close(
    handler, dict state, Plan plan, request_handler, status, str size, now
) except -1:
    """Log the request and take the state back."""
    try:
        if plan.is_server:
            log(request_handler, status, size, state["bytes_sent"], now)
    except BaseException:
        take_back(state, request_handler)
        raise
    # Where nobody else has the handler, nobody sees what becomes of it.
    if is_held(handler):
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


# -- The steps of a request handler --------------------------------------------------------


def parse(request_handler: Any) -> bool:
    """Parse a request whose line was read, as ``parse_request()`` does with a plain one."""
    cdef Plan plan = plan_for(type(request_handler))
    cdef dict state = attributes_of(request_handler) if plan.can_parse else None
    cdef Py_ssize_t after
    cdef object rfile, line
    cdef tuple words = None
    if state is None or has_hook(state, SERVING_HOOKS, &serving_state):
        return _reference.parse(request_handler)
    rfile = state.get("rfile")
    if type(rfile) is BodyReader and rfile is state.get("_body"):
        rfile = state["_connection_file"]  # of a handler that keeps connections by itself
    line = state.get("raw_requestline")
    if type(line) is bytes:
        words = split_line(PyBytes_AS_STRING(line), PyBytes_GET_SIZE(line))
    if words is None:
        return _reference.parse(request_handler)
    if type(rfile) is BufferedReader:
        after = take_section(state, plan, words, rfile, rfile.peek(), 0)
        if after > 0:
            rfile.read(after)
    elif type(rfile) is BytesIO:
        after = take_section(state, plan, words, rfile, rfile.getvalue(), rfile.tell())
        if after > 0:
            rfile.seek(after)
    else:
        after = 0
    if after == 0:
        return _reference.parse(request_handler)
    if plan.may_keep:
        request_handler._heed_connection(request_handler._variables.get("HTTP_CONNECTION", ""))
    return True


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


def copy_environ(request_handler: Any) -> dict[str, Any] | None:
    """Return the environ of a plain request, as ``get_environ()`` does; else `None`."""
    cdef Plan plan = plan_for(type(request_handler))
    cdef dict state = attributes_of(request_handler) if plan.can_tell_environ else None
    cdef dict environ, base_environ
    cdef tuple head, words
    cdef bint collides = True
    if (
        state is None
        or type(state.get("_head")) is not tuple
        or has_any(state, TELL_ENVIRON)
        or "headers" in state
        or type(state.get("client_address")) is not tuple
        or not <tuple>state["client_address"]
        or "server" not in state
        or not is_ascii(state.get("path", (<tuple>(<tuple>state["_head"])[0])[2]))
    ):
        return _reference.copy_environ(request_handler)
    base_environ = plain_dict(state["server"].base_environ)
    if base_environ is None:
        return _reference.copy_environ(request_handler)
    head = state["_head"]
    words = head[0]
    environ = new_request_environ(base_environ, plan, &collides)
    environ["SERVER_PROTOCOL"] = state.get("request_version", words[3])
    environ["REQUEST_METHOD"] = state.get("command", words[1])
    split_target(environ, state.get("path", words[2]))
    environ["REMOTE_ADDR"] = (<tuple>state["client_address"])[0]
    if not add_fields(environ, base_environ, collides, head[1], head[3], head[4]):
        return _reference.copy_environ(request_handler)
    return environ


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


cdef bint add_fields(
    dict environ, dict base_environ, bint collides, bytes data, Py_ssize_t start, Py_ssize_t end
) except -1:
    """Put a section's fields into an environ; false where they are not plain there."""
    cdef Seen seen
    return fill(
        &table, &seen, environ, base_environ, collides, taken, PyBytes_AS_STRING(data) + start,
        end - start, max_line, max_lines,
    ) >= 0


cdef bint is_ascii(text) noexcept:
    return is_latin1(text) and PyUnicode_IS_ASCII(<str>text)


cdef object new_body(rfile, Py_ssize_t length):
    """Return a reader of a request's body."""
    body = new_instance(BodyReader)
    body._source = rfile
    body._connection = rfile
    body.left = length
    return body


# -- The whole of a connection -------------------------------------------------------------


def serve(request_handler: Any, request: Any, client_address: Any, server: Any) -> bool:
    """Serve the request of a connection that is not kept, as its handler's constructor does."""
    cdef Plan plan = plan_for(type(request_handler))
    cdef Plan handler_plan
    cdef dict state
    cdef bint is_socket = type(request) is Socket
    if not plan.can_serve:
        return _reference.serve(request_handler, request, client_address, server)
    handler_plan = plan_for(server_namespace["ServerHandler"])
    state = attributes_of(request_handler)
    if (
        not handler_plan.can_be_skipped
        or (PyDict_GET_SIZE(state) and has_any(state, PRESET))
        or not names_are_own()
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
    request_handler._hasten()
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
    cdef dict state = attributes_of(server) if plan.can_accept else {}
    cdef int descriptor, listener
    cdef int count = 0
    cdef PyObject *address
    # Asked each time: what was served may have changed anything.
    while (
        count < ACCEPTED_AT_MOST
        and accepts_plainly(server, state)
        and serves_plainly(server, state)
    ):
        listener = state["socket"].fileno()
        address = NULL
        descriptor = accept_client(listener, &address)
        if descriptor < 0:
            break
        client_address = <object>address
        Py_DECREF(client_address)
        count += 1
        serve_descriptor(server, state, descriptor, client_address)
        if len(state["_waiting"] or ()):
            break  # those have come before
    return count > 0 or _reference.accept(server)


cdef bint accepts_plainly(server, dict state) except -1:
    """Tell whether a server listens as ours do, and does no more with each connection."""
    cdef object listening = state.get("socket")
    return (
        ACCEPTS_DESCRIPTORS
        and socket_tag != 0
        and plan_for(type(server)).can_accept
        and not has_hook(state, ACCEPTING_HOOKS, &server_state)
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
        and type(server.base_environ) is dict
    )


cdef int serve_descriptor(server, dict server_attributes, int descriptor, client_address) except -1:
    """Serve an accepted connection and close it, or let it wait."""
    cdef object request_handler
    cdef bytes data
    cdef dict state
    cdef char[RECEIVED_AT_MOST] buffer
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
        if environ is not None and length:
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
    cdef bint collides = True
    cdef Seen seen
    end = <const char *>memchr(text, b"\n", left) if left > 0 else NULL
    if end is NULL or end - text >= max_line:
        return None
    words = split_line(text, end + 1 - text)
    if words is None or not PyUnicode_IS_ASCII(<str>words[2]):
        return None
    base_environ = state["server"].base_environ
    environ = new_environ(state["server"], base_environ, plan, handler_plan, &collides)
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


cdef dict new_environ(server, dict base_environ, Plan plan, Plan handler_plan, bint *collides):
    """Return what a plain request's environ has whatever the request.

    A copy of the last one, where nothing that it was made of has changed.
    """
    cdef Plan server_plan = plan_for(type(server))
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


cdef int run_application(
    request_handler, dict serving, Plan plan, dict environ, rfile, Py_ssize_t length
) except -1:
    """Run the server's application for a request whose head was taken."""
    cdef object server = serving["server"], body, handler, application, result
    cdef dict state
    cdef Plan server_plan
    cdef PyObject *outcome
    body = new_body(rfile, length)
    serving["rfile"] = body
    serving["_body"] = body
    serving["_connection_file"] = rfile
    handler = new_instance(server_namespace["ServerHandler"])
    # What is not set here is made when somebody asks for it: `stdin`, `stdout`, `base_env`.
    state = attributes_of(handler)
    state["stderr"] = sys_namespace["stderr"]
    server_plan = plan_for(type(server))
    state["wsgi_multithread"] = environ["wsgi.multithread"]
    state["wsgi_multiprocess"] = environ["wsgi.multiprocess"]
    state["request_handler"] = request_handler
    state["environ"] = environ
    method = environ["REQUEST_METHOD"]
    if method is not GET and method == "HEAD":
        state["_request_method"] = "HEAD"
    environ["wsgi.input"] = body
    environ["wsgi.errors"] = state["stderr"]
    if server_plan.can_tell_app and "get_app" not in attributes_of(server):
        application = server.application
    else:
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


cdef bint is_threaded(server, Plan plan) except -1:
    """Tell whether a request runs beside others: not in the server's own thread."""
    loop_thread = getattr(server, "_loop_thread", None)
    if loop_thread is None:
        return plan.has_threads
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
cdef Table table
cdef list table_parts = build_table(&table, _request.COMMON_KEYS, _request.FRAMING_KEYS)
cdef frozenset taken = _environ._REQUEST_VARIABLES
cdef frozenset common_names = frozenset(
    key[5:] for key in (*_request.COMMON_KEYS.values(), *_request.FRAMING_KEYS.values())
)
cdef str GET = "GET", HTTP_1_1 = "HTTP/1.1"
cdef dict sys_namespace = vars(sys), time_namespace = vars(time)
cdef tuple hop_by_hop = tuple(sorted(HOP_BY_HOP))
cdef type BytesIO = io.BytesIO, BufferedReader = io.BufferedReader
# What a server's module has imported already, and a CGI script need not.
cdef type ThreadingMixIn = None, Socket = None
cdef object HTTPMessage = None, getdefaulttimeout = None, AF_INET = None, SOCK_STREAM = None
cdef object FORKING = ()

# The version of the socket's type, unchanged.
cdef unsigned int socket_tag = 0

# Not empty once the process has forked: others may have its connections.
cdef dict forks = {}


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


cdef bint can_be_sent(list headers) except -1:
    """Tell whether an application may send these headers, and they are plain."""
    with cython.critical_section(headers):
        return can_be_sent_locked(headers)


cdef bint can_be_sent_locked(list headers) noexcept:
    cdef Py_ssize_t i
    if not are_plain_locked(headers):
        return False
    for i in range(PyList_GET_SIZE(headers)):
        if is_hop_by_hop(<object>PyTuple_GET_ITEM(<object>PyList_GET_ITEM(headers, i), 0)):
            return False
    return True


cdef bint is_hop_by_hop(name) noexcept:
    cdef Py_ssize_t i
    for i in range(PyTuple_GET_SIZE(hop_by_hop)):
        if same_name(<object>PyTuple_GET_ITEM(hop_by_hop, i), name):
            return True
    return False


cdef bint are_plain(list headers) except -1:
    """Tell whether headers can be sent as they are."""
    with cython.critical_section(headers):
        return are_plain_locked(headers)


cdef bint are_plain_locked(list headers) noexcept:
    cdef Py_ssize_t i
    for i in range(PyList_GET_SIZE(headers)):
        if not is_plain(<object>PyList_GET_ITEM(headers, i), name_refuses, value_refuses):
            return False
    return True


cdef bint has_field(list headers, str name) except -1:
    """Tell whether a header of that name is there."""
    with cython.critical_section(headers):
        return has_field_locked(headers, name)


cdef bint has_field_locked(list headers, str name) noexcept:
    cdef Py_ssize_t i
    cdef object field
    for i in range(PyList_GET_SIZE(headers)):
        field = <object>PyList_GET_ITEM(headers, i)
        if is_pair(field) and same_name(name, <object>PyTuple_GET_ITEM(field, 0)):
            return True
    return False


cdef bytes only_block(result):
    """Return the one block of a list or a tuple; `None` for any other result."""
    if type(result) is list:
        block = only_item(result)
    elif type(result) is tuple and len(<tuple>result) == 1:
        block = (<tuple>result)[0]
    else:
        return None
    return block if PyBytes_CheckExact(block) else None


cdef object only_item(list blocks):
    """Return the one item of a list; `None` where there are more, or none."""
    with cython.critical_section(blocks):
        return <object>PyList_GET_ITEM(blocks, 0) if PyList_GET_SIZE(blocks) == 1 else None


# -- What is as it was ---------------------------------------------------------------------

cdef tuple SET_UP = (
    "setup_environ", "add_cgi_vars", "get_stdin", "get_stderr", "get_scheme",
)
cdef tuple FINISH = (
    "finish_response", "result_is_file", "sendfile", "write", "send_headers", "cleanup_headers",
    "set_content_length", "send_preamble", "_write", "_flush", "finish_content", "close",
    "client_is_modern", "_is_bodyless", "_send_head", "_send_together", "_is_cut",
)
cdef tuple WRITE = ("_write", "_is_bodyless")
cdef tuple START = ("_convert_string_type", "_validate_status", "headers_class")
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

# What a request handler may still have of its last request.
cdef tuple FORGOTTEN = ("headers", "_chunked_length", "_variables", "_section")
cdef tuple PARSE = (
    "_parse_buffered", "_take_section", "_take_body", "_heed_expect", "_heed_connection",
    "_forget_request", "_read_section",
)
cdef tuple TELL_ENVIRON = (
    "_get_variables", "address_string", "server_version", "underscore_headers",
)
cdef tuple SERVE = (
    "setup", "handle", "finish", "parse_request", "get_environ", "get_stderr", "_open_file",
    "_handle_request", "_is_threaded", "_finish_request", "_may_go_on",
)
cdef tuple LOG = (
    "log_request", "log_message", "log_date_time_string", "address_string", "monthname",
    "_control_char_table",
)
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
cdef frozenset SERVING_HOOKS = frozenset(PARSE + TELL_ENVIRON + SERVE + LOG + SERVING_SETTINGS)

# What the constructor of a handler sets.
cdef tuple CONSTRUCTED = ("stdin", "stderr", "base_env", "wsgi_multithread", "wsgi_multiprocess")

# What an instance may not have before it serves.
cdef tuple PRESET = (*SERVING_HOOKS, *SERVING_STATE)

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


cdef list own_names = None, namespaces = None
cdef object Headers = None, FileWrapper = None
cdef dict server_namespace = None


@cython.final
@cython.auto_pickle(False)
cdef class Plan:
    """What a type's methods and settings allow, as long as it has a version."""

    cdef unsigned int tag
    cdef bint can_set_up, can_start, can_finish, is_server, is_origin, can_be_skipped
    cdef bint can_serve, can_log, can_accept, has_threads, has_processes
    cdef bint can_tell_app, can_parse, can_tell_environ, may_keep
    cdef str http_version
    cdef object software, wrapper, version, run_once, server_version
    cdef dict os_environ
    cdef Template template


@cython.final
@cython.auto_pickle(False)
cdef class Template:
    """What environs of plain requests had in common, and what it was made of."""

    cdef dict environ, base_environ
    cdef unsigned long long base_version, os_version
    cdef Plan server_plan, plan
    cdef bint is_multithreaded, collides


# By type. Cleared when there are many: types may come and go.
cdef dict plans = {}


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


cdef Plan make_plan(cls):
    cdef Plan plan = Plan.__new__(Plan)
    load()
    hasattr(cls, "__init__")  # a look-up gives a type its version
    plan.tag = type_version(cls)
    if (
        plan.tag == 0
        or Headers is None
        or not has_plain_attributes(cls)
        or type(cls).__call__ is not type.__call__
        or getattr(cls, "__abstractmethods__", None)
    ):
        return plan
    if hasattr(cls, "start_response"):
        make_handler_plan(plan, cls)
    elif hasattr(cls, "parse_request") and server_namespace is not None:
        make_serving_plan(plan, cls)
    elif hasattr(cls, "get_app"):
        plan.can_accept = _hooks.is_own(cls, ACCEPT)
        plan.can_tell_app = _hooks.is_own(cls, ("get_app",))
        plan.has_threads = issubclass(cls, ThreadingMixIn)
        plan.has_processes = issubclass(cls, FORKING)
    if plan.tag != type_version(cls):
        return Plan.__new__(Plan)  # it has changed meanwhile
    return plan


cdef int prime(cls, tuple names) except -1:
    """Have a type's instances share the keys of their state: it is smaller then, and faster."""
    if hasattr(cls, "__del__"):
        return 0
    instance = new_instance(cls)
    for name in names:
        object.__setattr__(instance, name, None)
    return 0


cdef int make_handler_plan(Plan plan, cls) except -1:
    settings = [_hooks.find(cls, name) for name in SETTINGS]
    if any(hasattr(type(value), "__get__") and not isinstance(value, type) for value in settings):
        return 0
    (
        *(http_version, software, os_environ, wrapper, headers_class, is_origin, version),
        *(run_once, is_server),
    ) = settings
    is_usual = (
        type(http_version) is str
        and (software is None or type(software) is str)
        and type(os_environ) is dict
        and (wrapper is None or isinstance(wrapper, type))
        and _hooks.is_own(cls, HANDLER_STATE)
    )
    if not is_usual:
        return 0
    plan.http_version, plan.software = http_version, software
    plan.os_environ, plan.wrapper = os_environ, wrapper
    plan.is_origin, plan.version, plan.run_once = bool(is_origin), version, run_once
    plan.is_server = bool(is_server)
    is_simple = is_server is not None
    plan.can_set_up = is_simple and _hooks.is_own(cls, SET_UP)
    plan.can_start = headers_class is Headers and _hooks.is_own(cls, START[:2])
    plan.can_finish = plan.can_set_up and plan.is_origin and _hooks.is_own(cls, FINISH)
    plan.can_be_skipped = (
        plan.can_finish
        and plan.is_server
        and http_version < "1.1"
        and _hooks.is_own(cls, ("__init__", "__new__", "run", "_go_on"))
    )
    if plan.can_be_skipped:
        prime(cls, HANDLER_STATE)
    return 0


cdef int make_serving_plan(Plan plan, cls) except -1:
    (
        *(protocol_version, message_class, server_version, underscores, timeout, rbufsize),
        *(wbufsize, is_without_delay),
    ) = [_hooks.find(cls, name) for name in SERVING_SETTINGS]
    plan.can_log = LOGS_PLAINLY and _hooks.is_own(cls, LOG) and _hooks.is_own(cls, SERVING_STATE)
    is_usual = (
        _hooks.is_own(cls, SERVING_STATE)
        and type(protocol_version) is str
        and message_class is HTTPMessage
        and underscores is False
    )
    plan.may_keep = is_usual and protocol_version >= "HTTP/1.1"
    plan.can_parse = is_usual and _hooks.is_own(cls, PARSE)
    plan.can_tell_environ = (
        is_usual and type(server_version) is str and _hooks.is_own(cls, TELL_ENVIRON[:2])
    )
    plan.can_serve = (
        plan.can_parse
        and plan.can_tell_environ
        and _hooks.is_own(cls, SERVE)
        and not plan.may_keep
        and timeout is None
        and rbufsize == -1
        and wbufsize == 0
        and is_without_delay is True
    )
    plan.server_version = server_version
    plan.can_be_skipped = plan.can_serve and _hooks.is_own(cls, ("__init__", "__new__"))
    if plan.can_be_skipped:
        prime(cls, SERVING_STATE)
    return 0


cdef bint LOGS_PLAINLY = sys.version_info < (3, 15)  # later ones colour a terminal's lines


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


cdef bint has_any(dict attributes, tuple names) except -1:
    """Tell whether an instance's own attributes are among these few."""
    for name in names:
        if name in attributes:
            return True
    return False


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
