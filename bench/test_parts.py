"""The parts that a response is made of, and the validator."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from itertools import islice
from types import SimpleNamespace
from typing import Any

from .conftest import Timed
from .inputs import RESPONSE_HEADERS, page_app
from .subjects import Subject


def test_headers_construction(subject: Subject, timed: Timed) -> None:
    def make(each: Subject) -> Callable[[], Any]:
        return partial(each.headers.Headers, RESPONSE_HEADERS)

    assert make(subject)().items() == RESPONSE_HEADERS
    timed("Headers(list)", make)


def test_headers_as_bytes(subject: Subject, timed: Timed) -> None:
    def make(each: Subject) -> Callable[[], Any]:
        # Not a lambda: its own call would be a tenth of what is timed.
        return partial(bytes, each.headers.Headers(RESPONSE_HEADERS))

    lines = [f"{name}: {value}\r\n".encode() for name, value in RESPONSE_HEADERS]
    assert make(subject)() == b"".join(lines) + b"\r\n"
    timed("bytes(Headers)", make)


def _editor(subject: Subject) -> Callable[[], Any]:
    """Return a function that does to headers what frameworks do, and returns them."""
    fields = RESPONSE_HEADERS[:]
    headers = subject.headers.Headers(fields)

    def edit() -> Any:
        fields[:] = RESPONSE_HEADERS  # the headers keep no list of their own
        headers["Content-Length"] = "14"
        headers.setdefault("Content-Language", "en")
        del headers["Vary"]
        headers.add_header("Content-Disposition", "attachment", filename="bud.gif")
        if "X-Frame-Options" in headers and headers.get("Location") is None:
            headers["X-Frame-Options"] = "SAMEORIGIN"
        return headers

    return edit


def test_headers_edits(subject: Subject, timed: Timed) -> None:
    edited = ("Content-Length", "Vary", "X-Frame-Options")
    edit = _editor(subject)
    for _ in range(2):
        assert edit().items() == [
            *[field for field in RESPONSE_HEADERS if field[0] not in edited],
            ("Content-Length", "14"),
            ("Content-Language", "en"),
            ("Content-Disposition", 'attachment; filename="bud.gif"'),
            ("X-Frame-Options", "SAMEORIGIN"),
        ]
    timed("Headers, a sequence of edits", _editor)


_BLOCK = bytes(range(256)) * 2


def test_file_wrapper(subject: Subject, timed: Timed) -> None:
    """Time the wrapper, and next to nothing for what the file does."""

    def make(each: Subject) -> Callable[[], list[bytes]]:
        wrapper_class = each.util.FileWrapper
        file = SimpleNamespace(read={512: _BLOCK}.get)  # without an end
        return lambda: list(islice(wrapper_class(file, 512), 128))

    assert make(subject)() == [_BLOCK] * 128
    timed("FileWrapper, 128 blocks of 512", make)


def test_file_wrapper_around_bytes(subject: Subject, timed: Timed) -> None:
    """Time the same with a file that copies: more than half of the time is the file's."""

    content = _BLOCK * 128

    def make(each: Subject) -> Callable[[], list[bytes]]:
        wrapper_class = each.util.FileWrapper
        return lambda: list(wrapper_class(io.BytesIO(content), 512))

    assert make(subject)() == [_BLOCK] * 128
    timed("FileWrapper, the same of a BytesIO", make)


def _validated(subject: Subject) -> Callable[[], tuple[str, bytes]]:
    """Return a function that calls an application through the validator."""
    checked = subject.validate.validator(page_app)
    template: dict[str, Any] = {"QUERY_STRING": "", "CONTENT_LENGTH": ""}
    subject.util.setup_testing_defaults(template)
    statuses = [""]

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
        statuses[0] = status
        return lambda block: None

    def call() -> tuple[str, bytes]:
        result = checked(template.copy(), start_response)
        body = b"".join(result)
        result.close()
        return statuses[0], body

    return call


def test_validator(subject: Subject, timed: Timed) -> None:
    assert _validated(subject)() == ("200 OK", b"Hello, world! 0 bytes\n")
    timed("validator around an application", _validated)
