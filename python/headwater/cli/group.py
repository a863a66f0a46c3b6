"""``headwater group``: where consumer groups are, and moving them. Who is in a group now, only its own process knows."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from headwater.cli.options import DATA, Data, Output, opened
from headwater.cli.output import say, show

if TYPE_CHECKING:
    from headwater.log import Broker

app = typer.Typer(no_args_is_help=True, help="List, describe, move and delete consumer groups.")

Groups = Annotated[list[str], typer.Argument(metavar="GROUP...")]
Group = Annotated[str, typer.Argument(metavar="GROUP")]
To = Annotated[
    str,
    typer.Option(
        "--to", help="start, end, -10 or +10 (from where it is), @2026-11-22T10:00, @-1h, or 0:1234 of one topic."
    ),
]
Topics = Annotated[list[str] | None, typer.Option("--topics", "-t", help="Only these; default those it has committed.")]


@app.command("list")
def list_groups(data: Data = DATA, output: Output = None) -> None:
    """List the groups that have committed offsets."""
    with opened(data) as broker:
        rows = [_summary(broker, name) for name in broker.groups()]
    show(rows, output, columns=None if rows else ("group", "topics", "partitions", "lag"))


@app.command()
def describe(groups: Groups, data: Data = DATA, output: Output = None) -> None:
    """Say where groups are: committed offsets, ends and lags of every partition."""
    with opened(data) as broker:
        rows = [row for name in groups for row in _partitions(broker, name)]
    show(rows, output)


@app.command()
def seek(group: Group, to: To, topics: Topics = None, data: Data = DATA, output: Output = None) -> None:
    """Move a group that nobody reads with."""
    _move(group, to, topics, data, output, is_dry=False)


@app.command()
def reset(
    group: Group,
    to: To,
    topics: Topics = None,
    execute: Annotated[bool, typer.Option("--execute", help="Do it; without, only show what would be done.")] = False,
    data: Data = DATA,
    output: Output = None,
) -> None:
    """Show where a group would be moved to, and with --execute move it."""
    _move(group, to, topics, data, output, is_dry=not execute)
    if not execute:
        say("nothing was changed; --execute does it")


@app.command()
def delete(groups: Groups, data: Data = DATA) -> None:
    """Forget the committed offsets of groups."""
    with opened(data, "rw") as broker:
        for name in groups:
            broker.describe_group(name)  # all of them or none
        for name in groups:
            broker.delete_group(name)
            say(f"deleted {name}")


@app.command("offset-delete")
def offset_delete(
    group: Group,
    topic: Annotated[
        list[str],
        typer.Option("--topic", "-t", metavar="TOPIC[:0,1,2]", help="All or some partitions; may be repeated."),
    ],
    data: Data = DATA,
    output: Output = None,
) -> None:
    """Forget what a group has committed for some topics or partitions."""
    topics, partitions = _places(topic)
    with opened(data, "rw") as broker:
        broker.describe_group(group)  # says who is meant, should there be no such group
        deleted = broker.delete_offsets(group, topics=topics, partitions=partitions)
    rows = ({"group": group, "topic": place.topic, "partition": place.partition} for place in deleted)
    show(rows, output, columns=("group", "topic", "partition"))


def _places(written: list[str]) -> tuple[list[str], list[tuple[str, int]]]:
    """Topics, and partitions of others, as ``TOPIC`` and ``TOPIC:0,1,2`` say."""
    from headwater.errors import InvalidArgumentError

    topics, partitions = [], []
    for text in written:
        name, has_numbers, numbers = text.partition(":")
        if not has_numbers:
            topics.append(name)
        elif all(number.isdecimal() for number in numbers.split(",")):
            partitions += [(name, int(number)) for number in numbers.split(",")]
        else:
            raise InvalidArgumentError(f"expected TOPIC or TOPIC:0,1,2, got {text!r} - at --topic")
    return topics, partitions


def _summary(broker: "Broker", name: str) -> dict[str, Any]:
    committed = broker.committed(name)
    return {
        "group": name,
        "topics": len({place.topic for place in committed}),
        "partitions": len(committed),
        "lag": sum(broker.lag(name).values()),
    }


def _partitions(broker: "Broker", name: str) -> list[dict[str, Any]]:
    described = broker.describe_group(name)
    rows = []
    for place, offset in sorted(described.committed.items()):
        start, end = broker.offsets(place.topic)[place.partition] if place in described.lag else (None, None)
        rows.append(
            {
                "group": name,
                "topic": place.topic,
                "partition": place.partition,
                "committed_offset": offset,
                "log_start_offset": start,
                "log_end_offset": end,
                "lag": described.lag.get(place),
            }
        )
    return rows


def _move(group: str, to: str, topics: list[str] | None, data: Any, output: Any, *, is_dry: bool) -> None:
    with opened(data, "r" if is_dry else "rw") as broker:
        moves = broker.reset_offsets(group, **_target(broker, group, to, topics), dry_run=is_dry)
    show(
        (
            {"group": group, "topic": place.topic, "partition": place.partition, "old": move.old, "new": move.new}
            for place, move in moves.items()
        ),
        output,
        columns=("group", "topic", "partition", "old", "new"),
    )


def _target(broker: "Broker", group: str, to: str, topics: list[str] | None) -> dict[str, Any]:
    """What `Broker.reset_offsets` is asked for."""
    from headwater.cli.offsets import parse_instant, resolve
    from headwater.errors import InvalidArgumentError

    if to in ("start", "end"):
        return {"to": "earliest" if to == "start" else "latest", "topics": topics}
    if to[:1] in ("+", "-") and to[1:].isdecimal():
        return {"shift_by": int(to), "topics": topics}
    if to.startswith("@"):
        return {"to": parse_instant(to[1:]), "topics": topics}
    of = topics or sorted({place.topic for place in broker.committed(group)})
    if len(of) != 1:
        raise InvalidArgumentError(
            f"expected one topic for the offsets {to!r}, got {len(of)} - at --to; name it with --topics"
        )
    return {"to": {(of[0], partition): offset for partition, offset in resolve(broker, of[0], to).items()}}
