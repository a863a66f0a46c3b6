"""The class that every serde derives from.

A serde never sees None: a missing key or a tombstone is None on both sides and is handled by the ``_many`` forms and by
the callers. Serdes are immutable and may be shared between threads.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from headwater.errors import SerdeError

T = TypeVar("T")

_ENCODED = frozenset({bytes, type(None)})


class Serde(Generic[T]):
    """A codec between values of type `T` and bytes; override `serialize` and `deserialize`.

    Attributes:
        name: What descriptions and fingerprints call it, e.g. ``"json[Ride]"``.
        type: The Python type of the values, or None if it has no single one.
    """

    name: str = "custom"
    type: Any = None

    def serialize(self, value: T) -> bytes:
        """Encode one value.

        Args:
            value: Never None.

        Raises:
            SerdeError: The value does not fit.
        """
        raise NotImplementedError(f"{type(self).__name__}.serialize")

    def deserialize(self, data: bytes) -> T:
        """Decode one value.

        Args:
            data: What `serialize` returned, or what somebody else wrote.

        Raises:
            SerdeError: The bytes do not decode; ``field`` names the field, if there is one.
        """
        raise NotImplementedError(f"{type(self).__name__}.deserialize")

    def serialize_many(self, values: list[T | None]) -> list[bytes | None]:
        """Encode a batch; None stays None.

        Args:
            values: The values in order.
        """
        serialize = self.serialize
        try:
            encoded = [None if value is None else serialize(value) for value in values]
        except SerdeError:
            raise
        except Exception as error:
            raise SerdeError(
                f"expected serde {self.name!r} to encode, got {error!r} - at {type(self).__name__}"
            ) from error
        return encoded if _ENCODED.issuperset(map(type, encoded)) else [self._bytes_of(data) for data in encoded]

    def _bytes_of(self, data: object) -> bytes | None:
        """What a serde has returned, as bytes of our own: it may go on to change what it holds."""
        if data is None or isinstance(data, (bytes, bytearray, memoryview)):
            return None if data is None else bytes(data)
        raise SerdeError(
            f"expected bytes from serde {self.name!r}, got {shown(data)} ({type(data).__name__}) - at "
            f"{type(self).__name__}.serialize; return bytes"
        )

    def deserialize_many(self, datas: list[bytes | None]) -> list[T | None]:
        """Decode a batch; None stays None.

        Args:
            datas: The encoded values in order.
        """
        deserialize = self.deserialize
        return [None if data is None else deserialize(data) for data in datas]

    def __repr__(self) -> str:
        return f"<Serde {self.name}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Serde) or type(self) is not type(other):
            return NotImplemented
        return bool(
            self.name == other.name and self.type == other.type and self.__dict__.keys() == other.__dict__.keys()
        )

    def __hash__(self) -> int:
        return hash((type(self), self.name))


def misfit(expected: str, value: object) -> SerdeError:
    """Build the error for a value that a serde cannot encode.

    Args:
        expected: What would fit.
        value: What was given.
    """
    return SerdeError(
        f"expected {expected}, got {shown(value)} ({type(value).__name__}); declare the type with key= or value="
    )


def shown(value: object) -> str:
    """Show a value in a message, whatever it is.

    Args:
        value: Perhaps nested too deeply, too large a number, or of a class that cannot show itself.
    """
    try:
        text = repr(value)
    except Exception as error:
        return f"a value that cannot be shown, by {type(error).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."
