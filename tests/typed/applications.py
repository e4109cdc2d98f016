"""Applications as users annotate them: what each name gives is what typeshed promises of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any, assert_type

from wsgiref_fast import util
from wsgiref_fast.headers import Headers
from wsgiref_fast.types import (
    ErrorStream,
    FileWrapper,
    InputStream,
    StartResponse,
    WSGIApplication,
    WSGIEnvironment,
)
from wsgiref_fast.validate import validator


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    assert_type(environ, dict[str, Any])
    body: InputStream = environ["wsgi.input"]
    errors: ErrorStream = environ["wsgi.errors"]
    wrap: FileWrapper = environ["wsgi.file_wrapper"]
    assert_type(body.read(), bytes)
    assert_type(body.readlines(10), list[bytes])
    errors.writelines(["a", "b"])
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    assert_type(write, Callable[[bytes], object])
    return wrap(BytesIO(b"x"), 3)


def headers() -> None:
    fields = Headers([("A", "1")])
    assert_type(fields["A"], str | None)
    assert_type(fields.get("A"), str | None)
    assert_type(fields.get("A", "none"), str)
    assert_type(fields.setdefault("A", "2"), str)
    assert_type(fields.get_all("A"), list[str])
    assert_type(fields.keys(), list[str])
    assert_type(fields.values(), list[str])
    assert_type(fields.items(), list[tuple[str, str]])
    assert_type(bytes(fields), bytes)
    assert_type("A" in fields, bool)
    fields["B"] = "2"
    del fields["B"]
    fields.add_header("Content-Disposition", "attachment", filename="bud.gif")
    fields["B"] = 2  # type: ignore[assignment] # no value of a header
    Headers([("A", b"1")])  # type: ignore[list-item] # no header list


class Upper(Headers):
    """A subclass, with `super` as anywhere."""

    def __setitem__(self, name: str, val: str) -> None:
        super().__setitem__(name.upper(), val)


def utilities(environ: WSGIEnvironment) -> None:
    assert_type(util.request_uri(environ, include_query=False), str)
    assert_type(util.application_uri(environ), str)
    assert_type(util.guess_scheme(environ), str)
    assert_type(util.shift_path_info(environ), str | None)
    assert_type(util.is_hop_by_hop("Connection"), bool)
    wrapper = util.FileWrapper(BytesIO(b"abc"), 2)
    assert_type(next(wrapper), bytes)
    assert_type(list(wrapper), list[bytes])
    assert_type(wrapper.blksize, int)
    wrapper.close()
    util.setup_testing_defaults(environ)


class Reader:
    """A file of a user's own: `FileWrapper` needs no more of it."""

    def read(self, size: int) -> bytes:
        return b""


def streamed(environ: WSGIEnvironment, start_response: StartResponse) -> util.FileWrapper:
    start_response("200 OK", [])
    return util.FileWrapper(Reader())


checked: WSGIApplication = validator(application)
strictly: WSGIApplication = validator(streamed, strict=True)
offered: FileWrapper = util.FileWrapper
