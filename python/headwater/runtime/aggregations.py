"""Named polars aggregations: what the kernel folds, and what is evaluated over a group's rows when it is emitted."""

from __future__ import annotations

from typing import Any

from headwater.frames import AggPlan, ValueSchema, agg_plan, decode_frame, set_arguments
from headwater.runtime.batch import Batch
from headwater.serdes import Serde
from headwater.state import split_rows
from headwater.topology import nodes as n


class Aggregation:
    """An `agg` over the values of a stream.

    Attributes:
        frames: The analysed expressions.
        columns: (name, fold, argument, is_int) for the kernel.
        keeps_rows: Whether some expression needs the group's rows.
        source: Serde of the rows' values.
    """

    def __init__(self, frames: AggPlan, source: Serde[Any]) -> None:
        self.frames = frames
        self.columns = [(fold.name, fold.kind, index, fold.is_int) for index, fold in enumerate(frames.folds)]
        self.keeps_rows = bool(frames.buffered)
        self.source = source

    @classmethod
    def of(cls, fold: n.Agg, source: n.Node) -> Aggregation:
        """Analyse an aggregation.

        Args:
            fold: The named expressions.
            source: The stream whose values they read.
        """
        return cls(agg_plan(fold.columns, ValueSchema.of(source.value)), source.value)


class ArgumentsStep:
    """Computes the arguments of the folds and packs them into the rows."""

    def __init__(self, aggregation: Aggregation) -> None:
        self.aggregation = aggregation

    def run(self, batch: Batch) -> Batch:
        frame, bad = decode_frame(batch.value, batch.to_rows(), self.aggregation.frames.fields)
        out = batch.fan(0)
        set_arguments(out.rows, self.aggregation.frames.argument_frame(frame))
        return out.without(bad) if bad else out


class FinishStep:
    """Evaluates what does not fold over the rows of every emitted group."""

    def __init__(self, aggregation: Aggregation, node: n.StreamAggregate) -> None:
        self.aggregation = aggregation
        self.node = node

    def run(self, batch: Batch) -> Batch:
        out = batch.fan(0)
        out.rows.set_values(self._finished(batch, old=False))
        if any(old is not None for old in batch.rows.olds()):
            out.rows.set_olds(self._finished(batch, old=True))
        return out

    def _finished(self, batch: Batch, *, old: bool) -> list[bytes | None]:
        groups = batch.rows.groups(old)
        values = iter(
            self.aggregation.frames.finish([group for group in groups if group is not None], self.aggregation.source)
        )
        return [None if group is None else next(values) for group in groups]


class FinishedSerde(Serde[Any]):
    """Reads what a store with kept rows holds: folds and rows, evaluated to the table's value."""

    def __init__(self, aggregation: Aggregation, value: Serde[Any]) -> None:
        self.aggregation = aggregation
        self.value = value
        self.name = value.name
        self.type = value.type

    def deserialize(self, data: bytes) -> Any:
        """Evaluate one group."""
        (finished,) = self.aggregation.frames.finish([split_rows(data)], self.aggregation.source)
        return self.value.deserialize(finished)
