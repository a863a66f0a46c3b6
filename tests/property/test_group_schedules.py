"""Random schedules of a group: members come, go, die, time out, come back and are fenced while records and partitions
come; the recorded history is checked. And the checker is checked: it finds what is wrong in histories and coordinators."""

from __future__ import annotations

import itertools
import logging
import os
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest

import headwater as hw
from headwater.log.groups import Group, Member
from headwater.records import TopicPartition
from tests.property.group_history import Committed, Delivered, Event, History, Reset, Snapshot, check
from tests.property.group_world import RecordingCoordinator, World

P0, P1 = TopicPartition("t", 0), TopicPartition("t", 1)


def run(seed: int, coordinator: type[RecordingCoordinator] = RecordingCoordinator) -> Counter[str]:
    with hw.open("memory:") as broker:
        world = World(broker, random.Random(seed), coordinator)
        try:
            world.run(steps=120)
            check(world.history.events, world.ends())
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from None
        return world.done


def run_all(seeds: Iterable[int], coordinator: type[RecordingCoordinator] = RecordingCoordinator) -> Counter[str]:
    return sum((run(seed, coordinator) for seed in seeds), Counter[str]())


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, logger="headwater")  # automatic commits that come too late are no news here


def test_random_schedules_skip_nothing_and_repeat_only_what_was_not_committed() -> None:
    done = run_all(range(60))
    assert min(done[what] for what in ("bounced", "closed", "fenced", "grown", "killed", "reset")) >= 10, done
    assert min(done[what] for what in ("refused commits", "refused strategies")) >= 10, done


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_many_random_schedules() -> None:
    first = int(os.environ.get("HEADWATER_SEED", "1000"))
    run_all(range(first, first + 5_000))


# --- the checker can fail ---------------------------------------------------------------------------------------------

GOOD: list[Event] = [
    Snapshot((("a", P0, 1), ("a", P1, 2)), 2, 1),
    Delivered("a", P0, 1, 0),
    Delivered("a", P0, 1, 1),
    Committed("a", P0, 1, 1),
    Snapshot((("b", P0, 3), ("a", P1, 2)), 2, 2),
    Delivered("b", P0, 3, 1),
    Committed("b", P0, 3, 2),
    Delivered("a", P1, 2, 0),
    Committed("a", P1, 2, 1),
    Snapshot((), 2, 0),
]
ENDS = {P0: 2, P1: 1}


def test_a_good_history_passes() -> None:
    check(GOOD, ENDS)
    again: list[Event] = [Reset(P0, 1), Delivered("c", P0, 4, 1), Committed("c", P0, 4, 2)]
    check([*GOOD, *again], ENDS)


@pytest.mark.parametrize(
    ("place", "event", "message"),
    [
        (2, Delivered("a", P0, 1, 2), "skipped"),
        (2, Delivered("a", P0, 1, 0), "read before"),
        (5, Delivered("b", P0, 3, 2), "skipped"),
        (5, Delivered("b", P0, 3, 0), "read before"),
        (5, Delivered("a", P0, 1, 2), "after 3 was given"),
        (5, Committed("a", P0, 1, 2), "after 3 was given"),
        (5, Delivered("b", P0, 1, 1), "belongs to a"),
        (3, Committed("a", P0, 1, 3), "beyond"),
        (6, Committed("b", P0, 3, 0), "went back"),
        (4, Snapshot((("b", P0, 3), ("a", P0, 1), ("a", P1, 2)), 2, 2), "two owners"),
        (4, Snapshot((("b", P0, 3),), 2, 2), "no owner"),
        (5, Snapshot((("a", P0, 1), ("a", P1, 2)), 2, 1), "earlier grant"),
        (9, Reset(P0, 0), "committed 0 of 2"),
        (7, None, "read before|skipped|beyond"),
        (8, None, "committed 0 of 1"),
    ],
)
def test_a_bad_history_is_found(place: int, event: Event | None, message: str) -> None:
    """`event` stands in for the one at `place`, None leaves it out."""
    with pytest.raises(AssertionError, match=message):
        check([*GOOD[:place], *([] if event is None else [event]), *GOOD[place + 1 :]], ENDS)


class CommitsForAnybody(RecordingCoordinator):
    """Forgets that only the owner commits, under the grant that it has seen."""

    def commit(
        self,
        member: Member,
        offsets: Mapping[TopicPartition, int],
        grants: Mapping[TopicPartition, int],
        write: Callable[[dict[TopicPartition, int]], None],
    ) -> None:
        write(dict(offsets))
        self.history.add(Committed(member.id, p, grants[p], offset) for p, offset in offsets.items())


class OneGrantForAll(RecordingCoordinator):
    """Forgets to number the changes of hands."""

    def __init__(self, shared: Any, history: History, **options: Any) -> None:
        super().__init__(shared, history, **options)
        self._grants = itertools.repeat(1)  # type: ignore[assignment]


def keep_what_moves(group: Group) -> None:
    """A rebalance after which the former owners still own what they had."""
    before = [(member, dict(member.owned)) for member in group.members.values()]
    rebalance(group)
    for member, owned in before:
        member.owned.update(owned)


def take_over_unfenced(group: Group, member: Member) -> None:
    """A takeover that leaves the former self in office."""
    former = group._instance(member.instance_id)
    owned = {} if former is None else dict(former.owned)
    join(group, member)
    if former is not None:
        former.owned, former.is_fenced, former.is_away = owned, False, False


rebalance, join = Group.rebalance, Group.join


@pytest.mark.parametrize(
    ("coordinator", "broken"),
    [
        (CommitsForAnybody, None),
        (OneGrantForAll, None),
        (RecordingCoordinator, ("rebalance", keep_what_moves)),
        (RecordingCoordinator, ("join", take_over_unfenced)),
    ],
    ids=["commits for anybody", "one grant for all", "two owners", "not fenced"],
)
def test_a_broken_coordinator_is_found(
    coordinator: type[RecordingCoordinator],
    broken: tuple[str, Callable[..., None]] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if broken is not None:
        monkeypatch.setattr(Group, *broken)
    with pytest.raises(AssertionError, match="event"):
        run_all(range(60), coordinator)
