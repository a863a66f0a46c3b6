"""Whether a directory is as it should be: everything in it is read, nothing is changed, no lock is taken."""

from __future__ import annotations

import os
from typing import Literal

import msgspec

from headwater import _core
from headwater.errors import InvalidArgumentError


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong in a directory.

    Attributes:
        severity: ``"error"`` records are lost or cannot be read, ``"warning"`` something derived or redundant is wrong and
            headwater finds its way around it, ``"note"`` something that is harmless.
        topic: The topic, if it is one's.
        partition: The partition, if it is one's.
        offset: The first offset that it is about.
        path: The file or folder.
        position: Where in the file.
        what: Expected what, got what.
        advice: What to do about it.
    """

    severity: Literal["note", "warning", "error"]
    topic: str | None
    partition: int | None
    offset: int | None
    path: str
    position: int | None
    what: str
    advice: str


class VerifyReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `verify` read and found.

    Attributes:
        findings: In order of their places.
        topics: How many topics were read.
        partitions: How many partitions.
        segments: How many segments.
        batches: How many batches that are good.
        records: How many records in them.
        bytes: How many bytes of segments.
    """

    findings: tuple[Finding, ...]
    topics: int
    partitions: int
    segments: int
    batches: int
    records: int
    bytes: int

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong; notes do not count."""
        return all(finding.severity == "note" for finding in self.findings)


def verify(directory: str | os.PathLike[str]) -> VerifyReport:
    """Read everything in a directory and say what is wrong in it, and where.

    Checksums, records, offsets from batch to batch and from file to file, indexes, marks and checkpoints are checked. Beside
    a process that writes what is durable is checked. Nothing is changed.

    Args:
        directory: Where the topics lie; one that Kafka wrote will do.

    Raises:
        InvalidArgumentError: There is no log in it.
        StorageError: It cannot be read.
    """
    if not os.path.isdir(directory):
        raise InvalidArgumentError(
            f"expected a directory with a log, got none - at {directory}; fix the name", path=os.fspath(directory)
        )
    findings, totals = _core.verify(os.fspath(directory))
    names = ("severity", "topic", "partition", "offset", "path", "position", "what", "advice")
    topics, partitions, segments, batches, records, size = totals
    return VerifyReport(
        findings=tuple(msgspec.convert(dict(zip(names, found, strict=True)), Finding) for found in findings),
        topics=topics,
        partitions=partitions,
        segments=segments,
        batches=batches,
        records=records,
        bytes=size,
    )
