"""A function that raises, or a record that does not decode, costs exactly that record: nothing before it, at any batch size."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headwater as hw
from headwater.testing import TopologyTestDriver
from tests.property.runs import BATCH_SIZES, plain

quick = settings(max_examples=12, deadline=None)
BAD = 99


class Boom(Exception):
    pass


def check(value):
    if value == BAD:
        raise Boom
    return value


def stream(app, topic="in"):
    return app.stream(topic, key=str, value=int)


def out(table):
    table.to_stream().to("out")


PLACES = {
    "filter": lambda app: stream(app).filter(lambda k, v: check(v) >= 0).to("out"),
    "map": lambda app: stream(app).map(lambda k, v: (k, check(v)), key=str, value=int).to("out"),
    "map_values": lambda app: stream(app).map_values(check, value=int).to("out"),
    "flat_map_values": lambda app: stream(app).flat_map_values(lambda v: [v, check(v)], value=int).to("out"),
    "select_key": lambda app: stream(app).select_key(lambda k, v: str(check(v)), key=str).to("out"),
    "peek": lambda app: stream(app).peek(lambda k, v: check(v)).to("out"),
    "split": lambda app: stream(app).split(lambda k, v: check(v) > 3)[0].to("out"),
    "reduce": lambda app: out(
        stream(app).group_by_key().reduce(lambda a, v: check(v) if check(a) else v, store="store")
    ),
    "aggregate": lambda app: out(
        stream(app).group_by_key().aggregate(lambda: 0, lambda k, v, a: a + check(v), value=int, store="store")
    ),
    "windowed aggregate": lambda app: out(
        stream(app)
        .group_by_key()
        .windowed_by(hw.HoppingWindow("10ms", advance="5ms", grace="5ms"))
        .aggregate(lambda: 0, lambda k, v, a: a + check(v), value=int, store="store")
    ),
    "session aggregate": lambda app: out(
        stream(app)
        .group_by_key()
        .windowed_by(hw.SessionWindow(gap="3ms", grace="5ms"))
        .aggregate(lambda: 0, lambda k, v, a: a + check(v), merger=lambda k, a, b: a + b, value=int, store="store")
    ),
    "below a store": lambda app: out(stream(app).to_table(store="store").map_values(check, value=int)),
    "below a count": lambda app: (
        stream(app)
        .peek(lambda k, v: None)
        .group_by_key()
        .count(store="store")
        .map_values(lambda count: check(BAD if count == 3 else count), value=int)
        .to_stream()
        .to("out")
    ),
    "regrouped table": lambda app: out(
        app.table("in", key=str, value=int)
        .group_by(lambda k, v: (str(check(v)), v), key=str, value=int)
        .count(store="store")
    ),
    "stream-table joiner": lambda app: (
        stream(app).join(app.table("table", key=str, value=int), combine=lambda a, b: check(a) + b, value=int).to("out")
    ),
    "stream-stream joiner": lambda app: (
        stream(app)
        .left_join(
            stream(app, "table"), hw.JoinWindow("5ms"), grace="5ms", value=int,
            combine=lambda a, b: check(a) + (b or 0),
        )
        .to("out")
    ),
    "table-table joiner": lambda app: out(
        app.table("in", key=str, value=int).join(
            app.table("table", key=str, value=int), combine=lambda a, b: check(a) + b, value=int, store="store"
        )
    ),
}  # fmt: skip


def records(inputs):
    return [
        (topic, key.encode(), value.to_bytes(8, "big", signed=True), timestamp, ())
        for topic, key, value, timestamp in inputs
    ]


def observe(app, driver):
    store = None
    if "store" in app.topology.store_names:
        store = [(plain(key), *rest) for key, *rest in driver.store("store").items()]
    # What peeks saw cannot be unseen, so only what left for topics counts.
    return [tuple(emission) for emission in driver.trace() if emission.topic is not None], store


def feed(build, inputs, batch_size, cache):
    """What was observed and the error, if one was raised."""
    app = hw.App("failures", cache=cache)
    build(app)
    topics = {topic for node in app.topology.sources for topic in (getattr(node, "topics", None) or [node.topic])}
    with TopologyTestDriver(app, batch_size=batch_size, trace=True) as driver:
        error = None
        try:
            driver.pipe_many(records([record for record in inputs if record[0] in topics]))
        except hw.ProcessingError as raised:
            error = raised
        return observe(app, driver), error


INPUTS = st.lists(
    st.tuples(st.sampled_from(["in", "table"]), st.sampled_from("ab"), st.integers(0, 9), st.integers(0, 30)),
    max_size=15,
)


@pytest.mark.parametrize("cache", ["0", "10MB"])
@pytest.mark.parametrize("place", PLACES)
@quick
@given(before=INPUTS, after=INPUTS)
def test_what_comes_before_a_failure_is_kept_and_nothing_else(place, cache, before, after):
    build = PLACES[place]
    inputs = [*before, ("in", "a", BAD, 30), *after]
    _, error = feed(build, inputs, 1, cache)
    if error is None:
        return  # no partner was found, so that the joiner was not called
    # At batch size 1 the failure is at the first record that fails: that is the definition.
    assert isinstance(error.__cause__, Boom) and error.topic in {"in", "table"} and error.partition == 0
    topics = 0
    for count, record in enumerate(inputs):  # noqa: B007
        topics += record[0] == error.topic
        if topics == error.offset + 1 and record[0] == error.topic:
            break
    expected, nothing = feed(build, inputs[:count], 1, cache)
    assert nothing is None
    for batch_size in BATCH_SIZES:
        observed, again = feed(build, inputs, batch_size, cache)
        assert (again.topic, again.offset) == (error.topic, error.offset)
        assert isinstance(again.__cause__, Boom) and f"offset {error.offset}" in str(again)
        if batch_size == 1:
            # What the failing record itself had already written to topics cannot be called back.
            assert observed[0][: len(expected[0])] == expected[0]
        else:
            assert observed[0] == expected[0]
        assert observed[1] == expected[1]


# --- records that do not decode ---------------------------------------------------------------------------------------

DATA = st.lists(st.one_of(st.integers(0, 9), st.just(None)), min_size=1, max_size=15)


def data(values):
    """Values of eight bytes, and for None three bytes that are no integer."""
    return [
        ("in", b"k", b"bad" if value is None else value.to_bytes(8, "big"), timestamp, ())
        for timestamp, value in enumerate(values)
    ]


@pytest.mark.parametrize("batch_size", BATCH_SIZES)
@quick
@given(values=DATA)
def test_undecodable_records_follow_the_policy(values, batch_size):
    good = [value for value in values if value is not None]
    seen = []
    for policy in ("skip", "topic:bad", lambda error, record: seen.append(error)):
        app = hw.App("policies")
        app.stream("in", key=str, value=int, on_error=policy).map_values(lambda v: v + 1, value=int).to("out")
        with TopologyTestDriver(app, batch_size=batch_size, trace=True) as driver:
            driver.pipe_many(data(values))
            assert [emission.value for emission in driver.trace() if emission.topic == "out"] == [v + 1 for v in good]
            assert driver.dropped_records() == len(values) - len(good)
    assert all(isinstance(error, hw.SerdeError) and error.topic == "in" for error in seen)
    assert [error.offset for error in seen] == [index for index, value in enumerate(values) if value is None]


@pytest.mark.parametrize("batch_size", BATCH_SIZES)
@quick
@given(values=DATA)
def test_an_undecodable_record_ends_the_run_by_default(values, batch_size):
    first = values.index(None) if None in values else None
    app = hw.App("policies")
    app.stream("in", key=str, value=int).map_values(lambda v: v + 1, value=int).to("out")
    with TopologyTestDriver(app, batch_size=batch_size, trace=True) as driver:
        if first is None:
            driver.pipe_many(data(values))
        else:
            with pytest.raises(hw.SerdeError) as caught:
                driver.pipe_many(data(values))
            assert (caught.value.topic, caught.value.partition, caught.value.offset) == ("in", 0, first)
        assert [emission.value for emission in driver.trace()] == [v + 1 for v in values[:first]]
