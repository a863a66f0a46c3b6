"""The fixed serdes: raw bytes, UTF-8 text, and Kafka's Long and Double (8 bytes, big-endian)."""

from __future__ import annotations

import struct
from functools import cache
from typing import Any, cast

from headwater.errors import SerdeError
from headwater.serdes.base import Serde, misfit, shown

_INT64 = struct.Struct(">q")
_FLOAT64 = struct.Struct(">d")


class RawSerde(Serde[bytes]):
    """Bytes as they are."""

    name = "raw"
    type = bytes

    def serialize(self, value: bytes) -> bytes:
        """Return the bytes themselves (a copy of a bytearray or memoryview)."""
        if value.__class__ is bytes:
            return value
        if isinstance(value, (bytes, bytearray, memoryview)):
            return bytes(value)
        raise misfit("bytes", value)

    def deserialize(self, data: bytes) -> bytes:
        """Return the bytes themselves."""
        return data

    def deserialize_many(self, datas: list[bytes | None]) -> list[bytes | None]:
        """Return the list itself."""
        return datas


class TextSerde(Serde[str]):
    """UTF-8 text."""

    name = "text"
    type = str

    def serialize(self, value: str) -> bytes:
        """Encode as UTF-8."""
        try:
            return str.encode(value)
        except TypeError:
            raise misfit("str", value) from None
        except UnicodeEncodeError as error:
            raise SerdeError(f"expected text that UTF-8 can hold, got {value!r}: {error}") from error

    def deserialize(self, data: bytes) -> str:
        """Decode UTF-8, strictly."""
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise SerdeError(f"expected UTF-8 text, got {data[:40]!r}: {error.reason} at byte {error.start}") from error


class Int64Serde(Serde[int]):
    """A signed 64-bit integer, big-endian: Kafka's Long."""

    name = "int64"
    type = int

    def serialize(self, value: int) -> bytes:
        """Encode in 8 bytes."""
        if not isinstance(value, int) or value.__class__ is bool:
            raise misfit("int", value)
        try:
            return _INT64.pack(value)
        except struct.error:
            raise SerdeError(f"expected an integer of 64 bits, got {shown(value)}; use str or a JSON type") from None

    def deserialize(self, data: bytes) -> int:
        """Decode 8 bytes."""
        if len(data) != 8:
            raise SerdeError(f"expected 8 bytes of an int64, got {len(data)} bytes: {data[:40]!r}")
        return cast(int, _INT64.unpack(data)[0])


class Float64Serde(Serde[float]):
    """An IEEE double, big-endian: Kafka's Double."""

    name = "float64"
    type = float

    def serialize(self, value: float) -> bytes:
        """Encode in 8 bytes."""
        if not isinstance(value, (float, int)) or value.__class__ is bool:
            raise misfit("float", value)
        try:
            return _FLOAT64.pack(value)
        except (OverflowError, struct.error):  # the latter for an int
            raise SerdeError(f"expected a number that a double can hold, got {shown(value)}") from None

    def deserialize(self, data: bytes) -> float:
        """Decode 8 bytes."""
        if len(data) != 8:
            raise SerdeError(f"expected 8 bytes of a float64, got {len(data)} bytes: {data[:40]!r}")
        return cast(float, _FLOAT64.unpack(data)[0])


@cache
def _instance(kind: Any) -> Any:
    return kind()


def raw() -> Serde[bytes]:
    """Bytes as they are."""
    return cast("Serde[bytes]", _instance(RawSerde))


def text() -> Serde[str]:
    """UTF-8 text."""
    return cast("Serde[str]", _instance(TextSerde))


def int64() -> Serde[int]:
    """A signed 64-bit integer, 8 bytes big-endian (Kafka's Long)."""
    return cast("Serde[int]", _instance(Int64Serde))


def float64() -> Serde[float]:
    """An IEEE double, 8 bytes big-endian (Kafka's Double)."""
    return cast("Serde[float]", _instance(Float64Serde))
