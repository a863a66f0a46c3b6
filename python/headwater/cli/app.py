"""The tree of commands, and what becomes of errors: a sentence on stderr, what to try, and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import typer

from headwater.cli import cluster, consume, demo, group, inspect, produce, segments, topic, version

DONE, WRONG, FAILED, INTERRUPTED, NOBODY_READS = 0, 1, 2, 130, 141

_HINTS = {
    "unknown_topic": "headwater topic list",
    "unknown_group": "headwater group list",
    "locked": "stop the process that writes the directory; commands that only read work beside it",
    "corrupt_log": "headwater verify",
    "storage": "look at the permissions, the space and the health of the disk",
    "offset_out_of_range": "headwater topic describe TOPIC",
    "serde": "read with --value bytes, or look at one record with -n 1",
}


def build() -> typer.Typer:
    """Make the tree of commands."""
    app = typer.Typer(
        name="headwater",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="A durable Kafka-format log in a directory, and stream processing over it.",
    )
    app.add_typer(topic.app, name="topic")
    app.add_typer(group.app, name="group")
    app.add_typer(cluster.app, name="cluster")
    for name, command in (
        ("produce", produce.produce),
        ("consume", consume.consume),
        ("segments", segments.segments),
        ("verify", inspect.verify),
        ("dump", inspect.dump),
        ("demo", demo.demo),
        ("version", version.version),
    ):
        app.command(name)(command)
    return app


def run(arguments: Sequence[str]) -> int:
    """Run a command.

    Args:
        arguments: Without the program's name.

    Returns:
        The exit code.
    """
    from headwater.errors import HeadwaterError

    if arguments and arguments[0] == "help":
        arguments = [*arguments[1:], "--help"]
    try:
        answer = build()(args=list(arguments), standalone_mode=False)
        sys.stdout.flush()
    except SystemExit as exit:
        if not isinstance(exit.__context__, BrokenPipeError):  # which click ends with a plain 1
            raise
        _give_up_stdout()
        return NOBODY_READS
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except typer.Exit as exit:
        return exit.exit_code
    except HeadwaterError as error:
        _say(str(error), _hint(error, arguments))
        return FAILED
    except OSError as error:
        _give_up_stdout()
        _say(f"expected to write the output, got {error.strerror or error}", "look at where stdout goes, and its space")
        return FAILED
    except Exception as error:
        format_message = getattr(error, "format_message", None)
        if format_message is None:  # not click's own, which typer brings along under names of its own
            raise
        if message := format_message():  # without a command its help was shown
            _say(message, f"headwater {_command(arguments)}--help")
        return FAILED
    return answer if isinstance(answer, int) else DONE


def _give_up_stdout() -> None:
    """Let nothing more be written, so that flushing at exit does not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _say(what: str, hint: str) -> None:
    from headwater.cli.output import say

    say(f"headwater: {what}\ntry: {hint}")


def _hint(error: Exception, arguments: Sequence[str]) -> str:
    if "expected a directory with a log" in str(error):
        return "--data DIR, or HEADWATER_DATA=DIR; `headwater topic create NAME` makes a new one"
    for note in getattr(error, "__notes__", ()):
        return str(note)
    return _HINTS.get(getattr(error, "code", ""), f"headwater {_command(arguments)}--help")


def _command(arguments: Sequence[str]) -> str:
    """The nouns and verbs in front, as they were written."""
    words = []
    command: Any = typer.main.get_command(build())
    for word in arguments[:2]:
        command = getattr(command, "commands", {}).get(word)
        if command is None:
            break
        words.append(word)
    return "".join(f"{word} " for word in words)
