"""Frames as values: one JSON object a row, exactly as msgspec prints the same dict.

Numbers, texts, booleans and times are printed by Rust; a frame with a column of another type by msgspec.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import polars as pl

from headwater._core import Rows, encode_objects, set_argument_columns, set_objects
from headwater.frames.columns import HIDDEN, PRESENT, SCALAR

_encode = msgspec.json.Encoder().encode


def encode_json(frame: pl.DataFrame, names: Mapping[str, str] | None = None) -> pl.Series:
    """Encode rows.

    Args:
        frame: Columns of values; hidden columns are left out.
        names: Names in the bytes of columns that have others there.

    Returns:
        One JSON object a row, as bytes; null for the rows without a value.
    """
    visible, keys = _visible(frame, names)
    if visible:
        printed = encode_objects(*_marked(frame, visible, keys))
        if printed is not None:
            return pl.DataFrame(printed)[SCALAR]
    columns = [_prepared(frame[name]) for name in visible]
    encoded = [_encode(dict(zip(keys, row, strict=True))) for row in zip(*columns, strict=True)]
    if not visible:
        encoded = [b"{}"] * frame.height
    made = pl.Series(SCALAR, encoded, dtype=pl.Binary)
    return made.set(~frame[PRESENT], None) if PRESENT in frame.columns else made


def set_json(rows: Rows, frame: pl.DataFrame) -> None:
    """Put a frame's rows into those of a batch, as their values; the same as `encode_json`, without a Python object each.

    Args:
        rows: As many as the frame has.
        frame: Columns of values.
    """
    visible, keys = _visible(frame, None)
    if not visible or not set_objects(rows, *_marked(frame, visible, keys)):
        rows.set_values(encode_json(frame).to_list())


def set_arguments(rows: Rows, frame: pl.DataFrame) -> None:
    """Put the arguments of folds into the rows of a batch.

    Args:
        rows: As many as the frame has.
        frame: A column a fold.
    """
    if not frame.width or not set_argument_columns(rows, frame):
        rows.set_arguments([column.to_list() for column in frame.get_columns()])


def _visible(frame: pl.DataFrame, names: Mapping[str, str] | None) -> tuple[list[str], list[str]]:
    visible = [name for name in frame.columns if name not in HIDDEN]
    return visible, visible if names is None else [names.get(name, name) for name in visible]


def _marked(frame: pl.DataFrame, visible: list[str], keys: list[str]) -> tuple[pl.DataFrame, list[str], bool]:
    has_marks = PRESENT in frame.columns
    return frame.select([*visible, PRESENT] if has_marks else visible), keys, has_marks


def _prepared(series: pl.Series) -> list[Any]:
    if series.dtype.base_type() is pl.Decimal:
        # A column has one scale; a value is printed without the zeros that it adds.
        return [None if entry is None else _trimmed(entry) for entry in series.to_list()]
    return series.to_list()


def _trimmed(number: Any) -> Any:
    shorter = number.normalize()
    return shorter if shorter.as_tuple().exponent <= 0 else shorter.quantize(1)
