# cython: language_level=3, freethreading_compatible=True, annotation_typing=False
"""The WSGI environ of a parsed request (PEP 3333, "environ Variables")."""

from target cimport split_target
from text cimport PyUnicode_CheckExact, PyUnicode_IS_ASCII, is_latin1

from wsgiref_fast._grammar import COMMON_FIELDS
from wsgiref_fast._pure import environ as _reference
from wsgiref_fast._pure.request import make_key

cdef str TEXT_PLAIN = "text/plain"

cdef frozenset REQUEST_VARIABLES = _reference._REQUEST_VARIABLES

# The bare names of the variables that common fields have; none is among the above.
cdef dict BARE = {
    key: key[5:] for key in map(make_key, COMMON_FIELDS) if key.startswith("HTTP_")
}


def fill_environ(
    environ: dict[str, Any],
    base_environ: dict[str, Any],
    request: tuple[str, str, str],
    software: str,
    address: str,
    variables: dict[str, str],
) -> None:
    """Put a request's variables into its environ.

    ``PATH_INFO`` is the target's path, percent-decoded to "bytes in str". A header field
    whose bare name is a variable of the server already is left out.

    Args:
        environ: is changed.
        base_environ: what is the same for each request of the server; in `environ` already.
        request: method, target and version.
        software: what ``SERVER_SOFTWARE`` says.
        address: what ``REMOTE_ADDR`` says.
        variables: the header fields, as `request.parse_section` returns them.

    """
    if not (
        type(environ) is dict
        and type(base_environ) is dict
        and type(request) is tuple
        and len(<tuple>request) == 3
        and is_latin1((<tuple>request)[1])
        and PyUnicode_IS_ASCII((<tuple>request)[1])
        and type(variables) is dict
    ):
        return _reference.fill_environ(
            environ, base_environ, request, software, address, variables
        )
    if not fill(environ, base_environ, request, software, address, variables):
        _reference.fill_environ(environ, base_environ, request, software, address, variables)


cdef bint fill(
    dict environ, dict base_environ, tuple request, software, address, dict variables
) except -1:
    cdef object method, target, version, key, value, bare
    method, target, version = request
    environ["SERVER_PROTOCOL"] = version
    environ["SERVER_SOFTWARE"] = software
    environ["REQUEST_METHOD"] = method
    split_target(environ, target)
    environ["REMOTE_ADDR"] = address
    environ["CONTENT_TYPE"] = variables.get("CONTENT_TYPE", TEXT_PLAIN)
    length = variables.get("CONTENT_LENGTH")
    if length:
        # One of a list of equal values.
        environ["CONTENT_LENGTH"] = (
            length.partition(",")[0].strip(" \t") if "," in length else length
        )
    for key, value in variables.items():
        if not PyUnicode_CheckExact(key):
            return False
        bare = BARE.get(key)
        if bare is None:
            bare = key[5:]
            if key[:5] != "HTTP_" or bare in REQUEST_VARIABLES:
                continue
            if bare == "CONTENT_LENGTH" and length:
                continue
        if bare not in base_environ:
            environ[key] = value
    return True
