"""When the disk is full, torn, damaged, or the process is killed: a typed error, and nothing acknowledged is lost."""

from __future__ import annotations

import json
import logging
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import headwater as hw

FULL = """
import resource, signal, sys
import headwater as hw

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
broker = hw.open(sys.argv[1])
broker.create_topic("t")
producer = broker.producer(batch_size=10_000)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
handles = [producer.send("t", value=i.to_bytes(4, "big") * 25) for i in range(5_000)]
acknowledged, refused = [], 0
for i, handle in enumerate(handles):
    try:
        acknowledged.append((i, handle.result().offset))
    except hw.StorageError as error:
        assert isinstance(error, OSError) and error.errno, error
        assert (error.topic, error.partition) == ("t", 0)
        refused += 1
try:
    producer.flush()
    raise SystemExit("flush must say that records are missing")
except hw.StorageError:
    pass
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
after = producer.send("t", value=b"after").result().offset
producer.close()
broker.close()
assert refused and acknowledged
import json
print(json.dumps([acknowledged, after]))
"""

KILLED = """
import sys
import headwater as hw

with hw.open(sys.argv[1]) as broker:
    broker.create_topic("t", partitions=2, exist_ok=True)
    start = int(sys.argv[2])
    with broker.producer(linger="1ms", batch_size=2_000) as producer:
        pending = []
        for i in range(start, start + 1_000_000):
            pending.append((i, producer.send("t", value=i, partition=i % 2)))
            if len(pending) == 200:
                for number, handle in pending:
                    metadata = handle.result()
                    print(number, metadata.partition, metadata.offset, flush=number % 50 == 0)
                sys.stdout.flush()
                pending.clear()
"""


def read(directory: Path, topic: str = "t") -> list[hw.Record[bytes, bytes]]:
    with hw.open(directory) as broker, broker.consumer(topic, auto_offset_reset="earliest", timeout="0s") as consumer:
        return list(consumer)


def test_a_full_disk_refuses_and_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    acknowledged, after = json.loads(done.stdout)
    stored = {record.offset: record.value for record in read(tmp_path)}
    for i, offset in acknowledged:
        assert stored[offset] == i.to_bytes(4, "big") * 25
    assert stored[after] == b"after"
    assert len(stored) == len(acknowledged) + 1, "nothing that was refused is there"


@pytest.mark.parametrize("rounds", [6, pytest.param(300, marks=[pytest.mark.soak, pytest.mark.timeout(900)])])
def test_a_killed_process_loses_nothing_that_it_acknowledged(tmp_path: Path, rounds: int) -> None:
    rng = random.Random(7)
    acknowledged: dict[tuple[int, int], int] = {}
    for round_number in range(rounds):
        start = round_number * 1_000_000
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path), str(start)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        first = child.stdout.readline()
        time.sleep(rng.random() * 0.2)
        child.send_signal(signal.SIGKILL)
        lines = [first, *child.stdout.read().splitlines()]
        child.stdout.close()
        child.wait()
        for line in lines[:-1]:
            number, partition, offset = map(int, line.split())
            acknowledged[partition, offset] = number
    records = read(tmp_path)
    stored = {(record.partition, record.offset): int.from_bytes(record.value, "big") for record in records}
    assert len(acknowledged) > 1_000
    assert {place: stored.get(place) for place in acknowledged} == acknowledged
    for partition in (0, 1):
        values = [int.from_bytes(r.value, "big") for r in records if r.partition == partition]
        assert values == sorted(set(values)), "in order, and once"


def filled(directory: Path) -> Path:
    with hw.open(directory) as broker:
        broker.create_topic("t")
        with broker.producer(batch_size=1_000) as producer:
            for i in range(100):
                producer.send("t", value=i.to_bytes(4, "big") * 25)
    return directory / "t-0" / f"{0:020}.log"


def test_damage_is_reported_and_what_lies_around_it_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = filled(tmp_path)
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 0xFF
    log.write_bytes(content)
    (tmp_path / "t-0" / "headwater.checkpoint").unlink()  # not a clean close: the log is walked
    with caplog.at_level(logging.WARNING, logger="headwater"), hw.open(tmp_path) as broker:
        assert any("damage" in message for message in caplog.messages)
        with broker.consumer("t", auto_offset_reset="earliest", timeout="0s") as consumer:
            seen = []
            with pytest.raises(hw.CorruptLogError) as caught:
                seen.extend(record.offset for record in consumer)
            error = caught.value
            assert (error.topic, error.partition, error.offset) == ("t", 0, len(seen))
            assert error.path is not None and error.path.endswith(".log")
            consumer.seek("t", 0, len(seen) + 10)
            rest = [record.offset for record in consumer]
            assert rest[-1] == 99 and 0 < len(seen) < 100
        assert log.read_bytes() == content, "nothing was cut"


def test_a_torn_tail_is_cut_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = filled(tmp_path)
    whole = log.read_bytes()
    log.write_bytes(whole + whole[:700])
    (tmp_path / "t-0" / "headwater.checkpoint").unlink()
    with caplog.at_level(logging.WARNING, logger="headwater"):
        assert len(read(tmp_path)) == 100
    assert any("cut off" in message for message in caplog.messages)
    assert log.read_bytes() == whole


def test_a_directory_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    filled(tmp_path)
    topics = tmp_path / "headwater.json"
    before = topics.read_text()
    topics.write_text(before.replace('"format": 1', '"format": 99'))
    with pytest.raises(hw.CorruptLogError, match="99") as caught:
        hw.open(tmp_path)
    assert caught.value.path is not None
    topics.write_text("{")
    with pytest.raises(hw.CorruptLogError, match="restore"):
        hw.open(tmp_path)
    topics.write_text(before)
    assert len(read(tmp_path)) == 100


def test_a_place_that_cannot_be_a_directory_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(hw.StorageError) as caught:
        hw.open(tmp_path / "file" / "data")
    assert caught.value.errno and isinstance(caught.value, OSError)
    with pytest.raises(hw.InvalidArgumentError, match="mode"):
        hw.open(tmp_path / "nothing", mode="r")


def test_a_partition_that_cannot_be_read_is_refused_and_all_others_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with hw.open(tmp_path / "d") as broker:
        broker.create_topic("t", partitions=2)
        with broker.producer() as producer:
            for i in range(10):
                producer.send("t", value=i, partition=i % 2)
    folder, away = tmp_path / "d" / "t-1", tmp_path / "away"
    folder.rename(away)
    folder.write_text("no folder")
    with caplog.at_level(logging.WARNING, "headwater"), hw.open(tmp_path / "d") as broker:
        assert "topic 't' partition 1" in caplog.text
        assert "open the directory again" in caplog.text
        producer = broker.producer()
        producer.send("t", value=10, partition=0).result()
        with pytest.raises(hw.StorageError, match="open the directory again") as refused:
            producer.send("t", value=11, partition=1).result()
        assert (refused.value.topic, refused.value.partition) == ("t", 1)
        with pytest.raises(hw.StorageError):
            producer.close()  # a record is missing
        with pytest.raises(hw.StorageError, match="topic 't' partition 1"):
            broker.consumer("t", auto_offset_reset="earliest", timeout="0s")
    assert folder.read_text() == "no folder"
    folder.unlink()
    away.rename(folder)
    assert len(read(tmp_path / "d")) == 11
