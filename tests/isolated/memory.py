"""Serve many requests of each kind, and tell what has grown by that.

    python memory.py [--leaks] [COUNT [KIND...]]

After a warm-up, COUNT requests of each kind (or of those whose name holds one of the
words given) are served, and what then is there is compared with what was before. Kinds
that grow each time are printed with what has grown, and make the exit status 1. With
``--leaks`` the kinds are ones that do leak: to see that it would be noticed.
"""

from __future__ import annotations

import ctypes
import gc
import io
import os
import socket
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from functools import partial
from mmap import mmap
from pathlib import Path
from typing import Any

import traffic
from traffic import CASES, CASES_11, CLIENT, FIELDS, GET, Application, Case, Once, Stub

from wsgiref_fast import handlers, headers, server, simple_server, util
from wsgiref_fast._http11 import exchange, loop, peer, response
from wsgiref_fast._pure import connection
from wsgiref_fast.handlers import SimpleHandler
from wsgiref_fast.headers import Headers
from wsgiref_fast.server import Server
from wsgiref_fast.simple_server import ThreadingWSGIServer, WSGIRequestHandler, make_server

Kind = Callable[[], Iterator[Once]]

#: What may have grown when as many requests were served again.
LIMITS = {
    "blocks": 75,  # objects of up to 512 bytes
    "objects": 30,  # of those that may be part of a cycle
    "bytes": 8192,  # of larger objects, and what C code took for itself
    "references": 30,  # to what lives as long as the process
    "descriptors": 0,
    "threads": 0,
    "resident": 2 << 20,
}
#: What is measured in one go.
TOGETHER = [list(LIMITS)]
if sysconfig.get_config_var("Py_GIL_DISABLED"):
    # There, to count the blocks may cost memory: who looks at a page takes it off the list of
    # those that wait to be freed (python/cpython#145615). With 3.13.5 a call that follows sixty
    # `bytes(6_000_000)` loses four of them; where nobody counts, none is lost.
    TOGETHER = [[name for name in LIMITS if name != "resident"], ["resident"]]
#: So often a kind must have grown: caches do so too, until they are full.
ROUNDS = 8


# Measures


class _Mallinfo(ctypes.Structure):
    """The C library's own count: glibc's ``struct mallinfo2``, since 2.33."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


_mallinfo = None if sys.platform == "win32" else getattr(ctypes.CDLL(None), "mallinfo2", None)
if _mallinfo is not None:
    _mallinfo.restype = _Mallinfo


def allocated_bytes() -> int:
    """Return the bytes that the C library has given out."""
    if _mallinfo is None:
        return 0
    info = _mallinfo()
    return int(info.uordblks + info.hblkhd)


def resident_bytes() -> int:
    """Return the resident set's size, where the platform tells it."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * 4096 if status.exists() else 0


def immortals() -> list[Any]:
    """Return objects that outlive each request, and that each request refers to."""
    modules = (
        *(handlers, headers, simple_server, util, server, exchange, loop, peer, response),
        connection,
    )
    shared = [value for module in modules for value in vars(module).values()]
    strings = ["HTTP_HOST", "wsgi.input", "REQUEST_METHOD", "GET", "HTTP/1.1", "Content-Type"]
    cases = [*CASES.values(), *CASES_11.values()]
    parts = [part for case in cases for part in (case.app, case.handler, case.request)]
    return [*shared, *map(sys.intern, strings), *parts, None, True, b"", "", ()]


IMMORTALS = immortals()


#: Each measure, in the order of `LIMITS`.
MEASURES: dict[str, Callable[[], int]] = {
    "blocks": sys.getallocatedblocks,
    "objects": lambda: len(gc.get_objects()),
    "bytes": allocated_bytes,
    "references": lambda: sum(map(sys.getrefcount, IMMORTALS)),
    "descriptors": traffic.descriptors,
    "threads": threading.active_count,
    "resident": resident_bytes,
}


def measure(names: list[str]) -> dict[str, int]:
    gc.collect()
    gc.collect()
    return {name: MEASURES[name]() for name in names}


def repeat(kind: Kind, count: int) -> None:
    with contextmanager(kind)() as once:
        for _ in range(count):
            once()


def growth(kind: Kind, count: int, names: list[str]) -> dict[str, int]:
    """Return what of `names` grows each time that `count` requests are served, and by how much."""
    repeat(kind, count // 4 + 20)
    grown = dict.fromkeys(names, 0)
    before = measure(names)
    for _ in range(ROUNDS):
        repeat(kind, count)
        after = measure(names)
        grown = {name: after[name] - before[name] for name in grown}
        grown = {name: more for name, more in grown.items() if more > LIMITS[name]}
        if not grown:
            break
        before = after
    return grown


# Kinds that are no whole request


def parsed() -> Any:
    """Return a handler without a connection that has parsed a request."""
    handler: Any = WSGIRequestHandler.__new__(WSGIRequestHandler)
    handler.connection = handler.request = Stub(b"")
    handler.raw_requestline = b"GET /a%20b?c HTTP/1.1\r\n"
    handler.rfile = io.BufferedReader(io.BytesIO(FIELDS + b"\r\n"))
    assert handler.parse_request()
    return handler


def parse_alone() -> Iterator[Once]:
    yield parsed


def message_alone() -> Iterator[Once]:
    def once() -> None:
        assert parsed().headers["host"] == "x"

    yield once


def environ_alone() -> Iterator[Once]:
    handler = parsed()
    with make_server("127.0.0.1", 0, traffic.hello) as handler.server:
        handler.client_address = CLIENT
        yield handler.get_environ


def header_edits() -> Iterator[Once]:
    def once() -> None:
        fields = Headers([("A", "1"), ("B", "\xe9" * 100)])
        fields["C"] = "3"
        fields["a"] = "2"
        fields.add_header("D", "4", name="x", none=None)
        fields.setdefault("E", "5")
        del fields["b"], fields["missing"]
        assert "c" in fields
        assert fields.get("nothing") is None
        assert fields.get_all("A") == ["2"]
        assert len(bytes(fields)) == len(str(fields))
        assert fields.items() == list(zip(fields.keys(), fields.values(), strict=True))

    yield once


def refused_header_edits() -> Iterator[Once]:
    make: Any = Headers
    edits: list[Callable[[Any], object]] = [
        lambda fields: fields.__setitem__("A", "1\n"),
        lambda fields: fields.__setitem__("A\n", "1"),
        lambda fields: fields.setdefault("New", b"1"),
        lambda fields: fields.add_header("A", "1", b="\0"),
        lambda fields: fields.get(1),
        lambda _: make([("A", "\r")]),
        lambda _: make([None]),
        lambda _: make(()),
        lambda _: bytes(make([("A", "\u0100")])),
    ]

    def once() -> None:
        for edit in edits:
            try:
                edit(Headers([("A", "1")]))
            except (AssertionError, AttributeError, TypeError, ValueError):
                continue
            raise AssertionError("the edit was not refused")

    yield once


def simple_handler() -> Iterator[Once]:
    """Run an application on streams, without a server."""

    def once() -> None:
        environ: dict[str, Any] = {}
        util.setup_testing_defaults(environ)
        output = io.BytesIO()
        SimpleHandler(io.BytesIO(), output, sys.stderr, environ).run(traffic.hello)
        assert output.getvalue().endswith(b"Hello, world!")

    yield once


def silent_connection() -> Iterator[Once]:
    """Serve one client while another says nothing, and then goes."""
    with traffic.looping(CASES["plain"], simple_server.WSGIServer) as server:

        def once() -> None:
            with traffic.connect(server):
                traffic.exchange(CASES["plain"], server)
            traffic.exchange(CASES["plain"], server)

        yield once


def resting_connection() -> Iterator[Once]:
    """Keep a connection whose client takes its time between two requests."""
    with traffic.looping(CASES["kept connection"], simple_server.WSGIServer) as server:

        def once() -> None:
            with traffic.connect(server) as connection:
                for _ in range(3):
                    connection.sendall(GET)
                    assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
            traffic.exchange(CASES["kept connection"], server)

        yield once


#: What concerns the connection, and so the loop that accepts it and lets it go.
IN_THE_LOOP = (
    *("plain", "HTTP/0.9", "HEAD", "no content", "body read", "body unread", "body cut short"),
    *("large body unread", "chunked body", "chunked body malformed", "stream", "write()"),
    *("file", "application fails", "application fails after a block", "start again too late"),
    *("request line malformed", "bare CR", "lengths that differ", "line too long"),
    *("field too long", "kept connection", "kept connection, bodies", "expectation"),
    *("own handle()", "client gone before it sent", "client gone in the head"),
    *("client gone in the line", "client gone in the response"),
)


class Impatient(WSGIRequestHandler):
    """Waits for a request no longer than it must."""

    timeout = 0.001


def slow_client(start: bytes) -> Iterator[Once]:
    """Refuse a client that does not send all of its request."""
    with traffic.make_server(Case(b"", handler=Impatient)) as server:

        def once() -> None:
            request, client = socket.socketpair()
            with client:
                client.sendall(start)
                client.settimeout(traffic.PATIENCE)
                thread = threading.Thread(target=traffic.process, args=(server, request))
                thread.start()
                assert client.recv(65536).startswith(b"HTTP/1.0 408 ")
            thread.join()

        yield once


# The HTTP/1.1 server


def kept_connection(server_class: traffic.ServerClass, request: bytes) -> Iterator[Once]:
    """Send all requests on one connection."""
    case = Case(request, traffic.echo)
    with traffic.looping(case, server_class) as server, traffic.connect(server) as connection:

        def once() -> None:
            connection.sendall(request)
            assert connection.recv(65536).startswith(traffic.OK)

        yield once


def client_gone_with_output_waiting(server_class: traffic.ServerClass) -> Iterator[Once]:
    """Close a connection whose response has only begun."""
    with traffic.looping(CASES_11["written ahead"], server_class) as server:

        def once() -> None:
            with traffic.connect(server) as connection:
                connection.sendall(GET)
                assert connection.recv(1) == b"H"

        yield once


def slow_client_11(start: bytes) -> Iterator[Once]:
    """Refuse a client that does not send all of its request, or close where there is none."""

    def impatient(*args: Any) -> Server:
        return Server(*args, header_timeout=0.001, body_timeout=0.001, keep_alive_timeout=0.001)

    with traffic.looping(CASES_11["plain"], impatient) as server:

        def once() -> None:
            with traffic.connect(server) as connection:
                connection.sendall(start)
                answer = traffic.receive_all(connection)
                assert answer[:13] in (b"HTTP/1.1 408 ", b"HTTP/1.1 200 ", b"")

        yield once


def kinds_11() -> dict[str, Kind]:
    ways: dict[str, traffic.ServerClass] = {
        "HTTP/1.1": Server,
        "HTTP/1.1, threads": traffic.threaded,
    }
    kinds: dict[str, Kind] = {
        "silent client (HTTP/1.1)": partial(slow_client_11, b""),
        "slow client (HTTP/1.1)": partial(slow_client_11, GET[:20]),
        "slow body (HTTP/1.1)": partial(slow_client_11, traffic.post(b"x", 2)),
        "resting client (HTTP/1.1)": partial(slow_client_11, GET),
    }
    for way, make in ways.items():
        kinds[f"kept ({way})"] = partial(kept_connection, make, GET)
        kinds[f"kept, bodies ({way})"] = partial(kept_connection, make, traffic.post(b"x"))
        kinds[f"kept, chunked ({way})"] = partial(
            kept_connection, make, traffic.CHUNKED + traffic.CHUNKS
        )
        kinds[f"output waiting ({way})"] = partial(client_gone_with_output_waiting, make)
    kinds |= {
        f"{n} (HTTP/1.1)": partial(traffic.in_the_loop, CASES_11[n], Server) for n in CASES_11
    }
    for name in IN_THREADS_11:
        kind = partial(traffic.in_the_loop, CASES_11[name], traffic.threaded)
        kinds[f"{name} (HTTP/1.1, threads)"] = kind
    return kinds


IN_THREADS_11 = (
    *("plain", "pipelined", "bodies", "body in a file", "chunked bodies", "stream", "write()"),
    *("written ahead", "file", "early hints", "large block", "application fails", "refused"),
    *("application fails after a block", "client gone in the response"),
)


KINDS: dict[str, Kind] = {
    "parse_request() alone": parse_alone,
    "get_environ() alone": environ_alone,
    "headers of a request": message_alone,
    "edits of Headers": header_edits,
    "edits of Headers that are refused": refused_header_edits,
    "SimpleHandler": simple_handler,
    "silent connection": silent_connection,
    "resting connection": resting_connection,
    "silent client": partial(slow_client, b""),
    "slow client": partial(slow_client, GET[:20]),
    **{f"{name} (in memory)": partial(traffic.in_memory, case) for name, case in CASES.items()},
    **{f"{name} (sockets)": partial(traffic.over_sockets, case) for name, case in CASES.items()},
    **{f"{name} (loop)": partial(traffic.in_the_loop, CASES[name]) for name in IN_THE_LOOP},
    **{
        f"{name} (threads)": partial(traffic.in_the_loop, CASES[name], ThreadingWSGIServer)
        for name in ("plain", "kept connection", "client gone in the response")
    },
    **kinds_11(),
}


# Leaks


def refer_again(thing: object) -> None:
    """Do what a kernel does that takes one reference too many."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def keeps_environ(kept: list[Any]) -> Application:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        kept.append(environ)
        return traffic.hello(environ, start_response)

    return app


def doing(leak: Callable[[], object]) -> Application:
    """Return an application that does something at each request."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        leak()
        return traffic.hello(environ, start_response)

    return app


def takes_memory(size: int) -> Any:
    ctypes.pythonapi.PyMem_RawMalloc.restype = ctypes.c_void_p
    return ctypes.pythonapi.PyMem_RawMalloc(ctypes.c_size_t(size))


def takes_pages() -> None:
    pages = mmap(-1, 1 << 15)
    pages[:: 1 << 12] = b"x" * 8
    refer_again(pages)


def leaking(app: Application) -> Kind:
    return partial(traffic.in_memory, Case(GET, app))


def leaking_11(app: Application) -> Kind:
    return partial(traffic.in_the_loop, Case(GET, app, traffic.OK), Server)


LEAKS: dict[str, Kind] = {
    "objects": leaking(keeps_environ([])),
    "blocks": leaking(doing(lambda: refer_again(bytes(100)))),
    "bytes": leaking(doing(lambda: refer_again(bytes(5000)))),
    "bytes of C": leaking(doing(lambda: takes_memory(200))),
    "references": leaking(doing(lambda: refer_again(traffic.hello))),
    "descriptors": leaking(doing(lambda: os.open(os.devnull, os.O_RDONLY))),
    "resident": leaking(doing(takes_pages)),
    "objects HTTP/1.1": leaking_11(keeps_environ([])),
    "blocks HTTP/1.1": leaking_11(doing(lambda: refer_again(bytes(100)))),
}


def report(kinds: dict[str, Kind], count: int) -> bool:
    """Print what grows; tell whether anything does."""
    growing = 0
    for name, kind in kinds.items():
        grown: dict[str, int] = {}
        with redirect_stderr(traffic.Sink()):
            for names in TOGETHER:
                grown |= growth(kind, count, names)
        if grown:
            growing += 1
            print(name, *(f"{what}+{more}" for what, more in grown.items()), sep="\t", flush=True)
    print(f"{len(kinds)} kinds, {growing} growing, {count} requests each")
    return growing > 0


def main(arguments: list[str]) -> int:
    leaks = arguments[:1] == ["--leaks"]
    count, *words = arguments[leaks:] or ["1000"]
    kinds = LEAKS if leaks else KINDS
    chosen = {n: kind for n, kind in kinds.items() if not words or any(w in n for w in words)}
    gc.freeze()  # what is here now stays: nobody has to look through it each time
    return int(report(chosen, int(count)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
