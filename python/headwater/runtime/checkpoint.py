"""The checkpoint of a task: what a commit says beside the input offsets, in Kafka's `metadata` field.

One record batch in ``__consumer_offsets`` holds every input offset of the task and, with the first of them, this text:
which ranges of its changelogs count, the clocks of its operators, and the fingerprint of the topology that wrote them.
That batch is the only authority. A changelog may hold more (writes of a run that died before its commit): only the
ranges named here are ever restored, so what was never committed never counts.
"""

from __future__ import annotations

import base64
import zlib

import msgspec

PLAIN_BYTES = 8_192
"""Longest checkpoint that is written as it is."""

PACKED = "zlib:"
"""What a packed checkpoint starts with; plain ones start with a brace."""


class Range(msgspec.Struct, array_like=True):
    """Changelog offsets from `start` up to, not including, `end`."""

    start: int
    end: int


class Checkpoint(msgspec.Struct, omit_defaults=True):
    """The state of a task at a commit.

    Attributes:
        changelogs: Store name to the ranges of its changelog that count.
        clocks: Store name to (operator's stream time, largest window put).
        joins: Join's name to (stream time, gate, largest left and right timestamp).
        nodes: Node name to its fingerprint.
        sources: Source topic to its id: one of the same name that was made later is another.
    """

    changelogs: dict[str, list[Range]] = {}
    clocks: dict[str, tuple[int, int]] = {}
    joins: dict[str, tuple[int, int, int, int]] = {}
    nodes: dict[str, str] = {}
    sources: dict[str, str] = {}

    def encode(self) -> str:
        """As text for the metadata field, packed where it is long: the field holds 32,767 bytes, names repeat a lot."""
        text = msgspec.json.encode(self)
        if len(text) <= PLAIN_BYTES:
            return text.decode()
        return PACKED + base64.b85encode(zlib.compress(text, 9)).decode()

    @classmethod
    def decode(cls, text: str) -> Checkpoint:
        """From the metadata field.

        Args:
            text: What `encode` gave; empty for none.
        """
        if not text:
            return cls()
        packed = text.removeprefix(PACKED)
        plain = text.encode() if packed == text else zlib.decompress(base64.b85decode(packed))
        return msgspec.json.decode(plain, type=cls)

    def wrote(self, store: str, start: int, end: int, *, goes_on: bool = False) -> None:
        """Count what was appended to a changelog.

        Args:
            store: Name of the store.
            start: First offset.
            end: One past the last.
            goes_on: No record lies between this and what was counted last.
        """
        ranges = self.changelogs.setdefault(store, [])
        if ranges and (goes_on or ranges[-1].end == start):
            ranges[-1].end = end
        elif end > start:
            ranges.append(Range(start, end))
