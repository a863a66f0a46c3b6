"""One group: its members, what each of them owns, and the rebalance that moves partitions between them.

Nothing here locks: the coordinator does, around every call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from headwater._typing import PartitionAssignmentStrategy
from headwater.errors import FencedInstanceIdError, InvalidArgumentError, UnknownTopicError
from headwater.log.groups.assignors import ASSIGNORS
from headwater.log.groups.describing import GroupMember, GroupState
from headwater.records import TopicPartition


class Member:
    """One consumer's place in its group. Every field is guarded by the coordinator's lock."""

    __slots__ = (
        "dirty",
        "group",
        "id",
        "instance_id",
        "is_away",
        "is_expelled",
        "is_fenced",
        "last_poll",
        "max_poll_interval",
        "owned",
        "revoking",
        "session_timeout",
        "strategy",
        "taken",
        "topics",
    )

    def __init__(
        self,
        group: str,
        member_id: str,
        topics: frozenset[str],
        *,
        strategy: PartitionAssignmentStrategy,
        instance_id: str | None,
        max_poll_interval: float,
        session_timeout: float,
        now: float,
    ) -> None:
        self.group = group
        self.id = member_id
        self.topics = topics
        self.strategy: PartitionAssignmentStrategy = strategy
        self.instance_id = instance_id
        self.max_poll_interval = max_poll_interval
        self.session_timeout = session_timeout
        self.owned: dict[TopicPartition, int] = {}  # and the number of the grant
        self.dirty: set[TopicPartition] = set()
        self.revoking: set[TopicPartition] = set()
        self.last_poll = now
        self.is_away = False  # a static member whose consumer has closed
        self.is_expelled = False
        self.is_fenced = False
        self.taken: set[TopicPartition] = set()  # what it held dirty when it was taken for dead

    def is_silent(self, now: float) -> bool:
        """Whether the group has waited for it long enough.

        Args:
            now: The coordinator's clock.
        """
        patience = 0.0 if self.is_away else self.max_poll_interval
        if self.instance_id is not None:
            patience += self.session_timeout
        return now - self.last_poll > patience

    def lose_everything(self) -> None:
        """Own nothing any more."""
        self.owned.clear()
        self.dirty.clear()
        self.revoking.clear()

    def check_not_fenced(self) -> None:
        """Refuse to go on in the name of an instance that somebody else is now.

        Raises:
            FencedInstanceIdError: A newer consumer has this one's instance id.
        """
        if self.is_fenced:
            raise FencedInstanceIdError(
                f"expected to be the only consumer with group_instance_id={self.instance_id!r}, got a newer one - at "
                f"group {self.group!r}; close this consumer, and give every running one an id of its own"
            )


class Group:
    """The members of one group, for as long as it has any."""

    def __init__(
        self,
        name: str,
        strategy: PartitionAssignmentStrategy,
        partitions_of: Callable[[str], int],
        grants: Iterator[int],
    ) -> None:
        """Start without members.

        Args:
            name: Name of the group.
            strategy: The assignor that its first member asks for, and that the others must ask for too.
            partitions_of: Partition count of a topic.
            grants: Numbers for changes of hands.
        """
        self.name = name
        self.strategy: PartitionAssignmentStrategy = strategy
        self.members: dict[str, Member] = {}
        self.first_offsets: dict[TopicPartition, int] = {}
        self._partitions_of = partitions_of
        self._grants = grants
        self._counts: dict[str, int] = {}

    # --- members ------------------------------------------------------------------------------------------------------

    def join(self, member: Member) -> None:
        """Take a member in; the one with the same instance id hands its partitions over and is fenced.

        Args:
            member: Who joins.

        Raises:
            InvalidArgumentError: The group's members use another strategy.
        """
        if member.strategy != self.strategy:
            raise InvalidArgumentError(
                f"expected partition_assignment_strategy={self.strategy!r} as the other members of the group have, got "
                f"{member.strategy!r} - at group {self.name!r}; use theirs, or close all members first"
            )
        former = self._instance(member.instance_id)
        if former is not None:
            del self.members[former.id]
            member.owned = {place: next(self._grants) for place in former.owned if place.topic in member.topics}
            former.lose_everything()
            former.is_fenced = True
        self.members[member.id] = member
        self.rebalance()

    def rejoin(self, member: Member) -> None:
        """Take back a member that was expelled and has turned out to be alive.

        Args:
            member: Who comes back.

        Raises:
            FencedInstanceIdError: Another consumer has taken its instance id meanwhile.
            InvalidArgumentError: The group uses another strategy meanwhile.
        """
        member.is_fenced = self._instance(member.instance_id) is not None
        member.check_not_fenced()
        self.join(member)
        member.is_expelled = False
        member.taken.clear()

    def leave(self, member: Member, now: float) -> None:
        """Let a member go; a static one is away and keeps its partitions. Nothing happens if it has gone already.

        Args:
            member: Who leaves.
            now: The coordinator's clock.
        """
        if member.id not in self.members or member.is_away:
            return
        if member.instance_id is None:
            del self.members[member.id]
            member.lose_everything()
        else:
            member.is_away = True
            member.last_poll = now
            member.dirty.clear()  # whoever comes for it begins at the committed offsets
        self.rebalance()

    def expel_the_silent(self, now: float) -> None:
        """Take the partitions of members that have not come back in time.

        Args:
            now: The coordinator's clock.
        """
        silent = [member for member in self.members.values() if member.is_silent(now)]
        for member in silent:
            del self.members[member.id]
            member.taken |= member.dirty
            member.lose_everything()
            member.is_expelled = True
        if silent:
            self.rebalance()

    def _instance(self, instance_id: str | None) -> Member | None:
        """The static member with an instance id."""
        same = (member for member in self.members.values() if member.instance_id == instance_id)
        return None if instance_id is None else next(same, None)

    def _in_order(self) -> list[Member]:
        """Static members by their instance ids, then the others as they joined: so that a return changes no range."""
        return sorted(
            self.members.values(),
            key=lambda member: (member.instance_id is None, member.instance_id or "", member.id),
        )

    # --- partitions ---------------------------------------------------------------------------------------------------

    def rebalance(self) -> None:
        """Compute the target and move every partition that is free to move."""
        owners = {place: member for member in self.members.values() for place in member.owned}
        target = ASSIGNORS[self.strategy](
            {member.id: member.topics for member in self._in_order()},
            self._count_partitions(),
            {place: member.id for place, member in owners.items()},
        )
        for place, wanted in target.items():
            owner = owners.get(place)
            if owner is None:
                self.members[wanted].owned[place] = next(self._grants)
            elif owner.id == wanted:
                owner.revoking.discard(place)
            elif place in owner.dirty:
                owner.revoking.add(place)
            else:
                del owner.owned[place]
                owner.revoking.discard(place)
                self.members[wanted].owned[place] = next(self._grants)

    def _count_partitions(self) -> dict[str, int]:
        """Partition counts of the topics that members subscribe to; those that grew begin at their first record.

        A topic that is deleted is left out: who owns its partitions keeps them, and learns of it when it reads.
        """
        counts: dict[str, int] = {}
        for topic in sorted({topic for member in self.members.values() for topic in member.topics}):
            try:
                counts[topic] = self._partitions_of(topic)
            except UnknownTopicError:
                continue
            for number in range(self._counts.get(topic, counts[topic]), counts[topic]):
                self.first_offsets.setdefault(TopicPartition(topic, number), 0)
        self._counts |= counts
        return counts

    def forget_topic(self, topic: str) -> None:
        """A topic is gone: one of its name is another, to be read from its first record as partitions that came later are.

        Args:
            topic: Name of the topic.
        """
        for number in range(self._counts.get(topic, 0)):
            self.first_offsets[TopicPartition(topic, number)] = 0

    # --- description --------------------------------------------------------------------------------------------------

    @property
    def state(self) -> GroupState:
        """Kafka's word for what the group is doing."""
        if not self.members:
            return "Empty"
        return "PreparingRebalance" if any(member.revoking for member in self.members.values()) else "Stable"

    def describe_members(self) -> tuple[GroupMember, ...]:
        """Its members, in the order in which partitions are assigned."""
        return tuple(
            GroupMember(id=member.id, instance_id=member.instance_id, partitions=tuple(sorted(member.owned)))
            for member in self._in_order()
        )
