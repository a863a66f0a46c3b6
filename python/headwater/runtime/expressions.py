"""Vector steps whose function is a polars expression: filter, select, with_columns, and joiners of named expressions.

Only the fields that the expressions read are decoded. A row that does not decode goes to its source's policy; a row
without a value fails every predicate and stays without one.
"""

from __future__ import annotations

from typing import Any

from headwater.frames import columns as c
from headwater.frames import combine, decode_frame, filter_mask, key_series, needed_columns, select, set_json
from headwater.runtime.batch import Batch
from headwater.runtime.views import View
from headwater.topology import nodes as n


class FilterExprStep:
    """Keeps the records whose predicate holds; a null value fails every predicate."""

    def __init__(self, node: n.Filter) -> None:
        self.node = node
        self.fields = needed_columns([node.predicate.fn])

    def run(self, batch: Batch) -> Batch:
        frame, bad = _frame(batch, self.fields)
        mask = filter_mask(frame, self.node.predicate.fn, self.node.negate)
        if not bad:
            return batch.filter(mask)
        # Rows that do not decode stay until their policy has seen them.
        mask = [keep or index in bad for index, keep in enumerate(mask)]
        places = [index for index, keep in enumerate(mask) if keep]
        return batch.filter(mask).without({at: bad[index] for at, index in enumerate(places) if index in bad})


class SelectStep:
    """New values of named fields."""

    def __init__(self, node: n.Select) -> None:
        self.node = node
        self.fields = None if node.keep else needed_columns([expr for _, expr in node.columns])
        self.parts = needed_columns([expr for _, expr in node.columns]) & frozenset(c.PARTS)

    def run(self, batch: Batch) -> Batch:
        frame, bad = _frame(batch, self.fields, self.parts)
        out = batch.fan(0).typed(self.node.key, self.node.value)
        set_json(out.rows, select(frame, self.node.columns, self.node.keep))
        return out.without(bad) if bad else out


class CombineStep:
    """The joiner of two values, as named expressions over ``left.FIELD`` and ``right.FIELD``."""

    def __init__(
        self, node: n.StreamStreamJoin | n.StreamTableJoin | n.StreamGlobalTableJoin, view: View | None = None
    ):
        self.node = node
        self.view = view
        names = needed_columns([expr for _, expr in node.combine.columns])
        self.lefts = frozenset(name[5:] for name in names if name.startswith("left."))
        self.rights = frozenset(name[6:] for name in names if name.startswith("right."))

    def run(self, batch: Batch) -> Batch:
        left, right = self.node.inputs
        rows = batch.to_rows()
        if self.view is None:
            partners, misfits = decode_frame(right.value, rows, self.rights, part="other")
        else:
            batch, rights = self._looked_up(batch, self.view)
            if self.node.kind == "inner":
                batch = batch.filter([entry is not None for entry in rights])
                rights = list(filter(None.__ne__, rights))
            rows = batch.rows
            partners, misfits = decode_frame(right.value, rights, self.rights)
        lefts, bad = decode_frame(left.value, rows, self.lefts)
        out = batch.fan(0).typed(self.node.key, self.node.value)
        set_json(out.rows, combine(lefts, partners, self.node.combine.columns))
        bad = {**misfits, **bad}
        return out.without(bad) if bad else out

    def _looked_up(self, batch: Batch, view: View) -> tuple[Batch, list[bytes | None]]:
        right = self.node.inputs[1]
        if view.stores == (right,) and view.serdes == (right.value,):
            return batch, [None if entry is None else entry[0] for entry in batch.rows.lookups(0)]
        # A table without a store of its own: its value is made of what lies below, and encoded again.
        batch = batch.decode(values=False)
        found = view.decode([batch.rows.lookups(index) for index in range(len(view.stores))])
        values, batch = batch.call(view.read, batch.keys, list(zip(*found, strict=True)))
        return batch, right.value.serialize_many([None if value is None else value[0] for value in values])


def _frame(batch: Batch, fields: frozenset[str] | None, parts: frozenset[str] = frozenset()) -> Any:
    rows, locate = batch.to_rows(), batch.failures.locate
    makers = {
        c.KEY: lambda: key_series(batch.key, rows.keys()),
        c.TIMESTAMP: rows.timestamps,
        c.PARTITION: lambda: [locate(seq).partition for seq in rows.seqs()],
        c.OFFSET: lambda: [locate(seq).offset for seq in rows.seqs()],
    }
    return decode_frame(batch.value, rows, fields, parts=makers, also=parts)
