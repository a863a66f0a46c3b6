"""A killed application goes on where its last commit was: nothing is lost, nothing counts twice in a store.

The child is killed with SIGKILL at random moments, also while it restores; then a last run finishes the work. Stores must
equal those of a run that nobody disturbed; outputs may repeat what came after a commit, never lack anything. With
exactly-once processing they do not repeat anything either.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import headwater as hw
from tests.crash.rides_app import Guarantee, build

RECORDS = 8_000
KILLS = int(os.environ.get("HEADWATER_KILLS", "12"))
CHANGELOGS = ("counts", "folded")


def _fill(path: Path, seed: int, records: int = RECORDS) -> None:
    rng = random.Random(seed)
    with hw.open(path, durability="os") as broker:
        for topic in ("left", "right"):
            broker.create_topic(topic, partitions=2, key=str, value=str)
        with broker.producer() as producer:
            for i in range(records):
                topic = "left" if rng.random() < 0.6 else "right"
                timestamp = max(0, i * 5 - rng.randrange(0, 700))
                producer.send(topic, key=f"k{rng.randrange(9)}", value=f"{'abc'[i % 3]}{i}", timestamp=timestamp)


def _outputs(broker: hw.Broker, topic: str) -> Counter[Any]:
    with broker.consumer(topic, auto_offset_reset="earliest", key=str, value=str, timeout="200ms") as consumer:
        return Counter((record.key, record.value) for record in consumer)


def _state(path: Path, guarantee: Guarantee = "at_least_once") -> dict[str, Any]:
    """What the stores hold after a run that finds nothing new."""
    with hw.open(path, durability="os") as broker:
        app = build(broker, guarantee)
        seen: dict[str, Any] = {}
        original = app._replay

        def replay(closes: bool) -> None:
            original(closes)
            for name in CHANGELOGS:
                seen[name] = sorted(app.store(name).items(), key=repr)

        app._replay = replay  # type: ignore[method-assign]
        metrics = app.run(until="caught_up")
        assert metrics.records == 0, "a finished application finds nothing new"
        seen["outputs"] = {topic: set(_outputs(broker, topic)) for topic in ("joined",)}
        return seen


def _kill(path: Path, kills: int, rng: random.Random, *options: str) -> None:
    """Let a process run the application and kill it, again and again."""
    for _ in range(kills):
        child = subprocess.Popen([sys.executable, "-m", "tests.crash.rides_app", str(path), *options])
        time.sleep(0.15 + rng.random() * 0.35)
        child.send_signal(signal.SIGKILL)
        child.wait()


def test_killed_application_loses_nothing_and_counts_nothing_twice(tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    for path in (undisturbed, killed):
        _fill(path, seed)
    build(str(undisturbed)).run(until="caught_up")
    _kill(killed, KILLS, random.Random(seed))
    build(str(killed)).run(until="caught_up")
    expected, got = _state(undisturbed), _state(killed)
    # The order in which two tasks write a repartition topic is not fixed: compare what does not depend on it.
    assert got["counts"] == expected["counts"], f"seed {seed}"
    assert [key for key, _, _ in got["folded"]] == [key for key, _, _ in expected["folded"]], f"seed {seed}"
    assert got["outputs"] == expected["outputs"], f"seed {seed}"


@pytest.fixture
def fast_path() -> Iterator[Path]:
    """A directory in memory where there is one: what a killed process has written is there, synced or not."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as path:
        yield Path(path)


def _committed_outputs(path: Path) -> dict[tuple[str, int], list[Any]]:
    """By topic and partition, everything that counts, in order."""
    found: dict[tuple[str, int], list[Any]] = {}
    with hw.open(path, durability="os") as broker:
        for topic in ("counted", "joined", "folds"):
            with broker.consumer(
                topic, auto_offset_reset="earliest", isolation_level="read_committed", timeout="0s"
            ) as consumer:
                for record in consumer:
                    found.setdefault((topic, record.partition), []).append((record.key, record.value, record.timestamp))
    return found


@pytest.mark.parametrize(
    ("records", "kills"),
    [(3_000, 5), pytest.param(20_000, 100, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])],
)
def test_killed_exactly_once_application_repeats_nothing(fast_path: Path, records: int, kills: int) -> None:
    seed = random.randrange(10**6)
    undisturbed, killed = fast_path / "undisturbed", fast_path / "killed"
    for path in (undisturbed, killed):
        _fill(path, seed, records)
    build(str(undisturbed), "exactly_once").run(until="caught_up")
    _kill(killed, kills, random.Random(seed), "exactly_once")
    build(str(killed), "exactly_once").run(until="caught_up")
    expected, got = _committed_outputs(undisturbed), _committed_outputs(killed)
    # The order in which two tasks write a repartition topic is not fixed: of what lies behind it, that each key is there as
    # often as it should be.
    for place, outputs in expected.items():
        if place[0] == "folds":
            assert Counter(key for key, _, _ in got[place]) == Counter(key for key, _, _ in outputs), f"seed {seed}"
        else:
            assert got[place] == outputs, f"seed {seed}"
    before, after = (_state(path, "exactly_once")["counts"] for path in (undisturbed, killed))
    assert before == after, f"seed {seed}"
