"""How all charts look, in the light and in the dark, and how they become files.

Matplotlib draws in light colours. A dark chart is the same file with other colours: a style
sheet exchanges them where it is looked at, or `recoloured` does so for good.
"""

from __future__ import annotations

import importlib
import io
import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from . import words

#: Light colours and what they are in the dark. Those of data are Okabe and Ito's, which
#: people who are colour-blind tell apart; blue and vermillion are lighter on dark paper.
PAPER, INK, FAINT, RULE = "#fefefe", "#1c1d20", "#5c6068", "#dcdee2"
BLUE, VERMILLION, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
ORANGE, SKY, GREY = "#e69f00", "#56b4e9", "#a3a8b0"
DARK = {
    PAPER: "#15171b",
    INK: "#e8e9ec",
    FAINT: "#a2a7b0",
    RULE: "#33373e",
    BLUE: "#3d9fe0",
    VERMILLION: "#f07a30",
    GREEN: "#22c097",
    GREY: "#767c86",
}

#: By the kind of a server.
KINDS = {"own": BLUE, "standard": ORANGE, "peer": GREY, "limit": INK}

#: In inches: narrow enough for letters to stay legible on a phone.
WIDTH = 5.0
_POINTS = 72

_SETTINGS = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.edgecolor": FAINT,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": FAINT,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": PAPER,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.8,
    "savefig.facecolor": PAPER,
    "svg.fonttype": "none",  # letters, not outlines: they can be read and searched
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": FAINT,
    "xtick.labelsize": 8,
    "xtick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.color": FAINT,
    "ytick.labelsize": 8,
    "ytick.major.width": 0.6,
    "ytick.minor.width": 0.4,
}


@dataclass
class Chart:
    """A chart as its files hold it, and what it shows in words."""

    name: str
    title: str
    about: str
    svg: str  # light, and without a style sheet
    png: bytes

    def standalone(self) -> str:
        """Return the SVG with a style sheet, for those who look at the file itself."""
        return self.svg.replace("</desc>", f"</desc>\n <style>{dark_rules()}</style>", 1)

    def recoloured(self) -> str:
        """Return the SVG in dark colours only."""
        return re.sub("#[0-9a-f]{6}", lambda found: DARK.get(found[0], found[0]), self.svg)

    def write(self, folder: Path) -> None:
        (folder / f"{self.name}.svg").write_text(self.standalone(), "utf-8")
        (folder / f"{self.name}.png").write_bytes(self.png)


def dark_rules() -> str:
    """Return the style sheet that exchanges colours where dark ones are preferred."""
    rules = [
        f'svg [style*="{what}: {light}"],svg [{what}="{light}"]{{{what}:{dark}!important}}'
        for light, dark in DARK.items()
        for what in ("fill", "stroke")
    ]
    return f"@media screen and (prefers-color-scheme:dark){{{''.join(rules)}}}"


@contextmanager
def figure(height: float) -> Iterator[Any]:
    """Give an empty figure so many inches high, and have it drawn our way."""
    matplotlib = importlib.import_module("matplotlib")
    with matplotlib.rc_context():
        matplotlib.rcParams.update(matplotlib.rcParamsDefault)
        matplotlib.rcParams.update(_SETTINGS)
        yield importlib.import_module("matplotlib.figure").Figure(figsize=(WIDTH, height))


def finished(figure: Any, name: str, title: str, about: str) -> Chart:
    """Return what has been drawn. The same drawing makes the same files."""
    rc_context = importlib.import_module("matplotlib").rc_context
    image, vector = io.BytesIO(), io.StringIO()
    figure.savefig(image, format="png", dpi=200, metadata={"Software": None})
    with rc_context({"svg.hashsalt": name}):
        figure.savefig(vector, format="svg", metadata={"Date": None})
    return Chart(
        name, title, about, _cleaned(vector.getvalue(), name, title, about), image.getvalue()
    )


def _cleaned(svg: str, name: str, title: str, about: str) -> str:
    """Make of a file of Matplotlib's one that can stand in a page beside others."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\n?", "", svg)
    svg = re.sub(r"<defs>\s*<style.*?</defs>\s*", "", svg, count=1, flags=re.DOTALL)
    # Marks are used, and coloured where they are: a style sheet does not see their own style.
    svg = re.sub(r'(<path id="m[0-9a-f]+" d="[^"]*") style="[^"]*"', r"\1", svg)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="|url\()#', rf"\1#{name}-", svg)
    head = (
        f' stroke-linejoin="round" role="img" aria-labelledby="{name}-title {name}-about">\n'
        f' <title id="{name}-title">{escape(title)}</title>\n'
        f' <desc id="{name}-about">{escape(about)}</desc>'
    )
    return svg.replace(">", head, 1)


def inset(figure: Any, left: float, right: float, top: float, bottom: float) -> Any:
    """Return axes so many points away from the figure's edges."""
    width, height = (_POINTS * inches for inches in figure.get_size_inches())
    return figure.add_axes(
        (left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height)
    )


def width_of(text: str, size: float = 9, *, is_bold: bool = False) -> float:
    """Return about how many points wide a line is set."""
    return len(text) * size * (0.68 if is_bold else 0.6)


def headline(figure: Any, text: str) -> None:
    """Set the title at the left edge, above all."""
    height = _POINTS * figure.get_size_inches()[1]
    room = _POINTS * WIDTH - 12
    size = min(10.0, max(7.5, 10 * room / width_of(text, 10, is_bold=True)))
    letters = int(room / width_of("m", size, is_bold=True))
    text = textwrap.shorten(text, letters, placeholder="\u2026")
    figure.text(
        6 / (_POINTS * WIDTH), 1 - 8 / height, text, size=size, weight="bold", va="top", ha="left"
    )


def even_ticks(axis: Any) -> None:
    """Have few round figures at an axis, written as all others."""
    ticker = importlib.import_module("matplotlib.ticker")
    axis.set_major_locator(ticker.MaxNLocator(5))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: words.plain(value)))


def log_ticks(axis: Any) -> None:
    """Have the powers of ten at an axis; where they are few, what lies between them too."""
    ticker = importlib.import_module("matplotlib.ticker")
    low, high = axis.get_view_interval()
    subs = (1.0,) if high / low > 300 else (1.0, 2.0, 5.0) if high / low > 8 else range(1, 10)
    axis.set_major_locator(ticker.LogLocator(subs=subs, numticks=7))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: words.plain(value)))
    axis.set_minor_formatter(ticker.NullFormatter())
