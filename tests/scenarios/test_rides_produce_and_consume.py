"""examples/rides: the producer and the consumer on one broker, and amounts written as ``.30``."""

from __future__ import annotations

from datetime import UTC, datetime

import headwater as hw
from examples.rides import consumer, producer
from examples.rides.model import Ride, parse

HEADER = ",".join(Ride.__struct_fields__)


def test_an_amount_without_a_zero_before_the_point_loads() -> None:
    row = "1,2020-07-01 00:25:32,2020-07-01 00:33:39,1,.30,1,N,238,75,2,8,0.5,0.5,0,0,.3,9.3,0"
    [ride] = parse([HEADER, row])
    assert ride.trip_distance == 0.3
    assert ride.improvement_surcharge == 0.3
    assert ride.tpep_pickup_datetime == datetime(2020, 7, 1, 0, 25, 32, tzinfo=UTC)


def test_the_look_alike_has_such_amounts() -> None:
    rides = producer.look_alike(265)
    assert len(rides) == 265
    assert any(ride.trip_distance < 1 for ride in rides)
    assert rides == producer.look_alike(265)


def test_the_group_reads_every_ride_once() -> None:
    rides = producer.look_alike(265)
    with hw.open("memory:") as broker:
        assert producer.produce(broker, rides) == 265
        count, total = consumer.consume(broker)
        assert count == 265
        assert round(total, 2) == round(sum(ride.total_amount for ride in rides), 2)
        assert consumer.consume(broker) == (0, 0.0)
        assert producer.produce(broker, rides[:3]) == 3
        assert consumer.consume(broker)[0] == 3


def test_a_topic_reads_as_a_frame() -> None:
    with hw.open("memory:") as broker:
        producer.produce(broker, producer.look_alike(20))
        frame = broker.read_frame("rides")
        assert frame.height == 20
        assert frame.columns[:4] == ["partition", "offset", "timestamp", "key"]
        assert frame["PULocationID"].cast(str).to_list() == frame["key"].to_list()
