"""How a server stands, for people: one HTML page without scripts, or anything from elsewhere."""

from __future__ import annotations

import os
import time
from html import escape
from http import HTTPStatus

from ._http11.options import kind_of
from ._status_text import identify, list_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from ._http11.options import Options
    from ._http11.stats import Stats

    #: Name, value, note and class of a table's row.
    Row: TypeAlias = tuple[str, str, str, str]

_STYLE = """
:root { color-scheme: light dark; --paper: #f6f7f9; --card: #fff; --ink: #1b1f24; --soft: #5d6673;
  --line: #e1e5ea; --link: #0b5cad; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171b; --card: #1d2126; --ink: #e6e9ed;
  --soft: #9aa4b1; --line: #313840; --link: #7fb8f5; --bad: #ff8f86; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem 1rem 3rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; font-variant-numeric: tabular-nums; }
h1 { margin: 0; font-size: 1.5rem; line-height: 1.2; }
p { margin: .25rem 0; color: var(--soft); }
a { color: var(--link); }
nav { margin: .5rem 0 1.25rem; display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; }
section, dl > div { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; }
dl { margin: 0 0 1rem; display: grid; gap: 1rem; grid-template-columns: repeat(2, minmax(0, 1fr)); }
@media (min-width: 36rem) { dl { grid-template-columns: repeat(3, minmax(0, 1fr)); } }
@media (min-width: 62rem) { dl { grid-template-columns: repeat(6, minmax(0, 1fr)); } }
dl > div { padding: .75rem 1rem; }
dt, small { color: var(--soft); font-size: .875rem; }
dd { margin: 0; font-size: 1.5rem; line-height: 1.3; overflow-wrap: anywhere; }
small { display: block; }
main { columns: 20rem; column-gap: 1rem; }
section { margin-bottom: 1rem; padding: .75rem 1rem; break-inside: avoid; }
h2 { margin: 0 0 .25rem; font-size: 1rem; }
table { width: 100%; border-collapse: collapse; font-size: .9375rem; }
th, td { padding: .25rem 0 .25rem .75rem; text-align: left; vertical-align: baseline; }
th { padding-left: 0; font-weight: 400; }
td:last-child { text-align: right; overflow-wrap: break-word; }
tr + tr > * { border-top: 1px solid var(--line); }
td.note, tr.none > * { color: var(--soft); }
.bad { color: var(--bad); }
"""

_STATES = {
    "preface": "PROXY protocol",
    "handshake": "of TLS",
    "idle": "between two requests",
    "reading": "a request comes in",
    "answering": "a response is due",
    "closing": "the last bytes leave",
}
_KINDS = {
    "head": "of a request, too slow",
    "body": "of a request, too slow",
    "idle": "no request came: usual",
    "send": "nothing was taken",
    "handshake": "of TLS, too slow",
}
_SIZES = (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))
_TIMES = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def render_page(stats: Stats, options: Options, base: str, refresh: int | None) -> str:
    """Return the page.

    Args:
        stats: what the server has done.
        options: those in force.
        base: what a reference to something below the page begins with.
        refresh: after how many seconds a browser loads it anew; `None`: never.

    """
    meta = f'<meta http-equiv="refresh" content="{refresh}">\n' if refresh else ""
    server, limits, times = _sort_options(options)
    accepted = ("accepted", f"{stats.accepted:,}", "so far", "")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{meta}<title>Status - wsgiref_fast</title>
<link rel="icon" href="data:,">
<style>{_STYLE}</style>
</head>
<body>
<header>
{_header(stats)}
<nav>{_links(base, refresh)}</nav>
</header>
<dl>
{_tiles(stats, options)}
</dl>
<main>
{_responses(stats)}
{_table("Connections by state", [*_counted(stats.connections, _STATES), accepted])}
{_table("Timeouts by kind", _counted(stats.timeouts, _KINDS))}
{_table("Server", [*_process(), *server], "below")}
{_table("Limits", limits, "below")}
{_table("Times", times, "below")}
</main>
</body>
</html>
"""


def _header(stats: Stats) -> str:
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(stats.began_at))
    return f"<h1>wsgiref_fast: up for {_time(stats.uptime)}</h1>\n<p>Since {began} UTC</p>"


def _links(base: str, refresh: int | None) -> str:
    turn = '<a href="?">Stop</a>' if refresh else '<a href="?refresh=5">Refresh every 5 s</a>'
    if refresh:
        turn = f"<span>Refreshed every {refresh} s. {turn}</span>"
    below = (("metrics", "Metrics for Prometheus"), ("json", "JSON"))
    links = (f'<a href="{escape(base + name)}">{text}</a>' for name, text in below)
    return "\n".join((turn, *links))


def _tiles(stats: Stats, options: Options) -> str:
    """Return the few numbers that are looked at first."""
    rate = stats.requests / max(stats.uptime, 1.0)
    failed = sum(number for status, number in stats.errors.items() if status >= 500)
    refused = sum(stats.errors.values()) - failed
    tiles = [
        ("Requests", f"{stats.requests:,}", f"{rate:,.1f} /s so far"),
        ("Responses 4xx", f"{refused:,}", _share(refused, stats)),
        ("Responses 5xx", f"{failed:,}", _share(failed, stats)),
        (
            "Connections",
            f"{sum(stats.connections.values()):,}",
            f"open, of {options.max_connections:,}",
        ),
        ("Received", _size(stats.received), f"{stats.received:,} bytes"),
        ("Sent", _size(stats.sent), f"{stats.sent:,} bytes"),
    ]
    return "\n".join(
        f"<div><dt>{name}</dt><dd{_class('bad' if name.endswith('5xx') and failed else '')}>"
        f"{value}<small>{note}</small></dd></div>"
        for name, value, note in tiles
    )


def _share(number: int, stats: Stats) -> str:
    return f"{number / max(sum(stats.responses.values()), 1):.1%} of all"


def _responses(stats: Stats) -> str:
    rows = [
        (str(status), f"{number:,}", _phrase(status), "bad" if status >= 500 else "")
        for status, number in stats.responses.items()
    ]
    return _table("Responses by status", rows or [("none so far", "0", "", "none")])


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _counted(numbers: dict[str, int], notes: dict[str, str]) -> list[Row]:
    return [
        (name, f"{number:,}", notes.get(name, ""), "" if number else "none")
        for name, number in numbers.items()
    ]


def _process() -> list[Row]:
    facts = {**identify(), "process": str(os.getpid())}
    return [(name, text, "", "") for name, text in facts.items()]


def _sort_options(options: Options) -> tuple[list[Row], list[Row], list[Row]]:
    """Return the options in force: those of the server, limits, times."""
    server: list[Row] = []
    limits: list[Row] = []
    times: list[Row] = []
    for name, value in list_options(options):
        default = getattr(type(options), name)
        note = "" if value == default else f"default {_value(name, default)}"
        is_limit = kind_of(name) == "bytes" or name.startswith("max_") or name == "backlog"
        rows = times if isinstance(value, float) else limits if is_limit else server
        rows.append((name, _value(name, value), note, ""))
    return server, limits, times


def _value(name: str, value: Any) -> str:
    """Return an option's value with its unit."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:,g} s"
    if isinstance(value, int):
        return _limit(value) if kind_of(name) == "bytes" else f"{value:,}"
    if isinstance(value, (str, tuple)):
        return (value if isinstance(value, str) else ", ".join(value)) or "none"
    return "none" if value is None else "set"


def _limit(size: int) -> str:
    """Return bytes in the largest unit in which they are a whole number."""
    for unit, factor in _SIZES:
        if size and not size % factor:
            return f"{size // factor:,} {unit}"
    return f"{size:,} bytes"


def _size(size: int) -> str:
    """Return about how many bytes there are."""
    for unit, factor in _SIZES:
        if size >= factor:
            return f"{size / factor:,.1f} {unit}"
    return f"{size:,} B"


def _time(seconds: float) -> str:
    """Return a duration in its two largest units."""
    left = int(seconds)
    parts: list[str] = []
    for unit, factor in _TIMES:
        number, left = divmod(left, factor)
        if number or parts or unit == "s":
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2])


def _table(title: str, rows: list[Row], notes: str = "beside") -> str:
    """Return a section with a table.

    Args:
        title: its heading.
        rows: its rows.
        notes: where notes are: ``beside`` the name, or ``below`` the value.

    """
    lines = [f"<section><h2>{escape(title)}</h2>", "<table>"]
    for name, value, note, kind in rows:
        beside = f'<td class="note">{escape(note)}</td>' if notes == "beside" else ""
        below = f"<small>{escape(note)}</small>" if note and notes == "below" else ""
        lines.append(
            f'<tr{_class(kind)}><th scope="row">{escape(name)}</th>{beside}'
            f"<td>{escape(value)}{below}</td></tr>"
        )
    return "\n".join([*lines, "</table></section>"])


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""
