"""Live-server tests of Django on the faster wsgiref."""

from __future__ import annotations

from django.test import LiveServerTestCase

from .servers import speed_up_server

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["FastLiveServerTestCase", "LiveServerMixin"]


class LiveServerMixin:
    """Give a live-server test case the faster server.

        class ShopTest(LiveServerMixin, StaticLiveServerTestCase): ...

    It goes before `LiveServerTestCase` or a class derived from that. A thread class or a
    server class that the test case has of its own is kept, and made faster.
    """

    @classmethod
    def _create_server_thread(cls, connections_override: Any) -> Any:
        thread = super()._create_server_thread(connections_override)  # type: ignore[misc]
        thread.server_class = speed_up_server(thread.server_class)
        return thread


class FastLiveServerTestCase(LiveServerMixin, LiveServerTestCase):  # type: ignore[misc]
    """`LiveServerTestCase`, with the faster server."""
