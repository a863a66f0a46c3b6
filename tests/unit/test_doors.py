"""Few doors into Rust: only `log`, `state` and `frames` import `headwater._core`."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "python" / "headwater"
DOORS = {"log", "state", "frames"}


def imports_core(path: Path) -> bool:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            names = {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names = {alias.name for alias in node.names}
        else:
            continue
        if any(name == "headwater._core" or name.startswith("headwater._core.") for name in names):
            return True
    return False


def test_only_the_doors_import_the_core() -> None:
    found = {path.relative_to(PACKAGE).parts[0] for path in PACKAGE.rglob("*.py") if imports_core(path)}
    assert found <= DOORS
    assert "log" in found
