"""A producer: records in, acknowledgements out. The path of a record is Rust's (`_core.Producer`); this is its surface.

`send` encodes key and value, chooses the partition (the one given; else Kafka's murmur2 of the key; else one partition
until its batch is full, then the next), and adds the record to that partition's batch. A Rust thread appends batches when
they are full, when ``linger`` has passed or when somebody waits, and completes the handles. When ``buffer_memory`` is
full, `send` waits: no record is ever dropped.

With a ``transactional_id`` records are sent in transactions, which are decided in Rust (`_core.Transaction`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any

import msgspec

from headwater import _core
from headwater.errors import ClosedError, HeadwaterError, InvalidArgumentError, ProducerFencedError
from headwater.records import Record, RecordMetadata
from headwater.serdes import Serde, json, resolve, serde_for_value
from headwater.time import Duration, parse_duration_ms

if TYPE_CHECKING:
    from headwater.log.consumer import Consumer
    from headwater.log.opening import SharedLog

SendHandle = _core.SendHandle
_ANY = json()
encode_json = msgspec.json.Encoder().encode  # Rust calls it for what is neither bytes, str, int nor float


def encode_any(value: Any) -> bytes:
    """Encode a value of an undeclared type; Rust calls this for what it does not encode itself.

    Args:
        value: Not None, and neither bytes, str, an int of 64 bits nor a float.
    """
    if isinstance(value, (int, str, bytearray, memoryview)) and not isinstance(value, bool):
        return serde_for_value(value).serialize(value)
    return _ANY.serialize(value)


class Producer(_core.Producer):
    """Writes topics; made by `Broker.producer`, closed by ``with`` or `close`. Threads may share one."""

    _shared: SharedLog
    _owner: Any  # the broker handle, which must not be collected before its producer
    _transaction: _core.Transaction | None = None
    _offered: list[Callable[[], None]]  # what is to be done once the open transaction is committed
    _is_closed = False

    def send_many(self, topic: str, rows: Any, *, key: Any = None, value: Any = None) -> int:
        """Write many records at once, without a handle each; `flush` waits for them and raises what went wrong.

        Args:
            topic: Name of the topic.
            rows: A Polars frame, or an iterable of ``(key, value)`` or ``(key, value, timestamp)`` tuples, `Record`
                objects, or plain values.
            key: Serde or type of the keys; default what the topic remembers, else by each key's type.
            value: Serde or type of the values, likewise.

        Returns:
            How many records were taken.
        """
        key_serde, value_serde = self._shared.serdes_of(topic)
        key_serde = key_serde if key is None else resolve(key)
        value_serde = value_serde if value is None else resolve(value)
        if hasattr(rows, "get_columns"):
            from headwater import frames

            return self.send_frame(topic, frames.to_records(rows, key=key_serde, value=value_serde))
        keys: list[Any] = []
        values: list[Any] = []
        timestamps: list[Any] = []
        headers: list[Any] = []
        for row in rows:
            if isinstance(row, Record):
                entry: tuple[Any, Any, Any, Any] = (row.key, row.value, row.timestamp, row.headers)
            elif isinstance(row, tuple) and len(row) in (2, 3):
                entry = (row[0], row[1], row[2] if len(row) == 3 else None, None)
            else:
                entry = (None, row, None, None)
            keys.append(entry[0])
            values.append(entry[1])
            timestamps.append(entry[2])
            headers.append(entry[3] or None)
        return self.send_columns(topic, _encode(keys, key_serde), _encode(values, value_serde), timestamps, headers)

    # --- transactions -------------------------------------------------------------------------------------------------

    def begin(self) -> TransactionScope:
        """Begin a transaction: what is sent from now on counts when it is committed, all of it or nothing.

        Returns:
            For ``with``: commits at its end, aborts on an exception, does nothing if you have ended the transaction
            yourself. Without ``with``, call `commit` or `abort`.

        Raises:
            InvalidArgumentError: The producer has no ``transactional_id``, or a transaction is open.
            ClosedError: The producer is closed.
            ProducerFencedError: Another producer has taken over the ``transactional_id``.
        """
        self._transactional().begin()
        self._offered = []
        return TransactionScope(self)

    def commit(self) -> None:
        """Commit the open transaction: durable, and visible to ``read_committed``, when it returns.

        What other threads send while this runs is refused.

        Raises:
            InvalidArgumentError: No open transaction, or one of which a part could not be written: abort it.
            StorageError: A record could not be written: abort. Or the decision could not: commit again, or abort.
            ClosedError: A sync failed. Whether this is committed shows when the broker is opened again.
            ProducerFencedError: Another producer has taken over the ``transactional_id``, or this took too long.
        """
        transaction = self._transactional()
        transaction.seal()
        self.flush()
        transaction.commit()
        for account in self._offered:
            account()
        self._offered = []

    def abort(self) -> None:
        """Abort the open transaction: nothing of it will ever count.

        Raises:
            InvalidArgumentError: No open transaction.
            StorageError: It could not be written: abort again.
            ProducerFencedError: Another producer has taken over the ``transactional_id``, or this took too long.
        """
        transaction = self._transactional()
        transaction.seal()
        try:
            self.flush()  # what waits belongs to this transaction, not to the next
        except HeadwaterError:
            pass  # it is aborted either way
        transaction.abort()
        self._offered = []

    def send_offsets(
        self, source: Consumer[Any, Any] | Mapping[tuple[str, int], int], *, group: str | None = None
    ) -> None:
        """Commit offsets with the transaction: what was read counts as read exactly if what was written counts.

        Args:
            source: A consumer with a group, for everything that it has handed out; or next offsets by
                ``(topic, partition)``.
            group: The group, for offsets.

        Raises:
            InvalidArgumentError: No open transaction, no group, no such offset, or a consumer that commits by itself.
            UnknownTopicError: No such topic.
            ClosedError: The consumer was taken for dead and its partitions went to others.
        """
        transaction = self._transactional()
        if not transaction.is_open():
            raise InvalidArgumentError(
                "expected an open transaction, got none - at send_offsets; begin one with producer.begin()"
            )
        if isinstance(source, Mapping):
            transaction.send_offsets(_a_group(group), [self._entry(*place, o) for place, o in source.items()])
        elif not hasattr(source, "_send_offsets"):
            raise InvalidArgumentError(
                f"expected a consumer or a mapping of offsets, got {source!r} - at send_offsets; "
                "give next offsets by (topic, partition)"
            )
        elif group is not None:
            raise InvalidArgumentError(
                f"expected no group beside a consumer, which has its own, got {group!r} - at send_offsets"
            )
        elif source._shared is not self._shared:
            raise InvalidArgumentError(
                f"expected a consumer of the producer's broker, got {source!r} - at send_offsets"
            )
        else:
            self._offered.append(source._send_offsets(transaction))

    def _entry(self, topic: str, partition: int, offset: int) -> tuple[str, int, int, str]:
        last = self._shared.partitions_of(topic) - 1
        for name, number, highest in (("partition", partition, last), ("offset", offset, (1 << 63) - 1)):
            if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= highest:
                raise InvalidArgumentError(
                    f"expected the {name} to be 0 to {highest}, got {number!r} - at send_offsets for {topic!r}",
                    topic=topic,
                )
        return (topic, partition, offset, "")

    def _transactional(self) -> _core.Transaction:
        if self._transaction is None:
            raise InvalidArgumentError(
                "expected a producer with a transactional_id, got one without; make it with "
                'broker.producer(transactional_id="...")'
            )
        if self._is_closed:
            raise ClosedError("expected an open producer, got a closed one; make a new one with broker.producer()")
        return self._transaction

    def _is_in_transaction(self) -> bool:
        is_open = self._transaction is not None and not self._is_closed and self._transaction.is_open()
        return is_open and self._shared.core.is_usable()

    def close(self) -> None:
        """Flush and end; an open transaction is aborted. Closing twice does nothing."""
        try:
            if self._is_in_transaction():
                self.abort()
        except ProducerFencedError:
            pass  # whoever fenced it has aborted it
        finally:
            self._is_closed = True
            super().close()

    def _unfinished(self) -> str | None:
        """What `close` has to finish, in words; None if there is nothing."""
        if self._is_in_transaction():
            return "in the middle of a transaction, which is aborted now; commit or abort it yourself"
        if self.is_unflushed():
            return "unflushed; it is flushed now, but call flush() or close() yourself"
        return None

    def __enter__(self) -> Producer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        try:
            if unfinished := self._unfinished():
                warnings.warn(f"{self!r} was dropped {unfinished}", ResourceWarning, stacklevel=1, source=self)
            self.close()
        except RuntimeError:  # closed or forked: nothing to save here
            return

    def __repr__(self) -> str:
        return f"<Producer {self.describe()}>"


class TransactionScope:
    """An open transaction, for ``with``."""

    def __init__(self, producer: Producer) -> None:
        """Use `Producer.begin`."""
        self._producer = producer

    def __enter__(self) -> Producer:
        return self._producer

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._producer._is_in_transaction():
            return  # ended inside of the block
        if kind is None:
            self._commit()
        elif not issubclass(kind, ProducerFencedError):
            self._abort()

    def _commit(self) -> None:
        try:
            self._producer.commit()
        except ProducerFencedError:
            raise
        except HeadwaterError:
            # Nobody is left to try again: nothing stays open, unless it is decided and only its end is missing.
            with suppress(HeadwaterError):
                self._abort()
            raise

    def _abort(self) -> None:
        with suppress(ProducerFencedError):  # whoever fenced it has aborted it
            self._producer.abort()


def _a_group(group: str | None) -> str:
    if not isinstance(group, str) or not group:
        raise InvalidArgumentError(f"expected the group that the offsets belong to, got {group!r} - at send_offsets")
    return group


def _encode(values: list[Any], serde: Serde[Any] | None) -> list[bytes | None]:
    """Encode a column; bytes go as they are, and without a serde each value by its own type."""
    if serde is not None and not any(type(value) is bytes for value in values):
        return serde.serialize_many(values)
    return [
        value if value is None or type(value) is bytes else (serde or serde_for_value(value)).serialize(value)
        for value in values
    ]


# --- the methods of a handle, whose type is made in Rust ---------------------------------------------------------------


def _done(self: SendHandle) -> bool:
    """Whether `result` would return or raise at once."""
    return _core.handle_done(self)


def _send_now(self: SendHandle) -> None:
    """Send the record's batch without waiting for linger."""
    _core.handle_send_now(self)


def _result(handle: SendHandle, timeout: Duration | None = None) -> RecordMetadata:
    """Send the record at once, wait for its acknowledgement, and say where it is.

    Args:
        handle: What ``send`` returned.
        timeout: How long to wait; default for ever.

    Raises:
        StorageError: The record could not be written (disk full, I/O error): it is not in the log.
        ClosedError: A sync failed before; the broker must be opened again.
        TimeoutError: The time is up; the record is still being sent.
    """
    return _core.handle_result(handle, None if timeout is None else parse_duration_ms(timeout, "timeout") / 1000)


def _await(self: SendHandle) -> Generator[Any, None, RecordMetadata]:
    """Wait without blocking the event loop: Rust's thread never calls Python, so a helper thread waits."""
    if _core.handle_done(self):
        return _core.handle_result(self)
    _core.handle_send_now(self)
    import asyncio  # here, because programs without it should not wait for its import

    return (yield from asyncio.get_running_loop().run_in_executor(None, _core.handle_result, self).__await__())


def _repr(self: SendHandle) -> str:
    return f"<SendHandle {_core.handle_describe(self)}>"


for _name, _function in {
    "done": _done,
    "send_now": _send_now,
    "result": _result,
    "__await__": _await,
    "__repr__": _repr,
}.items():
    _function.__name__, _function.__qualname__ = _name, f"SendHandle.{_name}"
    setattr(SendHandle, _name, _function)
