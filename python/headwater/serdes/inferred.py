"""The serde of values whose type nobody declared: it pins itself to the first value it sees.

What it must not do is guess twice: once pinned, a value of another type is an error that says which type was expected.
Pinning is atomic under the GIL and idempotent, so threads may share one.
"""

from __future__ import annotations

from typing import Any

from headwater.errors import SerdeError
from headwater.serdes.base import Serde, misfit
from headwater.serdes.documents import type_name
from headwater.serdes.resolution import serde_for_value


class InferredSerde(Serde[Any]):
    """A serde that becomes that of the first value that is not None.

    Attributes:
        resolved: The serde it has become, or None so far.
    """

    def __init__(self) -> None:
        """Start without a type."""
        self.resolved: Serde[Any] | None = None

    @property
    def name(self) -> str:  # type: ignore[override]
        """``inferred``, then the name of what it has become."""
        return "inferred" if self.resolved is None else self.resolved.name

    @property
    def type(self) -> Any:
        """The type it has become, or None so far."""
        return None if self.resolved is None else self.resolved.type

    def pin(self, value: Any) -> Serde[Any]:
        """Become the serde of this value, unless pinned already.

        Args:
            value: Not None.
        """
        if self.resolved is None:
            self.resolved = serde_for_value(value)
        return self.resolved

    def serialize(self, value: Any) -> bytes:
        """Encode one value of the pinned type."""
        serde = self.resolved or self.pin(value)
        expected = serde.type
        if type(value) is not expected and not isinstance(value, expected):
            if not (expected is float and type(value) is int):
                raise misfit(f"{type_name(expected)}, the type of the first value", value)
        return serde.serialize(value)

    def deserialize(self, data: bytes) -> Any:
        """Decode one value of the pinned type."""
        if self.resolved is None:
            raise SerdeError("expected a value to have been written first, got none; declare key= or value=")
        return self.resolved.deserialize(data)

    def deserialize_many(self, datas: list[bytes | None]) -> list[Any]:
        """Decode a batch of the pinned type."""
        return super().deserialize_many(datas) if self.resolved is None else self.resolved.deserialize_many(datas)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


def infer() -> InferredSerde:
    """A serde that pins itself to the type of the first value that is not None."""
    return InferredSerde()
