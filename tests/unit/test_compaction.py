"""Compacted topics: the last value of each key is what stays, across a reopening too."""

from __future__ import annotations

from pathlib import Path

import pytest

import headwater as hw

SMALL = {"segment.bytes": "1024", "min.cleanable.dirty.ratio": "1"}


def read(broker: hw.Broker, topic: str = "t") -> list[tuple[int, str | None, str | None]]:
    with broker.consumer(topic, auto_offset_reset="earliest", key=str, value=str, timeout="0s") as consumer:
        return [(record.offset, record.key, record.value) for record in consumer]


def fill(broker: hw.Broker, updates: int) -> dict[str, tuple[int, str]]:
    last: dict[str, tuple[int, str]] = {}
    with broker.producer(batch_size=200) as producer:
        for n in range(updates):
            key, value = f"key {n * 7 % 10}", f"value {n}"
            last[key] = (producer.send("t", key=key, value=value, timestamp=n).result().offset, value)
    return last


def test_the_last_value_of_each_key_is_left_and_survives_a_reopening(tmp_path: Path) -> None:
    with hw.open(tmp_path) as broker:
        broker.create_topic("t", cleanup_policy="compact", config=SMALL)
        last = fill(broker, 300)
        done = broker.compact("t")
        assert (done.records_before, done.records_after) == (300, 10)
        assert done.bytes_after < done.bytes_before
        expected = sorted((offset, key, value) for key, (offset, value) in last.items())
        assert read(broker) == expected
        assert broker.compact().records_after == 10
    with hw.open(tmp_path) as broker:
        assert read(broker) == expected
        assert broker.read_frame("t", value=str)["value"].to_list() == [value for _, _, value in expected]
        with broker.producer() as producer:
            offset = producer.send("t", key="key 0", value=None).result().offset
        assert offset == 300
        broker.compact("t")
        assert [row for row in read(broker) if row[1] == "key 0"] == [(300, "key 0", None)]
    with hw.open(tmp_path, mode="r") as broker:
        assert len(read(broker)) == 10


def test_both_policies_at_once_and_a_change_of_policy(tmp_path: Path) -> None:
    with hw.open(tmp_path) as broker:
        broker.create_topic("t", cleanup_policy="compact,delete", config=SMALL)
        assert broker.topic("t").config["cleanup.policy"] == "compact,delete"
        last = fill(broker, 100)
        broker.compact("t")
        broker.alter_config("t", cleanup_policy="delete")
        with pytest.raises(hw.InvalidArgumentError, match=r"cleanup\.policy is compact"):
            broker.compact("t")
        assert len(read(broker)) == len(last)


def test_a_record_without_a_key_is_refused_on_a_compacted_topic() -> None:
    with hw.open("memory:") as broker:
        broker.create_topic("t", cleanup_policy="compact")
        with pytest.raises(hw.InvalidArgumentError, match=r"give every record a key"), broker.producer() as producer:
            producer.send("t", value="alone")
        with broker.producer() as producer:
            assert producer.send("t", key="k", value="v").result().offset == 0
        with pytest.raises(hw.UnknownTopicError):
            broker.compact("u")
