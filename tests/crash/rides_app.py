"""The application that the crash tests kill: a windowed count, a fold in Python, a join and a repartition, on a directory."""

from __future__ import annotations

import sys
from typing import Literal

import headwater as hw

Guarantee = Literal["at_least_once", "exactly_once"]


def build(broker: str | hw.Broker, guarantee: Guarantee = "at_least_once") -> hw.App:
    """Every kind of state: a window store, a key-value store behind a repartition topic, both sides of a left join.

    With ``exactly_once`` every update is an output, so that outputs do not depend on when commits are.
    """
    cache = "0" if guarantee == "exactly_once" else "10MB"
    app = hw.App(
        "crash", broker=broker, commit_interval="5ms", batch_size=40, cache=cache, processing_guarantee=guarantee
    )
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
    build(sys.argv[1], "exactly_once" if "exactly_once" in sys.argv else "at_least_once").run(until="caught_up")
