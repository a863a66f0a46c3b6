"""The coordinator: every group of one broker behind one lock, which is what a consumer talks to.

A consumer joins, and calls `GroupCoordinator.heartbeat` whenever it wants more records; between two of these it asks
before it delivers (`mark_dirty`), says what is done (`commit`, `mark_clean`) and gives back what it was asked for
(`release`). Time comes from `monotonic`, seconds that only go forward; tests put their own in its place.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from headwater._typing import PartitionAssignmentStrategy
from headwater.errors import ClosedError, InvalidArgumentError
from headwater.log.groups.describing import GroupMember, GroupState
from headwater.log.groups.group import Group, Member
from headwater.records import TopicPartition

R = TypeVar("R")


class GroupCoordinator:
    """Every group of one broker."""

    def __init__(
        self,
        partitions_of: Callable[[str], int],
        notify: Callable[[], None],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start without groups.

        Args:
            partitions_of: Partition count of a topic.
            notify: Wakes consumers that wait for records, so that they notice a change.
            monotonic: The clock that members' time-outs are measured by.
        """
        self.monotonic = monotonic
        self._partitions_of = partitions_of
        self._notify = notify
        self._lock = threading.Lock()
        self._groups: dict[str, Group] = {}
        self._abandoned: deque[Member] = deque()
        self._ids = itertools.count(1)
        self._grants = itertools.count(1)

    # --- membership ---------------------------------------------------------------------------------------------------

    def join(
        self,
        group: str,
        topics: Iterable[str],
        *,
        max_poll_interval: float,
        strategy: PartitionAssignmentStrategy = "range",
        instance_id: str | None = None,
        session_timeout: float = 45.0,
    ) -> Member:
        """Add a member and rebalance.

        Args:
            group: Name of the group.
            topics: What the member subscribes to.
            max_poll_interval: Seconds after which a member that does not come back is taken for dead.
            strategy: The assignor, the same for all members.
            instance_id: Makes the member static: it takes the place of the one with this id.
            session_timeout: Seconds for which a static member's place is kept when it has gone.

        Raises:
            InvalidArgumentError: The group's members use another strategy.
        """
        with self._lock:
            now = self._begin(group)
            member = Member(
                group,
                f"{group}-{next(self._ids):09d}",
                frozenset(topics),
                strategy=strategy,
                instance_id=instance_id,
                max_poll_interval=max_poll_interval,
                session_timeout=session_timeout,
                now=now,
            )
            self._group_for(member).join(member)
        self._notify()
        return member

    def leave(self, member: Member) -> None:
        """Remove a member, or let a static one be away; leaving twice does nothing.

        Args:
            member: Who leaves.
        """
        with self._lock:
            self._begin(member.group)
            self._leave(member)
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

    def heartbeat(self, member: Member) -> tuple[dict[TopicPartition, int], frozenset[TopicPartition]]:
        """Say that a member is alive and wants more records.

        Args:
            member: Who asks.

        Returns:
            The partitions it owns, each with the number of its grant, and those among them that it must `release` first.

        Raises:
            FencedInstanceIdError: A newer consumer has its instance id.
        """
        with self._lock:
            member.check_not_fenced()
            member.last_poll = self.monotonic()
            self._begin(member.group)
            if member.is_expelled:
                self._group_for(member).rejoin(member)
            return dict(member.owned), frozenset(member.revoking)

    def show_life(self, member: Member) -> None:
        """Say in the middle of a batch that a member is alive; takes no lock, so that it may be said often.

        Args:
            member: Who is alive.

        Raises:
            FencedInstanceIdError: A newer consumer has its instance id.
        """
        member.check_not_fenced()
        member.last_poll = self.monotonic()

    def topic_changed(self, topic: str) -> None:
        """Rebalance the groups that subscribe to a topic, whose partitions have become more.

        Args:
            topic: Name of the topic.
        """
        with self._lock:
            for group in self._groups.values():
                if any(topic in member.topics for member in group.members.values()):
                    group.rebalance()
        self._notify()

    def topic_deleted(self, topic: str) -> None:
        """Forget where groups began to read a topic that is gone.

        Args:
            topic: Name of the topic.
        """
        with self._lock:
            for group in self._groups.values():
                group.forget_topic(topic)

    # --- partitions ---------------------------------------------------------------------------------------------------

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
            known = self._first_offsets(member)
            found = known.get(partition)
        if found is None:
            chosen = choose(partition)
            with self._lock:
                found = self._first_offsets(member).setdefault(partition, chosen)
        return found

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
            self._rebalance(member)
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
            is_moving = bool(member.revoking - member.dirty)
            if is_moving:
                member.revoking &= member.dirty
                self._rebalance(member)
        if is_moving:
            self._notify()

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
            FencedInstanceIdError: A newer consumer has its instance id.
        """
        with self._lock:
            member.check_not_fenced()
            member.last_poll = self.monotonic()
            kept = {p: offset for p, offset in offsets.items() if member.owned.get(p) == grants.get(p)}
            lost = sorted(member.taken.intersection(offsets) - kept.keys())
            if kept:
                began = self.monotonic()
                write(kept)
                self._forgive(began)
        if lost:
            raise ClosedError(
                f"expected to commit partitions that this consumer owns, got {', '.join(f'{t}-{p}' for t, p in lost)} "
                f"which went to another member of group {member.group!r} after {member.max_poll_interval:g} s without "
                "a poll; process fewer records per poll or raise max_poll_interval",
                topic=lost[0].topic,
                partition=lost[0].partition,
            )

    # --- administration -----------------------------------------------------------------------------------------------

    def groups(self) -> list[str]:
        """Names of the groups that have members."""
        with self._lock:
            for name in list(self._groups):
                self._begin(name)
            return sorted(self._groups)

    def members(self, group: str) -> dict[str, frozenset[TopicPartition]]:
        """Who owns what, by member id.

        Args:
            group: Name of the group.
        """
        return {member.id: frozenset(member.partitions) for member in self.describe(group)[2]}

    def describe(self, group: str) -> tuple[GroupState, PartitionAssignmentStrategy | None, tuple[GroupMember, ...]]:
        """A group's state, its strategy, and its members.

        Args:
            group: Name of the group.
        """
        with self._lock:
            self._begin(group)
            found = self._groups.get(group)
            return ("Empty", None, ()) if found is None else (found.state, found.strategy, found.describe_members())

    def while_empty(self, group: str, act: Callable[[], R]) -> R:
        """Do something to a group that has no members, and let nobody join meanwhile.

        Args:
            group: Name of the group.
            act: What to do.

        Returns:
            What `act` returns.

        Raises:
            InvalidArgumentError: The group has members.
        """
        with self._lock:
            self._begin(group)
            found = self._groups.get(group)
            if found is not None:
                away = sum(member.is_away for member in found.members.values())
                raise InvalidArgumentError(
                    f"expected a group without consumers, got {group!r} with {len(found.members)}, {away} of them away "
                    "for at most their session_timeout; close the others and wait"
                    if away
                    else f"expected a group without consumers, got {group!r} with {len(found.members)}; close them first"
                )
            return act()

    # --- the rest, under the lock -------------------------------------------------------------------------------------

    def _forgive(self, began: float) -> None:
        """Count nobody as silent while the lock was held for the disk, however long that took."""
        now = self.monotonic()
        for member in (member for group in self._groups.values() for member in group.members.values()):
            member.last_poll = min(now, member.last_poll + now - began)

    def _begin(self, group: str) -> float:
        """What comes before anything is done to a group: those who have gone or are silent lose their places."""
        self._bury()
        now = self.monotonic()
        found = self._groups.get(group)
        if found is not None:
            found.expel_the_silent(now)
            self._forget_if_empty(found)
        return now

    def _bury(self) -> None:
        """Let those members leave whose consumers are gone."""
        while self._abandoned:
            self._leave(self._abandoned.popleft())

    def _leave(self, member: Member) -> None:
        found = self._groups.get(member.group)
        if found is not None:
            found.leave(member, self.monotonic())
            self._forget_if_empty(found)

    def _forget_if_empty(self, group: Group) -> None:
        if not group.members:
            del self._groups[group.name]

    def _group_for(self, member: Member) -> Group:
        """The member's group; made with the member's strategy if nobody is in it."""
        found = self._groups.get(member.group)
        if found is None:
            found = self._groups[member.group] = Group(member.group, member.strategy, self._partitions_of, self._grants)
        return found

    def _rebalance(self, member: Member) -> None:
        found = self._groups.get(member.group)
        if found is not None:
            found.rebalance()

    def _first_offsets(self, member: Member) -> dict[TopicPartition, int]:
        """What the member's group has chosen; nothing is kept for a member that lost its place and is alone."""
        found = self._groups.get(member.group)
        return {} if found is None else found.first_offsets
