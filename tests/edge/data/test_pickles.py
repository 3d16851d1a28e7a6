"""Pickles of annotations are read, and no others: nothing that they name is ever called."""

from __future__ import annotations

import collections
import contextlib
import pickle
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.data.pickles import array_of, load_plain_pickle
from runtime.errors import ConfigError

PLAIN = {
    "boxes": np.arange(12, dtype=np.uint8).reshape(3, 4),
    "floats": np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3),
    "columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "empty": np.empty((0, 4), np.float64),
    "texts": np.array(["walk", "sit"]),
    "swapped": np.arange(3, dtype=">i4"),
}


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "annotation.pkl"
    path.write_bytes(data)
    return path


class Called:
    """Pickles as a call of `maker` with `arguments`."""

    def __init__(self, maker: Any, *arguments: Any) -> None:
        self.maker, self.arguments = maker, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return (self.maker, self.arguments)


class Plain:
    """An object with a state."""

    def __init__(self) -> None:
        self.value = 1


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("core", ["_core", "core"], ids=["numpy-2", "numpy-1"])
def test_plain_data_comes_back_whatever_wrote_it(tmp_path: Path, protocol: int, core: str) -> None:
    content = {"numf": np.uint8(148), np.str_("name"): np.float64(0.5), "list": [1, "two", None],
               "ordered": collections.OrderedDict(a=1), "tuple": (1, 2.5), **PLAIN}  # fmt: skip
    data = pickle.dumps(content, protocol=protocol)
    if core == "core" and protocol < 4:  # later protocols write the length of a name before it
        data = data.replace(b"numpy._core.", b"numpy.core.")
    read = load_plain_pickle(written(tmp_path, data))
    assert read["numf"] == 148
    assert read["name"] == 0.5
    assert read["list"] == [1, "two", None]
    assert read["tuple"] == (1, 2.5)
    assert dict(read["ordered"]) == {"a": 1}
    for name, array in PLAIN.items():
        back = array_of(read[name])
        assert back is not None
        np.testing.assert_array_equal(back, array)
        assert back.dtype == array.dtype


def test_an_array_of_python_2_is_read(tmp_path: Path) -> None:
    data = (b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I2\nt"
            b"cnumpy\ndtype\n(S'u1'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntbI00\nS'\\x07\\xf0'\n"
            b"tb.")  # fmt: skip
    array = array_of(load_plain_pickle(written(tmp_path, data)))
    assert array is not None
    assert array.tolist() == [7, 0xF0]


def touched(path: Path) -> Any:
    """What a hostile file calls: it must never run."""
    path.write_text("called")
    return []


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_nothing_that_a_file_names_is_called(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "mark"
    data = pickle.dumps({"a": Called(touched, mark)}, protocol=protocol)
    with pytest.raises(ConfigError, match="expected only numbers"):
        load_plain_pickle(written(tmp_path, data))
    assert not mark.exists()


_FRAME_HUGE = b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"N."
_MEMO_HUGE = b"\x80\x02]r\xff\xff\xff\xff."


@pytest.mark.parametrize(
    ("data", "says"),
    [
        pytest.param(b"cos\nsystem\n(S'true'\ntR.", "os.system", id="os-system"),
        pytest.param(b"c__builtin__\neval\n(S'1'\ntR.", "eval", id="eval"),
        pytest.param(b"(S'true'\nios\nsystem\n.", "an object of a class", id="inst"),
        pytest.param(b"(cos\nsystem\nS'true'\no.", "os.system", id="obj"),
        pytest.param(b"\x80\x02cbuiltins\nlist\n)\x81.", "builtins.list", id="newobj"),
        pytest.param(b"Pname\n.", "an object of a class", id="persistent"),
        pytest.param(b"\x80\x02\x82\x01.", "an object of a class", id="extension"),
        pytest.param(b"cnumpy\ndtype\n}S'x'\nI1\nsb.", "state of its own", id="state-of-a-maker"),
        pytest.param(b"}}S'x'\nI1\nsb.", "state of its own", id="state-of-a-dictionary"),
        pytest.param(b"cnumpy\nload\n.", "numpy.load", id="numpy-load"),
        pytest.param(b"cnumpy\nndarray\n((I9\ntI1\ntR.", "no pickle", id="array-from-nothing"),
        pytest.param(b"cnumpy\ndtype\n(S'O8'\nI0\nI1\ntR.", "type 'O8'", id="objects"),
        pytest.param(b"cnumpy\ndtype\n(S'f4,f4'\ntR.", "type 'f4,f4'", id="fields"),
        pytest.param(b"c_codecs\nencode\n(S'a'\nS'rot13'\ntR.", "form of their own", id="codec"),
        pytest.param(_MEMO_HUGE[:-1], "no pickle", id="memo-without-end"),
        pytest.param(_FRAME_HUGE[:-1], "no pickle", id="frame"),
        pytest.param(b"\x80\x05\x96" + struct.pack("<Q", 1 << 50) + b"a.", "no pickle",
                     id="bytes-that-are-not-there"),
        pytest.param(b"(" * 100_000, "no pickle", id="nesting"),
        pytest.param(b"", "no pickle", id="empty"),
        pytest.param(b"not a pickle at all", "no pickle", id="text"),
        pytest.param(pickle.dumps(Plain()), "Plain", id="object"),
        pytest.param(pickle.dumps(np.array([object()])), "type 'O8'", id="array-of-objects"),
        pytest.param(pickle.dumps(np.zeros(2, [("a", "f4")])), "V4", id="structured"),
        pytest.param(pickle.dumps(PLAIN)[:-40], "no pickle", id="cut"),
    ],
)  # fmt: skip
def test_what_is_no_plain_data_is_refused_in_one_sentence(
    tmp_path: Path, data: bytes, says: str
) -> None:
    with pytest.raises(ConfigError) as error:
        load_plain_pickle(written(tmp_path, data))
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_memo_entry_of_any_number_costs_nothing(tmp_path: Path) -> None:
    assert load_plain_pickle(written(tmp_path, _MEMO_HUGE)) == []


def test_few_bytes_cannot_become_many_arrays(tmp_path: Path) -> None:
    text = b"X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20)
    again = b"h\x00h\x01h\x02\x86R0"  # call 0 with (1, 2), and drop what it made
    data = (b"\x80\x02c_codecs\nencode\nq\x000" + text + b"q\x010X\x06\x00\x00\x00latin1q\x020"
            + again * 5000 + b"N.")  # fmt: skip
    start = time.perf_counter()
    with pytest.raises(ConfigError, match="as many arrays"):
        load_plain_pickle(written(tmp_path, data))
    assert time.perf_counter() - start < 30


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_file_is_refused_or_read_as_plain_data(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    data = bytearray(pickle.dumps({**PLAIN, "n": np.uint8(4)}, protocol=2))
    for place, value in changes:
        data[place % len(data)] = value
    path = tmp_path_factory.getbasetemp() / "damaged.pkl"
    path.write_bytes(data)
    with contextlib.suppress(ConfigError):
        load_plain_pickle(path)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_plain_pickle(tmp_path / "absent.pkl")
