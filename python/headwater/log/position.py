"""How far a consumer has come in one partition."""

from __future__ import annotations

from typing import Any

from headwater.errors import SerdeError
from headwater.records import Record


class Position:
    """A partition that a consumer reads.

    `next` is the next offset to fetch, `done` the next offset to commit; between them lie the `records` that are
    decoded and not handed out, and then the `error` that ended their batch, if one did. `grant` is what the group calls
    its ownership, and `committed` what is known to be committed.
    """

    __slots__ = ("committed", "done", "error", "grant", "next", "records", "records_end")

    def __init__(self, offset: int, committed: int | None, grant: int) -> None:
        self.grant = grant
        self.committed = committed
        self.move(offset)

    def move(self, offset: int) -> None:
        """Forget what was fetched and go on elsewhere.

        Args:
            offset: The next record's offset.
        """
        self.next = self.done = self.records_end = offset
        self.records: list[Record[Any, Any]] = []
        self.error: SerdeError | None = None

    def is_drained(self) -> bool:
        """Whether everything that was fetched has been handed out."""
        return not self.records and self.error is None

    def fill(self, records: list[Record[Any, Any]], error: SerdeError | None, following: int) -> None:
        """Take what a fetch has brought.

        Args:
            records: To be handed out.
            error: What stopped the decoding after them.
            following: Where the fetch ended.
        """
        self.records, self.error = records, error
        if error is not None and error.offset is not None:
            following = error.offset
        self.next = self.records_end = following
        if not records:
            self.done = following  # control records, aborted ones, and those that were skipped
