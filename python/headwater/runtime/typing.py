"""What the DSL asks about polars expressions, answered by `headwater.frames` (imported when the first one comes)."""

from __future__ import annotations

from typing import Any

from headwater.serdes import Serde

Columns = tuple[tuple[str, Any], ...]


class PolarsTypes:
    """Checks expressions and types what they make; see `headwater.dsl.functions.ExpressionTypes`."""

    def check_row_wise(self, expr: Any, where: str, source: Serde[Any]) -> None:
        """Refuse an expression that depends on other rows or on an untyped value.

        Args:
            expr: The expression.
            where: The operator, for the message.
            source: Serde of the value it reads.
        """
        from headwater.frames import ValueSchema, check_columns, check_row_wise

        check_row_wise(expr, where)
        check_columns([expr], ValueSchema.of(source), where)

    def selected(self, source: Serde[Any], columns: Columns, keep: bool) -> Serde[Any]:  # noqa: FBT001
        """Serde of the value that `select` or `with_columns` makes.

        Args:
            source: Serde of the value they read.
            columns: Named expressions.
            keep: Whether the value's own fields stay.
        """
        from headwater.frames import ValueSchema, selected_serde

        return selected_serde(ValueSchema.of(source), columns, keep)

    def combined(self, left: Serde[Any], right: Serde[Any], columns: Columns) -> Serde[Any]:
        """Serde of the value that a joiner of expressions makes.

        Args:
            left: Serde of the left value.
            right: Serde of the right value.
            columns: Named expressions over ``left.FIELD`` and ``right.FIELD``.
        """
        from headwater.frames import ValueSchema, check_row_wise, combined_serde

        for name, expr in columns:
            check_row_wise(expr, f"combine[{name!r}]")
        return combined_serde(ValueSchema.of(left), ValueSchema.of(right), columns)

    def aggregated(self, source: Serde[Any], columns: Columns) -> Serde[Any]:
        """Serde of the value that `agg` makes.

        Args:
            source: Serde of the values it reads.
            columns: Named aggregations.
        """
        from headwater.frames import ValueSchema, aggregated_serde

        return aggregated_serde(ValueSchema.of(source), columns)
