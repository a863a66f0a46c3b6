"""The door to the state engine: tasks, their stores, and the rows that pass through them."""

from __future__ import annotations

from headwater._core import Rows, Task, decode_headers, encode_headers

__all__ = ["Rows", "Task", "decode_headers", "encode_headers"]
