"""Reads topic ``rides`` as a member of group ``billing``, and says what the rides so far came to. Run it twice: the group
remembers where it was.

    python -m examples.rides.consumer DIR
"""

from __future__ import annotations

import sys

import headwater as hw
from examples.rides.model import Ride


def consume(broker: hw.Broker, *, timeout: str = "200ms") -> tuple[int, float]:
    """Read what the group has not read yet; return how many rides and their total amount."""
    count, total = 0, 0.0
    with broker.consumer(
        "rides", group="billing", auto_offset_reset="earliest", key=str, value=Ride, timeout=timeout
    ) as consumer:
        for record in consumer:
            count += 1
            total += record.value.total_amount
        consumer.commit()
    return count, total


def main(directory: str) -> None:
    with hw.open(directory) as broker:
        count, total = consume(broker)
        print(f"read {count} rides, {total:,.2f} dollars")


if __name__ == "__main__":
    main(*sys.argv[1:])
