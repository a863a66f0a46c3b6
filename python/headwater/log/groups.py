"""Consumer groups inside one process: who reads which partition, and how a partition changes hands.

Members of a group share the partitions of their topics by Kafka's range assignment. When a member joins or leaves, the
target assignment is computed anew and every partition moves on its own (Kafka's cooperative protocol): one that its
owner holds *dirty* (records delivered and not yet committed) stays where it is until the owner comes back for more, so
that it can commit what it has done; every other moves at once. An owner that does not come back within its
``max_poll_interval`` loses its partitions, and its later commits are refused.

**Invariants**
1. A partition has at most one owner at any time; only the owner's commits are taken.
2. A clean partition's next record has never been delivered by its owner: so what is repeated after a rebalance is at
   most what was delivered and not committed.
3. Every change of hands is a *grant* with a number of its own. A member acts on a partition under the grant that it has
   seen: one that it lost and got back meanwhile is a new one, and begins at the committed offset.

All state is guarded by one lock that is never held while bytes are read or user code runs.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from headwater.errors import ClosedError
from headwater.records import TopicPartition


def assign_range(members: Mapping[str, Iterable[str]], partitions: Mapping[str, int]) -> dict[TopicPartition, str]:
    """Kafka's range assignment: each topic's partitions in contiguous ranges over its members, in id order.

    Args:
        members: Member id to the topics it subscribes to.
        partitions: Topic to partition count.

    Returns:
        The owner of every partition that somebody subscribes to.
    """
    owners: dict[TopicPartition, str] = {}
    for topic, count in partitions.items():
        subscribed = sorted(member for member, topics in members.items() if topic in topics)
        if not subscribed:
            continue
        share, extra = divmod(count, len(subscribed))
        start = 0
        for index, member in enumerate(subscribed):
            stop = start + share + (1 if index < extra else 0)
            for partition in range(start, stop):
                owners[TopicPartition(topic, partition)] = member
            start = stop
    return owners


class Member:
    """One consumer's place in its group. Every field is guarded by the coordinator's lock."""

    __slots__ = (
        "dirty",
        "group",
        "id",
        "is_expelled",
        "last_poll",
        "max_poll_interval",
        "owned",
        "revoking",
        "taken",
        "topics",
    )

    def __init__(self, group: str, member_id: str, topics: frozenset[str], max_poll_interval: float) -> None:
        self.group = group
        self.id = member_id
        self.topics = topics
        self.max_poll_interval = max_poll_interval
        self.owned: dict[TopicPartition, int] = {}  # and the number of the grant
        self.dirty: set[TopicPartition] = set()
        self.revoking: set[TopicPartition] = set()
        self.last_poll = time.monotonic()
        self.is_expelled = False
        self.taken: set[TopicPartition] = set()  # what it held dirty when it was taken for dead


class GroupCoordinator:
    """Every group of one broker."""

    def __init__(self, partitions_of: Callable[[str], int], notify: Callable[[], None]) -> None:
        """Start without groups.

        Args:
            partitions_of: Partition count of a topic.
            notify: Wakes consumers that wait for records, so that they notice a change.
        """
        self._partitions_of = partitions_of
        self._notify = notify
        self._lock = threading.Lock()
        self._groups: dict[str, dict[str, Member]] = {}
        self._first: dict[tuple[str, TopicPartition], int] = {}
        self._abandoned: deque[Member] = deque()
        self._ids = itertools.count(1)
        self._grants = itertools.count(1)

    def join(self, group: str, topics: Iterable[str], *, max_poll_interval: float) -> Member:
        """Add a member and rebalance.

        Args:
            group: Name of the group.
            topics: What the member subscribes to.
            max_poll_interval: Seconds after which a member that does not come back is taken for dead.
        """
        with self._lock:
            self._bury()
            member = Member(group, f"{group}-{next(self._ids):09d}", frozenset(topics), max_poll_interval)
            self._groups.setdefault(group, {})[member.id] = member
            self._rebalance(group)
        self._notify()
        return member

    def leave(self, member: Member) -> None:
        """Remove a member and rebalance; leaving twice does nothing.

        Args:
            member: Who leaves.
        """
        with self._lock:
            self._bury()
            self._remove(member)
        self._notify()

    def abandon(self, member: Member) -> None:
        """Remove a member from a finalizer, which may run anywhere, even while this thread holds the lock.

        Args:
            member: Whose consumer is gone.
        """
        self._abandoned.append(member)
        if self._lock.acquire(blocking=False):
            try:
                self._bury()
            finally:
                self._lock.release()

    def first_offset(self, member: Member, partition: TopicPartition, choose: Callable[[TopicPartition], int]) -> int:
        """Where a group without a committed offset starts: chosen once for as long as the group has members.

        Otherwise a partition that changes hands before the first commit would be reset to the end again, and the records
        in between would be read by nobody.

        Args:
            member: Who asks.
            partition: Which partition.
            choose: Applies the reset policy.
        """
        with self._lock:
            found = self._first.get((member.group, partition))
        if found is None:
            chosen = choose(partition)
            with self._lock:
                found = self._first.setdefault((member.group, partition), chosen)
        return found

    def heartbeat(self, member: Member) -> tuple[dict[TopicPartition, int], frozenset[TopicPartition]]:
        """Say that a member is alive and wants more records.

        Args:
            member: Who asks.

        Returns:
            The partitions it owns, each with the number of its grant, and those among them that it must `release` first.
        """
        with self._lock:
            self._bury()
            member.last_poll = time.monotonic()
            if member.is_expelled:
                member.is_expelled = False
                member.taken.clear()
                self._groups.setdefault(member.group, {})[member.id] = member
                self._rebalance(member.group)
            self._expel_the_silent(member.group)
            return dict(member.owned), frozenset(member.revoking)

    def release(self, member: Member, partitions: Iterable[TopicPartition]) -> None:
        """Give partitions back, after their positions were committed (or not, as the user wants).

        Args:
            member: The owner.
            partitions: What it gives back.
        """
        with self._lock:
            for partition in partitions:
                member.owned.pop(partition, None)
                member.dirty.discard(partition)
                member.revoking.discard(partition)
            self._rebalance(member.group)
        self._notify()

    def mark_dirty(self, member: Member, partition: TopicPartition, grant: int) -> bool:
        """Ask to deliver records of a partition.

        Args:
            member: Who will deliver.
            partition: From where.
            grant: Under which grant.

        Returns:
            Whether the member still owns the partition by that grant; if not, it must not deliver.
        """
        with self._lock:
            if member.owned.get(partition) != grant:
                return False
            member.dirty.add(partition)
            return True

    def mark_clean(self, member: Member, partitions: Mapping[TopicPartition, int]) -> None:
        """Say that everything delivered from partitions is committed and nothing is held undelivered.

        Args:
            member: The owner.
            partitions: Which, each with its grant.
        """
        with self._lock:
            member.dirty.difference_update(p for p, grant in partitions.items() if member.owned.get(p) == grant)
            moving = member.revoking - member.dirty
            if moving:
                member.revoking -= moving
                self._rebalance(member.group)

    def commit(
        self,
        member: Member,
        offsets: Mapping[TopicPartition, int],
        grants: Mapping[TopicPartition, int],
        write: Callable[[dict[TopicPartition, int]], None],
    ) -> None:
        """Commit offsets of partitions that the member owns; those that it lost while they were clean are left out.

        Args:
            member: Who commits.
            offsets: Next offset to read, by partition.
            grants: The grant that each of them is held by.
            write: Makes the offsets durable. Called under the coordinator's lock, so that no new owner can start from
                an older offset while an accepted commit is under way.

        Raises:
            ClosedError: The member was taken for dead and lost some of these partitions.
        """
        with self._lock:
            member.last_poll = time.monotonic()
            kept = {p: offset for p, offset in offsets.items() if member.owned.get(p) == grants.get(p)}
            lost = sorted(member.taken.intersection(offsets) - kept.keys())
            if kept:
                write(kept)
        if lost:
            raise ClosedError(
                f"expected to commit partitions that this consumer owns, got {', '.join(f'{t}-{p}' for t, p in lost)} "
                f"which went to another member of group {member.group!r} after {member.max_poll_interval:g} s without "
                "a poll; process fewer records per poll or raise max_poll_interval",
                topic=lost[0].topic,
                partition=lost[0].partition,
            )

    def members(self, group: str) -> dict[str, frozenset[TopicPartition]]:
        """Who owns what, by member id.

        Args:
            group: Name of the group.
        """
        with self._lock:
            return {member.id: frozenset(member.owned) for member in self._groups.get(group, {}).values()}

    def _bury(self) -> None:
        """Remove the members whose consumers are gone."""
        while self._abandoned:
            self._remove(self._abandoned.popleft())

    def _remove(self, member: Member) -> None:
        members = self._groups.get(member.group, {})
        if members.pop(member.id, None) is None:
            return
        member.owned.clear()
        member.dirty.clear()
        member.revoking.clear()
        if members:
            self._rebalance(member.group)
        else:
            del self._groups[member.group]
            for place in [place for place in self._first if place[0] == member.group]:
                del self._first[place]

    def _expel_the_silent(self, group: str) -> None:
        """Take the partitions of members that have not come back in time."""
        now = time.monotonic()
        members = self._groups.get(group, {})
        silent = [m for m in members.values() if now - m.last_poll > m.max_poll_interval]
        for member in silent:
            del members[member.id]
            member.taken |= member.dirty
            member.owned.clear()
            member.dirty.clear()
            member.revoking.clear()
            member.is_expelled = True
        if silent:
            self._rebalance(group)

    def _rebalance(self, group: str) -> None:
        """Compute the target and move every partition that is free to move."""
        members = self._groups.get(group, {})
        topics = sorted({topic for member in members.values() for topic in member.topics})
        target = assign_range(
            {member.id: member.topics for member in members.values()},
            {topic: self._partitions_of(topic) for topic in topics},
        )
        owners = {partition: member for member in members.values() for partition in member.owned}
        for partition, wanted in target.items():
            owner = owners.get(partition)
            if owner is None:
                members[wanted].owned[partition] = next(self._grants)
            elif owner.id == wanted:
                owner.revoking.discard(partition)
            elif partition in owner.dirty:
                owner.revoking.add(partition)
            else:
                del owner.owned[partition]
                owner.revoking.discard(partition)
                members[wanted].owned[partition] = next(self._grants)
