"""Every hook of the original takes effect as there, in whichever way and whenever it is set.

The tables name each method and attribute of the classes, with an override of it; `hooks`
puts it in place. The standard library under the same override says what is right: what the
hook was called with and how often, what went over the wire, and what was logged. Each row
also has to matter to the original, or it would prove nothing.
"""
# mypy: disallow-subclassing-any=False

from __future__ import annotations

import dataclasses
import functools
import io
import os
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr
from http.client import HTTPMessage
from pathlib import Path
from typing import Any

import pytest

import hooks
from hooks import (
    BEFORE_THE_CALL,
    IN_THE_CALL,
    Attribute,
    Function,
    Made,
    Method,
    Row,
    World,
    definers,
    observe,
    placement_of,
)
from libraries import LIBRARIES, running
from support import PATIENCE

pytestmark = pytest.mark.usefixtures("implementation")


# What the overrides do.


def run_another(handler: Any, call: Any, app: Any) -> Any:
    def changed(environ: Any, start_response: Any) -> Any:
        environ["PATH_INFO"] = "/blocks"
        return app(environ, start_response)

    return call(changed)


def add_to_environ(handler: Any, call: Any) -> None:
    call()
    handler.environ["own.variable"] = "added"


def own_input(handler: Any, call: Any) -> Any:
    call()
    return OwnStream()


class OwnStream(io.StringIO):
    """A stream of a program's own."""

    __module__ = hooks.__name__  # so that it is told from others

    def flush(self) -> None:
        print("flushed", self.getvalue().splitlines()[-1:], file=sys.stderr)


def add_header(handler: Any, call: Any, status: str, headers: Any, *more: Any) -> Any:
    return call(status, [*headers, ("X-Added", "1")], *more)


def replace_result(handler: Any, call: Any) -> None:
    handler.result = [b"replaced"]
    call()


def send_own_file(handler: Any, call: Any) -> bool:
    handler.send_headers()
    handler._write(b"sent as a file")
    return True


def write_twice(handler: Any, call: Any, data: bytes) -> None:
    call(data.upper())
    call(b"!")


def set_header(handler: Any, call: Any) -> None:
    handler.headers["X-Set"] = "1"
    call()


def set_header_after(handler: Any, call: Any) -> None:
    call()
    handler.headers["X-Set"] = "1"


def send_own_preamble(handler: Any, call: Any) -> None:
    handler._write(b"HTTP/1.0 299 Own\r\n")


def write_upper(handler: Any, call: Any, data: bytes) -> None:
    call(data.replace(b"Hello", b"HELLO"))


def write_more(handler: Any, call: Any) -> None:
    handler.write(b"more")
    call()


def write_to_log(handler: Any, call: Any, *args: Any) -> Any:
    print("called", handler.headers_sent, file=sys.stderr)
    return call(*args)


def own_page(handler: Any, call: Any, environ: Any, start_response: Any) -> Any:
    start_response("503 Own", [("X-Error", str(sys.exc_info()[0]))], sys.exc_info())
    return [b"own page"]


def do_nothing(owner: Any, call: Any, *args: Any) -> None:
    """Take no notice, as a `lambda` that silences something."""


def constantly(value: Any) -> Callable[..., Any]:
    """Return an override that calls the original and returns something else."""

    def change(owner: Any, call: Any, *args: Any) -> Any:
        call(*args)
        return value

    return change


def instead(value: Any) -> Callable[..., Any]:
    """Return an override that does not call the original."""
    return lambda owner, call, *args: value


class OwnHeaders:
    """No `Headers`, but like them."""

    def __init__(self, headers: Any) -> None:
        self.fields = [*headers, ("X-Own", "headers")]

    def __contains__(self, name: str) -> bool:
        return name == "Server"

    def __setitem__(self, name: str, value: str) -> None:
        self.fields.append((name, value))

    def setdefault(self, name: str, value: str) -> str:
        self.fields.append((name, value))
        return value

    def __getitem__(self, name: str) -> None:
        return None

    def __bytes__(self) -> bytes:
        return repr(self.fields).encode() + b"\r\n\r\n"


class OwnWrapper:
    """A file wrapper of a program's own."""

    __module__ = hooks.__name__

    def __init__(self, file: Any, size: int = 1) -> None:
        self.blocks = [b"own ", b"wrapper"]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.blocks)


# The classes that run an application.

Runner = functools.partial(Method, "ServerHandler")
RunnerAttribute = functools.partial(Attribute, "ServerHandler")

RUNNER_METHODS = [
    Runner("run", change=run_another, stage=BEFORE_THE_CALL),
    Runner("setup_environ", "environ", change=add_to_environ, stage=BEFORE_THE_CALL),
    Runner("add_cgi_vars", "environ", change=add_to_environ, stage=BEFORE_THE_CALL),
    Runner("get_stdin", "environ", change=own_input, stage=BEFORE_THE_CALL),
    Runner("get_stderr", "environ", change=own_input, stage=BEFORE_THE_CALL),
    Runner("get_stderr", "failure", change=own_input, label="for a failure"),
    Runner(
        "get_stdin",
        "input",
        change=lambda *_: io.BytesIO(b"own input"),
        stage=BEFORE_THE_CALL,
        label="read",
    ),
    Runner("get_scheme", "environ", change=constantly("own"), stage=BEFORE_THE_CALL),
    Runner("start_response", change=add_header, stage=BEFORE_THE_CALL),
    Runner("start_response", "failure", change=add_header, label="for a failure"),
    Runner("finish_response", change=replace_result),
    Runner("finish_response", "failure", label="for a failure"),
    Runner("result_is_file"),
    Runner("result_is_file", "file", change=constantly(False), label="denied"),
    Runner("sendfile", "file", change=send_own_file),
    Runner("sendfile", "file", label="refused"),
    Runner("write", change=write_twice),
    Runner("write", "write", label="by the application"),
    Runner("write", "blocks", change=write_twice, label="blocks"),
    Runner("write", "failure", change=write_twice, label="for a failure"),
    Runner("send_headers", change=set_header),
    Runner("send_headers", "nothing", change=set_header, label="without a body"),
    Runner("cleanup_headers", change=set_header_after),
    Runner("cleanup_headers", "blocks", change=do_nothing, label="to nothing"),
    Runner("set_content_length", change=do_nothing),
    Runner("set_content_length", "blocks", label="blocks"),
    Runner("send_preamble", change=send_own_preamble),
    Runner("send_preamble", "dated", label="dated"),
    Runner("client_is_modern", change=constantly(False)),
    Runner("client_is_modern", label="unchanged"),
    Runner("_write", change=write_upper),
    Runner("_write", "blocks", change=write_upper, label="blocks"),
    Runner("_flush", "blocks"),
    Runner("_flush", "blocks", change=do_nothing, label="to nothing"),
    Runner("finish_content", change=write_more),
    Runner("finish_content", "nothing", change=do_nothing, label="to nothing"),
    Runner("close", change=write_to_log),
    Runner("close", change=do_nothing, label="to nothing"),
    Runner("handle_error", "failure", change=write_to_log),
    Runner("handle_error", "failure", change=do_nothing, label="to nothing"),
    Runner("log_exception", "failure", change=write_to_log),
    Runner("log_exception", "failure", change=do_nothing, label="to nothing"),
    Runner("error_output", "failure", change=own_page),
    Runner("_convert_string_type", stage=IN_THE_CALL),
    Runner("_convert_string_type", change=instead("200 OK"), stage=IN_THE_CALL, label="constant"),
    Runner("_validate_status", stage=IN_THE_CALL),
    Runner(
        "_validate_status", "odd status", change=do_nothing, stage=IN_THE_CALL, label="to nothing"
    ),
]

# SimpleHandler's constructor sets these on the instance.
_OF_THE_INSTANCE = (
    *("subclass", "module", "late on a subclass", "late on a mixin", "late in a request"),
    *("late on ServerHandler", "late on SimpleHandler", "late on BaseHandler"),
)

RUNNER_ATTRIBUTES = [
    RunnerAttribute("http_version", value="1.05"),
    RunnerAttribute("server_software", value="Own/1"),
    RunnerAttribute("server_software", value="", label="empty"),
    RunnerAttribute("server_software", value=None, label="none"),
    RunnerAttribute("os_environ", "environ", value={"own.variable": "1"}, stage=BEFORE_THE_CALL),
    RunnerAttribute("wsgi_file_wrapper", "file", value=OwnWrapper, stage=BEFORE_THE_CALL),
    RunnerAttribute("wsgi_file_wrapper", "file", value=None, stage=BEFORE_THE_CALL, label="none"),
    RunnerAttribute("headers_class", value=OwnHeaders, stage=IN_THE_CALL),
    RunnerAttribute("headers_class", "failure", value=OwnHeaders, label="for a failure"),
    RunnerAttribute("origin_server", value=False),
    RunnerAttribute("wsgi_version", "environ", value=(2, 0), stage=BEFORE_THE_CALL),
    RunnerAttribute("wsgi_run_once", "environ", value=True, stage=BEFORE_THE_CALL),
    RunnerAttribute(
        "wsgi_multithread", "environ", value=7, stage=BEFORE_THE_CALL, inert=_OF_THE_INSTANCE
    ),
    RunnerAttribute(
        "wsgi_multiprocess", "environ", value=7, stage=BEFORE_THE_CALL, inert=_OF_THE_INSTANCE
    ),
    RunnerAttribute("error_status", "failure", value="555 Own"),
    RunnerAttribute("error_headers", "failure", value=[("X-Own", "1")]),
    RunnerAttribute("error_body", "failure", value=b"own body"),
    RunnerAttribute("traceback_limit", "failure", value=0),
]

# The request handler.


def keep_path(handler: Any, call: Any) -> Any:
    result = call()
    handler.path = "/blocks?own"
    return result


def refuse(handler: Any, call: Any) -> bool:
    call()
    return False


class Shouting:
    """A file to write to that changes what is written."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def write(self, data: bytes) -> Any:
        return self.file.write(data.replace(b"Hello", b"HELLO"))


def wrap_file(handler: Any, call: Any) -> None:
    call()
    handler.wfile = Shouting(handler.wfile)


def add_variable(handler: Any, call: Any) -> Any:
    return {**call(), "own.variable": "added"}


def say_and_call(handler: Any, call: Any, *args: Any) -> Any:
    handler.wfile.write(b"(said) ")
    return call(*args)


def log_to_wire(handler: Any, call: Any, format: str, *args: Any) -> None:
    handler.wfile.write(repr((format, args)).encode())


class OwnMessage(HTTPMessage):
    """A message that has a content type of its own."""

    def get_content_type(self) -> str:
        return "own/type"

    def items(self) -> Any:
        return [*super().items(), ("X-Own", "message")]


Reader = functools.partial(Method, "WSGIRequestHandler")
ReaderAttribute = functools.partial(Attribute, "WSGIRequestHandler")
Early = functools.partial(Reader, stage=BEFORE_THE_CALL)
EarlyAttribute = functools.partial(ReaderAttribute, stage=BEFORE_THE_CALL)

READER_METHODS = [
    Early("setup", change=wrap_file),
    Early("handle", change=say_and_call),
    Reader("finish", change=say_and_call),
    Early("parse_request", change=keep_path),
    Early("parse_request", change=refuse, label="refused"),
    Early("parse_request", "bad", label="bad"),
    Early("get_environ", "environ", change=add_variable),
    Early("get_stderr", "failure", change=own_input),
    Reader("log_request"),
    Reader("log_request", change=do_nothing, label="to nothing"),
    Reader("log_request", "failure", label="for a failure"),
    Early("log_request", "bad", label="bad"),
    Reader("log_message"),
    Reader("log_message", change=log_to_wire, label="to the wire"),
    Reader("log_message", "crash", label="crash"),
    Early("log_message", "bad", label="bad"),
    Reader("log_date_time_string", change=constantly("then")),
    Early("log_date_time_string", "bad", change=constantly("then"), label="bad"),
    Reader("address_string", change=constantly("somebody")),
    Reader("address_string", "environ", change=constantly("somebody"), label="environ"),
    Early("address_string", "bad", change=constantly("somebody"), label="bad"),
    Early("log_error", "bad"),
    Early("log_error", "long", change=do_nothing, label="to nothing"),
    Early("send_error", "bad"),
    Early("send_error", "long", change=say_and_call, label="long"),
    Early("send_error", "unreadable", change=do_nothing, label="unreadable"),
    Early("send_response", "bad"),
    Early("send_response_only", "bad"),
    Early("send_header", "bad"),
    Early("end_headers", "bad"),
    Early("flush_headers", "bad"),
    Early("version_string", "bad", change=constantly("Own/1")),
    Early("date_time_string", "bad", change=constantly("then")),
]

# Of http.server's own way to handle requests, which this is not.
_NOT_CALLED = (
    *("another class", "late on a subclass", "late on a mixin"),
    *("subclass", "constructor", "application", "answered application", "late in a request"),
    *("late on WSGIRequestHandler", "late on BaseHTTPRequestHandler"),
)
READER_METHODS += [Early("handle_one_request", inert=_NOT_CALLED)]

READER_ATTRIBUTES = [
    EarlyAttribute("protocol_version", "bad", value="HTTP/1.01"),
    EarlyAttribute("server_version", "environ", value="Own/1"),
    EarlyAttribute("server_version", "bad", value="Own/1", label="bad"),
    EarlyAttribute("sys_version", "bad", value="Own/1"),
    EarlyAttribute("timeout", "connection", value=7.5),
    EarlyAttribute("rbufsize", "connection", value=0),
    EarlyAttribute("wbufsize", "connection", value=8192),
    EarlyAttribute("MessageClass", "environ", value=OwnMessage),
    EarlyAttribute("error_message_format", "bad", value="%(code)d: %(message)s"),
    EarlyAttribute("error_content_type", "bad", value="own/type"),
    EarlyAttribute("responses", "bad", value={400: ("Own", "own reason")}),
    ReaderAttribute("monthname", value=["Month"] * 13),
    ReaderAttribute("_control_char_table", "backslash", value={}),
]

# The original fails at HTTP/0.9 in 3.14.4 and newer (a row of the deviations).
_SIMPLE = ["simple"] if sys.version_info < (3, 14) else []
READER_ATTRIBUTES += [
    EarlyAttribute("default_request_version", page, value="HTTP/1.0") for page in _SIMPLE
]

# Header lists.

Fields = functools.partial(Method, "Headers", page="headers")


def change_found(headers: Any, call: Any, *args: Any) -> Any:
    found = call(*args)
    return found.upper() if isinstance(found, str) else found


def set_upper(headers: Any, call: Any, name: str, value: str) -> None:
    call(name, value.upper() + "!")


def add_upper(headers: Any, call: Any, name: str, value: str) -> None:
    call(name.upper(), value)


def append_line(headers: Any, call: Any) -> Any:
    added = call()
    return added[:-2] + ("X-Own: 1\r\n\r\n" if isinstance(added, str) else b"X-Own: 1\r\n\r\n")


_ON_CLASSES_ONLY = ("application", "answered application", "constructor", "instance")
_SPECIAL = functools.partial(Fields, inert=_ON_CLASSES_ONLY)
_EDIT = functools.partial(Fields, stage=IN_THE_CALL)

HEADERS_METHODS = [
    Fields("_convert_string_type"),
    Fields("_convert_string_type", change=change_found, label="changed"),
    Fields("_convert_string_type", page="hello", label="plain"),
    Fields("get"),
    Fields("get", change=change_found, label="changed"),
    Fields("get", page="hello", label="plain"),
    Fields("get", page="dated", change=instead(None), label="to nothing"),
    _SPECIAL("__getitem__", change=change_found),
    _SPECIAL("__contains__", change=constantly(True)),
    _SPECIAL("__contains__", page="hello", label="plain"),
    _SPECIAL("__contains__", page="dated", change=instead(False), label="denied"),
    _SPECIAL("__setitem__", change=set_upper),
    _SPECIAL("__setitem__", page="hello", change=set_upper, label="plain"),
    _SPECIAL("__delitem__", change=do_nothing),
    _SPECIAL("__delitem__", page="hello", label="plain"),
    _EDIT("setdefault", change=constantly("own")),
    Fields("setdefault", page="nothing", change=do_nothing, label="to nothing"),
    _EDIT("add_header", change=add_upper),
    _SPECIAL("__bytes__", change=append_line),
    _SPECIAL("__bytes__", page="hello", change=append_line, label="plain"),
    _SPECIAL("__str__", change=append_line),
    _SPECIAL("__str__", page="hello", change=append_line, label="plain"),
    _SPECIAL("__repr__", change=constantly("own")),
    _SPECIAL("__len__", change=constantly(7)),
    _SPECIAL("__init__"),
    _EDIT("get_all", change=constantly(["own"])),
    _EDIT("keys", change=constantly(["own"])),
    _EDIT("values", change=constantly(["own"])),
    _EDIT("items", change=constantly([("own", "item")])),
]

ROWS: list[Row] = [
    *RUNNER_METHODS,
    *RUNNER_ATTRIBUTES,
    *READER_METHODS,
    *READER_ATTRIBUTES,
    *HEADERS_METHODS,
]


def case(*values: Any) -> Any:
    """Return the parameters of a test, with an id that tells them."""
    return pytest.param(*values, id="-".join(map(str, values)))


# Each row in each placement.

_BY_MAKER = ("subclass", "constructor", "instance")
_IN_A_REQUEST = ("application", "answered application", "late in a request")


def placements(row: Row) -> list[str]:
    """Name the placements that make sense for a row."""
    names = [*_BY_MAKER, *_IN_A_REQUEST]
    if row.owner == "ServerHandler":
        names += ["module"]
    if row.owner != "Headers":  # which the application cannot reach before its call
        names += ["another class"]
    names += ["late on a subclass", "late on a mixin"]
    if row.owner == "WSGIRequestHandler":
        names.remove("instance")  # all is over when it is made
    if row.name == "__init__":
        names.remove("constructor")
    if isinstance(row, Attribute):
        names += ["property", "late property"]
    return [*names, *late_placements(row)]


#: What ours defines without asking its bases in `http.server` and `socketserver`: who puts
#: another in its place there is not heard here, in which ours differ from the original.
HIDDEN = {
    "WSGIRequestHandler": ("setup", "parse_request"),
    "WSGIServer": (
        *("process_request", "_handle_request_noblock"),
        *("serve_forever", "handle_request", "shutdown"),
    ),
}


def late_placements(row: Row) -> list[str]:
    """Name the classes that a row can be assigned to, down to the one that defines it."""
    if row.name == "__init__":  # called as this or that class sees fit
        return [f"late on {row.owner}"]
    names = definers(original_of(row), row.name)
    if row.name in HIDDEN.get(row.owner, ()):
        names = names[:1]  # the other has a test of its own
    return [f"late on {name}" for name in names]


def cases(rows: Sequence[Row]) -> list[Any]:
    """Return each row in each placement; what only later versions have is left out."""
    there = [row for row in rows if hasattr(original_of(row), row.name)]
    return [case(row, name) for row in there for name in placements(row)]


def original_of(row: Row) -> Any:
    """Return the class of the standard library that a row is about."""
    return World(LIBRARIES[0], (row,), hooks.through_memory).find(row.owner)


# What the original does is the same for each implementation of ours.
_expected: dict[Any, hooks.Seen] = {}


def see(
    package: str,
    rows: Sequence[Row],
    placement: str | None,
    send: hooks.Transport,
    is_joined: bool = True,
) -> hooks.Seen:
    """Return what a library comes to under overrides."""

    def seen() -> hooks.Seen:
        place = None if placement is None else placement_of(placement)
        return observe(World(package, tuple(rows), send), place, is_joined)

    is_of_own = placement in (None, "late on a subclass", "late on a mixin")
    is_of_library = not is_of_own and "late" in str(placement)
    found: hooks.Seen = hooks.by_a_child(seen) if is_of_library else seen()
    return found


def compare(rows: Sequence[Row], placement: str, send: hooks.Transport) -> hooks.Seen:
    """Return what both libraries come to under overrides."""
    seen = [see(package, rows, placement, send) for package in LIBRARIES]
    assert seen[1] == seen[0]
    assert seen[0].after == seen[0].before
    return seen[0]


def check(row: Row, placement: str, send: hooks.Transport, is_joined: bool = True) -> None:
    """Compare what the two libraries come to under an override, and see that it matters."""
    kind = getattr(send, "__qualname__", "")

    def expect(placement: str | None) -> hooks.Seen:
        key = row, placement, kind
        if key not in _expected:
            _expected[key] = see(LIBRARIES[0], [row], placement, send, is_joined)
        return _expected[key]

    expected, plain = expect(placement), expect(None)
    assert see(LIBRARIES[1], [row], placement, send, is_joined) == expected
    assert expected.after == expected.before
    assert is_other(expected, plain) == row.is_in_time(placement)


def is_other(seen: hooks.Seen, plain: hooks.Seen) -> bool:
    """Tell whether an override has shown, be it by what it was called for."""
    return bool(seen.events) or seen.under != plain.under or seen.log != plain.log


@pytest.mark.parametrize(("row", "placement"), cases(ROWS))
def test_a_hook_takes_effect_on_a_running_server(row: Row, placement: str) -> None:
    check(row, placement, hooks.through_own_server)


def over_a_stub() -> list[Any]:
    """Return the rows in the placements that differ most."""
    chosen = ("subclass", "application", "late in a request")
    # The stub's file is the same whatever its buffer.
    rows = [row for row in ROWS if row.name != "rbufsize"]
    return [x for x in cases(rows) if x.values[1] in chosen]


@pytest.mark.parametrize(("row", "placement"), over_a_stub())
def test_a_hook_takes_effect_over_a_stub(row: Row, placement: str) -> None:
    check(row, placement, hooks.through_stub)


def in_memory() -> list[Row]:
    """Return the rows for a handler that has no server: its every write can be seen."""
    rows = [row for row in ROWS if row.owner != "WSGIRequestHandler"]
    simple = [row for row in rows if row.name != "server_software" or row.value]  # type: ignore[attr-defined]
    return [
        dataclasses.replace(row, owner="SimpleHandler") if row.owner == "ServerHandler" else row
        for row in simple
    ]


def in_memory_cases() -> list[Any]:
    """Return the rows for memory, but for placements that concern the class alone."""
    left_out = ("property", "late property", "late on a mixin", "late in a request", "constructor")
    return [x for x in cases(in_memory()) if x.values[1] not in left_out]


@pytest.mark.parametrize(("row", "placement"), in_memory_cases())
def test_a_hook_takes_effect_in_memory(row: Row, placement: str) -> None:
    check(row, placement, hooks.through_memory, is_joined=False)


# The server.

Server = functools.partial(Method, "WSGIServer")


def from_elsewhere(server: Any, call: Any) -> Any:
    request, _ = call()
    return request, ("192.0.2.7", 4711)


def process_by_hand(server: Any, call: Any, request: Any, client_address: Any) -> None:
    print("processing", file=sys.stderr)
    server.finish_request(request, ("192.0.2.8", 4711))
    server.shutdown_request(request)


def finish_by_another(server: Any, call: Any, request: Any, client_address: Any) -> None:
    class Handler(server.RequestHandlerClass):
        server_version = "Own/1"

    Handler(request, client_address, server)


def close_only(server: Any, call: Any, request: Any) -> None:
    server.close_request(request)


def get_another_app(server: Any, call: Any) -> Any:
    app = call()

    def another(environ: Any, start_response: Any) -> Any:
        return app({**environ, "own.variable": "added"}, start_response)

    return another


def add_to_base(server: Any, call: Any) -> None:
    call()
    server.base_environ["own.variable"] = "added"


#: Of a server that serves.
SERVER_METHODS = [
    Server("get_request", "environ", change=from_elsewhere),
    Server("verify_request"),
    Server("verify_request", change=constantly(False), label="denied"),
    Server("process_request"),
    Server("process_request", "environ", change=process_by_hand, label="by hand"),
    Server("finish_request"),
    Server("finish_request", "environ", change=finish_by_another, label="by another"),
    Server("shutdown_request"),
    Server("shutdown_request", change=close_only, label="by closing"),
    Server("close_request"),
    Server("handle_error", "crash"),
    Server("handle_error", "crash", change=do_nothing, label="to nothing"),
    Server("get_app"),
    Server("get_app", "environ", change=get_another_app, label="another"),
    Server("_handle_request_noblock"),
    Server("service_actions"),
]

#: Of a server that begins or ends.
SERVER_METHODS_AROUND = [
    Server("__init__"),
    Server("server_bind", "environ"),
    Server("setup_environ", "environ", change=add_to_base),
    Server("server_activate"),
    Server("set_app"),
    Server("server_close"),
    Server("fileno"),
    Server("shutdown"),
    Server("serve_forever"),
    Server("handle_request"),
    Server("__enter__"),
    Server("__exit__"),
]

# A request is over for its client before these are called.
_AFTER_A_REQUEST = ("close_request", "service_actions")
_DRIVES = ("serve_forever", "handle_request")
_OF_A_DRIVE = {"serve_forever": _DRIVES[0], "shutdown": _DRIVES[0], "service_actions": _DRIVES[0],
               "handle_request": _DRIVES[1]}  # fmt: skip


def server_cases(rows: Sequence[Row], names: list[str]) -> list[Any]:
    """Return each row in each placement under each way to serve."""
    return [
        case(row, name, drive)
        for row in rows
        for name in [*names, *late_placements(row)]
        for drive in _DRIVES
        if _OF_A_DRIVE.get(row.name, drive) == drive
    ]


@functools.cache
def expected_from_the_start(row: Row, placement: str, drive: str) -> hooks.Seen:
    return see_from_the_start(LIBRARIES[0], row, placement, drive)


def see_from_the_start(package: str, row: Row, placement: str, drive: str) -> hooks.Seen:
    def seen() -> hooks.Seen:
        return observe_from_the_start(package, row, placement, drive)

    found: hooks.Seen = hooks.by_a_child(seen) if "late" in placement else seen()
    return found


def observe_from_the_start(package: str, row: Row, placement: str, drive: str) -> hooks.Seen:
    is_forever = drive == "serve_forever"
    send = hooks.through_own_server if is_forever else hooks.through_handle_request
    world = World(package, (row,), send)
    server_class = world.lib.simple_server.WSGIServer
    if placement == "subclass":
        server_class = world.subclass(server_class)
    if placement == "constructor":
        server_class = world.constructor(server_class)
    with placement_of(placement)(world) if "late" in placement else nullcontext():
        return hooks.observe_from_the_start(world, server_class, is_forever)


@pytest.mark.parametrize(
    ("row", "placement", "drive"),
    server_cases([*SERVER_METHODS, *SERVER_METHODS_AROUND], ["subclass", "constructor"]),
)
def test_a_hook_of_a_server_takes_effect_from_the_start(
    row: Row, placement: str, drive: str
) -> None:
    expected = expected_from_the_start(row, placement, drive)
    assert see_from_the_start(LIBRARIES[1], row, placement, drive) == expected
    assert bool(expected.events) == (placement != "constructor" or not row.name.startswith("__"))


@functools.cache
def expected_while_it_runs(row: Row, placement: str, drive: str) -> hooks.Seen:
    return see_while_it_runs(LIBRARIES[0], row, placement, drive)


def see_while_it_runs(package: str, row: Row, placement: str, drive: str) -> hooks.Seen:
    def seen() -> hooks.Seen:
        return observe_while_it_runs(package, row, placement, drive)

    found: hooks.Seen = hooks.by_a_child(seen) if "late" in placement else seen()
    return found


def observe_while_it_runs(package: str, row: Row, placement: str, drive: str) -> hooks.Seen:
    is_forever = drive == "serve_forever"
    send = hooks.through_own_server if is_forever else hooks.through_handle_request
    world = World(package, (row,), send)
    with hooks.serving(world, world.lib.simple_server.WSGIServer, is_forever):
        return observe(world, placement_of(placement))


_WHILE_IT_RUNS = ["running server", "server by application", "late in a request"]


@pytest.mark.parametrize(
    ("row", "placement", "drive"),
    [
        case
        for case in server_cases(SERVER_METHODS, _WHILE_IT_RUNS)
        if case.values[0].name not in _AFTER_A_REQUEST or case.values[1] in _WHILE_IT_RUNS[1:]
    ],
)
def test_a_hook_of_a_server_takes_effect_while_it_runs(
    row: Row, placement: str, drive: str
) -> None:
    expected = expected_while_it_runs(row, placement, drive)
    assert see_while_it_runs(LIBRARIES[1], row, placement, drive) == expected
    assert expected.after == expected.before
    assert expected.events or set(expected.under) != {expected.before[-1]}


@pytest.mark.parametrize(("owner", "name"), [(x, name) for x in HIDDEN for name in HIDDEN[x]])
def test_what_ours_defines_is_not_looked_for_on_the_bases(owner: str, name: str) -> None:
    row = Method(owner, name)
    base = definers(original_of(row), name)[-1]
    drive = _OF_A_DRIVE.get(name, _DRIVES[0])
    original, ours = (see_from_the_start(x, row, f"late on {base}", drive) for x in LIBRARIES)
    assert original.events
    assert ours == original._replace(events=[])


class NotingSocket:
    """A listening socket that notes what it accepts."""

    def __init__(self, listener: Any, note: hooks.Note) -> None:
        self.listener = listener
        self.note = note

    def __getattr__(self, name: str) -> Any:
        return getattr(self.listener, name)

    def accept(self) -> Any:
        accepted = self.listener.accept()
        self.note("accept", ())
        return accepted


def variables_added(base_environ: dict[str, Any], note: hooks.Note) -> dict[str, Any]:
    return {**base_environ, "own.variable": "added", "REMOTE_HOST": "own"}


def class_derived(handler_class: Any, note: hooks.Note) -> Any:
    return type("Own", (handler_class,), {"server_version": "Own/1"})


def app_replaced(app: Any, note: hooks.Note) -> Any:
    def another(environ: dict[str, Any], start_response: Any) -> Any:
        return app({**environ, "own.variable": "added"}, start_response)

    return another


ServerState = functools.partial(Made, "WSGIServer")

#: What a server has of its own, and looks at for each request.
SERVER_STATE = [
    ServerState("socket", make=NotingSocket),
    ServerState("base_environ", "environ", make=variables_added),
    ServerState("RequestHandlerClass", "environ", make=class_derived),
    ServerState("application", "environ", make=app_replaced),
]


@pytest.mark.parametrize("row", SERVER_STATE, ids=str)
@pytest.mark.parametrize("placement", ["running server", "server by application"])
@pytest.mark.parametrize("drive", _DRIVES)
def test_what_a_server_has_can_be_replaced_while_it_runs(
    row: Row, placement: str, drive: str
) -> None:
    test_a_hook_of_a_server_takes_effect_while_it_runs(row, placement, drive)


@pytest.mark.parametrize("package", LIBRARIES)
def test_the_base_environ_can_be_changed_while_the_server_runs(package: str) -> None:
    world = World(package, (ServerState("base_environ", "environ"),), hooks.through_own_server)
    with hooks.serving(world, world.lib.simple_server.WSGIServer, True), ignored_log():
        plain = world.ask("environ")
        world.server.base_environ["own.variable"] = "added"
        del world.server.base_environ["REMOTE_HOST"]
        changed = world.ask("environ")
        assert b"own.variable" in changed
        assert b"REMOTE_HOST" not in changed
        world.server.base_environ.update({"REMOTE_HOST": "", "own.variable": ""})
        del world.server.base_environ["own.variable"]
        assert world.ask("environ") == plain


@pytest.mark.parametrize("package", LIBRARIES)
def test_an_application_can_be_the_class_s_own(package: str) -> None:
    world = World(package, (Server("get_app"),), hooks.through_own_server)
    server_class = world.lib.simple_server.WSGIServer
    with hooks.serving(world, server_class, True), ignored_log():
        plain = world.ask("hello")
        del world.server.application
        names = {"application": staticmethod(app_replaced(world.app, world.note))}
        with hooks.assigned(server_class, names):
            assert b"own.variable" in world.ask("environ")
        world.server.set_app(world.app)
        assert world.ask("hello") == plain


def ignored_log() -> Any:
    return redirect_stderr(io.StringIO())


def give_up(server: Any, call: Any) -> None:
    call()
    server.gave_up = True


@pytest.mark.parametrize("package", LIBRARIES)
@pytest.mark.parametrize(
    "placement", ["late on WSGIServer", "late on BaseServer", "running server"]
)
def test_a_timeout_is_handled_by_the_method(package: str, placement: str) -> None:
    row = Server("handle_timeout", change=give_up)
    world = World(package, (row,), hooks.through_handle_request)
    with hooks.serving(world, world.lib.simple_server.WSGIServer, False), ignored_log():
        assert world.ask("hello")
        world.server.timeout = 0
        with placement_of(placement)(world):
            world.server.handle_request()
        assert world.events == [("handle_timeout", [])]
        assert world.server.gave_up
        world.server.timeout = None
        assert world.ask("hello")
        world.server.timeout = 0
        world.server.handle_request()
    assert len(world.events) == 1


# What is read when a server is made.


def reuses(option: int) -> Callable[[Any], bool]:
    return lambda server: bool(server.socket.getsockopt(socket.SOL_SOCKET, option))


MADE_BY_CLASS = [
    ("allow_reuse_address", False, reuses(socket.SO_REUSEADDR)),
    ("allow_reuse_port", True, reuses(getattr(socket, "SO_REUSEPORT", socket.SO_REUSEADDR))),
    ("request_queue_size", 0, lambda server: server.request_queue_size == 0),
    ("socket_type", socket.SOCK_STREAM | getattr(socket, "SOCK_NONBLOCK", 0),
     lambda server: not server.socket.getblocking()),
    ("timeout", 7.5, lambda server: server.timeout == 7.5),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "ask"), MADE_BY_CLASS, ids=[x[0] for x in MADE_BY_CLASS])
@pytest.mark.parametrize("placement", ["subclass", "constructor", "late on WSGIServer"])
def test_what_a_server_is_made_with_is_the_class_s(
    name: str, value: Any, ask: Callable[[Any], Any], placement: str
) -> None:
    answers = []
    for package in LIBRARIES:
        world = World(package, (Attribute("WSGIServer", name, value=value),), hooks.through_memory)
        plain = world.lib.simple_server.WSGIServer
        with made_by_class(plain, plain) as server:
            before = ask(server)
        with late_or_not(world, placement):
            server_class = getattr(world, placement)(plain) if "late" not in placement else plain
            with made_by_class(plain, server_class) as server:
                answers.append((before, ask(server)))
    assert answers[0] == answers[1]
    assert answers[0][0] != answers[0][1]


def late_or_not(world: World, placement: str) -> Any:
    return placement_of(placement)(world) if "late" in placement else nullcontext()


def made_by_class(plain: Any, server_class: Any) -> Any:
    return server_class(("127.0.0.1", 0), hooks.StubServer)


# Names of modules.


def fixed_time() -> float:
    return 31_536_000.0


class FixedTime:
    """A module `time` whose time stands still."""

    time = staticmethod(fixed_time)

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


_LATE_AND_IN_A_REQUEST = ("late on {}", "late in a request")


def ineffective(owner: str) -> tuple[str, ...]:
    return tuple(name.format(owner) for name in _LATE_AND_IN_A_REQUEST)


MODULE_NAMES: list[Row] = [
    Function("util", "_hoppish", "hop-by-hop", change=instead(False)),
    Function("util", "_hoppish", label="plain"),
    Function(
        "util", "is_hop_by_hop", "hop-by-hop", change=instead(False), inert=ineffective("util")
    ),
    Function("handlers", "is_hop_by_hop", "hop-by-hop", change=instead(False)),
    Function("handlers", "is_hop_by_hop", "failure", label="for a failure"),
    Function("handlers", "is_hop_by_hop", label="plain"),
    Function("handlers", "guess_scheme", "environ", change=instead("own")),
    Function("handlers", "format_date_time", change=instead("then")),
    Attribute("handlers", "time", value=FixedTime()),
    Attribute("time", "time", value=fixed_time),
    Attribute("handlers", "Headers", value=OwnHeaders, inert=ineffective("handlers")),
    Attribute("handlers", "FileWrapper", "file", value=OwnWrapper, inert=ineffective("handlers")),
    Function("headers", "_formatparam", "headers", change=instead("own=1")),
    *(
        Attribute(
            "simple_server", name, "environ", value="Own/1", inert=ineffective("simple_server")
        )
        for name in ("software_version", "server_version", "sys_version", "__version__")
    ),
]


@pytest.mark.parametrize(
    ("row", "placement"),
    [
        case(row, placement.format(row.owner))
        for row in MODULE_NAMES
        for placement in _LATE_AND_IN_A_REQUEST
    ],
)
def test_a_name_of_a_module_takes_effect(row: Row, placement: str) -> None:
    check(row, placement, hooks.through_own_server)


@pytest.mark.parametrize("page", ["hello", "failure", "bad", "crash"])
def test_the_log_goes_to_what_stderr_is_at_the_time(page: str) -> None:
    logs = []
    for package in LIBRARIES:
        world = World(package, (Server("get_app", page),), hooks.through_own_server)
        with hooks.at_work(world):
            with ignored_log():
                world.ask("hello")
            for _ in range(2):
                with redirect_stderr(io.StringIO()) as log:
                    world.ask(page)
                logs.append(hooks.neutral_log(log.getvalue()))
    assert logs[0] == logs[1] == logs[2] == logs[3]
    assert logs[0]


# Many hooks at once: their order.


def spies(owner: str, page: str) -> list[Row]:
    """Return a row for each method of an owner, that only looks on."""
    rows = [row for row in [*ROWS, *SERVER_METHODS] if row.owner == owner]
    methods = {row.name for row in rows if isinstance(row, Method)}
    names = sorted(methods - {"__init__", "service_actions"})
    there = [name for name in names if hasattr(original_of(Method(owner, "")), name)]
    return [Method(owner, name, page) for name in there]


_PAGES = [name for name in hooks.PAGES if name not in ("connection", "nagle")]
_REFUSED = ["bad", "long", "unreadable"]


def orders() -> list[Any]:
    """Return each owner in placements that differ, with each page that comes to its hooks."""
    found = []
    for owner in ("ServerHandler", "WSGIRequestHandler", "Headers"):
        for placement in ("subclass", "application", f"late on {owner}"):
            is_first = owner == "WSGIRequestHandler" and placement != "application"
            pages = [*_PAGES, *_SIMPLE, *(_REFUSED if is_first else ())]
            found += [case(owner, placement, page) for page in pages]
    return [x for x in found if x.values[0] != "Headers" or x.values[2] != "crash"]


@pytest.mark.parametrize(("owner", "placement", "page"), orders())
def test_hooks_are_called_in_their_order(owner: str, placement: str, page: str) -> None:
    assert compare(spies(owner, page), placement, hooks.through_own_server).events


@pytest.mark.parametrize("page", ["hello", "blocks", "failure", "crash"])
@pytest.mark.parametrize("placement", ["running server", "server by application", "late"])
def test_hooks_of_a_server_are_called_in_their_order(page: str, placement: str) -> None:
    name = "late on WSGIServer" if placement == "late" else placement
    rows = [row for row in spies("WSGIServer", page) if row.name != "close_request"]
    seen = []
    for package in LIBRARIES:
        world = World(package, tuple(rows), hooks.through_own_server)
        with hooks.serving(world, world.lib.simple_server.WSGIServer, True):
            seen.append(observe(world, placement_of(name)))
    assert seen[1] == seen[0]
    assert seen[0].after == seen[0].before
    assert len(seen[0].events) >= 10


_WHILE_SENDING = ("write", "_write", "_flush", "finish_content", "close")
_NOT_ANY_MORE = ("start_response", "send_headers", "send_preamble", "cleanup_headers")


@pytest.mark.parametrize("name", [*_WHILE_SENDING, *_NOT_ANY_MORE, "http_version"])
def test_a_hook_takes_effect_when_the_response_has_begun(name: str) -> None:
    is_method = name != "http_version"
    row = Runner(name, "blocks") if is_method else RunnerAttribute(name, "blocks", value="1.05")
    seen = compare([row], "between blocks", hooks.through_own_server)
    # When it has been called once, _flush() is the stream's own, in the original too.
    assert bool(seen.events) == (name in _WHILE_SENDING)
    assert b"HTTP/1.05" not in b"".join(seen.under)


@pytest.mark.parametrize("name", ["finish", "log_request", "log_message", "address_string"])
def test_a_hook_of_the_request_handler_takes_effect_when_the_response_has_begun(name: str) -> None:
    seen = compare([Reader(name, "blocks")], "between blocks", hooks.through_own_server)
    assert len(seen.events) == 2


# Hooks whose defaults differ on purpose.

_FOR_ATTRIBUTES = ("subclass", "constructor", "property", "late property",
                   "late on WSGIRequestHandler", "late in a request")  # fmt: skip


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize("placement", _FOR_ATTRIBUTES)
def test_nagle_is_the_request_handler_s(value: bool, placement: str) -> None:
    row = ReaderAttribute("disable_nagle_algorithm", "nagle", value=value)
    send = hooks.through_own_server
    original, ours = (see(x, [row], placement, send) for x in LIBRARIES)
    assert original.under == ours.under
    assert original.under[0].endswith(repr(value).encode())


@pytest.mark.parametrize("placement", _FOR_ATTRIBUTES)
def test_underscores_are_the_request_handler_s(placement: str) -> None:
    row = ReaderAttribute("underscore_headers", "underscore", value=True)
    send = hooks.through_own_server
    original, ours = (see(x, [row], placement, send) for x in LIBRARIES)
    assert original.under == original.before[-1:] * 2 == ours.under
    assert ours.before[-1] == ours.after[-1] != ours.under[0]


@pytest.mark.parametrize(
    "placement",
    [*_BY_MAKER, "application", "answered application", "property", "late property", "module",
     "late on ServerHandler", "late on BaseHandler"],
)  # fmt: skip
@pytest.mark.parametrize("page", ["hello", "blocks", "failure"])
def test_the_version_of_responses_is_the_handler_s(placement: str, page: str) -> None:
    row = RunnerAttribute("http_version", page, value="1.1")
    send = hooks.through_own_server
    original, ours = (see(x, [row], placement, send) for x in LIBRARIES)
    # Of a connection that ends, HTTP/1.1 has to be told.
    plain = [response.replace(b"Connection: close\r\n", b"") for response in ours.under]
    assert plain == original.under != ours.under or row.page in hooks.RAISING
    assert ours._replace(under=plain) == original


# Request handlers that speak HTTP/1.1, which keep their connection here.


def refuse_expectation(handler: Any) -> bool:
    handler.send_error(417)
    return False


def accept_expectation(handler: Any) -> bool:
    handler.wfile.write(b"HTTP/1.1 100 Go on\r\n\r\n")
    return True


@pytest.mark.parametrize("override", [refuse_expectation, accept_expectation])
@pytest.mark.parametrize("placement", ["subclass", "instance", "late"])
def test_an_expectation_is_answered_by_the_method(override: Any, placement: str) -> None:
    answers = []
    for package in LIBRARIES:
        world = World(package, (Reader("handle_expect_100"),), hooks.through_own_server)
        base = world.handler_class
        names = {"protocol_version": "HTTP/1.1", "handle_expect_100": override}
        if placement == "instance":
            names["setup"] = equipping_setup(base, "handle_expect_100", names.pop(placement_key))
        late = {name: names.pop(name) for name in [placement_key] if placement == "late"}
        world.handler_class = type("Handler", (base,), names)
        with ignored_log(), hooks.assigned(base, late), hooks.at_work(world):
            answers.append(world.ask("expectation").splitlines()[:1])
    assert answers[0] == answers[1]
    expected = b"HTTP/1.1 417" if override is refuse_expectation else b"HTTP/1.1 100 Go on"
    assert answers[0][0].startswith(expected)


placement_key = "handle_expect_100"


def equipping_setup(base: Any, name: str, override: Callable[..., Any]) -> Callable[..., None]:
    """Return a ``setup()`` that gives the instance an attribute."""

    def setup(handler: Any) -> None:
        setattr(handler, name, functools.partial(override, handler))
        base.setup(handler)

    return setup


def handle_as_http_server(world: World, requests: list[str]) -> Any:
    """Return a request handler that handles one request after another, as Django's."""
    base: Any = world.handler_class

    class Handler(base):
        def handle(self) -> None:
            self.close_connection = True
            self.handle_one_request()
            while not self.close_connection:
                self.handle_one_request()

        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            requests.append(self.requestline)
            streams = self.rfile, self.wfile, self.get_stderr()
            handler = world.lib.simple_server.ServerHandler(*streams, self.get_environ())
            handler.request_handler = self
            handler.run(self.server.get_app())

    return Handler


@pytest.mark.parametrize("page", ["hello", "blocks", "failure", "bad", "input", "headers"])
def test_a_handler_of_one_request_is_used(page: str) -> None:
    answers = []
    for package in LIBRARIES:
        world = World(package, (Reader("handle_one_request"),), hooks.through_own_server)
        requests: list[str] = []
        with redirect_stderr(io.StringIO()) as log, hooks.at_work(world):
            plain = world.ask(page)
            world.handler_class = handle_as_http_server(world, requests)
            answers.append((world.ask(page), requests))
        assert answers[-1][0] == plain
        assert len(set(hooks.neutral_log(log.getvalue()))) <= 5
    assert answers[0] == answers[1]
    assert len(answers[0][1]) == (page != "bad")


# Gateways.

CGI_ROWS: list[Row] = [
    Attribute("BaseCGIHandler", "origin_server", value=True),
    Attribute("BaseCGIHandler", "os_environ", "environ", value={"own.variable": "1"}),
    Attribute("BaseCGIHandler", "wsgi_run_once", "environ", value=True),
    Attribute("CGIHandler", "os_environ", "environ", value={"own.variable": "1"}),
    Attribute("CGIHandler", "wsgi_run_once", "environ", value=False),
    Attribute("IISCGIHandler", "os_environ", "environ", value={"own.variable": "1"}),
    Attribute("IISCGIHandler", "wsgi_run_once", "environ", value=False),
    Method("BaseCGIHandler", "send_preamble", change=send_own_preamble),
    Method("BaseCGIHandler", "_write", change=write_upper),
    Method("CGIHandler", "send_headers", change=set_header),
    Method("CGIHandler", "write", change=write_twice),
    Function("handlers", "read_environ", "environ", change=constantly({"SERVER_PROTOCOL": "own"})),
]


class Process:
    """A process's streams, for a handler that takes them as its own."""

    def __init__(self) -> None:
        self.buffer = hooks.CountedFile()


def through_cgi(name: str) -> hooks.Transport:
    """Run the application as a CGI script does."""

    def send(world: World, request: bytes) -> bytes:
        process, handler_class = Process(), getattr(world.lib.handlers, name)
        path = request.split()[1].partition(b"?")[0].decode()
        variables = {"PATH_INFO": path, "SERVER_PROTOCOL": "HTTP/1.0", "REQUEST_METHOD": "GET"}
        names = {"stdin": process, "stdout": process}
        with hooks.assigned(sys, names), changed_environ(variables):
            if name == "BaseCGIHandler":
                streams = process.buffer, process.buffer, sys.stderr
                handler = handler_class(*streams, dict(variables))
            else:
                handler = handler_class()
            handler.run(world.app)
        return process.buffer.getvalue()

    return send


@contextmanager
def changed_environ(variables: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.mark.parametrize("row", CGI_ROWS, ids=str)
@pytest.mark.parametrize("placement", ["late", "application"])
def test_a_hook_takes_effect_in_a_gateway(row: Row, placement: str) -> None:
    if placement == "application" and row.owner == "handlers":
        placement = "late in a request"
    name = f"late on {row.owner}" if placement == "late" else placement
    cgi = row.owner if row.owner != "handlers" else "CGIHandler"
    seen = compare([row], name, through_cgi(cgi))
    is_early = placement == "application" and row.page == "environ"
    assert (bool(seen.events) or seen.under[-1] != seen.before[-1]) != is_early


# Servers with other bases.


def mixed(world: World, *mixins: Any) -> Any:
    """Return a server class with other bases in front."""
    return type("Mixed", (*mixins, world.lib.simple_server.WSGIServer), {})


MIXED_ROWS: list[Row] = [
    Runner("write", change=write_upper),
    Runner("send_headers", change=set_header),
    RunnerAttribute("server_software", value="Own/1"),
    RunnerAttribute("http_version", value="1.05"),
    Reader("finish", change=say_and_call),
    Early("get_environ", "some", change=add_variable),
    EarlyAttribute("server_version", "some", value="Own/1"),
    Server("get_app", "some", change=get_another_app),
    Server("get_request", "some", change=from_elsewhere),
    Server("finish_request", "some", change=finish_by_another),
    Fields("__bytes__", page="hello", change=append_line),
]

MIXINS = [name for name in ("ThreadingMixIn", "ForkingMixIn") if hasattr(socketserver, name)]


@pytest.mark.parametrize("row", MIXED_ROWS, ids=str)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("mixin", [*MIXINS, "object"])
def test_a_hook_takes_effect_on_a_server_with_mixins(row: Row, mixin: str) -> None:
    seen = []
    for package in LIBRARIES:
        world = World(package, (row,), hooks.through_own_server)
        if mixin == "object":
            server_class = type("Mixed", (world.lib.simple_server.WSGIServer, object), {})
            world.handler_class = type("Mixed", (world.handler_class, object), {})
        else:
            server_class = mixed(world, getattr(socketserver, mixin))
        with hooks.serving(world, server_class, True):
            found = observe(world, placement_of(f"late on {row.owner}"))
        # Other processes note their calls, and print, for themselves.
        seen.append((found.before, found.under, found.after))
    assert seen[0] == seen[1]
    assert seen[0][0] == seen[0][2]
    assert seen[0][1][-1] != seen[0][0][-1]


@pytest.mark.parametrize("name", ["process_request", "process_request_thread"])
@pytest.mark.parametrize("placement", ["subclass", "constructor", "late"])
def test_a_hook_of_the_threading_mixin_takes_effect(name: str, placement: str) -> None:
    seen = []
    for package in LIBRARIES:
        world = World(package, (Server(name),), hooks.through_own_server)
        mixin = socketserver.ThreadingMixIn
        server_class = mixed(world, mixin)
        if placement in ("subclass", "constructor"):
            server_class = getattr(world, placement)(server_class)
        with hooks.assigned(mixin, world.names(mixin) if placement == "late" else {}):
            seen.append(hooks.observe_from_the_start(world, server_class, True))
    assert seen[0] == seen[1]
    assert [event[0] for event in seen[0].events] == [name, name]


@pytest.mark.skipif(not hasattr(socketserver, "UnixStreamServer"), reason="no such sockets")
@pytest.mark.parametrize("row", MIXED_ROWS, ids=str)
def test_a_hook_takes_effect_on_a_server_of_unix_sockets(row: Row, tmp_path: Path) -> None:
    seen = []
    for package in LIBRARIES:
        world = World(package, (row,), through_unix)
        base = world.lib.simple_server.WSGIServer
        names = {"get_request": lambda server: (server.socket.accept()[0], ("unix", 0))}
        server_class = type("Mixed", (socketserver.UnixStreamServer, base), names)
        address: Any = str(tmp_path / package)
        world.server = make_unix_server(server_class, address, world)
        with running(world.server):
            found = observe(world, placement_of(f"late on {row.owner}"))
        seen.append(found)
    assert seen[0] == seen[1]
    assert seen[0].before == seen[0].after
    # A method in the class itself stands in front of one of its base.
    assert (seen[0].under[-1] != seen[0].before[-1]) == (row.name != "get_request")


def make_unix_server(server_class: Any, address: str, world: World) -> Any:
    server = server_class(address, world.handler_class)
    server.set_app(world.app)
    return server


def through_unix(world: World, request: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(world.server.server_address)
        connection.sendall(request)
        return hooks.receive_what_comes(connection)


# All of the original's names.

#: What is nothing to override, or has a test of its own, and why.
LEFT_TO_OTHERS = {
    "BaseHandler": {
        **dict.fromkeys(["status", "result", "headers", "headers_sent", "bytes_sent"],
                        "the state of a request, which it is given by the steps"),
    },
    "SimpleHandler": {"__init__": "in the rows by constructor"},
    "WSGIServer": {
        "application": "the server's own, in SERVER_STATE",
        "handle_timeout": "comes without a request, in a test of its own",
        "address_family": "as of UnixStreamServer here, and in test_simple_server_api",
    },
    "WSGIRequestHandler": {
        "handle_expect_100": "takes HTTP/1.1, in a test of its own",
        "disable_nagle_algorithm": "another default, in a test of its own",
        "weekdayname": "not used by http.server itself",
    },
    "BaseRequestHandler": {"__init__": "in the rows by constructor"},
    "Headers": {},
}  # fmt: skip
if sys.version_info >= (3, 14):
    LEFT_TO_OTHERS["WSGIRequestHandler"]["default_request_version"] = "of HTTP/0.9, see _SIMPLE"
if sys.version_info >= (3, 15):
    LEFT_TO_OTHERS["WSGIRequestHandler"]["_colorize_request"] = "of a log on a terminal"

_OF_PYTHON = {
    *("__module__", "__doc__", "__dict__", "__weakref__", "__annotations__"),
    *("__firstlineno__", "__static_attributes__", "__orig_bases__", "__class_getitem__"),
}


def names_in_tables(owner: str) -> set[str]:
    rows = [*ROWS, *SERVER_METHODS, *SERVER_METHODS_AROUND, *SERVER_STATE]
    found = {row.name for row in rows if row.owner == owner}
    return found | ({entry[0] for entry in MADE_BY_CLASS} if owner == "WSGIServer" else set())


@pytest.mark.parametrize("owner", ["ServerHandler", "WSGIRequestHandler", "WSGIServer", "Headers"])
def test_every_name_of_the_original_is_in_a_table(owner: str) -> None:
    classes = [cls for cls in original_of(Method(owner, "")).__mro__ if cls is not object]
    left = {cls.__name__: LEFT_TO_OTHERS.get(cls.__name__, {}) for cls in classes}
    names = {name for cls in classes for name in vars(cls)} - _OF_PYTHON
    excepted = {name for table in left.values() for name in table}
    assert names - names_in_tables(owner) - excepted == set()
    assert excepted <= names
    assert not excepted & names_in_tables(owner) - {"application", "__init__"}


# At the end of the run.


@contextmanager
def calls_noted(names: set[str]) -> Iterator[None]:
    """Note the names of the Python functions that are called, in threads that begin too."""

    def note(frame: Any, event: str, _: object) -> None:
        if event == "call":
            names.add(frame.f_code.co_name)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


@pytest.mark.last
@pytest.mark.parametrize("send", [hooks.through_own_server, hooks.through_stub])
def test_short_cuts_are_taken_even_after_all_other_tests(
    send: hooks.Transport, implementation: str
) -> None:
    # An interpreter that has seen too many changes of a class would not tell of any more: what
    # tests find out by then is of the ordinary path alone.
    world = World("wsgiref_fast", (Reader("handle"),), send)
    names: set[str] = set()
    with ignored_log(), calls_noted(names), hooks.at_work(world):
        assert world.ask("hello") == world.ask("hello")
    skipped = {"parse_request", "handle", "send_headers"}
    skipped |= {"_handle_request_noblock"} if send is hooks.through_own_server else set()
    assert skipped & names == (skipped if implementation == "pure" else set())
