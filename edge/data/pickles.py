"""Read annotation pickles without running what they hold.

A pickle is a program: `pickle.load` calls whatever it names. Published annotations come as pickles
all the same, so this reader knows a few names, all of plain data, puts its own functions in their
place, and refuses the rest. It is the unpickler that Python ships in Python, not the one in C: that
one makes room for as many memo entries as a file claims to have, which a few bytes can use to fill
the memory.
"""

from __future__ import annotations

import collections
import io
import pickle
import re
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from runtime.errors import ConfigError

MAX_BYTES = 1 << 30
_CODES = re.compile(r"(b1|[iu][1248]|f[248]|[SU]\d{1,6})")
# Bytes that all arrays together may take for each byte of the file.
_GROWTH = 8
_ORDERS = frozenset("<>|=")
_REDUCIBLE = "numbers, texts, lists, dictionaries and NumPy arrays of numbers or texts"
# Stands for the class in `_reconstruct(ndarray, (0,), b'b')`: nothing can be made by calling it.
_NDARRAY = object()


class _RefusedError(Exception):
    """What the file holds is not plain data."""


class _DType:
    """The type of an array, as far as it is one of plain numbers or texts."""

    __slots__ = ("code", "order")

    def __init__(self, code: object) -> None:
        text = code.decode("latin1") if isinstance(code, bytes) else code
        if not isinstance(text, str) or not _CODES.fullmatch(text):
            raise _RefusedError(f"an array of type {str(text)[:20]!r}")
        self.code, self.order = text, "|"

    def set_state(self, state: object) -> None:
        """Take the byte order; fields and sub-arrays are refused."""
        if not isinstance(state, tuple) or len(state) < 5 or any(part for part in state[2:5]):
            raise _RefusedError("an array with named fields")
        order = state[1].decode("latin1") if isinstance(state[1], bytes) else state[1]
        if order not in _ORDERS:
            raise _RefusedError(f"a byte order {str(order)[:20]!r}")
        self.order = order

    def real(self) -> np.dtype[Any]:
        """Return NumPy's own type."""
        return np.dtype(self.order + self.code)


class _Array:
    """An array whose numbers are yet to come (`BUILD` brings them)."""

    __slots__ = ("values",)

    def __init__(self) -> None:
        self.values: npt.NDArray[Any] | None = None

    def set_state(self, state: object) -> None:
        """Take the numbers: (version, shape, type, column order, bytes)."""
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise _RefusedError("an array without numbers")
        shape, dtype, fortran, data = state[-4:]
        self.values = _numbers(shape, dtype, data, "F" if fortran else "C")


def _numbers(shape: object, dtype: object, data: object, order: object) -> npt.NDArray[Any]:
    """Return an array of exactly these bytes."""
    if isinstance(data, str):  # written by Python 2, read as latin1
        data = data.encode("latin1")
    if isinstance(data, bytearray):
        data = bytes(data)
    if not isinstance(data, bytes) or not isinstance(dtype, _DType):
        raise _RefusedError("an array of Python objects")
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise _RefusedError(f"an array of shape {str(shape)[:40]}")
    if order not in ("C", "F"):
        raise _RefusedError(f"an array in order {str(order)[:20]}")
    real = dtype.real()
    size = real.itemsize
    for side in shape:
        size *= side
    if size != len(data) or len(shape) > 8:
        raise _RefusedError(f"{len(data)} bytes for an array of shape {shape} and type {real}")
    flat = np.frombuffer(data, real) if data else np.empty(0, real)
    return flat.reshape(shape, order="C" if order == "C" else "F")


def _reconstruct(kind: object, *_: object) -> _Array:
    if kind is not _NDARRAY:
        raise _RefusedError("an array of a kind of its own")
    return _Array()


def _frombuffer(data: object, dtype: object, shape: object, order: object, *_: object) -> _Array:
    array = _Array()
    array.values = _numbers(shape, dtype, data, order)
    return array


def _scalar(dtype: object, data: object) -> Any:
    return _numbers((), dtype, data, "C").item()


def _dtype(code: object, *_: object) -> _DType:
    return _DType(code)


def _encode(text: object, encoding: object) -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise _RefusedError("bytes in a form of their own")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    return b""


def _ordered(*parts: object) -> collections.OrderedDict[Any, Any]:
    if parts and not isinstance(parts[0], list | tuple):
        raise _RefusedError("a dictionary in a form of its own")
    return collections.OrderedDict(*parts)


_NUMPY = {
    "multiarray._reconstruct": _reconstruct,
    "multiarray.scalar": _scalar,
    "numeric._frombuffer": _frombuffer,
}
_KNOWN: dict[str, object] = {
    "numpy.ndarray": _NDARRAY,
    "numpy.dtype": _dtype,
    "_codecs.encode": _encode,
    # How protocols before 3 write no bytes at all.
    "__builtin__.bytes": _no_bytes,
    "builtins.bytes": _no_bytes,
    "collections.OrderedDict": _ordered,
    # `numpy.core` of NumPy 1 is `numpy._core` in NumPy 2.
    **{f"numpy.{core}.{name}": made for core in ("core", "_core") for name, made in _NUMPY.items()},
}


class _PlainUnpickler(pickle._Unpickler):
    """Python's own unpickler, with all that makes objects taken out."""

    stack: list[Any]
    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)

    def __init__(self, data: bytes) -> None:
        # latin1: published files were written by Python 2, whose bytes are texts.
        super().__init__(io.BytesIO(data), encoding="latin1")
        # One text, named again and again, could be turned into an array each time.
        self._room = _GROWTH * len(data) + (1 << 20)

    def find_class(self, module: str, name: str) -> object:
        """Return our own maker of what a file names, if it is plain data."""
        made = _KNOWN.get(f"{module}.{name}")
        if made is None:
            raise _RefusedError(f"{module[:60]}.{name[:60]}")
        return made

    def load_reduce(self) -> None:
        """Call one of our makers, with an eye on what it makes."""
        arguments = self.stack.pop()
        maker = self.stack[-1]
        self.stack[-1] = made = maker(*arguments)
        self._count(len(made) if isinstance(made, bytes) else _size_of(made))

    def load_build(self) -> None:
        """Complete an array or its type: nothing else has a state that may be set."""
        state = self.stack.pop()
        if not self.stack or not isinstance(self.stack[-1], _Array | _DType):
            raise _RefusedError("an object with a state of its own")
        self.stack[-1].set_state(state)
        self._count(_size_of(self.stack[-1]))

    def load_refused(self) -> None:
        """Refuse what calls a class."""
        raise _RefusedError("an object of a class")

    def _count(self, size: int) -> None:
        self._room -= size
        if self._room < 0:
            raise _RefusedError("the same bytes as many arrays")

    dispatch[pickle.REDUCE[0]] = load_reduce
    dispatch[pickle.BUILD[0]] = load_build
    for _op in ("INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID",
                "BINPERSID", "NEXT_BUFFER", "READONLY_BUFFER"):  # fmt: skip
        dispatch[getattr(pickle, _op)[0]] = load_refused
    del _op


def _size_of(made: object) -> int:
    return made.values.nbytes if isinstance(made, _Array) and made.values is not None else 0


def load_plain_pickle(path: Path) -> Any:
    """Return the content of a pickle that holds plain data only.

    Arrays come as objects for `array_of`.

    Raises:
        ConfigError: It cannot be read, is no pickle, or names anything but plain data; nothing it
            names was called.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path} has more than {MAX_BYTES >> 20} MiB; expected annotations")
    try:
        return _PlainUnpickler(data).load()
    except _RefusedError as error:
        raise ConfigError(
            f"{path} is refused: it holds {error}, expected only {_REDUCIBLE}; a pickle can run "
            "any program, so load no file of unknown origin by other means"
        ) from None
    except Exception as error:
        # A damaged pickle fails in whatever way its bytes happen to say: all of them mean this.
        raise ConfigError(
            f"{path} is no pickle that can be read ({type(error).__name__}); expected {_REDUCIBLE}"
        ) from error


def array_of(value: object) -> npt.NDArray[Any] | None:
    """Return an array that a pickle held; None where the value is something else."""
    return value.values if isinstance(value, _Array) else None
