"""A topic as an administrator sees it: its settings, its partitions, the files that they lie in, and what compacting them
did. Data, nothing else.
"""

from __future__ import annotations

from typing import Any

import msgspec

from headwater.serdes import Serde


class TopicDescription(msgspec.Struct, frozen=True, kw_only=True):
    """A topic as it is.

    Attributes:
        name: The topic's name.
        partitions: Partition count.
        key: The serde its keys remember, or None.
        value: The serde its values remember, or None.
        config: Its settings by Kafka's names.
    """

    name: str
    partitions: int
    key: Serde[Any] | None
    value: Serde[Any] | None
    config: dict[str, str]


class SegmentDescription(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a partition.

    Attributes:
        base_offset: The first offset it may hold.
        next_offset: The offset after the last it holds.
        size: Bytes of records.
        first_timestamp: Timestamp of its first record in milliseconds, or None without records.
        max_timestamp: Its largest timestamp in milliseconds, or None without records.
        path: The file.
    """

    base_offset: int
    next_offset: int
    size: int
    first_timestamp: int | None
    max_timestamp: int | None
    path: str


class PartitionDescription(msgspec.Struct, frozen=True, kw_only=True):
    """A partition as it is.

    Attributes:
        topic: Name of the topic.
        partition: Number of the partition.
        log_start_offset: The first offset still kept.
        last_stable_offset: ``read_committed`` consumers see what lies below.
        high_watermark: Consumers see what lies below.
        size: Bytes of its segments.
        path: Its folder.
        segments: Its files, oldest first.
    """

    topic: str
    partition: int
    log_start_offset: int
    last_stable_offset: int
    high_watermark: int
    size: int
    path: str
    segments: tuple[SegmentDescription, ...]

    @classmethod
    def of(cls, topic: str, partition: int, found: tuple[Any, ...]) -> PartitionDescription:
        """Give the core's answer its names.

        Args:
            topic: Name of the topic.
            partition: Number of the partition.
            found: What ``_core.describe_partition`` returned.
        """
        start, stable, high_watermark, size, path, segments = found
        names = ("base_offset", "next_offset", "size", "first_timestamp", "max_timestamp", "path")
        return cls(
            topic=topic,
            partition=partition,
            log_start_offset=start,
            last_stable_offset=stable,
            high_watermark=high_watermark,
            size=size,
            path=path,
            segments=tuple(SegmentDescription(**dict(zip(names, one, strict=True))) for one in segments),
        )


class Compaction(msgspec.Struct, frozen=True, kw_only=True):
    """What a compaction did, in the segments that it wrote anew.

    Attributes:
        records_before: Records before, without the markers of transactions.
        records_after: Records that are left.
        bytes_before: Bytes before.
        bytes_after: Bytes that are left.
    """

    records_before: int
    records_after: int
    bytes_before: int
    bytes_after: int
