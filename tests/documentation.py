"""The code blocks of README and docs: found, and run as a reader would run them.

A page is a session in a folder of its own. From its top to its end:

- a Python block with a title is a file of that name; any other is a program. One that serves
  (``serve_forever()`` or ``serve(``) is asked for ``/`` and goes on until the next server starts;
- each line of a console block that begins with ``$`` is a command. A command that serves goes on,
  too; the lines below another command have to be in what it prints;
- TOML, INI and JSON are parsed.

Ports and ``/run/`` are replaced by what is free. What cannot be run is in `NOT_RUN` and `NO_CODE`.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import wsgiref_fast
from certificates import Authority
from support import PATIENCE, find_port, wait_until

ROOT = Path(__file__).resolve().parents[1]

#: Commands that are not run here, and why. Each stands for those that begin so.
NOT_RUN = {
    "make ": "takes minutes, and is what .ci/run does",
    "pip install ": "what it names is compared with the extras of pyproject.toml",
    "systemctl ": "needs systemd as process 1; test_units.py checks the units",
    "curl --unix-socket /run/wsgiref-fast.sock": "the same; test_units.py sends requests there",
}

#: Blocks that are no code of ours, by page and language.
NO_CODE = {
    ("docs/guides/status.md", "yaml"): "Prometheus'; the standard library cannot parse it",
    ("CONTRIBUTING.md", "diff"): "an example; test_documentation.py looks whether it still applies",
    ("bench/README.md", ""): "commands that measure for minutes: test_bench_*.py try their parts",
}

#: What a page expects to find: README's blocks have no titles.
HELLO = """
from wsgiref_fast.simple_server import demo_app as app

def make_app():
    return app
"""
#: What blocks of README leave out.
PRELUDE = """
from urllib.request import urlopen
from hello import app
"""

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)(?: +title=\"(?P<title>[^\"]+)\")?\n"
    r"(?P<text>.*?)^(?P=indent)```$",
    re.M | re.S,
)
_SERVES = re.compile(r"serve_forever\(\)|^ *(serve|run)\(|^ *app\.run\(", re.M)
_PORT = re.compile(r"(?<![\d.])(4000|5000|8000|8001|8443)(?![\d.])")
_COMMENT = re.compile(r"\s+#.*$")
#: Which environment of the integration tests a block or command needs, by what it names.
_ENVIRONMENTS = {
    "django": re.compile(r"manage\.py|from django|wsgiref_fast\.django\"\]"),
    "flask": re.compile(r"from flask|^flask |^python shop\.py"),
    "bottle": re.compile(r"^import bottle|-m bottle|^python bottled\.py"),
    "gunicorn": re.compile(r"^gunicorn |--workers|import wsgiref_fast\.gunicorn"),
}


@dataclass
class Step:
    """A file, a program or a command of a page."""

    page: str
    line: int
    kind: str
    text: str
    title: str = ""
    #: What has to be in its output.
    expected: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def environment(self) -> str:
        """The environment that it needs; empty where the package alone will do."""
        for name, pattern in _ENVIRONMENTS.items():
            if pattern.search(self.text):
                return name
        return ""

    @property
    def reason(self) -> str | None:
        """Why it is not run; `None` where it is."""
        starts = (start for start in NOT_RUN if self.text.startswith(start))
        return next((start for start in starts if self.kind == "command"), None)

    @property
    def is_listed(self) -> bool:
        """Whether it is no code of ours."""
        return (self.page, self.kind) in NO_CODE

    @property
    def serves(self) -> bool:
        """Whether it goes on until somebody ends it."""
        if self.kind == "program":
            return _SERVES.search(self.text) is not None
        is_ours = re.match(r"(python -m wsgiref_fast|wsgiref-fast) (?!--version)", self.text)
        others = r"python (\S+\.py$|-m bottle|manage\.py runserver)|flask |gunicorn "
        return bool(is_ours and "--check" not in self.text) or bool(re.match(others, self.text))


def pages() -> list[str]:
    """Name README, the pages of docs, and what these show besides."""
    found = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/**/*.md"))
    return ["README.md", "CONTRIBUTING.md", "bench/README.md", *found]


def read_steps(page: str) -> list[Step]:
    """Return what a page shows, in its order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    steps: list[Step] = []
    for found in _FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        indent = len(found["indent"])
        block = "".join(each[indent:] or "\n" for each in found["text"].splitlines(True))
        if found["language"] == "console":
            steps += _read_commands(page, line, block)
        elif found["language"] == "python":
            kind = "file" if found["title"] else "program"
            steps.append(Step(page, line, kind, block, found["title"] or ""))
        else:
            steps.append(Step(page, line, found["language"], block))
    return steps


def _read_commands(page: str, line: int, block: str) -> Iterator[Step]:
    step: Step | None = None
    for number, each in enumerate(block.splitlines(), line + 1):
        if each.startswith(("$ ", "# systemctl", "# curl")):
            if step is not None:
                yield step
            step = Step(page, number, "command", _COMMENT.sub("", each[2:]))
        else:
            assert step is not None, f"{page}:{number}: output of no command"
            step.expected += [each] if each else []
    if step is not None:
        yield step


class Session:
    """A reader who does what a page says, in a folder.

    Args:
        folder: where.
        python: the interpreter that ``python`` means; scripts are taken from beside it.

    """

    def __init__(self, folder: Path, python: Path) -> None:
        self.folder = folder
        self._python = python
        self._ports: dict[str, int] = {}
        self._server: subprocess.Popen[bytes] | None = None
        # Whether it ends by SIGTERM in good order; `serve_forever` does not.
        self._ends_well = False
        self._log = folder / "log"
        (folder / "run").mkdir()
        (folder / "hello.py").write_text(HELLO)

    def run(self, step: Step) -> None:
        """Do one step."""
        text = self._localize(step.text)
        if step.kind == "file":
            (self.folder / step.title).write_text(text, encoding="utf-8")
        elif step.kind == "program":
            self._run_program(step, text)
        elif step.kind == "command":
            self._run_command(step, text)
        elif step.kind == "toml":
            tomllib.loads(text)
        elif step.kind == "ini":
            configparser.ConfigParser().read_string(text)
        elif step.kind == "json":
            json.loads(text)
        else:
            assert step.is_listed, f"{step}: what is to be done with {step.kind!r}?"

    def end(self) -> None:
        """End the server that still runs, and see that it went well."""
        process, self._server = self._server, None
        if process is None:
            return
        before = self._log.read_text(errors="replace")
        process.terminate()  # not by an interrupt: a shell's background jobs do not hear it
        try:
            code = process.wait(PATIENCE)
        finally:
            self._end_group(process)
        after = self._log.read_text(errors="replace")
        assert "Traceback" not in before, before
        assert code == 0 or not self._ends_well, f"ended with {code}:\n{after}"

    def _end_group(self, process: subprocess.Popen[bytes]) -> None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait(PATIENCE)

    # Programs and commands.

    def _run_program(self, step: Step, text: str) -> None:
        file = self.folder / "program.py"
        prelude = PRELUDE if step.page == "README.md" else ""
        is_test = re.search(r"^def test_", text, re.M)
        file.write_text(prelude + text, encoding="utf-8")
        if step.serves:
            self._serve(step, [str(self._python), "program.py"], text)
            return
        words = ["-m", "pytest", "-q", "-p", "no:cacheprovider"] if is_test else []
        self._finish(step, [str(self._python), *words, "program.py"], {})

    def _run_command(self, step: Step, text: str) -> None:
        words = shlex.split(text)
        variables = {}
        while "=" in words[0]:
            name, _, variables[name] = words.pop(0).partition("=")
        if words[0] == "python":
            words[0] = str(self._python)
        else:
            words[0] = self._find(words[0])
        if "certificate.pem" in words and "openssl" not in step.text:
            self._make_certificate()
        if step.serves:
            self._serve(step, words, text)
        else:
            self._finish(step, words, variables)

    def _make_certificate(self) -> None:
        """Provide the files that a page names, where it has not made them."""
        if not (self.folder / "certificate.pem").exists():
            pair = Authority(self.folder / "authority").issue("server", "/CN=localhost")
            shutil.copy(pair.certificate, self.folder / "certificate.pem")
            shutil.copy(pair.key, self.folder / "key.pem")

    def _find(self, name: str) -> str:
        beside = self._python.parent / name
        found = str(beside) if beside.exists() else shutil.which(name)
        assert found, f"there is no {name}"
        return found

    def _finish(self, step: Step, words: list[str], variables: Mapping[str, str]) -> None:
        if Path(words[0]).name == "curl":
            words[1:1] = ["-q", "--silent", "--show-error", "--noproxy", "*", "--max-time", "20"]
        done = subprocess.run(
            words,
            cwd=self.folder,
            env={**_environment(self._python), **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=3 * PATIENCE,
        )
        output = done.stdout.decode(errors="replace").replace("\r\n", "\n")
        assert done.returncode == 0, f"{step}: {words} ended with {done.returncode}:\n{output}"
        for line in step.expected:
            assert self._localize(line) in output, f"{step}: no {line!r} in\n{output}"

    def _serve(self, step: Step, words: list[str], text: str) -> None:
        self.end()
        ours = r"(\S*python -m wsgiref_fast|wsgiref-fast) (?!run )|gunicorn |^ *serve\("
        self._ends_well = re.search(ours, text, re.M) is not None
        with self._log.open("wb") as log:
            self._server = subprocess.Popen(
                words,
                cwd=self.folder,
                env=_environment(self._python),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process = self._server
        place = self._find_place(text)
        wait_until(lambda: process.poll() is not None or _is_listening(place))
        log_text = self._log.read_text(errors="replace")
        assert process.poll() is None, f"{step}: {words} has ended:\n{log_text}"
        if isinstance(place, int):
            is_tls = "--certfile" in text or "context" in text
            assert _ask(place, is_tls) == 200, f"{step}:\n{self._log.read_text()}"

    def _find_place(self, text: str) -> int | Path:
        """Return the first port that a server is told, or the path of its socket."""
        for port in self._ports.values():
            if re.search(rf"(?<!\d){port}(?!\d)", text):
                return port
        script = re.search(r"\S+\.py\b", text)
        if script is not None:
            return self._find_place((self.folder / script[0]).read_text(encoding="utf-8"))
        found = re.search(r"unix:(\S+)", text)
        assert found, f"where does it serve?\n{text}"
        return Path(found[1])

    # What is not the same here as on the reader's machine.

    def _port(self, named: str) -> int:
        if named not in self._ports:
            self._ports[named] = find_port()
        return self._ports[named]

    def _localize(self, text: str) -> str:
        text = text.replace("(compiled)", f"({wsgiref_fast.IMPLEMENTATION})")
        text = _PORT.sub(lambda found: str(self._port(found[1])), text)
        text = re.sub(r"(?<![\w.])/run/", f"{self.folder}/run/", text)
        if re.match(r"(python -m wsgiref_fast(?! run)|wsgiref-fast) ", text):
            if not re.search(r"--(bind|check|version)\b", text):
                text += f" --bind 127.0.0.1:{self._port('8000')}"
        elif text.startswith("flask "):
            text += f" --port {self._port('5000')}"
        elif "run(app, debug=True)" in text:
            text = text.replace("debug=True)", f"debug=True, port={self._port('5000')})", 1)
        return text


def _is_listening(place: int | Path) -> bool:
    try:
        if isinstance(place, int):
            socket.create_connection(("127.0.0.1", place), PATIENCE).close()
        else:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(place))
    except OSError:
        return False
    return True


def _environment(python: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    path = f"{python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    ours = {"PATH": path, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    if python == Path(sys.executable):  # else it is others' warnings that there are
        ours["PYTHONWARNINGS"] = "error"
    return {**kept, **ours}


def _ask(port: int, is_tls: bool) -> int:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    scheme = "https" if is_tls else "http"
    try:
        with opener.open(f"{scheme}://127.0.0.1:{port}/", timeout=PATIENCE) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def play(page: str, environment: str, folder: Path, python: Path = Path(sys.executable)) -> int:
    """Do what a page says, as far as it needs this environment; return how many steps ran."""
    session = Session(folder, python)
    count = 0
    follows = False  # whether the last server was one of this environment
    try:
        for step in read_steps(page):
            if step.reason is not None:
                continue
            if step.kind == "command" and re.match(r"(\w+=\S+ )*curl ", step.text):
                mine = follows
            else:
                mine = step.environment == environment
                follows = mine if step.serves else follows
            if mine or step.kind == "file":
                session.run(step)
                count += mine
    finally:
        session.end()
    return count


def environments_of(page: str) -> set[str]:
    """Name the environments that a page needs besides the package alone."""
    return {step.environment for step in read_steps(page) if step.kind != "file"} - {""}
