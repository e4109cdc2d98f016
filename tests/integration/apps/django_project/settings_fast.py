"""The same project with the package among its applications."""

from __future__ import annotations

import settings
from settings import *  # noqa: F403

INSTALLED_APPS = ["wsgiref_fast.django", *settings.INSTALLED_APPS]
