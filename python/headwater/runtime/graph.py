"""The physical graph of a task: sources, kernels and vector steps, and the levels at which they run.

Level 0 is the sources and whatever kernels they feed, odd levels are vector steps, even levels are kernels: all kernels
of a level form one segment. A vertex runs after everything that feeds it, and a kernel that reads a store runs no earlier
than the vertex that writes it (reads name their order key, so running later is harmless).
"""

from __future__ import annotations

from typing import Any, Literal

from headwater.topology import nodes as n

VertexKind = Literal["source", "kernel", "vector"]


class Vertex:
    """One place of the graph.

    Attributes:
        node: The topology's node that it belongs to.
        flows: The node whose serdes describe the rows that leave.
        kind: Source, kernel or vector step.
        children: (child, input of the child), in the order in which they were added.
        parents: Who feeds it.
        reads: Vertices that write stores which this one reads.
        late: Where late records go.
        level: When it runs.
    """

    def __init__(self, node: n.Node, kind: VertexKind) -> None:
        self.node = node
        self.flows = node
        self.kind: VertexKind = kind
        self.children: list[tuple[Vertex, int]] = []
        self.parents: list[Vertex] = []
        self.reads: list[Vertex] = []
        self.late: Vertex | None = None
        self.level = -1

    def connect(self, child: Vertex, port: int = 0) -> None:
        """Add a child.

        Args:
            child: Who gets the rows.
            port: Which of its inputs.
        """
        self.children.append((child, port))
        child.parents.append(self)


class Source(Vertex):
    """Where source records enter."""

    def __init__(self, node: n.Node) -> None:
        super().__init__(node, "source")


class Kernel(Vertex):
    """A kernel of a segment; `number` is its node there."""

    def __init__(self, node: n.Node, name: str, **parameters: Any) -> None:
        super().__init__(node, "kernel")
        self.name = name
        self.parameters = parameters
        self.number = -1
        self.flushes: list[tuple[int, int]] = []
        """(store, rank) of cached stores whose flushes this kernel forwards."""

    @property
    def writes(self) -> bool:
        """Whether it changes a store."""
        return self.name not in {"pass", "drop_null", "lookup"}


class Vector(Vertex):
    """A vector step."""

    def __init__(self, node: n.Node, step: Any) -> None:
        super().__init__(node, "vector")
        self.step = step


def assign_levels(vertices: list[Vertex]) -> int:
    """Give every vertex its level.

    Args:
        vertices: All of them, parents before children.

    Returns:
        The number of levels.
    """
    for vertex in vertices:
        level = 1 if vertex.kind == "vector" else 0
        for parent in [*vertex.parents, *vertex.reads]:
            # A kernel behind a kernel (or a source) may share its level; so may a vector step behind a vector step.
            step = 0 if (parent.kind == "vector") == (vertex.kind == "vector") else 1
            level = max(level, parent.level + step)
        vertex.level = level
    return 1 + max((vertex.level for vertex in vertices), default=-1)
