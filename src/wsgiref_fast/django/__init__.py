"""Django on a faster wsgiref: an application for ``INSTALLED_APPS``.

With ``"wsgiref_fast.django"`` at the top of ``INSTALLED_APPS``, ``manage.py runserver``
is the faster one; `wsgiref_fast.django.test` does the same for live-server tests.
"""

from __future__ import annotations

try:
    import django as _django
except ModuleNotFoundError as _error:
    if _error.name != "django":
        raise
    raise ImportError("wsgiref_fast.django needs Django: pip install django") from None

#: The oldest version that it is tried with.
_OLDEST = (4, 2)

if _django.VERSION < _OLDEST:
    raise ImportError(
        f"wsgiref_fast.django needs Django 4.2 or newer, not {_django.__version__}: "
        "pip install --upgrade django"
    )
