"""`wsgiref_fast.types`: the names, the shapes, and that our own objects have them."""

from __future__ import annotations

import io
import typing
import wsgiref.types as original
from collections.abc import Callable, Iterable
from inspect import signature
from typing import Any

import pytest

from oracle import classes_of, missing_names, outcome
from wsgiref_fast import types as ours
from wsgiref_fast import util
from wsgiref_fast.handlers import SimpleHandler
from wsgiref_fast.types import (
    ErrorStream,
    FileWrapper,
    InputStream,
    StartResponse,
    WSGIApplication,
    WSGIEnvironment,
)

PROTOCOLS = ["StartResponse", "InputStream", "ErrorStream", "FileWrapper", "_Readable"]


def test_every_name_of_the_original_exists() -> None:
    assert missing_names(original, ours) == []
    for name in classes_of(original):
        assert missing_names(getattr(original, name), getattr(ours, name)) == []


def test_all_names_what_the_original_names() -> None:
    assert sorted(ours.__all__) == sorted(original.__all__)


def shape(protocol: Any) -> dict[str, tuple[Any, Any]]:
    """Return the signatures and the types of what a protocol's own methods take and give."""
    methods = {
        name: method
        for name, method in vars(protocol).items()
        if callable(method) and name not in ("__init__", "__subclasshook__")
    }
    return {
        name: (
            [(p.name, p.kind, p.default) for p in signature(method).parameters.values()],
            {key: str(hint) for key, hint in typing.get_type_hints(method).items()},
        )
        for name, method in methods.items()
    }


@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocols_have_the_originals_shape(name: str) -> None:
    expected = str(shape(getattr(original, name)))
    found = str(shape(getattr(ours, name)))
    assert found.replace("wsgiref_fast.types", "wsgiref.types") == expected
    assert shape(getattr(ours, name))


@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocols_are_for_static_checking_as_the_originals(name: str) -> None:
    mine, theirs = getattr(ours, name), getattr(original, name)
    assert mine._is_protocol is theirs._is_protocol is True
    found = outcome(isinstance, 3, mine)
    assert found == outcome(isinstance, 3, theirs)
    assert found[:2] == ("raised", TypeError)


def test_aliases_are_the_originals() -> None:
    assert ours.WSGIEnvironment == original.WSGIEnvironment == dict[str, Any]
    assert typing.get_origin(ours.WSGIApplication) is Callable
    (environ, start_response), result = typing.get_args(ours.WSGIApplication)
    assert (environ, start_response, result) == (dict[str, Any], StartResponse, Iterable[bytes])
    theirs: Any = original
    assert theirs._ExcInfo == ours._ExcInfo
    assert theirs._OptExcInfo == ours._OptExcInfo


# The assignments below are what a type checker has to accept.


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    body: InputStream = environ["wsgi.input"]
    errors: ErrorStream = environ["wsgi.errors"]
    wrap: FileWrapper = environ["wsgi.file_wrapper"]
    start_response("200 OK", [("Content-Type", "text/plain")])
    errors.write("read ")
    errors.writelines(["the ", "body"])
    errors.flush()
    return wrap(io.BytesIO(body.readline() + body.read(2) + b"".join(body.readlines())), 3)


def test_typed_applications_run() -> None:
    typed: WSGIApplication = application
    wrapper: FileWrapper = util.FileWrapper
    stdout, stderr = io.BytesIO(), io.StringIO()
    environ = {"SERVER_PROTOCOL": "HTTP/0.9"}
    SimpleHandler(io.BytesIO(b"one\ntwo\nthree"), stdout, stderr, environ).run(typed)
    assert stdout.getvalue() == b"one\ntwo\nthree"
    assert stderr.getvalue() == "read the body"
    assert list(wrapper(io.BytesIO(b"abc"), 2)) == [b"ab", b"c"]


def test_a_handlers_start_response_is_one() -> None:
    handler = SimpleHandler(io.BytesIO(), io.BytesIO(), io.StringIO(), {})
    start_response: StartResponse = handler.start_response
    write = start_response("200 OK", [])
    assert write == handler.write
