"""The pages of a small Django project."""

# Django is not there where types are checked.
# mypy: disable-error-code="import-not-found, untyped-decorator"

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from typing import Any

from django.db import connection
from django.http import FileResponse, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

EDITION = "first"


def tell(request: Any) -> Any:
    ours = {"edition": EDITION, "process": os.getpid()}
    return JsonResponse({**request.environ["witness"], **ours, "server": server_of(request)})


def server_of(request: Any) -> Any:
    """Return what an application's own server class says of itself."""
    return request.environ.get("shop.server")


def home(request: Any) -> Any:
    return HttpResponse("Welcome", content_type="text/plain")


def empty(request: Any) -> Any:
    return HttpResponse(status=204)


@csrf_exempt
def form(request: Any) -> Any:
    files = {
        name: {"name": file.name, "sha256": hashlib.sha256(file.read()).hexdigest()}
        for name, file in request.FILES.items()
    }
    return JsonResponse({"form": request.POST.dict(), "files": files})


@csrf_exempt
def digest(request: Any) -> Any:
    return JsonResponse({"sha256": hashlib.sha256(request.body).hexdigest()})


@csrf_exempt
def unread(request: Any) -> Any:
    return HttpResponse("not looked at", status=403)


def stream(request: Any) -> Any:
    return StreamingHttpResponse(blocks(), content_type="text/plain")


def blocks() -> Iterator[bytes]:
    for number in range(100):
        yield b"%04d" % number * 250


def file(request: Any) -> Any:
    return FileResponse(open("static/asset.bin", "rb"))


def headers(request: Any) -> Any:
    return JsonResponse(dict(request.headers))


def broken(request: Any) -> Any:
    raise LookupError("provoked")


def notes(request: Any) -> Any:
    """List what the database has: that of the test, in its memory, where that serves us."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT text FROM note")
        return JsonResponse({"notes": [text for (text,) in cursor.fetchall()]})


urlpatterns = [
    path("", home),
    path("witness", tell),
    path("empty", empty),
    path("form", form),
    path("digest", digest),
    path("unread", unread),
    path("stream", stream),
    path("file", file),
    path("headers", headers),
    path("broken", broken),
    path("notes", notes),
]
