# cython: language_level=3, freethreading_compatible=True, annotation_typing=False
"""One HTTP/1.1 connection: plain requests received, served and answered without a detour.

Plain is a request whose head and body came with one call, of HTTP/1.1, with nothing that
frames it but a Content-Length, and a response of one block. Of any other, the bytes go to
the state machine as if nobody had looked at them; of a response that is not plain, all
that the application has said so far goes to the exchange that does it step by step.
"""

cimport cython
from cpython.bytes cimport (
    PyBytes_AS_STRING,
    PyBytes_CheckExact,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
)
from cpython.dict cimport PyDict_Update
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from descriptors cimport ACCEPTS_DESCRIPTORS, receive_at_once, send_at_once, would_wait
from head cimport Seen, Table, build_table, fill, split_line
from hooks cimport (
    PyDict_GET_SIZE,
    attributes_of,
    call_application,
    dict_version,
    take_error,
    type_version,
)
from libc.string cimport memchr, memcmp
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

cdef enum:
    RECEIVED_AT_MOST = 65536  # bytes of one call
    READ = 1  # what is waited for, as poll() has it
    READING = 1  # a connection's state
    IN_HEAD = 0  # that of its state machine
    HANDED_OVER = 0

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

    cdef object server
    cdef dict environ, base_environ
    cdef unsigned long long base_version
    cdef str server_header
    cdef double keep_alive
    cdef Py_ssize_t longest_head, most_fields, longest_body
    cdef bint is_usual
    # Of the server's type, as long as its get_app() is our own.
    cdef unsigned int server_tag


cdef Ground make_ground(loop):
    """Find out what all requests of a loop have in common."""
    cdef Ground ground = Ground.__new__(Ground)
    options = loop.options
    ground.is_usual = loop.is_usual()
    ground.server = loop.server
    hasattr(type(loop.server), "get_app")  # a look-up gives a type its version
    if _hooks.is_own(type(loop.server), ("get_app", "application")):
        ground.server_tag = type_version(type(loop.server))
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


cdef object application_of(Ground ground, loop):
    """Return the application, as ``get_app()`` of the server does."""
    cdef dict attributes
    if ground.server_tag != 0 and ground.server_tag == type_version(type(ground.server)):
        attributes = attributes_of(ground.server)
        application = attributes.get("application")
        if application is not None and "get_app" not in attributes:
            return application
    return loop.application()


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
        ground.environ = environ
    return ground.environ.copy()


@cython.final
@cython.auto_pickle(False)
@cython.freelist(8)
cdef class Reply:
    """What an application has answered so far to a plain request."""

    cdef object peer, exchange
    cdef str status
    cdef list headers
    # What was in the headers when they were found to be plain.
    cdef tuple checked
    cdef bint is_late
    # The request's bytes, while it is being served.
    cdef const char *text
    cdef Py_ssize_t size

    def start_response(self, status, headers, exc_info=None):
        """Take status and headers of the response: PEP 3333's ``start_response()``."""
        if (
            self.exchange is None
            and self.status is None
            and (exc_info is None or not exc_info)
            and is_status(status)
            and b"2" <= bytes_of(status)[0] <= b"5"
            and type(headers) is list
        ):
            self.checked = tuple(headers)  # first: another thread may change the list
            if can_be_sent(headers) and have_tokens(headers):
                self.status = status
                self.headers = headers
                return self.write
        hand_over(self)
        return self.exchange.start_response(status, headers, exc_info)

    def write(self, data):
        """Send a block of the body: PEP 3333's ``write()``."""
        hand_over(self)
        return self.exchange.write(data)

    def early_hints(self, headers):
        """Send a 103 with these headers (RFC 8297)."""
        hand_over(self)
        return self.exchange.send_early_hints(headers)


cdef int hand_over(Reply reply) except -1:
    """Leave a request to an exchange, as if that had served it from the beginning."""
    if reply.exchange is None:
        if reply.text is NULL:
            raise AssertionError("the response is over")
        reply.exchange = reply.peer.adopt(
            PyBytes_FromStringAndSize(reply.text, reply.size), reply.status, reply.headers
        )
    return 0


cdef bint have_tokens(list headers) except -1:
    """Tell whether the names of plain headers are tokens (RFC 9110 section 5.6.2)."""
    with cython.critical_section(headers):
        return have_tokens_locked(headers)


cdef bint have_tokens_locked(list headers) noexcept:
    cdef Py_ssize_t i, k
    cdef const unsigned char *name
    cdef object text
    for i in range(PyList_GET_SIZE(headers)):
        text = <object>PyTuple_GET_ITEM(<object>PyList_GET_ITEM(headers, i), 0)
        name = bytes_of(text)
        if PyUnicode_GET_LENGTH(text) == 0:
            return False
        for k in range(PyUnicode_GET_LENGTH(text)):
            if not is_token[name[k]]:
                return False
    return True


def heed(loop: Any, ready: list[tuple[int, int]]) -> None:
    """Go on with those connections of a loop that are ready.

    Args:
        loop: has a method of the same name, for one of them.
        ready: descriptors, and what each is ready for.

    """
    cdef dict peers
    cdef bint is_served
    cdef double now
    cdef Ground ground
    if not ready:
        return
    peers = loop.peers
    now = monotonic()
    ground = loop.ground if type(loop.ground) is Ground else make_ground(loop)
    for descriptor, events in ready:
        is_served = False
        peer = peers.get(descriptor) if events == READ else None
        if peer is not None and ground.is_usual:
            try:
                is_served = serve_ready(peer, loop, ground, now)
            except Exception:
                loop.fail(peer)
                is_served = True
        if not is_served:
            loop.heed(descriptor, events)


cdef bint serve_ready(peer, loop, Ground ground, double now) except -1:
    """Receive and answer plain requests; false where the connection has to do that."""
    cdef object connection
    cdef char[RECEIVED_AT_MOST] buffer
    cdef Py_ssize_t size, start = 0, used
    if (
        not ACCEPTS_DESCRIPTORS
        or not peer.is_plain
        or peer.wanted != READ
        or peer.state != READING
    ):
        return False
    connection = peer.connection
    if (
        loop.is_stopping
        or connection._state != IN_HEAD
        or connection._has_skipped
        or len(<bytearray>connection._buffer)
    ):
        return False
    size = receive_at_once(peer.descriptor, buffer, RECEIVED_AT_MOST)
    if size < 0 and would_wait():
        return True
    if size <= 0:
        peer.take(b"")
        return True
    while start < size:
        used = serve_one(peer, loop, ground, buffer + start, size - start)
        if used == HANDED_OVER:
            return True
        start += used
    if peer.is_first:
        peer.is_first = False
    if peer._is_timed:
        peer._is_timed = False
    deadline = now + ground.keep_alive
    peer.deadline = deadline
    queued = peer.queued
    if queued is None or deadline < queued:
        loop.expect(peer)
    return True


cdef Py_ssize_t serve_one(
    peer, loop, Ground ground, const char *text, Py_ssize_t left
) except -1:
    """Serve a request that is here in full; return its size, or leave all to the connection."""
    cdef Py_ssize_t size = 0
    cdef dict environ
    cdef Reply reply
    cdef PyObject *outcome
    cdef object result, application, error = None
    environ = environ_of(peer, loop, ground, text, left, &size)
    if environ is None:
        peer.take(PyBytes_FromStringAndSize(text, left))
        return HANDED_OVER
    reply = Reply.__new__(Reply)
    reply.peer = peer
    reply.text = text
    reply.size = size
    environ["wsgi.early_hints"] = reply.early_hints
    try:
        application = application_of(ground, loop)
    except BaseException as missing:
        outcome, error = NULL, missing
    else:
        outcome = call_application(application, environ, reply.start_response)
        if outcome is NULL:
            error = take_error()
    if outcome is NULL:
        result = None
    else:
        result = <object>outcome
        Py_DECREF(result)
        if reply.exchange is None and answer(reply, ground, loop, result, text + size, left - size):
            reply.text = NULL
            if reply.is_late:
                return HANDED_OVER
            return size
    hand_over(reply)
    reply.text = NULL
    peer.conclude(result, error, PyBytes_FromStringAndSize(text + size, left - size))
    return HANDED_OVER


cdef dict environ_of(
    peer, loop, Ground ground, const char *text, Py_ssize_t left, Py_ssize_t *used
):
    """Return the environ of a plain request, and its size; `None` of another."""
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
        or seen.numbers[table.expect_number]
        or seen.numbers[table.content_type_number] > 1
    ):
        return None
    lines = count_lines(text + line, section)
    # Where the ends of the lines are its only control characters, no field has one.
    if count_controls(<const unsigned char *>text + line, section) != 2 * lines:
        return None
    if not has_host(environ) or not stays(environ.get("HTTP_CONNECTION")):
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
    environ["REMOTE_ADDR"] = peer.host
    environ["REMOTE_PORT"] = peer.port
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


cdef bint stays(options) except -1:
    """Tell whether a Connection field lets the connection go on, as far as that is plain."""
    return options is None or options == "keep-alive" or options == "Keep-Alive"


cdef Py_ssize_t digits_of(Py_ssize_t number) noexcept:
    cdef Py_ssize_t count = 1
    while number > 9:
        number //= 10
        count += 1
    return count


cdef bint answer(
    Reply reply, Ground ground, loop, result, const char *rest, Py_ssize_t left
) except -1:
    """Send a response of one block; false where the exchange has to do that."""
    cdef list headers = reply.headers
    cdef bytes block = only_block(result), data = None
    cdef Py_ssize_t length, sent
    cdef object status = reply.status
    if (
        block is None
        or status is None
        or loop.is_stopping
        or not may_have_body(status)
        or memcmp(bytes_of(status), b"205", 3) == 0
        or not are_same(headers, reply.checked)
    ):
        return False
    length = length_of(headers)
    if length < 0:
        headers = [*headers, ("Content-Length", decimal_of(PyBytes_GET_SIZE(block)))]
    elif length != PyBytes_GET_SIZE(block):
        return False
    date = date_of(loop)
    with cython.critical_section(headers):
        data = serialize(VERSION, status, headers, date, ground.server_header, block)
    if data is None:
        return False
    sent = send_at_once(reply.peer.descriptor, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
    if sent == PyBytes_GET_SIZE(data):
        return True
    if sent < 0 and not would_wait():
        reply.is_late = True
        reply.peer.close()
    else:
        reply.is_late = True
        reply.peer.send_late(data[max(sent, 0):], PyBytes_FromStringAndSize(rest, left))
    return True


cdef bint are_same(list headers, tuple checked) except -1:
    """Tell whether headers are still what was checked; each is a tuple, which stays as it is."""
    cdef Py_ssize_t i
    with cython.critical_section(headers):
        if PyList_GET_SIZE(headers) != PyTuple_GET_SIZE(checked):
            return False
        for i in range(PyList_GET_SIZE(headers)):
            if PyList_GET_ITEM(headers, i) is not PyTuple_GET_ITEM(checked, i):
                return False
    return True


cdef Py_ssize_t length_of(list headers) except -2:
    """Return the Content-Length that headers have; -1 for none, more than any for an odd one."""
    cdef Py_ssize_t i, k, found = -1
    cdef object field, value
    cdef const unsigned char *text
    for i in range(PyList_GET_SIZE(headers)):
        field = <object>PyList_GET_ITEM(headers, i)
        if not same_name("content-length", <object>PyTuple_GET_ITEM(field, 0)):
            continue
        value = <object>PyTuple_GET_ITEM(field, 1)
        text = bytes_of(value)
        if found >= 0 or not 0 < PyUnicode_GET_LENGTH(value) <= 18:
            return ODD_LENGTH
        found = 0
        for k in range(PyUnicode_GET_LENGTH(value)):
            if not b"0" <= text[k] <= b"9":
                return ODD_LENGTH
            found = found * 10 + (text[k] - c"0")
    return found


cdef Py_ssize_t ODD_LENGTH = <Py_ssize_t>1 << 62


cdef object date_of(loop):
    """Return the ``Date`` of this second."""
    now = seconds_now(NULL)
    text = dates.get(now)
    if text is None:
        text = loop.date()
        dates.clear()
        dates[now] = text
    return text
