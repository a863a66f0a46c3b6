"""The broker as a user sees it: the producers, consumers and frames that topics are written and read with, and groups.

What it can do with topics themselves is in `administration`, which directory it is a handle of in `handle`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from headwater._typing import (
    Acks,
    AutoOffsetReset,
    Compression,
    IsolationLevel,
    OnError,
    PartitionAssignmentStrategy,
)
from headwater.errors import InvalidArgumentError, UnknownGroupError, UnknownTopicError
from headwater.log.administration import TopicAdministration
from headwater.log.consumer import Consumer
from headwater.log.groups import GroupDescription, OffsetReset, ResetTarget, of_consumers, plan_reset
from headwater.records import TopicPartition
from headwater.serdes import Serde, resolve
from headwater.time import Duration, parse_duration_ms
from headwater.topics import Topic

if TYPE_CHECKING:
    import polars as pl

    from headwater.log.opening import SharedLog
    from headwater.log.producer import Producer

K = TypeVar("K")
V = TypeVar("V")

_COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")


class Broker(TopicAdministration):
    """An open log; made by `headwater.open`, closed by ``with`` or `close`. Threads may share one."""

    def __init__(self, shared: SharedLog, mode: Literal["rw", "r"]) -> None:
        """Use `headwater.open`."""
        super().__init__(shared, mode)
        self._many: Producer | None = None

    # --- producing ----------------------------------------------------------------------------------------------------

    def producer(
        self,
        *,
        acks: Acks = "all",
        linger: Duration = "5ms",
        batch_size: int = 131_072,
        compression: Compression | None = None,
        buffer_memory: int = 67_108_864,
        transactional_id: str | None = None,
        transaction_timeout: Duration = "1m",
    ) -> Producer:
        """Make a producer.

        Args:
            acks: What an acknowledgement means: ``"all"`` durable (as the topic's durability says), 1 written, 0 not
                waited for.
            linger: How long a batch waits for more records. ``"0s"`` sends as soon as the last batch is written.
            batch_size: Bytes of records at which a batch is sent at once.
            compression: ``"gzip"``, ``"snappy"``, ``"lz4"`` or ``"zstd"``.
            buffer_memory: Bytes of records that may wait; above it `send` blocks.
            transactional_id: Send in transactions (`Producer.begin`), under this name: a producer that has it already is
                fenced, and what it left open is aborted. Transactions sync, whatever the durability.
            transaction_timeout: A transaction that takes longer is aborted, and the producer fenced; at most 15 minutes.

        Returns:
            A `Producer`; close it or use ``with``.

        Raises:
            InvalidArgumentError: A wrong setting.
        """
        shared = self._writable()
        if acks not in ("all", -1, 0, 1) or isinstance(acks, bool):
            raise InvalidArgumentError(f'expected "all", 1 or 0, got {acks!r} - at acks')
        if compression not in (None, *_COMPRESSIONS):
            raise InvalidArgumentError(
                f"expected one of {', '.join(_COMPRESSIONS)}, got {compression!r} - at compression"
            )
        for name, size in (("batch_size", batch_size), ("buffer_memory", buffer_memory)):
            if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= 1 << 40:
                raise InvalidArgumentError(f"expected 1 byte or more, got {size!r} - at {name}")
        if transactional_id is None:
            transaction = None
        elif acks not in ("all", -1):
            raise InvalidArgumentError(f'expected acks="all" in transactions, got {acks!r} - at acks')
        else:
            transaction = shared.transaction(transactional_id, transaction_timeout)
        made = shared.producer(
            transaction=transaction,
            acks=-1 if acks == "all" else acks,
            linger_ms=parse_duration_ms(linger, "linger"),
            batch_size=min(batch_size, 64 << 20),
            compression=compression or "none",
            buffer_memory=buffer_memory,
        )
        made._owner = self
        return made

    def send_many(self, topic: str, rows: pl.DataFrame | Iterable[Any], *, key: Any = None, value: Any = None) -> int:
        """Write many records at once; durable when it returns.

        Args:
            topic: Name of the topic.
            rows: A Polars frame (columns ``key``, ``timestamp`` and ``partition`` are the record's own, the others the
                value's fields, or ``value``), or an iterable of ``(key, value)`` or ``(key, value, timestamp)`` tuples,
                `Record` objects, or plain values.
            key: Serde or type of the keys; default what the topic remembers, else by each key's type.
            value: Serde or type of the values, likewise.

        Returns:
            How many records were written.
        """
        if self._many is None:
            self._many = self._writable().producer(linger_ms=100, batch_size=1 << 20)
        count = self._many.send_many(topic, rows, key=key, value=value)
        self._many.flush()
        return count

    # --- consuming ----------------------------------------------------------------------------------------------------

    @overload
    def consumer(
        self,
        topics: str | Topic[K, V] | Sequence[str | Topic[Any, Any]],
        *,
        group: str | None = ...,
        auto_offset_reset: AutoOffsetReset = ...,
        isolation_level: IsolationLevel = ...,
        key: Serde[K] | type[K],
        value: Serde[V] | type[V],
        on_error: OnError = ...,
        auto_commit: bool = ...,
        auto_commit_interval: Duration = ...,
        timeout: Duration | None = ...,
        fetch_size: int = ...,
        max_poll_interval: Duration = ...,
        partition_assignment_strategy: PartitionAssignmentStrategy = ...,
        group_instance_id: str | None = ...,
        session_timeout: Duration = ...,
    ) -> Consumer[K, V]: ...
    @overload
    def consumer(
        self,
        topics: str | Topic[Any, Any] | Sequence[str | Topic[Any, Any]],
        *,
        group: str | None = ...,
        auto_offset_reset: AutoOffsetReset = ...,
        isolation_level: IsolationLevel = ...,
        key: Any = ...,
        value: Serde[V] | type[V],
        on_error: OnError = ...,
        auto_commit: bool = ...,
        auto_commit_interval: Duration = ...,
        timeout: Duration | None = ...,
        fetch_size: int = ...,
        max_poll_interval: Duration = ...,
        partition_assignment_strategy: PartitionAssignmentStrategy = ...,
        group_instance_id: str | None = ...,
        session_timeout: Duration = ...,
    ) -> Consumer[Any, V]: ...
    @overload
    def consumer(
        self,
        topics: str | Topic[Any, Any] | Sequence[str | Topic[Any, Any]],
        *,
        group: str | None = ...,
        auto_offset_reset: AutoOffsetReset = ...,
        isolation_level: IsolationLevel = ...,
        key: Any = ...,
        value: Any = ...,
        on_error: OnError = ...,
        auto_commit: bool = ...,
        auto_commit_interval: Duration = ...,
        timeout: Duration | None = ...,
        fetch_size: int = ...,
        max_poll_interval: Duration = ...,
        partition_assignment_strategy: PartitionAssignmentStrategy = ...,
        group_instance_id: str | None = ...,
        session_timeout: Duration = ...,
    ) -> Consumer[Any, Any]: ...
    def consumer(
        self,
        topics: str | Topic[Any, Any] | Sequence[str | Topic[Any, Any]],
        *,
        group: str | None = None,
        auto_offset_reset: AutoOffsetReset = "latest",
        isolation_level: IsolationLevel = "read_uncommitted",
        key: Any = None,
        value: Any = None,
        on_error: OnError = "raise",
        auto_commit: bool = False,
        auto_commit_interval: Duration = "5s",
        timeout: Duration | None = None,
        fetch_size: int = 1_048_576,
        max_poll_interval: Duration = "5m",
        partition_assignment_strategy: PartitionAssignmentStrategy = "range",
        group_instance_id: str | None = None,
        session_timeout: Duration = "45s",
    ) -> Consumer[Any, Any]:
        """Make a consumer.

        Args:
            topics: One topic or several, by name or as `Topic`.
            group: Name of the group that shares the partitions and remembers positions; without one the consumer reads
                every partition and remembers nothing.
            auto_offset_reset: Where to begin without a (valid) committed offset: ``"earliest"``, ``"latest"``, or
                ``"none"`` for an error.
            isolation_level: ``"read_committed"`` hides records of aborted and open transactions.
            key: Serde or type of the keys; default what the topic remembers, else bytes.
            value: Serde or type of the values, likewise.
            on_error: What to do with a record that does not decode: ``"raise"``, ``"skip"``, ``"topic:NAME"``, or a
                callable ``(error, record) -> Record | None`` where None skips.
            auto_commit: Commit every `auto_commit_interval`, when a partition is given back, and at `close`.
            auto_commit_interval: How often.
            timeout: Iteration ends after so long without a record; default never.
            fetch_size: Bytes to read from a partition at a time.
            max_poll_interval: A group takes a member for dead that has not asked for records for so long.
            partition_assignment_strategy: How the group shares its partitions, the same for all members: ``"range"``, or
                ``"cooperative-sticky"``, which moves as few as it can.
            group_instance_id: Makes this a static member: when it closes, its partitions wait for the consumer that comes
                back with the same id, for `session_timeout`. A second one with the id takes over, and fences the first.
            session_timeout: How long a static member may be away.

        Returns:
            A `Consumer`; close it or use ``with``.

        Raises:
            UnknownTopicError: A topic does not exist.
            InvalidArgumentError: A wrong setting, or the group's members use another strategy.
        """
        shared = self._shared
        if not isinstance(topics, (str, Topic, Iterable)):
            raise InvalidArgumentError(f"expected a topic or several, got {topics!r} - at topics")
        listed = [topics] if isinstance(topics, (str, Topic)) else list(topics)
        if not listed:
            raise InvalidArgumentError("expected at least one topic, got none - at topics")
        described = [topic if isinstance(topic, Topic) else Topic(topic) for topic in listed]
        for topic in described:
            shared.partitions_of(topic.name)
        made = Consumer(
            shared,
            described,
            group=group,
            auto_offset_reset=auto_offset_reset,
            isolation_level=isolation_level,
            key=None if key is None else resolve(key),
            value=None if value is None else resolve(value),
            on_error=on_error,
            auto_commit=auto_commit,
            auto_commit_interval=auto_commit_interval,
            timeout=timeout,
            fetch_size=fetch_size,
            max_poll_interval=max_poll_interval,
            partition_assignment_strategy=partition_assignment_strategy,
            group_instance_id=group_instance_id,
            session_timeout=session_timeout,
        )
        made._owner = self
        return made

    def read_frame(self, topic: str, *, key: Any = None, value: Any = None) -> pl.DataFrame:
        """Read a whole topic as a frame.

        Args:
            topic: Name of the topic.
            key: Serde or type of the keys; default what the topic remembers, else bytes.
            value: Serde or type of the values, likewise.

        Returns:
            One row a record, ordered by partition and offset: ``partition, offset, timestamp, key``, then the value's
            fields (or ``value`` when it is a scalar).

        Raises:
            UnknownTopicError: There is no such topic.
        """
        self._shared.partitions_of(topic)
        from headwater import frames

        found: pl.DataFrame = frames.read_frame(self, topic, key=key, value=value)
        return found

    # --- groups -------------------------------------------------------------------------------------------------------

    def groups(self) -> list[str]:
        """Names of the groups that have members or committed offsets, in order."""
        return sorted({*self._shared.core.groups(), *self._shared.groups.groups()})

    def describe_group(self, group: str) -> GroupDescription:
        """Describe a group: who is in it and owns what, and how far it has read.

        Args:
            group: Name of the group.

        Raises:
            UnknownGroupError: It has neither members nor committed offsets.
        """
        state, strategy, members = self._shared.groups.describe(group)
        committed = self.committed(group)
        if not members and not committed:
            raise UnknownGroupError(
                f"expected a group with members or committed offsets, got {group!r}; broker.groups() has their names"
            )
        return GroupDescription(
            name=group, state=state, strategy=strategy, members=members, committed=committed, lag=self.lag(group)
        )

    def committed(self, group: str) -> dict[TopicPartition, int]:
        """A group's committed offsets: by partition, the next offset to read.

        Args:
            group: Name of the group.
        """
        return {TopicPartition(t, p): offset for t, p, offset, _ in sorted(self._shared.core.fetch_offsets(group))}

    def lag(self, group: str) -> dict[TopicPartition, int]:
        """By partition, how many offsets lie between a group's committed offset and the end.

        Args:
            group: Name of the group.
        """
        core, found = self._shared.core, {}
        for place, offset in self.committed(group).items():
            try:
                found[place] = max(0, core.watermarks(*place)[2] - offset)
            except UnknownTopicError:  # deleted since
                continue
        return found

    def reset_offsets(
        self,
        group: str,
        *,
        to: ResetTarget | None = None,
        shift_by: int | None = None,
        topics: Iterable[str] | None = None,
        partitions: Iterable[tuple[str, int]] | None = None,
        dry_run: bool = False,
    ) -> dict[TopicPartition, OffsetReset]:
        """Move a group without members to other offsets, durable when it returns.

        Without `topics` and `partitions`, every partition that the group has committed is moved. An offset outside the
        log becomes its nearer end.

        Args:
            group: Name of the group; it may be new if `topics` or `partitions` say what to set.
            to: ``"earliest"``; ``"latest"``; a time (milliseconds or an aware `datetime`), for the first record at or
                after it, or the end if there is none; or offsets by ``(topic, partition)``, for these partitions alone.
            shift_by: Instead of `to`: so many offsets forward, or back if negative, from what is committed.
            topics: All partitions of these topics.
            partitions: These partitions, as ``(topic, partition)``; together with those of `topics`.
            dry_run: Say what would be done, and do nothing.

        Returns:
            The old and the new offset of each partition, in order.

        Raises:
            InvalidArgumentError: The group has members or is an application's, a partition to shift has no committed
                offset, or the arguments do not go together.
            UnknownGroupError: Nothing is committed, and neither `topics` nor `partitions` are given.
            UnknownTopicError: A topic or partition that was named does not exist.
        """
        shared = self._shared if dry_run else self._writable()

        def reset() -> dict[TopicPartition, OffsetReset]:
            plan = plan_reset(shared.core, group, to=to, shift_by=shift_by, topics=topics, partitions=partitions)
            if plan and not dry_run:
                shared.core.commit_offsets(group, [(t, p, reset.new, "") for (t, p), reset in plan.items()])
            return plan

        return shared.groups.while_empty(group, reset)

    def delete_group(self, group: str) -> None:
        """Forget a group's committed offsets.

        Args:
            group: Name of the group.

        Raises:
            InvalidArgumentError: The group has consumers.
        """
        shared = self._writable()
        shared.groups.while_empty(group, lambda: shared.core.delete_group(group))

    def delete_offsets(
        self,
        group: str,
        *,
        topics: Iterable[str] = (),
        partitions: Iterable[tuple[str, int]] = (),
    ) -> list[TopicPartition]:
        """Forget what a group without members has committed for some topics or partitions, also of deleted topics.

        Args:
            group: Name of the group.
            topics: All partitions of these topics.
            partitions: These partitions, as ``(topic, partition)``; together with those of `topics`.

        Returns:
            The partitions that had a committed offset and have none now, in order.

        Raises:
            InvalidArgumentError: The group has members or is an application's, or a topic is not given in a list.
        """
        shared = self._writable()
        if isinstance(topics, str):
            raise InvalidArgumentError(f"expected a list of topics, got {topics!r} - at topics; write [{topics!r}]")
        of_topics, of_partitions = set(topics), {TopicPartition(*place) for place in partitions}

        def delete() -> list[TopicPartition]:
            committed = of_consumers(shared.core, group)
            meant = {(t, p) for t, p in committed if t in of_topics} | of_partitions
            return [TopicPartition(*place) for place in shared.core.delete_offsets(group, meant)]

        return shared.groups.while_empty(group, delete)

    # --- the rest -----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close this handle; the last one of its directory flushes producers, closes consumers and frees the lock."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._many is not None and self._shared_log.core.is_usable():
            self._many.close()
        self._shared_log.release()

    def __enter__(self) -> Broker:
        self._shared  # noqa: B018  (refuses a closed handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_is_closed", True):
            self.close()

    def __repr__(self) -> str:
        state = ", closed" if self._is_closed else ""
        return f"<Broker {self.path!r}, durability={self.durability!r}, mode={self._mode!r}{state}>"
