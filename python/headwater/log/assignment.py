"""The partitions that a consumer reads, in turn, and where each of them begins.

With a group they are what the group grants (`groups`); without one they are every partition of the topics. A partition
begins at the group's committed offset, else where the reset policy says, else (one that its topic has gained meanwhile)
at its first record.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from headwater._typing import AutoOffsetReset
from headwater.errors import OffsetOutOfRangeError, UnknownTopicError
from headwater.log.position import Position
from headwater.records import TopicPartition

if TYPE_CHECKING:
    from headwater.log.groups import Member
    from headwater.log.opening import SharedLog


class Assignment:
    """What one consumer reads.

    Attributes:
        positions: By partition, how far it has come.
        owned: What the group has granted: more than `positions` while some of it waits for the end of a transaction.
        paused: The partitions that nothing is handed out from.
    """

    def __init__(
        self,
        shared: SharedLog,
        topics: Collection[str],
        member: Member | None,
        *,
        auto_offset_reset: AutoOffsetReset,
        is_read_committed: bool,
    ) -> None:
        """Start with what the group has granted so far; without a group, with everything.

        Args:
            shared: The log that the topics are in.
            topics: What the consumer reads.
            member: Its place in its group, or None without a group.
            auto_offset_reset: Where to begin without a committed offset.
            is_read_committed: Whether the end is where open transactions begin.
        """
        self.positions: dict[TopicPartition, Position] = {}
        self.owned: Mapping[TopicPartition, int] = {}
        self.paused: set[TopicPartition] = set()
        self._shared = shared
        self._core = shared.core
        self._topics = topics
        self._member = member
        self._reset = auto_offset_reset
        self._is_read_committed = is_read_committed
        self._turn: deque[TopicPartition] = deque()
        self._topics_epoch = self._core.epoch()
        self._ids = self._topic_ids()
        self.adopt(dict.fromkeys(self._everything(), 0) if member is None else shared.groups.heartbeat(member)[0])

    def adopt(self, owned: Mapping[TopicPartition, int]) -> None:
        """Make positions for the partitions gained and forget those of the partitions lost, or lost and gained again.

        One whose offset lies in an open transaction has to wait for its end, since what is committed now may not be where
        the group has come to: it is left out, until this is asked again.

        Args:
            owned: The partitions to read, each with its grant.
        """
        for place, position in list(self.positions.items()):
            if owned.get(place) != position.grant:
                del self.positions[place]
        self.paused &= owned.keys()
        self.owned = owned
        gained = sorted(owned.keys() - self.positions.keys() - self._undecided())
        committed = self.committed_offsets() if gained else {}
        for place in gained:
            offset = committed.get(place)
            if offset is not None:
                start = offset
            elif self._member is None:
                start = self.reset_offset(place)
            else:
                start = self._shared.groups.first_offset(self._member, place, self.reset_offset)
            self.positions[place] = Position(start, offset, owned[place])
        self._turn = deque(sorted(self.positions))

    def forget_stale_positions(self) -> bool:
        """Forget the positions in topics that are gone or made anew; returns whether topics have changed since the last call."""
        epoch = self._core.epoch()
        if epoch == self._topics_epoch:
            return False
        self._topics_epoch = epoch
        before, self._ids = self._ids, self._topic_ids()
        for place in list(self.positions):
            if self._ids.get(place.topic) != before.get(place.topic):
                del self.positions[place]
        self._turn = deque(sorted(self.positions))
        return True

    def adopt_new_partitions(self) -> None:
        """Without a group: take what the topics have gained; one that was made anew is read from its first record."""
        if not self.forget_stale_positions():
            return
        for place in self._everything() - self.positions.keys():
            self.positions[place] = Position(self._core.watermarks(*place)[0], None, 0)
        self._turn = deque(sorted(self.positions))

    def _topic_ids(self) -> dict[str, str]:
        """What tells each topic that is there from an earlier one of its name."""
        ids = {}
        for name in self._topics:
            with suppress(UnknownTopicError):
                ids[name] = self._shared.topic_id(name)
        return ids

    def _everything(self) -> set[TopicPartition]:
        return {TopicPartition(name, p) for name in self._topics for p in range(self._shared.partitions_of(name))}

    def grants(self) -> dict[TopicPartition, int]:
        """The partitions, each with the grant that it is read under."""
        return {place: position.grant for place, position in self.positions.items()}

    def in_turn(self) -> Iterator[tuple[TopicPartition, Position]]:
        """Every partition that is not paused once, beginning after the one that was looked at last."""
        for _ in range(len(self._turn)):
            place = self._turn[0]
            self._turn.rotate(-1)
            if place not in self.paused:
                yield place, self.positions[place]

    def awaited(self) -> list[tuple[str, int, int]]:
        """What to wait for: the next offset of every partition that may be read."""
        return [
            (place.topic, place.partition, position.next)
            for place, position in self.positions.items()
            if place not in self.paused
        ]

    def committed_offsets(self) -> dict[TopicPartition, int]:
        """What the group has committed; nothing without a group."""
        if self._member is None:
            return {}
        return {TopicPartition(t, p): offset for t, p, offset, _ in self._core.fetch_offsets(self._member.group)}

    def _undecided(self) -> set[TopicPartition]:
        """The partitions for which the group's offsets lie in an open transaction."""
        if self._member is None:
            return set()
        return {TopicPartition(*place) for place in self._core.pending_offsets(self._member.group)}

    def end(self, place: TopicPartition) -> int:
        """Where a partition ends for this consumer.

        Args:
            place: The partition.
        """
        _, last_stable, high_watermark = self._core.watermarks(*place)
        return last_stable if self._is_read_committed else high_watermark

    def reset_offset(self, place: TopicPartition) -> int:
        """Where the reset policy lets a partition begin.

        Args:
            place: The partition.

        Raises:
            OffsetOutOfRangeError: The policy is ``"none"``.
        """
        if self._reset == "earliest":
            return self._core.watermarks(*place)[0]
        if self._reset == "latest":
            return self.end(place)
        group = None if self._member is None else self._member.group
        raise OffsetOutOfRangeError(
            f"expected a committed offset within the log, got none - at topic {place.topic!r} partition "
            f'{place.partition} for group {group!r}; seek, or use auto_offset_reset="earliest" or "latest"',
            topic=place.topic,
            partition=place.partition,
        )
