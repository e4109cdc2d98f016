"""What other libraries do of the same work: heads of requests, headers of responses."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import pytest

from wsgiref_fast import _impl
from wsgiref_fast._pure.request import make_key

from .conftest import Against
from .inputs import HEADS, REFUSALS, RESPONSE_HEADERS
from .subjects import Subject

#: A request line's words, and the header fields as CGI variables: what WSGI needs of a head.
Facts = tuple[str, str, str, dict[str, str]]

# What is hostile goes to the standard library, also from our kernels.
_NAMES = [name for name in HEADS if name not in REFUSALS and "hostile" not in name]


def _need(module: str) -> Any:
    """Import a peer, or skip the case where it is not there."""
    try:
        return import_module(module)
    except ImportError:
        pytest.skip(f"{module} is not installed: see bench/requirements.txt")


# Heads


def _own_parser(_subject: Subject, head: bytes) -> Callable[[], Any]:
    """Return what our kernels make of a head: the words of its first line, and variables."""
    parse_line, parse_section = _impl.parse_request_line, _impl.parse_section
    find = head.index

    def parse() -> Any:
        end = find(b"\n") + 1
        return parse_line(head[:end]), parse_section(head, end, False)

    return parse


def _own_facts(found: Any) -> Facts:
    (_, method, target, version), (variables, _) = found
    return method, target, version, variables


def _to_facts(
    method: bytes, target: bytes, version: str, fields: Iterable[tuple[bytes, bytes]]
) -> Facts:
    variables: dict[str, str] = {}
    for name, value in fields:
        key, text = make_key(name.decode("iso-8859-1")), value.decode("iso-8859-1")
        variables[key] = f"{variables[key]},{text}" if key in variables else text
    return method.decode(), target.decode(), version, variables


def _with_httptools(head: bytes) -> Callable[[], Facts | Any]:
    """Return what parses a head on a kept connection, by callbacks as servers have them."""
    parser_class = _need("httptools").HttpRequestParser

    class Receiver:
        def on_message_begin(self) -> None:
            self.fields: list[tuple[bytes, bytes]] = []

        def on_url(self, url: bytes) -> None:
            self.url = url

        def on_header(self, name: bytes, value: bytes) -> None:
            self.fields.append((name, value))

    receiver = Receiver()
    parser = parser_class(receiver)

    def parse() -> Any:
        parser.feed_data(head)
        return parser.get_method(), receiver.url, parser.get_http_version(), receiver.fields

    return parse


def _facts_of_httptools(found: Any) -> Facts:
    method, url, version, fields = found
    return _to_facts(method, url, f"HTTP/{version}", fields)


def _with_h11(head: bytes) -> Callable[[], Any]:
    """Return what parses a head on a new connection: one that goes on has to be answered."""
    h11 = _need("h11")
    connection_class, server = h11.Connection, h11.SERVER

    def parse() -> Any:
        connection = connection_class(server)
        connection.receive_data(head)
        return connection.next_event()

    return parse


def _facts_of_h11(found: Any) -> Facts:
    version = f"HTTP/{found.http_version.decode()}"
    return _to_facts(found.method, found.target, version, found.headers)


_PARSERS = {
    "httptools": (_with_httptools, _facts_of_httptools),
    "h11": (_with_h11, _facts_of_h11),
}


@pytest.mark.parametrize("name", _NAMES)
@pytest.mark.parametrize("peer", _PARSERS)
def test_head(peer: str, name: str, against: Against) -> None:
    head = HEADS[name]
    make_peer, to_facts = _PARSERS[peer]
    parse = make_peer(head)

    def make(subject: Subject) -> Callable[[], Any]:
        own = _own_parser(subject, head)
        assert _own_facts(own()) == to_facts(parse())
        return own

    against(f"head: {name}", peer, parse, make)


# Headers


@dataclass
class _Kind:
    """A library's class of headers, and what its methods are called."""

    make: Callable[[list[tuple[str, str]]], Any]
    add: Any
    get_all: Any


def _own(subject: Subject) -> _Kind:
    headers_class = subject.headers.Headers
    return _Kind(headers_class, headers_class.add_header, headers_class.get_all)


def _of_multidict() -> _Kind:
    headers_class = _need("multidict").CIMultiDict
    return _Kind(headers_class, headers_class.add, headers_class.getall)


def _of_werkzeug() -> _Kind:
    headers_class = _need("werkzeug.datastructures").Headers
    return _Kind(headers_class, headers_class.add, headers_class.getlist)


def _constructor(kind: _Kind) -> Callable[[], Any]:
    return partial(kind.make, RESPONSE_HEADERS)


def _looker(kind: _Kind) -> Callable[[], Any]:
    headers, get_all = kind.make(RESPONSE_HEADERS), kind.get_all

    def look_up() -> Any:
        return (
            headers["content-type"],
            headers.get("ETag"),
            headers.get("Location"),
            "vary" in headers,
            "Content-Encoding" in headers,
            get_all(headers, "Set-Cookie"),
        )

    return look_up


def _editor(kind: _Kind) -> Callable[[], Any]:
    make, add = kind.make, kind.add

    def edit() -> Any:
        headers = make(RESPONSE_HEADERS[:])  # ours keep no list of their own
        headers["content-length"] = "14"
        headers.setdefault("Content-Language", "en")
        del headers["Vary"]
        add(headers, "Set-Cookie", "theme=dark")
        return headers

    return edit


def _items(headers: Any) -> Any:
    """Return fields by name: where a changed one stands is each library's own affair."""
    if isinstance(headers, tuple):
        return headers
    return sorted((name.lower(), value) for name, value in headers.items())


_KINDS = {"multidict": _of_multidict, "Werkzeug": _of_werkzeug}
_WORK = {
    "Headers(list)": _constructor,
    "Headers, 6 look-ups": _looker,
    "Headers, made and edited": _editor,
}


@pytest.mark.parametrize("case", _WORK)
@pytest.mark.parametrize("peer", _KINDS)
def test_headers(peer: str, case: str, against: Against) -> None:
    work = _WORK[case]
    function = work(_KINDS[peer]())

    def make(subject: Subject) -> Callable[[], Any]:
        own = work(_own(subject))
        assert _items(own()) == _items(function()) != []
        return own

    against(case, peer, function, make)
