"""gunicorn's arbiter for our command line. This needs gunicorn when it is imported."""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
from contextlib import contextmanager

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer

from .application import load
from .messages import FAILED, Stop, complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from typing import Any

    from ..types import WSGIApplication


class Application(BaseApplication):  # type: ignore[misc]
    """What an arbiter is told: the application, and settings.

    Args:
        arguments: of the command line.
        settings: gunicorn's; those that a release does not have are left out.
        folder: where the program was started.

    """

    def __init__(
        self, arguments: argparse.Namespace, settings: dict[str, Any], folder: str
    ) -> None:
        self._arguments = arguments
        self._settings = settings
        self._folder = folder
        #: Options of the workers' servers.
        self.server_options = arguments.options
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the arbiter
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn's settings."""
        for name, value in self._settings.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> WSGIApplication:
        """Import the application, in a worker.

        Raises:
            SystemExit: there is none; the arbiter ends with 4, too.

        """
        try:
            return load(self._arguments.app, self._arguments.factory)
        except Stop as error:
            with self._said_once() as is_said:
                if not is_said:
                    complain(error)
            raise SystemExit(Arbiter.APP_LOAD_ERROR) from None

    @contextmanager
    def _said_once(self) -> Iterator[bool]:
        """Tell whether another worker has done what is done here; wait while it does."""
        descriptor = self._said.fileno()
        fcntl.lockf(descriptor, fcntl.LOCK_EX)  # a worker that is killed lets go of it
        try:
            yield os.pread(descriptor, 1, 0) != b""
            os.pwrite(descriptor, b"1", 0)
        finally:
            fcntl.lockf(descriptor, fcntl.LOCK_UN)

    def run(self) -> None:
        """Run the arbiter; `SystemExit` is raised at its end.

        Raises:
            Stop: it does not begin.

        """
        try:
            arbiter = Arbiter(self)
            # What it executes for an upgrade (SIGUSR2): the whole command, `-m` too.
            arbiter.START_CTX.update(args=[sys.executable, *sys.orig_argv[1:]], cwd=self._folder)
            arbiter.run()
        except RuntimeError as error:
            raise Stop(str(error), FAILED) from None
        except HaltServer as halt:  # several workers have failed: gunicorn hears of one
            raise SystemExit(halt.exit_status) from None
