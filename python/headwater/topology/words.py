"""Short words for what nodes do, shared by the detailed description and the chart."""

from __future__ import annotations

from headwater.topology import nodes as n

_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))

_VERBS: dict[type[n.Node], str] = {
    n.Map: "map",
    n.MapValues: "map_values",
    n.FlatMap: "flat_map",
    n.FlatMapValues: "flat_map_values",
    n.SelectKey: "select_key",
    n.Peek: "peek",
    n.Split: "split",
    n.Merge: "merge",
    n.Repartition: "repartition",
    n.ToTable: "to_table",
    n.ToStream: "to_stream",
    n.TableMapValues: "map_values",
    n.TableGroupBy: "group_by",
}

_FOLDS: dict[type[n.Fold], str] = {n.Count: "count", n.Reduce: "reduce", n.Aggregate: "aggregate", n.Agg: "agg"}


def duration(milliseconds: int) -> str:
    """A duration as users write it: ``1m30s``.

    Args:
        milliseconds: Its length.
    """
    sign, rest = ("-", -milliseconds) if milliseconds < 0 else ("", milliseconds)
    parts = []
    for unit, size in _UNITS:
        if rest >= size:
            parts.append(f"{rest // size}{unit}")
            rest %= size
    return sign + ("".join(parts) or "0s")


def window(spec: n.WindowSpec | n.JoinWindows) -> str:
    """Windows in words.

    Args:
        spec: The windows.
    """
    match spec:
        case n.TimeWindows() if spec.size_ms == spec.advance_ms:
            return f"tumbling {duration(spec.size_ms)}, grace {duration(spec.grace_ms)}"
        case n.TimeWindows():
            size, advance = duration(spec.size_ms), duration(spec.advance_ms)
            return f"hopping {size} by {advance}, grace {duration(spec.grace_ms)}"
        case n.SessionWindows():
            return f"sessions, gap {duration(spec.gap_ms)}, grace {duration(spec.grace_ms)}"
        case n.SlidingWindows():
            return f"sliding {duration(spec.difference_ms)}, grace {duration(spec.grace_ms)}"
        case n.UnlimitedWindows():
            return f"unlimited from {spec.start_ms}"
        case n.JoinWindows():
            before, after = duration(spec.before_ms), duration(spec.after_ms)
            return f"{before} before, {after} after, grace {duration(spec.grace_ms)}"


def operation(node: n.Node) -> str:
    """The DSL's word for a node.

    Args:
        node: The node.
    """
    match node:
        case n.StreamSource():
            return f"stream {', '.join(node.topics)}"
        case n.TableSource():
            return f"table {node.topic}"
        case n.GlobalTableSource():
            return f"global_table {node.topic}"
        case n.Sink():
            return f"to {node.topic}"
        case n.Filter() | n.TableFilter():
            return "filter_not" if node.negate else "filter"
        case n.Select():
            return "with_columns" if node.keep else "select"
        case n.Branch():
            return _branch(node)
        case n.StreamAggregate() | n.TableAggregate():
            return _FOLDS[type(node.fold)]
        case n.StreamStreamJoin() | n.StreamTableJoin() | n.StreamGlobalTableJoin() | n.TableTableJoin():
            return "join" if node.kind == "inner" else f"{node.kind}_join"
    return _VERBS.get(type(node), type(node).__name__)


def _branch(node: n.Branch) -> str:
    split = node.inputs[0]
    is_default = isinstance(split, n.Split) and node.index == len(split.predicates)
    return "default branch" if is_default else f"branch {node.index + 1}"
