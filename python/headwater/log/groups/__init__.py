"""Consumer groups inside one process: who reads which partition, and how a partition changes hands.

Members of a group share the partitions of their topics as one of two assignors says. When a member joins or leaves, or
a topic gains partitions, the target assignment is computed anew and every partition moves on its own (Kafka's
cooperative protocol): one that its owner holds *dirty* (records delivered and not yet committed) stays where it is until
the owner comes back for more, so that it can commit what it has done; every other moves at once. An owner that does not
come back within its ``max_poll_interval`` loses its partitions, and its later commits are refused.

A **static member** has an instance id. When it closes it is *away*: its place and its partitions stay its own for
``session_timeout``, and whoever comes with the same instance id takes them over. If the member was not away, it is
fenced: everything it asks for from then on is refused.

**Invariants**
1. A partition has at most one owner at any time; only the owner's commits are taken.
2. A clean partition's next record has never been delivered by its owner: so what is repeated after a rebalance is at
   most what was delivered and not committed.
3. Every change of hands is a *grant* with a number of its own. A member acts on a partition under the grant that it has
   seen: one that it lost and got back meanwhile is a new one, and begins at the committed offset. What a static member
   takes over from its former self counts as a change of hands.
4. A partition that comes to a topic while the group has members is read from its first record.

Layout: `assignors` who should own what, `group` one group's members and their partitions, `coordinator` all groups
behind one lock that is never held while records are read or user code runs, `describing` and `resetting` what
administrators ask for.
"""

from __future__ import annotations

from headwater.log.groups.assignors import ASSIGNORS, assign_cooperative_sticky, assign_range
from headwater.log.groups.coordinator import GroupCoordinator
from headwater.log.groups.describing import GroupDescription, GroupMember, OffsetReset
from headwater.log.groups.group import Group, Member
from headwater.log.groups.resetting import ResetTarget, of_consumers, plan_reset

__all__ = [
    "ASSIGNORS",
    "Group",
    "GroupCoordinator",
    "GroupDescription",
    "GroupMember",
    "Member",
    "OffsetReset",
    "ResetTarget",
    "assign_cooperative_sticky",
    "assign_range",
    "of_consumers",
    "plan_reset",
]
