# cython: language_level=3, freethreading_compatible=True, annotation_typing=False
"""Short cuts through a request, where none of the methods that they skip is overridden.

Each tells whether it did the work. Where it did not, nothing has happened, and the work is
done step by step, in the methods of `handlers` and `simple_server`.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Update
from cpython.float cimport PyFloat_AS_DOUBLE
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
    PyMethod_New,
    attributes_of,
    call_application,
    dict_version,
    fill_slot,
    is_held,
    new_instance,
    slot_offset,
    take_error,
    type_version,
)
from libc.string cimport memchr, memcmp
from serialize cimport serialize
from target cimport split_target
from text cimport (
    PyUnicode_1BYTE_KIND,
    PyUnicode_CheckExact,
    PyUnicode_FromKindAndData,
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
from wsgiref_fast import _short_cuts as short_cuts
from wsgiref_fast._grammar import HOP_BY_HOP, NAME_CONTROLS, VALUE_CONTROLS
from wsgiref_fast._grammar import MAX_HEADER_LINES, MAX_LINE
from wsgiref_fast._pure import environ as _environ
from wsgiref_fast._pure import request as _request
from wsgiref_fast._pure import run as _reference
from wsgiref_fast._speedups.response import serialize_head
from wsgiref_fast._streams import BodyReader, ConnectionWriter, LateFile

cdef enum:
    RECEIVED_AT_MOST = 16384  # bytes of one call: the head of an ordinary request
    ACCEPTED_AT_MOST = 64  # connections before the server looks for anything else

cdef Py_ssize_t max_line = MAX_LINE, max_lines = MAX_HEADER_LINES
cdef Table table
cdef list table_parts = build_table(&table, _request.COMMON_KEYS, _request.FRAMING_KEYS)
cdef frozenset taken = _environ._REQUEST_VARIABLES
cdef frozenset common_names = frozenset(
    key[5:] for key in (*_request.COMMON_KEYS.values(), *_request.FRAMING_KEYS.values())
)
cdef str GET = "GET", HTTP_1_1 = "HTTP/1.1"
cdef dict sys_namespace = vars(sys), time_namespace = vars(time)
cdef type BytesIO = io.BytesIO, BufferedReader = io.BufferedReader
# What a server's module has imported already, and a CGI script need not.
cdef type ThreadingMixIn = None, Socket = None
cdef object HTTPMessage = None, getdefaulttimeout = None, AF_INET = None, SOCK_STREAM = None
cdef object FORKING = ()

# The version of the socket's type, unchanged.
cdef unsigned int socket_tag = 0

# Not empty once the process has forked: others may have its connections.
cdef dict forks = {}

include "run/plans.pxi"
include "plain.pxi"
include "run/environs.pxi"
include "run/response.pxi"
include "run/connection.pxi"


# The steps of a handler.


def set_up(handler: Any) -> bool:
    """Make the environ of a handler, as `handlers.BaseHandler.setup_environ` does."""
    cdef Plan plan = plan_for(type(handler))
    cdef dict state = attributes_of(handler) if plan.can_set_up else None, environ
    if (
        state is None
        or has_hook(state, HANDLER_HOOKS, &handler_names)
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
    if state is None or not answer(handler, state, plan, None, NO_PLAN, 0):
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


# The steps of a request handler.


def parse(request_handler: Any) -> bool:
    """Parse a request whose line was read, as ``parse_request()`` does with a plain one."""
    cdef Plan plan = plan_for(type(request_handler))
    cdef dict state = attributes_of(request_handler) if plan.can_parse else None
    cdef Py_ssize_t after
    cdef object rfile, line
    cdef tuple words = None
    if state is None or has_hook(state, SERVING_HOOKS, &serving_names):
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


# The whole of a connection, and the loop.


def serve(request_handler: Any, request: Any, client_address: Any, server: Any) -> bool:
    """Serve the request of a connection that is not kept, as its handler's constructor does."""
    cdef Plan plan = plan_for(type(request_handler))
    cdef Plan handler_plan
    cdef dict state
    cdef bint is_socket = type(request) is Socket
    cdef unsigned long long version = 0
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
            version = serve_socket(request_handler, state, plan, handler_plan)
        else:
            version = serve_file(request_handler, state, plan, handler_plan)
    finally:
        finish_connection(request_handler, state, plan, version)
    return True


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
