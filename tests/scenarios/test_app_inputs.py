"""Applications given what they must not take: settings, names, topics that changed under them, functions that misbehave."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import headwater as hw


@pytest.fixture
def broker() -> Iterator[hw.Broker]:
    with hw.open("memory:") as opened:
        opened.create_topic("words", key=str, value=str)
        _send(opened, 5)
        yield opened


def _send(broker: hw.Broker, count: int) -> None:
    with broker.producer() as producer:
        for number in range(count):
            producer.send("words", key="a", value=str(number), timestamp=number)


def _counts(broker: hw.Broker, **options: Any) -> hw.App:
    app = hw.App("counts", broker=broker, **options)
    app.stream("words", key=str, value=str).group_by_key().count(store="counts").to_stream().to("counted")
    return app


def _read(broker: hw.Broker, topic: str) -> list[Any]:
    with broker.consumer(topic, auto_offset_reset="earliest", timeout="0s") as consumer:
        return [record.value for record in consumer]


@pytest.mark.parametrize("id", ["", "../x", "a/b", "x" * 300, "\u00fc", ".", "..", 5, None])
def test_b08_an_id_follows_the_rules_of_topics(id: Any) -> None:
    with pytest.raises(hw.InvalidArgumentError, match="expected a topic name"):
        hw.App(id)


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0},
        {"batch_size": True},
        {"threads": 0},
        {"threads": 1.5},
        {"cache": "1h"},
        {"cache": "\u00b2"},
        {"cache": "9" * 5000},
        {"commit_interval": 5},
        {"commit_interval": f"{2**70}ms"},
    ],
    ids=str,
)
def test_cf02_settings_are_read_with_their_units_or_refused(options: dict[str, Any]) -> None:
    with pytest.raises(hw.InvalidArgumentError, match="at App"):
        hw.App("x", **options)


def test_b13_a_second_application_of_one_id_is_refused_while_the_first_runs(broker: hw.Broker) -> None:
    refused = []

    def run_again(value: str) -> str:
        with pytest.raises(hw.LockedError, match="application 'twice' to run once") as error:
            second.run(until="caught_up")
        refused.append(error)
        return value

    first, second = hw.App("twice", broker=broker), hw.App("twice", broker=broker)
    first.stream("words", key=str, value=str).map_values(run_again, value=str).to("out")
    second.stream("words", key=str, value=str).to("out")
    assert first.run(until="caught_up").records == 5
    assert len(refused) == 5
    assert _read(broker, "out") == list("01234")
    _send(broker, 1)
    assert first.run(until="caught_up").records == 1, "it is free again"


@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.parametrize("interrupt", [SystemExit(4), KeyboardInterrupt(), GeneratorExit()], ids=repr)
def test_b09_an_interrupt_in_a_function_passes_and_nothing_is_half_done(
    broker: hw.Broker, interrupt: BaseException, partitions: int
) -> None:
    if partitions > 1:
        broker.add_partitions("words", partitions)
    failing = [interrupt]

    def interrupted(value: str) -> str:
        if value == "3" and failing:
            raise failing.pop()
        return value

    app = hw.App("interrupted", broker=broker)
    app.stream("words", key=str, value=str).map_values(interrupted, value=str).to("out")
    with pytest.raises(type(interrupt)):
        app.run(until="caught_up")
    assert app.run(until="caught_up").records == 5
    assert sorted(_read(broker, "out")) == list("01234")


def _endless(value: str) -> str:
    return _endless(value)


@pytest.mark.parametrize("function", [_endless, lambda value: 5], ids=["recursion", "type"])
def test_b09_h15_a_function_that_fails_names_the_record(broker: hw.Broker, function: Any) -> None:
    app = hw.App("failing", broker=broker)
    app.stream("words", key=str, value=str).map_values(function, value=str).to("out")
    with pytest.raises((hw.ProcessingError, hw.SerdeError), match="topic 'words' partition 0 offset 0"):
        app.run(until="caught_up")


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"partitions": 2}, hw.TopologyChangedError, "expected 1 partitions, got 2"),
        ({"cleanup_policy": "compact"}, hw.TopologyError, "expected cleanup.policy=delete, got compact"),
        ({"retention": "1ms"}, hw.TopologyError, "expected retention.ms=-1, got 1"),
        ({"config": {"retention.bytes": "9"}}, hw.TopologyError, "expected retention.bytes=-1, got 9"),
    ],
    ids=["partitions", "compacted", "aged", "sized"],
)
def test_b06_a_changelog_that_would_lose_state_is_refused_and_left(
    broker: hw.Broker, options: dict[str, Any], error: type[Exception], says: str
) -> None:
    broker.create_topic("counts-counts-changelog", **options)
    before = broker.topic("counts-counts-changelog")
    with pytest.raises(error, match=f"{says} - at topic 'counts-counts-changelog'"):
        _counts(broker).run(until="caught_up")
    assert broker.topic("counts-counts-changelog").config == before.config


def _cut(broker: hw.Broker) -> None:
    broker.delete_records("counts-counts-changelog", {0: 1})


def _empty(broker: hw.Broker) -> None:
    broker.delete_topic("counts-counts-changelog")


@pytest.mark.parametrize("guarantee", ["at_least_once", "exactly_once"])
@pytest.mark.parametrize("harm", [_cut, _empty])
def test_j09_a_changelog_that_is_not_whole_is_never_restored_in_part(
    broker: hw.Broker, harm: Any, guarantee: Any
) -> None:
    _counts(broker, processing_guarantee=guarantee).run(until="caught_up")
    harm(broker)
    _send(broker, 1)
    app = _counts(broker, processing_guarantee=guarantee)
    with pytest.raises(hw.OffsetOutOfRangeError, match="store 'counts' cannot be restored") as refused:
        app.run(until="caught_up")
    assert (refused.value.topic, refused.value.partition) == ("counts-counts-changelog", 0)
    app.reset()
    assert app.run(until="caught_up").records == 6


def test_j06_records_that_were_deleted_before_they_were_read_end_an_exact_run(broker: hw.Broker) -> None:
    _counts(broker, processing_guarantee="exactly_once").run(until="caught_up")
    _send(broker, 5)
    broker.delete_records("words", {0: 7})
    with pytest.raises(
        hw.OffsetOutOfRangeError, match=r"from 7 to 10, got 5 - at topic 'words' partition 0.*app\.reset"
    ):
        _counts(broker, processing_guarantee="exactly_once").run(until="caught_up")


def test_j06_records_that_were_deleted_before_they_were_read_are_passed_over_with_a_warning(
    broker: hw.Broker, caplog: pytest.LogCaptureFixture
) -> None:
    _counts(broker).run(until="caught_up")
    _send(broker, 5)
    broker.delete_records("words", {0: 7})
    app = _counts(broker)
    assert app.run(until="caught_up").records == 3
    assert "records from 5 to 7 of topic 'words' partition 0 were deleted before they were read" in caplog.text
    assert broker.committed(app.id) == {("words", 0): 10}


@pytest.mark.parametrize("records", [3, 8], ids=["shorter", "longer"])
def test_j04_a_source_made_anew_ends_the_run_however_long_it_is(broker: hw.Broker, records: int) -> None:
    _counts(broker).run(until="caught_up")
    broker.delete_topic("words")
    broker.create_topic("words", key=str, value=str)
    _send(broker, records)
    with pytest.raises(hw.OffsetOutOfRangeError, match=r"topic 'words' partition 0: it was made anew; call app\.reset"):
        _counts(broker).run(until="caught_up")
    app = _counts(broker)
    app.reset()
    assert app.run(until="caught_up").records == records


@pytest.mark.parametrize("key", [float("nan"), [1, {"a": 2}]], ids=["nan", "unhashable"])
def test_a17_keys_are_grouped_by_their_bytes(broker: hw.Broker, key: Any) -> None:
    app = hw.App("keys", broker=broker)
    app.stream("words", key=str, value=str).group_by(lambda k, v: key).count(store="counts").to_stream().to("out")
    app.run(until="caught_up")
    assert _read(broker, "out")[-1] == 5


@pytest.mark.parametrize("guarantee", ["at_least_once", "exactly_once"])
def test_h14_a_poisoned_topic_is_passed_through_and_floods_nothing(
    broker: hw.Broker, caplog: pytest.LogCaptureFixture, guarantee: Any
) -> None:
    count = 30_000
    broker.create_topic("poison", partitions=2)
    with broker.producer() as producer:
        for n in range(count):
            bad = n % 1_000 != 999
            headers = [("n", b"%d" % n)]
            producer.send(
                "poison", key=b"k", value=b"{" if bad else b"{}", timestamp=n, partition=n % 2, headers=headers
            )
    app = hw.App("healthy", broker=broker, processing_guarantee=guarantee)
    source = app.stream("poison", key=bytes, value=dict, on_error="topic:bad")
    source.map_values(lambda value: value, value=dict).to("good")
    metrics = app.run(until="caught_up")
    assert (metrics.records, metrics.dropped_records) == (count, count - 30)
    read = {"isolation_level": "read_committed", "auto_offset_reset": "earliest", "timeout": "0s"}
    with broker.consumer("bad", **read) as consumer:
        letters = [(r.partition, r.key, r.value, r.timestamp, r.headers) for r in consumer]
    assert len(letters) == count - 30
    for side in (0, 1):
        numbers = [int(headers[0][1] or b"") for *_, headers in letters if int(headers[0][1] or b"") % 2 == side]
        assert numbers == [n for n in range(side, count, 2) if n % 1_000 != 999], "as they are, in order"
    assert {(key, value) for _, key, value, *_ in letters} == {(b"k", b"{")}
    assert all(headers == (("n", b"%d" % timestamp),) for *_, timestamp, headers in letters)
    with broker.consumer("poison", value=dict, on_error="skip", **read) as consumer:
        assert len(list(consumer)) == 30 and consumer.statistics().skipped == count - 30
    assert sum("skipped a record" in record.message for record in caplog.records) == 5, "1, 10, 100, 1000, 10000"


@pytest.mark.parametrize("guarantee", ["at_least_once", "exactly_once"])
def test_a20_an_aggregate_that_its_changelog_does_not_take_ends_the_run_before_it_counts(
    broker: hw.Broker, guarantee: Any
) -> None:
    def app() -> hw.App:
        made = hw.App("grows", broker=broker, processing_guarantee=guarantee)
        words = made.stream("words", key=str, value=str).group_by_key()
        words.aggregate(str, lambda k, v, so_far: so_far + v * 100, value=str, store="all").to_stream().to("out")
        return made

    app().run(until="caught_up")
    before, changelog = broker.committed("grows"), "grows-all-changelog"
    broker.alter_config(changelog, {"max.message.bytes": "2000"})
    _send(broker, 40)
    with pytest.raises(hw.InvalidArgumentError, match=f"at most 2000 bytes, got .* at topic '{changelog}' partition 0"):
        app().run(until="caught_up")
    assert broker.committed("grows") == before, "nothing of it counts"
    broker.alter_config(changelog, {"max.message.bytes": None})
    assert app().run(until="caught_up").records == 40
