"""A store of a running application, as its users see it: all partitions, decoded, readable at any time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headwater.records import Windowed
from headwater.runtime.runner import Runner
from headwater.runtime.task import StreamTask
from headwater.serdes import SessionWindowedSerde, WindowedSerde
from headwater.topology import nodes as n

if TYPE_CHECKING:
    import polars as pl


class StoreView:
    """What a store holds now."""

    def __init__(self, tasks: list[StreamTask], name: str) -> None:
        self._name = name
        self._parts = [(task, *found) for task in tasks if (found := find_store(task.runner, name)) is not None]

    @property
    def exists(self) -> bool:
        """Whether some task has the store."""
        return bool(self._parts)

    def items(self) -> list[tuple[Any, Any, int]]:
        """(key, value, timestamp) of every entry; keys of windows are `Windowed`. By partition, key bytes and window."""
        entries = []
        for task, node, index in self._parts:
            with task.lock:
                entries += decoded_entries(task.runner, node, index)
        return entries

    def get(self, key: Any) -> Any:
        """The value under a key, or None.

        Args:
            key: A key as the table has them (a `Windowed` one for windows).
        """
        for task, node, index in self._parts:
            with task.lock:
                found = task.runner.plan.task.get(index, node.key.serialize(key))
                if found is not None:
                    return visible(task.runner, node).deserialize(found[0])
        return None

    def __len__(self) -> int:
        return len(self.items())

    def to_frame(self) -> pl.DataFrame:
        """The entries as a frame: key (and window_start, window_end), the value's fields or `value`, timestamp."""
        from headwater.frames import entries_frame

        node = self._parts[0][1]
        return entries_frame(self.items(), node.key, node.value)


def find_store(runner: Runner, name: str) -> tuple[n.Node, int] | None:
    """The node and index of a store, or None.

    Args:
        runner: What runs.
        name: Name of the store.
    """
    for node_id, index in runner.plan.stores.items():
        if runner.plan.spec(node_id).name == name:
            return runner.plan.topology.nodes[node_id], index
    return None


def visible(runner: Runner, node: n.Node) -> Any:
    """The serde of what a store's bytes are for the topology; where rows are kept, they are evaluated first.

    Args:
        runner: What runs.
        node: The table.
    """
    return runner.plan.finishers.get(node.id, node.value)


def decoded_entries(runner: Runner, node: n.Node, index: int) -> list[tuple[Any, Any, int]]:
    """Every entry of a store, decoded.

    Args:
        runner: What runs.
        node: The table.
        index: Its store.
    """
    serde = visible(runner, node)
    # An aggregate without windows may have keys that are windowed already.
    is_windowed = isinstance(node, n.StreamAggregate) and node.window is not None
    entries = []
    for key, start, end, value, timestamp in runner.plan.task.entries(index):
        decoded: Any
        if is_windowed and isinstance(node.key, SessionWindowedSerde):
            decoded = Windowed(node.key.inner.deserialize(key), start, end)
        elif is_windowed and isinstance(node.key, WindowedSerde):
            decoded = Windowed(node.key.inner.deserialize(key), start, start + node.key.size_ms)
        else:
            decoded = node.key.deserialize(key)
        entries.append((decoded, serde.deserialize(value), timestamp))
    return entries
