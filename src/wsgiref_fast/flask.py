"""Flask on the HTTP/1.1 server: ``run(app)`` in place of ``app.run()``, and ``flask fast``.

In debug mode there are Werkzeug's debugger and its reloader. The listening socket stays
open over a reload: who comes meanwhile waits, and is served.
"""

# Flask is not there where types are checked.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import os
import sys
import traceback

try:
    import click
    from flask.cli import pass_script_info
    from flask.helpers import get_debug_flag
    from werkzeug.serving import is_running_from_reloader
except ModuleNotFoundError as _error:
    if _error.name not in ("click", "flask", "werkzeug"):
        raise
    raise ImportError("wsgiref_fast.flask needs Flask: pip install flask") from None

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, NoReturn

    from .server import Server
    from .types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["fast_command", "run"]

#: Threads, unless told otherwise: a slow request, or one that waits for another, holds
#: nobody up.
_THREADS = 8
#: Seconds that a reload leaves to requests, unless told otherwise.
_RELOAD_TIMEOUT = 1.0
#: The variable that tells a reloaded process of its listening socket.
_DESCRIPTOR = "WSGIREF_FAST_FLASK_FD"


def run(
    app: Any,
    host: str = "127.0.0.1",
    port: int = 5000,
    debug: bool | None = None,
    use_reloader: bool | None = None,
    use_debugger: bool | None = None,
    threads: int = _THREADS,
    *,
    use_evalex: bool = True,
    extra_files: Iterable[str] | None = None,
    exclude_patterns: Iterable[str] | None = None,
    reloader_type: str = "auto",
    **options: Any,
) -> None:
    """Serve a Flask application, as ``app.run()`` does, until SIGINT or SIGTERM.

    When the ``flask`` command imports the program to find its application, nothing is run.

    Args:
        app: the `flask.Flask`.
        host: an address or a name; ``"unix:/path"`` too.
        port: 0 for any that is free.
        debug: sets ``app.debug``; by default that is as it is (``FLASK_DEBUG``).
        use_reloader: restart when a file changes; by default in debug mode.
        use_debugger: show the debugger where a request fails; by default in debug mode.
        threads: how many run the application; with 0 one request is served at a time.
        use_evalex: let the debugger run code.
        extra_files: further files to watch.
        exclude_patterns: of files not to watch, as `fnmatch` has them.
        reloader_type: ``auto``, ``stat`` or ``watchdog``.
        **options: see `wsgiref_fast.server.Options`; and, for HTTPS, ``certfile`` with
            ``keyfile``, the paths of PEM files.

    Raises:
        TypeError, ValueError: an option is none, or has a wrong value.
        SystemExit: the address cannot be listened on; the text says why.

    """
    if os.environ.get("FLASK_RUN_FROM_CLI") == "true":
        if not is_running_from_reloader():
            print(
                " * The flask command does not run what is in the program. "
                "Guard it: if __name__ == '__main__': run(app)",
                file=sys.stderr,
            )
        return
    if debug is not None:
        app.debug = bool(debug)
    _run(
        app,
        app.name,
        (host, port),
        app.debug,
        {"threads": threads, **options},
        use_reloader=app.debug if use_reloader is None else use_reloader,
        evalex=use_evalex if _or(use_debugger, app.debug) else None,
        watching={
            "extra_files": extra_files,
            "exclude_patterns": exclude_patterns,
            "reloader_type": reloader_type,
        },
    )


def _or(value: bool | None, default: bool) -> bool:
    return default if value is None else value


def _run(
    application: WSGIApplication,
    name: str,
    address: tuple[str, int],
    debug: bool,
    options: dict[str, Any],
    *,
    use_reloader: bool,
    evalex: bool | None,
    watching: dict[str, Any],
) -> None:
    """Serve an application, with a debugger unless `evalex` is `None`."""
    from .server import serve_until_signal

    if evalex is not None:
        application = _debugged(application, address[0], evalex)
    if use_reloader:
        options = {"shutdown_timeout": _RELOAD_TIMEOUT, **options}
    with _listen(address, {"access_log": "common", **options}) as server:
        server.set_app(application)
        if not is_running_from_reloader():
            print(f" * Serving Flask app {name!r}\n * Debug mode: {'on' if debug else 'off'}")
            print(f" * Running on {_url(server, address[0])} (Press CTRL+C to quit)", flush=True)
        if use_reloader:
            _serve_and_watch(server, watching)
        else:
            serve_until_signal(server)


def _listen(address: tuple[str, int], options: dict[str, Any]) -> Server:
    """Return a server: in a reloaded process on the socket that the first one has."""
    from ._frameworks import take_tls
    from ._http11.addresses import stands_alone, write_address
    from .server import Server

    descriptor = os.environ.get(_DESCRIPTOR) if is_running_from_reloader() else None
    where: Any = address if descriptor is None else f"fd://{descriptor}"
    options = take_tls(options)
    try:
        return Server(where, **options)
    except OSError as error:
        host = address[0]
        place = host if stands_alone(host) else write_address(address)
        reason = error.strerror or error
        raise SystemExit(f"cannot listen on {place}: {reason}; choose another address") from None


def _url(server: Server, host: str) -> str:
    from ._http11.addresses import stands_alone, write_address

    if stands_alone(host):
        return host
    scheme = "http" if server.options.ssl_context is None else "https"
    return f"{scheme}://{write_address((host, server.server_port))}"


def _debugged(application: WSGIApplication, host: str, evalex: bool) -> WSGIApplication:
    """Put Werkzeug's debugger around an application; it is there for this host's clients."""
    from werkzeug.debug import DebuggedApplication

    debugged: Any = DebuggedApplication(application, evalex=evalex)
    getattr(debugged, "trusted_hosts", []).append(host)
    return debugged  # type: ignore[no-any-return]


def _serve_and_watch(server: Server, watching: dict[str, Any]) -> None:
    """Serve in a process that is started anew whenever a file has changed."""
    # Werkzeug has no public name for it alone; this one is as old as the module.
    from werkzeug._reloader import run_with_reloader

    # What the application starts is not to listen on after it.
    server.socket.set_inheritable(not is_running_from_reloader())
    os.environ[_DESCRIPTOR] = str(server.fileno())
    try:
        run_with_reloader(server.serve_forever, **watching)
    finally:
        if is_running_from_reloader():
            server.stop()  # and let its thread finish what is under way
            server._BaseServer__is_shut_down.wait(server.options.shutdown_timeout + 1)


@click.command("fast", short_help="Run a faster development server.")
@click.option("--host", "-h", default="127.0.0.1", help="The interface to bind to.")
@click.option("--port", "-p", default=5000, type=click.IntRange(0, 65535), help="The port.")
@click.option("--reload/--no-reload", default=None, help="By default in debug mode.")
@click.option("--debugger/--no-debugger", default=None, help="By default in debug mode.")
@click.option("--threads", default=_THREADS, type=click.IntRange(0), help="How many there are.")
@click.option("--certfile", type=click.Path(), help="A certificate, for HTTPS: a PEM file.")
@click.option("--keyfile", type=click.Path(), help="Its key, where that is another file.")
@pass_script_info
def fast_command(
    info: Any,
    host: str,
    port: int,
    reload: bool | None,
    debugger: bool | None,
    threads: int,
    certfile: str | None,
    keyfile: str | None,
) -> None:
    """Run a development server, the faster one of wsgiref_fast.

    With ``flask --debug fast`` there are a debugger and a reloader.
    """
    from ._frameworks import take_tls

    debug = get_debug_flag()
    try:
        options = take_tls({"threads": threads, "certfile": certfile, "keyfile": keyfile})
    except (OSError, TypeError) as error:
        raise click.UsageError(str(error)) from None
    _run(
        _load(info),
        info.app_import_path,
        (host, port),
        debug,
        options,
        use_reloader=_or(reload, debug),
        evalex=True if _or(debugger, debug) else None,
        watching={},
    )


def _load(info: Any) -> WSGIApplication:
    """Return the application; one that fails to load after a reload shows its error instead."""
    try:
        return info.load_app()  # type: ignore[no-any-return]
    except Exception as error:
        if not is_running_from_reloader():
            raise
        traceback.print_exc()
        failure = error

    def fail(environ: WSGIEnvironment, start_response: StartResponse) -> NoReturn:
        raise failure

    return fail
