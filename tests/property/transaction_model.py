"""What transactions promise, as lists in memory: the model that `test_transactions` compares a broker with."""

from __future__ import annotations

from typing import Literal, NamedTuple

Place = tuple[str, int]


class Transaction:
    """Everything that counts together: `status` says whether it does."""

    def __init__(self) -> None:
        self.status: Literal["open", "committed", "aborted"] = "open"
        self.is_empty = True


class Entry(NamedTuple):
    """A record where it lies in its partition; outside of a transaction it counts at once."""

    offset: int
    value: str
    transaction: Transaction | None

    @property
    def counts(self) -> bool:
        return self.transaction is None or self.transaction.status == "committed"

    @property
    def is_open(self) -> bool:
        return self.transaction is not None and self.transaction.status == "open"


class Commit(NamedTuple):
    """An offset where it lies in the log of commits."""

    group: str
    place: Place
    offset: int
    transaction: Transaction | None


class Producer:
    """A transactional producer: fenced by the next one of its id."""

    def __init__(self) -> None:
        self.transaction: Transaction | None = None
        self.is_fenced = False


class Model:
    """A broker with transactions. Crashing it and closing it are the same: what is open is aborted."""

    def __init__(self) -> None:
        self.records: dict[Place, list[Entry]] = {}
        self.commits: list[Commit] = []
        self.producers: dict[str, Producer] = {}

    def producer(self, id: str) -> Producer:
        if before := self.producers.get(id):
            self._end(before, "aborted")
            before.is_fenced = True
        self.producers[id] = Producer()
        return self.producers[id]

    def begin(self, producer: Producer) -> None:
        producer.transaction = Transaction()

    def append(self, place: Place, offset: int, value: str, producer: Producer | None = None) -> None:
        self.records.setdefault(place, []).append(Entry(offset, value, self._joined(producer)))

    def commit_offset(self, group: str, place: Place, offset: int, producer: Producer | None = None) -> None:
        self.commits.append(Commit(group, place, offset, self._joined(producer)))

    def end(self, producer: Producer, status: Literal["committed", "aborted"]) -> None:
        self._end(producer, status)
        producer.transaction = None

    def restart(self) -> None:
        for producer in self.producers.values():
            self._end(producer, "aborted")
        self.producers = {}

    def last_stable(self, place: Place, end: int) -> int:
        return next((entry.offset for entry in self.records.get(place, []) if entry.is_open), end)

    def committed_records(self, place: Place) -> list[tuple[int, str]]:
        stable = self.last_stable(place, 1 << 62)
        return [(e.offset, e.value) for e in self.records.get(place, []) if e.counts and e.offset < stable]

    def all_records(self, place: Place) -> list[tuple[int, str]]:
        return [(entry.offset, entry.value) for entry in self.records.get(place, [])]

    def committed_offsets(self, group: str) -> dict[Place, int]:
        """Of all commits that count the last in the log, whenever it was decided."""
        counting = [c for c in self.commits if c.transaction is None or c.transaction.status == "committed"]
        return {commit.place: commit.offset for commit in counting if commit.group == group}

    def undecided_offsets(self, group: str) -> set[Place]:
        is_open = (c for c in self.commits if c.transaction is not None and c.transaction.status == "open")
        return {commit.place for commit in is_open if commit.group == group}

    def _joined(self, producer: Producer | None) -> Transaction | None:
        if producer is None:
            return None
        assert producer.transaction is not None
        producer.transaction.is_empty = False
        return producer.transaction

    def _end(self, producer: Producer, status: Literal["committed", "aborted"]) -> None:
        if producer.transaction is not None:
            producer.transaction.status = status
