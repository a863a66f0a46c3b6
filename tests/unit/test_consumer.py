"""A consumer: positions, commits, resets, seeks, pauses, errors in the data, and groups that share partitions."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

import headwater as hw


class Ride(msgspec.Struct):
    zone: int


@pytest.fixture
def broker() -> Iterator[hw.Broker]:
    with hw.open("memory:") as opened:
        opened.create_topic("t", partitions=2)
        yield opened


def fill(broker: hw.Broker, count: int, *, start: int = 0, topic: str = "t", partitions: int = 2) -> None:
    with broker.producer() as producer:
        for i in range(start, start + count):
            producer.send(topic, value=i, partition=i % partitions, timestamp=1000 + i)


def consumer(broker: hw.Broker, **options: Any) -> hw.Consumer[Any, Any]:
    chosen = {"auto_offset_reset": "earliest", "timeout": "0s", "value": int, **options}
    return broker.consumer(chosen.pop("topics", "t"), **chosen)


def values(found: Any) -> list[Any]:
    return sorted(record.value for record in found)


def test_a_committed_position_is_where_the_group_goes_on(broker: hw.Broker) -> None:
    fill(broker, 10)
    with consumer(broker, group="g") as first:
        taken = []
        for record in first:
            taken.append(record.value)
            if len(taken) == 3:
                break
        first.commit()
        assert sum(first.lag().values()) == 7
    with consumer(broker, group="g") as second:
        assert values(second) == sorted(set(range(10)) - set(taken))
        assert set(second.lag().values()) == {0}
    with consumer(broker, group="g") as third:
        assert len(list(third)) == 7, "nobody committed in between"


def test_breaking_out_of_a_loop_and_going_on_loses_and_repeats_nothing(broker: hw.Broker) -> None:
    fill(broker, 1000)
    with consumer(broker) as reader:
        seen = []
        while True:
            before = len(seen)
            for record in reader:
                seen.append(record.value)
                if len(seen) % 7 == 0:
                    break
            if len(seen) == before:
                break
            seen.extend(record.value for record in reader.poll(max_records=3))
        assert sorted(seen) == list(range(1000))
        assert reader.statistics().records == 1000


def test_the_reset_policy_rules_without_a_committed_offset(broker: hw.Broker) -> None:
    fill(broker, 4)
    with consumer(broker, group="g", auto_offset_reset="latest") as latest:
        assert list(latest) == []
        fill(broker, 2, start=4)
        assert values(latest) == [4, 5]
    with pytest.raises(hw.OffsetOutOfRangeError, match='auto_offset_reset="earliest"') as caught:
        consumer(broker, group="other", auto_offset_reset="none")
    assert caught.value.topic == "t"
    assert broker._shared.groups.members("other") == {}
    with consumer(broker, group="g") as committing:
        committing.commit({("t", 0): 1, ("t", 1): 2})
    with consumer(broker, group="g", auto_offset_reset="none") as known:
        assert values(known) == [2, 4, 5]
    assert broker.committed("g") == {hw.TopicPartition("t", 0): 1, hw.TopicPartition("t", 1): 2}
    assert broker.lag("g") == {hw.TopicPartition("t", 0): 2, hw.TopicPartition("t", 1): 1}


def test_j06_an_offset_beyond_the_end_is_reset_or_an_error(broker: hw.Broker) -> None:
    fill(broker, 4)
    with consumer(broker) as reader:
        reader.seek("t", 0, 99)
        assert values(reader) == [0, 1, 2, 3]
    with consumer(broker, group="g") as writer:
        writer.commit({("t", 0): 99, ("t", 1): 0})
    with consumer(broker, group="g", auto_offset_reset="none") as strict, pytest.raises(hw.OffsetOutOfRangeError):
        list(strict)


def test_seek_moves_even_in_the_middle_of_a_batch(broker: hw.Broker) -> None:
    fill(broker, 10, partitions=1)
    with consumer(broker) as reader:
        seen = []
        for record in reader:
            seen.append(record.value)
            if seen == [0, 1, 2]:
                reader.seek("t", 0, 8)
        assert seen == [0, 1, 2, 8, 9]
        reader.seek_to_beginning()
        assert reader.position("t", 0) == 0
        reader.poll(max_records=4)
        assert reader.position("t", 0) == 4
        reader.seek_to_end()
        assert list(reader) == [] and reader.position("t", 0) == 10
        for topic, partition, offset in (("t", 9, 0), ("x", 0, 0), ("t", 0, -1), ("t", 0, "5")):
            with pytest.raises(hw.InvalidArgumentError):
                reader.seek(topic, partition, offset)  # type: ignore[arg-type]


def test_offsets_for_times(broker: hw.Broker) -> None:
    fill(broker, 10)
    with consumer(broker) as reader:
        assert reader.offsets_for_times(1005) == {hw.TopicPartition("t", 0): 3, hw.TopicPartition("t", 1): 2}
        assert reader.offsets_for_times(9999) == {hw.TopicPartition("t", 0): None, hw.TopicPartition("t", 1): None}
    assert broker.offsets_for_times("t", 0) == {0: 0, 1: 0}
    assert broker.offsets("t") == {0: (0, 5), 1: (0, 5)}


def test_a_paused_partition_is_silent(broker: hw.Broker) -> None:
    fill(broker, 10)
    with consumer(broker) as reader:
        reader.pause(("t", 0))
        assert reader.paused() == {("t", 0)}
        assert values(reader) == [1, 3, 5, 7, 9]
        reader.resume()
        assert values(reader) == [0, 2, 4, 6, 8]
        reader.pause()
        fill(broker, 2)
        assert list(reader) == []


def test_iteration_waits_for_records_and_ends_after_the_timeout(broker: hw.Broker) -> None:
    with consumer(broker, timeout="300ms") as reader:
        thread = threading.Thread(target=lambda: (time.sleep(0.05), fill(broker, 3)))
        thread.start()
        assert values(reader) == [0, 1, 2]
        thread.join()


def test_async_iteration(broker: hw.Broker) -> None:
    async def main() -> list[int]:
        found = []
        with consumer(broker, timeout="200ms", group="g") as reader:
            task = asyncio.create_task(asyncio.to_thread(fill, broker, 600))
            async for record in reader:
                found.append(record.value)
            await task
            reader.commit()
        return sorted(found)

    assert asyncio.run(main()) == list(range(600))
    assert sum(broker.committed("g").values()) == 600


def test_auto_commit_counts_a_record_as_done_when_the_next_is_asked_for(broker: hw.Broker) -> None:
    fill(broker, 10, partitions=1)
    with consumer(broker, group="g", auto_commit=True) as reader:
        for record in reader:
            if record.value == 3:
                break
    assert broker.committed("g")[hw.TopicPartition("t", 0)] == 4

    def fail_at_six() -> None:
        with consumer(broker, group="g", auto_commit=True) as reader:
            for record in reader:
                assert record.value != 6

    with pytest.raises(AssertionError):
        fail_at_six()
    assert broker.committed("g")[hw.TopicPartition("t", 0)] == 6, "the record that failed comes again"
    with consumer(broker, group="g", auto_commit=True, auto_commit_interval="0s") as reader:
        assert len(list(reader)) == 4
        assert broker.committed("g")[hw.TopicPartition("t", 0)] == 10, "committed while it runs"


# --- data that does not decode ----------------------------------------------------------------------------------------


def fill_with_errors(broker: hw.Broker) -> None:
    with broker.producer() as producer:
        for i in range(6):
            value: Any = Ride(i) if i not in (2, 5) else b'{"zone":"x"}'
            producer.send("t", key=f"k{i}", value=value, partition=0, timestamp=i, headers=[("h", b"1")])


def test_raise_names_the_place_and_stays_there(broker: hw.Broker) -> None:
    fill_with_errors(broker)
    with consumer(broker, value=Ride, group="g") as reader:
        seen = []
        for _ in range(2):
            with pytest.raises(hw.SerdeError, match=r"topic 't' partition 0 offset 2 \(value field zone\)") as caught:
                seen.extend(record.value.zone for record in reader)
        error = caught.value
        assert (error.topic, error.partition, error.offset, error.field) == ("t", 0, 2, "zone")
        assert reader.position("t", 0) == 2
        reader.commit()
        reader.seek("t", 0, 3)
        got = []
        with pytest.raises(hw.SerdeError, match="offset 5"):
            got.extend(record.value.zone for record in reader)
        assert got == [3, 4]
    assert broker.committed("g") == {hw.TopicPartition("t", 0): 2, hw.TopicPartition("t", 1): 0}


def test_skip_counts(broker: hw.Broker) -> None:
    fill_with_errors(broker)
    with consumer(broker, value=Ride, on_error="skip", group="g") as reader:
        assert [record.value.zone for record in reader] == [0, 1, 3, 4]
        assert reader.statistics().skipped == 2
        reader.commit()
        assert reader.lag() == {hw.TopicPartition("t", 0): 0, hw.TopicPartition("t", 1): 0}


def test_a_topic_takes_what_does_not_decode(broker: hw.Broker) -> None:
    fill_with_errors(broker)
    with consumer(broker, value=Ride, on_error="topic:bad") as reader:
        assert [record.value.zone for record in reader] == [0, 1, 3, 4]
        assert reader.statistics().skipped == 2
    with consumer(broker, topics="bad", value=None, key=str) as reader:
        bad = sorted(reader, key=lambda record: record.timestamp)
    assert [(r.key, r.value, r.timestamp) for r in bad] == [("k2", b'{"zone":"x"}', 2), ("k5", b'{"zone":"x"}', 5)]
    headers = dict(bad[0].headers)
    assert headers["h"] == b"1" and headers["headwater.offset"] == b"2" and b"zone" in headers["headwater.error"]


def test_a_callable_decides(broker: hw.Broker) -> None:
    fill_with_errors(broker)

    def repair(error: hw.SerdeError, record: hw.Record[Any, Any]) -> hw.Record[Any, Any] | None:
        return msgspec.structs.replace(record, value=Ride(-1), offset=77) if error.offset == 2 else None

    with consumer(broker, value=Ride, on_error=repair) as reader:
        assert [(r.offset, r.value.zone) for r in reader] == [(0, 0), (1, 1), (2, -1), (3, 3), (4, 4)]
        assert reader.statistics().skipped == 1
    with consumer(broker, value=Ride, on_error=lambda error, record: 5) as reader:
        with pytest.raises(hw.InvalidArgumentError, match="Record or None, got 5"):
            list(reader)
    with pytest.raises(hw.InvalidArgumentError, match="on_error"):
        consumer(broker, on_error="ignore")


def test_a_key_that_does_not_decode_is_named(broker: hw.Broker) -> None:
    fill_with_errors(broker)
    with consumer(broker, key=int, value=Ride) as reader, pytest.raises(hw.SerdeError, match=r"offset 0 \(key\)"):
        list(reader)


def test_a_users_serde_may_raise_anything(broker: hw.Broker) -> None:
    class Odd(hw.serdes.Serde[str]):
        def deserialize(self, data: bytes) -> str:
            raise KeyError("odd")

    fill(broker, 1)
    with consumer(broker, value=Odd()) as reader, pytest.raises(hw.SerdeError, match="odd") as caught:
        list(reader)
    assert isinstance(caught.value.__cause__, KeyError)


# --- serdes of topics -------------------------------------------------------------------------------------------------


def test_a_topic_remembers_its_serdes_and_explicit_ones_win(broker: hw.Broker) -> None:
    description = broker.create_topic("rides", key=str, value=Ride)
    assert description.key == hw.serdes.text() and description.partitions == 1
    with broker.producer() as producer:
        producer.send("rides", key="a", value=Ride(5))
    assert [(r.key, r.value) for r in consumer(broker, topics="rides", value=None)] == [("a", {"zone": 5})]
    assert [r.value for r in consumer(broker, topics="rides", value=Ride)] == [Ride(5)]
    assert [r.value for r in consumer(broker, topics=hw.Topic("rides", value=bytes), value=None)] == [b'{"zone":5}']
    broker.remember_serdes("t", key=int)
    broker.remember_serdes("t", key=str, value=float)
    assert (broker.topic("t").key, broker.topic("t").value) == (hw.serdes.int64(), hw.serdes.float64())


def test_several_topics_each_with_their_serdes(broker: hw.Broker) -> None:
    broker.create_topic("a", value=str)
    broker.create_topic("b", value=int)
    with broker.producer() as producer:
        producer.send("a", value="x")
        producer.send("b", value=1)
    assert {(r.topic, r.value) for r in consumer(broker, topics=["a", "b"], value=None)} == {("a", "x"), ("b", 1)}


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_wrong_arguments_are_refused(broker: hw.Broker) -> None:
    with pytest.raises(hw.UnknownTopicError, match="nowhere"):
        broker.consumer("nowhere")
    for wrong in (
        {"auto_offset_reset": "newest"},
        {"isolation_level": "serializable"},
        {"timeout": 5},
        {"auto_commit": True},
        {"group": ""},
        {"fetch_size": 0},
    ):
        with pytest.raises(hw.InvalidArgumentError, match=next(iter(wrong))):
            broker.consumer("t", **wrong)  # type: ignore[call-overload]
    with pytest.raises(hw.InvalidArgumentError, match="topic"):
        broker.consumer([])
    with consumer(broker) as reader:
        with pytest.raises(hw.InvalidArgumentError, match="group"):
            reader.commit()
        with pytest.raises(hw.InvalidArgumentError, match="10"):
            reader.poll(timeout=10)  # type: ignore[arg-type]
    with consumer(broker, group="g") as reader, pytest.raises(hw.InvalidArgumentError):
        reader.commit({("t", 7): 1})


def test_use_after_close_is_refused(broker: hw.Broker) -> None:
    reader = consumer(broker, group="g")
    reader.close()
    reader.close()
    for use in (reader.poll, reader.commit, reader.lag, reader.assignment, lambda: list(reader)):
        with pytest.raises(hw.ClosedError):
            use()


# --- groups -----------------------------------------------------------------------------------------------------------


def test_members_share_partitions_and_leaving_gives_them_back(broker: hw.Broker) -> None:
    fill(broker, 10)
    first = consumer(broker, group="g")
    assert len(first.assignment()) == 2
    second = consumer(broker, group="g")
    assert values(first) == [0, 2, 4, 6, 8] and values(second) == [1, 3, 5, 7, 9]
    first.commit()
    first.close()
    fill(broker, 4, start=10)
    assert values(second) == [10, 11, 12, 13]
    assert second.statistics().rebalances == 1
    second.close()


def test_a_consumer_that_nobody_holds_leaves_its_group(broker: hw.Broker) -> None:
    first = consumer(broker, group="g")
    second = consumer(broker, group="g")
    assert len(second.assignment()) == 1
    del first
    list(second)
    assert len(second.assignment()) == 2


def test_what_was_delivered_and_not_committed_is_repeated_after_a_rebalance(broker: hw.Broker) -> None:
    fill(broker, 10)
    first = consumer(broker, group="g")
    taken = values(first)
    assert taken == list(range(10))
    second = consumer(broker, group="g")
    assert list(second) == [], "the first owner has not come back yet"
    assert list(first) == []
    assert values(second) == [1, 3, 5, 7, 9]
    with first, second:
        first.commit()
    assert broker.committed("g") == {hw.TopicPartition("t", 0): 5}


def test_a_rebalance_commits_automatically_if_asked_to(broker: hw.Broker) -> None:
    fill(broker, 10)
    first = consumer(broker, group="g", auto_commit=True)
    assert len(list(first)) == 10
    second = consumer(broker, group="g", auto_commit=True)
    assert list(first) == [] and list(second) == []
    first.close()
    second.close()


def test_deleting_a_group(broker: hw.Broker) -> None:
    fill(broker, 2)
    with consumer(broker, group="g") as reader:
        list(reader)
        reader.commit()
        with pytest.raises(hw.InvalidArgumentError, match="without consumers"):
            broker.delete_group("g")
    assert broker.groups() == ["g"]
    broker.delete_group("g")
    assert broker.groups() == []


@pytest.mark.parametrize("auto_offset_reset", ["earliest", "latest"])
@pytest.mark.parametrize("group", [None, "g"])
def test_j04_a_topic_made_anew_is_read_from_its_first_record(
    broker: hw.Broker, group: str | None, auto_offset_reset: Any
) -> None:
    broker.create_topic("again", value=int)
    with broker.consumer("again", group=group, auto_offset_reset=auto_offset_reset, timeout="0s") as reader:
        assert values(reader) == []
        broker.send_many("again", [0, 1, 2])
        assert values(reader) == [0, 1, 2]
        if group:
            reader.commit()
        broker.delete_topic("again")
        broker.create_topic("again", value=int)
        broker.send_many("again", [10, 11, 12, 13, 14])
        assert values(reader) == [10, 11, 12, 13, 14]


def test_j04_a_group_forgets_where_it_was_in_a_topic_that_is_gone(broker: hw.Broker) -> None:
    for topic in ("again", "other"):
        broker.create_topic(topic, value=int)
        broker.send_many(topic, [1, 2])
    broker.reset_offsets("g", to="latest", topics=["again", "other"])
    with broker.producer(transactional_id="x") as producer, broker.consumer("again", group="h", timeout="0s") as reader:
        reader.seek_to_end()
        producer.begin()
        producer.send_offsets(reader)
        broker.delete_topic("again")
        producer.commit()
    assert broker.committed("g") == {("other", 0): 2} and broker.committed("h") == {}
    broker.create_topic("again", value=int)
    broker.send_many("again", [10, 11, 12])
    with broker.consumer("again", group="g", auto_offset_reset="earliest", timeout="0s") as reader:
        assert values(reader) == [10, 11, 12]
