"""Which expressions may run over a micro-batch: those whose result for a row depends on that row alone.

Whatever depends on other rows (`cum_sum`, `shift`, ``x - x.mean()``) would depend on how records fall into batches. A
node of the expression tree is row-wise if polars calls it row-separable and length-preserving, or if it is a scalar
constant; an expression is row-wise if every node of its tree is. The whole tree must be asked: polars calls
``x - x.mean()`` row-separable, its part ``x.mean()`` not. Python functions inside an expression are refused: polars
cannot say what they look at, and `map_values` takes them anyway.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

from headwater.errors import TopologyError
from headwater.frames.columns import PARTS
from headwater.frames.schema import ValueSchema


def root_names(expr: pl.Expr) -> set[str]:
    """Names of the columns that an expression reads.

    Args:
        expr: Any expression.
    """
    return set(expr.meta.root_names())


def needed_columns(exprs: Iterable[pl.Expr]) -> frozenset[str]:
    """Names of the columns that some expressions read, the record's own parts among them.

    Args:
        exprs: The expressions.
    """
    return frozenset().union(*(root_names(expr) for expr in exprs))


def is_row_wise(expr: pl.Expr) -> bool:
    """Whether the result for a row depends on that row alone.

    Args:
        expr: Any expression.
    """
    return _dependent_part(expr) is None


def check_row_wise(expr: pl.Expr, where: str) -> None:
    """Refuse an expression whose result for a row depends on other rows.

    Args:
        expr: The expression.
        where: The operator, for the message.

    Raises:
        TopologyError: It depends on other rows, or makes more than one column.
    """
    if expr.meta.has_multiple_outputs():
        raise TopologyError(
            f"expected an expression with one result, got {shown(expr)} - at {where}; name the columns one by one"
        )
    part = _dependent_part(expr)
    if part is not None:
        raise TopologyError(
            f"expected a row-wise expression, got {shown(expr)}, of which {shown(part)} depends on other rows - at "
            f"{where}; its result would depend on the batch size: aggregate with group_by(...).agg(...), or pass a "
            "callable"
        )


def check_columns(exprs: Iterable[pl.Expr], schema: ValueSchema, where: str) -> None:
    """Refuse expressions over columns that the values do not have.

    Args:
        exprs: The expressions.
        schema: What the values have.
        where: The operator, for the message.

    Raises:
        TopologyError: The values are untyped, or have no such (typed) field.
    """
    known = schema.dtypes()
    for expr in exprs:
        if expr.meta.has_multiple_outputs():
            continue  # refused elsewhere
        for name in sorted(root_names(expr) - set(PARTS)):
            if name in known:
                continue
            if not schema.is_typed:
                raise TopologyError(
                    f"expected a value of a declared type, got {schema.serde.name} - at {where}, where {shown(expr)} "
                    f"reads {name!r}; declare the type with value="
                )
            if any(column.name == name for column in schema.columns):
                raise TopologyError(
                    f"expected a field of a type that polars has, got {name!r} of {schema.serde.name} - at {where}, "
                    f"in {shown(expr)}; declare a narrower type for the field, or pass a callable"
                )
            raise TopologyError(
                f"expected one of the columns {', '.join(known)}, got {name!r} - at {where}, in {shown(expr)}; "
                "use a field of the value, or hw.key, hw.timestamp ..."
            )


def shown(expr: pl.Expr) -> str:
    """An expression in a message, on one line.

    Args:
        expr: Any expression.
    """
    text = " ".join(str(expr).split())
    return text if len(text) <= 120 else text[:117] + "..."


def _dependent_part(expr: pl.Expr) -> pl.Expr | None:
    """The innermost part that depends on other rows, or None."""
    parts = expr.meta.pop()
    if len(parts) == 2 and expr.meta.eq(parts[1].list.eval(parts[0])):
        return _dependent_part(parts[1])  # its other part runs inside each row's list
    is_membership = len(parts) == 2 and parts[0].meta.is_literal() and _same_tree(expr, parts)
    for part in parts[1:] if is_membership else parts:
        found = _dependent_part(part)
        if found is not None:
            return found
    return None if _is_row_wise_node(expr, has_parts=bool(parts)) else expr


def _same_tree(expr: pl.Expr, parts: list[pl.Expr]) -> bool:
    # Membership in a constant set: the only place where a constant of several entries does not go row by row.
    return any(bool(expr.meta.eq(parts[1].is_in(parts[0], nulls_equal=equal))) for equal in (False, True))


def _is_row_wise_node(expr: pl.Expr, *, has_parts: bool) -> bool:
    meta = expr.meta
    try:
        if not meta.is_row_separable():
            return False
        return bool(meta.is_length_preserving() or (meta.is_scalar() and not (has_parts and root_names(expr))))
    except (pl.exceptions.PolarsError, pl.exceptions.ColumnNotFoundError):
        return False


def output_dtype(expr: pl.Expr, dtypes: dict[str, Any], *, grouped: bool = False) -> pl.DataType:
    """The dtype of an expression's result.

    Args:
        expr: The expression.
        dtypes: Dtypes of the columns.
        grouped: Whether it runs over groups.
    """
    if grouped:
        return (
            pl.LazyFrame(schema=dtypes)
            .group_by(pl.lit(0).alias("hw.group"))
            .agg(expr.alias("hw.result"))
            .collect_schema()["hw.result"]
        )
    # Over no rows: some misfits show only when an expression runs.
    return pl.DataFrame(schema=dtypes).with_columns(expr.alias("hw.result")).schema["hw.result"]
