"""Run the command line, to its end or as a server, as a user would."""

from __future__ import annotations

import http.client
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support import PATIENCE

LAUNCHER = (sys.executable, "-W", "error", "-m", "wsgiref_fast")

#: What would change how a child behaves.
_OURS = {
    *("PYTHONPATH", "PYTHONWARNINGS", "PYTHONSAFEPATH", "NOTIFY_SOCKET", "LISTEN_PID"),
    *("NO_COLOR", "FORCE_COLOR", "PYTHON_COLORS", "TERM", "COLUMNS"),
}

APPLICATION = """
import os, time

def app(environ, start_response):
    body = environ["PATH_INFO"].encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]

def slow(environ, start_response):
    # Ends once the test has made a file.
    open("begun", "w").close()
    while not os.path.exists("go on"):
        time.sleep(0.01)
    return app(environ, start_response)

def create_app():
    return app

class Holder:
    class inner:
        app = staticmethod(app)

text = "text"
nothing = None
"""


def only_if(condition: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Leave a test out where the system cannot run it."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        test.__test__ = condition  # type: ignore[attr-defined]
        return test

    return decorate


def environment(**environ: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _OURS}
    return {**kept, **environ}


def command(
    *arguments: str, folder: Path | None = None, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run a command line to its end."""
    return subprocess.run(
        [*LAUNCHER, *arguments],
        cwd=folder,
        env=environment(**environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
    )


def refused(*arguments: str, folder: Path, code: int = 2) -> str:
    """Run a command line that is refused in one line; return that."""
    done = command(*arguments, folder=folder)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    (line,) = done.stderr.splitlines()
    start, _, message = line.partition(": ")
    assert start == "wsgiref_fast"
    return message


class Service:
    """A process that serves."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        #: The lines that it has written to its error stream, for whoever waits for them.
        self.lines: queue.Queue[str] = queue.Queue()
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()
        #: The lines that say where it serves.
        self.places: list[str] = []

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.put(line.rstrip("\n"))

    def next_line(self) -> str:
        return self.lines.get(timeout=PATIENCE)

    @property
    def port(self) -> int:
        """The port of the first address."""
        return int(self.places[0].split("/")[2].rpartition(":")[2])

    def get(self, path: str = "/hello", host: str = "127.0.0.1") -> tuple[int, bytes]:
        """Send a request to the first address; return status and body."""
        connection = http.client.HTTPConnection(host, self.port, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            with connection.getresponse() as response:
                return response.status, response.read()
        finally:
            connection.close()

    def end(self, number: int) -> int:
        """Send it a signal; return its exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(PATIENCE)
        self._reading.join(PATIENCE)
        return code

    def rest(self) -> list[str]:
        """Return the lines that nobody has asked for, once it has ended."""
        return [self.lines.get_nowait() for _ in range(self.lines.qsize())]


@contextmanager
def service(
    *arguments: str,
    folder: Path,
    places: int = 1,
    launcher: tuple[str, ...] = LAUNCHER,
    environ: dict[str, str] | None = None,
    **options: Any,
) -> Iterator[Service]:
    """Run a command line that serves at so many places; end it."""
    process = subprocess.Popen(
        [*launcher, *arguments],
        cwd=folder,
        env=environment(**(environ or {})),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        **options,
    )
    found = Service(process)
    try:
        if places:
            first = found.next_line()
            assert first.startswith("wsgiref_fast "), [first, *found.rest()]
            found.places = [found.next_line().strip() for _ in range(places)]
        yield found
    finally:
        process.kill()
        found.wait()
        assert process.stderr is not None
        process.stderr.close()
