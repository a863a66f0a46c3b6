"""Counts rides per pick-up zone into topic ``rides-per-zone``: a table that changes with every ride.

python -m examples.rides.count_per_zone DIR
"""

from __future__ import annotations

import sys

import headwater as hw
from examples.rides.model import Ride


def build(broker: hw.Broker | str) -> hw.App:
    app = hw.App("rides-per-zone", broker=broker)
    app.stream("rides", key=str, value=Ride).group_by_key().count().to_stream().to("rides-per-zone")
    return app


def main(directory: str) -> None:
    with hw.open(directory) as broker:
        build(broker).run(until="caught_up")
        counts = broker.read_frame("rides-per-zone").unique("key", keep="last", maintain_order=True)
        for zone, count in counts.sort("value", descending=True).select("key", "value").head(5).iter_rows():
            print(f"zone {zone}: {count} rides")


if __name__ == "__main__":
    main(*sys.argv[1:])
