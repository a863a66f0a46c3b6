"""Both assignors: everything is owned once, as evenly as it can be, and sticky ones move only what balance needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.log.groups import ASSIGNORS, assign_cooperative_sticky, assign_range
from headwater.records import TopicPartition

TOPICS = ("a", "b", "c")
Subscriptions = dict[str, frozenset[str]]
Owners = dict[TopicPartition, str]

counts = st.fixed_dictionaries({topic: st.integers(0, 9) for topic in TOPICS})
member_ids = st.lists(st.sampled_from([f"m{i}" for i in range(7)]), min_size=1, max_size=6, unique=True)
subscriptions = member_ids.flatmap(
    lambda ids: st.fixed_dictionaries({i: st.frozensets(st.sampled_from(TOPICS), min_size=1) for i in ids})
)
equal_subscriptions = member_ids.map(lambda ids: dict.fromkeys(ids, frozenset(TOPICS)))


def everything(partitions: Mapping[str, int]) -> set[TopicPartition]:
    return {TopicPartition(topic, number) for topic, count in partitions.items() for number in range(count)}


@st.composite
def owned(draw: st.DrawFn, owners: tuple[str, ...] = ("m0", "m1", "m2", "gone")) -> Owners:
    """Any ownership: unbalanced, of members that have gone, of topics that their owner does not read."""
    places = sorted(everything(dict.fromkeys(TOPICS, 9)))
    return draw(st.dictionaries(st.sampled_from(places), st.sampled_from(owners), max_size=20))


def loads(owners: Owners, members: Subscriptions) -> dict[str, int]:
    found = Counter(owners.values())
    return {member: found[member] for member in members}


def moved(before: Owners, after: Owners) -> set[TopicPartition]:
    return {place for place, owner in before.items() if after.get(place) != owner}


@pytest.mark.parametrize("assign", ASSIGNORS.values(), ids=ASSIGNORS)
@given(members=subscriptions, partitions=counts, before=owned())
def test_everything_that_somebody_reads_has_one_owner_who_reads_it(
    assign: Callable[..., Owners], members: Subscriptions, partitions: dict[str, int], before: Owners
) -> None:
    owners = assign(members, partitions, before)
    read = frozenset[str]().union(*members.values())
    assert owners.keys() == {place for place in everything(partitions) if place.topic in read}
    assert all(place.topic in members[owner] for place, owner in owners.items())
    assert assign(members, partitions, owners) == owners, "it is a fixed point"


@given(members=equal_subscriptions, partitions=counts, before=owned())
def test_sticky_is_balanced_with_the_fewest_moves(
    members: Subscriptions, partitions: dict[str, int], before: Owners
) -> None:
    owners = assign_cooperative_sticky(members, partitions, before)
    found = loads(owners, members)
    assert max(found.values()) - min(found.values()) <= 1
    kept = {p: m for p, m in before.items() if m in members and p in owners}
    share, extra = divmod(len(owners), len(members))
    most_first = sorted(loads(kept, members).values(), reverse=True)
    stayable = sum(min(load, share + (1 if rank < extra else 0)) for rank, load in enumerate(most_first))
    assert len(moved(kept, owners)) == len(kept) - stayable


@given(members=equal_subscriptions, partitions=counts)
def test_sticky_moves_nothing_between_those_who_stay(members: Subscriptions, partitions: dict[str, int]) -> None:
    before = assign_cooperative_sticky(members, partitions, {})
    joined = assign_cooperative_sticky({**members, "new": frozenset(TOPICS)}, partitions, before)
    assert all(joined[place] == "new" for place in moved(before, joined))
    for leaver in members:
        rest = {member: topics for member, topics in members.items() if member != leaver}
        if rest:
            left = assign_cooperative_sticky(rest, partitions, before)
            assert moved(before, left) == {place for place, owner in before.items() if owner == leaver}
    grown = assign_cooperative_sticky(members, {**partitions, "a": partitions["a"] + 1}, before)
    assert len(moved(before, grown)) == 0


@given(members=subscriptions, partitions=counts, before=owned())
def test_sticky_is_as_even_as_different_subscriptions_allow(
    members: Subscriptions, partitions: dict[str, int], before: Owners
) -> None:
    owners = assign_cooperative_sticky(members, partitions, before)
    found = loads(owners, members)
    for source in members:
        # Whoever gets something from `source`, directly or through others, has at most one less than it.
        reached = {source}
        while True:
            topics = {place.topic for place, owner in owners.items() if owner in reached}
            more = {member for member in members if members[member] & topics}
            if more <= reached:
                break
            reached |= more
        assert min(found[member] for member in reached) >= found[source] - 1


def test_range_shares_each_topic_by_itself_and_sticky_all_together() -> None:
    members = {"x": frozenset({"a", "b"}), "y": frozenset({"a", "b"})}
    by_range = assign_range(members, {"a": 1, "b": 1}, {})
    by_sticky = assign_cooperative_sticky(members, {"a": 1, "b": 1}, {})
    assert loads(by_range, members) == {"x": 2, "y": 0}
    assert loads(by_sticky, members) == {"x": 1, "y": 1}


def test_sticky_passes_on_through_a_member_in_between() -> None:
    members = {"x": frozenset({"a"}), "y": frozenset({"a", "b"}), "z": frozenset({"b"})}
    partitions = {"a": 2, "b": 1}
    before = {TopicPartition("a", 0): "x", TopicPartition("a", 1): "x", TopicPartition("b", 0): "y"}
    owners = assign_cooperative_sticky(members, partitions, before)
    assert loads(owners, members) == {"x": 1, "y": 1, "z": 1}
