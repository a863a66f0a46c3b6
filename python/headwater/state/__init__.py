"""The door to the state engine: tasks, their stores, and the rows that pass through them."""

from __future__ import annotations

from headwater._core import (
    Rows,
    Task,
    append_rows,
    decode_headers,
    encode_headers,
    fetch_rows,
    interleave,
    pack_changes,
    unpack_changes,
)

__all__ = [
    "Rows",
    "Task",
    "append_rows",
    "decode_headers",
    "encode_headers",
    "fetch_rows",
    "interleave",
    "pack_changes",
    "unpack_changes",
]
