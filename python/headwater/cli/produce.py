"""``headwater produce``: lines of the standard input, a record each."""

import sys
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, cast

import msgspec
import typer

from headwater.cli.options import DATA, Data, opened
from headwater.cli.output import say

if TYPE_CHECKING:
    from headwater.serdes import Serde


class LineFormat(StrEnum):
    """What a line of the input is."""

    line = "line"
    jsonl = "jsonl"


class _Parsed(NamedTuple):
    key: bytes | None
    value: bytes | None
    partition: int | None
    timestamp: int | None
    headers: tuple[tuple[str, bytes | None], ...]


class _Object(msgspec.Struct):
    """A line of ``--format jsonl``: what ``consume`` prints."""

    key: Any = None
    value: Any = None
    partition: int | None = None
    timestamp: int | None = None
    headers: list[tuple[str, str | None]] = []


def produce(
    topic: Annotated[str, typer.Argument(metavar="TOPIC")],
    key: Annotated[str | None, typer.Option("--key", "-k", help="The key of every record.")] = None,
    key_separator: Annotated[
        str | None, typer.Option("--key-separator", "-K", metavar="SEP", help="A line is KEY SEP VALUE.")
    ] = None,
    format: Annotated[
        LineFormat, typer.Option("--format", "-f", help="line: the value; jsonl: an object as `consume` prints it.")
    ] = LineFormat.line,
    partition: Annotated[int | None, typer.Option("--partition", "-p", min=0, help="Default by the key.")] = None,
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", metavar="NAME=VALUE", help="May be repeated.")
    ] = None,
    tombstone: Annotated[
        bool, typer.Option("--tombstone", "-Z", help="An empty line is a record without a value.")
    ] = False,
    compression: Annotated[str | None, typer.Option("--compression", "-z", help="gzip, snappy, lz4 or zstd.")] = None,
    acks: Annotated[str, typer.Option(help="all, 1 or 0.")] = "all",
    data: Data = DATA,
) -> None:
    """Write the lines of the standard input to a topic; every one of them is durable when the command is done.

    Keys and values are what the topic remembers (str, int, JSON ...), else text.
    """
    from headwater.errors import InvalidArgumentError

    if acks not in ("all", "1", "0"):
        raise InvalidArgumentError(f"expected all, 1 or 0, got {acks!r} - at --acks")
    headers = tuple(_header(text) for text in header or ())
    if sys.stdin.isatty():
        say("reading lines from the terminal, a record each; Ctrl-D ends them")
    count = 0
    with opened(data, "rw") as broker:
        described = broker.topic(topic)
        reader = _Reader(described.key, described.value, key, key_separator, tombstone)
        parse = reader.objects if format is LineFormat.jsonl else reader.lines
        with broker.producer(
            acks="all" if acks == "all" else 1 if acks == "1" else 0, compression=cast("Any", compression)
        ) as producer:
            for record in parse(_input()):
                producer.send(
                    topic,
                    key=record.key,
                    value=record.value,
                    partition=partition if record.partition is None else record.partition,
                    timestamp=record.timestamp,
                    headers=(*record.headers, *headers),
                )
                count += 1
    say(f"{count} {'record' if count == 1 else 'records'} written to {topic}")


def _input() -> Iterator[bytes]:
    for line in sys.stdin.buffer:
        yield line.removesuffix(b"\n").removesuffix(b"\r")


class _Reader(NamedTuple):
    """How lines become records."""

    key_serde: "Serde[Any] | None"
    value_serde: "Serde[Any] | None"
    key: str | None
    separator: str | None
    is_tombstone: bool

    def lines(self, lines: Iterable[bytes]) -> Iterator[_Parsed]:
        """A line is a value, or a key, the separator and a value."""
        from headwater.errors import InvalidArgumentError

        fixed = None if self.key is None else _encoded(self.key.encode(), self.key_serde, 0, "key")
        mark = (self.separator or "").replace("\\t", "\t").encode()
        for number, line in enumerate(lines, 1):
            encoded = fixed
            if mark:
                front, found, line = line.partition(mark)
                if not found:
                    raise InvalidArgumentError(
                        f"expected a key, {self.separator!r} and a value, got {front!r} - at line {number}"
                    )
                encoded = _encoded(front, self.key_serde, number, "key")
            value = None if self.is_tombstone and not line else _encoded(line, self.value_serde, number, "value")
            yield _Parsed(encoded, value, None, None, ())

    def objects(self, lines: Iterable[bytes]) -> Iterator[_Parsed]:
        """A line is an object as `consume` prints it."""
        from headwater.errors import InvalidArgumentError

        decoder = msgspec.json.Decoder(_Object)
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                found = decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise InvalidArgumentError(
                    f"expected an object with key, value, partition, timestamp or headers, got {error} - at line {number}"
                ) from None
            yield _Parsed(
                _of_json(self.key if found.key is None else found.key, self.key_serde, number, "key"),
                _of_json(found.value, self.value_serde, number, "value"),
                found.partition,
                found.timestamp,
                tuple((name, None if text is None else text.encode()) for name, text in found.headers),
            )


def _encoded(text: bytes, serde: "Serde[Any] | None", number: int, part: str) -> bytes:
    """A piece of a line as the topic's serde has it."""
    from headwater.errors import InvalidArgumentError

    if serde is None or serde.name == "raw":
        return text
    try:
        if serde.name == "text":
            return serde.serialize(text.decode())
        return serde.serialize(int(text) if serde.name == "int64" else msgspec.json.decode(text))
    except (ValueError, TypeError) as error:
        raise InvalidArgumentError(
            f"expected the {part} as {serde.name}, got {text.decode(errors='replace')!r}: {error} - at line {number}"
        ) from None


def _of_json(value: Any, serde: "Serde[Any] | None", number: int, part: str) -> bytes | None:
    if value is None:
        return None
    is_text = isinstance(value, str) and (serde is None or serde.name in ("text", "raw"))
    return _encoded(value.encode() if is_text else msgspec.json.encode(value), serde, number, part)


def _header(text: str) -> tuple[str, bytes | None]:
    name, found, value = text.partition("=")
    return name, value.encode() if found else None
