"""`wsgiref_fast.util`: its promises, and the standard library's as the oracle."""

from __future__ import annotations

import io
import os
import sys
import wsgiref.util as original
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref import validate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle import missing_names, other_signatures, outcome, texts
from wsgiref_fast import handlers
from wsgiref_fast import util as ours
from wsgiref_fast.util import (
    FileWrapper,
    application_uri,
    guess_scheme,
    is_hop_by_hop,
    request_uri,
    setup_testing_defaults,
    shift_path_info,
)

Environ = dict[str, Any]


# -- Names ---------------------------------------------------------------------------------


def test_every_name_of_the_original_exists() -> None:
    assert missing_names(original, ours) == []
    assert missing_names(original.FileWrapper, FileWrapper) == []


def test_all_names_what_the_running_interpreters_own_names() -> None:
    assert sorted(ours.__all__) == sorted(original.__all__)


def test_functions_take_the_same_arguments_as_the_originals() -> None:
    assert other_signatures(original, ours) == {}
    assert other_signatures(original.FileWrapper, FileWrapper) == {}


# -- guess_scheme --------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["1", "yes", "on"])
def test_https_is_guessed_of_a_variable_that_says_yes(value: str) -> None:
    assert guess_scheme({"HTTPS": value}) == "https"


@pytest.mark.parametrize("environ", [{}, {"HTTPS": "off"}, {"HTTPS": ""}, {"HTTPS": "YES"}])
def test_http_is_guessed_of_anything_else(environ: Environ) -> None:
    assert guess_scheme(environ) == original.guess_scheme(environ) == "http"


@pytest.mark.parametrize("value", ["ON", "0", "true", None, 1, True, b"on", ["on"]], ids=repr)
def test_odd_values_are_guessed_of_as_in_the_original(value: Any) -> None:
    environ = {"HTTPS": value}
    assert outcome(guess_scheme, environ) == outcome(original.guess_scheme, environ)


# -- request_uri and application_uri -------------------------------------------------------

paths = st.lists(st.sampled_from(["", ".", "..", "a", "b c", "%2f", "\xe9", ";p=1,2", "~?#&"]))
joined = paths.map("/".join)
rooted = joined.map(lambda path: "/" + path)
path_values = st.one_of(joined, rooted, st.just("/"), st.just("//"))

full_environs = st.fixed_dictionaries(
    {
        "wsgi.url_scheme": st.sampled_from(["http", "https", "ws"]),
        "SERVER_NAME": st.sampled_from(["127.0.0.1", "example.org"]),
        "SERVER_PORT": st.sampled_from(["80", "443", "8080", ""]),
    },
    optional={
        "HTTP_HOST": st.sampled_from(["", "example.com", "example.com:8080"]),
        "SCRIPT_NAME": path_values,
        "PATH_INFO": path_values,
        "QUERY_STRING": st.sampled_from(["", "a=b", "say Ni", "%C3%A9&x=/"]),
    },
)
partial_environs = st.builds(
    lambda environ, gone: {k: v for k, v in environ.items() if k not in gone},
    full_environs,
    st.sets(st.sampled_from(["wsgi.url_scheme", "SERVER_NAME", "SERVER_PORT", "HTTP_HOST"])),
)


@given(environ=partial_environs, include_query=st.booleans())
def test_uris_are_the_originals(environ: Environ, include_query: bool) -> None:
    before = environ.copy()
    assert outcome(request_uri, environ, include_query) == outcome(
        original.request_uri, environ, include_query
    )
    assert outcome(application_uri, environ) == outcome(original.application_uri, environ)
    assert environ == before


def test_the_query_is_part_of_a_requests_uri_unless_told_otherwise() -> None:
    environ: Environ = {"SCRIPT_NAME": "/app", "PATH_INFO": "/page", "QUERY_STRING": "a=b"}
    setup_testing_defaults(environ)
    assert request_uri(environ) == "http://127.0.0.1/app/page?a=b"
    assert request_uri(environ, include_query=False) == "http://127.0.0.1/app/page"
    assert request_uri(environ, False) == "http://127.0.0.1/app/page"


def test_path_and_query_are_no_part_of_an_applications_uri() -> None:
    environ: Environ = {"SCRIPT_NAME": "/app", "PATH_INFO": "/page", "QUERY_STRING": "a=b"}
    setup_testing_defaults(environ)
    assert application_uri(environ) == "http://127.0.0.1/app"


# -- shift_path_info -----------------------------------------------------------------------


def test_the_example_of_shift_path_info() -> None:
    environ: Environ = {"SCRIPT_NAME": "/foo", "PATH_INFO": "/bar/baz"}
    assert shift_path_info(environ) == "bar"
    assert environ == {"SCRIPT_NAME": "/foo/bar", "PATH_INFO": "/baz"}
    assert shift_path_info(environ) == "baz"
    assert environ == {"SCRIPT_NAME": "/foo/bar/baz", "PATH_INFO": ""}
    assert shift_path_info(environ) is None
    assert environ == {"SCRIPT_NAME": "/foo/bar/baz", "PATH_INFO": ""}


def test_a_path_of_a_slash_gives_an_empty_name_and_a_slash_to_the_script() -> None:
    environ: Environ = {"SCRIPT_NAME": "/x", "PATH_INFO": "/"}
    assert shift_path_info(environ) == ""
    assert environ == {"SCRIPT_NAME": "/x/", "PATH_INFO": ""}


@pytest.mark.parametrize("environ", [{}, {"PATH_INFO": ""}, {"SCRIPT_NAME": "/x"}])
def test_without_a_segment_there_is_no_name(environ: Environ) -> None:
    before = environ.copy()
    assert shift_path_info(environ) is None
    assert environ == before


def shifts(shift: Callable[[Environ], Any], environ: Environ) -> list[Any]:
    """Shift until nothing is left; return each result with the environ after it."""
    steps = []
    for _ in range(12):
        steps.append((outcome(shift, environ), environ.copy()))
        if steps[-1][0] == ("returned", type(None), None):
            break
    return steps


@given(st.fixed_dictionaries({"PATH_INFO": rooted}, optional={"SCRIPT_NAME": path_values}))
def test_paths_shift_as_in_the_original(environ: Environ) -> None:
    mine = shifts(shift_path_info, environ.copy())
    assert mine == shifts(original.shift_path_info, environ.copy())


@pytest.mark.parametrize("script", ["", "/", "//", "/x", "/x/", "x", ".", "/.."])
@pytest.mark.parametrize(
    "path", ["/", "//", "/.", "/./", "/..", "//a", "/a//", "/a/./b", "/././a", "/\xe9"]
)
def test_edges_shift_as_in_the_original(script: str, path: str) -> None:
    environ = {"SCRIPT_NAME": script, "PATH_INFO": path}
    assert shifts(shift_path_info, environ.copy()) == shifts(
        original.shift_path_info, environ.copy()
    )


def test_a_path_without_a_slash_cannot_be_shifted() -> None:
    environ = {"SCRIPT_NAME": "/x", "PATH_INFO": "abc"}
    for shift in (shift_path_info, original.shift_path_info):
        with pytest.raises(IndexError):
            shift(environ)
    assert environ == {"SCRIPT_NAME": "/x", "PATH_INFO": "abc"}


# -- setup_testing_defaults ----------------------------------------------------------------

STREAMS = ("wsgi.input", "wsgi.errors")


def defaults(module: Any, environ: Environ) -> Environ:
    module.setup_testing_defaults(environ)
    for name in STREAMS:
        stream = environ[name]
        environ[name] = type(stream), stream.read()
    return environ


def test_defaults_have_what_the_documentation_names() -> None:
    environ: Environ = {}
    setup_testing_defaults(environ)
    assert environ["HTTP_HOST"] == environ["SERVER_NAME"] == "127.0.0.1"
    assert (environ["SERVER_PORT"], environ["SERVER_PROTOCOL"]) == ("80", "HTTP/1.0")
    assert (environ["REQUEST_METHOD"], environ["SCRIPT_NAME"], environ["PATH_INFO"]) == (
        *("GET", "", "/"),
    )
    wsgi = ["version", "url_scheme", "input", "errors", "multithread", "multiprocess", "run_once"]
    assert {f"wsgi.{name}" for name in wsgi} <= environ.keys()


def test_defaults_satisfy_the_validator() -> None:
    environ: Environ = {"QUERY_STRING": ""}
    setup_testing_defaults(environ)
    validate.check_environ(environ)  # type: ignore[attr-defined]


@given(
    st.dictionaries(
        st.sampled_from(
            [
                *("SERVER_NAME", "HTTP_HOST", "SERVER_PORT", "SCRIPT_NAME", "PATH_INFO"),
                *("REQUEST_METHOD", "SERVER_PROTOCOL", "wsgi.version", "wsgi.run_once", "OTHER"),
            ]
        ),
        texts(),
    ),
    st.fixed_dictionaries(
        {},
        optional={
            "HTTPS": st.sampled_from(["on", "off"]),
            "wsgi.url_scheme": st.sampled_from(["http", "https", "ws"]),
        },
    ),
)
def test_defaults_are_the_originals_and_replace_nothing(some: Environ, more: Environ) -> None:
    given_ones = some | more
    environ = defaults(ours, given_ones.copy())
    assert environ == defaults(original, given_ones.copy())
    assert list(environ) == list(defaults(original, given_ones.copy()))
    assert given_ones.items() <= environ.items()


def test_the_given_streams_stay() -> None:
    body, errors = io.BytesIO(), io.StringIO()
    environ: Environ = {"wsgi.input": body, "wsgi.errors": errors}
    setup_testing_defaults(environ)
    assert environ["wsgi.input"] is body
    assert environ["wsgi.errors"] is errors


# -- is_hop_by_hop -------------------------------------------------------------------------

HOP_BY_HOP = [
    *("Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization"),
    *("TE", "Trailers", "Transfer-Encoding", "Upgrade"),
]


@pytest.mark.parametrize("name", HOP_BY_HOP)
def test_hop_by_hop_headers_are_known_in_any_case(name: str) -> None:
    for spelling in (name, name.lower(), name.upper()):
        assert is_hop_by_hop(spelling)
        assert original.is_hop_by_hop(spelling)


@pytest.mark.parametrize(
    "name", ["Accept", "Cache-Control", "Date", "Pragma", "Trailer", "Via", "", "Proxy-Connection"]
)
def test_other_headers_are_not_hop_by_hop(name: str) -> None:
    assert is_hop_by_hop(name) is original.is_hop_by_hop(name) is False


@pytest.mark.parametrize("name", [b"te", b"Accept", None, 3, ["te"]], ids=repr)
def test_odd_names_are_judged_as_in_the_original(name: Any) -> None:
    assert outcome(is_hop_by_hop, name) == outcome(original.is_hop_by_hop, name)


def test_the_set_may_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "_hoppish", {"accept": 1}.__contains__)
    assert is_hop_by_hop("Accept")
    assert not is_hop_by_hop("Connection")
    assert not vars(handlers)["is_hop_by_hop"]("Connection")


# -- FileWrapper ---------------------------------------------------------------------------


class Reader:
    """A file that counts what is asked of it, and has no ``close``."""

    def __init__(self, *blocks: bytes) -> None:
        self.blocks = list(blocks)
        self.sizes: list[int] = []

    def read(self, size: int) -> bytes:
        self.sizes.append(size)
        return self.blocks.pop(0) if self.blocks else b""


class ClosingReader(Reader):
    closed = 0

    def close(self) -> str:
        self.closed += 1
        return "closed"


def by_index(wrapper: FileWrapper) -> Iterable[Any]:
    """Iterate as it was before there was ``__iter__``: by index, until `IndexError`."""
    index = 0
    while True:
        try:
            yield wrapper[index]
        except IndexError:
            return
        index += 1


def by_iterator(wrapper: FileWrapper) -> Iterable[Any]:
    return wrapper


STYLES = pytest.mark.parametrize("style", [by_iterator, by_index])


@STYLES
def test_the_example_of_the_documentation(style: Callable[[FileWrapper], Iterable[Any]]) -> None:
    text = "This is an example file-like object" * 10
    blocks = list(style(FileWrapper(io.StringIO(text), blksize=5)))  # type: ignore[arg-type]
    assert blocks == [text[i : i + 5] for i in range(0, len(text), 5)]


@STYLES
@given(data=st.binary(max_size=60), size=st.integers(1, 20))
def test_blocks_are_the_originals(
    style: Callable[[FileWrapper], Iterable[Any]], data: bytes, size: int
) -> None:
    expected = list(original.FileWrapper(io.BytesIO(data), size))
    assert list(style(FileWrapper(io.BytesIO(data), size))) == expected


@STYLES
def test_the_block_size_is_asked_for_each_time(
    style: Callable[[FileWrapper], Iterable[Any]],
) -> None:
    reader = Reader(b"abc", b"d")
    assert list(style(FileWrapper(reader, blksize=7))) == [b"abc", b"d"]
    assert reader.sizes == [7, 7, 7]


def test_the_block_size_is_8192_unless_told() -> None:
    reader = Reader(b"abc")
    wrapper: Any = FileWrapper(reader)
    assert next(wrapper) == b"abc"
    assert reader.sizes == [wrapper.blksize] == [8192]
    assert wrapper.filelike is reader


def test_size_and_file_may_be_changed_on_the_way() -> None:
    first, second = Reader(b"a", b"b"), Reader(b"c")
    wrapper: Any = FileWrapper(first, 1)
    next(wrapper)
    wrapper.filelike, wrapper.blksize = second, 9
    assert list(wrapper) == [b"c"]
    assert (first.sizes, second.sizes) == ([1], [9, 9])


def test_it_is_its_own_iterator() -> None:
    wrapper = FileWrapper(Reader())
    assert iter(wrapper) is wrapper


@STYLES
def test_the_end_is_for_good(style: Callable[[FileWrapper], Iterable[Any]]) -> None:
    reader = Reader(b"a", b"", b"after the end")
    wrapper = FileWrapper(reader)
    assert list(style(wrapper)) == [b"a"]
    asked = len(reader.sizes)
    assert list(style(wrapper)) == list(wrapper) == list(by_index(wrapper)) == []
    assert next(wrapper, None) is None
    assert len(reader.sizes) == asked
    assert reader.blocks == [b"after the end"]


def test_both_styles_share_one_position() -> None:
    wrapper = FileWrapper(Reader(b"a", b"b", b"c"))
    assert (next(wrapper), wrapper[0], wrapper[0]) == (b"a", b"b", b"c")
    with pytest.raises(IndexError):
        wrapper[0]
    with pytest.raises(StopIteration):
        next(wrapper)


def test_close_is_the_files_own() -> None:
    reader = ClosingReader(b"a")
    wrapper = FileWrapper(reader)
    assert wrapper.close() == "closed"  # type: ignore[func-returns-value]
    assert reader.closed == 1
    assert "close" in vars(wrapper)


def test_there_is_no_close_where_the_file_has_none() -> None:
    wrapper = FileWrapper(Reader(b"a"))
    assert not hasattr(wrapper, "close")
    assert not hasattr(FileWrapper, "close")


def test_iterating_closes_nothing() -> None:
    reader = ClosingReader(b"a")
    assert list(FileWrapper(reader)) == [b"a"]
    assert reader.closed == 0


def test_an_error_of_the_file_comes_through_and_ends_nothing() -> None:
    class Failing(Reader):
        def read(self, size: int) -> bytes:
            if not self.sizes:
                self.sizes.append(size)
                raise OSError("no disk")
            return super().read(size)

    wrapper = FileWrapper(Failing(b"a"))
    with pytest.raises(OSError, match="no disk"):
        next(wrapper)
    assert list(wrapper) == [b"a"]


@pytest.mark.parametrize("file", [None, 3, object()], ids=["None", "3", "object"])
def test_what_is_no_file_fails_as_in_the_original(file: Any) -> None:
    mine, theirs = FileWrapper(file), original.FileWrapper(file)
    kind, error, _ = outcome(next, mine)
    assert (kind, error) == outcome(next, theirs)[:2] == ("raised", AttributeError)


def test_subclasses_may_override_and_have_attributes() -> None:
    class Upper(FileWrapper):
        def __next__(self) -> Any:
            return super().__next__().upper()

    wrapper = Upper(Reader(b"a", b"b"))
    wrapper.note = "kept"  # type: ignore[attr-defined]
    assert list(wrapper) == [b"A", b"B"]


def test_a_real_file_is_read_and_closed(tmp_path: Any) -> None:
    path = tmp_path / "page"
    path.write_bytes(os.urandom(20000))
    with path.open("rb") as file:
        wrapper = FileWrapper(file)
        assert b"".join(wrapper) == path.read_bytes()
        wrapper.close()
        assert file.closed


def test_all_has_is_hop_by_hop_since_3_13() -> None:
    assert ("is_hop_by_hop" in ours.__all__) == (sys.version_info >= (3, 13))
