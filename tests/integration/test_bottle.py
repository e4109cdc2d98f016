"""Bottle on the server that `bottle.run()` takes by default."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import find_port

from . import harness
from .conftest import Environments
from .harness import APPS, curl, fetch, needs

needs_curl = needs(harness.CURL, "curl")

CONTENT = bytes(range(256)) * 3000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Kitchen:
    """The running application, and the folder that it serves files from."""

    def __init__(self, program: harness.Program, port: int, folder: Path) -> None:
        self.program, self.port, self.folder = program, port, folder


@pytest.fixture(scope="module")
def kitchen(
    environments: Environments, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kitchen]:
    folder, port = tmp_path_factory.mktemp("bottle"), find_port()
    (folder / "asset.bin").write_bytes(CONTENT)
    command = harness.launch(environments("bottle"), str(APPS / "bottle_app.py"), str(port))
    with harness.running(command, folder) as program:
        program.wait_until_listening(port)
        yield Kitchen(program, port, folder)


def test_requests_are_run_by_the_package(kitchen: Kitchen) -> None:
    testimony = json.loads(fetch(kitchen.port, "/witness").body)
    assert harness.is_ours(testimony["handler"])
    assert testimony["input"] == "wsgiref_fast._streams"
    assert testimony["implementation"] == harness.implementation(testimony["python"])


@needs_curl
@pytest.mark.parametrize("coding", ["chunked", "identity"])
def test_an_upload_arrives(kitchen: Kitchen, coding: str) -> None:
    options = ["-H", "Transfer-Encoding: chunked"] if coding == "chunked" else []
    asset = f"@{kitchen.folder / 'asset.bin'}"
    answer = curl(kitchen.port, "/digest", *options, "--data-binary", asset)
    assert json.loads(answer) == {"length": len(CONTENT), "sha256": SHA256}


@needs_curl
@pytest.mark.parametrize("coding", ["chunked", "identity"])
def test_a_form_with_a_file_arrives(kitchen: Kitchen, coding: str) -> None:
    options = ["-H", "Transfer-Encoding: chunked"] if coding == "chunked" else []
    fields = ["-F", "colour=grün", "-F", f"upload=@{kitchen.folder / 'asset.bin'}"]
    answer = json.loads(curl(kitchen.port, "/form", *options, *fields))
    assert answer == {"colour": "grün", "name": "asset.bin", "sha256": SHA256}


def test_a_static_file_is_served(kitchen: Kitchen) -> None:
    answer = fetch(kitchen.port, "/static/asset.bin")
    assert (answer.status, answer.body) == (200, CONTENT)
    assert answer.headers["Content-Length"] == str(len(CONTENT))


def test_a_file_by_the_wrapper_is_served(kitchen: Kitchen) -> None:
    answer = fetch(kitchen.port, "/wrapped")
    assert (answer.status, answer.body) == (200, CONTENT)
    assert answer.headers["X-Wrapper"] == "wsgiref.util"  # installed: ours by its name


def test_a_part_of_a_static_file_is_served(kitchen: Kitchen) -> None:
    answer = fetch(kitchen.port, "/static/asset.bin", headers={"Range": "bytes=10-19"})
    assert (answer.status, answer.body) == (206, CONTENT[10:20])


def test_an_unchanged_static_file_is_not_sent(kitchen: Kitchen) -> None:
    etag = fetch(kitchen.port, "/static/asset.bin").headers["ETag"]
    answer = fetch(kitchen.port, "/static/asset.bin", headers={"If-None-Match": etag})
    assert (answer.status, answer.headers["Content-Length"], answer.body) == (304, None, b"")


@needs_curl
@pytest.mark.parametrize("path", ["/static/asset.bin", "/wrapped", "/lines"])
def test_head_has_no_body(kitchen: Kitchen, path: str) -> None:
    answer = curl(kitchen.port, path, "--head")
    assert answer.startswith(b"HTTP/1.0 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n")
    assert (b"Content-Length: 768000\r\n" in answer) == (path == "/static/asset.bin")


def test_a_generator_is_sent_whole(kitchen: Kitchen) -> None:
    lines = "".join(f"{number}\n" for number in range(1000))
    assert fetch(kitchen.port, "/lines").body.decode() == lines


def test_an_exception_is_bottles_to_answer(kitchen: Kitchen) -> None:
    answer = fetch(kitchen.port, "/broken")
    kitchen.program.excuse("LookupError: provoked\n")
    assert (answer.status, b"Internal Server Error" in answer.body) == (500, True)


@needs_curl
def test_a_method_that_no_route_has_is_refused(kitchen: Kitchen) -> None:
    status = curl(kitchen.port, "/lines", "-X", "DELETE", "-w", "%{http_code}")[-3:]
    assert status == b"405"
