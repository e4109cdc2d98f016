"""Those blocks of README and docs that need a framework, or gunicorn, in its environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from documentation import environments_of, pages, play

from .conftest import Environments
from .harness import CURL, OPENSSL, needs

pytestmark = [needs(CURL, "curl"), needs(OPENSSL, "openssl")]

CASES = [(page, name) for page in pages() for name in sorted(environments_of(page))]


@pytest.mark.parametrize(("page", "name"), CASES)
def test_the_blocks_of_a_page_run(
    page: str, name: str, environments: Environments, tmp_path: Path
) -> None:
    assert play(page, name, tmp_path, environments(name)) > 0


def test_there_are_blocks_for_each_framework_and_for_gunicorn() -> None:
    assert {name for _, name in CASES} == {"bottle", "django", "flask", "gunicorn"}
