"""pytest's fixture ``live_wsgi_server``: see `testing`, which is imported when it is used.

pytest imports this at each start, in projects too that have no use for it: PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from .testing import LiveServer


@pytest.fixture
def live_wsgi_server() -> Iterator[Callable[..., LiveServer]]:
    """Return what starts servers in a test.

    It takes the arguments of `wsgiref_fast.testing.LiveServer` and returns that. All servers of
    a test close with it. What their applications did against PEP 3333 fails it.
    """
    from .testing import LiveServer

    servers: list[LiveServer] = []

    def start(application: Any, **options: Any) -> LiveServer:
        servers.append(LiveServer(application, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
    complaints = [complaint for server in servers for complaint in server.complaints]
    if complaints:
        pytest.fail("\n".join(["not as PEP 3333 demands:", *complaints]), pytrace=False)
