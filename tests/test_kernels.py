"""The compiled kernels' faces and their choice; what each does is in a module of its own.

For a kernel module X, ``test_kernels_X`` has a `TwinTests` for each of its kernels.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

from conftest import implementations
from oracle import outcome
from twins import (
    HOSTILE_BYTES,
    HOSTILE_TEXT,
    Call,
    Doubled,
    Listed,
    Loud,
    Made,
    Mapped,
    Options,
    TwinTests,
    differences,
    exact,
    handed_over,
    in_use,
    seen,
    short,
    twins,
)
from wsgiref_fast import _impl
from wsgiref_fast._pure import headers as reference
from wsgiref_fast.headers import Headers

# A pure installation has no twins to compare: then there are no tests here to collect.
__test__ = "compiled" in implementations()

#: A wrapper of a type's slot has the face of any built-in's: `test_filewrapper` has its tests.
SLOTS = {("filewrapper", "next_block")}
KERNELS = [
    (module, name)
    for module, names in _impl.KERNELS.items()
    for name in names
    if (module, name) not in SLOTS
]

for_each_kernel = pytest.mark.parametrize(("module", "name"), KERNELS)


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


@for_each_kernel
def test_twins_are_described_alike_and_say_where_they_are(module: str, name: str) -> None:
    pure, compiled = twins(module, name)
    assert pure.__module__ == f"wsgiref_fast._pure.{module}"
    assert compiled.__module__ == f"wsgiref_fast._speedups.{module}"
    assert compiled.__defaults__ == pure.__defaults__
    assert compiled.__kwdefaults__ == pure.__kwdefaults__


@for_each_kernel
def test_twins_refuse_the_same_calls(module: str, name: str) -> None:
    pure, compiled = twins(module, name)
    needed = [
        parameter.name
        for parameter in inspect.signature(pure).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    few = needed[:-1]
    for args, options in (((), {}), (few, {}), ([*needed] * 4, {}), (needed, {needed[0]: 1})):
        refused = ("raised", TypeError)
        assert outcome(compiled, *args, **options)[:2] == refused, (args, options)
        assert outcome(pure, *args, **options)[:2] == refused, (args, options)


@for_each_kernel
def test_twins_take_their_arguments_by_name(module: str, name: str) -> None:
    pure, compiled = twins(module, name)
    arguments: dict[str, Any] = {
        parameter.name: []
        for parameter in inspect.signature(pure).parameters.values()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    }
    one, other = outcome(pure, **arguments), outcome(compiled, **arguments)
    assert exact(other) == exact(one)


@pytest.mark.parametrize("module", _impl.KERNELS)
def test_a_compiled_module_has_the_kernels_alone(module: str) -> None:
    compiled = import_module(f"wsgiref_fast._speedups.{module}")
    public = [
        name
        for name, value in vars(compiled).items()
        if callable(value)
        and (getattr(value, "__module__", None) == compiled.__name__ or (module, name) in SLOTS)
        and not inspect.isclass(value)
    ]
    assert sorted(public) == sorted(_impl.KERNELS[module])
    assert compiled.__file__ is not None
    assert not compiled.__file__.endswith(".py")


# -- The choice ----------------------------------------------------------------------------


@for_each_kernel
def test_a_choice_binds_each_kernel_where_it_is_called(module: str, name: str) -> None:
    pure, compiled = twins(module, name)
    _impl.load(module)
    with in_use("pure"):
        assert bound(module, name) == {pure}
        with in_use("compiled"):
            assert bound(module, name) == {compiled}
        assert bound(module, name) == {pure}


def bound(module: str, name: str) -> set[Any]:
    """Return what callers reach by a kernel's name: of the chooser, and as methods."""
    found = {
        vars(owner)[method]
        for owner, method, home, kernel in _impl._methods
        if (home, kernel) == (module, name)
    }
    return found | ({getattr(_impl, name)} if hasattr(_impl, name) else set())


def test_an_object_made_before_a_choice_follows_it() -> None:
    with in_use("pure"):
        headers = Headers([("A", "1")])
        with in_use("compiled"):
            headers["B"] = "2"
            assert bytes(headers) == b"A: 1\r\nB: 2\r\n\r\n"
        del headers["a"]
    assert headers.items() == [("B", "2")]


@for_each_kernel
def test_each_kernel_is_compared_with_its_twin(module: str, name: str) -> None:
    tests = import_module(f"test_kernels_{module}")
    compared = [
        value.name
        for label, value in vars(tests).items()
        if label.startswith("Test") and issubclass(value, TwinTests)
    ]
    assert compared.count(name) == 1
    assert set(compared) <= set(_impl.KERNELS[module])


# -- The comparison itself -----------------------------------------------------------------


def test_a_string_of_each_length_and_character_is_tried() -> None:
    assert len(set(HOSTILE_BYTES)) == len(HOSTILE_BYTES)
    assert set(HOSTILE_BYTES) >= set("\r\n\t \0%:/?_-\x80\x85\xa0aZ")
    assert len(set(HOSTILE_TEXT)) == len(HOSTILE_TEXT)
    assert short("ab", 2) == ["", "a", "b", "aa", "ab", "ba", "bb"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *((1, True), (1, 1.0), ("a", Loud("a")), (b"a", bytearray(b"a")), ([], ()), ("", b"")),
        *(([1], Listed([1])), ({}, Mapped()), ({1: 2, 3: 4}, {3: 4, 1: 2}), (["a"], [Loud("a")])),
        *((Headers([]), Headers([("A", "")])), (None, [])),
    ],
    ids=repr,
)
def test_what_is_not_exactly_the_same_looks_different(one: Any, other: Any) -> None:
    assert exact(one) != exact(other)
    assert exact(one) == exact(one)


def returns(value: Any) -> Any:
    return value


def clears(value: Any) -> Any:
    result = value[:]
    value.clear()
    return result


def fails(value: Any) -> None:
    raise ValueError(value)


def fails_in_other_words(value: Any) -> None:
    raise ValueError(f"no: {value}")


def fails_otherwise(value: Any) -> None:
    raise TypeError(value)


def test_what_a_kernel_leaves_behind_is_compared() -> None:
    call: Call = ([1],)
    assert differences(returns, returns, [call]) == []
    assert differences(returns, clears, [call]) == [call]
    assert call == ([1],)


def test_the_types_and_the_words_of_errors_are_compared() -> None:
    assert differences(fails, fails, [("a",)]) == []
    for other in (returns, fails_in_other_words, fails_otherwise):
        assert differences(fails, other, [("a",)]) == [("a",)]


def test_each_twin_has_arguments_of_its_own() -> None:
    call = (Made(iter, [1, 2]), Made(Doubled, [1]), [3], Options(last=4))

    def drains(items: Iterator[int], doubled: list[int], more: list[int], last: int) -> list[int]:
        more.extend([*items, *doubled, last])
        return more

    assert seen(drains, call) == seen(drains, call)
    assert seen(drains, call)[0] == exact(("returned", list, [3, 1, 2, 1, 1, 4]))


def test_handing_over_is_noted_and_only_then() -> None:
    calls: list[Call] = [([("A", "1")],), ([("A", "\r")],), ([],)]
    assert handed_over("headers", "validate_headers", calls) == [[], ["validate_headers"], []]
    assert reference.validate_headers.__module__ == reference.__name__
