"""Short cuts through a request, where none of the methods that they skip is overridden.

Each tells whether it did the work. Here none does: the reference is the work itself, step
by step, in the methods of `handlers` and `simple_server`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def set_up(handler: Any) -> bool:
    """Make the environ of a handler, as `handlers.BaseHandler.setup_environ` does."""
    return False


def start(handler: Any, status: str, headers: list[tuple[str, str]]) -> bool:
    """Take status and headers, as `handlers.BaseHandler.start_response` does the first time."""
    return False


def finish(handler: Any) -> bool:
    """Send a response of one block and close, as `handlers.BaseHandler.finish_response` does."""
    return False


def write(handler: Any, data: bytes) -> bool:
    """Send a block after the first, as `handlers.SimpleHandler.write` does."""
    return False


def parse(request_handler: Any) -> bool:
    """Parse a request whose line was read, as ``parse_request()`` does with a plain one."""
    return False


def copy_environ(request_handler: Any) -> dict[str, Any] | None:
    """Return the environ of a plain request, as ``get_environ()`` does; else `None`."""
    return None


def serve(request_handler: Any, request: Any, client_address: Any, server: Any) -> bool:
    """Serve the request of a connection that is not kept, as its handler's constructor does."""
    return False


def accept(server: Any) -> bool:
    """Accept and serve the connections that have come, as ``_handle_request_noblock()`` does."""
    return False
