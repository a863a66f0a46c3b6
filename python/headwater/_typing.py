"""Names for the options that public functions take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

Acks = Literal["all", 0, 1]
Compression = Literal["none", "gzip", "snappy", "lz4", "zstd"]
AutoOffsetReset = Literal["earliest", "latest", "none"]
IsolationLevel = Literal["read_uncommitted", "read_committed"]
CleanupPolicy = Literal["delete", "compact", "compact,delete"]
PartitionAssignmentStrategy = Literal["range", "cooperative-sticky"]
Mode = Literal["rw", "r"]

# "raise", "skip", "topic:NAME", or a callable that gets (error, raw record) and returns a replacement or None to skip.
OnError = str | Callable[[Any, Any], Any]

# "lazy" decodes what a stage reads, "eager" checks every key and value at the source.
Validate = Literal["lazy", "eager"]
