"""What a user can get wrong is refused where it is written, in words that say what to do."""

from datetime import timedelta

import pytest

import headwater as hw


@pytest.fixture
def app():
    return hw.StreamsBuilder()


def stream(app, name="s", key=str):
    return app.stream(name, key=key, value=str)


def pair(left, right):
    return f"{left}{right}"


# --- windows ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: hw.TumblingWindow(10, grace="0s"), "10"),
        (lambda: hw.TumblingWindow("10s", grace=5), "5"),
        (lambda: hw.TumblingWindow("0s", grace="0s"), "longer than 0"),
        (lambda: hw.TumblingWindow(timedelta(0), grace="0s"), "longer than 0"),
        (lambda: hw.TumblingWindow("-1s", grace="0s"), "-1s"),
        (lambda: hw.HoppingWindow("10s", advance="0s", grace="0s"), "longer than 0"),
        (lambda: hw.HoppingWindow("10s", advance="11s", grace="0s"), "at most the size"),
        (lambda: hw.SessionWindow(gap=3, grace="0s"), "3"),
        (lambda: hw.SessionWindow(gap="-1ms", grace="0s"), "-1ms"),
        (lambda: hw.JoinWindow(7), "7"),
        (lambda: hw.JoinWindow(), "expected JoinWindow"),
        (lambda: hw.JoinWindow("1s", before="1s"), "expected JoinWindow"),
        (lambda: hw.JoinWindow(before="-2s", after="1s"), "0 or more"),
    ],
)
def test_windows(make, words):
    with pytest.raises(hw.InvalidArgumentError, match=words) as caught:
        make()
    assert isinstance(caught.value, ValueError)


def test_windows_of_a_later_release(app):
    grouped = stream(app).group_by_key()
    for window in (hw.SlidingWindow("1s", grace="0s"), hw.UnlimitedWindow()):
        with pytest.raises(hw.TopologyError, match="this release does not run"):
            grouped.windowed_by(window)
    with pytest.raises(hw.TopologyError, match="on_close"):
        grouped.windowed_by(hw.TumblingWindow("1s", grace="0s"), emit="on_close")
    with pytest.raises(hw.InvalidArgumentError, match="expected a window"):
        grouped.windowed_by("10s")


@pytest.mark.parametrize(
    ("window", "least"),
    [
        (hw.TumblingWindow("10s", grace="5s"), "size \\+ grace \\(15000ms\\)"),
        (hw.SessionWindow(gap="3s", grace="4s"), "gap \\+ grace \\(7000ms\\)"),
    ],
)
def test_a_retention_shorter_than_the_windows(app, window, least):
    windowed = stream(app).group_by_key().windowed_by(window)
    with pytest.raises(hw.InvalidArgumentError, match=f"retention to be at least {least}"):
        windowed.count(retention="1s")
    assert windowed.count(retention="1h").node.store.retention_ms == 3_600_000


# --- joins ------------------------------------------------------------------------------------------------------------


def test_streams_are_joined_in_a_window_with_a_grace(app):
    left, right = stream(app, "a"), stream(app, "b")
    with pytest.raises(hw.TopologyError, match="expected JoinWindow"):
        left.join(right, combine=pair)
    with pytest.raises(hw.TopologyError, match="expected grace="):
        left.join(right, hw.JoinWindow("1s"), combine=pair)
    with pytest.raises(hw.InvalidArgumentError, match="5"):
        left.join(right, hw.JoinWindow("1s"), grace=5, combine=pair)


def test_tables_are_joined_without_either(app):
    table = app.table("t", key=str, value=str)
    with pytest.raises(hw.TopologyError, match="expected no window for a Table"):
        stream(app).join(table, hw.JoinWindow("1s"), combine=pair)
    with pytest.raises(hw.TopologyError, match="got grace="):
        stream(app).join(table, grace="1s", combine=pair)
    with pytest.raises(hw.TopologyError, match="got on="):
        stream(app).join(table, on=lambda k, v: k, combine=pair)


def test_a_global_table_needs_a_key(app):
    everywhere = app.global_table("g", key=int, value=str)
    with pytest.raises(hw.TopologyError, match="expected on=fn"):
        stream(app).join(everywhere, combine=pair)


def test_outer_joins_are_for_streams(app):
    table, everywhere = app.table("t", key=str, value=str), app.global_table("g", key=str, value=str)
    for other in (table, everywhere):
        with pytest.raises(hw.TopologyError, match="has join and left_join"):
            stream(app).outer_join(other, None, combine=pair)


def test_a_joiner_is_needed_and_callable(app):
    table = app.table("t", key=str, value=str)
    with pytest.raises(hw.TopologyError, match="expected combine="):
        stream(app).join(table)
    with pytest.raises(hw.TopologyError, match="got 7"):
        stream(app).join(table, combine=7)


def test_keys_must_be_of_one_type(app):
    table = app.table("t", key=int, value=str)
    with pytest.raises(hw.TopologyError, match="got text and int64 - at join; use select_key"):
        stream(app).join(table, combine=pair)
    with pytest.raises(hw.TopologyError, match="got text and int64 - at outer_join"):
        stream(app).outer_join(stream(app, "n", int), hw.JoinWindow("1s"), grace="0s", combine=pair)
    with pytest.raises(hw.TopologyError, match="got int64 and text - at left_join"):
        table.left_join(app.table("u", key=str, value=str), combine=pair)


def test_both_sides_must_be_of_one_application(app):
    other = hw.StreamsBuilder()
    with pytest.raises(hw.TopologyError, match="belong to one application"):
        stream(app).join(other.table("t", key=str, value=str), combine=pair)
    with pytest.raises(hw.TopologyError, match="belong to one application"):
        stream(app).merge(stream(other))
    with pytest.raises(hw.TopologyError, match="belong to one application"):
        app.table("t", key=str, value=str).join(other.table("u", key=str, value=str), combine=pair)


def test_what_is_joined_must_be_a_stream_or_table(app):
    with pytest.raises(hw.TopologyError, match="expected a Stream, a Table or a GlobalTable, got 'zones'"):
        stream(app).join("zones", combine=pair)


# --- functions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "use",
    [
        lambda s: s.filter(True),
        lambda s: s.map("x"),
        lambda s: s.map_values(None),
        lambda s: s.flat_map(3),
        lambda s: s.select_key("zone"),
        lambda s: s.peek(1),
        lambda s: s.group_by("zone"),
        lambda s: s.group_by_key().reduce(0),
        lambda s: s.group_by_key().aggregate(0, lambda k, v, a: a),
        lambda s: s.group_by_key().aggregate(lambda: 0, "sum"),
        lambda s: s.to_table().filter("x"),
        lambda s: s.split(),
        lambda s: s.repartition(partitions=0),
        lambda s: s.select(),
        lambda s: s.select(amount=3),
        lambda s: s.group_by_key().agg(total="sum"),
    ],
)
def test_functions_and_expressions(app, use):
    with pytest.raises(hw.InvalidArgumentError, match=r"expected .* got"):
        use(stream(app))


def test_sessions_need_a_merger_and_nothing_else_does(app):
    grouped = stream(app).group_by_key()
    with pytest.raises(hw.InvalidArgumentError, match="merger"):
        grouped.windowed_by(hw.SessionWindow(gap="1s", grace="0s")).aggregate(lambda: 0, lambda k, v, a: a)
    with pytest.raises(hw.TopologyError, match="expected no merger"):
        grouped.windowed_by(hw.TumblingWindow("1s", grace="0s")).aggregate(
            lambda: 0, lambda k, v, a: a, merger=lambda k, a, b: a
        )


@pytest.mark.parametrize("name", ["", "a/b", "..", 7])
def test_topic_names(app, name):
    with pytest.raises(hw.InvalidArgumentError, match="expected a topic name"):
        app.stream(name, key=str, value=str)
    with pytest.raises(hw.InvalidArgumentError, match="expected a topic name"):
        stream(app).to(name)
