"""What administrators do with groups: list, describe, reset and delete them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import headwater as hw
from headwater.log import GroupMember, OffsetReset

P0, P1 = hw.TopicPartition("t", 0), hw.TopicPartition("t", 1)


@pytest.fixture
def broker() -> Iterator[hw.Broker]:
    """Topic t: ten records in each of two partitions, at 1000, 1001 and so on; group g has read four and seven."""
    with hw.open("memory:") as opened:
        opened.create_topic("t", partitions=2)
        with opened.producer() as producer:
            for i in range(20):
                producer.send("t", value=i, partition=i % 2, timestamp=1000 + i // 2)
        commit(opened, {("t", 0): 4, ("t", 1): 7})
        yield opened


def commit(broker: hw.Broker, offsets: dict[tuple[str, int], int]) -> None:
    with broker.consumer("t", group="g") as consumer:
        consumer.commit(offsets)


# --- description ------------------------------------------------------------------------------------------------------


def test_an_empty_group_is_described_by_what_it_has_committed(broker: hw.Broker) -> None:
    found = broker.describe_group("g")
    assert (found.name, found.state, found.strategy, found.members) == ("g", "Empty", None, ())
    assert found.committed == {P0: 4, P1: 7}
    assert found.lag == {P0: 6, P1: 3}


def test_members_are_described_with_what_they_own(broker: hw.Broker) -> None:
    options: Any = {"group": "g", "partition_assignment_strategy": "cooperative-sticky"}
    with broker.consumer("t", **options), broker.consumer("t", group_instance_id="s", **options):
        found = broker.describe_group("g")
    assert (found.state, found.strategy) == ("Stable", "cooperative-sticky")
    assert found.members == (
        GroupMember(id=found.members[0].id, instance_id="s", partitions=(P1,)),
        GroupMember(id=found.members[1].id, instance_id=None, partitions=(P0,)),
    )
    assert broker.describe_group("g").members[0].instance_id == "s", "the static one is away, and still a member"


def test_a_group_that_waits_for_a_partition_is_rebalancing(broker: hw.Broker) -> None:
    with broker.consumer("t", group="g", timeout="0s") as first:
        first.poll()
        first.poll()
        with broker.consumer("t", group="g", timeout="0s") as second:
            assert broker.describe_group("g").state == "PreparingRebalance"
            first.commit()
            first.poll()
            assert broker.describe_group("g").state == "Stable"
            assert second.poll() == []


def test_a_group_without_commits_is_listed_while_it_has_members(broker: hw.Broker) -> None:
    with broker.consumer("t", group="fresh"):
        assert broker.groups() == ["fresh", "g"]
        assert broker.describe_group("fresh").committed == {}
    assert broker.groups() == ["g"]
    with pytest.raises(hw.UnknownGroupError, match="'fresh'"):
        broker.describe_group("fresh")


def test_a_deleted_topic_is_forgotten_by_its_groups(broker: hw.Broker) -> None:
    broker.delete_topic("t")
    assert broker.committed("g") == {} and broker.groups() == []


def test_what_is_committed_for_a_topic_that_is_not_there_is_left_out_of_the_lag(broker: hw.Broker) -> None:
    broker._shared.core.commit_offsets("g", [("nowhere", 0, 5, "")])
    found = broker.describe_group("g")
    assert found.committed == {("nowhere", 0): 5, P0: 4, P1: 7} and found.lag.keys() == {P0, P1}
    assert broker.reset_offsets("g", to="earliest").keys() == {P0, P1}


# --- resets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"to": "earliest"}, (0, 0)),
        ({"to": "latest"}, (10, 10)),
        ({"to": 1005}, (5, 5)),
        ({"to": datetime.fromtimestamp(1.008, UTC)}, (8, 8)),
        ({"to": 0}, (0, 0)),
        ({"to": 5000}, (10, 10)),
        ({"to": {("t", 0): 3, ("t", 1): 9}}, (3, 9)),
        ({"to": {("t", 1): 99}}, (None, 10)),
        ({"to": "earliest", "partitions": [("t", 1)]}, (None, 0)),
        ({"to": "earliest", "topics": ["t"]}, (0, 0)),
        ({"shift_by": -3}, (1, 4)),
        ({"shift_by": -5}, (0, 2)),
        ({"shift_by": 5}, (9, 10)),
        ({"shift_by": 0}, (4, 7)),
    ],
)
def test_a_reset_moves_the_group(
    broker: hw.Broker, how: dict[str, Any], expected: tuple[int | None, int | None]
) -> None:
    planned = broker.reset_offsets("g", **how, dry_run=True)
    assert broker.committed("g") == {P0: 4, P1: 7}, "a dry run does nothing"
    assert broker.reset_offsets("g", **how) == planned
    old = {P0: 4, P1: 7}
    assert planned == {
        place: OffsetReset(old=old[place], new=new)
        for place, new in zip((P0, P1), expected, strict=True)
        if new is not None
    }
    assert broker.committed("g") == {**old, **{place: reset.new for place, reset in planned.items()}}


def test_a_group_goes_on_where_it_was_reset_to(broker: hw.Broker) -> None:
    broker.reset_offsets("g", to={P0: 8, P1: 9})
    with broker.consumer("t", group="g", value=int, timeout="0s") as consumer:
        assert sorted(record.value for record in consumer) == [16, 18, 19]


def test_a_reset_survives_the_process(tmp_path: Path) -> None:
    with hw.open(tmp_path) as broker:
        broker.create_topic("t")
        broker.send_many("t", [1, 2, 3])
        broker.reset_offsets("new", to="latest", topics=["t"])
    with hw.open(tmp_path, mode="r") as reader:
        assert reader.committed("new") == {P0: 3}
        assert reader.reset_offsets("new", shift_by=-1, dry_run=True) == {P0: OffsetReset(old=3, new=2)}
        with pytest.raises(hw.InvalidArgumentError, match='mode="r"'):
            reader.reset_offsets("new", shift_by=-1)


def test_offsets_of_some_partitions_are_deleted_and_stay_so(tmp_path: Path) -> None:
    with hw.open(tmp_path) as broker:
        for topic in ("t", "other"):
            broker.create_topic(topic, partitions=2)
        broker.reset_offsets("g", to="earliest", topics=["other", "t"])
        assert broker.delete_offsets("g", topics=["other"], partitions=[P1, ("t", 7)]) == [
            ("other", 0),
            ("other", 1),
            P1,
        ]
        assert broker.delete_offsets("g", topics=["other"]) == []
        with pytest.raises(hw.InvalidArgumentError, match=r"write \['t'\]"):
            broker.delete_offsets("g", topics="t")
    with hw.open(tmp_path) as broker:
        assert broker.committed("g") == {P0: 0}
        assert broker.delete_offsets("g", topics=["t"]) == [P0]
        assert broker.groups() == []


def test_a_group_with_members_is_not_reset_and_not_deleted(broker: hw.Broker) -> None:
    now = 0.0
    broker._shared.groups.monotonic = lambda: now
    with broker.consumer("t", group="g", group_instance_id="s", session_timeout="45s"):
        for act in (
            broker.delete_group,
            lambda group: broker.delete_offsets(group, topics=["t"]),
            lambda group: broker.reset_offsets(group, to="earliest", dry_run=True),
        ):
            with pytest.raises(hw.InvalidArgumentError, match="without consumers, got 'g' with 1; close"):
                act("g")
    with pytest.raises(hw.InvalidArgumentError, match="1 of them away"):
        broker.reset_offsets("g", to="earliest")
    now = 45.1
    broker.reset_offsets("g", to="earliest")
    assert broker.committed("g") == {P0: 0, P1: 0}


def test_an_applications_group_is_not_reset(broker: hw.Broker) -> None:
    app = hw.App("copies", broker=broker)
    app.stream("t", key=bytes, value=int).group_by_key().count().to_stream().to("counts")
    app.run(until="caught_up")
    before = broker.committed("copies")
    with pytest.raises(hw.InvalidArgumentError, match=r"app\.reset"):
        broker.reset_offsets("copies", to="earliest")
    with pytest.raises(hw.InvalidArgumentError, match=r"app\.reset"):
        broker.delete_offsets("copies", topics=["t"])
    assert broker.committed("copies") == before


@pytest.mark.parametrize(
    ("group", "how", "error", "message"),
    [
        ("g", {}, hw.InvalidArgumentError, "either to= or shift_by="),
        ("g", {"to": "latest", "shift_by": 1}, hw.InvalidArgumentError, "either to= or shift_by="),
        ("g", {"to": "newest"}, hw.InvalidArgumentError, "'newest' - at to"),
        ("g", {"to": 1.5}, hw.InvalidArgumentError, "1.5 - at to"),
        ("g", {"to": datetime(2026, 1, 1)}, hw.InvalidArgumentError, "aware"),
        ("g", {"to": {("t", 0): "3"}}, hw.InvalidArgumentError, "'3' - at to of"),
        ("g", {"to": {("t", 0): 3}, "topics": ["t"]}, hw.InvalidArgumentError, "mapping alone"),
        ("g", {"to": "latest", "topics": "t"}, hw.InvalidArgumentError, r"\['t'\]"),
        ("g", {"shift_by": "3"}, hw.InvalidArgumentError, "'3' - at shift_by"),
        ("new", {"shift_by": 1, "topics": ["t"]}, hw.InvalidArgumentError, "to shift, got none"),
        ("new", {"to": "latest"}, hw.UnknownGroupError, "topics="),
        ("g", {"to": "latest", "topics": ["nowhere"]}, hw.UnknownTopicError, "nowhere"),
        ("g", {"to": "latest", "partitions": [("t", 2)]}, hw.UnknownTopicError, "2"),
        ("g", {"to": {("t", 2): 0}}, hw.UnknownTopicError, "2"),
    ],
)
def test_a_wrong_reset_is_refused_and_changes_nothing(
    broker: hw.Broker, group: str, how: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        broker.reset_offsets(group, **how)
    assert broker.committed("g") == {P0: 4, P1: 7} and broker.committed("new") == {}
