"""Writes rides from a CSV file into topic ``rides``, keyed by pick-up zone, with the pick-up as their event time.

python -m examples.rides.producer DIR [rides.csv]
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable

import headwater as hw
from examples.rides.look_alike import write_csv
from examples.rides.model import Ride, milliseconds, parse, read_csv


def produce(broker: hw.Broker, rides: Iterable[Ride]) -> int:
    """Send every ride and wait until all are durable."""
    broker.create_topic("rides", partitions=2, key=str, value=Ride, exist_ok=True)
    sent = 0
    with broker.producer() as producer:
        for ride in rides:
            timestamp = milliseconds(ride.tpep_pickup_datetime)
            producer.send("rides", key=str(ride.PULocationID), value=ride, timestamp=timestamp)
            sent += 1
    return sent


def look_alike(count: int = 265) -> list[Ride]:
    """Rides for when there is no file."""
    text = io.StringIO()
    write_csv(text, count)
    text.seek(0)
    return list(parse(text))


def main(directory: str, path: str | None = None) -> None:
    with hw.open(directory) as broker:
        print(f"sent {produce(broker, read_csv(path) if path else look_alike())} rides")


if __name__ == "__main__":
    main(*sys.argv[1:])
