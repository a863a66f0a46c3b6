"""The door to the state engine: tasks, their stores, and the rows that pass through them."""

from __future__ import annotations

from headwater._core import (
    ReadAhead,
    Rows,
    Task,
    Transaction,
    append_rows,
    append_rows_to,
    decode_headers,
    delete_records,
    encode_headers,
    fetch_rows,
    interleave,
    pack_changes,
    split_rows,
    unpack_changes,
)

__all__ = [
    "ReadAhead",
    "Rows",
    "Task",
    "Transaction",
    "append_rows",
    "append_rows_to",
    "decode_headers",
    "delete_records",
    "encode_headers",
    "fetch_rows",
    "interleave",
    "pack_changes",
    "split_rows",
    "unpack_changes",
]
