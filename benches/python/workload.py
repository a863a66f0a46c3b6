"""The rides that every benchmark uses: 397 bytes of JSON in 18 fields, keyed by pick-up zone.

Event time advances by 10 ms a ride and jumps back by up to 3 s; 263 zones, drawn from a falling distribution (the busiest
has about 5 %). The same seed gives the same bytes, on every machine and in every release.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import lru_cache

import msgspec

START_MS = 1_700_000_000_000
STEP_MS = 10
JITTER_MS = 3000
ZONES = 263


class Ride(msgspec.Struct, frozen=True):
    """A ride; the fields' order is that of the JSON."""

    VendorID: int
    tpep_pickup_datetime: str
    tpep_dropoff_datetime: str
    passenger_count: int
    trip_distance: float
    RatecodeID: int
    store_and_fwd_flag: str
    PULocationID: int
    DOLocationID: int
    payment_type: int
    fare_amount: float
    extra: float
    mta_tax: float
    tip_amount: float
    tolls_amount: float
    improvement_surcharge: float
    total_amount: float
    congestion_surcharge: float


class Location(msgspec.Struct, frozen=True):
    """The other side of the join."""

    zone: int
    loc: str


Row = tuple[bytes, bytes, int]


def rides(count: int, seed: int = 1) -> Iterator[Row]:
    """Keys, values and timestamps of `count` rides.

    The draws happen in a fixed order: zones first, then for each ride jitter, pick-up zone, fare, vendor, passengers,
    distance, drop-off zone, payment.
    """
    draw = random.Random(seed)
    table = [1 + min(ZONES - 1, int(draw.expovariate(1 / 60))) for _ in range(1 << 12)]
    encode = msgspec.json.Encoder().encode
    for number in range(count):
        timestamp = START_MS + number * STEP_MS - draw.randrange(0, JITTER_MS)
        pickup_zone = table[draw.getrandbits(12)]
        fare = round(3 + draw.expovariate(1 / 12), 2)
        vendor, passengers = draw.randint(1, 2), draw.randint(1, 6)
        distance = round(draw.expovariate(1 / 3), 2)
        dropoff_zone, payment = table[draw.getrandbits(12)], draw.randint(1, 4)
        minute, second = number // 60, number % 60
        ride = Ride(
            VendorID=vendor,
            tpep_pickup_datetime=f"2023-11-14 22:{minute % 60:02}:{second:02}",
            tpep_dropoff_datetime=f"2023-11-14 22:{(minute + 9) % 60:02}:{second:02}",
            passenger_count=passengers,
            trip_distance=distance,
            RatecodeID=1,
            store_and_fwd_flag="N",
            PULocationID=pickup_zone,
            DOLocationID=dropoff_zone,
            payment_type=payment,
            fare_amount=fare,
            extra=0.5,
            mta_tax=0.5,
            tip_amount=round(fare * 0.2, 2),
            tolls_amount=0.0,
            improvement_surcharge=0.3,
            total_amount=round(fare * 1.2 + 1.3, 2),
            congestion_surcharge=2.5,
        )
        yield str(pickup_zone).encode(), encode(ride), timestamp


def locations(count: int, seed: int = 1) -> Iterator[Row]:
    """A location for each ride, 100 ms after it, under the same key."""
    for key, _, timestamp in rides(count, seed):
        zone = key.decode()
        yield key, f'{{"zone":{zone},"loc":"Z{zone}"}}'.encode(), timestamp + 100


@lru_cache(maxsize=2)
def ride_rows(count: int) -> list[Row]:
    """`rides`, made once."""
    return list(rides(count))


@lru_cache(maxsize=1)
def location_rows(count: int) -> list[Row]:
    """`locations`, made once."""
    return list(locations(count))
