"""Durations and timestamps become whole milliseconds, or an error that shows the offending value."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from headwater import InvalidArgumentError, ManualClock
from headwater.time import SystemClock, parse_duration_ms, to_timestamp_ms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10s", 10_000),
        ("1m30s", 90_000),
        ("1h 5m", 3_900_000),
        ("250ms", 250),
        ("2d", 172_800_000),
        ("1w", 604_800_000),
        ("0s", 0),
        (datetime.timedelta(seconds=1.5), 1500),
    ],
)
def test_durations(text: Any, expected: int) -> None:
    assert parse_duration_ms(text, "size") == expected


@pytest.mark.parametrize(
    "bad", [10, 10.5, None, "10", "", "s", "1x", "1mo", "1.5s", "-5s", datetime.timedelta(microseconds=5), True]
)
def test_a_duration_that_is_none_is_shown_in_the_message(bad: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        parse_duration_ms(bad, "grace")
    assert str(bad) in str(caught.value) or repr(bad) in str(caught.value)
    assert "grace" in str(caught.value)


def test_a_negative_bound_is_possible_where_asked_for() -> None:
    assert parse_duration_ms("-5s", "before", allow_negative=True) == -5000


def test_timestamps() -> None:
    aware = datetime.datetime(1970, 1, 1, 0, 0, 1, tzinfo=datetime.UTC)
    assert to_timestamp_ms(aware) == 1000
    assert to_timestamp_ms(-5) == -5
    for bad in (aware.replace(tzinfo=None), 1.5, "now", True):
        with pytest.raises(InvalidArgumentError, match="timestamp"):
            to_timestamp_ms(bad)  # type: ignore[arg-type]


def test_a_manual_clock_moves_when_told_to() -> None:
    clock = ManualClock(5)
    clock.advance("1s")
    assert clock.now_ms() == 1005
    clock.set(7)
    assert clock.now_ms() == 7
    assert SystemClock().now_ms() > 1_600_000_000_000


@pytest.mark.parametrize("text", ["9223372036854775808ms", "9" * 5000 + "s", "86400000000000s", "-86400000000000s"])
def test_b04_a_duration_that_sums_could_not_hold_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"at most 999999999 days.* - at size"):
        parse_duration_ms(text, "size", allow_negative=True)
    assert parse_duration_ms("999999999d") == 999_999_999 * 86_400_000


@pytest.mark.parametrize("timestamp", [2**63, -(2**63) - 1, 2**100])
def test_a04_a_timestamp_of_more_than_64_bits_is_refused(timestamp: int) -> None:
    with pytest.raises(InvalidArgumentError, match="milliseconds that 64 bits hold"):
        to_timestamp_ms(timestamp)
    assert to_timestamp_ms(2**63 - 1) == 2**63 - 1
