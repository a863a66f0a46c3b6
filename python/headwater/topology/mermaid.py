"""``Topology.mermaid()``: a flowchart that GitHub, notebooks and documentation sites draw.

One box for each DSL operation (not for each of Kafka Streams' processors), one frame for each sub-topology. Topics lie
between the frames, repartition topics too, and a topic that is both written and read is drawn once. Stores hang on what
owns them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headwater.topology import nodes as n
from headwater.topology.processors import lower, sub_topologies
from headwater.topology.words import operation, window

if TYPE_CHECKING:
    from headwater.topology.topology import Topology


def mermaid(topology: Topology) -> str:
    """The topology as a Mermaid flowchart.

    Args:
        topology: The topology.
    """
    return _Chart(topology).draw()


class _Chart:
    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.topics: dict[str, str] = {}
        self.arrows: list[str] = []

    def draw(self) -> str:
        frames: list[str] = []
        seen: set[int] = set()
        for group in sub_topologies(lower(self.topology)):
            title = "global table" if group.is_global else f"sub-topology {group.id}"
            boxes: list[str] = []
            for processor in group.processors:
                if processor.node.id not in seen:
                    seen.add(processor.node.id)
                    boxes += self.box(processor.node)
            if boxes:
                frames += [f'  subgraph sub{group.id}["{title}"]', *boxes, "  end"]
        for node in self.topology.nodes:
            if isinstance(node, n.StreamSource):  # streams of one topic are one processor
                self.name(node)
            self.connect(node)
        shapes = [f'  {name}[/"{_escape(topic)}"/]' for topic, name in self.topics.items()]
        return "\n".join(["flowchart TD", *shapes, *frames, *self.arrows]) + "\n"

    def topic(self, name: str) -> str:
        return self.topics.setdefault(name, f"topic{len(self.topics)}")

    def name(self, node: n.Node) -> list[str]:
        """What an arrow from this node starts at."""
        match node:
            case n.StreamSource():
                return [self.topic(topic) for topic in node.topics]
            case n.Repartition() | n.Sink():
                return [self.topic(node.topic)]
        return [f"node{node.id}"]

    def box(self, node: n.Node) -> list[str]:
        if isinstance(node, n.StreamSource | n.Repartition | n.Sink):
            return []
        words = [operation(node)]
        spec = getattr(node, "window", None)
        if spec is not None:
            words.append(window(spec))
        words.append(f"<small>{_escape(node.name)}</small>")
        lines = [f'    node{node.id}["{"<br/>".join(words)}"]']
        for number, store in enumerate(self.stores(node)):
            lines.append(f'    store{node.id}_{number}[("{_escape(store)}")]')
            self.arrows.append(f"  node{node.id} -.- store{node.id}_{number}")
        return lines

    def stores(self, node: n.Node) -> list[str]:
        if isinstance(node, n.StreamStreamJoin):
            return [store for store in (node.this_store, node.other_store, node.outer_store) if store is not None]
        spec = self.topology.materialized(node)
        return [] if spec is None else [spec.name]

    def connect(self, node: n.Node) -> None:
        target = self.name(node)[0]
        if isinstance(node, n.TableSource | n.GlobalTableSource):
            self.arrows.append(f"  {self.topic(node.topic)} --> {target}")
        for parent in node.inputs:
            self.arrows += [f"  {start} --> {target}" for start in self.name(parent)]


def _escape(text: str) -> str:
    return text.replace('"', "#quot;")
