"""``headwater topic``: topics are made, listed, described, changed, trimmed and deleted."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .conftest import Shell


def test_topics_are_made_listed_and_deleted(shell: Shell) -> None:
    made = shell.ok("topic", "create", "a", "b", "-p", "3", "-c", "retention.ms=5", "--key", "str", "--value", "int")
    assert made.rows() == [{"topic": "a", "partitions": 3}, {"topic": "b", "partitions": 3}]
    with shell.broker() as broker:
        described = broker.topic("a")
        assert described.config["retention.ms"] == "5"
        assert described.key is not None and described.value is not None
        assert (described.key.name, described.value.name) == ("text", "int64")
        broker.send_many("a", [("k", 1), ("k", 2)])
    listed = {row["topic"]: row for row in shell.ok("topic", "list").rows()}
    assert (listed["a"]["records"], listed["b"]["records"]) == (2, 0)
    assert len(shell.ok("topic", "list", "--detailed").rows()) == 6
    assert "exists" in shell.refused("topic", "create", "a")
    shell.ok("topic", "create", "a", "--if-not-exists")
    assert "deleted b" in shell.ok("topic", "delete", "b").err
    assert [row["topic"] for row in shell.ok("topic", "list").rows()] == ["a"]


def test_all_or_none_are_deleted(shell: Shell) -> None:
    shell.ok("topic", "create", "a")
    shell.refused("topic", "delete", "a", "missing")
    assert len(shell.ok("topic", "list").rows()) == 1


def test_a_topic_is_described_in_every_format(shell: Shell) -> None:
    shell.ok("topic", "create", "rides", "-p", "2", "-c", "segment.bytes=1024")
    shell.ok("topic", "produce", "rides", stdin="a\nb\n")
    [row] = shell.ok("topic", "describe", "rides").rows()
    assert (row["records"], row["config"], len(row["partition"])) == (2, {"segment.bytes": "1024"}, 2)
    assert sum(one["high_watermark"] for one in row["partition"]) == 2
    table = shell.ok("topic", "describe", "rides", "-o", "table").out
    assert "SUMMARY" in table and "segment.bytes" in table and "HIGH WATERMARK" in table
    lines = shell.ok("topic", "describe", "rides", "-o", "csv").out.splitlines()
    assert lines[0].startswith("topic,partition,log_start_offset") and len(lines) == 3


def test_settings_are_changed_and_taken_back(shell: Shell) -> None:
    shell.ok("topic", "create", "t", "-c", "retention.ms=5")
    [row] = shell.ok("topic", "alter-config", "t", "--set", "segment.bytes=2048", "--delete", "retention.ms").rows()
    assert row["config"] == {"segment.bytes": "2048"}
    assert "did you mean 'retention.ms'" in shell.refused("topic", "alter-config", "t", "--set", "retention_ms=1")
    assert "NAME=VALUE" in shell.refused("topic", "alter-config", "t", "--set", "retention.ms")


def test_partitions_are_added(shell: Shell) -> None:
    shell.ok("topic", "create", "t")
    assert shell.ok("topic", "add-partitions", "t", "-n", "2").rows() == [{"topic": "t", "partitions": 3}]
    assert shell.ok("topic", "add-partitions", "t", "--total", "5").rows() == [{"topic": "t", "partitions": 5}]
    shell.refused("topic", "add-partitions", "t", "--total", "5")
    shell.refused("topic", "add-partitions", "t")


def test_the_oldest_records_are_forgotten(shell: Shell) -> None:
    shell.ok("topic", "create", "t")
    shell.ok("produce", "t", stdin="a\nb\nc\n")
    assert shell.ok("topic", "trim-prefix", "t", "-O", "0:2").rows()[0]["log_start_offset"] == 2
    assert [row["value"] for row in shell.ok("consume", "t").rows()] == ["c"]


def test_a_misspelt_topic_is_told_what_was_meant(shell: Shell) -> None:
    shell.ok("topic", "create", "rides")
    assert "did you mean 'rides'" in shell.refused("topic", "describe", "ride")
    assert "headwater topic list" in shell.refused("consume", "something-else")


def test_segments_are_listed(shell: Shell) -> None:
    shell.ok("topic", "create", "t", "-c", "segment.bytes=1024")
    with shell.broker() as broker:
        for _ in range(5):
            broker.send_many("t", [b"x" * 600])
    rows = shell.ok("segments", "t").rows()
    assert len(rows) == 5 and all(row["next_offset"] == row["base_offset"] + 1 for row in rows)
    assert rows[0]["path"].endswith("t-0/00000000000000000000.log")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("topic", "list"), "HEADWATER_DATA"),
        (("topic", "creat", "t"), "create"),
        (("topic", "create"), "headwater topic create --help"),
        (("nonsense",), "--help"),
        (("topic", "create", "t", "-p", "0"), "headwater topic create --help"),
        (("topic", "create", "a/b"), "rename the topic"),
        (("topic", "create", "t", "--value", "xml"), "json"),
    ],
)
def test_what_is_wrong_is_said_with_something_to_try(shell: Shell, arguments: tuple[str, ...], says: str) -> None:
    assert says in shell.refused(*arguments)


def test_a_directory_that_is_written_is_read_and_not_changed(shell: Shell) -> None:
    code = (
        f"import sys, headwater as hw; broker = hw.open({str(shell.data)!r}); broker.create_topic('t');"
        "print(1, flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"1\n"
        assert [row["topic"] for row in shell.ok("topic", "list").rows()] == ["t"]
        said = shell.refused("topic", "create", "u")
        assert str(holder.pid) in said and "work beside it" in said
        assert shell.ok("verify").out == ""
    finally:
        holder.communicate()


def test_help_is_there_under_both_its_names(shell: Shell) -> None:
    assert shell.ok("help", "topic", "create").out == shell.ok("topic", "create", "--help").out
    assert "consume" in shell.ok("help").out
    assert "consume" in shell().out


def test_version(shell: Shell) -> None:
    from importlib.metadata import version

    assert shell.ok("version").out.strip() == version("headwater")


def test_cluster_info_counts_what_is_in_the_directory(shell: Shell) -> None:
    shell.ok("topic", "create", "a", "b", "-p", "2")
    shell.ok("produce", "a", stdin="1\n2\n3\n")
    shell.ok("consume", "a", "-g", "g")
    [row] = shell.ok("cluster", "info").rows()
    assert (row["directory"], row["topics"], row["partitions"], row["records"], row["groups"]) == (
        str(shell.data),
        2,
        4,
        3,
        1,
    )
    assert row["size"] > 0


def test_a_topic_is_analyzed(shell: Shell) -> None:
    shell.ok("topic", "create", "t", "-p", "2")
    [empty] = shell.ok("topic", "analyze", "t").rows()
    assert (empty["partitions"], empty["batches"], empty["size"]) == (2, 0, 0)
    assert empty["batch_size_p50"] is empty["records_per_second"] is None
    with shell.broker() as broker:
        for compression, first in (("none", 0), ("lz4", 20)):
            with broker.producer(compression=compression, linger="1h") as producer:
                for n in range(first, first + 20):
                    producer.send("t", value=b"x" * 100, partition=0, timestamp=n * 1_000)
    [row] = shell.ok("topic", "analyze", "t").rows()
    assert (row["batches"], row["records"], row["records_per_batch"]) == (2, 40, 20.0)
    assert row["compression"] == "none 1, lz4 1"
    assert row["seconds"] == 20 and row["records_per_second"] == 2.0
    assert row["batch_size_p50"] < 2_000 < row["batch_size_p99"] == row["batch_size_max"] < row["size"]
    shell.ok("topic", "trim-prefix", "t", "-O", "0:20")
    rows = shell.ok("topic", "analyze", "--detailed", "t").rows()
    assert [(row["partition"], row["batches"], row["compression"]) for row in rows] == [(0, 1, "lz4 1"), (1, 0, "")]
    assert "try: " in shell.refused("topic", "analyze", "nothing")
