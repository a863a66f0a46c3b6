"""A recorded topology, built through the public DSL as a user would write it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

import headwater as hw
from tests.conformance import vocabulary as w

TYPES: dict[str, Any] = {"S": str, "L": int}
KINDS = {"join": "join", "leftJoin": "left_join", "outerJoin": "outer_join"}


class Built(msgspec.Struct):
    """What nodes of a topology are called here and there.

    Attributes:
        streams: Node id to stream, table or grouping.
        peeks: Name of a peek node to its id.
    """

    streams: dict[str, Any]
    peeks: dict[str, str]


def build(spec: dict[str, Any], app: hw.StreamsBuilder) -> Built:
    """Build a topology.

    Args:
        spec: The topology as recorded.
        app: Where to build it.
    """
    built = Built(streams={}, peeks={})
    values: dict[str, Any] = {}
    """Value types, since the recorded functions do not say what they return."""
    on_error = "skip" if spec.get("config", {}).get("deserialization") == "continue" else "raise"
    for node in spec["nodes"]:
        op, number = node["op"], node["id"]
        named = {"name": node["name"]} if "name" in node else {}
        stored = named | ({"store": node["store"]} if "store" in node else {})
        if "retention" in node:
            stored["retention"] = f"{node['retention']}ms"
        if "left" in node:
            built.streams[number] = _join(node, built.streams[node["left"]], built.streams[node["right"]], stored)
            values[number] = str
            continue
        match op:
            case "stream":
                topics = node.get("topics") or [node["topic"]]
                value = TYPES[node.get("value", "S")]
                made: Any = app.stream(*topics, key=str, value=value, on_error=on_error, **named)
            case "table":
                value = TYPES[node.get("value", "S")]
                made = app.table(node["topic"], key=str, value=value, on_error=on_error, **stored)
            case "globalTable":
                value = TYPES[node.get("value", "S")]
                made = app.global_table(node["topic"], key=str, value=value, **stored)
            case "merge":
                left, right = (built.streams[name] for name in node["in"])
                value = values[node["in"][0]]
                made = left.merge(right, **named)
            case "split":
                source, value = built.streams[node["in"]], values[node["in"]]
                predicates = [w.function(w.PREDICATES, branch["fn"]) for branch in node["branches"]]
                branches = source.split(*predicates, default=bool(node.get("default")), **named)
                names = [branch["id"] for branch in node["branches"]] + [node["default"]] * bool(node.get("default"))
                for name, branch in zip(names, branches, strict=True):
                    built.streams[name], values[name] = branch, value
                continue
            case _:
                source = built.streams[node["in"]]
                made, value = _operator(node, source, values[node["in"]], named, stored)
                if op == "peek":
                    built.peeks[made.node.name] = f"#{number}"
        built.streams[number], values[number] = made, value
    return built


def _operator(
    node: dict[str, Any], source: Any, value: Any, named: dict[str, Any], stored: dict[str, Any]
) -> tuple[Any, Any]:
    """The node's stream or table, and the type of its values."""

    def fn(kind: dict[str, Callable[[str], w.Function]], key: str = "fn") -> w.Function:
        return w.function(kind, node[key])

    match node["op"]:
        case "to":
            return source.to(node["topic"], **named), None
        case "filter":
            return source.filter(fn(w.PREDICATES), **stored), value
        case "filterNot":
            return source.filter_not(fn(w.PREDICATES), **stored), value
        case "mapValues":
            after = value if node["fn"] == "identity" else str
            return source.map_values(fn(w.VALUE_MAPPERS), with_key=True, value=after, **stored), after
        case "map":
            return source.map(fn(w.MAPPERS), key=str, value=str, **named), str
        case "flatMap":
            return source.flat_map(fn(w.FLAT_MAPPERS), key=str, value=str, **named), str
        case "flatMapValues":
            return source.flat_map_values(fn(w.FLAT_VALUE_MAPPERS), value=str, **named), str
        case "selectKey":
            return source.select_key(fn(w.KEY_SELECTORS), key=str, **named), value
        case "peek":
            return source.peek(lambda key, value: None, **named), value
        case "repartition":
            return source.repartition(**named), value
        case "toTable":
            return source.to_table(**stored), value
        case "toStream" if "fn" in node:
            return source.to_stream(fn(w.KEY_SELECTORS), key=str, **named), value
        case "toStream":
            return source.to_stream(**named), value
        case "groupByKey":
            return source.group_by_key(**named), value
        case "groupBy" if isinstance(source, hw.Table):
            select, change = fn(w.KEY_SELECTORS), w.function(w.VALUE_MAPPERS, node.get("valFn", "identity"))
            after = value if node.get("valFn", "identity") == "identity" else str
            return source.group_by(lambda k, v: (select(k, v), change(k, v)), key=str, value=after, **named), after
        case "groupBy":
            return source.group_by(fn(w.KEY_SELECTORS), key=str, **named), value
        case "windowedBy":
            return source.windowed_by(_window(node["window"])), value
        case "count":
            return source.count(**stored), int
        case "reduce":
            more = [fn(w.REDUCERS, "sub")] if "sub" in node else []
            return source.reduce(fn(w.REDUCERS), *more, **stored), value
        case "aggregate":
            more = [fn(w.AGGREGATORS, "sub")] if "sub" in node else []
            merger = {}
            if isinstance(source, hw.WindowedStream) and source.is_session:
                merger = {"merger": w.function(w.MERGERS, node.get("merger", "amp"))}
            initial = node.get("init", "0")
            return source.aggregate(lambda: initial, fn(w.AGGREGATORS), *more, value=str, **merger, **stored), str
    raise NotImplementedError(node["op"])


def _join(node: dict[str, Any], left: Any, right: Any, stored: dict[str, Any]) -> Any:
    join = getattr(left, KINDS[node["op"]])
    options = {"combine": w.function(w.JOINERS, node["fn"]), "with_key": True, "value": str, **stored}
    if isinstance(right, hw.GlobalTable):
        return join(right, on=w.function(w.KEY_SELECTORS, node["keyFn"]), **options)
    if isinstance(right, hw.Table):
        return join(right, **options)
    window = node["window"]
    bounds = hw.JoinWindow(before=f"{window['before']}ms", after=f"{window['after']}ms")
    return join(right, bounds, grace=f"{window['grace']}ms", **options)


def _window(window: dict[str, Any]) -> Any:
    grace = f"{window['grace']}ms"
    match window["type"]:
        case "tumbling":
            return hw.TumblingWindow(f"{window['size']}ms", grace=grace)
        case "hopping":
            return hw.HoppingWindow(f"{window['size']}ms", advance=f"{window['advance']}ms", grace=grace)
        case "session":
            return hw.SessionWindow(gap=f"{window['gap']}ms", grace=grace)
    raise NotImplementedError(window["type"])
