"""A producer: partitioning, encoding, acknowledgements, batching, back-pressure, and never a lost record."""

from __future__ import annotations

import asyncio
import datetime
import gc
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgspec
import pytest

import headwater as hw
from headwater import _core


class Ride(msgspec.Struct):
    zone: int


@pytest.fixture
def broker() -> Iterator[hw.Broker]:
    with hw.open("memory:") as opened:
        opened.create_topic("t", partitions=4)
        yield opened


def read(broker: hw.Broker, topic: str = "t", **options: Any) -> list[hw.Record[Any, Any]]:
    with broker.consumer(topic, auto_offset_reset="earliest", timeout="0s", **options) as consumer:
        return sorted(consumer, key=lambda record: (record.partition, record.offset))


# Kafka's own values: org.apache.kafka.common.utils.UtilsTest.testMurmur2, as unsigned numbers modulo 2**31.
@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_keys_are_partitioned_as_kafka_does(key: bytes, hashed: int) -> None:
    for count in (1, 3, 7, 100):
        assert _core.partition_of_key(key, count) == (hashed & 0x7FFFFFFF) % count


def test_a_handle_tells_where_the_record_is(broker: hw.Broker) -> None:
    with broker.producer(linger="1h") as producer:
        handles = [producer.send("t", key="k", value=str(i), timestamp=1000 + i) for i in range(3)]
        assert not handles[0].done()
        metadata = handles[1].result()
        assert handles[2].done(), "a batch is acknowledged as a whole"
        partition = _core.partition_of_key(b"k", 4)
        assert metadata == hw.RecordMetadata("t", partition, 1, 1001)
        assert [handle.result().offset for handle in handles] == [0, 1, 2]
    assert [r.value for r in read(broker)] == [b"0", b"1", b"2"]


def test_values_are_encoded_by_their_type(broker: hw.Broker) -> None:
    values = [b"\x00", "z\u00fcrich", 5, 1.5, True, Ride(7), {"a": None}, None, bytearray(b"x"), [1]]
    with broker.producer() as producer:
        for value in values:
            producer.send("t", value=value, partition=0)
    assert [record.value for record in read(broker)] == [
        b"\x00",
        "z\u00fcrich".encode(),
        (5).to_bytes(8, "big"),
        bytes.fromhex("3ff8000000000000"),
        b"true",
        b'{"zone":7}',
        b'{"a":null}',
        None,
        b"x",
        b"[1]",
    ]
    with broker.producer() as producer, pytest.raises(hw.SerdeError, match="64 bits"):
        producer.send("t", value=2**70)


def test_a_declared_topic_refuses_what_does_not_fit(broker: hw.Broker) -> None:
    broker.create_topic("typed", key=str, value=float)
    with broker.producer() as producer:
        producer.send("typed", key="a", value=1)  # an int fits a float
        producer.send("typed", key=b"raw", value=b"\0" * 8)  # bytes are taken for encoded
        with pytest.raises(hw.SerdeError, match="at the value of a record for topic 'typed'") as caught:
            producer.send("typed", key="a", value="x")
        assert caught.value.topic == "typed"
        with pytest.raises(hw.SerdeError, match="at the key of a record"):
            producer.send("typed", key=5, value=1.0)
        with pytest.raises(hw.SerdeError):
            producer.send("t", value=object())
    assert [(r.key, r.value) for r in read(broker, "typed")] == [("a", 1.0), ("raw", 0.0)]


def test_headers_and_timestamps(broker: hw.Broker) -> None:
    at = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    headers = [("a", b"1"), ("a", b""), ("", None), ("\u00fc", b"\xff")]
    with broker.producer() as producer:
        producer.send("t", value=b"", timestamp=at, headers=headers, partition=1)
        producer.send("t", value=None, key=b"", timestamp=-5, partition=1)
        for bad in (["x"], [("a", "text")], "ab", 5, [(1, b"")]):
            with pytest.raises(hw.InvalidArgumentError, match="headers"):
                producer.send("t", value=b"", headers=bad)  # type: ignore[arg-type]
        with pytest.raises(hw.InvalidArgumentError, match="aware"):
            producer.send("t", value=b"", timestamp=at.replace(tzinfo=None))
    first, second = read(broker)
    assert (first.key, first.value, first.timestamp, first.headers) == (None, b"", 1704067200000, tuple(headers))
    assert (second.key, second.value, second.timestamp, second.headers) == (b"", None, -5, ())


def test_wrong_places_are_refused(broker: hw.Broker) -> None:
    with broker.producer() as producer:
        with pytest.raises(hw.UnknownTopicError, match="nowhere") as caught:
            producer.send("nowhere", value=b"")
        assert caught.value.topic == "nowhere"
        for partition in (4, -1):
            with pytest.raises(hw.UnknownTopicError, match=f"from 0 to 3, got {partition} - at topic 't'"):
                producer.send("t", value=b"", partition=partition)


def test_records_without_a_key_stick_to_a_partition_until_its_batch_is_full(broker: hw.Broker) -> None:
    with broker.producer(batch_size=1000, linger="1h") as producer:
        for _ in range(100):
            producer.send("t", value=b"x" * 88)
    partitions = [record.partition for record in sorted(read(broker), key=lambda r: (r.timestamp, r.partition))]
    counts = [partitions.count(p) for p in range(4)]
    assert sum(counts) == 100 and min(counts) >= 20, counts


@pytest.mark.parametrize("acks", ["all", 1, 0])
def test_every_record_arrives_in_order_whatever_the_acks(broker: hw.Broker, acks: Any) -> None:
    with broker.producer(acks=acks, batch_size=500) as producer:
        handle = None
        for i in range(5000):
            handle = producer.send("t", value=i, partition=i % 4)
        assert handle is not None
        assert handle.result().offset == (-1 if acks == 0 else 1249)
    for partition in range(4):
        values = [r.value for r in read(broker, value=int) if r.partition == partition]
        assert values == list(range(partition, 5000, 4))


def test_h08_back_pressure_bounds_memory_and_loses_nothing(broker: hw.Broker) -> None:
    with broker.producer(buffer_memory=10_000, batch_size=1000, linger="1h") as producer:
        for i in range(2000):
            producer.send("t", value=i.to_bytes(4, "big") * 25)
        producer.send("t", value=b"a record larger than the memory" * 1000)
    assert len(read(broker)) == 2001


def test_threads_share_a_producer(broker: hw.Broker) -> None:
    with broker.producer(batch_size=2000, buffer_memory=20_000) as producer:

        def work(worker: int) -> None:
            for i in range(2000):
                producer.send("t", key=str(worker), value=i)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    records = read(broker, key=str, value=int)
    for worker in range(4):
        assert [r.value for r in records if r.key == str(worker)] == list(range(2000))


def test_a_handle_can_be_awaited(broker: hw.Broker) -> None:
    async def main() -> list[hw.RecordMetadata]:
        with broker.producer(linger="1h") as producer:
            handles = [producer.send("t", value=i, partition=2) for i in range(10)]
            return list(await asyncio.gather(*(wait(handle) for handle in handles)))

    async def wait(handle: Any) -> Any:
        return await handle

    assert [metadata.offset for metadata in asyncio.run(main())] == list(range(10))


def test_use_after_close_is_refused(broker: hw.Broker) -> None:
    producer = broker.producer()
    handle = producer.send("t", value=b"x")
    producer.close()
    producer.close()
    assert handle.result().offset == 0
    for use in (lambda: producer.send("t", value=b"x"), producer.flush):
        with pytest.raises(hw.ClosedError):
            use()


def test_a_producer_of_a_closed_broker_is_closed() -> None:
    broker = hw.open("memory:")
    broker.create_topic("t")
    producer = broker.producer(linger="1h")
    handle = producer.send("t", value=b"x")
    broker.close()
    assert handle.result().offset == 0
    with pytest.raises(hw.ClosedError):
        producer.send("t", value=b"x")


def test_a_dropped_producer_is_flushed_with_a_warning(broker: hw.Broker) -> None:
    producer = broker.producer(linger="1h")
    producer.send("t", value=b"x")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del producer
        gc.collect()
    assert [w.category for w in caught] == [ResourceWarning]
    assert len(read(broker)) == 1


def test_an_unflushed_producer_is_flushed_at_exit(tmp_path: Any) -> None:
    code = f"""
import headwater as hw
broker = hw.open({str(tmp_path / "data")!r})
broker.create_topic("t")
producer = broker.producer(linger="1h")
for i in range(1000):
    producer.send("t", value=i)
"""
    done = subprocess.run([sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, check=True)
    assert "ResourceWarning" in done.stderr
    with hw.open(tmp_path / "data") as broker:
        assert [r.value for r in read(broker, value=int)] == list(range(1000))


def test_settings_are_checked(broker: hw.Broker) -> None:
    for wrong in (
        {"acks": 2},
        {"acks": True},
        {"linger": 5},
        {"compression": "rar"},
        {"batch_size": 0},
        {"buffer_memory": "1MB"},
    ):
        with pytest.raises(hw.InvalidArgumentError, match=next(iter(wrong))):
            broker.producer(**wrong)  # type: ignore[arg-type]


def test_send_many_takes_tuples_records_and_values(broker: hw.Broker) -> None:
    assert broker.send_many("t", [("a", 1), ("b", 2, 77), hw.Record("x", 0, 9, 5, "c", 3, (("h", None),)), b"v"]) == 4
    found = {r.key: (r.value, r.timestamp, r.headers) for r in read(broker)}
    assert found[b"b"] == ((2).to_bytes(8, "big"), 77, ())
    assert found[b"c"] == ((3).to_bytes(8, "big"), 5, (("h", None),))
    assert found[None][0] == b"v"
    assert broker.send_many("t", []) == 0


def test_a_handle_is_not_the_garbage_collectors_business(broker: hw.Broker) -> None:
    with broker.producer() as producer:
        handle = producer.send("t", value=b"x")
        assert not gc.is_tracked(handle)
        assert repr(handle).startswith("<SendHandle t-")
        with pytest.raises(TypeError, match=r"Producer\.send"):
            type(handle)()
        with pytest.raises(TypeError):
            type("Sub", (type(handle),), {})
        with pytest.raises(TypeError, match="SendHandle"):
            _core.handle_result(5)  # type: ignore[arg-type]
        many = [producer.send("t", value=b"x") for _ in range(10_000)]
        del many
        assert handle.result("1m").topic == "t"


def test_waiting_for_an_acknowledgement_can_time_out(broker: hw.Broker) -> None:
    with broker.producer() as producer:
        assert producer.send("t", value=b"x").result(timeout="10s").offset == 0
        with pytest.raises(hw.InvalidArgumentError, match="timeout"):
            producer.send("t", value=b"x").result(timeout=10)  # type: ignore[arg-type]


def test_a_topic_may_give_the_timestamps(broker: hw.Broker) -> None:
    broker.create_topic("stamped", config={"message.timestamp.type": "LogAppendTime"})
    with broker.producer() as producer:
        metadata = producer.send("stamped", value=b"x", timestamp=5).result()
    (record,) = read(broker, "stamped")
    assert metadata.timestamp == record.timestamp > 1_600_000_000_000


@pytest.mark.parametrize("compression", ["gzip", "snappy", "lz4", "zstd", "none", None])
def test_every_compression_is_read_back(broker: hw.Broker, compression: Any) -> None:
    with broker.producer(compression=compression) as producer:
        for i in range(500):
            producer.send("t", key=str(i), value="value " * 20, headers=[("h", b"1")], timestamp=i)
    records = read(broker, key=str, value=str)
    assert sorted(int(record.key) for record in records) == list(range(500))
    assert {record.value for record in records} == {"value " * 20} and records[0].headers == (("h", b"1"),)


def test_a_producer_that_is_closed_while_others_send_loses_nothing(broker: hw.Broker) -> None:
    for _ in range(20):
        broker.create_topic("busy")
        producer = broker.producer(linger="1h", batch_size=300)
        sent: list[Any] = []

        def work(producer: Any = producer, sent: list[Any] = sent) -> None:
            try:
                while True:
                    sent.append(producer.send("busy", value=b"x"))
            except hw.ClosedError:
                return

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        while len(sent) < 50:
            pass
        producer.close()
        for thread in threads:
            thread.join()
        offsets = sorted(handle.result().offset for handle in sent)
        assert offsets == list(range(len(sent))) and broker.offsets("busy") == {0: (0, len(sent))}
        broker.delete_topic("busy")


def test_a_frame_goes_in_and_comes_out(broker: hw.Broker) -> None:
    import polars as pl

    broker.create_topic("rides", partitions=1, key=str, value=Ride)
    frame = pl.DataFrame({"key": ["a", "b"], "zone": [1, 2], "timestamp": [5, 6]})
    assert broker.send_many("rides", frame) == 2
    with broker.producer() as producer:
        assert producer.send_many("rides", frame) == 2
    assert [(r.key, r.value["zone"], r.timestamp) for r in read(broker, "rides")] == [("a", 1, 5), ("b", 2, 6)] * 2
    found = broker.read_frame("rides")
    assert found.columns == ["partition", "offset", "timestamp", "key", "zone"]
    assert found["zone"].to_list() == [1, 2, 1, 2] and found["timestamp"].dtype == pl.Datetime("ms", "UTC")


@pytest.mark.parametrize("value", [None, b""])
@pytest.mark.parametrize("key", [None, b""])
def test_a01_nothing_and_empty_are_two_things(broker: hw.Broker, key: bytes | None, value: bytes | None) -> None:
    with broker.producer() as producer:
        producer.send("t", key=key, value=value, partition=0)
    assert [(record.key, record.value) for record in read(broker)] == [(key, value)]


@pytest.mark.parametrize(
    "headers",
    [(), (("a", b"1"), ("b", b""), ("a", None), ("", b"1"), ("a", b"1")), tuple([("h", b"1")] * 100_000)],
    ids=["none", "duplicates", "many"],
)
def test_a03_headers_keep_their_order_and_duplicates(broker: hw.Broker, headers: tuple[tuple[str, bytes], ...]) -> None:
    with broker.producer() as producer:
        producer.send("t", value=b"x", headers=headers)
    assert [record.headers for record in read(broker)] == [headers]


@pytest.mark.parametrize("headers", [[(None, b"1")], [("a", 1)], [("\ud800", b"1")], [("a",)], "ab", 5])
def test_a03_headers_that_are_none_are_refused(broker: hw.Broker, headers: Any) -> None:
    with broker.producer() as producer, pytest.raises(hw.InvalidArgumentError, match="expected headers"):
        producer.send("t", value=b"x", headers=headers)


def test_a04_every_timestamp_of_64_bits_comes_back_and_no_other_is_taken(broker: hw.Broker) -> None:
    timestamps = [-1, 0, 2**63 - 1, -(2**63), 1]
    with broker.producer() as producer:
        for timestamp in timestamps:
            producer.send("t", value=b"x", partition=0, timestamp=timestamp)
        for wrong in (2**63, -(2**63) - 1):
            with pytest.raises(hw.InvalidArgumentError, match="64 bits"):
                producer.send("t", value=b"x", timestamp=wrong)
    assert [record.timestamp for record in read(broker)] == timestamps


@pytest.mark.parametrize("place", ["key", "value"])
def test_a05_text_that_utf8_cannot_hold_names_its_place(broker: hw.Broker, place: str) -> None:
    with broker.producer() as producer:
        with pytest.raises(hw.SerdeError, match=f"surrogates not allowed - at the {place} of a record for topic 't'"):
            producer.send("t", **{place: "\ud800"})
    assert read(broker) == []


def test_cf03_transactions_need_every_acknowledgement(broker: hw.Broker) -> None:
    with pytest.raises(hw.InvalidArgumentError, match="at acks"):
        broker.producer(acks=0, transactional_id="x")
    with pytest.raises(hw.InvalidArgumentError, match="at transaction_timeout"):
        broker.producer(transactional_id="x", transaction_timeout="16m")


@pytest.mark.parametrize("transactional_id", [None, "x"])
def test_a02_a_record_that_is_too_large_is_refused_and_takes_no_other_with_it(
    broker: hw.Broker, transactional_id: str | None
) -> None:
    broker.create_topic("small", config={"max.message.bytes": "1000"})
    header, record = 61, 9  # of a batch, of its only record: lengths, deltas, no key, no headers
    with broker.producer(linger="1h", transactional_id=transactional_id) as producer:
        for size, is_taken in ((1000 - header - record, True), (1001 - header - record, False), (10_000_000, False)):
            if transactional_id:
                producer.begin()
            handles = [producer.send("small", value=b"x" * n) for n in (100, 200, size, 300)]
            assert [handle.result().offset >= 0 for number, handle in enumerate(handles) if number != 2] == [True] * 3
            if is_taken:
                assert handles[2].result().offset >= 0
            else:
                with pytest.raises(hw.InvalidArgumentError, match=r"at most 1000 bytes, got .* raise max\.message"):
                    handles[2].result()
            if transactional_id:
                (producer.commit if is_taken else producer.abort)()
            else:
                with suppress(hw.InvalidArgumentError):
                    producer.flush()
    sizes = [row["value"] for row in broker.read_frame("small", value=bytes).to_dicts()]
    of_one = [100, 200, 1000 - header - record, 300]
    expected = of_one if transactional_id else of_one + [100, 200, 300] * 2
    assert [len(value) for value in sizes] == expected


def test_a02_many_small_records_go_into_small_batches(broker: hw.Broker) -> None:
    broker.create_topic("small", config={"max.message.bytes": "1000"})
    with broker.producer() as producer:
        assert producer.send_many("small", [b"x" * 90] * 500) == 500
    assert broker.offsets("small") == {0: (0, 500)}
    broker.alter_config("small", {"max.message.bytes": "100"})
    with pytest.raises(hw.InvalidArgumentError, match="at most 100 bytes"), broker.producer() as producer:
        producer.send("small", value=b"x" * 90).result()
