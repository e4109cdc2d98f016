"""The command line with a certificate: HTTPS, client certificates, and a new one on SIGHUP."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import ssl
import subprocess
from pathlib import Path

import pytest

from cli import APPLICATION, Service, only_if, refused, service
from support import PATIENCE, wait_until

CAN_RUN = shutil.which("openssl") is not None
IS_POSIX = os.name == "posix"
LEFT_OUT = "" if CAN_RUN else "there is no openssl to make certificates with"


def openssl(*arguments: str, folder: Path) -> None:
    subprocess.run(
        ["openssl", *arguments], cwd=folder, capture_output=True, check=True, timeout=PATIENCE
    )


def make_certificate(folder: Path, name: str) -> None:
    """Make a certificate and its key, as NAME.pem and NAME.key."""
    openssl(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
        *("-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2"),
        *("-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
        folder=folder,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make certificates, once."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("one", "two"):
        make_certificate(folder, name)
    (folder / "both.pem").write_bytes(
        (folder / "one.key").read_bytes() + (folder / "one.pem").read_bytes()
    )
    (folder / "password").write_text("open sesame\nand more\n", "utf-8")
    openssl(
        *("pkcs8", "-topk8", "-in", "one.key", "-out", "locked.key"),
        *("-passout", "pass:open sesame"),
        folder=folder,
    )
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """Make a folder with certificates and an application."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    (tmp_path / "hello.py").write_text(APPLICATION, "utf-8")
    return tmp_path


SERVED = ("hello", "--bind", "127.0.0.1:0")
WITH_KEY = ("--certfile", "one.pem", "--keyfile", "one.key")


def subject_at(served: Service) -> str:
    """Return whose certificate a server shows."""
    text = ssl.get_server_certificate(("127.0.0.1", served.port), timeout=PATIENCE)
    done = subprocess.run(
        ["openssl", "x509", "-noout", "-subject", "-nameopt", "RFC2253"],
        input=text,
        capture_output=True,
        check=True,
        encoding="ascii",
    )
    return done.stdout.strip().removeprefix("subject=").strip()


@only_if(CAN_RUN)
@pytest.mark.parametrize(
    "given",
    [
        WITH_KEY,
        ("--certfile", "both.pem"),
        (
            *("--certfile", "one.pem", "--keyfile", "locked.key"),
            *("--keyfile-password-file", "password"),
        ),
    ],
    ids=["two files", "one file", "encrypted"],
)
def test_a_certificate_makes_it_https(folder: Path, given: tuple[str, ...]) -> None:
    with service(*SERVED, *given, folder=folder) as served:
        assert served.places[0].startswith("https://127.0.0.1:")
        assert subject_at(served) == "CN=one"


@only_if(CAN_RUN)
def test_clients_are_asked_for_a_certificate(folder: Path) -> None:
    given = ("--ca-certs", "two.pem", "--client-certs", "required")
    with service(*SERVED, *WITH_KEY, *given, folder=folder) as served:
        context = ssl.create_default_context(cafile=folder / "one.pem")
        for certificate, answers in ((None, False), ("two", True)):
            if certificate:
                context.load_cert_chain(folder / "two.pem", folder / "two.key")
            assert is_answered(served, context) is answers


def is_answered(served: Service, context: ssl.SSLContext) -> bool:
    connection = http.client.HTTPSConnection(
        "127.0.0.1", served.port, timeout=PATIENCE, context=context
    )
    try:
        connection.request("GET", "/hello")
        with connection.getresponse() as response:
            return response.status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@only_if(CAN_RUN)
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--certfile", "nonsense.pem"), "nonsense.pem"),
        (("--certfile", "."), "directory"),
        (("--certfile", "one.pem"), "give --keyfile"),
        (("--certfile", "one.pem", "--keyfile", "nonsense.key"), "--keyfile: key file not"),
        (("--certfile", "one.pem", "--keyfile", "one.pem"), "key"),
        (("--certfile", "one.pem", "--keyfile", "two.key"), "is not that of the certificate"),
        (("--certfile", "hello.py", "--keyfile", "one.key"), "hello.py"),
        (("--certfile", "one.pem", "--keyfile", "locked.key"), "give --keyfile-password-file"),
        (
            (
                *("--certfile", "one.pem", "--keyfile", "locked.key"),
                *("--keyfile-password-file", "hello.py"),
            ),
            "--keyfile-password-file: wrong password",
        ),
        (
            (
                *("--certfile", "one.pem", "--keyfile", "locked.key"),
                *("--keyfile-password-file", "nonsense"),
            ),
            "--keyfile-password-file: cannot read",
        ),
        (
            (*WITH_KEY, "--ca-certs", "nonsense.pem", "--client-certs", "optional"),
            "--ca-certs: CA file not found",
        ),
    ],
)
def test_a_certificate_that_cannot_be_used_is_told_in_one_line(
    folder: Path, given: tuple[str, ...], message: str
) -> None:
    assert message in refused(*SERVED, *given, folder=folder)


@only_if(CAN_RUN and IS_POSIX)
def test_a_hang_up_loads_the_certificate_anew(folder: Path) -> None:
    with service(*SERVED, *WITH_KEY, "--chdir", ".", folder=folder) as served:
        assert subject_at(served) == "CN=one"
        for name in ("pem", "key"):
            shutil.copy(folder / f"two.{name}", folder / f"one.{name}")
        assert subject_at(served) == "CN=one"
        served.process.send_signal(signal.SIGHUP)
        assert served.next_line() == "wsgiref_fast: the certificate was loaded anew"
        assert subject_at(served) == "CN=two"
        assert served.end(signal.SIGTERM) == 0


@only_if(CAN_RUN and IS_POSIX)
def test_the_old_certificate_stays_where_the_new_one_is_bad(folder: Path) -> None:
    with service(*SERVED, *WITH_KEY, folder=folder) as served:
        shutil.copy(folder / "two.pem", folder / "one.pem")
        served.process.send_signal(signal.SIGHUP)
        line = served.next_line()
        assert line.startswith("wsgiref_fast: --certfile: the key in ")
        assert line.endswith("; the old certificate stays")
        assert subject_at(served) == "CN=one"
        shutil.copy(folder / "two.key", folder / "one.key")
        served.process.send_signal(signal.SIGHUP)
        wait_until(lambda: subject_at(served) == "CN=two")
