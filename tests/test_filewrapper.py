"""`FileWrapper` on each kind of kernel: who it reads, when it ends, what may be overridden."""

from __future__ import annotations

import gc
import io
import os
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any
from wsgiref import util as original

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle import outcome
from wsgiref_fast import _impl
from wsgiref_fast._pure import filewrapper as reference
from wsgiref_fast.util import FileWrapper

pytestmark = pytest.mark.usefixtures("implementation")

CONTENT = bytes(range(256)) * 40


def test_the_kernel_is_the_chosen_one(implementation: str) -> None:
    kernel = vars(FileWrapper)["__next__"]
    assert (kernel is reference.next_block) == (implementation == "pure")
    assert isinstance(kernel, FunctionType) == (implementation == "pure")


@pytest.fixture(params=["memory", "buffered", "unbuffered", "random", "text"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Open each kind of file on the same content."""
    path = tmp_path / "content"
    path.write_bytes(bytes(byte % 128 for byte in CONTENT))
    openers: dict[str, Callable[[], Any]] = {
        "memory": lambda: io.BytesIO(path.read_bytes()),
        "buffered": lambda: path.open("rb"),
        "unbuffered": lambda: path.open("rb", buffering=0),
        "random": lambda: path.open("r+b"),
        "text": lambda: path.open("r", encoding="ascii", newline=""),
    }
    with openers[request.param]() as file:
        yield file


@pytest.mark.parametrize("size", [1, 512, 8192, 100_000])
def test_blocks_are_the_originals(file: Any, size: int) -> None:
    expected = list(original.FileWrapper(file, size))
    file.seek(0)
    assert list(FileWrapper(file, size)) == expected != []


@given(st.binary(max_size=80), st.one_of(st.integers(-2, 20), st.none()), st.integers(0, 90))
def test_sizes_and_positions_are_the_originals(data: bytes, size: Any, position: int) -> None:
    mine, theirs = io.BytesIO(data), io.BytesIO(data)
    mine.seek(position)
    theirs.seek(position)
    assert list(FileWrapper(mine, size)) == list(original.FileWrapper(theirs, size))
    assert mine.tell() == theirs.tell()


def test_the_position_is_known_after_each_block() -> None:
    file = io.BytesIO(CONTENT)
    positions = [file.tell() for _ in FileWrapper(file, 512)]
    assert positions == list(range(512, len(CONTENT) + 1, 512))


def test_others_may_move_and_write_between_blocks() -> None:
    file = io.BytesIO(b"abcdef")
    wrapper = FileWrapper(file, 2)
    assert next(wrapper) == b"ab"
    file.seek(4)
    assert next(wrapper) == b"ef"
    file.write(b"gh")
    file.seek(-1, os.SEEK_CUR)
    assert list(wrapper) == [b"h"]


def test_a_read_of_the_files_own_is_called(file: Any) -> None:
    sizes: list[int] = []

    def read(size: int) -> bytes:
        sizes.append(size)
        return b"own"[len(sizes) - 1 : len(sizes)]

    wrapper = FileWrapper(file, 7)
    file.read = read
    assert list(wrapper) == [b"o", b"w", b"n"]
    assert sizes == [7, 7, 7, 7]


def test_a_read_is_replaced_between_blocks() -> None:
    file = io.BytesIO(b"abc")
    wrapper = FileWrapper(file, 1)
    assert next(wrapper) == b"a"
    file.read = lambda size=-1, /: b""  # type: ignore[method-assign]
    assert list(wrapper) == []


@pytest.mark.parametrize("base", [io.BytesIO, io.BufferedReader])
def test_a_subclass_of_a_file_reads_itself(base: Any) -> None:
    class Shouting(base):  # type: ignore[misc]
        def read(self, size: int | None = -1, /) -> Any:
            return super().read(size).upper()

    source = b"abc" if base is io.BytesIO else io.BytesIO(b"abc")
    assert list(FileWrapper(Shouting(source), 2)) == [b"AB", b"C"]


class Blocks:
    """A file of given blocks, of any type."""

    def __init__(self, *blocks: Any) -> None:
        self.blocks = list(blocks)

    def read(self, size: int) -> Any:
        return self.blocks.pop(0)


class Undecided:
    def __bool__(self) -> bool:
        raise ArithmeticError("neither")


@pytest.mark.parametrize("end", [b"", "", None, 0, [], bytearray()], ids=repr)
def test_a_block_that_is_not_true_ends_it(end: Any) -> None:
    file = Blocks("text", bytearray(b"x"), 3, end, b"never")
    wrapper = FileWrapper(file)
    assert list(wrapper) == ["text", bytearray(b"x"), 3]
    assert list(wrapper) == []
    assert file.blocks == [b"never"]


def test_a_block_whose_truth_cannot_be_told_raises() -> None:
    wrapper = FileWrapper(Blocks(Undecided(), b"a", b""))
    with pytest.raises(ArithmeticError, match="neither"):
        next(wrapper)
    assert list(wrapper) == [b"a"]


@pytest.mark.parametrize("error", [OSError("disk"), StopIteration("odd"), KeyboardInterrupt()])
def test_errors_of_the_file_come_through(error: BaseException) -> None:
    class Failing:
        def read(self, size: int) -> bytes:
            raise error

    with pytest.raises(type(error)) as caught:
        FileWrapper(Failing()).__next__()
    assert caught.value is error


def closed_file() -> io.BytesIO:
    file = io.BytesIO(b"abc")
    file.close()
    return file


@pytest.mark.parametrize(
    ("file", "size"),
    [(closed_file(), 1), (io.BytesIO(b"abc"), "1"), (io.BytesIO(b"abc"), 1.0), (None, 1), (3, 1)],
    ids=["closed", "size of text", "size of float", "None", "int"],
)
def test_what_cannot_be_read_fails_as_in_the_original(file: Any, size: Any) -> None:
    mine, theirs = FileWrapper(file, size), original.FileWrapper(file, size)
    assert outcome(list, mine)[:2] == outcome(list, theirs)[:2]
    assert outcome(list, mine)[0] == "raised"


# -- Overrides -----------------------------------------------------------------------------


def test_a_property_of_a_subclass_is_asked_each_time() -> None:
    class Counting(FileWrapper):
        asked = 0

        @property
        def blksize(self) -> int:
            self.asked += 1
            return self.asked

        @blksize.setter
        def blksize(self, size: int) -> None:
            pass

    assert list(Counting(io.BytesIO(b"abcdef"))) == [b"a", b"bc", b"def"]


def test_a_property_set_on_a_class_later_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Late(FileWrapper):
        pass

    for cls in (Late, FileWrapper):
        wrapper = Late(io.BytesIO(b"abcdef"), 1)
        assert next(wrapper) == b"a"
        monkeypatch.setattr(cls, "blksize", property(lambda _: 2), raising=False)
        assert next(wrapper) == b"bc"
        monkeypatch.undo()
        assert list(wrapper) == [b"d", b"e", b"f"]


def test_attribute_access_of_a_subclass_is_its_own() -> None:
    class Diverting(FileWrapper):
        def __getattribute__(self, name: str) -> Any:
            if name == "filelike":
                return io.BytesIO(b"")
            return super().__getattribute__(name)

    wrapper = Diverting(io.BytesIO(b"abc"))
    assert list(wrapper) == []


def test_a_class_attribute_serves_where_an_instance_has_none() -> None:
    class Shared(FileWrapper):
        filelike = io.BytesIO(b"abc")
        blksize = 2

        def __init__(self) -> None:
            pass

    assert list(Shared()) == [b"ab", b"c"]


def test_a_wrapper_without_its_attributes_fails_as_in_the_original() -> None:
    mine, theirs = FileWrapper(io.BytesIO(b"a")), original.FileWrapper(io.BytesIO(b"a"))
    del mine.blksize, theirs.blksize
    assert outcome(list, mine)[:2] == outcome(list, theirs)[:2] == ("raised", AttributeError)


def test_attributes_may_be_exchanged_as_a_whole() -> None:
    wrapper = FileWrapper(io.BytesIO(b"abc"), 1)
    assert next(wrapper) == b"a"
    wrapper.__dict__ = {"".join(["file", "like"]): io.BytesIO(b"xy"), "blk" + "size": 1}
    assert list(wrapper) == [b"x", b"y"]


def test_a_next_set_on_the_class_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper = FileWrapper(io.BytesIO(b"abc"), 1)
    assert next(wrapper) == b"a"
    kept = FileWrapper.__next__
    monkeypatch.setattr(FileWrapper, "__next__", lambda self: kept(self) * 2)
    assert next(wrapper) == b"bb"
    monkeypatch.undo()
    assert list(wrapper) == [b"c"]


def test_a_subclass_calls_its_base() -> None:
    class Limited(FileWrapper):
        left = 3

        def __next__(self) -> Any:
            block = super().__next__()[: self.left]
            self.left -= len(block)
            if not block:
                raise StopIteration
            return block

    assert list(Limited(io.BytesIO(b"abcdef"), 2)) == [b"ab", b"c"]


@pytest.mark.parametrize(
    "wrong", [3, None, object(), "text"], ids=lambda wrong: type(wrong).__name__
)
def test_next_of_something_else_raises(wrong: Any) -> None:
    assert outcome(FileWrapper.__next__, wrong)[:2] == ("raised", AttributeError)


def test_what_only_looks_like_a_wrapper_is_read() -> None:
    class Look:
        _ended = False
        blksize = 2
        filelike = io.BytesIO(b"abc")

    look: Any = Look()
    assert FileWrapper.__next__(look) == b"ab"


def test_it_may_be_combined_with_another_class() -> None:
    class Both(FileWrapper, io.RawIOBase):
        pass

    assert list(Both(io.BytesIO(b"abc"), 2)) == [b"ab", b"c"]


# -- Memory --------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(sys, "getrefcount"), reason="references are not counted")
def test_iterating_keeps_nothing() -> None:
    block, size, file = b"x" * 600, 600, io.BytesIO(b"x" * 6000)
    counts = sys.getrefcount(file), sys.getrefcount(size)
    wrapper = FileWrapper(file, size)
    for each in wrapper:
        assert sys.getrefcount(each) <= sys.getrefcount(block)
    gone = weakref.ref(wrapper)
    del wrapper, each
    gc.collect()
    assert gone() is None
    assert (sys.getrefcount(file), sys.getrefcount(size)) == counts


def test_a_wrapper_may_lose_its_file_while_that_reads() -> None:
    class Fleeting:
        def __init__(self) -> None:
            self.wrapper: Any = None

        def read(self, size: int) -> bytes:
            wrapper, self.wrapper = self.wrapper, None
            del wrapper.filelike
            wrapper.blksize = 10**30
            gc.collect()
            return b"read by a file that nobody has any more"

    file = Fleeting()
    file.wrapper = wrapper = FileWrapper(file, 10**20)
    del file
    assert next(wrapper).endswith(b"any more")


def test_each_implementation_goes_on_where_the_other_was(implementation: str) -> None:
    wrapper = FileWrapper(io.BytesIO(b"abcd"), 1)
    blocks = [next(wrapper)]
    _impl.use("pure")
    blocks.append(next(wrapper))
    _impl.use(implementation)  # type: ignore[arg-type]
    assert blocks + list(wrapper) == [b"a", b"b", b"c", b"d"]
