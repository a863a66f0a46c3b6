"""`Stream`: a stream of facts, and what can be done with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from headwater.dsl import functions as f
from headwater.dsl.joinable import Joinable
from headwater.errors import InvalidArgumentError, TopologyError
from headwater.serdes import InferredSerde, Serde
from headwater.time import Duration, parse_duration_ms
from headwater.topics import Topic, check_topic_name
from headwater.topology import nodes as n

if TYPE_CHECKING:
    from polars import Expr

    from headwater.dsl.graph import Graph
    from headwater.dsl.grouped import GroupedStream
    from headwater.dsl.tables import Table

K = TypeVar("K")
V = TypeVar("V")
K2 = TypeVar("K2")
V2 = TypeVar("V2")


class Stream(Joinable[K, V]):
    """An unbounded sequence of records ``(K, V)``. Every method returns a new stream or table; nothing runs yet."""

    def __init__(self, graph: Graph, node: n.Node, *, repartitions: bool = False) -> None:
        """Wrap a node; streams are made by `StreamsBuilder.stream` and by the methods below.

        Args:
            graph: Where the node lives.
            node: What makes the records.
            repartitions: Whether the key has changed, so that whatever groups or joins by it needs a repartition topic.
        """
        self._graph = graph
        self.node = node
        self._repartitions = repartitions
        self._join_topic: n.Repartition | None = None

    def __repr__(self) -> str:
        return f"<Stream {self.node.name}: {self.node.key.name}, {self.node.value.name}>"

    def _next(
        self, kind: type[n.Node], name: str | None, prefix: str, *, changes_key: bool = False, **fields: Any
    ) -> Stream[Any, Any]:
        fields.setdefault("key", self.node.key)
        fields.setdefault("value", self.node.value)
        node = self._graph.add(
            kind, name=self._graph.names.given_or_processor(name, prefix), inputs=(self.node,), **fields
        )
        return Stream(self._graph, node, repartitions=self._repartitions or changes_key)

    # --- record by record -------------------------------------------------------------------------------------------

    def filter(self, predicate: Callable[[K, V], object] | Expr, *, name: str | None = None) -> Stream[K, V]:
        """Keep the records that a predicate accepts.

        Args:
            predicate: Called as ``predicate(key, value)``, or a row-wise polars expression over the value's fields (a
                null value fails every expression).
            name: Stable name of the node.

        Raises:
            TopologyError: An expression that depends on other rows, or over a value whose type is not declared.
        """
        return self._filter(predicate, name, negate=False)

    def filter_not(self, predicate: Callable[[K, V], object] | Expr, *, name: str | None = None) -> Stream[K, V]:
        """Drop the records that a predicate accepts.

        Args:
            predicate: As for `filter`.
            name: Stable name of the node.
        """
        return self._filter(predicate, name, negate=True)

    def _filter(self, predicate: Any, name: str | None, *, negate: bool) -> Stream[K, V]:
        fn = self._predicate(predicate, "filter_not" if negate else "filter")
        return self._next(n.Filter, name, "KSTREAM-FILTER-", predicate=fn, negate=negate)

    def _predicate(self, predicate: Any, where: str) -> n.Fn:
        if f.is_expression(predicate):
            self._graph.expressions.check_row_wise(predicate, where, self.node.value)
            return n.Fn(predicate, "expr")
        return f.callable_fn(predicate, where)

    def map(
        self, mapper: Callable[[K, V], tuple[K2, V2]], *, key: Any = None, value: Any = None, name: str | None = None
    ) -> Stream[K2, V2]:
        """Make a new key and value of each record.

        Args:
            mapper: Called as ``mapper(key, value)``, returns ``(key, value)``.
            key: Serde or type of the new keys; inferred from the first one if not given.
            value: Serde or type of the new values; likewise.
            name: Stable name of the node.
        """
        return self._next(
            n.Map, name, "KSTREAM-MAP-", changes_key=True, mapper=f.callable_fn(mapper, "map"),
            key=f.returned(lambda: None, key), value=f.returned(lambda: None, value),
        )  # fmt: skip

    @overload
    def map_values(
        self, mapper: Callable[[V], V2], *, with_key: Literal[False] = False, value: Any = None, name: str | None = None
    ) -> Stream[K, V2]: ...

    @overload
    def map_values(
        self, mapper: Callable[[K, V], V2], *, with_key: Literal[True], value: Any = None, name: str | None = None
    ) -> Stream[K, V2]: ...

    def map_values(
        self, mapper: Callable[..., Any], *, with_key: bool = False, value: Any = None, name: str | None = None
    ) -> Stream[K, Any]:
        """Make a new value of each record; the key stays.

        Args:
            mapper: Called as ``mapper(value)``, or ``mapper(key, value)`` with `with_key`.
            with_key: Whether the mapper wants the key.
            value: Serde or type of the new values; else the mapper's return annotation, else the first value's type.
            name: Stable name of the node.
        """
        fn = f.callable_fn(mapper, "map_values", "key_value" if with_key else "value")
        return self._next(n.MapValues, name, "KSTREAM-MAPVALUES-", mapper=fn, value=f.returned(mapper, value))

    def flat_map(
        self,
        mapper: Callable[[K, V], Iterable[tuple[K2, V2]]],
        *,
        key: Any = None,
        value: Any = None,
        name: str | None = None,
    ) -> Stream[K2, V2]:
        """Make any number of records of each record.

        Args:
            mapper: Called as ``mapper(key, value)``, returns an iterable of ``(key, value)``.
            key: Serde or type of the new keys.
            value: Serde or type of the new values.
            name: Stable name of the node.
        """
        return self._next(
            n.FlatMap, name, "KSTREAM-FLATMAP-", changes_key=True, mapper=f.callable_fn(mapper, "flat_map"),
            key=f.returned(lambda: None, key), value=f.returned(lambda: None, value),
        )  # fmt: skip

    @overload
    def flat_map_values(
        self, mapper: Callable[[V], Iterable[V2]], *, with_key: Literal[False] = False, value: Any = None,
        name: str | None = None,
    ) -> Stream[K, V2]: ...  # fmt: skip

    @overload
    def flat_map_values(
        self, mapper: Callable[[K, V], Iterable[V2]], *, with_key: Literal[True], value: Any = None,
        name: str | None = None,
    ) -> Stream[K, V2]: ...  # fmt: skip

    def flat_map_values(
        self,
        mapper: Callable[..., Iterable[Any]],
        *,
        with_key: bool = False,
        value: Any = None,
        name: str | None = None,
    ) -> Stream[K, Any]:
        """Make any number of values of each record; the key stays.

        Args:
            mapper: Called as ``mapper(value)``, or ``mapper(key, value)`` with `with_key`; returns an iterable.
            with_key: Whether the mapper wants the key.
            value: Serde or type of the new values.
            name: Stable name of the node.
        """
        fn = f.callable_fn(mapper, "flat_map_values", "key_value" if with_key else "value")
        return self._next(
            n.FlatMapValues, name, "KSTREAM-FLATMAPVALUES-", mapper=fn, value=f.returned(lambda: None, value)
        )

    def select_key(self, selector: Callable[[K, V], K2], *, key: Any = None, name: str | None = None) -> Stream[K2, V]:
        """Give each record a new key.

        Args:
            selector: Called as ``selector(key, value)``.
            key: Serde or type of the new keys; else the selector's return annotation, else the first key's type.
            name: Stable name of the node.
        """
        return self._next(
            n.SelectKey, name, "KSTREAM-KEY-SELECT-", changes_key=True,
            selector=f.callable_fn(selector, "select_key"), key=f.returned(selector, key),
        )  # fmt: skip

    def select(self, **columns: Expr | str) -> Stream[K, dict[str, Any]]:
        """Make a new value of named fields.

        Args:
            **columns: Row-wise polars expressions over the value's fields, and over `headwater.key` and its siblings.
                A string as `name` is the stable name of the node.

        Returns:
            A stream whose values are objects with just these fields.

        Raises:
            TopologyError: An expression that depends on other rows, or over a value whose type is not declared.
        """
        return self._select(columns, "select", keep=False)

    def with_columns(self, **columns: Expr | str) -> Stream[K, dict[str, Any]]:
        """Add named fields to the value, or replace them.

        Args:
            **columns: As for `select`.
        """
        return self._select(columns, "with_columns", keep=True)

    def _select(self, columns: dict[str, Any], where: str, *, keep: bool) -> Stream[K, dict[str, Any]]:
        name = f.take_option(columns, "name")
        named = f.named_expressions(columns, where)
        for column, expr in named:
            self._graph.expressions.check_row_wise(expr, f"{where}({column}=)", self.node.value)
        value = self._graph.expressions.selected(self.node.value, named, keep)
        return self._next(n.Select, name, "KSTREAM-MAPVALUES-", columns=named, keep=keep, value=value)

    def peek(self, action: Callable[[K, V], Any], *, name: str | None = None) -> Stream[K, V]:
        """Call an action for each record and pass it on.

        Args:
            action: Called as ``action(key, value)``.
            name: Stable name of the node.
        """
        return self._next(n.Peek, name, "KSTREAM-PEEK-", action=f.callable_fn(action, "peek"))

    # --- branching and joining streams ------------------------------------------------------------------------------

    def split(
        self, *predicates: Callable[[K, V], object] | Expr, default: bool = False, name: str | None = None
    ) -> list[Stream[K, V]]:
        """Send each record to the first branch whose predicate accepts it.

        Args:
            *predicates: One a branch, as for `filter`.
            default: Whether the records that none accepts get a last branch; otherwise they end here.
            name: Stable name of the node.

        Returns:
            The branches, in order: ``small, large, rest = rides.split(is_small, is_large, default=True)``.
        """
        if not predicates:
            raise InvalidArgumentError("expected at least one predicate, got none - at split")
        fns = tuple(self._predicate(predicate, "split") for predicate in predicates)
        split = self._next(n.Split, name, "KSTREAM-BRANCH-", predicates=fns)
        branches = []
        for index in range(len(fns) + int(default)):
            suffix = "0" if index == len(fns) else str(index + 1)
            self._graph.names.processor("KSTREAM-BRANCH-")  # Kafka Streams burns a number a branch
            node = self._graph.add(
                n.Branch, name=f"{split.node.name}{suffix}", inputs=(split.node,), key=self.node.key,
                value=self.node.value, index=index,
            )  # fmt: skip
            branches.append(Stream[K, V](self._graph, node, repartitions=self._repartitions))
        return branches

    def merge(self, other: Stream[K, V], *, name: str | None = None) -> Stream[K, V]:
        """Put two streams into one; no order is promised between them.

        Args:
            other: A stream of the same types.
            name: Stable name of the node.
        """
        if not isinstance(other, Stream):
            raise TopologyError(f"expected a Stream, got {other!r} - at merge; call to_stream() on a table")
        check_graph(self, other, "merge")
        node = self._graph.add(
            n.Merge, name=self._graph.names.given_or_processor(name, "KSTREAM-MERGE-"), inputs=(self.node, other.node),
            key=self.node.key, value=self.node.value,
        )  # fmt: skip
        return Stream(self._graph, node, repartitions=self._repartitions or other._repartitions)

    def repartition(self, *, partitions: int | None = None, name: str | None = None) -> Stream[K, V]:
        """Send the stream through an internal topic, so that records of a key meet in one partition.

        Args:
            partitions: Partition count of the topic; that of the source if not given.
            name: What the topic is called: ``<application>-<name>-repartition``.
        """
        if partitions is not None and partitions < 1:
            raise InvalidArgumentError(f"expected partitions to be 1 or more, got {partitions} - at repartition")
        names = self._graph.names
        given = names.take(name) if name is not None else names.processor("KSTREAM-REPARTITION-")
        return Stream(self._graph, self._graph.repartition(self.node, given, partitions=partitions))

    def to(self, topic: str | Topic[K, V], *, name: str | None = None) -> None:
        """Write the stream to a topic; the end of a way.

        Args:
            topic: The topic. One that does not exist is created, and remembers these serdes.
            name: Stable name of the sink.
        """
        target = topic.name if isinstance(topic, Topic) else check_topic_name(topic)
        self._next(n.Sink, name, "KSTREAM-SINK-", topic=target)

    # --- towards tables ---------------------------------------------------------------------------------------------

    def group_by_key(self, *, name: str | None = None) -> GroupedStream[K, V]:
        """Group by the key there is.

        Args:
            name: Stable name of the repartition topic, should one be needed.
        """
        from headwater.dsl.grouped import GroupedStream

        return GroupedStream(self._graph, self.node, repartitions=self._repartitions, name=name)

    def group_by(
        self, selector: Callable[[K, V], K2], *, key: Any = None, name: str | None = None
    ) -> GroupedStream[K2, V]:
        """Group by a new key; needs a repartition topic.

        Args:
            selector: Called as ``selector(key, value)``.
            key: Serde or type of the new keys.
            name: Stable name of the selector and of the repartition topic.
        """
        from headwater.dsl.grouped import GroupedStream

        selected = self.select_key(selector, key=key, name=name)
        return GroupedStream(self._graph, selected.node, repartitions=True, name=name)

    def to_table(self, *, store: str | None = None, name: str | None = None) -> Table[K, V]:
        """Read the stream as updates of a table.

        Args:
            store: Name of the store.
            name: Stable name of the node.
        """
        from headwater.dsl.tables import Table

        given = self._graph.names.given_or_processor(name, "KSTREAM-TOTABLE-")
        spec = self._graph.store(store, "KSTREAM-TOTABLE-")
        source = self._graph.repartition(self.node, given) if self._repartitions else self.node
        node = self._graph.add(
            n.ToTable, name=given, inputs=(source,), key=self.node.key, value=self.node.value, store=spec
        )
        return Table(self._graph, node)

    def _for_join(self, name: str | None) -> n.Node:
        """This stream's node, behind a repartition topic if the key has changed.

        As in Kafka Streams, joins without a name share the topic of the join before; the numbers are burned all the same.
        """
        if not self._repartitions:
            return self.node
        if name is None and self._join_topic is not None:
            self._graph.burn_repartition()
        else:
            self._join_topic = self._graph.repartition(self.node, self.node.name if name is None else name)
        return self._join_topic


def grace_ms(grace: Duration, where: str) -> int:
    """A join's grace in milliseconds.

    Args:
        grace: What the user gave.
        where: The operator, for the message.
    """
    return parse_duration_ms(grace, f"{where}(grace=)")


def check_graph(left: Any, right: Any, where: str) -> None:
    """Refuse to connect streams or tables of different applications.

    Args:
        left: A stream or table.
        right: Another one.
        where: The operator, for the message.

    Raises:
        TopologyError: They belong to different topologies.
    """
    if left._graph is not right._graph:
        raise TopologyError(
            f"expected both sides to belong to one application, got {left!r} and {right!r} of two - at {where}; "
            "write one of them to a topic and read it in the other application"
        )


def check_keys(left: Serde[Any], right: Serde[Any], where: str) -> None:
    """Refuse a join of different key types.

    Args:
        left: Serde of the left keys.
        right: Serde of the right keys.
        where: The operator, for the message.

    Raises:
        TopologyError: Both are known and differ.
    """
    if isinstance(left, InferredSerde) or isinstance(right, InferredSerde) or left.name == right.name:
        return
    raise TopologyError(
        f"expected both sides to have the same keys, got {left.name} and {right.name} - at {where}; "
        "use select_key on one side"
    )
