"""The same project with an application that has a ``runserver`` of its own, built on ours."""

from __future__ import annotations

import settings
from settings import *  # noqa: F403

INSTALLED_APPS = ["shop", "wsgiref_fast.django", *settings.INSTALLED_APPS]
