"""A 95th percentile, a filtered sum and a two-column expression per window, out of order, against plain Polars.

The oracle assigns records to windows by the definition (sessions by sorting) and lets Polars aggregate each window's
records in order of arrival; nothing is late, so the last update of a window is its final answer.
"""

from __future__ import annotations

from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import headwater as hw
from headwater.testing import TopologyTestDriver


class Ride(msgspec.Struct):
    distance: float
    fare: float
    riders: int | None = None


COLUMNS = {
    "trips": pl.len(),
    "p95": pl.col("distance").quantile(0.95),
    "far": pl.col("fare").filter(pl.col("distance") > 2.0).sum(),
    "per_mile": (pl.col("fare") * pl.col("distance")).mean(),
    "riders": pl.col("riders").sum(),
    "spread": pl.col("fare").max() - pl.col("fare").min(),
}
NUMBERS = st.floats(min_value=0.01, max_value=50, allow_nan=False).map(lambda x: round(x, 2))
RIDES = st.builds(Ride, distance=NUMBERS, fare=NUMBERS, riders=st.none() | st.integers(0, 6))
INPUTS = st.lists(st.tuples(st.sampled_from("ab"), RIDES, st.integers(0, 400)), min_size=1, max_size=40)

Arrival = tuple[str, Ride, int]


def _fixed(size: int, advance: int) -> Any:
    def assign(arrivals: list[Arrival]) -> dict[Any, list[Ride]]:
        windows: dict[Any, list[Ride]] = {}
        for key, ride, timestamp in arrivals:
            for start in range(0, timestamp + 1, advance):
                if start <= timestamp < start + size:
                    windows.setdefault(hw.Windowed(key, start, start + size), []).append(ride)
        return windows

    return assign


def _sessions(gap: int) -> Any:
    def assign(arrivals: list[Arrival]) -> dict[Any, list[Ride]]:
        windows: dict[Any, list[Ride]] = {}
        for key in {key for key, _, _ in arrivals}:
            mine = [(timestamp, ride) for k, ride, timestamp in arrivals if k == key]
            times = sorted(timestamp for timestamp, _ in mine)
            bounds = [[times[0], times[0]]]
            for time in times[1:]:
                if time - bounds[-1][1] <= gap:
                    bounds[-1][1] = time
                else:
                    bounds.append([time, time])
            for start, end in bounds:
                windows[hw.Windowed(key, start, end)] = [ride for timestamp, ride in mine if start <= timestamp <= end]
        return windows

    return assign


WINDOWS = {
    "tumbling": (hw.TumblingWindow("50ms", grace="1s"), _fixed(50, 50)),
    "hopping": (hw.HoppingWindow("50ms", advance="20ms", grace="1s"), _fixed(50, 20)),
    "session": (hw.SessionWindow(gap="15ms", grace="1s"), _sessions(15)),
}


@pytest.mark.parametrize("batch_size", [1, 7, None])
@pytest.mark.parametrize("cache", ["0", "10MB"])
@pytest.mark.parametrize("kind", WINDOWS)
@given(arrivals=INPUTS)
def test_expressions_per_window_equal_polars(
    kind: str, cache: str, batch_size: int | None, arrivals: list[Arrival]
) -> None:
    window, assign = WINDOWS[kind]
    app = hw.App("agg", cache=cache)
    app.stream("rides", key=str, value=Ride).group_by_key().windowed_by(window).agg(**COLUMNS).to_stream().to("out")
    with TopologyTestDriver(app, batch_size=batch_size) as driver:
        driver.input_topic("rides").pipe_many(arrivals)
        got = {record.key: record.value for record in driver.output_topic("out").read_all()}
    schema = {"distance": pl.Float64, "fare": pl.Float64, "riders": pl.Int64}
    expected = {
        key: pl.DataFrame([msgspec.structs.asdict(ride) for ride in rides], schema=schema)
        .select(**COLUMNS)
        .row(0, named=True)
        for key, rides in assign(arrivals).items()
    }
    assert {key: value for key, value in got.items() if value is not None}.keys() == expected.keys()
    for key, row in expected.items():
        for name, value in row.items():
            assert got[key][name] == (None if value is None else pytest.approx(value, rel=1e-9)), name
