"""What other systems lack, or mean otherwise, and the way round it: see docs/platforms.md.

No macOS and no Windows runs here. Each feature of the system is taken away in a process of
its own, before anything is imported, and real servers serve real clients without it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from cli import APPLICATION, command, environment, service
from support import run_isolated
from wsgiref_fast import _impl
from wsgiref_fast._cli import holders, reload, systemd

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "tests" / "isolated" / "elsewhere.py"

#: What is taken away, one at a time, and then all at once, which is what Windows lacks.
LACKS = (
    *("epoll", "poll", "sendfile", "fork", "unix", "reuseport", "socketpair", "flags"),
    *("signals", "sendmsg", "nameless", "all"),
)

IS_POSIX = os.name == "posix"
only_posix = pytest.mark.skipif(not IS_POSIX, reason="it is what Windows lacks by itself")


def played(lacks: str, scene: str, implementation: str) -> list[str]:
    """Return what a scene prints where the system lacks something."""
    status, lines = run_isolated(SCRIPT, implementation, lacks, scene)
    assert status == 0
    return lines


# Each feature


@pytest.mark.parametrize("lacks", LACKS)
def test_every_module_can_be_imported_without(lacks: str, implementation: str) -> None:
    if lacks in ("poll", "all") and os.name == "posix" and sys.implementation.name == "pypy":
        pytest.skip("PyPy's own ssl needs poll")
    assert played(lacks, "imports", implementation) == ["imported"]


@pytest.mark.parametrize("lacks", LACKS)
def test_the_drop_in_serves_without(lacks: str, implementation: str) -> None:
    assert played(lacks, "drop_in", implementation) == ["served"]


@pytest.mark.parametrize("lacks", LACKS)
def test_the_drop_in_serves_by_threads_without(lacks: str, implementation: str) -> None:
    assert played(lacks, "threading_drop_in", implementation) == ["served"]


@pytest.mark.parametrize("lacks", LACKS)
def test_the_server_serves_without(lacks: str, implementation: str) -> None:
    assert played(lacks, "server", implementation) == ["served"]


# Waiting


@only_posix
def test_no_more_connections_are_taken_than_select_can_wait_for(implementation: str) -> None:
    """512 on Windows, the alarm and the listening socket among them."""
    assert played("poll", "many", implementation) == ["at most 510"] * 2


@pytest.mark.parametrize("lacks", ["flags", "epoll", "poll"])
def test_a_loop_of_somebodys_own_hears_of_who_sends_late(lacks: str, implementation: str) -> None:
    assert played(lacks, "watched", implementation) == ["answered True"]


def test_what_wakes_a_loop_does_so_at_once_where_it_is_tcp(implementation: str) -> None:
    assert played("socketpair", "alarm", implementation) == ["AF_INET True"]


@only_posix
def test_a_listening_socket_that_is_closed_under_select_ends_the_server(
    implementation: str,
) -> None:
    assert played("poll", "closed", implementation) == ["ended"]


@pytest.mark.skipif(not hasattr(os, "sendfile"), reason="files are not sent by the system")
def test_a_file_waits_for_its_client_without_poll(implementation: str) -> None:
    """As eventlet leaves it: it takes poll() away, and sendfile() stays."""
    assert played("poll", "slow_file", implementation) == ["waited True"]


@pytest.mark.skipif(not hasattr(os, "sendfile"), reason="files are not sent by the system")
def test_a_file_that_the_system_does_not_send_is_read(implementation: str) -> None:
    assert played("epoll", "refusing", implementation) == ["served"] * 8


# Listening


@pytest.mark.parametrize("lacks", ["reuseport", "all"])
def test_loops_share_a_socket_where_the_system_deals_to_none(
    lacks: str, implementation: str
) -> None:
    assert played(lacks, "loops", implementation) == ["shared 2 2"]


def test_an_address_is_claimed_where_it_could_be_stolen(implementation: str) -> None:
    once = ["SO_KEEPALIVE True", "SO_REUSEADDR False"]
    assert played("reuseport", "claimed", implementation) == [*once, *once]


def test_a_path_is_refused_without_unix_sockets(implementation: str) -> None:
    assert played("unix", "unix", implementation) == ["this platform has no Unix sockets"]


def test_the_command_line_refuses_a_path_without_unix_sockets(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import socket\nvars(socket).pop('AF_UNIX', 0)\n")
    (tmp_path / "hello.py").write_text(APPLICATION)
    done = command("hello:app", "--bind=unix:it", folder=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("this system has no Unix sockets")


# Accepting


@only_posix
def test_accepted_connections_may_inherit_that_they_do_not_block(implementation: str) -> None:
    assert played("epoll", "inheriting", implementation) == ["served"] * 3


@only_posix
def test_connections_that_have_gone_already_are_nobodys_trouble(implementation: str) -> None:
    """Nor are they logged; who stands behind them is served."""
    assert played("epoll", "gone", implementation) == ["served "]


# Signals


@only_posix
def test_a_signal_ends_a_server_whose_waiting_it_does_not_interrupt(implementation: str) -> None:
    assert played("epoll", "ending", implementation) == ["ended"]


@only_posix
def test_ctrl_break_ends_a_server(implementation: str) -> None:
    assert played("poll", "breaking", implementation) == ["ended"]


@only_posix
def test_the_command_line_serves_without_what_windows_lacks(tmp_path: Path) -> None:
    """It ends by Ctrl-Break, for which another signal stands."""
    (tmp_path / "hello.py").write_text(APPLICATION)
    lines = [
        "import os, select, signal",
        "for name in ('epoll', 'kqueue', 'poll'): vars(select).pop(name, 0)",
        "for name in ('SIGHUP', 'SIGCHLD', 'pthread_sigmask'): vars(signal).pop(name, 0)",
        "for name in ('fork', 'sendfile', 'pread'): vars(os).pop(name, 0)",
        "import _socket",
        "for name in ('AF_UNIX', 'SO_REUSEPORT', 'socketpair'): vars(_socket).pop(name, 0)",
        "signal.SIGBREAK = signal.SIGUSR2",
    ]
    (tmp_path / "sitecustomize.py").write_text("\n".join(lines))
    environ = {"PYTHONPATH": str(tmp_path)}
    with service("hello:app", "--bind=127.0.0.1:0", folder=tmp_path, environ=environ) as served:
        assert served.get("/hello") == (200, b"/hello")
        assert served.end(signal.SIGUSR2) == 0


# What is of one system alone


def test_the_reloader_says_where_it_cannot_be(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from argparse import Namespace

    monkeypatch.setattr(f"{reload.__name__}.os", Namespace(name="nt"))
    assert reload.run(Namespace(bind=[], reload_dir=[], argv=[])) == 2
    assert capsys.readouterr().err == (
        "reload: --reload needs sockets that a process can inherit: there are none on Windows\n"
    )


def test_nobody_is_notified_without_unix_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/nobody")
    monkeypatch.delattr(socket, "AF_UNIX", raising=False)
    systemd.Notifier().send("READY=1")


def test_who_listens_is_not_known_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: str) -> str:
        raise FileNotFoundError(path)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        if sys.platform == "linux":
            assert holders.find_holder(address) is not None
        monkeypatch.setattr(holders, "_read", read)
        assert holders.find_holder(address) is None


def test_the_command_line_says_where_gunicorn_does_not_run(tmp_path: Path) -> None:
    """On Windows it is without `fcntl`."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['fcntl'] = None\n")
    (tmp_path / "gunicorn" / "app").mkdir(parents=True)
    for name in ("__init__", "app/__init__"):
        (tmp_path / "gunicorn" / f"{name}.py").write_text("")
    (tmp_path / "gunicorn" / "app" / "base.py").write_text("import fcntl\n")
    (tmp_path / "hello.py").write_text(APPLICATION)
    words = ("hello:app", "--workers=2", "--bind=127.0.0.1:0")
    done = command(*words, folder=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert "--workers: gunicorn does not run here: " in done.stderr
    assert "Traceback" not in done.stderr


# The kernels, as they are compiled elsewhere


def find_missing() -> str:
    """Tell what a build as on another system needs, and is not here."""
    missing = [name for name in ("setuptools", "Cython") if find_spec(name) is None]
    if sys.platform != "linux" or not shutil.which("gcc"):
        missing.append("gcc on Linux")
    if sys.implementation.name != "cpython":
        missing.append("CPython")
    return " and ".join(missing)


@pytest.fixture(scope="module")
def portable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the package with kernels that make no call of the system; return its folder."""
    folder = tmp_path_factory.mktemp("portable")
    litter = shutil.ignore_patterns(
        ".*", "build", "dist", "*.egg-info", "__pycache__", "*.so", "tests", "bench"
    )
    tree, site = shutil.copytree(ROOT, folder / "tree", ignore=litter), folder / "site"
    words = [sys.executable, "setup.py", "--quiet", "build_py", f"--build-lib={site}"]
    words += ["build_ext", f"--build-lib={site}", f"--parallel={os.cpu_count()}"]
    # Only once Python's header has been read: Debian's asks which system its own settings are of.
    header = folder / "elsewhere.h"
    header.write_text("#define PY_SSIZE_T_CLEAN\n#include <Python.h>\n#undef __linux__\n")
    environ = environment(
        CC="gcc",
        LDSHARED="gcc -shared",
        CFLAGS=f"-include {header} -O1",
        WSGIREF_FAST_IMPL="compiled",
    )
    subprocess.run(words, cwd=tree, env=environ, check=True, capture_output=True)
    return site


needs_build = pytest.mark.skipif(bool(find_missing()), reason=f"it needs {find_missing()}")


@needs_build
def test_portable_kernels_make_no_call_of_the_system(portable: Path) -> None:
    for name in ("run", "connection"):
        calls = {"accept4", "recv", "send"} & imported(portable / "wsgiref_fast", name)
        assert calls == set()
        if _impl.IMPLEMENTATION == "compiled":
            assert {"recv", "send"} <= imported(Path(_impl.__file__).parent, name)


def imported(package: Path, kernel: str) -> set[str]:
    """Return the names that a kernel has of the system's libraries."""
    (path,) = (package / "_speedups").glob(f"{kernel}.*.so")
    words = ["nm", "--dynamic", "--undefined-only", str(path)]
    listed = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    return {line.split()[-1].partition("@")[0] for line in listed.splitlines()}


@needs_build
@pytest.mark.parametrize("scene", ["drop_in", "threading_drop_in", "server", "inheriting"])
def test_portable_kernels_serve(
    portable: Path, scene: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(portable))
    assert set(played("epoll", scene, "compiled")) == {"served"}
