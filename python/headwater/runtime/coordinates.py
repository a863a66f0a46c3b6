"""Where a batch's source records came from: looked up when something is wrong with one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from headwater.state import Rows


class Coordinates(NamedTuple):
    """A source record and its place; `headers` as they are encoded."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int = -1
    headers: bytes = b""

    def __str__(self) -> str:
        return f"topic '{self.topic}' partition {self.partition} offset {self.offset}"


class Part(NamedTuple):
    """What a batch has of one source partition: the offsets of its records, in order."""

    topic: str
    partition: int
    offsets: Sequence[int]


class _Read(Protocol):
    """Reads records of a partition from an offset on: their offsets and rows."""

    def __call__(self, topic: str, partition: int, offset: int) -> tuple[Sequence[int], Rows]: ...


class Locator:
    """Finds the coordinates of a batch's records.

    The rows themselves have gone where they were needed, so that records are read once more: a block of them for each that
    lies in none of those before.
    """

    def __init__(self, parts: list[Part], owners: Sequence[int], read: _Read) -> None:
        self._parts = parts
        self._owners = owners
        self._read = read
        self._ranks: list[int] = []
        self._blocks: dict[int, dict[int, Coordinates]] = {}

    def __call__(self, seq: int) -> Coordinates:
        part = self._owners[seq]
        topic, partition, offsets = self._parts[part]
        offset = offsets[self._rank(seq)]
        block = self._blocks.get(part, {})
        if offset not in block:
            found, rows = self._read(topic, partition, offset)
            records = zip(found, rows.keys(), rows.values(), rows.timestamps(), rows.headers(), strict=True)
            block = {record[0]: Coordinates(topic, partition, *record) for record in records}
            self._blocks[part] = block
        return block[offset]

    def _rank(self, seq: int) -> int:
        """Which of its part's records it is."""
        if not self._ranks:
            seen = [0] * len(self._parts)
            for owner in self._owners:
                self._ranks.append(seen[owner])
                seen[owner] += 1
        return self._ranks[seq]
