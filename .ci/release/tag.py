"""Whether a tag may be released: ``python .ci/release/tag.py v1.2.3``."""

from __future__ import annotations

import re
import sys
import tomllib

from building import ROOT
from checking import version


def main() -> None:
    """End with what is wrong; print the version where nothing is."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python .ci/release/tag.py TAG")
    wrong = problems(
        sys.argv[1],
        (ROOT / "CHANGELOG.md").read_text("utf-8"),
        (ROOT / "pyproject.toml").read_text("utf-8"),
    )
    if wrong:
        raise SystemExit("\n".join(wrong))
    print(version())


def problems(tag: str, changelog: str, project: str) -> list[str]:
    """Return what must be done before a tag can be released, one line each."""
    wrong = []
    if tag != f"v{version()}":
        wrong.append(f"the tag is {tag}, but __version__ is {version()}: set one of them right")
    if not re.search(
        rf"^## {re.escape(version())} \(\d{{4}}-\d\d-\d\d\)$", changelog, re.MULTILINE
    ):
        wrong.append(f"CHANGELOG.md has no line '## {version()} (YYYY-MM-DD)': write it")
    if "Source" not in tomllib.loads(project)["project"].get("urls", {}):
        wrong.append("pyproject.toml has no Source in [project.urls]: say where the sources are")
    return wrong


if __name__ == "__main__":
    main()
