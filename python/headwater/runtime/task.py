"""A task of an application: one sub-topology and one partition number, with its own stores.

It takes what its source partitions offer in Kafka Streams' order, runs it as a micro-batch, writes the outputs, and now
and then commits (`committer`): outputs and changelogs first, then one batch of offsets and checkpoint. A changelog that has
grown far beyond its store is replaced by the store itself, in the same topic, and its old part deleted. A task that fails
keeps the records before the failing one, commits them, and raises.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from headwater.errors import OffsetOutOfRangeError, TopologyChangedError
from headwater.log import Broker
from headwater.runtime.checkpoint import Checkpoint, Range
from headwater.runtime.committer import Committer
from headwater.runtime.coordinates import Coordinates, Locator, Part
from headwater.runtime.fingerprint import fingerprint
from headwater.runtime.plan import Settings
from headwater.runtime.runner import Output, Result, Runner
from headwater.serdes import SessionWindowedSerde, WindowedSerde
from headwater.state import (
    ReadAhead,
    Rows,
    append_rows,
    append_rows_to,
    delete_records,
    fetch_rows,
    interleave,
    pack_changes,
    unpack_changes,
)
from headwater.topology import Topology
from headwater.topology import nodes as n

_LOGGER = logging.getLogger("headwater")

FETCH_BYTES = 4 << 20
"""How much is read from a partition at once."""

REWRITE_RECORDS = 50_000
"""How many records more than four times its store a changelog may hold before the store is written anew."""

Place = tuple[str, int]
"""Topic and partition."""


class Partition:
    """One source partition: what has been read of it and what has been processed."""

    def __init__(
        self, topic: str, number: int, *, is_repartition: bool, carries_changes: bool, reads_ahead: bool
    ) -> None:
        self.topic = topic
        self.number = number
        self.is_repartition = is_repartition
        self.carries_changes = carries_changes
        self.position = 0
        self.fetched = 0
        self.forgotten = 0
        self.rows = Rows()
        self.offsets: list[int] = []
        self.ahead = ReadAhead() if reads_ahead else None


class StreamTask:
    """See the module.

    Attributes:
        name: ``<sub-topology>_<partition>``, as Kafka Streams names tasks.
        sub_topology: Number of the sub-topology.
        lock: Held while the task runs, and by whoever reads its stores.
    """

    def __init__(
        self,
        group: str,
        number: int,
        partition: int,
        nodes: tuple[n.Node, ...],
        topology: Topology,
        settings: Settings,
        broker: Broker,
        committer: Committer,
        topic_names: dict[str, str],
        policies: dict[str, Any],
        *,
        batch_size: int,
        idle_seconds: float = 0.0,
        reads_ahead: bool = False,
    ) -> None:
        self.group = group
        self.sub_topology = number
        self.name = f"{number}_{partition}"
        self.partition = partition
        self.broker = broker
        self.batch_size = batch_size
        self._idle_seconds = idle_seconds
        self._idle_since: float | None = None
        self.lock = threading.RLock()
        self._log = broker._shared.core
        self._names = topic_names
        self._policies = policies
        self._counts: dict[str, int] = {}
        self._runner = Runner(topology, settings, nodes=nodes)
        self._checkpoint = Checkpoint()
        self._committer = committer
        # Where a store's next change goes if nothing but markers of transactions lies between it and the last one.
        self._next_change: dict[str, int] = {}
        self._nodes = {node.name: fingerprint(node) for node in nodes}
        self.is_dirty = False
        self.records_out = 0
        plan = self._runner.plan
        self.partitions = [
            Partition(
                topic,
                partition,
                is_repartition=topic in plan.internal,
                carries_changes=topic in plan.internal and plan.internal[topic].carries_changes,
                reads_ahead=reads_ahead,
            )
            for topic in plan.sources
            if partition < self._count(topic)
        ]
        self._ids = {
            self._topic(source.topic): broker._shared.topic_id(self._topic(source.topic)) for source in self.partitions
        }
        self._load()

    @property
    def runner(self) -> Runner:
        """What runs the batches."""
        return self._runner

    def _topic(self, name: str) -> str:
        return self._names.get(name, name)

    def _count(self, topic: str) -> int:
        return int(self._log.topic(self._topic(topic))[0])

    # --- start ------------------------------------------------------------------------------------------------------

    def _load(self) -> None:
        committed = {
            (topic, partition): (offset, metadata)
            for topic, partition, offset, metadata in self._log.fetch_offsets(self.group)
        }
        mine = {(self._topic(source.topic), source.number) for source in self.partitions}
        self._checkpoint = Checkpoint.decode(
            next((text for place, (_, text) in committed.items() if text and place in mine), "")
        )
        for source in self.partitions:
            place = (self._topic(source.topic), source.number)
            start, end, _ = self._log.watermarks(*place)
            source.position, _ = committed.get(place, (start, ""))
            before = self._checkpoint.sources.get(place[0], "")
            is_another = before != "" and before != self._ids[place[0]]
            if source.position < start and not is_another and self._committer.transaction is None:
                # As Kafka Streams does; what must be exact stops here instead.
                _LOGGER.warning(
                    "application '%s': the records from %d to %d of topic '%s' partition %d were deleted before they were "
                    "read; it goes on behind them", self.group, source.position, start, *place,
                )  # fmt: skip
                source.position = start
            if is_another or not start <= source.position <= end:
                why = "it was made anew" if is_another else "records were deleted before they were read"
                raise OffsetOutOfRangeError(
                    f"expected the committed position of application '{self.group}' in the log, from {start} to {end}, got "
                    f"{source.position} - at topic '{place[0]}' partition {place[1]}: {why}; call app.reset() to start over",
                    topic=place[0],
                    partition=place[1],
                    offset=source.position,
                )
            source.fetched = source.position
        self._check_fingerprint()
        self._restore()
        self._load_globals()

    def _check_fingerprint(self) -> None:
        before = self._checkpoint.nodes
        if not before or before == self._nodes:
            return
        changed = sorted(
            name for name in before.keys() | self._nodes.keys() if before.get(name) != self._nodes.get(name)
        )
        raise TopologyChangedError(
            f"expected the topology that wrote the state of application '{self.group}', got another one - at node "
            f"{', '.join(changed)}; call app.reset() to start over, or choose another application id"
        )

    def _changelogs(self) -> list[tuple[str, int, bool]]:
        """(store name, index, whether it is a join's buffer) of everything that is logged."""
        plan = self._runner.plan
        stores = [
            (plan.spec(node_id).name, index, False) for node_id, index in plan.stores.items() if plan.is_logged(node_id)
        ]
        joins = [(plan.join_name(node_id), index, True) for node_id, index in plan.joins.items()]
        return stores + joins

    def _changelog(self, store: str) -> str:
        return f"{self.group}-{store}-changelog"

    def _restore(self) -> None:
        task = self._runner.plan.task
        for store, index, is_join in self._changelogs():
            parts = self._checkpoint.changelogs.get(store, [])
            self._check_changelog(store, parts)
            for part in parts:
                offset = part.start
                while offset < part.end:
                    following, offsets, rows = fetch_rows(
                        self._log, self._changelog(store), self.partition, offset, FETCH_BYTES
                    )
                    if following == offset:
                        break
                    beyond = sum(1 for record in offsets if record >= part.end)
                    if beyond:
                        rows = rows.head(len(offsets) - beyond)
                    (task.restore_join if is_join else task.restore)(index, rows)
                    offset = following
            self._note_end(store)
            if is_join:
                clocks = self._checkpoint.joins.get(store)
                if clocks is not None:
                    task.set_join_clocks(index, list(clocks))
            elif store in self._checkpoint.clocks:
                task.set_clocks(index, *self._checkpoint.clocks[store])
        task.end_batch()

    def _check_changelog(self, store: str, parts: list[Range]) -> None:
        """Refuse to restore a part of a store as if it was the whole."""
        if not parts:
            return
        place = (self._changelog(store), self.partition)
        start, end, _ = self._log.watermarks(*place)
        if start > parts[0].start or end < parts[-1].end:
            raise OffsetOutOfRangeError(
                f"expected a changelog from offset {parts[0].start} to {parts[-1].end}, got one from {start} to {end} - at "
                f"topic '{place[0]}' partition {place[1]}: store '{store}' cannot be restored; call app.reset() to start over",
                topic=place[0],
                partition=place[1],
                offset=parts[0].start,
            )

    def _note_end(self, store: str) -> None:
        """If no record lies behind what counts of a changelog, what is written next goes on with it."""
        ranges = self._checkpoint.changelogs.get(store)
        if ranges and self._committer.transaction is not None:
            place = (self._changelog(store), self.partition)
            _, behind, _ = fetch_rows(self._log, *place, ranges[-1].end, FETCH_BYTES)
            if not behind:
                self._next_change[store] = self._log.watermarks(*place)[2]

    def _load_globals(self) -> None:
        self._global_positions: dict[Place, int] = {}
        for topic in self._runner.plan.globals:
            for partition in range(self._count(topic)):
                self._global_positions[(topic, partition)] = self._log.watermarks(self._topic(topic), partition)[0]
        self.update_globals()

    def update_globals(self) -> None:
        """Apply what global tables' topics have gained."""
        plan = self._runner.plan
        for (topic, partition), position in self._global_positions.items():
            index = plan.stores[plan.globals[topic].id]
            while True:
                following, _, rows = fetch_rows(self._log, self._topic(topic), partition, position, FETCH_BYTES)
                if following == position:
                    break
                for key, value, timestamp in zip(rows.keys(), rows.values(), rows.timestamps(), strict=True):
                    if key is None:
                        self._runner.skipped += 1
                    else:
                        plan.task.put(index, key, value, timestamp)
                position = following
            self._global_positions[(topic, partition)] = position

    # --- run --------------------------------------------------------------------------------------------------------

    def ends(self) -> dict[Place, int]:
        """The end offset of every source partition now."""
        return {
            (source.topic, source.number): self._log.watermarks(self._topic(source.topic), source.number)[1]
            for source in self.partitions
        }

    def internal_ends(self) -> dict[Place, int]:
        """The end offset of every repartition partition that is read, now."""
        internal = {(source.topic, source.number) for source in self.partitions if source.is_repartition}
        return {place: end for place, end in self.ends().items() if place in internal}

    def lag(self) -> int:
        """Records that the sources have and the task has not processed."""
        ends = self.ends()
        return sum(max(0, ends[source.topic, source.number] - source.position) for source in self.partitions)

    def wait(self, seconds: float) -> bool:
        """Wait until a source partition has more.

        Args:
            seconds: How long at most.

        Returns:
            Whether there is something.
        """
        places = [(self._topic(source.topic), source.number, source.fetched) for source in self.partitions]
        return bool(self._log.wait(places, seconds, is_read_committed=True))

    def next_timestamp(self, ends: dict[Place, int]) -> int | None:
        """Event time of the next record of a replay, or None at its end.

        Args:
            ends: Offsets up to which records count.
        """
        with self.lock:
            for source in self.partitions:
                self._fill(source, ends.get((source.topic, source.number)))
            return min(
                (source.rows.head(1).timestamps()[0] for source in self.partitions if len(source.rows)), default=None
            )

    def step(self, ends: dict[Place, int] | None = None, until: int | None = None) -> int:
        """Process one micro-batch.

        Args:
            ends: Offsets up to which records count, for a replay; None for all there is.
            until: Event time at which to stop, though not before one record.

        Returns:
            Number of records processed; 0 if there was nothing to do.
        """
        with self.lock:
            if self._runner.plan.globals:
                self.update_globals()
            limits = ends or {}
            is_open = [self._fill(source, limits.get((source.topic, source.number))) for source in self.partitions]
            parts = [source.rows for source in self.partitions]
            if ends is None and self._waits(parts):
                return 0
            if len(parts) == 1 and len(parts[0]) <= self.batch_size and until is None:
                if parts[0].head(1).seqs() != [0]:
                    parts[0].resequence(0)  # what other batches have left of a fetch
                taken, owners = [parts[0]], [0] * len(parts[0])
                self.partitions[0].rows = Rows()
            else:
                taken, owners = interleave(parts, is_open, self.batch_size, until)
            if not owners:
                return 0
            has_more = any(len(source.rows) for source in self.partitions) or any(is_open)
            self._process(taken, owners, [] if has_more else [len(owners) - 1])
            return len(owners)

    def _waits(self, parts: list[Rows]) -> bool:
        """Whether to wait for a partition that has nothing while others have: Kafka Streams' ``max.task.idle.ms``."""
        if not self._idle_seconds or all(len(rows) for rows in parts) or not any(len(rows) for rows in parts):
            self._idle_since = None
            return False
        now = time.monotonic()
        if self._idle_since is None:
            self._idle_since = now
        return now - self._idle_since < self._idle_seconds

    def _fill(self, source: Partition, limit: int | None) -> bool:
        """Read ahead; returns whether more is known to come."""
        end = self._log.watermarks(self._topic(source.topic), source.number)[1]
        if limit is not None:
            end = min(end, limit)
        if not len(source.rows) and source.fetched < end:
            fetch = fetch_rows if source.ahead is None else source.ahead.fetch_rows
            following, offsets, rows = fetch(
                self._log, self._topic(source.topic), source.number, source.fetched, FETCH_BYTES
            )
            if limit is not None and following > limit:
                inside = sum(1 for offset in offsets if offset < limit)
                rows, offsets, following = rows.head(inside), offsets[:inside], limit
            if source.carries_changes:
                unpack_changes(rows)
            source.rows, source.offsets, source.fetched = rows, offsets, following
            if not offsets:
                source.position = following
        return source.fetched < end

    def _process(self, taken: list[Rows], owners: list[int], marks: list[int]) -> Result:
        # The k-th row of a part in this batch is the k-th of the part's remaining offsets.
        counts = [len(rows) for rows in taken]
        firsts = [source.offsets[:count] for source, count in zip(self.partitions, counts, strict=True)]

        parts = [
            Part(self._topic(source.topic), source.number, offsets)
            for source, offsets in zip(self.partitions, firsts, strict=True)
        ]
        locate = Locator(parts, owners, self._read_again)
        inputs = {source.topic: rows for source, rows in zip(self.partitions, taken, strict=True) if len(rows)}
        result = self._runner.process(inputs, marks, locate, lambda topic: self._policies.get(topic, "raise"))
        self._write(result.outputs)
        self._divert(result, locate)
        limit = result.failures.limit
        for part, source in enumerate(self.partitions):
            done = counts[part] if limit is None else sum(1 for owner in owners[:limit] if owner == part)
            if done:
                source.position = firsts[part][done - 1] + 1
            source.offsets = source.offsets[counts[part] :]
            if not source.offsets and limit is None:
                source.position = source.fetched
        self.is_dirty = True
        if result.failures.error is not None:
            self.commit()
            raise result.failures.error
        return result

    def _last_processed(self, seq: int) -> Coordinates:
        # A commit's flush has no source record of its own: what it emits is due to everything up to here.
        source = self.partitions[0]
        return Coordinates(self._topic(source.topic), source.number, max(source.position - 1, 0), None, None)

    def _write(self, outputs: list[Output]) -> None:
        for topic, batch, _ in outputs:
            rows = batch.rows
            if not len(rows):
                continue
            name = self._topic(topic)
            if topic in self._runner.plan.repartitions and self._runner.plan.repartitions[topic].carries_changes:
                pack_changes(rows)
            if name not in self._counts:
                self._counts[name] = int(self._log.topic(name)[0])
            suffix = (
                8 if isinstance(batch.key, WindowedSerde) else 16 if isinstance(batch.key, SessionWindowedSerde) else 0
            )
            self._committer.begin()
            self.records_out += append_rows(
                self._log, name, self._counts[name], rows, suffix, self.partition, self._committer.transaction
            )

    def _read_again(self, topic: str, partition: int, offset: int) -> tuple[list[int], Rows]:
        _, offsets, rows = fetch_rows(self._log, topic, partition, offset, 1)
        return offsets, rows

    def _divert(self, result: Result, locate: Locator) -> None:
        """Send records that did not decode where their policies say, as they are."""
        diverted: dict[str, list[Coordinates]] = {}
        for topic, seq in result.failures.diverted:
            diverted.setdefault(topic, []).append(locate(seq))
        for topic, found in diverted.items():
            columns = zip(*((at.key, at.value, at.timestamp, at.headers) for at in found), strict=True)
            rows = Rows.source(list(range(len(found))), *map(list, columns))
            self._committer.begin()
            partitions = int(self._log.topic(topic)[0])
            append_rows(self._log, topic, partitions, rows, 0, self.partition, self._committer.transaction)

    def close_windows(self) -> None:
        """Emit what still waits: the input is complete."""
        with self.lock:
            self._write(self._runner.close(0).outputs)
            self.is_dirty = True

    # --- commit -----------------------------------------------------------------------------------------------------

    def commit(self) -> None:
        """Make everything processed so far count: flush caches, write changelogs, then the offsets."""
        with self.lock:
            if not self.is_dirty:
                return
            empty: dict[str, Rows] = {}
            flushed = self._runner.process(empty, [0], self._last_processed)
            self._write(flushed.outputs)
            if flushed.failures.error is not None:
                raise flushed.failures.error
            task = self._runner.plan.task
            checkpoint = self._checkpoint
            rewritten = [self._rewrite(*changelog) for changelog in self._changelogs()]
            for store, index, is_join in self._changelogs():
                rows = task.take_join_changes(index) if is_join else task.take_changes(index)
                if len(rows):
                    self._log_changes(store, rows)
                if is_join:
                    stream_time, gate, left, right = task.join_clocks(index)
                    checkpoint.joins[store] = (stream_time, gate, left, right)
                else:
                    checkpoint.clocks[store] = task.clocks(index)
            checkpoint.nodes = self._nodes
            checkpoint.sources = self._ids
            text = checkpoint.encode()
            offsets = [
                (self._topic(source.topic), source.number, source.position, text if first == 0 else "")
                for first, source in enumerate(self.partitions)
            ]
            self._committer.commit(offsets)
            self.is_dirty = False
            self._forget([changelog for changelog in rewritten if changelog is not None])

    def abandon(self) -> None:
        """Leave what was done since the last commit uncommitted: the task ends."""
        with self.lock:
            for source in self.partitions:
                if source.ahead is not None:
                    source.ahead.close()
            self._committer.abandon()

    def _log_changes(self, store: str, rows: Rows) -> None:
        self._committer.begin()
        # Only this task writes its partition of the changelog, so the rows lie one behind the other.
        start = append_rows_to(self._log, self._changelog(store), self.partition, rows, self._committer.transaction)
        end = start + len(rows)
        self._checkpoint.wrote(store, start, end, goes_on=self._next_change.get(store) == start)
        if self._committer.transaction is not None:
            self._next_change[store] = end + 1  # behind the marker of the commit

    def _rewrite(self, store: str, index: int, is_join: bool) -> str | None:  # noqa: FBT001
        """Write a store whole where its changelog has grown far beyond it: a restore stays as long as the store is large.

        Returns:
            The store's name if it is written anew.
        """
        task = self._runner.plan.task
        held = task.join_size(index) if is_join else task.store_size(index)
        counted = sum(part.end - part.start for part in self._checkpoint.changelogs.get(store, ()))
        if counted <= REWRITE_RECORDS + 4 * held:
            return None
        (task.rewrite_join if is_join else task.rewrite)(index)
        self._checkpoint.changelogs[store] = []
        return store

    def _forget(self, rewritten: list[str]) -> None:
        """Delete what no checkpoint speaks of any more: old parts of changelogs, processed parts of repartition topics."""
        for store in rewritten:
            ranges = self._checkpoint.changelogs.get(store)
            if ranges:
                delete_records(self._log, self._changelog(store), self.partition, ranges[0].start)
        for source in self.partitions:
            if source.is_repartition and source.position - source.forgotten >= REWRITE_RECORDS:
                delete_records(self._log, self._topic(source.topic), source.number, source.position)
                source.forgotten = source.position
