"""The group coordinator: Kafka's range assignment, partitions that move one by one, nobody who owns what another owns."""

from __future__ import annotations

import pytest

from headwater.errors import ClosedError
from headwater.log.groups import GroupCoordinator, Member, assign_range
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
    groups = coordinator()
    first = groups.join("g", ["t"], max_poll_interval=0.0)
    dirty(groups, first, 0)
    grant = first.owned[TopicPartition("t", 0)]
    second = groups.join("g", ["t"], max_poll_interval=60)
    first.last_poll -= 1
    assert groups.heartbeat(second)[0].keys() == places(0, 1, 2, 3)
    written: list[object] = []
    with pytest.raises(ClosedError, match="max_poll_interval"):
        groups.commit(first, {TopicPartition("t", 0): 5}, {TopicPartition("t", 0): grant}, written.append)
    assert written == []
    first.max_poll_interval = 60
    assert groups.heartbeat(first)[0].keys() == places(0, 1), "it comes back as a member"


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
