"""From fetched bytes to records: a batch of one partition at a time, and what happens to a record that does not decode.

A whole batch is decoded by column first. Only if that fails is it gone through record by record, to find the one to
blame and to ask the policy (`policies`) about it; under ``"raise"`` the records before it are delivered first.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from itertools import repeat
from typing import TYPE_CHECKING, Any

import msgspec

from headwater._typing import OnError
from headwater.errors import SerdeError
from headwater.log.policies import located, parse_policy
from headwater.records import Record, TopicPartition
from headwater.serdes import Serde, raw
from headwater.topics import Topic

if TYPE_CHECKING:
    from headwater.log.opening import SharedLog
    from headwater.log.producer import Producer

_LOGGER = logging.getLogger("headwater")
Records = list[Record[Any, Any]]
Headers = tuple[tuple[str, bytes | None], ...]


class Decoder:
    """Decodes the records of a consumer's topics.

    Attributes:
        skipped: Records left out by ``on_error``.
    """

    def __init__(
        self,
        shared: SharedLog,
        topics: Iterable[Topic[Any, Any]],
        *,
        key: Serde[Any] | None,
        value: Serde[Any] | None,
        on_error: OnError,
    ) -> None:
        """Choose the serdes of every topic.

        Args:
            shared: The log that the topics are in.
            topics: What the consumer reads.
            key: Serde of the keys; default the topic's.
            value: Serde of the values; default the topic's.
            on_error: What to do with a record that does not decode.
        """
        self.skipped = 0
        self._shared = shared
        self._serdes = {topic.name: self._choose_serdes(topic, key, value) for topic in topics}
        self._policy = parse_policy(on_error, self._forward)
        self._forwarder: Producer | None = None

    def _choose_serdes(
        self, topic: Topic[Any, Any], key: Serde[Any] | None, value: Serde[Any] | None
    ) -> tuple[Serde[Any], Serde[Any]]:
        """Explicit serdes win, then those of the `Topic` given, then those that the topic remembers, then bytes."""
        remembered = self._shared.serdes_of(topic.name)
        return (key or topic.key or remembered[0] or raw(), value or topic.value or remembered[1] or raw())

    def decode(
        self,
        place: TopicPartition,
        offsets: list[int],
        timestamps: list[int],
        keys: list[bytes | None],
        values: list[bytes | None],
        headers: list[Headers] | None,
    ) -> tuple[Records, SerdeError | None]:
        """Decode a batch.

        Args:
            place: The partition that it is from.
            offsets: Offsets of its records.
            timestamps: Their timestamps.
            keys: Their keys.
            values: Their values.
            headers: Their headers, or None if no record has any.

        Returns:
            The records to deliver, and under ``"raise"`` the error that comes after them, at its record's offset.
        """
        key_serde, value_serde = self._serdes[place.topic]
        topic, partition = repeat(place.topic), repeat(place.partition)
        rest = repeat(()) if headers is None else headers
        try:
            decoded_keys = key_serde.deserialize_many(keys)
            decoded_values = value_serde.deserialize_many(values)
        except Exception:  # a user's serde may raise anything: find the record, one by one
            return self._decode_each(map(Record, topic, partition, offsets, timestamps, keys, values, rest))
        return list(map(Record, topic, partition, offsets, timestamps, decoded_keys, decoded_values, rest)), None

    def _decode_each(self, records: Iterable[Record[Any, Any]]) -> tuple[Records, SerdeError | None]:
        """Decode record by record, up to the first that the policy does not settle."""
        good: Records = []
        for as_bytes in records:
            try:
                good.append(self._decode_one(as_bytes))
            except SerdeError as error:
                if self._policy is None:
                    return good, error
                found = self._policy(error, as_bytes)
                if found is None:
                    self.skipped += 1
                    # The 1st, the 10th, the 100th: a poisoned topic floods no log.
                    if str(self.skipped).rstrip("0") == "1":
                        _LOGGER.warning("skipped a record, number %d: %s", self.skipped, error)
                    continue
                # A replacement stands where the record stood, whatever the function made of its place.
                topic, partition, offset = as_bytes.topic, as_bytes.partition, as_bytes.offset
                good.append(msgspec.structs.replace(found, topic=topic, partition=partition, offset=offset))
        return good, None

    def _decode_one(self, record: Record[Any, Any]) -> Record[Any, Any]:
        key_serde, value_serde = self._serdes[record.topic]
        part = "key"
        try:
            key = None if record.key is None else key_serde.deserialize(record.key)
            part = "value"
            value = None if record.value is None else value_serde.deserialize(record.value)
        except Exception as cause:  # a user's serde may raise anything
            raise located(cause, record, part) from cause
        return msgspec.structs.replace(record, key=key, value=value)

    def _forward(self, name: str, record: Record[Any, Any], error: SerdeError) -> None:
        """Send a record that does not decode to another topic, with the reason in its headers; durable on return."""
        if self._forwarder is None:
            self._shared.create_topic_if_missing(name, self._shared.partitions_of(record.topic))
            self._forwarder = self._shared.producer()
        reason = (
            ("headwater.error", str(error).encode()),
            ("headwater.topic", record.topic.encode()),
            ("headwater.partition", str(record.partition).encode()),
            ("headwater.offset", str(record.offset).encode()),
        )
        self._forwarder.send(
            name, key=record.key, value=record.value, timestamp=record.timestamp, headers=(*record.headers, *reason)
        ).result()

    def close(self) -> None:
        """Close what records were forwarded with."""
        if self._forwarder is not None:
            self._forwarder.close()
