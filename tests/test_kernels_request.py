"""The compiled parsers of a request line and of a header section against the reference ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import implementations
from twins import Bytes, Call, TwinTests, Undecided, differences, handed_over, short_bytes, twins
from wsgiref_fast._grammar import COMMON_FIELDS, MAX_HEADER_LINES, MAX_LINE
from wsgiref_fast._pure import request as reference

# A pure installation has no twins to compare: then there are no tests here to collect.
__test__ = "compiled" in implementations()

#: ASCII that prints, without the space.
VISIBLE = "".join(map(chr, range(0x21, 0x7F)))


def encoded(text: str) -> bytes:
    return text.encode("iso-8859-1")


def as_other_types(data: bytes) -> list[Any]:
    """Return what holds the same bytes, and what only looks like it."""
    return [bytearray(data), Bytes(data), memoryview(data), data.decode("iso-8859-1"), [data]]


# -- The request line ----------------------------------------------------------------------


def ends_without_its_line(line: bytes) -> Any:
    found = reference.parse_request_line(line)
    return found and (line.decode("iso-8859-1"), *found[1:])


def keeps_two_slashes(line: bytes) -> Any:
    found = reference.parse_request_line(line)
    words = line.decode("iso-8859-1").split()
    return found and (*found[:2], words[1], found[3])


def takes_any_version(line: bytes) -> Any:
    text = line.decode("iso-8859-1").rstrip("\r\n")
    return reference.parse_request_line(line) or (
        (text, *text.split(" ")) if text.count(" ") == 2 and "HTTP/" in text else None
    )


def splits_at_ascii_alone(line: bytes) -> Any:
    words = line.rstrip(b"\r\n").split(b" ")
    found = [word.decode("iso-8859-1") for word in words]
    right = reference.parse_request_line(line)
    plain = len(found) == 3 and found[2] in ("HTTP/1.0", "HTTP/1.1") and all(found)
    return right or ((" ".join(found), *found) if plain else None)


def raises_for_what_is_not_bytes(line: bytes) -> Any:
    if not isinstance(line, bytes):
        raise TypeError("bytes, please")
    return reference.parse_request_line(line)


request_lines = st.builds(
    "{} {} HTTP/1.{}{}".format,
    st.text(VISIBLE, min_size=1, max_size=8) | st.sampled_from(["GET", "POST", "PATCH"]),
    st.text(VISIBLE, min_size=1).filter(lambda target: not target.startswith("//")),
    st.integers(0, 9),
    st.sampled_from(["", "\r\n", "\n", "\r", "\r\r\n"]),
).map(encoded)

pieces_of_lines = st.lists(
    st.sampled_from(
        [
            *("GET", "get", "G", "/", "//", "///a", "*", "%2F", " ", "  ", "\t", "\xa0", "\x85"),
            *(
                "HTTP/1.1",
                "HTTP/1.",
                "HTTP/1.10",
                "http/1.1",
                "HTTP/2.0",
                "HTTP/0.9",
                "HTTP/1.\xb2",
            ),
            *("\r\n", "\n", "\r", "\0", "\xff", "", " / ", " HTTP/1.0", "GET / HTTP/1.1"),
        ]
    ),
    max_size=7,
).map("".join)


class TestParseRequestLine(TwinTests):
    module = "request"
    name = "parse_request_line"
    plain = st.tuples(request_lines)
    odd = st.tuples(
        pieces_of_lines.map(encoded)
        | pieces_of_lines
        | st.one_of(request_lines, pieces_of_lines.map(encoded)).flatmap(
            lambda line: st.sampled_from(as_other_types(line))
        )
        | st.sampled_from([None, 3, (), [], {}])
    )
    odd_calls = (
        *((each,) for each in as_other_types(b"GET / HTTP/1.1\r\n")),
        *((None,), (b"",), (b"GET /\r\n",), (b"GET  / HTTP/1.1",), (b"GET //a HTTP/1.1\r\n",)),
        *((b"GET / HTTP/2.0",), (b"GET\t/ HTTP/1.1",), (b"GET /\x85 HTTP/1.1",)),
        *((b"GET / HTTP/1.1 \r\n",), (b" GET / HTTP/1.1",), (b"GET / HTTP/1.:\r\n",)),
    )
    wrong = (
        *(ends_without_its_line, keeps_two_slashes, takes_any_version, splits_at_ascii_alone),
        raises_for_what_is_not_bytes,
    )

    def hostile(self) -> Iterator[Call]:
        for text in short_bytes(3):
            yield (b"GET " + text + b" HTTP/1.1\r\n",)
        for text in short_bytes(2):
            yield (text,)
            yield (text + b" / HTTP/1.1\r\n",)
            yield (b"GET /" + text + b" HTTP/1.0",)
            yield (b"GET / HTTP/1." + text,)
            yield (b"GET / " + text + b"\r\n",)
            yield (b"GET / HTTP/1.1" + text + b"\n",)
            yield (b"GET / HTTP" + text + b".1\r\n",)
            yield (b"GET" + text + b"/" + text + b"HTTP/1.1",)
            yield (text + b"POST / HTTP/1.1" + text,)


def test_request_lines_of_each_byte_are_read_alike() -> None:
    line = b"OPTIONS /a HTTP/1.1\r\n"
    calls: list[Call] = [
        (line[:place] + bytes([code]) + line[place + cut :],)
        for place, code, cut in product(range(len(line) + 1), range(256), (0, 1))
    ]
    assert differences(*twins("request", "parse_request_line"), calls) == []


def test_request_lines_cut_anywhere_are_read_alike() -> None:
    line = b"OPTIONS /a?b=%20 HTTP/1.1\r\n"
    cuts = list(product(range(len(line) + 1), repeat=2))
    calls: list[Call] = [(line[start:end],) for start, end in cuts]
    calls += [(line[:start] + line[end:],) for start, end in cuts]
    assert differences(*twins("request", "parse_request_line"), calls) == []


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 1024, 65_520, 70_000, 1_000_000])
def test_huge_request_lines_are_read_alike(size: int) -> None:
    long = b"a" * size
    calls: list[Call] = [
        (long,),
        (long + b" / HTTP/1.1\r\n",),
        (b"GET /" + long + b" HTTP/1.1\r\n",),
        (b"GET / HTTP/1.1" + b"\r" * size + b"\n",),
        (b"GET /" + b"/" * size + b" HTTP/1.1\r\n",),
        (b"GET / HTTP/1." + b"1" * size,),
    ]
    assert differences(*twins("request", "parse_request_line"), calls) == []


# -- The header section --------------------------------------------------------------------


def spellings(name: str) -> list[str]:
    """Spell a name in the ways that clients do, and in some that none does."""
    return [name, name.lower(), name.upper(), name.swapcase(), name.replace("-", "_")]


#: Names that are read in a way of their own.
SPECIAL = [
    *("Content-Length", "Transfer-Encoding", "Connection", "Expect", "Content-Type", "Cookie"),
    *("Host", "X-A", "A"),
]

#: Names that are nearly the special ones.
NEARLY = ["Content--Length", "Content-Length-", "HTTP-Cookie", "Cookie2", "Contentlength", "-", "_"]


def section(*lines: bytes) -> bytes:
    return b"\r\n".join([*lines, b"", b""])


def joins_cookies_with_a_comma(data: bytes, start: int, underscores: bool) -> Any:
    found = reference.parse_section(data, start, underscores)
    return found and ({k: v.replace("; ", ",") for k, v in found[0].items()}, found[1])


def strips_ascii_alone(data: bytes, start: int, underscores: bool) -> Any:
    kept = [data.replace(b"\x85\r\n", b"\r\n"), data.replace(b":\x85", b":")]
    found = reference.parse_section(data, start, underscores)
    return found if kept == [data, data] else found and (found[0], found[1] + 1)


def counts_underscores(data: bytes, start: int, underscores: bool) -> Any:
    return reference.parse_section(data, start, True)


def takes_bare_ends_of_lines(data: bytes, start: int, underscores: bool) -> Any:
    found = reference.parse_section(data, start, underscores)
    return found or reference.parse_section(data.replace(b"\n\r\n", b"\r\n\r\n"), 0, underscores)


def is_one_byte_off(data: bytes, start: int, underscores: bool) -> Any:
    found = reference.parse_section(data, start, underscores)
    return found and (found[0], found[1] + (found[0] == {}))


def knows_framing_in_one_spelling(data: bytes, start: int, underscores: bool) -> Any:
    found = reference.parse_section(data, start, underscores)
    if found and b"cONTENT-lENGTH" in data:
        variables = {k.replace("CONTENT_L", "HTTP_CONTENT_L"): v for k, v in found[0].items()}
        return variables, found[1]
    return found


def takes_the_last_content_type(data: bytes, start: int, underscores: bool) -> Any:
    found = reference.parse_section(data, start, underscores)
    if found and data.lower().count(b"content-type:") > 1:
        last = data.lower().rpartition(b"content-type:")[2].partition(b"\r")[0]
        found[0]["CONTENT_TYPE"] = last.strip().decode("iso-8859-1")
    return found


def starts_at_zero(data: bytes, start: int, underscores: bool) -> Any:
    return reference.parse_section(data, 0, underscores)


def sorts_the_variables(data: bytes, start: int, underscores: bool) -> Any:
    found = reference.parse_section(data, start, underscores)
    return found and (dict(sorted(found[0].items())), found[1])


blanks = st.text(" \t", max_size=3)

#: What a value may hold inside of it, and what at its ends.
insides = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=8)
ends_of_values = st.text(VISIBLE, min_size=1, max_size=2)
values = st.builds("{}{}{}{}{}".format, blanks, ends_of_values, insides, ends_of_values, blanks)

#: What nobody else knows: of visible characters, not spelt as the names with a meaning are.
other_names = st.text(VISIBLE.replace(":", ""), min_size=1, max_size=12).filter(
    lambda name: name.lower() not in {*reference.FRAMING_KEYS, "content-type", "cookie"}
)
plain_fields = (
    st.tuples(st.sampled_from(sorted(reference.COMMON_KEYS)) | other_names, values | blanks)
    | st.tuples(
        st.sampled_from(["Transfer-Encoding", "connection", "Connection", "Expect", "expect"]),
        st.builds("{}{}{}".format, blanks, st.text(VISIBLE + " ", max_size=9), blanks),
    )
    | st.tuples(
        st.sampled_from(["Content-Length", "content-length"]),
        st.builds("{}{}".format, blanks, st.text(VISIBLE, max_size=6)),
    )
)


def as_section(fields: Iterable[tuple[str, str]]) -> bytes:
    return section(*(encoded(f"{name}:{value}") for name, value in fields))


def placed(before: bytes, data: bytes, after: bytes) -> Call:
    return before + data + after, len(before), False


def length_once(fields: list[tuple[str, str]]) -> bool:
    """Tell whether one field at most says how long a body is: several are not plain."""
    return [name.lower() for name, _ in fields].count("content-length") < 2


plain_sections = st.lists(plain_fields, max_size=8).filter(length_once).map(as_section)
odd_sections = st.lists(
    st.sampled_from([each for name in SPECIAL for each in spellings(name)] + NEARLY)
    | st.sampled_from(
        [
            *(":", ": ", " :", " ", "\t", "\r\n", "\r\n", "\r\n", "\n", "\r", "\r\n ", ";", ","),
            *("1", "chunked", "a=b", "\x85", "\xa0", "\0", "\x1c", "\xe9", "\r\n\r\n", "\x7f"),
        ]
    )
    | plain_fields.map(lambda field: f"{field[0]}:{field[1]}\r\n"),
    max_size=12,
).map(lambda pieces: encoded("".join(pieces) + "\r\n\r\n"))

#: Where to start: from each end, outside, and what is no place at all.
starts: st.SearchStrategy[Any] = st.integers(-40, 60) | st.sampled_from(
    [True, False, None, 1.0, "0", 2**63, -(2**63), 2**70, -(2**70)]
)
underscores: st.SearchStrategy[Any] = st.sampled_from([True, False, 0, 1, "", "no", None, [], [0]])


class TestParseSection(TwinTests):
    module = "request"
    name = "parse_section"
    plain = st.builds(placed, st.binary(max_size=5), plain_sections, st.binary(max_size=5))
    odd = st.one_of(
        st.tuples(odd_sections, st.just(0), underscores),
        st.tuples(odd_sections | plain_sections, starts, st.just(False) | underscores),
        st.tuples(
            (plain_sections | odd_sections).flatmap(
                lambda data: st.sampled_from([*as_other_types(data), None, 3])
            ),
            st.just(0) | starts,
            st.just(False) | underscores,
        ),
    )
    odd_calls = (
        *((each, 0, False) for each in [*as_other_types(section(b"A: 1")), None, 3, b""]),
        *((section(b"A: 1"), start, False) for start in (-8, -9, -99, 9, 99, 2**70, None, 1.0)),
        *((section(b"A: 1"), start, False) for start in (True, False, "0")),
        *((section(b"A_B: 1"), 0, truth) for truth in (True, 0, 1, None, "", [0])),
        (section(b"A_B: 1"), 0, Undecided()),
        *(
            (section(line), 0, False)
            for line in (b"A", b":", b": 1", b"A : 1", b" A: 1", b"A\t: 1")
        ),
        *((section(b"A: 1", line), 0, False) for line in (b" folded", b"\tfolded", b"\0: 1")),
        *((section(b"A:" + value), 0, False) for value in (b"\x85", b"a\xa0", b"\x1c1", b" \x0b")),
        (section(b"\xe9: 1"), 0, False),
        (section(b"A_\xe9: 1"), 0, False),
        *(
            (section(b"COOKIE: a", b"cookie: b"), 0, False),
            (section(b"CONTENT-LENGTH: 1"), 0, False),
        ),
        *((section(b"Content-type: a"), 0, False), (section(b"Connection: \x80"), 0, False)),
        *((section(b"Content-Length: 1\t2"), 0, False), (section(b"A: 1\rB: 2"), 0, False)),
        *((section(b"A: 1\nB: 2"), 0, False), (b"A: 1\r\n", 0, False), (b"A: 1\r\n\r", 0, False)),
    )
    wrong = (
        *(joins_cookies_with_a_comma, strips_ascii_alone, counts_underscores, is_one_byte_off),
        *(takes_bare_ends_of_lines, knows_framing_in_one_spelling, takes_the_last_content_type),
        *(starts_at_zero, sorts_the_variables),
    )

    def hostile(self) -> Iterator[Call]:
        for data in chain(hostile_repetitions(), hostile_values(), hostile_lines()):
            yield data, 0, False
            if b"_" in data:
                yield data, 0, True


def hostile_lines() -> Iterator[bytes]:
    """Put every short string where a line, a name or the end of a line can be."""
    for text in short_bytes(3):
        yield text + b"\r\n\r\n"
        yield section(b"A:" + text)
    for text in short_bytes(2):
        yield text
        yield section(text + b": 1")
        yield section(b"A" + text + b":1", b"A:" + text)
        yield section(b"A: 1", text, b"B: 2")
        yield section(b"A: 1" + text + b"B: 2")
        yield b"A: 1\r\n" + text
        yield b"A: 1" + text + b"\r\n"
        yield b"A: 1" + text + b"\n\r\n"


def hostile_values() -> Iterator[bytes]:
    """Put every short string into, and around, each special name and its value."""
    names = [each for name in SPECIAL for each in spellings(name)] + NEARLY
    for name, text in product(map(encoded, SPECIAL), short_bytes(2)):
        yield section(name + b":" + text)
        yield section(name.lower() + b":" + text, b"A: 1")
        yield section(name.lower() + text + b": 1")
    for name, text in product(map(encoded, names), short_bytes(1)):
        yield section(name + b":" + text)
        yield section(name + text + b": 1", b"A: 1")
        yield section(name + b": 1" + text + b"2")
        yield section(text + name + b": 1")
        yield section(name[:1] + text + name[1:] + b": 1")
        yield section(name[:1] + text + name[2:] + b": 1")


def hostile_repetitions() -> Iterator[bytes]:
    """Repeat each special name, in two spellings, with hostile values."""
    ends = [b"", b" ", b"\t", b"\x85", b"\xa0", b"\x1c", b",", b"\xff"]
    for name in SPECIAL:
        for one, other in product(map(encoded, spellings(name)), repeat=2):
            yield section(one + b":", other + b":", one + b":")
            for end in ends:
                yield section(one + b": a" + end, other + b":b" + end)
                yield section(one + b":" + end + b"a", b"Z: z", other + b":" + end, one + b": c")


def differing(calls: Iterable[Call]) -> list[Call]:
    return differences(*twins("request", "parse_section"), calls)


#: A section with a bit of everything.
SAMPLE = (
    b"GET / HTTP/1.1\r\nHost: h\r\nCookie: a\r\ncookie: b\r\nX-A:\t1 \r\nX_A: 2\r\nx-a: 3\r\n"
    b"Content-Length: 5\r\nContent-Type: text/plain\r\nconnection: close\r\n\r\nhello\r\n\r\n"
)
SAMPLE_START = 16


def test_sections_cut_anywhere_are_read_alike() -> None:
    cuts = range(len(SAMPLE) + 1)
    assert differing((SAMPLE[:end], SAMPLE_START, False) for end in cuts) == []
    assert differing((SAMPLE[:cut] + SAMPLE[cut + 1 :], SAMPLE_START, False) for cut in cuts) == []
    assert differing((SAMPLE[start:], 0, True) for start in cuts) == []


def test_sections_with_each_byte_anywhere_are_read_alike() -> None:
    odd = [*range(0x21), *b":_-AZaz09{~", *range(0x7F, 0x88), 0xA0, 0xFF]
    for place in range(SAMPLE_START, len(SAMPLE)):
        before, after = SAMPLE[:place], SAMPLE[place + 1 :]
        calls = [(before + bytes([code]) + after, SAMPLE_START, False) for code in odd]
        assert differing(calls) == []


def test_sections_are_found_alike_wherever_they_start() -> None:
    size = len(SAMPLE)
    places: list[Any] = [*range(-size - 3, size + 4), True, False, None, 2**63, -(2**63), "1", 1.5]
    flags = (False, True, 0, 1, "", "x", None)
    assert differing((SAMPLE, start, flag) for start, flag in product(places, flags)) == []


def test_what_stands_around_a_section_is_no_matter() -> None:
    alone = section(b"Host: h", b"X-A: 1")
    for before, after in product((b"", b"\r\n\r\n", b"A: 0\r\n"), (b"", b"\0", b"B: 2\r\n\r\n")):
        found = twins("request", "parse_section")[1](before + alone + after, len(before), False)
        assert found == ({"HTTP_HOST": "h", "HTTP_X_A": "1"}, len(before) + len(alone))


@pytest.mark.parametrize("count", [*range(MAX_HEADER_LINES - 4, MAX_HEADER_LINES + 3), 5000])
def test_limits_of_lines_are_alike(count: int) -> None:
    lines = [b"X-%d: %d" % (number, number) for number in range(count)]
    dropped = [b"X_%d: %d" % (number, number) for number in range(count)]
    repeated = [b"X: %d" % number for number in range(count)]
    calls = [
        (section(*each), 0, flag) for each in (lines, dropped, repeated) for flag in (False, True)
    ]
    assert differing(calls) == []
    short_enough = count < MAX_HEADER_LINES - 1
    assert handed_over("request", "parse_section", calls[:1]) == [
        [] if short_enough else ["parse_section"]
    ]


@pytest.mark.parametrize("spare", [-2, -1, 0, 1, 2])
@pytest.mark.parametrize("start", [0, 1, 7])
def test_limits_of_size_are_alike(start: int, spare: int) -> None:
    before = b"\r\n\r\n---"[:start]
    for lines in ([b"A: "], [b"A: 1", b"B: "], [b"A: 1", b""]):
        size = MAX_LINE + spare - len(section(*lines))
        lines[-1] += b"b" * size if lines[-1] else b"b" * (size - 1) + b":"
        data = before + section(*lines)
        assert len(data) == start + MAX_LINE + spare
        for after in (b"", b"\r\n", b"x" * 10):
            assert differing([(data + after, start, False)]) == []
        taken = handed_over("request", "parse_section", [(before + section(*lines), start, False)])
        assert bool(taken[0]) == (spare > 0 or lines[-1][:1] == b"b")


@pytest.mark.parametrize("size", [1, 62, 63, 64, 65, 66, 127, 128, 1000, 65_000])
def test_long_names_are_read_alike(size: int) -> None:
    names = [b"n" * size, b"-" * size, b"N" * (size - 1) + b"_", b"n" * (size - 1) + b"\x80"]
    calls = [(section(name + b": 1", name.upper() + b": 2"), 0, False) for name in names]
    calls += [(section(b"Cookie" + name + b": 1"), 0, True) for name in names]
    assert differing(calls) == []


@pytest.mark.parametrize("size", [1, 239, 240, 241, 1000, 60_000])
def test_long_values_are_read_alike(size: int) -> None:
    blank = [b" " * size, b"\t" * size, b"\xa0" * size, b" " * size + b"\x85", b"v" * size]
    named = [b"A", b"Content-Length", b"Content-Type", b"Cookie"]
    calls = [(section(n + b":" + v, n + b":" + v), 0, False) for n, v in product(named, blank)]
    assert differing(calls) == []


def test_every_name_of_the_grammar_is_read_alike_in_each_spelling() -> None:
    names = sorted({*COMMON_FIELDS, *(name.title() for name in reference.FRAMING_KEYS)})
    for name in names:
        each = [encoded(spelling) for spelling in [*spellings(name), name.title()]]
        calls = [(section(n + b": 1 ", m + b": 2"), 0, False) for n, m in product(each, repeat=2)]
        calls += [(section(n[:-1] + b": 1", n + n[-1:] + b": 2"), 0, True) for n in each]
        assert differing(calls) == []


def test_names_that_browsers_send_need_no_reference() -> None:
    for name in [*COMMON_FIELDS, *map(str.lower, COMMON_FIELDS), "X-Other", "x-other"]:
        calls: list[Call] = [(section(encoded(name) + b": 1"), 0, False)]
        assert handed_over("request", "parse_section", calls) == [[]], name


@given(
    names=st.lists(st.sampled_from([b"A", b"a", b"X-A", b"Cookie", b"Host"]), max_size=98),
    noise=st.binary(max_size=30),
)
def test_many_repeated_fields_are_joined_alike(names: list[bytes], noise: bytes) -> None:
    lines = [name + b": %d" % number for number, name in enumerate(names)]
    assert differing([(section(*lines) + noise, 0, False)]) == []
