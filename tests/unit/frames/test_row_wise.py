"""Which expressions run over micro-batches, and what the refusals say."""

from __future__ import annotations

import msgspec
import polars as pl
import pytest

import headwater as hw
from headwater.frames import ValueSchema, check_columns, check_row_wise, combined_serde, selected_serde
from headwater.serdes import json

x, y = pl.col("x"), pl.col("y")

ROW_WISE = [
    x + 1,
    x > y,
    pl.lit(3),
    pl.lit(1) + pl.lit(2),
    x.is_in([1, 2]),
    x.is_in(pl.Series([1, 2])),
    x.is_null(),
    x.fill_null(0),
    pl.when(x > 1).then(y).otherwise(0),
    pl.sum_horizontal("x", "y"),
    pl.concat_str("x", "y"),
    x.str.len_chars(),
    x.dt.truncate("1h"),
    x.list.sum(),
    x.list.eval(pl.element().rank()),
    x.struct.field("a"),
    x.replace_strict({1: 2}),
    x.alias("z").cast(pl.Float64),
    pl.datetime(2020, 1, 1),
    hw.key == "74",
    hw.timestamp.dt.hour() > 3,
]
DEPENDENT = [
    x.cum_sum(),
    x.shift(1),
    x - x.mean(),
    (x - x.mean()).abs() > 3,
    x.is_between(1, x.max()),
    x.clip(0, x.max()),
    x.rank(),
    x.sum().over("y"),
    x.sum(),
    x.filter(y > 1),
    x.drop_nulls(),
    x.head(1),
    x.sort(),
    x.reverse(),
    x.unique(),
    x.is_duplicated(),
    x.fill_null(strategy="forward"),
    x.rolling_mean(3),
    x.pct_change(),
    x.explode(),
    x.sample(),
    x.is_in(y.implode()),
    x + pl.lit(pl.Series([1, 2])),
    pl.len(),
    pl.int_range(pl.len()),
    x.map_batches(lambda series: series),
    x.map_elements(lambda entry: entry, return_dtype=pl.Int64),
    pl.when(x > x.mean()).then(1),
]


@pytest.mark.parametrize("expr", ROW_WISE, ids=str)
def test_row_wise_expressions_pass(expr: pl.Expr) -> None:
    check_row_wise(expr, "filter")


@pytest.mark.parametrize("expr", DEPENDENT, ids=str)
def test_expressions_over_other_rows_are_refused(expr: pl.Expr) -> None:
    with pytest.raises(hw.TopologyError, match=r"expected a row-wise expression, got .* - at filter; its result"):
        check_row_wise(expr, "filter")


@pytest.mark.parametrize("expr", [pl.all(), pl.col("x", "y"), pl.col("^x.*$")], ids=str)
def test_several_columns_are_refused(expr: pl.Expr) -> None:
    with pytest.raises(hw.TopologyError, match="one result"):
        check_row_wise(expr, "filter")


class Ride(msgspec.Struct):
    zone: int
    fare: float
    tags: dict[str, str] = {}


RIDE = ValueSchema.of(json(Ride))


def test_columns_must_be_there() -> None:
    check_columns([pl.col("zone") + pl.col("fare"), hw.key], RIDE, "filter")
    with pytest.raises(hw.TopologyError, match="one of the columns zone, fare, got 'fair' - at filter"):
        check_columns([pl.col("fair")], RIDE, "filter")
    with pytest.raises(hw.TopologyError, match="a type that polars has, got 'tags'"):
        check_columns([pl.col("tags")], RIDE, "filter")


def test_untyped_values_are_refused() -> None:
    for serde in (json(), json(dict)):
        with pytest.raises(hw.TopologyError, match="declared type, got json"):
            check_columns([pl.col("zone")], ValueSchema.of(serde), "filter")


def test_made_values_know_their_types() -> None:
    made = ValueSchema.of(selected_serde(RIDE, (("zone", pl.col("zone")), ("double", pl.col("fare") * 2)), False))
    assert made.dtypes() == {"zone": pl.Int64, "double": pl.Float64}
    joined = combined_serde(RIDE, made, (("sum", pl.col("left.fare") + pl.col("right.double")),))
    assert ValueSchema.of(joined).dtypes() == {"sum": pl.Float64}


def test_expressions_must_fit_their_columns() -> None:
    with pytest.raises(hw.TopologyError, match="expected an expression that fits its columns"):
        selected_serde(RIDE, (("upper", pl.col("zone").str.to_uppercase()),), False)
    with pytest.raises(hw.TopologyError, match=r"left\.FIELD or right\.FIELD"):
        combined_serde(RIDE, RIDE, (("x", pl.col("fare")),))
