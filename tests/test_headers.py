"""`wsgiref_fast.headers`: its promises, and the standard library's as the oracle."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import wsgiref.headers as original
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from oracle import (
    HARMLESS,
    Text,
    missing_names,
    names,
    odd_headers,
    other_signatures,
    outcome,
    plain_headers,
    texts,
    wrong_texts,
)
from wsgiref_fast import headers as ours
from wsgiref_fast.headers import Headers

pytestmark = pytest.mark.usefixtures("implementation")

NAME_CONTROLS = [*map(chr, range(0x20)), "\x7f"]
VALUE_CONTROLS = [char for char in NAME_CONTROLS if char != "\t"]

Operation = tuple[str, tuple[Any, ...], dict[str, Any]]


# -- Each promise of the documentation -----------------------------------------------------


def test_the_wrapped_list_is_the_callers_own() -> None:
    wrapped = [("A", "1")]
    headers = Headers(wrapped)
    headers["B"] = "2"
    assert wrapped == [("A", "1"), ("B", "2")]
    wrapped.append(("C", "3"))
    assert headers["C"] == "3"
    assert headers._headers is wrapped


def test_without_a_list_it_makes_its_own() -> None:
    assert Headers().items() == Headers(None).items() == []
    assert Headers()._headers is not Headers()._headers


@pytest.mark.parametrize("wrong", [(), {}, "", 1, iter([]), type("L", (list,), {})()])
def test_anything_but_a_list_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"^Headers must be a list of name/value tuples$"):
        Headers(wrong)


def test_names_are_compared_without_case() -> None:
    headers = Headers([("Content-Type", "text/plain")])
    assert headers["content-TYPE"] == headers.get("CONTENT-type") == "text/plain"
    assert "content-type" in headers
    assert headers.get_all("CONTENT-TYPE") == ["text/plain"]


def test_the_first_value_of_a_name_is_got() -> None:
    headers = Headers([("A", "1"), ("a", "2")])
    assert headers["a"] == headers.get("A") == headers.setdefault("A", "3") == "1"


def test_setting_drops_the_old_values_and_appends() -> None:
    headers = Headers([("A", "1"), ("B", "2"), ("a", "3")])
    headers["A"] = "4"
    assert headers.items() == [("B", "2"), ("A", "4")]


def test_a_missing_header_is_no_error() -> None:
    headers = Headers([("A", "1")])
    assert headers["B"] is None
    assert headers.get("B") is None
    assert headers.get("B", "default") == "default"
    assert headers.get_all("B") == []
    del headers["B"]
    assert headers.items() == [("A", "1")]


def test_deleting_takes_every_value_of_the_name() -> None:
    headers = Headers([("A", "1"), ("B", "2"), ("a", "3")])
    del headers["a"]
    assert headers.items() == [("B", "2")]


def test_keys_values_and_items_are_lists_with_repetitions() -> None:
    fields = [("A", "1"), ("B", "2"), ("A", "3")]
    headers = Headers(fields)
    assert headers.keys() == ["A", "B", "A"]
    assert headers.values() == ["1", "2", "3"]
    assert headers.items() == fields
    assert headers.items() is not fields


def test_the_length_is_that_of_the_wrapped_list() -> None:
    headers = Headers([("A", "1"), ("A", "2")])
    assert len(headers) == len(headers.items()) == len(headers._headers) == 2


def test_setdefault_adds_what_is_missing_and_returns_it() -> None:
    headers = Headers([("A", "1")])
    assert headers.setdefault("B", "2") == "2"
    assert headers.items() == [("A", "1"), ("B", "2")]


def test_bytes_are_lines_and_a_blank_one() -> None:
    headers = Headers([("A", "1"), ("B", "caf\xe9")])
    assert bytes(headers) == b"A: 1\r\nB: caf\xe9\r\n\r\n"
    assert str(headers) == "A: 1\r\nB: caf\xe9\r\n\r\n"
    assert bytes(Headers()) == b"\r\n"


def test_get_all_keeps_the_order_of_the_list() -> None:
    headers = Headers([("A", "1"), ("B", "x"), ("A", "0"), ("a", "1")])
    headers.add_header("A", "2")
    assert headers.get_all("A") == ["1", "0", "1", "2"]
    del headers["A"]
    headers["A"] = "3"
    assert headers.get_all("A") == ["3"]


def test_the_example_of_add_header() -> None:
    headers = Headers()
    headers.add_header("Content-Disposition", "attachment", filename="bud.gif")
    assert bytes(headers) == b'Content-Disposition: attachment; filename="bud.gif"\r\n\r\n'


def test_underscores_of_a_parameter_become_dashes() -> None:
    headers = Headers()
    headers.add_header("A_B", "v_v", max_age="1_0")
    assert headers.items() == [("A_B", 'v_v; max-age="1_0"')]


def test_a_parameter_that_is_none_stands_alone() -> None:
    headers = Headers()
    headers.add_header("A", "v", secure_only=None, x="")
    headers.add_header("B", None, only=None)
    headers.add_header("C", None)
    assert headers.items() == [("A", "v; secure-only; x"), ("B", "only"), ("C", "")]


def test_quotes_and_backslashes_of_a_parameter_are_escaped() -> None:
    headers = Headers()
    headers.add_header("A", "v", file='a"b\\c')
    assert headers["A"] == 'v; file="a\\"b\\\\c"'


def test_adding_keeps_the_values_before() -> None:
    headers = Headers([("Set-Cookie", "a")])
    headers.add_header("Set-Cookie", "b")
    assert headers.get_all("set-cookie") == ["a", "b"]


# -- Names ---------------------------------------------------------------------------------


def test_every_name_of_the_original_exists() -> None:
    assert missing_names(original, ours) == []
    assert missing_names(original.Headers, Headers) == []


def test_functions_take_the_same_arguments_as_the_originals() -> None:
    differing = other_signatures(original.Headers, Headers)
    # 3.14 gave it another keyword; ours takes both forms on every version.
    differing.pop("_convert_string_type", None)
    assert differing == {}
    assert other_signatures(original, ours) == {}


def test_tspecials_is_the_originals_pattern() -> None:
    assert isinstance(ours.tspecials, re.Pattern)
    assert ours.tspecials.pattern == original.tspecials.pattern


def test_the_patterns_of_newer_versions_refuse_what_we_refuse() -> None:
    everything = "".join(map(chr, range(0x180)))
    assert ours._name_disallowed_re.findall(everything) == NAME_CONTROLS
    assert ours._value_disallowed_re.findall(everything) == VALUE_CONTROLS


def test_an_unknown_name_is_missing() -> None:
    with pytest.raises(AttributeError, match=r"has no attribute 'nothing'"):
        _ = ours.nothing


@given(param=texts(), value=texts('"\\; a=') | st.none(), quote=st.booleans())
def test_formatparam_does_as_the_original(param: str, value: str | None, quote: bool) -> None:
    theirs = original._formatparam  # type: ignore[attr-defined]
    assert ours._formatparam(param, value, quote) == theirs(param, value, quote)


def test_headers_cannot_be_iterated_over_as_in_the_original() -> None:
    assert outcome(list, Headers([("A", "1")])) == outcome(list, original.Headers([("A", "1")]))


# -- Sequences of operations, against the original -----------------------------------------

fields = st.tuples(names, texts())
keys = names | wrong_texts
values = texts() | wrong_texts


def operation(name: str, *args: st.SearchStrategy[Any], **kwargs: Any) -> Any:
    return st.tuples(st.just(name), st.tuples(*args), kwargs.get("params", st.just({})))


params = st.dictionaries(
    st.sampled_from(["filename", "max_age", "a"]), texts('"\\; a\xe9') | st.none() | wrong_texts
)
operations: st.SearchStrategy[Operation] = st.one_of(
    operation("__getitem__", keys),
    operation("__setitem__", names, texts()),
    operation("__delitem__", keys),
    operation("__contains__", keys),
    operation("__len__"),
    operation("__repr__"),
    operation("__str__"),
    operation("__bytes__"),
    operation("get", keys),
    operation("get", keys, values),
    operation("get_all", keys),
    operation("keys"),
    operation("values"),
    operation("items"),
    operation("setdefault", keys, values),
    operation("add_header", keys, values, params=params),
    operation("mutate append", fields),
    operation("mutate insert", st.integers(0, 3), fields),
    operation("mutate pop"),
    operation("mutate clear"),
    operation("mutate reverse"),
)


def perform(headers: Any, step: Operation) -> tuple[Any, ...]:
    """Do one operation; return its outcome and the list after it."""
    name, args, kwargs = step
    owner = headers
    if name.startswith("mutate "):
        owner, name = headers._headers, name.removeprefix("mutate ")
    return outcome(getattr(owner, name), *args, **kwargs), headers._headers[:]


@given(start=plain_headers, steps=st.lists(operations, max_size=12))
def test_operations_do_as_the_originals(
    start: list[tuple[str, str]], steps: list[Operation]
) -> None:
    theirs, mine = original.Headers(start[:]), Headers(start[:])
    for step in steps:
        assert perform(mine, step) == perform(theirs, step)


@given(odd_headers)
def test_a_list_is_checked_as_in_the_original(wrapped: list[Any]) -> None:
    def build(module: Any) -> Any:
        return module.Headers(wrapped).items()

    assert outcome(build, ours) == outcome(build, original)


@given(wrapped=odd_headers, method=st.sampled_from(["__str__", "__bytes__", "__repr__"]))
@example(wrapped=[("A", "\x80"), ("B", 3)], method="__bytes__")
@example(wrapped=[("A", "\t"), (Text("B"), Text("3"))], method="__bytes__")
@example(wrapped=[("A", 3), ("\ud800", b"B")], method="__bytes__")
def test_odd_items_of_a_changed_list_format_as_in_the_original(
    wrapped: list[Any], method: str
) -> None:
    theirs: Any = original.Headers()
    mine: Any = Headers()
    theirs._headers[:] = mine._headers[:] = wrapped
    assert outcome(getattr(mine, method)) == outcome(getattr(theirs, method))


ASKING: list[Operation] = [
    ("get", ("A",), {}),
    ("get_all", ("A",), {}),
    ("__delitem__", ("A",), {}),
    ("__contains__", ("A",), {}),
    ("__setitem__", ("A", "1"), {}),
    ("setdefault", ("A", "1"), {}),
    ("keys", (), {}),
    ("values", (), {}),
    ("items", (), {}),
]


@pytest.mark.parametrize("step", ASKING, ids=lambda step: step[0])
@pytest.mark.parametrize(
    "item", [("A", "1", "2"), ("A",), ["A", "1"], "AB", (3, "1"), 3, (), (b"A", b"1")], ids=repr
)
def test_odd_items_of_a_changed_list_are_met_as_in_the_original(item: Any, step: Operation) -> None:
    theirs: Any = original.Headers()
    mine: Any = Headers()
    theirs._headers[:] = mine._headers[:] = [("B", "0"), item]
    assert perform(mine, step) == perform(theirs, step)


@pytest.mark.parametrize("container", [tuple, type("Listed", (list,), {})])
@pytest.mark.parametrize("field", [("A", "1"), ("A",), ("\u0100", "1")], ids=repr)
def test_another_container_in_the_lists_place_formats_as_in_the_original(
    container: Any, field: Any
) -> None:
    theirs: Any = original.Headers()
    mine: Any = Headers()
    theirs._headers = mine._headers = container([field])
    assert outcome(bytes, mine) == outcome(bytes, theirs)
    assert outcome(str, mine) == outcome(str, theirs)


@pytest.mark.parametrize("value", [None, 3, b"new", Text("new")], ids=repr)
def test_a_set_that_fails_leaves_what_it_leaves_in_the_original(value: Any) -> None:
    step: Operation = ("__setitem__", ("A", value), {})
    theirs, mine = original.Headers([("A", "old")]), Headers([("A", "old")])
    assert perform(mine, step) == perform(theirs, step)


@pytest.mark.parametrize("name", [None, 3, b"A", ("A",), Text("A")], ids=repr)
def test_setting_a_name_that_is_no_string_fails_as_in_the_original(name: Any) -> None:
    step: Operation = ("__setitem__", (name, "1"), {})
    theirs, mine = original.Headers([("A", "old")]), Headers([("A", "old")])
    assert perform(mine, step) == perform(theirs, step)


@pytest.mark.parametrize("char", HARMLESS)
def test_every_other_character_passes(char: str) -> None:
    headers = Headers([(char, char)])
    headers[char] = char
    headers.add_header(char, char, x=char)
    assert headers.get_all(char)[0] == char


# -- Subclasses ----------------------------------------------------------------------------


def subclass_of(module: Any, **members: Any) -> Any:
    return type("Sub", (module.Headers,), members)


# The original of 3.14, and of older ones with its security updates, tells names from values
# by a keyword.
def to_str(self: Any, value: Any, **_: bool) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


CONVERTED: list[Operation] = [
    ("__setitem__", (b"B", 2), {}),
    ("__getitem__", (b"a",), {}),
    ("get_all", (b"A",), {}),
    ("setdefault", (b"C", 3), {}),
    ("add_header", (b"D", 4), {"x": 5}),
    ("__bytes__", (), {}),
    ("__delitem__", (b"A",), {}),
    ("__repr__", (), {}),
]


def test_a_conversion_of_one_argument_may_be_overridden() -> None:
    theirs, mine = (
        subclass_of(module, _convert_string_type=to_str)([("A", "1"), ("a", "2")])
        for module in (original, ours)
    )
    for step in CONVERTED:
        assert perform(mine, step) == perform(theirs, step), step


def test_an_overridden_conversion_sees_the_wrapped_list() -> None:
    wrapped: list[Any] = [(b"A", 1)]
    mine = subclass_of(ours, _convert_string_type=to_str)(wrapped)
    theirs = subclass_of(original, _convert_string_type=to_str)(wrapped)
    assert bytes(mine) == bytes(theirs) == b"b'A': 1\r\n\r\n"


def test_an_overridden_conversion_may_call_the_original_one() -> None:
    def shout(self: Any, value: Any) -> str:
        return str(super(Shouting, self)._convert_string_type(value).upper())

    Shouting = subclass_of(ours, _convert_string_type=shout)  # noqa: N806
    headers = Shouting()
    headers["a"] = "b"
    headers.add_header("c", "d", e="f")
    assert headers.items() == [("A", "B"), ("C", 'D; E="F"')]
    with pytest.raises(AssertionError, match="must be of type str"):
        headers["a"] = 3


@pytest.mark.parametrize(
    "step",
    [
        ("__setitem__", ("Content-Length", 5), {}),
        ("setdefault", ("Content-Length", 5), {}),
        ("__setitem__", ("A", None), {}),
    ],
    ids=repr,
)
def test_a_conversion_may_let_any_type_through(step: Operation) -> None:
    def anything(self: Any, value: Any, **_: bool) -> Any:
        return value

    theirs, mine = (
        subclass_of(module, _convert_string_type=anything)([]) for module in (original, ours)
    )
    assert perform(mine, step) == perform(theirs, step)
    assert outcome(bytes, mine) == outcome(bytes, theirs)


def test_a_conversion_put_on_the_class_later_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    headers = Headers([("A", "1")])
    monkeypatch.setattr(Headers, "_convert_string_type", to_str)
    headers["B"] = 2  # type: ignore[assignment]
    assert headers.items() == [("A", "1"), ("B", "2")]


def test_what_an_overridden_conversion_returns_is_checked() -> None:
    headers = subclass_of(ours, _convert_string_type=to_str)()
    for char in VALUE_CONTROLS:
        with pytest.raises(ValueError, match="Control characters not allowed"):
            headers["A"] = f"1{char}2".encode()
        with pytest.raises(ValueError, match="Control characters not allowed"):
            headers.add_header("A", f"1{char}2".encode())


def test_bytes_are_made_of_an_overridden_str() -> None:
    def text(self: Any) -> str:
        return "caf\xe9"

    for module in (original, ours):
        assert bytes(subclass_of(module, __str__=text)([("A", "1")])) == b"caf\xe9"


def test_subclasses_have_attributes_and_a_name() -> None:
    headers = subclass_of(ours)([("A", "1")])
    headers.note = "kept"
    assert headers.note == "kept"
    assert repr(headers) == "Sub([('A', '1')])"


def test_an_overridden_delitem_is_part_of_setting() -> None:
    deleted: list[str] = []

    def note(self: Any, name: str) -> None:
        deleted.append(name)

    headers = subclass_of(ours, __delitem__=note)([("A", "1")])
    headers["A"] = "2"
    assert deleted == ["A"]
    assert headers.items() == [("A", "1"), ("A", "2")]


def test_an_overridden_get_serves_the_other_readers() -> None:
    def fixed(self: Any, name: str, default: Any = None) -> str:
        return "fixed"

    headers = subclass_of(ours, get=fixed)()
    assert headers["A"] == headers.setdefault("A", "1") == "fixed"
    assert "A" in headers
    assert headers.items() == []


# -- Control characters: refused everywhere, on every interpreter --------------------------


def refusals(headers: Headers, name: str, value: str) -> list[str]:
    """Try each way for a field into a list; return the errors' texts."""
    ways: list[Callable[[], object]] = [
        lambda: Headers([("B", "1"), (name, value)]),
        lambda: headers.__setitem__(name, value),
        lambda: headers.setdefault(name, value),
        lambda: headers.add_header(name, value),
    ]
    return [error_of(way) for way in ways]


def error_of(way: Callable[[], object]) -> str:
    with pytest.raises(ValueError, match=r"^Control characters not allowed in headers") as caught:
        way()
    return str(caught.value)


@pytest.mark.parametrize("form", ["{}a", "a{}", "a{}b"])
def test_a_name_with_a_control_character_is_refused_and_named(form: str) -> None:
    headers = Headers()
    for char in NAME_CONTROLS:
        name = form.format(char)
        assert all(repr(name) in text for text in refusals(headers, name, "1"))
    assert headers.items() == []


@pytest.mark.parametrize("form", ["{}1", "1{}", "1{}2"])
def test_a_value_with_a_control_character_is_refused_and_its_field_named(form: str) -> None:
    headers = Headers()
    for char in VALUE_CONTROLS:
        value = form.format(char)
        texts = refusals(headers, "X-Field", value)
        texts.append(error_of(partial(headers.add_header, "X-Field", "1", p=value)))
        assert all("X-Field" in text for text in texts)
    assert headers.items() == []


@pytest.mark.parametrize("value", ["y", None])
def test_a_parameters_name_with_a_control_character_is_refused(value: str | None) -> None:
    headers = Headers()
    for char in NAME_CONTROLS:
        with pytest.raises(ValueError, match="Control characters not allowed"):
            headers.add_header("A", "1", **{f"x{char}": value})
    assert headers.items() == []


@pytest.mark.parametrize("method", ["get", "get_all", "__getitem__", "__contains__", "__delitem__"])
def test_asking_for_a_name_with_a_control_character_is_refused(method: str) -> None:
    headers = Headers([("A", "1")])
    for char in NAME_CONTROLS:
        with pytest.raises(ValueError, match="Control characters not allowed"):
            getattr(headers, method)("A" + char)


def test_a_value_may_hold_a_tab() -> None:
    headers = Headers([("A", "1\t2")])
    headers["B"] = "\t"
    headers.add_header("C", "3\t", d="\t4")
    assert bytes(headers) == b'A: 1\t2\r\nB: \t\r\nC: 3\t; d="\t4"\r\n\r\n'


@pytest.mark.parametrize("field", [("A\r\nB", "1"), ("A", "1\r\nB: 2"), ("A", "\n"), ("\t", "1")])
def test_what_came_into_the_list_later_is_checked_too(field: tuple[str, str]) -> None:
    headers = Headers([("A", "1")])
    headers._headers.append(field)
    with pytest.raises(ValueError, match="Control characters not allowed"):
        bytes(headers)


@pytest.mark.parametrize("text", ["\u0100", "\ud800", "\u20ac"])
def test_what_is_not_latin_1_cannot_be_sent(text: str) -> None:
    with pytest.raises(UnicodeEncodeError):
        bytes(Headers([("A", text)]))
    with pytest.raises(UnicodeEncodeError):
        bytes(Headers([(text, "1")]))


UNOPTIMIZED = """
from wsgiref_fast import _impl
from wsgiref_fast.headers import Headers

assert False, "this line must not run"

def refused(error, action):
    try:
        action()
    except error:
        return
    raise SystemExit(f"not refused: {action.__name__}")

def name(): Headers([("A\\r", "1")])
def value(): Headers([("A", "1\\n2")])
def name_type(): Headers([(b"A", "1")])
def value_type(): Headers([("A", 1)])
def setting(): Headers()["A"] = "\\0"
def set_type(): Headers()["A"] = 1
def default(): Headers().setdefault("A", "\\x7f")
def adding(): Headers().add_header("A", "1", b="\\r")
def late():
    wrapped = [("A", "1")]
    headers = Headers(wrapped)
    wrapped.append(("B", "\\r\\nC: 2"))
    bytes(headers)

for action in (name, value, setting, default, adding, late):
    refused(ValueError, action)
for action in (name_type, value_type, set_type):
    refused(AssertionError, action)
print(_impl.IMPLEMENTATION)
"""


def test_headers_are_checked_without_assertions_too(implementation: str) -> None:
    done = subprocess.run(
        [sys.executable, "-O", "-c", UNOPTIMIZED],
        env={**os.environ, "WSGIREF_FAST_IMPL": implementation},
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr, done.returncode) == (f"{implementation}\n", "", 0)
