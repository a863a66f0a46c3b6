"""Finds the Python blocks of a Markdown file."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def python_blocks(path: Path) -> list[str]:
    """The text of every fenced block that says ``python``, in order."""
    blocks = re.findall(r"^```python\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE)
    assert blocks, f"expected python blocks, got none - at {path}"
    return blocks
