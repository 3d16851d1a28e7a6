"""Strict reading of JSON objects into frozen dataclasses, without a package the device lacks."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from runtime.errors import ConfigError

T = TypeVar("T")
MAX_INTEGER = 2**53  # what every reader of JSON keeps exactly


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a JSON object; readers differ in which of two equal keys they keep, so none is allowed.

    Raises:
        ValueError: A key is there twice.
    """
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def check_fields(kind: type[T], content: Mapping[str, Any], *, where: str) -> T:
    """Build the dataclass `kind` from a JSON object; no field may miss, none may be unknown.

    Raises:
        ValueError: A field is missing, unknown, of another type, or refused by `kind` itself; the
            message names its place.
    """
    hints = typing.get_type_hints(kind)
    # mypy cannot see that every `kind` given here is a dataclass.
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(content) - set(fields))
    if unknown:
        raise ValueError(f"{where} has the unknown field {unknown[0]!r}")
    values: dict[str, Any] = {}
    for name, spec in fields.items():
        if name in content:
            values[name] = _check(hints[name], content[name], f"{where}: {name}")
        elif spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
            raise ValueError(f"{where} lacks the field {name!r}")
    try:
        return kind(**values)
    except (ValueError, ConfigError) as error:
        raise ValueError(f"{where}: {error}") from error


def _check(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return _check(next(a for a in args if a is not type(None)), value, where)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise _wrong(where, "an object", value)
        return check_fields(typing.cast("type[Any]", hint), value, where=where)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise _wrong(where, "a list", value)
        if args[-1] is not Ellipsis and len(value) != len(args):
            raise ValueError(f"{where} has {len(value)} entries, expected {len(args)}")
        return tuple(_check(args[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if origin is dict:
        if not isinstance(value, Mapping) or not all(isinstance(k, str) for k in value):
            raise _wrong(where, "an object", value)
        return {k: _check(args[1], v, f"{where}.{k}") for k, v in value.items()}
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise ValueError(f"{where} is a number of {len(str(value))} digits, too large")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise _wrong(where, hint.__name__, value)
    return value


def _wrong(where: str, expected: str, value: Any) -> ValueError:
    return ValueError(f"{where} is {type(value).__name__} {str(value)[:40]!r}, expected {expected}")
