"""The nodes of a topology while it is being built: what streams and tables add to, and where names are given."""

from __future__ import annotations

from typing import Any, TypeVar

from headwater.dsl.functions import ExpressionTypes
from headwater.dsl.names import GENERATED_REPARTITION, Names
from headwater.errors import TopologyError
from headwater.serdes import Serde
from headwater.topics import check_topic_name
from headwater.topology import Topology
from headwater.topology import nodes as n

N = TypeVar("N", bound=n.Node)


class Graph:
    """Nodes in the order of their creation, with the names that are taken.

    Attributes:
        names: Gives names as Kafka Streams does.
        expressions: Types polars expressions.
    """

    def __init__(self, expressions: ExpressionTypes) -> None:
        """Start empty.

        Args:
            expressions: Types polars expressions.
        """
        self.names = Names()
        self.expressions = expressions
        self._nodes: list[n.Node] = []
        self._stores: set[str] = set()
        self._sources: dict[str, tuple[str, frozenset[str]]] = {}
        self._topology: Topology | None = None

    def claim(self, topics: tuple[str, ...], kind: str) -> None:
        """Refuse a topic that is read in another way already; streams of the same topics share one source.

        Args:
            topics: What the new source reads.
            kind: The method that makes it.

        Raises:
            TopologyError: One of them is taken.
        """
        mine = (kind, frozenset(topics))
        for topic in topics:
            known = self._sources.setdefault(topic, mine)
            if known != mine or (kind != "stream" and known is not mine):
                others = ", ".join(sorted(known[1]))
                raise TopologyError(
                    f"expected topic '{topic}' to be read in one way, got {kind} and {known[0]} ({others}) - at "
                    f"{kind}('{topic}'); read it once and go on from there (to_table, to_stream)",
                    topic=topic,
                )

    def streams_of(self, topics: tuple[str, ...]) -> list[n.StreamSource]:
        """The streams of these very topics that there are.

        Args:
            topics: Names of topics.
        """
        sources = [node for node in self._nodes if isinstance(node, n.StreamSource)]
        return [source for source in sources if set(source.topics) == set(topics)]

    def add(self, kind: type[N], /, **fields: Any) -> N:
        """Add a node.

        Args:
            kind: Its class.
            **fields: Its fields but `id`.
        """
        node = kind(id=len(self._nodes), **fields)
        self._nodes.append(node)
        self._topology = None
        return node

    def store(
        self, name: str | None, prefix: str, kind: str = "key_value", retention_ms: int | None = None
    ) -> n.StoreSpec:
        """A store, with a generated name if the user gave none.

        Args:
            name: What the user gave.
            prefix: What a generated name starts with.
            kind: Its layout.
            retention_ms: How long windows are kept, if the user said.

        Raises:
            TopologyError: The name is taken by another store.
        """
        given = name
        if name is None:
            name = self.names.store(prefix)
        elif name in self._stores:
            raise TopologyError(
                f"expected a name of its own for every store, got '{name}' twice - at store=; rename one"
            )
        check_topic_name(name)
        self._stores.add(name)
        return n.StoreSpec(name=name, is_named=given is not None, kind=kind, retention_ms=retention_ms)  # type: ignore[arg-type]

    def repartition(
        self,
        source: n.Node,
        name: str,
        *,
        partitions: int | None = None,
        serdes: tuple[Serde[Any], Serde[Any]] | None = None,
    ) -> n.Repartition:
        """Put a trip through an internal topic behind a node.

        Args:
            source: Whose records travel.
            name: What the topic is called, without ``-repartition``.
            partitions: Partition count, if the user said.
            serdes: Serdes of key and value, if not the source's.
        """
        topic = name if name.endswith("-repartition") else f"{name}-repartition"
        sink, null_filter, read = self.burn_repartition()
        if not GENERATED_REPARTITION.fullmatch(topic):
            sink, null_filter, read = f"{topic}-sink", f"{topic}-filter", f"{topic}-source"
        key, value = serdes or (source.key, source.value)
        return self.add(
            n.Repartition,
            name=read,
            inputs=(source,),
            key=key,
            value=value,
            topic=topic,
            filter_name=null_filter,
            sink_name=sink,
            source_name=read,
            partitions=partitions,
        )

    def burn_repartition(self) -> list[str]:
        """Names for the sink, the filter and the source of a repartition topic."""
        return [self.names.processor(prefix) for prefix in ("KSTREAM-SINK-", "KSTREAM-FILTER-", "KSTREAM-SOURCE-")]

    def build(self) -> Topology:
        """The topology so far, frozen."""
        if self._topology is None:
            self._topology = Topology(tuple(self._nodes))
        return self._topology
