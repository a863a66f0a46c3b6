"""What stateful operators must give, in plain Python over the whole input: slow, obvious, and written from the rules.

A record is ``(key, value, timestamp)``; an output ``(key, value, timestamp)``, keys of windows being ``(key, start, end)``.
Each function returns the outputs in order, how many records were dropped, and what the store holds in the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

Record = tuple[str | None, int | None, int]
Fold = Callable[[Any, Any], Any]
"""(aggregate or None, value) to the new aggregate."""


class Result(NamedTuple):
    outputs: list[tuple[Any, Any, int]]
    dropped: int
    store: dict[Any, Any]


def aggregated(records: list[Record], fold: Fold) -> Result:
    """An aggregate per key; records without a key or a value are dropped."""
    store: dict[str, tuple[Any, int]] = {}
    outputs, dropped = [], 0
    for key, value, timestamp in records:
        if key is None or value is None:
            dropped += 1
            continue
        old, at = store.get(key, (None, timestamp))
        store[key] = (fold(old, value), max(at, timestamp))
        outputs.append((key, *store[key]))
    return Result(outputs, dropped, {key: value for key, (value, _) in store.items()})


def windowed(records: list[Record], size: int, advance: int, grace: int, fold: Fold) -> Result:
    """An aggregate per key and window; a window is closed once its end + grace is reached."""
    store: dict[Any, tuple[Any, int]] = {}
    outputs, dropped, now = [], 0, -1
    for key, value, timestamp in records:
        if key is None:
            dropped += 1
            continue
        now = max(now, timestamp)
        first = max(0, timestamp - size + advance) // advance * advance
        for start in range(first, timestamp + 1, advance):
            if start + size <= now - grace:
                dropped += 1
                continue
            window = (key, start, start + size)
            old, at = store.get(window, (None, timestamp))
            store[window] = (fold(old, value), max(at, timestamp))
            outputs.append((window, *store[window]))
    latest = max((start for _, start, _ in store), default=0)
    kept = {window: value for window, (value, _) in store.items() if window[1] > latest - size - grace}
    return Result(outputs, dropped, kept)


def sessions(records: list[Record], gap: int, grace: int) -> Result:
    """The number of records per key and session; sessions at most `gap` apart become one."""
    store: dict[tuple[str, int, int], int] = {}
    outputs, dropped, now, latest = [], 0, -1, -1
    for key, _, timestamp in records:
        if key is None:
            dropped += 1
            continue
        now = max(now, timestamp)
        near = sorted(
            (session for session in store if session[0] == key and session[2] > latest - gap - grace
             and session[1] <= timestamp + gap and session[2] >= timestamp - gap),
            key=lambda session: (session[2], session[1]),
        )  # fmt: skip
        start = min([timestamp, *(session[1] for session in near)])
        end = max([timestamp, *(session[2] for session in near)])
        if end < now - grace - gap:
            dropped += 1
            continue
        count = 1 + sum(store.pop(session) for session in near)
        if (start, end) != (timestamp, timestamp):
            outputs += [(session, None, session[2]) for session in near]
        store[key, start, end] = count
        latest = max(latest, end)
        outputs.append(((key, start, end), count, end))
    kept = {session: count for session, count in store.items() if session[2] > latest - gap - grace}
    return Result(outputs, dropped, kept)


def table(records: list[Record]) -> dict[str, int]:
    """What a table holds in the end."""
    rows: dict[str, int] = {}
    for key, value, _ in records:
        if key is not None and value is None:
            rows.pop(key, None)
        elif key is not None and value is not None:
            rows[key] = value
    return rows


class Side(NamedTuple):
    """A record of a stream-stream join."""

    is_left: bool
    key: str | None
    value: int | None
    timestamp: int


def joined(records: list[Side], before: int, after: int, grace: int, kind: str) -> tuple[Counter[Any], int]:
    """All results of a join once every window is closed, and the drops: no order, no spurious result, nothing late."""
    results: Counter[Any] = Counter()
    accepted: list[Side] = []
    dropped, now = 0, -1
    for record in records:
        ahead = after if record.is_left else before
        waits = kind == "outer" or (kind == "left" and record.is_left)
        previous, now = now, max(now, record.timestamp)
        if record.value is None or (record.key is None and not waits):
            dropped += 1
        elif record.key is None:
            left, right = (record.value, None) if record.is_left else (None, record.value)
            results[None, left, right, record.timestamp] += 1
        elif record.timestamp + ahead + grace < previous:
            dropped += 1
        else:
            accepted.append(record)
    matched = set()
    for i, left in enumerate(accepted):
        for j, right in enumerate(accepted):
            is_pair = left.is_left and not right.is_left and left.key == right.key
            if is_pair and left.timestamp - before <= right.timestamp <= left.timestamp + after:
                matched |= {i, j}
                results[left.key, left.value, right.value, max(left.timestamp, right.timestamp)] += 1
    for i, record in enumerate(accepted):
        if i not in matched and (kind == "outer" or (kind == "left" and record.is_left)):
            left_value, right_value = (record.value, None) if record.is_left else (None, record.value)
            results[record.key, left_value, right_value, record.timestamp] += 1
    return results, dropped
