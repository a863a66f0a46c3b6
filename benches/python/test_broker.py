"""How fast do records get into a topic and out of it?"""

from __future__ import annotations

from itertools import count

import pytest

import headwater as hw
from benches.python.conftest import RECORDS, Measure
from benches.python.workload import ride_rows

HUNDRED_BYTES = b"x" * 100
_topics = (f"topic-{number}" for number in count())


def test_produce_rides_one_send_a_record(broker: hw.Broker, measure: Measure) -> None:
    rows = ride_rows(RECORDS)

    def work(topic: str) -> None:
        with broker.producer() as producer:
            send = producer.send
            for key, value, timestamp in rows:
                send(topic, key=key, value=value, timestamp=timestamp)

    measure(work, setup=lambda: broker.create_topic(next(_topics)).name)


def test_produce_100_bytes_one_send_a_record(broker: hw.Broker, measure: Measure) -> None:
    def work(topic: str) -> None:
        with broker.producer() as producer:
            send = producer.send
            for _ in range(RECORDS):
                send(topic, value=HUNDRED_BYTES)

    measure(work, setup=lambda: broker.create_topic(next(_topics)).name)


def test_produce_rides_as_a_list(broker: hw.Broker, measure: Measure) -> None:
    rows = ride_rows(RECORDS)
    measure(
        lambda topic: broker.send_many(topic, rows, key=bytes, value=bytes),
        setup=lambda: broker.create_topic(next(_topics)).name,
    )


def test_produce_100_bytes_as_a_frame(broker: hw.Broker, measure: Measure) -> None:
    import polars as pl

    frame = pl.DataFrame({"value": [HUNDRED_BYTES] * RECORDS})
    measure(
        lambda topic: broker.send_many(topic, frame, value=bytes),
        setup=lambda: broker.create_topic(next(_topics)).name,
    )


@pytest.mark.parametrize("decode", [False, True], ids=["bytes", "structs"])
def test_consume_rides_as_records(loaded: hw.Broker, measure: Measure, *, decode: bool) -> None:
    types = {} if decode else {"key": bytes, "value": bytes}

    def work() -> None:
        with loaded.consumer("rides", auto_offset_reset="earliest", timeout="5s", **types) as consumer:
            for _, _ in zip(range(RECORDS), consumer, strict=False):
                pass

    measure(work)


def test_read_rides_as_a_frame(loaded: hw.Broker, measure: Measure) -> None:
    measure(lambda: loaded.read_frame("rides"))


def test_read_rides_as_a_frame_of_bytes(loaded: hw.Broker, measure: Measure) -> None:
    measure(lambda: loaded.read_frame("rides", key=bytes, value=bytes))
