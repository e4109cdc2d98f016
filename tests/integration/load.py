"""Clients that load a site, and notice each request that fails."""

from __future__ import annotations

import hashlib
import http.client
import itertools
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from support import wait_until

from . import harness
from .harness import PATIENCE

#: What clients send in turn: method, length of the body, whether the connection is kept.
_REQUESTS = [
    ("GET", 0, True),
    ("POST", 10_000, True),
    ("POST", 10, True),
    ("GET", 0, False),
    ("POST", 200_000, True),
    ("PUT", 100, True),
    ("POST", 1_000, False),
]
_CLIENTS = 6


@dataclass
class Failure:
    """A request that has not got its answer."""

    client: int
    method: str
    begun: float
    reason: str


class Load:
    """Clients that make request after request, and look at each answer.

    Attributes:
        answered: how many good answers each version, and each process, has given.
        failures: what was no good answer.

    """

    def __init__(self, connect: Callable[[], http.client.HTTPConnection]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._has_ended = threading.Event()
        self.answered: Counter[str | int] = Counter()
        self.failures: list[Failure] = []

    def __str__(self) -> str:
        return f"{self.total} requests answered, {len(self.failures)} failed: {self.failures}"

    @property
    def total(self) -> int:
        """How many good answers there were."""
        with self._lock:
            return sum(count for who, count in self.answered.items() if isinstance(who, int))

    def wait_for_more(self, count: int = 300) -> None:
        """Wait until so many more were answered."""
        goal = self.total + count
        wait_until(lambda: self.total >= goal)

    def wait_for(self, who: str | int, count: int = 20) -> None:
        """Wait until a version, or a process, has answered so many more."""
        goal = self.answered[who] + count
        wait_until(lambda: self.answered[who] >= goal)

    def __enter__(self) -> Load:
        self._threads = [
            threading.Thread(target=self._work, args=(number,)) for number in range(_CLIENTS)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._has_ended.set()
        for thread in self._threads:
            thread.join(PATIENCE)
        assert not any(thread.is_alive() for thread in self._threads)

    def _work(self, client: int) -> None:
        requests = itertools.islice(itertools.cycle(_REQUESTS), client, None)
        with ExitStack() as stack:
            connection: http.client.HTTPConnection | None = None
            while not self._has_ended.is_set():
                method, size, is_kept = next(requests)
                if connection is None or not is_kept:
                    stack.close()
                    connection = self._connect()
                    stack.callback(connection.close)
                begun = time.monotonic()
                try:
                    answer = self._ask(connection, method, os.urandom(size))
                except Exception as error:
                    with self._lock:
                        self.failures.append(Failure(client, method, begun, repr(error)))
                    connection = None
                else:
                    with self._lock:
                        self.answered.update((answer["version"], answer["pid"]))

    def _ask(self, connection: http.client.HTTPConnection, method: str, body: bytes) -> Any:
        answer = harness.ask(connection, "/", method, body or None)
        assert answer.status == 200, f"{answer.status} {answer.body!r}"
        account = json.loads(answer.body)
        assert account["sha256"] == hashlib.sha256(body).hexdigest()
        return account
