"""Values of every declared type as columns, and filters over rows without a value."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
from typing import Any, Literal, NotRequired, TypedDict

import msgspec
import polars as pl
import pytest

from headwater.frames import ValueSchema, decode_frame, encode_json, filter_mask, select
from headwater.frames.columns import PRESENT
from headwater.serdes import float64, int64, json, msgpack, raw, text

UTC = datetime.UTC


class Color(enum.Enum):
    RED = "red"


class Inner(msgspec.Struct):
    a: int
    b: str | None = None


class Everything(msgspec.Struct):
    when: datetime.datetime
    day: datetime.date
    price: decimal.Decimal
    color: Color
    size: Literal["s", "m"]
    inner: Inner
    inners: list[Inner]
    numbers: list[int]
    blob: bytes
    renamed: int = msgspec.field(name="re-named")
    anything: Any = None


VALUE = Everything(
    when=datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC), day=datetime.date(2024, 1, 2), price=decimal.Decimal("1.50"),
    color=Color.RED, size="m", inner=Inner(1), inners=[Inner(2, "x")], numbers=[1, 2], blob=b"ab", renamed=7,
    anything={"x": 1},
)  # fmt: skip


@pytest.mark.parametrize("form", [json, msgpack])
def test_a_column_a_field(form: Any) -> None:
    serde = form(Everything)
    frame, bad = decode_frame(serde, [serde.serialize(VALUE), None])
    assert bad == {}
    assert frame.row(0, named=True) == {
        PRESENT: True, "when": VALUE.when, "day": VALUE.day, "price": decimal.Decimal("1.5"), "color": "red", "size": "m",
        "inner": {"a": 1, "b": None}, "inners": [{"a": 2, "b": "x"}], "numbers": [1, 2], "blob": b"ab", "renamed": 7,
        "anything": '{"x":1}',
    }  # fmt: skip
    assert set(frame.row(1)) == {False, None}


class Typed(TypedDict):
    a: int
    b: NotRequired[float]


@dataclasses.dataclass
class Data:
    a: int
    b: float = 2.0


@pytest.mark.parametrize("kind", [Typed, Data], ids=["TypedDict", "dataclass"])
def test_other_objects(kind: Any) -> None:
    frame, bad = decode_frame(json(kind), [b'{"a":1}', b'{"a":2,"b":3}'])
    assert bad == {}
    assert frame["a"].to_list() == [1, 2]
    assert frame["b"].to_list() == [None if kind is Typed else 2.0, 3.0]


@pytest.mark.parametrize(
    ("serde", "value", "dtype"),
    [(int64(), 3, pl.Int64), (float64(), 1.5, pl.Float64), (text(), "é", pl.String), (raw(), b"\xff", pl.Binary),
     (json(int), 3, pl.Int64), (json(list[int]), [1], pl.List(pl.Int64))],
)  # fmt: skip
def test_scalars_are_the_column_value(serde: Any, value: Any, dtype: Any) -> None:
    frame, bad = decode_frame(serde, [serde.serialize(value), None])
    assert bad == {}
    assert frame.schema["value"] == dtype
    assert frame["value"].to_list() == [value, None]


def test_values_that_do_not_decode_are_named_and_null() -> None:
    frame, bad = decode_frame(json(Inner), [b'{"a":1}', b'{"a":"x"}', b"{", b'{"a":9223372036854775808}'])
    assert list(bad) == [1, 2, 3]
    assert [getattr(error, "field", None) for error in bad.values()] == ["a", None, "a"]
    assert frame["a"].to_list() == [1, None, None, None]
    assert frame[PRESENT].to_list() == [True, False, False, False]


def test_fields_that_nobody_reads_are_not_checked() -> None:
    datas: list[bytes | None] = [b'{"a":1,"b":[3]}', b'{"a":1,"b":"\\u0041"}', b'{"a": 1, "b":[3]}']
    assert decode_frame(json(Inner), list(datas), {"a"})[1] == {}
    assert list(decode_frame(json(Inner), list(datas))[1]) == [0, 2]


def test_what_the_type_itself_checks_is_checked() -> None:
    class Strict(msgspec.Struct, forbid_unknown_fields=True):
        a: int
        b: int = 0

    class Positive(msgspec.Struct):
        a: int
        b: int = 0

        def __post_init__(self) -> None:
            if self.b < 0:
                raise ValueError("negative")

    assert list(decode_frame(json(Strict), [b'{"a":1,"c":2}'], {"a"})[1]) == [0]
    assert list(decode_frame(json(Positive), [b'{"a":1,"b":-2}'], {"a"})[1]) == [0]


class Fare(msgspec.Struct):
    fare: float | None


def test_null_fails_filters_either_way() -> None:
    frame, _ = decode_frame(json(Fare), [b'{"fare":1}', b'{"fare":3}', b'{"fare":null}', None])
    assert filter_mask(frame, pl.col("fare") > 2, False) == [False, True, False, False]
    assert filter_mask(frame, pl.col("fare") > 2, True) == [True, False, False, False]
    assert filter_mask(frame, pl.col("fare").is_null(), False) == [False, False, True, False]
    assert filter_mask(frame, pl.lit(True), False) == [True, True, True, False]


def test_tombstones_stay_tombstones() -> None:
    frame, _ = decode_frame(json(Fare), [b'{"fare":1}', None])
    assert encode_json(select(frame, (("x", pl.lit(1)),), False)).to_list() == [b'{"x":1}', None]
    assert encode_json(select(frame, (("x", pl.col("fare") * 2),), True)).to_list() == [b'{"fare":1.0,"x":2.0}', None]


def test_two_types_of_one_name_are_two_schemas() -> None:
    def make(kind: Any) -> Any:
        return json(msgspec.defstruct("Same", [("a", kind)]))

    assert ValueSchema.of(make(int)).dtypes() == {"a": pl.Int64}
    assert ValueSchema.of(make(str)).dtypes() == {"a": pl.String}
