"""The application's configuration: what Django reads when it starts."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks

from .checks import check_order


class WsgirefFastConfig(AppConfig):  # type: ignore[misc]
    """Have ``runserver`` found, and its place in ``INSTALLED_APPS`` checked."""

    name = "wsgiref_fast.django"
    label = "wsgiref_fast"
    verbose_name = "A faster wsgiref"

    def ready(self) -> None:
        """Register the check."""
        checks.register(check_order)
