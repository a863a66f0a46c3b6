"""Counts rides per pick-up zone and ten seconds of event time, waiting five more for rides that come out of order.

python -m examples.rides.windowed_count DIR
"""

from __future__ import annotations

import sys

import headwater as hw
from examples.rides.model import Ride


def build(broker: hw.Broker | str) -> hw.App:
    app = hw.App("rides-per-window", broker=broker)
    (
        app.stream("rides", key=str, value=Ride)
        .group_by_key()
        .windowed_by(hw.TumblingWindow("10s", grace="5s"))
        .count()
        .to_stream()
        .to("rides-per-window")
    )
    return app


def main(directory: str) -> None:
    with hw.open(directory) as broker:
        build(broker).run(until="caught_up", close_windows=True)
        for row in broker.read_frame("rides-per-window").head(5).iter_rows(named=True):
            print(f"zone {row['key']} from {row['window_start']:%H:%M:%S}: {row['value']} rides")


if __name__ == "__main__":
    main(*sys.argv[1:])
