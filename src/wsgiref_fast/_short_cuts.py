"""What each short cut of the compiled kernels goes past, and which classes allow it.

A class allows a short cut where each method that it goes past is our own (`_hooks`), and
each setting that it reads is of the usual type. The answers hold until the class changes.
"""

from __future__ import annotations

import sys

from . import _hooks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Of a handler: the methods behind each of its steps.
SET_UP = ("setup_environ", "add_cgi_vars", "get_stdin", "get_stderr", "get_scheme")
START = ("_convert_string_type", "_validate_status", "headers_class")
FINISH = (
    *("finish_response", "result_is_file", "sendfile", "write", "send_headers", "_send_head"),
    *("cleanup_headers", "set_content_length", "send_preamble", "_write", "_flush"),
    *("finish_content", "close", "client_is_modern", "_is_bodyless", "_send_together", "_is_cut"),
)
WRITE = ("_write", "_is_bodyless")
_RUN = ("__init__", "__new__", "run", "_go_on")

_SETTINGS = (
    *("http_version", "server_software", "os_environ", "wsgi_file_wrapper", "headers_class"),
    *("origin_server", "wsgi_version", "wsgi_run_once", "_is_server"),
)

#: What is set on a handler while it runs.
HANDLER_STATE = (
    *("stdin", "stdout", "stderr", "base_env", "wsgi_multithread", "wsgi_multiprocess"),
    *("request_handler", "environ", "_request_method", "result", "status", "headers"),
    *("bytes_sent", "headers_sent"),
)
#: Those of it that the constructor sets.
CONSTRUCTED = ("stdin", "stderr", "base_env", "wsgi_multithread", "wsgi_multiprocess")
#: What an instance may not have of its own.
HANDLER_HOOKS = frozenset(SET_UP + FINISH + START + _SETTINGS)

# Of a request handler.
_PARSE = (
    *("_parse_buffered", "_take_section", "_take_body", "_heed_expect", "_heed_connection"),
    *("_forget_request", "_read_section"),
)
TELL_ENVIRON = ("_get_variables", "address_string", "server_version", "underscore_headers")
_SERVE = (
    *("setup", "handle", "finish", "parse_request", "get_environ", "get_stderr", "_open_file"),
    *("_handle_request", "_is_threaded", "_finish_request", "_may_go_on"),
)
LOG = (
    *("log_request", "log_message", "log_date_time_string", "address_string", "monthname"),
    "_control_char_table",
)
_SERVING_SETTINGS = (
    *("protocol_version", "MessageClass", "server_version", "underscore_headers", "timeout"),
    *("rbufsize", "wbufsize", "disable_nagle_algorithm"),
)
SERVING_STATE = (
    *("request", "client_address", "server", "connection", "rfile", "wfile", "raw_requestline"),
    *("requestline", "request_version", "command", "close_connection", "path", "_variables"),
    *("_section", "_connection_file", "_body", "_keeps_connection", "_chunked_length", "headers"),
    *("_lingers", "_head", "_descriptor"),
)
SERVING_HOOKS = frozenset(_PARSE + TELL_ENVIRON + _SERVE + LOG + _SERVING_SETTINGS)
#: What a request handler may still have of its last request.
FORGOTTEN = ("headers", "_chunked_length", "_variables", "_section")

# Of a server.
_ACCEPT = (
    *("get_request", "verify_request", "process_request", "finish_request", "shutdown_request"),
    *("close_request", "service_actions", "_handle_request_noblock", "_serve", "_begin", "_end"),
)
_ACCEPT_STATE = ("socket", "_served", "RequestHandlerClass")
SERVER_STATE = (
    *("server_address", "RequestHandlerClass", "_BaseServer__is_shut_down", "socket", "_host"),
    *("_BaseServer__shutdown_request", "server_port", "base_environ", "application"),
    *("_loop_thread", "_resting", "_waiting", "_served", "timeout", "_handshakes"),
)
ACCEPTING_HOOKS = frozenset(_ACCEPT)

_LOGS_PLAINLY = sys.version_info < (3, 15)  # later ones colour a terminal's lines


def allowed_by_handler(cls: type, headers_class: type) -> dict[str, Any]:
    """Return what a class of handlers allows, and its settings; nothing where it is odd."""
    found = {name: _hooks.find(cls, name) for name in _SETTINGS}
    if any(_is_computed(value) for value in found.values()):
        return {}
    http_version, software = found["http_version"], found["server_software"]
    os_environ, wrapper = found["os_environ"], found["wsgi_file_wrapper"]
    is_origin, is_server = bool(found["origin_server"]), found["_is_server"]
    is_usual = (
        type(http_version) is str
        and (software is None or type(software) is str)
        and type(os_environ) is dict
        and (wrapper is None or isinstance(wrapper, type))
        and _hooks.is_own(cls, HANDLER_STATE)
    )
    if not is_usual:
        return {}
    can_set_up = is_server is not None and _hooks.is_own(cls, SET_UP)
    can_finish = can_set_up and is_origin and _hooks.is_own(cls, FINISH)
    return {
        "can_set_up": can_set_up,
        "can_start": found["headers_class"] is headers_class and _hooks.is_own(cls, START[:2]),
        "can_finish": can_finish,
        "can_be_skipped": (
            can_finish and bool(is_server) and http_version < "1.1" and _hooks.is_own(cls, _RUN)
        ),
        "is_server": bool(is_server),
        "is_origin": is_origin,
        "http_version": http_version,
        "software": software,
        "os_environ": os_environ,
        "wrapper": wrapper,
        "version": found["wsgi_version"],
        "run_once": found["wsgi_run_once"],
        "start_response": (
            _hooks.find(cls, "start_response") if _hooks.is_own(cls, ("start_response",)) else None
        ),
    }


def _is_computed(value: Any) -> bool:
    """Tell whether what a class has for a name is not what its instances have."""
    return hasattr(type(value), "__get__") and not isinstance(value, type)


def allowed_by_request_handler(cls: type, message_class: type) -> dict[str, Any]:
    """Return what a class of request handlers allows, and the settings that this needs."""
    found = {name: _hooks.find(cls, name) for name in _SERVING_SETTINGS}
    protocol_version, server_version = found["protocol_version"], found["server_version"]
    has_own_state = _hooks.is_own(cls, SERVING_STATE)
    is_usual = (
        has_own_state
        and type(protocol_version) is str
        and found["MessageClass"] is message_class
        and found["underscore_headers"] is False
    )
    may_keep = is_usual and protocol_version >= "HTTP/1.1"
    can_parse = is_usual and _hooks.is_own(cls, _PARSE)
    can_tell_environ = (
        is_usual and type(server_version) is str and _hooks.is_own(cls, TELL_ENVIRON[:2])
    )
    can_serve = (
        can_parse
        and can_tell_environ
        and _hooks.is_own(cls, _SERVE)
        and not may_keep
        and found["timeout"] is None
        and found["rbufsize"] == -1
        and found["wbufsize"] == 0
        and found["disable_nagle_algorithm"] is True
    )
    return {
        "can_log": _LOGS_PLAINLY and has_own_state and _hooks.is_own(cls, LOG),
        "may_keep": may_keep,
        "can_parse": can_parse,
        "can_tell_environ": can_tell_environ,
        "can_serve": can_serve,
        "can_be_skipped": can_serve and _hooks.is_own(cls, ("__init__", "__new__")),
        "server_version": server_version,
    }


def allowed_by_server(cls: type, threading: type, forking: Any) -> dict[str, Any]:
    """Return what a class of servers allows, given the mixins that make threads and processes."""
    return {
        "can_accept": _hooks.is_own(cls, _ACCEPT + _ACCEPT_STATE),
        "can_tell_app": _hooks.is_own(cls, ("get_app",)),
        "has_plain_state": _hooks.is_own(cls, ("application", "base_environ")),
        "has_threads": issubclass(cls, threading),
        "has_processes": issubclass(cls, forking),
    }


def has_plain_attributes(cls: type) -> bool:
    """Tell whether a type's instances keep and find attributes as objects do."""
    return (
        cls.__getattribute__ is object.__getattribute__  # type: ignore[comparison-overlap]
        and cls.__setattr__ is object.__setattr__  # type: ignore[comparison-overlap]
        and cls.__delattr__ is object.__delattr__  # type: ignore[comparison-overlap]
    )
