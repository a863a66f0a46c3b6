"""Named aggregations: which ones the kernel folds record by record, and which need a group's rows.

Recognised on the expression tree: an expression is rebuilt from its own part (``part.sum()``) and compared, so a column
called "sum" or another spelling of the same tree makes no difference. ``x.filter(p).sum()`` folds too, over an argument
that is null where `p` does not hold. Everything else (quantiles, arithmetic over aggregates, texts ...) is evaluated by
polars over the group's rows when it is emitted, all groups of a batch in one `group_by`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple

import msgspec
import polars as pl

from headwater.errors import TopologyError
from headwater.frames.columns import PARTS, PRESENT
from headwater.frames.decoding import decode_frame
from headwater.frames.encoding import encode_json
from headwater.frames.row_wise import check_columns, is_row_wise, output_dtype, root_names, shown
from headwater.frames.schema import ValueSchema, object_type
from headwater.serdes import Serde, json

Kind = Literal["len", "count", "sum", "min", "max", "mean", "first", "last", "var", "std"]
Columns = tuple[tuple[str, pl.Expr], ...]

_FOLDS: tuple[tuple[Kind, Callable[[pl.Expr], pl.Expr]], ...] = (
    ("len", lambda x: x.len()),
    ("count", lambda x: x.count()),
    ("sum", lambda x: x.sum()),
    ("min", lambda x: x.min()),
    ("max", lambda x: x.max()),
    ("mean", lambda x: x.mean()),
    ("first", lambda x: x.first()),
    ("last", lambda x: x.last()),
    ("var", lambda x: x.var()),
    ("std", lambda x: x.std()),
)
_GROUP = "hw.group"
# What a fold's argument may be: whole numbers that fit 64 bits, and doubles.
_NUMBERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.Float64)


class Fold(NamedTuple):
    """A column that the kernel folds.

    Attributes:
        name: Name of the column.
        kind: How it folds.
        argument: What it folds, a row-wise expression; None for `len`, which has none.
        is_int: Whether its result is whole where that is the argument's choice.
        dtype: polars' type of the result.
    """

    name: str
    kind: Kind
    argument: pl.Expr | None
    is_int: bool
    dtype: Any

    @property
    def field(self) -> str | None:
        """The field that is folded as it is, if the argument is a plain column."""
        if self.argument is None or not self.argument.meta.is_column():
            return None
        return self.argument.meta.output_name()


class Buffered(NamedTuple):
    """A column that is evaluated over a group's rows.

    Attributes:
        name: Name of the column.
        expr: The expression.
        fields: The columns it reads.
        dtype: polars' type of the result.
    """

    name: str
    expr: pl.Expr
    fields: frozenset[str]
    dtype: Any


class AggPlan:
    """How the named columns of an aggregation are computed.

    Attributes:
        columns: Names in order.
        folds: What the kernel folds.
        buffered: What needs the rows.
        schema: What the rows have.
    """

    def __init__(self, columns: Sequence[Fold | Buffered], schema: ValueSchema) -> None:
        """Sort the columns.

        Args:
            columns: The analysed columns in order.
            schema: What the rows have.
        """
        self.columns = [column.name for column in columns]
        self.folds = [column for column in columns if isinstance(column, Fold)]
        self.buffered = [column for column in columns if isinstance(column, Buffered)]
        self.schema = schema

    @cached_property
    def fields(self) -> frozenset[str]:
        """The columns that the folds' arguments read."""
        return frozenset().union(*(root_names(fold.argument) for fold in self.folds if fold.argument is not None))

    @cached_property
    def buffered_fields(self) -> frozenset[str]:
        """The columns that the buffered expressions read."""
        return frozenset().union(*(column.fields for column in self.buffered))

    def arguments(self, frame: pl.DataFrame) -> list[list[Any]]:
        """The folds' arguments, a list a fold.

        Args:
            frame: Rows with at least `fields`.
        """
        return [column.to_list() for column in self.argument_frame(frame).get_columns()]

    def argument_frame(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The folds' arguments, a column a fold.

        Args:
            frame: Rows with at least `fields`.
        """
        nothing = pl.lit(None, dtype=pl.Int64)
        exprs = [
            pl.when(pl.col(PRESENT)).then(nothing if fold.argument is None else fold.argument).alias(str(index))
            for index, fold in enumerate(self.folds)
        ]
        return frame.select(exprs)

    def finish(self, groups: Sequence[tuple[bytes, Sequence[bytes]]], source: Serde[Any]) -> list[bytes]:
        """The values of groups: what the kernel folded, and the buffered columns over their rows.

        Args:
            groups: For each, the JSON object of the folded columns, and the values of its rows in order.
            source: Serde of the rows' values.

        Returns:
            One JSON object a group, its fields in the declared order.
        """
        if not self.buffered:
            return [folded for folded, _ in groups]
        evaluated = encode_json(self.evaluate_buffered([rows for _, rows in groups], source)).to_list()
        done = []
        for (folded, _), extra in zip(groups, evaluated, strict=True):
            assert extra is not None
            found: dict[str, msgspec.Raw] = {**_raw(folded), **_raw(extra)}
            done.append(_encode({name: found[name] for name in self.columns}))
        return done

    def evaluate_buffered(self, groups: Sequence[Sequence[bytes]], source: Serde[Any]) -> pl.DataFrame:
        """Evaluate the buffered columns over the rows of each group.

        Args:
            groups: The values of each group's rows in order.
            source: Their serde.

        Returns:
            One row a group, a column a buffered expression.
        """
        rows: list[bytes | None] = [row for group in groups for row in group]
        numbers = [number for number, group in enumerate(groups) for _ in group]
        frame, bad = decode_frame(source, rows, self.buffered_fields)
        for error in bad.values():
            raise error  # the rows passed the same checks on their way in
        frame = frame.with_columns(pl.Series(_GROUP, numbers, dtype=pl.UInt32)).filter(pl.col(PRESENT))
        exprs = [column.expr.alias(column.name) for column in self.buffered]
        found = frame.group_by(_GROUP, maintain_order=True).agg(exprs)
        if found.height < len(groups):
            # polars leaves groups without rows out; over nothing an expression still has a value.
            nothing = frame.clear().select(exprs).head(1)
            everyone = pl.DataFrame({_GROUP: pl.Series(range(len(groups)), dtype=pl.UInt32)})
            missing = everyone.join(found, on=_GROUP, how="anti").join(nothing, how="cross")
            found = pl.concat([found, missing.select(found.columns).cast(found.schema)]).sort(_GROUP)
        return found.drop(_GROUP)


_raw = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


def agg_plan(columns: Columns, schema: ValueSchema) -> AggPlan:
    """Analyse named aggregations.

    Args:
        columns: Name and expression of each.
        schema: What the rows have.

    Raises:
        TopologyError: An expression reads what is not there, makes several columns, or does not fit its columns' types.
    """
    return AggPlan([_analysed(name, expr, schema) for name, expr in columns], schema)


def aggregated_serde(schema: ValueSchema, columns: Columns) -> Serde[Any]:
    """Serde of the values that an aggregation makes.

    Args:
        schema: What the rows have.
        columns: Named aggregations.

    Raises:
        TopologyError: As for `agg_plan`.
    """
    return json(object_type({name: _analysed(name, expr, schema).dtype for name, expr in columns}))


def _analysed(name: str, expr: pl.Expr, schema: ValueSchema) -> Fold | Buffered:
    where = f"agg({name}=)"
    if expr.meta.has_multiple_outputs():
        raise TopologyError(
            f"expected an expression with one result, got {shown(expr)} - at {where}; name the columns one by one"
        )
    parts = root_names(expr) & set(PARTS)
    if parts:
        raise TopologyError(
            f"expected an expression over the value's fields, got {shown(expr)}, which reads {min(parts)} - at {where}; "
            "add it to the value first, with with_columns"
        )
    check_columns([expr], schema, where)
    dtypes = {PRESENT: pl.Boolean(), **schema.dtypes()}
    try:
        dtype = output_dtype(expr, dtypes, grouped=True)
        return _folded(name, expr, dtypes, dtype) or Buffered(name, expr, frozenset(root_names(expr)), dtype)
    except pl.exceptions.PolarsError as error:
        raise TopologyError(
            f"expected an aggregation that fits its columns, got {shown(expr)} - at {where}: {error}"
        ) from error


def _folded(name: str, expr: pl.Expr, dtypes: dict[str, Any], dtype: Any) -> Fold | None:
    bare = expr.meta.undo_aliases()
    if bare.meta.eq(pl.len()):
        return Fold(name, "len", None, is_int=True, dtype=dtype)
    parts = bare.meta.pop()
    if len(parts) != 1:
        return None
    argument = parts[0]
    kind: Kind | None = next((kind for kind, rebuild in _FOLDS if bare.meta.eq(rebuild(argument))), None)
    if kind is None:
        return None
    filtered = _filtered(argument)
    if filtered is not None:
        if kind in ("first", "last"):
            return None
        argument, predicate = filtered
        if kind == "len":
            kind, argument = "count", pl.lit(1)
        argument = pl.when(predicate).then(argument)
    if not root_names(argument) or not is_row_wise(argument):
        return None
    if kind == "len":
        return Fold(name, kind, None, is_int=True, dtype=dtype)
    if kind == "count":
        ones = pl.when(argument.is_not_null()).then(pl.lit(1))
        return Fold(name, kind, argument if _number(argument, dtypes) else ones, is_int=True, dtype=dtype)
    found = output_dtype(argument, dtypes)
    if found == pl.Boolean and kind in ("sum", "mean"):
        return Fold(name, kind, argument.cast(pl.Int64), is_int=True, dtype=dtype)
    if not _number(argument, dtypes):
        return None
    return Fold(name, kind, argument, is_int=found.is_integer(), dtype=dtype)


def _number(argument: pl.Expr, dtypes: dict[str, Any]) -> bool:
    return output_dtype(argument, dtypes) in _NUMBERS


def _filtered(expr: pl.Expr) -> tuple[pl.Expr, pl.Expr] | None:
    parts = expr.meta.pop()
    if len(parts) == 2 and expr.meta.eq(parts[1].filter(parts[0])) and all(map(is_row_wise, parts)):
        return parts[1], parts[0]
    return None
