"""Rides that look like the real ones, for machines without the file: `python -m examples.rides.look_alike 265 > rides.csv`.

The same seed gives the same bytes. Amounts are written as the originals are: no zero before the point, none behind it.
"""

from __future__ import annotations

import csv
import random
import sys
from datetime import datetime, timedelta
from typing import TextIO

from examples.rides.model import Ride


def write_csv(lines: TextIO, count: int, seed: int = 7) -> None:
    """Write `count` rides.

    Args:
        lines: Where to.
        count: How many.
        seed: Of the random numbers.
    """
    chance = random.Random(seed)
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(Ride.__struct_fields__)
    start = datetime(2020, 7, 1)
    for number in range(count):
        pickup = start + timedelta(seconds=number * 13 + chance.randrange(-600, 600) + 600)
        minutes, distance = chance.expovariate(1 / 9), chance.expovariate(1 / 2.5)
        fare, tip = 2.5 + distance * 2.5, chance.choice([0, 0, 1, 2.06, 3.5])
        total = fare + 0.5 + 0.5 + tip + 0.3 + 2.5
        row = [chance.choice([1, 2]), pickup, pickup + timedelta(seconds=int(minutes * 60)), chance.randint(1, 5)]
        row += [_amount(distance, 2), 1, "N", _zone(chance), _zone(chance), chance.choice([1, 2])]
        row += [_amount(amount) for amount in (fare, 0.5, 0.5, tip, 0, 0.3, total, 2.5)]
        writer.writerow(row)


def _zone(chance: random.Random) -> int:
    return min(263, 1 + int(chance.expovariate(1 / 60)))


def _amount(number: float, digits: int | None = None) -> str:
    """``.30`` for distances, ``8`` and ``9.3`` for amounts."""
    text = f"{number:.2f}" if digits else f"{round(number, 2):g}"
    return text[1:] if digits and text.startswith("0.") else text


if __name__ == "__main__":
    write_csv(sys.stdout, int(sys.argv[1]))
