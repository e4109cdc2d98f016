"""The worker for gunicorn: its arbiter, signals, hooks, logs and settings around our loop."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest

from support import find_port, wait_until

from . import harness
from .conftest import Environments
from .harness import HOST, PATIENCE, Response, ask, connect, fetch, needs

#: The current release, and one of long ago.
RELEASES = ["gunicorn", "gunicorn22"]

# Names that a release does not know are not heeded.
_ALWAYS = """\
bind = "127.0.0.1:{port}"
worker_class = "wsgiref_fast.gunicorn.Worker"
control_socket_disable = True
"""


class Site:
    """A running gunicorn."""

    def __init__(self, program: harness.Program, port: int, folder: Path) -> None:
        self.program, self.port, self.folder = program, port, folder
        self.pid = program.process.pid

    def get(self, path: str, **headers: str) -> Any:
        """Ask for something, on a connection of its own; return what the JSON says."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return json.loads(fetch(self.port, path, headers=named).body)

    def worker(self) -> int:
        """Return the process that serves the next request."""
        return int(self.get("/process")["pid"])

    def booted(self) -> list[str]:
        """Return the workers that were started, in their order."""
        return re.findall(r"Booting worker with pid: (\d+)", self.program.log())

    def running(self) -> set[str]:
        """Return the workers that run."""
        ended = re.findall(r"Worker exiting \(pid: (\d+)\)", self.program.log())
        return set(self.booted()) - set(ended)

    def send(self, number: signal.Signals) -> None:
        """Send the arbiter a signal."""
        os.kill(self.pid, number)


Serve = Callable[..., Any]


@contextmanager
def serving(
    python: Path,
    folder: Path,
    configuration: str = "",
    *,
    variables: dict[str, str] | None = None,
    is_plain: bool = True,
    application: str = "gunicorn_app:application",
) -> Iterator[Site]:
    """Run gunicorn with a configuration file."""
    port = find_port()
    (folder / "gunicorn.conf.py").write_text(_ALWAYS.format(port=port) + configuration)
    # Its own script: gunicorn cannot take over from itself where ``-m`` has started it.
    command = [str(python.with_name("gunicorn")), application]
    ends_by = signal.SIGTERM
    with harness.running(command, folder, ends_by=ends_by, variables=variables) as program:
        program.wait_for("Booting worker")
        if is_plain:
            program.wait_until_listening(port)
        yield Site(program, port, folder)


@pytest.fixture(params=RELEASES)
def serve(request: pytest.FixtureRequest, environments: Environments, tmp_path: Path) -> Serve:
    """Run a release of gunicorn with a configuration file."""
    return lambda configuration="", **more: serving(
        environments(request.param), tmp_path, configuration, **more
    )


@pytest.fixture
def python(environments: Environments) -> Path:
    return environments(RELEASES[0])


# What is served, and by what


@pytest.fixture(
    scope="module",
    params=[
        ("gunicorn", "pure", 1),
        ("gunicorn", "compiled", 1),
        ("gunicorn", "compiled", 4),
        ("gunicorn22", "compiled", 1),
    ],
    ids=lambda way: "-".join(map(str, way)),
)
def site(
    request: pytest.FixtureRequest,
    environments: Environments,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    release, implementation, threads = request.param
    python = environments(release)
    if implementation == "compiled" and harness.implementation(str(python)) != "compiled":
        pytest.skip("nothing compiled was built here")
    folder = tmp_path_factory.mktemp("gunicorn")
    configuration = f"threads = {threads}\nworkers = 2\n"
    variables = {"WSGIREF_FAST_IMPL": implementation}
    with serving(python, folder, configuration, variables=variables) as site:
        site.threads, site.implementation = threads, implementation  # type: ignore[attr-defined]
        yield site


def test_requests_are_run_by_our_loop(site: Any) -> None:
    testimony = site.get("/witness")
    assert harness.is_ours(testimony["file"])
    is_kernel = site.implementation == "compiled" and site.threads == 1
    room = "_speedups.connection" if is_kernel else "_http11.exchange"
    assert testimony["module"] == f"wsgiref_fast.{room}"
    assert testimony["implementation"] == site.implementation


def test_a_connection_is_kept(site: Site) -> None:
    with closing(connect(site.port)) as connection:
        sockets = set()
        for path in ("/hello", "/stream", "/echo", "/hello"):
            assert ask(connection, path).status == 200
            sockets.add(connection.sock)
    assert len(sockets) == 1
    assert sockets != {None}


@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
def test_a_body_arrives(site: Site, is_chunked: bool) -> None:
    body: Any = iter([b"some", b" text"]) if is_chunked else b"some text"
    with closing(connect(site.port)) as connection:
        connection.request("POST", "/echo", body, encode_chunked=is_chunked)
        with connection.getresponse() as response:
            assert json.loads(response.read()) == "some text"


def test_a_stream_is_sent_whole(site: Site) -> None:
    expected = b"".join(b"line %d\n" % number for number in range(50))
    assert fetch(site.port, "/stream").body == expected


def test_the_environ_tells_of_gunicorn(site: Any) -> None:
    environ = site.get("/environ")
    release = site.get("/witness")["gunicorn"]
    assert environ["SERVER_SOFTWARE"].startswith(f"gunicorn/{release} wsgiref_fast/")
    assert environ["wsgi.multiprocess"] is True
    assert environ["wsgi.multithread"] is (site.threads > 1)
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == (HOST, str(site.port))
    assert environ["REMOTE_ADDR"] == HOST
    assert "gunicorn.socket" not in environ


def test_a_trusted_proxy_tells_of_https(site: Site) -> None:
    assert site.get("/environ")["wsgi.url_scheme"] == "http"
    environ = site.get("/environ", X_Forwarded_Proto="https", X_Forwarded_For="10.1.2.3")
    assert (environ["wsgi.url_scheme"], environ["HTTPS"]) == ("https", "on")
    assert environ["REMOTE_ADDR"] == HOST  # that, gunicorn leaves to applications
    assert environ["HTTP_X_FORWARDED_FOR"] == "10.1.2.3"
    assert site.get("/environ", X_Forwarded_Proto="http")["wsgi.url_scheme"] == "http"


def test_contradictory_schemes_are_refused(site: Site) -> None:
    headers = {"X-Forwarded-Proto": "http", "X-Forwarded-Ssl": "on"}
    assert fetch(site.port, "/environ", headers=headers).status == 400


def test_an_exception_is_in_the_error_log(site: Site) -> None:
    assert fetch(site.port, "/broken").status == 500
    site.program.excuse(r"Error handling request GET /broken\n(.*\n)+?LookupError: provoked\n")


# Settings


def test_others_than_trusted_proxies_are_not_believed(serve: Serve) -> None:
    with serve('forwarded_allow_ips = "10.0.0.1"') as site:
        environ = site.get("/environ", X_Forwarded_Proto="https")
        assert environ["wsgi.url_scheme"] == "http"


def test_a_unix_socket_is_served_beside_an_address(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with serve(f'bind = [bind, "unix:{path}"]\nworkers = 2\n') as site:
        assert site.get("/echo") == ""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(str(path))
            with closing(HTTPConnection("localhost", timeout=PATIENCE)) as connection:
                connection.sock = client
                environ = json.loads(
                    ask(connection, "/environ", headers={"X-Forwarded-Proto": "https"}).body
                )
        assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == ("", "https")
    assert not path.exists()


def test_limits_of_gunicorn_hold(serve: Serve) -> None:
    limits = "limit_request_line = 100\nlimit_request_fields = 5\nlimit_request_field_size = 60\n"
    with serve(limits) as site:
        assert fetch(site.port, "/" + "x" * 80).status == 200
        assert fetch(site.port, "/" + "x" * 100).status == 414
        assert fetch(site.port, "/", headers={"X-Long": "x" * 60}).status == 431
        many = {f"X-{number}": "" for number in range(6)}
        assert fetch(site.port, "/", headers=many).status == 431
        site.program.wait_for(r"\[WARNING\] 127.0.0.1: 414 Request line too long")


def test_connections_are_not_kept_where_that_is_forbidden(serve: Serve) -> None:
    with serve("keepalive = 0") as site:
        assert fetch(site.port, "/hello").headers["Connection"] == "close"


def test_an_application_is_mounted_by_script_name(serve: Serve) -> None:
    with serve('raw_env = ["SCRIPT_NAME=/mounted"]') as site:
        environ = site.get("/mounted/environ")
        assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/mounted", "/environ")


def test_an_option_of_ours_is_set_by_a_subclass(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "tight.py").write_text("""\
from wsgiref_fast.gunicorn import Worker
class TightWorker(Worker):
    server_options = {"max_body": 3}
""")
    with serve('worker_class = "tight.TightWorker"') as site:
        assert fetch(site.port, "/echo", "POST", b"123").status == 200
        assert fetch(site.port, "/echo", "POST", b"1234").status == 413


def test_an_application_is_loaded_before_the_workers(serve: Serve) -> None:
    with serve("preload_app = True\nworkers = 2\n") as site:
        process = site.get("/process")
        assert process["importer"] == process["parent"] == site.pid


def test_changed_code_is_loaded(serve: Serve, tmp_path: Path) -> None:
    module = tmp_path / "changing.py"
    code = "def application(environ, start_response):\n    start_response('200 OK', [])\n"
    module.write_text(f"{code}    return [b'old']\n")
    configuration = 'reload = True\nreload_engine = "poll"\n'
    with serve(configuration, application="changing:application") as site:
        assert fetch(site.port, "/").body == b"old"
        module.write_text(f"{code}    return [b'newer']\n")

        def is_seen() -> bool:
            os.utime(module)  # the reloader may not have begun to look when it was written
            return len(site.booted()) == 2

        wait_until(is_seen)
        assert fetch(site.port, "/").body == b"newer"


_PREFACE = b"PROXY TCP4 10.1.2.3 10.9.9.9 4711 80\r\n"


@contextmanager
def connected_by_proxy(port: int) -> Iterator[HTTPConnection]:
    """Connect as a proxy does that speaks the PROXY protocol."""
    with closing(connect(port)) as connection:
        connection.connect()
        connection.sock.sendall(_PREFACE)
        yield connection


def test_the_proxy_protocol_tells_of_the_client(serve: Serve) -> None:
    with serve("proxy_protocol = True", is_plain=False) as site:
        headers = {"X-Forwarded-For": "10.7.7.7", "X-Forwarded-Proto": "https"}
        with connected_by_proxy(site.port) as connection:
            environ = json.loads(ask(connection, "/environ", headers=headers).body)
        assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("10.1.2.3", "4711")
        assert environ["HTTP_X_FORWARDED_FOR"] == "10.7.7.7"
        assert environ["wsgi.url_scheme"] == "http"  # it is the client who says so


def test_the_proxy_protocol_is_for_proxies_alone(serve: Serve) -> None:
    configuration = 'proxy_protocol = True\nproxy_allow_ips = "10.0.0.1"\n'
    with serve(configuration, is_plain=False) as site:
        refused = pytest.raises((OSError, HTTPException))
        with connected_by_proxy(site.port) as connection, refused:
            ask(connection, "/environ")
        site.program.wait_for("PROXY protocol: from no trusted proxy")


@needs(harness.OPENSSL, "openssl")
def test_clients_have_to_show_a_certificate(serve: Serve, tmp_path: Path) -> None:
    certificate, key = harness.make_certificate(tmp_path)
    configuration = f"""
certfile = {str(certificate)!r}
keyfile = {str(key)!r}
ca_certs = {str(certificate)!r}
cert_reqs = 2
def ssl_context(config, make):
    context = make()
    context.minimum_version = __import__("ssl").TLSVersion.TLSv1_2
    context.maximum_version = __import__("ssl").TLSVersion.TLSv1_2
    return context
"""
    client = ssl.create_default_context(cafile=str(certificate))
    client.check_hostname = False
    with serve(configuration, is_plain=False) as site:
        with closing(connect(site.port, client)) as connection, pytest.raises(ssl.SSLError):
            ask(connection, "/environ")
        client.load_cert_chain(certificate, key)
        with closing(connect(site.port, client)) as connection:
            environ = json.loads(ask(connection, "/environ").body)
            assert isinstance(connection.sock, ssl.SSLSocket)
            assert connection.sock.version() == "TLSv1.2"
        assert (environ["wsgi.url_scheme"], environ["HTTPS"]) == ("https", "on")


# Logs and hooks


def test_the_access_log_has_gunicorns_lines(serve: Serve) -> None:
    with serve('accesslog = "-"') as site:
        headers = {"Referer": "http://there/", "User-Agent": "me"}
        fetch(site.port, "/hello?a=b", headers=headers)
        site.program.wait_for(
            r"127.0.0.1 - - \[\d\d/\w+/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "
            r'"GET /hello\?a=b HTTP/1.1" 200 7 "http://there/" "me"\n'
        )
        fetch(site.port, "/broken")
        site.program.excuse(r'"GET /broken HTTP/1.1" 500 59 ')


@pytest.mark.parametrize("threads", [1, 4])
def test_the_access_log_has_a_format(serve: Serve, threads: int) -> None:
    form = "%(D)s %({x-forwarded-for}i)s %({content-length}o)s %({wsgi.url_scheme}e)s %(s)s %(U)s"
    with serve(f'accesslog = "-"\naccess_log_format = "{form}"\nthreads = {threads}\n') as site:
        site.get("/echo", X_Forwarded_For="10.1.2.3")
        found = site.program.wait_for(r"\n(\d+) 10.1.2.3 2 http 200 /echo\n")
        assert int(found[1]) < PATIENCE * 1_000_000


def test_log_files_are_opened_anew(serve: Serve, tmp_path: Path) -> None:
    access, errors = tmp_path / "access", tmp_path / "errors"
    configuration = f'accesslog = "{access}"\nerrorlog = "{errors}"\n'
    # Its output is silent then: it is its file that tells of its start.
    configuration += "def post_worker_init(worker): print('Booting worker', flush=True)\n"
    with serve(configuration) as site:
        site.get("/complain")
        wait_until(lambda: "/complain" in access.read_text())
        assert "complaint\n" in errors.read_text()
        for file in (access, errors):
            file.rename(file.with_suffix(".1"))
        site.send(signal.SIGUSR1)

        def are_new() -> bool:
            site.get("/complain")
            fetch(site.port, "/broken")
            is_there = access.exists() and "/complain" in access.read_text()
            return is_there and errors.exists() and "complaint\n" in errors.read_text()

        wait_until(are_new)
        wait_until(lambda: "LookupError: provoked" in errors.read_text())


def test_hooks_are_called(serve: Serve) -> None:
    configuration = """
def say(*words):
    print("hook", *words, flush=True)
def pre_request(worker, req):
    say("pre", req.method, req.path, req.query, req.version, dict(req.headers)["X-NAME"])
def post_request(worker, req, environ, resp):
    say("post", worker.nr, req.uri, environ["PATH_INFO"], resp.status, resp.sent)
def post_worker_init(worker):
    say("init", worker.nr)
def worker_exit(server, worker):
    say("exit", worker.nr)
"""
    with serve(configuration) as site:
        site.get("/echo?a=b", X_Name="value")
        site.program.wait_for(
            r"hook init 0\n(.*\n)*hook pre GET /echo a=b \(1, 1\) value\n"
            r"hook post 1 /echo\?a=b /echo 200 OK 2\n"
        )
        site.send(signal.SIGTERM)
        site.program.wait_for("hook exit 1\n")


def test_a_hook_that_fails_costs_nothing_but_a_line(serve: Serve) -> None:
    configuration = "def post_request(worker, req, environ, resp): raise LookupError('hook')\n"
    with serve(configuration) as site, closing(connect(site.port)) as connection:
        for _ in range(2):
            assert ask(connection, "/hello").status == 200
            site.program.excuse("Exception in post_request hook\n(.*\n)+?LookupError: hook\n")


def test_statsd_hears_of_requests(serve: Serve) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as statsd:
        statsd.bind((HOST, 0))
        statsd.settimeout(PATIENCE)
        with serve(f'statsd_host = "{HOST}:{statsd.getsockname()[1]}"') as site:
            site.get("/hello")
            heard: set[str] = set()
            while not {"gunicorn.requests", "gunicorn.request.status.200"} <= heard:
                heard.add(statsd.recv(4096).decode().partition(":")[0])


# Signals


class Load:
    """Clients that ask without a pause, on kept connections or on one after the other."""

    def __init__(self, port: int, clients: int = 6) -> None:
        self._port = port
        self._is_over = threading.Event()
        self.failures: list[BaseException | int] = []
        self.workers: set[int] = set()
        self.answered = 0
        self._threads = [
            threading.Thread(target=self._ask, args=(number % 2 == 0,)) for number in range(clients)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _ask(self, keeps: bool) -> None:
        connection = connect(self._port)
        while not self._is_over.is_set():
            try:
                response = ask(connection, "/process")
            except (OSError, HTTPException) as error:
                self.failures.append(error)
                connection.close()
            else:
                self._note(response)
                if not keeps:
                    connection.close()
        connection.close()

    def _note(self, response: Response) -> None:
        self.answered += 1
        if response.status == 200:
            self.workers.add(json.loads(response.body)["pid"])
        else:
            self.failures.append(response.status)


def reload(site: Site, load: Load) -> None:
    """Reload, and wait until no worker from before runs, while both old and new serve."""
    wait_until(lambda: len(site.running()) == 2)
    before, answered = site.running(), load.answered
    wait_until(lambda: load.answered > answered + 20)
    site.send(signal.SIGHUP)
    wait_until(lambda: not site.running() & before)


@pytest.mark.parametrize("threads", [1, 4])
def test_a_reload_under_load_loses_no_request(serve: Serve, threads: int) -> None:
    with serve(f"workers = 2\nthreads = {threads}\n") as site:
        with Load(site.port) as load:
            for _ in range(3):
                reload(site, load)
        assert load.failures == []
        assert len(load.workers) >= 6


@pytest.mark.parametrize("threads", [1, 4])
def test_workers_that_have_served_enough_lose_no_request(serve: Serve, threads: int) -> None:
    configuration = f"workers = 2\nthreads = {threads}\nmax_requests = 50\nmax_requests_jitter = 9"
    with serve(configuration) as site:
        with Load(site.port) as load:
            wait_until(lambda: len(site.booted()) >= 6)
        assert load.failures == []
        assert len(load.workers) >= 4
        assert "Autorestarting worker after current request." in site.program.log()


def test_the_last_response_says_so(serve: Serve) -> None:
    with serve("max_requests = 3") as site, closing(connect(site.port)) as connection:
        said = [ask(connection, "/hello").headers["Connection"] for _ in range(2)]
        said.append(ask(connection, "/hello").headers["Connection"])
    assert "close" in said
    assert said.index("close") == len([each for each in said if each is None])


def test_a_worker_that_was_killed_is_replaced(serve: Serve) -> None:
    with serve() as site:
        worker = site.worker()
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: len(site.booted()) == 2)
        assert site.worker() != worker


def test_a_worker_that_blocks_is_replaced(serve: Serve) -> None:
    configuration = "timeout = 1\ndef worker_abort(worker): print('aborted', flush=True)\n"
    with serve(configuration) as site:
        worker = site.worker()
        with suppress(OSError, HTTPException):
            assert fetch(site.port, "/block").status == 500
        site.program.wait_for("WORKER TIMEOUT")
        site.program.wait_for("aborted")
        wait_until(lambda: len(site.booted()) == 2)
        assert site.worker() != worker
        site.program.excuse(r"SystemExit: 1\n")


def test_a_thread_that_blocks_ends_no_worker(serve: Serve) -> None:
    with serve("timeout = 1\nthreads = 2\ngraceful_timeout = 1\n") as site:
        worker = site.worker()
        with closing(connect(site.port)) as blocked:
            blocked.request("GET", "/block")
            wait_until(lambda: site.get("/blocked") > 2.5)
            assert site.worker() == worker
        assert "TIMEOUT" not in site.program.log()


@pytest.mark.parametrize("threads", [1, 4])
def test_a_graceful_end_finishes_a_slow_response(
    serve: Serve, tmp_path: Path, threads: int
) -> None:
    begun, until = tmp_path / "begun", tmp_path / "until"
    with serve(f"threads = {threads}") as site, closing(connect(site.port)) as connection:
        headers = {"X-Begun": str(begun), "X-Until": str(until)}
        connection.request("GET", "/slow", headers=headers)
        wait_until(begun.exists)
        site.send(signal.SIGTERM)
        site.program.wait_for("Handling signal: term")
        if threads > 1:  # else the loop learns of it after the application
            wait_until(lambda: not harness.is_listening(site.port))
        until.touch()
        with connection.getresponse() as response:
            assert (response.read(), response.headers["Connection"]) == (b"slow", "close")
        assert site.program.process.wait(PATIENCE) == 0


def test_a_quick_end_waits_for_nothing(serve: Serve, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    with serve("def worker_int(worker): print('interrupted', flush=True)") as site:
        with closing(connect(site.port)) as connection:
            headers = {"X-Begun": str(begun), "X-Until": str(tmp_path / "never")}
            connection.request("GET", "/slow", headers=headers)
            wait_until(begun.exists)
            site.send(signal.SIGQUIT)
            assert site.program.process.wait(PATIENCE) == 0
        site.program.wait_for("interrupted")


def test_workers_are_added_and_removed(serve: Serve) -> None:
    with serve() as site:
        site.send(signal.SIGTTIN)
        wait_until(lambda: len(site.running()) == 2)
        first, _ = site.booted()
        site.send(signal.SIGTTOU)
        wait_until(lambda: len(site.running()) == 1)
        assert first not in site.running()  # the oldest goes
        assert str(site.worker()) in site.running()


def test_another_arbiter_takes_over(serve: Serve, tmp_path: Path) -> None:
    with serve(f'pidfile = "{tmp_path / "pid"}"') as site, Load(site.port) as load:
        site.send(signal.SIGUSR2)
        wait_until(lambda: len(site.booted()) == 2)
        successor = int((tmp_path / "pid.2").read_text())
        try:
            site.send(signal.SIGTERM)
            assert site.program.process.wait(PATIENCE) == 0
            wait_until(lambda: site.get("/process")["parent"] == successor)
            assert load.failures == []
        finally:
            load.__exit__()
            os.kill(successor, signal.SIGTERM)
            wait_until(lambda: not harness.is_listening(site.port))


# What cannot be


@pytest.mark.parametrize(
    ("options", "reason"),
    [("{'max_bod': 3}", "did you mean max_body?"), ("{'max_body': -3}", "max_body must be from 0")],
)
def test_a_wrong_option_is_refused_with_a_reason(
    python: Path, tmp_path: Path, options: str, reason: str
) -> None:
    code = "from wsgiref_fast.gunicorn import Worker\nclass Wrong(Worker):\n"
    (tmp_path / "wrong.py").write_text(f"{code}    server_options = {options}\n")
    done = start_gunicorn(python, tmp_path, 'worker_class = "wrong.Wrong"\n')
    assert done.returncode == 1
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_another_protocol_is_refused(python: Path, tmp_path: Path) -> None:
    done = start_gunicorn(python, tmp_path, "protocol = 'uwsgi'\n")
    assert done.returncode == 1
    assert "speaks HTTP alone, not uwsgi: drop --protocol" in done.stderr
    assert "Traceback" not in done.stderr


def start_gunicorn(
    python: Path, folder: Path, configuration: str
) -> subprocess.CompletedProcess[str]:
    """Run a gunicorn that ends by itself."""
    always = _ALWAYS.format(port=find_port())
    (folder / "gunicorn.conf.py").write_text(always + configuration)
    return start([str(python.with_name("gunicorn")), "gunicorn_app:application"], folder)


def start(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run what ends by itself."""
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(harness.APPS)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_a_setting_without_effect_is_told(serve: Serve) -> None:
    with serve("header_map = 'dangerous'") as site:
        site.program.wait_for(r"\[WARNING\] header_map has no effect with wsgiref_fast: ")
        assert site.get("/hello") == "hello"


# --workers


def command(python: Path, *arguments: str, app: str = "gunicorn_app:application") -> list[str]:
    """Return what serves with two workers."""
    return [str(python), "-m", "wsgiref_fast", app, "--workers", "2", *arguments]


@contextmanager
def working(program: list[str], port: int, folder: Path) -> Iterator[Site]:
    """Run a command line of ours that serves with workers."""
    program = [*program, "--bind", f"{HOST}:{port}"]
    with harness.running(program, folder, ends_by=signal.SIGTERM) as running:
        running.wait_until_listening(port)
        site = Site(running, port, folder)
        wait_until(lambda: len(site.booted()) == 2)
        yield site


@pytest.mark.parametrize("release", RELEASES)
def test_the_command_line_runs_workers(
    environments: Environments, tmp_path: Path, release: str
) -> None:
    options = ["--factory", "--access-log", "json", "--max-body", "3", "--shutdown-timeout", "5"]
    program = command(environments(release), *options, app="gunicorn_app:make_application")
    with working(program, find_port(), tmp_path) as site:
        assert site.get("/process")["parent"] == site.pid
        assert fetch(site.port, "/echo", "POST", b"1234").status == 413
        site.program.wait_for(r'{"time": .* "target": "/process", .* "status": 200')
        environ = site.get("/environ", X_Forwarded_Proto="https")
        assert environ["wsgi.url_scheme"] == "http"  # as with one process: nobody is trusted


@pytest.mark.parametrize("threads", [[], ["--threads", "4"]], ids=["loop", "threads"])
def test_workers_of_the_command_line_trust_proxies_that_are_named(
    python: Path, tmp_path: Path, threads: list[str]
) -> None:
    program = command(python, "--trusted-proxies", HOST, *threads)
    with working(program, find_port(), tmp_path) as site:
        environ = site.get("/environ", X_Forwarded_Proto="https", X_Forwarded_For="10.1.2.3")
        assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == ("10.1.2.3", "https")
        assert environ["wsgi.multithread"] is bool(threads)


@needs(harness.OPENSSL, "openssl")
def test_workers_of_the_command_line_ask_for_certificates(python: Path, tmp_path: Path) -> None:
    certificate, key = map(str, harness.make_certificate(tmp_path))
    tls = ["--certfile", certificate, "--keyfile", key, "--ca-certs", certificate]
    program = command(python, *tls, "--client-certs", "optional")
    client = ssl.create_default_context(cafile=certificate)
    client.check_hostname = False
    port = find_port()
    program += ["--bind", f"{HOST}:{port}"]
    with harness.running(program, tmp_path, ends_by=signal.SIGTERM) as running:
        running.wait_for("Booting worker")
        names = []
        for _ in range(2):
            with closing(connect(port, client)) as connection:
                environ = json.loads(ask(connection, "/environ").body)
            names.append(environ.get("SSL_CLIENT_S_DN_CN"))
            client.load_cert_chain(certificate, key)
        assert names == [None, "localhost"]


def test_the_command_line_takes_over_from_itself(python: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "deep.py").write_text("from gunicorn_app import application\n")
    program = command(python, "--chdir", "there", app="deep:application")
    with working(program, find_port(), tmp_path) as site:
        site.send(signal.SIGUSR2)
        wait_until(lambda: len(site.booted()) == 4)
        found = re.findall(r"Listening at: .* \((\d+)\)", site.program.log())
        successor = int(found[1])
        try:
            site.send(signal.SIGTERM)
            assert site.program.process.wait(PATIENCE) == 0
            wait_until(lambda: site.get("/process")["parent"] == successor)
        finally:
            os.kill(successor, signal.SIGTERM)
            wait_until(lambda: not harness.is_listening(site.port))


#: Passes a listening socket on as systemd does.
_ACTIVATE = """\
import os, socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.mark.parametrize("bind", [[], ["--bind", "fd://3"]], ids=["implied", "named"])
def test_workers_serve_on_a_socket_of_systemds(
    python: Path, tmp_path: Path, bind: list[str]
) -> None:
    port = find_port()
    activate = [str(python), "-c", _ACTIVATE, str(port), *command(python, *bind)]
    with harness.running(activate, tmp_path, ends_by=signal.SIGTERM) as program:
        program.wait_until_listening(port)
        site = Site(program, port, tmp_path)
        assert site.get("/process")["parent"] == site.pid
        wait_until(lambda: len(site.booted()) == 2)


@pytest.mark.parametrize(
    ("app", "more", "status", "word"),
    [
        ("nothing_here:app", [], 4, "nothing_here"),
        ("gunicorn_app:app", [], 4, "application"),
        ("gunicorn_app:importer", [], 4, "cannot be called"),
        ("gunicorn_app:application", ["--bind", "fd://9"], 2, "cannot stand beside other"),
        ("gunicorn_app:application", ["--certfile", "nowhere"], 2, "nowhere"),
    ],
)
def test_the_command_line_says_what_is_wrong(
    python: Path, tmp_path: Path, app: str, more: list[str], status: int, word: str
) -> None:
    bind = ["--bind", f"{HOST}:{find_port()}"]
    done = start(command(python, *bind, *more, app=app), tmp_path)
    assert done.returncode == status, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("wsgiref_fast: ")]
    assert [word in line for line in lines] == [True]
    assert "Traceback" not in done.stderr


def test_the_command_line_says_who_has_an_address(python: Path, tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as listener:
        bind = f"{HOST}:{listener.getsockname()[1]}"
        done = start(command(python, "--bind", bind), tmp_path)
    line = f"wsgiref_fast: cannot listen on {bind}: it is in use"
    assert (done.returncode, done.stderr.startswith(line)) == (1, True), done.stderr


def test_the_command_line_says_that_a_socket_is_missing(python: Path, tmp_path: Path) -> None:
    done = start(command(python, "--bind", "fd://99"), tmp_path)
    line = "wsgiref_fast: fd://99: no descriptor 99 was inherited"
    assert (done.returncode, done.stderr.startswith(line)) == (2, True), done.stderr


def test_the_command_line_says_what_to_install(environments: Environments, tmp_path: Path) -> None:
    done = start(command(environments("bare")), tmp_path)
    line = 'wsgiref_fast: --workers needs gunicorn: pip install "wsgiref_fast[gunicorn]"\n'
    assert (done.returncode, done.stderr) == (2, line)
