"""``headwater produce`` and ``headwater consume``: lines in, records out, wherever one begins and however they look."""

from __future__ import annotations

import json

import pytest

import headwater as hw
from headwater.cli.offsets import parse_instant, resolve

from .conftest import Shell


@pytest.fixture
def filled(shell: Shell) -> Shell:
    """Two partitions with records of the instants 1000, 2000, ... and values that say where they are."""
    with shell.broker() as broker:
        broker.create_topic("t", partitions=2)
        rows = [hw.Record("t", p, n, 1_000 * (n + 1), f"k{p}", {"n": n}, ()) for n in range(5) for p in (0, 1)]
        with broker.producer() as producer:
            for row in rows:
                producer.send("t", key=row.key, value=row.value, partition=row.partition, timestamp=row.timestamp)
    return shell


def places(shell: Shell, *arguments: str) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for row in shell.ok("consume", "t", *arguments).rows():
        found.setdefault(row["partition"], []).append(row["offset"])
    return found


@pytest.mark.parametrize(
    ("offset", "first"),
    [
        ("start", {0: 0, 1: 0}),
        ("end", {}),
        ("2", {0: 2, 1: 2}),
        ("-1", {0: 4, 1: 4}),
        ("-100", {0: 0, 1: 0}),
        ("+3", {0: 3, 1: 3}),
        ("100", {}),
        ("@1970-01-01T00:00:03", {0: 2, 1: 2}),
        ("@1970-01-01T01:00:03+01:00", {0: 2, 1: 2}),
        ("@-1h", {}),
        ("1:3", {1: 3}),
        ("0:-2,1:start", {0: 3, 1: 0}),
        ("0:@1970-01-01T00:00:05,1:end", {0: 4}),
    ],
)
def test_where_to_begin(filled: Shell, offset: str, first: dict[int, int]) -> None:
    assert places(filled, "--offset", offset) == {p: list(range(n, 5)) for p, n in first.items()}


@pytest.mark.parametrize("offset", ["", "begin", "2:0", "0:", "@", "@yesterday", "@-soon", "1.5", "--"])
def test_what_is_no_offset_is_refused(filled: Shell, offset: str) -> None:
    filled.refused("consume", "t", "--offset", offset)


def test_instants() -> None:
    assert parse_instant("1970-01-01T00:00:01") == 1_000
    assert parse_instant("1763800000000") == 1_763_800_000_000
    hour = hw.SystemClock().now_ms() - parse_instant("-1h")
    assert 3_600_000 <= hour < 3_700_000
    with hw.open("memory:") as broker:
        broker.create_topic("t")
        assert resolve(broker, "t", "-5") == {0: 0}


def test_numbers_and_partitions_limit_what_is_read(filled: Shell) -> None:
    assert sum(map(len, places(filled, "-n", "3").values())) == 3
    assert places(filled, "-n", "0") == {}
    assert places(filled, "-p", "1") == {1: [0, 1, 2, 3, 4]}
    filled.refused("consume", "t", "-p", "7")
    filled.refused("consume", "t", "-p", "x")


def test_a_record_is_an_object_or_what_a_format_makes_of_it(filled: Shell) -> None:
    row = filled.ok("consume", "t", "-p", "0", "-n", "1").rows()[0]
    assert row == {
        "topic": "t",
        "partition": 0,
        "offset": 0,
        "timestamp": 1000,
        "key": "k0",
        "value": {"n": 0},
        "headers": [],
    }
    lines = filled.ok(
        "consume", "t", "-p", "0", "-n", "2", "-f", r"{offset}\t{key:>4}|{value[n]:03d}|{time:%H:%M:%S}"
    ).out
    assert lines == "0\t  k0|000|00:00:01\n1\t  k0|001|00:00:02\n"
    assert filled.ok("consume", "t", "-n", "1", "-f", "{value[missing]}{value.n}").out == "0\n"
    for wrong in ("{nonsense}", "{key", "{", "{}"):
        filled.refused("consume", "t", "-f", wrong)
    assert filled.ok("consume", "t", "-n", "1", "-o", "csv").out.splitlines()[0].startswith("topic,partition,offset")
    assert len(json.loads(filled.ok("consume", "t", "-o", "json").out)) == 10
    assert "PARTITION" in filled.ok("consume", "t", "-o", "table").out


def test_types_may_be_said(shell: Shell) -> None:
    with shell.broker() as broker:
        broker.create_topic("t")
        broker.send_many("t", [(1, 2.5), (None, None), (b"\xff", b"[")])
    first = shell.ok("consume", "t", "-n", "1", "--key", "int", "--value", "float").rows()[0]
    assert (first["key"], first["value"]) == (1, 2.5)
    rows = shell.ok("consume", "t").rows()
    assert [row["value"] for row in rows[1:]] == [None, "["] and rows[2]["key"] == "0xff"
    said = shell("consume", "t", "--key", "int")
    assert said.code == 2 and len(said.rows()) == 2
    assert "offset 2" in said.err and "try: read with --value bytes" in said.err
    shell.refused("consume", "t", "--value", "xml")


def test_a_group_goes_on_where_it_stopped(filled: Shell) -> None:
    assert sum(map(len, places(filled, "-g", "readers", "-n", "4").values())) == 4
    assert sum(map(len, places(filled, "-g", "readers").values())) == 6
    assert places(filled, "-g", "readers") == {}


def test_lines_become_records(shell: Shell) -> None:
    shell.ok("topic", "create", "t")
    said = shell.ok("produce", "t", "-K", ":", "-H", "by=test", "-H", "empty", stdin="a:1\nb:x:y\r\nc:\n").err
    assert "3 records written to t" in said
    rows = shell.ok("consume", "t").rows()
    assert [(row["key"], row["value"]) for row in rows] == [("a", "1"), ("b", "x:y"), ("c", "")]
    assert rows[0]["headers"] == [["by", "test"], ["empty", None]]
    shell.ok("produce", "t", "-k", "same", "-Z", "-p", "0", "-z", "lz4", stdin="v\n\n")
    assert [(row["key"], row["value"]) for row in shell.ok("consume", "t", "-O", "3").rows()] == [
        ("same", "v"),
        ("same", None),
    ]
    assert "line 2" in shell("produce", "t", "-K", ":", stdin="a:b\nnone\n").err


def test_what_is_read_may_be_written_again(filled: Shell) -> None:
    filled.ok("topic", "create", "copy", "-p", "2")
    read = filled.ok("consume", "t").out
    filled.ok("produce", "copy", "-f", "jsonl", stdin=read)
    again = filled.ok("consume", "copy").out
    assert again == read.replace('"topic":"t"', '"topic":"copy"')
    for line in ("[]", "{", '{"partition": "x"}', '{"headers": 5}'):
        assert "line 1" in filled("produce", "copy", "-f", "jsonl", stdin=line).err


def test_values_are_what_the_topic_remembers(shell: Shell) -> None:
    shell.ok("topic", "create", "t", "--key", "str", "--value", "int")
    shell.ok("produce", "t", "-k", "a", stdin="5\n-7\n")
    assert [row["value"] for row in shell.ok("consume", "t").rows()] == [5, -7]
    assert "line 1" in shell("produce", "t", stdin="five\n").err
    shell.ok("topic", "create", "j", "--value", "json")
    shell.ok("produce", "j", stdin='{"a": [1, "x"]}\n')
    assert shell.ok("consume", "j").rows()[0]["value"] == {"a": [1, "x"]}
    assert "line 1" in shell("produce", "j", stdin="{\n").err
