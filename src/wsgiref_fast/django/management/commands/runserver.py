"""``manage.py runserver``, on the faster wsgiref."""

from __future__ import annotations

import os
from importlib import import_module

from django.apps import apps
from django.core.management import find_commands

from ...servers import speed_up_server

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_APPLICATION = "wsgiref_fast.django"
_STATIC_FILES = "django.contrib.staticfiles"


def _find_next() -> Any:
    """Return the command that there is without ours: of an application below, or Django's.

    So static files are served where ``django.contrib.staticfiles`` is installed, and what
    other applications make of ``runserver`` is kept.
    """
    return import_module(f"{_find_home()}.management.commands.runserver").Command


def _find_home() -> str:
    """Return the name of the application that has it."""
    home = "django.core"
    if not apps.is_installed(_APPLICATION):  # another application's command is built on ours
        return _STATIC_FILES if apps.is_installed(_STATIC_FILES) else home
    for config in reversed(apps.get_app_configs()):
        if config.name == _APPLICATION:
            break
        if "runserver" in find_commands(os.path.join(config.path, "management")):
            home = config.name
    return home


_Next = _find_next()


class Command(_Next):  # type: ignore[misc, valid-type]
    """The next ``runserver``, with a faster server."""

    #: As in Django's command; a subclass may have another one, which is sped up as well.
    server_cls: Any = speed_up_server(_Next.server_cls)

    def inner_run(self, *args: Any, **options: Any) -> None:
        """Run the server in the process that the reloader watches."""
        self.server_cls = speed_up_server(self.server_cls)
        super().inner_run(*args, **options)
