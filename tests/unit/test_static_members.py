"""Static members: a place that waits for who comes back with its instance id, and for nobody else."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Iterator
from typing import Any

import pytest

import headwater as hw
from headwater.log.groups import GroupCoordinator, Member
from headwater.records import TopicPartition


class Clock:
    """Seconds that go forward when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def broker(clock: Clock) -> Iterator[hw.Broker]:
    with hw.open("memory:") as opened:
        opened._shared.groups.monotonic = clock
        opened.create_topic("t", partitions=4)
        opened.send_many("t", [(i, i) for i in range(40)])
        yield opened


def consumer(broker: hw.Broker, instance: str | None = None, **options: Any) -> hw.Consumer[Any, Any]:
    chosen = {"group": "g", "auto_offset_reset": "earliest", "timeout": "0s", "value": int, **options}
    return broker.consumer("t", group_instance_id=instance, session_timeout="45s", **chosen)


def numbers(reader: hw.Consumer[Any, Any]) -> set[int]:
    return {partition for _, partition in reader.assignment()}


def test_a_member_that_comes_back_in_time_has_its_partitions_and_nobody_rebalances(
    broker: hw.Broker, clock: Clock
) -> None:
    with consumer(broker, "b") as stays:
        first = consumer(broker, "a")
        list(stays)
        rebalances = stays.statistics().rebalances
        had = numbers(first)
        assert had == {0, 1} and numbers(stays) == {2, 3}
        first.close()
        clock.now += 45
        list(stays)
        assert numbers(stays) == {2, 3}, "the partitions wait"
        with consumer(broker, "a") as again:
            list(stays)
            assert numbers(again) == had
            assert stays.statistics().rebalances == rebalances


def test_after_the_session_timeout_the_partitions_move(broker: hw.Broker, clock: Clock) -> None:
    with consumer(broker) as stays:
        consumer(broker, "a").close()
        list(stays)
        assert len(numbers(stays)) == 2
        clock.now += 45.001
        list(stays)
        assert numbers(stays) == {0, 1, 2, 3}


def test_a_static_member_that_comes_back_goes_on_where_it_committed(broker: hw.Broker) -> None:
    with consumer(broker, "a") as first:
        delivered = first.poll(max_records=5)
        first.commit()
        repeated = first.poll(max_records=3)
    with consumer(broker, "a") as again:
        found = {(r.partition, r.offset) for r in again}
    done = {(r.partition, r.offset) for r in delivered}
    assert len(found) == 35 and not found & done
    assert {(r.partition, r.offset) for r in repeated} <= found


def test_a_static_consumer_that_nobody_holds_is_away_too(broker: hw.Broker, clock: Clock) -> None:
    with consumer(broker) as stays:
        lost = consumer(broker, "a")
        del lost
        gc.collect()
        list(stays)
        assert len(numbers(stays)) == 2
        clock.now += 46
        list(stays)
        assert len(numbers(stays)) == 4


def test_a_second_consumer_with_the_same_id_takes_over_and_fences_the_first(broker: hw.Broker) -> None:
    old = consumer(broker, "a", auto_commit=True)
    assert len(old.poll(max_records=3)) == 3
    with consumer(broker, "a") as new:
        assert numbers(new) == {0, 1, 2, 3}
        for use in (old.poll, old.commit, old.lag, old.assignment, lambda: old.seek("t", 0, 0), lambda: list(old)):
            with pytest.raises(hw.FencedInstanceIdError, match="group_instance_id='a'"):
                use()
        old.close()
        assert broker.committed("g") == {}, "what the old one had done and not committed is not committed by closing it"
        assert len(list(new)) == 40
        assert numbers(new) == {0, 1, 2, 3}, "closing the old one takes nothing from the new one"


def test_a_fenced_consumer_learns_of_it_in_the_middle_of_a_batch(broker: hw.Broker) -> None:
    broker.send_many("t", [("same", i) for i in range(1_000)])
    with consumer(broker, "a") as old:
        reading = iter(old)
        next(reading)
        with consumer(broker, "a"), pytest.raises(hw.FencedInstanceIdError):
            list(itertools.islice(reading, 400))


def test_a_zombie_with_an_instance_id_is_fenced_when_it_comes_back(broker: hw.Broker, clock: Clock) -> None:
    zombie = consumer(broker, "a", max_poll_interval="10s")
    zombie.poll(max_records=1)
    clock.now += 56
    with consumer(broker, "a") as new:
        with pytest.raises(hw.FencedInstanceIdError):
            zombie.poll()
        zombie.close()
        assert numbers(new) == {0, 1, 2, 3}


def test_a_silent_static_member_is_given_its_session_timeout_on_top(broker: hw.Broker, clock: Clock) -> None:
    silent = consumer(broker, "a", max_poll_interval="10s")
    with consumer(broker, max_poll_interval="1h") as other:
        clock.now += 55
        list(other)
        assert len(numbers(other)) == 2
        clock.now += 0.001
        list(other)
        assert len(numbers(other)) == 4
        list(silent)
        list(other)
        list(silent)
        assert len(numbers(silent)) == 2 and len(numbers(other)) == 2, "and it comes back as a member"
    silent.close()


def test_a_member_that_is_away_gives_others_their_share(clock: Clock) -> None:
    groups = GroupCoordinator(lambda topic: 4, lambda: None, monotonic=clock)
    away = groups.join("g", ["t"], max_poll_interval=60, instance_id="a")
    for number in range(4):
        place = TopicPartition("t", number)
        assert groups.mark_dirty(away, place, away.owned[place])
    other = groups.join("g", ["t"], max_poll_interval=60)
    assert not other.owned and len(away.revoking) == 2
    groups.leave(away)
    assert len(other.owned) == 2, "nothing is under way in a consumer that has closed"
    groups.leave(away)
    assert len(away.owned) == 2


def test_a_new_subscription_takes_over_what_it_reads(clock: Clock) -> None:
    groups = GroupCoordinator(lambda topic: 2, lambda: None, monotonic=clock)
    groups.join("g", ["t", "u"], max_poll_interval=60, instance_id="a")
    member: Member = groups.join("g", ["u"], max_poll_interval=60, instance_id="a")
    assert member.owned.keys() == {TopicPartition("u", 0), TopicPartition("u", 1)}
    assert list(groups.members("g")) == [member.id]


def test_what_makes_no_sense_is_refused(broker: hw.Broker) -> None:
    with pytest.raises(hw.InvalidArgumentError, match="group_instance_id"):
        broker.consumer("t", group_instance_id="a")
    for wrong in ("", 7):
        with pytest.raises(hw.InvalidArgumentError, match="group_instance_id"):
            broker.consumer("t", group="g", group_instance_id=wrong)  # type: ignore[call-overload]
    with pytest.raises(hw.InvalidArgumentError, match="session_timeout"):
        broker.consumer("t", group="g", session_timeout=45)  # type: ignore[call-overload]
