"""A consumer group under load: threads join and leave while records flow, and the recorded history is checked.

The claim: every record is delivered at least once; a record is delivered again only if it had not been committed when its
partition changed hands; the deliveries of one member from one partition are in order; and no two members hold a partition
at the same time.
"""

from __future__ import annotations

import itertools
import random
import threading

import pytest

import headwater as hw
from headwater._typing import PartitionAssignmentStrategy
from headwater.records import TopicPartition
from tests.property.group_history import History, check
from tests.property.group_world import RecordingCoordinator

PARTITIONS = 6
MEMBERS = 14
AHEAD = 3_000  # records that the producer may be ahead of the members


class Load:
    """A broker with one topic, a producer that keeps ahead of the members, and members that come and go."""

    def __init__(self, broker: hw.Broker, strategy: PartitionAssignmentStrategy, seed: int, records: int) -> None:
        self.broker = broker
        self.strategy = strategy
        self.rng = random.Random(seed)
        self.records = records
        self.history = History()
        self.partitions = PARTITIONS - 2  # two come later
        self.groups = RecordingCoordinator(broker._shared, self.history)
        broker._shared.groups = self.groups
        broker.create_topic("t", partitions=self.partitions)

    def run(self) -> None:
        threads = [threading.Thread(target=self.produce)]
        threads += [threading.Thread(target=self.work, args=(m, self.rng.random())) for m in range(MEMBERS)]
        for number, thread in enumerate(threads):
            thread.start()
            if number > 0:  # the next member comes when these have got somewhere
                self.history.wait_for(self.records * number // (MEMBERS + 4))
            if number == MEMBERS // 2:
                self.broker.add_partitions("t", PARTITIONS)
                self.partitions = PARTITIONS
        for thread in threads:
            thread.join()
        with self.consumer(None) as last:  # what the last members left uncommitted
            while len(last.assignment()) < PARTITIONS or any(last.lag().values()):  # static ones may still be away
                self.deliver(last, last.poll())
            last.commit()
        ends = {TopicPartition("t", p): end for p, (_, end) in self.broker.offsets("t").items()}
        assert sum(ends.values()) == self.records
        check(self.history.events, ends)

    def produce(self) -> None:
        with self.broker.producer(batch_size=2_000) as producer:
            for i in range(self.records):
                producer.send("t", value=i, partition=i % self.partitions)
                if i % AHEAD == AHEAD - 1:
                    producer.flush()
                    self.history.wait_for(i - 2 * AHEAD)

    def work(self, number: int, seed: float) -> None:
        """Read, committing now and then; a static member leaves and comes back, others leave for good; two stay."""
        rng = random.Random(seed)
        instance = f"i{number}" if number % 3 == 1 else None
        is_leaving = number >= 2
        for _ in range(3 if instance else 1):
            limit = rng.choice([200, 1_500]) if is_leaving else None
            with self.consumer(instance, auto_commit=rng.random() < 0.3) as consumer:
                self.read(consumer, limit, commit_after=rng.choice([1, 50, 400]))
                if rng.random() < 0.7:
                    consumer.commit()

    def read(self, consumer: hw.Consumer[bytes, int], limit: int | None, commit_after: int) -> None:
        count = itertools.count(1)
        while self.history.distinct() < self.records:
            for record in consumer:
                self.deliver(consumer, [record])
                done = next(count)
                if done % commit_after == 0:
                    consumer.commit()
                if done == limit:
                    return

    def consumer(self, instance: str | None, *, auto_commit: bool = False) -> hw.Consumer[bytes, int]:
        return self.broker.consumer(
            "t",
            group="g",
            auto_offset_reset="earliest",
            value=int,
            timeout="20ms",
            fetch_size=4_000,
            auto_commit=auto_commit,
            auto_commit_interval="0s",
            partition_assignment_strategy=self.strategy,
            group_instance_id=instance,
            session_timeout="50ms",
        )

    def deliver(self, consumer: hw.Consumer[bytes, int], found: list[hw.Record[bytes, int]]) -> None:
        assert consumer._member is not None
        self.history.add([self.groups.delivered(consumer._member.id, record) for record in found])


@pytest.mark.parametrize("strategy", ["range", "cooperative-sticky"])
def test_a_rebalance_repeats_at_most_what_was_not_committed(strategy: PartitionAssignmentStrategy) -> None:
    with hw.open("memory:") as broker:
        Load(broker, strategy, seed=20_260, records=30_000).run()


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("strategy", ["range", "cooperative-sticky"])
def test_a_long_life_of_rebalances(strategy: PartitionAssignmentStrategy) -> None:
    for seed in range(100):
        with hw.open("memory:") as broker:
            Load(broker, strategy, seed, records=100_000).run()
