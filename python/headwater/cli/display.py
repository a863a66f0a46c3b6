"""Records as a user reads them: keys and values decoded, whole records as JSON or through a format of his own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from headwater.errors import InvalidArgumentError

if TYPE_CHECKING:
    from headwater.records import Record
    from headwater.serdes import Serde

_TYPES = {"bytes": bytes, "str": str, "int": int, "float": float, "json": Any}


def serde(name: str | None, option: str) -> Serde[Any] | None:
    """The serde that an option asks for; None is the topic's own.

    Args:
        name: ``bytes``, ``str``, ``int``, ``float`` or ``json``.
        option: Which option it is.

    Raises:
        InvalidArgumentError: Another name.
    """
    from headwater import serdes

    if name is None:
        return None
    if name not in _TYPES:
        raise InvalidArgumentError(f"expected one of {', '.join(_TYPES)}, got {name!r} - at {option}")
    return serdes.json() if name == "json" else serdes.resolve(_TYPES[name])


def sniffed(value: Any) -> Any:
    """Bytes of no declared type: a JSON object or array if they are one, else as they are.

    Args:
        value: Decoded, or bytes.
    """
    if isinstance(value, bytes) and value[:1] in (b"{", b"["):
        try:
            return msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return value
    return value


def fields(record: Record[Any, Any]) -> dict[str, Any]:
    """A record as a JSON object has it.

    Args:
        record: As a consumer hands it out.
    """
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": sniffed(record.key),
        "value": sniffed(record.value),
        "headers": [[name, value] for name, value in record.headers],
    }


class _Text:
    """A value in a user's format: fields by ``[name]`` or ``.name``, its own format behind a colon."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __getitem__(self, name: Any) -> _Text:
        value = self._value
        if isinstance(value, dict):
            return _Text(value.get(name))
        if isinstance(value, list):
            return _Text(value[name] if isinstance(name, int) and -len(value) <= name < len(value) else None)
        return _Text(getattr(value, name, None) if isinstance(value, msgspec.Struct) else None)

    def __getattr__(self, name: str) -> _Text:
        return self[name]

    def __format__(self, form: str) -> str:
        from headwater.cli.output import for_terminal, text

        if self._value is None:
            return ""
        shown = text(self._value) if not form or isinstance(self._value, (bytes, dict, list)) else self._value
        return for_terminal(format(shown, form))


def formatter(template: str) -> Callable[[Record[Any, Any]], str]:
    r"""Make lines of records by a Python format, e.g. ``{offset} {key} {value[total]:>8.2f} {time:%H:%M}``.

    Args:
        template: Fields are topic, partition, offset, timestamp (milliseconds), time, key, value and headers; ``\t``
            and ``\n`` are a tab and a new line.

    Raises:
        InvalidArgumentError: A field that does not exist, or braces that do not match.
    """
    template = template.replace("\\t", "\t").replace("\\n", "\n")

    def line(record: Record[Any, Any]) -> str:
        found = fields(record)
        parts = {name: _Text(found[name]) for name in ("key", "value", "headers")}
        return template.format(**{**found, **parts, "time": _moment(record.timestamp)})

    from headwater.records import Record

    try:
        line(Record("topic", 0, 0, 0, {}, {}))
    except (KeyError, IndexError, AttributeError) as error:
        raise InvalidArgumentError(
            f"expected fields topic, partition, offset, timestamp, time, key, value and headers, got {error} - at {template!r}"
        ) from None
    except ValueError as error:
        raise InvalidArgumentError(f"expected a Python format, got {template!r}: {error}") from None

    def checked(record: Record[Any, Any]) -> str:
        try:
            return line(record)
        except (ValueError, TypeError, AttributeError) as error:
            raise InvalidArgumentError(
                f"expected a record that {template!r} can format, got one that it cannot: {error} - at topic "
                f"{record.topic!r} partition {record.partition} offset {record.offset}; show it without what is behind the colon"
            ) from None

    return checked


def _moment(timestamp: int) -> datetime | _Text:
    """An instant; nothing where no calendar has it."""
    try:
        return datetime.fromtimestamp(timestamp / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return _Text(None)
