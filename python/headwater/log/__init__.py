"""The broker: a directory of partitioned logs, with producers, consumers and consumer groups inside this process.

Layout: `opening` from a path to a shared handle, `broker` topics and their serdes, `descriptions` topics as data,
`producer`, `consumer`; of a consumer, `assignment` the partitions that it reads, `position` how far it has come in one,
`decoding` bytes to records, `policies` what happens to records that do not decode; `groups` who reads which partition;
`verifying` and `dumping` directories and files seen from outside. Bytes, files and threads are Rust's.
"""

from __future__ import annotations

from headwater.log.broker import Broker
from headwater.log.consumer import Consumer, ConsumerStatistics
from headwater.log.descriptions import Compaction, PartitionDescription, SegmentDescription, TopicDescription
from headwater.log.dumping import dump_file
from headwater.log.groups import GroupDescription, GroupMember, OffsetReset
from headwater.log.opening import open
from headwater.log.producer import Producer, SendHandle
from headwater.log.verifying import Finding, VerifyReport, verify

__all__ = [
    "Broker",
    "Compaction",
    "Consumer",
    "ConsumerStatistics",
    "Finding",
    "GroupDescription",
    "GroupMember",
    "OffsetReset",
    "PartitionDescription",
    "Producer",
    "SegmentDescription",
    "SendHandle",
    "TopicDescription",
    "VerifyReport",
    "dump_file",
    "open",
    "verify",
]
