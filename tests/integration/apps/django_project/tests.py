"""Tests of a small Django project, on Django's live server."""

# Django is not there where types are checked.
# mypy: disable-error-code="import-not-found, misc"

from __future__ import annotations

from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from django.contrib.staticfiles.testing import StaticLiveServerTestCase
from django.core.servers import basehttp
from django.test import LiveServerTestCase


class Asking:
    live_server_url: str

    def setUp(self) -> None:
        self.connection = HTTPConnection(urlsplit(self.live_server_url).netloc, timeout=20)

    def tearDown(self) -> None:
        self.connection.close()

    def ask(self, path: str, method: str = "GET", body: bytes | None = None) -> tuple[int, bytes]:
        self.connection.request(method, path, body)
        with self.connection.getresponse() as response:
            return response.status, response.read()


class LiveServerTest(Asking, LiveServerTestCase):
    def test_the_server_is_the_package(self) -> None:
        server = type(self.server_thread.httpd)
        parts = [server.serve_forever, basehttp.ServerHandler.run]
        files = [Path(part.__code__.co_filename) for part in parts]
        assert [file.parent.name for file in files] == ["wsgiref_fast"] * 2

    def test_requests_share_a_connection(self) -> None:
        assert self.ask("/") == (200, b"Welcome")
        socket = self.connection.sock
        assert socket is not None
        assert self.ask("/empty") == (204, b"")
        assert self.ask("/", "HEAD") == (200, b"")
        assert self.ask("/digest", "POST", b"x" * 100_000)[0] == 200
        assert self.connection.sock is socket

    def test_a_stream_is_whole(self) -> None:
        status, body = self.ask("/stream")
        assert (status, len(body)) == (200, 100_000)


class StaticLiveServerTest(Asking, StaticLiveServerTestCase):
    def test_static_files_are_served(self) -> None:
        status, body = self.ask("/static/site.css")
        assert (status, body) == (200, Path("static/site.css").read_bytes())
