"""headwater: a durable Kafka-format log and the Kafka Streams DSL in one Python process.

Names are loaded when first used (PEP 562), so that ``import headwater`` stays cheap and imports neither polars nor the
compiled core. ``_EXPORTS`` is the whole public surface: name, then the module that defines it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headwater import serdes as serdes
    from headwater.errors import (
        ClosedError as ClosedError,
        CorruptLogError as CorruptLogError,
        HeadwaterError as HeadwaterError,
        InternalError as InternalError,
        InvalidArgumentError as InvalidArgumentError,
        LockedError as LockedError,
        OffsetOutOfRangeError as OffsetOutOfRangeError,
        ProcessingError as ProcessingError,
        SerdeError as SerdeError,
        StorageError as StorageError,
        TopologyChangedError as TopologyChangedError,
        TopologyError as TopologyError,
        UnknownTopicError as UnknownTopicError,
    )
    from headwater.records import Record as Record, RecordMetadata as RecordMetadata, Windowed as Windowed
    from headwater.time import Clock as Clock, ManualClock as ManualClock, SystemClock as SystemClock
    from headwater.topics import Topic as Topic

_EXPORTS = {
    "ClosedError": "headwater.errors",
    "Clock": "headwater.time",
    "CorruptLogError": "headwater.errors",
    "HeadwaterError": "headwater.errors",
    "InternalError": "headwater.errors",
    "InvalidArgumentError": "headwater.errors",
    "LockedError": "headwater.errors",
    "ManualClock": "headwater.time",
    "OffsetOutOfRangeError": "headwater.errors",
    "ProcessingError": "headwater.errors",
    "Record": "headwater.records",
    "RecordMetadata": "headwater.records",
    "SerdeError": "headwater.errors",
    "StorageError": "headwater.errors",
    "SystemClock": "headwater.time",
    "Topic": "headwater.topics",
    "TopologyChangedError": "headwater.errors",
    "TopologyError": "headwater.errors",
    "UnknownTopicError": "headwater.errors",
    "Windowed": "headwater.records",
}
_MODULES = {"serdes"}

__version__ = "0.1.0"
__all__ = sorted([*_EXPORTS, *_MODULES])  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        found = getattr(importlib.import_module(_EXPORTS[name]), name)
    elif name in _MODULES:
        found = importlib.import_module(f"headwater.{name}")
    else:
        raise AttributeError(f"module 'headwater' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
