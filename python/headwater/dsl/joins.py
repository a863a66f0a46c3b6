"""How the three joins of a stream become nodes, with Kafka Streams' names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headwater.dsl import functions as f
from headwater.dsl.streams import Stream, check_graph, check_keys, grace_ms
from headwater.dsl.tables import GlobalTable, Table
from headwater.dsl.windows import JoinWindow
from headwater.errors import TopologyError
from headwater.serdes import Serde
from headwater.time import Duration
from headwater.topology import nodes as n

if TYPE_CHECKING:
    from headwater.dsl.graph import Graph


def _result(graph: Graph, combine: n.Combine, left: n.Node, right: n.Node, value: Any, where: str) -> Serde[Any]:
    if combine.kind == "expr":
        return graph.expressions.combined(left.value, right.value, combine.columns)
    return f.returned(combine.fn, value)


def join(
    left: Stream[Any, Any], kind: n.JoinKind, other: Any, window: JoinWindow | None, options: dict[str, Any]
) -> Stream[Any, Any]:
    """Join a stream with whatever it is joined with.

    Args:
        left: The stream that the method was called on.
        kind: Which join.
        other: A stream, table or global table.
        window: Bounds, for streams.
        options: The method's keyword arguments.

    Raises:
        TopologyError: An option that this join does not have, or lacks.
    """
    where = "join" if kind == "inner" else f"{kind}_join"
    if not isinstance(other, Stream | Table | GlobalTable):
        raise TopologyError(f"expected a Stream, a Table or a GlobalTable, got {other!r} - at {where}")
    check_graph(left, other, where)
    sort = type(other).__name__
    if kind == "outer" and not isinstance(other, Stream):
        raise TopologyError(f"expected a Stream, got {other!r} - at {where}; a {sort} has join and left_join")
    allowed = {"combine", "with_key", "value", "name"}
    allowed |= {"grace", "store"} if isinstance(other, Stream) else {"on"} if isinstance(other, GlobalTable) else set()
    if window is not None and not isinstance(other, Stream):
        raise TopologyError(f"expected no window for a {sort}, got {window!r} - at {where}; leave it out")
    for option in sorted(set(options) - allowed):
        raise TopologyError(
            f"expected {', '.join(sorted(allowed))} for a {sort}, got {option}= - at {where}; leave it out"
        )
    if "combine" not in options:
        raise TopologyError(
            f"expected combine=, a callable (left, right) or a dict of expressions, got none - at {where}"
        )
    if isinstance(other, Stream):
        return join_stream(left, other, kind, window, where, **options)
    if isinstance(other, GlobalTable):
        return join_global_table(left, other, kind, where, **options)
    return join_table(left, other, kind, where, **options)


def join_stream(
    left: Stream[Any, Any], right: Stream[Any, Any], kind: n.JoinKind, window: JoinWindow | None, where: str, *,
    grace: Duration | None = None, combine: Any, with_key: bool = False, value: Any = None, name: str | None = None,
    store: str | None = None,
) -> Stream[Any, Any]:  # fmt: skip
    """Join two streams.

    Args:
        left: The stream that the method was called on.
        right: Its argument.
        kind: Which join.
        window: Bounds.
        where: The method, for messages.
        grace: How long after its window a record is still joined.
        combine: The joiner.
        with_key: Whether it takes the key.
        value: Serde or type of the result.
        name: Stable name.
        store: Base name of the stores.
    """
    if not isinstance(window, JoinWindow):
        raise TopologyError(f'expected JoinWindow("10m") or the like, got {window!r} - at {where}')
    if grace is None:
        raise TopologyError(f'expected grace= for a join of streams, got none - at {where}; "0s" admits no late record')
    graph, names = left._graph, left._graph.names
    check_keys(left.node.key, right.node.key, where)
    joiner = f.combine_of(combine, where, with_key=with_key)
    mine = left._for_join(None if name is None else f"{name}-left")
    theirs = right._for_join(None if name is None else f"{name}-right")
    is_left, is_outer = kind != "inner", kind == "outer"
    this_suffix = "-outer-this-join" if is_outer else "-this-join"
    other_suffix = "-outer-other-join" if is_left else "-other-join"
    this_windowed = names.suffixed_or_processor(name, "-this-windowed", "KSTREAM-WINDOWED-")
    other_windowed = names.suffixed_or_processor(name, "-other-windowed", "KSTREAM-WINDOWED-")
    this_generated = names.processor("KSTREAM-OUTERTHIS-" if is_outer else "KSTREAM-JOINTHIS-")
    other_generated = names.processor("KSTREAM-OUTEROTHER-" if is_left else "KSTREAM-JOINOTHER-")
    merge = names.suffixed_or_processor(name, "-merge", "KSTREAM-MERGE-")
    shared = "KSTREAM-OUTERSHARED-" + this_generated[-10:]
    if store is not None:
        shared = store + ("-outer-shared-join" if is_outer else "-left-shared-join")
    node = graph.add(
        n.StreamStreamJoin,
        name=merge,
        inputs=(mine, theirs),
        key=left.node.key,
        value=_result(graph, joiner, mine, theirs, value, where),
        kind=kind,
        window=n.JoinWindows(before_ms=window.before_ms, after_ms=window.after_ms, grace_ms=grace_ms(grace, where)),
        combine=joiner,
        this_windowed_name=this_windowed,
        other_windowed_name=other_windowed,
        this_join_name=this_generated if name is None else name + this_suffix,
        other_join_name=other_generated if name is None else name + other_suffix,
        this_store=(this_generated if store is None else store + this_suffix) + "-store",
        other_store=(other_generated if store is None else store + other_suffix) + "-store",
        outer_store=f"{shared}-store" if is_left else None,
    )
    return Stream(graph, node)


def join_table(
    left: Stream[Any, Any], right: Table[Any, Any], kind: n.JoinKind, where: str, *, combine: Any,
    with_key: bool = False, value: Any = None, name: str | None = None,
) -> Stream[Any, Any]:  # fmt: skip
    """Join a stream with a table.

    Args:
        left: The stream.
        right: The table.
        kind: Which join.
        where: The method, for messages.
        combine: The joiner.
        with_key: Whether it takes the key.
        value: Serde or type of the result.
        name: Stable name.
    """
    graph = left._graph
    check_keys(left.node.key, right.node.key, where)
    joiner = f.combine_of(combine, where, with_key=with_key)
    mine = left._for_join(name)
    prefix = "KSTREAM-JOIN-" if kind == "inner" else "KSTREAM-LEFTJOIN-"
    node = graph.add(
        n.StreamTableJoin,
        name=graph.names.given_or_processor(name, prefix),
        inputs=(mine, right.node),
        key=left.node.key,
        value=_result(graph, joiner, mine, right.node, value, where),
        kind=kind,
        combine=joiner,
    )
    return Stream(graph, node)


def join_global_table(
    left: Stream[Any, Any], right: GlobalTable[Any, Any], kind: n.JoinKind, where: str, *, combine: Any, on: Any = None,
    with_key: bool = False, value: Any = None, name: str | None = None,
) -> Stream[Any, Any]:  # fmt: skip
    """Join a stream with a global table.

    Args:
        left: The stream.
        right: The global table.
        kind: Which join.
        where: The method, for messages.
        combine: The joiner.
        on: The key to look up, of (key, value).
        with_key: Whether the joiner takes the key.
        value: Serde or type of the result.
        name: Stable name.
    """
    if on is None:
        raise TopologyError(f"expected on=fn(key, value) for a global table, got none - at {where}")
    graph = left._graph
    joiner = f.combine_of(combine, where, with_key=with_key)
    node = graph.add(
        n.StreamGlobalTableJoin,
        name=graph.names.given_or_processor(name, "KSTREAM-LEFTJOIN-"),  # Kafka Streams' prefix for inner ones too
        inputs=(left.node, right.node),
        key=left.node.key,
        value=_result(graph, joiner, left.node, right.node, value, where),
        kind=kind,
        selector=f.callable_fn(on, f"{where}(on=)"),
        combine=joiner,
    )
    return Stream(graph, node, repartitions=left._repartitions)
