"""The command line ``headwater``: rpk's nouns and verbs over a directory.

What is asked for goes to stdout, everything else to stderr. On a terminal rows are tables, in a pipe a JSON object a line;
``-o`` says otherwise. Options win over the environment (``HEADWATER_DATA``). Nothing asks questions where nobody can answer.

Exit codes: 0 done; 1 done, and something is wrong (``verify``); 2 not done: wrong usage, no such topic, a directory that is
locked or cannot be read; 130 interrupted; 141 nobody reads the output any more.

Layout: `app` the tree of commands and what becomes of errors, one file for each noun or verb, `options` and `offsets` what
the user writes, `output` and `display` what he reads. typer and rich are an extra, ``headwater[cli]``; the log is imported
when a command runs.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line; the entry point of the script ``headwater``."""
    try:
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ModuleNotFoundError as missing:
        sys.exit(
            f"headwater: expected the packages of the command line, got no {missing.name}; pip install 'headwater[cli]'"
        )
    from headwater.cli.app import run

    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the shell: its number must not become that of a file of the log
            setattr(sys, name, open(os.open(os.devnull, os.O_RDWR), mode, closefd=False))  # noqa: SIM115
    sys.exit(run(sys.argv[1:]))
