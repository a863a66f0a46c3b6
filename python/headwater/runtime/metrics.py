"""What an application has done: numbers in Kafka Streams' words, and a line on a terminal while it runs."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from headwater.runtime.task import StreamTask


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of a run.

    Attributes:
        seconds: How long it has run.
        records: Records taken from source and repartition topics.
        records_out: Records written to output and repartition topics.
        records_per_second: `records` over `seconds`.
        dropped_records: Records that Kafka Streams drops and counts: null keys, late ones, what does not decode under
            ``on_error="skip"``.
        late_records: Those of them that came after their window had closed.
        batches: Micro-batches that held records.
        mean_batch_size: Records a micro-batch.
        lag: Records that the source topics hold and nobody has processed.
        stage_seconds: Time spent in each stage of the plan, by level and kind, largest first.
    """

    seconds: float
    records: int
    records_out: int
    records_per_second: float
    dropped_records: int
    late_records: int
    batches: int
    mean_batch_size: float
    lag: int
    stage_seconds: dict[str, float]


def collect(tasks: list[StreamTask], seconds: float) -> Metrics:
    """Add up the numbers of tasks.

    Args:
        tasks: The tasks of an application.
        seconds: How long they have run.
    """
    records = sum(task.runner.records for task in tasks)
    batches = sum(task.runner.batches for task in tasks)
    stages: dict[str, float] = {}
    dropped = late = lag = 0
    for task in tasks:
        with task.lock:
            dropped += task.runner.dropped()
            late += task.runner.late()
            lag += task.lag()
            for stage, spent in task.runner.seconds.items():
                stages[stage] = stages.get(stage, 0.0) + spent
    return Metrics(
        seconds=seconds,
        records=records,
        records_out=sum(task.records_out for task in tasks),
        records_per_second=records / seconds if seconds else 0.0,
        dropped_records=dropped,
        late_records=late,
        batches=batches,
        mean_batch_size=records / batches if batches else 0.0,
        lag=lag,
        stage_seconds=dict(sorted(stages.items(), key=lambda item: -item[1])),
    )


class Progress:
    """A line on standard error with records/s and lag, while it is entered."""

    def __init__(self, tasks: list[StreamTask], started: float, shows: bool) -> None:  # noqa: FBT001
        self._tasks = tasks
        self._started = started
        self._shows = shows
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._draw, name="headwater-progress", daemon=True)

    def _draw(self) -> None:
        while not self._done.wait(0.5):
            self._line()

    def _line(self) -> None:
        records = sum(task.runner.records for task in self._tasks)
        lag = sum(task.lag() for task in self._tasks)
        rate = records / max(time.monotonic() - self._started, 1e-9)
        share = records / (records + lag) if records + lag else 1.0
        bar = "#" * int(30 * share)
        sys.stderr.write(f"\r[{bar:<30}] {records:,} records, {rate:,.0f} records/s, lag {lag:,}   ")
        sys.stderr.flush()

    def __enter__(self) -> None:
        if self._shows:
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        if self._shows:
            self._done.set()
            self._thread.join()
            self._line()
            sys.stderr.write("\n")
