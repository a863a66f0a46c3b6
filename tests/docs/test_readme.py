"""The code of README.md runs, block after block, in an empty directory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.docs.blocks import ROOT, python_blocks


def test_the_readme_runs(tmp_path: Path) -> None:
    program = tmp_path / "readme.py"
    program.write_text("\n\n".join(python_blocks(ROOT / "README.md")))
    done = subprocess.run(
        [sys.executable, "-W", "error", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
