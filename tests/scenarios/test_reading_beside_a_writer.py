"""A reader beside a process that writes: it follows what becomes durable, topics that come, and what is forgotten."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import headwater as hw
from headwater.log import verify

WRITER = """
import sys, headwater as hw
broker = hw.open(sys.argv[1])
producer = broker.producer(linger="0s")
for line in sys.stdin:
    exec(line)
    print("done", flush=True)
"""

# The time of a transaction is looked at every second: it goes on until then.
UNTIL_FENCED = """
try:
    while True:
        careful.send('u', value=b'too late')
        careful.flush()
except hw.ProducerFencedError:
    pass
"""


class Writer:
    """Another process, which does what it is told."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def do(self, line: str) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"


@contextmanager
def writer(path: Path) -> Iterator[Writer]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield Writer(process)
    finally:
        process.communicate()
    assert process.returncode == 0


def test_a_consumer_follows_another_process(tmp_path: Path) -> None:
    with writer(tmp_path) as other:
        other.do("broker.create_topic('t', config={'segment.bytes': '1024'})")
        with (
            hw.open(tmp_path, mode="r") as reader,
            reader.consumer("t", auto_offset_reset="earliest", timeout="20s") as consumer,
        ):
            records = iter(consumer)
            for n in range(30):
                other.do(f"producer.send('t', value=b'%04d' % {n} + b'x' * 200).result()")
                record = next(records)
                assert (record.offset, int(record.value[:4])) == (n, n)
            assert len(reader.describe_partitions("t")[0].segments) > 3
            other.do("broker.add_partitions('t', 2)")
            other.do("producer.send('t', value=b'beside', partition=1).result()")
            record = next(records)
            assert (record.partition, record.value) == (1, b"beside")
            assert verify(tmp_path).findings == ()


def test_topics_are_seen_when_they_are_there(tmp_path: Path) -> None:
    with writer(tmp_path) as other:
        other.do("broker.create_topic('a')")
        with hw.open(tmp_path, mode="r") as reader:
            assert reader.topics() == ["a"]
            other.do("broker.create_topic('b', key=str)")
            assert reader.topics() == ["a", "b"] and reader.topic("b").key is not None
            other.do("broker.send_many('b', [('k', 'v')] * 5)")
            assert reader.offsets("b") == {0: (0, 5)} and reader.read_frame("b").height == 5
            other.do("broker.delete_topic('b')")
            assert reader.topics() == ["a"]
            with pytest.raises(hw.UnknownTopicError):
                reader.offsets("b")


def test_the_lag_of_another_process_is_watched(tmp_path: Path) -> None:
    with writer(tmp_path) as other:
        other.do("broker.create_topic('t')")
        other.do("broker.send_many('t', range(10))")
        with hw.open(tmp_path, mode="r") as reader:
            assert reader.groups() == []
            other.do("consumer = broker.consumer('t', group='g', auto_offset_reset='earliest')")
            for lag in (7, 4, 1):
                other.do("consumer.poll(max_records=3), consumer.commit()")
                assert reader.lag("g") == {hw.TopicPartition("t", 0): lag}
            other.do("consumer.close(), broker.delete_group('g')")
            assert reader.groups() == []


def test_transactions_of_another_process_are_seen_when_they_are_decided(tmp_path: Path) -> None:
    with writer(tmp_path) as other:
        other.do("broker.create_topic('t')")
        other.do("sender = broker.producer(transactional_id='x')")
        with (
            hw.open(tmp_path, mode="r") as reader,
            reader.consumer(
                "t", auto_offset_reset="earliest", isolation_level="read_committed", timeout="20s"
            ) as consumer,
        ):
            for word, end in (("first", "abort"), ("second", "commit"), ("third", "abort"), ("fourth", "commit")):
                other.do(f"sender.begin(), sender.send('t', value={word!r}), sender.flush()")
                assert consumer.poll(timeout="0s") == []
                other.do(f"sender.{end}()")
                if end == "commit":
                    assert [record.value for record in consumer.poll()] == [word.encode()]
        other.do("sender.close()")
    assert verify(tmp_path).findings == ()


def test_only_what_is_durable_is_seen(tmp_path: Path) -> None:
    with writer(tmp_path) as other:
        other.do("broker.create_topic('t', durability='os')")
        with hw.open(tmp_path, mode="r") as reader:
            other.do("broker.producer(acks=1).send('t', value='written').result()")
            assert reader.offsets("t") == {0: (0, 0)}
            other.do("broker.sync()")
            assert reader.offsets("t") == {0: (0, 1)}


def test_what_is_forgotten_is_gone_for_the_reader_too(tmp_path: Path) -> None:
    with writer(tmp_path) as other:
        other.do("broker.create_topic('t', config={'segment.bytes': '1024'})")
        other.do("broker.send_many('t', [b'x' * 300 for n in range(20)])")
        with hw.open(tmp_path, mode="r") as reader:
            with reader.consumer("t", auto_offset_reset="earliest", timeout="20s") as consumer:
                assert reader.offsets("t") == {0: (0, 20)}
                other.do("from headwater import _core; _core.delete_records(broker._shared.core, 't', 0, 15)")
                assert reader.offsets("t") == {0: (15, 20)}
                assert [record.offset for record in consumer.poll()] == [15, 16, 17, 18, 19]


def test_h10_a_process_that_is_stopped_keeps_its_directory_and_goes_on_where_it_was(tmp_path: Path) -> None:
    with writer(tmp_path) as other:
        other.do("broker.create_topic('t'), broker.create_topic('u')")
        other.do("producer.send('t', value=b'before').result()")
        other.do("careful = broker.producer(transactional_id='x', transaction_timeout='1s'); careful.begin()")
        other.do("careful.send('u', value=b'open'); careful.flush()")
        other.process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(hw.LockedError, match=f"process {other.process.pid}"):
                hw.open(tmp_path)
            with hw.open(tmp_path, mode="r") as reader:
                assert reader.read_frame("t", value=bytes)["value"].to_list() == [b"before"]
        finally:
            other.process.send_signal(signal.SIGCONT)
        other.do("producer.send('t', value=b'after').result()")
        other.do(f"exec({UNTIL_FENCED!r})")
        other.do("careful.close()")
    with hw.open(tmp_path) as broker:
        assert broker.read_frame("t", value=bytes)["value"].to_list() == [b"before", b"after"]
        assert broker.read_frame("u", value=bytes).is_empty(), "what took too long never counts"
