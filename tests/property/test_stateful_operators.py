"""Every stateful operator against its oracle, out of order, at every batch size, with and without a cache."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headwater as hw
from tests.property import oracles
from tests.property.runs import run, run_all

KEYS = st.sampled_from(["a", "b", "c", None])
VALUES = st.one_of(st.integers(-5, 9), st.none())
TIMES = st.integers(0, 60)
RECORDS = st.lists(st.tuples(KEYS, VALUES, TIMES), max_size=25)
GRACE = st.sampled_from([0, 3, 10])
quick = settings(max_examples=60, deadline=None)


def ms(value):
    return f"{value}ms"


def add(aggregate, value):
    return (aggregate or 0) + (value or 0)


def count(aggregate, value):
    return (aggregate or 0) + 1


# --- aggregations of streams ------------------------------------------------------------------------------------------

FOLDS = {
    "count": (count, lambda grouped: grouped.count(store="store")),
    "reduce": (
        lambda a, v: v if a is None else a + v,
        lambda grouped: grouped.reduce(lambda a, v: a + v, store="store"),
    ),
    "aggregate": (
        add,
        lambda grouped: grouped.aggregate(lambda: 0, lambda k, v, a: a + (v or 0), value=int, store="store"),
    ),
}


def aggregation(fold, window=None, *, rekey=False):
    def build(app):
        stream = app.stream("in", key=str, value=int)
        grouped = stream.group_by(lambda k, v: k, key=str) if rekey else stream.group_by_key()
        if window is not None:
            grouped = grouped.windowed_by(window)
        FOLDS[fold][1](grouped).to_stream().to("out")

    return build


def check(result, expected):
    assert result.outputs.get("out", []) == expected.outputs
    assert result.dropped == expected.dropped
    assert result.store == expected.store


@pytest.mark.parametrize("fold", FOLDS)
@quick
@given(records=RECORDS)
def test_an_aggregate_without_windows(fold, records):
    result = run_all(aggregation(fold), [("in", *record) for record in records])
    check(result, oracles.aggregated(records, FOLDS[fold][0]))


@quick
@given(records=RECORDS)
def test_behind_a_repartition_topic_null_keys_vanish_uncounted(records):
    result = run_all(aggregation("count", rekey=True), [("in", *record) for record in records])
    check(result, oracles.aggregated([record for record in records if record[0] is not None], count))


@pytest.mark.parametrize("fold", ["count", "aggregate"])
@quick
@given(records=RECORDS, size=st.integers(1, 20), grace=GRACE)
def test_tumbling_windows(fold, records, size, grace):
    window = hw.TumblingWindow(ms(size), grace=ms(grace))
    result = run_all(aggregation(fold, window), [("in", *record) for record in records])
    check(result, oracles.windowed(records, size, size, grace, FOLDS[fold][0]))


@quick
@given(records=RECORDS, grace=GRACE)
def test_a_windowed_reduce(records, grace):
    records = [(key, 0 if value is None else value, timestamp) for key, value, timestamp in records]
    window = hw.TumblingWindow("10ms", grace=ms(grace))
    result = run_all(aggregation("reduce", window), [("in", *record) for record in records])
    check(result, oracles.windowed(records, 10, 10, grace, FOLDS["reduce"][0]))


@pytest.mark.parametrize("fold", ["count", "aggregate"])
@quick
@given(records=RECORDS, size=st.integers(2, 20), advance=st.integers(1, 20), grace=GRACE)
def test_hopping_windows(fold, records, size, advance, grace):
    advance = min(size, advance)
    window = hw.HoppingWindow(ms(size), advance=ms(advance), grace=ms(grace))
    result = run_all(aggregation(fold, window), [("in", *record) for record in records])
    check(result, oracles.windowed(records, size, advance, grace, FOLDS[fold][0]))


@quick
@given(records=RECORDS, gap=st.integers(0, 10), grace=GRACE)
def test_session_windows(records, gap, grace):
    inputs = [("in", *record) for record in records]
    expected = oracles.sessions(records, gap, grace)
    window = hw.SessionWindow(gap=ms(gap), grace=ms(grace))
    for batch_size in (1, 7, None):
        check(run(aggregation("count", window), inputs, batch_size=batch_size), expected)


@quick
@given(records=RECORDS, gap=st.integers(0, 10), grace=GRACE)
def test_sessions_of_a_users_fold_are_those_of_count(records, gap, grace):
    window = hw.SessionWindow(gap=ms(gap), grace=ms(grace))

    def build(app):
        grouped = app.stream("in", key=str, value=int).group_by_key().windowed_by(window)
        counted = grouped.aggregate(
            lambda: 0, lambda k, v, a: a + 1, merger=lambda k, a, b: a + b, value=int, store="store"
        )
        counted.to_stream().to("out")

    inputs = [("in", *record) for record in records]
    for batch_size in (1, 7, None):
        check(run(build, inputs, batch_size=batch_size), oracles.sessions(records, gap, grace))


# --- tables -----------------------------------------------------------------------------------------------------------


@quick
@given(records=RECORDS)
def test_a_filtered_table_in_a_store(records):
    def build(app):
        table = app.stream("in", key=str, value=int).to_table()
        table.filter(lambda k, v: v > 2, store="store").to_stream().to("out")

    result = run_all(build, [("in", *record) for record in records])
    assert result.store == {key: value for key, value in oracles.table(records).items() if value > 2}
    assert result.dropped == sum(key is None for key, _, _ in records)


@quick
@given(records=RECORDS)
def test_a_regrouped_table(records):
    def build(app):
        regrouped = app.table("in", key=str, value=int).group_by(lambda k, v: (str(v % 3), v), key=str, value=int)
        regrouped.aggregate(lambda: 0, lambda k, v, a: a + v, lambda k, v, a: a - v, value=int, store="store")

    store = run_all(build, [("in", *record) for record in records]).store
    expected: Counter[str] = Counter()
    for value in oracles.table(records).values():
        expected[str(value % 3)] += value
    assert {key: value for key, value in store.items() if value} == {k: v for k, v in expected.items() if v}


TWO = st.lists(st.tuples(st.sampled_from(["left", "right"]), KEYS, VALUES, TIMES), max_size=25)


def pick(inputs, topic):
    return [record[1:] for record in inputs if record[0] == topic]


def pair(left, right):
    return [left, right]


@pytest.mark.parametrize("kind", ["inner", "left", "outer"])
@quick
@given(inputs=TWO)
def test_a_join_of_tables(kind, inputs):
    def build(app):
        left, right = (app.table(topic, key=str, value=int) for topic in ("left", "right"))
        join = {"inner": left.join, "left": left.left_join, "outer": left.outer_join}[kind]
        join(right, combine=pair, value=list, store="store").to_stream().to("out")

    store = run_all(build, inputs).store
    left, right = (oracles.table(pick(inputs, topic)) for topic in ("left", "right"))
    keys = {"inner": left.keys() & right.keys(), "left": left.keys(), "outer": left.keys() | right.keys()}[kind]
    assert store == {key: [left.get(key), right.get(key)] for key in keys}


# --- joins of streams -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_global", [False, True])
@pytest.mark.parametrize("kind", ["inner", "left"])
@quick
@given(inputs=TWO)
def test_a_stream_looks_a_table_up(kind, is_global, inputs):
    def build(app):
        stream = app.stream("left", key=str, value=int)
        if is_global:
            table, options = app.global_table("right", key=str, value=int), {"on": lambda k, v: k}
        else:
            table, options = app.table("right", key=str, value=int), {}
        join = stream.join if kind == "inner" else stream.left_join
        join(table, combine=pair, value=list, **options).to("out")

    result = run_all(build, inputs)
    rows: dict[str, int] = {}
    expected, dropped = [], 0
    for topic, key, value, timestamp in inputs:
        if topic == "right":
            dropped += key is None
            rows = oracles.table([(k, v, 0) for k, v in rows.items()] + [(key, value, timestamp)])
        elif value is None or (key is None and kind == "inner"):
            dropped += 1
        elif kind == "left" or key in rows:
            expected.append((key, [value, rows.get(key)], timestamp))
    assert result.outputs.get("out", []) == expected
    assert result.dropped == dropped


@pytest.mark.parametrize("kind", ["inner", "left", "outer"])
@quick
@given(inputs=TWO, before=st.integers(0, 12), after=st.integers(0, 12), grace=GRACE)
def test_a_join_of_streams(kind, inputs, before, after, grace):
    def build(app):
        left, right = (app.stream(topic, key=str, value=int) for topic in ("left", "right"))
        join = {"inner": left.join, "left": left.left_join, "outer": left.outer_join}[kind]
        window = hw.JoinWindow(before=ms(before), after=ms(after))
        join(right, window, grace=ms(grace), combine=pair, value=list).to("out")

    # Records of another key, far in the future, close every window.
    ends = [("left", "end", 0, 10_000), ("right", "end", 0, 10_000), ("left", "end", 0, 20_000)]
    result = run_all(build, inputs + ends)
    sides = [oracles.Side(topic == "left", *rest) for topic, *rest in inputs]
    expected, dropped = oracles.joined(sides, before, after, grace, kind)
    got = Counter(
        (key, left, right, timestamp) for key, (left, right), timestamp in result.outputs.get("out", []) if key != "end"
    )
    assert got == expected
    assert result.dropped == dropped


@quick
@given(inputs=TWO, before=st.integers(0, 12), after=st.integers(0, 12), grace=GRACE)
def test_no_record_is_called_unmatched_before_its_window_has_closed(inputs, before, after, grace):
    def build(app):
        left, right = (app.stream(topic, key=str, value=int) for topic in ("left", "right"))
        window = hw.JoinWindow(before=ms(before), after=ms(after))
        left.outer_join(right, window, grace=ms(grace), combine=pair, value=list).to("out")

    for end in range(1, len(inputs) + 1):
        now = max(record[3] for record in inputs[:end])
        for key, (left, right), timestamp in run(build, inputs[:end]).outputs.get("out", []):
            if key is not None and (left is None or right is None):
                assert timestamp + (after if right is None else before) + grace < now
