"""What the tests that compare with the standard library's ``wsgiref`` share."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

from hypothesis import strategies as st

#: Every character here is treated differently by somebody: line ends, white space, the
#: ends of the control characters, the separator, the borders of Latin-1 and of Unicode.
HOSTILE = "\r\n\t \0\x7f:\x80\xff\u0100\ud800aZ"

#: Outside the deviations: what both implementations take, and all that neither takes.
HARMLESS = "".join(char for char in HOSTILE if char.isprintable() or char > "\x7f")


class Text(str):
    """A `str` that is not exactly one."""

    __slots__ = ()


Outcome = tuple[Any, ...]


def outcome(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Outcome:
    """Call, and tell what came of it so that two outcomes can be compared."""
    try:
        value = call(*args, **kwargs)
    except Exception as error:
        return "raised", type(error), str(error)
    return "returned", type(value), value


def exception_lines(log: str) -> list[str]:
    """Return the lines of printed tracebacks that do not speak of places in the source."""
    return [line for line in log.splitlines() if re.match(r"\S", line)]


def missing_names(original: Any, ours: Any) -> list[str]:
    """Name what a module or a class of the original has and ours has not."""
    return [name for name in dir(original) if not hasattr(ours, name)]


def classes_of(module: ModuleType) -> list[str]:
    """Name the classes that a module defines."""
    return [
        name
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__
    ]


def functions_of(owner: Any) -> dict[str, Callable[..., Any]]:
    """Return the functions that a module or a class defines itself."""
    home = owner.__name__ if inspect.ismodule(owner) else owner.__module__
    return {
        name: value
        for name, value in vars(owner).items()
        if inspect.isfunction(value) and value.__module__ == home
    }


def parameters(function: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    """Return the names, kinds and defaults of a function's parameters, without annotations."""
    found = inspect.signature(function).parameters.values()
    return [(p.name, p.kind, p.default) for p in found]


def other_signatures(original: Any, ours: Any) -> dict[str, tuple[Any, Any]]:
    """Name the functions that cannot be called here as in the original."""
    pairs = {
        name: (parameters(function), parameters(getattr(ours, name)))
        for name, function in functions_of(original).items()
    }
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def texts(alphabet: str = HARMLESS, max_size: int = 6) -> st.SearchStrategy[str]:
    return st.text(alphabet, max_size=max_size)


#: Few names, so that they meet again, in another case too.
names = st.sampled_from(["A", "a", "Set-Cookie", "set-cookie", "X-\xc9", ""]) | texts()

#: What is not exactly a `str`.
wrong_texts: st.SearchStrategy[Any] = st.sampled_from([b"A", None, 3, 1.5, Text("A"), ("A",)])

plain_headers = st.lists(st.tuples(names, texts()), max_size=5)

#: A list that is nearly one of headers, or not at all.
odd_items: st.SearchStrategy[Any] = st.one_of(
    st.tuples(names | wrong_texts, texts() | wrong_texts),
    st.lists(texts(), min_size=2, max_size=2),
    st.tuples(texts()),
    st.tuples(texts(), texts(), texts()),
    st.sampled_from(["ab", "abc", b"ab", None, 3, (), {"a": 1, "b": 2}]),
)
odd_headers = st.lists(st.tuples(names, texts()) | odd_items, max_size=4)
