"""Talk to `http11_app.py` through requests; print what came of it."""

# mypy: disable-error-code="import-not-found,import-untyped,unused-ignore"

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import requests


def blocks() -> Iterator[bytes]:
    for number in range(50):
        yield b"%d," % number * 1000


def main(base: str) -> None:
    with requests.Session() as session:
        session.trust_env = False
        ports = [session.get(f"{base}/echo").json()["port"] for _ in range(10)]
        echo = session.post(f"{base}/echo", data=blocks()).json()
        form = session.post(f"{base}/echo", data={"a": "b c"}).json()
        ports += [echo["port"], form["port"]]
        with session.get(f"{base}/stream", stream=True) as answer:
            stream = [line.decode() for line in answer.iter_lines()]
        head = session.head(f"{base}/big")
        nothing = session.delete(f"{base}/nothing")
        ports.append(session.get(f"{base}/echo").json()["port"])
    report = {
        "connections": len(set(ports)),
        "chunked": [echo["size"], echo["sha256"]],
        "form": [form["length"], form["size"]],
        "stream": stream,
        "head": [head.status_code, head.headers["Content-Length"], head.text],
        "nothing": [nothing.status_code, nothing.text],
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1])
