"""The command line: what ``python -m wsgiref_fast`` and ``wsgiref-fast`` do."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def console() -> int:
    """Do what the command line of ``wsgiref-fast`` says; return the exit code."""
    if not sys.flags.safe_path:  # as ``python -m`` has it, in place of the script's folder
        try:
            sys.path[0] = os.getcwd()
        except FileNotFoundError:
            del sys.path[0]
    return main(sys.argv[1:])


def main(argv: list[str]) -> int:
    """Do what a command line says; return the exit code.

    Raises:
        SystemExit: a program that was started has ended so, or the help was asked for.

    """
    if argv[:1] == ["run"]:
        from .program import run

        run(argv[1:])
        return 0
    from .messages import INTERRUPTED, Stop, complain, flush_streams, open_standard_streams

    open_standard_streams()
    try:
        return _demo(argv[1:]) if argv[:1] == ["demo"] else _serve(argv)
    except Stop as error:
        return complain(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        flush_streams()


def _demo(argv: list[str]) -> int:
    from .arguments import parse_demo
    from .demo import demo

    arguments = parse_demo(argv)
    demo(arguments.host, arguments.port)
    return 0


def _serve(argv: list[str]) -> int:
    """Serve an application, by one of the ways that there are, or check it."""
    from .arguments import parse
    from .systemd import choose_addresses

    arguments = parse(argv)
    if arguments.check:
        from .check import check

        return check(arguments)
    arguments.bind = choose_addresses(arguments.bind, keeps=arguments.workers is not None)
    if arguments.reload:
        return _reload(arguments)
    if arguments.workers is not None:
        from .workers import run

        return run(arguments)
    from .serving import serve

    return serve(arguments)


def _reload(arguments: argparse.Namespace) -> int:
    """Serve in a process that is started anew when a file changes."""
    from .listening import explained
    from .reload import run

    with explained(arguments.bind):
        return run(arguments)
