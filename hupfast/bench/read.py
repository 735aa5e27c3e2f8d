"""
Values of JSON into dataclasses, by their types.

What is known: bool, int, float, str, object, None by `|`, tuples, arrays (of integers of 32 bits), dict[str, X], and
dataclasses of these. Numbers that nothing can be (infinite ones, temperatures below the lowest, others below 0) are
refused. A field with a default may be missing.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from hupfast.errors import DataError

_LARGEST = 2**63
_SMALLEST = 1e-100
_COLDEST = -274


def read_value(kind: Any, value: object, where: str) -> Any:
    """`value` as a `kind`. where: what to call it in messages. Raises: DataError."""
    if is_dataclass(kind):
        return _read_fields(kind, value, where)
    origin = get_origin(kind)
    if origin is UnionType:
        inner = next(one for one in get_args(kind) if one is not NoneType)
        return None if value is None else read_value(inner, value, where)
    if origin is tuple:
        return _read_tuple(get_args(kind), value, where)
    if kind is array:
        return _read_array(value, where)
    if origin is dict:
        inner = get_args(kind)[1]
        return {key: read_value(inner, one, f"{where}.{key}") for key, one in _expect(dict, value, where).items()}
    if kind is object:
        return value
    if kind is float or kind is int:
        return _read_number(kind, value, where)
    return _expect(kind, value, where)


def _read_fields(kind: Any, value: object, where: str) -> Any:
    items = _expect(dict, value, where)
    hints = get_type_hints(kind)
    found = {}
    for field in fields(kind):
        if field.name not in items and field.default is not MISSING:
            continue
        if field.name not in items:
            raise DataError(f"{where} is no result of `hupfast bench`: it has no {field.name!r}")
        found[field.name] = read_value(hints[field.name], items[field.name], f"{where}.{field.name}")
    return kind(**found)


def _read_tuple(kinds: tuple[Any, ...], value: object, where: str) -> Any:
    items = _expect(list, value, where)
    if kinds[-1] is Ellipsis:
        return tuple(read_value(kinds[0], one, f"{where}[{i}]") for i, one in enumerate(items))
    if len(items) != len(kinds):
        raise DataError(f"{where} has {len(items)} values, and must have {len(kinds)}")
    return tuple(read_value(kind, one, f"{where}[{i}]") for i, (kind, one) in enumerate(zip(kinds, items, strict=True)))


def _read_array(value: object, where: str) -> array[int]:
    items = _expect(list, value, where)
    try:
        return array("I", items)
    except (TypeError, OverflowError):
        raise DataError(f"{where} has a value that is no integer from 0 to {2**32 - 1}") from None


def _read_number(kind: Any, value: object, where: str) -> Any:
    good = isinstance(value, int) or (kind is float and isinstance(value, float))
    if not good or isinstance(value, bool):
        raise DataError(f"{where} is {_short(value)}, and must be a number")
    assert isinstance(value, int | float)
    least = _COLDEST if ".temperature" in where else 0  # all else is a size, a time, a rate or a count
    if not least <= value < _LARGEST or math.isnan(value) or 0 < value < _SMALLEST:
        raise DataError(f"{where} is {_short(value)}, which nothing can be")
    return kind(value)


def _expect(kind: type, value: object, where: str) -> Any:
    if not isinstance(value, kind):
        raise DataError(f"{where} is {_short(value)}, and must be {_NAMES.get(kind, kind.__name__)}")
    return value


_NAMES: dict[type, str] = {dict: "an object", list: "a list", str: "text", bool: "true or false"}


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
