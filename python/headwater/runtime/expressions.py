"""Vector steps whose function is a polars expression: filter, select, with_columns, and joiners of named expressions."""

from __future__ import annotations

from headwater.frames import combine, decode_frame, encode_json, filter_mask, select
from headwater.runtime.batch import Batch
from headwater.runtime.views import View
from headwater.topology import nodes as n


class FilterExprStep:
    """Keeps the records whose predicate holds; a null value fails every predicate."""

    def __init__(self, node: n.Filter) -> None:
        self.node = node

    def run(self, batch: Batch) -> Batch:
        frame, bad = decode_frame(batch.value, batch.to_rows().values(), None)
        kept = batch.filter(filter_mask(frame, self.node.predicate.fn, self.node.negate))
        return kept.without(bad) if bad else kept


class SelectStep:
    """New values of named fields."""

    def __init__(self, node: n.Select) -> None:
        self.node = node

    def run(self, batch: Batch) -> Batch:
        frame, bad = decode_frame(batch.value, batch.to_rows().values(), None)
        out = batch.fan(0).typed(self.node.key, self.node.value)
        out.rows.set_values(encode_json(select(frame, self.node.columns, self.node.keep)))
        return out.without(bad) if bad else out


class CombineStep:
    """The joiner of two values, as named expressions over ``left.FIELD`` and ``right.FIELD``."""

    def __init__(
        self, node: n.StreamStreamJoin | n.StreamTableJoin | n.StreamGlobalTableJoin, view: View | None = None
    ):
        self.node = node
        self.view = view

    def run(self, batch: Batch) -> Batch:
        left, right = self.node.inputs
        rights: list[bytes | None] = batch.rows.others()
        if self.view is not None:
            found = batch.rows.lookups(0)
            rights = [None if entry is None else entry[0] for entry in found]
            if self.node.kind == "inner":
                mask = [entry is not None for entry in rights]
                batch = batch.filter(mask)
                rights = [entry for entry in rights if entry is not None]
        lefts, _ = decode_frame(left.value, batch.rows.values(), None)
        partners, _ = decode_frame(right.value, rights, None)
        out = batch.fan(0).typed(self.node.key, self.node.value)
        out.rows.set_values(encode_json(combine(lefts, partners, self.node.combine.columns)))
        return out
