"""What goes wrong with single records of a micro-batch, and how far the batch is kept.

A user's function that raises at source record *i* cuts the batch there: rows before *i* are kept, stores are rolled
back to *i*, and the error is raised with the record's coordinates once everything before it is safe. Records that do not
decode follow the `on_error` of their source instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headwater.errors import HeadwaterError, ProcessingError, SerdeError
from headwater.records import Record
from headwater.runtime.coordinates import Coordinates


class Failures:
    """The failures of one micro-batch.

    Attributes:
        locate: Where a source record came from, by its position in the batch.
        limit: First source record that is not kept, or None.
        error: What is to be raised once the rows before it are safe.
        skipped: Records that a policy dropped.
        diverted: (topic, seq) of records that a policy sends elsewhere.
    """

    def __init__(self, locate: Callable[[int], Coordinates], policy: Callable[[str], Any]) -> None:
        self.locate = locate
        self._policy = policy
        self.limit: int | None = None
        self.error: HeadwaterError | None = None
        self.skipped = 0
        self.diverted: list[tuple[str, int]] = []

    def raised(self, seq: int, cause: Exception) -> None:
        """A user's function raised at a source record.

        Args:
            seq: Position of the record in the batch.
            cause: What it raised.
        """
        if self.limit is not None and self.limit <= seq:
            return
        at = self.locate(seq)
        if isinstance(cause, SerdeError):
            error: HeadwaterError = _located(cause, at)
        else:
            error = ProcessingError(
                f"expected the function to return, got {type(cause).__name__}: {cause} - at {at}, key {at.key!r}; "
                "fix the function or filter the record out, then run again: nothing before it is processed twice",
                topic=at.topic,
                partition=at.partition,
                offset=at.offset,
                key=at.key,
            )
        error.__cause__ = cause
        self.limit, self.error = seq, error

    def undecodable(self, seq: int, cause: Exception) -> bool:
        """A record does not decode.

        Args:
            seq: Position of the record in the batch.
            cause: The serde's error.

        Returns:
            Whether this ends the batch; otherwise the record is dropped.
        """
        at = self.locate(seq)
        policy = self._policy(at.topic)
        if policy == "raise":
            self.raised(seq, cause)
            return True
        self.skipped += 1
        if isinstance(policy, str) and policy.startswith("topic:"):
            self.diverted.append((policy.removeprefix("topic:"), seq))
        elif callable(policy):
            policy(_located(cause, at), Record(at.topic, at.partition, at.offset, at.timestamp, at.key, at.value))
        return False


def _located(cause: Exception, at: Coordinates) -> SerdeError:
    field = getattr(cause, "field", None)
    return SerdeError(f"{cause} - at {at}", topic=at.topic, partition=at.partition, offset=at.offset, field=field)
