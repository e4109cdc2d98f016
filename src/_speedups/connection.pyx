# cython: language_level=3, freethreading_compatible=True, annotation_typing=False
"""One HTTP/1.1 connection: plain requests received, served and answered without a detour.

Plain is a request whose head and body came with one call, of HTTP/1.1, with nothing that
frames it but a Content-Length. Of any other, the bytes go to the state machine as if nobody
had looked at them. A response is sent here as far as the client takes it at once; of one
that it does not, or that is not plain, all that the application has said so far goes to the
exchange that does it step by step.
"""

cimport cython
from cpython.bytes cimport (
    PyBytes_AS_STRING,
    PyBytes_CheckExact,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
)
from cpython.dict cimport PyDict_Update
from cpython.exc cimport PyErr_Occurred
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from descriptors cimport ACCEPTS_DESCRIPTORS, receive_at_once, send_at_once, would_wait
from head cimport Seen, Table, build_table, fill, split_line
from hooks cimport (
    PyDict_GET_SIZE,
    PyGen_CheckExact,
    PyIter_Next,
    PyObject_GetIter,
    attributes_of,
    call_application,
    dict_version,
    in_slot,
    slot_offset,
    take_error,
    type_version,
)
from libc.string cimport memchr, memcmp, memcpy
from libc.time cimport time as seconds_now
from serialize cimport serialize
from target cimport split_target
from text cimport (
    PyUnicode_1BYTE_KIND,
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
import sys
import time

from wsgiref_fast import _hooks
from wsgiref_fast._grammar import HOP_BY_HOP, NAME_CONTROLS, VALUE_CONTROLS
from wsgiref_fast._pure import request as _request
from wsgiref_fast._pure.connection import Connection

cdef enum:
    RECEIVED_AT_MOST = 65536  # bytes of one call
    READ = 1  # what is waited for, as poll() has it
    READING = 1  # a connection's state
    IN_HEAD = 0  # that of its state machine
    HANDED_OVER = 0
    ANSWERED_IN_A_ROW = 16  # requests that came at once, before others are heard
    BLOCKS_IN_A_TURN = 256  # of a response, and how many of its bytes
    SENT_IN_A_TURN = 131072
    JOINED_AT_MOST = 65536  # bytes of blocks that are sent as one
    STATUSES = 600  # no status is higher

include "plain.pxi"

cdef bytes TOKEN = b"!#$%&'*+.^_`|~-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
cdef bytes HOST = b".-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
cdef unsigned char[256] is_token
cdef unsigned char[256] is_host
for _code in TOKEN:
    is_token[_code] = True
for _code in HOST:
    is_host[_code] = True

cdef Table table
cdef list table_parts = build_table(&table, _request.COMMON_KEYS, _request.FRAMING_KEYS)
for _code in range(256):
    if not is_token[_code]:
        table.in_variables[_code] = 0

cdef frozenset NOTHING_TAKEN = frozenset()
cdef dict NO_BASE = {}
cdef tuple METHODS = ("POST", "PUT", "DELETE", "PATCH", "OPTIONS")
cdef str GET = "GET", HTTP_1_1 = "HTTP/1.1", VERSION = "1.1"
cdef dict sys_namespace = vars(sys)
cdef object BytesIO = io.BytesIO, monotonic = time.monotonic
cdef dict dates = {}


@cython.final
@cython.auto_pickle(False)
cdef class Ground:
    """What all requests of a loop have in common while it runs."""

    cdef object server, file_wrapper
    # What puts into an environ what proxies say; `None` where none is trusted.
    cdef object heed_proxies
    cdef dict environ, base_environ
    cdef unsigned long long base_version
    cdef str server_header
    cdef double keep_alive
    cdef Py_ssize_t longest_head, most_fields, longest_body
    cdef bint is_usual
    # Of the server's type, as long as its get_app() is our own.
    cdef unsigned int server_tag
    # What has happened: requests that were answered here, bytes, responses by status.
    cdef unsigned long long requests, received, sent
    cdef unsigned long long[STATUSES] statuses

    def counts(self):
        """Return numbers of requests and of bytes received and sent, and responses by status."""
        cdef int i
        statuses = {i: self.statuses[i] for i in range(STATUSES) if self.statuses[i]}
        return self.requests, self.received, self.sent, statuses


# Where a peer, and a connection's state machine, have what is asked for at each request.
cdef struct Places:
    Py_ssize_t is_plain, wanted, state, connection, descriptor, host, port, queued
    Py_ssize_t is_first, is_timed, variables
    Py_ssize_t machine_state, has_skipped, buffer


cdef Places places


cdef Py_ssize_t place_of(slot) except -1:
    """Return where instances have a slot."""
    place = slot_offset(slot)
    if place < 0:
        raise TypeError(f"{slot!r} is no slot")
    return place


cdef int find_places(peer_class) except -1:
    """Find the slots."""
    places.is_plain = place_of(peer_class.is_plain)
    places.wanted = place_of(peer_class.wanted)
    places.state = place_of(peer_class.state)
    places.connection = place_of(peer_class.connection)
    places.descriptor = place_of(peer_class.descriptor)
    places.host = place_of(peer_class.host)
    places.port = place_of(peer_class.port)
    places.queued = place_of(peer_class.queued)
    places.is_first = place_of(peer_class.is_first)
    places.is_timed = place_of(peer_class._is_timed)
    places.variables = place_of(peer_class.variables)
    places.machine_state = place_of(Connection._state)
    places.has_skipped = place_of(Connection._has_skipped)
    places.buffer = place_of(Connection._buffer)
    return 0


cdef Ground make_ground(loop):
    """Find out what all requests of a loop have in common."""
    cdef Ground ground = Ground.__new__(Ground)
    find_places(loop.peer_class)
    options = loop.options
    ground.is_usual = loop.is_usual()
    ground.server = loop.server
    ground.file_wrapper = loop.constants["wsgi.file_wrapper"]
    hasattr(type(loop.server), "get_app")  # a look-up gives a type its version
    if _hooks.is_own(type(loop.server), ("get_app", "application")):
        ground.server_tag = type_version(type(loop.server))
    ground.heed_proxies = None if loop.proxies is None else loop.proxies.apply
    ground.server_header = options.server_header
    ground.keep_alive = options.keep_alive_timeout
    # Within these no single limit is passed.
    ground.longest_head = min(
        options.max_request_line, options.max_header_line, options.max_header_section
    )
    ground.most_fields = options.max_header_fields
    ground.longest_body = min(options.max_body, options.spool_size)
    loop.ground = ground
    return ground


include "connection/environ.pxi"
include "connection/response.pxi"


cdef object application_of(Ground ground, loop):
    """Return the application, as ``get_app()`` of the server does."""
    cdef dict attributes
    if ground.server_tag != 0 and ground.server_tag == type_version(type(ground.server)):
        attributes = attributes_of(ground.server)
        application = attributes.get("application")
        if application is not None and "get_app" not in attributes:
            return application
    return loop.application()


def heed(loop: Any, ready: list[tuple[int, int]]) -> None:
    """Go on with those connections of a loop that are ready.

    Args:
        loop: has a method of the same name, for one of them.
        ready: descriptors, and what each is ready for.

    """
    cdef dict peers
    cdef bint is_served
    cdef Ground ground
    if not ready:
        return
    peers = loop.peers
    ground = loop.ground if type(loop.ground) is Ground else make_ground(loop)
    for descriptor, events in ready:
        is_served = False
        peer = peers.get(descriptor) if events == READ else None
        if peer is not None and ground.is_usual:
            try:
                is_served = serve_ready(peer, loop, ground)
            except Exception:
                loop.fail(peer)
                is_served = True
        if not is_served:
            loop.heed(descriptor, events)


cdef inline long number_in(instance, Py_ssize_t place) except? -1:
    """Return a number that a slot has."""
    return <object>in_slot(instance, place)


cdef bint serve_ready(peer, loop, Ground ground) except -1:
    """Receive and answer plain requests; false where the connection has to do that."""
    cdef object connection
    cdef char[RECEIVED_AT_MOST] buffer
    cdef Py_ssize_t size, start = 0, used
    cdef int answered = 0
    if (
        not ACCEPTS_DESCRIPTORS
        or in_slot(peer, places.is_plain) is not True
        or number_in(peer, places.wanted) > READ
        or number_in(peer, places.state) != READING
    ):
        return False
    connection = in_slot(peer, places.connection)
    if (
        loop.is_stopping
        or number_in(connection, places.machine_state) != IN_HEAD
        or in_slot(connection, places.has_skipped) is not False
        or len(<bytearray>in_slot(connection, places.buffer))
    ):
        return False
    size = receive_at_once(number_in(peer, places.descriptor), buffer, RECEIVED_AT_MOST)
    if size < 0 and would_wait():
        return True
    if size <= 0:
        peer.take(b"")
        return True
    ground.received += size
    while start < size:
        if answered == ANSWERED_IN_A_ROW:
            peer.take(PyBytes_FromStringAndSize(buffer + start, size - start))
            return True
        answered += 1
        used = serve_one(peer, loop, ground, buffer + start, size - start)
        if used == HANDED_OVER:
            return True
        start += used
    if in_slot(peer, places.is_first) is True:
        peer.is_first = False
    if in_slot(peer, places.is_timed) is True:
        peer._is_timed = False
    deadline = <double>monotonic() + ground.keep_alive
    peer.deadline = deadline
    queued = in_slot(peer, places.queued)
    if queued is None or deadline < queued:
        loop.expect(peer)
    return True


cdef Py_ssize_t serve_one(
    peer, loop, Ground ground, const char *text, Py_ssize_t left
) except -1:
    """Serve a request that is here in full; return its size, or leave all to the connection."""
    cdef Py_ssize_t size = 0
    cdef bint closes = False
    cdef dict environ
    cdef Reply reply
    environ = environ_of(peer, loop, ground, text, left, &size, &closes)
    if environ is None:
        peer.take(PyBytes_FromStringAndSize(text, left))
        return HANDED_OVER
    reply = Reply.__new__(Reply)
    reply.peer = peer
    reply.descriptor = number_in(peer, places.descriptor)
    reply.text = text
    reply.size = size
    reply.closes = closes
    reply.errors = environ["wsgi.errors"]
    environ["wsgi.early_hints"] = reply.early_hints
    variables = in_slot(peer, places.variables)
    if variables is not None:
        environ.update(variables)
    if ground.heed_proxies is not None:
        ground.heed_proxies(environ)
    try:
        return size if respond(reply, ground, loop, environ, text + size, left - size) else 0
    finally:
        reply.text = NULL  # whoever has the reply yet may ask it for something later


cdef bint respond(
    Reply reply, Ground ground, loop, dict environ, const char *rest, Py_ssize_t left
) except -1:
    """Have the application answer; false where the connection goes on by itself."""
    cdef PyObject *outcome
    cdef object result, application, error = None
    try:
        application = application_of(ground, loop)
    except BaseException as missing:
        outcome, error = NULL, missing
    else:
        outcome = call_application(application, environ, reply.start_response)
        if outcome is NULL:
            error = take_error()
    if outcome is NULL:
        leave(reply, rest, left, "conclude", (None, error))
        return False
    result = <object>outcome
    Py_DECREF(result)
    if reply.exchange is not None or type(result) is ground.file_wrapper:
        leave(reply, rest, left, "conclude", (result, None))
        return False
    if answer(reply, ground, loop, result, rest, left):
        reply.text = NULL
        count_answered(reply, ground)
    elif only_block(result) is not None or joined_blocks(result) is not None:
        leave(reply, rest, left, "conclude", (result, None))  # it is sent as one all the same
        return False
    elif not iterate(reply, ground, loop, result, rest, left):
        return False
    else:
        count_answered(reply, ground)
    if reply.closes and not reply.is_left:
        reply.is_left = True
        reply.peer.end(b"", PyBytes_FromStringAndSize(rest, left))
    return not reply.is_left


cdef int count_answered(Reply reply, Ground ground) noexcept:
    """Count a request whose answer was made here; its status is three digits, from 200 on."""
    cdef const unsigned char *digits = bytes_of(reply.status)
    ground.requests += 1
    ground.statuses[100 * (digits[0] - 48) + 10 * (digits[1] - 48) + digits[2] - 48] += 1
    return 0
