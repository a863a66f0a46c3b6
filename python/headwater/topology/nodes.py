"""The nodes of a topology: frozen data that `dsl` builds, `topology` validates and prints, and `runtime` executes.

One node per DSL operation, in creation order (which fixes child order, generated names and sub-topology numbers, as in
Kafka Streams). A node refers to its inputs directly; it never refers to its children, to stores' contents or to code
that runs it.

**Invariants**
1. ``node.inputs`` were all created before ``node`` (``input.id < node.id``): a topology is acyclic by construction.
2. ``key`` and ``value`` are the serdes of what flows *out* of the node; on a table, ``value`` is that of new and old.
3. Nothing here is mutable, and nothing here knows whether it runs in a test driver, embedded or on a cluster.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from headwater.serdes import Serde

# A user's function and what it is called with. `fn` of kind "expr" is a polars expression, kept opaque here: polars is
# imported by `frames` alone.
FnKind = Literal["key_value", "value", "expr"]


class Fn(msgspec.Struct, frozen=True, eq=False):
    """A user's callable (called with ``(key, value)`` or ``(value)``) or a row-wise polars expression."""

    fn: Any
    kind: FnKind = "key_value"


class TimeWindows(msgspec.Struct, frozen=True, kw_only=True):
    """Tumbling (``advance_ms == size_ms``) or hopping windows, ``[start, start + size)``, aligned to the epoch."""

    size_ms: int
    advance_ms: int
    grace_ms: int


class SessionWindows(msgspec.Struct, frozen=True, kw_only=True):
    """Sessions ``[start, end]``, merged when at most ``gap_ms`` apart."""

    gap_ms: int
    grace_ms: int


class SlidingWindows(msgspec.Struct, frozen=True, kw_only=True):
    """Sliding windows ``[start, start + difference]`` fixed by the records themselves."""

    difference_ms: int
    grace_ms: int


class UnlimitedWindows(msgspec.Struct, frozen=True, kw_only=True):
    """One window from ``start_ms`` for ever."""

    start_ms: int


WindowSpec = TimeWindows | SessionWindows | SlidingWindows | UnlimitedWindows


class JoinWindows(msgspec.Struct, frozen=True, kw_only=True):
    """``left.ts - before_ms <= right.ts <= left.ts + after_ms``, both ends inclusive."""

    before_ms: int
    after_ms: int
    grace_ms: int


class StoreSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A state store as the user asked for it; `name` is generated (Kafka's way) where `is_named` is false."""

    name: str
    is_named: bool
    kind: Literal["key_value", "window", "session"]
    caching: bool = True
    logging: bool = True
    retention_ms: int | None = None


class Node(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What every node has.

    Attributes:
        id: Position in creation order, from 0, unique in its topology.
        name: Kafka Streams' processor name, given or generated (``KSTREAM-FILTER-0000000001``). A join's further
            processors have names of their own in the subclass.
        inputs: Predecessors, in the operation's order (left, right).
        key: Serde of the keys that flow out.
        value: Serde of the values that flow out.
    """

    id: int
    name: str
    inputs: tuple[Node, ...] = ()
    key: Serde[Any]
    value: Serde[Any]


# --- sources and sinks ------------------------------------------------------------------------------------------------


class StreamSource(Node, frozen=True, kw_only=True, eq=False):
    """``app.stream(topic, ...)``. Two streams of one topic share one source processor in Kafka; the describer merges."""

    topics: tuple[str, ...]
    on_error: Any = "raise"
    validate: Literal["lazy", "eager"] = "lazy"


class TableSource(Node, frozen=True, kw_only=True, eq=False):
    """``app.table(topic, ...)``. `source_name` is the KSTREAM-SOURCE processor, `name` the KTABLE-SOURCE processor."""

    topic: str
    source_name: str
    store: StoreSpec  # used only if named or if `topology.materialize` finds a reason
    on_error: Any = "raise"


class GlobalTableSource(Node, frozen=True, kw_only=True, eq=False):
    """``app.global_table(topic, ...)``: all partitions, applied at once, never triggers anything."""

    topic: str
    source_name: str
    store: StoreSpec
    on_error: Any = "raise"


class Sink(Node, frozen=True, kw_only=True, eq=False):
    """``stream.to(topic)``."""

    topic: str


# --- stateless operations on streams ----------------------------------------------------------------------------------


class Filter(Node, frozen=True, kw_only=True, eq=False):
    """``stream.filter`` / ``filter_not`` (`negate`). A null value fails every *expression* predicate."""

    predicate: Fn
    negate: bool


class Map(Node, frozen=True, kw_only=True, eq=False):
    """``stream.map``: ``fn(key, value) -> (key, value)``."""

    mapper: Fn


class MapValues(Node, frozen=True, kw_only=True, eq=False):
    """``stream.map_values``: ``fn(value) -> value`` (kind "value") or with the key (kind "key_value")."""

    mapper: Fn


class FlatMap(Node, frozen=True, kw_only=True, eq=False):
    """``stream.flat_map``: ``fn(key, value) -> iterable of (key, value)``."""

    mapper: Fn


class FlatMapValues(Node, frozen=True, kw_only=True, eq=False):
    """``stream.flat_map_values``: ``fn(value) -> iterable of values``."""

    mapper: Fn


class SelectKey(Node, frozen=True, kw_only=True, eq=False):
    """``stream.select_key`` (also the first half of ``group_by``)."""

    selector: Fn


class Select(Node, frozen=True, kw_only=True, eq=False):
    """``stream.select(name=expr, ...)`` and, with `keep`, ``stream.with_columns``: row-wise expressions."""

    columns: tuple[tuple[str, Any], ...]
    keep: bool


class Peek(Node, frozen=True, kw_only=True, eq=False):
    """``stream.peek``: calls ``fn(key, value)`` and passes the record on."""

    action: Fn


class Split(Node, frozen=True, kw_only=True, eq=False):
    """``stream.split(...)``: a record goes to the first `Branch` whose predicate holds, else to the default, if any."""

    predicates: tuple[Fn, ...]


class Branch(Node, frozen=True, kw_only=True, eq=False):
    """One output of a `Split` (its only input); ``index == len(predicates)`` is the default branch."""

    index: int


class Merge(Node, frozen=True, kw_only=True, eq=False):
    """``stream.merge(other)``."""


class Repartition(Node, frozen=True, kw_only=True, eq=False):
    """A trip through an internal topic: ``stream.repartition()``, or put in front of whatever needs the key's partition.

    `topic` is the suffix Kafka puts behind the application id: ``<store or name>-repartition``. `keeps_null_keys` is
    decided by `topology.validate` (a null-key-relaxed join downstream), see `Topology.keeps_null_keys`.
    `carries_changes`: between ``table.group_by`` and its aggregation, values are (new, old) pairs.
    """

    topic: str
    filter_name: str | None
    sink_name: str
    source_name: str
    partitions: int | None = None
    carries_changes: bool = False


# --- tables -----------------------------------------------------------------------------------------------------------


class ToTable(Node, frozen=True, kw_only=True, eq=False):
    """``stream.to_table()``."""

    store: StoreSpec


class ToStream(Node, frozen=True, kw_only=True, eq=False):
    """``table.to_stream()``; a key selector becomes a `SelectKey` behind it."""


class TableFilter(Node, frozen=True, kw_only=True, eq=False):
    """``table.filter`` / ``filter_not``."""

    predicate: Fn
    negate: bool
    store: StoreSpec | None  # only if named


class TableMapValues(Node, frozen=True, kw_only=True, eq=False):
    """``table.map_values``; `calls_on_null` is Kafka's ``transformValues``."""

    mapper: Fn
    store: StoreSpec | None
    calls_on_null: bool = False


class TableGroupBy(Node, frozen=True, kw_only=True, eq=False):
    """``table.group_by(selector)``: ``fn(key, value) -> (key, value)``; a `Repartition` with changes follows."""

    selector: Fn


# --- aggregations -----------------------------------------------------------------------------------------------------


class Count(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Number of records, as int64."""


class Reduce(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """``adder(aggregate, value) -> aggregate``; the first value is the aggregate. `subtractor` on grouped tables."""

    adder: Callable[[Any, Any], Any]
    subtractor: Callable[[Any, Any], Any] | None = None


class Aggregate(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """``adder(key, value, aggregate) -> aggregate``, from ``initializer()``; `merger(key, left, right)` for sessions."""

    initializer: Callable[[], Any]
    adder: Callable[[Any, Any, Any], Any]
    subtractor: Callable[[Any, Any, Any], Any] | None = None
    merger: Callable[[Any, Any, Any], Any] | None = None


class Agg(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Named polars aggregations over the records of a group or window; `into` types the value (else a dict)."""

    columns: tuple[tuple[str, Any], ...]
    into: Any = None


Fold = Count | Reduce | Aggregate | Agg


class StreamAggregate(Node, frozen=True, kw_only=True, eq=False):
    """count / reduce / aggregate / agg on a grouped stream, windowed or not."""

    fold: Fold
    window: WindowSpec | None
    store: StoreSpec
    emit: Literal["on_update", "on_close"] = "on_update"
    late_topic: str | None = None


class TableAggregate(Node, frozen=True, kw_only=True, eq=False):
    """count / reduce / aggregate on a grouped table: subtracts the old value, adds the new one."""

    fold: Fold
    store: StoreSpec


# --- joins ------------------------------------------------------------------------------------------------------------

JoinKind = Literal["inner", "left", "outer"]


class Combine(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """How a pair becomes a value.

    `fn(left, right)` (kind "values"), `fn(key, left, right)` (kind "key_values"), or named row-wise expressions over
    ``left.FIELD`` and ``right.FIELD`` (kind "expr", `columns`).
    """

    kind: Literal["values", "key_values", "expr"]
    fn: Any = None
    columns: tuple[tuple[str, Any], ...] = ()


class StreamStreamJoin(Node, frozen=True, kw_only=True, eq=False):
    """``stream.join(stream, window, grace=, combine=)`` and its left and outer forms.

    `name` is the KSTREAM-MERGE processor. `this_windowed_name` .. `other_join_name` are Kafka's further processors;
    `this_store`, `other_store` (and `outer_store` for left and outer joins) its store names.
    """

    kind: JoinKind
    window: JoinWindows
    combine: Combine
    this_windowed_name: str
    other_windowed_name: str
    this_join_name: str
    other_join_name: str
    this_store: str
    other_store: str
    outer_store: str | None


class StreamTableJoin(Node, frozen=True, kw_only=True, eq=False):
    """``stream.join(table)`` / ``left_join``: the stream's record looks the table up; inputs are (stream, table)."""

    kind: JoinKind
    combine: Combine


class StreamGlobalTableJoin(Node, frozen=True, kw_only=True, eq=False):
    """``stream.join(global_table, on=fn(key, value))`` / ``left_join``; inputs are (stream, global table)."""

    kind: JoinKind
    selector: Fn
    combine: Combine


class TableTableJoin(Node, frozen=True, kw_only=True, eq=False):
    """``table.join(table)`` and its left and outer forms. `name` is the KTABLE-MERGE processor."""

    kind: JoinKind
    combine: Combine
    store: StoreSpec | None  # only if named
    this_join_name: str
    other_join_name: str
