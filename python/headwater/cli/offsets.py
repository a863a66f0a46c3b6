"""Where to begin, as a user writes it.

``start``  ``end``  ``1234`` (an offset)  ``-10`` (ten before the end)  ``+10`` (ten behind the start)
``@2026-11-22T10:00`` (an instant; UTC unless it says otherwise)  ``@1763800000000`` (milliseconds)  ``@-1h`` (an hour ago)
``0:1234,1:start`` (partition by partition: these and no others)
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from headwater.errors import InvalidArgumentError
from headwater.time import SystemClock, parse_duration_ms

if TYPE_CHECKING:
    from headwater.log import Broker

_BY_PARTITION = re.compile(r"(\d+):(.+)")
_FORMS = "start, end, 1234, -10, +10, @2026-11-22T10:00, @-1h or 0:1234"


def parse_instant(text: str) -> int:
    """Milliseconds of ``2026-11-22T10:00``, ``1763800000000`` or ``-1h``.

    Args:
        text: What stood behind the ``@``.

    Raises:
        InvalidArgumentError: Anything else.
    """
    if text.startswith("-"):
        return SystemClock().now_ms() - parse_duration_ms(text[1:], "offset")
    if text.isdecimal() and len(text) > 8:
        return int(text)
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise _refused(f"@{text}") from None
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return int(instant.timestamp() * 1000)


def resolve(broker: Broker, topic: str, text: str, *, is_exact: bool = False) -> dict[int, int]:
    """Offsets by partition.

    Args:
        broker: Where the topic is.
        topic: Name of the topic.
        text: What the user wrote.
        is_exact: Refuse an offset behind the end, rather than to take the end for it.

    Raises:
        InvalidArgumentError: It is none of the forms, or names a partition that is not there.
    """
    ends = broker.offsets(topic)
    parts = [_BY_PARTITION.fullmatch(part) for part in text.split(",")]
    if all(parts):
        chosen = {int(part[1]): part[2] for part in parts if part is not None}
        for partition in chosen:
            if partition not in ends:
                raise InvalidArgumentError(
                    f"expected a partition from 0 to {len(ends) - 1}, got {partition} - at offset {text!r} of topic {topic!r}"
                )
        found = {partition: _all(broker, topic, ends, one)[partition] for partition, one in chosen.items()}
        wanted = {partition: one for partition, one in chosen.items() if one.isdecimal()}
    else:
        found = _all(broker, topic, ends, text)
        wanted = dict.fromkeys(ends, text) if text.isdecimal() else {}
    for partition, one in wanted.items() if is_exact else ():
        if int(one) > ends[partition][1]:
            raise InvalidArgumentError(
                f"expected an offset up to {ends[partition][1]}, got {one} - at topic {topic!r} partition {partition}; "
                "name partitions as in 0:1234, or say end for all there is"
            )
    return found


def _all(broker: Broker, topic: str, ends: dict[int, tuple[int, int]], text: str) -> dict[int, int]:
    """One form, in every partition; what lies outside of the log is moved to its nearer end."""
    if text.startswith("@"):
        found = broker.offsets_for_times(topic, parse_instant(text[1:]))
        return {p: end if (offset := found.get(p)) is None else offset for p, (_, end) in ends.items()}
    if text in ("start", "end"):
        return {p: start if text == "start" else end for p, (start, end) in ends.items()}
    if not re.fullmatch(r"[+-]?\d+", text):
        raise _refused(text)
    number = int(text)
    wanted = {
        p: end + number if text[0] == "-" else start + number if text[0] == "+" else number
        for p, (start, end) in ends.items()
    }
    return {p: min(max(offset, ends[p][0]), ends[p][1]) for p, offset in wanted.items()}


def _refused(text: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"expected {_FORMS}, got {text!r} - at offset")
