"""Tests of the project on the package's live server; none of those that are found by name."""

# Django is not there where types are checked.
# mypy: disable-error-code="import-not-found, misc, attr-defined"

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.contrib.staticfiles.testing import StaticLiveServerTestCase
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler, WSGIServer
from django.db import connection
from django.test import SimpleTestCase
from django.test.testcases import LiveServerThread
from tests import Asking

from wsgiref_fast.django import servers
from wsgiref_fast.django.test import FastLiveServerTestCase, LiveServerMixin


def files_of(server: Any) -> list[str]:
    """Return the package folders of the code that serves, without the database's."""
    parts = [server.serve_forever, server.RequestHandlerClass.handle]
    return [Path(part.__code__.co_filename).parent.name for part in parts]


class FastTest(Asking, FastLiveServerTestCase):
    def test_the_server_is_the_package(self) -> None:
        assert files_of(self.server_thread.httpd) == ["wsgiref_fast"] * 2
        assert isinstance(self.server_thread.httpd, ThreadedWSGIServer)

    def test_requests_share_a_connection(self) -> None:
        assert self.ask("/") == (200, b"Welcome")
        socket = self.connection.sock
        assert socket is not None
        assert self.ask("/digest", "POST", b"x" * 100_000)[0] == 200
        assert self.connection.sock is socket

    def test_the_server_has_the_database_of_the_test(self) -> None:
        assert list(self.server_thread.connections_override) == ["default"]
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE note (text varchar)")
            cursor.execute("INSERT INTO note VALUES ('from the test')")
        status, body = self.ask("/notes")
        with connection.cursor() as cursor:  # it is the same connection, and not closed
            cursor.execute("DROP TABLE note")
        assert (status, json.loads(body)) == (200, {"notes": ["from the test"]})


class FastStaticTest(Asking, LiveServerMixin, StaticLiveServerTestCase):
    def test_static_files_are_served(self) -> None:
        status, body = self.ask("/static/site.css")
        assert (status, body) == (200, Path("static/site.css").read_bytes())


class OwnServer(ThreadedWSGIServer):
    """A server class that the test case brings."""


class OwnThread(LiveServerThread):
    server_class = OwnServer


class OwnServerTest(Asking, LiveServerMixin, StaticLiveServerTestCase):
    server_thread_class = OwnThread

    def test_a_server_class_of_ones_own_is_kept_and_faster(self) -> None:
        assert isinstance(self.server_thread.httpd, OwnServer)
        assert files_of(self.server_thread.httpd) == ["wsgiref_fast"] * 2
        assert self.ask("/") == (200, b"Welcome")


class OwnHandler(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class OwnWay(WSGIRequestHandler):
    def handle_one_request(self) -> None:
        """Serve in a way that only Django's own handler has a step for."""


class ClassesTest(SimpleTestCase):
    def test_djangos_classes_have_counterparts(self) -> None:
        assert servers.speed_up_server(WSGIServer) is servers.WSGIServer
        assert servers.speed_up_server(ThreadedWSGIServer) is servers.ThreadedWSGIServer
        assert servers.speed_up_handler(WSGIRequestHandler) is servers.WSGIRequestHandler

    def test_a_derived_class_keeps_its_own_and_gets_the_rest_of_us(self) -> None:
        fast = servers.speed_up_handler(OwnHandler)
        assert fast.__mro__[1:3] == (OwnHandler, servers.WSGIRequestHandler)
        assert fast.__qualname__ == "OwnHandler"
        assert servers.speed_up_handler(fast) is fast

    def test_what_has_another_way_is_left_alone(self) -> None:
        assert servers.speed_up_handler(OwnWay) is OwnWay
        assert servers.speed_up_server(dict) is dict
        assert servers.speed_up_server("a name") == "a name"
