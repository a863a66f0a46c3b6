"""Every program in examples/ runs as its first lines say, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(module: str, *arguments: str) -> str:
    command = [sys.executable, "-m", f"examples.rides.{module}", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_rides_in_order(tmp_path: Path) -> None:
    directory, file = str(tmp_path / "data"), tmp_path / "rides.csv"
    file.write_text(run("look_alike", "265"))
    assert run("producer", directory, str(file)) == "sent 265 rides\n"
    assert run("consumer", directory).startswith("read 265 rides")
    assert run("consumer", directory).startswith("read 0 rides")
    assert run("count_per_zone", directory).startswith("zone ")
    assert run("windowed_count", directory).startswith("zone ")
    assert "found a free taxi" in run("join_locations", directory)
