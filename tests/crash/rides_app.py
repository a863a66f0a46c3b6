"""The application that the crash tests kill: a windowed count, a fold in Python, a join and a repartition, on a directory."""

from __future__ import annotations

import sys

import headwater as hw


def build(broker: str | hw.Broker) -> hw.App:
    """Every kind of state: a window store, a key-value store behind a repartition topic, both sides of a left join."""
    app = hw.App("crash", broker=broker, commit_interval="5ms", batch_size=40)
    left = app.stream("left", key=str, value=str)
    right = app.stream("right", key=str, value=str)
    left.group_by_key().windowed_by(hw.TumblingWindow("1s", grace="500ms")).count(store="counts").to_stream().to(
        "counted"
    )
    left.group_by(lambda k, v: v[:1], key=str).aggregate(
        lambda: "", lambda k, v, a: (a + v)[-40:], value=str, store="folded"
    ).to_stream().to("folds")
    left.left_join(right, hw.JoinWindow("200ms"), grace="100ms", combine=lambda a, b: f"{a}|{b}", value=str).to(
        "joined"
    )
    return app


if __name__ == "__main__":
    build(sys.argv[1]).run(until="caught_up")
