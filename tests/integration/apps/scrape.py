"""Print as JSON what prometheus_client makes of the metrics at an address."""

# The library is not there where types are checked.
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import json
import sys
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

from prometheus_client.parser import text_string_to_metric_families

#: What Prometheus itself asks for.
ACCEPT = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


def main(url: str) -> None:
    opener = build_opener(ProxyHandler({}))
    with opener.open(Request(url, headers={"Accept": ACCEPT}), timeout=30) as answer:
        kind, text = answer.headers["Content-Type"], answer.read().decode()
    families: dict[str, Any] = {}
    for family in text_string_to_metric_families(text):
        assert family.name not in families
        families[family.name] = {
            "type": family.type,
            "help": family.documentation,
            "samples": [[each.name, each.labels, each.value] for each in family.samples],
        }
    print(json.dumps({"kind": kind, "families": families}))


if __name__ == "__main__":
    main(sys.argv[1])
