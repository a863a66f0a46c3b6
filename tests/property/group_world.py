"""A group of real consumers on a broker in memory, driven step by step, with a clock of its own and a recorded history."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import headwater as hw
from headwater.log.groups import GroupCoordinator, Member
from headwater.records import TopicPartition
from tests.property.group_history import Committed, Delivered, History, Reset, Snapshot

PARTITIONS_MAX = 7
MAX_POLL_SECONDS = 300
SESSION_SECONDS = 45


class RecordingCoordinator(GroupCoordinator):
    """Writes down under which grant a member delivers, and what is committed under which, in the order of the lock."""

    def __init__(self, shared: Any, history: History, **options: Any) -> None:
        super().__init__(shared.partitions_of, shared.core.notify, **options)
        self.history = history
        self.delivering: dict[tuple[str, TopicPartition], int] = {}

    def mark_dirty(self, member: Member, partition: TopicPartition, grant: int) -> bool:
        is_owner = super().mark_dirty(member, partition, grant)
        if is_owner:
            self.delivering[member.id, partition] = grant
        return is_owner

    def commit(
        self,
        member: Member,
        offsets: Mapping[TopicPartition, int],
        grants: Mapping[TopicPartition, int],
        write: Callable[[dict[TopicPartition, int]], None],
    ) -> None:
        def record(kept: dict[TopicPartition, int]) -> None:
            write(kept)
            self.history.add(Committed(member.id, p, grants[p], offset) for p, offset in kept.items())

        super().commit(member, offsets, grants, record)

    def delivered(self, member: str, record: hw.Record[Any, Any]) -> Delivered:
        """A record as an event, under the grant by which it was handed out."""
        place = TopicPartition(record.topic, record.partition)
        return Delivered(member, place, self.delivering[member, place], record.offset)

    def snapshot(self, group: str, partitions: int) -> Snapshot:
        """Who owns what now."""
        self.describe(group)  # those who are over their time go now
        found = self._groups.get(group)
        members = {} if found is None else found.members
        owned = tuple((m.id, place, grant) for m in members.values() for place, grant in m.owned.items())
        return Snapshot(owned, partitions, len(members))


class World:
    """Topic ``t`` and group ``g``; every method is one step that a schedule may take."""

    def __init__(self, broker: hw.Broker, rng: random.Random, coordinator: type[RecordingCoordinator]) -> None:
        self.broker = broker
        self.rng = rng
        self.history = History()
        self.now = 0.0
        self.partitions = 3
        self.strategy = rng.choice(["range", "cooperative-sticky"])
        self.done: Counter[str] = Counter()  # what happened how often, to show that schedules get around
        self._open: list[hw.Consumer[Any, Any]] = []
        broker.create_topic("t", partitions=self.partitions)
        self.groups = coordinator(broker._shared, self.history, monotonic=lambda: self.now)
        broker._shared.groups = self.groups

    def run(self, steps: int) -> None:
        """Take random steps, then read and commit what is left."""
        choices = {
            self.produce: 4,
            self.join: 3,
            self.join_with_another_strategy: 1,
            self.poll: 12,
            self.commit: 6,
            self.close: 2,
            self.bounce: 2,
            self.kill: 1,
            self.wait: 2,
            self.grow: 1,
            self.reset: 1,
        }
        for step in self.rng.choices(list(choices), list(choices.values()), k=steps):
            step()
            self.history.add([self.groups.snapshot("g", self.partitions)])
        self.finish()

    def ends(self) -> dict[TopicPartition, int]:
        """How many records each partition has."""
        return {TopicPartition("t", p): end for p, (_, end) in self.broker.offsets("t").items()}

    # --- steps --------------------------------------------------------------------------------------------------------

    def produce(self) -> None:
        with self.broker.producer() as producer:
            for _ in range(self.rng.randrange(1, 30)):
                producer.send("t", value=0, partition=self.rng.randrange(self.partitions))

    def join(self) -> None:
        if len(self._open) < 6:
            self._open.append(self._consumer(self.rng.choice([None, None, "one", "two"])))

    def join_with_another_strategy(self) -> None:
        if self.groups.members("g"):
            other = "range" if self.strategy == "cooperative-sticky" else "cooperative-sticky"
            try:
                self._consumer(None, strategy=other)
            except hw.InvalidArgumentError:
                self.done["refused strategies"] += 1
            else:
                raise AssertionError("two strategies in one group")

    def poll(self) -> None:
        self._with_a_consumer(lambda consumer: consumer.poll(timeout="0s", max_records=self.rng.choice([1, 5, None])))

    def commit(self) -> None:
        def commit(consumer: hw.Consumer[Any, Any]) -> list[Any]:
            consumer.commit()
            return []

        self._with_a_consumer(commit)

    def close(self) -> None:
        if self._open:
            self._take().close()
            self.done["closed"] += 1

    def bounce(self) -> None:
        """A static member closes and comes back in time: nobody notices."""
        present = {member.instance_id for member in self.groups.describe("g")[2]}
        chosen = [c for c in self._open if c._member and c._member.instance_id in present - {None}]
        if not chosen or self.groups.describe("g")[0] != "Stable":
            return
        former = self.rng.choice(chosen)
        self._open.remove(former)
        before = self.groups.snapshot("g", self.partitions).owned
        assert former._member is not None
        is_in_charge = any(member == former._member.id for member, _, _ in before)
        former.close()
        self.now += self.rng.choice([0, SESSION_SECONDS - 1])
        others = {owner for owner in before if owner[0] != former._member.id}
        if not is_in_charge or any(m.is_silent(self.now) for m in self.groups._groups["g"].members.values()):
            return  # it was fenced already, or somebody else runs out of time just now
        self._open.append(self._consumer(former._member.instance_id))
        after = self.groups.snapshot("g", self.partitions).owned
        assert others <= set(after), "a static member that came back moved somebody else's partitions"
        assert {place for _, place, _ in before} == {place for _, place, _ in after}
        self.done["bounced"] += 1

    def kill(self) -> None:
        """Nobody holds a consumer any more, and nobody has closed it."""
        if self._open:
            self._take()
            self.done["killed"] += 1

    def wait(self) -> None:
        self.now += self.rng.choice(
            [1, SESSION_SECONDS + 1, MAX_POLL_SECONDS + 1, MAX_POLL_SECONDS + SESSION_SECONDS + 1]
        )

    def grow(self) -> None:
        if self.partitions < PARTITIONS_MAX:
            self.partitions += 1
            self.broker.add_partitions("t", self.partitions)
            self.done["grown"] += 1

    def reset(self) -> None:
        """Back to an earlier place, if nobody is in the group."""
        if self.groups.members("g") or not self.broker.committed("g"):
            return
        how: dict[str, Any] = self.rng.choice([{"to": "earliest"}, {"shift_by": -3}, {"to": 0}])
        self.history.add(Reset(place, reset.new) for place, reset in self.broker.reset_offsets("g", **how).items())
        self.done["reset"] += 1

    def finish(self) -> None:
        """Everybody goes; one last member reads and commits what is left."""
        while self._open:
            self._take().close()
        self.now += MAX_POLL_SECONDS + SESSION_SECONDS + 1
        self.history.add([self.groups.snapshot("g", self.partitions)])
        with self._consumer(None) as last:
            while found := last.poll(timeout="0s"):
                self._deliver(last, found)
            last.commit()

    # --- with -------------------------------------------------------------------------------------------------------

    def _consumer(self, instance_id: str | None, *, strategy: Any = None) -> hw.Consumer[Any, Any]:
        return self.broker.consumer(
            "t",
            group="g",
            auto_offset_reset="earliest",
            auto_commit=self.rng.random() < 0.3,
            auto_commit_interval="0s",
            fetch_size=self.rng.choice([100, 100_000]),
            partition_assignment_strategy=strategy or self.strategy,
            group_instance_id=instance_id,
            max_poll_interval=f"{MAX_POLL_SECONDS}s",
            session_timeout=f"{SESSION_SECONDS}s",
        )

    def _take(self) -> hw.Consumer[Any, Any]:
        return self._open.pop(self.rng.randrange(len(self._open)))

    def _with_a_consumer(self, step: Callable[[hw.Consumer[Any, Any]], list[hw.Record[Any, Any]]]) -> None:
        if not self._open:
            return
        consumer = self.rng.choice(self._open)
        try:
            self._deliver(consumer, step(consumer))
        except hw.FencedInstanceIdError:
            self._open.remove(consumer)
            consumer.close()
            self.done["fenced"] += 1
        except hw.ClosedError as error:
            if "max_poll_interval" not in str(error):
                raise
            self.done["refused commits"] += 1

    def _deliver(self, consumer: hw.Consumer[Any, Any], found: list[hw.Record[Any, Any]]) -> None:
        assert consumer._member is not None
        self.history.add([self.groups.delivered(consumer._member.id, record) for record in found])
