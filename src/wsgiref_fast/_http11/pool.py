"""The threads that run applications beside the loop."""

from __future__ import annotations

import threading
import time
import traceback
from queue import SimpleQueue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Job = Callable[[], object]


class Pool:
    """So many threads, which take jobs in the order of their coming.

    Its queue needs no bound: a connection has one request in work at a time.
    """

    def __init__(self, size: int) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"wsgiref_fast-{number}", daemon=True)
            for number in range(size)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, job: Job) -> None:
        """Have a thread do something."""
        self._jobs.put(job)

    def close(self, timeout: float) -> None:
        """End the threads once they have done what there is, waiting so many seconds at most."""
        for _ in self._threads:
            self._jobs.put(None)
        until = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except BaseException:  # it is an application's: KeyboardInterrupt and the like
                try:
                    traceback.print_exc()
                except Exception:
                    pass  # nobody can be told
            del job  # it holds the request
