"""Reads the sources as they are written: ``#:`` comments, and marks that are not Markdown."""

from __future__ import annotations

import re
from typing import Any

import griffe

_RULE = re.compile(r"={3,}(?: +={3,})+")


class Comments(griffe.Extension):
    """Makes docstrings of ``#:`` comments, and Markdown of blocks and tables in docstrings."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """Take the comment above an attribute; what follows without a gap shares it."""
        if attr.docstring is None and attr.lineno and (text := _find_comment(attr)):
            attr.docstring = griffe.Docstring(text, parent=attr)

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Turn a docstring into Markdown."""
        if obj.docstring is not None:
            obj.docstring.value = _convert(obj.docstring.value)

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Leave out late imports, and bases that are nobody's business."""
        for module in pkg.modules.values():
            module.members.pop("__getattr__", None)
            for owner in module.classes.values():
                if not owner.is_alias:
                    owner.bases = [base for base in owner.bases if str(base)[0] != "_"]


def _find_comment(attr: griffe.Attribute) -> str:
    lines: list[str] = attr.parent.lines_collection[attr.filepath]  # type: ignore[index,union-attr]
    at = (attr.lineno or 0) - 2
    while lines[at].strip() and re.match(r" *\w+(: [^=]+)? = ", lines[at]):
        at -= 1
    comment: list[str] = []
    while lines[at].strip().startswith("#:"):
        comment.insert(0, lines[at].strip()[2:].strip())
        at -= 1
    return "\n".join(comment)


def _convert(text: str) -> str:
    """Make Markdown of ``::`` before a block, of double back-ticks and of a plain table."""
    text = re.sub(r"::\n\n(?= )", ":\n\n", text)
    text = text.replace("``", "`")
    lines: list[str] = []
    rules = 0
    for line in text.splitlines():
        if _RULE.fullmatch(line):
            rules += 1
            lines += ["| setting | here |", "| --- | --- |"] if rules == 1 else []
        elif rules == 1 and line.startswith(" "):
            lines[-1] = f"{lines[-1][:-2]} {line.strip()} |"
        elif rules == 1:
            name, _, rest = line.partition("  ") if "  " in line else line.partition(" ")
            lines.append(f"| {name} | {rest.strip()} |")
        else:
            lines.append(line)
    return "\n".join(lines)
