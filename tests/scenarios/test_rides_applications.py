"""examples/rides: the three applications, record by record with the driver and whole on a broker, against plain Python."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import headwater as hw
from examples.rides import count_per_zone, join_locations, windowed_count
from examples.rides.join_locations import Location, Match
from examples.rides.model import Ride, milliseconds
from examples.rides.producer import look_alike, produce
from headwater.testing import TopologyTestDriver

NOON = datetime(2020, 7, 1, 12, tzinfo=UTC)


def ride(zone: int = 74, pickup: datetime = NOON, dropoff: datetime = NOON, to: int = 75) -> Ride:
    amounts = dict.fromkeys(("fare_amount", "extra", "mta_tax", "tip_amount", "tolls_amount"), 1.0)
    return Ride(
        VendorID=1,
        tpep_pickup_datetime=pickup,
        tpep_dropoff_datetime=dropoff,
        passenger_count=1,
        trip_distance=2.0,
        RatecodeID=1,
        store_and_fwd_flag="N",
        PULocationID=zone,
        DOLocationID=to,
        payment_type=1,
        improvement_surcharge=0.3,
        total_amount=9.5,
        congestion_surcharge=0.0,
        **amounts,
    )


def test_every_ride_updates_its_zones_count() -> None:
    with TopologyTestDriver(count_per_zone.build("memory:")) as driver:
        rides = driver.input_topic("rides", key=str, value=Ride)
        for zone in (74, 75, 74):
            rides.pipe(str(zone), ride(zone), timestamp=milliseconds(NOON))
        assert driver.output_topic("rides-per-zone").read_key_values() == [("74", 1), ("75", 1), ("74", 2)]


def test_counts_per_zone_equal_a_counter() -> None:
    rides = look_alike(265)
    with hw.open("memory:") as broker:
        produce(broker, rides)
        count_per_zone.build(broker).run(until="caught_up")
        last = broker.read_frame("rides-per-zone").unique("key", keep="last", maintain_order=True)
        assert dict(last.select("key", "value").iter_rows()) == Counter(str(ride.PULocationID) for ride in rides)


def test_i04_a_window_waits_for_its_grace_and_no_longer() -> None:
    """[0 s, 10 s) with 5 s of grace takes a ride at 9 s while stream time is below 15 s."""
    start = milliseconds(NOON)
    with TopologyTestDriver(windowed_count.build("memory:")) as driver:
        rides = driver.input_topic("rides", key=str, value=Ride)
        for second in (1, 14, 9, 15, 9):
            rides.pipe("74", ride(), timestamp=start + second * 1000)
        assert [(r.key.start - start, r.value) for r in driver.output_topic("rides-per-window").read_all()] == [
            (0, 1),
            (10_000, 1),
            (0, 2),
            (10_000, 2),
        ]
        assert driver.dropped_records() == 1


def test_windowed_counts_equal_a_counter() -> None:
    rides = sorted(look_alike(265), key=lambda ride: ride.tpep_pickup_datetime)
    with hw.open("memory:") as broker:
        produce(broker, rides)
        windowed_count.build(broker).run(until="caught_up", close_windows=True)
        last = broker.read_frame("rides-per-window").unique(["key", "window_start"], keep="last", maintain_order=True)
        found = {
            (key, int(start.timestamp())): count
            for key, start, count in last.select("key", "window_start", "value").iter_rows()
        }
        assert found == Counter(
            (str(ride.PULocationID), int(ride.tpep_pickup_datetime.timestamp()) // 10 * 10) for ride in rides
        )


def test_a_free_taxi_within_ten_minutes_matches_and_a_later_one_does_not() -> None:
    with TopologyTestDriver(join_locations.build("memory:")) as driver:
        dropoffs = driver.input_topic("dropoffs", key=str, value=Ride)
        locations = driver.input_topic("locations", key=str, value=Location)
        dropoffs.pipe("75", ride(dropoff=NOON), timestamp=milliseconds(NOON))
        for minutes in (10, 11):
            requested = NOON + timedelta(minutes=minutes)
            locations.pipe("75", Location(75, requested), timestamp=milliseconds(requested))
        [match] = driver.output_topic("free-taxis").read_all()
        assert match.key == "75"
        assert match.value == Match(1, 75, NOON + timedelta(minutes=10), NOON)


def test_no_taxi_in_another_zone() -> None:
    with TopologyTestDriver(join_locations.build("memory:")) as driver:
        driver.input_topic("dropoffs", key=str, value=Ride).pipe("75", ride(), timestamp=milliseconds(NOON))
        driver.input_topic("locations", key=str, value=Location).pipe(
            "76", Location(76, NOON), timestamp=milliseconds(NOON)
        )
        assert driver.output_topic("free-taxis").read_all() == []


def test_matches_equal_a_nested_loop() -> None:
    """Over a stretch in which nothing is late: drop-offs and requests a minute apart."""
    rides = [ride(74, NOON + timedelta(minutes=m), NOON + timedelta(minutes=m + 3), 74) for m in range(0, 60, 4)]
    assert all(b.tpep_pickup_datetime > a.tpep_pickup_datetime for a, b in pairwise(rides))
    with hw.open("memory:") as broker:
        join_locations.produce(broker, rides)
        join_locations.build(broker).run(until="caught_up", close_windows=True)
        found = broker.read_frame("free-taxis", key=str, value=Match)
        expected = [
            (a.tpep_dropoff_datetime, b.tpep_pickup_datetime)
            for a in rides
            for b in rides
            if abs(a.tpep_dropoff_datetime - b.tpep_pickup_datetime) <= timedelta(minutes=10)
        ]
        assert sorted(found.select("dropped_off", "requested").iter_rows()) == sorted(expected)
