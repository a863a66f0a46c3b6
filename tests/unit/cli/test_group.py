"""``headwater group``: groups are listed, described, moved and forgotten."""

from __future__ import annotations

import pytest

from .conftest import Shell


@pytest.fixture
def grouped(shell: Shell) -> Shell:
    """A group that has read four of ten records."""
    shell.ok("topic", "create", "t")
    shell.ok("produce", "t", stdin="".join(f"{n}\n" for n in range(10)))
    shell.ok("consume", "t", "-g", "g", "-n", "4")
    return shell


def offset(shell: Shell) -> int:
    [row] = shell.ok("group", "describe", "g").rows()
    assert row["lag"] == 10 - row["committed_offset"]
    return int(row["committed_offset"])


def test_groups_are_listed_and_described(grouped: Shell) -> None:
    assert grouped.ok("group", "list").rows() == [{"group": "g", "topics": 1, "partitions": 1, "lag": 6}]
    assert offset(grouped) == 4
    assert "headwater group list" in grouped.refused("group", "describe", "nobody")


@pytest.mark.parametrize(
    ("to", "expected"), [("start", 0), ("end", 10), ("-3", 1), ("+2", 6), ("7", 7), ("0:9", 9), ("@-1h", 0)]
)
def test_a_group_is_moved(grouped: Shell, to: str, expected: int) -> None:
    shown = grouped.ok("group", "reset", "g", "--to", to)
    assert shown.rows() == [{"group": "g", "topic": "t", "partition": 0, "old": 4, "new": expected}]
    assert "nothing was changed" in shown.err and offset(grouped) == 4
    grouped.ok("group", "seek", "g", "--to", to)
    assert offset(grouped) == expected


def test_reset_moves_when_it_is_told_to(grouped: Shell) -> None:
    grouped.ok("group", "reset", "g", "--to", "start", "--topics", "t", "--execute")
    assert offset(grouped) == 0
    grouped.refused("group", "seek", "g", "--to", "somewhere")
    grouped.refused("group", "seek", "nobody", "--to", "start")


def test_a_group_is_forgotten(grouped: Shell) -> None:
    grouped.refused("group", "delete", "g", "nobody")
    assert "deleted g" in grouped.ok("group", "delete", "g").err
    assert grouped.ok("group", "list").out == ""


def test_offsets_of_some_partitions_are_forgotten(grouped: Shell) -> None:
    grouped.ok("topic", "create", "two", "-p", "3")
    grouped.ok("group", "seek", "g", "--to", "start", "--topics", "two")
    shown = grouped.ok("group", "offset-delete", "g", "-t", "two:0,2", "--topic", "nowhere")
    assert shown.rows() == [{"group": "g", "topic": "two", "partition": partition} for partition in (0, 2)]
    left = [(row["topic"], row["partition"]) for row in grouped.ok("group", "describe", "g").rows()]
    assert left == [("t", 0), ("two", 1)]
    assert "TOPIC:0,1,2, got 'two:x'" in grouped.refused("group", "offset-delete", "g", "-t", "two:x")
    grouped.refused("group", "offset-delete", "nobody", "-t", "t")
    grouped.ok("group", "offset-delete", "g", "-t", "t", "-t", "two")
    assert grouped.ok("group", "list").out == "", "a group without offsets is none"
