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
    from headwater.dsl import (
        GlobalTable as GlobalTable,
    )
    from headwater.dsl import (
        GroupedStream as GroupedStream,
    )
    from headwater.dsl import (
        GroupedTable as GroupedTable,
    )
    from headwater.dsl import (
        HoppingWindow as HoppingWindow,
    )
    from headwater.dsl import (
        JoinWindow as JoinWindow,
    )
    from headwater.dsl import (
        SessionWindow as SessionWindow,
    )
    from headwater.dsl import (
        SlidingWindow as SlidingWindow,
    )
    from headwater.dsl import (
        Stream as Stream,
    )
    from headwater.dsl import (
        StreamsBuilder as StreamsBuilder,
    )
    from headwater.dsl import (
        Table as Table,
    )
    from headwater.dsl import (
        TumblingWindow as TumblingWindow,
    )
    from headwater.dsl import (
        UnlimitedWindow as UnlimitedWindow,
    )
    from headwater.dsl import (
        WindowedStream as WindowedStream,
    )
    from headwater.errors import (
        ClosedError as ClosedError,
    )
    from headwater.errors import (
        CorruptLogError as CorruptLogError,
    )
    from headwater.errors import (
        FencedInstanceIdError as FencedInstanceIdError,
    )
    from headwater.errors import (
        HeadwaterError as HeadwaterError,
    )
    from headwater.errors import (
        InternalError as InternalError,
    )
    from headwater.errors import (
        InvalidArgumentError as InvalidArgumentError,
    )
    from headwater.errors import (
        LockedError as LockedError,
    )
    from headwater.errors import (
        OffsetOutOfRangeError as OffsetOutOfRangeError,
    )
    from headwater.errors import (
        ProcessingError as ProcessingError,
    )
    from headwater.errors import (
        ProducerFencedError as ProducerFencedError,
    )
    from headwater.errors import (
        SerdeError as SerdeError,
    )
    from headwater.errors import (
        StorageError as StorageError,
    )
    from headwater.errors import (
        TopologyChangedError as TopologyChangedError,
    )
    from headwater.errors import (
        TopologyError as TopologyError,
    )
    from headwater.errors import (
        UnknownGroupError as UnknownGroupError,
    )
    from headwater.errors import (
        UnknownTopicError as UnknownTopicError,
    )
    from headwater.frames import (
        key as key,
    )
    from headwater.frames import (
        offset as offset,
    )
    from headwater.frames import (
        partition as partition,
    )
    from headwater.frames import (
        timestamp as timestamp,
    )
    from headwater.frames import (
        value as value,
    )
    from headwater.log import (
        Broker as Broker,
    )
    from headwater.log import (
        Consumer as Consumer,
    )
    from headwater.log import (
        Producer as Producer,
    )
    from headwater.log import (
        open as open,
    )
    from headwater.records import (
        Record as Record,
    )
    from headwater.records import (
        RecordMetadata as RecordMetadata,
    )
    from headwater.records import (
        TopicPartition as TopicPartition,
    )
    from headwater.records import (
        Windowed as Windowed,
    )
    from headwater.runtime import (
        App as App,
    )
    from headwater.time import (
        Clock as Clock,
    )
    from headwater.time import (
        ManualClock as ManualClock,
    )
    from headwater.time import (
        SystemClock as SystemClock,
    )
    from headwater.topics import (
        Topic as Topic,
    )
    from headwater.topology import (
        Topology as Topology,
    )

_EXPORTS = {
    "App": "headwater.runtime",
    "Broker": "headwater.log",
    "Clock": "headwater.time",
    "ClosedError": "headwater.errors",
    "Consumer": "headwater.log",
    "CorruptLogError": "headwater.errors",
    "FencedInstanceIdError": "headwater.errors",
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
    "ProducerFencedError": "headwater.errors",
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
    "UnknownGroupError": "headwater.errors",
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
    "FencedInstanceIdError",
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
    "ProducerFencedError",
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
    "UnknownGroupError",
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
