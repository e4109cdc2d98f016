"""Ours and the original's in one program: what a type checker lets pass from one to the other.

Protocols and aliases are the same type to it. Classes are not: ours derive from the original's
only once `wsgiref_fast.install` has run, which no type checker can know.
"""

from __future__ import annotations

import wsgiref.handlers
import wsgiref.headers
import wsgiref.simple_server
import wsgiref.types
import wsgiref.validate
from typing import IO

import wsgiref_fast.headers
import wsgiref_fast.simple_server
import wsgiref_fast.types
import wsgiref_fast.validate


def to_ours(
    start_response: wsgiref.types.StartResponse,
    application: wsgiref.types.WSGIApplication,
    body: wsgiref.types.InputStream,
    errors: wsgiref.types.ErrorStream,
    wrapper: wsgiref.types.FileWrapper,
) -> None:
    a: wsgiref_fast.types.StartResponse = start_response
    b: wsgiref_fast.types.WSGIApplication = application
    c: wsgiref_fast.types.InputStream = body
    d: wsgiref_fast.types.ErrorStream = errors
    e: wsgiref_fast.types.FileWrapper = wrapper
    wsgiref_fast.simple_server.make_server("", 0, wsgiref.simple_server.demo_app)
    wsgiref_fast.validate.validator(wsgiref.validate.validator(b))
    print(a, c, d, e)


def to_theirs(
    start_response: wsgiref_fast.types.StartResponse,
    application: wsgiref_fast.types.WSGIApplication,
    body: wsgiref_fast.types.InputStream,
    errors: wsgiref_fast.types.ErrorStream,
    wrapper: wsgiref_fast.types.FileWrapper,
    stdout: IO[bytes],
) -> None:
    a: wsgiref.types.StartResponse = start_response
    b: wsgiref.types.WSGIApplication = application
    c: wsgiref.types.InputStream = body
    d: wsgiref.types.ErrorStream = errors
    e: wsgiref.types.FileWrapper = wrapper
    wsgiref.simple_server.make_server("", 0, wsgiref_fast.simple_server.demo_app)
    wsgiref.validate.validator(wsgiref_fast.validate.validator(b))
    wsgiref.handlers.SimpleHandler(c, stdout, d, {}).run(b)
    print(a, e)


def classes() -> None:
    headers: wsgiref.headers.Headers = wsgiref_fast.headers.Headers()  # type: ignore[assignment]
    server: type[wsgiref.simple_server.WSGIServer]
    server = wsgiref_fast.simple_server.WSGIServer  # type: ignore[assignment]
    print(headers, server)
