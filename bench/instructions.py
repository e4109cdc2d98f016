"""Instructions of the kernels, counted and held against what is kept in ``instructions.json``.

``python -m bench.instructions`` counts with valgrind's callgrind, on no clock: two runs differ
by less than 0.2 %. What costs more than the tolerance beyond what is kept is named, and
fails; ``--update`` keeps what was counted.

One process imports all that is needed. Each case is counted by a fork of it, as the difference
between few calls and many.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from importlib import import_module
from itertools import repeat
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from wsgiref_fast import _impl, server
from wsgiref_fast._http11.loop import Loop

from . import subjects, test_parts, test_request
from .conftest import Discarded
from .inputs import BROWSER, MINIMAL, POST, RESPONSE_HEADERS

#: How much dearer a case may be, as a share of what is kept. Counts of one build repeat to
#: 0.2 %; where objects lie, and how strings hash, moves them by up to 1 %, and an edit anywhere
#: may do that. One look-up in a dict more for each common field costs a browser's request 3 %.
TOLERANCE = 0.03

#: How far apart two interpreters may be in what is not the package's; where objects lie moves
#: that by 1 %. A distribution's and one built at home, of the same version, are 13 % apart.
ALIKE = 0.02

KEPT = Path(__file__).with_name("instructions.json")

#: Calls before it is counted: the interpreter adapts its code to them, pools are filled.
_WARMING = 100
#: Calls of a short and of a long stretch; the median of their differences is taken, since the
#: seconds of a ``Date`` may change in one.
_FEW, _MANY, _STRETCHES = 5, 25, 5

# What has callgrind write down how far it has come: a call of it is a stretch's end.
_MARK = os.getppid if hasattr(os, "getppid") else int

# What not all processors of an architecture have, as the C library calls it.
_NOT_USED = "-AVX2,-AVX2_Usable,-AVX_Fast_Unaligned_Load,-ERMS,-FSRM"

_CLIENT = ("127.0.0.1", 54321)

Call = Callable[[], Any]


# What is counted: each function checks what it has made, and returns what is called.


def _request(name: str, request: bytes) -> Call:
    exchange = test_request.make_exchange(subjects.load(name), request)
    test_request.check_exchange(exchange, request)
    return exchange


def _parse_request() -> Call:
    handler, parse = test_request.make_parser(subjects.load("compiled"), BROWSER)
    assert parse()
    assert (handler.command, len(handler.headers)) == ("GET", 12)
    return test_request.make_parser(subjects.load("compiled"), BROWSER)[1]


def _get_environ() -> Call:
    get_environ = test_request.make_environ_maker(subjects.load("compiled"), BROWSER)
    assert get_environ() == test_request.make_environ_maker(subjects.load("stdlib"), BROWSER)()
    return get_environ


def _run() -> Call:
    run = test_request.make_runner(subjects.load("compiled"))
    assert run().endswith(b"Content-Length: 22\r\n\r\nHello, world! 0 bytes\n")
    return run


def _to_bytes() -> Call:
    to_bytes = test_parts.make_serializer(subjects.load("compiled"))
    assert to_bytes().count(b"\r\n") == len(RESPONSE_HEADERS) + 1
    return to_bytes


def _edits() -> Call:
    edit = test_parts.make_editor(subjects.load("compiled"))
    test_parts.check_editor(edit)
    return edit


def _file_wrapper() -> Call:
    read = test_parts.make_file_reader(subjects.load("compiled"))
    assert b"".join(read()) == bytes(range(256)) * 256
    return read


_HELLO = b"Hello, world!\n"
_BLOCK = b"y" * 63 + b"\n"


def _hello(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "14")])
    return [_HELLO]


def _blocks(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    for _ in range(16):
        yield _BLOCK


def _kept(app: Callable[..., Any], request: bytes, body: bytes) -> Call:
    """Return what sends a request over a kept connection, serves it and receives the answer."""
    assert _impl.IMPLEMENTATION == "compiled"
    serving: Any = server.Server(_CLIENT, bind_and_activate=False)
    serving.server_close()
    serving.server_name, serving.server_port = "127.0.0.1", 8000
    serving.setup_environ()
    serving.set_app(app)
    loop = Loop(serving, [], None, True)
    ours, client = socket.socketpair()
    loop._welcome(ours, _CLIENT)
    client.setblocking(False)  # all is sent before it is received: nobody waits
    ready = [(ours.fileno(), 1)]

    def ask() -> bytes:
        client.send(request)
        _impl.heed(loop, ready)
        return client.recv(65536)

    for _ in range(2):
        answer = ask()
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer
        assert answer.partition(b"\r\n\r\n")[2] == body, answer
        assert not loop.peers[ours.fileno()].is_closed
    return ask


_CHUNKED = b"40\r\n%b\r\n" % _BLOCK * 16 + b"0\r\n\r\n"

#: What runs nothing of ours: it tells whether interpreters can be compared.
REFERENCE = "the standard library's: minimal"

CASES: dict[str, Callable[[], Call]] = {
    REFERENCE: lambda: _request("stdlib", MINIMAL),
    "parse_request()": _parse_request,
    "get_environ()": _get_environ,
    "SimpleHandler.run()": _run,
    "bytes(Headers)": _to_bytes,
    "Headers, a sequence of edits": _edits,
    "FileWrapper, 128 blocks of 512": _file_wrapper,
    "request in memory: minimal": lambda: _request("compiled", MINIMAL),
    "request in memory: browser": lambda: _request("compiled", BROWSER),
    "request in memory: POST of 10 KiB": lambda: _request("compiled", POST),
    "Server, kept: hello": lambda: _kept(_hello, MINIMAL, _HELLO),
    "Server, kept: browser": lambda: _kept(_hello, BROWSER, _HELLO),
    "Server, kept: 16 blocks": lambda: _kept(_blocks, MINIMAL, _CHUNKED),
}


# Counting


class CannotCountError(Exception):
    """There is nothing to count with, or nothing to count."""


def count(names: Sequence[str]) -> dict[str, float]:
    """Return the instructions of one call of each case.

    Raises:
        CannotCountError: callgrind or the compiled kernels are missing, or a case went wrong.

    """
    valgrind = find_valgrind()
    with TemporaryDirectory() as folder:
        command = [valgrind, "--tool=callgrind", "--quiet", f"--log-file={folder}/log"]
        command += [f"--callgrind-out-file={folder}/%p", "--dump-before=getppid"]
        _run_inside([], [])  # its bytecode is written: code that was just compiled is dearer
        done = _run_inside(command, names)
        if done.returncode:
            log = Path(folder, "log")
            said = log.read_text().strip() if log.exists() else ""
            raise CannotCountError(f"what was to be counted ended with {done.returncode}. {said}")
        pids = dict(line.split("\t") for line in done.stdout.splitlines())
        return {name: _per_call(Path(folder), pid) for name, pid in pids.items()}


def _run_inside(command: Sequence[str], names: Iterable[str]) -> subprocess.CompletedProcess[str]:
    """Run `count_inside`; the cases are no arguments, which are in memory."""
    return subprocess.run(
        [*command, sys.executable, "-m", "bench.instructions", "--inside"],
        env=_environ(),
        input="\n".join(names),
        stdout=subprocess.PIPE,
        text=True,
    )


def find_valgrind() -> str:
    """Return where valgrind is, and that there is something to be counted.

    Raises:
        CannotCountError: one of them is missing.

    """
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise CannotCountError("valgrind is not installed")
    if _impl.IMPLEMENTATION != "compiled":
        raise CannotCountError("wsgiref_fast is installed without its compiled kernels")
    if not hasattr(os, "fork"):
        raise CannotCountError("this system has no fork()")
    return valgrind


def _environ() -> dict[str, str]:
    """Return an environment in which chance, the user's and the processor count for nothing."""
    return {
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "LC_ALL": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        "PYTHONMALLOC": "default",
        "WSGIREF_FAST_IMPL": "compiled",
        # Else the C library copies by what this processor has, a byte an instruction or 32.
        "GLIBC_TUNABLES": f"glibc.cpu.hwcaps={_NOT_USED}",
    }


def _per_call(folder: Path, pid: str) -> float:
    """Return the median of what many calls take more than few."""
    # The first piece is all that was before, the last what was after.
    pieces = [_total(folder / f"{pid}.{n}") for n in range(2, 2 + 2 * _STRETCHES)]
    differences = [many - few for few, many in zip(pieces[::2], pieces[1::2], strict=True)]
    return median(differences) / (_MANY - _FEW)


def _total(path: Path) -> int:
    found = re.search(r"^totals: (\d+)", path.read_text(), re.MULTILINE)
    assert found is not None, path
    return int(found[1])


def count_inside(names: Sequence[str]) -> None:
    """Have callgrind count each case in a fork; print its name and the process."""
    gc.collect()
    gc.freeze()
    gc.disable()
    for name in names:
        pid = os.fork()
        if not pid:
            try:
                _go(name)
                os._exit(0)
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(1)
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
            raise SystemExit(f"bench.instructions: {name}: failed")
        print(f"{name}\t{pid}", flush=True)


def _go(name: str) -> None:
    with redirect_stderr(Discarded()):
        call = CASES[name]()
        _repeat(call, _WARMING)
        _MARK()
        for number in (_FEW, _MANY) * _STRETCHES:
            _repeat(call, number)
            _MARK()


def _repeat(call: Call, number: int) -> None:
    for _ in repeat(None, number):
        call()


# What is kept


@dataclass
class Counts:
    """Instructions of each case, and what they were counted with."""

    made_with: dict[str, str]
    cases: dict[str, float]

    def save(self, path: Path) -> None:
        """Write all of it as JSON."""
        cases = {name: round(number) for name, number in self.cases.items()}
        text = json.dumps({"made_with": self.made_with, "instructions": cases}, indent=2)
        path.write_text(text + "\n")

    @classmethod
    def load(cls, path: Path) -> Counts:
        """Read what `save` wrote."""
        saved = json.loads(path.read_text())
        return cls(saved["made_with"], saved["instructions"])


def made_with() -> dict[str, str]:
    """Say what counts depend on."""
    valgrind = subprocess.run([find_valgrind(), "--version"], capture_output=True, text=True)
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "architecture": platform.machine(),
        "compiler": _compiler(),
        "cython": _cython(),
        "valgrind": valgrind.stdout.strip().removeprefix("valgrind-"),
        "libc": " ".join(platform.libc_ver()),
    }


def _compiler() -> str:
    """Return what has compiled the kernels, as they have it."""
    binary = Path(import_module("wsgiref_fast._speedups.connection").__file__ or "").read_bytes()
    found = re.findall(rb"(GCC: \([^)]*\)|clang version) (\d[\d.]*)", binary)
    # Beside clang's there is what gcc has made of the C library's start.
    name, version = max(found, key=lambda pair: pair[0][:5] == b"clang", default=(b"", b"unknown"))
    return f"{name.decode().split(' ')[0].strip(':')} {version.decode()}".strip()


def _cython() -> str:
    """Return what has translated the kernels, as it calls the module that they share."""
    names = (re.fullmatch(r"_cython_(\d+(?:_\w+)*)", name) for name in list(sys.modules))
    return next((name[1].replace("_", ".") for name in names if name), "unknown")


def why_not_comparable(kept: Counts, now: Counts) -> str:
    """Say in what the two differ so that counts mean nothing; nothing, if they do not.

    Interpreters of one version differ too, by how they were compiled: what they take for the
    standard library's own work tells, once it is counted.
    """
    for what, parts in (("python", 2), ("architecture", 0), ("compiler", 1)):
        old, new = kept.made_with[what], now.made_with[what]
        if _cut(old, parts) != _cut(new, parts):
            return f"{what} {new} here, {old} there"
    if REFERENCE in kept.cases and REFERENCE in now.cases:
        change = now.cases[REFERENCE] / kept.cases[REFERENCE] - 1
        if abs(change) > ALIKE:
            return f"{change:+.1%} for what is not the package's, so the interpreter is another"
    return ""


def _cut(version: str, parts: int) -> str:
    """Return a name and the first parts of its version."""
    name, _, number = version.partition(" ")
    return " ".join([name, *number.split(".")[:parts]])


# Comparing


@dataclass
class Comparison:
    """What has become of what is kept: a line for each case, and what there is to say."""

    lines: list[str] = field(default_factory=list)
    dearer: list[str] = field(default_factory=list)
    cheaper: list[str] = field(default_factory=list)
    # Cases that only one side has.
    unmatched: list[str] = field(default_factory=list)

    @property
    def has_failed(self) -> bool:
        return bool(self.dearer or self.unmatched)


def compare(
    kept: dict[str, float], now: dict[str, float], tolerance: float = TOLERANCE
) -> Comparison:
    """Hold counts against what is kept."""
    found = Comparison([_line("case", "kept", "now", "change")])
    for name in [*now, *(name for name in kept if name not in now)]:
        old, new = kept.get(name), now.get(name)
        if old is None or new is None:
            found.unmatched.append(f"{name}: {'not kept' if old is None else 'not counted'}")
            found.lines.append(_line(name, _shown(old), _shown(new), ""))
            continue
        change = new / old - 1
        found.lines.append(_line(name, _shown(old), _shown(new), f"{change:+.1%}"))
        if change > tolerance:
            found.dearer.append(f"{name}: {change:+.1%}")
        elif change < -tolerance:
            found.cheaper.append(f"{name}: {change:+.1%}")
    return found


def _shown(number: float | None) -> str:
    return "-" if number is None else f"{number:,.0f}"


def _line(case: str, *columns: str) -> str:
    return f"{case:36}" + "".join(f"{column:>12}" for column in columns)


def report(found: Comparison, kept: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return lines that say what has been found, and what to do about it."""
    lines = [*found.lines, ""]
    lines += [f"dearer by more than {TOLERANCE:.0%}: {case}" for case in found.dearer]
    lines += [f"unmatched: {case}" for case in found.unmatched]
    if found.has_failed:
        lines.append("What is meant goes with --update into the same commit, which says why.")
    lines += [f"cheaper by more than {TOLERANCE:.0%}: {case}" for case in found.cheaper]
    if found.cheaper:
        lines.append("--update keeps that, so that it cannot get lost unseen.")
    others = [
        f"{what} {now[what]}, kept {kept.get(what)}" for what in now if now[what] != kept.get(what)
    ]
    if others and (found.dearer or found.cheaper):
        lines.append(f"It need not be the package: {'; '.join(others)}.")
    if not found.has_failed:
        lines.append(f"none is dearer by more than {TOLERANCE:.0%}")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Count and compare, or keep; return the exit status."""
    parser = argparse.ArgumentParser(
        "bench.instructions", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--only", metavar="PATTERN", default="", help="cases that this matches")
    parser.add_argument("--update", action="store_true", help="keep what was counted")
    parser.add_argument("--file", type=Path, default=KEPT, help="instead of instructions.json")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.inside:
        count_inside(sys.stdin.read().splitlines())
        return 0
    try:
        act = update if options.update else check
        return act(options.file, options.only)
    except CannotCountError as error:
        print(f"bench.instructions: {error}", file=sys.stderr)
        return 2


def check(path: Path, pattern: str = "") -> int:
    """Count, and compare with what is kept; return the exit status."""
    find_valgrind()
    if not path.exists():
        raise CannotCountError(f"{path} is not there: see --update")
    kept, now = Counts.load(path), Counts(made_with(), {})
    why = why_not_comparable(kept, now)
    if not why:
        now.cases = count(select(CASES, pattern))
        why = why_not_comparable(kept, now)
    if why:
        print(f"not compared: {why}")
        return 0
    kept.cases = {name: kept.cases[name] for name in select(kept.cases, pattern)}
    found = compare(kept.cases, now.cases)
    print("\n".join(report(found, kept.made_with, now.made_with)))
    return int(found.has_failed)


def update(path: Path, pattern: str = "") -> int:
    """Count, and keep that; return the exit status."""
    now = Counts(made_with(), count(select(CASES, pattern)))
    if pattern and path.exists():
        kept = Counts.load(path)
        why = why_not_comparable(kept, now)
        if why:
            raise CannotCountError(f"all cases have to be counted: {why}")
        now.cases = kept.cases | now.cases
    now.save(path)
    print("\n".join(_line(name, _shown(number)) for name, number in now.cases.items()))
    return 0


def select(names: Iterable[str], pattern: str) -> list[str]:
    """Return the cases that a pattern matches, and what tells whether they can be compared."""
    chosen = [name for name in names if re.search(pattern, name)]
    if not chosen:
        raise CannotCountError(f"no case matches {pattern!r}")
    return [name for name in names if name in chosen or name == REFERENCE]


if __name__ == "__main__":
    sys.exit(main())
