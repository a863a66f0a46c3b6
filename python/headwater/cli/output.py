"""Rows on stdout: a table for people, JSON or CSV for programs. Everything else goes to stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from headwater.cli.options import Format

Row = Mapping[str, Any]


def chosen(output: Format | None) -> Format:
    """The format asked for; without one a table on a terminal, JSON lines elsewhere.

    Args:
        output: What the user said.
    """
    return output or (Format.table if sys.stdout.isatty() else Format.jsonl)


def show(rows: Iterable[Row], output: Format | None, *, columns: Sequence[str] | None = None) -> None:
    """Write rows.

    Args:
        rows: Alike in their columns.
        output: What the user said.
        columns: Which columns a table or CSV has; default those of the first row.
    """
    form = chosen(output)
    if form is Format.jsonl:
        for row in rows:
            show_line(row)
    elif form is Format.json:
        _write(msgspec.json.format(encode(list(rows)), indent=2) + b"\n")
    else:
        listed = list(rows)
        names = list(columns or (listed[0] if listed else ()))
        nothing = "" if form is Format.csv else "-"
        cells = [[nothing if row.get(name) is None else text(row[name]) for name in names] for row in listed]
        (_show_csv if form is Format.csv else show_table)(names, cells)


def show_line(row: Row) -> None:
    """Write one row as a JSON object.

    Args:
        row: The row.
    """
    _write(encode(row) + b"\n")


def show_table(names: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None) -> None:
    """Write a table; where nobody's terminal says how wide it may be, it is as wide as it must.

    Args:
        names: Heads of the columns.
        rows: The cells.
        title: A line above.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 10_000, highlight=False)
    if title is not None:
        console.print(Text(title, style="bold"))
    if not rows:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for at, name in enumerate(names):
        is_number = all(row[at] in ("", "-") or row[at].lstrip("-").isdecimal() for row in rows)
        table.add_column(name.upper().replace("_", " "), justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def say(message: str) -> None:
    """Tell the user something that is not what was asked for.

    Args:
        message: A sentence.
    """
    print(message, file=sys.stderr)


def encode(value: Any) -> bytes:
    """JSON of anything; bytes as text where they are UTF-8, else as hexadecimal digits behind ``0x``.

    Args:
        value: The value.
    """
    return msgspec.json.encode(plain(value), enc_hook=str)


def plain(value: Any) -> Any:
    """What of a value JSON can hold.

    Args:
        value: The value.
    """
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return f"0x{value.hex()}"
    if isinstance(value, Mapping):
        return {str(plain(name)): plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return [plain(part) for part in value]
    return value


def text(value: Any) -> str:
    """A cell of a table.

    Args:
        value: What is in it; nothing is a dash.
    """
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    shown = plain(value)
    return shown if isinstance(shown, str) else encode(shown).decode()


def _show_csv(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    if names:
        writer.writerow(names)
    writer.writerows(rows)


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
