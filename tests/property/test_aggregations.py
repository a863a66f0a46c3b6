"""Folds and buffered expressions together give what polars gives over the same rows, however they are cut into batches."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headwater as hw
from headwater.frames import Buffered, Fold, ValueSchema, agg_plan, aggregated_serde
from headwater.serdes import json
from headwater.testing import TopologyTestDriver


class Row(msgspec.Struct):
    i: int | None
    f: float | None
    s: str | None
    b: bool | None


SERDE = json(Row)
SCHEMA = ValueSchema.of(SERDE)
i, f, s, b = (pl.col(name) for name in "ifsb")

FOLDED: dict[str, tuple[pl.Expr, str]] = {
    "rows": (pl.len(), "len"),
    "len": (f.len(), "len"),
    "count": (f.count(), "count"),
    "count_text": (s.count(), "count"),
    "sum": (f.sum(), "sum"),
    "sum_int": (i.sum(), "sum"),
    "sum_bool": (b.sum(), "sum"),
    "mean_bool": (b.mean(), "mean"),
    "nulls": (i.is_null().mean(), "mean"),
    "min": (i.min(), "min"),
    "max": (f.max(), "max"),
    "mean": (i.mean(), "mean"),
    "first": (f.first(), "first"),
    "last": (i.last(), "last"),
    "var": (f.var(), "var"),
    "std": (i.std(), "std"),
    "filtered": (f.filter(i > 0).sum(), "sum"),
    "filtered_rows": (f.filter(i > 0).len(), "count"),
    "filtered_min": (i.filter(f > 0).min(), "min"),
    "computed": ((f * 2 + i).sum().alias("other"), "sum"),
    "texts": (s.str.len_chars().max(), "max"),
}
BUFFERED: dict[str, pl.Expr] = {
    "p95": f.quantile(0.95),
    "median": i.median(),
    "ratio": f.sum() / pl.len(),
    "unique": s.n_unique(),
    "first_text": s.first(),
    "max_bool": b.max(),
    "population": f.std(ddof=0),
    "filtered_first": f.filter(i > 0).first(),
    "two": (f * i).sum() / i.sum(),
    "spread": f.max() - f.min(),
}


@pytest.mark.parametrize("name", FOLDED)
def test_what_decomposes_is_folded(name: str) -> None:
    expr, kind = FOLDED[name]
    (fold,) = agg_plan(((name, expr),), SCHEMA).folds
    assert isinstance(fold, Fold) and (fold.name, fold.kind) == (name, kind)


@pytest.mark.parametrize("name", BUFFERED)
def test_what_does_not_is_buffered(name: str) -> None:
    (column,) = agg_plan(((name, BUFFERED[name]),), SCHEMA).buffered
    assert isinstance(column, Buffered) and column.fields == set(BUFFERED[name].meta.root_names())


def test_names_do_not_decide() -> None:
    class Odd(msgspec.Struct):
        sum: float

    plan = agg_plan((("mean", pl.col("sum").sum()), ("sum", pl.col("sum").quantile(0.5))), ValueSchema.of(json(Odd)))
    assert [fold.kind for fold in plan.folds] == ["sum"]
    assert plan.folds[0].field == "sum"


def test_unfit_aggregations_are_refused() -> None:
    for expr in (pl.col("nope").sum(), pl.all().sum(), s.str.to_datetime("%Y").sum() + s, hw.timestamp.max()):
        with pytest.raises(hw.TopologyError, match=r"at agg\(x=\)"):
            aggregated_serde(SCHEMA, (("x", expr),))


rows = st.builds(
    Row,
    i=st.none() | st.integers(-1000, 1000),
    f=st.none() | st.floats(-1e6, 1e6),
    s=st.none() | st.sampled_from(["", "a", "bb", 'é"\n']),
    b=st.none() | st.booleans(),
)
COLUMNS = {**{name: expr for name, (expr, _) in FOLDED.items()}, **BUFFERED}


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("xyz"), rows), min_size=1, max_size=25), st.sampled_from([1, 7, None]))
def test_aggregates_are_polars_own(records: list[tuple[str, Row]], batch_size: int | None) -> None:
    app = hw.App("property", broker="memory:")
    app.stream("in", key=str, value=Row).group_by_key().agg(**COLUMNS).to_stream().to("out")
    with TopologyTestDriver(app, batch_size=batch_size) as driver:
        topic = driver.input_topic("in", key=str, value=Row)
        topic.pipe_many((key, value, at) for at, (key, value) in enumerate(records))
        final = {record.key: record.value for record in driver.output_topic("out").read_all()}
    frame = pl.DataFrame(
        [[key, *msgspec.structs.astuple(value)] for key, value in records],
        schema={"key": pl.String, "i": pl.Int64, "f": pl.Float64, "s": pl.String, "b": pl.Boolean}, orient="row",
    )  # fmt: skip
    for key, group in frame.group_by("key"):
        expected = group.select(**COLUMNS).row(0, named=True)
        assert list(final[key[0]]) == list(COLUMNS)
        for name, wanted in expected.items():
            assert close(final[key[0]][name], wanted), (name, final[key[0]][name], wanted)


def close(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, float) and not math.isfinite(wanted):
        return found is None  # JSON has no word for it
    if isinstance(wanted, float) and isinstance(found, (int, float)):
        return math.isclose(found, wanted, rel_tol=1e-9, abs_tol=1e-6)
    return type(found) is type(wanted) and found == wanted
