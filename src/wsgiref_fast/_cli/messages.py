"""What the command line says to people: one line for each error, colours on a terminal."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

NAME = "wsgiref_fast"

RUN_USAGE = """\
python -m wsgiref_fast run script.py [argument ...]
       python -m wsgiref_fast run -m module [argument ...]"""

USAGE = f"""\
python -m wsgiref_fast [option ...] module:app
       {RUN_USAGE}
       python -m wsgiref_fast demo [--host HOST] [--port PORT]
       python -m wsgiref_fast --version"""

#: Exit codes, as ``--help`` tells them.
FINE = 0
FAILED = 1
MISUSED = 2
INTERRUPTED = 130

#: What a person is told who has asked for its end.
WAITS = "waits for requests under way; a second Ctrl+C ends it at once"

_CODES = {"bold": "1", "red": "1;31", "green": "32", "yellow": "33", "cyan": "36"}


class Stop(Exception):
    """End the program.

    Args:
        message: a line that says what is wrong, and what to do.
        code: the exit code.
        details: what is shown before it: a traceback, the usage.

    """

    def __init__(self, message: str, code: int = MISUSED, details: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.details = details


def paint(text: str, colour: str, stream: TextIO | None) -> str:
    """Return a text in a colour, where a stream is a terminal that shows it.

    ``NO_COLOR``, not empty, is heeded (no-color.org).
    """
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if _has_colours(stream) else text


def _has_colours(stream: TextIO | None) -> bool:
    environ = os.environ
    if stream is None or environ.get("NO_COLOR") or environ.get("TERM") == "dumb":
        return False
    if os.name == "nt" and not ("WT_SESSION" in environ or "ANSICON" in environ):
        return False
    try:
        return stream.isatty()
    except ValueError:  # it is closed
        return False


def say(text: str, stream: TextIO | None = None) -> None:
    """Write a line, to the error stream by default; where nobody takes it, go on.

    What the stream's encoding does not have is escaped.
    """
    stream = stream or sys.stderr
    try:
        encoding = getattr(stream, "encoding", None) or "utf-8"
        shown = text.encode(encoding, "backslashreplace").decode(encoding)
        print(shown, file=stream, flush=True)
    except (OSError, ValueError):
        pass


def complain(error: Stop) -> int:
    """Say what has ended the program; return the exit code."""
    if error.details:
        say(error.details.rstrip("\n"))
    name = paint(f"{NAME}:", "red", sys.stderr)
    say(f"{name} {flatten(error.message)}")
    return error.code


def warn(message: str) -> None:
    """Say what is wrong, where the program goes on."""
    say(f"{paint(f'{NAME}:', 'yellow', sys.stderr)} {flatten(message)}")


def flatten(text: str) -> str:
    """Return a text as one line that a terminal can be given."""
    line = " ".join(text.split())
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)


def open_standard_streams() -> None:
    """Give a process that was started without them standard streams.

    A socket would get the number of one, and what others write there.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            stream = open(number, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


def flush_streams() -> None:
    """Write out what was printed, so that Python need not complain where nobody takes it."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            _give_up(stream)  # pyright: ignore[reportArgumentType] # not None: it failed


def _give_up(stream: TextIO) -> None:
    """Have the rest of a stream go nowhere."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
    except (OSError, ValueError):
        pass
