"""Both type checkers infer the types of topologies as `dsl_types.py` asserts them, and refuse what it marks as wrong."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("checker", [["mypy", "--strict"], ["pyright"]], ids=["mypy", "pyright"])
def test_topologies_are_typed(checker):
    command = [sys.executable, "-m", *checker, "tests/typing/dsl_types.py"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=55)
    assert result.returncode == 0, result.stdout + result.stderr
