"""Names of the columns that are not fields of a value: the record's own parts, and the mark of a value.

A value's fields are columns by their own names, so the record's parts need names that no field has: `hw.key` is the
column ``hw.key``.
"""

from __future__ import annotations

import polars as pl

# Whether the row has a value at all: false for a tombstone, and for a row that did not decode.
PRESENT = "hw.present"

KEY = "hw.key"
VALUE = "hw.value"
TIMESTAMP = "hw.timestamp"
PARTITION = "hw.partition"
OFFSET = "hw.offset"

# The column of a value that is not an object: a number, a text ...
SCALAR = "value"

PARTS = (KEY, VALUE, TIMESTAMP, PARTITION, OFFSET)
HIDDEN = frozenset({PRESENT, *PARTS})

key: pl.Expr = pl.col(KEY)
value: pl.Expr = pl.col(VALUE)
timestamp: pl.Expr = pl.col(TIMESTAMP)
partition: pl.Expr = pl.col(PARTITION)
offset: pl.Expr = pl.col(OFFSET)
