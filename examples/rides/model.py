"""A taxi ride as New York's Taxi and Limousine Commission publishes it, and how to read one from a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec


class Ride(msgspec.Struct, frozen=True):
    """One ride, with the columns' own names."""

    VendorID: int
    tpep_pickup_datetime: datetime
    tpep_dropoff_datetime: datetime
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


_READERS: dict[str, Callable[[str], Any]] = {
    "int": int,
    "float": float,  # also reads ".30", as these files write it
    "str": str,
    "datetime": lambda text: datetime.fromisoformat(text).replace(tzinfo=UTC),
}


def parse(lines: Iterable[str]) -> Iterator[Ride]:
    """Read rides from lines, the first of which names the fields of `Ride`.

    Args:
        lines: An open file, or anything else that gives lines.
    """
    for row in csv.DictReader(lines):
        yield Ride(**{field: _READERS[kind](row[field]) for field, kind in Ride.__annotations__.items()})


def read_csv(path: str | Path) -> Iterator[Ride]:
    """Read the rides of a file, in its order.

    Args:
        path: The file.
    """
    with Path(path).open(newline="") as lines:
        yield from parse(lines)


def milliseconds(instant: datetime) -> int:
    """An instant as a record's timestamp."""
    return int(instant.timestamp() * 1000)
