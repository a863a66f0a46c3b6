"""How fast do applications run, from a topic on the disk to a topic on the disk?

The jobs are those that Kafka Streams was measured with (benches/README.md): the same rides, windows, grace and results.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import msgspec
import polars as pl
import pytest

import headwater as hw
from benches.python.conftest import Measure
from benches.python.workload import Location, Ride

_numbers = count()


class Fare(msgspec.Struct, frozen=True):
    zone: int
    total: float


class Totals(msgspec.Struct, frozen=True):
    n: int = 0
    total: float = 0.0
    most: float = 0.0


class Located(msgspec.Struct, frozen=True):
    zone: int
    total: float
    loc: str


def stateless_expressions(rides: hw.Stream[str, Ride], out: str) -> None:
    kept = rides.filter(pl.col("trip_distance") > 1.0)
    kept.select(zone=pl.col("PULocationID"), total=pl.col("total_amount")).to(out)


def stateless_callables(rides: hw.Stream[str, Ride], out: str) -> None:
    kept = rides.filter(lambda _, ride: ride.trip_distance > 1.0)
    kept.map_values(lambda ride: Fare(ride.PULocationID, ride.total_amount), value=Fare).to(out)


def count_per_window(rides: hw.Stream[str, Ride], out: str) -> None:
    rides.group_by_key().windowed_by(hw.TumblingWindow("10s", grace="5s")).count().to_stream().to(out)


def mean_expressions(rides: hw.Stream[str, Ride], out: str) -> None:
    total = pl.col("total_amount")
    windows = rides.group_by_key().windowed_by(hw.TumblingWindow("60s", grace="5s"))
    windows.agg(total=total.sum(), mean=total.mean(), most=total.max()).to_stream().to(out)


def mean_callables(rides: hw.Stream[str, Ride], out: str) -> None:
    def add(_: str, ride: Ride, so_far: Totals) -> Totals:
        return Totals(so_far.n + 1, so_far.total + ride.total_amount, max(so_far.most, ride.total_amount))

    windows = rides.group_by_key().windowed_by(hw.TumblingWindow("60s", grace="5s"))
    windows.aggregate(Totals, add, value=Totals).to_stream().to(out)


JOBS = [stateless_expressions, stateless_callables, count_per_window, mean_expressions, mean_callables]


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.__name__)
def test_application(job: Callable[[hw.Stream[str, Ride], str], None], loaded: hw.Broker, measure: Measure) -> None:
    def prepare() -> hw.App:
        number = next(_numbers)
        app = hw.App(f"bench-{number}", broker=loaded)
        job(app.stream("rides", key=str, value=Ride), f"out-{number}")
        return app

    measure(lambda app: app.run(until="caught_up"), setup=prepare)


@pytest.mark.parametrize("combine", ["expressions", "callable"])
def test_join_within_half_a_second(combine: str, loaded: hw.Broker, measure: Measure) -> None:
    by_expression = {
        "zone": pl.col("left.PULocationID"),
        "total": pl.col("left.total_amount"),
        "loc": pl.col("right.loc"),
    }

    def by_callable(ride: Ride, location: Location) -> Located:
        return Located(ride.PULocationID, ride.total_amount, location.loc)

    def prepare() -> hw.App:
        number = next(_numbers)
        app = hw.App(f"bench-{number}", broker=loaded)
        rides = app.stream("rides", key=str, value=Ride)
        locations = app.stream("locations", key=str, value=Location)
        how = by_expression if combine == "expressions" else by_callable
        rides.join(locations, hw.JoinWindow("500ms"), grace="5s", combine=how).to(f"out-{number}")  # type: ignore[arg-type]
        return app

    measure(lambda app: app.run(until="caught_up"), setup=prepare)
