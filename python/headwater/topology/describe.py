"""``Topology.describe()``: Kafka Streams' text, character for character, so that tools that read it work here too.

The order of processors in a sub-topology is by the number of processors below them, then by name; that of neighbours is
explained in `headwater.topology.ordering`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from headwater.topology.ordering import SizeTree, hashed
from headwater.topology.processors import Processor, SubTopology, lower, sub_topologies

if TYPE_CHECKING:
    from headwater.topology.topology import Topology


def describe(topology: Topology) -> str:
    """The topology in Kafka Streams' words.

    Args:
        topology: The topology.
    """
    text = "Topologies:\n "
    for group in sub_topologies(lower(topology)):
        text += "  " + (_global_store(group) if group.is_global else _sub_topology(group))
    return text


class _Sized:
    """A processor with what is being counted about it."""

    def __init__(self, processor: Processor) -> None:
        self.processor = processor
        self.name = processor.name
        self.size = 1
        self.inputs = SizeTree()
        self.outputs = SizeTree()

    def grow(self, by: int) -> None:
        self.size += by
        for before in self.inputs:
            before.grow(by)  # type: ignore[attr-defined]


def _sub_topology(group: SubTopology) -> str:
    sized = {processor.name: _Sized(processor) for processor in group.processors}
    for name in hashed(sized):
        node = sized[name]
        for input_name in node.processor.inputs:
            before = sized[input_name]
            node.inputs.add(before)
            before.outputs.add(node)
            before.grow(node.size)
    lines = [f"Sub-topology: {group.id}"]
    for node in sorted(sized.values(), key=lambda node: (-node.size, node.name)):
        lines += _lines(node.processor, (p.name for p in node.inputs), (p.name for p in node.outputs))
    return "\n".join(lines) + "\n\n"


def _global_store(group: SubTopology) -> str:
    source, table = group.processors
    lines = [f"Sub-topology: {group.id} for global store (will not generate tasks)"]
    lines += _lines(source, (), [table.name])
    lines += _lines(table, [source.name], ())
    return "\n".join(lines) + "\n"


def _lines(processor: Processor, inputs: Iterable[str], outputs: Iterable[str]) -> list[str]:
    match processor.kind:
        case "source":
            head = f"Source: {processor.name} (topics: {_names(processor.topics)})"
        case "sink":
            head = f"Sink: {processor.name} (topic: {processor.topics[0]})"
        case _:
            head = f"Processor: {processor.name} (stores: {_names(processor.stores)})"
    lines = [f"    {head}"]
    if processor.kind != "sink":
        lines.append(f"      --> {', '.join(outputs) or 'none'}")
    if processor.kind != "source":
        lines.append(f"      <-- {', '.join(inputs) or 'none'}")
    return lines


def _names(names: Iterable[str]) -> str:
    return f"[{', '.join(hashed(names))}]"
