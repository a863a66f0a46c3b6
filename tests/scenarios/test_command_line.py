"""The command line as a shell uses it: pipes that close, a reader beside a writer, an interrupt."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import headwater as hw

COMMAND = [sys.executable, "-W", "error", "-m", "headwater.cli"]


def environment(data: Path) -> dict[str, str]:
    return {**os.environ, "HEADWATER_DATA": str(data)}


def test_a_follower_sees_what_another_process_writes_until_it_is_interrupted(tmp_path: Path) -> None:
    env = environment(tmp_path)
    subprocess.run([*COMMAND, "topic", "create", "t"], env=env, check=True, capture_output=True)
    follower = subprocess.Popen(
        [*COMMAND, "consume", "t", "--follow", "-f", "{offset} {value}"],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert follower.stdout is not None
    for n in range(3):
        subprocess.run(
            [*COMMAND, "produce", "t"], env=env, check=True, capture_output=True, input=f"line {n}\n", text=True
        )
        assert follower.stdout.readline() == f"{n} line {n}\n"
    follower.send_signal(signal.SIGINT)
    out, err = follower.communicate()
    assert (follower.returncode, out, err) == (130, "", "")


def test_h16_a_pipe_that_closes_is_no_error(tmp_path: Path) -> None:
    env = environment(tmp_path)
    subprocess.run([*COMMAND, "topic", "create", "t"], env=env, check=True, capture_output=True)
    lines = "".join(f"{n} {'x' * 200}\n" for n in range(5_000))
    subprocess.run([*COMMAND, "produce", "t"], env=env, check=True, capture_output=True, input=lines, text=True)
    with subprocess.Popen(
        [*COMMAND, "consume", "t"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as reader:
        assert reader.stdout is not None and reader.stderr is not None
        assert b'"offset":0' in reader.stdout.readline()
        reader.stdout.close()
        assert (reader.stderr.read(), reader.wait()) == (b"", 141)


def test_a_terminal_gets_a_table_without_colours_if_it_wants_none(tmp_path: Path) -> None:
    env = {**environment(tmp_path), "NO_COLOR": "1", "TERM": "xterm", "COLUMNS": "80"}
    subprocess.run([*COMMAND, "topic", "create", "rides"], env=env, check=True, capture_output=True)
    terminal, other = os.openpty()
    with os.fdopen(terminal, "rb") as screen:
        subprocess.run([*COMMAND, "topic", "list"], env=env, check=True, stdout=other, stderr=subprocess.PIPE)
        os.close(other)
        shown = screen.read1(10_000).decode()
    heads, row = [line.split() for line in shown.replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()]
    assert (heads, row) == (["TOPIC", "PARTITIONS", "RECORDS", "SIZE"], ["rides", "1", "0", "0"])
    assert "\x1b[3" not in shown


def test_only_what_is_needed_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from headwater.cli.app import run; run(['version']);"
        "print([name for name in ('polars', 'headwater._core', 'rich.table', 'headwater.demo') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


HOSTILE = "a\x1b[2J\x9b\u202eb\x07"
SHOWN = r"a\u001b[2J\u009b\u202eb\u0007"


@pytest.mark.parametrize(
    "options", [[], ["-f", "{key} {value:>1} {headers}"], ["-o", "table"], ["-o", "csv"], ["-o", "json"]]
)
def test_e14_a_terminal_finds_nothing_to_obey_in_records(tmp_path: Path, options: list[str]) -> None:
    with hw.open(tmp_path) as broker, broker.producer() as producer:
        broker.create_topic("t")
        producer.send("t", key=HOSTILE, value=HOSTILE, headers=[(HOSTILE, HOSTILE.encode())])
    terminal, other = os.openpty()
    env = {**environment(tmp_path), "NO_COLOR": "1", "TERM": "xterm", "COLUMNS": "300"}
    with os.fdopen(terminal, "rb") as screen:
        subprocess.run([*COMMAND, "consume", "t", *options], env=env, check=True, stdout=other, stderr=subprocess.PIPE)
        os.close(other)
        shown = screen.read1(10_000).decode().replace("\x1b[1m", "").replace("\x1b[0m", "")
    assert not set(HOSTILE) & set(shown) - set("ab[2J"), ascii(shown)
    assert shown.count(SHOWN) + shown.count(SHOWN.replace("\\", "\\\\")) == 4, shown


def test_e14_a_program_gets_what_a_format_asks_for_as_it_is(tmp_path: Path) -> None:
    with hw.open(tmp_path) as broker, broker.producer() as producer:
        broker.create_topic("t")
        producer.send("t", value=HOSTILE)
    command = [*COMMAND, "consume", "t", "-f", "{value}"]
    done = subprocess.run(command, env=environment(tmp_path), check=True, capture_output=True)
    assert done.stdout.decode() == HOSTILE + "\n"


def test_e14_names_in_errors_are_shown_and_not_obeyed(tmp_path: Path) -> None:
    with hw.open(tmp_path):
        pass
    done = subprocess.run(
        [*COMMAND, "group", "describe", HOSTILE], env=environment(tmp_path), capture_output=True, text=True
    )
    assert done.returncode == 2 and not set(HOSTILE) & set(done.stderr) - set("ab[2J"), ascii(done.stderr)
