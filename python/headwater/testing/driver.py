"""Runs a topology record by record or batch by batch, with no threads, no files and a clock that stands still.

The driver does what Kafka Streams' ``TopologyTestDriver`` does: one task with one partition a topic runs all
sub-topologies; after every record caches flush; records for repartition topics come back until none is left, the one
with the smallest timestamp first. With a `batch_size` above 1 consecutive records form one micro-batch (unless a
repartition topic lies in the way, where Kafka drains after each record): the results are the same, which is the point.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, NamedTuple

from headwater.errors import ClosedError, InvalidArgumentError, UnknownTopicError
from headwater.records import Record
from headwater.runtime.app import App
from headwater.runtime.coordinates import Coordinates
from headwater.runtime.runner import Output, Runner
from headwater.runtime.stores import decoded_entries, find_store, visible
from headwater.serdes import Serde, resolve
from headwater.state import Rows, decode_headers, encode_headers
from headwater.time import ManualClock
from headwater.topology import nodes as n

RawRecord = tuple[str, bytes | None, bytes | None, int, Sequence[tuple[str, bytes | None]]]
"""topic, key, value, timestamp (ms), headers."""


class Emission(NamedTuple):
    """What left the topology: a record for a topic, or what a peek saw (`topic` None)."""

    topic: str | None
    node: str
    key: Any
    value: Any
    timestamp: int
    headers: tuple[tuple[str, bytes | None], ...]


class TopologyTestDriver:
    """A topology under test.

    Example:
        >>> with TopologyTestDriver(app) as driver:
        ...     driver.input_topic("rides", key=str, value=Ride).pipe("74", ride, timestamp=1_000)
        ...     driver.output_topic("rides-per-zone").read_all()
    """

    def __init__(self, app: App, *, batch_size: int | None = 1, trace: bool = False) -> None:
        """Plan the application's topology.

        Args:
            app: The application; its broker is never touched.
            batch_size: Largest number of records of a micro-batch; None for as many as are piped at once.
            trace: Whether `trace` records what peeks see.
        """
        if batch_size is not None and batch_size < 1:
            raise InvalidArgumentError(
                f"expected batch_size to be at least 1, got {batch_size} - at TopologyTestDriver; pass None for no bound"
            )
        self._settings = app.settings()
        self._runner = Runner(app.topology, self._settings, traces=trace)
        self._batch_size = batch_size
        self._traces = trace
        self._trace: list[Emission] = []
        self._outputs: dict[str, list[Record[Any, Any]]] = {}
        self._serdes: dict[str, tuple[Serde[Any], Serde[Any]]] = {}
        self._offsets: dict[str, int] = {}
        self._queues = _Queues(list(self._runner.plan.internal))
        self._on_error = app.policies()
        self._dropped_globals = 0
        self._closed = False
        self._raw: dict[str, list[tuple[bytes | None, bytes | None]]] = {}
        self.clock = ManualClock()
        self._load_globals(app)

    def _load_globals(self, app: App) -> None:
        for node in app.topology.nodes:
            if isinstance(node, n.Sink):
                self._serdes.setdefault(node.topic, (node.inputs[0].key, node.inputs[0].value))
            elif isinstance(node, n.StreamAggregate) and node.late_topic is not None:
                self._serdes.setdefault(node.late_topic, (node.inputs[0].key, node.inputs[0].value))

    # --- in ---------------------------------------------------------------------------------------------------------

    def input_topic(self, topic: str, *, key: Any = None, value: Any = None) -> InputTopic:
        """A topic to pipe records into.

        Args:
            topic: A source topic of the topology.
            key: Serde or type of the keys; the source's if not given.
            value: Serde or type of the values; the source's if not given.

        Raises:
            UnknownTopicError: The topology does not read the topic.
        """
        node = self._source(topic)
        return InputTopic(
            self, topic, node.key if key is None else resolve(key), node.value if value is None else resolve(value)
        )

    def _source(self, topic: str) -> n.Node:
        plan = self._runner.plan
        if topic in plan.globals:
            return plan.globals[topic]
        if topic in plan.sources and topic not in plan.internal:
            return plan.sources[topic][0].node
        known = sorted({*plan.sources, *plan.globals} - set(plan.internal))
        raise UnknownTopicError(
            f"expected a topic that the topology reads ({', '.join(known)}), got '{topic}' - at TopologyTestDriver",
            topic=topic,
        )

    def pipe_many(self, records: Iterable[RawRecord]) -> None:
        """Pipe serialised records, in micro-batches of at most `batch_size`.

        Args:
            records: (topic, key, value, timestamp, headers) each.
        """
        if self._closed:
            raise ClosedError("expected an open driver, got a closed one - at pipe_many; make a new one")
        pending: list[RawRecord] = []
        size = 1 if self._runner.plan.internal else self._batch_size
        for record in records:
            self._source(record[0])
            if record[0] in self._runner.plan.globals:
                self._run(pending)
                pending = []
                self._update_global(record)
                continue
            pending.append(record)
            if size is not None and len(pending) >= size:
                self._run(pending)
                pending = []
        self._run(pending)

    def _update_global(self, record: RawRecord) -> None:
        topic, key, value, timestamp, _ = record
        node = self._runner.plan.globals[topic]
        if key is None:
            self._dropped_globals += 1
            return
        self._runner.plan.task.put(self._runner.plan.stores[node.id], key, value, timestamp)

    def _run(self, records: list[RawRecord]) -> None:
        if not records:
            return
        places = [self._place(topic, key, value) for topic, key, value, _, _ in records]
        by_topic: dict[str, list[int]] = {}
        for seq, record in enumerate(records):
            by_topic.setdefault(record[0], []).append(seq)
        inputs = {
            topic: Rows.source(
                seqs,
                [records[seq][1] for seq in seqs],
                [records[seq][2] for seq in seqs],
                [records[seq][3] for seq in seqs],
                [encode_headers(records[seq][4]) for seq in seqs],
            )
            for topic, seqs in by_topic.items()
        }
        self._process(inputs, list(range(len(records))), places)
        while (queued := self._queues.poll()) is not None:
            topic, rows = queued
            place = self._place(topic, rows.keys()[0], rows.values()[0])
            self._process({topic: rows}, [0], [place])

    def _place(self, topic: str, key: bytes | None, value: bytes | None) -> Coordinates:
        offset = self._offsets.get(topic, 0)
        self._offsets[topic] = offset + 1
        return Coordinates(topic, 0, offset, key, value)

    def _process(self, inputs: dict[str, Rows], marks: list[int], places: list[Coordinates]) -> None:
        result = self._runner.process(
            inputs, marks, places.__getitem__, lambda topic: self._on_error.get(topic, "raise")
        )
        self._take(result.outputs, result.peeks)
        for topic, seq in result.failures.diverted:
            self._raw.setdefault(topic, []).append((places[seq].key, places[seq].value))
        if result.failures.error is not None:
            raise result.failures.error

    def _take(self, outputs: list[Output], peeks: list[Output]) -> None:
        ordered: list[tuple[tuple[int, ...], Emission]] = []
        repartitioned: list[tuple[tuple[int, ...], str, Rows]] = []
        # A peek comes before what it passes on, which may have the same order key: the sort is stable.
        for output in peeks:
            ordered += self._emissions(None, output.batch, output.node)
        for topic, batch, node in outputs:
            if topic in self._runner.plan.repartitions:
                # A repartition topic that nobody reads ends here.
                rows = batch.rows if topic in self._runner.plan.internal else batch.rows.head(0)
                repartitioned += zip(rows.orders(), [topic] * len(rows), rows.split(), strict=True)
                continue
            if topic in self._runner.plan.repartitions:
                continue  # nobody reads it, and it is no output
            ordered += self._emissions(topic, batch, node)
        ordered.sort(key=lambda entry: entry[0])
        for _, emission in ordered:
            if self._traces:
                self._trace.append(emission)
            if emission.topic is not None:
                _, _, key, value, timestamp, headers = emission
                known = self._outputs.setdefault(emission.topic, [])
                offset = self._offsets.get("> " + emission.topic, 0)
                self._offsets["> " + emission.topic] = offset + 1
                known.append(Record(emission.topic, 0, offset, timestamp, key, value, headers))
        repartitioned.sort(key=lambda entry: entry[0])
        for _, topic, row in repartitioned:
            row.resequence(0)
            self._queues.put(topic, row)

    def _emissions(self, topic: str | None, batch: Any, node: n.Node) -> list[tuple[tuple[int, ...], Emission]]:
        rows = batch.to_rows()
        keys = batch.key.deserialize_many(rows.keys())
        values = batch.value.deserialize_many(rows.values())
        return [
            (order, Emission(topic, node.name, key, value, timestamp, decode_headers(headers)))
            for order, key, value, timestamp, headers in zip(
                rows.orders(), keys, values, rows.timestamps(), rows.headers(), strict=True
            )
        ]

    # --- out --------------------------------------------------------------------------------------------------------

    def output_topic(self, topic: str) -> OutputTopic:
        """A topic to read what the topology has written.

        Args:
            topic: A sink of the topology.

        Raises:
            UnknownTopicError: The topology does not write the topic.
        """
        if topic not in self._serdes:
            raise UnknownTopicError(
                f"expected a topic that the topology writes ({', '.join(sorted(self._serdes))}), got '{topic}' - at "
                "TopologyTestDriver.output_topic",
                topic=topic,
            )
        return OutputTopic(self._outputs.setdefault(topic, []))

    def trace(self) -> list[Emission]:
        """Everything that left the topology since the last call, in Kafka Streams' order, peeks included.

        The driver must have been made with ``trace=True``.
        """
        taken, self._trace = self._trace, []
        return taken

    def dropped_records(self) -> int:
        """Records dropped and counted so far, as Kafka's ``dropped-records-total``."""
        return self._runner.dropped() + self._dropped_globals

    def store(self, name: str) -> TestStore:
        """What a store holds.

        Args:
            name: Name of the store.

        Raises:
            UnknownTopicError: There is no store of this name.
        """
        found = find_store(self._runner, name)
        if found is None:
            raise UnknownTopicError(f"expected the name of a store, got '{name}' - at TopologyTestDriver.store")
        return TestStore(self._runner, *found)

    def advance_wall_clock(self, milliseconds: int) -> None:
        """Move the clock, which stands still otherwise.

        Args:
            milliseconds: How far.
        """
        self.clock.advance(timedelta(milliseconds=milliseconds))

    def close(self) -> None:
        """End the test."""
        self._closed = True

    def __enter__(self) -> TopologyTestDriver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class InputTopic:
    """A source topic of a topology under test."""

    def __init__(self, driver: TopologyTestDriver, topic: str, key: Serde[Any], value: Serde[Any]) -> None:
        self._driver = driver
        self._topic = topic
        self._key = key
        self._value = value

    def pipe(
        self, key: Any, value: Any, *, timestamp: int = 0, headers: Sequence[tuple[str, bytes | None]] = ()
    ) -> None:
        """Pipe one record and everything that follows from it.

        Args:
            key: The key, or None.
            value: The value, or None.
            timestamp: Event time in milliseconds.
            headers: (name, value) pairs.
        """
        self.pipe_many([(key, value, timestamp, headers)])

    def pipe_many(self, records: Iterable[tuple[Any, ...]]) -> None:
        """Pipe records in micro-batches.

        Args:
            records: (key, value, timestamp) or (key, value, timestamp, headers) each.
        """
        self._driver.pipe_many(
            (
                self._topic,
                None if record[0] is None else self._key.serialize(record[0]),
                None if record[1] is None else self._value.serialize(record[1]),
                record[2],
                record[3] if len(record) > 3 else (),
            )
            for record in records
        )


class OutputTopic:
    """A sink topic of a topology under test."""

    def __init__(self, records: list[Record[Any, Any]]) -> None:
        self._records = records

    def read(self) -> Record[Any, Any]:
        """Take the next record.

        Raises:
            LookupError: There is none.
        """
        if not self._records:
            raise LookupError("expected a record, got none - at OutputTopic.read; nothing more was written")
        return self._records.pop(0)

    def read_all(self) -> list[Record[Any, Any]]:
        """Take all records."""
        taken = self._records[:]
        self._records.clear()
        return taken

    def read_key_values(self) -> list[tuple[Any, Any]]:
        """Take all records as (key, value)."""
        return [(record.key, record.value) for record in self.read_all()]

    def is_empty(self) -> bool:
        """Whether nothing is left to read."""
        return not self._records


class TestStore:
    """The contents of a store, decoded."""

    __test__ = False

    def __init__(self, runner: Runner, node: n.Node, index: int) -> None:
        self._runner = runner
        self._node = node
        self._index = index

    def items(self) -> list[tuple[Any, Any, int]]:
        """(key, value, timestamp) of every entry, by key bytes and window; keys of windows are `Windowed`."""
        return decoded_entries(self._runner, self._node, self._index)

    def get(self, key: Any) -> Any:
        """The value under a key, or None.

        Args:
            key: A key as the table has them.
        """
        found = self._runner.plan.task.get(self._index, self._node.key.serialize(key))
        return None if found is None else visible(self._runner, self._node).deserialize(found[0])

    def __len__(self) -> int:
        return len(self.items())


class _Queues:
    """Repartition topics between records: the one with the smallest head timestamp first, ties as Kafka's heap has them."""

    def __init__(self, topics: list[str]) -> None:
        self._fifo: dict[str, list[Rows]] = {topic: [] for topic in topics}
        self._heap: list[str] = []

    def _head(self, topic: str) -> int:
        return self._fifo[topic][0].timestamps()[0]

    def put(self, topic: str, row: Rows) -> None:
        queue = self._fifo[topic]
        queue.append(row)
        if len(queue) == 1:
            self._push(topic)

    def _push(self, topic: str) -> None:
        heap, mine = self._heap, self._head(topic)
        heap.append(topic)
        at = len(heap) - 1
        while at > 0 and self._head(heap[(at - 1) // 2]) > mine:
            heap[at] = heap[(at - 1) // 2]
            at = (at - 1) // 2
        heap[at] = topic

    def poll(self) -> tuple[str, Rows] | None:
        heap = self._heap
        if not heap:
            return None
        topic, last = heap[0], heap.pop()
        if heap:
            at, mine = 0, self._head(last)
            while 2 * at + 1 < len(heap):
                child = 2 * at + 1
                if child + 1 < len(heap) and self._head(heap[child + 1]) < self._head(heap[child]):
                    child += 1
                if not self._head(heap[child]) < mine:
                    break
                heap[at] = heap[child]
                at = child
            heap[at] = last
        row = self._fifo[topic].pop(0)
        if self._fifo[topic]:
            self._push(topic)
        return topic, row
