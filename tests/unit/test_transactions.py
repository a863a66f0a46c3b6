"""Transactions as a user meets them: what counts, what is refused and in which words, and what is never left behind."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import headwater as hw


@pytest.fixture
def broker() -> Iterator[hw.Broker]:
    with hw.open("memory:") as opened:
        opened.create_topic("in", value=str)
        opened.create_topic("t", partitions=2, value=str)
        yield opened


@pytest.fixture
def producer(broker: hw.Broker) -> Iterator[hw.Producer]:
    with broker.producer(transactional_id="loader") as made:
        yield made


def read(broker: hw.Broker, topic: str = "t", *, isolation_level: Any = "read_committed") -> list[str]:
    with broker.consumer(
        topic, auto_offset_reset="earliest", isolation_level=isolation_level, value=str, timeout="0s"
    ) as consumer:
        return [record.value for record in sorted(consumer, key=lambda record: (record.partition, record.offset))]


def committed(broker: hw.Broker, group: str = "g") -> dict[tuple[str, int], int]:
    return {tuple(place): offset for place, offset in broker.committed(group).items()}


# --- what counts ------------------------------------------------------------------------------------------------------


def test_records_are_seen_when_the_transaction_is_committed(broker: hw.Broker, producer: hw.Producer) -> None:
    producer.begin()
    producer.send("t", value="a", partition=0).result()
    producer.send("t", value="b", partition=1)
    assert read(broker) == []
    assert read(broker, isolation_level="read_uncommitted")[:1] == ["a"]
    producer.commit()
    assert read(broker) == ["a", "b"]
    producer.begin()
    producer.send("t", value="never", partition=0)
    producer.abort()
    assert read(broker) == ["a", "b"]


def test_with_commits_at_its_end(broker: hw.Broker, producer: hw.Producer) -> None:
    with producer.begin() as same:
        assert same is producer
        producer.send_many("t", ["a", "b"])
    assert sorted(read(broker)) == ["a", "b"]


class Unexpected(BaseException):
    """As a KeyboardInterrupt is: no Exception."""


@pytest.mark.parametrize("error", [ValueError, Unexpected, GeneratorExit])
def test_with_aborts_on_an_exception_and_lets_it_through(
    broker: hw.Broker, producer: hw.Producer, error: type[BaseException]
) -> None:
    def work() -> None:
        with producer.begin():
            producer.send("t", value="never")
            producer.send_offsets({("in", 0): 1}, group="g")
            raise error("mine")

    with pytest.raises(error, match="mine"):
        work()
    with producer.begin():
        producer.send("t", value="a")
    assert (read(broker), committed(broker)) == (["a"], {})


@pytest.mark.parametrize("end", ["commit", "abort", "close"])
def test_with_leaves_alone_what_was_ended_inside(broker: hw.Broker, producer: hw.Producer, end: str) -> None:
    with producer.begin():
        producer.send("t", value="a")
        getattr(producer, end)()
    assert read(broker) == (["a"] if end == "commit" else [])


def test_with_tells_of_the_users_error_although_the_producer_was_fenced(
    broker: hw.Broker, producer: hw.Producer
) -> None:
    def work() -> None:
        with producer.begin():
            broker.producer(transactional_id="loader").close()
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        work()


def test_offsets_count_with_the_records(broker: hw.Broker, producer: hw.Producer) -> None:
    producer.begin()
    producer.send_offsets({("in", 0): 5, ("t", 1): 6}, group="g")
    producer.send_offsets({("in", 0): 7}, group="g")
    assert committed(broker) == {}
    producer.commit()
    assert committed(broker) == {("in", 0): 7, ("t", 1): 6}
    producer.begin()
    producer.send_offsets({("in", 0): 9}, group="g")
    producer.abort()
    assert committed(broker) == {("in", 0): 7, ("t", 1): 6}


def fill(broker: hw.Broker, count: int, *, first: int = 0) -> None:
    broker.send_many("in", [(f"{number}", f"{number}") for number in range(first, first + count)])


def reader(broker: hw.Broker, **options: Any) -> hw.Consumer[Any, str]:
    settings = {"group": "g", "auto_offset_reset": "earliest", "isolation_level": "read_committed", "timeout": "0s"}
    return broker.consumer("in", value=str, **(settings | options))


def test_what_was_read_counts_with_what_was_written(broker: hw.Broker, producer: hw.Producer) -> None:
    fill(broker, 3)
    with reader(broker) as consumer:
        with producer.begin():
            for record in consumer:
                producer.send("t", key="k", value=record.value + "!")
            producer.send_offsets(consumer)
            assert consumer.committed("in", 0) is None
        assert consumer.committed("in", 0) == 3
        fill(broker, 2, first=3)
        for _ in range(2):  # the second attempt reads again what the first one has lost
            producer.begin()
            assert [record.value for record in consumer] == ["3", "4"]
            producer.send_offsets(consumer)
            producer.abort()
            consumer.seek_to_committed()
        assert consumer.position("in", 0) == 3
    assert read(broker) == ["0!", "1!", "2!"]


def test_seek_to_committed_without_a_commit_begins_where_the_reset_says(broker: hw.Broker) -> None:
    fill(broker, 3)
    for reset, first in (("earliest", 0), ("latest", 3)):
        with reader(broker, group=f"g-{reset}", auto_offset_reset=reset) as consumer:
            consumer.seek("in", 0, 2)
            consumer.seek_to_committed()
            assert consumer.position("in", 0) == first


@pytest.mark.parametrize("is_committed", [True, False])
def test_who_takes_a_partition_over_waits_for_the_transaction_that_holds_its_offset(
    broker: hw.Broker, producer: hw.Producer, is_committed: bool
) -> None:
    """Otherwise it would begin at the old offset, and what the open transaction has done would be done twice."""
    fill(broker, 3)
    consumer = reader(broker)
    producer.begin()
    assert len(consumer.poll()) == 3
    producer.send_offsets(consumer)
    consumer.close()
    with reader(broker) as successor:
        assert successor.poll() == [] and successor.assignment() == frozenset()
        if is_committed:
            producer.commit()
        else:
            producer.abort()
        fill(broker, 1, first=3)
        assert [record.value for record in successor] == (["3"] if is_committed else ["0", "1", "2", "3"])
        assert successor.statistics().rebalances == 0, "waiting is not one"


def test_a_rebalance_in_the_middle_of_a_transaction_repeats_nothing(broker: hw.Broker, producer: hw.Producer) -> None:
    fill(broker, 40)
    broker.add_partitions("in", 2)
    with reader(broker) as first, producer.begin():
        for record in first.poll():
            producer.send("t", value=record.value)
        producer.send_offsets(first)
        with reader(broker) as second:
            first.poll()  # gives back what the second one is to have, though the transaction is open
            assert second.poll() == []
    with reader(broker) as third:
        assert list(third) == []
    assert len(read(broker)) == 40


# --- what is refused --------------------------------------------------------------------------------------------------


def test_a_plain_producer_has_no_transactions(broker: hw.Broker) -> None:
    with broker.producer() as plain:
        for use in (plain.begin, plain.commit, plain.abort, lambda: plain.send_offsets({}, group="g")):
            with pytest.raises(
                hw.InvalidArgumentError, match="expected a producer with a transactional_id, got one with"
            ):
                use()


def test_steps_out_of_order_are_refused(broker: hw.Broker, producer: hw.Producer) -> None:
    steps: dict[str, Callable[[], Any]] = {
        "send": lambda: producer.send("t", value="x"),
        "send_many": lambda: producer.send_many("t", ["x"]),
        "send_offsets": lambda: producer.send_offsets({("in", 0): 1}, group="g"),
        "send_offsets of nothing": lambda: producer.send_offsets({}, group="g"),
        "commit": producer.commit,
        "abort": producer.abort,
    }

    def check() -> None:
        for name, step in steps.items():
            with pytest.raises(hw.InvalidArgumentError, match="expected an open transaction, got none") as caught:
                step()
            assert "begin one" in str(caught.value), name

    check()
    with reader(broker) as consumer, pytest.raises(hw.InvalidArgumentError, match="got none"):
        producer.send_offsets(consumer)
    producer.begin()
    with pytest.raises(
        hw.InvalidArgumentError, match="expected no open transaction, got one - at transactional id 'lo"
    ):
        producer.begin()
    producer.commit()
    check()
    producer.begin()
    producer.abort()
    check()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"transactional_id": ""}, "expected a name, got '' - at transactional_id"),
        ({"transactional_id": 7}, "expected a name, got 7 - at transactional_id"),
        ({"transactional_id": "x" * 40_000}, "expected a transactional id of at most 32767 bytes, got 40000"),
        ({"transactional_id": "x", "acks": 0}, 'expected acks="all" in transactions, got 0 - at acks'),
        ({"transactional_id": "x", "acks": 1}, 'expected acks="all" in transactions, got 1 - at acks'),
        ({"transactional_id": "x", "transaction_timeout": "0s"}, "expected 1 ms to 15 minutes, got '0s'"),
        ({"transactional_id": "x", "transaction_timeout": "16m"}, "expected 1 ms to 15 minutes, got '16m'"),
        ({"transactional_id": "x", "transaction_timeout": "soon"}, "transaction_timeout"),
    ],
)
def test_wrong_settings_are_refused(broker: hw.Broker, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(hw.InvalidArgumentError) as caught:
        broker.producer(**settings)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("offsets", "group", "said"),
    [
        ({("in", 0): 1}, None, "expected the group that the offsets belong to, got None"),
        ({("in", 0): 1}, "", "expected the group that the offsets belong to, got ''"),
        ({("in", 0): -1}, "g", "expected the offset to be 0 to"),
        ({("in", 0): 1 << 63}, "g", "expected the offset to be 0 to"),
        ({("in", 0): "1"}, "g", "expected the offset to be 0 to"),
        ({("in", 1): 1}, "g", "expected the partition to be 0 to 0, got 1 - at send_offsets for 'in'"),
        ({("in", -1): 1}, "g", "expected the partition to be 0 to 0, got -1"),
    ],
)
def test_wrong_offsets_are_refused_and_the_transaction_goes_on(
    broker: hw.Broker, producer: hw.Producer, offsets: Any, group: Any, said: str
) -> None:
    with producer.begin():
        with pytest.raises(hw.InvalidArgumentError) as caught:
            producer.send_offsets(offsets, group=group)
        assert said in str(caught.value)
        with pytest.raises(hw.UnknownTopicError):
            producer.send_offsets({("nowhere", 0): 1}, group="g")
        producer.send("t", value="a")
    assert (read(broker), committed(broker)) == (["a"], {})


def test_wrong_consumers_are_refused(broker: hw.Broker, producer: hw.Producer) -> None:
    with producer.begin(), hw.open("memory:") as other:
        other.create_topic("in")
        for consumer, group, said in (
            (broker.consumer("in"), None, "expected a consumer with a group, got one without"),
            (reader(broker, auto_commit=True), None, "got one with auto_commit=True"),
            (reader(broker), "h", "expected no group beside a consumer, which has its own, got 'h'"),
            (reader(other), None, "expected a consumer of the producer's broker"),
        ):
            with consumer, pytest.raises(hw.InvalidArgumentError) as caught:
                producer.send_offsets(consumer, group=group)
            assert said in str(caught.value)
        consumer = reader(broker)
        consumer.close()
        with pytest.raises(hw.ClosedError):
            producer.send_offsets(consumer)


def test_a_log_that_is_only_read_has_no_transactions(tmp_path: Path) -> None:
    with hw.open(tmp_path) as broker:
        broker.create_topic("t")
    with hw.open(tmp_path, mode="r") as broker, pytest.raises(hw.InvalidArgumentError, match="opened for writing"):
        broker.producer(transactional_id="loader")


# --- fencing ----------------------------------------------------------------------------------------------------------


def test_a_newer_producer_fences_the_older_one(broker: hw.Broker, producer: hw.Producer) -> None:
    producer.begin()
    producer.send("t", value="of the zombie").result()
    producer.send_offsets({("in", 0): 1}, group="g")
    with broker.producer(transactional_id="loader") as newer:
        handle = producer.send("t", value="late")
        with pytest.raises(hw.ProducerFencedError, match="another producer was made with the same transactional id"):
            handle.result()
        for use in (producer.commit, producer.abort, producer.begin):
            with pytest.raises(hw.ProducerFencedError, match="transactional id 'loader'"):
                use()
        with newer.begin():
            newer.send("t", value="of the newer")
            with pytest.raises(hw.ProducerFencedError):
                producer.send_offsets({("in", 0): 2}, group="g")
    assert (read(broker), committed(broker)) == (["of the newer"], {})


def test_a_transaction_that_takes_too_long_is_aborted(broker: hw.Broker) -> None:
    with broker.producer(transactional_id="slow", transaction_timeout="1ms") as slow:
        slow.begin()
        slow.send("t", value="never").result()
        # Nobody can read beyond the open transaction until the broker's thread has ended it.
        with broker.producer() as plain:
            plain.send("t", value="behind", partition=0).result()
            plain.send("t", value="behind", partition=1).result()
        with broker.consumer(
            "t", auto_offset_reset="earliest", isolation_level="read_committed", value=str, timeout="30s"
        ) as consumer:
            seen = [record.value for _, record in zip(range(2), consumer, strict=False)]
        assert seen == ["behind", "behind"]
        with pytest.raises(hw.ProducerFencedError, match="took longer than its time-out of 1 ms and was aborted"):
            slow.commit()


# --- ends -------------------------------------------------------------------------------------------------------------


def test_close_aborts_what_is_open(broker: hw.Broker) -> None:
    for step in range(3):
        producer = broker.producer(transactional_id="loader", linger="1h")
        producer.begin()
        producer.send("t", value="never")
        if step == 2:
            broker.producer(transactional_id="loader").close()  # fenced: aborted already
        producer.close()
        producer.close()
        for use in (producer.begin, producer.commit, producer.abort, lambda p=producer: p.send("t", value="x")):
            with pytest.raises(hw.ClosedError, match="got a closed one"):
                use()
    assert read(broker) == []
    broker.send_many("t", ["a"])
    assert read(broker) == ["a"], "nothing is open any more"


def test_closing_the_broker_aborts_what_is_open(tmp_path: Path) -> None:
    with hw.open(tmp_path) as broker:
        broker.create_topic("t", value=str)
        producer = broker.producer(transactional_id="loader")
        producer.begin()
        producer.send("t", value="never").result()
    with pytest.raises(hw.ClosedError):
        producer.commit()
    producer.close()
    with hw.open(tmp_path) as broker:
        broker.send_many("t", ["a"])
        assert read(broker) == ["a"]


def test_a_producer_dropped_in_a_transaction_aborts_it_with_a_warning(broker: hw.Broker) -> None:
    producer = broker.producer(transactional_id="loader", linger="1h")
    producer.begin()
    producer.send("t", value="never")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del producer
        gc.collect()
    assert [warning.category for warning in caught] == [ResourceWarning]
    assert "dropped in the middle of a transaction, which is aborted now" in str(caught[0].message)
    broker.send_many("t", ["a"])
    assert read(broker) == ["a"]


def test_a_producer_dropped_between_transactions_says_nothing(broker: hw.Broker) -> None:
    producer = broker.producer(transactional_id="loader")
    with producer.begin():
        producer.send("t", value="a")
    del producer  # a warning would be an error here
    gc.collect()
    assert read(broker) == ["a"]


LEFT_OPEN = """
import sys
import headwater as hw
broker = hw.open(sys.argv[1])
broker.create_topic("t", value=str)
producer = broker.producer(transactional_id="loader")
with producer.begin():
    producer.send("t", value="a")
producer.begin()
producer.send("t", value="never")
"""


def test_a_transaction_left_open_at_exit_is_aborted_with_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "always", "-c", LEFT_OPEN, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "ResourceWarning" in done.stderr and "in the middle of a transaction, which is aborted now" in done.stderr
    with hw.open(tmp_path) as broker:
        assert read(broker) == ["a"]
        assert read(broker, isolation_level="read_uncommitted") == ["a", "never"]
        broker.send_many("t", ["b"])
        assert read(broker) == ["a", "b"]


# --- a disk that is full ----------------------------------------------------------------------------------------------

FULL = """
import json, resource, signal, sys
import headwater as hw

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
said = []

def refused(action):
    try:
        action()
    except hw.HeadwaterError as error:
        said.append([type(error).__name__, str(error)])
    else:
        said.append(None)

def fill():
    for number in range(5_000):
        producer.send("t", value="x" * 100)

def fill_and_leave():
    with producer.begin():
        fill()

with hw.open(sys.argv[1]) as broker:
    broker.create_topic("t", value=str)
    with broker.producer(transactional_id="loader", batch_size=10_000) as producer:
        with producer.begin():
            producer.send("t", value="before")
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
        producer.begin()
        fill()
        refused(producer.commit)
        refused(producer.commit)
        refused(producer.begin)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        refused(producer.commit)
        refused(producer.abort)
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
        refused(fill_and_leave)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        if producer._transaction.is_open():
            producer.abort()
        with producer.begin():
            producer.send("t", value="after")
print(json.dumps(said))
"""


def test_after_a_full_disk_the_transaction_can_only_be_aborted(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    commit, again, begin, later, abort, scope = json.loads(done.stdout)
    assert commit[0] == "StorageError"
    for refused in (again, later):
        assert refused[0] == "InvalidArgumentError" and "abort it" in refused[1], "also when there is space again"
    assert begin[0] == "InvalidArgumentError" and "commit or abort it first" in begin[1]
    assert abort is None
    assert scope[0] == "StorageError"
    with hw.open(tmp_path) as broker:
        assert read(broker) == ["before", "after"]


# --- threads and coroutines -------------------------------------------------------------------------------------------


def test_threads_share_a_transaction(broker: hw.Broker, producer: hw.Producer) -> None:
    def work(name: str) -> None:
        for number in range(200):
            producer.send("t", key=name, value=f"{name}:{number}")

    with producer.begin():
        threads = [threading.Thread(target=work, args=(f"{number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    seen = read(broker)
    assert len(seen) == len(set(seen)) == 800
    for name in "0123":
        assert [value for value in seen if value.startswith(f"{name}:")] == [f"{name}:{i}" for i in range(200)]


def test_what_another_thread_sends_while_a_transaction_ends_counts_or_is_refused_at_once(
    broker: hw.Broker, producer: hw.Producer
) -> None:
    is_over, is_taken = threading.Event(), threading.Event()
    sent: list[tuple[str, hw.SendHandle]] = []
    refused = 0

    def work() -> None:
        nonlocal refused
        while not is_over.is_set():
            try:
                sent.append((value := f"{len(sent)}", producer.send("t", value=value)))
                is_taken.set()
            except hw.InvalidArgumentError:
                refused += 1

    thread = threading.Thread(target=work)
    thread.start()
    commits = 0
    while commits < 20 or not refused:
        with producer.begin():
            is_taken.clear()
            assert is_taken.wait(30)
            producer.send("t", value=f"own {commits}")
        commits += 1
    is_over.set()
    thread.join()
    assert all(handle.done() for _, handle in sent), "a commit waits for everything that was taken"
    assert Counter(read(broker)) == Counter([value for value, _ in sent] + [f"own {i}" for i in range(commits)])


def test_after_a_failed_commit_nothing_more_is_sent(broker: hw.Broker, producer: hw.Producer) -> None:
    producer.begin()
    broker.create_topic("gone")
    producer.send("gone", value="x")
    broker.delete_topic("gone")
    with pytest.raises(hw.ClosedError):
        producer.commit()
    with pytest.raises(hw.InvalidArgumentError, match="got one that is being ended"):
        producer.send("t", value="x")
    producer.abort()
    with producer.begin():
        producer.send("t", value="a")
    assert read(broker) == ["a"]


def test_two_producers_take_turns_in_one_partition(broker: hw.Broker) -> None:
    with broker.producer(transactional_id="one") as one, broker.producer(transactional_id="two") as two:
        one.begin()
        one.send("t", value="1", partition=0).result()
        with two.begin():
            two.send("t", value="2", partition=0)
        assert read(broker) == [], "what lies behind an open transaction waits with it"
        one.abort()
        assert read(broker) == ["2"]


def test_handles_are_awaited_inside_of_a_transaction(broker: hw.Broker, producer: hw.Producer) -> None:
    async def main() -> list[int]:
        with producer.begin():
            handles = [producer.send("t", value=f"{number}", partition=0) for number in range(10)]
            return [(await handle).offset for handle in handles]

    assert asyncio.run(main()) == list(range(10))
    assert len(read(broker)) == 10


def test_a_cancelled_coroutine_aborts(broker: hw.Broker, producer: hw.Producer) -> None:
    async def main() -> None:
        is_waiting = asyncio.Event()

        async def work() -> None:
            with producer.begin():
                await producer.send("t", value="never")
                is_waiting.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(work())
        await is_waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    broker.send_many("t", ["a"])
    assert read(broker) == ["a"]
