"""Durations, timestamps and clocks: everything becomes integer milliseconds here, once.

Durations are `timedelta` or strings of fixed-length units (``"10s"``, ``"1m30s"``, ``"1h 5m"``); a bare number is refused
because nobody can tell its unit. Timestamps are integer milliseconds since the epoch, UTC, or an aware `datetime`.
Nothing in the package reads the wall clock but through a `Clock`.
"""

from __future__ import annotations

import re
import time as _time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from headwater.errors import InvalidArgumentError

Duration = str | timedelta
Timestamp = int | datetime

_UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_PART = re.compile(r"\s*([0-9]+)\s*([a-z]+)\s*")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_MS = timedelta.max // timedelta(milliseconds=1)  # so that no sum of a few is more than 64 bits hold
_DIGITS = len(str(_LONGEST_MS))
_HINT = 'give a timedelta or a string such as "10s" or "1m30s"'


def parse_duration_ms(value: Duration, name: str = "duration", *, allow_negative: bool = False) -> int:
    """Turn a duration into milliseconds.

    Args:
        value: A `timedelta` or a string: digits and ``ms``, ``s``, ``m``, ``h``, ``d`` (24 h) or ``w``, combinable.
        name: The parameter's name, for the message.
        allow_negative: Accept ``"-5s"`` (a join window's bound).

    Returns:
        Whole milliseconds.

    Raises:
        InvalidArgumentError: A bare number, an unknown or calendar unit, a fraction of a millisecond, less than 0, or more
            than a `timedelta` holds.
    """
    if isinstance(value, timedelta):
        milliseconds, rest = divmod(value, timedelta(milliseconds=1))
        if rest:
            raise InvalidArgumentError(f"expected whole milliseconds, got {value!r} - at {name}; round it to 1 ms")
    elif isinstance(value, str):
        milliseconds = _parse(value, name)
    else:
        raise InvalidArgumentError(
            f"expected a duration with a unit, got {value!r} ({type(value).__name__}) - at {name}; {_HINT}"
        )
    if milliseconds < 0 and not allow_negative:
        raise InvalidArgumentError(f"expected a duration of 0 or more, got {value!r} - at {name}; drop the sign")
    return milliseconds


def _parse(text: str, name: str) -> int:
    body = text.strip()
    sign = -1 if body.startswith("-") else 1
    body = body[1:] if sign < 0 else body
    total, position = 0, 0
    while position < len(body):
        part = _PART.match(body, position)
        if part is None:
            break
        if part[2] not in _UNIT_MS:
            extra = "; calendar units have no fixed length" if part[2] in {"mo", "q", "y"} else ""
            raise InvalidArgumentError(
                f"expected a unit among ms, s, m, h, d, w, got {part[2]!r} in {text!r} - at {name}{extra}; {_HINT}"
            )
        digits = part[1].lstrip("0")
        total += int(digits or "0") * _UNIT_MS[part[2]] if len(digits) <= _DIGITS else _LONGEST_MS + 1
        position = part.end()
    if not body or position < len(body):
        raise InvalidArgumentError(f"expected a duration with a unit, got {text!r} - at {name}; {_HINT}")
    if total > _LONGEST_MS:
        raise InvalidArgumentError(
            f"expected a duration of at most {timedelta.max.days} days, got {text[:40]!r} - at {name}; give a shorter one"
        )
    return sign * total


def to_timestamp_ms(value: Timestamp, name: str = "timestamp") -> int:
    """Turn a timestamp into milliseconds since the epoch, UTC.

    Args:
        value: Integer milliseconds, or a `datetime` with a time zone (rounded down to 1 ms).
        name: The parameter's name, for the message.

    Returns:
        Milliseconds since 1970-01-01T00:00Z.

    Raises:
        InvalidArgumentError: A naive `datetime`, another type, or more than 64 bits hold.
    """
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise InvalidArgumentError(
                f"expected an aware datetime, got {value!r} - at {name}; add tzinfo=timezone.utc"
            )
        return (value - _EPOCH) // timedelta(milliseconds=1)
    if isinstance(value, int) and not isinstance(value, bool):
        if -(1 << 63) <= value < 1 << 63:
            return value
        raise InvalidArgumentError(
            f"expected milliseconds that 64 bits hold, got a number of {value.bit_length()} bits - at {name}; "
            "divide finer units down to milliseconds"
        )
    raise InvalidArgumentError(
        f"expected int milliseconds or an aware datetime, got {value!r} ({type(value).__name__}) - at {name}; "
        "multiply seconds by 1000"
    )


class Clock(Protocol):
    """Where processing time comes from."""

    def now_ms(self) -> int:
        """Return milliseconds since the epoch, UTC."""
        ...


class SystemClock:
    """The machine's wall clock."""

    def now_ms(self) -> int:
        """Return milliseconds since the epoch, UTC."""
        return _time.time_ns() // 1_000_000

    def __repr__(self) -> str:
        return "SystemClock()"


class ManualClock:
    """A clock that moves when told to, for tests."""

    def __init__(self, now_ms: int = 0) -> None:
        """Start at a given instant.

        Args:
            now_ms: Milliseconds since the epoch.
        """
        self._now_ms = now_ms

    def now_ms(self) -> int:
        """Return milliseconds since the epoch, UTC."""
        return self._now_ms

    def advance(self, duration: Duration) -> None:
        """Move forward.

        Args:
            duration: How far, e.g. ``"10s"``.
        """
        self._now_ms += parse_duration_ms(duration)

    def set(self, timestamp: Timestamp) -> None:
        """Jump to an instant.

        Args:
            timestamp: Where to.
        """
        self._now_ms = to_timestamp_ms(timestamp)

    def __repr__(self) -> str:
        return f"ManualClock({self._now_ms})"
