"""The command line of a small Django project."""

# Django is not there where types are checked.
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
    execute_from_command_line(sys.argv)
