"""Bugs that random topologies found, one test each."""

from __future__ import annotations

import pytest

import headwater as hw
from headwater.testing import TopologyTestDriver


@pytest.mark.parametrize("batch_size", [1, None])
def test_a_table_joined_with_itself_sees_its_own_write_beside_a_later_reader(batch_size: int | None) -> None:
    # The later reader (behind the filter) makes the store keep history; the join inside the writer's own segment then
    # read as of the order key before the write.
    app = hw.App("self-join", cache="0")
    table = app.table("t", key=str, value=str, store="t-store")
    table.outer_join(table, combine=lambda left, right: f"{left}|{right}", value=str).to_stream().to("joined")
    app.stream("s", key=str, value=str).filter(lambda k, v: True).join(
        table, combine=lambda left, right: f"{left}+{right}", value=str
    ).to("looked-up")
    with TopologyTestDriver(app, batch_size=batch_size) as driver:
        driver.pipe_many([("t", b"a", b"x", 1, ()), ("s", b"a", b"y", 2, ())])
        assert driver.output_topic("joined").read_key_values() == [("a", "x|x"), ("a", "x|x")]
        assert driver.output_topic("looked-up").read_key_values() == [("a", "y+x")]


def test_a_repartition_topic_that_nobody_reads_is_no_output() -> None:
    app = hw.App("dead-end", cache="0")
    words = app.stream("words", key=str, value=str)
    words.repartition(name="nowhere")
    words.to("out")
    with TopologyTestDriver(app, trace=True) as driver:
        driver.input_topic("words").pipe("a", "x", timestamp=1)
        assert [emission.topic for emission in driver.trace()] == ["out"]
