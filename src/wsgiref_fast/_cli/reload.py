"""The development reloader: listening sockets that stay, and processes that serve on them in turn.

The parent listens and never serves; a child serves and never listens anew. When a file has
changed, a new child is started beside the one that serves, and takes over once it is ready.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

from .messages import MISUSED

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    import socket
    from collections.abc import Sequence

#: The variables that tell a child which descriptor says that it is ready (it writes a byte),
#: and which one ends when the parent has (it reads).
READY = "WSGIREF_FAST_READY"
PARENT = "WSGIREF_FAST_PARENT"

#: Seconds that a child has at least to finish what is under way; and beyond the bound that it
#: has for that itself. Then it is over.
PATIENCE = 60.0
_RESERVE = 10.0

#: Options that are the parent's alone, and whether a value follows.
_OF_THE_PARENT = {"--bind": True, "--reload-dir": True, "--reload": False}

# The parent.


def run(arguments: argparse.Namespace) -> int:
    """Serve as a command line says, and start anew when a file changes; return the exit code.

    Call it in the main thread, before the current directory is changed, and without having
    imported the application.

    Args:
        arguments: ``bind``, addresses as `Server` takes them; ``reload_dir``, the folders to
            watch, none for the current one (or ``chdir``); ``argv``, all that was given.

    Raises:
        OSError: an address cannot be listened on.

    """
    from .supervisor import say, supervise
    from .watching import Tree

    if os.name != "posix":
        say("--reload needs sockets that a process can inherit: there are none on Windows")
        return MISUSED
    from ..server import Server

    folders = arguments.reload_dir or [getattr(arguments, "chdir", None) or os.curdir]
    try:
        tree = Tree(folders)
    except NotADirectoryError as error:
        say(f"{error}; give --reload-dir one that exists")
        return MISUSED
    with Server(list(arguments.bind)) as server:
        command = make_command(arguments.argv, server.listeners)
        return supervise(server.listeners, command, tree, patience=find_patience(arguments))


def find_patience(arguments: argparse.Namespace) -> float:
    """Return for how many seconds a child that is to end is waited for."""
    options = getattr(arguments, "options", {})
    bound: float = options.get("shutdown_timeout", 0.0)
    return max(PATIENCE, bound + _RESERVE)


def make_command(argv: Sequence[str], listeners: Sequence[socket.socket]) -> list[str]:
    """Return the command of a child: as this process was started, on sockets that are there.

    Args:
        argv: the parent's arguments, without the program's name.
        listeners: the listening sockets.

    """
    from subprocess import _args_from_interpreter_flags  # type: ignore[attr-defined]

    end = argv.index("--") if "--" in argv else len(argv)
    kept = _drop_own_options(argv[:end])
    binds = [word for each in listeners for word in ("--bind", f"fd://{each.fileno()}")]
    flags = _args_from_interpreter_flags()
    return [sys.executable, *flags, "-m", "wsgiref_fast", *kept, *binds, *argv[end:]]


def _drop_own_options(words: Sequence[str]) -> list[str]:
    """Return arguments without the parent's options and their values."""
    kept = []
    left = iter(words)
    for word in left:
        name, equals, _ = word.partition("=")
        has_value = _OF_THE_PARENT.get(name)
        if has_value is None:
            kept.append(word)
        elif has_value and not equals:
            next(left, None)
    return kept


# A child.


def take_ready() -> int | None:
    """Return the descriptor for `tell_ready`; `None` where there is no parent.

    Neither it nor the variable is inherited further: call it before the application's code.
    """
    number = os.environ.pop(READY, None)
    if number is None:
        return None
    os.set_inheritable(int(number), False)
    return int(number)


def tell_ready(descriptor: int | None) -> None:
    """Tell the parent, where there is one, that this process serves."""
    if descriptor is not None:
        try:
            os.write(descriptor, b"\n")
        except BrokenPipeError:
            pass  # it has gone, or waits for another by now
        os.close(descriptor)


def follow_parent(patience: float = PATIENCE) -> None:
    """Have this process end after its parent, where that is a reloader.

    Args:
        patience: seconds to finish what is under way; then it is over.

    """
    number = os.environ.pop(PARENT, None)
    if number is not None:
        os.set_inheritable(int(number), False)
        wait = threading.Thread(target=_outlive, args=(int(number), patience), daemon=True)
        wait.start()


def _outlive(descriptor: int, patience: float) -> None:
    """Wait until nobody can write to a pipe any more; then end this process."""
    os.read(descriptor, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(patience)
    os._exit(1)
