"""``headwater verify`` and ``headwater dump``: directories and files seen from outside, by nobody's leave."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from headwater.cli.options import DATA, Data, Format, Output
from headwater.cli.output import chosen, say, show, show_line, text


def verify(
    directory: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="Default that of --data.")] = None,
    data: Data = DATA,
    output: Output = None,
) -> None:
    """Read everything in a directory and say what is wrong in it, and where. Changes nothing, takes no lock.

    Exit code 0: nothing is wrong (there may be notes); 1: something is; 2: it cannot be read.
    """
    from headwater.log import verify

    report = verify(directory or data)
    columns = ("severity", "topic", "partition", "offset", "position", "path", "what", "advice")
    show((msgspec.structs.asdict(finding) for finding in report.findings), output, columns=columns)
    say(
        f"{report.topics} topics, {report.partitions} partitions, {report.segments} segments, {report.batches} batches, "
        f"{report.records} records, {report.bytes} bytes: "
        + ("nothing is wrong" if report.is_clean else f"{len(report.findings)} findings")
    )
    if not report.is_clean:
        raise typer.Exit(1)


def dump(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...")],
    records: Annotated[bool, typer.Option("--records", "-r", help="Show every record of a batch.")] = False,
    offsets_decoder: Annotated[
        bool | None,
        typer.Option(
            "--offsets-decoder/--no-offsets-decoder",
            help="Decode keys and values as committed offsets; default in files of __consumer_offsets.",
        ),
    ] = None,
    output: Output = None,
) -> None:
    """Show files of a partition as they are, as Kafka's DumpLogSegments does.

    Files may be .log, .index, .timeindex, .txnindex, .snapshot and headwater.mark, of Kafka or of headwater.
    """
    from headwater.log import dump_file

    form = chosen(output)
    for path in files:
        lines = dump_file(path, records=records or bool(offsets_decoder), offsets_decoder=offsets_decoder)
        if form is Format.table:
            print(f"Dumping {path}")
            for line in lines:
                print(_described(line))
                for record in line.get("records", ()):
                    print(f"| {_described(record)}")
        elif form is Format.jsonl:
            for line in lines:
                show_line({"file": str(path), **line})
        else:
            show(({"file": str(path), **line} for line in _flat(lines, form)), output)


def _described(line: dict[str, Any]) -> str:
    return " ".join(f"{name}: {text(value)}" for name, value in line.items() if name != "records")


def _flat(lines: Iterator[dict[str, Any]], form: Format) -> Iterator[dict[str, Any]]:
    """In CSV a record is a row of its own."""
    for line in lines:
        yield from line["records"] if form is Format.csv and line.get("records") else [line]
