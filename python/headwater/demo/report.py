"""Runs the demo and prints what happened: lines that a script can read, tables that a person wants to."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from headwater.demo.data import load
from headwater.demo.pipeline import CARRIERS, HOURLY, JOINED, build
from headwater.log import open

if TYPE_CHECKING:
    import polars as pl

    from headwater.runtime.metrics import Metrics


def run(keep: Path | None = None) -> None:
    """Load, process, and show.

    Args:
        keep: Directory to work in and leave; without it a temporary one is used and removed.
    """
    with _directory(keep) as directory, open(directory) as broker:
        _say(f"headwater demo: a year of flights out of New York, in {directory}")
        stages: dict[str, float] = {}

        with _timed(stages, "load into topics"):
            loaded = load(broker)
        _say(f"{loaded.flights:,} flights, {loaded.weather:,} weather observations, {loaded.airlines} airlines")
        if loaded.written:
            _say(f"loaded at {loaded.written / stages['load into topics']:,.0f} records/s")

        app = build(broker)
        with _timed(stages, "process"):
            metrics = app.run(until="caught_up", close_windows=True)
        _metrics(metrics)

        with _timed(stages, "read results"):
            tables = {topic: broker.read_frame(topic) for topic in (HOURLY, JOINED, CARRIERS)}
        _say("stages: " + ", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in stages.items()))
        _tables(tables)
        if keep is not None:
            _say(f"kept in {directory}; run it again and it finds nothing new")


def busiest_hours(hourly: pl.DataFrame) -> pl.DataFrame:
    """The last result of each origin and hour, the worst mean delay first, of hours with at least 20 flights.

    Args:
        hourly: Topic ``departures-per-hour`` as a frame.
    """
    import polars as pl

    return latest(hourly, "key", "window_start").filter(pl.col("flights") >= 20).sort("mean_delay", descending=True)


def latest(frame: pl.DataFrame, *keys: str) -> pl.DataFrame:
    """A stream of updates as the table that it describes: the last row of each key.

    Args:
        frame: A topic, in the order of its offsets.
        *keys: Columns that make up the key.
    """
    return frame.unique(subset=list(keys), keep="last", maintain_order=True).drop("partition", "offset")


def _metrics(metrics: Metrics) -> None:
    """Records, rate, late ones, the mean batch and time per stage, in the words that a script looks for."""
    if not metrics.records:
        _say("0 new records: everything was processed by an earlier run")
        return
    _say(f"processed {metrics.records:,} records at {metrics.records_per_second:,.0f} records/s")
    _say(f"late records: {metrics.late_records:,}; mean batch: {metrics.mean_batch_size:,.0f} records")
    for stage, seconds in list(metrics.stage_seconds.items())[:6]:
        _say(f"  {seconds:7.2f} s  {stage}")


def _tables(tables: dict[str, pl.DataFrame]) -> None:
    import polars as pl

    with pl.Config(
        tbl_hide_column_data_types=True, tbl_hide_dataframe_shape=True, tbl_rows=16, tbl_cols=12, float_precision=2
    ):
        _say("\nthe worst hours (mean departure delay in minutes, 95th percentile, share cancelled)")
        hours = busiest_hours(tables[HOURLY]).head(8)
        _say(str(hours.select("key", "window_start", "flights", "mean_delay", "p95_delay", "cancelled")))
        _say(f"\nflights in the weather of their hour ({tables[JOINED].height:,} joined)")
        columns = ("airline", "flight", "key", "dest", "dep_delay", "temp", "wind_speed", "visib")
        _say(str(tables[JOINED].select(columns).head(5)))
        _say("\ndelays per airline, in any weather and in rain")
        _say(str(latest(tables[CARRIERS], "key").drop("timestamp").sort("mean_delay", descending=True)))


@contextmanager
def _directory(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="headwater-demo-") as made:
        yield Path(made) / "data"


@contextmanager
def _timed(stages: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    stages[stage] = time.perf_counter() - start


def _say(line: str) -> None:
    print(line, file=sys.stdout, flush=True)
