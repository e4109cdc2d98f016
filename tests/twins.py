"""What the tests of the kernels share: a class a kernel, which compares it with its twin.

A kernel's test module has a subclass of `TwinTests` for each kernel, with inputs for it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from itertools import chain, islice, product
from operator import length_hint
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle import Text, outcome
from wsgiref_fast import _impl
from wsgiref_fast.headers import Headers

Kernel = Callable[..., Any]

#: The arguments of a call, the last of them perhaps `Options`.
Call = tuple[Any, ...]

#: Every byte here is treated differently by some parser: line ends, white space of bytes and
#: of strings, the ends of the control characters, separators, digits of two kinds, letters.
HOSTILE_BYTES = "\r\n\t \0\x1c\x7f%:/?,_-\x80\x85\xa0\xff4aZ"

#: The same for text: with what is not Latin-1, is not Unicode, or is ASCII in lower case.
HOSTILE_TEXT = '\r\n\t \0\x7f:_-"\\\x80\x85\xff\u0100\u212a\ud800aZ'


def short(alphabet: str, length: int) -> list[str]:
    """Return every string over an alphabet up to a length."""
    return [
        "".join(chars) for size in range(length + 1) for chars in product(alphabet, repeat=size)
    ]


def short_bytes(length: int) -> list[bytes]:
    """Return every hostile string up to a length, as bytes."""
    return [text.encode("iso-8859-1") for text in short(HOSTILE_BYTES, length)]


class Options(dict[str, Any]):
    """The keyword arguments of a call."""


class Made:
    """An argument that each twin has made for itself, as an iterator has to be."""

    def __init__(self, make: Callable[..., Any], *args: Any) -> None:
        self.make = make
        self.args = args

    def __repr__(self) -> str:
        return f"{getattr(self.make, '__name__', self.make)}{self.args!r}"


# -- What is not exactly what it seems -----------------------------------------------------


class Bytes(bytes):
    """Bytes that are not exactly that."""


class Loud(Text):
    """A string that speaks up when it is formatted."""

    __slots__ = ()

    def __str__(self) -> str:
        return "loud"


class Masked(Text):
    """A string that is not what it shows to who slices, lowers or splits it."""

    __slots__ = ()

    def __getitem__(self, index: Any) -> str:
        return "HTTP_"

    def lower(self) -> str:
        return "date"

    def partition(self, sep: str) -> tuple[str, str, str]:
        return "masked", sep, "1"


class Pair(tuple[Any, ...]):
    """A tuple that is not exactly one, and says something else when it is unpacked."""

    __slots__ = ()

    def __iter__(self) -> Iterator[str]:
        return iter(("Other", "3"))


class Listed(list[Any]):
    """A list that is not exactly one."""


class Doubled(list[Any]):
    """A list that says everything twice when it is iterated over."""

    def __iter__(self) -> Iterator[Any]:
        return iter([*super().__iter__(), *super().__iter__()])


class Mapped(dict[Any, Any]):
    """A dict that is not exactly one, nor are its copies."""

    def copy(self) -> Mapped:
        return Mapped(self, copied=True)


class Undecided:
    """What is neither true nor false."""

    def __bool__(self) -> bool:
        raise RuntimeError("neither")

    def __repr__(self) -> str:
        return "Undecided()"


# -- Both twins on the same input ----------------------------------------------------------


def twins(module: str, name: str) -> tuple[Kernel, Kernel]:
    """Return a kernel's reference and its compiled twin."""
    pure = import_module(f"wsgiref_fast._pure.{module}")
    compiled = import_module(f"wsgiref_fast._speedups.{module}")
    return getattr(pure, name), getattr(compiled, name)


@contextmanager
def in_use(implementation: Literal["pure", "compiled"]) -> Iterator[None]:
    """Bind every kernel to an implementation: a kernel may reach another one by a method."""
    before = _impl.IMPLEMENTATION
    if implementation != before:
        _impl.use(implementation)
    try:
        yield
    finally:
        if implementation != before:
            _impl.use(before)


def differences(one: Kernel, other: Kernel, calls: Iterable[Call]) -> list[Call]:
    """Return the calls to which two kernels do not do the same, as far as the eye sees."""
    calls = list(calls)
    pairs = zip(calls, all_seen(one, calls), all_seen(other, calls), strict=True)
    return [call for call, seen_one, seen_other in pairs if seen_one != seen_other]


def is_found(right: Kernel, wrong: Kernel, calls: Iterator[Call]) -> bool:
    """Tell whether a wrong kernel does something else in one of some calls."""
    while some := list(islice(calls, 200)):
        if differences(right, wrong, some):
            return True
    return False


def all_seen(kernel: Kernel, calls: Iterable[Call]) -> list[Any]:
    """Tell what a kernel, among those of its kind, does with each of some calls."""
    with in_use("compiled" if "_speedups" in kernel.__module__ else "pure"):
        return [seen(kernel, call) for call in calls]


def seen(kernel: Kernel, call: Call) -> Any:
    """Tell what a kernel does with a call, and what is left of the arguments."""
    arguments = [fresh(argument) for argument in call]
    options = arguments.pop() if call and type(call[-1]) is Options else {}
    return exact(outcome(kernel, *arguments, **options)), exact(arguments)


def fresh(argument: Any) -> Any:
    """Return an argument that nobody else changes."""
    if type(argument) in UNCHANGING:
        return argument
    if isinstance(argument, Made):
        return argument.make(*map(fresh, argument.args))
    return copy.copy(argument) if isinstance(argument, (list, dict, bytearray)) else argument


#: Types of plain values: to describe one is to show it.
UNCHANGING = frozenset({str, bytes, int, bool, type(None)})


def exact(value: Any) -> Any:
    """Describe a value so that equal descriptions mean the same, in type and order too."""
    kind = type(value)
    if kind in UNCHANGING:
        return kind, value
    if isinstance(value, dict):
        return kind, [(exact(key), exact(item)) for key, item in dict.items(value)]
    if isinstance(value, list):
        return kind, [exact(item) for item in list.__iter__(value)]
    if isinstance(value, tuple):
        return kind, [exact(item) for item in tuple.__iter__(value)]
    if isinstance(value, Headers):
        return kind, exact(vars(value))
    # Of an iterator, what matters is how much of it is left.
    return kind, length_hint(value) if isinstance(value, Iterator) else repr(value)


# -- Which path was taken ------------------------------------------------------------------


@contextmanager
def noting_reference(module: str) -> Iterator[list[str]]:
    """Give a list to which each reference kernel that is called adds its name."""
    reference = import_module(f"wsgiref_fast._pure.{module}")
    calls: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for name in _impl.KERNELS[module]:
            patch.setattr(reference, name, noting(calls, name, getattr(reference, name)))
        yield calls


def noting(calls: list[str], name: str, function: Kernel) -> Kernel:
    def noted(*args: Any, **kwargs: Any) -> Any:
        calls.append(name)
        return function(*args, **kwargs)

    return noted


def handed_over(
    module: str, name: str, calls: Iterable[Call], compiled: Kernel | None = None
) -> list[list[str]]:
    """Name, call by call, the reference kernels to which the compiled kernel hands over."""
    found = []
    compiled = compiled or twins(module, name)[1]
    with noting_reference(module) as noted, in_use("compiled"):
        for call in calls:
            arguments = [fresh(argument) for argument in call]
            noted.clear()
            options = arguments.pop() if call and type(call[-1]) is Options else {}
            outcome(compiled, *arguments, **options)
            found.append(noted.copy())
    return found


# -- What holds for each kernel ------------------------------------------------------------


class TwinTests:
    """The comparison of a kernel with its twin, on the inputs that a subclass has."""

    module: ClassVar[str]
    name: ClassVar[str]

    #: Well-formed input: all of it is for the compiled path alone.
    plain: ClassVar[st.SearchStrategy[Call]]

    #: Nearly well-formed and wrong-typed input.
    odd: ClassVar[st.SearchStrategy[Call]]

    #: Calls that the compiled kernel has to hand over.
    odd_calls: ClassVar[tuple[Call, ...]]

    #: Kernels that are nearly right: the comparison has to find each of them.
    wrong: ClassVar[tuple[Kernel, ...]]

    def hostile(self) -> Iterable[Call]:
        """Make calls with every short hostile string wherever one can stand."""
        raise NotImplementedError

    #: How many of them are tried.
    examples: ClassVar[int] = 100

    #: How often a call can hand over to it.
    most: ClassVar[int] = 1

    def twins(self) -> tuple[Kernel, Kernel]:
        return twins(self.module, self.name)

    def handed_over(self, calls: Iterable[Call]) -> list[list[str]]:
        return handed_over(self.module, self.name, calls, self.twins()[1])

    def test_twins_agree_on_every_short_hostile_string(self) -> None:
        found = differences(*self.twins(), self.hostile())
        assert found == [], found[:5]

    def test_hostile_strings_take_both_paths(self) -> None:
        some = islice(self.hostile(), 0, None, 13)
        paths = [bool(names) for names in self.handed_over(some)]
        assert {True, False} == set(paths)

    def test_twins_agree_on_well_formed_input_and_the_compiled_one_does_it_alone(self) -> None:
        @given(self.plain)
        @settings(max_examples=self.examples)
        def check(call: Call) -> None:
            assert differences(*self.twins(), [call]) == []
            assert self.handed_over([call]) == [[]]

        check()

    def test_twins_agree_on_odd_input_and_it_is_handed_over_once_at_most(self) -> None:
        @given(self.odd)
        @settings(max_examples=self.examples)
        def check(call: Call) -> None:
            assert differences(*self.twins(), [call]) == []
            (names,) = self.handed_over([call])
            assert names.count(self.name) <= self.most

        check()

    def test_twins_agree_on_what_is_handed_over_once(self) -> None:
        found = differences(*self.twins(), self.odd_calls)
        assert found == [], found[:5]
        for call, names in zip(self.odd_calls, self.handed_over(self.odd_calls), strict=True):
            assert 1 <= names.count(self.name) <= self.most, (call, names)

    def test_a_wrong_kernel_would_be_found(self) -> None:
        reference = self.twins()[0]
        assert len(self.wrong) >= 3
        for kernel in self.wrong:
            calls = chain(self.odd_calls, self.hostile())
            assert is_found(reference, kernel, calls), kernel
