"""A machine without Rust or Python, or with old ones, is told in one line what to install."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "prerequisites.sh"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A PATH with the shell's tools, a good Python and a good Rust."""
    for tool in ("sh", "cut", "sort"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or f"/bin/{tool}")
    (tmp_path / "python3").symlink_to(sys.executable)
    install(tmp_path / "cargo", "cargo 1.95.0")
    install(tmp_path / "rustc", "rustc 1.95.0 (abc 2026-01-01)")
    return tmp_path


def install(path: Path, version: str, status: int = 0) -> None:
    path.unlink(missing_ok=True)
    path.write_text(f'#!/bin/sh\necho "{version}"\nexit {status}\n')
    path.chmod(0o755)


def run(machine: Path) -> tuple[int, str]:
    done = subprocess.run(["/bin/sh", SCRIPT], env={"PATH": str(machine)}, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr or done.stdout


def test_a_good_machine_is_told_which_python(machine: Path) -> None:
    status, line = run(machine)
    assert (status, line.strip()) == (0, str(machine / "python3"))


@pytest.mark.parametrize("python", [None, "Python 3.10.4"])
def test_python_missing_or_old(machine: Path, python: str | None) -> None:
    (machine / "python3").unlink()
    if python:
        install(machine / "python3", python, status=1)
    status, line = run(machine)
    assert status == 1
    assert line.startswith("headwater needs Python 3.11 or newer, found ")
    assert line.count("\n") == 1


def test_rust_missing(machine: Path) -> None:
    (machine / "cargo").unlink()
    status, line = run(machine)
    assert status == 1
    assert line.startswith("headwater needs Rust 1.90 or newer, found none; install it with rustup")
    assert line.count("\n") == 1


def test_rust_too_old(machine: Path) -> None:
    install(machine / "rustc", "rustc 1.89.1 (abc 2025-08-01)")
    status, line = run(machine)
    assert status == 1
    assert line.startswith("headwater needs Rust 1.90 or newer, found 1.89.1")
    assert line.count("\n") == 1
