"""Frames as values: one JSON object a row, exactly as msgspec prints the same dict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import polars as pl

from headwater.frames.columns import HIDDEN, PRESENT

_encode = msgspec.json.Encoder().encode


def encode_json(frame: pl.DataFrame, names: Mapping[str, str] | None = None) -> list[bytes | None]:
    """Encode rows.

    Args:
        frame: Columns of values; hidden columns are left out.
        names: Names in the bytes of columns that have others there.

    Returns:
        One JSON object a row; None for the rows without a value.
    """
    visible = [name for name in frame.columns if name not in HIDDEN]
    columns = [_prepared(frame[name]) for name in visible]
    keys = [name if names is None else names.get(name, name) for name in visible]
    if columns:
        encoded: list[bytes | None] = [_encode(dict(zip(keys, row, strict=True))) for row in zip(*columns, strict=True)]
    else:
        encoded = [b"{}"] * frame.height
    if PRESENT in frame.columns and not frame[PRESENT].all():
        return [data if here else None for data, here in zip(encoded, frame[PRESENT].to_list(), strict=True)]
    return encoded


def _prepared(series: pl.Series) -> list[Any]:
    if series.dtype.base_type() is pl.Decimal:
        # A column has one scale; a value is printed without the zeros that it adds.
        return [None if entry is None else _trimmed(entry) for entry in series.to_list()]
    return series.to_list()


def _trimmed(number: Any) -> Any:
    shorter = number.normalize()
    return shorter if shorter.as_tuple().exponent <= 0 else shorter.quantize(1)
