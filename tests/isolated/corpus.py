"""Push valid and hostile input through the kernels, for a sanitizer or valgrind to watch.

    python corpus.py [LENGTH]

Every string over a hostile alphabet of up to LENGTH characters (3, where not told) goes
through each place of a request and of a response; then heads that are cut off, huge ones,
arguments of wrong types, and objects that change a list while it is looked at. The HTTP/1.1
server gets the like, the requests beside the tests, and applications that they call. What
matters is that nothing crashes: exceptions are expected, but for a `SystemError`. The
number of calls of each part is printed, and of those that were answered or returned.
"""

from __future__ import annotations

import gc
import io
import json
import random
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stderr, suppress
from functools import partial
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import traffic
from traffic import CASES_11, CLIENT, FIELDS, GET, OK, PATIENCE, Case, Stub

from wsgiref_fast import _impl
from wsgiref_fast.handlers import SimpleHandler
from wsgiref_fast.headers import Headers
from wsgiref_fast.server import Server
from wsgiref_fast.simple_server import WSGIRequestHandler
from wsgiref_fast.util import FileWrapper

Call = Callable[[], object]

ALPHABET = "\r\n\t \0%:/?\x80aZ"

#: Calls of a kernel with more parameters than all combinations could be tried of.
SAMPLES = 4000


def strings(length: int) -> list[str]:
    """Return all strings over the alphabet of up to that length."""
    return ["".join(s) for n in range(length + 1) for s in product(ALPHABET, repeat=n)]


# Requests


class Driver:
    """Serves requests in memory."""

    def __init__(self, app: traffic.Application = traffic.echo) -> None:
        self.case = Case(GET, app)
        self.server = traffic.make_server(self.case)
        self.server.server_close()

    def __call__(self, request: bytes, handler: type[WSGIRequestHandler] = traffic.Keeping) -> bool:
        """Serve a request; tell whether it was answered by the application."""
        stub: Any = Stub(request)
        handler(stub, CLIENT, self.server)
        return b" 200 OK\r\n" in b"".join(stub.sent)


def requests_of(text: str) -> Iterator[bytes]:
    """Return requests that have some text in each of their places."""
    some = text.encode("iso-8859-1")
    yield some
    yield b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % some
    yield b"GET%s/ HTTP/1.1\r\n\r\n" % some
    yield b"GET / HTTP/1.1%s\r\n\r\n" % some
    yield b"GET / HTTP/1.1\r\n%s" % some
    yield b"GET / HTTP/1.1\r\nA%s: 1\r\nCookie: %s\r\n\r\n" % (some, some)
    yield b"POST / HTTP/1.1\r\nContent-Length: 1%s\r\n\r\n1" % some


def short_requests(length: int) -> Iterator[Call]:
    serve = Driver()
    for text in strings(length):
        for request in requests_of(text):
            yield partial(serve, request)


def cut_requests() -> Iterator[Call]:
    """Yield requests of every kind, cut off at each place, and with each byte changed."""
    serve = Driver()
    for name in ("plain", "chunked body", "kept connection, bodies", "escaped target"):
        request = traffic.CASES[name].request
        for end in range(len(request)):
            yield partial(serve, request[:end])
            for byte in (b"\0", b"\r", b"\n", b"\xff", b":"):
                yield partial(serve, request[:end] + byte + request[end + 1 :])


def huge_requests() -> Iterator[Call]:
    """Yield requests around the sizes at which something is told from something else."""
    serve = Driver()
    sizes = (62, 63, 64, 65, 255, 256, 1023, 1024, 1025, 8191, 8192, 8193, 65_400, 70_000, 1 << 20)
    for size in (*sizes, *range(65_525, 65_540)):
        for text in (b"a" * size, b"%41" * (size // 3), b"%" * size, b"\xe9" * size):
            yield partial(serve, b"GET /%s HTTP/1.1\r\n\r\n" % text)
            yield partial(serve, b"GET /?%s HTTP/1.1\r\n\r\n" % text)
            yield partial(serve, b"GET / HTTP/1.1\r\nX-A: %s\r\nHost: x\r\n\r\n" % text)
            yield partial(serve, b"GET / HTTP/1.1\r\n%s: 1\r\nHost: x\r\n\r\n" % text)
    for count in (1, 50, *range(96, 106), 1000, 20_000):
        for line in (b"A: 1\r\n", b"X-%d: %s\r\n" % (count, b"v" * 600), b"Cookie: a\r\n"):
            yield partial(serve, b"GET / HTTP/1.1\r\n" + line * count + b"\r\n")


def whole_cases() -> Iterator[Call]:
    """Yield the requests that other scripts send, in memory and over sockets."""
    for case in traffic.CASES.values():
        for way in (traffic.in_memory, traffic.over_sockets):
            yield partial(run_once, way, case)


def run_once(way: Callable[[Case], Iterator[traffic.Once]], case: Case) -> None:
    for once in way(case):
        once()


# Requests to the HTTP/1.1 server


TESTS = Path(__file__).parent.parent


class Watched(Server):
    """Tells when it has been through what there was to read."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.has_looked = threading.Event()
        super().__init__(*args, **options)

    def service_actions(self) -> None:
        self.has_looked.set()


def send(server: Any, *pieces: bytes) -> bool:
    """Send pieces, most of which come one by one; tell whether the application answered."""
    with traffic.connect(server) as connection:
        with suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
            for piece in pieces[:-1]:
                server.has_looked.clear()
                connection.sendall(piece)
                server.has_looked.wait(PATIENCE)
            connection.sendall(pieces[-1])
            connection.shutdown(socket.SHUT_WR)
        return traffic.receive_all(connection).startswith(OK)


def hostile_requests_11() -> Iterator[Call]:
    """Yield a text in each place of a request, requests cut off, and each byte of one changed."""
    with traffic.looping(Case(b"", traffic.echo), Watched) as server:
        for text in strings(2):
            for request in (*requests_of(text), *requests_11_of(text.encode("iso-8859-1"))):
                yield partial(send, server, request)
                yield partial(send, server, GET + request + GET)
        request = traffic.post(b"abc")
        for end in range(1, len(request)):
            yield partial(send, server, request[:end])
            yield partial(send, server, request[:end], request[end:])
            for byte in (b"\0", b"\r", b"\n", b"\xff", b":"):
                yield partial(send, server, request[:end] + byte + request[end + 1 :])


def requests_11_of(some: bytes) -> Iterator[bytes]:
    get, post = b"GET / HTTP/1.1\r\nHost: x", b"POST / HTTP/1.1\r\nHost: x\r\n"
    yield b"GET /%s?%s HTTP/1.1\r\nHost: x\r\n\r\n" % (some, some)
    yield get + b"%s\r\n\r\n" % some
    yield get + b"\r\nConnection: close%s\r\n\r\n" % some
    yield get + b"\r\nA%s: %s\r\n\r\n" % (some, some)
    yield get + b"\r\nCookie: a\r\nCookie: %s\r\n\r\n" % some
    yield post + b"Content-Length: 1%s\r\n\r\n1" % some
    yield post + b"Transfer-Encoding: chunked%s\r\n\r\n1\r\na\r\n0\r\n\r\n" % some
    yield post + b"Transfer-Encoding: chunked\r\n\r\n1%s\r\na\r\n0\r\n%s\r\n" % (some, some)


def huge_requests_11() -> Iterator[Call]:
    """Yield requests around the sizes of what is received at once, and of the limits."""
    with traffic.looping(Case(b"", traffic.echo), Watched) as server:
        for size in (8100, *range(8160, 8192, 3), 65_000, *range(65_400, 65_540, 15), 130_000):
            head = b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n"
            yield partial(send, server, head % (b"a" * size))
            yield partial(send, server, head % (b"%41" * (size // 3)))
            yield partial(send, server, GET[:-2] + b"A: %s\r\n\r\n" % (b"\xe9" * size))
            yield partial(send, server, traffic.post(b"x" * size) + GET)
            yield partial(send, server, GET * (size // len(GET)))
        for count in (*range(90, 106), 5000):
            yield partial(send, server, GET[:-2] + b"A: 1\r\n" * count + b"\r\n")
            yield partial(send, server, GET[:-2] + b"Cookie: a\r\n" * count + b"\r\n")


def corpus_11() -> Iterator[Call]:
    """Yield the requests that are files, whole, and some of them in pieces."""
    chance = random.Random(1)
    servers: dict[str, list[bytes]] = {}
    for path in sorted((TESTS / "corpus").glob("*.http")):
        options = json.loads(path.with_suffix(".json").read_text("ascii")).get("options", {})
        servers.setdefault(json.dumps(options), []).append(path.read_bytes())
    assert sum(map(len, servers.values())) > 200
    for options, requests in servers.items():
        make = partial(Watched, **json.loads(options))
        with traffic.looping(Case(b"", traffic.echo), make) as server:
            for number, request in enumerate(requests):
                yield partial(send, server, request)
                yield partial(send, server, GET + request + GET)
                if number % 4 == 0 and len(request) > 2:
                    for _ in range(3):
                        first, second = sorted(chance.sample(range(1, len(request)), 2))
                        pieces = request[:first], request[first:second], request[second:]
                        yield partial(send, server, *pieces)


def odd_applications_11() -> Iterator[Call]:
    """Yield plain requests of applications that answer in odd ways, and all cases beside."""
    sys.path.append(str(TESTS))
    from test_kernels_connection import APPS, app, request

    with traffic.looping(Case(b"", app), Watched) as server:
        for name in APPS:
            path = "/" + name.replace(" ", "-")
            yield partial(send, server, request(path))
            yield partial(send, server, request(path) + request("/one") + request(path))
            yield partial(send, server, request(path, method="HEAD"))
            yield partial(send, server, request(path, "Content-Length: 3\r\n", "abc"))
            yield partial(send, server, request(path)[:9], request(path)[9:] * 2)
    for case in CASES_11.values():
        for make in (Server, traffic.threaded):
            yield partial(run_once, partial(traffic.in_the_loop, server_class=make), case)


def wrong_answers_11() -> Iterator[Call]:
    """Yield responses that have something of a wrong type in each place."""
    answer: list[Any] = ["200 OK", [("A", "1")], [b"a"]]

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        status, fields, result = answer
        start_response(status, fields)
        return result

    def respond_by(place: int, value: Any) -> bool:
        answer[:] = ["200 OK", [("A", "1")], [b"a"]]
        answer[place] = value
        return send(server, GET * 2)

    with traffic.looping(Case(b"", app), Watched) as server:
        for value in WRONG:
            for place in range(3):
                yield partial(respond_by, place, value)
            yield partial(respond_by, 2, [value])
            yield partial(respond_by, 1, [("A", value)])
            yield partial(respond_by, 1, [(value, "1")])
            yield partial(respond_by, 1, [("Content-Length", value)])
        for place in range(3):
            for make in (make_vandal, make_vandal_value, make_vandal_pair):
                fields: list[Any] = [("X", str(i)) for i in range(3)]
                fields[place] = make(fields)
                yield partial(respond_by, 1, fields)


# Responses


def short_headers(length: int) -> Iterator[Call]:
    for text in strings(length):
        yield partial(Headers, [(text, "1"), ("A", text)])
        yield partial(edit, text)
        yield partial(respond, "200 " + text, [("A", text)])
        yield partial(respond, text, [(text, "1")])


def edit(text: str) -> None:
    """Let a text be name, value and parameter of every edit, whatever is refused."""
    headers = Headers([("A", "1"), ("a", "2"), ("B\xe9", "3")])
    steps: list[Call] = [
        lambda: headers.__setitem__(text, "1"),
        lambda: headers.__setitem__("A", text),
        lambda: headers.setdefault("C" + text, text),
        lambda: headers.add_header("D", text, e=text),
        lambda: headers.add_header(text, None, **{text: None}),
        lambda: (headers.get(text), headers[text], text in headers, headers.get_all(text)),
        lambda: headers.__delitem__(text),
        lambda: (bytes(headers), str(headers)),
    ]
    for step in steps:
        outcome(step)


def respond(status: Any, fields: Any, result: Any = (b"ok",)) -> bool:
    """Run an application that answers just so; tell whether it went out."""
    output = io.BytesIO()
    environ: dict[str, Any] = {"SERVER_PROTOCOL": "HTTP/1.0", "REQUEST_METHOD": "GET"}
    handler = SimpleHandler(io.BytesIO(), output, sys.stderr, environ)
    handler.run(traffic.gives(result, status, fields))
    return b" 500 " not in output.getvalue()[:20]


def huge_headers() -> Iterator[Call]:
    for size in (0, 1, 239, 240, 241, 480, 65_536, 1 << 20):
        for char in ("a", "\xe9", "\u0100", "\ud800", "\U0001f600", "\t", "\x7f"):
            yield partial(respond, "200 OK", [("A", char * size)])
            yield partial(respond, "200 OK", [(char * size, "1")])
            yield partial(respond, "200 " + char * size, [])
            yield partial(edit, char * size)
    for count in (0, 1, 1000, 100_000):
        yield partial(respond, "200 OK", [("A", "1")] * count)
        yield partial(bytes, Headers([("A", "1")] * count))


# Wrong types


class Text(str):
    """A string that is not exactly one."""

    __slots__ = ()


class Data(bytes):
    """Bytes that are not exactly that."""


class Refuses:
    """An object that can be asked for nothing."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __iter__(self) -> Iterator[Any]:
        raise RuntimeError("no iteration")

    def __len__(self) -> int:
        raise RuntimeError("no length")


WRONG: list[Any] = [
    *(None, True, 0, 1, -1, 1 << 70, 1.5, "", "a", "\u0100", "\ud800", "a\r", b"", b"a", b"\r\n"),
    *(b"GET / HTTP/1.1\r\n", b"A: 1\r\n\r\n", Text("a"), Data(b"A: 1\r\n\r\n"), bytearray(b"a")),
    *(memoryview(b"a"), (), [], {}, object(), Refuses(), str, ("GET", "/", "HTTP/1.1")),
    *([None], [("A",)], ["AB"], [("A", "1", "2")], [("A", b"1")], [(Text("A"), "1")], [["A", "1"]]),
    *({"HTTP_A": "1"}, {1: 2}, {"HTTP_A": None}, {b"A": 1}, [("A", "1")], (("A", "1"),)),
]


def own_headers() -> Iterator[Any]:
    """Return headers in states that nobody should leave them in."""
    yield Headers([("A", "1")])
    yield Headers.__new__(Headers)
    states: list[Any] = [None, (), (("A", "1"),), {}, "AB", [None], [("A",)], [(1, 2)]]
    for value in states:
        headers = Headers()
        headers.__dict__["_headers"] = value
        yield headers
    headers = Headers([("A", "1")])
    headers.__dict__["get"] = None
    yield headers


def wrong_arguments() -> Iterator[Call]:
    """Yield calls of each kernel with arguments that it was not made for."""
    chance = random.Random(1)
    for names in _impl.KERNELS.values():
        for name in names:
            for kernel in kernels(name):
                for arguments in combinations(twin_of(name), chance):
                    yield partial(kernel, *arguments)


def kernels(name: str) -> list[Callable[..., Any]]:
    """Return what a kernel is reached by."""
    compiled = [module for key, module in sys.modules.items() if key in COMPILED]
    return [getattr(module, name) for module in compiled if hasattr(module, name)]


COMPILED = {f"wsgiref_fast._speedups.{name}" for name in _impl.KERNELS}


def twin_of(name: str) -> Any:
    """Return a kernel's twin, which knows its parameters."""
    for module in _impl.KERNELS:
        twin = getattr(sys.modules[f"wsgiref_fast._pure.{module}"], name, None)
        if twin is not None:
            return twin
    raise LookupError(name)


def combinations(twin: Any, chance: random.Random) -> Iterable[tuple[Any, ...]]:
    count = twin.__code__.co_argcount
    choices = [WRONG] * count
    if twin.__code__.co_varnames[0] == "self":  # a method of Headers
        choices[0] = [*own_headers(), *WRONG[:3]]
    if prod(map(len, choices)) <= SAMPLES:
        return product(*choices)
    return (tuple(map(chance.choice, choices)) for _ in range(SAMPLES))


def wrong_responses() -> Iterator[Call]:
    for value in WRONG:
        yield partial(respond, value, [])
        yield partial(respond, "200 OK", value)
        yield partial(respond, "200 OK", [], value)
        yield partial(respond, "200 OK", [], [value])
        yield partial(respond, "200 OK", [("A", value)])
        yield partial(respond, "200 OK", [(value, "1")])
        yield partial(wrap, value)


def wrap(value: Any) -> None:
    """Wrap a file that gives something, in blocks of that size."""
    wrapper = FileWrapper(io.BytesIO(b"1234"), value)
    list(wrapper)
    broken = io.BytesIO()
    broken.read = lambda *_: value  # type: ignore[method-assign]
    for _, block in zip(range(3), FileWrapper(broken), strict=False):
        assert block is value


def wrong_states() -> Iterator[Call]:
    """Yield requests whose handler or server has something wrong in each attribute."""
    for position in (0, 4, 10, len(GET), len(GET) + 4, len(GET) + 5, 1 << 20, 1 << 40):
        yield partial(serve_positioned, position)
    for value in WRONG:
        for name in ("command", "path", "request_version", "client_address", "server_version"):
            yield partial(get_environ, {name: value}, {})
        yield partial(get_environ, {}, {"base_environ": value})
        for name in ("status", "headers", "environ", "result", "stdout", "http_version"):
            yield partial(disturb, name, value)


def get_environ(of_handler: dict[str, Any], of_server: dict[str, Any]) -> object:
    handler: Any = WSGIRequestHandler.__new__(WSGIRequestHandler)
    handler.connection = handler.request = Stub(b"")
    server = handler.server = Driver().server
    handler.client_address = CLIENT
    handler.raw_requestline = b"GET /a%20b?c HTTP/1.1\r\n"
    handler.rfile = io.BufferedReader(io.BytesIO(FIELDS + b"\r\n"))
    assert handler.parse_request()
    vars(handler).update(of_handler)
    vars(server).update(of_server)
    return handler.get_environ()


class Positioned(WSGIRequestHandler):
    """Reads its request from a file in memory, which stands somewhere."""

    position = 0

    def setup(self) -> None:
        super().setup()
        self.rfile = io.BytesIO(b"1234" + GET)
        self.rfile.seek(self.position)


def serve_positioned(position: int) -> bool:
    handler: Any = type("Handler", (Positioned,), {"position": position})
    return Driver()(b"", handler)


def disturb(name: str, value: Any) -> bool:
    """Have an application set its handler's attributes in the middle of a response."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("A", "1")])
        setattr(start_response.__self__, name, value)
        yield b"one"
        setattr(start_response.__self__, name, value)
        yield b"two"

    return Driver(app)(GET, WSGIRequestHandler)


# Objects that change a list while it is looked at


class Vandal(str):
    """A string that empties a list whenever it is asked for anything."""

    victim: Any

    def _strike(self, *_: object) -> Any:
        self.victim.clear()
        return "a"

    def __eq__(self, other: object) -> bool:
        return bool(self._strike())

    def __hash__(self) -> int:
        self._strike()
        return 1


for _name in ("lower", "upper", "strip", "isprintable", "encode", "__str__", "__format__"):
    setattr(Vandal, _name, Vandal._strike)


def disturb_with_vandal() -> bool:
    """Have a handler's attributes hold a name that empties them when it is looked at."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("A", "1")])
        attributes = vars(start_response.__self__)
        vandal: Any = Vandal("a")
        vandal.victim = []
        attributes[vandal] = 1
        vandal.victim = attributes
        return [b"ok"]

    return Driver(app)(GET, WSGIRequestHandler)


class VandalPair(tuple[Any, ...]):
    """A pair that empties the list that it is in."""

    victim: list[Any]

    def __iter__(self) -> Iterator[Any]:
        self.victim.clear()
        return super().__iter__()

    def __getitem__(self, index: Any) -> Any:
        self.victim.clear()
        return super().__getitem__(index)

    def __del__(self) -> None:
        self.victim.clear()


def vandalism() -> Iterator[Call]:
    yield disturb_with_vandal
    for place in range(20):
        for make in (make_vandal, make_vandal_value, make_vandal_pair):
            for act in ACTS:
                yield partial(vandalize, place, make, act)
            yield from (partial(collect, place, act) for act in ACTS)


def make_vandal(victim: list[Any]) -> Any:
    vandal = Vandal("a")
    vandal.victim = victim
    return (vandal, "1")


def make_vandal_value(victim: list[Any]) -> Any:
    return ("A", make_vandal(victim)[0])


def make_vandal_pair(victim: list[Any]) -> Any:
    pair = VandalPair(("A", "1"))
    pair.victim = victim
    return pair


ACTS: list[Callable[[list[Any]], object]] = [
    lambda fields: Headers(fields),
    lambda fields: bytes(raw_headers(fields)),
    lambda fields: str(raw_headers(fields)),
    lambda fields: raw_headers(fields).get("B"),
    lambda fields: raw_headers(fields)["B"],
    lambda fields: "B" in raw_headers(fields),
    lambda fields: raw_headers(fields).get(fields[0][0]),
    lambda fields: raw_headers(fields).__delitem__("A"),
    lambda fields: raw_headers(fields).__setitem__("A", "1"),
    lambda fields: raw_headers(fields).setdefault("B", "1"),
    lambda fields: raw_headers(fields).add_header("A", "1", b="2"),
    lambda fields: respond("200 OK", fields),
]


def raw_headers(fields: list[Any]) -> Headers:
    """Return headers with a list that was never checked."""
    headers: Headers = Headers()
    headers._headers = fields
    return headers


def vandalize(
    place: int, make: Callable[[list[Any]], Any], act: Callable[[list[Any]], object]
) -> None:
    fields: list[Any] = [("X", str(i)) for i in range(20)]
    fields[place] = make(fields)
    act(fields)


class Garbage:
    """A part of a cycle, which empties a list when the collector finds it."""

    def __init__(self, victim: list[Any]) -> None:
        self.victim = victim
        self.cycle = self

    def __del__(self) -> None:
        self.victim.clear()


def collect(moment: int, act: Callable[[list[Any]], object]) -> None:
    """Act on a list that a garbage collection empties at some allocation meanwhile."""
    fields = [("A" if i % 2 else "X", "1") for i in range(20)]
    thresholds = gc.get_threshold()
    Garbage(fields)
    gc.set_threshold(gc.get_count()[0] + moment)
    try:
        act(fields)
    finally:
        gc.set_threshold(*thresholds)
        gc.collect(0)


# All of it


def parts(length: int) -> dict[str, Iterator[Call]]:
    return {
        "short requests": short_requests(length),
        "cut requests": cut_requests(),
        "huge requests": huge_requests(),
        "whole cases": whole_cases(),
        "hostile requests, HTTP/1.1": hostile_requests_11(),
        "huge requests, HTTP/1.1": huge_requests_11(),
        "corpus, HTTP/1.1": corpus_11(),
        "odd applications, HTTP/1.1": odd_applications_11(),
        "wrong answers, HTTP/1.1": wrong_answers_11(),
        "short headers": short_headers(length),
        "huge headers": huge_headers(),
        "wrong arguments": wrong_arguments(),
        "wrong responses": wrong_responses(),
        "wrong states": wrong_states(),
        "vandalism": vandalism(),
    }


def outcome(call: Call) -> str:
    """Make a call; return its result, or the name of its exception."""
    try:
        result = call()
    except SystemError:
        raise  # an error return without an exception, or the other way round
    except Exception as error:
        return type(error).__name__
    return str(result) if type(result) is bool else "done"


def main(arguments: list[str]) -> int:
    length = int(arguments[0]) if arguments else 3
    print(_impl.IMPLEMENTATION)
    for name, calls in parts(length).items():
        with redirect_stderr(traffic.Sink()):
            outcomes = Counter(map(outcome, calls))
        some = ", ".join(f"{n} {what}" for what, n in outcomes.most_common(3))
        print(f"{name}: {outcomes.total()} calls: {some}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
