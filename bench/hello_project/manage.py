"""A Django project whose only page says hello, with the log lines that any project has."""

from __future__ import annotations

import sys
from typing import Any

from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpResponse
from django.urls import path


def hello(request: Any) -> Any:
    """Answer with the page that all servers of the benchmarks have."""
    return HttpResponse(b"Hello, world!\n", content_type="text/plain")


urlpatterns = [path("", hello)]

if __name__ == "__main__":
    settings.configure(
        ALLOWED_HOSTS=["*"],
        # It adds Content-Length, without which no connection is kept.
        MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
        ROOT_URLCONF=__name__,
        SECRET_KEY="not of interest",
    )
    execute_from_command_line(sys.argv)
