"""A consumer: records of some topics, one after the other, from a position that a group may remember.

Records are fetched, decoded and made in batches of one partition; iteration hands them out one by one. The *position* of
a partition is the offset after the last record handed out: that is what `Consumer.commit` commits, so a record counts
as done when you commit after it, or (``auto_commit=True``) when you come back for the next one.

A consumer belongs to one thread at a time. Which partitions it reads and where they begin is in `assignment`, what its
group says about that in `groups`, and how bytes become records in `decoding`.
"""

from __future__ import annotations

import logging
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from headwater._typing import AutoOffsetReset, IsolationLevel, OnError, PartitionAssignmentStrategy
from headwater.errors import ClosedError, InvalidArgumentError, OffsetOutOfRangeError
from headwater.log.assignment import Assignment
from headwater.log.decoding import Decoder
from headwater.log.groups import ASSIGNORS
from headwater.log.position import Position
from headwater.records import Record, TopicPartition
from headwater.serdes import Serde
from headwater.time import Duration, Timestamp, parse_duration_ms, to_timestamp_ms
from headwater.topics import Topic

if TYPE_CHECKING:
    from headwater._core import Transaction
    from headwater.log.groups import Member
    from headwater.log.opening import SharedLog

K = TypeVar("K")
V = TypeVar("V")

_LOGGER = logging.getLogger("headwater")
_CHUNK = 256  # records between two signs of life while a batch is handed out
_WAIT_SLICE = 0.25  # seconds between two looks at the group while no record arrives
_OFFSET = Record.offset.__get__  # type: ignore[attr-defined]


class ConsumerStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What a consumer has done so far.

    Attributes:
        records: Records handed out.
        batches: Fetches that brought records.
        skipped: Records left out by ``on_error``.
        commits: Commits made.
        rebalances: Changes of this consumer's assignment after the first.
    """

    records: int
    batches: int
    skipped: int
    commits: int
    rebalances: int


class Consumer(Generic[K, V]):
    """Reads topics; made by `Broker.consumer`, closed by ``with`` or `close`.

    Iterating waits for records for ever, or ends after ``timeout=`` without one. ``async for`` works alike.
    """

    def __init__(
        self,
        shared: SharedLog,
        topics: list[Topic[Any, Any]],
        *,
        group: str | None,
        auto_offset_reset: AutoOffsetReset,
        isolation_level: IsolationLevel,
        key: Serde[K] | None,
        value: Serde[V] | None,
        on_error: OnError,
        auto_commit: bool,
        auto_commit_interval: Duration,
        timeout: Duration | None,
        fetch_size: int,
        max_poll_interval: Duration,
        partition_assignment_strategy: PartitionAssignmentStrategy,
        group_instance_id: str | None,
        session_timeout: Duration,
    ) -> None:
        """Use `Broker.consumer`, which documents the arguments."""
        self._owner: Any = None  # the broker handle, which must not be collected before its consumer
        self._member: Member | None = None
        self._is_closed = True  # until everything below has worked: __del__ runs on half-made consumers too
        _one_of("auto_offset_reset", auto_offset_reset, ("earliest", "latest", "none"))
        _one_of("isolation_level", isolation_level, ("read_uncommitted", "read_committed"))
        _one_of("partition_assignment_strategy", partition_assignment_strategy, tuple(ASSIGNORS))
        _check_group(group, group_instance_id, auto_commit=auto_commit)
        if not isinstance(fetch_size, int) or isinstance(fetch_size, bool) or fetch_size < 1:
            raise InvalidArgumentError(f"expected 1 byte or more, got {fetch_size!r} - at fetch_size")
        self._shared = shared
        self._core = shared.core
        self._topics = {topic.name: topic for topic in topics}
        self._group = group
        self._is_read_committed = isolation_level == "read_committed"
        self._is_auto_commit = auto_commit
        self._auto_commit_seconds = parse_duration_ms(auto_commit_interval, "auto_commit_interval") / 1000
        self._timeout = None if timeout is None else parse_duration_ms(timeout, "timeout") / 1000
        self._fetch_size = fetch_size
        self._decoder = Decoder(shared, topics, key=key, value=value, on_error=on_error)
        # The batch that iteration is handing out: its partition, its records, and the record handed out last.
        self._active: TopicPartition | None = None
        self._batch: list[Record[K, V]] = []
        self._current: Record[K, V] | None = None
        self._epoch = 0
        self._records = self._batches = self._commits = self._rebalances = 0
        self._next_auto_commit = time.monotonic() + self._auto_commit_seconds
        if group is not None:
            shared.check_writable()
            self._member = shared.groups.join(
                group,
                self._topics,
                max_poll_interval=parse_duration_ms(max_poll_interval, "max_poll_interval") / 1000,
                strategy=partition_assignment_strategy,
                instance_id=group_instance_id,
                session_timeout=parse_duration_ms(session_timeout, "session_timeout") / 1000,
            )
        try:
            self._assignment = Assignment(
                shared,
                self._topics,
                self._member,
                auto_offset_reset=auto_offset_reset,
                is_read_committed=self._is_read_committed,
            )
        except BaseException:
            if self._member is not None:
                shared.groups.leave(self._member)
            raise
        self._positions = self._assignment.positions
        self._is_closed = False
        shared.register(self)

    # --- reading ------------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Record[K, V]]:
        while True:
            batch = self._next_batch(self._timeout)
            if batch is None:
                return
            yield from self._hand_out(batch)

    async def __aiter__(self) -> AsyncIterator[Record[K, V]]:
        import asyncio  # here, because programs without it should not wait for its import

        loop = asyncio.get_running_loop()
        while True:
            deadline = None if self._timeout is None else time.monotonic() + self._timeout
            while (batch := self._next_batch(0.0)) is None:
                left = _WAIT_SLICE if deadline is None else min(_WAIT_SLICE, deadline - time.monotonic())
                if left <= 0:
                    return
                # Only the waiting leaves this thread; the consumer itself stays on it.
                await loop.run_in_executor(
                    None, self._core.wait, self._assignment.awaited(), left, self._is_read_committed
                )
            for record in self._hand_out(batch):
                yield record

    def _hand_out(self, batch: list[Record[K, V]]) -> Iterator[Record[K, V]]:
        """One record after the other, until a seek or a close ends the batch."""
        epoch = self._epoch
        for start in range(0, len(batch), _CHUNK):
            for record in batch[start : start + _CHUNK]:
                self._current = record
                yield record
                if self._epoch != epoch:
                    return
            self._keep_up()

    def poll(self, *, timeout: Duration | None = None, max_records: int | None = None) -> list[Record[K, V]]:
        """Take a batch of records of one partition, all of them counted as handed out.

        Args:
            timeout: How long to wait for a first record; default the consumer's ``timeout``, else 1 s.
            max_records: At most so many; default all that one fetch brings.

        Returns:
            Records in offset order; empty when the time is up.

        Raises:
            SerdeError: The next record does not decode and ``on_error`` is ``"raise"``.
            OffsetOutOfRangeError: No position, and ``auto_offset_reset="none"``.
            FencedInstanceIdError: A newer consumer has this one's ``group_instance_id``.
        """
        if max_records is not None and max_records < 1:
            raise InvalidArgumentError(f"expected 1 record or more, got {max_records} - at max_records")
        default = 1.0 if self._timeout is None else self._timeout
        seconds = default if timeout is None else parse_duration_ms(timeout, "timeout") / 1000
        batch = self._next_batch(seconds)
        if batch is None:
            return []
        if max_records is not None and len(batch) > max_records:
            batch = batch[:max_records]
        self._current = batch[-1]
        return batch

    def _next_batch(self, seconds: float | None) -> list[Record[K, V]] | None:
        """Wait for records of some partition and hand them over; they stay accounted for as the active batch."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            self._check_open()
            self._settle()
            self._follow_group()
            if self._is_auto_commit and time.monotonic() >= self._next_auto_commit:
                self._commit_done()
            batch = self._take()
            if batch is not None:
                return batch
            left = _WAIT_SLICE if deadline is None else min(_WAIT_SLICE, deadline - time.monotonic())
            if left <= 0:
                return None
            self._core.wait(self._assignment.awaited(), left, self._is_read_committed)

    def _keep_up(self) -> None:
        """In the middle of a batch: show the group a sign of life and commit if it is time to."""
        if self._member is not None:
            self._shared.groups.show_life(self._member)
            if self._is_auto_commit and time.monotonic() >= self._next_auto_commit:
                self._commit_done()

    def _take(self) -> list[Record[K, V]] | None:
        """Give every partition its turn and return the first batch found."""
        for place, position in self._assignment.in_turn():
            if position.is_drained():
                self._fetch(place, position)
            if position.is_drained():
                continue
            if self._member is not None and not self._shared.groups.mark_dirty(self._member, place, position.grant):
                continue  # it has just gone to another member: the next look at the group drops it
            if not position.records:
                assert position.error is not None
                error, position.error = position.error, None
                position.next = position.done  # the same record again, unless the caller seeks past it
                raise error
            batch, position.records = position.records, []
            self._active, self._batch, self._current = place, batch, None
            self._batches += 1
            return batch
        return None

    def _fetch(self, place: TopicPartition, position: Position) -> None:
        """Read and decode until a fetch brings records, an error, or the end."""
        while position.is_drained():
            try:
                fetched = self._core.fetch(*place, position.next, self._fetch_size, self._is_read_committed)
            except OffsetOutOfRangeError:
                position.move(self._assignment.reset_offset(place))
                continue
            following, offsets, timestamps, keys, values, headers = fetched
            if following == position.next:
                return
            records, error = self._decoder.decode(place, offsets, timestamps, keys, values, headers)
            position.fill(records, error, following)

    def _settle(self) -> None:
        """Account for the active batch: what was handed out is done, the rest goes back to its partition."""
        place, batch, current = self._active, self._batch, self._current
        if place is None:
            return
        self._active, self._batch, self._current = None, [], None
        position = self._positions.get(place)
        handed = _handed_out(batch, current)
        self._records += handed
        if position is None:
            return
        position.records = batch[handed:] if handed else batch
        if not position.records:
            position.done = position.records_end
        elif current is not None:
            position.done = current.offset + 1

    # --- positions ----------------------------------------------------------------------------------------------------

    def seek(self, topic: str, partition: int, offset: int) -> None:
        """Continue a partition at an offset; records already fetched are dropped.

        Args:
            topic: Name of the topic.
            partition: Number of the partition.
            offset: The next record's offset.

        Raises:
            InvalidArgumentError: The partition is not assigned to this consumer, or the offset is negative.
        """
        if not isinstance(offset, int) or offset < 0:
            raise InvalidArgumentError(f"expected an offset of 0 or more, got {offset!r} - at seek of {topic!r}")
        self._settled(topic, partition).move(offset)

    def seek_to_beginning(self) -> None:
        """Continue every assigned partition at its first record."""
        for place in self.assignment():
            self._settled(*place).move(self._core.watermarks(*place)[0])

    def seek_to_committed(self) -> None:
        """Continue every assigned partition where the group has committed, else where ``auto_offset_reset`` says.

        After a transaction that was aborted: what it had read is read again.
        """
        committed = self._assignment.committed_offsets()
        for place in self.assignment():
            offset = committed.get(place)
            self._settled(*place).move(self._assignment.reset_offset(place) if offset is None else offset)

    def seek_to_end(self) -> None:
        """Continue every assigned partition after its last record."""
        for place in self.assignment():
            self._settled(*place).move(self._assignment.end(place))

    def position(self, topic: str, partition: int) -> int:
        """The offset of the next record to be handed out.

        Args:
            topic: Name of the topic.
            partition: Number of the partition.
        """
        return self._settled(topic, partition, is_moving=False).done

    def committed(self, topic: str, partition: int) -> int | None:
        """The group's committed offset, or None.

        Args:
            topic: Name of the topic.
            partition: Number of the partition.
        """
        self._check_open()
        return self._assignment.committed_offsets().get(TopicPartition(topic, partition))

    def offsets_for_times(self, timestamp: Timestamp) -> dict[TopicPartition, int | None]:
        """By assigned partition, the first offset whose timestamp is at or after an instant; None if there is none.

        Args:
            timestamp: Milliseconds or an aware `datetime`.
        """
        instant = to_timestamp_ms(timestamp)
        answers = {place: self._core.offset_for_timestamp(*place, instant) for place in sorted(self.assignment())}
        return {place: None if found is None else found[0] for place, found in answers.items()}

    def lag(self) -> dict[TopicPartition, int]:
        """By assigned partition, how many offsets lie between the position and the end."""
        self._check_open()
        done = self._done_offsets()
        return {place: max(0, self._assignment.end(place) - done[place]) for place in sorted(done)}

    def assignment(self) -> frozenset[TopicPartition]:
        """The partitions that this consumer reads now."""
        self._check_open()
        return frozenset(self._positions)

    def pause(self, *partitions: tuple[str, int]) -> None:
        """Hand out nothing from these partitions (default: all assigned ones) until `resume`.

        Args:
            *partitions: ``(topic, partition)`` pairs.
        """
        wanted = [TopicPartition(*pair) for pair in partitions] or list(self.assignment())
        for place in wanted:
            self._settled(*place)
        self._assignment.paused.update(wanted)

    def resume(self, *partitions: tuple[str, int]) -> None:
        """Undo `pause`.

        Args:
            *partitions: ``(topic, partition)`` pairs; default all.
        """
        self._check_open()
        self._assignment.paused.difference_update(
            [TopicPartition(*pair) for pair in partitions] or list(self._assignment.paused)
        )

    def paused(self) -> frozenset[TopicPartition]:
        """The paused partitions."""
        return frozenset(self._assignment.paused)

    def _settled(self, topic: str, partition: int, *, is_moving: bool = True) -> Position:
        """Find an assigned partition's position, exact at this moment; `is_moving` ends the batch being iterated."""
        self._check_open()
        position = self._positions.get(TopicPartition(topic, partition))
        if position is None:
            raise InvalidArgumentError(
                f"expected a partition assigned to this consumer, got {topic!r} partition {partition!r}; it has "
                f"{', '.join(f'{t}-{p}' for t, p in sorted(self._positions)) or 'none'}",
                topic=topic,
                partition=partition,
            )
        if is_moving:
            self._epoch += 1
            self._settle()
        else:
            position.done = self._done_offsets()[TopicPartition(topic, partition)]
        return position

    def _done_offsets(self) -> dict[TopicPartition, int]:
        """The next offset to commit of every partition, the record being processed counted as done."""
        done = {place: position.done for place, position in self._positions.items()}
        if self._active is not None and self._current is not None and self._active in done:
            is_last = self._current is self._batch[-1]
            end = self._positions[self._active].records_end
            done[self._active] = end if is_last else self._current.offset + 1
        return done

    # --- commits and the group ----------------------------------------------------------------------------------------

    def commit(self, offsets: Mapping[tuple[str, int], int] | None = None) -> None:
        """Remember how far the group has read; durable when it returns.

        Args:
            offsets: Next offset to read by ``(topic, partition)``; default everything handed out so far, the record
                being processed included.

        Raises:
            InvalidArgumentError: The consumer has no group.
            ClosedError: This consumer was taken for dead and its partitions went to others.
            FencedInstanceIdError: A newer consumer has this one's ``group_instance_id``.
        """
        self._check_open()
        if self._member is None:
            raise InvalidArgumentError("expected a consumer with a group, got one without; open it with group=")
        if offsets is None:
            self._commit(self._done_offsets())
            return
        chosen = {TopicPartition(*place): offset for place, offset in offsets.items()}
        for place, offset in chosen.items():
            if place not in self._positions:
                self._settled(*place, is_moving=False)
            if not isinstance(offset, int) or offset < 0:
                raise InvalidArgumentError(f"expected an offset of 0 or more, got {offset!r} - at commit of {place}")
        self._commit(chosen)

    def _commit(self, offsets: dict[TopicPartition, int]) -> None:
        self._note_committed(self._write_offsets(offsets, self._core.commit_offsets))

    def _write_offsets(
        self, offsets: dict[TopicPartition, int], write: Callable[[str, list[tuple[str, int, int, str]]], None]
    ) -> dict[TopicPartition, int]:
        """Write those of the offsets that are news to the group, if it lets this consumer; returns them."""
        assert self._member is not None and self._group is not None
        changed = {place: o for place, o in offsets.items() if self._positions[place].committed != o}
        group = self._group
        if changed:
            self._shared.groups.commit(
                self._member,
                changed,
                {place: self._positions[place].grant for place in changed},
                lambda kept: write(group, [(place.topic, place.partition, o, "") for place, o in kept.items()]),
            )
            self._commits += 1
        return changed

    def _note_committed(self, changed: dict[TopicPartition, int]) -> None:
        """Account for offsets that are committed: partitions of which nothing else is due may change hands."""
        assert self._member is not None
        for place, offset in changed.items():
            if place in self._positions:
                self._positions[place].committed = offset
        done = self._done_offsets()
        self._shared.groups.mark_clean(
            self._member,
            {
                place: position.grant
                for place, position in self._positions.items()
                if (place != self._active or self._current is self._batch[-1])
                and position.is_drained()
                and position.committed == done[place]
            },
        )
        self._next_auto_commit = time.monotonic() + self._auto_commit_seconds

    def _send_offsets(self, transaction: Transaction) -> Callable[[], None]:
        """Commit everything handed out so far in a transaction; the function returned accounts for it once that counts."""
        self._check_open()
        if self._member is None:
            raise InvalidArgumentError("expected a consumer with a group, got one without; open it with group=")
        if self._is_auto_commit:
            raise InvalidArgumentError(
                "expected a consumer that leaves commits to the transaction, got one with auto_commit=True"
            )
        changed = self._write_offsets(self._done_offsets(), transaction.send_offsets)
        return lambda: None if self._is_closed else self._note_committed(changed)

    def _commit_done(self) -> None:
        """The automatic commit; losing a partition is no error here, its records come again elsewhere."""
        try:
            self._commit(self._done_offsets())
        except ClosedError as error:
            _LOGGER.warning("automatic commit: %s", error)

    def _follow_group(self) -> None:
        """Give back what the group asks for, and take what it gives."""
        if self._member is None:
            self._assignment.adopt_new_partitions()
            return
        groups = self._shared.groups
        self._assignment.forget_stale_positions()
        owned, revoking = groups.heartbeat(self._member)
        if revoking:
            if self._is_auto_commit:
                self._commit_done()
            groups.release(self._member, revoking)
            owned, _ = groups.heartbeat(self._member)
        self._rebalances += owned != self._assignment.owned
        if owned != self._assignment.grants():
            self._assignment.adopt(owned)

    # --- the rest -----------------------------------------------------------------------------------------------------

    def statistics(self) -> ConsumerStatistics:
        """What this consumer has done so far."""
        return ConsumerStatistics(
            records=self._records + _handed_out(self._batch, self._current),
            batches=self._batches,
            skipped=self._decoder.skipped,
            commits=self._commits,
            rebalances=self._rebalances,
        )

    def close(self) -> None:
        """Leave the group, after a last commit if ``auto_commit``; closing twice does nothing.

        A static member keeps its partitions for its ``session_timeout``.
        """
        self._close(is_current_done=True)

    def _close(self, *, is_current_done: bool) -> None:
        if self._is_closed:
            return
        if self._shared.core.is_usable() and self._member is not None:
            if not is_current_done and self._current is not None:
                # The record being processed failed: it is not done.
                done = _handed_out(self._batch, self._current) - 1
                self._current = self._batch[done - 1] if done else None
            try:
                if self._is_auto_commit:
                    self._settle()
                    self._commit_done()
            finally:
                self._finish()
        else:
            self._finish()

    def _finish(self) -> None:
        self._is_closed = True
        self._epoch += 1
        if self._core.is_usable():
            if self._member is not None:
                self._shared.groups.leave(self._member)
            self._decoder.close()
        self._shared.unregister(self)

    def __enter__(self) -> Consumer[K, V]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close(is_current_done=kind is None)

    def __del__(self) -> None:
        # A consumer that nobody holds any more must not keep its partitions. It never commits: nobody asked for it.
        if not self._is_closed:
            self._is_closed = True
            if self._member is not None:
                self._shared.groups.abandon(self._member)

    def __repr__(self) -> str:
        group = "" if self._group is None else f", group={self._group!r}"
        return f"<Consumer {', '.join(self._topics)}{group}{' closed' if self._is_closed else ''}>"

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedError("expected an open consumer, got a closed one; make a new one with broker.consumer()")
        self._shared.check_usable()
        if self._member is not None:
            self._member.check_not_fenced()


def _handed_out(batch: list[Record[Any, Any]], current: Record[Any, Any] | None) -> int:
    """How many records of a batch have been handed out, `current` the last of them."""
    return 0 if current is None else bisect_right(batch, current.offset, key=_OFFSET)


def _one_of(name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    if value not in allowed:
        shown = ", ".join(repr(choice) for choice in allowed)
        raise InvalidArgumentError(f"expected one of {shown}, got {value!r} - at {name}")


def _check_group(group: Any, instance_id: Any, *, auto_commit: bool) -> None:
    """Refuse names that are none, and what only a group can do without one."""
    for setting, is_given in (("auto_commit", auto_commit), ("group_instance_id", instance_id is not None)):
        if is_given and group is None:
            raise InvalidArgumentError(f"expected a group, got none - at {setting}; give group=")
    for setting, name in (("group", group), ("group_instance_id", instance_id)):
        if name is not None and (not isinstance(name, str) or not name):
            raise InvalidArgumentError(f"expected a name, got {name!r} - at {setting}")
