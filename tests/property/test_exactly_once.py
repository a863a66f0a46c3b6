"""Exactly once: an application that is stopped, fails or is killed at any moment leaves what an undisturbed one leaves."""

from __future__ import annotations

import os
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headwater as hw
from headwater.topology import nodes as n
from tests.property import test_random_topologies as random_topologies
from tests.property.interrupted_runs import Build, Interruption, Kind, Left, finish
from tests.property.runs import Input

EXAMPLES = int(os.environ.get("HEADWATER_EXAMPLES", "8"))
BATCH_SIZES = (1, 7, 10_000)
KINDS: list[Kind] = ["stop", "fail", "kill"]
WINDOWS = {
    "tumbling": hw.TumblingWindow("10ms", grace="5ms"),
    "hopping": hw.HoppingWindow("10ms", advance="4ms", grace="5ms"),
    "session": hw.SessionWindow(gap="4ms", grace="5ms"),
}


def pair(left: Any, right: Any) -> list[Any]:
    return [left, right]


def count(app: Any) -> None:
    app.stream("left", key=str, value=int).group_by_key().count(store="store").to_stream().to("out")


def reduce(app: Any) -> None:
    grouped = app.stream("left", key=str, value=int).group_by_key()
    grouped.reduce(lambda a, v: a + v, store="store").to_stream().to("out")


def aggregate(app: Any) -> None:
    grouped = app.stream("left", key=str, value=int).group_by_key()
    summed = grouped.aggregate(list, lambda k, v, a: [*a, v], value=list, store="store")
    summed.to_stream().map_values(len, value=int).to("out")


def windowed(kind: str) -> Build:
    def build(app: Any) -> None:
        grouped = app.stream("left", key=str, value=int).group_by_key()
        grouped.windowed_by(WINDOWS[kind]).count(store="store").to_stream().to("out")

    return build


def filtered_table(app: Any) -> None:
    table = app.stream("left", key=str, value=int).to_table()
    table.filter(lambda k, v: v > 2, store="store").to_stream().to("out")


def join_of_streams(kind: str) -> Build:
    def build(app: Any) -> None:
        left, right = (app.stream(topic, key=str, value=int) for topic in ("left", "right"))
        join = {"inner": left.join, "left": left.left_join, "outer": left.outer_join}[kind]
        join(right, hw.JoinWindow(before="3ms", after="7ms"), grace="2ms", combine=pair, value=list).to("out")

    return build


def join_with_table(app: Any) -> None:
    stream, table = app.stream("left", key=str, value=int), app.table("right", key=str, value=int)
    stream.left_join(table, combine=pair, value=list).to("out")


def join_of_tables(app: Any) -> None:
    left, right = (app.table(topic, key=str, value=int) for topic in ("left", "right"))
    left.outer_join(right, combine=pair, value=list, store="store").to_stream().to("out")


def several(app: Any) -> None:
    """Two outputs and two stores of one task, and a sub-topology of its own."""
    count(app)
    app.stream("right", key=str, value=int).group_by_key().reduce(lambda a, v: max(a, v), store="max").to_stream().to(
        "m"
    )


TOPOLOGIES: dict[str, Build] = {
    "count": count,
    "reduce": reduce,
    "aggregate": aggregate,
    **{kind: windowed(kind) for kind in WINDOWS},
    "table": filtered_table,
    **{f"{kind} join": join_of_streams(kind) for kind in ("inner", "left", "outer")},
    "stream-table": join_with_table,
    "table-table": join_of_tables,
    "several": several,
}

KEYS = st.sampled_from(["a", "b", "c", "d"])
RECORDS = st.tuples(st.sampled_from(["left", "right"]), KEYS, st.integers(0, 9), st.integers(0, 60))
INPUTS = st.lists(RECORDS, min_size=5, max_size=25)
INTERRUPTIONS = st.lists(st.tuples(st.integers(1, 80), st.sampled_from(KINDS)), min_size=1, max_size=6)
interrupted = given(inputs=INPUTS, interruptions=INTERRUPTIONS, batch_size=st.sampled_from(BATCH_SIZES))
quick = settings(max_examples=EXAMPLES, deadline=None)


@pytest.mark.parametrize("name", TOPOLOGIES)
@quick
@interrupted
def test_interruptions_do_not_show(
    name: str, inputs: list[Input], interruptions: list[Interruption], batch_size: int
) -> None:
    # A commit after every batch, so that transactions are many.
    options: dict[str, Any] = {"commit_interval": "0ms", "batch_size": batch_size}
    undisturbed = finish(TOPOLOGIES[name], inputs, **options)
    left = finish(TOPOLOGIES[name], inputs, interruptions, **options)
    assert (left.outputs, left.stores) == (undisturbed.outputs, undisturbed.stores)


def rekeyed(app: Any) -> None:
    stream = app.stream("left", key=str, value=int).group_by(lambda k, v: f"{v % 3}", key=str)
    stream.count(store="store").to_stream().to("out")


def counts(left: Left) -> tuple[Counter[Any], dict[str, Any]]:
    """Without times and places: two tasks write the repartition topic in an order that is not fixed."""
    outputs = Counter((key, value) for rows in left.outputs.values() for key, value, _ in rows)
    return outputs, {name: [row[:2] for row in rows] for name, rows in left.stores.items()}


@quick
@interrupted
def test_interruptions_do_not_show_behind_a_repartition_topic(
    inputs: list[Input], interruptions: list[Interruption], batch_size: int
) -> None:
    options: dict[str, Any] = {"commit_interval": "0ms", "batch_size": batch_size}
    for partitions in (1, 2):
        undisturbed = finish(rekeyed, inputs, partitions=partitions, **options)
        left = finish(rekeyed, inputs, interruptions, partitions=partitions, **options)
        assert counts(left) == counts(undisturbed)
        if partitions == 1:
            assert (left.outputs, left.stores) == (undisturbed.outputs, undisturbed.stores)


def feeds_back(build: Build) -> bool:
    """Whether some sub-topology writes for itself or for one before it: then an interruption shows in the order of records."""
    app = hw.App("shape")
    build(app)
    groups = [{node.id for node in nodes} for nodes in app.topology.sub_topologies()]
    writers = {node: number for number, group in enumerate(groups) for node in group}
    for number, nodes in enumerate(app.topology.sub_topologies()):
        for node in nodes:
            for source in node.inputs:
                if isinstance(source, n.Repartition):
                    source = source.inputs[0]
                    if writers[source.id] >= number:
                        return True
    return False


@pytest.mark.parametrize("first", range(0, 40, 10))
def test_interruptions_do_not_show_in_random_topologies(first: int) -> None:
    happened = 0
    for seed in range(first, first + 10):
        build, inputs = random_topologies.build(seed), random_topologies.inputs(seed)
        chooser = random.Random(seed)
        options: dict[str, Any] = {"commit_interval": "0ms", "batch_size": chooser.choice(BATCH_SIZES), "partitions": 1}
        interruptions: list[Interruption] = [
            (chooser.randrange(1, 100), chooser.choice(KINDS)) for _ in range(chooser.randint(3, 8))
        ]
        undisturbed = finish(build, inputs, **options)
        left = finish(build, inputs, interruptions, **options)
        if not feeds_back(build):
            assert (left.outputs, left.stores) == (undisturbed.outputs, undisturbed.stores), f"seed {seed}"
        happened += left.interruptions
    assert happened > 10
