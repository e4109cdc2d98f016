"""The same CGI script for a project that has changed its import."""

# What lies beside a program is found when it runs.
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

from cgi_app import application

from wsgiref_fast.handlers import CGIHandler

if __name__ == "__main__":
    CGIHandler().run(application)
