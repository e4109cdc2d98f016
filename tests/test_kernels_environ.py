"""The compiled filler of environs against the reference one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import implementations
from oracle import Text, outcome
from twins import (
    HOSTILE_BYTES,
    HOSTILE_TEXT,
    Call,
    Listed,
    Loud,
    Mapped,
    Masked,
    Pair,
    TwinTests,
    Undecided,
    differences,
    exact,
    handed_over,
    short,
    twins,
)
from wsgiref_fast._grammar import COMMON_FIELDS
from wsgiref_fast._pure import environ as reference
from wsgiref_fast._pure.request import make_key

# A pure installation has no twins to compare: then there are no tests here to collect.
__test__ = "compiled" in implementations()

BASE = {"SERVER_NAME": "h", "SERVER_PORT": "80", "SCRIPT_NAME": "", "REMOTE_HOST": ""}


def call(
    target: Any = "/",
    variables: Any = (),
    base: Any = BASE,
    method: Any = "GET",
    version: Any = "HTTP/1.1",
    more: Any = (),
) -> Call:
    """Return the arguments of an ordinary request but for what is told."""
    variables = dict(variables) if type(variables) is tuple else variables
    environ = {**base, **dict(more)} if type(base) is type(more or base) is dict else dict(BASE)
    return environ, base, (method, target, version), "WSGIServer/0.2", "127.0.0.1", variables


def decodes_twice(environ: Any, *args: Any) -> None:
    reference.fill_environ(environ, *args)
    again: dict[str, Any] = {}
    reference.fill_environ(again, args[0], ("", environ["PATH_INFO"], ""), "", "", {})
    environ["PATH_INFO"] = again["PATH_INFO"]


def decodes_the_query(environ: Any, *args: Any) -> None:
    reference.fill_environ(environ, *args)
    environ["QUERY_STRING"] = environ["QUERY_STRING"].replace("%4", "\x04")


def decodes_as_utf_8(environ: Any, *args: Any) -> None:
    reference.fill_environ(environ, *args)
    path: str = environ["PATH_INFO"]
    environ["PATH_INFO"] = path.encode("utf-8", "replace").decode("iso-8859-1")


def splits_at_the_last_mark(environ: Any, *args: Any) -> None:
    reference.fill_environ(environ, *args)
    environ["QUERY_STRING"] = environ["QUERY_STRING"].rpartition("?")[2]


def lets_fields_replace_variables(environ: Any, *args: Any) -> None:
    reference.fill_environ(environ, *args)
    environ.update(args[-1])


def asks_the_environ_itself(environ: Any, *args: Any) -> None:
    reference.fill_environ(environ, {**environ, **args[0]}, *args[1:])


def writes_into_the_base(environ: Any, *args: Any) -> None:
    args[0]["SERVER_PROTOCOL"] = args[1][2]
    reference.fill_environ(environ, *args)


def takes_from_the_variables(environ: Any, *args: Any) -> None:
    reference.fill_environ(environ, *args)
    args[-1].pop("CONTENT_TYPE", None)


def keeps_lists_of_lengths(environ: Any, *args: Any) -> None:
    reference.fill_environ(environ, *args)
    environ.update({k: v for k, v in args[-1].items() if k == "CONTENT_LENGTH" and v})


def orders_otherwise(environ: Any, *args: Any) -> None:
    reference.fill_environ(environ, *args)
    environ["REQUEST_METHOD"] = environ.pop("REQUEST_METHOD")


def returns_the_environ(environ: Any, *args: Any) -> Any:
    reference.fill_environ(environ, *args)
    return environ


ascii_texts = st.text(st.characters(max_codepoint=127), max_size=12)
targets = st.lists(
    st.sampled_from(["/", "a", "%", "%2", "%41", "%2f", "%c3%A9", "%zz", "%%", "?", "#", "%00"])
    | ascii_texts,
    max_size=8,
).map("".join)
any_texts = st.text(max_size=6)
variables = st.dictionaries(
    st.sampled_from(
        [make_key(name) for name in COMMON_FIELDS]
        + ["HTTP_SERVER_NAME", "HTTP_PATH_INFO", "HTTP_", "HTTP_HTTP_HOST", "HTTP_wsgi.input"]
        + ["CONTENT_TYPE", "CONTENT_LENGTH"]
    )
    | any_texts
    | any_texts.map("HTTP_{}".format),
    any_texts | st.sampled_from(["5", "5,5", " 5 ,6", ",", "text/html"]),
    max_size=8,
)
bases = st.dictionaries(
    st.sampled_from(["SERVER_NAME", "HOST", "COOKIE", "HTTP_HOST", "A", "PATH_INFO"]) | any_texts,
    any_texts,
    max_size=5,
)

#: What no environ has; some of it works all the same.
wrong: st.SearchStrategy[Any] = st.sampled_from(
    [
        *(None, 3, 1.5, True, b"5", b"HTTP_A", (), ("H",), frozenset("H"), Undecided(), type),
        *(Text("5"), Loud("HTTP_HOST"), Masked("HTTP_HOST"), Masked("A")),
        *("\u0100", "\ud800", "%\u0100", "%e9?\xe9"),
    ]
)
wrong_containers: st.SearchStrategy[Any] = wrong | st.sampled_from(
    [
        [],
        [1],
        {},
        {3: 4},
        Mapped(A="1"),
        Mapped(HTTP_HOST="1"),
        Listed("ABC"),
        Pair(("G", "/", "H")),
    ]
)

ODD_KEYS: list[Any] = [None, 3, 1.5, True, b"HTTP_A", (), ("H",), frozenset("H"), type, Undecided()]
ODD_MAPPINGS: list[Any] = [None, [], 3, Mapped()]
ODD_STRINGS: list[Any] = [
    Text("HTTP_HOST"),
    Loud("HTTP_X"),
    Masked("HTTP_HOST"),
    Masked("A"),
    Masked(""),
]


def with_request(request: Any) -> Call:
    return {}, BASE, request, "s", "a", {}


class TestFillEnviron(TwinTests):
    module = "environ"
    name = "fill_environ"
    plain = st.builds(call, targets, variables, bases, any_texts, any_texts, bases)
    odd = st.one_of(
        st.builds(call, targets | wrong, variables, bases, any_texts | wrong, any_texts | wrong),
        st.builds(call, targets, st.dictionaries(wrong, wrong, max_size=3)),
        st.builds(call, targets, st.fixed_dictionaries({"CONTENT_LENGTH": wrong | any_texts})),
        st.builds(call, targets, variables, st.dictionaries(wrong | any_texts, wrong)),
        st.tuples(
            bases | wrong_containers,
            bases | wrong_containers,
            st.tuples(any_texts, targets, any_texts) | wrong_containers,
            any_texts | wrong,
            any_texts | wrong,
            variables | wrong_containers,
        ),
    )
    odd_calls = (
        *(call(target=odd) for odd in (None, 3, b"/", Text("/"), Masked("/?"), "/\xe9", "/\u0100")),
        *(call(target=odd) for odd in ("\ud800", "/%41\xe9", "/%e9?\u0100", ["/"])),
        *(call(variables=odd) for odd in [*ODD_MAPPINGS, "A", Mapped(HTTP_A="1")]),
        *(call(variables={odd: "1"}) for odd in [*ODD_KEYS, *ODD_STRINGS]),
        *(call(variables={"HTTP_B": "0", odd: "1", "HTTP_C": "2"}) for odd in ODD_KEYS),
        *(call(base=odd) for odd in [*ODD_MAPPINGS, Mapped(A="1")]),
        *((odd, *call()[1:]) for odd in [*ODD_MAPPINGS, Mapped(A="1")]),
        *(with_request(odd) for odd in (["GET", "/", "HTTP/1.1"], "G/H", None, (), ("G", "/"))),
        *(with_request(odd) for odd in (("G", "/", "H", "1"), Pair(("G", "/", "H")))),
    )
    wrong = (
        *(decodes_twice, decodes_the_query, decodes_as_utf_8, splits_at_the_last_mark),
        *(lets_fields_replace_variables, writes_into_the_base, takes_from_the_variables),
        *(keeps_lists_of_lengths, orders_otherwise, returns_the_environ, asks_the_environ_itself),
    )

    def hostile(self) -> Iterator[Call]:
        for text in short(HOSTILE_TEXT, 2):
            yield call(target=text)
            yield call(variables={"HTTP_" + text: "1", text: "2"})
            yield call(variables={"CONTENT_LENGTH": text, "CONTENT_TYPE": text})
            yield call(variables={"CONTENT_LENGTH": f"5{text},6", "HTTP_HOST": text})
            yield call(base={text: "1", "HTTP_" + text: "2"}, variables={"HTTP_" + text: "3"})
        for text in short(HOSTILE_BYTES, 2):
            yield call(target="/%" + text)
            yield call(target="/a?" + text)
            yield call(target="/" + text + "%41?%41" + text + "?")
            yield call(target="/%4" + text + "%e9%" + text)
        for text in short(HOSTILE_BYTES, 3):
            yield call(target=text)


def differing(calls: list[Call]) -> list[Call]:
    return differences(*twins("environ", "fill_environ"), calls)


@pytest.mark.parametrize("char", [chr(code) for code in range(256)] + ["\u0100"], ids=ascii)
def test_escapes_with_each_character_are_decoded_alike(char: str) -> None:
    texts = [f"%{char}", f"%4{char}", f"%{char}4", f"%{char}{char}", f"%41{char}", f"{char}%41"]
    assert differing([call(target=text) for text in texts]) == []


def test_every_escape_is_decoded_alike() -> None:
    digits = "0123456789abcdefABCDEF"
    texts = [f"/%{high}{low}" for high, low in product(digits, repeat=2)]
    assert differing([call(target=text) for text in texts]) == []
    assert not any(handed_over("environ", "fill_environ", [call(target=text) for text in texts]))


@pytest.mark.parametrize("end", ["", "%", "%4", "%41", "%zz", "?", "?%41", "%41?"])
@pytest.mark.parametrize("size", [0, 1020, 1021, 1022, 1023, 1024, 1025, 3072, 70_000])
def test_long_targets_are_decoded_alike(size: int, end: str) -> None:
    texts = ["a" * size + end, "%41" + "a" * size + end, "%e9" * (size // 3) + end]
    texts += ["%" * size + end, "/" + end + "?" + "%41" * size]
    calls = [call(target=text) for text in texts]
    assert differing(calls) == []
    assert not any(handed_over("environ", "fill_environ", calls))


def test_targets_cut_anywhere_are_decoded_alike() -> None:
    target = "/a%20b%2Fc/%C3%A9%zz?x=%20&y=%"
    cuts = list(product(range(len(target) + 1), repeat=2))
    assert differing([call(target=target[start:end]) for start, end in cuts]) == []


@pytest.mark.parametrize("name", ["", "A", "HOST", "HTTP_HOST", "wsgi.input", "PATH_INFO"])
def test_names_that_collide_are_left_out_alike(name: str) -> None:
    kept = {name: "0", "HTTP_" + name: "1", "HTTP_HTTP_" + name: "2", "HTTP_Z": "3"}
    bases: list[dict[Any, Any]] = [{}, {name: "b"}, {"HTTP_" + name: "b"}, {Text(name): "b"}]
    bases += [{name: None}, {3: 4, None: 5, b"HOST": 6}]
    orders = [kept, dict(reversed(kept.items()))]
    calls = [call(variables=each, base=base) for each, base in product(orders, bases)]
    calls += [call(variables=each, more=more) for each, more in product(orders, bases)]
    assert differing(calls) == []
    assert not any(handed_over("environ", "fill_environ", calls))


def test_each_variable_keeps_a_field_out_or_lets_it_in_alike() -> None:
    own: dict[str, Any] = {}
    reference.fill_environ(own, *call(variables={"CONTENT_LENGTH": "5"})[1:])
    fields = {"HTTP_" + name: "x" for name in [*own, *BASE]}
    calls = [call(variables={"CONTENT_LENGTH": "5", **fields}), call(variables=fields)]
    assert differing([*calls, call(variables=fields, more=own)]) == []
    assert not any(handed_over("environ", "fill_environ", calls))


@given(length=st.text(", \t5\xa0\u0100", max_size=6) | wrong, kind=any_texts | wrong)
def test_lengths_and_types_are_read_alike(length: Any, kind: Any) -> None:
    assert differing([call(variables={"CONTENT_LENGTH": length, "CONTENT_TYPE": kind})]) == []


def test_many_variables_are_copied_alike() -> None:
    many = {f"HTTP_X_{number}": str(number) for number in range(3000)}
    assert differing([call(variables=many, base={f"X_{n}": n for n in range(0, 3000, 7)})]) == []


def test_one_dict_in_two_places_is_used_alike() -> None:
    found = []
    for kernel in twins("environ", "fill_environ"):
        both: dict[str, Any] = {"HTTP_A": "1", "CONTENT_LENGTH": "5,5"}
        request = ("GET", "/%41?b", "HTTP/1.0")
        found.append(
            [
                exact(
                    outcome(kernel, both, both, request, "s", "a", {"HTTP_A": "2", "HTTP_B": "3"})
                ),
                exact(outcome(kernel, {}, both, request, "s", "a", both)),
                exact(outcome(kernel, both, {}, request, "s", "a", both)),
                exact(outcome(kernel, both, both, request, "s", "a", both)),
                exact(both),
            ]
        )
    assert found[0] == found[1]
