# What an application answers to a plain request, and how that is sent. Included by
# connection.pyx.


@cython.final
@cython.auto_pickle(False)
@cython.freelist(8)
cdef class Reply:
    """What an application has answered so far to a plain request."""

    cdef object peer, exchange, errors
    cdef str status
    cdef list headers
    # What was in the headers when they were found to be plain; nobody else has it.
    cdef list checked
    # Whether its head has left, how many bytes of its body, and how many of its
    # Content-Length are left; -1: it has none, and is chunked.
    cdef bint is_begun
    cdef Py_ssize_t sent, room
    # Whether the connection ends with it; whether that is left to the peer already.
    cdef bint closes, is_left
    cdef int descriptor
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
            self.checked = list(headers)  # first: another thread may change the list
            if can_be_sent(self.checked) and have_tokens(self.checked):
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
        if self.exchange is None and self.text is NULL:
            return None  # the response is over
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
        if reply.is_begun:
            reply.exchange.response.resume(reply.sent, None if reply.room < 0 else reply.room)
    return 0


cdef int leave(
    Reply reply, const char *rest, Py_ssize_t left, str method, tuple arguments
) except -1:
    """Have the exchange go on by one of its methods; the connection, with the rest of its bytes."""
    hand_over(reply)
    reply.text = NULL
    reply.peer.conclude(
        PyBytes_FromStringAndSize(rest, left), getattr(reply.exchange, method), *arguments
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


cdef bint may_begin(Reply reply, loop) except -1:
    """Tell whether the head can be made here: it is plain, and there may be a body."""
    return (
        reply.status is not None
        and not loop.is_stopping
        and may_have_body(reply.status)
        and memcmp(bytes_of(reply.status), b"205", 3) != 0
        and are_same(reply.headers, reply.checked)
    )


cdef bytes make_head(Reply reply, Ground ground, loop, tuple field, bytes block):
    """Return the head with one more field, if any, and what follows it; `None` if not plain."""
    cdef list headers = reply.checked
    date = date_of(loop)
    if field is not None:
        headers = [*headers, field]
    if reply.closes:
        headers = [*headers, CLOSE]
    with cython.critical_section(headers):
        return serialize(VERSION, reply.status, headers, date, ground.server_header, block)


cdef bint answer(
    Reply reply, Ground ground, loop, result, const char *rest, Py_ssize_t left
) except -1:
    """Send a response that is here in full; false where it is to be sent block by block."""
    cdef bytes block = only_block(result), data
    cdef Py_ssize_t length
    cdef tuple field = None
    if block is None:
        block = joined_blocks(result)
    if block is None or not may_begin(reply, loop):
        return False
    length = length_of(reply.checked)
    if length < 0:
        field = ("Content-Length", decimal_of(PyBytes_GET_SIZE(block)))
    elif length != PyBytes_GET_SIZE(block):
        return False
    data = make_head(reply, ground, loop, field, block)
    if data is None:
        return False
    send_last(reply, ground, data, rest, left)
    return True


cdef bytes joined_blocks(result):
    """Return the few blocks of a list or a tuple as one; `None` for any other result."""
    cdef tuple blocks
    cdef Py_ssize_t size = 0, i
    if type(result) is not list and type(result) is not tuple:
        return None
    blocks = tuple(result)  # another thread may change a list
    for i in range(PyTuple_GET_SIZE(blocks)):
        if not PyBytes_CheckExact(<object>PyTuple_GET_ITEM(blocks, i)):
            return None
        size += PyBytes_GET_SIZE(<object>PyTuple_GET_ITEM(blocks, i))
        if size > JOINED_AT_MOST:
            return None
    return b"".join(blocks)


cdef int send_last(
    Reply reply, Ground ground, bytes data, const char *rest, Py_ssize_t left
) except -1:
    """Send the end of a response; what the client does not take, later."""
    cdef Py_ssize_t sent = send_at_once(
        reply.descriptor, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)
    )
    ground.sent += max(sent, 0)
    if sent == PyBytes_GET_SIZE(data):
        return 0
    reply.is_left = True
    if sent < 0 and not would_wait():
        reply.peer.close()
    elif reply.closes:
        reply.peer.end(data[max(sent, 0):], PyBytes_FromStringAndSize(rest, left))
    else:
        reply.peer.send_late(data[max(sent, 0):], PyBytes_FromStringAndSize(rest, left))
    return 0


cdef bint iterate(
    Reply reply, Ground ground, loop, result, const char *rest, Py_ssize_t left
) except -1:
    """Send a response block by block; false where the exchange goes on with it."""
    cdef PyObject *found = PyObject_GetIter(result)
    cdef object iterator, block, error = None
    cdef bytes data
    cdef Py_ssize_t sent, blocks = 0
    if found is NULL:
        leave(reply, rest, left, "conclude", (result, take_error()))
        return False
    iterator = <object>found
    Py_DECREF(iterator)
    while True:
        found = PyIter_Next(iterator)
        if found is not NULL:
            block = <object>found
            Py_DECREF(block)
            data = next_data(reply, ground, loop, block)
            if data is None:
                leave(reply, rest, left, "go_on", (result, iterator, b"", (block,)))
                return False
        elif PyErr_Occurred():
            error = take_error()
            leave(reply, rest, left, "go_on", (result, iterator, b"", (), error))
            return False
        else:
            data = last_data(reply, ground, loop)
            if data is None:
                leave(reply, rest, left, "go_on", (result, iter(()), b"", ()))
                return False
            if data:
                send_last(reply, ground, data, rest, left)
            reply.text = NULL
            if not PyGen_CheckExact(result):  # one that has ended has nothing to close
                close_result(reply, result)
            return True
        blocks += 1
        if data:
            sent = send_at_once(
                reply.descriptor, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)
            )
            ground.sent += max(sent, 0)
            if sent < PyBytes_GET_SIZE(data):
                leave(reply, rest, left, "go_on", (result, iterator, data[max(sent, 0):], ()))
                return False
        if blocks >= BLOCKS_IN_A_TURN or reply.sent > SENT_IN_A_TURN:
            hand_over(reply)
            reply.peer.pause()
            leave(reply, rest, left, "go_on", (result, iterator, b"", ()))
            return False


cdef bytes next_data(Reply reply, Ground ground, loop, block):
    """Return what is sent for a block, with the head before the first; `None` if not plain."""
    cdef Py_ssize_t size
    cdef bytes data
    if reply.exchange is not None or not PyBytes_CheckExact(block):
        return None
    size = PyBytes_GET_SIZE(block)
    if size == 0 and reply.status is not None:
        return b""
    if reply.is_begun:
        if reply.room >= 0 and size > reply.room:
            return None
        data = framed(block) if reply.room < 0 else block
    else:
        if not may_begin(reply, loop):
            return None
        reply.room = length_of(reply.checked)
        if reply.room < 0:
            data = make_head(reply, ground, loop, CHUNKED, framed(block))
        elif size > reply.room or reply.room == ODD_LENGTH:
            return None
        else:
            data = make_head(reply, ground, loop, None, block)
        if data is None:
            return None
        reply.is_begun = True
    reply.sent += size
    if reply.room >= 0:
        reply.room -= size
    return data


cdef bytes last_data(Reply reply, Ground ground, loop):
    """Return what is sent after the last block; `None` if that is not plain."""
    cdef Py_ssize_t length
    if reply.exchange is not None:
        return None
    if reply.is_begun:
        if reply.room > 0:
            return None
        return LAST_CHUNK if reply.room < 0 else b""
    if not may_begin(reply, loop):
        return None
    length = length_of(reply.checked)
    if length > 0:
        return None
    return make_head(reply, ground, loop, NO_LENGTH if length < 0 else None, b"")


cdef bytes framed(bytes block):
    """Return a block as a chunk (RFC 9112 section 7.1)."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(block), number = size
    cdef char[16] digits
    cdef int begin = sizeof(digits)
    cdef bytes chunk
    cdef char *text
    while True:
        begin -= 1
        digits[begin] = b"0123456789abcdef"[number & 15]
        number >>= 4
        if number == 0:
            break
    chunk = PyBytes_FromStringAndSize(NULL, sizeof(digits) - begin + 2 + size + 2)
    text = PyBytes_AS_STRING(chunk)
    memcpy(text, digits + begin, sizeof(digits) - begin)
    text += sizeof(digits) - begin
    memcpy(text, b"\r\n", 2)
    memcpy(text + 2, PyBytes_AS_STRING(block), size)
    memcpy(text + 2 + size, b"\r\n", 2)
    return chunk


cdef int close_result(Reply reply, result) except -1:
    """Call the ``close()`` that a result may have; what it raises is logged."""
    try:
        close = getattr(result, "close", None)
        if close is not None:
            close()
    except KeyboardInterrupt:
        reply.peer.log_exception(reply.errors)
        raise
    except BaseException:
        reply.peer.log_exception(reply.errors)
    return 0


cdef bint are_same(list headers, list checked) except -1:
    """Tell whether headers are still what was checked; each is a tuple, which stays as it is."""
    cdef Py_ssize_t i
    with cython.critical_section(headers):
        if PyList_GET_SIZE(headers) != PyList_GET_SIZE(checked):
            return False
        for i in range(PyList_GET_SIZE(headers)):
            if PyList_GET_ITEM(headers, i) is not PyList_GET_ITEM(checked, i):
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


cdef tuple CHUNKED = ("Transfer-Encoding", "chunked"), NO_LENGTH = ("Content-Length", "0")
cdef tuple CLOSE = ("Connection", "close")
cdef bytes LAST_CHUNK = b"0\r\n\r\n"
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
