"""Names as Kafka Streams gives them, and those that it refuses."""

import pytest

import headwater as hw


@pytest.fixture
def app():
    return hw.StreamsBuilder()


def stream(app, topic="s", **options):
    return app.stream(topic, key=str, value=str, **options)


def names(app):
    return [node.name for node in app.build().nodes]


def test_operators_are_numbered_in_order(app):
    stream(app).filter(lambda k, v: True).map_values(str.upper).to("out")
    assert names(app) == [
        "KSTREAM-SOURCE-0000000000", "KSTREAM-FILTER-0000000001", "KSTREAM-MAPVALUES-0000000002",
        "KSTREAM-SINK-0000000003",
    ]  # fmt: skip


def test_a_given_name_burns_its_number(app):
    stream(app, name="source").filter(lambda k, v: True, name="keep").to("out")
    assert names(app) == ["source", "keep", "KSTREAM-SINK-0000000002"]


def test_a_repartition_topic_is_named_after_group_store_or_operator(app):
    rekeyed = stream(app).select_key(lambda k, v: v)
    rekeyed.group_by_key(name="mine").count()
    rekeyed.group_by_key().count(store="counts")
    rekeyed.repartition(name="again")
    topics = {node.topic for node in app.build().nodes if type(node).__name__ == "Repartition"}
    assert topics == {"mine-repartition", "counts-repartition", "again-repartition"}


def test_joins_without_a_name_share_a_repartition_topic(app):
    rekeyed, other = stream(app).select_key(lambda k, v: v), stream(app, "other")
    window = hw.JoinWindow("1s")
    for _ in range(2):
        rekeyed.join(other, window, grace="0s", combine=lambda a, b: a)
    rekeyed.join(other, window, grace="0s", combine=lambda a, b: a, name="third")
    topology = app.build()
    topics = [node.topic for node in topology.nodes if type(node).__name__ == "Repartition"]
    assert topics == ["KSTREAM-KEY-SELECT-0000000001-repartition", "third-left-repartition"]
    # The second join burned three numbers for the topic that it shares.
    assert "KSTREAM-WINDOWED-0000000014" in topology.describe()


def test_streams_of_one_topic_are_one_source(app):
    assert stream(app).node is stream(app).node
    assert app.stream("s", key=str, value=int).node is not stream(app).node


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "ä", "x" * 250, 7])
def test_illegal_names_are_refused(app, name):
    with pytest.raises(hw.TopologyError, match="expected a name of 1 to 249 characters"):
        stream(app, name=name)


def test_b02_a_name_is_given_once(app):
    stream(app, name="mine")
    with pytest.raises(hw.TopologyError, match="'mine' twice"):
        stream(app, "other", name="mine")


def test_b02_a_store_name_is_given_once(app):
    stream(app).group_by_key().count(store="mine")
    with pytest.raises(hw.TopologyError, match="'mine' twice"):
        stream(app).group_by_key().count(store="mine")


def test_a_topic_is_read_in_one_way(app):
    stream(app, "t")
    with pytest.raises(hw.TopologyError, match=r"expected topic 't' to be read in one way, got table and stream"):
        app.table("t", key=str, value=str)
    app.table("u", key=str, value=str)
    for read in (app.table, app.global_table, app.stream):
        with pytest.raises(hw.TopologyError, match="read in one way"):
            read("u", key=str, value=str)
    app.stream("a", "b", key=str, value=str)
    with pytest.raises(hw.TopologyError, match="read in one way"):
        app.stream("b", "c", key=str, value=str)
