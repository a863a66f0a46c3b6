"""Vector files: one topology and its recorded cases each."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

VECTORS = Path(__file__).parent / "vectors"
MODES = {"rocks-0": "0", "rocks-10m": "10MB"}
"""The modes that can be replayed, with the cache size of each."""

UNBUILT_OPERATORS = {
    "suppress", "process", "processValues", "cogroup", "fkJoin", "fkLeftJoin", "transformValues", "foreach"
}  # fmt: skip
"""Operators that a later release builds."""


class Vector(msgspec.Struct):
    """A file.

    Attributes:
        name: ``ID/variant``.
        header: Its first line.
        cases: The others.
    """

    name: str
    header: dict[str, Any]
    cases: list[dict[str, Any]]

    def modes(self, wanted: Iterable[str]) -> list[str]:
        """Which of the wanted modes the file was recorded in."""
        return [mode for mode in wanted if mode in self.header["modes"]]

    def unbuilt(self) -> set[str]:
        """What the topology uses that a later release builds."""
        return unbuilt(self.header["spec"])


def unbuilt(spec: dict[str, Any]) -> set[str]:
    """What a topology uses that a later release builds."""
    found: set[str] = set()
    for node in spec.get("nodes", ()):
        op, window = node["op"], node.get("window", {})
        if op in UNBUILT_OPERATORS:
            found.add(op)
        if node.get("emit") == "close":
            found.add("emit close")
        if window.get("type") in {"sliding", "unlimited"}:
            found.add(f"{window['type']} windows")
        if "deprecatedOf" in window:
            found.add("JoinWindows.of")
        if "grace" in node and op in {"join", "leftJoin"}:
            found.add("stream-table join with grace")
        found |= {key for key in ("versioned", "extractor", "topicFn", "caching", "logging") if key in node}
    if "processing" in spec.get("config", {}):
        found.add("processing exception handler")
    return found


def read(path: Path) -> Vector:
    """Read a file."""
    lines = [msgspec.json.decode(line) for line in gzip.decompress(path.read_bytes()).splitlines() if line]
    header: dict[str, Any] = lines[0]
    return Vector(name=f"{header['id']}/{header['variant']}", header=header, cases=lines[1:])


def find(paths: Iterable[Path]) -> Iterator[Path]:
    """The vector files among paths and below folders."""
    for path in paths:
        if path.is_dir():
            yield from sorted(path.rglob("*.jsonl.gz"))
        else:
            yield path
