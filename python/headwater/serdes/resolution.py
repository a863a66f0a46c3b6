"""From a type, or from a value, to the serde that carries it."""

from __future__ import annotations

from typing import Any, TypeVar, overload

from headwater.errors import InvalidArgumentError
from headwater.serdes.base import Serde
from headwater.serdes.documents import JsonSerde
from headwater.serdes.scalars import float64, int64, raw, text

T = TypeVar("T")

_JSON: dict[Any, Serde[Any]] = {}


@overload
def resolve(kind: Serde[T]) -> Serde[T]: ...
@overload
def resolve(kind: type[T]) -> Serde[T]: ...
@overload
def resolve(kind: Any) -> Serde[Any]: ...
def resolve(kind: Any) -> Serde[Any]:
    """Turn what ``key=`` and ``value=`` accept into a serde.

    Args:
        kind: A `Serde`, or a type: ``bytes`` raw, ``str`` text, ``int`` int64, ``float`` float64, else JSON of it.

    Raises:
        InvalidArgumentError: Neither a serde nor a type that msgspec can decode.
    """
    if isinstance(kind, Serde):
        return kind
    if kind in (bytes, bytearray, memoryview):
        return raw()
    if kind is str:
        return text()
    if kind is int:
        return int64()
    if kind is float:
        return float64()
    if isinstance(kind, type) and issubclass(kind, Serde):
        raise InvalidArgumentError(f"expected a serde, got the class {kind.__name__}; pass an instance of it")
    if kind is None or kind is type(None) or isinstance(kind, (str, bytes, int, float)):
        raise InvalidArgumentError(f"expected a serde or a type, got {kind!r}; e.g. value=str or value=Ride")
    return _json(Any if kind is object else kind)


def serde_for_value(value: Any) -> Serde[Any]:
    """Choose the serde that ``send`` uses for a value of an undeclared type.

    Args:
        value: Not None.
    """
    kind = type(value)
    if issubclass(kind, (bytes, bytearray, memoryview)):
        return raw()
    if issubclass(kind, str):
        return text()
    if kind is int:
        return int64()
    if kind is float:
        return float64()
    return _json(kind)


def _json(kind: Any) -> Serde[Any]:
    try:
        found = _JSON.get(kind)
    except TypeError:  # a type that cannot be hashed
        return JsonSerde(kind)
    if found is None:
        found = JsonSerde(kind)
        if len(_JSON) < 4096:
            _JSON[kind] = found
    return found
