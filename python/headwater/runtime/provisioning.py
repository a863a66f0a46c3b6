"""The topics that an application needs beside its sources: made before its tasks are.

Repartition topics and changelogs are called ``<application>-...``; sinks are called what they are called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headwater.errors import TopologyChangedError, TopologyError
from headwater.topology import nodes as n

if TYPE_CHECKING:
    from headwater.log import Broker
    from headwater.topology import Topology

Nodes = tuple[n.Node, ...]
"""A sub-topology."""


def repartition_topics(app_id: str, topology: Topology) -> dict[str, str]:
    """What the topology's repartition topics are called in the broker.

    Args:
        app_id: The application's id.
        topology: Its topology.
    """
    return {node.topic: f"{app_id}-{node.topic}" for node in topology.nodes if isinstance(node, n.Repartition)}


def prepare_topics(broker: Broker, app_id: str, topology: Topology) -> dict[int, int]:
    """Make what is missing; returns how many tasks each sub-topology has, those of global tables left out.

    How many partitions a repartition topic has depends on who writes it: so writers come before readers, whatever their
    numbers. Where each of several waits for the others, the first one is looked at again when all topics are there.

    Args:
        broker: Where the topics are.
        app_id: The application's id.
        topology: Its topology.

    Raises:
        UnknownTopicError: A source topic does not exist.
        TopologyError: Topics of one join have different numbers of partitions, or a topic of the application's own is set
            up to forget records.
        TopologyChangedError: A topic of the application's own has another number of partitions than tasks need.
    """
    provisioning = _Provisioning(broker, app_id, topology)
    waiting = {
        number: nodes
        for number, nodes in enumerate(topology.sub_topologies())
        if not all(isinstance(node, n.GlobalTableSource) for node in nodes)
    }
    widths: dict[int, int] = {}
    again: dict[int, Nodes] = {}
    while waiting:
        ready = [number for number, nodes in waiting.items() if provisioning.is_ready(nodes)]
        number = min(ready or waiting)
        nodes = waiting.pop(number)
        if not ready:
            again[number] = nodes
        widths[number] = provisioning.prepare(nodes)
    return widths | {number: provisioning.prepare(nodes) for number, nodes in again.items()}


class _Provisioning:
    def __init__(self, broker: Broker, app_id: str, topology: Topology) -> None:
        self.broker = broker
        self.app_id = app_id
        self.topology = topology
        self.names = repartition_topics(app_id, topology)
        self.known = set(broker.topics())
        self.made: set[str] = set()

    def is_ready(self, nodes: Nodes) -> bool:
        """Whether every topic is there that another sub-topology writes for this one."""
        return all(name in self.known for name in self.read_here(nodes))

    def read_here(self, nodes: Nodes) -> list[str]:
        """The repartition topics that a sub-topology reads and another one writes."""
        members = {node.id for node in nodes}
        repartitions = [node for node in nodes if isinstance(node, n.Repartition)]
        return [self.names[node.topic] for node in repartitions if node.inputs[0].id not in members]

    def prepare(self, nodes: Nodes) -> int:
        """Make the topics that a sub-topology writes; returns how many tasks it has."""
        self.known = set(self.broker.topics())  # others may make topics, too
        width = self.width(nodes)
        members = {node.id for node in nodes}
        for node in nodes:
            if isinstance(node, n.Repartition) and node.inputs[0].id in members:
                self.ensure_own(self.names[node.topic], node.partitions or width)
            elif isinstance(node, n.Sink):
                self.ensure_output(node.topic, width, node.inputs[0])
            elif isinstance(node, n.StreamSource | n.TableSource) and str(node.on_error).startswith("topic:"):
                self.ensure(str(node.on_error).removeprefix("topic:"), width)
            elif isinstance(node, n.StreamStreamJoin):
                self.ensure_own(f"{self.app_id}-{node.this_store.removesuffix('-store')}-changelog", width)
            elif isinstance(node, n.StreamAggregate) and node.late_topic is not None:
                self.ensure_output(node.late_topic, width, node.inputs[0])
            store = self.topology.materialized(node)
            if store is not None and store.logging and not isinstance(node, n.GlobalTableSource):
                self.ensure_own(f"{self.app_id}-{store.name}-changelog", width)
        return width

    def width(self, nodes: Nodes) -> int:
        """How many tasks a sub-topology has: as many as its widest topic has partitions."""
        counts = {name: self.partitions(name) for name in self.read_here(nodes) if name in self.known}
        for node in nodes:
            if isinstance(node, n.StreamSource | n.TableSource):
                topics = node.topics if isinstance(node, n.StreamSource) else (node.topic,)
                counts.update({topic: self.partitions(topic) for topic in topics})
            elif isinstance(node, n.GlobalTableSource):
                self.broker.topic(node.topic)  # it must be there; its partitions are read by every task
        joined = [node for node in nodes if isinstance(node, n.StreamStreamJoin | n.StreamTableJoin | n.TableTableJoin)]
        if joined and len(set(counts.values())) > 1:
            shown = ", ".join(f"'{topic}' has {count}" for topic, count in sorted(counts.items()))
            raise TopologyError(
                f"expected topics of one join to have as many partitions each, got {shown} - at {joined[0].name}; "
                "put .repartition(partitions=...) in front of one"
            )
        return max(counts.values(), default=1)

    def partitions(self, topic: str) -> int:
        """How many a topic has."""
        return self.broker.topic(topic).partitions

    def ensure(self, name: str, partitions: int) -> None:
        """Make a topic unless it is there."""
        if name not in self.known:
            self.broker.create_topic(name, partitions=partitions)
            self.known.add(name)
            self.made.add(name)

    def ensure_own(self, name: str, partitions: int) -> None:
        """Make a topic of the application's own, or see that the one that is there keeps what it is given."""
        self.ensure(name, partitions)
        if name in self.made:
            return
        found = self.broker.topic(name)
        if found.partitions != partitions:
            raise TopologyChangedError(
                f"expected {partitions} partitions, got {found.partitions} - at topic '{name}' of application "
                f"'{self.app_id}'; call app.reset() to start over, or choose another application id",
                topic=name,
            )
        for setting, kept in (("cleanup.policy", "delete"), ("retention.ms", "-1"), ("retention.bytes", "-1")):
            if (got := found.config.get(setting, kept)) != kept:
                raise TopologyError(
                    f"expected {setting}={kept}, got {got} - at topic '{name}' of application '{self.app_id}', which "
                    "would lose state; take the setting back",
                    topic=name,
                )

    def ensure_output(self, name: str, partitions: int, written: n.Node) -> None:
        """Make a topic that users read, and remember how."""
        self.ensure(name, partitions)
        self.broker.remember_serdes(name, key=written.key, value=written.value)
