"""Serve where the system lacks something: it is taken away before anything is imported.

    python elsewhere.py LACKS SCENE

LACKS are names of `LACKS`, with commas; ``all`` is what Windows lacks. SCENE is the name of
a function below. What the scene prints is the outcome; anything else is an error.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

assert not {"socket", "selectors", "subprocess"} & sys.modules.keys(), "too late to take away"

#: What systems lack, by the module that has it here.
LACKS = {
    "epoll": ((select, "epoll"),),
    "poll": tuple((select, name) for name in ("epoll", "kqueue", "devpoll", "poll")),
    "sendfile": ((os, "sendfile"), (os, "pread")),
    "fork": ((os, "fork"), (os, "register_at_fork")),
    "unix": (("_socket", "AF_UNIX"), ("_socket", "socketpair")),
    "reuseport": (("_socket", "SO_REUSEPORT"),),
    "socketpair": (("_socket", "socketpair"),),
    "flags": tuple(("_socket", f"MSG_{name}") for name in ("MORE", "DONTWAIT", "NOSIGNAL")),
    "signals": tuple((signal, name) for name in ("SIGHUP", "SIGCHLD", "pthread_sigmask")),
    "sendmsg": (),
    "nameless": (),
}


_temporary_file = tempfile.TemporaryFile


def take_away(names: list[str]) -> None:
    """Have this process lack something."""
    for name in names:
        for module, attribute in LACKS[name]:
            owner = __import__(module) if isinstance(module, str) else module
            if hasattr(owner, attribute):
                delattr(owner, attribute)
    import socket

    if "sendmsg" in names:

        class Missing:
            def __get__(self, *_: object) -> None:
                raise AttributeError("sendmsg")

        socket.socket.sendmsg = Missing()  # type: ignore[assignment, method-assign]
    if "nameless" in names:  # a file that has a name as long as it is open
        vars(tempfile)["TemporaryFile"] = tempfile.NamedTemporaryFile


take_away(list(LACKS) if sys.argv[1] == "all" else sys.argv[1].split(","))

import contextlib  # noqa: E402
import importlib  # noqa: E402
import io  # noqa: E402
import itertools  # noqa: E402
import pkgutil  # noqa: E402
import selectors  # noqa: E402
import socket  # noqa: E402
import threading  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from http.client import HTTPConnection  # noqa: E402
from typing import Any  # noqa: E402

TIMEOUT = 20.0
#: Modules that need somebody else's package, and the kernels, which are imported if wanted.
OTHERS = (
    *("bottle", "django", "flask", "gunicorn", "_gunicorn", "werkzeug", "pytest_plugin"),
    *("_cli.arbiter", "_speedups."),
)
LARGE = bytes(range(256)) * 12_000

Environ = dict[str, Any]


def app(environ: Environ, start_response: Callable[..., Any]) -> Any:
    """Answer with the body, a file, a large block, or blocks."""
    path = environ["PATH_INFO"]
    if path == "/echo":
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]
    if path == "/file":
        start_response("200 OK", [])
        file = _temporary_file(buffering=0)
        file.write(LARGE)
        file.seek(0)
        return environ["wsgi.file_wrapper"](file)
    if path == "/blocks":
        start_response("200 OK", [])
        return (LARGE[at : at + 100_000] for at in range(0, len(LARGE), 100_000))
    start_response("200 OK", [("Content-Length", str(len(LARGE)))])
    return [LARGE] if path == "/large" else [LARGE[:1], LARGE[1:]]


@contextlib.contextmanager
def running(server: Any) -> Iterator[Any]:
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
        server.shutdown()
    finally:
        thread.join(TIMEOUT)
        server.server_close()
    assert not thread.is_alive(), "it did not end"


def connect(server: Any) -> socket.socket:
    return socket.create_connection(server.server_address[:2], TIMEOUT)


def client_of(server: Any) -> HTTPConnection:
    host, port = server.server_address[:2]
    return HTTPConnection(host, port, timeout=TIMEOUT)


def ask_all(server: Any) -> None:
    """Ask for all that there is, some on one connection, as others say nothing or read late."""
    with connect(server), connect(server) as late:
        late.sendall(b"GET /large HTTP/1.0\r\n\r\n")
        connection = client_of(server)
        for path in ("/large", "/file", "/blocks", "/two", "/large"):
            connection.request("GET", path)
            with connection.getresponse() as response:
                assert response.read() == LARGE, path
        for body in (b"short", LARGE):
            connection.request("POST", "/echo", body)
            with connection.getresponse() as response:
                assert response.read() == body
        connection.close()
        with late.makefile("rb") as answer:
            assert answer.read().endswith(LARGE)


# The scenes


def imports() -> None:
    """Import all that needs nobody else's packages."""
    import wsgiref_fast

    for module in pkgutil.walk_packages(wsgiref_fast.__path__, "wsgiref_fast."):
        name = module.name.removeprefix("wsgiref_fast.")
        if name.startswith(OTHERS) or name.endswith("__main__"):
            continue
        importlib.import_module(module.name)
    print("imported")


def drop_in(kind: str = "WSGIServer") -> None:
    """Serve by the drop-in's servers."""
    from wsgiref_fast import simple_server

    class Quiet(simple_server.WSGIRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    class Keeping(Quiet):
        protocol_version = "HTTP/1.1"

    server_class = getattr(simple_server, kind)
    for handler_class in (Quiet, Keeping):
        server = simple_server.make_server("127.0.0.1", 0, app, server_class, handler_class)
        with running(server):
            ask_all(server)
    server = simple_server.make_server("127.0.0.1", 0, app, server_class, Quiet)
    with server, connect(server) as connection:  # a loop of somebody's own
        connection.sendall(b"GET /large HTTP/1.0\r\n\r\n")
        server.handle_request()
        with connection.makefile("rb") as answer:
            assert answer.read().endswith(LARGE)
    print("served")


def threading_drop_in() -> None:
    """Serve with a thread for each connection."""
    drop_in("ThreadingWSGIServer")


def server() -> None:
    """Serve by the HTTP/1.1 server in all the ways that it has."""
    from wsgiref_fast.server import Server

    for threads, loops in itertools.product((0, 2), (1, 2)):
        http = Server(("127.0.0.1", 0), threads=threads, loops=loops, spool_size=1 << 16)
        http.set_app(app)
        with running(http):
            ask_all(http)
            connection = client_of(http)
            connection.request("GET", "/file")
            with connection.getresponse() as response:
                assert response.getheader("Content-Length") == str(len(LARGE))
            connection.close()
    print("served")


def loops() -> None:
    """Have each loop take connections."""
    from wsgiref_fast.server import Server

    http = Server(("127.0.0.1", 0), loops=2, max_connections=4)
    http.set_app(app)
    with running(http):
        connections = [client_of(http) for _ in range(4)]
        for connection in connections:  # which are kept
            connection.request("GET", "/large")
            with connection.getresponse() as response:
                assert response.read() == LARGE
        taken = [len(loop.peers) for loop in http._loops]
        for connection in connections:
            connection.close()
    print("shared", *taken)


def many() -> None:
    """Be met by more clients than `select` can wait for on Windows."""
    from wsgiref_fast._waiting import Waiting
    from wsgiref_fast.server import Server

    assert issubclass(selectors.DefaultSelector, selectors.SelectSelector)
    http = Server(("127.0.0.1", 0), max_connections=10_000)
    http.set_app(app)
    # Its descriptors are to be low, as select() has it elsewhere.
    with contextlib.ExitStack() as stack, running(http):
        clients = [stack.enter_context(connect(http)) for _ in range(10)]
        clients[-1].sendall(b"GET /large HTTP/1.0\r\n\r\n")
        assert clients[-1].recv(1)
        print("at most", http._loops[0]._most_peers)
    waiting = Waiting(10_000)
    print("at most", waiting._limit)
    waiting.close()


def alarm() -> None:
    """Wake a loop by bytes of which none waits for the last one to be acknowledged."""
    from wsgiref_fast._waiting import make_alarm

    alarm, bell = make_alarm()
    with alarm, bell:
        is_quick = bool(bell.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        print(bell.family.name, is_quick)


def closed() -> None:
    """Close the listening socket while it is waited for."""
    from wsgiref_fast.server import Server

    http = Server(("127.0.0.1", 0))
    http.set_app(app)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    with connect(http) as connection:
        connection.sendall(b"GET /large HTTP/1.0\r\n\r\n")
        assert connection.recv(1)
    http.server_close()
    thread.join(TIMEOUT)
    print("alive" if thread.is_alive() else "ended")


def inheriting() -> None:
    """Serve connections that do not block where the listening socket does not, as on BSD."""
    own = socket.socket._accept  # type: ignore[attr-defined]

    def accept(self: Any) -> Any:
        descriptor, address = own(self)
        os.set_blocking(descriptor, os.get_blocking(self.fileno()))
        return descriptor, address

    socket.socket._accept = accept  # type: ignore[attr-defined]
    sys.platform = "darwin"
    drop_in()
    threading_drop_in()
    server()


def watched() -> None:
    """Serve in a loop of one's own, around select(), who sends late."""
    from wsgiref_fast._waiting import Waiting
    from wsgiref_fast.simple_server import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    Waiting.is_silent = Waiting.can_hold  # type: ignore[method-assign]
    answers: list[bytes] = []

    def ask() -> None:
        with connect(http) as client:
            client.sendall(b"GET /large HTTP/1.0\r\n\r\n")
            answers.append(receive_all(client))

    http = make_server("127.0.0.1", 0, app, handler_class=Quiet)
    http.timeout = 0
    thread = threading.Thread(target=ask)
    with http:
        thread.start()
        while thread.is_alive():
            if select.select([http], [], [], 0.01)[0]:
                http.handle_request()
    print("answered", answers[0].endswith(LARGE))


def gone() -> None:
    """Be told of connections that have gone already in the ways of macOS and Windows."""
    import errno
    import logging

    from wsgiref_fast.server import Server

    own, ends = socket.socket._accept, socket.socket.setsockopt  # type: ignore[attr-defined]
    ways = iter(["aborted", "no address", "reset", "no option"])

    def accept(self: Any) -> Any:
        descriptor, address = own(self)
        way = next(ways, "")
        if way in ("aborted", "reset"):
            os.close(descriptor)
            kind = ConnectionAbortedError if way == "aborted" else ConnectionResetError
            raise kind(getattr(errno, "ECONN" + way.upper()[:5].replace("ABORT", "ABORTED")), way)
        return descriptor, None if way == "no address" else address

    def set_option(self: Any, level: int, name: int, *value: Any) -> None:
        if (level, name) == (socket.IPPROTO_TCP, socket.TCP_NODELAY):
            raise OSError(errno.EINVAL, "Invalid argument")
        ends(self, level, name, *value)

    log = io.StringIO()
    logging.basicConfig(stream=log)
    http = Server(("127.0.0.1", 0))
    http.set_app(app)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(http)) for _ in range(5)]
        socket.socket._accept = accept  # type: ignore[attr-defined]
        socket.socket.setsockopt = set_option  # type: ignore[method-assign]
        http.timeout = TIMEOUT
        for client in clients[3:]:  # they stand behind those that have gone
            client.sendall(b"GET /large HTTP/1.0\r\n\r\n")
        with running(http):
            answers = [receive_all(client) for client in clients]
    assert [answer.endswith(LARGE) for answer in answers] == [False] * 3 + [True] * 2
    print("served", log.getvalue())


def receive_all(connection: socket.socket) -> bytes:
    with contextlib.suppress(ConnectionError), connection.makefile("rb") as answer:
        return answer.read()
    return b""


def slow_file() -> None:
    """Send a file by the system to a client that takes it late, without poll()."""
    import wsgiref_fast._sendfile
    from wsgiref_fast.simple_server import WSGIRequestHandler, make_server

    waits = []
    own = wsgiref_fast._sendfile._wait

    def wait(connection: socket.socket) -> None:
        waits.append(connection)
        may_read.set()
        own(connection)

    class Quiet(WSGIRequestHandler):
        timeout = TIMEOUT

        def log_message(self, *_: object) -> None:
            pass

    may_read = threading.Event()
    wsgiref_fast._sendfile._wait = wait
    http = make_server("127.0.0.1", 0, app, handler_class=Quiet)
    http.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    with running(http), socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        client.settimeout(TIMEOUT)
        client.connect(http.server_address)
        client.sendall(b"GET /file HTTP/1.0\r\n\r\n")
        assert may_read.wait(TIMEOUT)
        assert receive_all(client).endswith(LARGE)
    print("waited", bool(waits))


def refusing() -> None:
    """Have the system refuse to send files, by each of the numbers that stand for that."""
    import errno

    vars(errno)["ENOTSUP"] = other = 4711  # as on macOS
    codes = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, other)
    refused = []

    def send_file(*_: object) -> int:
        refused.append(code)
        raise OSError(code, "refused")

    vars(os)["sendfile"] = send_file
    for code in codes:
        drop_in()
        server()
        assert set(refused) == {code}
        refused.clear()


def unix() -> None:
    """Ask for what there is not."""
    from wsgiref_fast.server import Server

    try:
        Server("unix:/tmp/it")
    except ValueError as error:
        print(error)


def claimed() -> None:
    """Have an address to oneself where others could take it, as on Windows."""
    # Any option that is off otherwise stands for the one that is not here.
    socket.SO_EXCLUSIVEADDRUSE = socket.SO_KEEPALIVE  # type: ignore[attr-defined]
    from wsgiref_fast.server import Server

    with Server([("127.0.0.1", 0), ("127.0.0.1", 0)]) as http:
        for listener in http.listeners:
            for name in ("SO_KEEPALIVE", "SO_REUSEADDR"):
                option = listener.getsockopt(socket.SOL_SOCKET, getattr(socket, name))
                print(name, bool(option))


def ending(number: int = signal.SIGTERM) -> None:
    """End by a signal that does not interrupt what the main thread waits for."""
    from wsgiref_fast.server import Server, serve_until_signal

    http = Server(("127.0.0.1", 0))
    http.set_app(app)

    def client() -> None:
        ask_all(http)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=client)
    with http:
        thread.start()
        # From now on the system hands it to the other thread, as Windows always does.
        mask = getattr(signal, "pthread_sigmask", None)
        if mask is not None:
            mask(signal.SIG_BLOCK, {number})
        serve_until_signal(http)
        thread.join(TIMEOUT)
    print("ended")


def breaking() -> None:
    """End by Ctrl-Break."""
    signal.SIGBREAK = signal.SIGUSR2  # type: ignore[attr-defined]
    ending(signal.SIGUSR2)


if __name__ == "__main__":
    globals()[sys.argv[2]]()
