"""Ctrl-C ends every wait at once, and what was sent before is kept."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import headwater as hw

WAITS = {
    "iterating": """
    with broker.consumer("t") as consumer:
        print("waiting", flush=True)
        for record in consumer:
            pass
""",
    "polling": """
    with broker.consumer("t", group="g") as consumer:
        print("waiting", flush=True)
        consumer.poll(timeout="1h")
""",
}


@pytest.mark.parametrize("wait", WAITS)
def test_a_wait_is_interrupted(wait: str, tmp_path: Path) -> None:
    code = f"""
import headwater as hw
with hw.open({str(tmp_path)!r}) as broker:
    broker.create_topic("t")
    producer = broker.producer(linger="1h")
    producer.send("t", value="kept")
{WAITS[wait]}
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "waiting\n"
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=20)
    assert child.returncode != 0 and "KeyboardInterrupt" in errors
    with hw.open(tmp_path) as broker:
        assert broker.offsets("t") == {0: (0, 1)}
