"""The vector steps: what a micro-batch meets between kernel segments, a whole column at a time.

A step is a class with `run(batch) -> Batch`. It may keep, drop, change or multiply rows; it never reorders them, and
what it makes of a row depends on that row alone, so that every batch size gives the same result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from headwater.runtime.batch import Batch
from headwater.runtime.views import View, combiner, with_key
from headwater.serdes import Serde
from headwater.topology import nodes as n


class Step(Protocol):
    """A vector step."""

    def run(self, batch: Batch) -> Batch:
        """Turn a batch of one edge into that of the next.

        Args:
            batch: Rows in order.
        """
        ...


class Identity:
    """A place in the graph that changes nothing: a merge's input, a table seen as a stream."""

    def __init__(self, node: n.Node) -> None:
        self.node = node

    def run(self, batch: Batch) -> Batch:
        return batch


class FilterStep:
    """Keeps the records whose predicate holds."""

    def __init__(self, node: n.Filter) -> None:
        self.node = node
        self.predicate = with_key(node.predicate)

    def run(self, batch: Batch) -> Batch:
        batch = batch.decode()
        results, batch = batch.call(self.predicate, batch.keys, batch.values)
        return batch.filter([bool(result) != self.node.negate for result in results])


class MapStep:
    """New keys and values."""

    def __init__(self, node: n.Map) -> None:
        self.node = node

    def run(self, batch: Batch) -> Batch:
        batch = batch.decode()
        mapper = self.node.mapper.fn

        def pair(key: Any, value: Any) -> tuple[Any, Any]:
            new_key, new_value = mapper(key, value)
            return new_key, new_value

        results, batch = batch.call(pair, batch.keys, batch.values)
        keys, values = [pair[0] for pair in results], [pair[1] for pair in results]
        return batch.with_keys(keys, self.node.key).with_values(values, self.node.value)


class MapValuesStep:
    """New values."""

    def __init__(self, node: n.MapValues) -> None:
        self.node = node

    def run(self, batch: Batch) -> Batch:
        mapper = self.node.mapper
        if mapper.kind == "value":
            batch = batch.decode(keys=False)
            results, batch = batch.call(mapper.fn, batch.values)
        else:
            batch = batch.decode()
            results, batch = batch.call(mapper.fn, batch.keys, batch.values)
        return batch.with_values(results, self.node.value)


class SelectKeyStep:
    """New keys."""

    def __init__(self, node: n.SelectKey) -> None:
        self.node = node

    def run(self, batch: Batch) -> Batch:
        batch = batch.decode()
        results, batch = batch.call(self.node.selector.fn, batch.keys, batch.values)
        return batch.with_keys(results, self.node.key)


class FlatMapStep:
    """Several records of one, with keys of their own."""

    def __init__(self, node: n.FlatMap) -> None:
        self.node = node

    def run(self, batch: Batch) -> Batch:
        batch = batch.decode()
        mapper = self.node.mapper.fn
        results, batch = batch.call(
            lambda key, value: [(new_key, new_value) for new_key, new_value in mapper(key, value)],
            batch.keys,
            batch.values,
        )
        parents = [index for index, pairs in enumerate(results) for _ in pairs]
        keys = [key for pairs in results for key, _ in pairs]
        values = [value for pairs in results for _, value in pairs]
        grown = Batch(batch.to_rows().expand(parents), self.node.key, self.node.value, batch.failures)
        return grown.with_keys(keys, self.node.key).with_values(values, self.node.value)


class FlatMapValuesStep:
    """Several values of one."""

    def __init__(self, node: n.FlatMapValues) -> None:
        self.node = node

    def run(self, batch: Batch) -> Batch:
        mapper = self.node.mapper
        batch = batch.decode(keys=mapper.kind != "value")
        if mapper.kind == "value":
            results, batch = batch.call(lambda value: list(mapper.fn(value)), batch.values)
        else:
            results, batch = batch.call(lambda key, value: list(mapper.fn(key, value)), batch.keys, batch.values)
        parents = [index for index, values in enumerate(results) for _ in values]
        grown = Batch(batch.to_rows().expand(parents), batch.key, self.node.value, batch.failures)
        return grown.with_values([value for values in results for value in values], self.node.value)


class PeekStep:
    """Calls an action and passes the record on."""

    def __init__(self, node: n.Peek, trace: Callable[[Batch, n.Node], None] | None) -> None:
        self.node = node
        self.trace = trace

    def run(self, batch: Batch) -> Batch:
        batch = batch.decode()
        _, batch = batch.call(self.node.action.fn, batch.keys, batch.values)
        if self.trace is not None:
            self.trace(batch, self.node)
        return batch


class SplitStep:
    """Tags every record with the number of the first branch that takes it."""

    def __init__(self, node: n.Split) -> None:
        self.node = node
        self.predicates = [with_key(predicate) for predicate in node.predicates]

    def run(self, batch: Batch) -> Batch:
        batch = batch.decode()
        predicates = self.predicates

        def branch(key: Any, value: Any) -> int:
            for index, predicate in enumerate(predicates):
                if predicate(key, value):
                    return index
            return len(predicates)

        tags, batch = batch.call(branch, batch.keys, batch.values)
        tagged = batch.fan(0)
        tagged.tags = tags
        return tagged


class BranchStep:
    """Keeps the records of one branch."""

    def __init__(self, node: n.Branch) -> None:
        self.node = node

    def run(self, batch: Batch) -> Batch:
        assert batch.tags is not None, "a branch stands behind a split"
        return batch.filter([tag == self.node.index for tag in batch.tags])


class ValidateStep:
    """Checks keys and values of a fixed width or of text at the source, without decoding them."""

    def __init__(self, key: Serde[Any], value: Serde[Any]) -> None:
        forms = {"text": "text", "int64": "fixed8", "float64": "fixed8"}
        self.key = forms.get(key.name, "any")
        self.value = forms.get(value.name, "any")

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to check."""
        return (self.key, self.value) != ("any", "any")

    def run(self, batch: Batch) -> Batch:
        misfits = batch.rows.misfits(self.key, self.value)
        if not misfits:
            return batch
        keys, values = batch.rows.keys(), batch.rows.values()
        bad: dict[int, Exception] = {}
        for index in misfits:
            for serde, data in ((batch.key, keys[index]), (batch.value, values[index])):
                try:
                    if data is not None:
                        serde.deserialize(data)
                except Exception as error:
                    bad[index] = error
        return batch.without(bad)


class DecodeStep:
    """Decodes every key and value at the source."""

    def __init__(self, node: n.StreamSource) -> None:
        self.node = node

    def run(self, batch: Batch) -> Batch:
        return batch.decode()


class TableFilterStep:
    """A table's filter: what fails the predicate becomes a deletion."""

    def __init__(self, node: n.TableFilter, *, sends_old: bool, has_store: bool) -> None:
        self.node = node
        self.predicate = with_key(node.predicate)
        # With a store of its own the old value comes from there.
        self.maps_old = sends_old and not has_store

    def run(self, batch: Batch) -> Batch:
        batch = batch.decode(olds=self.maps_old)
        predicate, negate = self.predicate, self.node.negate

        def keep(key: Any, value: Any) -> Any:
            return value if value is not None and bool(predicate(key, value)) != negate else None

        values, batch = batch.call(keep, batch.keys, batch.values)
        if not self.maps_old:
            return batch.with_values(values, self.node.value)
        olds, kept = batch.call(keep, batch.keys, batch.olds)
        changed = kept.with_change(values[: len(kept)], olds, self.node.value)
        return changed.filter([new is not None or old is not None for new, old in zip(values, olds, strict=False)])


class TableMapValuesStep:
    """A table's mapping; deletions pass unless the mapper wants them."""

    def __init__(self, node: n.TableMapValues, *, sends_old: bool, has_store: bool) -> None:
        self.node = node
        mapper = with_key(node.mapper)
        calls_on_null = node.calls_on_null
        self.map = lambda key, value: None if value is None and not calls_on_null else mapper(key, value)
        self.maps_old = sends_old and not has_store

    def run(self, batch: Batch) -> Batch:
        batch = batch.decode(olds=self.maps_old)
        values, batch = batch.call(self.map, batch.keys, batch.values)
        if not self.maps_old:
            return batch.with_values(values, self.node.value)
        olds, kept = batch.call(self.map, batch.keys, batch.olds)
        return kept.with_change(values[: len(kept)], olds, self.node.value)


class TableGroupByStep:
    """Regroups a table: the old value leaves its group before the new one enters its own."""

    def __init__(self, node: n.TableGroupBy) -> None:
        self.node = node

    def run(self, batch: Batch) -> Batch:
        batch = batch.decode(olds=True)
        selector, key_serde, value_serde = self.node.selector.fn, self.node.key, self.node.value

        def half(key: Any, value: Any) -> tuple[bytes, bytes] | None:
            if value is None:
                return None
            new_key, new_value = selector(key, value)
            if new_key is None or new_value is None:
                return None
            return key_serde.serialize(new_key), value_serde.serialize(new_value)

        def changes(key: Any, new: Any, old: Any) -> list[tuple[bytes, bytes | None, bytes | None]]:
            left, entered = half(key, old), half(key, new)
            if left is not None and entered is not None and left[0] == entered[0]:
                return [(entered[0], entered[1], left[1])]
            out: list[tuple[bytes, bytes | None, bytes | None]] = []
            if left is not None:
                out.append((left[0], None, left[1]))
            if entered is not None:
                out.append((entered[0], entered[1], None))
            return out

        results, batch = batch.call(changes, batch.keys, batch.values, batch.olds)
        flat = [change for changes_of_row in results for change in changes_of_row]
        parents = [index for index, changes_of_row in enumerate(results) for _ in changes_of_row]
        keys, values, olds = ([change[part] for change in flat] for part in range(3))
        return Batch(batch.rows.expand(parents, keys, values, olds), key_serde, value_serde, batch.failures)


class PairStep:
    """The joiner of a stream-stream join, behind the kernel that found the pairs."""

    def __init__(self, node: n.StreamStreamJoin) -> None:
        self.node = node
        self.left, self.right = node.inputs[0].value, node.inputs[1].value
        self.combine = node.combine

    def run(self, batch: Batch) -> Batch:
        lefts = self.left.deserialize_many(batch.rows.values())
        rights = self.right.deserialize_many(batch.rows.others())
        if self.combine.kind == "values":
            results, batch = batch.call(self.combine.fn, lefts, rights)
        else:
            batch = batch.decode(values=False)
            results, batch = batch.call(self.combine.fn, batch.keys, lefts, rights)
        return batch.with_values(results, self.node.value)


class TableJoinStep:
    """The joiner of a stream with a table, behind the lookup."""

    def __init__(self, node: n.StreamTableJoin | n.StreamGlobalTableJoin, view: View) -> None:
        self.node = node
        self.view = view
        self.combine = combiner(node.combine)

    def run(self, batch: Batch) -> Batch:
        batch = batch.decode()
        found = self.view.decode([batch.rows.lookups(index) for index in range(len(self.view.stores))])
        read = self.view.read
        is_global = isinstance(self.node, n.StreamGlobalTableJoin)
        # A global table's view reads one store and does not look at the key.
        keys = [None] * len(batch) if is_global else batch.keys
        values, batch = batch.call(read, keys, list(zip(*found, strict=True)))
        if self.node.kind == "inner":
            batch, values = batch.filter([v is not None for v in values]), [v for v in values if v is not None]
        combine = self.combine
        results, batch = batch.call(
            lambda key, left, right: combine(key, left, None if right is None else right[0]),
            batch.keys,
            batch.values,
            values,
        )
        return batch.with_values(results, self.node.value)


class GlobalKeyStep:
    """The key under which a stream's record looks a global table up."""

    def __init__(self, node: n.StreamGlobalTableJoin) -> None:
        self.node = node
        self.key = node.inputs[1].key

    def run(self, batch: Batch) -> Batch:
        batch = batch.decode()
        results, batch = batch.call(self.node.selector.fn, batch.keys, batch.values)
        encoded, batch = batch.encode(self.key, results)
        looking = batch.fan(0)
        looking.rows.set_others(encoded)
        return looking


class TableTableJoinStep:
    """One side of a table-table join: joins a change with what the other table holds, behind the lookup."""

    def __init__(self, node: n.TableTableJoin, view: View, *, is_left: bool, sends_old: bool) -> None:
        self.node = node
        self.view = view
        self.is_left = is_left
        self.sends_old = sends_old
        left_optional, right_optional = node.kind == "outer", node.kind in ("left", "outer")
        # Whether a result needs a value on the changing side, and on the other.
        self.needs_mine = not (left_optional if is_left else right_optional)
        self.needs_other = not (right_optional if is_left else left_optional)
        self.combine = combiner(node.combine)

    def run(self, batch: Batch) -> Batch:
        batch = batch.decode(olds=True)
        found = self.view.decode([batch.rows.lookups(index) for index in range(len(self.view.stores))])
        others, batch = batch.call(self.view.read, batch.keys, list(zip(*found, strict=True)))
        results, batch = batch.call(self.change, batch.keys, batch.values, batch.olds, others, batch.rows.timestamps())
        kept = batch.filter([result is not None for result in results])
        changes = [result for result in results if result is not None]
        joined = kept.with_change([c[0] for c in changes], [c[1] for c in changes], self.node.value)
        joined.rows = joined.rows.copy()
        joined.rows.set_timestamps([c[2] for c in changes])
        return joined

    def change(self, key: Any, new: Any, old: Any, other: Any, timestamp: int) -> tuple[Any, Any, int] | None:
        """The joined change, or None if nothing is to be forwarded."""
        if other is None and (self.needs_other or (new is None and old is None)):
            return None
        held = None if other is None else other[0]
        combine = self.combine if self.is_left else lambda k, mine, theirs: self.combine(k, theirs, mine)
        has_result = held is not None and not self.needs_mine
        joined_new = combine(key, new, held) if new is not None or has_result else None
        joined_old = combine(key, old, held) if self.sends_old and (old is not None or has_result) else None
        return joined_new, joined_old, timestamp if other is None else max(timestamp, other[1])


class SinkStep:
    """The end of a way: rows for a topic."""

    def __init__(self, node: n.Node, topic: str, collect: Callable[[Batch, str, n.Node], None]) -> None:
        self.node = node
        self.topic = topic
        self.collect = collect

    def run(self, batch: Batch) -> Batch:
        self.collect(batch, self.topic, self.node)
        return batch
