"""How long does it take to open a log of one gigabyte that was not closed?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import headwater as hw
from benches.python.conftest import Measure

BATCH = 10_000
VALUE_BYTES = 1_000
RECORDS = 1_000_000

WRITE = f"""
import os, sys
import headwater as hw
broker = hw.open(sys.argv[1], durability="os")
broker.create_topic("big")
rows = [(None, b"x" * {VALUE_BYTES})] * {BATCH}
for _ in range({RECORDS // BATCH}):
    broker.send_many("big", rows, value=bytes)
os._exit(0)
"""


def test_open_a_gigabyte_after_a_crash(tmp_path: Path, measure: Measure) -> None:
    folders = iter(range(100))

    def crash() -> Path:
        directory = tmp_path / str(next(folders))
        subprocess.run([sys.executable, "-c", WRITE, directory], check=True)
        return directory

    def work(directory: Path) -> None:
        with hw.open(directory) as broker:
            assert broker.offsets("big")[0] == (0, RECORDS)

    measure(work, records=RECORDS, setup=crash)
