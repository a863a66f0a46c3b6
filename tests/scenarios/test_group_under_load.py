"""A consumer group under load: members come and go while records flow, and the recorded history is checked.

The claim: every record is delivered at least once; a record is delivered again only if it had not been committed when its
partition changed hands; the deliveries of one member from one partition are in order; and no two members hold a partition
at the same time.
"""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict

import headwater as hw

PARTITIONS = 6
RECORDS = 30_000
SEED = 20_260


class History:
    """What happened, in the order in which it did."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.events: list[tuple[str, int, int, int]] = []
        self.seen: set[tuple[int, int]] = set()

    def add(self, kind: str, member: int, partition: int, offset: int) -> None:
        with self.lock:
            self.events.append((kind, member, partition, offset))
            if kind == "deliver":
                self.seen.add((partition, offset))

    def distinct(self) -> int:
        with self.lock:
            return len(self.seen)


def work(broker: hw.Broker, history: History, member: int, stop: threading.Event, rng: random.Random) -> None:
    commit_after = rng.choice([1, 50, 400])
    limit = rng.choice([200, 3_000, 10**9])
    count = 0
    with broker.consumer(
        "t", group="g", auto_offset_reset="earliest", value=int, timeout="20ms", fetch_size=4_000
    ) as consumer:
        while not stop.is_set() and count < limit:
            for record in consumer:
                history.add("deliver", member, record.partition, record.offset)
                count += 1
                if count % commit_after == 0:
                    commit(consumer, history, member)
                if count >= limit:
                    break
        if rng.random() < 0.7:
            commit(consumer, history, member)
        history.add("leave", member, -1, -1)


def commit(consumer: hw.Consumer[bytes, int], history: History, member: int) -> None:
    positions = {place: consumer.position(*place) for place in consumer.assignment()}
    consumer.commit()
    for (_, partition), offset in positions.items():
        history.add("commit", member, partition, offset)


def test_a_rebalance_repeats_at_most_what_was_not_committed() -> None:
    rng = random.Random(SEED)
    history, stop = History(), threading.Event()
    with hw.open("memory:") as broker:
        broker.create_topic("t", partitions=PARTITIONS)

        def produce() -> None:
            with broker.producer(batch_size=2_000) as producer:
                for i in range(RECORDS):
                    producer.send("t", value=i, partition=i % PARTITIONS)
                    if i % 1_000 == 0:
                        time.sleep(0.01)

        threads = [threading.Thread(target=produce)]
        threads[0].start()
        members = []
        for member in range(14):
            seeded = random.Random(rng.random())
            members.append(threading.Thread(target=work, args=(broker, history, member, stop, seeded)))
            members[-1].start()
            time.sleep(0.05)
        threads[0].join()
        # Members with a limit have gone by now or go soon; the others read to the end.
        while history.distinct() < RECORDS and any(thread.is_alive() for thread in members):
            time.sleep(0.02)
        stop.set()
        for thread in members:
            thread.join()
        # Whatever the last members left uncommitted.
        with broker.consumer("t", group="g", auto_offset_reset="earliest", timeout="0s") as last:
            for record in last:
                history.add("deliver", 100, record.partition, record.offset)

    check(history)


def check(history: History) -> None:
    delivered: dict[int, set[int]] = defaultdict(set)
    committed: dict[int, int] = defaultdict(int)
    last: dict[tuple[int, int], int] = {}
    owner: dict[int, int] = {}
    repeated = 0
    for kind, member, partition, offset in history.events:
        if kind == "commit":
            committed[partition] = max(committed[partition], offset)
        elif kind == "deliver":
            if offset in delivered[partition]:
                repeated += 1
            assert offset >= committed[partition], (
                f"member {member} got partition {partition} offset {offset} after {committed[partition]} was committed"
            )
            if owner.get(partition) == member:
                # In order and without a gap; or the partition went away and came back, and begins where it was committed.
                assert offset in (last[member, partition] + 1, committed[partition])
            owner[partition] = member
            last[member, partition] = offset
            delivered[partition].add(offset)
    for partition in range(PARTITIONS):
        assert delivered[partition] == set(range(RECORDS // PARTITIONS)), f"partition {partition} is incomplete"
    assert repeated < RECORDS, "rebalances repeat little"
