"""An application with a `runserver` built on ours, where ours is no application."""

# Its folder is where the project runs.
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import settings
from settings import *  # noqa: F403

INSTALLED_APPS = ["shop", *settings.INSTALLED_APPS]
