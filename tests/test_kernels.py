"""The compiled kernels against the reference ones: the same, but for the time they take."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import implementations
from oracle import HOSTILE, Outcome, Text, names, odd_headers, outcome, plain_headers, texts
from wsgiref_fast import _impl
from wsgiref_fast._pure import headers as reference

# A pure installation has no twins to compare: then there are no tests here to collect.
__test__ = "compiled" in implementations()

Kernel = Callable[..., Any]

KERNELS = [(module, name) for module, names in _impl.KERNELS.items() for name in names]
HEADER_KERNELS = ["validate_headers", "serialize_headers"]

for_each_kernel = pytest.mark.parametrize(("module", "name"), KERNELS)
for_each_header_kernel = pytest.mark.parametrize("name", HEADER_KERNELS)


def twins(module: str, name: str) -> tuple[Kernel, Kernel]:
    """Return a kernel's reference and its compiled twin."""
    pure = import_module(f"wsgiref_fast._pure.{module}")
    compiled = import_module(f"wsgiref_fast._speedups.{module}")
    return getattr(pure, name), getattr(compiled, name)


def differences(one: Kernel, other: Kernel, inputs: Iterable[Any]) -> list[Any]:
    """Return those inputs on which two kernels do not do the same, as far as the eye sees."""
    return [value for value in inputs if seen(one, value) != seen(other, value)]


def seen(kernel: Kernel, value: Any) -> tuple[Outcome, Any]:
    """Tell what a kernel does with an input, and what is left of that."""
    argument = value[:] if isinstance(value, list) else value
    return outcome(kernel, argument), argument


def hostile_texts(length: int) -> Iterator[str]:
    """Make every string over the hostile alphabet up to a length."""
    for size in range(length + 1):
        yield from map("".join, product(HOSTILE, repeat=size))


def hostile_headers() -> Iterator[list[tuple[str, str]]]:
    """Make header lists with every short string as a name, as a value and as both."""
    for text in hostile_texts(3):
        yield [(text, "1")]
        yield [("A", text)]
    for name, value in product(hostile_texts(1), repeat=2):
        yield [("A", "1"), (name, value), ("B", "2")]


# -- The same faces ------------------------------------------------------------------------


@for_each_kernel
def test_twins_have_the_same_face(module: str, name: str) -> None:
    pure, compiled = twins(module, name)
    assert pure is not compiled
    assert compiled.__name__ == pure.__name__ == name
    assert compiled.__qualname__ == pure.__qualname__
    assert inspect.signature(compiled) == inspect.signature(pure)
    # Python strips a docstring's indentation since 3.13, Cython does not.
    assert inspect.getdoc(compiled) == inspect.getdoc(pure)
    assert pure.__doc__


@pytest.mark.parametrize("module", _impl.KERNELS)
def test_a_compiled_module_has_the_kernels_alone(module: str) -> None:
    compiled = import_module(f"wsgiref_fast._speedups.{module}")
    public = [
        name
        for name, value in vars(compiled).items()
        if callable(value) and getattr(value, "__module__", None) == compiled.__name__
    ]
    assert sorted(public) == sorted(_impl.KERNELS[module])
    assert compiled.__file__ is not None
    assert not compiled.__file__.endswith(".py")


# -- The same results ----------------------------------------------------------------------


@for_each_header_kernel
def test_twins_agree_on_every_short_string(name: str) -> None:
    assert differences(*twins("headers", name), hostile_headers()) == []


@for_each_header_kernel
@given(headers=plain_headers)
def test_twins_agree_on_well_formed_lists(name: str, headers: list[tuple[str, str]]) -> None:
    assert differences(*twins("headers", name), [headers]) == []


@for_each_header_kernel
@given(headers=odd_headers)
def test_twins_agree_on_lists_of_wrong_items(name: str, headers: list[Any]) -> None:
    assert differences(*twins("headers", name), [headers]) == []


@for_each_header_kernel
@given(headers=st.lists(st.tuples(names, texts(HOSTILE)), max_size=20))
def test_twins_agree_on_hostile_lists(name: str, headers: list[tuple[str, str]]) -> None:
    assert differences(*twins("headers", name), [headers]) == []


class Pair(tuple[Any, ...]):
    """A tuple that is not exactly one, and says something else when it is unpacked."""

    __slots__ = ()

    def __iter__(self) -> Iterator[str]:
        return iter(("Other", "3"))


class Loud(Text):
    """A string that speaks up when it is formatted."""

    __slots__ = ()

    def __str__(self) -> str:
        return "loud"


ODD_ITEMS = [
    *(Pair(("A", "1")), (Loud("A"), "1"), ("A", Loud("1")), ["A", "1"], ("A", 1), (b"A", "1")),
    *(("A", None), ("A",), ("A", "1", "2"), (), "AB", "ABC", b"AB", None, 3, {"A": 1, "B": 2}),
]


@for_each_header_kernel
@pytest.mark.parametrize("item", ODD_ITEMS, ids=lambda item: f"{type(item).__name__}-{item!r}")
def test_twins_agree_on_odd_items_wherever_they_stand(name: str, item: Any) -> None:
    plain = ("X", "0")
    inputs = [[item], [item, plain], [plain, item], [plain, item, ("Y\r", "")]]
    assert differences(*twins("headers", name), inputs) == []


class Listed(list[Any]):
    """A list that is not exactly one."""


WRONG_CONTAINERS = [
    *(None, 3, "", "AB", b"AB", (), (("A", "1"),), (("A", "\r"),), {}, {"AB": 1}),
    *(Listed(), Listed([("A", "1")]), Listed([("A", "\n")]), object),
]


@for_each_header_kernel
@pytest.mark.parametrize("headers", WRONG_CONTAINERS, ids=repr)
def test_twins_agree_on_what_is_not_exactly_a_list(name: str, headers: Any) -> None:
    assert differences(*twins("headers", name), [headers]) == []


@for_each_header_kernel
def test_twins_agree_on_wrong_calls(name: str) -> None:
    pure, compiled = twins("headers", name)
    wrong: list[tuple[Any, ...]] = [(), ([], [])]
    for args in wrong:
        assert outcome(compiled, *args)[:2] == outcome(pure, *args)[:2] == ("raised", TypeError)
    assert outcome(compiled, headers=[]) == outcome(pure, headers=[])


@for_each_header_kernel
@pytest.mark.parametrize("size", [0, 1, 100, 5000])
def test_twins_agree_on_long_lists(name: str, size: int) -> None:
    headers = [(f"X-{i}", "v" * (i % 300)) for i in range(size)]
    assert differences(*twins("headers", name), [headers]) == []


@for_each_header_kernel
def test_twins_agree_on_every_character_of_latin_1_and_some_others(name: str) -> None:
    chars = [*map(chr, range(0x180)), "\u2028", "\ud800", "\udfff", "\U0001f600"]
    inputs = [[field] for char in chars for field in ((char, "1"), ("A", f"1{char}2"))]
    assert differences(*twins("headers", name), inputs) == []


# -- The compiled path is really taken -----------------------------------------------------


@pytest.fixture
def handed_over(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Name the reference kernels of headers that are called, as they are."""
    calls: list[str] = []
    for name in HEADER_KERNELS:
        monkeypatch.setattr(reference, name, noting(calls, name, getattr(reference, name)))
    return calls


def noting(calls: list[str], name: str, function: Kernel) -> Kernel:
    def noted(*args: Any) -> Any:
        calls.append(name)
        return function(*args)

    return noted


PLAIN: list[list[tuple[str, str]]] = [
    [],
    [("A", "1")],
    [("", "")],
    [("Content-Type", "text/plain"), ("X", "\x80\xff\xe9"), ("Y\xff", "tab\tinside")],
    [("X", "1")] * 200,
]


@for_each_header_kernel
@pytest.mark.parametrize("headers", PLAIN, ids=range(len(PLAIN)))
def test_the_plain_case_does_not_reach_the_reference(
    handed_over: list[str], name: str, headers: list[tuple[str, str]]
) -> None:
    twins("headers", name)[1](headers)
    assert handed_over == []


ODD = [
    *([("A", "\r")], [("A\t", "1")], [("A", "\u0100")], [("A", "\ud800")], [("A\x7f", "1")]),
    *([("A", Text("1"))], [(Text("A"), "1")], [["A", "1"]], [Pair(("A", "1"))], [("A", 1)]),
    *([("A",)], [("A", "1", "2")], [None], ["AB"], [("A", "1"), ("B", "\0")]),
]


@for_each_header_kernel
@pytest.mark.parametrize("headers", ODD, ids=repr)
def test_the_odd_case_is_handed_over_once(
    handed_over: list[str], name: str, headers: list[Any]
) -> None:
    outcome(twins("headers", name)[1], headers)
    assert handed_over[:1] == [name]
    assert handed_over.count(name) == 1


# -- The comparison itself -----------------------------------------------------------------


def skips_del(headers: list[tuple[str, str]]) -> None:
    reference.validate_headers([(n, v.replace("\x7f", "")) for n, v in headers])


def forgets_names(headers: list[tuple[str, str]]) -> None:
    reference.validate_headers([("A", v) for _, v in headers])


def returns_something(headers: list[tuple[str, str]]) -> bool:
    reference.validate_headers(headers)
    return True


def says_it_in_other_words(headers: list[tuple[str, str]]) -> None:
    try:
        reference.validate_headers(headers)
    except ValueError as error:
        raise ValueError("control character") from error


def raises_another_type(headers: list[tuple[str, str]]) -> None:
    try:
        reference.validate_headers(headers)
    except ValueError as error:
        raise AssertionError(*error.args) from error


def empties_the_list(headers: list[tuple[str, str]]) -> None:
    reference.validate_headers(headers)
    headers.clear()


def drops_surrogates(headers: list[tuple[str, str]]) -> bytes:
    return reference.serialize_headers(
        [(n, v.encode("utf-8", "ignore").decode()) for n, v in headers]
    )


def replaces_what_is_not_latin_1(headers: list[tuple[str, str]]) -> bytes:
    return "".join([*(f"{n}: {v}\r\n" for n, v in headers), "\r\n"]).encode("latin-1", "replace")


def joins_with_a_bare_colon(headers: list[tuple[str, str]]) -> bytes:
    return reference.serialize_headers(headers).replace(b": ", b":")


def gives_a_bytearray(headers: list[tuple[str, str]]) -> bytearray:
    return bytearray(reference.serialize_headers(headers))


WRONG_KERNELS = [
    *((reference.validate_headers, wrong) for wrong in (skips_del, forgets_names)),
    *((reference.validate_headers, wrong) for wrong in (returns_something, empties_the_list)),
    (reference.validate_headers, says_it_in_other_words),
    (reference.validate_headers, raises_another_type),
    *((reference.serialize_headers, wrong) for wrong in (drops_surrogates, gives_a_bytearray)),
    (reference.serialize_headers, replaces_what_is_not_latin_1),
    (reference.serialize_headers, joins_with_a_bare_colon),
]


@pytest.mark.parametrize(("right", "wrong"), WRONG_KERNELS, ids=lambda kernel: kernel.__name__)
def test_a_wrong_kernel_would_be_found(right: Kernel, wrong: Kernel) -> None:
    assert differences(right, wrong, hostile_headers())


def test_every_header_kernel_is_compared() -> None:
    assert {right.__name__ for right, _ in WRONG_KERNELS} == set(HEADER_KERNELS)
