"""Random topologies of many operators give the same at every batch size; and those that once did not, by name."""

import random

import pytest

import headwater as hw
from tests.property.runs import BATCH_SIZES, run


def text(value):
    return "" if value is None else str(value)


class Maker:
    """Grows a topology of string streams and tables at random."""

    def __init__(self, app, seed):
        self.random = random.Random(seed)
        self.streams = [app.stream(topic, key=str, value=int).map_values(text, value=str) for topic in ("a", "b", "a")]
        self.tables = [app.table("t", key=str, value=int).map_values(text, value=str)]
        self.windowed = []

    def grow(self):
        choose = self.random.choice
        stream, other, table, second = (
            choose(self.streams),
            choose(self.streams),
            choose(self.tables),
            choose(self.tables),
        )
        number = self.random.randrange(14)
        window = choose([
            hw.TumblingWindow("10ms", grace="3ms"), hw.HoppingWindow("10ms", advance="4ms", grace="0ms"),
            hw.SessionWindow(gap="3ms", grace="5ms"),
        ])  # fmt: skip
        bounds, grace = hw.JoinWindow(before="3ms", after="7ms"), choose(["0ms", "5ms"])
        combine = {"combine": lambda left, right: f"{text(left)}|{text(right)}", "value": str}
        match number:
            case 0:
                self.streams.append(stream.filter(lambda k, v: len(v) % 3 != 0))
            case 1:
                self.streams.append(stream.flat_map_values(lambda v: [v, v + "'"], value=str))
            case 2:
                self.streams.append(stream.select_key(lambda k, v: v[:1], key=str))
            case 3:
                self.streams += stream.split(lambda k, v: v > "4", default=True)
            case 4:
                self.streams.append(stream.merge(other))
            case 5:
                self.tables.append(stream.to_table())
            case 6:
                counted = stream.group_by_key().count()
                self.tables.append(counted.map_values(text, value=str))
            case 7:
                self.windowed.append(stream.group_by_key().windowed_by(window).count())
            case 8:
                self.tables.append(stream.group_by_key().reduce(lambda a, v: f"{a},{v}"[-9:]))
            case 9:
                join = choose([stream.join, stream.left_join, stream.outer_join])
                self.streams.append(join(other, bounds, grace=grace, **combine))
            case 10:
                self.streams.append(choose([stream.join, stream.left_join])(table, **combine))
            case 11:
                self.tables.append(choose([table.join, table.left_join, table.outer_join])(second, **combine))
            case 12:
                self.tables.append(table.filter(lambda k, v: "1" not in v))
            case 13:
                grouped = table.group_by(lambda k, v: (v[:1], v), key=str, value=str)
                self.tables.append(grouped.count().map_values(text, value=str))

    def finish(self):
        for number, stream in enumerate(self.streams):
            stream.to(f"s{number}")
        for number, table in enumerate([*self.tables, *self.windowed]):
            table.to_stream().to(f"t{number}")


def build(seed):
    def make(app):
        maker = Maker(app, seed)
        for _ in range(maker.random.randint(2, 8)):
            maker.grow()
        maker.finish()

    return make


def inputs(seed):
    source = random.Random(seed)
    now, records = 0, []
    for _ in range(40):
        now += source.choice([0, 1, 2, 9])
        value = source.choice([*range(12), None])
        topic = source.choice("abt")
        key = source.choice(["x", "y", "z", None])
        if topic != "t" and value is None:
            value = 3
        records.append((topic, key, value, max(0, now - source.choice([0, 0, 0, 2, 8, 15]))))
    return records


@pytest.mark.parametrize("cache", ["0", "10MB"])
@pytest.mark.parametrize("first", range(0, 100, 10))
def test_the_batch_size_does_not_show(first, cache):
    for seed in range(first, first + 10):
        one, *others = (run(build(seed), inputs(seed), cache=cache, batch_size=size) for size in BATCH_SIZES)
        for other in others:
            assert other == one, f"seed {seed}"


# --- found by random topologies ---------------------------------------------------------------------------------------


def test_a_row_finds_what_it_wrote_itself():
    def make(app):
        table = app.table("t", key=str, value=int)
        mapped = table.map_values(lambda v: v * 10, value=int)
        table.outer_join(mapped, combine=lambda a, b: f"{a}|{b}", value=str).to_stream().to("out")

    for size in BATCH_SIZES:
        assert run(make, [("t", "k", 4, 0)], batch_size=size).outputs["out"] == [("k", "4|40", 0), ("k", "4|40", 0)]


def test_old_values_end_where_nobody_wants_them():
    def make(app):
        counted = app.stream("a", key=str, value=int).group_by_key().count()
        filtered = counted.filter(lambda k, v: v > 0)
        filtered.map_values(lambda v: f"{v}!", value=str).to_stream().to("out")

    assert run(make, [("a", "k", 4, 0)]).outputs["out"] == [("k", "1!", 0)]


def test_children_of_one_topic_are_served_in_the_order_of_their_creation():
    def make(app):
        first, second = (app.stream("a", key=str, value=int) for _ in range(2))
        second.map_values(lambda v: 2, value=int).to("out")
        first.map_values(lambda v: 1, value=int).to("out")

    assert [value for _, value, _ in run(make, [("a", "k", 4, 0)]).outputs["out"]] == [2, 1]


def test_windowed_keys_are_aggregated_again():
    def make(app):
        window = hw.SessionWindow(gap="3ms", grace="3ms")
        counted = app.stream("a", key=str, value=int).group_by_key().windowed_by(window).count()
        counted.to_stream().group_by_key().count(store="store")

    assert run(make, [("a", "k", 4, 7)]).store == {("k", 7, 7): 1}


def test_a_repartition_topic_that_nobody_reads_is_no_output():
    def make(app):
        app.stream("a", key=str, value=int).repartition()

    assert run(make, [("a", "k", 4, 7)]).outputs == {}
