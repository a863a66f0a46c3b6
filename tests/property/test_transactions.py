"""Transactions against a model: producers, zombies, groups, restarts and crashes in any order, compared after each step."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import headwater as hw
from tests.property.transaction_model import Model, Place, Producer

PARTITIONS = {"a": 2, "b": 1}
PLACES: list[Place] = [(topic, number) for topic, count in PARTITIONS.items() for number in range(count)]
IDS = st.sampled_from(["one", "two", "three"])
PICK = st.integers(0, 1 << 16)
_MEMORY = Path("/dev/shm")  # syncs of a disk would take all the time, and nothing here depends on them


class Transactions(RuleBasedStateMachine):
    """A broker on a disk and the model of it."""

    def __init__(self) -> None:
        super().__init__()
        self.root = tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None)
        self.restarts = 0
        self.values = 0
        self.model = Model()
        self.path = Path(self.root.name) / "0"
        self.broker = hw.open(self.path, durability="os")
        self.producers: list[tuple[hw.Producer, Producer]] = []
        self.consumer: hw.Consumer[bytes, str] | None = None

    @initialize()
    def make_topics(self) -> None:
        for topic, count in PARTITIONS.items():
            # Small segments, so that transactions and their markers lie in several.
            self.broker.create_topic(topic, partitions=count, value=str, config={"segment.bytes": "1024"})
        self._start()

    def teardown(self) -> None:
        self._stop()
        self.broker.close()
        self.root.cleanup()

    def _start(self) -> None:
        self.plain = self.broker.producer(linger="0s")

    def _stop(self) -> None:
        if self.consumer is not None:
            self.consumer.close()
            self.consumer = None
        for producer, _ in self.producers:
            producer.close()
        self.producers = []
        self.plain.close()

    def _living(self, pick: int, *, is_open: bool) -> tuple[hw.Producer, Producer] | None:
        living = [p for p in self.producers if not p[1].is_fenced and (p[1].transaction is not None) == is_open]
        return living[pick % len(living)] if living else None

    # --- producers ----------------------------------------------------------------------------------------------------

    @rule(id=IDS)
    def make_producer(self, id: str) -> None:
        self.producers.append((self.broker.producer(transactional_id=id, linger="1h"), self.model.producer(id)))

    @rule(pick=PICK)
    def begin(self, pick: int) -> None:
        if chosen := self._living(pick, is_open=False):
            chosen[0].begin()
            self.model.begin(chosen[1])

    @rule(pick=PICK, place=st.sampled_from(PLACES), count=st.integers(1, 3))
    def send(self, pick: int, place: Place, count: int) -> None:
        if chosen := self._living(pick, is_open=True):
            self._send(chosen[0], chosen[1], place, count)

    @rule(place=st.sampled_from(PLACES), count=st.integers(1, 3))
    def send_plain(self, place: Place, count: int) -> None:
        self._send(self.plain, None, place, count)

    def _send(self, producer: hw.Producer, model: Producer | None, place: Place, count: int) -> None:
        values = [f"{self.values + number}" for number in range(count)]
        self.values += count
        handles = [producer.send(place[0], partition=place[1], value=value) for value in values]
        for value, handle in zip(values, handles, strict=True):
            self.model.append(place, handle.result().offset, value, model)

    @rule(pick=PICK, place=st.sampled_from(PLACES), offset=st.integers(0, 99))
    def send_offsets(self, pick: int, place: Place, offset: int) -> None:
        if chosen := self._living(pick, is_open=True):
            chosen[0].send_offsets({place: offset}, group="mapped")
            self.model.commit_offset("mapped", place, offset, chosen[1])

    @rule(place=st.sampled_from(PLACES), offset=st.integers(0, 99))
    def commit_plain_offset(self, place: Place, offset: int) -> None:
        self.broker._shared.core.commit_offsets("mapped", [(*place, offset, "")])
        self.model.commit_offset("mapped", place, offset)

    @rule(pick=PICK, commits=st.booleans())
    def end(self, pick: int, commits: bool) -> None:
        if chosen := self._living(pick, is_open=True):
            if commits:
                chosen[0].commit()
            else:
                chosen[0].abort()
            self.model.end(chosen[1], "committed" if commits else "aborted")

    @precondition(lambda self: any(model.is_fenced for _, model in self.producers))
    @rule(pick=PICK, action=st.sampled_from(["begin", "send", "send_offsets", "commit", "abort", "close"]))
    def zombie(self, pick: int, action: str) -> None:
        zombies = [pair for pair in self.producers if pair[1].is_fenced]
        pair = producer, model = zombies[pick % len(zombies)]
        # One that knows of no transaction of its own is told that first.
        if action == "close":
            producer.close()
            self.producers.remove(pair)
        elif action == "send":
            with pytest.raises(hw.InvalidArgumentError if model.transaction is None else hw.ProducerFencedError):
                producer.send("a", value="of a zombie").result()
        elif action == "send_offsets":
            with pytest.raises(hw.InvalidArgumentError if model.transaction is None else hw.ProducerFencedError):
                producer.send_offsets({("a", 0): 50}, group="mapped")
        else:
            with pytest.raises(hw.ProducerFencedError):
                getattr(producer, action)()

    @rule(pick=PICK, is_open=st.booleans())
    def close_producer(self, pick: int, is_open: bool) -> None:
        if chosen := self._living(pick, is_open=is_open):
            chosen[0].close()
            self.model.end(chosen[1], "aborted")
            self.producers.remove(chosen)

    # --- a consumer in a group ----------------------------------------------------------------------------------------

    @rule()
    def make_consumer(self) -> None:
        if self.consumer is not None:
            self.consumer.close()
        self.consumer = self.broker.consumer(
            list(PARTITIONS), group="read", auto_offset_reset="earliest", isolation_level="read_committed"
        )
        committed, undecided = self.model.committed_offsets("read"), self.model.undecided_offsets("read")
        assert {tuple(place) for place in self.consumer.assignment()} == set(PLACES) - undecided
        for place in self.consumer.assignment():
            assert self.consumer.position(*place) == committed.get(tuple(place), 0)

    @precondition(lambda self: self.consumer is not None)
    @rule(most=st.integers(1, 4))
    def poll(self, most: int) -> None:
        assert self.consumer is not None
        before = {tuple(place): self.consumer.position(*place) for place in self.consumer.assignment()}
        records = self.consumer.poll(timeout="0s", max_records=most)
        committed, undecided = self.model.committed_offsets("read"), self.model.undecided_offsets("read")
        # What had to wait for a transaction begins where that has left it.
        for place in set(PLACES) - before.keys() - undecided:
            before[place] = committed.get(place, 0)
        due = {p: [r for r in self.model.committed_records(p) if r[0] >= start] for p, start in before.items()}
        if records:
            place = (records[0].topic, records[0].partition)
            assert [(record.offset, record.value) for record in records] == due[place][: len(records)]
        else:
            assert not any(due.values()), "records that count are not held back"

    @precondition(lambda self: self.consumer is not None)
    @rule(pick=PICK)
    def send_offsets_of_consumer(self, pick: int) -> None:
        assert self.consumer is not None
        if chosen := self._living(pick, is_open=True):
            known = self.model.committed_offsets("read")
            chosen[0].send_offsets(self.consumer)
            for place in self.consumer.assignment():
                position = self.consumer.position(*place)
                if position != known.get(tuple(place)):
                    self.model.commit_offset("read", tuple(place), position, chosen[1])

    @precondition(lambda self: self.consumer is not None)
    @rule()
    def seek_to_committed(self) -> None:
        assert self.consumer is not None
        self.consumer.seek_to_committed()
        committed = self.model.committed_offsets("read")
        for place in self.consumer.assignment():
            assert self.consumer.position(*place) == committed.get(tuple(place), 0)

    # --- the broker ---------------------------------------------------------------------------------------------------

    @rule(is_killed=st.booleans())
    def restart(self, is_killed: bool) -> None:
        if is_killed:  # what the files hold at this moment is what a killed process leaves
            self.restarts += 1
            image = Path(self.root.name) / f"{self.restarts}"
            shutil.copytree(self.path, image)
        self._stop()
        self.broker.close()
        if is_killed:
            shutil.rmtree(self.path)
            self.path = image
        self.model.restart()
        self.broker = hw.open(self.path, durability="os")
        self._start()

    # --- what must hold at any time -----------------------------------------------------------------------------------

    @invariant()
    def readers_see_what_the_model_says(self) -> None:
        for level, expected in (
            ("read_committed", self.model.committed_records),
            ("read_uncommitted", self.model.all_records),
        ):
            seen: dict[Place, list[tuple[int, str]]] = {place: [] for place in PLACES}
            options: dict[str, Any] = {"auto_offset_reset": "earliest", "isolation_level": level, "timeout": "0s"}
            with self.broker.consumer(list(PARTITIONS), **options) as consumer:
                for record in consumer:
                    seen[record.topic, record.partition].append((record.offset, record.value))
            assert seen == {place: expected(place) for place in PLACES}, level

    @invariant()
    def no_stable_offset_passes_an_open_transaction(self) -> None:
        for topic in PARTITIONS:
            for found in self.broker.describe_partitions(topic):
                place = (topic, found.partition)
                assert found.last_stable_offset == self.model.last_stable(place, found.high_watermark)

    @invariant()
    def offsets_are_those_that_count(self) -> None:
        for group in ("mapped", "read"):
            committed = {tuple(place): offset for place, offset in self.broker.committed(group).items()}
            assert committed == self.model.committed_offsets(group)


def run(examples: int, steps: int) -> None:
    limits = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    run_state_machine_as_test(Transactions, settings=limits)  # type: ignore[no-untyped-call]


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, logger="headwater")  # an image of a running log is recovered with warnings


def test_a_broker_does_what_the_model_says() -> None:
    run(examples=60, steps=40)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_broker_does_what_the_model_says_for_long() -> None:
    run(examples=int(os.environ.get("HEADWATER_EXAMPLES", "3000")), steps=60)
