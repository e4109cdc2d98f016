"""The application of a small Django project, with a witness before it."""

# Django is not there where types are checked.
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

from django.core.wsgi import get_wsgi_application
from witness import Witness

application = Witness(get_wsgi_application())
