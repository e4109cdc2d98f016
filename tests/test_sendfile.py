"""`ServerHandler.sendfile`: the same response as by iteration, without reading the file."""

from __future__ import annotations

import errno
import gzip
import io
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from certificates import CAN_BE_MADE, Contexts, encrypted
from libraries import dateless
from support import (
    PATIENCE,
    QuietHandler,
    connected,
    exchange,
    receive_all,
    serving,
    split_response,
)
from wsgiref_fast import _sendfile
from wsgiref_fast._streams import ConnectionWriter
from wsgiref_fast.simple_server import ServerHandler, WSGIServer
from wsgiref_fast.util import FileWrapper

pytestmark = pytest.mark.usefixtures("implementation")

LEFT_OUT = "" if hasattr(os, "sendfile") else "the system sends no files: all are iterated over"
__test__ = not LEFT_OUT

GET = b"GET / HTTP/1.0\r\n\r\n"
CONTENT = os.urandom(1 << 20)
Opener = Callable[[Path], Any]
Call = tuple[int, int, int]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Make a file of 1 MiB."""
    path = tmp_path / "content"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """Note down what the system is asked for: position, count, and what it sent."""
    noted: list[Call] = []
    real = os.sendfile

    def sendfile(out: int, file: int, position: int, count: int) -> int:
        sent = real(out, file, position, count)
        noted.append((position, count, sent))
        return sent

    monkeypatch.setattr(os, "sendfile", sendfile)
    return noted


class Sender:
    """An application that answers with a file, and keeps the wrapper."""

    def __init__(self, opener: Callable[[], Any], *headers: tuple[str, str]) -> None:
        self.opener = opener
        self.headers = list(headers)
        self.status = "200 OK"
        self.blksize = 8192
        self.wrapper: Any = None
        self.position: int | None = None

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        start_response(self.status, self.headers[:])
        file = self.opener()
        self.wrapper = environ["wsgi.file_wrapper"](file, self.blksize)
        self.wrapper.close = lambda: self.close(file)
        return self.wrapper

    def close(self, file: Any) -> None:
        try:
            self.position = file.tell()
        except (OSError, ValueError, AttributeError):
            pass
        file.close()


def length(size: int) -> tuple[str, str]:
    return ("Content-Length", str(size))


def answer(app: Any, request: bytes = GET, handler_class: Any = QuietHandler) -> tuple[bytes, str]:
    """Return the response to a request, and the log line."""
    with serving(app, handler_class=handler_class) as server:
        response = exchange(server, request)
    return response, " ".join(vars(server)["log"])


def body_of(response: bytes) -> bytes:
    return split_response(response)[2]


def iterated(app: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[bytes, str]:
    """Return what the response and the log line are where the file is iterated over."""
    with monkeypatch.context() as patch:
        patch.delattr(os, "sendfile")
        return answer(app)


# -- The same response ---------------------------------------------------------------------


@pytest.mark.parametrize("headers", [(), (length(len(CONTENT)),)], ids=["no length", "length"])
def test_the_response_is_that_of_iteration(
    path: Path, calls: list[Call], headers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Sender(lambda: path.open("rb"), *headers)
    response, log = answer(app)
    assert calls[0][:2] == (0, len(CONTENT))
    assert body_of(response) == CONTENT
    assert app.position == len(CONTENT)
    asked = len(calls)
    others, other_log = iterated(app, monkeypatch)
    assert (dateless(response), log) == (dateless(others), other_log)
    assert app.position == len(CONTENT)
    assert len(calls) == asked


def advanced(file: Any) -> Any:
    file.read(10)
    return file


def lines_read(file: Any) -> Any:
    file.readline()
    file.readline()
    return file


def at_the_last_bytes(file: Any) -> Any:
    file.seek(-40_000, os.SEEK_END)
    return file


def unbuffered(path: Path) -> Any:
    return path.open("rb", buffering=0)


def random_access(path: Path) -> Any:
    return path.open("r+b")


def temporary(path: Path) -> Any:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the application's to close
    file.write(path.read_bytes())  # the end of which no descriptor knows of yet
    file.seek(0)
    return file


@pytest.mark.parametrize("opener", [lambda path: path.open("rb"), unbuffered, random_access])
@pytest.mark.parametrize("move", [advanced, lines_read, at_the_last_bytes])
def test_a_file_is_sent_from_where_it_stands(
    path: Path, calls: list[Call], opener: Opener, move: Callable[[Any], Any]
) -> None:
    with opener(path) as file:
        position = move(file).tell()
    app = Sender(lambda: move(opener(path)), length(len(CONTENT) - position))
    assert body_of(answer(app)[0]) == CONTENT[position:] != CONTENT
    assert calls[0][0] == position
    assert app.position == len(CONTENT)


def test_a_temporary_file_is_sent_with_what_was_just_written(path: Path, calls: list[Call]) -> None:
    def open_written() -> Any:
        file = temporary(path)
        file.seek(0, os.SEEK_END)
        file.write(b"just written")
        file.seek(5)
        return file

    assert body_of(answer(Sender(open_written))[0]) == CONTENT[5:] + b"just written"
    assert calls


def test_a_buffered_write_is_in_the_length(path: Path, calls: list[Call]) -> None:
    def open_written() -> Any:
        file = path.open("r+b")
        file.write(b"x" * 9)
        return file

    assert body_of(answer(Sender(open_written))[0]) == CONTENT[9:]
    assert path.read_bytes() == b"x" * 9 + CONTENT[9:]
    assert calls


def test_a_part_beyond_2_gib_is_sent(tmp_path: Path, calls: list[Call]) -> None:
    sparse, start = tmp_path / "sparse", (3 << 30) + 1
    with sparse.open("wb") as file:
        file.truncate(start)
        file.seek(start)
        file.write(CONTENT)
    with sparse.open("rb") as file:
        file.seek(start - 5)
        response, log = answer(Sender(lambda: file))
    assert body_of(response) == bytes(5) + CONTENT
    assert calls[0][0] == start - 5
    assert log.endswith(f" {len(CONTENT) + 5}")


@pytest.mark.parametrize("at_once", [1, 4096])
def test_several_calls_send_it_all(
    path: Path, calls: list[Call], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sendfile, "_AT_ONCE", at_once)
    path.write_bytes(CONTENT[:33_000])
    response, log = answer(Sender(lambda: path.open("rb")))
    assert body_of(response) == CONTENT[:33_000]
    assert len(calls) == -(-33_000 // at_once)
    assert log.endswith(" 33000")


# -- Lengths -------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [0, 1, 100, 33_000, len(CONTENT) - 1])
def test_no_more_is_sent_than_was_said(path: Path, calls: list[Call], wanted: int) -> None:
    app = Sender(lambda: path.open("rb"), length(wanted))
    response, log = answer(app)
    assert body_of(response) == CONTENT[:wanted]
    assert sum(sent for _, _, sent in calls) == wanted
    assert log.endswith(f" {wanted}")
    assert app.position == len(CONTENT)  # as after the last read of an iteration


def test_no_more_is_sent_of_a_small_file(path: Path) -> None:
    path.write_bytes(CONTENT[:1000])
    assert body_of(answer(Sender(lambda: path.open("rb"), length(999)))[0]) == CONTENT[:999]


def test_of_a_short_file_is_sent_what_is_there(path: Path, calls: list[Call]) -> None:
    app = Sender(lambda: path.open("rb"), length(len(CONTENT) + 1))
    response, log = answer(app)
    assert body_of(response) == CONTENT
    assert log.endswith(f" {len(CONTENT)}")
    assert calls


@pytest.mark.parametrize("said", ["", "x", "-1", "+5", "1_0", "\xb2", "9" * 5000])
def test_an_odd_length_leaves_it_to_iteration(said: str, calls: list[Call], path: Path) -> None:
    app = Sender(lambda: path.open("rb"), ("Content-Length", said))
    assert body_of(answer(app)[0]) == CONTENT
    assert calls == []


def test_repeated_lengths_leave_it_to_iteration(path: Path, calls: list[Call]) -> None:
    app = Sender(lambda: path.open("rb"), length(5), length(6))
    assert body_of(answer(app)[0]) == CONTENT
    assert calls == []


def test_what_was_written_before_counts(path: Path, calls: list[Call]) -> None:
    class Writing(Sender):
        def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
            def start(status: str, headers: Any) -> None:
                start_response(status, headers)(b"written;")

            return super().__call__(environ, start)

    response, log = answer(Writing(lambda: path.open("rb"), length(50_008)))
    assert body_of(response) == b"written;" + CONTENT[:50_000]
    assert log.endswith(" 50008")
    assert calls


@pytest.mark.parametrize("told", [False, True], ids=["no length", "length"])
def test_a_file_that_shrinks_ends_where_it_ends(
    path: Path, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.sendfile

    def sendfile(*args: Any) -> int:
        os.truncate(path, 70_000)
        return real(*args)

    monkeypatch.setattr(os, "sendfile", sendfile)
    app = Sender(lambda: path.open("rb"), *[length(len(CONTENT))][: int(told)])
    response, log = answer(app)
    assert body_of(response) == CONTENT[:70_000]
    assert log.endswith(" 70000")


def test_a_file_that_vanishes_in_between_is_no_endless_loop(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.sendfile

    def sendfile(*args: Any) -> int:
        os.truncate(path, 0)
        return real(*args)

    monkeypatch.setattr(os, "sendfile", sendfile)
    response, log = answer(Sender(lambda: path.open("rb")))
    assert body_of(response) == b""
    assert log.endswith(" 0")


def test_a_file_that_grows_is_sent_to_its_new_end(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, grown = os.sendfile, [b"grown"]

    def sendfile(*args: Any) -> int:
        with path.open("ab") as file:
            file.write(grown.pop() if grown else b"")
        return real(*args)

    monkeypatch.setattr(os, "sendfile", sendfile)
    app = Sender(lambda: path.open("rb"))
    assert body_of(answer(app)[0]) == CONTENT + b"grown"
    assert app.position == len(CONTENT) + 5


# -- What is iterated over -----------------------------------------------------------------


class Lying(io.BytesIO):
    """A file in memory that says it has a descriptor: that of another."""

    def __init__(self, data: bytes, path: Path) -> None:
        super().__init__(data)
        self._other = path.open("rb")

    def fileno(self) -> int:
        return self._other.fileno()

    def close(self) -> None:
        self._other.close()
        super().close()


class Raw(io.FileIO):
    """A raw file that reads something else than its descriptor has."""

    def readinto(self, buffer: Any, /) -> int:
        count = super().readinto(buffer) or 0
        view = memoryview(buffer).cast("B")
        view[:count] = bytes(byte ^ 1 for byte in view[:count])
        return count


class Buffered(io.BufferedReader):
    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size)[::-1]


def open_pipe(_: Path) -> Any:
    source, sink = os.pipe()
    os.write(sink, CONTENT[:60_000])
    os.close(sink)
    return open(source, "rb")


def open_gzip(path: Path) -> Any:
    packed = path.with_suffix(".gz")
    packed.write_bytes(gzip.compress(path.read_bytes(), 1))
    return gzip.open(packed)


def open_spooled(path: Path) -> Any:
    file = tempfile.SpooledTemporaryFile(max_size=10)  # noqa: SIM115
    file.write(path.read_bytes())
    file.seek(0)
    return file


def open_named(path: Path) -> Any:
    file = tempfile.NamedTemporaryFile()  # noqa: SIM115
    file.write(path.read_bytes())
    file.seek(0)
    return file


def with_own_read(path: Path) -> Any:
    file = path.open("rb")
    read = file.read
    file.read = lambda size=-1, /: read(size)[::-1]  # type: ignore[method-assign]
    return file


def with_own_raw_read(path: Path) -> Any:
    file = path.open("rb")
    readinto = file.raw.readinto
    file.raw.readinto = lambda buffer, /: readinto(buffer)  # type: ignore[method-assign]
    return file


ITERATED: dict[str, Opener] = {
    "in memory": lambda path: io.BytesIO(path.read_bytes()),
    "lying": lambda path: Lying(CONTENT[::-1], path),
    "compressed": open_gzip,
    "spooled": open_spooled,
    "named": open_named,
    "pipe": open_pipe,
    "raw of its own": lambda path: io.BufferedReader(Raw(path)),
    "reader of its own": lambda path: Buffered(io.FileIO(path)),
    "buffer over memory": lambda path: io.BufferedReader(io.BytesIO(path.read_bytes())),
    "two buffers": lambda path: io.BufferedReader(path.open("rb")),
    "own read": with_own_read,
    "own raw read": with_own_raw_read,
    "small": lambda path: at_end(path, 5000),
    "at its end": lambda path: at_end(path, 0),
    "beyond its end": lambda path: at_end(path, -5),
}


def at_end(path: Path, left: int) -> Any:
    file = path.open("rb")
    file.seek(len(CONTENT) - left)
    return file


@pytest.mark.parametrize("opener", ITERATED.values(), ids=ITERATED)
def test_what_is_no_plain_file_is_iterated_over(
    path: Path, opener: Opener, calls: list[Call]
) -> None:
    with opener(path) as file:
        expected = b"".join(FileWrapper(file))
    assert body_of(answer(Sender(lambda: opener(path)))[0]) == expected
    assert calls == []


MADE_UP = [path for path in (Path("/proc/version"), Path("/sys/kernel/notes")) if path.exists()]


@pytest.mark.parametrize("made_up", MADE_UP, ids=str)
def test_what_the_system_makes_up_is_whole(made_up: Path) -> None:
    response, _ = answer(Sender(lambda: made_up.open("rb")))
    assert body_of(response) == made_up.read_bytes() != b""


@pytest.mark.parametrize(
    "opener",
    [lambda path: path.open(), lambda path: path.open("ab")],
    ids=["text", "only written"],
)
def test_what_cannot_be_read_as_bytes_is_an_error_page(
    path: Path, opener: Opener, calls: list[Call], capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_text("text\n" * 20_000)
    response, _ = answer(Sender(lambda: opener(path)))
    assert split_response(response)[0].endswith("500 Internal Server Error")
    assert "Traceback" in capsys.readouterr().err
    assert calls == []


def test_a_closed_file_is_an_error_page(
    path: Path, calls: list[Call], capsys: pytest.CaptureFixture[str]
) -> None:
    def open_closed() -> Any:
        with path.open("rb") as file:
            return file

    response, _ = answer(Sender(open_closed))
    assert split_response(response)[0].endswith("500 Internal Server Error")
    assert "closed file" in capsys.readouterr().err
    assert calls == []


def test_a_block_size_of_0_is_no_file_at_all(path: Path, calls: list[Call]) -> None:
    app = Sender(lambda: path.open("rb"))
    app.blksize = 0
    assert body_of(answer(app)[0]) == b""
    assert calls == []


class Reversing(FileWrapper):
    def __next__(self) -> Any:
        return super().__next__()[::-1]


def test_a_wrapper_that_iterates_otherwise_is_iterated_over(
    path: Path, calls: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = b"".join(Reversing(io.BytesIO(CONTENT)))
    monkeypatch.setattr(ServerHandler, "wsgi_file_wrapper", Reversing)
    assert body_of(answer(Sender(lambda: path.open("rb")))[0]) == expected
    assert calls == []


def test_a_step_of_the_wrapper_set_later_is_taken(
    path: Path, calls: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FileWrapper, "__iter__", lambda self: iter([b"own"]))
    assert body_of(answer(Sender(lambda: path.open("rb")))[0]) == b"own"
    assert calls == []


def test_a_wrapper_that_has_ended_gives_nothing(path: Path, calls: list[Call]) -> None:
    class Ended(Sender):
        def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
            wrapper = super().__call__(environ, start_response)
            assert b"".join(wrapper) == CONTENT
            wrapper.filelike.seek(0)
            return wrapper

    assert body_of(answer(Ended(lambda: path.open("rb")))[0]) == b""
    assert calls == []


def test_the_wrapper_has_ended_afterwards(path: Path, calls: list[Call]) -> None:
    with path.open("rb") as file:
        wrapper = FileWrapper(file)
        del wrapper.close
        run_over_a_pair(lambda environ, start: start("200 OK", []) and wrapper)
        file.seek(0)
        assert list(wrapper) == []
    assert calls


def test_without_the_systems_call_files_are_iterated_over(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Sender(lambda: path.open("rb"), length(len(CONTENT)))
    assert body_of(iterated(app, monkeypatch)[0]) == CONTENT


class TestThroughTls:
    #: Without the command that makes a certificate there is nothing to collect here.
    __test__ = CAN_BE_MADE

    def test_files_are_iterated_over(
        self, path: Path, calls: list[Call], contexts: Contexts
    ) -> None:
        class Encrypting(WSGIServer):
            def get_request(self) -> Any:
                connection, address = super().get_request()
                return contexts.server.wrap_socket(connection, server_side=True), address

        with (
            serving(Sender(lambda: path.open("rb")), Encrypting) as server,
            encrypted(server, contexts) as connection,
        ):
            connection.sendall(GET)
            assert body_of(receive_all(connection)) == CONTENT
        assert calls == []


# -- Responses without a body --------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_line", "status"), [(b"HEAD", "200 OK"), (b"GET", "204 No"), (b"GET", "304 Not")]
)
def test_a_response_without_a_body_sends_nothing_of_it(
    path: Path, calls: list[Call], request_line: bytes, status: str
) -> None:
    app = Sender(lambda: path.open("rb"))
    app.status = status
    assert body_of(answer(app, GET.replace(b"GET", request_line))[0]) == b""
    assert calls == []


def test_an_empty_file_has_a_length_of_0(path: Path, calls: list[Call]) -> None:
    path.write_bytes(b"")
    _, headers, body = split_response(answer(Sender(lambda: path.open("rb")))[0])
    assert (dict(headers)["Content-Length"], body) == ("0", b"")
    assert calls == []


# -- Hooks ---------------------------------------------------------------------------------


@contextmanager
def patched_handler(place: str, name: str, value: Any, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Override a method of each `ServerHandler`: on the class, or on the instance."""
    with patch.context() as context:
        if place == "class":
            context.setattr(ServerHandler, name, value)
        else:
            setup = ServerHandler.setup_environ

            def setup_environ(self: ServerHandler) -> None:
                setattr(self, name, value.__get__(self))
                setup(self)

            context.setattr(ServerHandler, "setup_environ", setup_environ)
        yield


@pytest.mark.parametrize("place", ["class", "instance"])
@pytest.mark.parametrize(
    "name", ["write", "_write", "_flush", "finish_content", "set_content_length"]
)
def test_whoever_has_a_step_of_their_own_sees_it(
    path: Path, calls: list[Call], place: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    original = getattr(ServerHandler, name)

    def step(self: ServerHandler, *args: Any) -> Any:
        seen.append(args)
        return original(self, *args)

    with patched_handler(place, name, step, monkeypatch):
        assert body_of(answer(Sender(lambda: path.open("rb")))[0]) == CONTENT
    assert seen
    assert calls == []


@pytest.mark.parametrize("place", ["class", "instance"])
@pytest.mark.parametrize("sends", [False, True])
def test_an_overridden_sendfile_decides(
    path: Path, calls: list[Call], place: str, sends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sendfile(self: ServerHandler) -> bool:
        if sends:
            self.send_headers()
            self._write(b"sent by hand")
        return sends

    with patched_handler(place, "sendfile", sendfile, monkeypatch):
        response, _ = answer(Sender(lambda: path.open("rb")))
    assert body_of(response) == (b"sent by hand" if sends else CONTENT)
    assert calls == []


def test_an_overridden_sendfile_may_call_ours(
    path: Path, calls: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = ServerHandler.sendfile
    answers: list[bool] = []

    def sendfile(self: ServerHandler) -> bool:
        answers.append(original(self))
        return answers[-1]

    monkeypatch.setattr(ServerHandler, "sendfile", sendfile)
    assert body_of(answer(Sender(lambda: path.open("rb")))[0]) == CONTENT
    assert answers == [True]
    assert calls


def test_who_completes_the_headers_sees_what_iteration_shows(
    path: Path, calls: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, bool]] = []
    original = ServerHandler.cleanup_headers

    def cleanup_headers(self: ServerHandler) -> None:
        seen.append((self.bytes_sent, self.headers_sent))
        original(self)
        self.headers["Content-Length"] = "40000"

    monkeypatch.setattr(ServerHandler, "cleanup_headers", cleanup_headers)
    response, log = answer(Sender(lambda: path.open("rb")))
    assert body_of(response) == CONTENT[:40_000]
    assert log.endswith(" 40000")
    assert seen == [(8192, False)]
    assert calls
    iterated(Sender(lambda: path.open("rb")), monkeypatch)
    assert seen == [(8192, False)] * 2


def test_a_head_that_cannot_be_made_is_an_error_page(
    path: Path, calls: list[Call], capsys: pytest.CaptureFixture[str]
) -> None:
    response, _ = answer(Sender(lambda: path.open("rb"), ("X-Odd", "\u20ac")))
    assert split_response(response)[0].endswith("500 Internal Server Error")
    assert response.count(b"HTTP/1.0") == 1
    assert "UnicodeEncodeError" in capsys.readouterr().err
    assert calls == []


# -- The connection ------------------------------------------------------------------------


class Logger:
    """A request handler for a `ServerHandler` alone."""

    def __init__(self) -> None:
        self.logged: list[tuple[Any, ...]] = []
        self.close_connection = True

    def log_request(self, *args: Any) -> None:
        self.logged.append(args)


def run_on(connection: socket.socket, app: Any) -> tuple[Logger, str]:
    """Run an application for a connection; return the log and what went wrong."""
    errors = io.StringIO()
    environ = {"REQUEST_METHOD": "GET", "SERVER_PROTOCOL": "HTTP/1.0"}
    handler = ServerHandler(io.BytesIO(), ConnectionWriter(connection), errors, environ)
    handler.request_handler = logger = Logger()
    handler.run(app)
    return logger, errors.getvalue()


def run_over_a_pair(app: Any, fails: bool = False) -> bytes:
    """Run an application over a pair of sockets; return all that it sends."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        received: list[bytes] = []
        reading = threading.Thread(target=lambda: received.append(receive_all(theirs)))
        reading.start()
        _, errors = run_on(ours, app)
        ours.close()
        reading.join(PATIENCE)
    assert bool(errors) == fails
    return received[0]


@pytest.mark.parametrize("timeout", [PATIENCE, 0, None])
def test_a_slow_reader_gets_it_all(
    path: Path, calls: list[Call], timeout: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = threading.Event()
    real_wait = _sendfile._wait

    def wait(connection: socket.socket) -> None:
        full.set()
        real_wait(connection)

    monkeypatch.setattr(_sendfile, "_wait", wait)
    if timeout is None:
        full.set()  # the system waits
    ours, theirs = socket.socketpair()
    ours.settimeout(timeout)
    received: list[bytes] = []

    def read_late() -> None:
        assert full.wait(PATIENCE)
        received.append(receive_all(theirs))

    reading = threading.Thread(target=read_late)
    reading.start()
    with theirs:
        with ours:
            logger, errors = run_on(ours, Sender(lambda: path.open("rb")))
        reading.join(PATIENCE)
    assert body_of(received[0]) == CONTENT
    assert (logger.logged, errors) == ([("200", len(CONTENT))], "")
    assert calls


def test_a_reader_that_stops_is_given_up_after_the_timeout(path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0.01)
        app = Sender(lambda: path.open("rb"))
        _, errors = run_on(ours, app)
    assert errors.rstrip().endswith("TimeoutError: timed out")
    assert app.wrapper.filelike.closed


@pytest.mark.parametrize("at_once", [1 << 30, 1000])
def test_a_client_that_goes_away_is_no_error(
    path: Path, at_once: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    closed = threading.Event()
    monkeypatch.setattr(_sendfile, "_AT_ONCE", at_once)

    class Long(Sender):
        def close(self, file: Any) -> None:
            super().close(file)
            closed.set()

    path.write_bytes(CONTENT * 16)
    with serving(Long(lambda: path.open("rb"))) as server:
        with connected(server) as connection:
            connection.sendall(GET)
            assert connection.recv(1000)
        assert closed.wait(PATIENCE)
        assert body_of(exchange(server, GET)) == CONTENT * 16
    assert "Traceback" not in capsys.readouterr().err


def test_a_client_that_has_gone_ends_it(path: Path) -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours:
        app = Sender(lambda: path.open("rb"))
        logger, errors = run_on(ours, app)
    assert (logger.logged, errors) == ([], "")
    assert app.wrapper.filelike.closed


def test_a_kept_connection_goes_on_behind_a_file(path: Path, calls: list[Call]) -> None:
    class Keeping(QuietHandler):
        protocol_version = "HTTP/1.1"

    request = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
    last = request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    app = Sender(lambda: path.open("rb"), length(50_000))
    response, log = answer(app, request + request + last, Keeping)
    responses = response.split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert [body_of(each) for each in responses] == [CONTENT[:50_000]] * 3
    assert log.count(" 200 50000") == 3
    assert len(calls) >= 3


# -- Failures of the system's call ---------------------------------------------------------


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EIO])
@pytest.mark.parametrize("sent_before", [0, 1, 3])
def test_where_the_call_fails_the_rest_is_iterated_over(
    path: Path, code: int, sent_before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.sendfile
    sent: list[int] = []

    def sendfile(out: int, file: int, position: int, count: int) -> int:
        if len(sent) == sent_before:
            raise OSError(code, os.strerror(code))
        sent.append(real(out, file, position, 10_000))
        return sent[-1]

    monkeypatch.setattr(os, "sendfile", sendfile)
    app = Sender(lambda: path.open("rb"), length(len(CONTENT)))
    response, log = answer(app)
    assert body_of(response) == CONTENT
    assert log.endswith(f" {len(CONTENT)}")
    assert len(sent) == sent_before


def test_a_file_closed_by_others_meanwhile_is_not_sent_on(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.sendfile
    app = Sender(lambda: path.open("rb"))

    def sendfile(out: int, file: int, position: int, count: int) -> int:
        sent = real(out, file, position, 1000)
        app.wrapper.filelike.close()
        return sent

    monkeypatch.setattr(os, "sendfile", sendfile)
    assert body_of(run_over_a_pair(app, fails=True)) == CONTENT[:1000]
