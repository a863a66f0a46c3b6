"""The orders in which Kafka Streams prints sets."""

import random

import pytest

from headwater.topology.ordering import SizeTree, hashed, string_hash


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", 0), ("a", 97), ("hello", 99162322), ("KSTREAM-SOURCE-0000000000", None), ("\U0001f600", 1772899)],
)
def test_hash_is_over_utf16_units(text, expected):
    units = text.encode("utf-16-be")
    value = 0
    for high, low in zip(units[::2], units[1::2], strict=True):
        value = (31 * value + high * 256 + low) % 2**32
    assert string_hash(text) == value
    assert expected is None or string_hash(text) == expected


def test_a_hash_set_keeps_each_name_once_and_orders_by_bucket():
    assert hashed(["b", "a", "b"]) == ["a", "b"]
    assert hashed(["q", "a"]) == ["q", "a"]  # the same of 16 buckets: order of insertion
    assert hashed(["a", "q"]) == ["a", "q"]


def test_a_hash_set_grows_when_three_quarters_full():
    names = [chr(code) for code in range(ord("a"), ord("a") + 13)]
    assert hashed(["q", *names[:11]])[:2] == ["q", "a"]
    assert hashed(["q", *names[:12]])[0] == "a"  # 13 names need 32 buckets, where q no longer shares that of a


class Item:
    def __init__(self, name, size):
        self.name, self.size = name, size

    def __repr__(self):
        return f"{self.name}{self.size}"


def test_a_tree_of_unchanged_items_is_sorted_larger_first_then_by_name():
    items = [Item(chr(97 + i % 26), i % 7) for i in range(200)]
    random.Random(4).shuffle(items)
    tree = SizeTree()
    for item in items:
        tree.add(item)
    assert [repr(item) for item in tree] == [repr(i) for i in sorted(items, key=lambda i: (-i.size, i.name))]


def test_an_item_is_compared_with_the_sizes_of_the_moment():
    tree, first, second = SizeTree(), Item("b", 1), Item("a", 1)
    tree.add(first)
    first.size = 5
    tree.add(second)
    second.size = 9
    assert list(tree) == [first, second]


def test_an_item_that_is_met_on_the_way_is_not_added_again():
    tree, item = SizeTree(), Item("a", 1)
    tree.add(item)
    tree.add(item)
    assert list(tree) == [item]
