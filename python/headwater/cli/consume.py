"""``headwater consume``: records of topics, up to the end or for as long as somebody listens."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headwater.cli.options import DATA, Data, Format, Output, opened
from headwater.cli.output import chosen, say, show, show_line

if TYPE_CHECKING:
    from headwater.log import Broker, Consumer
    from headwater.records import Record


def consume(
    topics: Annotated[list[str], typer.Argument(metavar="TOPIC...")],
    offset: Annotated[
        str | None,
        typer.Option(
            "--offset",
            "-O",
            help="start (default), end, 1234, -10, +10, @2026-11-22T10:00, @-1h, or by partition 0:1234,1:start.",
        ),
    ] = None,
    num: Annotated[int | None, typer.Option("--num", "-n", min=0, help="Stop after so many records.")] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-F", help="Wait for more at the end, until interrupted.")
    ] = False,
    format: Annotated[
        str | None,
        typer.Option(
            "--format", "-f", help="A Python format, e.g. '{offset} {key} {value\\[total]:.2f} {time:%H:%M}'."
        ),
    ] = None,
    partitions: Annotated[str | None, typer.Option("--partitions", "-p", help="Only these, e.g. 0,2.")] = None,
    group: Annotated[
        str | None, typer.Option("--group", "-g", help="Go on where this group is, and commit. Writes the directory.")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="bytes, str, int, float or json; default the topic's.")
    ] = None,
    value: Annotated[str | None, typer.Option("--value", help="Likewise.")] = None,
    read_committed: Annotated[
        bool, typer.Option("--read-committed", help="Nothing of open and aborted transactions.")
    ] = False,
    data: Data = DATA,
    output: Output = None,
) -> None:
    """Show records: one JSON object a line, or as --format says. Stops at the end unless told to --follow."""
    from headwater.cli.display import fields, formatter, serde
    from headwater.errors import InvalidArgumentError

    if group is not None and (offset is not None or partitions is not None):
        raise InvalidArgumentError(
            "expected --group, or --offset and --partitions, got both - at consume; move the group with `headwater group seek`"
        )
    line = None if format is None else formatter(format)
    with (
        opened(data, "r" if group is None else "rw") as broker,
        broker.consumer(
            topics,
            group=group,
            auto_offset_reset="earliest",
            isolation_level="read_committed" if read_committed else "read_uncommitted",
            key=serde(key, "--key"),
            value=serde(value, "--value"),
        ) as consumer,
    ):
        if group is None:
            _seek(broker, consumer, topics, "start" if offset is None else offset, partitions)
        found = _records(consumer, num, is_following=follow)
        _show(found, line, fields, output)
        if group is not None:
            consumer.commit()


def _seek(
    broker: "Broker", consumer: "Consumer[Any, Any]", topics: list[str], text: str, partitions: str | None
) -> None:
    """Go where the user wants to begin; partitions that he does not want are paused."""
    from headwater.cli.offsets import resolve
    from headwater.errors import InvalidArgumentError

    chosen = None if partitions is None else {part.strip() for part in partitions.split(",")}
    for topic in topics:
        starts = resolve(broker, topic, text)
        numbers = {str(partition) for partition in broker.offsets(topic)}
        if chosen is not None and not chosen <= numbers:
            raise InvalidArgumentError(
                f"expected partitions from 0 to {len(numbers) - 1}, got {partitions} - at --partitions of topic {topic!r}"
            )
        for partition in map(int, numbers):
            if partition not in starts or (chosen is not None and str(partition) not in chosen):
                consumer.pause((topic, partition))
            else:
                consumer.seek(topic, partition, starts[partition])


def _records(consumer: "Consumer[Any, Any]", num: int | None, *, is_following: bool) -> Iterator["Record[Any, Any]"]:
    """Records up to a number, or up to what is the end now, or for ever."""
    left = num
    ends = {place: consumer.position(*place) + lag for place, lag in consumer.lag().items()}
    while left is None or left > 0:
        if not is_following and not _is_behind(consumer, ends):
            return
        batch = consumer.poll(timeout="1s" if is_following else "0s", max_records=left)
        if not is_following:
            batch = [record for record in batch if record.offset < ends[record.topic, record.partition]]  # type: ignore[index]
        yield from batch
        left = None if left is None else left - len(batch)


def _is_behind(consumer: "Consumer[Any, Any]", ends: dict[Any, int]) -> bool:
    wanted = ends.keys() - consumer.paused()
    return any(consumer.position(*place) < ends[place] for place in wanted if place in consumer.assignment())


def _show(
    records: Iterator["Record[Any, Any]"],
    line: Callable[["Record[Any, Any]"], str] | None,
    fields: Callable[["Record[Any, Any]"], dict[str, Any]],
    output: Format | None,
) -> None:
    count = 0
    if line is not None:
        for record in records:
            print(line(record), flush=True)
    elif output in (None, Format.jsonl):
        for record in records:
            show_line(fields(record))
            count += 1
        if count == 0 and chosen(None) is Format.table:
            say("no records; --follow waits for more, --offset start begins at the first")
    else:
        show(map(fields, records), output)
