# Whether a type is as it was: what short cuts depend on.

cdef extern from *:
    """
    /* Changes with each change of a type or of one of its bases; 0: not in use now. */
    static inline unsigned int type_version(PyObject *type) {
        return ((PyTypeObject *)type)->tp_version_tag;
    }
    """
    unsigned int type_version(object type)
    dict PyObject_GenericGetDict(object, void *)
    Py_ssize_t PyDict_GET_SIZE(dict)


cdef inline dict attributes_of(object instance):
    """Return an instance's own attributes."""
    return PyObject_GenericGetDict(instance, NULL)
