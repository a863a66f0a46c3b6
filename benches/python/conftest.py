"""What the benchmarks share: how many records, brokers that hold them, and a summary in records a second.

`HEADWATER_BENCH_RECORDS` sets the number of records (default 200,000).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import headwater as hw
from benches.python.workload import Location, Ride, location_rows, ride_rows

RECORDS = int(os.environ.get("HEADWATER_BENCH_RECORDS", "200000"))
ROUNDS = int(os.environ.get("HEADWATER_BENCH_ROUNDS", "3"))
_numbers = count()

Measure = Callable[..., None]


@pytest.fixture(params=["os", "fsync"])
def durability(request: pytest.FixtureRequest) -> str:
    """What an acknowledgement waits for: the operating system (as Kafka's does), or the disk (our default)."""
    return str(request.param)


@pytest.fixture
def broker(tmp_path: Path, durability: str) -> Iterator[hw.Broker]:
    """An empty broker on the disk."""
    with hw.open(tmp_path / "data", durability=durability) as opened:
        yield opened


@pytest.fixture(scope="session")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[hw.Broker]:
    """A broker with `RECORDS` rides, as many locations, in one partition each."""
    with hw.open(tmp_path_factory.mktemp("loaded") / "data", durability="os") as opened:
        for topic, rows, value in (("rides", ride_rows, Ride), ("locations", location_rows, Location)):
            opened.create_topic(topic, key=str, value=value)
            opened.send_many(topic, rows(RECORDS), key=bytes, value=bytes)
        yield opened


@pytest.fixture
def number() -> int:
    """A number that no other benchmark has, for names of applications and topics."""
    return next(_numbers)


@pytest.fixture
def measure(benchmark: Any) -> Measure:
    """Run ``work(*setup())`` some times and note how many records a second that is."""

    def run(work: Callable[..., Any], *, records: int = RECORDS, setup: Callable[[], Any] | None = None) -> None:
        prepared = (lambda: ((setup(),), {})) if setup else None
        benchmark.pedantic(work, setup=prepared, rounds=ROUNDS, iterations=1)
        if benchmark.stats is not None:
            benchmark.extra_info["records_per_second"] = records / benchmark.stats.stats.min

    return run


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """One line a benchmark: the best round's rate."""
    session = getattr(config, "_benchmarksession", None)
    for bench in session.benchmarks if session else ():
        rate = bench.extra_info.get("records_per_second")
        if rate:
            terminalreporter.write_line(f"{bench.name:60} {rate:>14,.0f} records/s")
