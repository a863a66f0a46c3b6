"""Administration of topics: more partitions, other settings, and where everything lies."""

from __future__ import annotations

from pathlib import Path

import pytest

import headwater as hw


def test_an_open_producer_and_an_open_consumer_take_up_new_partitions() -> None:
    with hw.open("memory:") as broker, broker.producer() as producer:
        broker.create_topic("t", partitions=1)
        with broker.consumer("t", group="g", auto_offset_reset="earliest", timeout="5s") as consumer:
            producer.send("t", value="before").result()
            assert next(iter(consumer)).value == b"before"
            assert broker.add_partitions("t", 3).partitions == 3
            assert producer.send("t", value="behind", partition=2).result().partition == 2
            record = next(iter(consumer))
            assert (record.partition, record.value) == (2, b"behind")
            assert {place.partition for place in consumer.assignment()} == {0, 1, 2}


def test_a_consumer_without_a_group_takes_up_new_partitions_from_their_beginning() -> None:
    with hw.open("memory:") as broker, broker.producer() as producer:
        broker.create_topic("t", partitions=1)
        with broker.consumer("t", timeout="5s") as consumer:
            broker.add_partitions("t", 2)
            producer.send("t", value="new", partition=1).result()
            assert [(r.partition, r.value) for r in consumer.poll(timeout="5s")] == [(1, b"new")]


def test_cf11_partitions_are_never_taken_away() -> None:
    with hw.open("memory:") as broker:
        broker.create_topic("t", partitions=3)
        for total in (0, 2, 3, 10_001, "4"):
            with pytest.raises(hw.InvalidArgumentError, match="partitions"):
                broker.add_partitions("t", total)  # type: ignore[arg-type]
        with pytest.raises(hw.UnknownTopicError, match="u"):
            broker.add_partitions("u", 2)


def test_settings_change_at_once_and_the_others_stay(tmp_path: Path) -> None:
    with hw.open(tmp_path) as broker:
        broker.create_topic("t", key=str, config={"segment.bytes": "1024", "retention.ms": "5"})
        broker.alter_config("t", {"retention.ms": None, "segment.ms": "1"}, durability="os", cleanup_policy="compact")
        config = broker.topic("t").config
        assert {name: text for name, text in config.items() if name != "headwater.key"} == {
            "cleanup.policy": "compact",
            "headwater.durability": "os",
            "segment.bytes": "1024",
            "segment.ms": "1",
        }
        for n in range(3):
            broker.send_many("t", [(str(n), b"x", n * 10)])
        assert len(broker.describe_partitions("t")[0].segments) == 3
        assert broker.topic("t").key is not None
    with hw.open(tmp_path) as broker:
        assert broker.topic("t").config == config


def test_cf01_wrong_settings_say_what_was_meant() -> None:
    with hw.open("memory:") as broker:
        with pytest.raises(hw.InvalidArgumentError, match=r"did you mean 'retention\.ms'"):
            broker.create_topic("t", config={"retention_ms": "1"})
        broker.create_topic("t", config={"headwater.colour": "red"})
        before = broker.topic("t")
        for wrong in (
            {"config": {"segment.byte": "1"}},
            {"config": {"segment.bytes": "many"}},
            {"cleanup_policy": "burn"},
            {"durability": "never"},
            {"retention": 5},
        ):
            with pytest.raises(hw.InvalidArgumentError):
                broker.alter_config("t", **wrong)  # type: ignore[arg-type]
        assert broker.topic("t") == before
        with pytest.raises(hw.UnknownTopicError, match="u"):
            broker.alter_config("u", {})


def test_a_description_names_every_file(tmp_path: Path) -> None:
    with hw.open(tmp_path) as broker:
        broker.create_topic("t", partitions=2, config={"segment.bytes": "1024"})
        for n in range(10):
            broker.send_many("t", [hw.Record("t", 0, 0, 1_000 + n, b"k", b"x" * 300)])
        full, empty = sorted(broker.describe_partitions("t"), key=lambda found: -found.high_watermark)
        assert (full.log_start_offset, full.last_stable_offset, full.high_watermark) == (0, 10, 10)
        assert len(full.segments) > 2 and full.size == sum(segment.size for segment in full.segments)
        for segment in full.segments:
            assert Path(segment.path).stat().st_size == segment.size
            assert segment.first_timestamp == 1_000 + segment.base_offset
            assert segment.max_timestamp == 999 + segment.next_offset
        assert (empty.size, empty.segments[0].first_timestamp, empty.segments[0].max_timestamp) == (0, None, None)
        with pytest.raises(hw.UnknownTopicError):
            broker.describe_partitions("u")


def test_records_of_a_partition_keep_their_order_while_its_topic_changes() -> None:
    with hw.open("memory:") as broker, broker.producer(linger="50ms", batch_size=2_000) as producer:
        broker.create_topic("t", partitions=1)
        for n in range(400):
            if n % 20 == 10:
                broker.alter_config("t", {"headwater.note": str(n)})
            producer.send("t", value=b"%04d %s" % (n, b"x" * 90), partition=0)
        producer.flush()
        with broker.consumer("t", auto_offset_reset="earliest", timeout="0s") as consumer:
            assert [int(record.value[:4]) for record in consumer] == list(range(400))
