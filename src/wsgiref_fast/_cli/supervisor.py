"""What the reloader does: it keeps one child serving, and sees to those that come and go."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections import deque
from contextlib import contextmanager

from . import messages
from .reload import PARENT, PATIENCE, READY
from .watching import Watch, describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Generator, Sequence

    from .watching import Tree

#: Seconds after which a person at a terminal is told what it waits for.
_TOLD_AFTER = 0.3

#: What the pipe says of a change; of a signal it says the number.
_CHANGE = 0


def supervise(
    listeners: Sequence[socket.socket],
    command: list[str],
    tree: Tree,
    *,
    interval: float = 0.5,
    polls: bool = False,
    patience: float = PATIENCE,
) -> int:
    """Run a command, and a new one beside it when a file changes; return the exit code.

    SIGINT and SIGTERM end it, once what is under way is finished; the second one at once,
    and the exit code is 1. SIGHUP is handed on. It has to be called in the main thread.

    Args:
        listeners: sockets that the command inherits, under their numbers.
        command: serves, and tells that it does by `READY`.
        tree: the files.
        interval: seconds between two looks at them, where `watchfiles` is not installed.
        polls: whether it is not used.
        patience: seconds that a process has to finish; longer than it gives itself.

    """
    with _signals() as (bell, ring):
        changes: deque[list[str]] = deque()

        def tell(paths: list[str]) -> None:
            changes.append(paths)
            _ring(ring)

        watch = Watch(tree, tell, interval, polls)
        supervisor = _Supervisor(listeners, command, patience)
        watch.start()
        try:
            say(f"watching {tree}, by {watch.means}")
            return supervisor.run(bell, changes)
        finally:
            supervisor.close()
            watch.stop()


@contextmanager
def _signals() -> Generator[tuple[int, int]]:
    """Have signals written to a pipe, as a byte each; give its two ends."""
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGCHLD]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # else it runs under nohup
        numbers.append(signal.SIGHUP)
    bell, ring = os.pipe()
    os.set_blocking(bell, False)
    os.set_blocking(ring, False)
    before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    other = signal.set_wakeup_fd(ring, warn_on_full_buffer=False)
    try:
        yield bell, ring
    finally:
        signal.set_wakeup_fd(other)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(bell)
        os.close(ring)


def _read(bell: int) -> bytes:
    try:
        return os.read(bell, 4096)
    except BlockingIOError:
        return b""


def _ring(descriptor: int) -> None:
    try:
        os.write(descriptor, bytes([_CHANGE]))
    except BlockingIOError:
        pass  # it rings already


class _Child:
    """A process that serves, or will.

    Args:
        command: what it runs.
        inherited: descriptors that it has under the same numbers.
        life: a descriptor at whose end it ends too.

    """

    def __init__(self, command: list[str], inherited: list[int], life: int) -> None:
        ready, told = os.pipe()
        os.set_blocking(ready, False)
        #: What says whether it is ready, as long as that is of interest.
        self.descriptor: int | None = ready
        #: When it is killed.
        self.deadline = float("inf")
        # Ctrl-C reaches it too, but is the parent's matter: it would be the child's first
        # signal, and the parent's own the second one, which ends it at once.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process = subprocess.Popen(
                command,
                env={**os.environ, READY: str(told), PARENT: str(life)},
                pass_fds=(*inherited, told, life),
            )
        except BaseException:
            os.close(ready)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.close(told)

    def hear(self) -> bool:
        """Tell whether it says, for the first time, that it is ready."""
        if self.descriptor is None:
            return False
        try:
            said = os.read(self.descriptor, 1)
        except BlockingIOError:
            return False
        self.forget()
        return bool(said)

    def forget(self) -> None:
        """Hear no more."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    def end(self, patience: float) -> None:
        """Have it finish what is under way, within so many seconds."""
        self.forget()
        self.deadline = time.monotonic() + patience
        self.process.terminate()

    def kill(self) -> None:
        """End it at once."""
        self.deadline = float("inf")
        self.process.kill()


class _Supervisor:
    """Keeps one child serving, and sees to those that come and go."""

    def __init__(
        self, listeners: Sequence[socket.socket], command: list[str], patience: float
    ) -> None:
        self._command = command
        self._inherited = [listener.fileno() for listener in listeners]
        self._patience = patience
        self._life, self._own_life = os.pipe()
        self._had_terminal = _has_terminal()
        self._serving: _Child | None = None
        self._starting: _Child | None = None
        self._leaving: list[_Child] = []
        self._is_ending = False
        self._is_cut_short = False
        # When a person is told what it waits for.
        self._tell_at = float("inf")
        # Whether it was we who sent a signal that ends what does not know it.
        self._has_hung_up = False

    def run(self, bell: int, changes: deque[list[str]]) -> int:
        """Serve until a signal ends it; return the exit code.

        Args:
            bell: a pipe's end that gives bytes, see `_signals`.
            changes: paths of changed files, filled before it gives `_CHANGE`.

        """
        self._start()
        while self._children() or not self._is_ending:
            self._wait(bell)
            numbers = _read(bell)  # before the children, lest one's end goes unnoticed
            self._look_after_children()
            self._tell_person()
            for number in numbers:
                self._heed(number)
            paths = [path for _ in range(len(changes)) for path in changes.popleft()]
            if paths and not self._is_ending:
                say(f"{describe(list(dict.fromkeys(paths)))} changed")
                self._start()
        return int(self._is_cut_short)

    def close(self) -> None:
        """Let no process stay behind, whatever has gone wrong."""
        for child in self._children():
            child.forget()
            child.kill()
            child.process.wait()
        os.close(self._life)
        os.close(self._own_life)

    def _children(self) -> list[_Child]:
        first = (child for child in (self._serving, self._starting) if child is not None)
        return [*first, *self._leaving]

    def _wait(self, bell: int) -> None:
        """Wait until a child or the bell has something to say, or a child's time is over."""
        poll = select.poll()
        poll.register(bell, select.POLLIN)
        due = self._tell_at
        for child in self._children():
            due = min(due, child.deadline)
            if child.descriptor is not None:
                poll.register(child.descriptor, select.POLLIN)
        if due == float("inf"):
            poll.poll()
        else:
            poll.poll(max(0.0, due - time.monotonic()) * 1000 + 1)

    def _tell_person(self) -> None:
        """Say what it waits for, once that takes long."""
        if time.monotonic() >= self._tell_at:
            self._tell_at = float("inf")
            if self._children():
                say(messages.WAITS)

    # Children.

    def _start(self) -> None:
        """Start a child; one that is about to start has old code, and need not."""
        if self._starting is not None:
            self._dismiss(self._starting)
            self._starting = None
        try:
            self._starting = _Child(self._command, self._inherited, self._life)
        except OSError as error:
            say(f"no process can be started ({error}); waiting for a change")

    def _dismiss(self, child: _Child) -> None:
        child.end(self._patience)
        self._leaving.append(child)

    def _look_after_children(self) -> None:
        starting = self._starting
        if starting is not None and starting.hear():
            self._hand_over(starting)
        for child in self._children():
            if child.process.poll() is not None:
                if child is self._starting and child.hear():
                    self._hand_over(child)
                self._note_end(child)
            elif time.monotonic() >= child.deadline:
                say(f"process {child.process.pid} does not end; killed")
                child.kill()

    def _hand_over(self, child: _Child) -> None:
        """Have a child that is ready replace the one that serves."""
        if self._serving is not None:
            self._dismiss(self._serving)
        self._serving, self._starting = child, None

    def _note_end(self, child: _Child) -> None:
        """See to what follows from the end of a child."""
        child.forget()
        code = child.process.returncode
        if child in self._leaving:
            self._leaving.remove(child)
        elif child is self._starting:
            self._starting = None
            rest = "the old code serves on" if self._serving else "waiting for a change"
            say(f"the code does not start ({_describe_end(code)}); {rest}")
        else:
            self._serving = None
            if code == -signal.SIGHUP and self._has_hung_up:
                say("starting anew")
                self._start()
            elif self._starting is None:
                say(f"the server has ended ({_describe_end(code)}); waiting for a change")
            else:
                say(f"the server has ended ({_describe_end(code)})")

    # Signals.

    def _heed(self, number: int) -> None:
        if number in (signal.SIGINT, signal.SIGTERM):
            if number == signal.SIGINT and os.isatty(2):
                messages.say("")  # after the ``^C`` that the terminal has shown
            self._end()
        elif number == signal.SIGHUP:
            if self._had_terminal and not _has_terminal():
                self._end()
            elif self._serving is not None:
                self._has_hung_up = True
                self._serving.process.send_signal(signal.SIGHUP)

    def _end(self) -> None:
        """Have all finish; where that has been asked for before, at once."""
        if self._is_ending:
            self._is_cut_short = True
            for child in self._children():
                child.kill()
            return
        self._is_ending = True
        if os.isatty(2):
            self._tell_at = time.monotonic() + _TOLD_AFTER
        active = [each for each in (self._serving, self._starting) if each is not None]
        self._serving = self._starting = None
        for each in active:
            self._dismiss(each)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _describe_end(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def say(text: str) -> None:
    """Write a line for the person at the terminal, who may have gone."""
    messages.say(f"reload: {text}")
