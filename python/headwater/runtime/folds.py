"""User folds: aggregate, reduce and their subtractors, as stages of their own.

The kernel before has dropped what does not count and assigned windows; here Python folds over the rows, each slot's
object decoded once a batch; the kernel after puts the results and forwards the changes. The result of every row is
encoded at once: an aggregate that is changed in place must not be encoded after a later row has changed it again.

Sessions differ, since which sessions a record merges depends on what earlier records made of them: they are folded in
rounds of rows with distinct keys.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headwater.runtime.batch import Batch
from headwater.serdes import Serde
from headwater.state import Rows, Task
from headwater.topology import nodes as n

Initializer = Callable[[], Any]


def functions(fold: n.Fold) -> tuple[Initializer, Callable[..., Any], Callable[..., Any] | None]:
    """(initializer, adder(key, value, aggregate), subtractor) of a user's fold; a reduce starts from its first value.

    Args:
        fold: A `Reduce` or an `Aggregate`.
    """
    if isinstance(fold, n.Reduce):
        adder, subtractor = fold.adder, fold.subtractor
        add = lambda key, value, aggregate: value if aggregate is None else adder(aggregate, value)
        if subtractor is None:
            return lambda: None, add, None
        return lambda: None, add, lambda key, value, aggregate: subtractor(aggregate, value)
    assert isinstance(fold, n.Aggregate)
    return fold.initializer, fold.adder, fold.subtractor


class FoldStep:
    """Folds rows into the slots of a key-value or window store."""

    def __init__(
        self, node: n.StreamAggregate | n.TableAggregate, task: Task, store: int, *, is_windowed: bool
    ) -> None:
        self.task = task
        self.store = store
        self.is_windowed = is_windowed
        self.serde: Serde[Any] = node.value
        self.initializer, self.adder, self.subtractor = functions(node.fold)
        self.is_table = isinstance(node, n.TableAggregate)

    def run(self, batch: Batch) -> Batch:
        batch = batch.decode(olds=self.is_table)
        slots, held = self.task.slots(self.store, batch.rows, self.is_windowed)
        aggregates = self.serde.deserialize_many(held)
        initializer, adder, serialize = self.initializer, self.adder, self.serde.serialize

        def add(slot: int, key: Any, value: Any) -> bytes | None:
            aggregate = aggregates[slot]
            if aggregate is None:
                aggregate = initializer()
            aggregates[slot] = aggregate = adder(key, value, aggregate)
            return None if aggregate is None else serialize(aggregate)

        def replace(slot: int, key: Any, value: Any, old: Any) -> bytes | None:
            aggregate = aggregates[slot]
            if old is not None and aggregate is not None:
                assert self.subtractor is not None
                aggregate = self.subtractor(key, old, aggregate)
            if value is not None:
                aggregate = adder(key, value, initializer() if aggregate is None else aggregate)
            aggregates[slot] = aggregate
            return None if aggregate is None else serialize(aggregate)

        columns = (slots, batch.keys, batch.values)
        results, batch = batch.call(replace, *columns, batch.olds) if self.is_table else batch.call(add, *columns)
        folded = batch.fan(0)
        folded.rows.set_others(results)
        return folded


class SessionFoldStep:
    """Folds rows into sessions, and puts them: a user's fold decides what the next record finds."""

    def __init__(self, node: n.StreamAggregate, task: Task, store: int, *, sends_old: bool) -> None:
        assert isinstance(node.window, n.SessionWindows)
        self.node = node
        self.task = task
        self.store = store
        self.sends_old = sends_old
        self.gap, self.grace = node.window.gap_ms, node.window.grace_ms
        self.serde: Serde[Any] = node.value
        self.initializer, self.adder, _ = functions(node.fold)
        merger = node.fold.merger if isinstance(node.fold, n.Aggregate) else None
        adder = self.adder
        # A reduce merges sessions as it adds values.
        self.merge: Callable[[Any, Any, Any], Any] = merger or (lambda key, left, right: adder(key, right, left))
        self.flush_rank: int | None = None
        self.dropped = 0
        self.late = 0

    def run(self, batch: Batch, marks: list[int]) -> Rows:
        """Fold all rows, flushing the cache after the marked source records.

        Args:
            batch: Rows in order.
            marks: Source records after which caches flush, ascending.

        Returns:
            The changes, in order.
        """
        batch = batch.decode()
        named = [key is not None for key in batch.keys]
        self.dropped += named.count(False)
        batch = batch.filter(named)
        seqs = batch.rows.seqs()
        parts: list[Rows] = []
        first = 0
        for mark in [*marks, None]:
            end = len(seqs) if mark is None else _first_after(seqs, mark, first)
            while first < end:
                first = self._round(batch, first, end, parts)
                if batch.failures.limit is not None:
                    return Rows.merge(parts)
            if mark is not None and self.flush_rank is not None:
                parts.append(self.task.flush_sessions(self.store, mark, self.flush_rank, self.sends_old))
        return Rows.merge(parts)

    def _round(self, batch: Batch, first: int, end: int, parts: list[Rows]) -> int:
        after, merged = self.task.begin_sessions(self.store, self.gap, self.grace, batch.rows, first, end)
        results: list[bytes | None] = []
        for index, sessions in enumerate(merged, first):
            if sessions is None:
                self.dropped += 1
                self.late += 1
                continue
            key = batch.keys[index]
            try:
                aggregate = self.initializer()
                for session in self.serde.deserialize_many(list(sessions)):
                    aggregate = self.merge(key, aggregate, session)
                aggregate = self.adder(key, batch.values[index], aggregate)
                results.append(None if aggregate is None else self.serde.serialize(aggregate))
            except Exception as error:
                batch.failures.raised(batch.rows.seqs()[index], error)
                results.append(None)
        parts.append(self.task.finish_sessions(results, self.sends_old))
        return after


def _first_after(seqs: list[int], mark: int, first: int) -> int:
    while first < len(seqs) and seqs[first] <= mark:
        first += 1
    return first
