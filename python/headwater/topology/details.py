"""What ``Topology.describe(verbose=True)`` adds to Kafka Streams' text: types, windows, stores and what follows from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headwater.topology import nodes as n
from headwater.topology.words import operation, window

if TYPE_CHECKING:
    from headwater.topology.topology import Topology


def details(topology: Topology) -> str:
    """A line for each node, and where batches are limited.

    Args:
        topology: The topology.
    """
    lines = ["Nodes:"]
    lines += [f"   {node.name}: {'; '.join(_facts(topology, node))}" for node in topology.nodes]
    # Nodes write stores of their own and read only those of nodes before them, so nothing forces single records.
    lines += ["", "Places that process record by record instead of in batches: none"]
    return "\n".join(lines) + "\n"


def _facts(topology: Topology, node: n.Node) -> list[str]:
    facts = [operation(node), f"{node.key.name} -> {node.value.name}"]
    spec = getattr(node, "window", None)
    if spec is not None:
        facts.append(window(spec))
    if isinstance(node, n.StreamAggregate) and node.late_topic is not None:
        facts.append(f"late records to {node.late_topic}")
    store = topology.materialized(node)
    if store is not None:
        facts.append(f"store {store.name}")
    if isinstance(node, n.StreamStreamJoin):
        stores = [name for name in (node.this_store, node.other_store, node.outer_store) if name is not None]
        facts.append(f"stores {', '.join(stores)}")
    if topology.sends_old(node):
        facts.append("sends old values along")
    if isinstance(node, n.Repartition):
        facts.append(f"topic {node.topic}")
        facts.append("null keys pass" if topology.keeps_null_keys(node) else "null keys end here")
    return facts
