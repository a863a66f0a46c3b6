"""From a path to an open log: one shared handle per directory and process, closed with its last user.

What is shared is the Rust core, the group coordinator and the serdes that topics remember. A fork makes every handle of
the child unusable (its threads and locks did not come along): using one is a `ClosedError`. At exit, producers that
still hold records are flushed, with a `ResourceWarning`.
"""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import threading
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, Protocol

import msgspec

from headwater import _core
from headwater._typing import Mode
from headwater.errors import ClosedError, InvalidArgumentError, LockedError, UnknownTopicError
from headwater.log.broker import Broker
from headwater.log.descriptions import PartitionDescription
from headwater.log.groups import GroupCoordinator
from headwater.log.producer import Producer
from headwater.serdes import Serde, serde_from_config, serde_to_config
from headwater.time import Duration, parse_duration_ms
from headwater.topics import TOPIC_ID, check_topic_name

_LOGGER = logging.getLogger("headwater")
MAX_TRANSACTION_MS = 15 * 60 * 1000
"""Kafka's limit on the time-out of a transaction."""

_LOCK = threading.RLock()
_OPEN: dict[tuple[str, str], SharedLog] = {}
_PRODUCERS: weakref.WeakSet[Producer] = weakref.WeakSet()


class _Closable(Protocol):
    def close(self) -> None: ...


class SharedLog:
    """What all handles of one directory in this process share."""

    def __init__(self, place: tuple[str, str], core: _core.Log, durability: str) -> None:
        self.place = place
        self.core = core
        self.durability = durability
        self.references = 0
        self.groups = GroupCoordinator(self.partitions_of, core.notify)
        self._applications: set[str] = set()
        self.children: weakref.WeakSet[Any] = weakref.WeakSet()
        self._remembered: dict[str, tuple[Serde[Any] | None, Serde[Any] | None]] = {}

    # --- topics -------------------------------------------------------------------------------------------------------

    def partitions_of(self, topic: str) -> int:
        """Partition count of a topic.

        Args:
            topic: Name of the topic.

        Raises:
            UnknownTopicError: There is no such topic.
        """
        return self.core.topic(topic)[0]

    def create_topic(self, name: str, partitions: int, config: dict[str, str]) -> None:
        """Create a topic with Kafka's configuration names.

        Args:
            name: Name of the topic.
            partitions: How many partitions.
            config: Kafka's names and values as text.
        """
        self.check_writable()
        self._remembered.pop(name, None)
        self.core.create_topic(check_topic_name(name), partitions, {**config, TOPIC_ID: secrets.token_hex(8)})

    def create_topic_if_missing(self, name: str, partitions: int) -> None:
        """Create a topic unless it exists.

        Args:
            name: Name of the topic.
            partitions: How many partitions.
        """
        with _LOCK:
            try:
                self.core.topic(name)
            except UnknownTopicError:
                self.create_topic(name, partitions, {})

    def add_partitions(self, topic: str, total: int) -> None:
        """Give a topic more partitions, and its groups the news.

        Args:
            topic: Name of the topic.
            total: How many it has afterwards.
        """
        self.check_writable()
        _core.add_partitions(self.core, topic, total)
        self.groups.topic_changed(topic)

    def alter_config(self, topic: str, changes: dict[str, str | None]) -> None:
        """Change some settings of a topic.

        Args:
            topic: Name of the topic.
            changes: By Kafka's names; None takes a setting out.
        """
        self.check_writable()
        with _LOCK:
            config = {**self.core.topic(topic)[1], **changes}
            self.core.set_topic_config(topic, {name: text for name, text in config.items() if text is not None})
            self._remembered.pop(topic, None)

    def describe_partitions(self, topic: str) -> list[PartitionDescription]:
        """Describe every partition of a topic.

        Args:
            topic: Name of the topic.
        """
        numbers = range(self.partitions_of(topic))
        return [PartitionDescription.of(topic, p, _core.describe_partition(self.core, topic, p)) for p in numbers]

    def delete_topic(self, name: str) -> None:
        """Delete a topic and what is in it.

        Args:
            name: Name of the topic.
        """
        self.check_writable()
        self.core.delete_topic(name)
        self.groups.topic_deleted(name)
        self._remembered.pop(name, None)

    def topic_id(self, topic: str) -> str:
        """What tells a topic from an earlier one of its name; empty where that is not known.

        Args:
            topic: Name of the topic.

        Raises:
            UnknownTopicError: There is no such topic.
        """
        return self.core.topic(topic)[1].get(TOPIC_ID, "")

    def serdes_of(self, topic: str) -> tuple[Serde[Any] | None, Serde[Any] | None]:
        """The serdes that a topic remembers.

        Args:
            topic: Name of the topic.
        """
        found = self._remembered.get(topic)
        if found is None:
            config = self.core.topic(topic)[1]
            found = (_serde(config.get("headwater.key")), _serde(config.get("headwater.value")))
            self._remembered[topic] = found
        return found

    def remember_serdes(self, topic: str, key: Serde[Any] | None, value: Serde[Any] | None) -> None:
        """Let a topic remember serdes, where it remembers none yet.

        Args:
            topic: Name of the topic.
            key: Serde of the keys.
            value: Serde of the values.
        """
        self.check_writable()
        with _LOCK:
            config = self.core.topic(topic)[1]
            added = {n: text for n, text in serde_settings(key, value).items() if n not in config}
            if added:
                self.core.set_topic_config(topic, {**config, **added})
                self._remembered.pop(topic, None)

    # --- applications -------------------------------------------------------------------------------------------------

    @contextmanager
    def application(self, id: str) -> Iterator[None]:
        """Run an application: one at a time of its id, since two would both write its state and positions.

        Args:
            id: The application's.

        Raises:
            LockedError: It is running.
        """
        with _LOCK:
            if id in self._applications:
                raise LockedError(
                    f"expected application '{id}' to run once, got a second one in process {os.getpid()} - at "
                    f"{self.place[0]}; stop the first, or give this one an id of its own"
                )
            self._applications.add(id)
        try:
            yield
        finally:
            self._applications.discard(id)

    # --- handles ------------------------------------------------------------------------------------------------------

    def producer(
        self,
        acks: int = -1,
        linger_ms: int = 5,
        batch_size: int = 1 << 17,
        compression: str = "none",
        buffer_memory: int = 64 << 20,
        transaction: _core.Transaction | None = None,
    ) -> Producer:
        """Make a producer, known to `close` and to the exit handler."""
        self.check_writable()
        made = Producer(self.core, acks, linger_ms, batch_size, compression, buffer_memory, self._encoders, transaction)
        made._shared = self
        made._transaction = transaction
        self.register(made)
        _PRODUCERS.add(made)
        return made

    def transaction(self, transactional_id: str, timeout: Duration) -> _core.Transaction:
        """Take over a transactional id: whoever has it is fenced, and what it left open is aborted.

        Args:
            transactional_id: Any text.
            timeout: After so long a transaction is aborted; at most 15 minutes.

        Raises:
            InvalidArgumentError: A wrong argument.
        """
        self.check_writable()
        if not isinstance(transactional_id, str) or not transactional_id:
            raise InvalidArgumentError(f"expected a name, got {transactional_id!r} - at transactional_id")
        timeout_ms = parse_duration_ms(timeout, "transaction_timeout")
        if not 0 < timeout_ms <= MAX_TRANSACTION_MS:
            raise InvalidArgumentError(f"expected 1 ms to 15 minutes, got {timeout!r} - at transaction_timeout")
        return _core.Transaction(self.core, transactional_id, timeout_ms)

    def _encoders(self, topic: str) -> tuple[Any, Any]:
        """For the producer: how the topic's keys and values are encoded; None means by the value's own type."""
        key, value = self.serdes_of(topic)
        return _encoder(key), _encoder(value)

    def register(self, child: _Closable) -> None:
        """Close this producer or consumer when the log closes.

        Args:
            child: Held weakly.
        """
        self.children.add(child)

    def unregister(self, child: _Closable) -> None:
        """Forget a producer or consumer that has closed.

        Args:
            child: Registered before.
        """
        self.children.discard(child)

    def check_usable(self) -> None:
        """Refuse to go on in a forked child or after `close`.

        Raises:
            ClosedError: With what to do about it.
        """
        self.core.check_usable()

    def check_writable(self) -> None:
        """Refuse to write through a read-only handle.

        Raises:
            InvalidArgumentError: It was opened with ``mode="r"``.
        """
        self.check_usable()
        if self.place[1] == "r":
            raise InvalidArgumentError(
                f'expected a log opened for writing, got mode="r" - at {self.place[0]}; open it with mode="rw"',
                path=self.place[0],
            )

    def release(self) -> None:
        """Drop one user; the last one closes the log."""
        with _LOCK:
            self.references -= 1
            if self.references > 0:
                return
            if _OPEN.get(self.place) is self:
                del _OPEN[self.place]
            if not self.core.is_usable():
                return
            try:
                for child in list(self.children):
                    child.close()
            finally:
                self.core.close()


def open(
    path: str | os.PathLike[str],
    *,
    durability: str | None = None,
    mode: Mode = "rw",
) -> Broker:
    """Open a broker: a directory, or ``"memory:"``.

    The same directory opened twice in one process is one log with two handles.

    Args:
        path: The directory (created if missing), or ``"memory:"`` for a throw-away broker.
        durability: What an acknowledgement waits for: ``"fsync"`` (default), ``"interval:MS"`` or ``"os"``.
        mode: ``"rw"``, or ``"r"`` to read beside a process that writes: what is durable, also what becomes so later.

    Returns:
        A `Broker`; close it or use ``with``.

    Raises:
        LockedError: Another process writes this directory.
        InvalidArgumentError: A wrong argument, or a durability that differs from that of the handle already open.
        StorageError: The directory cannot be read or made.
        NotImplementedError: ``kafka://``, which comes with release 0.3.

    Example:
        >>> import headwater as hw
        >>> with hw.open("memory:") as broker:
        ...     _ = broker.create_topic("rides", partitions=2)
        ...     broker.topics()
        ['rides']
    """
    if mode not in ("rw", "r"):
        raise InvalidArgumentError(f'expected "rw" or "r", got {mode!r} - at mode')
    if durability is not None:
        check_durability(durability)
    target = os.fspath(path) if isinstance(path, (str, os.PathLike)) else path
    if not isinstance(target, str) or not target:
        raise InvalidArgumentError(f'expected a directory or "memory:", got {path!r}')
    if target.startswith("kafka://"):
        raise NotImplementedError(
            f'expected a directory or "memory:", got {target!r}; Kafka clusters are supported from release 0.3'
        )
    if target == "memory:":
        if mode == "r":
            raise InvalidArgumentError('expected mode="rw", got "r" - at "memory:"; a new broker has nothing to read')
        return open_core(_core.Log(None, durability or "os", "rw"), target, durability or "os")
    try:
        real = os.path.realpath(target)
        real.encode()
    except ValueError:
        raise InvalidArgumentError(
            f"expected a path of UTF-8 text without null bytes, got {target!r} - at open; name another directory"
        ) from None
    if os.path.exists(real) and not os.path.isdir(real):
        raise InvalidArgumentError(f"expected a directory, got a file - at {real}; name another", path=real)
    with _LOCK:
        shared = _OPEN.get((real, "rw")) or _OPEN.get((real, mode))
        if shared is None:
            core = _core.Log(real, durability or "fsync", mode)
            for warning in core.warnings():
                _LOGGER.warning("%s", warning)
            shared = _OPEN[real, mode] = SharedLog((real, mode), core, durability or "fsync")
        elif durability is not None and durability != shared.durability:
            raise InvalidArgumentError(
                f"expected durability={shared.durability!r} as the open handle has, got {durability!r} - at {real}; "
                "close the other handle first",
                path=real,
            )
        return _handle(shared, mode)


def open_core(core: _core.Log, place: str, durability: str) -> Broker:
    """A handle of a log that nobody else has.

    Args:
        core: The open log.
        place: What it is called in messages.
        durability: What an acknowledgement waits for.
    """
    return _handle(SharedLog((place, "rw"), core, durability), "rw")


def _handle(shared: SharedLog, mode: Literal["rw", "r"]) -> Broker:
    shared.references += 1
    return Broker(shared, mode)


def check_durability(text: str) -> str:
    """Return a durability mode, or say what is wrong with it.

    Args:
        text: ``"fsync"``, ``"interval:MS"`` or ``"os"``.

    Raises:
        InvalidArgumentError: Anything else.
    """
    kind, _, interval = text.partition(":") if isinstance(text, str) else ("", "", "")
    if text in ("fsync", "os") or (kind == "interval" and interval.isdecimal() and int(interval) > 0):
        return text
    raise InvalidArgumentError(f'expected "fsync", "interval:MS" or "os", got {text!r} - at durability')


def serde_settings(key: Serde[Any] | None, value: Serde[Any] | None) -> dict[str, str]:
    """A topic's settings that make it remember serdes.

    Args:
        key: Serde of the keys, or None.
        value: Serde of the values, or None.
    """
    named = {"headwater.key": key, "headwater.value": value}
    return {
        name: msgspec.json.encode(serde_to_config(serde)).decode() for name, serde in named.items() if serde is not None
    }


def _serde(config: str | None) -> Serde[Any] | None:
    return None if config is None else serde_from_config(msgspec.json.decode(config))


def _encoder(serde: Serde[Any] | None) -> Any:
    """A kind that Rust encodes by itself, a pair (fast function, function that explains a failure), or None."""
    if serde is None:
        return None
    if serde.name in ("raw", "text", "int64", "float64"):
        return (serde.name, serde.serialize)
    return (getattr(serde, "_encode", serde.serialize), serde.serialize)


def check_cleanup_policy(policy: Any, topic: str) -> None:
    """Refuse a policy that is none.

    Args:
        policy: What was given.
        topic: Name of the topic that it was given for.

    Raises:
        InvalidArgumentError: Neither deletes nor compacts.
    """
    if policy not in ("delete", "compact", "compact,delete"):
        raise InvalidArgumentError(
            f'expected "delete", "compact" or "compact,delete", got {policy!r} - at cleanup_policy= of topic {topic!r}',
            topic=topic,
        )


def retention_settings(retention: Any) -> dict[str, str]:
    """A topic's ``retention.ms``.

    Args:
        retention: A duration, or None for unlimited.
    """
    return {} if retention is None else {"retention.ms": str(parse_duration_ms(retention, "retention"))}


def _close_at_exit() -> None:
    """Flush what producers still hold, then close the logs that nobody closed, so that the next open need not recover."""
    for producer in list(_PRODUCERS):
        try:
            if unfinished := producer._unfinished():
                message = f"{producer!r} was left at exit {unfinished}"
                warnings.warn(message, ResourceWarning, stacklevel=1, source=producer)
                producer.close()
        except ClosedError:
            continue
        except Exception:
            _LOGGER.exception("a producer could not be flushed at exit: its unacknowledged records are lost")
    for shared in list(_OPEN.values()):
        try:
            shared.core.close()
        except Exception:
            _LOGGER.exception("a log could not be closed at exit: it is recovered when it is opened next")


def _forget_in_child() -> None:
    global _LOCK
    _LOCK = threading.RLock()  # the parent's may have been held by a thread that is not here
    _core.mark_forked()
    _OPEN.clear()


atexit.register(_close_at_exit)
os.register_at_fork(after_in_child=_forget_in_child)
