"""Exactly once: an application that dies at any operation of its disk, and runs on, leaves the outputs of one that did not.

Each case is an operator with state. It is run once undisturbed, and then again with a crash at one operation after the
other; what a restart finds is one of the directories that the crash may leave (many of them in the soak). Then it runs to
the end. Read committed, the output topic holds the same records in the same order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

import headwater as hw
from headwater.errors import HeadwaterError
from headwater.runtime.committer import ProcessingGuarantee
from headwater.testing import CrashLevel, SimulatedDisk

LEVELS: tuple[CrashLevel, ...] = ("power_loss", "killed", "prefixes", "torn", "reordered")

Build = Callable[[hw.App], None]


def left(app: hw.App) -> Any:
    return app.stream("left", key=str, value=int)


def right(app: hw.App) -> Any:
    return app.stream("right", key=str, value=int)


def windowed(app: hw.App, window: Any) -> Any:
    return left(app).group_by_key().windowed_by(window)


def add(mine: int, other: int | None) -> int:
    return mine + (other or 0)


CASES: dict[str, Build] = {
    "map": lambda app: left(app).map_values(lambda v: v + 1).to("out"),
    "count": lambda app: left(app).group_by_key().count().to_stream().to("out"),
    "reduce": lambda app: left(app).group_by_key().reduce(lambda a, b: a + b).to_stream().to("out"),
    "aggregate": lambda app: (
        left(app).group_by_key().aggregate(int, lambda k, v, total: total + v, value=int).to_stream().to("out")
    ),
    "regrouped": lambda app: left(app).group_by(lambda k, v: str(v % 2)).count().to_stream().to("out"),
    "tumbling": lambda app: windowed(app, hw.TumblingWindow("1s", grace="1s")).count().to_stream().to("out"),
    "hopping": lambda app: (
        windowed(app, hw.HoppingWindow("2s", advance="1s", grace="1s")).count().to_stream().to("out")
    ),
    "sessions": lambda app: windowed(app, hw.SessionWindow(gap="600ms", grace="1s")).count().to_stream().to("out"),
    "expressions": lambda app: (
        windowed(app, hw.TumblingWindow("1s", grace="1s"))
        .agg(n=pl.len(), top=pl.col("value").max())
        .to_stream()
        .to("out")
    ),
    "stream-stream": lambda app: (
        left(app).left_join(right(app), hw.JoinWindow("500ms"), grace="500ms", combine=add).to("out")
    ),
    "stream-table": lambda app: left(app).left_join(app.table("right", key=str, value=int), combine=add).to("out"),
    "table-table": lambda app: (
        app.table("left", key=str, value=int)
        .join(app.table("right", key=str, value=int), combine=add)
        .to_stream()
        .to("out")
    ),
}


def fill(disk: SimulatedDisk) -> None:
    with disk.open() as broker:
        for topic in ("left", "right"):
            broker.create_topic(topic, key=str, value=int)
            rows = [(f"k{number % 3}", number, 250 * number) for number in range(16)]
            broker.send_many(topic, rows if topic == "left" else rows[::3], key=str, value=int)
        broker.create_topic("out")


def run(disk: SimulatedDisk, build: Build, guarantee: ProcessingGuarantee) -> None:
    broker = disk.open()
    try:
        app = hw.App(
            "app",
            broker=broker,
            cache="0",
            batch_size=5,
            commit_interval="0ms",
            threads=1,
            processing_guarantee=guarantee,
        )
        build(app)
        app.run(until="caught_up", progress=False)
    finally:
        broker.close()


def outputs(disk: SimulatedDisk) -> list[tuple[int, bytes | None, bytes | None]]:
    with (
        disk.open() as broker,
        broker.consumer(
            "out", isolation_level="read_committed", auto_offset_reset="earliest", key=bytes, value=bytes, timeout="0s"
        ) as consumer,
    ):
        return [(record.timestamp, record.key, record.value) for record in consumer]


def dies_at(operation: int, before: SimulatedDisk, build: Build, guarantee: ProcessingGuarantee) -> SimulatedDisk:
    disk = before.crash("killed")
    disk.fail_at(operation)
    with pytest.raises(HeadwaterError):
        run(disk, build, guarantee)
    return disk


def check(
    name: str, *, draws: int = 1, all_levels: bool = False, guarantee: ProcessingGuarantee = "exactly_once"
) -> None:
    build = CASES[name]
    before = SimulatedDisk()
    fill(before)
    undisturbed = before.crash("killed")
    run(undisturbed, build, guarantee)
    operations = undisturbed.operations
    expected = outputs(undisturbed)
    assert len(expected) >= 4, "a case must have something to lose"
    assert operations > 100, "a case must have something to crash"
    for operation in range(1, operations):
        dead = dies_at(operation, before, build, guarantee)
        for level in LEVELS if all_levels else (LEVELS[operation % len(LEVELS)],):
            for draw in range(draws):
                left_behind = dead.crash(level, seed=operation + draw)
                run(left_behind, build, guarantee)
                assert outputs(left_behind) == expected, (
                    f"{name}: operation {operation} of {operations}, {level} {draw}"
                )


@pytest.mark.parametrize("name", CASES)
def test_a_crash_anywhere_repeats_and_loses_nothing(name: str) -> None:
    check(name)


def test_at_least_once_is_found_to_repeat() -> None:
    """The proof that the test above can fail."""
    with pytest.raises(AssertionError, match="operation"):
        check("count", guarantee="at_least_once")


@pytest.mark.soak
@pytest.mark.parametrize("name", CASES)
def test_whatever_a_crash_leaves_nothing_is_repeated_or_lost(name: str) -> None:
    check(name, draws=5, all_levels=True)
