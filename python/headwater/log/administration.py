"""What a broker can do with topics: make, describe, change, compact, shorten and delete them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headwater import _core
from headwater._typing import CleanupPolicy
from headwater.errors import InvalidArgumentError
from headwater.log.descriptions import Compaction, PartitionDescription, TopicDescription
from headwater.log.handle import Handle
from headwater.serdes import resolve
from headwater.time import Duration, Timestamp, to_timestamp_ms
from headwater.topics import TOPIC_ID, Topic, check_topic_name

_BROKERS_OWN = ("__consumer_offsets", "__transaction_state")


class TopicAdministration(Handle):
    """The part of `Broker` that is about topics themselves, not about what is in them."""

    def create_topic(
        self,
        name: str | Topic[Any, Any],
        *,
        partitions: int | None = None,
        key: Any = None,
        value: Any = None,
        retention: Duration | None = None,
        cleanup_policy: CleanupPolicy = "delete",
        durability: str | None = None,
        config: Mapping[str, str] | None = None,
        exist_ok: bool = False,
    ) -> TopicDescription:
        """Create a topic.

        Args:
            name: 1 to 249 characters of ``a-z A-Z 0-9 . _ -``, or a `Topic`.
            partitions: How many partitions; default 1.
            key: Serde or type of the keys, which the topic remembers.
            value: Serde or type of the values, which the topic remembers.
            retention: How long records are kept at least; default for ever.
            cleanup_policy: ``"delete"`` what is older than `retention`, ``"compact"`` to the last record of each key (every
                record must have one), or ``"compact,delete"`` for both.
            durability: What an acknowledgement waits for on this topic; default the broker's.
            config: Further settings by Kafka's names, e.g. ``{"segment.bytes": "1048576"}``.
            exist_ok: Accept a topic that exists already with as many partitions.

        Raises:
            InvalidArgumentError: An illegal name or setting, or the topic exists.
        """
        from headwater.log.opening import check_cleanup_policy, check_durability, retention_settings, serde_settings

        shared = self._writable()
        if isinstance(name, Topic):
            key, value = key or name.key, value or name.value
            partitions, name = partitions or name.partitions, name.name
        _check_not_own(check_topic_name(name))
        if partitions is not None and not _is_count(partitions):
            raise InvalidArgumentError(f"expected 1 to 10000 partitions, got {partitions!r} - at topic {name!r}")
        check_cleanup_policy(cleanup_policy, name)
        settings = {str(setting): str(text) for setting, text in _checked_mapping(config or {}, "config").items()}
        settings |= retention_settings(retention)
        if cleanup_policy != "delete":
            settings["cleanup.policy"] = cleanup_policy
        if durability is not None:
            settings["headwater.durability"] = check_durability(durability)
        settings |= serde_settings(
            None if key is None else resolve(key),
            None if value is None else resolve(value),
        )
        if exist_ok and name in self._names():
            found = self.topic(name)
            if partitions not in (None, found.partitions):
                raise InvalidArgumentError(
                    f"expected {partitions} partitions, got {found.partitions} - at topic {name!r}, which exists; "
                    "delete it or keep its partition count",
                    topic=name,
                )
            return found
        shared.create_topic(name, partitions or 1, settings)
        return self.topic(name)

    def delete_topic(self, name: str) -> None:
        """Delete a topic with everything in it.

        Args:
            name: Name of the topic.

        Raises:
            UnknownTopicError: There is no such topic.
            InvalidArgumentError: It is one of the broker's own.
        """
        shared = self._writable()
        _check_not_own(name)
        shared.delete_topic(name)

    def add_partitions(self, topic: str, total: int) -> TopicDescription:
        """Give a topic more partitions.

        Producers and consumers that are open take them up by themselves. Records stay where they are, so the records of a
        key may lie in two partitions afterwards; an application that keeps state by key wants a new topic instead.

        Args:
            topic: Name of the topic.
            total: How many partitions it has afterwards.

        Returns:
            The topic as it is then.

        Raises:
            UnknownTopicError: There is no such topic.
            InvalidArgumentError: It has as many already, or more.
        """
        shared = self._writable()
        if not _is_count(total):
            raise InvalidArgumentError(
                f"expected 1 to 10000 partitions, got {total!r} - at topic {topic!r}", topic=topic
            )
        shared.add_partitions(topic, total)
        return self.topic(topic)

    def alter_config(
        self,
        topic: str,
        config: Mapping[str, str | None] | None = None,
        *,
        retention: Duration | None = None,
        cleanup_policy: CleanupPolicy | None = None,
        durability: str | None = None,
    ) -> TopicDescription:
        """Change some settings of a topic, at once; all others stay as they are.

        Args:
            topic: Name of the topic.
            config: Settings by Kafka's names, e.g. ``{"retention.bytes": "1000000"}``; None takes a setting back to its
                default.
            retention: How long records are kept at least.
            cleanup_policy: ``"delete"``, ``"compact"`` or ``"compact,delete"``.
            durability: What an acknowledgement waits for on this topic.

        Returns:
            The topic as it is then.

        Raises:
            UnknownTopicError: There is no such topic.
            InvalidArgumentError: A setting that does not exist, or a wrong value.
        """
        from headwater.log.opening import check_cleanup_policy, check_durability, retention_settings

        shared = self._writable()
        if cleanup_policy is not None:
            check_cleanup_policy(cleanup_policy, topic)
        given = _checked_mapping(config or {}, "config")
        changes = {str(name): None if text is None else str(text) for name, text in given.items()}
        changes |= retention_settings(retention)
        if cleanup_policy is not None:
            changes["cleanup.policy"] = cleanup_policy
        if durability is not None:
            changes["headwater.durability"] = check_durability(durability)
        shared.alter_config(topic, changes)
        return self.topic(topic)

    def compact(self, topic: str | None = None) -> Compaction:
        """Leave the last record of each key, now: in a compacted topic or in all of them, up to the last record there is.

        A background thread does it by itself when half of what lies in full segments is new
        (``min.cleanable.dirty.ratio``); this is for whoever cannot wait. Records keep their offsets. A tombstone (a key
        without a value) stays for ``delete.retention.ms``, a day, from the first time on.

        Args:
            topic: Name of a topic with ``cleanup_policy="compact"``; None for every such topic.

        Returns:
            How much was there, and how much is left, in the segments that were written anew.

        Raises:
            UnknownTopicError: There is no such topic.
            InvalidArgumentError: The topic is not compacted.
            CorruptLogError: Damage was found. It is left as it is, and so it will be when this is called again, which
                compacts the rest.
        """
        shared = self._writable()
        records_before, records_after, bytes_before, bytes_after = shared.core.compact(topic)
        return Compaction(
            records_before=records_before,
            records_after=records_after,
            bytes_before=bytes_before,
            bytes_after=bytes_after,
        )

    def describe_partitions(self, topic: str) -> list[PartitionDescription]:
        """Describe a topic's partitions: where they begin and end, how large they are, and in which files they lie.

        Args:
            topic: Name of the topic.

        Raises:
            UnknownTopicError: There is no such topic.
        """
        return self._shared.describe_partitions(topic)

    def delete_records(self, topic: str, before: Mapping[int, int]) -> dict[int, int]:
        """Forget the oldest records of a topic. They are no longer read; whole segments of them are removed.

        Args:
            topic: Name of the topic.
            before: By partition, the first offset to keep.

        Returns:
            By partition, the first offset that is kept: never less than it was.

        Raises:
            UnknownTopicError: There is no such topic or partition.
            OffsetOutOfRangeError: An offset beyond the end.
        """
        core = self._writable().core
        for number in (*_checked_mapping(before, "before"), *before.values()):
            if not isinstance(number, int) or isinstance(number, bool) or number < 0:
                raise InvalidArgumentError(
                    f"expected offsets by partition, 0 or more, got {before!r} - at delete_records of topic {topic!r}",
                    topic=topic,
                )
        return {partition: _core.delete_records(core, topic, partition, offset) for partition, offset in before.items()}

    def topics(self, *, internal: bool = False) -> list[str]:
        """Names of the topics, in order.

        Args:
            internal: The broker's own (``__consumer_offsets``) too.
        """
        return [name for name in self._names() if internal or not name.startswith("__")]

    def topic(self, name: str) -> TopicDescription:
        """Describe a topic.

        Args:
            name: Name of the topic.

        Raises:
            UnknownTopicError: There is no such topic.
        """
        shared = self._shared
        partitions, config = shared.core.topic(name)
        config.pop(TOPIC_ID, None)
        key, value = shared.serdes_of(name)
        return TopicDescription(name=name, partitions=partitions, key=key, value=value, config=config)

    def remember_serdes(self, topic: str, *, key: Any = None, value: Any = None) -> None:
        """Let a topic remember serdes where it remembers none (an application's sink does this).

        Args:
            topic: Name of the topic.
            key: Serde or type of the keys.
            value: Serde or type of the values.
        """
        self._writable().remember_serdes(
            topic, None if key is None else resolve(key), None if value is None else resolve(value)
        )

    def offsets(self, topic: str) -> dict[int, tuple[int, int]]:
        """By partition, the first offset and the end (the offset of the next record).

        Args:
            topic: Name of the topic.
        """
        core = self._shared.core
        marks = {p: core.watermarks(topic, p) for p in range(core.topic(topic)[0])}
        return {p: (start, high_watermark) for p, (start, _, high_watermark) in marks.items()}

    def offsets_for_times(self, topic: str, timestamp: Timestamp) -> dict[int, int | None]:
        """By partition, the first offset whose timestamp is at or after an instant; None if there is none.

        Args:
            topic: Name of the topic.
            timestamp: Milliseconds or an aware `datetime`.
        """
        core, instant = self._shared.core, to_timestamp_ms(timestamp)
        found = {p: core.offset_for_timestamp(topic, p, instant) for p in range(core.topic(topic)[0])}
        return {p: None if answer is None else answer[0] for p, answer in found.items()}

    def _names(self) -> list[str]:
        return sorted(name for name, _, _ in self._shared.core.topics())


def _check_not_own(topic: str) -> None:
    """Refuse to make or delete what the broker keeps its own books in: groups would be lost, or could not commit."""
    if topic in _BROKERS_OWN:
        raise InvalidArgumentError(
            f"expected a topic of yours, got {topic!r}, which the broker makes and keeps itself; use another name",
            topic=topic,
        )


def _is_count(partitions: Any) -> bool:
    return isinstance(partitions, int) and not isinstance(partitions, bool) and 1 <= partitions <= 10_000


def _checked_mapping(given: Any, argument: str) -> Mapping[Any, Any]:
    if not isinstance(given, Mapping):
        raise InvalidArgumentError(f"expected a mapping, got {given!r} - at {argument}; give a dict")
    return given
