"""User functions on their way into nodes: which are expressions, and what type they return."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from headwater.errors import InvalidArgumentError, TopologyError
from headwater.serdes import Serde, infer, json, resolve
from headwater.topology import nodes as n


class ExpressionTypes(Protocol):
    """What the DSL must know of expressions and cannot find out itself, since it does not import polars."""

    def check_row_wise(self, expr: Any, where: str, source: Serde[Any]) -> None:
        """Refuse an expression that depends on other rows or on an untyped value."""

    def selected(self, source: Serde[Any], columns: tuple[tuple[str, Any], ...], keep: bool) -> Serde[Any]:  # noqa: FBT001
        """Serde of the value that `select` (`keep`: `with_columns`) makes."""
        ...

    def combined(self, left: Serde[Any], right: Serde[Any], columns: tuple[tuple[str, Any], ...]) -> Serde[Any]:
        """Serde of the value that a joiner of expressions makes."""
        ...

    def aggregated(self, source: Serde[Any], columns: tuple[tuple[str, Any], ...]) -> Serde[Any]:
        """Serde of the value that `agg` makes."""
        ...


class NoExpressions:
    """Types nothing: for builders that are only described."""

    def check_row_wise(self, expr: Any, where: str, source: Serde[Any]) -> None:
        """Accept."""

    def selected(self, source: Serde[Any], columns: Any, keep: bool) -> Serde[Any]:  # noqa: FBT001
        """Untyped JSON."""
        return json(dict)

    def combined(self, left: Serde[Any], right: Serde[Any], columns: Any) -> Serde[Any]:
        """Untyped JSON."""
        return json(dict)

    def aggregated(self, source: Serde[Any], columns: Any) -> Serde[Any]:
        """Untyped JSON."""
        return json(dict)


def is_expression(function: Any) -> bool:
    """Whether this is a polars expression (told without importing polars).

    Args:
        function: What the user gave.
    """
    return type(function).__module__.partition(".")[0] == "polars"


def callable_fn(function: Any, where: str, kind: n.FnKind = "key_value") -> n.Fn:
    """A node's function from a user's callable.

    Args:
        function: What the user gave.
        where: The operator, for the message.
        kind: What it is called with.

    Raises:
        InvalidArgumentError: Not callable.
    """
    if is_expression(function) or not callable(function):
        takes = "(value)" if kind == "value" else "(key, value)"
        raise InvalidArgumentError(f"expected a callable {takes}, got {function!r} - at {where}; pass a function")
    return n.Fn(function, kind)


def returned(function: Callable[..., Any], declared: Any, otherwise: Serde[Any] | None = None) -> Serde[Any]:
    """Serde of what a function returns: as declared, else by its return annotation, else inferred from the first value.

    Args:
        function: The user's function.
        declared: The user's ``key=`` or ``value=``, or None.
        otherwise: What to take instead of inferring.
    """
    if declared is not None:
        return resolve(declared)
    if otherwise is not None:
        return otherwise
    try:
        annotation = typing.get_type_hints(function).get("return", None)
    except Exception:
        annotation = None
    annotation = _without_none(annotation)
    if annotation is None or annotation is Any or isinstance(annotation, typing.TypeVar):
        return infer()
    try:
        return resolve(annotation)
    except Exception:
        return infer()


def _without_none(annotation: Any) -> Any:
    arguments = typing.get_args(annotation)
    if type(None) in arguments:
        rest = [argument for argument in arguments if argument is not type(None)]
        return rest[0] if len(rest) == 1 else None
    return annotation


def take_option(columns: dict[str, Any], name: str) -> str | None:
    """Take an operator's option from among its columns: columns are expressions, options are strings.

    Args:
        columns: What the user gave; the option is removed.
        name: The option.
    """
    return columns.pop(name) if isinstance(columns.get(name), str) else None


def named_expressions(columns: Mapping[str, Any], where: str) -> tuple[tuple[str, Any], ...]:
    """Named expressions, checked.

    Args:
        columns: Name to expression.
        where: The operator, for the message.

    Raises:
        InvalidArgumentError: None given, or something that is not an expression.
    """
    if not columns:
        raise InvalidArgumentError(f"expected at least one name=expression, got none - at {where}")
    for name, expr in columns.items():
        if not is_expression(expr):
            raise InvalidArgumentError(
                f"expected a polars expression, got {expr!r} - at {where}({name}=); wrap constants in pl.lit()"
            )
    return tuple(columns.items())


def combine_of(combine: Any, where: str, *, with_key: bool) -> n.Combine:
    """A joiner from what the user gave.

    Args:
        combine: A callable or a mapping of expressions.
        where: The operator, for the message.
        with_key: Whether the callable takes the key first.

    Raises:
        TopologyError: Neither.
    """
    if isinstance(combine, Mapping):
        return n.Combine(kind="expr", columns=named_expressions(combine, where))
    if is_expression(combine) or not callable(combine):
        raise TopologyError(
            f"expected a callable (left, right) or a dict of expressions, got {combine!r} - at {where}(combine=)"
        )
    return n.Combine(kind="key_values" if with_key else "values", fn=combine)
