"""Where a reset puts a group: each partition's new offset, computed from the log and from what was committed.

Kafka's rules: an offset that lies outside the log is moved to its nearer end; a time after the last record is the end;
a shift needs an offset to start from. Nothing is written here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Literal, Protocol

from headwater.errors import InvalidArgumentError, UnknownGroupError, UnknownTopicError
from headwater.log.groups.describing import OffsetReset
from headwater.records import TopicPartition
from headwater.time import Timestamp, to_timestamp_ms

ResetTarget = Literal["earliest", "latest"] | Timestamp | Mapping[tuple[str, int], int]
_Choose = Callable[[TopicPartition, int | None], int]


class _Log(Protocol):
    """What a reset reads of the log."""

    def topic(self, name: str) -> tuple[int, dict[str, str]]: ...
    def watermarks(self, topic: str, partition: int) -> tuple[int, int, int]: ...
    def offset_for_timestamp(self, topic: str, partition: int, timestamp: int) -> tuple[int, int] | None: ...
    def fetch_offsets(self, group: str) -> list[tuple[str, int, int, str]]: ...


def plan_reset(
    log: _Log,
    group: str,
    *,
    to: ResetTarget | None,
    shift_by: int | None,
    topics: Iterable[str] | None,
    partitions: Iterable[tuple[str, int]] | None,
) -> dict[TopicPartition, OffsetReset]:
    """Compute a reset; `Broker.reset_offsets` documents the arguments.

    Args:
        log: Where topics and committed offsets are.
        group: Name of the group.
        to: Where to, unless shifted.
        shift_by: By how many offsets, unless moved to a place.
        topics: Topics to reset.
        partitions: Partitions to reset.

    Returns:
        Old and new offset of every partition in question, in order.
    """
    committed = of_consumers(log, group)
    choose = _chooser(log, to, shift_by)
    if isinstance(to, Mapping):
        if topics is not None or partitions is not None:
            raise InvalidArgumentError(
                "expected the partitions of the mapping alone, got others beside it - at to; drop topics= and partitions="
            )
        partitions = to
    chosen = _scope(log, group, committed, topics, partitions)
    return {
        place: OffsetReset(old=committed.get(place), new=_clamp(log, place, choose(place, committed.get(place))))
        for place in sorted(chosen)
    }


def of_consumers(log: _Log, group: str) -> dict[TopicPartition, int]:
    """What a group has committed that may be changed by hand.

    Args:
        log: Where committed offsets are.
        group: Name of the group.

    Raises:
        InvalidArgumentError: The group is an application's: its positions belong to its stores.
    """
    committed: dict[TopicPartition, int] = {}
    for topic, partition, offset, metadata in log.fetch_offsets(group):
        if metadata:
            raise InvalidArgumentError(
                f"expected a group of consumers, got {group!r} whose commits hold an application's checkpoints; "
                "use app.reset(), or delete the group to forget them"
            )
        committed[TopicPartition(topic, partition)] = offset
    return committed


def _scope(
    log: _Log,
    group: str,
    committed: Mapping[TopicPartition, int],
    topics: Iterable[str] | None,
    partitions: Iterable[tuple[str, int]] | None,
) -> set[TopicPartition]:
    """The partitions to reset: those that were named, else all that the group has committed and that still exist."""
    if topics is None and partitions is None:
        if not committed:
            raise UnknownGroupError(
                f"expected a group with committed offsets, got {group!r} without; name its topics with topics="
            )
        return {place for place in committed if _exists(log, place)}
    if isinstance(topics, str):
        raise InvalidArgumentError(f"expected a list of topics, got {topics!r} - at topics; write [{topics!r}]")
    named = {TopicPartition(topic, p) for topic in topics or () for p in range(log.topic(topic)[0])}
    return named | {TopicPartition(*place) for place in partitions or ()}


def _exists(log: _Log, place: TopicPartition) -> bool:
    try:
        log.watermarks(*place)
    except UnknownTopicError:  # deleted since
        return False
    return True


def _chooser(log: _Log, to: object, shift_by: int | None) -> _Choose:
    """How a partition's new offset follows from the partition and its old offset."""
    if (to is None) == (shift_by is None):
        raise InvalidArgumentError("expected either to= or shift_by=, got both or neither - at reset_offsets")
    if shift_by is not None:
        return _shift(shift_by)
    if to == "earliest":
        return lambda place, _: log.watermarks(*place)[0]
    if to == "latest":
        return lambda place, _: log.watermarks(*place)[2]
    if isinstance(to, Mapping):
        offsets = {TopicPartition(*place): _integer(offset, f"to of {place}") for place, offset in to.items()}
        return lambda place, _: offsets[place]
    if not isinstance(to, (int, datetime)):
        raise InvalidArgumentError(
            f'expected "earliest", "latest", a timestamp or a mapping of offsets, got {to!r} - at to'
        )
    instant = to_timestamp_ms(to, "to")

    def at_time(place: TopicPartition, _: int | None) -> int:
        found = log.offset_for_timestamp(*place, instant)
        return log.watermarks(*place)[2] if found is None else found[0]

    return at_time


def _shift(shift_by: int) -> _Choose:
    distance = _integer(shift_by, "shift_by")

    def shifted(place: TopicPartition, old: int | None) -> int:
        if old is None:
            raise InvalidArgumentError(
                f"expected a committed offset to shift, got none - at topic {place.topic!r} partition "
                f"{place.partition}; leave it out or reset it with to=",
                topic=place.topic,
                partition=place.partition,
            )
        return old + distance

    return shifted


def _clamp(log: _Log, place: TopicPartition, offset: int) -> int:
    start, _, end = log.watermarks(*place)
    return min(max(offset, start), end)


def _integer(value: object, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidArgumentError(f"expected a number of offsets, got {value!r} - at {where}")
    return value
