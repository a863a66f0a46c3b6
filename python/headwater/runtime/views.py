"""Looking tables up: how a join reads a table that has no store of its own.

A materialised table is read from its store. Any other is recomputed from the stores below it, as Kafka Streams' value
getters do: a filter or a mapping is applied to what its input gives, a join joins what its two inputs give. The kernel
reads the *base* stores, as of the reading row; a `View` turns what it found into (value, timestamp) pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from headwater.serdes import Serde
from headwater.topology import nodes as n

Value = tuple[Any, int] | None
"""What a table holds for a key: the value and its timestamp."""

Encoded = tuple[bytes, int] | None


class View:
    """A table as seen by a reader.

    Attributes:
        stores: Nodes whose stores are read, in the order in which `read` wants what was found.
        read: From a decoded key and what was found in each store (decoded) to the table's value.
        serdes: Serde of the values of each store.
    """

    def __init__(
        self, stores: tuple[n.Node, ...], serdes: tuple[Serde[Any], ...], read: Callable[[Any, Sequence[Value]], Value]
    ) -> None:
        self.stores = stores
        self.serdes = serdes
        self.read = read

    def decode(self, found: list[list[Encoded]]) -> list[list[Value]]:
        """Decode what was found, a column a store.

        Args:
            found: A list of (bytes, timestamp) or None, for each store.
        """
        columns = []
        for serde, column in zip(self.serdes, found, strict=True):
            values = serde.deserialize_many([None if entry is None else entry[0] for entry in column])
            columns.append(
                [None if entry is None else (value, entry[1]) for value, entry in zip(values, column, strict=True)]
            )
        return columns


def view_of(table: n.Node, is_materialized: Callable[[n.Node], bool], finishers: Mapping[int, Serde[Any]]) -> View:
    """The view of a table.

    Args:
        table: A table node.
        is_materialized: Whether a table node has a store.
        finishers: Serdes of the stores whose bytes are not simply the table's value.
    """
    if is_materialized(table):
        return View((table,), (finishers.get(table.id, table.value),), lambda key, found: found[0])
    if isinstance(table, n.TableFilter):
        return _mapped(view_of(table.inputs[0], is_materialized, finishers), _filtered(table))
    if isinstance(table, n.TableMapValues):
        return _mapped(view_of(table.inputs[0], is_materialized, finishers), _valued(table))
    if isinstance(table, n.TableTableJoin):
        return _joined(table, *(view_of(side, is_materialized, finishers) for side in table.inputs))
    raise AssertionError(f"{table.name} is read without a store")


def _mapped(view: View, apply: Callable[[Any, Value], Value]) -> View:
    return View(view.stores, view.serdes, lambda key, found: apply(key, view.read(key, found)))


def _filtered(table: n.TableFilter) -> Callable[[Any, Value], Value]:
    predicate, negate = table.predicate.fn, table.negate
    return lambda key, value: value if value is not None and bool(predicate(key, value[0])) != negate else None


def _valued(table: n.TableMapValues) -> Callable[[Any, Value], Value]:
    mapper = with_key(table.mapper)

    def apply(key: Any, value: Value) -> Value:
        if value is None and not table.calls_on_null:
            return None
        mapped = mapper(key, None if value is None else value[0])
        return None if mapped is None else (mapped, -1 if value is None else value[1])

    return apply


def _joined(table: n.TableTableJoin, left: View, right: View) -> View:
    combine = combiner(table.combine)
    split = len(left.stores)

    def read(key: Any, found: Sequence[Value]) -> Value:
        mine, other = left.read(key, found[:split]), right.read(key, found[split:])
        if (mine is None and (table.kind != "outer" or other is None)) or (other is None and table.kind == "inner"):
            return None
        value = combine(key, None if mine is None else mine[0], None if other is None else other[0])
        times = [entry[1] for entry in (mine, other) if entry is not None]
        return None if value is None else (value, max(times))

    return View(left.stores + right.stores, left.serdes + right.serdes, read)


def with_key(fn: n.Fn) -> Callable[[Any, Any], Any]:
    """A function of (key, value), whatever the user's takes.

    Args:
        fn: The user's callable.
    """
    if fn.kind == "value":
        function = fn.fn
        return lambda key, value: function(value)
    return fn.fn  # type: ignore[no-any-return]


def combiner(combine: n.Combine) -> Callable[[Any, Any, Any], Any]:
    """A joiner of (key, left, right), whatever the user's takes.

    Args:
        combine: The user's joiner, a callable.
    """
    if combine.kind == "values":
        function = combine.fn
        return lambda key, left, right: function(left, right)
    return combine.fn  # type: ignore[no-any-return]
