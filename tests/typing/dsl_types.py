"""What type checkers infer of topologies. Never run: `test_dsl_types.py` has mypy and pyright check it."""

from typing import Any, assert_type

import msgspec
import polars as pl

import headwater as hw


class Ride(msgspec.Struct):
    zone: str
    amount: float


class Zone(msgspec.Struct):
    name: str


class Named(msgspec.Struct):
    zone: str
    amount: float


class Total(msgspec.Struct):
    trips: int


app = hw.StreamsBuilder()
rides = app.stream("rides", key=str, value=Ride)
zones = app.table("zones", key=str, value=Zone)
everywhere = app.global_table("everywhere", key=int, value=Zone)
topic = hw.Topic("typed", key=hw.serdes.text(), value=hw.serdes.json(Ride))

# --- sources ----------------------------------------------------------------------------------------------------------
assert_type(rides, hw.Stream[str, Ride])
assert_type(zones, hw.Table[str, Zone])
assert_type(everywhere, hw.GlobalTable[int, Zone])
assert_type(app.stream(topic), hw.Stream[str, Ride])
assert_type(app.table(topic), hw.Table[str, Ride])
assert_type(app.stream("raw"), hw.Stream[bytes, bytes])
assert_type(app.stream("halves", key=hw.serdes.text(), value=int), hw.Stream[str, int])
assert_type(app.stream("values", value=Ride), hw.Stream[bytes, Ride])

# --- record by record -------------------------------------------------------------------------------------------------
assert_type(rides.filter(lambda k, v: v.amount > 1), hw.Stream[str, Ride])
assert_type(rides.filter(pl.col("amount") > 1), hw.Stream[str, Ride])
assert_type(rides.map(lambda k, v: (v.zone, v.amount)), hw.Stream[str, float])
assert_type(rides.map_values(lambda v: v.amount), hw.Stream[str, float])
assert_type(rides.map_values(lambda k, v: (k, v.amount), with_key=True), hw.Stream[str, tuple[str, float]])
assert_type(rides.flat_map(lambda k, v: [(v.zone, v.amount)]), hw.Stream[str, float])
assert_type(rides.flat_map_values(lambda v: [v.amount]), hw.Stream[str, float])
assert_type(rides.select_key(lambda k, v: v.amount), hw.Stream[float, Ride])
assert_type(rides.select(amount=pl.col("amount")), hw.Stream[str, dict[str, Any]])
assert_type(rides.peek(lambda k, v: print(k)), hw.Stream[str, Ride])
assert_type(rides.split(lambda k, v: v.amount > 1, default=True), list[hw.Stream[str, Ride]])
assert_type(rides.merge(rides), hw.Stream[str, Ride])
assert_type(rides.repartition(partitions=3), hw.Stream[str, Ride])

# --- aggregations -----------------------------------------------------------------------------------------------------
assert_type(rides.group_by_key().count(), hw.Table[str, int])
assert_type(rides.group_by(lambda k, v: v.amount).count(), hw.Table[float, int])
assert_type(rides.group_by_key().reduce(lambda a, b: b), hw.Table[str, Ride])
assert_type(rides.group_by_key().aggregate(lambda: 0.0, lambda k, v, a: a + v.amount), hw.Table[str, float])
windowed = rides.group_by_key().windowed_by(hw.TumblingWindow("10s", grace="5s"))
assert_type(windowed.count(), hw.Table[hw.Windowed[str], int])
assert_type(windowed.agg(trips=pl.len()), hw.Table[hw.Windowed[str], dict[str, Any]])
assert_type(windowed.agg(trips=pl.len(), store="trips", into=Total), hw.Table[hw.Windowed[str], Total])
assert_type(windowed.count().to_stream(), hw.Stream[hw.Windowed[str], int])
assert_type(windowed.count().to_stream(lambda k, v: k.key), hw.Stream[str, int])

# --- tables -----------------------------------------------------------------------------------------------------------
assert_type(zones.filter(lambda k, v: v.name != ""), hw.Table[str, Zone])
assert_type(zones.map_values(lambda v: v.name), hw.Table[str, str])
assert_type(zones.to_stream(), hw.Stream[str, Zone])
assert_type(rides.to_table(), hw.Table[str, Ride])
by_name = zones.group_by(lambda k, v: (v.name, 1))
assert_type(by_name, hw.GroupedTable[str, int])
assert_type(by_name.count(), hw.Table[str, int])
assert_type(by_name.reduce(lambda a, b: a + b, lambda a, b: a - b), hw.Table[str, int])

# --- joins ------------------------------------------------------------------------------------------------------------


def named(ride: Ride, zone: Zone) -> Named:
    return Named(zone.name, ride.amount)


def named_or_not(ride: Ride, zone: Zone | None) -> Named:
    return Named("?" if zone is None else zone.name, ride.amount)


def both(left: Ride | None, right: Ride | None) -> bool:
    return left is not None and right is not None


ten = hw.JoinWindow("10m")
assert_type(rides.join(rides, ten, grace="5m", combine=lambda a, b: a.amount + b.amount), hw.Stream[str, float])
assert_type(rides.outer_join(rides, ten, grace="5m", combine=both), hw.Stream[str, bool])
assert_type(rides.join(zones, combine=named), hw.Stream[str, Named])
assert_type(rides.left_join(zones, combine=named_or_not), hw.Stream[str, Named])
assert_type(rides.join(everywhere, on=lambda k, v: int(v.zone), combine=named), hw.Stream[str, Named])
assert_type(
    rides.join(zones, combine={"zone": pl.col("right.name"), "amount": pl.col("left.amount")}),
    hw.Stream[str, dict[str, Any]],
)
assert_type(
    rides.join(zones, combine=lambda k, ride, zone: (k, zone.name), with_key=True), hw.Stream[str, tuple[str, str]]
)
assert_type(zones.join(rides.to_table(), combine=lambda zone, ride: ride.amount), hw.Table[str, float])
assert_type(zones.outer_join(rides.to_table(), combine=lambda zone, ride: zone is None), hw.Table[str, bool])

# --- what must not pass -----------------------------------------------------------------------------------------------
rides.left_join(zones, combine=named)  # type: ignore[arg-type]  # pyright: ignore
numbered = app.stream("numbered", key=int, value=Zone)
rides.join(numbered, ten, grace="0s", combine=named)  # type: ignore[arg-type]  # pyright: ignore
rides.filter(lambda k, v: v.nothing)  # type: ignore[attr-defined]  # pyright: ignore
