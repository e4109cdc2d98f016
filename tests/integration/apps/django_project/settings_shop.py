"""The same project with an application that has a ``runserver`` of its own, built on ours."""

# Its folder is where the project runs.
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import settings
from settings import *  # noqa: F403

INSTALLED_APPS = ["shop", "wsgiref_fast.django", *settings.INSTALLED_APPS]
