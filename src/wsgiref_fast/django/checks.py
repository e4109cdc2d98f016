"""A check that the faster ``runserver`` is the one that Django finds."""

from __future__ import annotations

from django.core.checks import Warning as CheckWarning
from django.core.management import get_commands, load_command_class

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NAME = "wsgiref_fast.django"


def check_order(app_configs: Any = None, **_: Any) -> list[Any]:
    """Warn where another application's ``runserver`` hides the faster one.

    Returns:
        ``wsgiref_fast.W001``, or nothing: also where the other command is built on ours, as
        those are that take what comes after them.

    """
    owner = get_commands().get("runserver", _NAME)
    if owner == _NAME or not isinstance(owner, str) or _is_built_on_ours(owner):
        return []
    return [
        CheckWarning(
            f"runserver is that of {owner!r}, which stands above {_NAME!r} in INSTALLED_APPS "
            "and hides the faster one.",
            hint=f"Put {_NAME!r} at the top of INSTALLED_APPS.",
            id="wsgiref_fast.W001",
        )
    ]


def _is_built_on_ours(owner: str) -> bool:
    from .management.commands.runserver import Command

    return isinstance(load_command_class(owner, "runserver"), Command)
