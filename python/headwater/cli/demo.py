"""``headwater demo``."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Leave topics and state in DIR; a second run resumes there.")
    ] = None,
) -> None:
    """Stream a year of flights through a log, windows and joins, and show what comes out."""
    from headwater.demo import run

    run(keep)
