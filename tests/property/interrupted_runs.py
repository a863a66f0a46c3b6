"""Runs an exactly-once application over and over, interrupted at given moments, and says what is left in the end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import headwater as hw
from headwater.runtime.committer import Committer, Entry
from tests.property.runs import Input, plain

Build = Callable[[hw.App], None]
Kind = Literal["stop", "fail", "kill"]
Interruption = tuple[int, Kind]
"""The moment, and what happens: `app.stop()`, an error of a user's function, or an end that commits nothing."""


class Left(NamedTuple):
    """What is left when an application has finished.

    Attributes:
        outputs: By output topic and partition, what ``read_committed`` sees: key, value, timestamp.
        stores: By store, its entries.
        interruptions: How many there were.
    """

    outputs: dict[tuple[str, int], list[tuple[Any, Any, int]]]
    stores: dict[str, list[tuple[Any, Any, int]]]
    interruptions: int


class Killed(BaseException):
    """Nothing is done any more, as if the process were gone, except that what is open is aborted."""


class Moments:
    """Counts the moments at which something may happen, and lets it happen."""

    def __init__(self, interruptions: Sequence[Interruption]) -> None:
        self._due = dict(interruptions)
        self._now = 0
        self.happened = 0
        self.app: hw.App | None = None

    def pass_by(self, kinds: tuple[Kind, ...]) -> None:
        self._now += 1
        kind = self._due.get(self._now)
        if kind not in kinds:
            return
        self.happened += 1
        if kind == "stop":
            assert self.app is not None
            self.app.stop()
        else:
            raise ValueError("a bad day") if kind == "fail" else Killed


class InterruptedCommitter:
    """Something may happen before and after a commit, and before the first write of a transaction."""

    def __init__(self, inner: Committer, moments: Moments) -> None:
        self._inner = inner
        self._moments = moments
        self.transaction = inner.transaction

    def begin(self) -> None:
        self._moments.pass_by(("stop", "kill"))
        self._inner.begin()

    def commit(self, offsets: list[Entry]) -> None:
        self._moments.pass_by(("stop", "kill"))
        self._inner.commit(offsets)
        self._moments.pass_by(("stop", "kill"))

    def abandon(self) -> None:
        self._inner.abandon()


class InterruptedApp(hw.App):
    """An application in which something may happen at every record of a stream and around every commit."""

    def __init__(self, broker: hw.Broker, moments: Moments, **options: Any) -> None:
        super().__init__("app", broker=broker, processing_guarantee="exactly_once", cache="0", threads=1, **options)
        self._moments = moments
        moments.app = self
        self.seen: dict[str, list[tuple[Any, Any, int]]] = {}

    def stream(self, topic: Any, *, key: Any = bytes, value: Any = bytes, **options: Any) -> Any:
        def same(row: Any) -> Any:
            moments.pass_by(("stop", "fail", "kill"))
            return row

        moments = self._moments
        return super().stream(topic, key=key, value=value, **options).map_values(same, value=value)

    def _committer(self, broker: hw.Broker, number: int, partition: int) -> Committer:
        return InterruptedCommitter(super()._committer(broker, number, partition), self._moments)

    def _replay(self, closes: bool) -> None:
        super()._replay(closes)
        for name in self.topology.store_names:
            entries = self.store(name).items()
            self.seen[name] = sorted(((plain(key), value, time) for key, value, time in entries), key=repr)


def finish(
    build: Build,
    inputs: list[Input],
    interruptions: Sequence[Interruption] = (),
    *,
    partitions: int = 2,
    **options: Any,
) -> Left:
    """Run an application until it has processed everything, however often it is interrupted.

    Args:
        build: Makes the topology.
        inputs: What the source topics hold.
        interruptions: What happens, and when.
        partitions: How many the source topics have.
        **options: Of the application.
    """
    moments = Moments(interruptions)
    with hw.open("memory:") as broker:
        _fill(broker, build, inputs, partitions)
        before = set(broker.topics())
        while True:
            happened = moments.happened
            app = InterruptedApp(broker, moments, **options)
            build(app)
            try:
                app.run(until="caught_up")
            except (Killed, hw.ProcessingError):
                continue
            if moments.happened == happened:
                break
        outputs = [name for name in broker.topics() if name not in before and not name.startswith("app-")]
        left = Left({}, app.seen, moments.happened)
        for name in outputs:
            left.outputs.update(_read(broker, name))
        _check_restored(broker, build, app.seen, options)
        return left


def _fill(broker: hw.Broker, build: Build, inputs: list[Input], partitions: int) -> None:
    sources = hw.App("sources")
    build(sources)
    with broker.producer() as producer:
        for topic in sources.policies():
            broker.create_topic(topic, partitions=partitions)
        for topic, key, value, timestamp in inputs:
            if topic not in sources.policies():
                continue
            encoded = None if value is None else value.to_bytes(8, "big", signed=True)
            producer.send(topic, key=key, value=encoded, timestamp=timestamp, partition=None if key else 0)


def _read(broker: hw.Broker, topic: str) -> dict[tuple[str, int], list[tuple[Any, Any, int]]]:
    found = defaultdict(list)
    with broker.consumer(
        topic, auto_offset_reset="earliest", isolation_level="read_committed", timeout="0s"
    ) as consumer:
        for record in consumer:
            found[topic, record.partition].append((plain(record.key), record.value, record.timestamp))
    return found


def _check_restored(broker: hw.Broker, build: Build, seen: dict[str, Any], options: dict[str, Any]) -> None:
    """The stores come back from their changelogs as they were, and there is nothing left to do."""
    again = InterruptedApp(broker, Moments(()), **options)
    build(again)
    assert again.run(until="caught_up").records == 0
    assert again.seen == seen
