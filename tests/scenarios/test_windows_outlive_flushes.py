"""A window that opens, closes and expires between two cache flushes is still sent, once, with its final value."""

from __future__ import annotations

import pytest

import headwater as hw


@pytest.mark.parametrize("cache", ["0", "10MB"])
@pytest.mark.parametrize("batch_size", [10, 1_000])
def test_every_window_is_sent_however_rarely_caches_flush(cache: str, batch_size: int) -> None:
    windows = 500
    with hw.open("memory:") as broker:
        broker.create_topic("ticks", key=str, value=str)
        broker.send_many("ticks", [("a", "x", second * 500) for second in range(2 * windows)])
        app = hw.App("ticking", broker=broker, cache=cache, batch_size=batch_size, commit_interval="1h")
        ticks = app.stream("ticks", key=str, value=str).group_by_key()
        ticks.windowed_by(hw.TumblingWindow("1s", grace="0s")).count().to_stream().to("counts")
        app.run(until="caught_up")
        last = broker.read_frame("counts").unique("window_start", keep="last", maintain_order=True)
        assert last["value"].to_list() == [2] * windows
