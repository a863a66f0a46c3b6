"""Applications on the embedded broker: running, stopping, resuming, failing, looking inside."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import headwater as hw
from headwater.runtime.checkpoint import Checkpoint


def _send(broker: hw.Broker, topic: str, records: list[tuple[str | None, str | None, int]]) -> None:
    with broker.producer() as producer:
        for key, value, timestamp in records:
            producer.send(topic, key=key, value=value, timestamp=timestamp)


def _read(broker: hw.Broker, topic: str, **types: Any) -> list[tuple[Any, Any, int]]:
    with broker.consumer(topic, auto_offset_reset="earliest", timeout="150ms", **types) as consumer:
        return [(record.key, record.value, record.timestamp) for record in consumer]


def _counts(broker: hw.Broker | str, **options: Any) -> hw.App:
    app = hw.App("counts", broker=broker, **options)
    app.stream("words", key=str, value=str).group_by_key().count(store="counts").to_stream().to("counted")
    return app


@pytest.fixture
def broker() -> Any:
    with hw.open("memory:") as opened:
        opened.create_topic("words", key=str, value=str)
        yield opened


def test_a_second_run_finds_nothing_new_and_goes_on_with_what_comes(broker: hw.Broker) -> None:
    _send(broker, "words", [("a", "x", 1), ("b", "x", 2), ("a", "x", 3)])
    app = _counts(broker)
    assert app.run(until="caught_up").records == 3
    assert app.run(until="caught_up").records == 0
    _send(broker, "words", [("a", "x", 4)])
    assert app.run(until="caught_up").records == 1
    assert _read(broker, "counted", key=str, value=int)[-1] == ("a", 3, 4)


def test_state_survives_the_process(tmp_path: Path) -> None:
    with hw.open(tmp_path) as broker:
        broker.create_topic("words", key=str, value=str)
        _send(broker, "words", [("a", "x", 1)] * 5)
    _counts(str(tmp_path)).run(until="caught_up")
    with hw.open(tmp_path) as broker:
        _send(broker, "words", [("a", "x", 9)])
    _counts(str(tmp_path)).run(until="caught_up")
    with hw.open(tmp_path) as broker:
        assert _read(broker, "counted", key=str, value=int)[-1] == ("a", 6, 9)


def test_sinks_remember_their_types(broker: hw.Broker) -> None:
    _send(broker, "words", [("a", "x", 1)])
    _counts(broker).run(until="caught_up")
    assert _read(broker, "counted") == [("a", 1, 1)]


def test_b07_a_changed_program_over_old_state_is_refused_until_reset(broker: hw.Broker) -> None:
    _send(broker, "words", [("a", "x", 1)])
    _counts(broker).run(until="caught_up")
    changed = hw.App("counts", broker=broker)
    changed.stream("words", key=str, value=str).group_by_key().windowed_by(hw.TumblingWindow("1s", grace="0s")).count(
        store="counts"
    ).to_stream().to("counted")
    with pytest.raises(hw.TopologyChangedError, match="KSTREAM-AGGREGATE"):
        changed.run(until="caught_up")
    changed.reset()
    assert changed.run(until="caught_up").records == 1


def test_a_failing_function_keeps_what_came_before(broker: hw.Broker) -> None:
    def shout(value: str) -> str:
        if value == "bad":
            raise RuntimeError("no")
        return value.upper()

    def make() -> hw.App:
        app = hw.App("shout", broker=broker)
        app.stream("words", key=str, value=str).map_values(shout).to("shouted")
        return app

    _send(broker, "words", [("a", "x", 1), ("a", "y", 2), ("k", "bad", 3), ("a", "z", 4)])
    for _ in range(2):
        with pytest.raises(hw.ProcessingError) as caught:
            make().run(until="caught_up")
        assert (caught.value.topic, caught.value.partition, caught.value.offset) == ("words", 0, 2)
        assert isinstance(caught.value.__cause__, RuntimeError)
        assert "'words' partition 0 offset 2" in str(caught.value)
    assert [value for _, value, _ in _read(broker, "shouted", key=str, value=str)] == ["X", "Y"]


def test_a_failure_in_the_last_batch_of_a_fetch_names_its_record(broker: hw.Broker) -> None:
    _send(broker, "words", [("a", "1", 1), ("a", "2", 2), ("a", "0", 3)])
    app = hw.App("divided", broker=broker, batch_size=1)
    app.stream("words", key=str, value=str).map_values(lambda value: 2 // int(value), value=int).to("out")
    with pytest.raises(hw.ProcessingError) as caught:
        app.run(until="caught_up")
    assert (caught.value.topic, caught.value.partition, caught.value.offset) == ("words", 0, 2)


def test_a_sub_topology_that_writes_for_itself_is_run_to_its_end(broker: hw.Broker) -> None:
    """A table beside a regrouped view of it: both in one sub-topology, with a repartition topic between them."""
    app = hw.App("looped", broker=broker)
    counted = app.stream("words", key=str, value=str).group_by_key().count(store="counts")
    sizes = counted.group_by(lambda key, count: (key, count), key=str, value=int).count(store="sizes")
    counted.left_join(sizes, combine=lambda count, size: f"{count} {size}", value=str).to_stream().to("out")
    _send(broker, "words", [("a", "x", 1), ("b", "x", 2), ("a", "x", 3)])
    assert app.run(until="caught_up").records > 3
    assert app.run(until="caught_up").records == 0
    assert {key: value for key, value, _ in _read(broker, "out", key=str, value=str)} == {"a": "2 1", "b": "1 1"}


def test_a_failure_in_a_commits_flush_says_up_to_where_the_input_was_read(broker: hw.Broker) -> None:
    app = hw.App("cached", broker=broker, batch_size=2, commit_interval="0s")
    counted = app.stream("words", key=str, value=str).group_by_key().count().to_stream()
    counted.map_values(lambda count: 1 // (count - 2), value=int).to("out")
    _send(broker, "words", [("a", "x", 1), ("a", "y", 2), ("a", "z", 3)])
    with pytest.raises(hw.ProcessingError) as caught:
        app.run(until="caught_up")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert (caught.value.topic, caught.value.partition, caught.value.offset) == ("words", 0, 1)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_failure_ends_a_run_that_serves(broker: hw.Broker, threads: int) -> None:
    broker.create_topic("wide", partitions=4, key=str, value=str)
    _send(broker, "wide", [(f"k{i}", "bad" if i == 5 else "good", i) for i in range(10)])
    app = hw.App("serving", broker=broker, threads=threads)
    app.stream("wide", key=str, value=str).map_values(lambda v: 1 // (v != "bad"), value=int).to("out")
    with pytest.raises(hw.ProcessingError) as caught:
        app.run()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_undecodable_records_follow_their_sources_policy(broker: hw.Broker) -> None:
    broker.create_topic("numbers")
    with broker.producer() as producer:
        for value in (b"1", b"{", b"3"):
            producer.send("numbers", key=b"k", value=value)
    for policy, expected, diverted in (("skip", [2, 4], 0), ("topic:dead", [2, 4], 1)):
        if policy.startswith("topic:"):
            broker.create_topic("dead")
        app = hw.App(f"double-{policy[:4]}", broker=broker)
        doubled = app.stream("numbers", key=str, value=hw.serdes.json(int), on_error=policy).map_values(lambda v: v + 1)
        doubled.to(f"doubled-{policy[:4]}")
        metrics = app.run(until="caught_up")
        assert metrics.dropped_records == 1
        assert [value for _, value, _ in _read(broker, f"doubled-{policy[:4]}", key=str, value=int)] == expected
        if diverted:
            assert [value for _, value, _ in _read(broker, "dead", key=bytes, value=bytes)] == [b"{"]
    app = hw.App("double-raise", broker=broker)
    app.stream("numbers", key=str, value=hw.serdes.json(int)).map_values(lambda v: v + 1).to("doubled-raise")
    with pytest.raises(hw.SerdeError, match="'numbers' partition 0 offset 1"):
        app.run(until="caught_up")


def test_late_records_are_counted_and_routed(broker: hw.Broker) -> None:
    app = hw.App("late", broker=broker)
    app.stream("words", key=str, value=str).group_by_key().windowed_by(
        hw.TumblingWindow("10s", grace="5s"), late="too-late"
    ).count().to_stream().to("windowed")
    _send(broker, "words", [("a", "x", 1_000), ("a", "y", 16_000), ("a", "late", 9_999)])
    metrics = app.run(until="caught_up")
    assert (metrics.late_records, metrics.dropped_records) == (1, 1)
    assert _read(broker, "too-late", key=str, value=str) == [("a", "late", 9_999)]
    assert _read(broker, "windowed") == [
        (hw.Windowed("a", 0, 10_000), 1, 1_000),
        (hw.Windowed("a", 10_000, 20_000), 1, 16_000),
    ]


def test_close_windows_emits_what_still_waits_for_a_partner(broker: hw.Broker) -> None:
    broker.create_topic("others", key=str, value=str)
    _send(broker, "words", [("a", "x", 1_000), ("b", "y", 2_000)])
    _send(broker, "others", [("a", "p", 1_500)])
    app = hw.App("pairs", broker=broker)
    words, others = app.stream("words", key=str, value=str), app.stream("others", key=str, value=str)
    words.left_join(
        others, hw.JoinWindow("10s"), grace="5s", combine=lambda left, right: f"{left}|{right}", value=str
    ).to("paired")
    app.run(until="caught_up")
    assert [value for _, value, _ in _read(broker, "paired")] == ["x|p"]
    app.run(until="caught_up", close_windows=True)
    assert [value for _, value, _ in _read(broker, "paired")] == ["x|p", "y|None"]
    app.run(until="caught_up", close_windows=True)
    assert len(_read(broker, "paired")) == 2, "what was emitted once does not come again"


def test_global_tables_are_whole_before_anything_runs(broker: hw.Broker) -> None:
    broker.create_topic("names", partitions=3, key=str, value=str)
    _send(broker, "names", [(f"w{i}", f"name-{i}", 9_999) for i in range(20)])
    _send(broker, "words", [("k", f"w{i}", i) for i in range(20)])
    app = hw.App("named", broker=broker)
    names = app.global_table("names", key=str, value=str)
    app.stream("words", key=str, value=str).join(
        names, on=lambda key, word: word, combine=lambda word, name: f"{word}={name}", value=str
    ).to("named-words")
    app.run(until="caught_up")
    assert [v for _, v, _ in _read(broker, "named-words")] == [f"w{i}=name-{i}" for i in range(20)]


def test_a_running_application_can_be_read_and_stopped(broker: hw.Broker) -> None:
    app = _counts(broker)
    thread = threading.Thread(target=app.run)
    thread.start()
    _send(broker, "words", [("a", "x", 1), ("a", "x", 2)])
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if app.store("counts").get("a") == 2:
                break
        except hw.ClosedError:
            pass
        time.sleep(0.01)
    assert app.store("counts").items() == [("a", 2, 2)]
    with pytest.raises(hw.UnknownTopicError, match="counts"):
        app.store("nothing")
    with pytest.raises(hw.InvalidArgumentError, match="second run"):
        app.run()
    assert app.metrics().records == 2
    app.stop()
    thread.join(20)
    assert not thread.is_alive()
    with pytest.raises(hw.ClosedError):
        app.store("counts")


def test_a_task_waits_for_a_partition_that_is_behind(broker: hw.Broker) -> None:
    broker.create_topic("others", key=str, value=str)
    app = hw.App("merged", broker=broker, max_task_idle="20s")
    words, others = app.stream("words", key=str, value=str), app.stream("others", key=str, value=str)
    words.merge(others).to("merged-words")
    _send(broker, "words", [("a", "second", 2_000)])
    thread = threading.Thread(target=app.run)
    thread.start()
    time.sleep(0.2)
    _send(broker, "others", [("a", "first", 1_000), ("a", "third", 3_000)])
    deadline = time.monotonic() + 15
    while app.metrics().records < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    app.stop()
    thread.join(20)
    assert [value for _, value, _ in _read(broker, "merged-words", value=str)][:2] == ["first", "second"]


def test_run_async_stops_when_cancelled(broker: hw.Broker) -> None:
    _send(broker, "words", [("a", "x", 1)])
    app = _counts(broker)

    async def main() -> None:
        task = asyncio.create_task(app.run_async())
        while app.metrics().records < 1:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(asyncio.wait_for(main(), 20))
    assert _read(broker, "counted", key=str, value=int) == [("a", 1, 1)]


def test_joined_topics_need_as_many_partitions(broker: hw.Broker) -> None:
    broker.create_topic("wide", partitions=4, key=str, value=str)
    app = hw.App("pairs", broker=broker)
    app.stream("words", key=str, value=str).join(
        app.stream("wide", key=str, value=str), hw.JoinWindow("1s"), grace="0s", combine=lambda a, b: a + b
    ).to("out")
    with pytest.raises(hw.TopologyError, match="'wide' has 4, 'words' has 1"):
        app.run(until="caught_up")


def test_b05_a_missing_source_topic_is_named(broker: hw.Broker) -> None:
    app = hw.App("missing", broker=broker)
    app.stream("nowhere", key=str, value=str).to("out")
    with pytest.raises(hw.UnknownTopicError, match="nowhere"):
        app.run(until="caught_up")


def test_the_mean_batch_is_large_when_there_is_much_to_do(broker: hw.Broker) -> None:
    _send(broker, "words", [(f"k{i % 50}", "x", i) for i in range(20_000)])
    metrics = _counts(broker).run(until="caught_up")
    assert metrics.records == 20_000
    assert metrics.mean_batch_size > 1_000


def test_every_record_is_counted_once_across_partitions_and_threads() -> None:
    with hw.open("memory:") as broker:
        broker.create_topic("words", partitions=5, key=str, value=str)
        _send(broker, "words", [(f"k{i % 97}", f"w{i % 13}", i) for i in range(30_000)])
        app = hw.App("wide", broker=broker, threads=3)
        app.stream("words", key=str, value=str).group_by(lambda key, word: word, key=str).count().to_stream().to("out")
        app.run(until="caught_up")
        last = {key: value for key, value, _ in _read(broker, "out")}
    assert sum(last.values()) == 30_000
    assert len(last) == 13


def test_a19_a_changelog_is_replaced_by_its_store_when_it_has_outgrown_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headwater.runtime.task.REWRITE_RECORDS", 100)
    with hw.open(tmp_path) as broker:
        for topic in ("words", "others"):
            broker.create_topic(topic, key=str, value=str)

    def run() -> None:
        app = hw.App("long", broker=str(tmp_path), cache="0")
        words, others = app.stream("words", key=str, value=str), app.stream("others", key=str, value=str)
        words.group_by(lambda key, value: value, key=str).count(store="per-value").to_stream().to("counted")
        words.left_join(
            others, hw.JoinWindow("5ms"), grace="0ms", combine=lambda a, b: f"{a}|{b}", value=str, store="pairs"
        ).to("paired")
        app.run(until="caught_up")

    for round_ in range(20):
        with hw.open(tmp_path) as broker:
            _send(broker, "words", [(f"k{i % 3}", f"w{i % 10}", round_ * 1_000 + i) for i in range(60)])
            _send(broker, "others", [("k1", "p", round_ * 1_000 + 30)])
        run()
    with hw.open(tmp_path) as broker:
        for changelog in ("long-per-value-changelog", "long-pairs-this-join-changelog"):
            first, end = broker.offsets(changelog)[0]
            assert first > 0, f"{changelog} still holds its beginning"
            assert end - first < 400, f"{changelog} holds {end - first} records"
        assert {key: value for key, value, _ in _read(broker, "counted")} == {f"w{i}": 120 for i in range(10)}
        paired = [value for _, value, _ in _read(broker, "paired")]
    # Of each round's records of k1, those 5 ms around the partner (25, 28, 31, 34) have one.
    assert len([value for value in paired if value.endswith("|p")]) == 20 * 4
    assert len([value for value in paired if value.endswith("|None")]) >= 19 * 56


def test_a_value_that_nobody_reads_is_checked_only_if_asked(broker: hw.Broker) -> None:
    _send(broker, "words", [("a", "[1, 2]", 1), ("a", "{", 2)])

    def copy(name: str, **options: Any) -> hw.App:
        app = hw.App(name, broker=broker)
        app.stream("words", key=str, value=hw.serdes.json(list[int]), **options).to(f"{name}-out")
        return app

    assert copy("lazy").run(until="caught_up").dropped_records == 0
    assert len(_read(broker, "lazy-out", value=bytes)) == 2
    seen: list[tuple[str, bytes]] = []
    eager = copy("eager", validate="eager", on_error=lambda error, record: seen.append((error.topic, record.value)))
    assert eager.run(until="caught_up").dropped_records == 1
    assert seen == [("words", b"{")]
    assert [value for _, value, _ in _read(broker, "eager-out")] == [[1, 2]]


def test_a_replay_of_many_partitions_is_in_order_behind_a_repartition_topic() -> None:
    with hw.open("memory:") as broker:
        broker.create_topic("words", partitions=5, key=str, value=str)
        _send(broker, "words", [(f"k{i % 97}", f"w{i % 3}", i * 10) for i in range(20_000)])
        app = hw.App("ordered", broker=broker)
        app.stream("words", key=str, value=str).group_by(lambda key, word: word, key=str).windowed_by(
            hw.TumblingWindow("10s", grace="2s")
        ).count().to_stream().to("out")
        metrics = app.run(until="caught_up")
        last = {key: value for key, value, _ in _read(broker, "out")}
    assert metrics.late_records == 0
    assert sum(last.values()) == 20_000
    assert metrics.mean_batch_size > 50


def test_an_exactly_once_application_keeps_its_checkpoint_short_however_often_it_starts() -> None:
    with hw.open("memory:") as broker:
        broker.create_topic("words")
        for run in range(6):
            for _ in range(2):
                broker.send_many("words", [(word, run) for word in "abc"], key=str, value=int)
                app = hw.App("counting", broker=broker, processing_guarantee="exactly_once", batch_size=2)
                app.stream("words", key=str, value=int).group_by_key().count(store="counts").to_stream().to("counts")
                app.run(until="caught_up", progress=False)
        checkpoint = Checkpoint.decode(broker._shared.core.fetch_offsets("counting")[0][3])
        assert len(checkpoint.changelogs["counts"]) == 1
        with broker.consumer(
            "counts", isolation_level="read_committed", auto_offset_reset="earliest", key=str, value=int, timeout="0s"
        ) as consumer:
            last = {record.key: record.value for record in consumer}
        assert last == dict.fromkeys("abc", 12)
