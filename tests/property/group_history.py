"""What happened in a consumer group, and a checker that knows nothing of how groups work.

A history is a list of events in the order in which they happened. A *grant* is a member's right to a partition, with a
number of its own; `check` replays the events and asserts, partition by partition:

1. a partition is granted to one member at a time: a grant number is one member's, a delivery or a commit is under the
   latest grant, and a snapshot shows no partition twice (and none without an owner while there are members);
2. nothing is skipped: a grant begins at the committed offset (the first one at the partition's beginning), goes on record
   by record, and at the end everything was delivered and committed;
3. nothing is repeated beyond the last commit, by the same rule;
4. a commit covers nothing that was not delivered, and never goes back, but by an explicit reset.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from headwater.records import TopicPartition


class Delivered(NamedTuple):
    """A member got a record."""

    member: str
    place: TopicPartition
    grant: int
    offset: int


class Committed(NamedTuple):
    """A commit was accepted."""

    member: str
    place: TopicPartition
    grant: int
    offset: int


class Snapshot(NamedTuple):
    """Who owns what: every (member, partition, grant) at one moment, of a topic with so many partitions."""

    owned: tuple[tuple[str, TopicPartition, int], ...]
    partitions: int
    members: int


class Reset(NamedTuple):
    """An administrator moved the group."""

    place: TopicPartition
    offset: int


Event = Delivered | Committed | Snapshot | Reset


class History:
    """Events, recorded by any number of threads."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._changed = threading.Condition()
        self._seen: set[tuple[TopicPartition, int]] = set()

    def add(self, events: Iterable[Event]) -> None:
        with self._changed:
            for event in events:
                self.events.append(event)
                if isinstance(event, Delivered):
                    self._seen.add((event.place, event.offset))
            self._changed.notify_all()

    def distinct(self) -> int:
        """How many different records were delivered."""
        with self._changed:
            return len(self._seen)

    def wait_for(self, distinct: int) -> None:
        """Wait until so many different records were delivered."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._seen) >= distinct, timeout=50), "the group stands still"


class _Partition:
    """What is known of one partition while events are replayed."""

    def __init__(self) -> None:
        self.holders: dict[int, str] = {}  # by grant
        self.latest = 0
        self.started = 0  # the latest grant under which something was delivered
        self.next = 0
        self.committed = 0
        self.seen: set[int] = set()

    def grant(self, member: str, grant: int) -> None:
        assert self.holders.setdefault(grant, member) == member, f"grant {grant} belongs to {self.holders[grant]}"
        self.latest = max(self.latest, grant)

    def deliver(self, event: Delivered) -> None:
        self.grant(event.member, event.grant)
        assert event.grant == self.latest, f"delivered under grant {event.grant} after {self.latest} was given"
        expected = self.next if event.grant == self.started else self.committed
        assert event.offset >= expected, f"expected offset {expected}, got one that was read before"
        assert event.offset <= expected, f"expected offset {expected}, got one beyond: records are skipped"
        self.started, self.next = event.grant, event.offset + 1
        self.seen.add(event.offset)

    def commit(self, event: Committed) -> None:
        self.grant(event.member, event.grant)
        assert event.grant == self.latest, f"committed under grant {event.grant} after {self.latest} was given"
        assert event.offset >= self.committed, f"a commit went back from {self.committed}"
        read = self.next if event.grant == self.started else self.committed
        assert event.offset <= read, f"a commit went beyond {read}, up to where records were delivered"
        self.committed = event.offset


def check(events: Iterable[Event], ends: Mapping[TopicPartition, int]) -> None:
    """Replay a history that ended with everything read and committed.

    Args:
        events: What happened, in order.
        ends: How many records each partition has in the end.
    """
    partitions = {place: _Partition() for place in ends}
    for number, event in enumerate(events):
        try:
            if isinstance(event, Snapshot):
                _check_snapshot(event, partitions)
            elif isinstance(event, Reset):
                partitions[event.place].committed = event.offset
            elif isinstance(event, Delivered):
                partitions[event.place].deliver(event)
            else:
                partitions[event.place].commit(event)
        except AssertionError as error:
            raise AssertionError(f"event {number}, {event}: {error}") from None
    for place, end in ends.items():
        assert partitions[place].seen == set(range(end)), f"{place}: records were skipped"
        assert partitions[place].committed == end, f"{place}: committed {partitions[place].committed} of {end}"


def _check_snapshot(event: Snapshot, partitions: Mapping[TopicPartition, _Partition]) -> None:
    places = [place for _, place, _ in event.owned]
    assert len(set(places)) == len(places), "a partition has two owners"
    if event.members:
        assert len(places) == event.partitions, "a partition has no owner"
    for member, place, grant in event.owned:
        assert grant >= partitions[place].latest, f"{place} went back to an earlier grant"
        partitions[place].grant(member, grant)
