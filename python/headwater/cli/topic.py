"""``headwater topic``: make, list, describe, change and delete topics, and write and read them."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from headwater.cli.analyze import analyze
from headwater.cli.consume import consume
from headwater.cli.options import DATA, Data, Format, Output, opened
from headwater.cli.output import chosen, say, show, show_table, text
from headwater.cli.produce import produce

if TYPE_CHECKING:
    from headwater.log import Broker

app = typer.Typer(no_args_is_help=True, help="Make, list, describe, change, delete, write and read topics.")
app.command("produce")(produce)
app.command("consume")(consume)
app.command("analyze")(analyze)

Names = Annotated[list[str], typer.Argument(metavar="TOPIC...")]
Name = Annotated[str, typer.Argument(metavar="TOPIC")]
Settings = Annotated[
    list[str] | None, typer.Option("--topic-config", "-c", metavar="NAME=VALUE", help="Kafka's names; may be repeated.")
]


@app.command()
def create(
    topics: Names,
    partitions: Annotated[int, typer.Option("--partitions", "-p", min=1)] = 1,
    replicas: Annotated[int, typer.Option("--replicas", "-r", help="There is one, whatever you say.")] = 1,
    topic_config: Settings = None,
    key: Annotated[
        str | None, typer.Option("--key", help="bytes, str, int, float or json: what the topic remembers.")
    ] = None,
    value: Annotated[str | None, typer.Option("--value", help="Likewise.")] = None,
    if_not_exists: Annotated[bool, typer.Option("--if-not-exists", help="Leave a topic alone that is there.")] = False,
    data: Data = DATA,
    output: Output = None,
) -> None:
    """Make topics, and the directory if it is missing."""
    from headwater.cli.display import serde

    config = _settings(topic_config)
    with opened(data, "rw") as broker:
        made = [
            broker.create_topic(
                name,
                partitions=None if if_not_exists and name in broker.topics() else partitions,
                key=serde(key, "--key"),
                value=serde(value, "--value"),
                config=config,
                exist_ok=if_not_exists,
            )
            for name in topics
        ]
    show(({"topic": topic.name, "partitions": topic.partitions} for topic in made), output)


@app.command("list")
def list_topics(
    detailed: Annotated[bool, typer.Option("--detailed", help="A row a partition.")] = False,
    internal: Annotated[bool, typer.Option("--internal", "-i", help="The broker's own topics too.")] = False,
    data: Data = DATA,
    output: Output = None,
) -> None:
    """List the topics."""
    with opened(data) as broker:
        names = broker.topics(internal=internal)
        if detailed:
            rows = [row for name in names for row in _partitions(broker, name)]
        else:
            rows = [_summary(broker, name) for name in names]
    show(rows, output, columns=None if rows else ("topic", "partitions", "records", "size"))


@app.command()
def describe(topics: Names, data: Data = DATA, output: Output = None) -> None:
    """Say everything about topics: settings, partitions, offsets, sizes."""
    with opened(data) as broker:
        found = []
        for name in topics:
            topic = broker.topic(name)
            summary = {
                **_summary(broker, name),
                "key": None if topic.key is None else topic.key.name,
                "value": None if topic.value is None else topic.value.name,
            }
            found.append((summary, dict(sorted(topic.config.items())), _partitions(broker, name)))
    form = chosen(output)
    if form is Format.table:
        for summary, config, partitions in found:
            show_table(("name", "value"), [(name, text(value)) for name, value in summary.items()], "SUMMARY")
            show_table(("setting", "value"), list(config.items()), "\nCONFIG" if config else None)
            columns = [column for column in partitions[0] if column != "topic"]
            show_table(columns, [[text(row[column]) for column in columns] for row in partitions], "\nPARTITIONS")
    elif form is Format.csv:
        show((row for _, _, partitions in found for row in partitions), output)
    else:
        show(({**summary, "config": config, "partition": rows} for summary, config, rows in found), output)


@app.command("alter-config")
def alter_config(
    topics: Names,
    set_: Annotated[
        list[str] | None, typer.Option("--set", "-s", metavar="NAME=VALUE", help="May be repeated.")
    ] = None,
    delete: Annotated[list[str] | None, typer.Option("--delete", metavar="NAME", help="Back to the default.")] = None,
    data: Data = DATA,
    output: Output = None,
) -> None:
    """Change settings of topics; all others stay as they are."""
    from headwater.errors import InvalidArgumentError

    changes: dict[str, str | None] = {**_settings(set_), **dict.fromkeys(delete or ())}
    if not changes:
        raise InvalidArgumentError("expected --set NAME=VALUE or --delete NAME, got neither - at alter-config")
    with opened(data, "rw") as broker:
        changed = [broker.alter_config(name, changes) for name in topics]
    show(({"topic": topic.name, "config": dict(sorted(topic.config.items()))} for topic in changed), output)


@app.command("add-partitions")
def add_partitions(
    topics: Names,
    num: Annotated[int | None, typer.Option("--num", "-n", min=1, help="How many more.")] = None,
    total: Annotated[int | None, typer.Option("--total", min=1, help="How many altogether.")] = None,
    data: Data = DATA,
    output: Output = None,
) -> None:
    """Give topics more partitions. Records stay where they are; the keys of new ones may go elsewhere."""
    from headwater.errors import InvalidArgumentError

    if (num is None) == (total is None):
        raise InvalidArgumentError("expected --num (how many more) or --total (how many altogether), got both or none")
    with opened(data, "rw") as broker:
        changed = [
            broker.add_partitions(name, total if num is None else broker.topic(name).partitions + num)  # type: ignore[arg-type]
            for name in topics
        ]
    show(({"topic": topic.name, "partitions": topic.partitions} for topic in changed), output)


@app.command()
def delete(topics: Names, data: Data = DATA) -> None:
    """Delete topics and everything in them."""
    with opened(data, "rw") as broker:
        for name in topics:
            broker.topic(name)  # all of them or none
        for name in topics:
            broker.delete_topic(name)
            say(f"deleted {name}")


@app.command("trim-prefix")
def trim_prefix(
    topic: Name,
    offset: Annotated[
        str, typer.Option("--offset", "-O", help="Forget what lies before: end, 1234, @2026-11-22T10:00, @-7d, 0:1234.")
    ],
    no_confirm: Annotated[bool, typer.Option("--no-confirm", help="Do not ask.")] = False,
    data: Data = DATA,
    output: Output = None,
) -> None:
    """Forget the oldest records of a topic."""
    import sys

    from headwater.cli.offsets import resolve

    with opened(data, "rw") as broker:
        before, starts = resolve(broker, topic, offset, is_exact=True), broker.offsets(topic)
        gone = sum(max(0, until - starts[partition][0]) for partition, until in before.items())
        if not no_confirm and sys.stdin.isatty() and sys.stderr.isatty():
            typer.confirm(f"forget {gone} offsets of {topic}?", abort=True, err=True)
        kept = broker.delete_records(topic, before)
    show(({"topic": topic, "partition": p, "log_start_offset": start} for p, start in kept.items()), output)


def _summary(broker: "Broker", name: str) -> dict[str, Any]:
    described = broker.describe_partitions(name)
    return {
        "topic": name,
        "partitions": len(described),
        "records": sum(one.high_watermark - one.log_start_offset for one in described),
        "size": sum(one.size for one in described),
    }


def _partitions(broker: "Broker", name: str) -> list[dict[str, Any]]:
    return [
        {
            "topic": name,
            "partition": one.partition,
            "log_start_offset": one.log_start_offset,
            "last_stable_offset": one.last_stable_offset,
            "high_watermark": one.high_watermark,
            "size": one.size,
            "segments": len(one.segments),
        }
        for one in broker.describe_partitions(name)
    ]


def _settings(pairs: list[str] | None) -> dict[str, str]:
    from headwater.errors import InvalidArgumentError

    found = {}
    for pair in pairs or ():
        name, is_pair, value = pair.partition("=")
        if not is_pair or not name:
            raise InvalidArgumentError(f"expected NAME=VALUE, got {pair!r} - at a setting")
        found[name] = value
    return found
