"""gunicorn's arbiter for our command line. This needs gunicorn when it is imported."""

from __future__ import annotations

import sys

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import AppImportError, HaltServer

from .application import load
from .messages import FAILED, NAME, Stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
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
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn's settings."""
        for name, value in self._settings.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> WSGIApplication:
        """Import the application, in a worker.

        Raises:
            AppImportError: there is none; the arbiter ends with 4, and this message.

        """
        try:
            return load(self._arguments.app, self._arguments.factory)
        except Stop as error:
            raise AppImportError(f"{error.details}{NAME}: {error.message}") from error

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
