"""The Kafka Streams DSL: methods that add frozen nodes to a topology. Nothing here runs anything."""

from headwater.dsl.builder import StreamsBuilder
from headwater.dsl.grouped import GroupedStream, GroupedTable, WindowedStream
from headwater.dsl.streams import Stream
from headwater.dsl.tables import GlobalTable, Table
from headwater.dsl.windows import (
    HoppingWindow,
    JoinWindow,
    SessionWindow,
    SlidingWindow,
    TumblingWindow,
    UnlimitedWindow,
)

__all__ = [
    "GlobalTable",
    "GroupedStream",
    "GroupedTable",
    "HoppingWindow",
    "JoinWindow",
    "SessionWindow",
    "SlidingWindow",
    "Stream",
    "StreamsBuilder",
    "Table",
    "TumblingWindow",
    "UnlimitedWindow",
    "WindowedStream",
]
