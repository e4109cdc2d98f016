"""Settings of a small Django project: static files, forms, conditional requests."""

from __future__ import annotations

SECRET_KEY = "not a secret"
DEBUG = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "pages"
WSGI_APPLICATION = "wsgi.application"
INSTALLED_APPS = ["django.contrib.staticfiles"]
MIDDLEWARE = [
    "django.middleware.common.CommonMiddleware",
    "django.middleware.http.ConditionalGetMiddleware",
]
STATIC_URL = "static/"
STATICFILES_DIRS = ["static"]
DATA_UPLOAD_MAX_MEMORY_SIZE = 1 << 20
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
USE_TZ = True
