"""The commands of docs/guide/administration.md run in a shell, and print what the page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.docs.blocks import ROOT

PAGE = ROOT / "docs" / "guide" / "administration.md"


def steps() -> list[tuple[str, list[str]]]:
    """Every command of the page's console blocks and the lines below it."""
    blocks = re.findall(r"^```console\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    found: list[tuple[str, list[str]]] = []
    for line in "".join(blocks).splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def test_every_command_prints_what_the_page_says(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, arguments in (("headwater", "-W error -m headwater.cli"), ("python", "-W error")):
        (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} {arguments} "$@"\n')
        (programs / name).chmod(0o755)
    env = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "COLUMNS": "120"}
    env.pop("HEADWATER_DATA", None)
    said = steps()
    assert len(said) > 15
    for command, expected in said:
        done = subprocess.run(["sh", "-c", command], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        pattern = "\n".join(".*".join(map(re.escape, line.split("…"))) for line in expected)
        assert re.fullmatch(pattern, done.stdout.removesuffix("\n")), f"{command}\n{done.stdout}{done.stderr}"
        assert done.returncode == 0, done.stderr
