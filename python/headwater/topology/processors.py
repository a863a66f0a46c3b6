"""Kafka Streams' view of a topology: named sources, processors and sinks, with their stores, in sub-topologies.

One of our nodes is often several of Kafka's processors: a repartition is a filter, a sink and a source, a join of streams
five processors. `lower` takes the nodes apart; `SubTopology` are the groups that are connected by processors or by a store
that several use, numbered as Kafka numbers them (by the name of their first source).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

import msgspec

from headwater.topology import nodes as n

if TYPE_CHECKING:
    from headwater.topology.topology import Topology

Kind = Literal["source", "processor", "sink"]


class Processor(msgspec.Struct, kw_only=True, eq=False):
    """A source, processor or sink as Kafka Streams knows it.

    Attributes:
        name: Its name.
        kind: Which of the three.
        inputs: Names of its predecessors.
        topics: What a source reads or a sink writes.
        stores: Stores that it reads or writes.
        is_global: Whether it belongs to a global table.
        node: Our node that it is part of.
    """

    name: str
    kind: Kind
    inputs: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    stores: tuple[str, ...] = ()
    is_global: bool = False
    node: n.Node


class SubTopology(msgspec.Struct, kw_only=True, eq=False):
    """Processors that run together: one task for each partition.

    Attributes:
        id: Its number.
        is_global: Whether it is a global table's, which every application has once.
        processors: In the order of creation.
    """

    id: int
    is_global: bool
    processors: tuple[Processor, ...]


def lower(topology: Topology) -> list[Processor]:
    """Take nodes apart into processors, in the order in which Kafka Streams would add them.

    Args:
        topology: The topology.
    """
    result: list[Processor] = []
    outputs: dict[int, str] = {}
    readers: dict[frozenset[str], str] = {}

    def add(node: n.Node, kind: Kind, name: str, inputs: Iterable[str] = (), **fields: object) -> None:
        result.append(Processor(name=name, kind=kind, inputs=tuple(inputs), node=node, **fields))  # type: ignore[arg-type]
        outputs[node.id] = name

    def stores_of(table: n.Node) -> tuple[str, ...]:
        own = topology.materialized(table)
        if own is not None:
            return (own.name,)
        return tuple(dict.fromkeys(name for parent in table.inputs for name in stores_of(parent)))

    def own_store(node: n.Node) -> tuple[str, ...]:
        own = topology.materialized(node)
        return () if own is None else (own.name,)

    for node in topology.nodes:
        before = [outputs[parent.id] for parent in node.inputs]
        match node:
            case n.StreamSource():
                topics = frozenset(node.topics)
                if topics in readers:
                    outputs[node.id] = readers[topics]
                    continue
                readers[topics] = node.name
                add(node, "source", node.name, topics=node.topics)
            case n.TableSource() | n.GlobalTableSource():
                is_global = isinstance(node, n.GlobalTableSource)
                add(node, "source", node.source_name, topics=(node.topic,), is_global=is_global)
                add(node, "processor", node.name, [node.source_name], stores=own_store(node), is_global=is_global)
            case n.Sink():
                add(node, "sink", node.name, before, topics=(node.topic,))
            case n.Repartition():
                if node.filter_name is not None:
                    add(node, "processor", node.filter_name, before)
                    before = [node.filter_name]
                add(node, "sink", node.sink_name, before, topics=(node.topic,))
                add(node, "source", node.source_name, topics=(node.topic,))
            case n.StreamStreamJoin():
                outer = () if node.outer_store is None else (node.outer_store,)
                add(node, "processor", node.this_windowed_name, before[:1], stores=(node.this_store,))
                add(node, "processor", node.other_windowed_name, before[1:], stores=(node.other_store,))
                this, other = node.this_join_name, node.other_join_name
                add(node, "processor", this, [node.this_windowed_name], stores=(node.other_store, *outer))
                add(node, "processor", other, [node.other_windowed_name], stores=(node.this_store, *outer))
                add(node, "processor", node.name, [this, other])
            case n.StreamTableJoin():
                add(node, "processor", node.name, before[:1], stores=stores_of(node.inputs[1]))
            case n.StreamGlobalTableJoin():
                add(node, "processor", node.name, before[:1])
            case n.TableTableJoin():
                left, right = node.inputs
                add(node, "processor", node.this_join_name, before[:1], stores=stores_of(right))
                add(node, "processor", node.other_join_name, before[1:], stores=stores_of(left))
                add(node, "processor", node.name, [node.this_join_name, node.other_join_name], stores=own_store(node))
            case _:
                add(node, "processor", node.name, before, stores=own_store(node))
    return result


def sub_topologies(processors: list[Processor]) -> list[SubTopology]:
    """Group processors by what connects them.

    Args:
        processors: What `lower` made.
    """
    root = {processor.name: processor.name for processor in processors}

    def find(name: str) -> str:
        while root[name] != name:
            name = root[name]
        return name

    users: dict[str, str] = {}
    for processor in processors:
        for name in processor.inputs:
            root[find(processor.name)] = find(name)
        for store in processor.stores:
            root[find(processor.name)] = find(users.setdefault(store, processor.name))
    groups: dict[str, list[Processor]] = {}
    for source in sorted((p for p in processors if p.kind == "source"), key=lambda p: p.name):
        groups.setdefault(find(source.name), [])
    for processor in processors:
        groups[find(processor.name)].append(processor)
    return [
        SubTopology(id=number, is_global=members[0].is_global, processors=tuple(members))
        for number, members in enumerate(groups.values())
    ]
