"""`Table` and `GlobalTable`: the latest value of each key, and what can be done with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

from headwater.dsl import functions as f
from headwater.dsl.streams import Stream, check_graph, check_keys
from headwater.errors import TopologyError
from headwater.topology import nodes as n

if TYPE_CHECKING:
    from headwater.dsl.graph import Graph
    from headwater.dsl.grouped import GroupedTable

K = TypeVar("K")
V = TypeVar("V")
K2 = TypeVar("K2")
V2 = TypeVar("V2")
R = TypeVar("R")


class GlobalTable(Generic[K, V]):
    """A table that every task has whole; streams are joined with it under any key."""

    def __init__(self, graph: Graph, node: n.GlobalTableSource) -> None:
        """Wrap a node; made by `StreamsBuilder.global_table`.

        Args:
            graph: Where the node lives.
            node: The source.
        """
        self._graph = graph
        self.node = node

    def __repr__(self) -> str:
        return f"<GlobalTable {self.node.topic}: {self.node.key.name}, {self.node.value.name}>"


class Table(Generic[K, V]):
    """The latest value of each key; None deletes one. Every method returns a new table or stream."""

    def __init__(self, graph: Graph, node: n.Node) -> None:
        """Wrap a node; tables are made by `StreamsBuilder.table`, by aggregations and by the methods below.

        Args:
            graph: Where the node lives.
            node: What makes the changes.
        """
        self._graph = graph
        self.node = node

    def __repr__(self) -> str:
        return f"<Table {self.node.name}: {self.node.key.name}, {self.node.value.name}>"

    def _store(self, store: str | None, prefix: str) -> n.StoreSpec | None:
        return None if store is None else self._graph.store(store, prefix)

    def filter(
        self, predicate: Callable[[K, V], object], *, store: str | None = None, name: str | None = None
    ) -> Table[K, V]:
        """Keep the entries that a predicate accepts; an entry that fails it is deleted.

        Args:
            predicate: Called as ``predicate(key, value)``, never with None.
            store: Name of a store for the result.
            name: Stable name of the node.
        """
        return self._filter(predicate, store, name, negate=False)

    def filter_not(
        self, predicate: Callable[[K, V], object], *, store: str | None = None, name: str | None = None
    ) -> Table[K, V]:
        """Keep the entries that a predicate does not accept.

        Args:
            predicate: As for `filter`.
            store: Name of a store for the result.
            name: Stable name of the node.
        """
        return self._filter(predicate, store, name, negate=True)

    def _filter(self, predicate: Any, store: str | None, name: str | None, *, negate: bool) -> Table[K, V]:
        fn = f.callable_fn(predicate, "filter_not" if negate else "filter")
        spec = self._store(store, "KTABLE-FILTER-")
        return self._next(n.TableFilter, name, "KTABLE-FILTER-", predicate=fn, negate=negate, store=spec)

    @overload
    def map_values(
        self, mapper: Callable[[V], V2], *, with_key: Literal[False] = False, value: Any = None,
        store: str | None = None, name: str | None = None,
    ) -> Table[K, V2]: ...  # fmt: skip

    @overload
    def map_values(
        self, mapper: Callable[[K, V], V2], *, with_key: Literal[True], value: Any = None, store: str | None = None,
        name: str | None = None,
    ) -> Table[K, V2]: ...  # fmt: skip

    def map_values(
        self, mapper: Callable[..., Any], *, with_key: bool = False, value: Any = None, store: str | None = None,
        name: str | None = None,
    ) -> Table[K, Any]:  # fmt: skip
        """Make a new value of each entry; deletions pass.

        Args:
            mapper: Called as ``mapper(value)``, or ``mapper(key, value)`` with `with_key`; never with None. It may be
                called again when a join looks the table up, so it must be a function of its arguments alone.
            with_key: Whether the mapper wants the key.
            value: Serde or type of the new values.
            store: Name of a store for the result.
            name: Stable name of the node.
        """
        fn = f.callable_fn(mapper, "map_values", "key_value" if with_key else "value")
        spec = self._store(store, "KTABLE-MAPVALUES-")
        return self._next(
            n.TableMapValues, name, "KTABLE-MAPVALUES-", mapper=fn, store=spec, value=f.returned(mapper, value)
        )

    def _next(self, kind: type[n.Node], name: str | None, prefix: str, **fields: Any) -> Table[Any, Any]:
        fields.setdefault("value", self.node.value)
        node = self._graph.add(
            kind, name=self._graph.names.given_or_processor(name, prefix), inputs=(self.node,), key=self.node.key,
            **fields,
        )  # fmt: skip
        return Table(self._graph, node)

    @overload
    def to_stream(self, selector: None = None, *, name: str | None = None) -> Stream[K, V]: ...

    @overload
    def to_stream(
        self, selector: Callable[[K, V], K2], *, key: Any = None, name: str | None = None
    ) -> Stream[K2, V]: ...

    def to_stream(
        self, selector: Callable[[K, V], Any] | None = None, *, key: Any = None, name: str | None = None
    ) -> Stream[Any, V]:
        """The changes of the table as a stream; deletions are records without a value.

        Args:
            selector: A new key for each record, of ``(key, value)``.
            key: Serde or type of the new keys.
            name: Stable name of the node.
        """
        node = self._graph.add(
            n.ToStream, name=self._graph.names.given_or_processor(name, "KTABLE-TOSTREAM-"), inputs=(self.node,),
            key=self.node.key, value=self.node.value,
        )  # fmt: skip
        stream: Stream[Any, V] = Stream(self._graph, node)
        return stream if selector is None else stream.select_key(selector, key=key)

    def group_by(
        self,
        selector: Callable[[K, V], tuple[K2, V2]],
        *,
        key: Any = None,
        value: Any = None,
        name: str | None = None,
    ) -> GroupedTable[K2, V2]:
        """Regroup the table; an update leaves its old group before it enters the new one.

        Args:
            selector: Called as ``selector(key, value)``, returns the new ``(key, value)``.
            key: Serde or type of the new keys.
            value: Serde or type of the new values.
            name: Stable name of the node and of the repartition topic.
        """
        from headwater.dsl.grouped import GroupedTable

        node = self._graph.add(
            n.TableGroupBy, name=self._graph.names.given_or_processor(name, "KTABLE-SELECT-"), inputs=(self.node,),
            key=f.returned(lambda: None, key), value=f.returned(lambda: None, value),
            selector=f.callable_fn(selector, "group_by"),
        )  # fmt: skip
        return GroupedTable(self._graph, node, name=name)

    @overload
    def join(
        self, other: Table[K, V2], *, combine: Callable[[V, V2], R], with_key: Literal[False] = False,
        value: Any = None, store: str | None = None, name: str | None = None,
    ) -> Table[K, R]: ...  # fmt: skip

    @overload
    def join(
        self, other: Table[K, V2], *, combine: Callable[[K, V, V2], R], with_key: Literal[True],
        value: Any = None, store: str | None = None, name: str | None = None,
    ) -> Table[K, R]: ...  # fmt: skip

    def join(
        self, other: Table[K, Any], *, combine: Callable[..., Any], with_key: bool = False, value: Any = None,
        store: str | None = None, name: str | None = None,
    ) -> Table[K, Any]:  # fmt: skip
        """Join with a table; an entry exists where both sides have one.

        Args:
            other: A table with the same key type and partition count.
            combine: Called as ``combine(left, right)``, or ``combine(key, left, right)`` with `with_key`.
            with_key: Whether the joiner wants the key.
            value: Serde or type of the result.
            store: Name of a store for the result.
            name: Stable name of the join.
        """
        return self._join("inner", other, combine, with_key, value, store, name)

    @overload
    def left_join(
        self, other: Table[K, V2], *, combine: Callable[[V, V2 | None], R], with_key: Literal[False] = False,
        value: Any = None, store: str | None = None, name: str | None = None,
    ) -> Table[K, R]: ...  # fmt: skip

    @overload
    def left_join(
        self, other: Table[K, V2], *, combine: Callable[[K, V, V2 | None], R], with_key: Literal[True],
        value: Any = None, store: str | None = None, name: str | None = None,
    ) -> Table[K, R]: ...  # fmt: skip

    def left_join(
        self, other: Table[K, Any], *, combine: Callable[..., Any], with_key: bool = False, value: Any = None,
        store: str | None = None, name: str | None = None,
    ) -> Table[K, Any]:  # fmt: skip
        """Join with a table; an entry exists where the left side has one.

        Args:
            other: As for `join`.
            combine: As for `join`; the right value may be None.
            with_key: As for `join`.
            value: As for `join`.
            store: As for `join`.
            name: As for `join`.
        """
        return self._join("left", other, combine, with_key, value, store, name)

    @overload
    def outer_join(
        self, other: Table[K, V2], *, combine: Callable[[V | None, V2 | None], R], with_key: Literal[False] = False,
        value: Any = None, store: str | None = None, name: str | None = None,
    ) -> Table[K, R]: ...  # fmt: skip

    @overload
    def outer_join(
        self, other: Table[K, V2], *, combine: Callable[[K, V | None, V2 | None], R], with_key: Literal[True],
        value: Any = None, store: str | None = None, name: str | None = None,
    ) -> Table[K, R]: ...  # fmt: skip

    def outer_join(
        self, other: Table[K, Any], *, combine: Callable[..., Any], with_key: bool = False, value: Any = None,
        store: str | None = None, name: str | None = None,
    ) -> Table[K, Any]:  # fmt: skip
        """Join with a table; an entry exists where either side has one.

        Args:
            other: As for `join`.
            combine: As for `join`; either value may be None.
            with_key: As for `join`.
            value: As for `join`.
            store: As for `join`.
            name: As for `join`.
        """
        return self._join("outer", other, combine, with_key, value, store, name)

    def _join(
        self, kind: n.JoinKind, other: Any, combine: Any, with_key: bool, value: Any, store: str | None, name: str | None  # noqa: FBT001
    ) -> Table[K, Any]:  # fmt: skip
        where = "join" if kind == "inner" else f"{kind}_join"
        if not isinstance(other, Table):
            raise TopologyError(f"expected a Table, got {other!r} - at {where}")
        check_graph(self, other, where)
        check_keys(self.node.key, other.node.key, where)
        joiner = f.combine_of(combine, where, with_key=with_key)
        if joiner.kind == "expr":
            raise TopologyError(f"expected a callable (left, right), got expressions - at {where} of tables")
        names = self._graph.names
        spec = None if store is None else self._graph.store(store, "KTABLE-MERGE-")
        merge = names.given_or_processor(name, "KTABLE-MERGE-")
        node = self._graph.add(
            n.TableTableJoin,
            name=merge,
            inputs=(self.node, other.node),
            key=self.node.key,
            value=f.returned(joiner.fn, value),
            kind=kind,
            combine=joiner,
            store=spec,
            this_join_name=names.suffixed_or_processor(name, "-join-this", "KTABLE-JOINTHIS-"),
            other_join_name=names.suffixed_or_processor(name, "-join-other", "KTABLE-JOINOTHER-"),
        )
        return Table(self._graph, node)
