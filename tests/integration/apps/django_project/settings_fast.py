"""The same project with the package among its applications."""

# Its folder is where the project runs.
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import settings
from settings import *  # noqa: F403

INSTALLED_APPS = ["wsgiref_fast.django", *settings.INSTALLED_APPS]
