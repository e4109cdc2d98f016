# What is plain: statuses, headers, blocks and lines of log that can be sent as they are.
# Included by the kernels that answer requests.

# By Latin-1 code: what a name, and what a value, may not hold.
cdef unsigned char[256] name_refuses
cdef unsigned char[256] value_refuses
for _code in range(256):
    name_refuses[_code] = chr(_code) in NAME_CONTROLS
    value_refuses[_code] = chr(_code) in VALUE_CONTROLS

cdef tuple hop_by_hop = tuple(sorted(HOP_BY_HOP))


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


cdef inline bint are_plain(list headers) except -1:
    """Tell whether headers can be sent as they are."""
    with cython.critical_section(headers):
        return are_plain_locked(headers)


cdef bint are_plain_locked(list headers) noexcept:
    cdef Py_ssize_t i
    for i in range(PyList_GET_SIZE(headers)):
        if not is_plain(<object>PyList_GET_ITEM(headers, i), name_refuses, value_refuses):
            return False
    return True


cdef inline bint has_field(list headers, str name) except -1:
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


cdef inline dict plain_dict(value):
    return value if type(value) is dict else None


cdef inline list plain_list(dict held):
    """Return the list that `Headers` hold, if that is all they have."""
    headers = held.get("_headers") if PyDict_GET_SIZE(held) == 1 else None
    return headers if type(headers) is list else None


cdef inline bint is_ascii(text) noexcept:
    return is_latin1(text) and PyUnicode_IS_ASCII(<str>text)


cdef inline bint is_plain_line(str text) noexcept:
    """Tell whether a line of log has nothing to be escaped but its end."""
    cdef const unsigned char *data = bytes_of(text)
    cdef Py_ssize_t size = PyUnicode_GET_LENGTH(text) - 1
    return (
        PyUnicode_IS_ASCII(text)
        and count_controls(data, size) == 0
        and memchr(data, b"\\", size) is NULL
    )


cdef str decimal_of(Py_ssize_t number):
    """Return a number that is not negative as decimal digits."""
    cdef char[20] digits
    cdef int left = sizeof(digits)
    while number > 9:
        left -= 1
        digits[left] = <char>(c'0' + number % 10)
        number //= 10
    left -= 1
    digits[left] = <char>(c'0' + number)
    return PyUnicode_FromKindAndData(PyUnicode_1BYTE_KIND, digits + left, sizeof(digits) - left)
