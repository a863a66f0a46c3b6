"""Options that many commands have, and the broker that they open.

Annotations are not postponed in the modules of commands: typer reads them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from headwater.log import Broker


class Format(StrEnum):
    """How rows are shown."""

    table = "table"
    json = "json"
    jsonl = "jsonl"
    csv = "csv"


Data = Annotated[
    Path,
    typer.Option("--data", "-d", metavar="DIR", envvar="HEADWATER_DATA", help="Directory of the topics."),
]
Output = Annotated[
    Format | None,
    typer.Option("--output", "-o", help="How rows are shown; default a table on a terminal, else jsonl."),
]

DATA = Path("data")


@contextmanager
def opened(data: Path, mode: Literal["rw", "r"] = "r") -> Iterator[Broker]:
    """Open a directory for a command.

    Args:
        data: The directory.
        mode: ``"r"`` works beside a process that writes.
    """
    import headwater

    with headwater.open(data, mode=mode) as broker:
        try:
            yield broker
        except headwater.UnknownTopicError as error:
            import difflib

            names = broker.topics()
            wrong = [error.topic] if error.topic and error.topic not in names else []  # else it lacks a partition
            for meant in (found for name in wrong for found in difflib.get_close_matches(name, names, n=1)):
                error.add_note(f"did you mean {meant!r}? `headwater topic list` shows all")
            raise
