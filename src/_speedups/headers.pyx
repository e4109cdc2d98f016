# cython: language_level=3, freethreading_compatible=True, annotation_typing=False
"""Response headers: a header list checked, as bytes, and as a mapping.

The functions whose first parameter is `self` are methods of `wsgiref_fast.headers.Headers`.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.object cimport PyObject
from cpython.sequence cimport PySequence_Fast_ITEMS
from cpython.tuple cimport PyTuple_GET_ITEM
from hooks cimport PyDict_GET_SIZE, attributes_of, type_version
from text cimport (
    PyUnicode_GET_LENGTH,
    PyUnicode_IS_ASCII,
    count_controls,
    is_latin1,
    is_pair,
    is_plain,
    passes,
    put_line,
    same_name,
)

from wsgiref_fast import _hooks
from wsgiref_fast._grammar import NAME_CONTROLS, VALUE_CONTROLS
from wsgiref_fast._pure import headers as _reference

# By Latin-1 code: what a name, and what a value, may not hold.
cdef unsigned char[256] name_refuses
cdef unsigned char[256] value_refuses
if NAME_CONTROLS != {chr(_code) for _code in (*range(0x20), 0x7F)}:
    raise ImportError("count_controls() knows other control characters than the grammar")
for _code in range(256):
    name_refuses[_code] = chr(_code) in NAME_CONTROLS
    value_refuses[_code] = chr(_code) in VALUE_CONTROLS


def validate_headers(headers: list[tuple[str, str]]) -> None:
    """Check that a header list can be sent: strings alone, without control characters.

    A value may hold HTAB (RFC 9110 section 5.5), a name may not.

    Raises:
        AssertionError: a name or a value is not exactly a `str`.
        ValueError: a name or a value holds a control character; the message names the
            field. Also where an item does not have exactly two parts.

    """
    if type(headers) is not list or not are_plain(headers):
        return _reference.validate_headers(headers)


def serialize_headers(headers: list[tuple[str, str]]) -> bytes:
    """Return a header list as it goes on the wire, with the empty line that ends it.

    Raises:
        UnicodeEncodeError: a name or a value is not Latin-1.
        ValueError: a name or a value holds a control character, as for `validate_headers`.

    """
    cdef bytes block = serialize_list(headers) if type(headers) is list else None
    return _reference.serialize_headers(headers) if block is None else block


def take_list(self: Any, headers: list[tuple[str, str]] | None = None) -> None:
    """Take the caller's own list.

    Raises:
        TypeError: `headers` is neither a list nor `None`.

    """
    if (
        type(headers) is not list
        or not is_own(type(self))
        or "_convert_string_type" in attributes_of(self)
    ):
        return _reference.take_list(self, headers)
    self._headers = headers
    if not are_plain(headers):
        _reference.validate_headers(headers)


def to_bytes(self: Any) -> bytes:
    """Return the headers as they go on the wire, in Latin-1 (PEP 3333).

    Raises:
        UnicodeEncodeError: a name or a value is not Latin-1.
        ValueError: a control character has come into the list since it was checked.

    """
    cdef list headers = plain_list(self)
    cdef bytes block = None if headers is None else serialize_list(headers)
    return _reference.to_bytes(self) if block is None else block


def get(self: Any, name: str, default: str | None = None) -> str | None:
    """Return the first value of that name, or `default`."""
    cdef object value = find(plain_list(self), name)
    if value is ODD:
        return _reference.get(self, name, default)
    return default if value is None else value


def get_item(self: Any, name: str) -> str | None:
    """Return the first value of that name, or `None`."""
    cdef object value = find(plain_list(self), name)
    return _reference.get_item(self, name) if value is ODD else value


def contains(self: Any, name: str) -> bool:
    """Tell whether a header of that name is there."""
    cdef object value = find(plain_list(self), name)
    return _reference.contains(self, name) if value is ODD else value is not None


def set_item(self: Any, name: str, val: str) -> None:
    """Replace all headers of that name by one, at the end of the list."""
    cdef list headers = plain_list(self)
    if headers is None or not is_text(val) or not remove(headers, name):
        return _reference.set_item(self, name, val)
    headers.append((name, val))


def delete_item(self: Any, name: str) -> None:
    """Remove all headers of that name, if there are any."""
    cdef list headers = plain_list(self)
    if headers is None or not remove(headers, name):
        return _reference.delete_item(self, name)


def setdefault(self: Any, name: str, value: str) -> str:
    """Return the first value of that name; where there is none, add `value` first."""
    cdef list headers = plain_list(self)
    cdef object found = find(headers, name)
    if found is ODD or (found is None and not is_text(value)):
        return _reference.setdefault(self, name, value)
    if found is not None:
        return found
    headers.append((name, value))
    return value


def add_header(self: Any, _name: str, _value: str | None, **_params: str | None) -> None:
    """Add a header after those of the same name, with MIME parameters.

    A parameter's underscores become dashes; one that is `None` stands without a value::

        headers.add_header("Content-Disposition", "attachment", filename="bud.gif")
    """
    cdef list headers = plain_list(self)
    cdef object key, value, text = _value
    if (
        headers is None
        or not is_name(_name)
        or not is_text(_value)
        or (_params and not formats_plainly())
    ):
        return _reference.add_header(self, _name, _value, **_params)
    for key, value in _params.items():
        if not is_name(key) or not is_text(value) or not value or '"' in value or "\\" in value:
            return _reference.add_header(self, _name, _value, **_params)
        text = f'{text}; {key.replace("_", "-") if "_" in key else key}="{value}"'
    headers.append((_name, text))


cdef bint formats_plainly() except -1:
    """Tell whether parameters are formatted by our own function."""
    cdef tuple entry = module_names["_formatparam"]
    return (<dict>entry[0]).get("_formatparam") is entry[1]


cdef dict module_names = _hooks.module_names


# The caller's list is looked at in place. Nothing in a critical section runs user code, or
# allocates what could have the collector run some: so no other thread changes the list.
# (To copy it would not be safe: before 3.12 `tuple(headers)` allocates with the list's old
# size in its hand.)


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


cdef bytes serialize_list(list headers):
    """Do what `serialize` says."""
    with cython.critical_section(headers):
        return serialize(PySequence_Fast_ITEMS(headers), PyList_GET_SIZE(headers))


cdef bytes serialize(PyObject **fields, Py_ssize_t count):
    """Return headers that are plain as bytes; `None` for others."""
    cdef Py_ssize_t size = 2 + 4 * count, i
    cdef bytes block
    cdef char *end
    for i in range(count):
        if not is_pair(<object>fields[i]):
            return None
        size += length_of(fields[i], 0) + length_of(fields[i], 1)
    block = PyBytes_FromStringAndSize(NULL, size)
    end = PyBytes_AS_STRING(block)
    for i in range(count):
        end = put_line(
            end,
            <object>PyTuple_GET_ITEM(<object>fields[i], 0),
            <object>PyTuple_GET_ITEM(<object>fields[i], 1),
        )
    end[0] = b"\r"
    end[1] = b"\n"
    # Where the ends of the lines are its only control characters, no field has one.
    if count_controls(<const unsigned char *>PyBytes_AS_STRING(block), size) != 2 * count + 2:
        for i in range(count):
            if not is_plain(<object>fields[i], name_refuses, value_refuses):
                return None
    return block


cdef inline Py_ssize_t length_of(PyObject *field, Py_ssize_t part) noexcept:
    return PyUnicode_GET_LENGTH(<object>PyTuple_GET_ITEM(<object>field, part))


cdef object ODD = object()

# What of `Headers` the kernels take for granted.
cdef tuple METHODS = ("_convert_string_type", "get", "__delitem__", "__str__", "_headers")

# A type's version in which they were our own.
cdef unsigned int own_version = 0


cdef bint is_own(cls) except -1:
    """Tell whether the methods that the kernels take for granted are our own."""
    global own_version
    cdef unsigned int version = type_version(cls)
    if version != 0 and version == own_version:
        return True
    if _hooks.find(cls, "_convert_string_type") is None:  # it has nothing to do with Headers
        return False
    if not _hooks.is_own(cls, METHODS) or cls.__getattribute__ is not object.__getattribute__:
        return False
    if version == type_version(cls):
        own_version = version
    return True


cdef list plain_list(self):
    """Return the list of `Headers` that override nothing, on class or instance."""
    cdef dict attributes
    if not is_own(type(self)):
        return None
    attributes = attributes_of(self)
    if PyDict_GET_SIZE(attributes) != 1:
        return None
    headers = attributes.get("_headers")
    return headers if type(headers) is list else None


cdef bint is_name(object name) noexcept:
    """Tell whether a name is plain: exact ASCII text without control characters."""
    return is_latin1(name) and PyUnicode_IS_ASCII(name) and passes(name, name_refuses)


cdef bint is_text(object value) noexcept:
    """Tell whether a value is plain: exact Latin-1 text without control characters."""
    return is_latin1(value) and passes(value, value_refuses)


cdef object find(list headers, name):
    """Return the first value of a name, `None` where there is none, `ODD` for the twin to say."""
    if headers is None or not is_name(name):
        return ODD
    with cython.critical_section(headers):
        return find_locked(headers, name)


cdef object find_locked(list headers, name):
    cdef Py_ssize_t i
    cdef object field
    for i in range(PyList_GET_SIZE(headers)):
        field = <object>PyList_GET_ITEM(headers, i)
        if not is_pair(field):
            return ODD
        if same_name(name, <object>PyTuple_GET_ITEM(field, 0)):
            return <object>PyTuple_GET_ITEM(field, 1)
    return None


cdef bint remove(list headers, name) except -1:
    """Remove all headers of a name; false, with nothing removed, for the twin to do it."""
    cdef object found = find(headers, name)
    cdef list kept = []
    cdef bint is_odd
    if found is None or found is ODD:
        return found is None
    with cython.critical_section(headers):
        is_odd = not keep_others(kept, headers, name)
    if is_odd:
        return False
    # Not item by item in the critical section: each removal would let go of the lock.
    headers[:] = kept
    return True


cdef bint keep_others(list kept, list headers, name) except -1:
    """Append the headers of other names to `kept`; false where one is not plain."""
    cdef Py_ssize_t i
    cdef object field
    for i in range(PyList_GET_SIZE(headers)):
        field = <object>PyList_GET_ITEM(headers, i)
        if not is_pair(field):
            return False
        if not same_name(name, <object>PyTuple_GET_ITEM(field, 0)):
            kept.append(field)
    return True
