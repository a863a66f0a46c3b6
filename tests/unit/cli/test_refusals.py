"""Whatever a user does wrong, a command says so in one sentence, keeps its exit code, and loses nothing."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import headwater as hw

from .conftest import Shell


def program(shell: Shell, command: str) -> subprocess.CompletedProcess[str]:
    """A command line as a shell runs it, with ``headwater`` in a process of its own."""
    line = command.replace("headwater", f"{sys.executable} -W error -m headwater.cli")
    env = {**os.environ, "HEADWATER_DATA": str(shell.data)}
    return subprocess.run(["sh", "-c", line], env=env, capture_output=True, text=True, check=False)


@pytest.fixture
def filled(shell: Shell) -> Shell:
    with shell.broker() as broker:
        broker.create_topic("rides", partitions=2)
        broker.send_many("rides", [("a", "1"), ("a", "2"), ("a", "3")])
    return shell


def test_a_full_device_is_one_sentence_and_exit_code_2(filled: Shell) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("only Linux has /dev/full")
    for command in ("headwater consume rides", "headwater consume rides -f '{value}'", "headwater topic list"):
        done = program(filled, f"{command} > /dev/full")
        assert done.returncode == 2, done.stderr
        assert done.stderr.startswith("headwater: expected to write the output, got No space left"), done.stderr
        assert len(done.stderr.splitlines()) == 2


def test_a_group_that_could_not_show_its_records_does_not_commit_them(filled: Shell) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("only Linux has /dev/full")
    assert program(filled, "headwater consume rides -g g > /dev/full").returncode == 2
    assert len(filled.ok("consume", "rides", "-g", "g").rows()) == 3


def test_streams_that_the_shell_closed_are_empty_ones(filled: Shell) -> None:
    assert program(filled, "headwater produce rides <&-").stderr == "0 records written to rides\n"
    done = program(filled, "headwater consume rides >&-")
    assert (done.returncode, done.stderr) == (0, "")
    assert program(filled, "headwater topic describe nope 2>&-").returncode == 2
    assert program(filled, "headwater verify >&-").returncode == 0


def test_a_format_that_a_record_does_not_fit_names_the_record(shell: Shell) -> None:
    with shell.broker() as broker:
        broker.create_topic("t")
        broker.send_many("t", [("k", {"total": 1.5}), ("k", {"total": "much"})])
    done = shell("consume", "t", "-f", "{value[total]:.2f}")
    assert (done.code, done.out) == (2, "1.50\n")
    assert "at topic 't' partition 0 offset 1; show it without" in done.err


def test_a_time_that_no_calendar_has_is_shown_as_nothing(shell: Shell) -> None:
    with shell.broker() as broker:
        broker.create_topic("t")
        broker.send_many("t", [("k", "v", 10**17), ("k", "v", 0)])
    assert shell.ok("consume", "t", "-f", "[{time:%Y}] {timestamp}").out == f"[] {10**17}\n[1970] 0\n"


def test_a_group_says_itself_where_it_begins(filled: Shell) -> None:
    for wrong in (("--offset", "1"), ("-p", "0")):
        assert "expected --group, or --offset and --partitions, got both" in filled.refused(
            "consume", "rides", "-g", "g", *wrong
        )


def test_trimming_behind_the_end_forgets_nothing(filled: Shell) -> None:
    with filled.broker() as broker:
        [(partition, (_, end))] = [(p, marks) for p, marks in broker.offsets("rides").items() if marks[1]]
    for wrong in (f"{partition}:{end + 1}", str(end + 1)):
        assert "expected an offset up to" in filled.refused("topic", "trim-prefix", "rides", "--offset", wrong)
    assert len(filled.ok("consume", "rides").rows()) == 3
    filled.ok("topic", "trim-prefix", "rides", "--offset", f"{partition}:{end}")
    assert filled.ok("consume", "rides").rows() == []


def test_changing_nothing_is_refused(filled: Shell) -> None:
    assert "expected --set NAME=VALUE or --delete NAME, got neither" in filled.refused("topic", "alter-config", "rides")


def test_hints_name_what_there_is(filled: Shell) -> None:
    assert filled.refused("topic", "crate").endswith("try: headwater topic --help\n")
    assert filled.refused("topik").endswith("try: headwater --help\n")
    assert filled.refused("topic", "create").endswith("try: headwater topic create --help\n")
    done = filled("produce", "rides", "-p", "9", stdin="x\n")
    assert "expected a partition from 0 to 1, got 9" in done.err and "did you mean" not in done.err
    assert "did you mean 'rides'?" in filled.refused("topic", "describe", "ride")


def test_a_place_that_is_not_there_is_named(shell: Shell) -> None:
    missing = shell.data / "missing"
    assert "expected a directory with a log, got none" in shell.refused("verify", str(missing))
    assert "expected a file, got none" in shell.refused("dump", f"{missing}.log")
    file = shell.data.parent / "file"
    file.write_text("")
    for command in ("list", "create"):
        names = ["t"] if command == "create" else []
        assert "expected a directory, got a file" in shell.refused("topic", command, *names, "-d", str(file))


def test_help_shows_formats_with_their_brackets(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    done = shell("consume", "--help")
    assert (done.code, "{value[total]:.2f}" in done.out) == (0, True), done.out


def test_the_brokers_own_topics_are_neither_made_nor_deleted(filled: Shell) -> None:
    for name in ("__consumer_offsets", "__transaction_state"):
        assert "expected a topic of yours" in filled.refused("topic", "create", name)
    filled.ok("consume", "rides", "-g", "g")
    assert "expected a topic of yours" in filled.refused("topic", "delete", "__consumer_offsets")
    with filled.broker() as broker:
        assert sum(broker.lag("g").values()) == 0


def test_what_is_of_the_wrong_type_is_refused_by_name() -> None:
    with hw.open("memory:") as broker:
        broker.create_topic("t")
        transactional = broker.producer(transactional_id="id")
        wrong = {
            "config": lambda: broker.create_topic("u", config="segment.bytes=1"),  # type: ignore[arg-type]
            "at config": lambda: broker.alter_config("t", ["segment.bytes"]),  # type: ignore[arg-type]
            "partitions, got True": lambda: broker.create_topic("u", partitions=True),
            "delete_records": lambda: broker.delete_records("t", {0: -1}),
            "before": lambda: broker.delete_records("t", [0]),  # type: ignore[arg-type]
            "topics": lambda: broker.consumer(5),  # type: ignore[call-overload]
            "fetch_size": lambda: broker.consumer("t", fetch_size="1MB"),  # type: ignore[call-overload]
            "directory": lambda: hw.open(5),  # type: ignore[arg-type]
        }
        for named, attempt in wrong.items():
            with pytest.raises(hw.InvalidArgumentError, match=rf"^expected .*{named}"):
                attempt()
        with transactional.begin(), pytest.raises(hw.InvalidArgumentError, match="at send_offsets"):
            transactional.send_offsets([1], group="g")  # type: ignore[arg-type]
