"""Opening: one shared handle per directory, a lock against other processes, and errors that say what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import headwater as hw

HOLD = """
import sys, headwater as hw
broker = hw.open(sys.argv[1])
broker.create_topic("t")
broker.send_many("t", [("k", "v")])
print("ready", flush=True)
sys.stdin.readline()
"""


def test_the_same_directory_twice_is_one_log(tmp_path: Path) -> None:
    first = hw.open(tmp_path / "data")
    second = hw.open(str(tmp_path / "x" / ".." / "data"))
    first.create_topic("t")
    second.send_many("t", ["a"])
    first.close()
    first.close()
    with pytest.raises(hw.ClosedError, match="open it again"):
        first.topics()
    assert second.topics() == ["t"]
    second.close()
    with hw.open(tmp_path / "data") as third:
        assert third.topics() == ["t"] and third.offsets("t") == {0: (0, 1)}


def test_a_handle_that_nobody_holds_is_closed_but_not_under_its_consumers(tmp_path: Path) -> None:
    hw.open(tmp_path / "data").create_topic("t")
    producer = hw.open(tmp_path / "data").producer()
    producer.send("t", value="a").result()
    consumer = hw.open(tmp_path / "data").consumer("t", auto_offset_reset="earliest", timeout="0s")
    producer.close()
    del producer
    assert [record.value for record in consumer] == [b"a"]


def test_b13_a_second_process_is_locked_out_and_reads(tmp_path: Path) -> None:
    path = str(tmp_path / "data")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "ready\n"
        with pytest.raises(hw.LockedError, match=f"{holder.pid}") as caught:
            hw.open(path)
        assert isinstance(caught.value, hw.ClosedError)
        with hw.open(path, mode="r") as reader:
            assert reader.topics() == ["t"]
            with reader.consumer("t", auto_offset_reset="earliest", timeout="0s") as consumer:
                assert [(r.key, r.value) for r in consumer] == [(b"k", b"v")]
            for write in (
                lambda: reader.create_topic("u"),
                reader.producer,
                lambda: reader.consumer("t", group="g"),
                lambda: reader.send_many("t", []),
            ):
                with pytest.raises(hw.InvalidArgumentError, match='mode="rw"'):
                    write()
    finally:
        holder.communicate("\n")
    with hw.open(path) as writer:
        assert writer.topics() == ["t"]


def test_a_reader_beside_a_writer_of_the_same_process(tmp_path: Path) -> None:
    with hw.open(tmp_path / "data") as writer, hw.open(tmp_path / "data", mode="r") as reader:
        writer.create_topic("t")
        assert reader.topics() == ["t"] and reader.mode == "r"
        with pytest.raises(hw.InvalidArgumentError, match='mode="rw"'):
            reader.delete_topic("t")


def test_b14_a_forked_child_is_refused(tmp_path: Path) -> None:
    broker = hw.open(tmp_path / "data")
    broker.create_topic("t")
    producer = broker.producer(linger="1h")
    consumer = broker.consumer("t", group="g", timeout="0s")
    producer.send("t", value="a")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # only _exit from here: this is a copy of the test runner
        answers = []
        for use in (broker.topics, lambda: producer.send("t", value="b"), producer.flush, lambda: list(consumer)):
            try:
                use()
                answers.append("no error")
            except hw.ClosedError as error:
                answers.append("fork" if "fork" in str(error) else str(error))
            except BaseException as error:
                answers.append(repr(error))
        for close in (producer.close, consumer.close, broker.close):
            try:
                close()
            except BaseException as error:
                answers.append(repr(error))
        os.write(write, ",".join(answers).encode())
        os._exit(0)
    os.close(write)
    answer = b"".join(iter(lambda: os.read(read, 4096), b""))
    os.close(read)
    os.waitpid(child, 0)
    assert answer.decode() == "fork,fork,fork,fork"
    producer.close()
    assert broker.offsets("t") == {0: (0, 1)}
    broker.close()


@pytest.mark.parametrize(
    ("path", "options", "said"),
    [
        ("data", {"mode": "w"}, "mode"),
        ("data", {"durability": "paranoid"}, "durability"),
        ("data", {"durability": "interval:0"}, "durability"),
        ("memory:", {"mode": "r"}, "mode"),
        ("", {}, "directory"),
    ],
)
def test_wrong_arguments_are_refused(path: str, options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(hw.InvalidArgumentError, match=said):
        hw.open(tmp_path / path if path == "data" else path, **options)


def test_another_durability_than_that_of_the_open_handle_is_refused(tmp_path: Path) -> None:
    with hw.open(tmp_path, durability="os") as broker:
        assert hw.open(tmp_path).durability == "os"
        with pytest.raises(hw.InvalidArgumentError, match="close the other handle"):
            hw.open(tmp_path, durability="fsync")
        assert repr(broker).startswith("<Broker ")


def test_clusters_come_later() -> None:
    with pytest.raises(NotImplementedError, match=r"0\.3"):
        hw.open("kafka://localhost:9092")


def test_memory_brokers_are_separate() -> None:
    with hw.open("memory:") as first, hw.open("memory:") as second:
        first.create_topic("t")
        assert second.topics() == []


def test_topics_are_made_described_and_deleted() -> None:
    with hw.open("memory:") as broker:
        broker.create_topic("b", partitions=3, retention="7d", config={"segment.bytes": "1048576"})
        broker.create_topic(hw.Topic("a", key=str, partitions=2))
        assert broker.topics() == ["a", "b"]
        described = broker.topic("b")
        assert described.partitions == 3 and described.config["retention.ms"] == "604800000"
        assert broker.create_topic("a", partitions=2, exist_ok=True).partitions == 2
        with pytest.raises(hw.InvalidArgumentError, match="2"):
            broker.create_topic("a", partitions=3, exist_ok=True)
        with pytest.raises(hw.InvalidArgumentError, match="a"):
            broker.create_topic("a")
        broker.delete_topic("b")
        assert broker.topics() == ["a"]
        for use in (broker.topic, broker.delete_topic, broker.offsets, broker.consumer, broker.read_frame):
            with pytest.raises(hw.UnknownTopicError, match="b"):
                use("b")
        for name in ("", "a/b", ".", "x" * 250, "a b", 5):
            with pytest.raises(hw.InvalidArgumentError, match="topic name"):
                broker.create_topic(name)  # type: ignore[arg-type]
        for wrong in (
            {"partitions": 0},
            {"retention": 5},
            {"cleanup_policy": "burn"},
            {"durability": "x"},
            {"value": 5},
        ):
            with pytest.raises(hw.InvalidArgumentError):
                broker.create_topic("c", **wrong)  # type: ignore[arg-type]


def test_a_deleted_topic_made_again_starts_anew() -> None:
    with hw.open("memory:") as broker, broker.producer() as producer:
        broker.create_topic("t", key=str)
        producer.send("t", key="a").result()
        broker.delete_topic("t")
        with pytest.raises(hw.UnknownTopicError):
            producer.send("t", key="a")
        broker.create_topic("t", partitions=2, key=int)
        assert producer.send("t", key=5).result().offset == 0
        assert sum(end for _, end in broker.offsets("t").values()) == 1


def test_a_log_that_nobody_closes_is_closed_at_exit(tmp_path: Path) -> None:
    code = f"import headwater as hw; broker = hw.open({str(tmp_path)!r}); broker.create_topic('t'); broker.send_many('t', ['a'])"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert '"segments"' in (tmp_path / "t-0" / "headwater.checkpoint").read_text(), "a clean close lists the segments"


@pytest.mark.parametrize("path", ["a\0b", "\udcff"])
def test_cf06_a_path_that_is_no_text_is_refused(path: str) -> None:
    with pytest.raises(hw.InvalidArgumentError, match="expected a path of UTF-8 text"):
        hw.open(path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_c15_a_lock_is_given_back_at_close_whoever_was_forked_meanwhile(tmp_path: Path) -> None:
    broker = hw.open(tmp_path)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # has every file that was open, as any child has before it becomes another program
        os.close(write)
        os.read(read, 1)
        os._exit(0)
    try:
        broker.close()
        hw.open(tmp_path).close()
    finally:
        os.close(write)
        os.close(read)
        os.waitpid(child, 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_c15_a_forked_child_does_not_give_its_parents_lock_back(tmp_path: Path) -> None:
    program = """
import os, sys
import headwater as hw
broker = hw.open(sys.argv[1])
child = os.fork()
if child == 0:
    del broker  # and the child ends as a program does, not by os._exit
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
print("held", flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None and parent.stdout.readline() == "held\n"
        with pytest.raises(hw.LockedError):
            hw.open(tmp_path)
        parent.communicate()
    hw.open(tmp_path).close()
