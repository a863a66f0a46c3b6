"""Ctrl-C and SIGTERM: the first finishes the batch, commits and returns; a second one leaves at once, with status 130."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import headwater as hw

PROGRAM = """
    import sys, time
    import headwater as hw

    app = hw.App("interrupted", broker=sys.argv[1])

    def slow(value):
        print(value, flush=True)
        time.sleep(float(sys.argv[2]))
        return value

    app.stream("words", key=str, value=str).map_values(slow, value=str).to("out")
    app.run()
    print("returned", flush=True)
"""


def _start(tmp_path: Path, seconds: float, partitions: int = 1) -> subprocess.Popen[str]:
    with hw.open(tmp_path / "data") as broker:
        broker.create_topic("words", partitions=partitions, key=str, value=str)
        with broker.producer() as producer:
            for word in ("first", "second"):
                producer.send("words", key="a", value=word, partition=0, timestamp=1)
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    return subprocess.Popen(
        [sys.executable, program, tmp_path / "data", str(seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_h11_one_interrupt_finishes_commits_and_returns(tmp_path: Path, number: signal.Signals) -> None:
    with _start(tmp_path, 0.2) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "first\n"
        child.send_signal(number)
        rest, errors = child.communicate(timeout=30)
    assert (rest, child.returncode) == ("second\nreturned\n", 0), errors
    with hw.open(tmp_path / "data") as broker:
        assert broker.lag("interrupted") == {hw.TopicPartition("words", 0): 0}


@pytest.mark.parametrize("partitions", [1, 3])
def test_h11_a_second_interrupt_leaves_at_once(tmp_path: Path, partitions: int) -> None:
    with _start(tmp_path, 30, partitions) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "first\n"
        child.send_signal(signal.SIGINT)
        child.send_signal(signal.SIGINT)
        try:
            child.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGINT)
            child.communicate(timeout=20)
    assert child.returncode == 130
    with hw.open(tmp_path / "data") as broker:
        assert broker.lag("interrupted") == {}, "nothing was committed"
