"""What follows from the nodes alone: stores, old values, null keys, sub-topologies, and the words for them."""

import re

import pytest

import headwater as hw
from headwater.topology import nodes as n
from headwater.topology.words import duration


@pytest.fixture
def app():
    return hw.StreamsBuilder()


def table(app, name="t", **options):
    return app.table(name, key=str, value=str, **options)


def stream(app, name="s"):
    return app.stream(name, key=str, value=str)


def pair(left, right):
    return f"{left}{right}"


def always(key, value):
    return True


class TestStores:
    def test_a_table_nobody_reads_has_none(self, app):
        source = table(app)
        source.to_stream().to("out")
        assert app.build().materialized(source.node) is None

    def test_a_named_table_has_one(self, app):
        source = table(app, store="mine")
        assert app.build().materialized(source.node).name == "mine"
        assert app.build().store_names == ["mine"]

    def test_a_join_gives_one_to_the_table_it_reads_through_a_filter(self, app):
        source = table(app)
        filtered = source.filter(always)
        stream(app).join(filtered, combine=pair)
        topology = app.build()
        assert topology.materialized(source.node) is not None
        assert topology.materialized(filtered.node) is None

    def test_grouping_asks_for_old_values_and_so_gives_one(self, app):
        source = table(app)
        filtered = source.filter(always)
        filtered.group_by(lambda k, v: (v, v)).count()
        topology = app.build()
        assert topology.materialized(source.node) is not None
        assert topology.sends_old(source.node) and topology.sends_old(filtered.node)

    def test_a_filter_asks_for_old_values_but_not_with_force(self, app):
        bare, named = table(app, "a"), table(app, "b", store="b")
        over_bare, over_named = bare.filter(always), named.filter(always)
        topology = app.build()
        assert not topology.sends_old(over_bare.node) and topology.materialized(bare.node) is None
        assert topology.sends_old(over_named.node) and topology.sends_old(named.node)

    @pytest.mark.parametrize(("kind", "asks"), [("join", (0, 0)), ("left_join", (1, 0)), ("outer_join", (1, 1))])
    def test_joins_of_tables_ask_the_sides_that_may_lack_a_partner(self, app, kind, asks):
        left, right = table(app, "a"), table(app, "b")
        getattr(left, kind)(right, combine=pair)
        topology = app.build()
        assert (topology.sends_old(left.node), topology.sends_old(right.node)) == asks


class TestNullKeys:
    @pytest.mark.parametrize(("kind", "keeps"), [("join", False), ("left_join", True)])
    def test_a_left_join_below_lets_them_through_a_repartition(self, app, kind, keeps):
        source = stream(app).select_key(lambda k, v: v)
        getattr(source, kind)(table(app), combine=pair).to("out")
        topology = app.build()
        (repartition,) = (node for node in topology.nodes if isinstance(node, n.Repartition))
        assert topology.keeps_null_keys(repartition) is keeps

    def test_a_left_join_of_tables_does_not(self, app):
        repartitioned = stream(app).select_key(lambda k, v: v).to_table()
        repartitioned.left_join(table(app), combine=pair)
        topology = app.build()
        (repartition,) = (node for node in topology.nodes if isinstance(node, n.Repartition))
        assert not topology.keeps_null_keys(repartition)


class TestSubTopologies:
    def test_a_repartition_topic_divides(self, app):
        stream(app).group_by(lambda k, v: v).count().to_stream().to("out")
        assert len(app.build().sub_topologies()) == 2

    def test_a_join_unites(self, app):
        stream(app, "a").join(table(app, "b"), combine=pair).to("out")
        assert len(app.build().sub_topologies()) == 1

    def test_unconnected_streams_are_apart(self, app):
        stream(app, "a").to("x")
        stream(app, "b").to("y")
        assert len(app.build().sub_topologies()) == 2


def everything():
    app = hw.StreamsBuilder()
    rides, other = stream(app, "rides"), stream(app, "other")
    zones = app.global_table("zones", key=str, value=str)
    grouped = rides.filter(always).group_by(lambda k, v: v, key=str)
    grouped.windowed_by(hw.TumblingWindow("10s", grace="5s")).count(store="counts").to_stream().to("out")
    joined = rides.join(other, hw.JoinWindow("10m"), grace="90s", combine=pair)
    small, _ = joined.split(always, default=True)
    small.left_join(zones, on=lambda k, v: k, combine=pair).to("joined")
    return app.build()


def test_verbose_adds_types_windows_and_stores_to_kafkas_text():
    topology = everything()
    plain, verbose = topology.describe(), topology.describe(verbose=True)
    assert verbose.startswith(plain)
    added = verbose.removeprefix(plain)
    assert "count; windowed[text, 10000ms] -> int64; tumbling 10s, grace 5s; store counts" in added
    assert "join; text -> inferred; 10m before, 10m after, grace 1m30s" in added
    assert "topic counts-repartition; null keys end here" in added
    assert added.endswith("record by record instead of in batches: none\n")


def test_the_chart_declares_whatever_its_arrows_connect():
    chart = everything().mermaid()
    assert chart.startswith("flowchart TD\n")
    declared = set(re.findall(r"^ +(\w+)\[", chart, re.MULTILINE))
    connected = set(re.findall(r"^  (\w+) -[-.]+>? \w+$", chart, re.MULTILINE))
    connected |= set(re.findall(r"^  \w+ -[-.]+>? (\w+)$", chart, re.MULTILINE))
    assert connected <= declared
    assert chart.count("subgraph") == chart.count("\n  end")
    for words in (
        '[/"rides"/]',
        '[/"counts-repartition"/]',
        '[("counts")]',
        "tumbling 10s, grace 5s",
        "default branch",
    ):
        assert words in chart


def test_a_topic_that_is_written_and_read_is_drawn_once():
    app = hw.StreamsBuilder()
    stream(app, "a").to("b")
    stream(app, "b").to("c")
    assert app.build().mermaid().count('[/"b"/]') == 1


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "0s"), (7, "7ms"), (90_000, "1m30s"), (86_400_000, "1d"), (3_600_001, "1h1ms"), (-5_000, "-5s")],
)
def test_durations_in_words(milliseconds, text):
    assert duration(milliseconds) == text
