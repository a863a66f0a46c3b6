"""``headwater topic analyze``: how a topic is filled: how large its batches are, how they are compressed, how fast they come."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from headwater.cli.options import DATA, Data, Output, opened
from headwater.cli.output import show

if TYPE_CHECKING:
    from headwater.log import Broker


class _Batch(msgspec.Struct, frozen=True):
    records: int
    size: int
    max_timestamp: int
    codec: str


def analyze(
    topics: Annotated[list[str], typer.Argument(metavar="TOPIC...")],
    detailed: Annotated[bool, typer.Option("--detailed", help="A row a partition.")] = False,
    data: Data = DATA,
    output: Output = None,
) -> None:
    """Say how topics are filled: batches, their sizes and compression, records a second. Reads every batch.

    A rate is that of the records' own times. Sizes are bytes as stored.
    """
    with opened(data) as broker:
        rows: list[dict[str, Any]] = []
        for topic in topics:
            found = dict(_partitions(broker, topic))
            if detailed:
                rows += [{"topic": topic, "partition": p, **_measures(batches)} for p, batches in found.items()]
            else:
                every = [batch for batches in found.values() for batch in batches]
                rows.append({"topic": topic, "partitions": len(found), **_measures(every)})
    show(rows, output)


def _partitions(broker: "Broker", topic: str) -> Iterator[tuple[int, list[_Batch]]]:
    from headwater.log import dump_file

    for partition in broker.describe_partitions(topic):
        lines = (line for segment in partition.segments for line in dump_file(segment.path))
        offsets = range(partition.log_start_offset, partition.high_watermark)
        yield partition.partition, [_batch(line) for line in lines if _counts(line, offsets)]


def _counts(line: dict[str, Any], offsets: range) -> bool:
    return line["isvalid"] and not line["isControl"] and line["lastOffset"] in offsets


def _batch(line: dict[str, Any]) -> _Batch:
    time = line["CreateTime"] if "CreateTime" in line else line["LogAppendTime"]
    return _Batch(records=line["count"], size=line["size"], max_timestamp=time, codec=line["compresscodec"])


def _measures(batches: list[_Batch]) -> dict[str, Any]:
    sizes = sorted(batch.size for batch in batches)
    records, size = sum(batch.records for batch in batches), sum(sizes)
    times = [batch.max_timestamp for batch in batches]
    seconds = (max(times) - min(times)) / 1000 if times else 0.0
    codecs = Counter(batch.codec for batch in batches)
    return {
        "batches": len(batches),
        "records": records,
        "size": size,
        "records_per_batch": round(records / len(batches), 1) if batches else None,
        "batch_size_p50": _percentile(sizes, 50),
        "batch_size_p99": _percentile(sizes, 99),
        "batch_size_max": sizes[-1] if sizes else None,
        "compression": ", ".join(f"{codec} {count}" for codec, count in codecs.most_common()),
        "seconds": seconds,
        "records_per_second": round(records / seconds, 1) if seconds else None,
        "bytes_per_second": round(size / seconds, 1) if seconds else None,
    }


def _percentile(ordered: Sequence[int], percent: int) -> int | None:
    """The nearest rank: a value that occurs."""
    return ordered[(len(ordered) * percent + 99) // 100 - 1] if ordered else None
