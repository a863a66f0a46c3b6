"""What a topic is called, how many partitions it has, and what its keys and values are."""

from __future__ import annotations

import re
from typing import Any, Generic, TypeVar

from headwater.errors import InvalidArgumentError
from headwater.serdes import Serde, resolve

K = TypeVar("K")
V = TypeVar("V")

TOPIC_ID = "headwater.id"
"""The setting that tells a topic from an earlier one of its name; nobody gives it, and nobody is shown it."""

_LEGAL = re.compile(r"[a-zA-Z0-9._-]{1,249}")


def check_topic_name(name: Any) -> str:
    """Return a legal topic name, or say what is wrong with it (Kafka's rules).

    Args:
        name: 1 to 249 characters of ``a-z A-Z 0-9 . _ -``, neither ``.`` nor ``..``.

    Raises:
        InvalidArgumentError: Anything else.
    """
    if isinstance(name, str) and name not in {".", ".."} and _LEGAL.fullmatch(name):
        return name
    raise InvalidArgumentError(
        f"expected a topic name of 1 to 249 characters a-z A-Z 0-9 . _ -, got {name!r}; rename the topic"
    )


class Topic(Generic[K, V]):
    """A named, partitioned log with serdes, as data: it opens nothing.

    Attributes:
        name: The topic's name.
        key: Serde of the keys, or None if undeclared.
        value: Serde of the values, or None if undeclared.
        partitions: Partition count for when the topic has to be created, or None.
    """

    __slots__ = ("key", "name", "partitions", "value")

    name: str
    key: Serde[K] | None
    value: Serde[V] | None
    partitions: int | None

    def __init__(
        self,
        name: str,
        *,
        key: Serde[K] | type[K] | None = None,
        value: Serde[V] | type[V] | None = None,
        partitions: int | None = None,
    ) -> None:
        """Describe a topic.

        Args:
            name: 1 to 249 characters of ``a-z A-Z 0-9 . _ -``.
            key: Serde or type of the keys.
            value: Serde or type of the values.
            partitions: How many partitions to create it with.

        Raises:
            InvalidArgumentError: An illegal name, type or partition count.
        """
        if partitions is not None and (not isinstance(partitions, int) or partitions < 1):
            raise InvalidArgumentError(f"expected 1 partition or more, got {partitions!r} - at topic {name!r}")
        set_field = object.__setattr__
        set_field(self, "name", check_topic_name(name))
        set_field(self, "key", None if key is None else resolve(key))
        set_field(self, "value", None if value is None else resolve(value))
        set_field(self, "partitions", partitions)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"Topic is immutable; cannot set {name!r}")

    def __repr__(self) -> str:
        key = "" if self.key is None else f", key={self.key!r}"
        value = "" if self.value is None else f", value={self.value!r}"
        partitions = "" if self.partitions is None else f", partitions={self.partitions}"
        return f"Topic({self.name!r}{key}{value}{partitions})"
