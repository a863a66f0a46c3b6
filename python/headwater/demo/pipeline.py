"""The demo's application: three questions to the stream of flights, in one topology.

::

    flights ──┬── 1 h windows ── agg ───────────────────────────────▶ departures-per-hour
              └── join ── join ──┬──────────────────────────────────▶ flights-with-weather
    weather ───────┘       │     └── by carrier ── agg ─────────────▶ delays-per-carrier
    airlines (global table)┘

Grace is a day: a flight is published when it departs, at most a day after the hour that it was scheduled for, so nothing
is late; change it to an hour and see what is.
"""

from __future__ import annotations

import msgspec

from headwater.demo.data import Airline, Flight, Weather
from headwater.dsl import JoinWindow, TumblingWindow
from headwater.log import Broker
from headwater.runtime import App

HOURLY = "departures-per-hour"
JOINED = "flights-with-weather"
CARRIERS = "delays-per-carrier"
GRACE = "1d"


class FlightInWeather(msgspec.Struct, frozen=True):
    """A flight with the weather at its origin in the hour of its scheduled departure."""

    carrier: str
    flight: int
    origin: str
    dest: str
    dep_delay: int | None
    temp: float | None
    wind_speed: float | None
    precip: float | None
    visib: float | None
    airline: str = ""


class CarrierDelays(msgspec.Struct, frozen=True):
    """What `delays-per-carrier` holds for an airline."""

    flights: int
    mean_delay: float | None
    mean_delay_in_rain: float | None


def with_weather(flight: Flight, weather: Weather) -> FlightInWeather:
    """Join a flight with the weather at its origin."""
    return FlightInWeather(
        carrier=flight.carrier,
        flight=flight.flight,
        origin=flight.origin,
        dest=flight.dest,
        dep_delay=flight.dep_delay,
        temp=weather.temp,
        wind_speed=weather.wind_speed,
        precip=weather.precip,
        visib=weather.visib,
    )


def with_airline(flight: FlightInWeather, airline: Airline) -> FlightInWeather:
    """Join a flight with the name of its carrier."""
    return msgspec.structs.replace(flight, airline=airline.name)


def build(broker: Broker | str) -> App:
    """The application, not yet running.

    Args:
        broker: Where the topics live.
    """
    import polars as pl

    app = App("flights-demo", broker=broker)
    flights = app.stream("flights", key=str, value=Flight)
    weather = app.stream("weather", key=str, value=Weather)
    airlines = app.global_table("airlines", key=str, value=Airline)

    (
        flights.group_by_key()
        .windowed_by(TumblingWindow("1h", grace=GRACE))
        .agg(
            flights=pl.len(),
            mean_delay=pl.col("dep_delay").mean(),
            p95_delay=pl.col("dep_delay").quantile(0.95),
            cancelled=pl.col("dep_time").is_null().mean(),
        )
        .to_stream()
        .to(HOURLY)
    )

    # An observation is taken on the hour and holds for the hour; scheduled departures are whole minutes.
    in_weather = flights.join(weather, JoinWindow(before="59m", after="0s"), grace=GRACE, combine=with_weather)
    named = in_weather.join(airlines, on=lambda origin, flight: flight.carrier, combine=with_airline)
    named.to(JOINED)

    (
        named.group_by(lambda origin, flight: flight.airline, key=str)
        .agg(
            flights=pl.len(),
            mean_delay=pl.col("dep_delay").mean(),
            mean_delay_in_rain=pl.col("dep_delay").filter(pl.col("precip") > 0).mean(),
            into=CarrierDelays,
            store="carriers",
        )
        .to_stream()
        .to(CARRIERS)
    )
    return app
