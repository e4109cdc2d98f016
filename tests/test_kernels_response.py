"""The compiled head of a response against the reference one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from hypothesis import strategies as st

from conftest import implementations
from oracle import Text, odd_headers, wrong_texts
from twins import (
    HOSTILE_TEXT,
    Bytes,
    Call,
    Doubled,
    Listed,
    Loud,
    Made,
    Masked,
    Pair,
    TwinTests,
    Undecided,
    differences,
    handed_over,
    short,
    twins,
)
from wsgiref_fast._pure import response as reference

# A pure installation has no twins to compare: then there are no tests here to collect.
__test__ = "compiled" in implementations()

DATE = "Thu, 01 Jan 1970 00:00:00 GMT"


def call(
    headers: Any = (),
    version: Any = "1.0",
    status: Any = "200 OK",
    date: Any = DATE,
    server: Any = "S/1",
    body: Any = b"",
) -> Call:
    """Return the arguments of an ordinary response but for what is told."""
    return version, status, list(headers) if headers == () else headers, date, server, body


def forgets_the_date(*args: Any) -> Any:
    date = f"Date: {args[3]}\r\n".encode("iso-8859-1")
    return reference.serialize_head(*args).replace(date, b"")


def dates_twice(version: str, status: str, headers: list[Any], date: str, *rest: Any) -> Any:
    if any(name != "Date" and name.lower() == "date" for name, _ in headers):
        headers = [("Date", date), *headers]
    return reference.serialize_head(version, status, headers, date, *rest)


def serves_an_empty_name(*args: Any) -> Any:
    version, status, headers, date, server, body = args
    return reference.serialize_head(version, status, headers, date, server or "none", body)


def lets_controls_through(
    version: str, status: str, headers: list[Any], date: str, server: Any, body: bytes = b""
) -> Any:
    kept = [(name, value.replace("\x7f", "")) for name, value in headers]
    return reference.serialize_head(version, status, kept, date, server, body)


def refuses_a_tab(version: str, status: str, headers: list[Any], *rest: Any) -> Any:
    if any("\t" in value for _, value in headers):
        raise ValueError("Control characters not allowed in headers")
    return reference.serialize_head(version, status, headers, *rest)


def ignores_the_body(*args: Any) -> Any:
    return reference.serialize_head(*args[:5])


def puts_its_own_last(
    version: str, status: str, headers: list[Any], date: str, server: Any, body: bytes = b""
) -> Any:
    plain = reference.serialize_head(version, status, headers, date, server)
    return plain.replace(b"S/1\r\n", b"S/1 \r\n") + body


latin_1 = st.text(
    st.characters(max_codepoint=255, exclude_categories=["Cc"]) | st.sampled_from("\x80\x85\x9f"),
    max_size=8,
)
names = st.sampled_from(["Date", "date", "DATE", "Server", "sERVER", "Dat", "Dates", ""]) | latin_1
fields = st.lists(st.tuples(names, latin_1), max_size=5)
bodies = st.binary(max_size=20)
wrong: st.SearchStrategy[Any] = wrong_texts | st.sampled_from(
    ["\u0100", "\ud800", "\r\n", "a\tb", "\x7f", "", Text(""), Loud("x"), Masked("a"), Undecided()]
)
wrong_lists: st.SearchStrategy[Any] = st.one_of(
    odd_headers,
    odd_headers.map(tuple),
    odd_headers.map(Listed),
    odd_headers.map(Doubled),
    odd_headers.map(lambda items: Made(iter, items)),
    st.sampled_from([None, 3, "AB", {"AB": 1}, {}, {"ab", "cd"}, b"ab"]),
)
ODD_SERVERS: list[Any] = [
    *(0, 3, b"", b"S", Loud("S"), Text(""), "\u0100", "\n", [], False, Undecided()),
]
ODD_BODIES: list[Any] = [
    *(None, "", "x", 0, 3, bytearray(b"x"), bytearray(), Bytes(b"x"), Bytes(), memoryview(b"x")),
    *([], Undecided()),
]

wrong_bodies: st.SearchStrategy[Any] = bodies | st.sampled_from(ODD_BODIES)

ODD_FIELDS = [
    *(Pair(("A", "1")), (Loud("A"), "1"), ("A", Loud("1")), ["A", "1"], ("A", 1), (b"A", "1")),
    *(("A", None), ("A",), ("A", "1", "2"), (), "AB", "ABC", b"AB", None, 3, {"A": 1, "B": 2}),
    *((Masked("x"), "1"), ("Date", 1), ("A\r", "1"), ("A", "1\n"), ("A", "\u0100"), ("\ud800", "")),
    ("A", "1\t2"),
]


class TestSerializeHead(TwinTests):
    module = "response"
    name = "serialize_head"
    plain = st.builds(
        call, fields, latin_1, latin_1, latin_1, st.sampled_from([None, ""]) | latin_1, bodies
    )
    odd = st.one_of(
        st.builds(call, fields, latin_1 | wrong, latin_1 | wrong, latin_1 | wrong, latin_1 | wrong),
        st.builds(call, wrong_lists, latin_1, latin_1, latin_1, latin_1 | wrong, wrong_bodies),
        st.builds(call, fields, wrong, latin_1, wrong, wrong, wrong_bodies),
    )
    odd_calls = (
        *(call(version=odd) for odd in (1.1, None, b"1.1", Text("1.1"), Loud("1.1"), "\u0100")),
        *(call(status=odd) for odd in (200, None, b"200 OK", Loud("200 OK"), "200\r\n", "\ud800")),
        *(call(date=odd) for odd in (0, None, Loud("now"), "\u0100", "\r\n", "\t")),
        *(call([("date", "x")], date=odd) for odd in (0, None, Loud("now"), "\u0100")),
        *(call(server=odd) for odd in ODD_SERVERS),
        *(call(headers, server=Undecided()) for headers in ([("A",)], None, [("Server", "1")])),
        *(call(body=odd) for odd in ODD_BODIES),
        *(call([odd]) for odd in ODD_FIELDS),
        *(call([("A", "1"), odd, ("B", "2")]) for odd in ODD_FIELDS),
        *(call(odd) for odd in (None, 3, "AB", {"AB": 1}, (("A", "1"),), Listed([("A", "1")]))),
        *(call(odd) for odd in (Doubled([("A", "1")]), Made(iter, [("A", "1")]), object)),
        call(Made(iter, [("A", "\r")])),
    )
    wrong = (
        *(forgets_the_date, dates_twice, serves_an_empty_name, lets_controls_through),
        *(refuses_a_tab, ignores_the_body, puts_its_own_last),
    )

    def hostile(self) -> Iterator[Call]:
        for text in short(HOSTILE_TEXT, 3):
            yield call([(text, "1")])
            yield call([("A", text)])
        for text in short(HOSTILE_TEXT, 2):
            yield call(version=text)
            yield call(status="200 " + text)
            yield call(date=text)
            yield call(server=text)
            yield call([("date", "1"), ("SERVER", text)], date=text, server=text)
            yield call(
                [("Date" + text, "1"), (text + "server", text)],
                body=text.encode("utf-8", "replace"),
            )
        for name, value in product(short(HOSTILE_TEXT, 1), repeat=2):
            yield call([("A", "1"), (name, value), ("B", "2")], status=value, server=name)


def differing(calls: list[Call]) -> list[Call]:
    return differences(*twins("response", "serialize_head"), calls)


def test_each_spelling_of_the_names_that_stand_alone_is_known_alike() -> None:
    for name in ("date", "server"):
        cases = product(*((char, char.upper()) for char in name))
        spelt = ["".join(chars) for chars in cases]
        near = [
            name[:-1],
            name + "s",
            name + " ",
            " " + name,
            name.replace("e", "\xe9"),
            "\x44at\x05",
        ]
        near += [name.replace(char, chr(ord(char) ^ 0x20 ^ 0x40)) for char in name]
        calls = [
            call([(each, "x")], server=server) for each in spelt + near for server in ("S", "")
        ]
        assert differing(calls) == []
        assert not any(handed_over("response", "serialize_head", calls[: 2 * len(spelt)]))


def test_each_character_of_latin_1_and_some_others_is_written_alike() -> None:
    chars = [*map(chr, range(0x180)), "\u2028", "\u212a", "\ud800", "\udfff", "\U0001f600"]
    assert differing([call([(char, "1")]) for char in chars]) == []
    assert differing([call([("A", f"1{char}2")]) for char in chars]) == []
    assert differing([call(status=f"200 {char}", server=char) for char in chars]) == []


@pytest.mark.parametrize("size", [0, 1, 239, 240, 241, 255, 256, 257, 480, 70_000])
def test_controls_are_found_alike_wherever_they_stand(size: int) -> None:
    long = "v" * size
    values = [long, "\t" * size, long + "\r", "\n" + long, f"{long}\0{long}", "\x7f" * size]
    calls = [call([("A", value), ("B", long)], body=b"\r\n" * 3) for value in values]
    assert differing(calls) == []


@pytest.mark.parametrize("count", [0, 1, 2, 100, 5000])
def test_long_lists_are_written_alike(count: int) -> None:
    headers = [(f"X-{number}", "v" * (number % 300)) for number in range(count)]
    calls = [call(headers), call([*headers, ("Date", "d"), ("Server", "s")], body=b"b" * count)]
    assert differing(calls) == []
    assert handed_over("response", "serialize_head", calls) == [[], []]


@pytest.mark.parametrize("size", [0, 1, 70_000, 1_000_000])
def test_bodies_follow_alike(size: int) -> None:
    assert differing([call(body=b"\r\x00" * size), call([("A", "1\t")], body=b"b" * size)]) == []
