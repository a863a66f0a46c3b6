"""What a group looks like from outside: its members, what it has committed, and how far behind it is."""

from __future__ import annotations

from typing import Literal

import msgspec

from headwater._typing import PartitionAssignmentStrategy
from headwater.records import TopicPartition

GroupState = Literal["Stable", "PreparingRebalance", "Empty"]


class GroupMember(msgspec.Struct, frozen=True, kw_only=True):
    """One member of a group.

    Attributes:
        id: The member's id, which the coordinator chose.
        instance_id: The ``group_instance_id`` of a static member, or None.
        partitions: What it owns, in order.
    """

    id: str
    instance_id: str | None
    partitions: tuple[TopicPartition, ...]


class GroupDescription(msgspec.Struct, frozen=True, kw_only=True):
    """A group as it is at one moment.

    Attributes:
        name: The group's name.
        state: In Kafka's words: ``"Stable"``, ``"PreparingRebalance"`` while a partition waits for its owner to give it
            back, or ``"Empty"`` without members.
        strategy: How its partitions are assigned; None without members.
        members: Who is in it, in the order in which partitions are assigned; static members that are away included.
        committed: The next offset to read, by partition.
        lag: How many offsets lie between that and the end, by partition; a topic deleted since is left out.
    """

    name: str
    state: GroupState
    strategy: PartitionAssignmentStrategy | None
    members: tuple[GroupMember, ...]
    committed: dict[TopicPartition, int]
    lag: dict[TopicPartition, int]


class OffsetReset(msgspec.Struct, frozen=True, kw_only=True):
    """What a reset did to one partition.

    Attributes:
        old: The offset that was committed before, or None.
        new: The offset that is committed now.
    """

    old: int | None
    new: int
