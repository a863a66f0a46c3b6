"""Frames are printed exactly as msgspec prints the same dicts."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import msgspec
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.frames import encode_json
from headwater.frames.columns import PRESENT

COLUMNS: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "i64": (pl.Int64, st.integers(-(2**63), 2**63 - 1)),
    "i8": (pl.Int8, st.integers(-128, 127)),
    "u32": (pl.UInt32, st.integers(0, 2**32 - 1)),
    "u64": (pl.UInt64, st.integers(0, 2**64 - 1)),
    "f64": (pl.Float64, st.floats()),
    "flag": (pl.Boolean, st.booleans()),
    "text": (pl.String, st.text()),
    'odd "name"\n': (pl.String, st.text()),
    "date": (pl.Date, st.dates()),
    "ms": (pl.Datetime("ms", "UTC"), st.integers(-(10**13), 10**14)),
    "us": (pl.Datetime("us", "UTC"), st.datetimes(timezones=st.just(datetime.UTC))),
    "naive": (pl.Datetime("us"), st.datetimes()),
    "list": (pl.List(pl.Int64), st.lists(st.integers(-5, 5), max_size=3)),
    "object": (
        pl.Struct({"a": pl.Int64, "b": pl.String}),
        st.fixed_dictionaries({"a": st.integers(-5, 5), "b": st.text()}),
    ),
}


@st.composite
def frames(draw: st.DrawFn, names: list[str]) -> pl.DataFrame:
    height = draw(st.integers(0, 5))
    picked = draw(st.lists(st.sampled_from(names), unique=True, min_size=1, max_size=6))
    series = []
    for name in picked:
        dtype, entries = COLUMNS[name]
        column = draw(st.lists(st.none() | entries, min_size=height, max_size=height))
        if name == "ms":
            series.append(pl.Series(name, column, dtype=pl.Int64).cast(dtype))
        else:
            series.append(pl.Series(name, column, dtype=dtype))
    return pl.DataFrame(series)


def expected(frame: pl.DataFrame) -> list[bytes]:
    return [msgspec.json.encode(row) for row in frame.to_dicts()]


PRINTED_BY_RUST = ["i64", "i8", "u32", "f64", "flag", "text", 'odd "name"\n']


@settings(max_examples=200, deadline=None)
@given(frames(PRINTED_BY_RUST))
def test_plain_columns(frame: pl.DataFrame) -> None:
    assert encode_json(frame).to_list() == expected(frame)


@settings(max_examples=150, deadline=None)
@given(frames(list(COLUMNS)))
def test_any_columns(frame: pl.DataFrame) -> None:
    assert encode_json(frame).to_list() == expected(frame)


def test_tombstones_stay_and_chunks_do_not_matter() -> None:
    part = pl.DataFrame({PRESENT: [True, False], "a": [1, 2], "b": ["x", None]})
    frame = pl.concat([part, part], rechunk=False)
    assert encode_json(frame).to_list() == [b'{"a":1,"b":"x"}', None, b'{"a":1,"b":"x"}', None]


def test_decimals_lose_the_zeros_of_their_column() -> None:
    frame = pl.DataFrame(
        {"d": [decimal.Decimal("1.50"), decimal.Decimal("100"), None]}, schema={"d": pl.Decimal(38, 18)}
    )
    assert encode_json(frame).to_list() == [b'{"d":"1.5"}', b'{"d":"100"}', b'{"d":null}']
