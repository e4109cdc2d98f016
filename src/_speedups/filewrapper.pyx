# cython: language_level=3, freethreading_compatible=True, annotation_typing=False
"""The iteration over a `FileWrapper`: a file as blocks (PEP 3333).

`next_block` is no function but the wrapper of a slot, as ``list_iterator.__next__`` is one:
as ``__next__`` of a class it is what Python calls for a block, without looking it up.
"""

cimport cython
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_INCREF
from hooks cimport PyDict_GET_SIZE, PyDict_Next, attributes_of, type_version

import io

from wsgiref_fast import _hooks
from wsgiref_fast._pure import filewrapper as _reference

cdef extern from *:
    """
    typedef PyObject *(*read_function)(PyObject *, PyObject *const *, Py_ssize_t);

    /* The C function of a built-in type's method that takes positional arguments, if it is one. */
    static read_function function_of(PyObject *method) {
        if (!Py_IS_TYPE(method, &PyMethodDescr_Type))
            return NULL;
        PyMethodDef *definition = ((PyMethodDescrObject *)method)->d_method;
        return definition->ml_flags == METH_FASTCALL
            ? (read_function)(void *)definition->ml_meth : NULL;
    }

    /* Whether an instance, of a type with a place for them, has no attributes of its own. */
    static inline int is_bare(PyObject *instance) {
        Py_ssize_t offset = Py_TYPE(instance)->tp_dictoffset;
        return offset > 0 && *(PyObject **)((char *)instance + offset) == NULL;
    }

    /* Wrap a function for the slot that `model`, a wrapper itself, is for. */
    static PyObject *wrap(PyObject *model, const char *name, const char *doc, void *function) {
        static struct wrapperbase slot;
        slot = *((PyWrapperDescrObject *)model)->d_base;
        slot.name = name;
        slot.doc = doc;
        /* An object's: it takes whatever it is called with. */
        return PyDescr_NewWrapper(&PyBaseObject_Type, &slot, function);
    }
    """
    ctypedef object (*read_function)(PyObject *, PyObject *const *, Py_ssize_t)
    read_function function_of(object method)
    bint is_bare(object instance)
    object wrap(object model, const char *name, const char *doc, void *function)

cdef extern from "Python.h":
    bint Py_IS_TYPE(object, PyTypeObject *)
    bint PyBytes_CheckExact(object)
    Py_ssize_t PyBytes_GET_SIZE(object)
    object PyObject_VectorcallMethod(PyObject *, PyObject *const *, size_t, PyObject *)

# What most files are, and what reads those. These types cannot be changed.
cdef PyTypeObject *MEMORY = <PyTypeObject *>io.BytesIO
cdef PyTypeObject *BUFFERED = <PyTypeObject *>io.BufferedReader
cdef read_function read_memory = function_of(io.BytesIO.read)
cdef read_function read_buffered = function_of(io.BufferedReader.read)

# Interned, as names of attributes are: compared by identity.
cdef str FILELIKE = "filelike"
cdef str BLKSIZE = "blksize"
cdef str ENDED = "_ended"
cdef str READ = "read"

cdef object ODD = object()

# Types' versions: one that overrides nothing of what is taken for granted, one that does.
cdef unsigned int own_version = 0
cdef unsigned int odd_version = 0


cdef PyObject *return_next(self) except? NULL:
    """Do what `next_block` says; at the end, return nothing without an exception."""
    cdef object block = read_next(self)
    if block is ODD:
        block = _reference.next_block(self)
    elif not is_true(block):
        self._ended = True
        return NULL
    Py_INCREF(block)
    return <PyObject *>block


cdef bytes doc = f"next_block(self)\n--\n\n{_reference.next_block.__doc__ or ''}".encode()
next_block = wrap(type(iter([])).__next__, b"next_block", doc, <void *>return_next)


cdef object read_next(self):
    """Read the next block for a wrapper; return `ODD` where that is for the twin to do."""
    cdef object file = None, size = None
    cdef dict attributes
    cdef Py_ssize_t position = 0, left
    cdef PyObject *key
    cdef PyObject *value
    cdef PyObject *file_found = NULL
    cdef PyObject *size_found = NULL
    cdef bint has_ended = False
    if not is_own(type(self)):
        return ODD
    attributes = attributes_of(self)
    # One walk over three or so costs less than three look-ups.
    with cython.critical_section(attributes):
        left = PyDict_GET_SIZE(attributes)
        while left and PyDict_Next(attributes, &position, &key, &value):
            left -= 1
            if key == <PyObject *>FILELIKE:
                file_found = value
            elif key == <PyObject *>BLKSIZE:
                size_found = value
            elif key == <PyObject *>ENDED:
                has_ended = True
        if file_found != NULL and size_found != NULL:
            file, size = <object>file_found, <object>size_found
    return ODD if has_ended or file is None else read(file, size)


cdef object read(object file, object size):
    """Return ``file.read(size)``."""
    cdef PyObject *arguments[2]
    arguments[0] = <PyObject *>file
    arguments[1] = <PyObject *>size
    # Even of these an instance may have a `read` of its own.
    if Py_IS_TYPE(file, MEMORY) and read_memory != NULL and is_bare(file):
        return read_memory(arguments[0], arguments + 1, 1)
    if Py_IS_TYPE(file, BUFFERED) and read_buffered != NULL and is_bare(file):
        return read_buffered(arguments[0], arguments + 1, 1)
    return PyObject_VectorcallMethod(<PyObject *>READ, arguments, 2, NULL)


cdef inline bint is_true(block) except -1:
    if PyBytes_CheckExact(block):
        return PyBytes_GET_SIZE(block) != 0
    return bool(block)


cdef bint is_own(cls) except -1:
    """Tell whether a type leaves it to its instances' dictionary what their attributes are."""
    global own_version, odd_version
    cdef unsigned int version = type_version(cls)
    cdef bint is_plain
    if version != 0 and version == own_version:
        return True
    if version != 0 and version == odd_version:
        return False
    is_plain = _hooks.is_own(cls, ("filelike", "blksize", "_ended", "__getattribute__"))
    if version == type_version(cls):
        if is_plain:
            own_version = version
        else:
            odd_version = version
    return is_plain
