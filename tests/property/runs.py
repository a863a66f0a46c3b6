"""Runs topologies in the test driver at every batch size, with and without a cache, and compares the runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import headwater as hw
from headwater.testing import TopologyTestDriver

BATCH_SIZES = (1, 7, None)

Build = Callable[[hw.App], None]
Input = tuple[str, str | None, int | None, int]
"""topic, key, value, timestamp"""


class Run(NamedTuple):
    """What came out: outputs per topic in order, drops, and the contents of the store ``"store"`` (if there is one)."""

    outputs: dict[str, list[tuple[Any, Any, int]]]
    dropped: int
    store: dict[Any, Any]


def run(build: Build, inputs: list[Input], *, cache: str = "0", batch_size: int | None = 1, **options: Any) -> Run:
    """One run of a topology."""
    app = hw.App("oracle", cache=cache, **options)
    build(app)
    with TopologyTestDriver(app, batch_size=batch_size, trace=True) as driver:
        driver.pipe_many(
            (
                topic,
                None if key is None else key.encode(),
                None if value is None else value.to_bytes(8, "big", signed=True),
                timestamp,
                (),
            )
            for topic, key, value, timestamp in inputs
        )
        outputs: dict[str, list[tuple[Any, Any, int]]] = {}
        for emission in driver.trace():
            if emission.topic is not None:
                outputs.setdefault(emission.topic, []).append((plain(emission.key), emission.value, emission.timestamp))
        store: dict[Any, Any] = {}
        if "store" in app.topology.store_names:
            store = {plain(key): value for key, value, _ in driver.store("store").items()}
        return Run(outputs, driver.dropped_records(), store)


def run_all(build: Build, inputs: list[Input], **options: Any) -> Run:
    """The run at batch size 1 without a cache, after all other sizes have agreed with it."""
    plain_run = run(build, inputs, **options)
    cached = run(build, inputs, cache="10MB", **options)
    assert cached.store == plain_run.store and cached.dropped == plain_run.dropped
    for batch_size in BATCH_SIZES[1:]:
        assert run(build, inputs, batch_size=batch_size, **options) == plain_run
        assert run(build, inputs, batch_size=batch_size, cache="10MB", **options) == cached
    return plain_run


def plain(key: Any) -> Any:
    return (key.key, key.start, key.end) if isinstance(key, hw.Windowed) else key
