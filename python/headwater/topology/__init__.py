"""Topologies as data: the nodes, what follows from them, and their description in Kafka Streams' words."""

from headwater.topology.topology import Topology

__all__ = ["Topology"]
