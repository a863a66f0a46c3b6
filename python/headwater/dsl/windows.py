"""Window definitions: what users write, checked and turned into milliseconds at once."""

from __future__ import annotations

from headwater.errors import InvalidArgumentError
from headwater.time import Duration, Timestamp, parse_duration_ms, to_timestamp_ms
from headwater.topology import nodes as n


def _positive(value: Duration, name: str) -> int:
    milliseconds = parse_duration_ms(value, name)
    if milliseconds <= 0:
        raise InvalidArgumentError(f"expected {name} to be longer than 0, got {value!r}; give at least 1 ms")
    return milliseconds


class Window:
    """Base of the windows that aggregations take."""

    spec: n.WindowSpec

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.spec})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Window) and self.spec == other.spec

    def __hash__(self) -> int:
        return hash(self.spec)


class TumblingWindow(Window):
    """Windows ``[start, start + size)`` one behind the other, aligned to the epoch.

    A window is closed, and a record for it late, once stream time reaches ``end + grace``.
    """

    def __init__(self, size: Duration, *, grace: Duration) -> None:
        """Define the windows.

        Args:
            size: Length, e.g. ``"10s"``.
            grace: How long after its end a window still admits records; ``"0s"`` admits none.

        Raises:
            InvalidArgumentError: A bare number, or a size of 0.
        """
        size_ms = _positive(size, "TumblingWindow(size=)")
        self.spec = n.TimeWindows(
            size_ms=size_ms, advance_ms=size_ms, grace_ms=parse_duration_ms(grace, "TumblingWindow(grace=)")
        )


class HoppingWindow(Window):
    """Windows ``[start, start + size)`` that start every `advance` and overlap, aligned to the epoch."""

    def __init__(self, size: Duration, *, advance: Duration, grace: Duration) -> None:
        """Define the windows.

        Args:
            size: Length.
            advance: Distance between starts, at most the length.
            grace: How long after its end a window still admits records.

        Raises:
            InvalidArgumentError: A bare number, a size or advance of 0, or an advance longer than the size.
        """
        size_ms, advance_ms = _positive(size, "HoppingWindow(size=)"), _positive(advance, "HoppingWindow(advance=)")
        if advance_ms > size_ms:
            raise InvalidArgumentError(
                f"expected advance to be at most the size {size!r}, got {advance!r} - at HoppingWindow; "
                "windows that leave gaps would lose records"
            )
        self.spec = n.TimeWindows(
            size_ms=size_ms, advance_ms=advance_ms, grace_ms=parse_duration_ms(grace, "HoppingWindow(grace=)")
        )


class SessionWindow(Window):
    """Sessions: records at most `gap` apart, ``[start, end]`` both inclusive."""

    def __init__(self, *, gap: Duration, grace: Duration) -> None:
        """Define the sessions.

        Args:
            gap: Largest distance between records of a session; ``"0s"`` joins records of the same instant only.
            grace: How long a session that no record can extend any more still admits records.

        Raises:
            InvalidArgumentError: A bare number.
        """
        self.spec = n.SessionWindows(
            gap_ms=parse_duration_ms(gap, "SessionWindow(gap=)"),
            grace_ms=parse_duration_ms(grace, "SessionWindow(grace=)"),
        )


class SlidingWindow(Window):
    """Windows ``[start, start + difference]`` that the records themselves place."""

    def __init__(self, difference: Duration, *, grace: Duration) -> None:
        """Define the windows.

        Args:
            difference: Largest distance between records of a window.
            grace: How long after its end a window still admits records.
        """
        self.spec = n.SlidingWindows(
            difference_ms=parse_duration_ms(difference, "SlidingWindow(difference=)"),
            grace_ms=parse_duration_ms(grace, "SlidingWindow(grace=)"),
        )


class UnlimitedWindow(Window):
    """One window from a start for ever."""

    def __init__(self, *, start: Timestamp = 0) -> None:
        """Define the window.

        Args:
            start: First instant, int milliseconds or an aware datetime.
        """
        self.spec = n.UnlimitedWindows(start_ms=to_timestamp_ms(start, "UnlimitedWindow(start=)"))


class JoinWindow:
    """How far apart two records may lie to be joined: ``left.ts - before <= right.ts <= left.ts + after``."""

    def __init__(
        self, both: Duration | None = None, *, before: Duration | None = None, after: Duration | None = None
    ) -> None:
        """Define the bounds, both inclusive.

        Args:
            both: The distance either way.
            before: How far the right record may lie before the left one; negative bounds are allowed.
            after: How far behind it.

        Raises:
            InvalidArgumentError: A bare number, `both` together with `before` or `after`, or an empty interval.
        """
        if (both is None) == (before is None and after is None):
            raise InvalidArgumentError(
                'expected JoinWindow("10m") or JoinWindow(before="10m", after="0s"), got '
                f"both={both!r}, before={before!r}, after={after!r}"
            )
        self.before_ms = parse_duration_ms(
            before if both is None and before is not None else both or "0s", "JoinWindow(before=)", allow_negative=True
        )
        self.after_ms = parse_duration_ms(
            after if both is None and after is not None else both or "0s", "JoinWindow(after=)", allow_negative=True
        )
        if self.before_ms + self.after_ms < 0:
            raise InvalidArgumentError(
                f"expected before + after to be 0 or more, got {before!r} and {after!r} - at JoinWindow; "
                "the window would be empty"
            )

    def __repr__(self) -> str:
        return f'JoinWindow(before="{self.before_ms}ms", after="{self.after_ms}ms")'
