"""Topics as frames, frames as records."""

from __future__ import annotations

import datetime
from typing import Any

import msgspec
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import headwater as hw
from headwater.frames import to_records
from headwater.records import Windowed
from headwater.serdes import json, session_windowed, text, windowed

UTC = datetime.UTC


class Ride(msgspec.Struct):
    zone: int
    fare: float | None
    note: str = ""
    taken: datetime.datetime | None = msgspec.field(default=None, name="at")


def moment(millis: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(millis / 1000, UTC)


def test_a_topic_is_a_frame() -> None:
    with hw.open("memory:") as broker:
        broker.create_topic("rides", partitions=2, key=str, value=Ride)
        with broker.producer() as producer:
            producer.send("rides", key="a", value=Ride(1, 2.5), partition=1, timestamp=1_000)
            producer.send("rides", key=None, value=Ride(2, None, 'é"\n', moment(5)), partition=0, timestamp=2_000)
            producer.send("rides", key="b", value=None, partition=1, timestamp=3_000)
        frame = broker.read_frame("rides", value=Ride)
        # The topic remembers the fields by the names that are on the disk, in their order.
        assert broker.read_frame("rides").columns == [*frame.columns[:-1], "at"]
    expected = pl.DataFrame(
        {
            "partition": [0, 1, 1], "offset": [0, 0, 1], "timestamp": [moment(2_000), moment(1_000), moment(3_000)],
            "key": [None, "a", "b"], "zone": [2, 1, None], "fare": [None, 2.5, None], "note": ['é"\n', "", None],
            "taken": [moment(5), None, None],
        },
        schema={
            "partition": pl.Int32, "offset": pl.Int64, "timestamp": pl.Datetime("ms", "UTC"), "key": pl.String,
            "zone": pl.Int64, "fare": pl.Float64, "note": pl.String, "taken": pl.Datetime("us", "UTC"),
        },
    )  # fmt: skip
    assert_frame_equal(frame, expected)


def test_an_empty_topic_has_its_schema() -> None:
    with hw.open("memory:") as broker:
        broker.create_topic("rides", key=windowed(text(), 10_000), value=Ride)
        empty = broker.read_frame("rides", value=Ride)
        assert empty.height == 0
        assert empty.columns == [
            "partition", "offset", "timestamp", "key", "window_start", "window_end", "zone", "fare", "note", "taken",
        ]  # fmt: skip
        broker.create_topic("plain")
        assert broker.read_frame("plain").schema == {
            "partition": pl.Int32, "offset": pl.Int64, "timestamp": pl.Datetime("ms", "UTC"), "key": pl.Binary,
            "value": pl.Binary,
        }  # fmt: skip


@pytest.mark.parametrize("serde", [windowed(text(), 10_000), session_windowed(text())], ids=["time", "session"])
def test_windowed_keys_come_and_go(serde: Any) -> None:
    with hw.open("memory:") as broker:
        broker.create_topic("counts", key=serde, value=int)
        with broker.producer() as producer:
            producer.send("counts", key=Windowed("a", 10_000, 20_000), value=3, timestamp=5)
        frame = broker.read_frame("counts")
        assert frame.select("key", "window_start", "window_end", "value").row(0) == (
            "a",
            moment(10_000),
            moment(20_000),
            3,
        )
        with broker.producer() as producer:
            producer.send_many("counts", frame.drop("partition", "offset"))
        again = broker.read_frame("counts")
    assert_frame_equal(again.drop("offset")[[0]], again.drop("offset")[[1]])


def test_fields_do_not_hide_the_records_own_columns() -> None:
    class Odd(msgspec.Struct):
        key: str
        timestamp: int

    with hw.open("memory:") as broker:
        broker.create_topic("odd", key=str, value=Odd)
        with broker.producer() as producer:
            producer.send("odd", key="k", value=Odd("inner", 7), timestamp=5)
        row = broker.read_frame("odd").row(0, named=True)
    assert (row["key"], row["value.key"], row["value.timestamp"]) == ("k", "inner", 7)


def test_untyped_values_are_their_text() -> None:
    with hw.open("memory:") as broker:
        broker.create_topic("any", value=json())
        with broker.producer() as producer:
            producer.send("any", value={"a": [1]})
        assert broker.read_frame("any")["value"].to_list() == ['{"a":[1]}']


def test_a_record_that_does_not_decode_is_named() -> None:
    with hw.open("memory:") as broker:
        broker.create_topic("rides", key=str, value=bytes)
        with broker.producer() as producer:
            producer.send("rides", value=b'{"zone":1,"fare":2}')
            producer.send("rides", value=b'{"zone":1,"fare":"x"}')
        with pytest.raises(hw.SerdeError, match="topic 'rides' partition 0 offset 1") as caught:
            broker.read_frame("rides", value=Ride)
    assert (caught.value.offset, caught.value.field) == (1, "fare")


def test_frames_become_the_bytes_that_their_objects_would() -> None:
    frame = pl.DataFrame(
        {"key": ["a", None], "fare": [1, None], "zone": [1, 2], "note": ['é"', "x"], "taken": [moment(5), None]}
    )
    records = to_records(frame, key=text(), value=json(Ride))
    objects = [Ride(1, 1.0, 'é"', moment(5)), Ride(2, None, "x")]
    assert records.to_dict(as_series=False) == {
        "value": [msgspec.json.encode(entry) for entry in objects],
        "key": [b"a", None],
    }
    plain = frame.drop("taken").with_columns(taken=pl.lit(None, dtype=pl.Datetime("us", "UTC")))
    assert to_records(plain, key=None, value=json(Ride))["value"].to_list() == [
        msgspec.json.encode(msgspec.structs.replace(entry, taken=None)) for entry in objects
    ]


class Plain(msgspec.Struct):
    a: int
    b: float = msgspec.field(name="B")
    c: str | None


def test_plain_frames_become_bytes_without_an_object_each() -> None:
    frame = pl.DataFrame({"c": ["x", None], "b": [1, 2], "a": [1, 2]}, schema_overrides={"a": pl.Int16})
    assert to_records(frame, key=None, value=json(Plain))["value"].to_list() == [
        b'{"a":1,"B":1.0,"c":"x"}',
        b'{"a":2,"B":2.0,"c":null}',
    ]
    with pytest.raises(hw.SerdeError, match="expected rows that fit"):
        to_records(frame.with_columns(a=None), key=None, value=json(Plain))


def test_a_frame_must_have_the_fields() -> None:
    with pytest.raises(hw.InvalidArgumentError, match="expected the columns zone, fare"):
        to_records(pl.DataFrame({"zone": [1]}), key=None, value=json(Ride))
    with pytest.raises(hw.InvalidArgumentError, match="expected the columns window_start and window_end"):
        to_records(pl.DataFrame({"key": ["a"], "value": [1]}), key=windowed(text(), 5), value=None)


def test_scalars_by_their_columns_type() -> None:
    def values(entries: list[Any]) -> Any:
        return to_records(pl.DataFrame({"value": entries}), key=None, value=None)["value"].to_list()

    assert values(["é", None]) == ["é".encode(), None]
    assert values([b"\xff"]) == [b"\xff"]
    assert values([3]) == [(3).to_bytes(8, "big")]
    assert values([[1, 2]]) == [b"[1,2]"]


def test_a_frame_says_when_and_where() -> None:
    with hw.open("memory:") as broker:
        broker.create_topic("t", partitions=3)
        times = [moment(7), None]
        broker.send_many("t", pl.DataFrame({"value": ["a", "b"], "partition": [2, 0], "timestamp": times}))
        broker.send_many(
            "t", pl.DataFrame({"value": ["c", "d"], "partition": [None, 2], "timestamp": [8, None], "key": "k"})
        )
        with broker.producer() as producer:
            expected = producer.send("t", key="k", value=None).result().partition
        found = broker.read_frame("t", key=str, value=str)
        rows = {row["value"]: row for row in found.to_dicts()}
        keyed = rows["c"]["partition"]
    assert (rows["a"]["partition"], rows["b"]["partition"], rows["d"]["partition"]) == (2, 0, 2)
    assert [rows[name]["timestamp"] for name in "ac"] == [moment(7), moment(8)]
    assert rows["b"]["timestamp"] > moment(1_700_000_000_000) < rows["d"]["timestamp"], "now, as no time is given"
    assert keyed == expected, "the murmur2 of k"
    assert found["partition"].is_sorted()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"partition": [0, 3]}, "from 0 to 2, got 3 - at topic 't'"),
        ({"partition": [0, -1]}, "from 0 to 2, got -1"),
        ({"partition": ["0", "1"]}, "expected whole numbers, got String - at the column 'partition'"),
        ({"timestamp": [1.0, 2.0]}, "expected whole numbers or moments, got Float64 - at the column 'timestamp'"),
        ({"timestamp": [2**63, 1]}, "got some that 64 bits do not hold - at the column 'timestamp'"),
    ],
)
def test_a_frame_that_does_not_fit_is_refused(columns: dict[str, Any], message: str) -> None:
    with hw.open("memory:") as broker:
        broker.create_topic("t", partitions=3)
        with pytest.raises((hw.InvalidArgumentError, hw.UnknownTopicError), match=message):
            broker.send_many("t", pl.DataFrame({"value": ["a", "b"], **columns}))


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_a_frame_larger_than_the_buffer_waits_and_loses_nothing(compression: Any) -> None:
    frame = pl.DataFrame({"key": range(5_000), "value": [bytes([n % 251]) * (n % 300) for n in range(5_000)]})
    with hw.open("memory:") as broker:
        broker.create_topic("t")
        with broker.producer(buffer_memory=10_000, batch_size=4_000, compression=compression) as producer:
            assert producer.send_many("t", pl.concat([frame[:1_700], frame[1_700:]], rechunk=False)) == 5_000
        assert broker.read_frame("t", key=int, value=bytes).select("key", "value").equals(frame)


def test_a_frame_counts_with_its_transaction() -> None:
    frame = pl.DataFrame({"value": [b"a", b"b"]})
    with hw.open("memory:") as broker:
        broker.create_topic("t")
        with broker.producer(transactional_id="x") as producer:
            with pytest.raises(hw.InvalidArgumentError, match="begin"):
                producer.send_many("t", frame)
            for end in (producer.abort, producer.commit):
                producer.begin()
                producer.send_many("t", frame)
                end()
        assert broker.read_frame("t", value=bytes)["offset"].to_list() == [3, 4], "aborted records are not read"


def test_text_that_is_none_is_named_by_its_place() -> None:
    with hw.open("memory:") as broker:
        broker.create_topic("t")
        broker.send_many("t", pl.DataFrame({"value": [b"a", b"\xff", None]}))
        assert broker.read_frame("t", value=bytes)["value"].to_list() == [b"a", b"\xff", None]
        with pytest.raises(hw.SerdeError, match="topic 't' partition 0 offset 1"):
            broker.read_frame("t", value=str)
