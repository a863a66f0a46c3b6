"""The broker: a directory of partitioned logs, with producers, consumers and consumer groups inside this process.

Layout: `opening` from a path to a shared handle, `broker` topics and their serdes, `producer`, `consumer`; of a consumer,
`assignment` the partitions that it reads, `position` how far it has come in one, `decoding` bytes to records, `policies`
what happens to records that do not decode; `groups` who reads which partition. Bytes, files and threads are Rust's.
"""

from __future__ import annotations

from headwater.log.broker import Broker, TopicDescription
from headwater.log.consumer import Consumer, ConsumerStatistics
from headwater.log.groups import GroupDescription, GroupMember, OffsetReset
from headwater.log.opening import open
from headwater.log.producer import Producer, SendHandle

__all__ = [
    "Broker",
    "Consumer",
    "ConsumerStatistics",
    "GroupDescription",
    "GroupMember",
    "OffsetReset",
    "Producer",
    "SendHandle",
    "TopicDescription",
    "open",
]
