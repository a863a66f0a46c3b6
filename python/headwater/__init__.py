"""headwater: a durable Kafka-format log and the Kafka Streams DSL in one Python process.

Names are loaded when first used (PEP 562), so that ``import headwater`` stays cheap and imports neither polars nor the
compiled core. ``_EXPORTS`` says which module defines each public name; `__all__` is the whole public surface.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if sys.platform == "win32":
    raise ImportError("expected Linux or macOS, got Windows - at import headwater; run it in WSL")

if TYPE_CHECKING:
    from headwater import serdes as serdes
    from headwater import testing as testing
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
    from headwater.time import (
        Clock as Clock,
        ManualClock as ManualClock,
        SystemClock as SystemClock,
    )
    from headwater.records import (
        Record as Record,
        RecordMetadata as RecordMetadata,
        TopicPartition as TopicPartition,
        Windowed as Windowed,
    )
    from headwater.topics import (
        Topic as Topic,
    )
    from headwater.log import (
        Broker as Broker,
        Consumer as Consumer,
        Producer as Producer,
        open as open,
    )
    from headwater.topology import (
        Topology as Topology,
    )
    from headwater.dsl import (
        GlobalTable as GlobalTable,
        GroupedStream as GroupedStream,
        GroupedTable as GroupedTable,
        HoppingWindow as HoppingWindow,
        JoinWindow as JoinWindow,
        SessionWindow as SessionWindow,
        SlidingWindow as SlidingWindow,
        Stream as Stream,
        StreamsBuilder as StreamsBuilder,
        Table as Table,
        TumblingWindow as TumblingWindow,
        UnlimitedWindow as UnlimitedWindow,
        WindowedStream as WindowedStream,
    )
    from headwater.frames import (
        key as key,
        offset as offset,
        partition as partition,
        timestamp as timestamp,
        value as value,
    )
    from headwater.runtime import (
        App as App,
    )

_EXPORTS = {
    "App": "headwater.runtime",
    "Broker": "headwater.log",
    "Clock": "headwater.time",
    "ClosedError": "headwater.errors",
    "Consumer": "headwater.log",
    "CorruptLogError": "headwater.errors",
    "GlobalTable": "headwater.dsl",
    "GroupedStream": "headwater.dsl",
    "GroupedTable": "headwater.dsl",
    "HeadwaterError": "headwater.errors",
    "HoppingWindow": "headwater.dsl",
    "InternalError": "headwater.errors",
    "InvalidArgumentError": "headwater.errors",
    "JoinWindow": "headwater.dsl",
    "LockedError": "headwater.errors",
    "ManualClock": "headwater.time",
    "OffsetOutOfRangeError": "headwater.errors",
    "ProcessingError": "headwater.errors",
    "Producer": "headwater.log",
    "Record": "headwater.records",
    "RecordMetadata": "headwater.records",
    "SerdeError": "headwater.errors",
    "SessionWindow": "headwater.dsl",
    "SlidingWindow": "headwater.dsl",
    "StorageError": "headwater.errors",
    "Stream": "headwater.dsl",
    "StreamsBuilder": "headwater.dsl",
    "SystemClock": "headwater.time",
    "Table": "headwater.dsl",
    "Topic": "headwater.topics",
    "TopicPartition": "headwater.records",
    "Topology": "headwater.topology",
    "TopologyChangedError": "headwater.errors",
    "TopologyError": "headwater.errors",
    "TumblingWindow": "headwater.dsl",
    "UnknownTopicError": "headwater.errors",
    "UnlimitedWindow": "headwater.dsl",
    "Windowed": "headwater.records",
    "WindowedStream": "headwater.dsl",
    "key": "headwater.frames",
    "offset": "headwater.frames",
    "open": "headwater.log",
    "partition": "headwater.frames",
    "timestamp": "headwater.frames",
    "value": "headwater.frames",
}
_MODULES = frozenset({"serdes", "testing"})

__version__ = "0.1.0"
__all__ = [
    "App",
    "Broker",
    "Clock",
    "ClosedError",
    "Consumer",
    "CorruptLogError",
    "GlobalTable",
    "GroupedStream",
    "GroupedTable",
    "HeadwaterError",
    "HoppingWindow",
    "InternalError",
    "InvalidArgumentError",
    "JoinWindow",
    "LockedError",
    "ManualClock",
    "OffsetOutOfRangeError",
    "ProcessingError",
    "Producer",
    "Record",
    "RecordMetadata",
    "SerdeError",
    "SessionWindow",
    "SlidingWindow",
    "StorageError",
    "Stream",
    "StreamsBuilder",
    "SystemClock",
    "Table",
    "Topic",
    "TopicPartition",
    "Topology",
    "TopologyChangedError",
    "TopologyError",
    "TumblingWindow",
    "UnknownTopicError",
    "UnlimitedWindow",
    "Windowed",
    "WindowedStream",
    "key",
    "offset",
    "open",
    "partition",
    "serdes",
    "testing",
    "timestamp",
    "value",
]


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
