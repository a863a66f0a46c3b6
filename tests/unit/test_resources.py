"""What is opened is given back: files, threads and memory at `close`, and an interpreter that always ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import headwater as hw

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts files and threads in Linux's /proc")

CYCLES = """
import json, os, shutil, sys
import headwater as hw

def used():
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return len(os.listdir("/proc/self/fd")), int(status["Threads"]), int(status["VmRSS"].split()[0])

def cycle(number):
    # A directory of its own: what is known of a log grows with it, and that is no leak.
    directory = os.path.join(sys.argv[1], str(number))
    with hw.open(directory, durability="interval:3600000") as broker:
        broker.create_topic("t", partitions=2, retention="1h", exist_ok=True)
        with broker.producer(linger="1ms") as producer:
            producer.send("t", value=b"x")
        with broker.consumer("t", group="g", auto_offset_reset="earliest", timeout="0s") as consumer:
            next(iter(consumer), None)
            consumer.commit()
    shutil.rmtree(directory)

seen = []
for number in range(int(sys.argv[2])):
    cycle(number)
    if number % 25 == 24:
        seen.append(used())
print(json.dumps(seen))
"""

# Each leaves the interpreter with something open and at work.
LEAVING = {
    "an open producer": """
producer = broker.producer(linger="1h")
producer.send("t", value=b"left behind")
""",
    "a consumer in iteration": """
started = threading.Event()

def consume():
    for record in broker.consumer("t", group="g", auto_offset_reset="earliest"):
        started.set()

broker.send_many("t", [b"a"])
threading.Thread(target=consume, daemon=True).start()
assert started.wait(30)
""",
    "an application at work": """
started = threading.Event()
app = hw.App("leaving", broker=broker)
app.stream("t", key=bytes, value=bytes).map_values(lambda value: started.set() or value, value=bytes).to("out")
broker.send_many("t", [b"a"])
threading.Thread(target=app.run, daemon=True).start()
assert started.wait(30)
""",
    "a syncer and a janitor": """
broker.create_topic("u", retention="1h")
broker.send_many("u", [b"a"])
""",
}


@pytest.mark.parametrize("cycles", [150, pytest.param(1_000, marks=pytest.mark.soak)])
def test_opening_and_closing_again_and_again_leaks_nothing(tmp_path: Path, cycles: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CYCLES, str(tmp_path), str(cycles)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    files, threads, kilobytes = zip(*seen, strict=True)
    assert max(files) <= min(files) + 2, files
    assert set(threads) == {threads[0]}, threads
    # Caches may still be filling in the first rounds; a leak goes on for ever.
    assert kilobytes[-1] - kilobytes[1] < 2 * cycles, kilobytes


@pytest.mark.parametrize("what", LEAVING)
def test_h12_the_interpreter_ends_whatever_was_left_open(tmp_path: Path, what: str) -> None:
    begin = """
import sys, threading
import headwater as hw
broker = hw.open(sys.argv[1], durability="interval:3600000")
broker.create_topic("t")
"""
    program = begin + LEAVING[what] + "print('at the end', flush=True)"
    # A deadlock would be ended by the test's own time limit.
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "at the end\n"), done.stderr
    with hw.open(tmp_path) as broker:  # the lock is free again
        assert "t" in broker.topics()
