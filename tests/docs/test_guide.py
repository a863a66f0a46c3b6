"""The code of docs/guide runs, each page as one program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, python_blocks


@pytest.mark.parametrize("page", ["topics", "testing", "administration", "transactions"])
def test_a_page_runs(page: str, tmp_path: Path) -> None:
    program = tmp_path / f"{page}.py"
    program.write_text("\n\n".join(python_blocks(ROOT / "docs" / "guide" / f"{page}.md")))
    done = subprocess.run(
        [sys.executable, "-W", "error", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_links_between_documents_lead_somewhere() -> None:
    import re

    pages = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")] + sorted(
        (ROOT / "docs").rglob("*.md")
    )
    for page in pages:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"
