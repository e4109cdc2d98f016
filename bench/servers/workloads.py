"""What clients ask for: each workload is an application, a request, and so many connections."""

from __future__ import annotations

import json
from dataclasses import dataclass

from ..inputs import BROWSER
from . import apps

_BROWSER_LINE, *_BROWSER_FIELDS = BROWSER.decode().split("\r\n")[:-2]


@dataclass(frozen=True)
class Workload:
    """One kind of load."""

    name: str
    title: str
    about: str
    app: str
    path: str = "/"
    fields: tuple[str, ...] = ()  # "Name: value"
    body_size: int = 0  # of a POST; 0: it is a GET
    connections: int = 32
    closes: bool = False  # a connection each
    expected: bytes | None = None  # the response's body; `None`: as long as `size`
    size: int = 0
    #: Whether it is for servers with several threads alone, and whether the limit can answer it.
    wants_threads: bool = False
    has_limit: bool = False
    #: Whether the body has no length: the load generator takes a connection's end for an error.
    is_endless: bool = False


def _hello(
    name: str,
    title: str,
    about: str,
    app: str = "hello",
    path: str = "/",
    fields: tuple[str, ...] = (),
    connections: int = 32,
    closes: bool = False,
    wants_threads: bool = False,
) -> Workload:
    """Return a workload that is answered with the fixed page."""
    has_limit = app == "hello" and not closes
    return Workload(
        *(name, title, about, app, path, fields, 0, connections, closes, apps.HELLO),
        wants_threads=wants_threads,
        has_limit=has_limit,
    )


_STREAMED = apps.BLOCK * apps.BLOCKS

WORKLOADS = [
    _hello("hello", "Hello, world", "a page of 14 bytes, two headers"),
    Workload(
        *("json", "JSON", "1 KiB, seven response headers", "items"),
        expected=apps.ITEMS.encode(),
    ),
    _hello(
        *("browser", "A browser's request", "twelve header fields"),
        path=_BROWSER_LINE.split(" ")[1],
        fields=tuple(field for field in _BROWSER_FIELDS if not field.startswith("Host:")),
    ),
    Workload(
        *("post-10k", "POST of 10 KiB", "echoed", "echo"),
        body_size=10 << 10,
        size=10 << 10,
    ),
    Workload(
        *("post-1m", "POST of 1 MiB", "read, and its length answered", "count"),
        body_size=1 << 20,
        expected=b"%d\n" % (1 << 20),
        connections=8,
    ),
    Workload(
        *("unknown-length", "Length unknown", "one block of a generator", "unknown"),
        expected=apps.HELLO,
        is_endless=True,
    ),
    Workload(
        *("streaming", "Streaming", "sixteen blocks of 64 bytes of a generator", "stream"),
        expected=_STREAMED,
        is_endless=True,
    ),
    Workload(
        *("file-1m", "A file of 1 MiB", "by wsgi.file_wrapper", "file"),
        size=1 << 20,
    ),
    _hello(
        *("closing", "A connection each", "Connection: close, sixteen at a time"),
        closes=True,
        connections=16,
    ),
    *(
        _hello(
            f"connections-{count}",
            f"{count} connection{'s' * (count > 1)}",
            "hello, world",
            connections=count,
        )
        for count in (1, 8, 256, 1000)
    ),
    Workload("flask", "Flask", "a page of a template", "flask"),
    Workload(
        *("django", "Django", "a view that answers with JSON", "django"),
        expected=json.dumps(json.loads(apps.ITEMS)).encode(),
    ),
    _hello(
        *("waiting", "An application that waits", "10 ms, in four threads", "wait"),
        wants_threads=True,
    ),
    _hello(
        *("computing", "An application that computes", "a millisecond, in four threads", "compute"),
        wants_threads=True,
    ),
]
