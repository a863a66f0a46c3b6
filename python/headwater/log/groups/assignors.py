"""The assignors: which member should own which partition. Pure functions of who subscribes and who owns what now.

`assign_range` is Kafka's range assignment, which looks at nothing but the subscriptions. `assign_cooperative_sticky`
starts from what everybody owns and moves as little as balance needs. Both are fixed points: run again over their own
result they move nothing, so that a rebalance that nothing has caused changes nothing.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Mapping

from headwater._typing import PartitionAssignmentStrategy
from headwater.records import TopicPartition

Owners = dict[TopicPartition, str]
Subscriptions = Mapping[str, Collection[str]]
Assignor = Callable[[Subscriptions, Mapping[str, int], Mapping[TopicPartition, str]], Owners]


def assign_range(members: Subscriptions, partitions: Mapping[str, int], owned: Mapping[TopicPartition, str]) -> Owners:
    """Kafka's range assignment: each topic's partitions in contiguous ranges over its members, in the order given.

    Args:
        members: Member id to the topics it subscribes to.
        partitions: Topic to partition count.
        owned: Who owns what now, which this assignor does not look at.

    Returns:
        The owner of every partition that somebody subscribes to.
    """
    owners: Owners = {}
    for topic, count in partitions.items():
        subscribed = [member for member, topics in members.items() if topic in topics]
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


def assign_cooperative_sticky(
    members: Subscriptions, partitions: Mapping[str, int], owned: Mapping[TopicPartition, str]
) -> Owners:
    """As even as the subscriptions allow, moving as little as that needs.

    Everybody keeps what it has; partitions without an owner go to the subscriber with the fewest; then, as long as a
    member has two partitions more than one that it can hand something to, be it through others that pass something on,
    one partition moves. With equal subscriptions nobody passes on: everything moves from the fullest to the emptiest.

    Args:
        members: Member id to the topics it subscribes to.
        partitions: Topic to partition count.
        owned: Who owns what now.

    Returns:
        The owner of every partition that somebody subscribes to.
    """
    sharing = _Sharing(members, partitions)
    sharing.place(owned)
    while sharing.improve():
        pass
    return {place: member for member, topics in sharing.held.items() for held in topics.values() for place in held}


ASSIGNORS: dict[PartitionAssignmentStrategy, Assignor] = {
    "range": assign_range,
    "cooperative-sticky": assign_cooperative_sticky,
}


class _Sharing:
    """An assignment in the making."""

    def __init__(self, members: Subscriptions, partitions: Mapping[str, int]) -> None:
        self._partitions = partitions
        self._subscribers = {
            topic: [member for member, topics in members.items() if topic in topics] for topic in partitions
        }
        # By member and topic, in the order in which they came: what came last goes first, and costs nothing to find.
        self.held: dict[str, dict[str, list[TopicPartition]]] = {member: defaultdict(list) for member in members}
        self._load = dict.fromkeys(members, 0)

    def place(self, owned: Mapping[TopicPartition, str]) -> None:
        """Give every partition to its owner, and those without one to the emptiest; first those with little choice."""
        homeless: list[TopicPartition] = []
        for topic in sorted(self._partitions, key=lambda topic: (len(self._subscribers[topic]), topic)):
            subscribed = set(self._subscribers[topic])
            for place in (TopicPartition(topic, number) for number in range(self._partitions[topic])):
                owner = owned.get(place)
                if owner in subscribed:
                    self._give(place, owner)
                elif subscribed:
                    homeless.append(place)
        for place in homeless:
            self._give(place, min(self._subscribers[place.topic], key=self._load.__getitem__))

    def improve(self) -> bool:
        """Move one partition, or one along each step of a chain, from a fuller member to an emptier one."""
        for source in sorted(self._load, key=self._load.__getitem__, reverse=True):
            came_from = self._reachable(source)
            target = min(came_from, key=self._load.__getitem__)
            if self._load[target] + 2 <= self._load[source]:
                while target != source:
                    giver, topic = came_from[target]
                    self._give(self.held[giver][topic].pop(), target)
                    self._load[giver] -= 1
                    target = giver
                return True
        return False

    def _reachable(self, source: str) -> dict[str, tuple[str, str]]:
        """Who can get a partition from `source`, in the fewest steps: each with its giver and the topic it is of."""
        came_from: dict[str, tuple[str, str]] = {source: (source, "")}
        spread: set[str] = set()  # topics whose subscribers are all found
        waiting = deque([source])
        while waiting:
            giver = waiting.popleft()
            for topic in sorted(topic for topic, held in self.held[giver].items() if held and topic not in spread):
                spread.add(topic)
                for member in self._subscribers[topic]:
                    if member not in came_from:
                        came_from[member] = (giver, topic)
                        waiting.append(member)
        return came_from

    def _give(self, place: TopicPartition, member: str) -> None:
        self.held[member][place.topic].append(place)
        self._load[member] += 1
