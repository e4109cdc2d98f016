"""A `runserver` with a server class that is derived from Django's."""

# Django is not there where types are checked.
# mypy: disable-error-code="import-not-found, misc"

from __future__ import annotations

from typing import Any

from django.core.servers.basehttp import WSGIServer

from wsgiref_fast.django.management.commands import runserver


class ShopServer(WSGIServer):
    """Says who it is in each environ."""

    def setup_environ(self) -> None:
        super().setup_environ()
        self.base_environ["shop.server"] = "ShopServer"


class Command(runserver.Command):
    server_cls: Any = ShopServer
