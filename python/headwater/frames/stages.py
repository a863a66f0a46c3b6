"""Row-wise expressions over frames of values: filters, new values, and joiners.

A row without a value (a tombstone, or one that did not decode) fails every predicate and stays without a value; so does
a row whose predicate is null, whether the filter is negated or not.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from headwater.errors import TopologyError
from headwater.frames.columns import HIDDEN, OFFSET, PARTITION, PRESENT, TIMESTAMP
from headwater.frames.row_wise import check_columns, check_row_wise, output_dtype, root_names, shown
from headwater.frames.schema import ValueSchema, object_type
from headwater.serdes import Serde, json

Columns = tuple[tuple[str, pl.Expr], ...]

_PART_DTYPES: dict[str, Any] = {
    TIMESTAMP: pl.Datetime("ms", "UTC"),
    PARTITION: pl.Int32(),
    OFFSET: pl.Int64(),
    PRESENT: pl.Boolean(),
}


def filter_mask(frame: pl.DataFrame, expr: pl.Expr, negate: bool = False) -> list[bool]:  # noqa: FBT001, FBT002
    """Which rows a filter keeps.

    Args:
        frame: Values, from `decode_frame`.
        expr: A row-wise predicate.
        negate: Whether to keep the rows where it does not hold (still not those where it is null).
    """
    held = ~expr if negate else expr
    kept = frame.select(pl.col(PRESENT) & held.fill_null(value=False)).to_series()
    found: list[bool] = kept.to_list()
    return found


def select(frame: pl.DataFrame, columns: Columns, keep: bool) -> pl.DataFrame:  # noqa: FBT001
    """New values of named fields.

    Args:
        frame: Values, from `decode_frame`.
        columns: Row-wise expressions by name.
        keep: Whether the value's own fields stay.
    """
    named = [expr.alias(name) for name, expr in columns]
    if keep:
        return frame.with_columns(named)
    return frame.select(pl.col(PRESENT), *named)


def combine(lefts: pl.DataFrame, rights: pl.DataFrame, columns: Columns) -> pl.DataFrame:
    """The values that a joiner of expressions makes.

    Args:
        lefts: Left values; null where there is none.
        rights: Right values, row by row beside them.
        columns: Row-wise expressions over ``left.FIELD`` and ``right.FIELD`` by name.
    """
    both = pl.concat([_prefixed(lefts, "left"), _prefixed(rights, "right")], how="horizontal")
    both = both.with_columns(pl.lit(value=True).alias(PRESENT))
    return both.select(pl.col(PRESENT), *(expr.alias(name) for name, expr in columns))


def _prefixed(frame: pl.DataFrame, side: str) -> pl.DataFrame:
    fields = [name for name in frame.columns if name not in HIDDEN]
    return frame.select(
        pl.col(PRESENT).alias(f"{side}.{PRESENT}"), *(pl.col(name).alias(f"{side}.{name}") for name in fields)
    )


# --- types ------------------------------------------------------------------------------------------------------------


def selected_serde(schema: ValueSchema, columns: Columns, keep: bool) -> Serde[Any]:  # noqa: FBT001
    """Serde of the values that `select` makes.

    Args:
        schema: What it reads.
        columns: Named expressions.
        keep: Whether the value's own fields stay.

    Raises:
        TopologyError: An expression is not row-wise, reads what is not there, or does not fit its columns' types.
    """
    where = "with_columns" if keep else "select"
    dtypes: dict[str, Any] = {}
    if keep:
        _check_all_typed(schema, where)
        dtypes.update(schema.dtypes())
    for name, expr in columns:
        at = f"{where}({name}=)"
        check_row_wise(expr, at)
        check_columns([expr], schema, at)
        dtypes[name] = _result(expr, {**schema.dtypes(), **_PART_DTYPES}, at)
    return json(object_type(dtypes))


def combined_serde(left: ValueSchema, right: ValueSchema, columns: Columns) -> Serde[Any]:
    """Serde of the values that `combine` makes.

    Args:
        left: What the left values have.
        right: What the right values have.
        columns: Named expressions over ``left.FIELD`` and ``right.FIELD``.

    Raises:
        TopologyError: As for `selected_serde`.
    """
    sides = (("left", left), ("right", right))
    known = {f"{side}.{name}": dtype for side, schema in sides for name, dtype in schema.dtypes().items()}
    dtypes: dict[str, Any] = {}
    for name, expr in columns:
        at = f"combine[{name!r}]"
        check_row_wise(expr, at)
        for side, schema in sides:
            reads = any(column.startswith(f"{side}.") for column in root_names(expr))
            if reads and not schema.is_typed:
                raise TopologyError(
                    f"expected a {side} value of a declared type, got {schema.serde.name} - at {at}, in {shown(expr)}; "
                    "declare the type with value="
                )
        for column in sorted(root_names(expr) - known.keys()):
            raise TopologyError(
                f"expected one of the columns {', '.join(known)}, got {column!r} - at {at}, in {shown(expr)}; "
                "write left.FIELD or right.FIELD"
            )
        dtypes[name] = _result(expr, known, at)
    return json(object_type(dtypes))


def _check_all_typed(schema: ValueSchema, where: str) -> None:
    if not schema.is_object or len(schema.dtypes()) < len(schema.columns):
        untyped = [column.name for column in schema.columns if column.dtype is None]
        what = f"the fields {', '.join(untyped)}" if schema.is_object and untyped else schema.serde.name
        raise TopologyError(
            f"expected a value whose fields all have polars types, got {what} - at {where}; use select or map_values"
        )


def _result(expr: pl.Expr, dtypes: dict[str, Any], where: str) -> Any:
    if not root_names(expr) <= dtypes.keys():
        return None  # hw.key, hw.value: their types are not known here
    try:
        return output_dtype(expr, dtypes)
    except pl.exceptions.PolarsError as error:
        raise TopologyError(
            f"expected an expression that fits its columns, got {shown(expr)} - at {where}: {error}"
        ) from error
