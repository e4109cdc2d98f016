"""The applications that servers answer with; ``BENCH_APP`` names the one that `app` is.

It is imported by each server in its own process, and by what checks the answers.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Environ = dict[str, Any]
Start = Callable[..., Any]

HELLO = b"Hello, world!\n"

#: 1 KiB of JSON.
ITEMS = json.dumps([{"id": n, "name": f"item {n:03}", "price": n * 7} for n in range(22)])
ITEMS = ITEMS.ljust(1024)

BLOCK = b"y" * 63 + b"\n"
BLOCKS = 16

#: What `wait` waits, and what `compute` counts to.
WAIT = 0.01
COUNT = 20_000


def hello(_environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Answer with a fixed page."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(HELLO)))])
    return [HELLO]


def items(_environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Answer with 1 KiB of JSON and seven headers."""
    body = ITEMS.encode()
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "max-age=0, private, must-revalidate"),
        ("ETag", '"c27adf2ce4f0f2a2e1d8d8a6a9e2f3b1"'),
        ("Vary", "Accept-Encoding, Cookie"),
        ("X-Frame-Options", "DENY"),
        ("Set-Cookie", "session=4f1c2a9be07d41d3; HttpOnly; Path=/; SameSite=Lax"),
    ]
    start_response("200 OK", headers)
    return [body]


def echo(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Answer with the request's body."""
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    headers = [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]


def count(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Answer with how long the request's body is."""
    left = size = int(environ["CONTENT_LENGTH"])
    while left and (block := environ["wsgi.input"].read(min(left, 1 << 16))):
        left -= len(block)
    body = b"%d\n" % (size - left)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def unknown(_environ: Environ, start_response: Start) -> Iterator[bytes]:
    """Yield one block, of a length that nobody was told."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield HELLO


def stream(_environ: Environ, start_response: Start) -> Iterator[bytes]:
    """Yield some blocks."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    for _ in range(BLOCKS):
        yield BLOCK


def file(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Answer with the file that ``BENCH_FILE`` names, as the server likes best."""
    path = os.environ["BENCH_FILE"]
    headers = [
        ("Content-Type", "application/octet-stream"),
        ("Content-Length", str(os.path.getsize(path))),
    ]
    start_response("200 OK", headers)
    opened = open(path, "rb")  # noqa: SIM115 - the server closes it
    wrapper = environ.get("wsgi.file_wrapper")
    wrapped: Iterable[bytes] = (
        iter(lambda: opened.read(1 << 16), b"") if wrapper is None else wrapper(opened, 1 << 16)
    )
    return wrapped


def wait(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Wait as for a database, and answer."""
    time.sleep(WAIT)
    return hello(environ, start_response)


def compute(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Compute for about a millisecond, and answer."""
    total = 0
    for number in range(COUNT):
        total += number * number
    return hello(environ, start_response)


_TEMPLATE = """<!doctype html><title>{{ title }}</title><h1>{{ title }}</h1>
<ul>{% for item in items %}<li>{{ item.name }}: {{ item.price }}</li>{% endfor %}</ul>
"""


def make_flask() -> Any:
    """Return a Flask application with a page from a template."""
    from flask import Flask, render_template
    from jinja2 import DictLoader

    flask = Flask("bench")
    flask.jinja_loader = DictLoader({"page.html": _TEMPLATE})
    rows = json.loads(ITEMS)

    def page() -> Any:
        return render_template("page.html", title="Items", items=rows)

    flask.add_url_rule("/", view_func=page)
    return flask


def make_django() -> Any:
    """Return a Django application with a view that answers with JSON."""
    import django
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpRequest, HttpResponse, JsonResponse
    from django.urls import path

    rows = json.loads(ITEMS)

    def view(_request: HttpRequest) -> HttpResponse:
        return JsonResponse(rows, safe=False)

    settings.configure(
        ALLOWED_HOSTS=["*"],
        MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
        ROOT_URLCONF=type(sys)("bench_urls"),
        SECRET_KEY="none",
    )
    settings.ROOT_URLCONF.urlpatterns = [path("", view)]
    django.setup()
    return get_wsgi_application()


APPS: dict[str, Callable[..., Any]] = {
    "hello": hello,
    "items": items,
    "echo": echo,
    "count": count,
    "unknown": unknown,
    "stream": stream,
    "file": file,
    "wait": wait,
    "compute": compute,
}

_MAKERS = {"flask": make_flask, "django": make_django}


def chosen() -> Any:
    """Return the application that ``BENCH_APP`` names."""
    name = os.environ.get("BENCH_APP", "hello")
    return _MAKERS[name]() if name in _MAKERS else APPS[name]


app = chosen()
