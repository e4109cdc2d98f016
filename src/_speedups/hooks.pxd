# Types and instances, as short cuts have to see them.

from cpython.object cimport PyObject

cdef extern from *:
    """
    #if PY_VERSION_HEX < 0x030C0000
    #include <structmember.h>
    #endif

    /* Changes with each change of a type or of one of its bases; 0: not in use now. */
    static inline unsigned int type_version(PyObject *type) {
        return ((PyTypeObject *)type)->tp_version_tag;
    }

    /* Changes with each change of a dictionary; 0 where the interpreter does not tell. */
    #if PY_VERSION_HEX < 0x030E0000 && !defined(Py_GIL_DISABLED) && !defined(PYPY_VERSION)
    #if PY_VERSION_HEX >= 0x030C0000
    _Py_COMP_DIAG_PUSH
    _Py_COMP_DIAG_IGNORE_DEPR_DECLS
    #endif
    static inline unsigned long long dict_version(PyObject *dict) {
    #if PY_VERSION_HEX >= 0x030D0000
        /* The attributes of an object may change without it. */
        if (((PyDictObject *)dict)->ma_values != NULL) return 0;
    #endif
        return (unsigned long long)((PyDictObject *)dict)->ma_version_tag;
    }
    #if PY_VERSION_HEX >= 0x030C0000
    _Py_COMP_DIAG_POP
    #endif
    #else
    static inline unsigned long long dict_version(PyObject *dict) { return 0; }
    #endif

    /* Whether somebody else has an object that we made: where that cannot be told, yes. */
    static inline int is_held(PyObject *object) {
    #ifdef Py_GIL_DISABLED
        return 1;
    #else
        return Py_REFCNT(object) > 1;
    #endif
    }

    /* As any call, but without a line in the traceback: the methods that follow add theirs. */
    static inline PyObject *call_application(PyObject *application, PyObject *environ,
                                             PyObject *start_response) {
        PyObject *arguments[3] = {NULL, environ, start_response};
        return PyObject_Vectorcall(application, arguments + 1,
                                   2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    }

    static inline PyObject *take_error(void) {
    #if PY_VERSION_HEX >= 0x030C0000
        return PyErr_GetRaisedException();
    #else
        PyObject *type, *error, *traceback;
        PyErr_Fetch(&type, &error, &traceback);
        PyErr_NormalizeException(&type, &error, &traceback);
        if (traceback != NULL) PyException_SetTraceback(error, traceback);
        Py_XDECREF(type);
        Py_XDECREF(traceback);
        return error;
    #endif
    }

    /* Where instances of a type have a slot (a descriptor of the type tells); -1: it is none. */
    static inline Py_ssize_t slot_offset(PyObject *descriptor) {
        return Py_IS_TYPE(descriptor, &PyMemberDescr_Type)
            ? ((PyMemberDescrObject *)descriptor)->d_member->offset : -1;
    }

    /* What is in a slot that has been filled. */
    static inline PyObject *in_slot(PyObject *instance, Py_ssize_t offset) {
        return Py_NewRef(*(PyObject **)((char *)instance + offset));
    }

    /* Fill the empty slot of an instance that nobody else has yet. */
    static inline void fill_slot(PyObject *instance, Py_ssize_t offset, PyObject *value) {
        Py_INCREF(value);
        *(PyObject **)((char *)instance + offset) = value;
    }

    /* An instance whose constructor does not run. */
    static PyObject *no_arguments;
    static inline PyObject *new_instance(PyObject *type) {
        if (no_arguments == NULL && (no_arguments = PyTuple_New(0)) == NULL) return NULL;
        return ((PyTypeObject *)type)->tp_new((PyTypeObject *)type, no_arguments, NULL);
    }
    """
    unsigned int type_version(object type)
    unsigned long long dict_version(dict)
    bint is_held(object)
    object new_instance(object type)
    Py_ssize_t slot_offset(object descriptor)
    object in_slot(object instance, Py_ssize_t offset)
    void fill_slot(object instance, Py_ssize_t offset, object value)
    PyObject *call_application(object, object, object)
    object take_error()
    bint PyGen_CheckExact(object)
    PyObject *PyObject_GetIter(object)
    PyObject *PyIter_Next(object)
    object PyMethod_New(object function, object instance)
    dict PyObject_GenericGetDict(object, void *)
    Py_ssize_t PyDict_GET_SIZE(dict)
    int PyDict_Next(dict, Py_ssize_t *, PyObject **, PyObject **)


cdef inline dict attributes_of(object instance):
    """Return an instance's own attributes."""
    return PyObject_GenericGetDict(instance, NULL)
