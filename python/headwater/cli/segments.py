"""``headwater segments``: the files that a topic lies in."""

from typing import Annotated

import typer

from headwater.cli.options import DATA, Data, Output, opened
from headwater.cli.output import show


def segments(
    topic: Annotated[str, typer.Argument(metavar="TOPIC")],
    data: Data = DATA,
    output: Output = None,
) -> None:
    """List the segments of a topic: offsets, sizes, times and files."""
    with opened(data) as broker:
        rows = [
            {
                "topic": topic,
                "partition": partition.partition,
                "base_offset": segment.base_offset,
                "next_offset": segment.next_offset,
                "size": segment.size,
                "first_timestamp": segment.first_timestamp,
                "max_timestamp": segment.max_timestamp,
                "path": segment.path,
            }
            for partition in broker.describe_partitions(topic)
            for segment in partition.segments
        ]
    show(rows, output)
