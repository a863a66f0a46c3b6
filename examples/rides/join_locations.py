"""Finds riders who wait where a taxi has just become free: drop-offs joined with requests in the same zone.

A stream-stream join over twenty minutes to either side with five minutes of grace, of which matches within ten minutes
are kept.

    python -m examples.rides.join_locations DIR
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

import headwater as hw
from examples.rides.model import Ride, milliseconds
from examples.rides.producer import look_alike


class Location(msgspec.Struct, frozen=True):
    """Somebody asks for a taxi in a zone."""

    PULocationID: int
    requested: datetime


class Match(msgspec.Struct, frozen=True):
    """A taxi of a vendor became free in the zone where somebody asks for one."""

    VendorID: int
    PULocationID: int
    requested: datetime
    dropped_off: datetime

    @classmethod
    def of(cls, ride: Ride, location: Location) -> Match:
        return cls(ride.VendorID, location.PULocationID, location.requested, ride.tpep_dropoff_datetime)


def build(broker: hw.Broker | str) -> hw.App:
    app = hw.App("free-taxis", broker=broker)
    dropoffs = app.stream("dropoffs", key=str, value=Ride)
    locations = app.stream("locations", key=str, value=Location)
    matches = dropoffs.join(locations, hw.JoinWindow("20m"), grace="5m", combine=Match.of)
    matches.filter(lambda zone, match: abs(match.requested - match.dropped_off) <= timedelta(minutes=10)).to(
        "free-taxis"
    )
    return app


def produce(broker: hw.Broker, rides: Iterable[Ride]) -> None:
    """Write every ride as a drop-off in its last zone, and as a request in its first."""
    broker.create_topic("dropoffs", partitions=2, key=str, value=Ride, exist_ok=True)
    broker.create_topic("locations", partitions=2, key=str, value=Location, exist_ok=True)
    with broker.producer() as producer:
        for ride in rides:
            end, start = ride.tpep_dropoff_datetime, ride.tpep_pickup_datetime
            producer.send("dropoffs", key=str(ride.DOLocationID), value=ride, timestamp=milliseconds(end))
            request = Location(ride.PULocationID, start)
            producer.send("locations", key=str(ride.PULocationID), value=request, timestamp=milliseconds(start))


def main(directory: str) -> None:
    with hw.open(directory) as broker:
        produce(broker, look_alike())
        build(broker).run(until="caught_up", close_windows=True)
        print(f"{broker.read_frame('free-taxis').height} riders found a free taxi within ten minutes")


if __name__ == "__main__":
    main(*sys.argv[1:])
