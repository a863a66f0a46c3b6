"""Serdes of windowed keys, byte for byte Kafka Streams' own.

* Time windows: the key's bytes, then the window's start (8 bytes, big-endian). The size is not stored: the serde knows it.
* Sessions: the key's bytes, then end, then start (8 bytes each).
"""

from __future__ import annotations

import struct
from typing import TypeVar

from headwater.errors import SerdeError
from headwater.records import Windowed
from headwater.serdes.base import Serde, misfit

K = TypeVar("K")

_START = struct.Struct(">q")
_END_START = struct.Struct(">qq")
_MAX = 2**63 - 1


class WindowedSerde(Serde["Windowed[K]"]):
    """Keys of time windows of one size.

    Attributes:
        inner: Serde of the key itself.
        size_ms: Length of the windows, which `deserialize` adds to the start.
    """

    type = Windowed

    def __init__(self, inner: Serde[K], size_ms: int) -> None:
        """Wrap a key serde.

        Args:
            inner: Serde of the key itself.
            size_ms: Length of the windows in milliseconds.
        """
        self.inner = inner
        self.size_ms = size_ms
        self.name = f"windowed[{inner.name}, {size_ms}ms]"

    def serialize(self, value: Windowed[K]) -> bytes:
        """Encode key and start."""
        if not isinstance(value, Windowed):
            raise misfit("a Windowed key", value)
        return self.inner.serialize(value.key) + _START.pack(value.start)

    def deserialize(self, data: bytes) -> Windowed[K]:
        """Decode key and start; the end follows from the size."""
        if len(data) < 8:
            raise SerdeError(f"expected a key and the 8 bytes of a window's start, got {len(data)} bytes: {data!r}")
        (start,) = _START.unpack_from(data, len(data) - 8)
        return Windowed(self.inner.deserialize(data[:-8]), start, min(start + self.size_ms, _MAX))


class SessionWindowedSerde(Serde["Windowed[K]"]):
    """Keys of session windows.

    Attributes:
        inner: Serde of the key itself.
    """

    type = Windowed

    def __init__(self, inner: Serde[K]) -> None:
        """Wrap a key serde.

        Args:
            inner: Serde of the key itself.
        """
        self.inner = inner
        self.name = f"session_windowed[{inner.name}]"

    def serialize(self, value: Windowed[K]) -> bytes:
        """Encode key, end and start."""
        if not isinstance(value, Windowed):
            raise misfit("a Windowed key", value)
        return self.inner.serialize(value.key) + _END_START.pack(value.end, value.start)

    def deserialize(self, data: bytes) -> Windowed[K]:
        """Decode key, end and start."""
        if len(data) < 16:
            raise SerdeError(f"expected a key and the 16 bytes of a session, got {len(data)} bytes: {data!r}")
        end, start = _END_START.unpack_from(data, len(data) - 16)
        return Windowed(self.inner.deserialize(data[:-16]), start, end)


def windowed(inner: Serde[K], size_ms: int) -> WindowedSerde[K]:
    """Keys of time windows: the key's bytes and the window's start.

    Args:
        inner: Serde of the key itself.
        size_ms: Length of the windows in milliseconds.
    """
    return WindowedSerde(inner, size_ms)


def session_windowed(inner: Serde[K]) -> SessionWindowedSerde[K]:
    """Keys of session windows: the key's bytes, end and start.

    Args:
        inner: Serde of the key itself.
    """
    return SessionWindowedSerde(inner)
