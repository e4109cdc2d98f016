"""Servers in processes of their own, and the load on them."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .. import wrk
from ..processes import CORES, processor_seconds
from .registry import ROOT, Server, environ_of
from .results import Round
from .workloads import Workload

HOST = "127.0.0.1"

#: Seconds that a server has to give its first answer, and to end.
_PATIENCE = 15.0


class Fault(Exception):
    """A server that does not start, or answers wrongly."""


@dataclass
class Running:
    """A server that has answered."""

    process: subprocess.Popen[bytes]
    port: int

    def processes(self) -> list[int]:
        """Return the process and those that it has started, and so on."""
        found = [self.process.pid]
        for pid in found:
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                try:
                    found += map(int, task.read_text().split())
                except OSError:
                    pass
        return found

    def processor(self) -> float:
        """Return how many seconds it has been computing, in the system's calls too."""
        total = 0.0
        for pid in self.processes():
            try:
                total += processor_seconds(pid)
            except OSError:
                pass  # it has ended
        return total

    def memory(self, field: str = "VmRSS") -> int:
        """Return the bytes that it has in memory (``VmHWM``: had at most)."""
        total = 0
        for pid in self.processes():
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            found = re.search(rf"{field}:\s+(\d+) kB", status)
            total += int(found[1]) * 1024 if found else 0
        return total


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _on_last_core() -> None:
    if len(CORES) > 1:
        os.sched_setaffinity(0, CORES[-1:])


@contextmanager
def running(server: Server, app: str, file: str) -> Iterator[Running]:
    """Run a server on the last core, that all share in turns; wait until it listens.

    Raises:
        Fault: it does not.

    """
    port = _free_port()
    process = subprocess.Popen(
        server.command(port),
        cwd=ROOT,
        env=environ_of(server, app, file),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_on_last_core,
    )
    try:
        _wait_for(process, port)
        yield Running(process, port)
    finally:
        _end(process)


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        if process.poll() is not None:
            raise Fault(f"it ended with {process.returncode}")
        try:
            socket.create_connection((HOST, port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise Fault("it does not listen")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a server, and what it has started: its process leads a group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(2)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def check(server: Running, workload: Workload) -> None:
    """Ask once, and look at the answer.

    Raises:
        Fault: it is not what the application says.

    """
    fields = dict(field.split(": ", 1) for field in workload.fields)
    body = bytes(workload.body_size) or None
    connection = http.client.HTTPConnection(HOST, server.port, timeout=_PATIENCE)
    try:
        connection.request("POST" if body else "GET", workload.path, body, fields)
        response = connection.getresponse()
        received = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise Fault(f"no answer: {error!r}") from error
    finally:
        connection.close()
    if response.status != 200:
        raise Fault(f"it answers with {response.status}")
    if workload.expected is not None and received != workload.expected:
        raise Fault("its answer is another")
    if not received or (workload.size and len(received) != workload.size):
        raise Fault(f"its answer has {len(received)} bytes")


def wrk_command(workload: Workload, port: int, seconds: int, folder: Path) -> list[str]:
    """Return the load generator's command for a workload."""
    threads = min(2, workload.connections)
    command = ["wrk", "--latency", "--threads", str(threads), "--duration", f"{seconds}s"]
    command += ["--connections", str(workload.connections)]
    for field in (*workload.fields, *(("Connection: close",) if workload.closes else ())):
        command += ["--header", field]
    if workload.body_size:
        script = folder / f"post-{workload.body_size}.lua"
        body = f'wrk.body = string.rep("x", {workload.body_size})'
        script.write_text(f'wrk.method = "POST"\n{body}\n')
        command += ["--script", str(script)]
    return [*command, f"http://{HOST}:{port}{workload.path}"]


def load(server: Running, workload: Workload, seconds: int, folder: Path) -> Round:
    """Load a server for some seconds."""
    before = server.processor()
    command = wrk_command(workload, server.port, seconds, folder)
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return read_report(report, server.processor() - before)


_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


def read_report(report: str, processor: float) -> Round:
    """Return what a report of wrk says."""
    found = wrk.read(report)
    return Round(
        requests=found.requests,
        per_second=found.per_second,
        p50=_percentile(50, report),
        p99=_percentile(99, report),
        errors=found.errors,
        processor=processor,
    )


def _percentile(percent: int, report: str) -> float:
    found = wrk.find(rf"^ +{percent}% +([\d.]+)(us|ms|s|m)\s*$", report)
    return float(found[1]) * _UNITS[found[2]]
