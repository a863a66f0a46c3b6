"""The group coordinator: partitions that move one by one, nobody who owns what another owns, topics that grow."""

from __future__ import annotations

from typing import Any

import pytest

import headwater as hw
from headwater.errors import ClosedError, InvalidArgumentError, UnknownTopicError
from headwater.log.groups import ASSIGNORS, GroupCoordinator, Member, assign_range
from headwater.records import TopicPartition


def coordinator(count: int = 4) -> GroupCoordinator:
    return GroupCoordinator(lambda topic: count, lambda: None)


def places(*numbers: int) -> set[TopicPartition]:
    return {TopicPartition("t", number) for number in numbers}


def dirty(groups: GroupCoordinator, member: Member, number: int) -> bool:
    place = TopicPartition("t", number)
    return groups.mark_dirty(member, place, member.owned.get(place, -1))


def test_range_assignment_is_kafkas() -> None:
    owners = assign_range({"a": ["t", "u"], "b": ["t", "u"], "c": ["t"]}, {"t": 4, "u": 3}, {})
    by_member: dict[str, list[str]] = {}
    for (topic, partition), member in sorted(owners.items()):
        by_member.setdefault(member, []).append(f"{topic}{partition}")
    assert by_member == {"a": ["t0", "t1", "u0", "u1"], "b": ["t2", "u2"], "c": ["t3"]}
    assert assign_range({"a": ["t"], "b": ["t"]}, {"t": 1}, {}) == {TopicPartition("t", 0): "a"}


def test_clean_partitions_move_at_once() -> None:
    groups = coordinator()
    first = groups.join("g", ["t"], max_poll_interval=60)
    owned, revoking = groups.heartbeat(first)
    assert owned.keys() == places(0, 1, 2, 3) and not revoking
    second = groups.join("g", ["t"], max_poll_interval=60)
    assert groups.heartbeat(first)[0].keys() == places(0, 1)
    assert groups.heartbeat(second)[0].keys() == places(2, 3)
    groups.leave(first)
    assert groups.heartbeat(second)[0].keys() == places(0, 1, 2, 3)


def test_a_dirty_partition_moves_when_its_owner_comes_back() -> None:
    groups = coordinator()
    first = groups.join("g", ["t"], max_poll_interval=60)
    assert dirty(groups, first, 3)
    second = groups.join("g", ["t"], max_poll_interval=60)
    assert groups.heartbeat(second)[0].keys() == places(2)
    owned, revoking = groups.heartbeat(first)
    assert owned.keys() == places(0, 1, 3) and revoking == places(3)
    groups.release(first, revoking)
    assert groups.heartbeat(second)[0].keys() == places(2, 3)
    assert not dirty(groups, first, 3)


def test_a_commit_of_everything_lets_a_partition_go() -> None:
    groups = coordinator()
    first = groups.join("g", ["t"], max_poll_interval=60)
    dirty(groups, first, 3)
    second = groups.join("g", ["t"], max_poll_interval=60)
    groups.mark_clean(first, {TopicPartition("t", 3): first.owned[TopicPartition("t", 3)]})
    assert groups.heartbeat(second)[0].keys() == places(2, 3)


def test_a_member_that_stays_away_loses_its_partitions_and_its_commits_are_refused() -> None:
    now = 0.0
    groups = GroupCoordinator(lambda topic: 4, lambda: None, monotonic=lambda: now)
    first = groups.join("g", ["t"], max_poll_interval=10)
    dirty(groups, first, 0)
    grant = first.owned[TopicPartition("t", 0)]
    second = groups.join("g", ["t"], max_poll_interval=60)
    now = 10.1
    assert groups.heartbeat(second)[0].keys() == places(0, 1, 2, 3)
    written: list[object] = []
    with pytest.raises(ClosedError, match="max_poll_interval"):
        groups.commit(first, {TopicPartition("t", 0): 5}, {TopicPartition("t", 0): grant}, written.append)
    assert written == []
    assert groups.heartbeat(first)[0].keys() == places(0, 1), "it comes back as a member"


def test_h9_a_disk_that_stalls_in_a_commit_costs_nobody_his_partitions() -> None:
    now = 0.0
    groups = GroupCoordinator(lambda topic: 4, lambda: None, monotonic=lambda: now)
    writer = groups.join("g", ["t"], max_poll_interval=5)
    waiting = groups.join("g", ["t"], max_poll_interval=5)
    silent = groups.join("h", ["t"], max_poll_interval=5)
    for member in (writer, waiting, silent):
        groups.heartbeat(member)
    now = 4.0
    written: list[dict[TopicPartition, int]] = []

    def write(offsets: dict[TopicPartition, int]) -> None:
        nonlocal now
        now += 30  # meanwhile whoever asks for anything waits for the lock
        written.append(offsets)

    place = min(writer.owned)
    groups.commit(writer, {place: 7}, {place: writer.owned[place]}, write)
    assert written == [{place: 7}], "once"
    assert groups.heartbeat(waiting)[0].keys() == places(2, 3)
    assert groups.heartbeat(writer)[0].keys() == places(0, 1)
    now += 1.5
    assert groups.groups() == ["g"], "but who was silent before the stall and after it is gone"


def test_a_group_starts_where_it_first_looked() -> None:
    groups = coordinator()
    first = groups.join("g", ["t"], max_poll_interval=60)
    place = TopicPartition("t", 0)
    assert groups.first_offset(first, place, lambda _: 10) == 10
    second = groups.join("g", ["t"], max_poll_interval=60)
    assert groups.first_offset(second, place, lambda _: 99) == 10
    groups.leave(first)
    groups.leave(second)
    third = groups.join("g", ["t"], max_poll_interval=60)
    assert groups.first_offset(third, place, lambda _: 99) == 99


def test_an_abandoned_member_is_buried_even_while_the_lock_is_held() -> None:
    groups = coordinator()
    first = groups.join("g", ["t"], max_poll_interval=60)
    second = groups.join("g", ["t"], max_poll_interval=60)
    with groups._lock:
        groups.abandon(first)
    assert groups.heartbeat(second)[0].keys() == places(0, 1, 2, 3)


def test_a_partition_lost_and_got_back_is_another_grant() -> None:
    groups = coordinator(1)
    first = groups.join("g", ["t"], max_poll_interval=60)
    place = TopicPartition("t", 0)
    seen = groups.heartbeat(first)[0][place]
    groups.leave(first)
    second = groups.join("g", ["t"], max_poll_interval=60)
    stale = groups.heartbeat(second)[0][place]
    assert stale != seen
    groups.release(second, [place])  # and it comes straight back
    assert not groups.mark_dirty(second, place, stale)
    written: list[object] = []
    groups.commit(second, {place: 5}, {place: stale}, written.append)
    assert written == [], "a position of an older grant is not committed"
    assert groups.mark_dirty(second, place, groups.heartbeat(second)[0][place])


# --- strategies -------------------------------------------------------------------------------------------------------


def test_sticky_moves_what_balance_needs_and_range_moves_more() -> None:
    moved = {}
    for strategy in ASSIGNORS:
        groups = coordinator(6)
        options: dict[str, Any] = {"max_poll_interval": 60, "strategy": strategy}
        members = [groups.join("g", ["t"], **options) for _ in range(3)]
        before = [set(member.owned.items()) for member in members]
        groups.leave(members[0])
        moved[strategy] = sum(
            len(had - set(member.owned.items())) for member, had in zip(members[1:], before[1:], strict=True)
        )
        assert [len(member.owned) for member in members] == [0, 3, 3]
    assert moved == {"range": 1, "cooperative-sticky": 0}


def test_a_dirty_partition_that_moves_by_stickiness_waits_for_its_owner() -> None:
    groups = coordinator(3)
    first = groups.join("g", ["t"], max_poll_interval=60, strategy="cooperative-sticky")
    assert all(dirty(groups, first, number) for number in range(3))
    second = groups.join("g", ["t"], max_poll_interval=60, strategy="cooperative-sticky")
    owned, revoking = groups.heartbeat(first)
    assert owned.keys() == places(0, 1, 2) and revoking == places(2)
    groups.release(first, revoking)
    assert first.owned.keys() == places(0, 1) and second.owned.keys() == places(2)
    assert first.owned == {place: owned[place] for place in first.owned}, "what stays keeps its grant"


def test_another_strategy_than_the_groups_is_refused() -> None:
    groups = coordinator()
    first = groups.join("g", ["t"], max_poll_interval=60)
    with pytest.raises(InvalidArgumentError, match="'range' as the other members of the group have"):
        groups.join("g", ["t"], max_poll_interval=60, strategy="cooperative-sticky")
    assert first.owned.keys() == places(0, 1, 2, 3)
    groups.leave(first)
    second = groups.join("g", ["t"], max_poll_interval=60, strategy="cooperative-sticky")
    assert second.owned.keys() == places(0, 1, 2, 3), "a group without members has no strategy"
    with hw.open("memory:") as broker:
        broker.create_topic("t")
        with pytest.raises(InvalidArgumentError, match="partition_assignment_strategy"):
            broker.consumer("t", group="g", partition_assignment_strategy="roundrobin")  # type: ignore[call-overload]


# --- topics that change -----------------------------------------------------------------------------------------------


def test_a_topic_that_grows_is_shared_anew() -> None:
    count, woken = 2, []
    groups = GroupCoordinator(lambda topic: count, lambda: woken.append(1))
    first = groups.join("g", ["t"], max_poll_interval=60)
    second = groups.join("g", ["t"], max_poll_interval=60)
    stranger = groups.join("other", ["u"], max_poll_interval=60)
    count, had = 4, dict(stranger.owned)
    woken.clear()
    groups.topic_changed("t")
    assert first.owned.keys() == places(0, 1) and second.owned.keys() == places(2, 3)
    assert stranger.owned == had and woken


@pytest.mark.parametrize("group", ["g", None], ids=["in a group", "without a group"])
def test_new_partitions_are_read_from_their_first_record(group: str | None) -> None:
    """Whatever the reset policy: nothing in them is older than the consumer."""
    with hw.open("memory:") as broker:
        broker.create_topic("t")
        with broker.consumer("t", group=group, auto_offset_reset="latest", timeout="0s", value=int) as consumer:
            broker.add_partitions("t", 2)
            with broker.producer() as producer:
                producer.send("t", value=7, partition=1)
            assert [record.value for record in consumer] == [7]


def test_a_deleted_topic_stands_in_nobodys_way() -> None:
    def partitions_of(topic: str) -> int:
        if topic in gone:
            raise UnknownTopicError(topic)
        return 2

    gone: set[str] = set()
    groups = GroupCoordinator(partitions_of, lambda: None)
    first = groups.join("g", ["t", "u"], max_poll_interval=60)
    gone.add("t")
    second = groups.join("g", ["u"], max_poll_interval=60)
    assert TopicPartition("t", 0) in first.owned, "its owner learns of it when it reads"
    groups.leave(first)
    assert second.owned.keys() == {TopicPartition("u", 0), TopicPartition("u", 1)}
