"""Bugs that random topologies found, one test each."""

from __future__ import annotations

import msgspec
import polars as pl
import pytest

import headwater as hw
from headwater.testing import TopologyTestDriver


class Price(msgspec.Struct):
    amount: int


class Order(msgspec.Struct):
    item: str


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


def test_a_joiner_of_expressions_sees_a_table_without_a_store_as_it_is() -> None:
    app = hw.App("filtered", cache="0")
    prices = app.table("prices", key=str, value=Price).filter(lambda key, price: price.amount > 10)
    app.stream("orders", key=str, value=Order).left_join(
        prices, combine={"item": pl.col("left.item"), "amount": pl.col("right.amount")}
    ).to("priced")
    with TopologyTestDriver(app) as driver:
        for key, amount in (("a", 5), ("b", 50)):
            driver.input_topic("prices").pipe(key, Price(amount), timestamp=1)
            driver.input_topic("orders").pipe(key, Order(f"item-{key}"), timestamp=2)
        assert driver.output_topic("priced").read_key_values() == [
            ("a", {"item": "item-a", "amount": None}),
            ("b", {"item": "item-b", "amount": 50}),
        ]


def test_a_deletion_stays_one_behind_select() -> None:
    app = hw.App("select", cache="0")
    app.stream("orders", key=str, value=Order).select(item=pl.col("item")).to("items")
    with TopologyTestDriver(app, batch_size=None) as driver:
        driver.pipe_many([("orders", b"a", b'{"item":"x"}', 1, ()), ("orders", b"a", None, 2, ())])
        assert driver.output_topic("items").read_key_values() == [("a", {"item": "x"}), ("a", None)]
