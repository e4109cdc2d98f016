"""How a server stands, for programs: Prometheus' text format, and JSON."""

from __future__ import annotations

import os
import platform
import sys

from . import _impl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ._http11.options import Options
    from ._http11.stats import Stats

#: Prometheus' classic format, which all that scrape can read.
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: What of `Stats` the JSON has.
_FACTS = (
    *("began_at", "uptime", "requests", "responses", "accepted", "connections", "received"),
    *("sent", "timeouts"),
)


def identify() -> dict[str, str]:
    """Return what serves: version, implementation and Python."""
    package = sys.modules[__name__.rpartition(".")[0]]
    return {
        "version": package.__version__,
        "implementation": _impl.IMPLEMENTATION,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def render_metrics(stats: Stats, options: Options) -> str:
    """Return Prometheus' text exposition, version 0.0.4."""
    metrics = _Metrics()
    gauge, counter = metrics.add_gauge, metrics.add_counter
    gauge("info", "What serves.", 1, identify())
    gauge("start_time_seconds", "When the server was made, since the epoch.", stats.began_at)
    counter("requests", "Requests that came in full.", stats.requests)
    metrics.add_counters(
        "responses", "Responses that have ended, refusals too.", "status", stats.responses
    )
    counter("connections_accepted", "Connections that were accepted.", stats.accepted)
    metrics.begin("connections", "gauge", "Open connections by what they do.")
    for state, number in stats.connections.items():
        metrics.sample("connections", number, {"state": state})
    gauge("max_connections", "How many connections there may be.", options.max_connections)
    counter("received_bytes", "Bytes received, without what TLS adds.", stats.received)
    counter("sent_bytes", "Bytes sent, without what TLS adds.", stats.sent)
    metrics.add_counters("timeouts", "Connections whose time was over.", "kind", stats.timeouts)
    gauge("threads", "Threads for the application; 0: the loop's.", options.threads)
    gauge("loops", "Readiness loops.", options.loops)
    return metrics.text()


class _Metrics:
    """Lines of the text format."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def begin(self, name: str, kind: str, meaning: str) -> None:
        self._lines.append(f"# HELP wsgiref_fast_{name} {meaning}")
        self._lines.append(f"# TYPE wsgiref_fast_{name} {kind}")

    def sample(self, name: str, value: float, labels: Mapping[str, str]) -> None:
        pairs = ",".join(f'{label}="{_escape(text)}"' for label, text in labels.items())
        braced = f"{{{pairs}}}" if pairs else ""
        self._lines.append(f"wsgiref_fast_{name}{braced} {value!r}")

    def add_gauge(
        self, name: str, meaning: str, value: float, labels: Mapping[str, str] | None = None
    ) -> None:
        self.begin(name, "gauge", meaning)
        self.sample(name, value, labels or {})

    def add_counter(self, name: str, meaning: str, value: int) -> None:
        self.begin(f"{name}_total", "counter", meaning)
        self.sample(f"{name}_total", value, {})

    def add_counters(self, name: str, meaning: str, label: str, values: Mapping[Any, int]) -> None:
        self.begin(f"{name}_total", "counter", meaning)
        for key, value in values.items():
            self.sample(f"{name}_total", value, {label: str(key)})

    def text(self) -> str:
        return "\n".join(self._lines) + "\n"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def render_json(stats: Stats, options: Options) -> str:
    """Return the same as a JSON object; bytes and seconds are numbers."""
    import json

    facts: dict[str, Any] = {**identify(), "pid": os.getpid()}
    for name in _FACTS:
        facts[name] = getattr(stats, name)
    facts["options"] = {name: _plain(value) for name, value in list_options(options)}
    return json.dumps(facts, indent=2) + "\n"


def _plain(value: Any) -> Any:
    """Return a value as JSON can have it; of an object, that there is one."""
    return value if isinstance(value, (bool, int, float, str, tuple)) else value is not None


def list_options(options: Options) -> list[tuple[str, Any]]:
    """Return the names and values of the options in force, in their own order."""
    defaults = vars(type(options))
    return [(name, getattr(options, name)) for name in defaults if not name.startswith("_")]
