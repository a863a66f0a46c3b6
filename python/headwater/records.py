"""What a consumer gets and a producer is told: `Record`, `RecordMetadata`, and `Windowed` keys.

All are frozen and compare by value. They are not tracked by the garbage collector (``gc=False``): a program may keep
millions of them, and they hold no reference to themselves.
"""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

import msgspec

K = TypeVar("K")
V = TypeVar("V")

Headers = tuple[tuple[str, bytes | None], ...]


class TopicPartition(NamedTuple):
    """A partition's full name.

    Attributes:
        topic: Name of the topic.
        partition: Number of the partition, from 0.
    """

    topic: str
    partition: int


class Record(msgspec.Struct, Generic[K, V], frozen=True, gc=False):
    """One record of a topic.

    Attributes:
        topic: Name of the topic.
        partition: Number of the partition.
        offset: Position in the partition.
        timestamp: Event time in milliseconds since the epoch, UTC.
        key: The decoded key, or None.
        value: The decoded value; None is a tombstone.
        headers: ``(name, value)`` pairs in order; names may repeat.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: K
    value: V
    headers: Headers = ()


class RecordMetadata(msgspec.Struct, frozen=True, gc=False):
    """Where a sent record went.

    Attributes:
        topic: Name of the topic.
        partition: Number of the partition.
        offset: Position in the partition; -1 with ``acks=0``.
        timestamp: The stored timestamp in milliseconds.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int


class Windowed(msgspec.Struct, Generic[K], frozen=True, gc=False, order=True):
    """A key together with the window that an aggregate is for.

    Attributes:
        key: The record's key.
        start: First instant of the window, in milliseconds, inclusive.
        end: End of the window in milliseconds: exclusive for time windows, inclusive for sessions.
    """

    key: K
    start: int
    end: int
