"""The compiled checks and methods of header lists against the reference ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st

from conftest import implementations
from oracle import Text, odd_headers, odd_items, wrong_texts
from twins import (
    HOSTILE_TEXT,
    Call,
    Doubled,
    Kernel,
    Listed,
    Loud,
    Made,
    Masked,
    Options,
    Pair,
    TwinTests,
    all_seen,
    differences,
    exact,
    in_use,
    noting_reference,
    short,
    twins,
)
from wsgiref_fast import _impl
from wsgiref_fast._pure import headers as reference
from wsgiref_fast.headers import Headers

# A pure installation has no twins to compare: then there are no tests here to collect.
__test__ = "compiled" in implementations()

Field = tuple[str, str]

#: Any text that has one byte a character but is no control character.
latin_1 = st.text(
    st.characters(max_codepoint=255, exclude_categories=["Cc"]) | st.sampled_from("\x80\x85\x9f"),
    max_size=6,
)
ascii_names = st.sampled_from(["A", "a", "Set-Cookie", "set-cookie", ""]) | st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=5
)
names = ascii_names | st.sampled_from(["X-\xc9", "x-\xe9"]) | latin_1
values = st.builds("{}{}{}".format, latin_1, st.sampled_from(["", "\t"]), latin_1)
plain_lists = st.lists(st.tuples(names, values), max_size=6)
hostile_texts = st.text(HOSTILE_TEXT, max_size=3)
hostile_lists = st.lists(st.tuples(names | hostile_texts, hostile_texts), max_size=6)

ODD_ITEMS: list[Any] = [
    *(Pair(("A", "1")), (Loud("A"), "1"), ("A", Loud("1")), ["A", "1"], ("A", 1), (b"A", "1")),
    *(("A", None), ("A",), ("A", "1", "2"), (), "AB", "ABC", b"AB", None, 3, {"A": 1, "B": 2}),
    *((Masked("x"), "1"), (None, "1"), ("A", "\u0100"), ("\ud800", "1"), ("\u212a", "1")),
]

WRONG_CONTAINERS: list[Any] = [
    *(None, 3, "", "AB", b"AB", (), (("A", "1"),), (("A", "\r"),), {}, {"AB": 1}, object),
    *(Listed(), Listed([("A", "1")]), Listed([("A", "\n")]), Doubled([("A", "1")])),
    *(Made(iter, [("A", "1")]), Made(iter, [("A", "\r")]), Made(iter, [("A",)]), Made(iter, [])),
    Made(reversed, [("A", "\r"), ("B", "1")]),
]


# -- Header lists --------------------------------------------------------------------------


def skips_del(headers: list[Field]) -> None:
    reference.validate_headers([(n, v.replace("\x7f", "")) for n, v in headers])


def forgets_names(headers: list[Field]) -> None:
    reference.validate_headers([("A", v) for _, v in headers])


def refuses_a_tab(headers: list[Field]) -> None:
    reference.validate_headers([(n, v.replace("\t", "\n")) for n, v in headers])


def returns_something(headers: list[Field]) -> bool:
    reference.validate_headers(headers)
    return True


def says_it_in_other_words(headers: list[Field]) -> None:
    try:
        reference.validate_headers(headers)
    except ValueError as error:
        raise ValueError("control character") from error


def raises_another_type(headers: list[Field]) -> None:
    try:
        reference.validate_headers(headers)
    except ValueError as error:
        raise AssertionError(*error.args) from error


def empties_the_list(headers: list[Field]) -> None:
    reference.validate_headers(headers)
    headers.clear()


def reads_twice(headers: list[Field]) -> None:
    tuple(headers)
    reference.validate_headers(headers)


def drops_surrogates(headers: list[Field]) -> bytes:
    return reference.serialize_headers(
        [(n, v.encode("utf-8", "ignore").decode()) for n, v in headers]
    )


def replaces_what_is_not_latin_1(headers: list[Field]) -> bytes:
    return "".join([*(f"{n}: {v}\r\n" for n, v in headers), "\r\n"]).encode("latin-1", "replace")


def joins_with_a_bare_colon(headers: list[Field]) -> bytes:
    return reference.serialize_headers(headers).replace(b": ", b":")


def gives_a_bytearray(headers: list[Field]) -> bytearray:
    return bytearray(reference.serialize_headers(headers))


class ListTests(TwinTests):
    """A kernel whose only argument is a header list."""

    module = "headers"
    plain = st.tuples(plain_lists)
    odd = st.tuples(
        odd_headers
        | hostile_lists
        | odd_headers.map(Listed)
        | odd_headers.map(Doubled)
        | odd_headers.map(lambda items: Made(iter, items))
        | st.sampled_from(WRONG_CONTAINERS)
    )
    odd_calls = (
        *((each,) for each in WRONG_CONTAINERS),
        *(([item],) for item in ODD_ITEMS),
        *(([("X", "0"), item],) for item in ODD_ITEMS),
        *(([item, ("X", "0"), ("Y\r", "")],) for item in ODD_ITEMS),
        *(([("A", "\r")],), ([("A\t", "1")],), ([("A\x7f", "1")],), ([("A", "1"), ("B", "\0")],)),
    )

    def hostile(self) -> Iterator[Call]:
        for text in short(HOSTILE_TEXT, 3):
            yield ([(text, "1")],)
            yield ([("A", text)],)
        for name, value in product(short(HOSTILE_TEXT, 1), repeat=2):
            yield ([("A", "1"), (name, value), ("B", "2")],)


class TestValidateHeaders(ListTests):
    name = "validate_headers"
    wrong = (
        *(skips_del, forgets_names, refuses_a_tab, returns_something, says_it_in_other_words),
        *(raises_another_type, empties_the_list, reads_twice),
    )


class TestSerializeHeaders(ListTests):
    name = "serialize_headers"
    wrong = (
        *(drops_surrogates, gives_a_bytearray, joins_with_a_bare_colon),
        replaces_what_is_not_latin_1,
    )


@pytest.mark.parametrize("name", ["validate_headers", "serialize_headers"])
def test_every_character_of_latin_1_and_some_others_is_taken_alike(name: str) -> None:
    chars = [*map(chr, range(0x180)), "\u2028", "\u212a", "\ud800", "\udfff", "\U0001f600"]
    calls: list[Call] = [([field],) for c in chars for field in ((c, "1"), ("A", f"1{c}2"))]
    assert differences(*twins("headers", name), calls) == []


@pytest.mark.parametrize("name", ["validate_headers", "serialize_headers"])
@pytest.mark.parametrize("size", [0, 1, 100, 5000])
def test_long_lists_are_taken_alike(name: str, size: int) -> None:
    headers = [(f"X-{i}", "v" * (i % 300)) for i in range(size)]
    assert differences(*twins("headers", name), [(headers,), ([*headers, ("A", "\n")],)]) == []


@pytest.mark.parametrize("size", [239, 240, 241, 255, 256, 257, 480, 481, 70_000])
def test_controls_are_found_alike_wherever_they_stand(size: int) -> None:
    long = "v" * size
    texts = [long, "\t" * size, long + "\r", "\n" + long, f"{long}\0{long}", "\x7f" * size]
    lists = [[(name, value)] for text in texts for name, value in (("A", text), (text, "1"))]
    for name in ("validate_headers", "serialize_headers"):
        assert differences(*twins("headers", name), [(each,) for each in lists]) == []


# -- The methods of Headers: on which objects ----------------------------------------------


class Plain(Headers):
    """What overrides nothing."""


class Lenient(Headers):
    """What takes any type, as `Headers` once did."""

    def _convert_string_type(self, value: Any, *, name: bool | None = None) -> Any:
        return value


class Converting(Headers):
    """What makes text of anything."""

    def _convert_string_type(self, value: Any, *, name: bool | None = None) -> str:
        return value if type(value) is str else f"<{value}>"


class Getting(Headers):
    """What has an answer for any name."""

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        return f"got {super().get(name, default)}"


class Keeping(Headers):
    """What cannot be deleted from."""

    def __delitem__(self, name: str) -> None:
        self._headers.append(("Deleted", repr(name)))


class Speaking(Headers):
    """What goes on the wire in words of its own."""

    def __str__(self) -> str:
        return f"spoken: {len(self._headers)}\r\n\r\n"


class Borrowing(Headers):
    """What keeps its list elsewhere than it seems."""

    @property
    def _headers(self) -> Any:
        return self.__dict__.setdefault("list", [("Borrowed", "1")])

    @_headers.setter
    def _headers(self, value: Any) -> None:
        self.__dict__["_headers"] = value


class Pretending(Headers):
    """What says of every attribute something else."""

    def __getattribute__(self, name: str) -> Any:
        return [("Pretended", "1")] if name == "_headers" else super().__getattribute__(name)


def says_got(name: str, default: Any = None) -> Any:
    return f"got {name!r} {default!r}"


def converts(value: Any) -> str:
    return f"converted {value!r}"


OVERRIDING = [Lenient, Converting, Getting, Keeping, Speaking, Borrowing, Pretending]

#: What may stand in an instance's own attributes beside the list.
EXTRAS: list[dict[str, Any]] = [
    *({"other": 1}, {"get": says_got}, {"_convert_string_type": converts}),
    *({"__str__": 1}, {"__delitem__": 2, "get": says_got}),
]


def made(cls: type[Headers], fields: Any, extra: dict[str, Any] | None = None) -> Any:
    """Make an object that has any list at all, unchecked, and these attributes."""
    headers = cls.__new__(cls)
    headers.__dict__.update({"_headers": fields, **(extra or {})})
    return headers


def bare() -> Any:
    """Make an object whose constructor never ran."""
    return Headers.__new__(Headers)


def on(fields: Any, cls: type[Headers] = Headers, extra: dict[str, Any] | None = None) -> Made:
    """Tell to make an object for each twin."""
    return Made(made, cls, fields, extra or {})


LIST: list[Field] = [("A", "1"), ("b", "2"), ("a", "3"), ("X-\xc9", "4")]

#: Objects of which a compiled method knows nothing.
ODD_OBJECTS: list[Any] = [
    *(on(LIST, cls) for cls in OVERRIDING),
    *(on(LIST, Headers, extra) for extra in EXTRAS),
    *(on(LIST, Plain, extra) for extra in EXTRAS),
    *(
        on(each)
        for each in (None, (), tuple(LIST), Listed(LIST), Doubled(LIST), {"A": "1"}, 3, "AB")
    ),
    *(Made(bare), 3, None),
]


# -- The methods of Headers: what they do --------------------------------------------------


class MethodTests(TwinTests):
    """A kernel that is a method: its first argument is an object."""

    module = "headers"

    #: What its other arguments can be.
    arguments: ClassVar[st.SearchStrategy[Any]]
    plain_arguments: ClassVar[st.SearchStrategy[Any]]

    #: Some that are plain, and some that are not, on the list of the sample.
    some: ClassVar[tuple[Call, ...]]
    some_odd: ClassVar[tuple[Call, ...]]

    #: Whether it looks at what is in the list.
    reads_items: ClassVar[bool] = True

    def hostile_arguments(self) -> Iterable[Call]:
        """Make arguments with every short string."""
        raise NotImplementedError

    def hostile(self) -> Iterator[Call]:
        for arguments in self.hostile_arguments():
            yield (on(LIST), *arguments)
        for text, arguments in product(short(HOSTILE_TEXT, 2), self.some[:2]):
            yield (on([("B", "1"), (text, "2"), ("b" + text, text), ("a", text)]), *arguments)

    def __init_subclass__(cls) -> None:
        objects = st.builds(on, plain_lists, st.sampled_from([Headers, Plain]))
        any_objects = st.builds(
            on,
            plain_lists | hostile_lists | odd_headers | odd_headers.map(Listed),
            st.sampled_from([Headers, Plain, *OVERRIDING]),
            st.sampled_from([{}, {}, {}, *EXTRAS]),
        )
        cls.plain = st.builds(joined, objects, cls.plain_arguments)
        cls.odd = st.builds(
            joined, objects | any_objects | st.sampled_from(ODD_OBJECTS), cls.arguments
        )
        cls.odd_calls = (
            *((each, *arguments) for each, arguments in product(ODD_OBJECTS, cls.some)),
            *((on(LIST), *arguments) for arguments in cls.some_odd),
            *((on(LIST, Plain), *arguments) for arguments in cls.some_odd),
        )

    def test_odd_items_in_the_list_are_taken_alike(self) -> None:
        lists = [[*before, item, *after] for item in ODD_ITEMS for before, after in AROUND]
        calls = [(on(each), *arguments) for each in lists for arguments in self.some]
        assert differences(*self.twins(), calls) == []
        assert any(self.handed_over(calls)) is self.reads_items


AROUND: list[tuple[list[Field], list[Field]]] = [([], []), ([("A", "0")], []), ([], [("A", "0")])]


def joined(subject: Made, arguments: Call) -> Call:
    return (subject, *arguments)


any_keys: st.SearchStrategy[Any] = names | hostile_texts | wrong_texts | st.just(Masked("a"))
any_values: st.SearchStrategy[Any] = values | hostile_texts | wrong_texts

#: Names that are none for a compiled method.
ODD_NAMES: list[Any] = [
    *(
        None,
        3,
        b"A",
        Text("A"),
        Loud("A"),
        Masked("A"),
        ("A",),
        "\xe9",
        "\u0100",
        "\u212a",
        "\ud800",
    ),
    *("A\r", "\n", "\t", "\0", "\x7f", "X-\xc9", "x-\xe9", 1.5, [], {}),
]
ODD_VALUES: list[Any] = [
    *(3, b"1", Text("1"), Loud("1"), Masked("1"), ("1",), "\u0100", "\ud800", "\r", "1\n", "\0"),
    *("\x7f", [], {}, 1.5),
]
NAMES = ["A", "a", "B", "c", "", "x-\u0020"]


def is_case_sensitive(self: Any, name: str, *rest: Any) -> Any:
    return dict(reversed(self._headers)).get(name, *rest)


def finds_the_last(self: Any, name: str, *rest: Any) -> Any:
    return reference.get(made(Headers, self._headers[::-1]), name, *rest)


def misses_empty_values(self: Any, name: str, default: Any = None) -> Any:
    return reference.get(self, name) or default


def lowers_letters_alone(self: Any, name: str, *rest: Any) -> Any:
    return reference.get(self, name.replace("\xc9", "\xe9").replace("_", "-"), *rest)


def forgives_names(self: Any, name: str, *rest: Any) -> Any:
    return reference.get(self, name, *rest) if type(name) is str else None


class KeyTests(MethodTests):
    """A method that is asked for a name alone."""

    plain_arguments = st.tuples(ascii_names)
    arguments = st.tuples(any_keys)
    longest: ClassVar[int] = 2
    some: ClassVar[tuple[Call, ...]] = tuple((name,) for name in NAMES)
    some_odd: ClassVar[tuple[Call, ...]] = tuple((name,) for name in ODD_NAMES)

    def hostile_arguments(self) -> Iterator[Call]:
        for text in short(HOSTILE_TEXT, self.longest):
            yield (text,)
            yield ("a" + text,)


class TestGet(KeyTests):
    name = "get"
    plain_arguments = st.one_of(st.tuples(ascii_names), st.tuples(ascii_names, any_values))
    arguments = st.one_of(st.tuples(any_keys, any_values), st.tuples(any_keys))
    longest = 3
    some = (
        *((name,) for name in NAMES),
        ("A", "no"),
        ("c", "no"),
        ("c", 3),
    )
    some_odd = (
        *((name,) for name in ODD_NAMES),
        (3, "no"),
        ("\r", "no"),
        ("\xe9", "no"),
    )
    wrong = (
        *(is_case_sensitive, finds_the_last, misses_empty_values, lowers_letters_alone),
        forgives_names,
    )


def item_or_empty(self: Any, name: str) -> Any:
    return reference.get_item(self, name) or ""


def item_or_error(self: Any, name: str) -> Any:
    found = reference.get_item(self, name)
    if found is None:
        raise KeyError(name)
    return found


class TestGetItem(KeyTests):
    name = "get_item"
    wrong = (is_case_sensitive, finds_the_last, item_or_empty, item_or_error)


def holds_the_name(self: Any, name: str) -> bool:
    return name in dict(self._headers)


def holds_a_value(self: Any, name: str) -> bool:
    return bool(reference.get(self, name))


def holds_one(self: Any, name: str) -> int:
    return int(reference.contains(self, name))


class TestContains(KeyTests):
    name = "contains"
    wrong = (holds_the_name, holds_a_value, holds_one)


def deletes_the_first(self: Any, name: str) -> None:
    found = reference.get(self, name)
    if found is not None:
        self._headers.remove(next(f for f in self._headers if f[0].lower() == name.lower()))


def deletes_in_a_copy(self: Any, name: str) -> None:
    self._headers = self._headers[:]
    reference.delete_item(self, name)
    self._headers += [("", "")]


def deletes_or_fails(self: Any, name: str) -> None:
    if not reference.contains(self, name):
        raise KeyError(name)
    reference.delete_item(self, name)


class TestDeleteItem(KeyTests):
    name = "delete_item"
    wrong = (deletes_the_first, deletes_in_a_copy, deletes_or_fails)


def sets_in_place(self: Any, name: str, val: str) -> None:
    place = [other.lower() for other, _ in self._headers].index(name.lower())
    reference.set_item(self, name, val)
    self._headers.insert(place, self._headers.pop())


def sets_before_it_checks(self: Any, name: str, val: str) -> None:
    reference.set_item(self, name, "x")
    reference.set_item(self, name, val)


def checks_before_it_deletes(self: Any, name: str, val: str) -> None:
    reference.as_value(self, val, name)
    reference.set_item(self, name, val)


def keeps_the_first_spelling(self: Any, name: str, val: str) -> None:
    found = [other for other, _ in self._headers if other.lower() == name.lower()]
    reference.set_item(self, (found or [name])[0], val)


class PairTests(MethodTests):
    """A method that is given a name and a value."""

    plain_arguments = st.tuples(ascii_names, values)
    arguments = st.tuples(any_keys, any_values)
    some: ClassVar[tuple[Call, ...]] = tuple((name, "n\t\xe9") for name in NAMES)
    some_odd: ClassVar[tuple[Call, ...]] = (
        *((name, "1") for name in ODD_NAMES),
        *(("Z", value) for value in [*ODD_VALUES, None]),
        *(product(("\r", "\xe9", None), ("\n", None, 3))),
    )

    def hostile_arguments(self) -> Iterator[Call]:
        for text in short(HOSTILE_TEXT, 2):
            yield text, "1"
            yield "Z", text
            yield "A", text
            yield "a" + text, text
            yield text, text


class TestSetItem(PairTests):
    name = "set_item"
    some_odd = (*PairTests.some_odd, *(("A", value) for value in ODD_VALUES))
    wrong = (
        *(sets_in_place, sets_before_it_checks, checks_before_it_deletes),
        keeps_the_first_spelling,
    )


def gives_the_new_value(self: Any, name: str, value: str) -> Any:
    reference.setdefault(self, name, value)
    return value


def checks_what_it_does_not_need(self: Any, name: str, value: str) -> Any:
    reference.as_value(self, value, name)
    return reference.setdefault(self, name, value)


def adds_always(self: Any, name: str, value: str) -> Any:
    found = reference.setdefault(self, name, value)
    self._headers += [] if found == value else [(name, value)]
    return found


class TestSetdefault(PairTests):
    name = "setdefault"
    wrong = (gives_the_new_value, checks_what_it_does_not_need, adds_always)


# -- Parameters ----------------------------------------------------------------------------


def keeps_underscores(self: Any, _name: str, _value: Any, **_params: Any) -> None:
    reference.add_header(self, _name, _value, **{"x" + k.strip("_"): v for k, v in _params.items()})


def escapes_nothing(self: Any, _name: str, _value: Any, **_params: Any) -> None:
    reference.add_header(self, _name, _value, **_params)
    name, text = self._headers.pop()
    self._headers.append((name, text.replace("\\", "")))


def quotes_empty_values(self: Any, _name: str, _value: Any, **_params: Any) -> None:
    params = {key: '""' if value == "" else value for key, value in _params.items()}
    reference.add_header(self, _name, _value, **params)


def replaces(self: Any, _name: str, _value: Any, **_params: Any) -> None:
    reference.add_header(self, _name, _value, **_params)
    self[_name] = self._headers.pop()[1]


def checks_the_value_alone(self: Any, _name: str, _value: Any, **_params: Any) -> None:
    params = {k: v.replace("\r", "") if type(v) is str else v for k, v in _params.items()}
    reference.add_header(self, _name, _value, **params)


#: Names of parameters that are plain; a keyword can be any string.
plain_parameters = st.dictionaries(
    st.sampled_from(["filename", "max_age", "a-b", "", "1", "_", "__"])
    | st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=3),
    values.filter(lambda value: value and not {'"', "\\"} & set(value)),
    max_size=3,
).map(Options)
any_parameters = st.dictionaries(
    st.sampled_from(["filename", "max_age", "\xe9", "a\r", "\u0100", Text("a"), Loud("b"), ""])
    | hostile_texts,
    any_values | st.just(""),
    max_size=3,
).map(Options)


class TestAddHeader(MethodTests):
    name = "add_header"
    reads_items = False
    plain_arguments = st.tuples(ascii_names, values, plain_parameters)
    arguments = st.tuples(any_keys, any_values) | st.tuples(any_keys, any_values, any_parameters)
    some = (
        *(("A", "1"), ("z", "n\t\xe9"), ("", ""), ("A", "1", Options(filename="a b", max_age="0"))),
        ("Z", "1", Options({"a-b_": "\xe9", "": "x", "1": "\t"})),
    )
    some_odd = (
        *((name, "1") for name in ODD_NAMES),
        *(("A", value) for value in [*ODD_VALUES, None]),
        *(("A", "1", Options(a=value)) for value in [*ODD_VALUES, None, "", '"', "\\", 'a"b\\']),
        *(("A", "1", Options(b="2", a=value)) for value in ["", "\n", 3]),
        *(("A", None, Options(a=value)) for value in ["1", None, "", "\n"]),
        *(("A", "1", Options({name: "1"})) for name in ["\xe9", "a\r", "\u0100", "\t"]),
        *(("A", "1", Options({name: "1"})) for name in [Text("a"), Loud("a"), Masked("a")]),
        *(product(("\r", None), ("\n", 3), (Options({"\0": "1"}), Options(a=3)))),
    )
    wrong = (
        keeps_underscores,
        escapes_nothing,
        quotes_empty_values,
        replaces,
        checks_the_value_alone,
    )

    def hostile_arguments(self) -> Iterator[Call]:
        for text in short(HOSTILE_TEXT, 2):
            yield text, "1"
            yield "A", text
            yield "A", "1", Options({text: "1"})
            yield "A", "1", Options({"_" + text: "1", "b": text})
            yield "A", None, Options(a=text, b="2")
            yield text, text, Options({text: text})


# -- The constructor and the wire ----------------------------------------------------------


def takes_a_copy(self: Any, headers: Any = None) -> None:
    reference.take_list(self, headers)
    self._headers = [*self._headers, ("", "")]


def takes_a_tuple(self: Any, headers: Any = None) -> None:
    reference.take_list(self, list(headers) if type(headers) is tuple else headers)


def takes_what_is_false(self: Any, headers: Any = None) -> None:
    reference.take_list(self, headers or None)


def checks_first(self: Any, headers: Any = None) -> None:
    if type(headers) is list:
        reference.validate_headers(headers)
    reference.take_list(self, headers)


class TestTakeList(TwinTests):
    module = "headers"
    name = "take_list"
    plain = st.tuples(st.sampled_from([Made(bare), on([]), on(LIST, Plain)]), plain_lists)
    odd = st.tuples(
        st.sampled_from([Made(bare), *ODD_OBJECTS, *(on([], cls) for cls in OVERRIDING)]),
        odd_headers | hostile_lists | st.sampled_from(WRONG_CONTAINERS) | odd_headers.map(Listed),
    )
    odd_calls = (
        (Made(bare),),
        *((Made(bare), each) for each in WRONG_CONTAINERS),
        *((on([], cls), LIST) for cls in OVERRIDING),
        *((on([], cls), [("A", "\r")]) for cls in OVERRIDING),
        *((on([], cls), [("A", 1), (b"B", "1")]) for cls in OVERRIDING),
    )
    wrong = (takes_a_copy, takes_a_tuple, takes_what_is_false, checks_first)

    def hostile(self) -> Iterator[Call]:
        for text, cls in product(short(HOSTILE_TEXT, 2), (Headers, Lenient)):
            yield on([], cls), [(text, "1")]
            yield on([], cls), [("A", text)]
            yield on([], cls), [("A", "1"), (text, text)]

    @pytest.mark.parametrize("item", ODD_ITEMS, ids=repr)
    def test_lists_of_odd_items_are_refused_alike(self, item: Any) -> None:
        calls = [
            (on([], cls), [*before, item, *after])
            for cls in (Headers, Plain, *OVERRIDING)
            for before, after in AROUND
        ]
        assert differences(*self.twins(), calls) == []

    @pytest.mark.parametrize("place", range(2))
    def test_the_list_is_the_callers_own_even_where_it_is_refused(self, place: int) -> None:
        for fields in ([], [("A", "1")], [("A", "\r")], [("A", 1)], [None]):
            headers = bare()
            with in_use("compiled" if place else "pure"):
                try:
                    self.twins()[place](headers, fields)
                except (AssertionError, ValueError, TypeError):
                    assert fields not in ([], [("A", "1")])
            assert headers._headers is fields


def wire_without_its_end(self: Any) -> bytes:
    return reference.to_bytes(self)[:-2]


def wire_of_the_list(self: Any) -> bytes:
    return reference.serialize_headers(self._headers)


def wire_in_utf_8(self: Any) -> bytes:
    return reference.to_bytes(self).decode("iso-8859-1").encode("utf-8")


class TestToBytes(TwinTests):
    module = "headers"
    name = "to_bytes"
    plain = st.tuples(st.builds(on, plain_lists, st.sampled_from([Headers, Plain])))
    odd = st.tuples(
        st.builds(
            on,
            hostile_lists | odd_headers | odd_headers.map(Listed) | st.lists(odd_items),
            st.sampled_from([Headers, Plain, *OVERRIDING]),
            st.sampled_from([{}, {}, {}, *EXTRAS]),
        )
        | st.sampled_from(ODD_OBJECTS)
    )
    odd_calls = (
        *((each,) for each in ODD_OBJECTS),
        *((on([("X", "0"), item]),) for item in ODD_ITEMS),
        *((on([(item, "1")]),) for item in ("\r", "\t", "\x7f", "\u0100")),
        *((on([("A", item)]),) for item in ("\r", "\n", "\x7f", "\u0100", "\ud800")),
    )
    wrong = (wire_without_its_end, wire_of_the_list, wire_in_utf_8)

    def hostile(self) -> Iterator[Call]:
        for text in short(HOSTILE_TEXT, 2):
            yield (on([(text, "1")]),)
            yield (on([("A", text)]),)
        for name, value in product(short(HOSTILE_TEXT, 1), repeat=2):
            yield (on([("A", "1"), (name, value), ("B", "2")]),)


# -- Overrides that come late --------------------------------------------------------------

METHODS = [
    name
    for name in _impl.KERNELS["headers"]
    if name not in ("validate_headers", "serialize_headers")
]

#: What may be put in the place of a method, at any time.
LATE: dict[str, Any] = {
    "_convert_string_type": lambda self, value, *, name=None: f"late {value}",
    "get": lambda self, name, default=None: f"late {name}",
    "__delitem__": lambda self, name: self._headers.append(("Late", "1")),
    "__str__": lambda self: "late\r\n\r\n",
}


def exercised(cls: type[Headers]) -> list[Any]:
    """Use each method of a class that is a kernel; tell what comes of it."""
    headers = cls([("A", "1"), ("B", "2")])
    found: list[Any] = [headers["a"], headers.get("c", "no"), "c" in headers, bytes(headers)]
    headers["a"] = "3"
    del headers["B"]
    found += [headers.setdefault("d", "4"), headers.setdefault("A", "5")]
    headers.add_header("e", "6", f="7")
    return [*found, headers.items()]


@pytest.mark.parametrize("name", LATE)
@pytest.mark.parametrize("where", ["subclass", "class", "base of the subclass"])
def test_a_late_override_works_alike_and_at_once_and_ends_at_once(name: str, where: str) -> None:
    found: dict[str, list[Any]] = {}
    for implementation in ("pure", "compiled"):
        with in_use("pure" if implementation == "pure" else "compiled"):
            middle = type("Middle", (Headers,), {})
            leaf = type("Leaf", (middle,), {})
            owner, user = {
                "subclass": (leaf, leaf),
                "class": (Headers, Headers),
                "base of the subclass": (middle, leaf),
            }[where]
            before = exercised(user)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(owner, name, LATE[name])
                late = exercised(user)
            found[implementation] = [before, late, exercised(user)]
    assert found["compiled"] == found["pure"]
    before, late, after = found["pure"]
    assert before == after != late


@pytest.mark.parametrize("extra", EXTRAS, ids=" ".join)
def test_an_attribute_that_comes_late_works_alike(extra: dict[str, Any]) -> None:
    found = []
    for place in range(2):
        with in_use("compiled" if place else "pure"):
            headers = Headers([("A", "1")])
            headers["B"] = "2"
            vars(headers).update(extra)
            headers["C"] = "3"
            found.append((exact(headers), "B" in headers, headers["c"], bytes(headers)))
    assert found[0] == found[1]


def test_a_list_that_is_swapped_is_seen_alike() -> None:
    found = []
    for place in range(2):
        with in_use("compiled" if place else "pure"):
            headers = Headers([("A", "1")])
            headers._headers = other = [("B", "2")]
            headers["A"] = "3"
            del headers["b"]
            found.append((headers.items(), other, bytes(headers), headers._headers is other))
    assert found[0] == found[1]


def test_a_sequence_of_plain_edits_needs_no_reference() -> None:
    with in_use("compiled"), noting_reference("headers") as noted:
        compiled = [exercised(Headers), exercised(Plain)]
        assert noted == []
    with in_use("pure"):
        assert compiled == [exercised(Headers), exercised(Plain)]


def test_each_method_is_reached_through_the_class() -> None:
    kernels: list[Kernel] = [twins("headers", name)[1] for name in METHODS]
    with in_use("compiled"):
        assert {id(kernel) for kernel in kernels} <= {id(value) for value in vars(Headers).values()}


def test_edits_of_a_long_list_are_alike() -> None:
    fields = [(f"X-{number % 7}", str(number)) for number in range(3000)]
    for name, arguments in (
        ("delete_item", ("x-3",)),
        ("set_item", ("x-0", "1")),
        ("get", ("x-9",)),
    ):
        pure, compiled = twins("headers", name)
        call: Call = (on(fields), *arguments)
        assert all_seen(pure, [call]) == all_seen(compiled, [call])


def test_each_character_of_a_name_is_the_same_in_upper_and_lower_case_alike() -> None:
    chars = list(map(chr, range(0x100)))
    fields = [(f"X{char}", str(number)) for number, char in enumerate(chars)]
    for name, arguments in (("get", ()), ("delete_item", ()), ("set_item", ("1",))):
        calls: list[Call] = [(on(fields), f"x{char}", *arguments) for char in chars]
        assert differences(*twins("headers", name), calls) == []
