"""Rows on stdout: a table for people, JSON or CSV for programs. Everything else goes to stderr."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from headwater.cli.options import Format

Row = Mapping[str, Any]

# What a terminal obeys instead of showing it: control characters but tab and new line, and what turns the direction.
_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


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
    rows = [[visible(cell) for cell in row] for row in rows]
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
    print(visible(message), file=sys.stderr)


def visible(text: str) -> str:
    r"""Text in which a terminal finds nothing to obey: control characters and overrides of direction as ``\u001b``.

    Args:
        text: From anywhere.
    """
    return _COMMANDS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def for_terminal(text: str) -> str:
    """The text as it is for a program, `visible` where stdout is a terminal.

    Args:
        text: From anywhere.
    """
    return visible(text) if sys.stdout.isatty() else text


def encode(value: Any) -> bytes:
    """JSON of anything; bytes as text where they are UTF-8, else as hexadecimal digits behind ``0x``.

    It is safe to show: `visible` writes what JSON itself does not escape as JSON would.

    Args:
        value: The value.
    """
    return visible(msgspec.json.encode(plain(value), enc_hook=str).decode()).encode()


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
    writer.writerows([for_terminal(cell) for cell in row] for row in rows)


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
