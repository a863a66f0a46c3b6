"""Grouped streams and tables, and their aggregations."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

from headwater.dsl import functions as f
from headwater.dsl.tables import Table
from headwater.dsl.windows import Window
from headwater.errors import InvalidArgumentError, TopologyError
from headwater.records import Windowed
from headwater.serdes import Serde, int64, json, session_windowed, windowed
from headwater.time import Duration, parse_duration_ms
from headwater.topics import check_topic_name
from headwater.topology import nodes as n

if TYPE_CHECKING:
    from polars import Expr

    from headwater.dsl.graph import Graph

K = TypeVar("K")
V = TypeVar("V")
A = TypeVar("A")


class _Aggregations(Generic[K, V]):
    """What grouped and windowed streams share."""

    _window: n.WindowSpec | None = None
    _late: str | None = None
    _emit: Literal["on_update", "on_close"] = "on_update"

    def __init__(self, graph: Graph, node: n.Node, *, repartitions: bool, name: str | None) -> None:
        self._graph = graph
        self.node = node
        self._repartitions = repartitions
        self._name = name

    @property
    def _kind(self) -> str:
        if self._window is None:
            return "key_value"
        return "session" if isinstance(self._window, n.SessionWindows) else "window"

    def _key(self) -> Serde[Any]:
        match self._window:
            case n.TimeWindows():
                return windowed(self.node.key, self._window.size_ms)
            case n.SlidingWindows():
                return windowed(self.node.key, self._window.difference_ms)
            case n.UnlimitedWindows():
                return windowed(self.node.key, 2**63 - 1)
            case n.SessionWindows():
                return session_windowed(self.node.key)
            case _:
                return self.node.key

    def _add(
        self, fold: n.Fold, spec: n.StoreSpec, prefix: str, name: str | None, value: Serde[Any]
    ) -> Table[Any, Any]:
        given = self._graph.names.given_or_processor(name, prefix)
        source = self.node
        if self._repartitions:
            source = self._graph.repartition(self.node, self._name if self._name is not None else spec.name)
        node = self._graph.add(
            n.StreamAggregate, name=given, inputs=(source,), key=self._key(), value=value, fold=fold, window=self._window,
            store=spec, emit=self._emit, late_topic=self._late,
        )  # fmt: skip
        return Table(self._graph, node)

    def _spec(self, store: str | None, prefix: str, retention: Duration | None = None) -> n.StoreSpec:
        """The aggregation's store; its retention must cover every window that still admits records."""
        if retention is None or self._window is None:
            return self._graph.store(store, prefix, self._kind)
        kept = parse_duration_ms(retention, "retention")
        match self._window:
            case n.TimeWindows():
                least, parts = self._window.size_ms + self._window.grace_ms, "size + grace"
            case n.SessionWindows():
                least, parts = self._window.gap_ms + self._window.grace_ms, "gap + grace"
            case _:
                least, parts = 0, ""
        if kept < least:
            raise InvalidArgumentError(
                f"expected retention to be at least {parts} ({least}ms), got {retention!r} - at windowed_by; "
                "windows must be kept for as long as they admit records"
            )
        return self._graph.store(store, prefix, self._kind, retention_ms=kept)

    def _count(self, store: str | None, name: str | None, retention: Duration | None = None) -> Table[Any, int]:
        if store is None:
            # Kafka Streams burns a number here.
            self._graph.names.store("KSTREAM-AGGREGATE-")
        spec = self._spec(store, "KSTREAM-AGGREGATE-", retention)
        return self._add(n.Count(), spec, "KSTREAM-AGGREGATE-", name, int64())

    def _reduce(
        self, adder: Any, store: str | None, name: str | None, retention: Duration | None = None
    ) -> Table[Any, V]:
        _callable(adder, "reduce", "(aggregate, value)")
        spec = self._spec(store, "KSTREAM-REDUCE-", retention)
        return self._add(n.Reduce(adder=adder), spec, "KSTREAM-REDUCE-", name, self.node.value)

    def _aggregate(
        self, initializer: Any, adder: Any, merger: Any, value: Any, store: str | None, name: str | None,
        retention: Duration | None = None,
    ) -> Table[Any, Any]:  # fmt: skip
        _callable(initializer, "aggregate", "()")
        _callable(adder, "aggregate", "(key, value, aggregate)")
        is_session = isinstance(self._window, n.SessionWindows)
        if is_session:
            _callable(merger, "aggregate(merger=) of sessions", "(key, left, right)")
        elif merger is not None:
            raise TopologyError("expected no merger= without session windows, got one - at aggregate")
        spec = self._spec(store, "KSTREAM-AGGREGATE-", retention)
        fold = n.Aggregate(initializer=initializer, adder=adder, merger=merger)
        return self._add(fold, spec, "KSTREAM-AGGREGATE-", name, f.returned(adder, value))

    def _agg(self, columns: dict[str, Any], into: Any) -> Table[Any, Any]:
        store, name = f.take_option(columns, "store"), f.take_option(columns, "name")
        retention = None if self._window is None else f.take_option(columns, "retention")
        named = f.named_expressions(columns, "agg")
        value = self._graph.expressions.aggregated(self.node.value, named)
        if into is not None:
            value = json(into)
        spec = self._spec(store, "KSTREAM-AGGREGATE-", retention)
        return self._add(n.Agg(columns=named, into=into), spec, "KSTREAM-AGGREGATE-", name, value)


def _callable(function: Any, where: str, takes: str) -> None:
    if not callable(function) or f.is_expression(function):
        raise InvalidArgumentError(f"expected a callable {takes}, got {function!r} - at {where}; pass a function")


class GroupedStream(_Aggregations[K, V]):
    """Records grouped by key, made by `Stream.group_by_key` and `Stream.group_by`."""

    def windowed_by(
        self, window: Window, *, late: str | None = None, emit: Literal["on_update", "on_close"] = "on_update"
    ) -> WindowedStream[K, V]:
        """Aggregate per window of event time.

        Args:
            window: Which windows.
            late: A topic for records that come after their window has closed; they are counted in any case.
            emit: ``"on_update"``: every update of a window's aggregate. (``"on_close"``, the final one only, comes with
                a later release.)

        Raises:
            TopologyError: A window or emit policy that this release does not run.
        """
        if not isinstance(window, Window):
            raise InvalidArgumentError(f'expected a window such as TumblingWindow("10s", grace="5s"), got {window!r}')
        if isinstance(window.spec, n.SlidingWindows | n.UnlimitedWindows):
            raise TopologyError(
                f"expected a tumbling, hopping or session window, got {window!r} - at windowed_by; "
                "this release does not run the others"
            )
        if emit != "on_update":
            raise TopologyError(f"expected emit='on_update', got {emit!r} - at windowed_by; this release runs no other")
        grouped = WindowedStream[K, V](self._graph, self.node, repartitions=self._repartitions, name=self._name)
        grouped._window = window.spec
        grouped._late = None if late is None else check_topic_name(late)
        return grouped

    def count(self, *, store: str | None = None, name: str | None = None) -> Table[K, int]:
        """Number of records of each key; records without a key or value are dropped and counted.

        Args:
            store: Name of the store.
            name: Stable name of the node.
        """
        return self._count(store, name)

    def reduce(self, adder: Callable[[V, V], V], *, store: str | None = None, name: str | None = None) -> Table[K, V]:
        """Fold the values of each key; the first value is the first aggregate.

        Args:
            adder: Called as ``adder(aggregate, value)``; None deletes the aggregate.
            store: Name of the store.
            name: Stable name of the node.
        """
        return self._reduce(adder, store, name)

    def aggregate(
        self, initializer: Callable[[], A], adder: Callable[[K, V, A], A], *, value: Any = None,
        store: str | None = None, name: str | None = None,
    ) -> Table[K, A]:  # fmt: skip
        """Fold the values of each key into an aggregate of any type.

        Args:
            initializer: Makes an empty aggregate.
            adder: Called as ``adder(key, value, aggregate)``, returns the new one; None deletes it.
            value: Serde or type of the aggregate; else the adder's return annotation, else the first one's type.
            store: Name of the store.
            name: Stable name of the node.
        """
        return self._aggregate(initializer, adder, None, value, store, name)

    @overload
    def agg(self, *, into: type[A], **columns: Expr | str) -> Table[K, A]: ...

    @overload
    def agg(self, *, into: None = None, **columns: Expr | str) -> Table[K, dict[str, Any]]: ...

    def agg(self, *, into: Any = None, **columns: Any) -> Table[K, Any]:
        """Polars aggregations over the values of each key.

        Args:
            into: Type of the result; a dict if not given.
            **columns: Named aggregations, e.g. ``trips=pl.len()``. What decomposes (len, count, sum, min, max, mean,
                first, last, var, std) is folded record by record; anything else is evaluated over the group's records.
                A string as `store` or `name` is the name of the store or of the node.
        """
        return self._agg(columns, into)


class WindowedStream(_Aggregations[K, V]):
    """Records grouped by key and window, made by `GroupedStream.windowed_by`."""

    @property
    def is_session(self) -> bool:
        """Whether the windows are sessions, so that `aggregate` needs a merger."""
        return isinstance(self._window, n.SessionWindows)

    def count(
        self, *, store: str | None = None, name: str | None = None, retention: Duration | None = None
    ) -> Table[Windowed[K], int]:
        """Number of records of each key and window (records without a value count, records without a key do not).

        Args:
            store: Name of the store.
            name: Stable name of the node.
            retention: How long windows are kept in the store, at least until they are closed (the default).
        """
        return self._count(store, name, retention)

    def reduce(
        self, adder: Callable[[V, V], V], *, store: str | None = None, name: str | None = None,
        retention: Duration | None = None,
    ) -> Table[Windowed[K], V]:  # fmt: skip
        """Fold the values of each key and window; the first value is the first aggregate.

        Args:
            adder: Called as ``adder(aggregate, value)``.
            store: Name of the store.
            name: Stable name of the node.
            retention: How long windows are kept in the store, at least until they are closed (the default).
        """
        return self._reduce(adder, store, name, retention)

    def aggregate(
        self, initializer: Callable[[], A], adder: Callable[[K, V, A], A], *,
        merger: Callable[[K, A, A], A] | None = None, value: Any = None, store: str | None = None, name: str | None = None,
        retention: Duration | None = None,
    ) -> Table[Windowed[K], A]:  # fmt: skip
        """Fold the values of each key and window into an aggregate of any type.

        Args:
            initializer: Makes an empty aggregate.
            adder: Called as ``adder(key, value, aggregate)``.
            merger: Merges the aggregates of two sessions, ``merger(key, left, right)``; sessions need it.
            value: Serde or type of the aggregate.
            store: Name of the store.
            name: Stable name of the node.
            retention: How long windows are kept in the store, at least until they are closed (the default).
        """
        return self._aggregate(initializer, adder, merger, value, store, name, retention)

    @overload
    def agg(self, *, into: type[A], **columns: Expr | str) -> Table[Windowed[K], A]: ...

    @overload
    def agg(self, *, into: None = None, **columns: Expr | str) -> Table[Windowed[K], dict[str, Any]]: ...

    def agg(self, *, into: Any = None, **columns: Any) -> Table[Windowed[K], Any]:
        """Polars aggregations over the values of each key and window.

        Args:
            into: Type of the result; a dict if not given.
            **columns: As for `GroupedStream.agg`; a string as `retention` is the store's.
        """
        return self._agg(columns, into)


class GroupedTable(Generic[K, V]):
    """A regrouped table, made by `Table.group_by`."""

    def __init__(self, graph: Graph, node: n.Node, *, name: str | None) -> None:
        """Wrap a node.

        Args:
            graph: Where the node lives.
            node: The selector.
            name: Stable name of the repartition topic.
        """
        self._graph = graph
        self.node = node
        self._name = name

    def _add(self, fold: n.Fold, prefix: str, store: str | None, name: str | None, value: Serde[Any]) -> Table[K, Any]:
        names = self._graph.names
        spec = self._graph.store(store, "KTABLE-AGGREGATE-")  # Kafka Streams' prefix for reduce too
        sink = names.suffixed_or_processor(name, "-sink", "KSTREAM-SINK-")
        source = names.suffixed_or_processor(name, "-source", "KSTREAM-SOURCE-")
        given = names.given_or_processor(name, prefix)
        repartition = self._graph.add(
            n.Repartition, name=source, inputs=(self.node,), key=self.node.key, value=self.node.value,
            topic=f"{self._name if self._name is not None else spec.name}-repartition", filter_name=None, sink_name=sink,
            source_name=source, carries_changes=True,
        )  # fmt: skip
        node = self._graph.add(
            n.TableAggregate, name=given, inputs=(repartition,), key=self.node.key, value=value, fold=fold, store=spec
        )
        return Table(self._graph, node)

    def count(self, *, store: str | None = None, name: str | None = None) -> Table[K, int]:
        """Number of entries of each group; a group that has lost all of them stays, at 0.

        Args:
            store: Name of the store.
            name: Stable name of the node.
        """
        return self._add(n.Count(), "KTABLE-AGGREGATE-", store, name, int64())

    def reduce(
        self, adder: Callable[[V, V], V], subtractor: Callable[[V, V], V], *, store: str | None = None,
        name: str | None = None,
    ) -> Table[K, V]:  # fmt: skip
        """Fold the values of each group.

        Args:
            adder: Called as ``adder(aggregate, value)`` for a value that enters.
            subtractor: Called as ``subtractor(aggregate, value)`` for a value that leaves.
            store: Name of the store.
            name: Stable name of the node.
        """
        _callable(adder, "reduce", "(aggregate, value)")
        _callable(subtractor, "reduce", "(aggregate, value)")
        fold = n.Reduce(adder=adder, subtractor=subtractor)
        return self._add(fold, "KTABLE-REDUCE-", store, name, self.node.value)

    def aggregate(
        self, initializer: Callable[[], A], adder: Callable[[K, V, A], A], subtractor: Callable[[K, V, A], A], *,
        value: Any = None, store: str | None = None, name: str | None = None,
    ) -> Table[K, A]:  # fmt: skip
        """Fold the values of each group into an aggregate of any type.

        Args:
            initializer: Makes an empty aggregate.
            adder: Called as ``adder(key, value, aggregate)`` for a value that enters.
            subtractor: Called as ``subtractor(key, value, aggregate)`` for a value that leaves.
            value: Serde or type of the aggregate.
            store: Name of the store.
            name: Stable name of the node.
        """
        _callable(initializer, "aggregate", "()")
        _callable(adder, "aggregate", "(key, value, aggregate)")
        _callable(subtractor, "aggregate", "(key, value, aggregate)")
        fold = n.Aggregate(initializer=initializer, adder=adder, subtractor=subtractor)
        return self._add(fold, "KTABLE-AGGREGATE-", store, name, f.returned(adder, value))
