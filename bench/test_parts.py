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


def make_serializer(subject: Subject) -> Callable[[], bytes]:
    """Return a function that serializes headers."""
    # Not a lambda: its own call would be a tenth of what is timed.
    return partial(bytes, subject.headers.Headers(RESPONSE_HEADERS))


def test_headers_as_bytes(subject: Subject, timed: Timed) -> None:
    lines = [f"{name}: {value}\r\n".encode() for name, value in RESPONSE_HEADERS]
    assert make_serializer(subject)() == b"".join(lines) + b"\r\n"
    timed("bytes(Headers)", make_serializer)


def _make_looker(subject: Subject) -> Callable[[], tuple[Any, ...]]:
    """Return a function that looks up what is there, in another spelling, and what is not."""
    headers = subject.headers.Headers(RESPONSE_HEADERS)

    def look_up() -> tuple[Any, ...]:
        return (
            headers["content-type"],
            headers.get("ETag"),
            headers.get("Location"),
            "vary" in headers,
            "Content-Encoding" in headers,
            headers.get_all("Set-Cookie"),
        )

    return look_up


def test_headers_look_ups(subject: Subject, timed: Timed) -> None:
    fields = dict(RESPONSE_HEADERS)
    expected = fields["Content-Type"], fields["ETag"], None, True, False, [fields["Set-Cookie"]]
    assert _make_looker(subject)() == expected
    timed("Headers, 6 look-ups", _make_looker)


def make_editor(subject: Subject) -> Callable[[], Any]:
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


def check_editor(edit: Callable[[], Any]) -> None:
    """Check what has become of the headers, each time."""
    edited = ("Content-Length", "Vary", "X-Frame-Options")
    for _ in range(2):
        assert edit().items() == [
            *[field for field in RESPONSE_HEADERS if field[0] not in edited],
            ("Content-Length", "14"),
            ("Content-Language", "en"),
            ("Content-Disposition", 'attachment; filename="bud.gif"'),
            ("X-Frame-Options", "SAMEORIGIN"),
        ]


def test_headers_edits(subject: Subject, timed: Timed) -> None:
    check_editor(make_editor(subject))
    timed("Headers, a sequence of edits", make_editor)


_BLOCK = bytes(range(256)) * 2


def make_file_reader(subject: Subject) -> Callable[[], list[bytes]]:
    """Return a function that reads 128 blocks of a file that does next to nothing."""
    wrapper_class = subject.util.FileWrapper
    file = SimpleNamespace(read={512: _BLOCK}.get)  # without an end
    return lambda: list(islice(wrapper_class(file, 512), 128))


def test_file_wrapper(subject: Subject, timed: Timed) -> None:
    """Time the wrapper, and next to nothing for what the file does."""
    assert make_file_reader(subject)() == [_BLOCK] * 128
    timed("FileWrapper, 128 blocks of 512", make_file_reader)


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
