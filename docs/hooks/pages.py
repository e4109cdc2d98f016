"""What the pages take from other files, so that nothing stands twice."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

_INCLUDE = re.compile(r"^<!-- from (\S+?)(?:, (\w+))? -->$", re.M)
_ROW = re.compile(r"^\| (.+?) \| (.+?) \| (.+?) \|$", re.M)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put in what a page names by ``<!-- from FILE, PART -->``, and both sides of a deviation."""
    if page.file.src_uri == "deviations.md":
        markdown = add_sides(markdown)
    return _INCLUDE.sub(lambda found: include(found[1], found[2]), markdown)


def on_serve(server: Any, **_: Any) -> None:
    """Build the pages anew when a file changes that they take from."""
    for name in ("README.md", "CHANGELOG.md", "bench/README.md"):
        server.watch(str(ROOT / name))


def include(name: str, part: str | None) -> str:
    """Return a file of the project, one heading lower if it is not a page's whole; or a part."""
    text = (ROOT / name).read_text(encoding="utf-8")
    if part is not None:
        text = text.partition(f"<!-- {part}:begin -->")[2].partition(f"<!-- {part}:end -->")[0]
        text = re.sub(r"<picture>.*</picture>", "", text, flags=re.S)
    elif name != "CHANGELOG.md":
        text = re.sub(r"^(#+ )", r"#\1", text, flags=re.M)
    return text


def read_deviations() -> dict[str, tuple[str, str]]:
    """Return the README's table of deviations: the standard library's side, and ours."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text.partition("## Where it differs")[2].partition("\n## ")[0]
    rows = [row.groups() for row in _ROW.finditer(table)]
    return {what: (theirs, ours) for what, theirs, ours in rows if what not in ("what", "---")}


def add_sides(markdown: str) -> str:
    """Put the README's two sides of each deviation in front of its reason."""
    for what, (theirs, ours) in read_deviations().items():
        sides = f"**{what}**\n:   *Standard library*: {theirs}\n\n:   *Here*: {ours}\n\n"
        markdown = markdown.replace(f"\n{what}\n:   ", f"\n{sides}:   ", 1)
    return markdown
