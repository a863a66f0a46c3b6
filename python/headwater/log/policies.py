"""What happens to a record that does not decode: raise, skip, send it to another topic, or ask a function.

A policy is parsed once, when the consumer is made, so that a wrong one is refused before anything is read. Whatever the
policy, a record that is not delivered is counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headwater._typing import OnError
from headwater.errors import InvalidArgumentError, SerdeError
from headwater.records import Record
from headwater.topics import check_topic_name

# Gets the error and the record as bytes; returns the record to deliver instead, or None to leave it out.
Policy = Callable[[SerdeError, Record[Any, Any]], Record[Any, Any] | None]


def parse_policy(on_error: OnError, forward: Callable[[str, Record[Any, Any], SerdeError], None]) -> Policy | None:
    """Turn ``on_error=`` into a function; None means raise.

    Args:
        on_error: ``"raise"``, ``"skip"``, ``"topic:NAME"`` or a callable ``(error, record) -> Record | None``.
        forward: Sends a record to the topic named; returns when it is durable.

    Raises:
        InvalidArgumentError: None of these.
    """
    if on_error == "raise":
        return None
    if on_error == "skip":
        return lambda error, record: None
    if isinstance(on_error, str) and on_error.startswith("topic:"):
        name = check_topic_name(on_error.removeprefix("topic:"))

        def send_there(error: SerdeError, record: Record[Any, Any]) -> None:
            forward(name, record, error)

        return send_there
    if callable(on_error):
        return _checked(on_error)
    raise InvalidArgumentError(f'expected "raise", "skip", "topic:NAME" or a callable, got {on_error!r} - at on_error')


def _checked(function: Callable[[Any, Any], Any]) -> Policy:
    def call(error: SerdeError, record: Record[Any, Any]) -> Record[Any, Any] | None:
        answer = function(error, record)
        if answer is None or isinstance(answer, Record):
            return answer
        raise InvalidArgumentError(
            f"expected a Record or None, got {answer!r} ({type(answer).__name__}) - from the on_error callable at "
            f"topic {record.topic!r} partition {record.partition} offset {record.offset}"
        ) from error

    return call


def located(error: Exception, record: Record[Any, Any], part: str) -> SerdeError:
    """Say where a decoding error happened.

    Args:
        error: What the serde raised.
        record: The record as bytes.
        part: ``"key"`` or ``"value"``.
    """
    field = getattr(error, "field", None)
    what = f"{part} field {field}" if field else part
    message = str(error) if isinstance(error, SerdeError) else f"expected bytes that decode, got {error!r}"
    found = SerdeError(
        f"{message} - at topic {record.topic!r} partition {record.partition} offset {record.offset} ({what}); "
        'set on_error="skip" or "topic:NAME" to go on',
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        field=field,
        key=record.key,
    )
    found.__cause__ = error
    return found
