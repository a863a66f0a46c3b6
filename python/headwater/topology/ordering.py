"""The orders in which Kafka Streams prints sets: by hash table and by a tree whose elements change after they went in.

``Topology.describe()`` is stable text that people diff, so ours is Kafka's to the letter. Kafka prints stores and topics
in the order of a hash set of strings, and a node's neighbours in the order of a balanced search tree that compares nodes
by the size of what hangs below them; sizes still grow while neighbours are being added, so the order is that of
the moment. Both are reproduced here: `hashed` and `SizeTree`. Nothing else in headwater depends on them.

Source: OpenJDK ``HashMap`` and ``TreeMap`` (behaviour), Kafka's ``InternalTopologyBuilder`` (use).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

_MASK = 0xFFFFFFFF


def string_hash(text: str) -> int:
    """The 32-bit hash of a string, over its UTF-16 code units.

    Args:
        text: The string.
    """
    result = 0
    units = text.encode("utf-16-be", "surrogatepass")
    for high, low in zip(units[::2], units[1::2], strict=True):
        result = (31 * result + (high << 8 | low)) & _MASK
    return result


def hashed(names: Iterable[str]) -> list[str]:
    """Names in the order of a hash set that they are added to one by one.

    Args:
        names: Strings, in the order of insertion; repetitions do not count.
    """
    unique = list(dict.fromkeys(names))
    capacity = 16
    while len(unique) > capacity * 3 // 4:
        capacity *= 2

    def bucket(name: str) -> int:
        value = string_hash(name)
        return (value ^ value >> 16) & (capacity - 1)

    return sorted(unique, key=bucket)


class Sized(Protocol):
    """What a `SizeTree` compares: larger first, then by name."""

    name: str
    size: int


class _Branch:
    __slots__ = ("item", "left", "parent", "red", "right")

    def __init__(self, item: Sized, parent: _Branch | None) -> None:
        self.item = item
        self.parent = parent
        self.left: _Branch | None = None
        self.right: _Branch | None = None
        self.red = True


class SizeTree:
    """A red-black tree that compares only on insertion, with the sizes of that moment."""

    def __init__(self) -> None:
        """Start empty."""
        self._root: _Branch | None = None

    def __iter__(self) -> Iterator[Sized]:
        stack: list[_Branch] = []
        at = self._root
        while stack or at is not None:
            while at is not None:
                stack.append(at)
                at = at.left
            at = stack.pop()
            yield at.item
            at = at.right

    def add(self, item: Sized) -> None:
        """Insert an item unless the way down meets it.

        Args:
            item: The item.
        """
        parent: _Branch | None = None
        at, goes_left = self._root, False
        while at is not None:
            parent = at
            if at.item is item:
                return
            goes_left = _before(item, at.item)
            at = at.left if goes_left else at.right
        new = _Branch(item, parent)
        if parent is None:
            self._root = new
        elif goes_left:
            parent.left = new
        else:
            parent.right = new
        self._balance(new)

    def _balance(self, at: _Branch) -> None:
        while (parent := at.parent) is not None and parent.red:
            grand = parent.parent
            if grand is None:
                break
            is_left = parent is grand.left
            uncle = grand.right if is_left else grand.left
            if uncle is not None and uncle.red:
                parent.red = uncle.red = False
                grand.red = True
                at = grand
                continue
            if at is (parent.right if is_left else parent.left):
                self._rotate(parent, to_left=is_left)
                at, parent = parent, at
            parent.red = False
            grand.red = True
            self._rotate(grand, to_left=not is_left)
        if self._root is not None:
            self._root.red = False

    def _rotate(self, at: _Branch, *, to_left: bool) -> None:
        child = at.right if to_left else at.left
        if child is None:
            return
        inner = child.left if to_left else child.right
        if to_left:
            at.right, child.left = inner, at
        else:
            at.left, child.right = inner, at
        if inner is not None:
            inner.parent = at
        child.parent = at.parent
        if at.parent is None:
            self._root = child
        elif at.parent.left is at:
            at.parent.left = child
        else:
            at.parent.right = child
        at.parent = child


def _before(item: Sized, other: Sized) -> bool:
    if item.size != other.size:
        return item.size > other.size
    return item.name < other.name
