"""JSON and MessagePack of everything that msgspec can type: Struct, dataclass, TypedDict, dict, list, datetime, Decimal ...

Decoding is strict and typed; an error names the field by msgspec's path. A batch is decoded value by value: joining the
values into one list and decoding that was measured to be slower for values of 400 bytes, and it accepts bytes that no
single decode accepts.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar, overload

import msgspec
import msgspec.inspect

from headwater.errors import InvalidArgumentError, SerdeError
from headwater.serdes.base import Serde, misfit

T = TypeVar("T")

_PATH = re.compile(r" - at `\$?\.?(?:key in )?(.*)`$")


def type_name(kind: Any) -> str:
    """Name a type as a user would write it, without modules.

    Args:
        kind: A class or a typing construct.
    """
    if kind is Any:
        return "Any"
    if isinstance(kind, type) and not getattr(kind, "__args__", None):
        return kind.__name__
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", repr(kind))


def fields_in_order(info: Any) -> list[Any]:
    """Fields of an object's type in the order in which they were declared; msgspec sorts those of a TypedDict.

    Args:
        info: msgspec's description of a Struct, dataclass, TypedDict or NamedTuple.
    """
    declared = {name: rank for rank, name in enumerate(getattr(info.cls, "__annotations__", ()))}
    fields: list[Any] = list(info.fields)
    if isinstance(info, msgspec.inspect.TypedDictType):
        fields.sort(key=lambda field: declared.get(field.name, len(declared)))
    return fields


class _DocumentSerde(Serde[T]):
    """What JSON and MessagePack share."""

    format: str

    def __init__(self, kind: Any, encoder: Any, decoder: Any) -> None:
        self.type = kind
        self.name = self.format if kind is Any else f"{self.format}[{type_name(kind)}]"
        self._encode = encoder.encode
        self._decode = decoder.decode

    def serialize(self, value: T) -> bytes:
        """Encode one value."""
        try:
            return self._encode(value)  # type: ignore[no-any-return]
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            refused = misfit(f"a value that {self.format} can hold", value)
            raise SerdeError(f"{refused} ({error})") from error

    def deserialize(self, data: bytes) -> T:
        """Decode one value."""
        try:
            return self._decode(data)  # type: ignore[no-any-return]
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise self._explain(error, data) from error

    def serialize_many(self, values: list[T | None]) -> list[bytes | None]:
        """Encode a batch; None stays None."""
        encode = self._encode
        try:
            return [None if value is None else encode(value) for value in values]
        except (TypeError, ValueError, OverflowError, RecursionError):
            return super().serialize_many(values)

    def deserialize_many(self, datas: list[bytes | None]) -> list[T | None]:
        """Decode a batch; None stays None."""
        decode = self._decode
        try:
            if None in datas:
                return [None if data is None else decode(data) for data in datas]
            return list(map(decode, datas))
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return super().deserialize_many(datas)

    def _explain(self, error: Exception, data: bytes) -> SerdeError:
        """Turn msgspec's error into ours, with the field's path."""
        message = str(error)
        path = _PATH.search(message)
        if not message[1:2].isupper():  # it begins with a word, not with the name of a format
            message = message[:1].lower() + message[1:]
        shown = data if len(data) <= 60 else data[:57] + b"..."
        return SerdeError(
            f"{message} - in {shown!r}; fix the data or the type {type_name(self.type)}",
            field=(path[1] or None) if path else None,
        )

    def __reduce__(self) -> Any:
        return (type(self), (self.type,))


class JsonSerde(_DocumentSerde[T]):
    """JSON of one type; ``type`` is `Any` when untyped."""

    format = "json"

    def __init__(self, kind: Any = Any) -> None:
        """Build the decoder, which checks the type.

        Args:
            kind: The type, or `Any`.
        """
        super().__init__(kind, msgspec.json.Encoder(), _checked(msgspec.json.Decoder, kind))


class MsgpackSerde(_DocumentSerde[T]):
    """MessagePack of one type; ``type`` is `Any` when untyped."""

    format = "msgpack"

    def __init__(self, kind: Any = Any) -> None:
        """Build the decoder, which checks the type.

        Args:
            kind: The type, or `Any`.
        """
        super().__init__(kind, msgspec.msgpack.Encoder(), _checked(msgspec.msgpack.Decoder, kind))


def _checked(decoder: Any, kind: Any) -> Any:
    """Make a decoder, or say why this type cannot have one."""
    try:
        info = msgspec.inspect.type_info(kind)
        made = decoder(kind)
    except (TypeError, NameError, AttributeError) as error:
        raise InvalidArgumentError(
            f"expected a type that msgspec can decode, got {kind!r}: {error}; use a Struct, a dataclass or a Serde"
        ) from error
    if isinstance(info, msgspec.inspect.CustomType):
        raise InvalidArgumentError(
            f"expected a type that msgspec can decode, got {kind!r}; make it a msgspec.Struct or a dataclass, or "
            "pass a Serde"
        )
    return made


@overload
def json() -> Serde[Any]: ...
@overload
def json(kind: type[T]) -> Serde[T]: ...
@overload
def json(kind: Any) -> Serde[Any]: ...
def json(kind: Any = Any) -> Serde[Any]:
    """JSON of a type (``json(Ride)``), or of anything (``json()``).

    Args:
        kind: Any type that msgspec supports.

    Raises:
        InvalidArgumentError: msgspec cannot decode the type.
    """
    return JsonSerde(kind)


@overload
def msgpack() -> Serde[Any]: ...
@overload
def msgpack(kind: type[T]) -> Serde[T]: ...
@overload
def msgpack(kind: Any) -> Serde[Any]: ...
def msgpack(kind: Any = Any) -> Serde[Any]:
    """MessagePack of a type, or of anything.

    Args:
        kind: Any type that msgspec supports.

    Raises:
        InvalidArgumentError: msgspec cannot decode the type.
    """
    return MsgpackSerde(kind)
