"""The command line: ``headwater demo``. Its libraries are an extra, ``headwater[cli]``, imported when a command runs.

Annotations are not postponed here: typer reads them, and they name what `main` imports.
"""

import sys


def main() -> None:
    """Run the command line; the entry point of the script ``headwater``."""
    try:
        import typer
    except ModuleNotFoundError as missing:
        sys.exit(
            f"headwater: expected the packages of the command line, got no {missing.name}; pip install 'headwater[cli]'"
        )

    from pathlib import Path
    from typing import Annotated

    from headwater.errors import HeadwaterError

    commands = typer.Typer(no_args_is_help=True, add_completion=False, help="Stream processing in one process.")

    @commands.callback()
    def headwater() -> None:
        """Stream processing in one process."""

    @commands.command()
    def demo(
        keep: Annotated[
            Path | None, typer.Option(metavar="DIR", help="Leave topics and state in DIR; a second run resumes there.")
        ] = None,
    ) -> None:
        """Stream a year of flights through a log, windows and joins, and show what comes out."""
        from headwater.demo import run

        run(keep)

    try:
        commands()
    except HeadwaterError as error:
        sys.exit(f"headwater: {error}")
