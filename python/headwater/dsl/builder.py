"""The builder of a topology: where streams and tables start."""

from __future__ import annotations

from typing import Any, TypeVar, overload

from headwater._typing import OnError, Validate
from headwater.dsl.functions import ExpressionTypes, NoExpressions
from headwater.dsl.graph import Graph
from headwater.dsl.streams import Stream
from headwater.dsl.tables import GlobalTable, Table
from headwater.serdes import Serde, raw, resolve
from headwater.topics import Topic, check_topic_name
from headwater.topology import Topology
from headwater.topology import nodes as n

K = TypeVar("K")
V = TypeVar("V")


class StreamsBuilder:
    """Builds a topology; every stream and table method adds a node to it.

    Example:
        >>> builder = StreamsBuilder()
        >>> builder.stream("words", key=str, value=str).filter(lambda k, v: v != "").to("filtered")
        >>> print(builder.build().describe())
    """

    def __init__(self, *, expressions: ExpressionTypes | None = None) -> None:
        """Start an empty topology.

        Args:
            expressions: Types polars expressions; an `App` brings its own.
        """
        self._graph = Graph(expressions or NoExpressions())

    # --- where data comes from --------------------------------------------------------------------------------------

    @overload
    def stream(
        self, topic: Topic[K, V], *, name: str | None = None, on_error: OnError = "raise", validate: Validate = "lazy"
    ) -> Stream[K, V]: ...  # fmt: skip

    @overload
    def stream(
        self, topic: str, *more: str, key: type[K] | Serde[K], value: type[V] | Serde[V],
        name: str | None = None, on_error: OnError = "raise", validate: Validate = "lazy",
    ) -> Stream[K, V]: ...  # fmt: skip

    @overload
    def stream(
        self, topic: str, *more: str, key: type[K] | Serde[K], value: None = None,
        name: str | None = None, on_error: OnError = "raise", validate: Validate = "lazy",
    ) -> Stream[K, bytes]: ...  # fmt: skip

    @overload
    def stream(
        self, topic: str, *more: str, key: None = None, value: type[V] | Serde[V],
        name: str | None = None, on_error: OnError = "raise", validate: Validate = "lazy",
    ) -> Stream[bytes, V]: ...  # fmt: skip

    @overload
    def stream(
        self, topic: str, *more: str, key: None = None, value: None = None,
        name: str | None = None, on_error: OnError = "raise", validate: Validate = "lazy",
    ) -> Stream[bytes, bytes]: ...  # fmt: skip

    @overload
    def stream(
        self, topic: str, *more: str, key: Any = None, value: Any = None,
        name: str | None = None, on_error: OnError = "raise", validate: Validate = "lazy",
    ) -> Stream[Any, Any]: ...  # fmt: skip

    def stream(
        self,
        topic: str | Topic[Any, Any],
        *more: str,
        key: Any = None,
        value: Any = None,
        name: str | None = None,
        on_error: OnError = "raise",
        validate: Validate = "lazy",
    ) -> Stream[Any, Any]:
        """Read one or more topics as a stream of facts.

        Args:
            topic: The topic.
            *more: Further topics with the same types.
            key: Serde or type of the keys; bytes if neither is given.
            value: Serde or type of the values.
            name: Stable name of the source.
            on_error: What happens to a record that does not decode: ``"raise"``, ``"skip"``, ``"topic:NAME"`` or a
                callable that is given the `SerdeError` and the raw record, which is then skipped.
            validate: ``"eager"`` checks every key and value at the source. ``"lazy"`` checks what a stage reads: a JSON
                value that nobody reads is passed on as it is. (Text and fixed-width values are checked in any case.)

        Returns:
            A stream of ``(K, V)``, partitioned like the topic.
        """
        topics, key_serde, value_serde = _source(topic, more, key, value)
        self._graph.claim(topics, "stream")
        name = self._graph.names.given_or_processor(name, "KSTREAM-SOURCE-")
        for known in self._graph.streams_of(topics):
            mine = (key_serde.name, value_serde.name, on_error, validate)
            if (known.key.name, known.value.name, known.on_error, known.validate) == mine:
                # As in Kafka Streams, streams of one topic are one source, which keeps its first name.
                return Stream(self._graph, known)
        node = self._graph.add(
            n.StreamSource,
            name=name,
            key=key_serde,
            value=value_serde,
            topics=topics,
            on_error=on_error,
            validate=validate,
        )
        return Stream(self._graph, node)

    @overload
    def table(
        self, topic: Topic[K, V], *, name: str | None = None, store: str | None = None, on_error: OnError = "raise"
    ) -> Table[K, V]: ...  # fmt: skip

    @overload
    def table(
        self, topic: str, *, key: type[K] | Serde[K], value: type[V] | Serde[V],
        name: str | None = None, store: str | None = None, on_error: OnError = "raise",
    ) -> Table[K, V]: ...  # fmt: skip

    @overload
    def table(
        self, topic: str, *, key: type[K] | Serde[K], value: None = None,
        name: str | None = None, store: str | None = None, on_error: OnError = "raise",
    ) -> Table[K, bytes]: ...  # fmt: skip

    @overload
    def table(
        self, topic: str, *, key: None = None, value: None = None,
        name: str | None = None, store: str | None = None, on_error: OnError = "raise",
    ) -> Table[bytes, bytes]: ...  # fmt: skip

    @overload
    def table(
        self, topic: str, *, key: Any = None, value: Any = None,
        name: str | None = None, store: str | None = None, on_error: OnError = "raise",
    ) -> Table[Any, Any]: ...  # fmt: skip

    def table(
        self,
        topic: str | Topic[Any, Any],
        *,
        key: Any = None,
        value: Any = None,
        name: str | None = None,
        store: str | None = None,
        on_error: OnError = "raise",
    ) -> Table[Any, Any]:
        """Read a topic as a table: the latest value of each key, None deleting it.

        Args:
            topic: The topic.
            key: Serde or type of the keys.
            value: Serde or type of the values.
            name: Stable name of the source.
            store: Name of the store; without one the table has a store only if something needs it.
            on_error: As for `stream`.

        Returns:
            A table of ``K`` to ``V``.
        """
        topics, key_serde, value_serde = _source(topic, (), key, value)
        self._graph.claim(topics, "table")
        spec = self._graph.store(store, f"{topics[0]}-")
        source_name = self._graph.names.suffixed_or_processor(name, "-source", "KSTREAM-SOURCE-")
        node = self._graph.add(
            n.TableSource,
            name=self._graph.names.given_or_processor(name, "KTABLE-SOURCE-"),
            source_name=source_name,
            key=key_serde,
            value=value_serde,
            topic=topics[0],
            store=spec,
            on_error=on_error,
        )
        return Table(self._graph, node)

    @overload
    def global_table(
        self, topic: Topic[K, V], *, name: str | None = None, store: str | None = None
    ) -> GlobalTable[K, V]: ...  # fmt: skip

    @overload
    def global_table(
        self, topic: str, *, key: type[K] | Serde[K], value: type[V] | Serde[V],
        name: str | None = None, store: str | None = None,
    ) -> GlobalTable[K, V]: ...  # fmt: skip

    @overload
    def global_table(
        self, topic: str, *, key: type[K] | Serde[K], value: None = None,
        name: str | None = None, store: str | None = None,
    ) -> GlobalTable[K, bytes]: ...  # fmt: skip

    @overload
    def global_table(
        self, topic: str, *, key: None = None, value: None = None,
        name: str | None = None, store: str | None = None,
    ) -> GlobalTable[bytes, bytes]: ...  # fmt: skip

    @overload
    def global_table(
        self, topic: str, *, key: Any = None, value: Any = None,
        name: str | None = None, store: str | None = None,
    ) -> GlobalTable[Any, Any]: ...  # fmt: skip

    def global_table(
        self,
        topic: str | Topic[Any, Any],
        *,
        key: Any = None,
        value: Any = None,
        name: str | None = None,
        store: str | None = None,
    ) -> GlobalTable[Any, Any]:
        """Read all partitions of a topic as a table that every task has whole; it is read before anything runs.

        Args:
            topic: The topic.
            key: Serde or type of the keys.
            value: Serde or type of the values.
            name: Stable name of the source.
            store: Name of the store.

        Returns:
            A table that streams can be joined with under any key.
        """
        topics, key_serde, value_serde = _source(topic, (), key, value)
        self._graph.claim(topics, "global_table")
        spec = self._graph.store(store, f"{topics[0]}-")
        source_name = self._graph.names.suffixed_or_processor(name, "-source", "KSTREAM-SOURCE-")
        node = self._graph.add(
            n.GlobalTableSource,
            name=self._graph.names.given_or_processor(name, "KTABLE-SOURCE-"),
            source_name=source_name,
            key=key_serde,
            value=value_serde,
            topic=topics[0],
            store=spec,
        )
        return GlobalTable(self._graph, node)

    def build(self) -> Topology:
        """The topology so far, frozen."""
        return self._graph.build()


def _source(
    topic: str | Topic[Any, Any], more: tuple[str, ...], key: Any, value: Any
) -> tuple[tuple[str, ...], Serde[Any], Serde[Any]]:
    if isinstance(topic, Topic):
        key = topic.key if key is None else key
        value = topic.value if value is None else value
        topic = topic.name
    topics = tuple(check_topic_name(name) for name in (topic, *more))
    return topics, raw() if key is None else resolve(key), raw() if value is None else resolve(value)
