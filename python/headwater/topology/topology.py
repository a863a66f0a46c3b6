"""A topology: its nodes, and what follows from them alone.

Which tables have a store, and which send their old values along, is decided as Kafka Streams does: node by node, in the
order of creation, when the topology is built. A table has a store if it is named, if a join looks it up or if something
needs its old values; a request for old values passes through tables without a store to the ones below.
"""

from __future__ import annotations

from collections.abc import Iterator

from headwater.topology import nodes as n
from headwater.topology.describe import describe
from headwater.topology.details import details
from headwater.topology.mermaid import mermaid


class Topology:
    """Frozen nodes in creation order, and questions about them.

    Attributes:
        nodes: All nodes; ``nodes[i].id == i``.
    """

    def __init__(self, nodes: tuple[n.Node, ...]) -> None:
        """Take the nodes and decide materialisation.

        Args:
            nodes: In creation order.
        """
        self.nodes = nodes
        self._children: dict[int, list[n.Node]] = {node.id: [] for node in nodes}
        self._stores: dict[int, n.StoreSpec] = {}
        self._sends_old: set[int] = set()
        for node in nodes:
            for parent in node.inputs:
                self._children[parent.id].append(node)
            self._materialize(node)

    # --- structure --------------------------------------------------------------------------------------------------

    def children(self, node: n.Node) -> list[n.Node]:
        """Who reads a node's output, in creation order; a self-join appears twice.

        Args:
            node: A node of this topology.
        """
        return self._children[node.id]

    @property
    def sources(self) -> list[n.Node]:
        """Streams and tables that read topics."""
        return [node for node in self.nodes if not node.inputs]

    def descendants(self, node: n.Node) -> Iterator[n.Node]:
        """Every node that a node feeds, directly or not.

        Args:
            node: A node of this topology.
        """
        seen: set[int] = set()
        waiting = list(self.children(node))
        while waiting:
            child = waiting.pop()
            if child.id not in seen:
                seen.add(child.id)
                yield child
                waiting += self.children(child)

    def sub_topologies(self) -> list[tuple[n.Node, ...]]:
        """The groups of nodes that are connected without a repartition topic; a repartition node ends one and starts one.

        Global tables belong to every group that reads them.
        """
        group = {node.id: node.id for node in self.nodes}

        def find(number: int) -> int:
            while group[number] != number:
                number = group[number]
            return number

        for node in self.nodes:
            for parent in node.inputs:
                if not isinstance(parent, n.Repartition | n.GlobalTableSource):
                    group[find(node.id)] = find(parent.id)
                elif isinstance(parent, n.Repartition):
                    # Readers of one repartition topic are one group; -1 - id stands for the topic's reading side.
                    key = -1 - parent.id
                    group.setdefault(key, key)
                    group[find(node.id)] = find(key)
        for node in self.nodes:
            if isinstance(node, n.StreamSource | n.TableSource):
                topics = node.topics if isinstance(node, n.StreamSource) else (node.topic,)
                for other in self.nodes[: node.id]:
                    if isinstance(other, n.StreamSource | n.TableSource):
                        known = other.topics if isinstance(other, n.StreamSource) else (other.topic,)
                        if set(known) & set(topics):
                            group[find(node.id)] = find(other.id)
        members: dict[int, set[int]] = {}
        for node in self.nodes:
            if isinstance(node, n.GlobalTableSource):
                for child in self.children(node):
                    members.setdefault(find(child.id), set()).add(node.id)
                continue
            members.setdefault(find(node.id), set()).add(node.id)
            if isinstance(node, n.Repartition) and self.children(node):
                members.setdefault(find(-1 - node.id), set()).add(node.id)
        ordered = sorted(members.values(), key=min)
        return [tuple(self.nodes[number] for number in sorted(group)) for group in ordered]

    # --- words ------------------------------------------------------------------------------------------------------

    def describe(self, *, verbose: bool = False) -> str:
        """The topology as text, exactly as Kafka Streams describes it.

        Args:
            verbose: Also say, node by node, what types, windows and stores it has.
        """
        text = describe(self)
        return f"{text}{details(self)}" if verbose else text

    def mermaid(self) -> str:
        """The topology as a Mermaid flowchart, for Markdown and notebooks."""
        return mermaid(self)

    # --- stores -----------------------------------------------------------------------------------------------------

    def materialized(self, node: n.Node) -> n.StoreSpec | None:
        """The store of a table, or None if it has none.

        Args:
            node: A table.
        """
        return self._stores.get(node.id)

    def sends_old(self, node: n.Node) -> bool:
        """Whether a table sends old values along with new ones.

        Args:
            node: A table.
        """
        return node.id in self._sends_old

    def keeps_null_keys(self, node: n.Repartition) -> bool:
        """Whether null keys pass a repartition topic: a join that wants them lies downstream.

        Args:
            node: A repartition.
        """
        return any(
            (isinstance(child, n.StreamStreamJoin) and child.kind != "inner")
            or (isinstance(child, n.StreamTableJoin | n.StreamGlobalTableJoin) and child.kind == "left")
            for child in self.descendants(node)
        )

    @property
    def store_names(self) -> list[str]:
        """Names of all stores that can be read, in creation order."""
        return [self._stores[number].name for number in sorted(self._stores)]

    def _materialize(self, node: n.Node) -> None:
        if isinstance(node, n.StreamAggregate | n.TableAggregate | n.GlobalTableSource):
            self._stores[node.id] = node.store
        elif isinstance(node, n.TableSource | n.ToTable):
            if node.store.is_named:
                self._stores[node.id] = node.store
        elif isinstance(node, n.TableFilter | n.TableMapValues | n.TableTableJoin) and node.store is not None:
            self._stores[node.id] = node.store
        match node:
            case n.TableFilter():
                # A filter asks without force: it gets old values where there are any.
                if self._ask_old(node.inputs[0], force=False):
                    self._sends_old.add(node.id)
            case n.TableGroupBy():
                self._ask_old(node.inputs[0], force=True)
            case n.StreamTableJoin():
                self._need_store(node.inputs[1])
            case n.TableTableJoin():
                left, right = node.inputs
                if node.kind != "inner":
                    self._ask_old(left, force=True)
                if node.kind == "outer":
                    self._ask_old(right, force=True)
                self._need_store(left)
                self._need_store(right)

    def _need_store(self, node: n.Node) -> None:
        if node.id in self._stores:
            return
        if isinstance(node, n.TableSource | n.ToTable):
            self._stores[node.id] = node.store
        else:
            for parent in node.inputs:
                self._need_store(parent)

    def _ask_old(self, node: n.Node, *, force: bool) -> bool:
        has_store = node.id in self._stores
        match node:
            case n.TableSource() | n.ToTable():
                if not has_store and not force:
                    return False
                self._need_store(node)
                answer = True
            case n.TableFilter() | n.TableMapValues():
                answer = has_store or self._ask_old(node.inputs[0], force=force) or node.id in self._sends_old
            case n.TableTableJoin():
                for side in node.inputs:
                    self._ask_old(side, force=True)
                answer = True
            case _:
                answer = True
        if answer:
            self._sends_old.add(node.id)
        return answer
