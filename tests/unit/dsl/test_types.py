"""Which serdes flow out of operators: what is declared, else what a function's annotation says, else inferred."""

import msgspec
import pytest

import headwater as hw


class Ride(msgspec.Struct):
    zone: str


@pytest.fixture
def rides():
    return hw.StreamsBuilder().stream("rides", key=str, value=Ride)


def serdes(stream):
    return stream.node.key.name, stream.node.value.name


def zone_of(ride: Ride) -> str:
    return ride.zone


def zone_or_none(ride: Ride) -> str | None:
    return ride.zone


def test_declared_types_win(rides):
    assert serdes(rides.map_values(zone_of, value=int)) == ("text", "int64")
    assert serdes(rides.map(lambda k, v: (1, 2.0), key=int, value=float)) == ("int64", "float64")


def test_annotations_are_read(rides):
    assert serdes(rides.map_values(zone_of)) == ("text", "text")
    assert serdes(rides.map_values(zone_or_none)) == ("text", "text")


def test_the_rest_is_inferred(rides):
    assert serdes(rides.map_values(lambda v: v.zone)) == ("text", "inferred")
    assert serdes(rides.select_key(lambda k, v: v.zone)) == ("inferred", "json[Ride]")


def test_what_does_not_change_is_kept(rides):
    for stream in (rides.filter(lambda k, v: True), rides.peek(print), rides.repartition(), rides.merge(rides)):
        assert serdes(stream) == ("text", "json[Ride]")


def test_windowed_keys(rides):
    grouped = rides.group_by_key()
    assert serdes(grouped.windowed_by(hw.TumblingWindow("10s", grace="0s")).count()) == (
        "windowed[text, 10000ms]",
        "int64",
    )
    session = grouped.windowed_by(hw.SessionWindow(gap="10s", grace="0s"))
    assert session.is_session and serdes(session.count())[0].startswith("session_windowed[text")


def test_a_topic_brings_its_types():
    topic = hw.Topic("rides", key=str, value=Ride)
    assert serdes(hw.StreamsBuilder().stream(topic)) == ("text", "json[Ride]")
    assert serdes(hw.StreamsBuilder().table(topic)) == ("text", "json[Ride]")


def test_without_types_it_is_bytes():
    assert serdes(hw.StreamsBuilder().stream("rides")) == ("raw", "raw")
